"""The gap between log p(x) and the ELBO: the part due to the family of q, and the part due to the encoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.evaluation.chunks import chunks, even_share
from kvae.evaluation.likelihood import check_data, encoded, importance_sampling, stream
from kvae.training.gradients import maximise
from kvae.training.kept import as_array, kept
from kvae.types import Array, ArrayLike


@dataclasses.dataclass(frozen=True)
class InferenceGap:
    """log p(x) − ELBO of n examples, split into two parts; arrays `(n,)` in nats.

    Attributes:
        log_likelihood: log p(x).
        best_elbo: the ELBO of the family's best q for each example, found by optimisation.
        elbo: the ELBO of the encoder's q.
    """

    log_likelihood: Array
    best_elbo: Array
    elbo: Array

    @property
    def approximation(self) -> Array:
        """log p(x) minus the best ELBO, `(n,)`: the cost of a q that is restricted to its family."""
        return self.log_likelihood - self.best_elbo

    @property
    def amortisation(self) -> Array:
        """The best ELBO minus the encoder's, `(n,)`: the cost of one encoder for all examples."""
        return self.best_elbo - self.elbo

    @property
    def total(self) -> Array:
        """log p(x) − ELBO, `(n,)`: the sum of both parts."""
        return self.log_likelihood - self.elbo


def inference_gap(
    model: Any,
    x: ArrayLike,
    y: Any = None,
    num_samples: int = 5000,
    steps: int = 500,
    learning_rate: float = 0.03,
    gradient_samples: int = 16,
    batch_size: int = 5000,
    seed: int | None = None,
    verbose: bool = False,
) -> InferenceGap:
    """Split log p(x) − ELBO into the approximation gap and the amortisation gap.

    Cremer, Li, Duvenaud 2018 (https://arxiv.org/abs/1801.03558), table 1: the parameters of q are optimised for each
    example individually (Adam on the ELBO, starting at the encoder's output) while decoder and prior stay fixed. log
    p(x) is then estimated by importance sampling from the optimised q, which is closer to the true posterior. All three
    numbers are estimates: the sign of a small gap of a single example is noise.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`; one or two hundred suffice for a mean.
        y: labels, for a conditional model.
        num_samples: int, samples per example for log p(x) and for each ELBO.
        steps: int, optimisation steps.
        learning_rate: float, Adam's initial learning rate, with cosine decay to 0.
        gradient_samples: int, samples per example and step.
        batch_size: int, rows per decoder call.
        seed: int for reproducible noise; `None` for a random one.
        verbose: whether to print progress in runs of more than two seconds.

    Returns:
        An `InferenceGap`.

    Raises:
        ValueError: if the model has no density, or images or labels do not fit it.

    Example:

    >>> gap = kvae.evaluation.inference_gap(model, data.x_test[:10], steps=100, seed=0)
    >>> approximation, amortisation = gap.approximation.mean(), gap.amortisation.mean()  # nats
    """
    x, y = check_data(model, x, y)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    steps = checks.positive_integer(steps, "steps")
    learning_rate = checks.positive_number(learning_rate, "learning_rate")
    gradient_samples = checks.positive_integer(gradient_samples, "gradient_samples")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    params = encoded(model, x, y)
    best = np.empty_like(params)
    # What is optimised must not be judged by the noise that it was optimised for.
    seeds = checks.seeds(checks.seed(seed), 3)
    settings = (gradient_samples, steps, learning_rate, keras.random.SeedGenerator(seeds[0]))
    for rows, parts in chunks((x, params, y), max(1, batch_size // gradient_samples), verbose, "inference gap"):
        best[rows] = _optimise(model, parts, *settings)[: rows.stop - rows.start]
    elbo = _elbo(model, x, y, params, num_samples, batch_size, seeds[1])
    # Both use the same noise, so that it cancels in their difference. The encoder's q belongs to the family, so the
    # best q is at least as good.
    best_elbo = np.maximum(_elbo(model, x, y, best, num_samples, batch_size, seeds[1]), elbo)
    estimate = importance_sampling(model, x, y, best, num_samples, batch_size, seeds[2])
    return InferenceGap(estimate.values, best_elbo, elbo)


def _elbo(model, x, y, params, num_samples, batch_size, seed):
    """The ELBO `(n,)` of each example for the given parameters of q."""
    samples = even_share(num_samples, batch_size)
    estimate, noise = kept(model, _estimate, samples), stream(seed)
    elbo = np.empty(len(x))
    for rows, parts in chunks((x, params, y), batch_size // samples):
        draws = np.stack([as_array(estimate(*parts, noise=noise)) for _ in range(-(-num_samples // samples))])
        elbo[rows] = draws.mean(axis=0, dtype="float64")[: rows.stop - rows.start]
    return elbo


def _estimate(model, num_samples, noise, x, params, y):
    """The ELBO of examples for given parameters of q, from the mean over samples."""
    z = model.posterior_family.sample(params, num_samples, noise)
    sample, _ = model.score(x, z, params, model.condition(y), noise)
    return ops.mean(sample.log_likelihood, axis=0) - sample.total_kl()


def _optimise(model, parts, num_samples, steps, learning_rate, noise):
    """The parameters of q that maximise each example's ELBO; `parts` are `x`, the parameters to start from, and `y`."""
    x, params, y = parts
    x, condition = ops.convert_to_tensor(x), model.condition(y)

    def elbo(params):
        z = model.posterior_family.sample(params, num_samples, noise)
        sample, _ = model.score(x, z, params, condition, noise)
        return ops.mean(sample.log_likelihood, axis=0) - sample.total_kl()

    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    # β₂ = 0.9: a poor encoder gives steep gradients at first; a longer memory of them would slow Adam down.
    return maximise(elbo, params, steps, rate, beta_2=0.9, noise=noise)
