"""Estimates of log p(x) by importance sampling and by sampling from the prior; bits per dimension."""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.distributions import Distribution
from kvae.evaluation.chunks import chunks, even_share
from kvae.models import capabilities, encoder_decoder
from kvae.models.batches import in_batches
from kvae.training.kept import as_array, kept
from kvae.types import Array, ArrayLike, Shape

Nats = TypeVar("Nats", float, Array)  # one value or several


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x) for n examples, in nats.

    Attributes:
        values: array `(n,)`, one estimate per example.
        effective_sample_size: array `(n,)`, (Σ w)² / Σ w², between 1 and the number of samples: how many samples
            contribute to the estimate (Kong 1992). Near 1 the estimate rests on a single sample, probably too low.
    """

    values: Array
    effective_sample_size: Array

    @property
    def mean(self) -> float:
        """Mean over the examples."""
        return float(np.mean(self.values))

    @property
    def standard_error(self) -> float:
        """Standard error of `mean` over examples, including the sampling noise; NaN for a single example."""
        return float(np.std(self.values, ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else math.nan


def log_likelihood(
    model: Any,
    x: ArrayLike,
    y: Any = None,
    num_samples: int = 5000,
    batch_size: int = 5000,
    seed: int | None = None,
    verbose: bool = False,
) -> LogLikelihood:
    """Estimate log p(x) of each example by importance sampling from the encoder's posterior.

    log p(x) ≈ log (1/K) Σ_k w_k with w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x). The mean of w is unbiased, so the
    estimate is below log p(x) on average and approaches it with increasing K (Burda, Grosse, Salakhutdinov 2016, eq. 8,
    https://arxiv.org/abs/1509.00519, with K = 5000). K = 1 gives the ELBO.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model; the estimate is then of log p(x|y).
        num_samples: int, K, samples per example.
        batch_size: int, rows per decoder call, which bounds the memory.
        seed: int for reproducible noise; `None` for a random one.
        verbose: whether to print progress in runs of more than two seconds.

    Returns:
        A `LogLikelihood`.

    Raises:
        ValueError: if the model has no density, if images or labels do not fit it, or if an example's weights are all
            zero or not finite.

    Example:

    >>> estimate = kvae.evaluation.log_likelihood(model, data.x_test, num_samples=500, seed=0)
    >>> print(f"log p(x) = {estimate.mean:.2f} ± {estimate.standard_error:.2f} nats")
    log p(x) = ... ± ... nats
    """
    x, y = check_data(model, x, y)
    return importance_sampling(model, x, y, encoded(model, x, y), num_samples, batch_size, seed, verbose)


def prior_log_likelihood(
    model: Any,
    x: ArrayLike,
    y: Any = None,
    num_samples: int = 5000,
    batch_size: int = 5000,
    seed: int | None = None,
    verbose: bool = False,
) -> LogLikelihood:
    """Estimate log p(x) of each example naively, with samples from the prior.

    log p(x) ≈ log (1/K) Σ_k p(x|z_k), z_k ~ p(z). The mean is unbiased too, but in more than a few dimensions hardly
    any sample falls where p(x|z) is large: the estimate is far too low and the effective sample size near 1. This is
    why an encoder is needed (Kingma & Welling 2014, section 2.1).

    Args:
        model: a `VAE` or `CVAE`.
        x: as in `log_likelihood`.
        y: as in `log_likelihood`.
        num_samples: as in `log_likelihood`.
        batch_size: as in `log_likelihood`.
        seed: as in `log_likelihood`.
        verbose: as in `log_likelihood`.

    Returns:
        A `LogLikelihood`.

    Raises:
        ValueError: as in `log_likelihood`.

    Example:

    >>> estimate = kvae.evaluation.prior_log_likelihood(model, data.x_test, num_samples=500, seed=0)
    >>> estimate.effective_sample_size.shape == (len(data.x_test),)
    True
    """
    x, y = check_data(model, x, y)
    return _estimate(model, _prior_codes, _log_likelihood, (x, y), num_samples, batch_size, seed, verbose)


def bits_per_dimension(log_likelihood: Nats, image_shape: Shape, levels: int | None = None) -> Nats:
    """Convert log p(x) in nats to −log₂ p(x) per pixel and channel (Theis, van den Oord, Bethge 2016, section 3.1).

    The result is comparable with published figures only if p is a distribution over the same pixels: a mass function
    for binary pixels, or a density in units of the grey levels, log p − D log 256 for 8-bit pixels in [0, 1].

    Args:
        log_likelihood: float or array of log p(x), nats.
        image_shape: shape of one example.
        levels: number of grey levels, 256 for 8-bit images, if p is a density of pixels scaled to [0, 1] (to which
            uniform noise of one level should have been added); `None` if p is already a distribution of the pixels.

    Returns:
        Like `log_likelihood`, in bits per dimension.

    Raises:
        ValueError: for a `LogLikelihood`, instead of its `mean`.

    Example:

    >>> round(kvae.evaluation.bits_per_dimension(-86.8, (28, 28, 1)), 4)
    0.1597
    >>> kvae.evaluation.bits_per_dimension(0.0, (28, 28, 1), levels=256)  # the uniform density
    8.0
    """
    if isinstance(log_likelihood, LogLikelihood):
        raise ValueError("`log_likelihood` must be numbers: its mean or its values. Received: a LogLikelihood")
    bits = -log_likelihood / (math.log(2.0) * math.prod(image_shape))
    return bits if levels is None else bits + math.log2(checks.positive_integer(levels, "levels"))


def log_mean(log_weights: Array, first: int = 0) -> tuple[Array, Array]:
    """Compute log (1/K) Σ_k w_k and the effective sample size, in float64.

    Args:
        log_weights: array `(samples, batch)`.
        first: int, the index of the first example, for the error message.

    Returns:
        Tuple of arrays `(batch,)`.

    Raises:
        ValueError: if the weights of an example are all zero, or if one is +∞ or NaN.
    """
    log_weights = np.asarray(log_weights, "float64")
    peak = log_weights.max(axis=0)  # NaN if there is one
    if not np.isfinite(peak).all():
        bad = int(np.flatnonzero(~np.isfinite(peak))[0])
        if peak[bad] == -np.inf:
            why = "all its samples have density 0: use a wider likelihood or train longer"
        else:
            why = "a log-weight is infinite or NaN because a network overflows: train with a smaller learning rate"
        raise ValueError(f"`x` must be examples that the model can score; for one, {why}. Received: x[{first + bad}]")
    weights = np.exp(log_weights - peak)
    total = weights.sum(axis=0)
    return peak + np.log(total / len(weights)), total**2 / np.square(weights).sum(axis=0)


def check_data(model: Any, x: ArrayLike, y: Any) -> tuple[Array, Any]:
    """Return `x` as float32 and checked `y`; raise a `ValueError` if the model has no density or they do not fit it."""
    capabilities.needs(model, "density")
    images = np.asarray(model.check_images(x), "float32")
    return images, model.check_condition(y, len(images))


def stream(seed: int | None) -> keras.random.SeedGenerator:
    """Random numbers of a seed, or for `None` unforeseen ones."""
    return keras.random.SeedGenerator(checks.seed(seed))


def encoded(model: Any, x: Array, y: Any) -> Array:
    """Compute the parameters of q(z|x), `(n, parameters · latent_dim)`, for checked data."""
    return in_batches(kept(model, encoder_decoder.encoded), x, y, batch_size=encoder_decoder.EVALUATION_BATCH)


def importance_sampling(
    model: Any,
    x: Array,
    y: Any,
    params: Array,
    num_samples: int,
    batch_size: int,
    seed: int | None,
    verbose: bool = False,
) -> LogLikelihood:
    """Do the same as `log_likelihood` with given parameters `(n, parameters · latent_dim)` of q(z|x)."""
    return _estimate(model, _codes, _log_weights, (x, y, params), num_samples, batch_size, seed, verbose)


# For `kvae.training.kept`.


def _prior_codes(model, num_samples, rows, noise, x, y):
    z = model.prior.sample(num_samples * rows, networks.tile(model.condition(y), num_samples), noise)
    return (ops.reshape(z, (num_samples, rows, *model.latent_shape)),)


def _log_likelihood(model, noise, z, x, y):
    codes, x, *condition = _pairs(z, x, *model.condition(y))
    return ops.reshape(model.log_likelihood(x, model.generation(codes, condition)), z.shape[:2])


def _codes(model, num_samples, rows, noise, x, y, params):
    family = model.posterior_family
    if type(family).sample_and_log_prob is Distribution.sample_and_log_prob:
        return family.sample(params, num_samples, noise), None  # log q(z|x) with the other densities, in XLA
    return family.sample_and_log_prob(params, num_samples, noise, len(model.latent_shape))


def _log_weights(model, noise, z, log_posterior, x, y, params):
    codes, x, params, *condition = _pairs(z, x, params, *model.condition(y))
    if log_posterior is not None:
        log_posterior = ops.reshape(log_posterior, codes.shape[:2])
    sample, _ = model.score(x, codes, params, condition, noise, log_posterior=log_posterior)
    return ops.reshape(sample.log_weights(), z.shape[:2])


def _pairs(z, *parts):
    """On TensorFlow, codes `(samples, rows, ...)` as `(1, samples · rows, ...)`, and `parts` `(rows, ...)` repeated.

    Its XLA takes a fifth less time over pixels with one axis before them than with two; JAX's does not.
    """
    if keras.backend.backend() != "tensorflow":
        return z, *parts
    return ops.reshape(z, (1, -1, *z.shape[2:])), *networks.tile(parts, z.shape[0])


def _estimate(model, draw, weigh, data, num_samples, batch_size, seed, verbose):
    """Compute a `LogLikelihood` from codes and their log-weights, in chunks.

    Args:
        model: the model.
        draw: function `(model, num_samples, rows, noise, *data)` that returns a tuple: codes
            `(samples, rows, *latent_shape)` and whatever else `weigh` needs.
        weigh: function `(model, noise, *drawn, *data)` that returns log-weights `(samples, rows)`.
        data: arrays of equal length or `None`, images first.
        num_samples: as in `log_likelihood`.
        batch_size: as in `log_likelihood`.
        seed: as in `log_likelihood`.
        verbose: as in `log_likelihood`.
    """
    num_samples = checks.positive_integer(num_samples, "num_samples")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    # Every chunk has the same number of samples, so that a single compiled shape serves all; the surplus is dropped.
    samples = even_share(num_samples, batch_size)
    n = len(data[0])
    # Sampling and scoring are compiled separately, because only scoring gains from XLA.
    drawn = kept(model, draw, samples, even_share(n, batch_size // samples))
    weighed = kept(model, weigh, fuse=True)
    of_draws, of_weights = stream(seed), stream(checks.seeds(seed, 1)[0])
    values, sizes = np.empty(n), np.empty(n)
    runs = -(-num_samples // samples)
    jobs = (job for job in chunks(data, batch_size // samples, verbose, "log-likelihood") for _ in range(runs))
    tables = []
    for (rows, parts), codes in _one_ahead(lambda job: drawn(*job[1], noise=of_draws), jobs):
        tables.append(as_array(weighed(*codes, *parts, noise=of_weights)))
        if len(tables) == runs:
            log_weights = np.concatenate(tables)[:num_samples, : rows.stop - rows.start]
            values[rows], sizes[rows] = log_mean(log_weights, rows.start)
            tables = []
    return LogLikelihood(values, sizes)


def _one_ahead(function, items):
    """Yield each item with `function(item)`, in order, computed in a thread while the caller uses the previous pair."""
    with ThreadPoolExecutor(1) as thread:
        waiting: list = []
        for item in items:
            waiting.append((item, thread.submit(function, item)))
            if len(waiting) == 2:
                item, coming = waiting.pop(0)
                yield item, coming.result()
        for item, coming in waiting:
            yield item, coming.result()
