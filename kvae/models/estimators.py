"""Posterior samples, a bound of them, and the gradient that the bound's estimator asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from kvae.bounds import Bound, PosteriorSample
from kvae.distributions import Distribution
from kvae.priors import Prior
from kvae.training.held import held
from kvae.types import Tensor


def check(bound: Bound, family: Distribution, prior: Prior) -> None:
    """Raise a `ValueError` unless the bound's gradient can be estimated with this posterior and this prior."""
    if prior.stochastic and bound.gradient == "doubly_reparameterized":
        raise ValueError(
            f"`bound` must use another gradient with a {type(prior).__name__} prior, which draws samples of its own. "
            f"Received: gradient={bound.gradient!r}"
        )
    if not family.reparameterized and bound.gradient != "score_function":
        raise ValueError(
            f'`bound` must use gradient="score_function" with a {type(family).__name__} posterior, whose samples have '
            f"no derivative. Received: gradient={bound.gradient!r}"
        )
    if family.discrete and bound.gradient == "doubly_reparameterized":
        raise ValueError(
            '`bound` must use gradient="reparameterized" or "score_function" with discrete codes, as those of a '
            f"{type(family).__name__} posterior. Received: gradient={bound.gradient!r}"
        )


class Estimate(NamedTuple):
    """What `estimate` gives.

    Attributes:
        losses: the terms to minimise, each `(batch,)`.
        z: posterior samples `(samples, batch, *latent_shape)`.
        sample: their `PosteriorSample`.
        x_params: parameters of p(x|z), `(samples, batch, ...)`.
    """

    losses: tuple[Tensor, ...]
    z: Tensor
    sample: PosteriorSample
    x_params: Tensor


def estimate(
    model: Any,
    params: Tensor,
    score: Callable[[Tensor, Tensor, Tensor], tuple[PosteriorSample, Tensor]],
    training: bool,
) -> Estimate:
    """Draw from the posterior and compute the bound's terms, with the gradient that its estimator asks for.

    Args:
        model: a `VAE`: its `bound`, `posterior_family`, `num_samples`, `seed_generator` and `beta` are used.
        params: parameters of q(z|x) `(batch, ..., parameters · size)`.
        score: function `(z, log_posterior, params)` to a `PosteriorSample` and the parameters of p(x|z).
        training: bool; otherwise draws are exact, which a discrete posterior relaxes for the gradient.
    """
    bound, family, beta, event_ndim = model.bound, model.posterior_family, model.beta, len(model.latent_shape)
    num_samples, seed = model.num_samples, model.seed_generator
    if bound.gradient == "reparameterized":
        draw = family.sample_for_gradient if training else family.sample_and_log_prob
        z, log_posterior = draw(params, num_samples, seed, event_ndim)
        sample, x_params = score(z, log_posterior, params)
        return Estimate(bound(sample, beta), z, sample, x_params)
    z = family.sample(params, num_samples, seed)
    if bound.gradient == "doubly_reparameterized":
        # log q(z|x) as a function of z alone: q's parameters, and its own weights if it has any, are constants.
        constant = ops.stop_gradient(params)

        def held_log_posterior(z):
            with held(family):
                return family.log_prob(z, constant, event_ndim)

        # The first pass only gives the factors. Both passes compute the same numbers, and XLA merges them.
        still = ops.stop_gradient(z)
        sample, _ = score(still, held_log_posterior(still), constant)
        factors = bound.path_weights(ops.stop_gradient(sample.log_weights(beta)), beta)
        z = _scale_gradient(z, ops.reshape(factors, (*factors.shape[:1], -1, *[1] * event_ndim)))
        sample, x_params = score(z, held_log_posterior(z), constant)
        return Estimate(bound(sample, beta), z, sample, x_params)
    z = ops.stop_gradient(z)
    log_posterior = family.log_prob(z, params, event_ndim)
    sample, x_params = score(z, log_posterior, params)
    first, *others = bound(sample, beta)
    # Adds 0 to the value and f ∇ Σ_s log q(z_s|x) to the gradient.
    log_q = ops.sum(log_posterior, axis=0)
    signal = ops.stop_gradient(sum(others, first))
    return Estimate((first + signal * (log_q - ops.stop_gradient(log_q)), *others), z, sample, x_params)


@ops.custom_gradient
def _scale_gradient(z, factors):
    """The identity in `z`, whose gradient is multiplied by `factors`."""

    def gradient(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        return upstream * factors, ops.zeros_like(factors)

    # z, computed from the factors: otherwise TensorFlow's graph optimiser detaches the first pass from the second, and
    # it was seen to read weights that the step had already updated.
    return ops.where(ops.isnan(factors), factors, z), gradient
