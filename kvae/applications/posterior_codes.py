"""Codes of partially observed images, by Markov chain Monte Carlo or by optimisation.

The target is p(z | observed) ∝ p(observed | z) p(z), with `observed = A x + noise`, where A is a mask or a mean over
blocks of pixels. The public functions are in `kvae.applications.restoration`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions import Normal
from kvae.models import capabilities
from kvae.models.batches import in_batches
from kvae.training.gradients import maximise
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Tensor

ROWS = 1000  # codes at a time, which bounds the memory
WALK = 0.2  # standard deviation of a random-walk step in each dimension; that of the prior is 1
MOVES = (False, False), (True, False), (True, True)  # of a chain: whether a step may be rejected, and is a random walk


class Observation:
    """Partial observations of n images: pixels under a mask, or means over blocks of pixels.

    Args:
        value: array `(n, height / factor, width / factor, channels)`.
        mask: array like `value`, 1 where it is known.
        sensor: how values arise from images; by default they are pixels of these.
    """

    def __init__(self, value: ArrayLike, mask: ArrayLike, sensor: Sensor | None = None) -> None:
        self.value = np.asarray(value, "float32")
        self.mask = np.asarray(mask, "float32")
        self.sensor = sensor or Sensor()


@dataclasses.dataclass(frozen=True)
class Sensor:
    """How observed values arise from images.

    Args:
        factor: int, side length of a block.
        sigma: standard deviation of the noise on the values; `None` if they are pixels of the image, scored by the
            model's likelihood.
    """

    factor: int = 1
    sigma: float | None = None

    def log_prob(self, model: Any, params: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Compute log p(observed | z), `(batch,)`, from the decoder's outputs `params`."""
        if self.sigma is None:
            log_prob = model.likelihood.elementwise_log_prob(value, params)
        else:
            mean = block_means(model.likelihood.mean(params), self.factor)
            log_prob = Normal(sigma=self.sigma).elementwise_log_prob(value, mean)
        return ops.sum(mask * log_prob, axis=tuple(range(1, len(log_prob.shape))))

    def fill(self, mean: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Combine the decoded `mean` with the observation in one image.

        x̂ = m + g Aᵀ (observed − A m): known pixels are restored exactly. For noisy ones, g = max(0, 1 − σ²/r²), where
        r² is the mean square of the residual, removes what noise alone explains (the positive-part James-Stein rule).
        """
        residual = mask * (value - block_means(mean, self.factor))
        if self.sigma is not None:
            pixels = tuple(range(1, len(residual.shape)))
            square = ops.mean(ops.square(residual), axis=pixels, keepdims=True)
            residual = residual * ops.maximum(0.0, 1.0 - self.sigma**2 / ops.maximum(square, 1e-12))
        return mean + enlarge(residual, self.factor)


def block_means(x: Tensor, factor: int) -> Tensor:
    """Average `x` `(batch, height, width, channels)` over blocks of `factor` by `factor` pixels."""
    if factor == 1:
        return x
    height, width, channels = x.shape[1:]
    return ops.mean(ops.reshape(x, (-1, height // factor, factor, width // factor, factor, channels)), axis=(2, 4))


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Repeat each pixel of `x` `(batch, height, width, channels)` over a block of `factor` by `factor`."""
    return x if factor == 1 else ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2)


