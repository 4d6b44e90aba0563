"""The weights of the log-likelihood and the KL in a model's loss: 1 where they are sums, 1/784 where one is a mean.

A mean over the pixels instead of a sum is easily overlooked, and makes the KL 784 times as strong. The functions here
do not need to know how a loss is computed: they test properties that every probability has.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.bounds import Bound, PosteriorSample
from kvae.distributions import Distribution, Joint, Observed
from kvae.models import VAE
from kvae.models.batches import Batch, in_batches
from kvae.types import Array, Shape

MASS_TOLERANCE = 0.03  # on log ∫ p, the error of a grid in float32
DISTANCES = 10.0 ** np.linspace(-5, 6, 1200)  # from the mean, so that no family is too narrow or too wide
PARAMETER_SETS = 4
NUMBERS = 100_000  # parameters times images that are scored at once
POSITIONS = (np.arange(2400) + 0.5) / 2400  # in the unit interval
# What one number may be, as `_log_masses` sums or integrates over it: for the real and the positive numbers, distances.
SUPPORTS = {
    "binary": np.arange(2.0),
    "one-hot": None,
    "real": None,
    "positive": None,
    "unit": POSITIONS,
    "levels": np.arange(256) / 255,
    "counts": np.arange(2400.0),
    "bytes": np.arange(256.0),
}


def density_scale(family: Distribution, shape: Shape) -> tuple[float | None, str | None]:
    """The power c for which p(x)^c is a distribution, with log p the family's log-density, and its support.

    c = 1 if `elementwise_log_prob` is the log-probability of a pixel, to be summed. For a family that divides by the
    number of pixels, or averages over them, c is that number. The sums over {0, 1}, over one-hot vectors, over 256 grey
    levels (as fractions or as bytes) and over counts, and the integrals over the real and the positive numbers and over
    [0, 1] are tried; c is 1, a number of pixels, or (for binary pixels, where it is unique) found by bisection.

    Args:
        family: `Distribution` of the likelihood.
        shape: shape of one image.

    Returns:
        Tuple of c and the support, a key of `SUPPORTS`, or "several" for a `Joint` of families that are distributions;
        `(None, None)` if there is no such c.

    Example:

    >>> kvae.evaluation.doctor.loss_scale.density_scale(kvae.distributions.Bernoulli(), (8, 8, 1))
    (1.0, 'binary')
    """
    if isinstance(family, Observed):
        return density_scale(family.family, shape)
    if isinstance(family, Joint):
        parts = zip(family.parts, family.sizes, strict=True)
        each = [density_scale(part, (*shape[:-1], size))[0] for part, size in parts]
        return (1.0, "several") if set(each) == {1.0} else (None, None)
    supports = [support for support in SUPPORTS if support != "one-hot" or shape[-1] > 1]  # [1] alone has any mass
    masses = {support: _when_asked(_log_masses, family, shape, support) for support in supports}
    unit = masses.pop("unit")
    powers = (1.0, float(math.prod(shape)), float(math.prod(shape[:-1])))
    for c in powers:
        for support, log_mass in masses.items():
            if np.all(np.abs(log_mass(c)) < MASS_TOLERANCE):
                return c, support
    c = _bisect(lambda c: float(masses["binary"](c)[0]))
    if c is not None and np.all(np.abs(masses["binary"](c)) < MASS_TOLERANCE):
        return c, "binary"
    # Last, and by the smallest error: the density of a mean over many pixels is nearly 1 all over the unit interval.
    c = min(powers, key=lambda c: np.max(np.abs(unit(c))))
    return (c, "unit") if np.all(np.abs(unit(c)) < MASS_TOLERANCE) else (None, None)


def score_weights(model: VAE, x: Array, y: Any = None, seed: int = 0) -> tuple[float, float]:
    """The factors that `model.score` applies to the densities of its families: 1 for each if it sums them.

    The posterior's parameters are drawn at random, so that a collapsed model is measured as well.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model.
        seed: int.

    Returns:
        Tuple of the factors on Σ log p(x|z) over pixels and on E[log q(z|x) − log p(z)].
    """
    noise = keras.random.SeedGenerator(seed)
    params = np.random.default_rng(seed).normal(size=(len(x), *model.encoder.output_shape[1:])).astype("float32")

    def function(x, y, params):
        condition = model.condition(y)
        z, log_posterior = model.posterior_family.sample_and_log_prob(params, 64, noise, len(model.latent_shape))
        # An int as the seed, so that a stochastic prior draws the same samples again.
        sample, x_params = model.score(x, z, params, condition, seed, log_posterior=log_posterior)
        log_likelihood = model.likelihood.log_prob(x, x_params, len(model.image_shape))
        kl = ops.mean(log_posterior - model.prior.log_prob(z, condition, seed), axis=0)
        return sample.log_likelihood[0], log_likelihood[0], sample.total_kl(), kl

    log_likelihood, summed, kl, sampled = in_batches(function, x, y, params, batch_size=16)
    return _slope(log_likelihood, summed), _ratio(kl, sampled)


def bound_weights(bound: Bound, latent_dim: int) -> tuple[float, float]:
    """How a bound responds to a change by one nat: both numbers are 1 for every bound of this package.

    Args:
        bound: a `kvae.bounds.Bound`.
        latent_dim: int.

    Returns:
        Tuple of the decrease of the loss if log p(x|z) rises by 1 nat, and its increase if the KL does.
    """
    rng = np.random.default_rng(0)
    densities = rng.normal(size=(3, 4, 8)).astype("float32")  # three of them, samples, batch

    def loss(log_likelihood=0.0, kl=0.0):
        sample = PosteriorSample(
            ops.convert_to_tensor(densities[0] + log_likelihood),
            ops.convert_to_tensor(densities[1] - kl),
            ops.convert_to_tensor(densities[2]),
            ops.full((8,), 100.0 * latent_dim + kl, "float32"),
            ops.full((8, latent_dim), 100.0 + kl / latent_dim, "float32"),  # well above any free bits
        )
        return sum(float(ops.mean(term)) for term in bound(sample, 1.0))

    return loss() - loss(log_likelihood=1.0), loss(kl=1.0) - loss()


def logged_weights(model: VAE, x: Array, y: Any, log_likelihood: Array, kl: Array) -> tuple[float, float]:
    """The factors between the terms logged by a pass over a batch and those of `elbo_terms`: 1 if they agree.

    The model's random stream is left unchanged.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`.
        y: labels, or `None`.
        log_likelihood: array `(n,)`, E_q[log p(x|z)].
        kl: array `(n,)`, KL(q(z|x) ‖ p(z)).

    Returns:
        Tuple of floats, for log p(x|z) and the KL.
    """
    state = ops.convert_to_numpy(model.seed_generator.state)
    try:
        y = keras.tree.map_structure(ops.convert_to_tensor, y) if y is not None else None
        terms = model.run_batch(Batch(ops.convert_to_tensor(x), y), training=False).terms
    finally:
        model.seed_generator.state.assign(state)
    reconstruction_loss, kl_loss = (ops.convert_to_numpy(terms[name]) for name in ("reconstruction_loss", "kl_loss"))
    return _slope(reconstruction_loss, -log_likelihood), _ratio(kl_loss, kl)


def _when_asked(make, *arguments):
    """The function `make(*arguments)`, made at its first call: most families are found with the first supports."""
    made = functools.cache(lambda: make(*arguments))
    return lambda c: made()(c)


def _log_masses(family, shape, support):
    """A function from c to log Σ_v p(v)^c for several sets of parameters, with p(v) the density of one pixel.

    All pixels are equal, so that a log-density that averages over them looks like one that divides.
    """
    rng = np.random.default_rng(0)
    rows = []
    for i in range(PARAMETER_SETS):
        each = rng.normal(size=family.num_parameters) if i else np.zeros(family.num_parameters)
        params = np.broadcast_to(np.repeat(each, shape[-1]), (1, *shape[:-1], family.num_parameters * shape[-1]))
        params = ops.convert_to_tensor(np.ascontiguousarray(params, "float32"))
        values, number = SUPPORTS[support], math.prod(shape)
        if support == "one-hot":
            number //= shape[-1]
            values = np.eye(shape[-1]).reshape(-1, *[1] * (len(shape) - 1), shape[-1])
        elif values is None:
            signs = (-1.0, 1.0) if support == "real" else (1.0,)
            start = float(ops.convert_to_numpy(family.mean(params)).flat[0]) if support == "real" else 0.0
            values = np.concatenate([start + sign * DISTANCES for sign in signs])
            widths = np.tile(DISTANCES * np.log(DISTANCES[1] / DISTANCES[0]), len(signs))
        if support not in ("real", "positive"):
            widths = np.full(len(values), 1.0 / len(values) if support == "unit" else 1.0)
        values = values.reshape(-1, *[1] * len(shape)) if values.ndim == 1 else values
        images = np.broadcast_to(values, (len(values), *shape)).astype("float32")
        log_prob = _log_probs(family, images, params) / number
        rows.append((np.where(np.isnan(log_prob), -np.inf, log_prob), np.log(widths)))
    return lambda c: np.array([np.logaddexp.reduce(c * log_prob + width) for log_prob, width in rows])


def _log_probs(family, images, params):
    """log p of images `(n, *shape)` under one set of parameters, in pieces: some families make arrays per level."""
    pieces = np.array_split(images, -(-len(images) * family.num_parameters // NUMBERS))
    log_probs = [_sum(family.elementwise_log_prob(ops.convert_to_tensor(each), params[None]), 2)[0] for each in pieces]
    return np.concatenate([ops.convert_to_numpy(each) for each in log_probs]).astype("float64")


def _bisect(function, low=1e-6, high=1e6):
    """The root of a decreasing function of c; `None` if it has no root within the limits."""
    if not function(low) > 0 > function(high):
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return math.sqrt(low * high)


def _slope(values, reference):
    """The factor from `reference` to `values` `(n,)` by least squares: for densities, whose mean may be near 0.

    Like `_ratio` it is 1 if the two differ by no more than sampling noise.
    """
    values, reference = np.asarray(values, "float64"), np.asarray(reference, "float64")
    return 1.0 if _alike(values, reference) else float(np.sum(values * reference) / np.sum(reference**2))


def _ratio(values, reference):
    """The factor from `reference` to `values` `(n,)` by their means: for KLs, whose noise is as large as they are."""
    values, reference = np.asarray(values, "float64"), np.asarray(reference, "float64")
    return 1.0 if _alike(values, reference) else float(np.mean(values) / np.mean(reference))


def _alike(values, reference):
    more = values - reference
    return abs(np.mean(more)) <= 4 * np.std(more) / math.sqrt(len(more))


def _sum(values, first):
    """Sum over all axes from `first` on."""
    return ops.sum(values, axis=tuple(range(first, len(values.shape))))
