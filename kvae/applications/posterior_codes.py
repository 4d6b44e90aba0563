"""Codes that explain what was observed of an image: sampled along the encoder, or climbed to along the gradient.

Everything here is about p(z | observed) ∝ p(observed | z) p(z), with `observed = A x + noise` and A a mask or a mean
over blocks of pixels. `kvae.applications.inverse` holds what users call.
"""

import keras
import numpy as np
from keras import ops

from kvae.distributions import Normal
from kvae.models import capabilities
from kvae.models.batches import in_batches
from kvae.training.gradients import maximise

ROWS = 1000  # codes at a time: bounds the memory
WALK = 0.2  # a random-walk step in every dimension, against the prior's deviation of 1


class Observation:
    """What is known of n images: pixels under a mask, or means over blocks of pixels.

    Args:
        value: array `(n, height / factor, width / factor, channels)`.
        mask: array like `value`, 1 where it is known.
        factor: int, side of a block.
        sigma: standard deviation of the noise on `value`; `None` for values that are the image's own pixels, scored
            by the model's likelihood.
    """

    def __init__(self, value, mask, factor=1, sigma=None):
        self.value = np.asarray(value, "float32")
        self.mask = np.asarray(mask, "float32")
        self.factor = factor
        self.sigma = sigma

    def log_prob(self, model, params, value, mask):
        """log p(observed | z), `(batch,)`, from the decoder's `params`."""
        if self.sigma is None:
            log_prob = model.likelihood.elementwise_log_prob(value, params)
        else:
            mean = block_means(model.likelihood.mean(params), self.factor)
            log_prob = Normal(sigma=self.sigma).elementwise_log_prob(value, mean)
        return ops.sum(mask * log_prob, axis=tuple(range(1, len(log_prob.shape))))

    def fill(self, mean, value, mask):
        """The image that the decoded `mean` and the observation make together.

        x̂ = m + g Aᵀ (observed − A m): known pixels are put back as they are. Where they carry noise, the share
        g = max(0, 1 − σ²/r²), r² the residual's mean square, leaves out what noise alone explains (the positive-part
        rule of James and Stein).
        """
        residual = mask * (value - block_means(mean, self.factor))
        if self.sigma is not None:
            pixels = tuple(range(1, len(residual.shape)))
            square = ops.mean(ops.square(residual), axis=pixels, keepdims=True)
            residual = residual * ops.maximum(0.0, 1.0 - self.sigma**2 / ops.maximum(square, 1e-12))
        return mean + enlarge(residual, self.factor)


