"""Estimates of log p(x) from samples: importance sampling, the naive one from the prior, and what is made of them."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.evaluation.compiled import Compiled, chunks, even_share
from kvae.models import capabilities
from kvae.models.batches import in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """An estimate of log p(x) of n examples, in nats.

    Attributes:
        values: array `(n,)`, one estimate an example.
        effective_sample_size: array `(n,)`, (Σ w)² / Σ w², between 1 and the number of samples: how many of them carry
            the estimate (Kong 1992). Near 1, the estimate rests on one sample, and is too low in all likelihood.
    """

    values: np.ndarray
    effective_sample_size: np.ndarray

    @property
    def mean(self):
        """Mean over the examples."""
        return float(np.mean(self.values))

    @property
    def standard_error(self):
        """Standard error of `mean` as one of examples, the samples' noise included; NaN for a single example."""
        return float(np.std(self.values, ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else math.nan


def log_likelihood(model, x, y=None, num_samples=5000, batch_size=5000, seed=None, verbose=False):
    """An estimate of log p(x) of each example, by importance sampling from the encoder's posterior.

    log p(x) ≈ log (1/K) Σ_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): unbiased before the logarithm, so in
    the mean below log p(x), to which it rises with K (Burda, Grosse, Salakhutdinov 2016, eq. 8,
    https://arxiv.org/abs/1509.00519, who take K = 5000). K = 1 gives the ELBO.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model; then it is log p(x|y).
        num_samples: int, K, samples an example.
        batch_size: int, rows that the decoder gets at a time, which bounds the memory.
        seed: int for reproducible noise; `None` for a random one.
        verbose: whether to print progress, if it takes more than two seconds.

    Returns:
        A `LogLikelihood`.

    Raises:
        ValueError: if the model has no density, if images or labels do not fit it, or if an example's weights are all
            zero or not finite.

    Example:

    >>> estimate = kvae.evaluation.log_likelihood(model, data.x_test, num_samples=500, seed=0)
    >>> print(f"log p(x) = {estimate.mean:.2f} ± {estimate.standard_error:.2f} nats")
    """
    x, y = check_data(model, x, y)
    return importance_sampling(model, x, y, encoded(model, x, y), num_samples, batch_size, seed, verbose)


def prior_log_likelihood(model, x, y=None, num_samples=5000, batch_size=5000, seed=None, verbose=False):
    """The naive estimate of log p(x) of each example, from samples of the prior.

    log p(x) ≈ log (1/K) Σ_k p(x|z_k), z_k ~ p(z). Unbiased before the logarithm too, but in more than a few dimensions
    hardly a sample falls where p(x|z) is: the estimate is far too low and the effective sample size near 1. That is
    what an encoder is for (Kingma & Welling 2014, section 2.1).

    Args:
        model: as in `log_likelihood`, and so the other arguments.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model.
        num_samples: int, K.
        batch_size: int.
        seed: int or `None`.
        verbose: bool.

    Returns:
        A `LogLikelihood`.

    Raises:
        ValueError: as `log_likelihood`.

    Example:

    >>> kvae.evaluation.prior_log_likelihood(model, data.x_test, num_samples=500, seed=0).effective_sample_size
    """

    def draw(num_samples, noise, x, y=None):
        tiled = networks.tile(model.condition(y), num_samples)
        z = model.prior.sample(num_samples * x.shape[0], tiled, noise)
        return (ops.reshape(z, (num_samples, x.shape[0], *model.latent_shape)),)

    def log_weigh(noise, z, x, y=None):
        return model.log_likelihood(x, model.generation(z, model.condition(y)))

    x, y = check_data(model, x, y)
    return _estimate(draw, log_weigh, (x, y), num_samples, batch_size, seed, verbose)


def bits_per_dimension(log_likelihood, image_shape):
    """−log₂ p(x) a pixel and channel, of log p(x) in nats (Theis, van den Oord, Bethge 2016, section 3.1).

    It compares with published figures only if p is a distribution of the pixels as they were published: a mass
    function of binary ones, or a density in units of the 256 grey levels, log p − D log 256 for pixels in [0, 1].

    Args:
        log_likelihood: float or array of log p(x), nats.
        image_shape: shape of one example.

    Returns:
        Like `log_likelihood`, bits a dimension.

    Example:

    >>> round(kvae.evaluation.bits_per_dimension(-86.8, (28, 28, 1)), 4)
    0.1597
    """
    return -log_likelihood / (math.log(2.0) * math.prod(image_shape))


def log_mean(log_weights, first=0):
    """log (1/K) Σ_k w_k and the effective sample size, in float64.

    Args:
        log_weights: array `(samples, batch)`.
        first: int, the index of the first example, for the message.

    Returns:
        Tuple of arrays `(batch,)`.

    Raises:
        ValueError: if the weights of an example are all zero, or one is +∞ or NaN.
    """
    log_weights = np.asarray(log_weights, "float64")
    peak = log_weights.max(axis=0)  # NaN if there is one
    if not np.isfinite(peak).all():
        bad = int(np.flatnonzero(~np.isfinite(peak))[0])
        if peak[bad] == -np.inf:
            what = "no sample with a density above 0: the likelihood cannot score it, take a wider one or train longer"
        else:
            what = "a log-weight that is no finite number: encoder or decoder overflow, train with a smaller rate"
        raise ValueError(
            f"`x` must be examples that the model can score, and one has {what}. Received: x[{first + bad}]"
        )
    weights = np.exp(log_weights - peak)
    total = weights.sum(axis=0)
    return peak + np.log(total / len(weights)), total**2 / np.square(weights).sum(axis=0)


def check_data(model, x, y):
    """Images as float32, and labels or `None`, that the model can score; a `ValueError` if it cannot."""
    capabilities.needs(model, "density")
    x = model.check_images(x)
    return np.asarray(x, "float32"), model.check_condition(y, len(x))


def encoded(model, x, y):
    """Parameters of q(z|x), `(n, parameters · latent_dim)`, of what `check_data` gave."""
    return in_batches(lambda x, y: model.inference(x, model.condition(y)), x, y, batch_size=EVALUATION_BATCH)


def importance_sampling(model, x, y, params, num_samples, batch_size, seed, verbose=False):
    """What `log_likelihood` does, with any `params` `(n, parameters · latent_dim)` of q(z|x)."""

    def draw(num_samples, noise, x, params, y=None):
        return model.posterior_family.sample_and_log_prob(params, num_samples, noise, len(model.latent_shape))

    def log_weigh(noise, z, log_posterior, x, params, y=None):
        sample, _ = model.score(x, z, params, model.condition(y), noise, log_posterior=log_posterior)
        return sample.log_weights()

    return _estimate(draw, log_weigh, (x, params, y), num_samples, batch_size, seed, verbose)


def _estimate(draw, log_weigh, data, num_samples, batch_size, seed, verbose):
    """A `LogLikelihood` from codes and their log-weights, run in chunks.

    Args:
        draw: function `(num_samples, noise, *data)` to a tuple, codes `(samples, batch, *latent_shape)` and whatever
            else was computed with them.
        log_weigh: function `(noise, *drawn, *data)` to log-weights `(samples, batch)`.
        data: arrays of equal length, images first; `None`s are left out.
        num_samples: as in `log_likelihood`, and so the other arguments.
        batch_size: int.
        seed: int or `None`.
        verbose: bool.
    """
    num_samples = checks.positive_integer(num_samples, "num_samples")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    # Every chunk has the same number of samples, so that one compiled shape serves all; the surplus is dropped.
    samples = even_share(num_samples, batch_size)
    # Drawing and scoring are compiled apart, because only scoring gains from XLA.
    drawn = Compiled(lambda noise, *args: draw(samples, noise, *args), seed)
    scored = Compiled(log_weigh, None if seed is None else seed + 1, fuse=True)
    n = len(data[0])
    values, sizes = np.empty(n), np.empty(n)
    runs = -(-num_samples // samples)
    jobs = (job for job in chunks(data, batch_size // samples, verbose, "log-likelihood") for _ in range(runs))
    tables = []
    for (rows, parts), codes in _one_ahead(lambda job: drawn.run(*job[1]), jobs):
        tables.append(scored.run(*codes, *parts))
        if len(tables) == runs:
            log_weights = np.concatenate(tables)[:num_samples, : rows.stop - rows.start]
            values[rows], sizes[rows] = log_mean(log_weights, rows.start)
            tables = []
    return LogLikelihood(values, sizes)


def _one_ahead(function, items):
    """Pairs of an item and `function(item)`, in order, each computed while the pair before it is in use."""
    with ThreadPoolExecutor(1) as thread:
        waiting: list = []
        for item in items:
            waiting.append((item, thread.submit(function, item)))
            if len(waiting) == 2:
                item, coming = waiting.pop(0)
                yield item, coming.result()
        for item, coming in waiting:
            yield item, coming.result()