def sample_codes(
    model: Any, observation: Observation, y: Any, num_samples: int, steps: int, seed: int | None, correct: bool
) -> Array:
    """Sample codes from p(z | observed), each at the end of a separate Markov chain that starts at the prior.

    A step decodes z, puts the observed pixels into the image x̂(z), encodes it, and draws z' ~ q(z | x̂(z)): Rezende,
    Mohamed, Wierstra 2014, appendix F (https://arxiv.org/abs/1401.4082), except that x̂ contains decoded means
    instead of sampled pixels, to suit greyscale images. For this reason, and because q is not the true posterior, the
    variance of the chain is too small. With `correct`, a step in the second half is accepted with the
    Metropolis-Hastings probability,

        min(1, p(observed | z') p(z') q(z | x̂(z')) / (p(observed | z) p(z) q(z' | x̂(z)))),

    which makes p(z | observed) its stationary distribution, following the idea of Mattei & Frellsen 2018
    (https://arxiv.org/abs/1802.04826). Every second step is then a random-walk step, without q in the ratio: it moves
    the chain where the encoder, misled by the missing pixels, proposes codes that are too far away.

    For an autoencoder, only the start of the chain is random, an encoded noise image; the chain converges to a fixed
    point of decoding and encoding.

    Args:
        model: a `VAE` or `CVAE`; or an `Autoencoder`, without `correct`.
        observation: an `Observation` of n images.
        y: their labels, or `None`.
        num_samples: int, chains per image.
        steps: int, steps per chain.
        seed: int for reproducible chains; `None` for random ones.
        correct: whether to apply the Metropolis-Hastings correction.

    Returns:
        Array `(num_samples, n, latent_dim)`.
    """
    noise = keras.random.SeedGenerator(checks.seed(seed))
    seen = kept(model, _seen, observation.sensor, correct)
    free, proposed, walked = (kept(model, _moved, observation.sensor, correct, *how) for how in MOVES)

    def function(value, mask, y):
        value, mask, condition = _tile(model, value, mask, y, num_samples)
        here = seen(value, mask, condition, _first_codes(model, observation, value, mask, condition, noise))
        for step in range(steps):
            corrected = correct and step >= steps // 2
            move = (walked if step % 2 else proposed) if corrected else free
            here = move(value, mask, condition, here, noise=noise)
        return ops.reshape(here[0], (-1, num_samples, *model.latent_shape))

    rows = max(1, ROWS // num_samples)
    return in_batches(function, observation.value, observation.mask, y, batch_size=rows).swapaxes(0, 1)


def _seen(model, sensor, correct, noise, value, mask, condition, z):
    """The state of a chain at z: z, the encoder's outputs for x̂(z), and with `correct` log p(observed, z)."""
    params = model.generation(z[None], condition)[0]
    view = model.inference(sensor.fill(model.likelihood.mean(params), value, mask), condition)
    return (z, view, log_joint(model, sensor, z, params, value, mask, condition)) if correct else (z, view)


def _moved(model, sensor, correct, may_reject, walk, noise, value, mask, condition, here):
    """The next state of a chain."""
    if walk:
        z = here[0] + WALK * keras.random.normal(ops.shape(here[0]), dtype="float32", seed=noise)
    else:
        z = _draw(model, here[1], noise)
    there = _seen(model, sensor, correct, noise, value, mask, condition, z)
    if not may_reject:
        return there

    def log_q(z, view):
        return model.posterior_family.log_prob(z, view, len(model.latent_shape))

    log_ratio = there[2] - here[2]
    if not walk:
        log_ratio = log_ratio + log_q(here[0], there[1]) - log_q(there[0], here[1])
    accept = ops.log(keras.random.uniform(ops.shape(log_ratio), dtype="float32", seed=noise)) < log_ratio
    return tuple(ops.where(_like(accept, new), new, old) for new, old in zip(there, here, strict=True))


def log_joint(
    model: Any, sensor: Sensor, z: Tensor, params: Tensor, value: Tensor, mask: Tensor, condition: Any
) -> Tensor:
    """Compute log p(observed, z), `(batch,)`, from the decoder's outputs; without a prior, log p(observed | z)."""
    log_prob = sensor.log_prob(model, params, value, mask)
    if not capabilities.has(model, "prior"):
        return log_prob
    return log_prob + model.prior.log_prob(z, condition, model.seed_generator)


def _like(values, x):
    """`values` `(batch,)` with as many axes as `x` `(batch, ...)`."""
    return ops.reshape(values, (-1, *[1] * (len(x.shape) - 1)))


def _draw(model, view, noise):
    """A code for each of the encoder's outputs: a posterior sample, or the code that a model without densities has."""
    return model.posterior_family.sample(view, 1, noise)[0] if capabilities.has(model, "density") else model.code(view)


def _first_codes(model, observation, value, mask, condition, noise):
    """The start of the chains: samples from the prior, or the codes of noise images with the observed pixels put in."""
    if not capabilities.has(model, "density"):
        mean = keras.random.uniform((value.shape[0], *model.image_shape), dtype="float32", seed=noise)
        return model.code(model.inference(observation.sensor.fill(mean, value, mask), condition))
    return model.prior.sample(value.shape[0], condition, noise)


def _tile(model, value, mask, y, num_samples):
    """Repeat each row `num_samples` times; `y` becomes the networks' condition."""
    value, mask, *condition = (ops.repeat(each, num_samples, axis=0) for each in (value, mask, *model.condition(y)))
    return value, mask, tuple(condition)


def optimise_codes(model: Any, observation: Observation, y: Any, z: Array, steps: int, learning_rate: float) -> Array:
    """Maximise log p(observed | z) + log p(z) with Adam; for an autoencoder, the first term only.

    Args:
        model: a `VAE`, a `CVAE` or an `Autoencoder`.
        observation: an `Observation` of n images.
        y: their labels, or `None`.
        z: array `(num_samples, n, latent_dim)` to start from.
        steps: int, Adam steps.
        learning_rate: float, Adam's.

    Returns:
        Array like `z`.
    """
    num_samples = len(z)

    def function(value, mask, y, z):
        value, mask, condition = _tile(model, value, mask, y, num_samples)

        def objective(z):
            params = model.generation(z[None], condition)[0]
            return log_joint(model, observation.sensor, z, params, value, mask, condition)

        best = maximise(objective, ops.reshape(z, (-1, *model.latent_shape)), steps, learning_rate)
        return ops.reshape(best, (-1, num_samples, *model.latent_shape))

    rows = max(1, ROWS // num_samples)
    return in_batches(function, observation.value, observation.mask, y, np.swapaxes(z, 0, 1), batch_size=rows).swapaxes(
        0, 1
    )


def complete(model: Any, observation: Observation, z: Array, y: Any) -> Array:
    """Decode codes and put the observed pixels back: images `(num_samples, n, *image_shape)`.

    Args:
        model: a `VAE`, a `CVAE` or an `Autoencoder`.
        observation: an `Observation` of n images.
        z: array `(num_samples, n, latent_dim)`.
        y: labels of the n images, or `None`.
    """

    def function(value, mask, mean):
        return observation.sensor.fill(mean, value, mask)

    return np.stack(
        [
            in_batches(function, observation.value, observation.mask, model.decode(codes, y), batch_size=ROWS)
            for codes in z
        ]
    )