def block_means(x, factor):
    """Means over blocks of `factor` by `factor` pixels of `x` `(batch, height, width, channels)`."""
    if factor == 1:
        return x
    height, width, channels = x.shape[1:]
    return ops.mean(ops.reshape(x, (-1, height // factor, factor, width // factor, factor, channels)), axis=(2, 4))


def enlarge(x, factor):
    """Repeat each pixel of `x` `(batch, height, width, channels)` over a block of `factor` by `factor`."""
    return x if factor == 1 else ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2)


def sample_codes(model, observation, y, num_samples, steps, seed, correct):
    """Codes from p(z | observed), each the end of a Markov chain of its own that starts at the prior.

    A step decodes z, puts the observed pixels into the image x̂(z), encodes that, and draws z' ~ q(z | x̂(z)): Rezende,
    Mohamed, Wierstra 2014, appendix F (https://arxiv.org/abs/1401.4082), but x̂ takes the decoded mean where they draw
    pixels, for grey images' sake. So, and since q is not the true posterior, the chain spreads too little. With
    `correct` a step of the second half is taken with the probability of Metropolis and Hastings,

        min(1, p(observed | z') p(z') q(z | x̂(z')) / (p(observed | z) p(z) q(z' | x̂(z)))),

    which makes p(z | observed) its stationary distribution, after the idea of Mattei & Frellsen 2018
    (https://arxiv.org/abs/1802.04826). Every other step is then one of a random walk, without the q in the ratio: it
    moves where the encoder, misled by what is missing, proposes too far.

    An autoencoder's chain has no chance in it but its start, an encoded image of noise, and ends where decoding and
    encoding agree.

    Args:
        model: a `VAE` or `CVAE`; or an `Autoencoder`, without `correct`.
        observation: an `Observation` of n images.
        y: their labels, or `None`.
        num_samples: int, chains an image.
        steps: int, steps of a chain.
        seed: int.
        correct: bool.

    Returns:
        Array `(num_samples, n, latent_dim)`.
    """
    noise = keras.random.SeedGenerator(seed)

    def function(value, mask, y):
        value, mask, condition = _tile(model, value, mask, y, num_samples)

        def look(z):
            """What a chain needs to know of its place: z, the encoder's view of x̂(z), and log p(observed, z)."""
            params = model.generation(z[None], condition)[0]
            x_hat = observation.fill(model.likelihood.mean(params), value, mask)
            view = model.inference(x_hat, condition)
            return (z, view, log_joint(model, observation, z, params, value, mask, condition)) if correct else (z, view)

        def log_q(z, view):
            return model.posterior_family.log_prob(z, view, len(model.latent_shape))

        here = look(_first_codes(model, observation, value, mask, condition, noise))
        for step in range(steps):
            walk = correct and step >= steps // 2 and step % 2
            if walk:
                there = look(here[0] + WALK * keras.random.normal(ops.shape(here[0]), seed=noise))
            else:
                there = look(_draw(model, here[1], noise))
            if correct and step >= steps // 2:
                log_ratio = there[2] - here[2]
                if not walk:
                    log_ratio = log_ratio + log_q(here[0], there[1]) - log_q(there[0], here[1])
                accept = ops.log(keras.random.uniform(ops.shape(log_ratio), seed=noise)) < log_ratio
                there = tuple(ops.where(_like(accept, new), new, old) for new, old in zip(there, here, strict=True))
            here = there
        return ops.reshape(here[0], (-1, num_samples, *model.latent_shape))

    rows = max(1, ROWS // num_samples)
    return in_batches(function, observation.value, observation.mask, y, batch_size=rows).swapaxes(0, 1)


def log_joint(model, observation, z, params, value, mask, condition):
    """log p(observed, z), `(batch,)`, of codes whose decoder gave `params`; without a prior, log p(observed | z)."""
    log_prob = observation.log_prob(model, params, value, mask)
    if not capabilities.has(model, "prior"):
        return log_prob
    return log_prob + model.prior.log_prob(z, condition, model.seed_generator)


def _like(values, x):
    """`values` `(batch,)` with as many axes as `x` `(batch, ...)`."""
    return ops.reshape(values, (-1, *[1] * (len(x.shape) - 1)))


def _draw(model, view, noise):
    """A code for each encoder output: drawn from the posterior, or an autoencoder's code itself."""
    return model.posterior_family.sample(view, 1, noise)[0] if capabilities.has(model, "density") else view


def _first_codes(model, observation, value, mask, condition, noise):
    """Where chains start: codes of the prior, or without one those of noise with the observed pixels put in."""
    if not capabilities.has(model, "density"):
        mean = keras.random.uniform((value.shape[0], *model.image_shape), seed=noise)
        return model.inference(observation.fill(mean, value, mask), condition)
    return model.prior.sample(value.shape[0], condition, noise)


def _tile(model, value, mask, y, num_samples):
    """Each row `num_samples` times, and `y` as the networks' condition."""
    value, mask, *condition = (ops.repeat(each, num_samples, axis=0) for each in (value, mask, *model.condition(y)))
    return value, mask, tuple(condition)


def optimise_codes(model, observation, y, z, steps, learning_rate):
    """Climb log p(observed | z) + log p(z) from given codes, with Adam; for an autoencoder the first term alone.

    Args:
        model: a `VAE`, a `CVAE` or an `Autoencoder`.
        observation: an `Observation` of n images.
        y: their labels, or `None`.
        z: array `(num_samples, n, latent_dim)` to start from.
        steps: int.
        learning_rate: float, Adam's.

    Returns:
        Array like `z`.
    """
    num_samples = len(z)

    def function(value, mask, y, z):
        value, mask, condition = _tile(model, value, mask, y, num_samples)

        def objective(z):
            params = model.generation(z[None], condition)[0]
            return log_joint(model, observation, z, params, value, mask, condition)

        best = maximise(objective, ops.reshape(z, (-1, *model.latent_shape)), steps, learning_rate)
        return ops.reshape(best, (-1, num_samples, *model.latent_shape))

    rows = max(1, ROWS // num_samples)
    return in_batches(function, observation.value, observation.mask, y, np.swapaxes(z, 0, 1), batch_size=rows).swapaxes(
        0, 1
    )


def complete(model, observation, z, y):
    """Decode codes and put what was observed back: images `(num_samples, n, *image_shape)`.

    Args:
        model: a `VAE`, a `CVAE` or an `Autoencoder`.
        observation: an `Observation` of n images.
        z: array `(num_samples, n, latent_dim)`.
        y: labels of the n images, or `None`.
    """

    def function(value, mask, mean):
        return observation.fill(mean, value, mask)

    return np.stack(
        [
            in_batches(function, observation.value, observation.mask, model.decode(codes, y), batch_size=ROWS)
            for codes in z
        ]
    )
