"""What a bound misses of log p(x): by the family of q, and by the encoder that chooses within it."""

import dataclasses

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.evaluation.compiled import Compiled, chunks, even_share
from kvae.evaluation.likelihood import check_data, encoded, importance_sampling
from kvae.training.gradients import maximise


@dataclasses.dataclass(frozen=True)
class InferenceGap:
    """log p(x) − ELBO of n examples in its two parts, arrays `(n,)` in nats.

    Attributes:
        log_likelihood: log p(x).
        best_elbo: the ELBO of the best q of the family for each example, found by optimisation.
        elbo: the ELBO of the encoder's q.
    """

    log_likelihood: np.ndarray
    best_elbo: np.ndarray
    elbo: np.ndarray

    @property
    def approximation(self):
        """log p(x) less the best ELBO, `(n,)`: what the family of q cannot follow of the true posterior."""
        return self.log_likelihood - self.best_elbo

    @property
    def amortisation(self):
        """The best ELBO less the encoder's, `(n,)`: what one encoder for all examples costs."""
        return self.best_elbo - self.elbo

    @property
    def total(self):
        """log p(x) − ELBO, `(n,)`: the sum of both parts."""
        return self.log_likelihood - self.elbo


def inference_gap(
    model,
    x,
    y=None,
    num_samples=5000,
    steps=500,
    learning_rate=0.03,
    gradient_samples=16,
    batch_size=5000,
    seed=None,
    verbose=False,
):
    """Split log p(x) − ELBO into the approximation gap and the amortisation gap.

    Cremer, Li, Duvenaud 2018 (https://arxiv.org/abs/1801.03558), table 1: the parameters of q are optimised for each
    example alone (Adam on the ELBO, from the encoder's answer on), decoder and prior being left as they are. log p(x)
    is then estimated by importance sampling from the optimised q, the closer one. All three numbers are estimates:
    where a gap is small, its sign for a single example is noise.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`; a hundred or two serve for a mean.
        y: labels, for a conditional model.
        num_samples: int, samples an example of log p(x) and of each ELBO.
        steps: int, of the optimisation.
        learning_rate: float, Adam's at the first step; it falls to 0 along a cosine.
        gradient_samples: int, samples an example in a step.
        batch_size: int, rows that the decoder gets at a time.
        seed: int for reproducible noise; `None` for a random one.
        verbose: whether to print progress, if it takes more than two seconds.

    Returns:
        An `InferenceGap`.

    Raises:
        ValueError: if the model has no density, or images or labels do not fit it.

    Example:

    >>> gap = kvae.evaluation.inference_gap(model, data.x_test[:100], seed=0)
    >>> gap.approximation.mean(), gap.amortisation.mean()  # nats
    """
    x, y = check_data(model, x, y)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    steps = checks.positive_integer(steps, "steps")
    learning_rate = checks.positive_number(learning_rate, "learning_rate")
    gradient_samples = checks.positive_integer(gradient_samples, "gradient_samples")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    params = encoded(model, x, y)
    best = np.empty_like(params)
    settings = (gradient_samples, steps, learning_rate, seed)
    for rows, parts in chunks((x, params, y), max(1, batch_size // gradient_samples), verbose, "inference gap"):
        best[rows] = _optimise(model, parts, *settings)[: rows.stop - rows.start]
    elbo = _elbo(model, x, y, params, num_samples, batch_size, seed)
    # The same noise for both; and the encoder's q is in the family, so the best is no worse.
    best_elbo = np.maximum(_elbo(model, x, y, best, num_samples, batch_size, seed), elbo)
    estimate = importance_sampling(model, x, y, best, num_samples, batch_size, seed)
    return InferenceGap(estimate.values, best_elbo, elbo)


def _elbo(model, x, y, params, num_samples, batch_size, seed):
    """The ELBO of each example `(n,)` for given parameters of q."""
    samples = even_share(num_samples, batch_size)

    def function(noise, x, params, y=None):
        z = model.posterior_family.sample(params, samples, noise)
        sample, _ = model.score(x, z, params, model.condition(y), noise)
        return ops.mean(sample.log_likelihood, axis=0) - sample.total_kl()

    compiled = Compiled(function, seed)
    elbo = np.empty(len(x))
    for rows, parts in chunks((x, params, y), batch_size // samples):
        draws = np.stack([compiled.run(*parts) for _ in range(-(-num_samples // samples))])
        elbo[rows] = draws.mean(axis=0, dtype="float64")[: rows.stop - rows.start]
    return elbo


def _optimise(model, parts, num_samples, steps, learning_rate, seed):
    """Parameters of q that raise each example's own ELBO, from the encoder's on; `parts` are `x`, those, and `y`."""
    x, params, y = parts
    noise = keras.random.SeedGenerator(seed)
    x, condition = ops.convert_to_tensor(x), model.condition(y)

    def elbo(params):
        z = model.posterior_family.sample(params, num_samples, noise)
        sample, _ = model.score(x, z, params, condition, noise)
        return ops.mean(sample.log_likelihood, axis=0) - sample.total_kl()

    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    # A short memory of squares: a poor encoder gives steep gradients at first, which would slow Adam down for long.
    return maximise(elbo, params, steps, rate, beta_2=0.9, noise=noise)
