"""Posterior samples, a bound of them, and the gradient that the bound's estimator asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from kvae.bounds import WAKE_SLEEP, Bound, PosteriorSample
from kvae.distributions import Distribution
from kvae.priors import Prior
from kvae.training.held import held
from kvae.types import Tensor


def check(bound: Bound, family: Distribution, prior: Prior, num_samples: int) -> None:
    """Raise a `ValueError` unless the bound's gradient can be estimated with this posterior and this prior."""
    bound.check_samples(num_samples)
    if prior.stochastic and bound.gradient == "doubly_reparameterized":
        raise ValueError(
            f"`bound` must use another gradient with a {type(prior).__name__} prior, which draws samples of its own. "
            f"Received: gradient={bound.gradient!r}"
        )
    if not family.reparameterized and bound.gradient not in ("score_function", *WAKE_SLEEP):
        raise ValueError(
            f'`bound` must use gradient="score_function" or "wake_sleep" with a {type(family).__name__} posterior, '
            f"whose samples have no derivative. Received: gradient={bound.gradient!r}"
        )
    if family.discrete and bound.gradient in ("doubly_reparameterized", "sticking_the_landing"):
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
    condition: Sequence[Tensor] = (),
) -> Estimate:
    """Draw from the posterior and compute the bound's terms, with the gradient that its estimator asks for.

    Args:
        model: a `VAE`: its `bound`, `posterior_family`, `num_samples`, `seed_generator` and `beta` are used, and for
            separate gradients of encoder and decoder its networks and its prior.
        params: parameters of q(z|x) `(batch, ..., parameters · size)`.
        score: function `(z, log_posterior, params)` to a `PosteriorSample` and the parameters of p(x|z).
        training: bool; otherwise draws are exact, which a discrete posterior relaxes for the gradient.
        condition: what the networks see in addition to images and codes.
    """
    bound, family = model.bound, model.posterior_family
    for_encoder = bound.for_encoder()
    if for_encoder is None and bound.gradient not in WAKE_SLEEP:
        return _together(bound, model, params, score, training)
    event_ndim, generative = len(model.latent_shape), (model.decoder, model.prior, model.likelihood)
    extra = None  # what trains the encoder
    if for_encoder is None or not training:
        z, log_posterior = family.sample_and_log_prob(params, model.num_samples, model.seed_generator, event_ndim)
    else:
        with held(*generative):
            losses, z, sample, _ = _together(for_encoder, model, params, score, training)
        log_posterior, extra = sample.log_posterior, sum(losses[1:], losses[0])
    still, constant = ops.stop_gradient(z), ops.stop_gradient(params)
    with held(_Rest(model, generative)):
        sample, x_params = score(still, ops.stop_gradient(log_posterior), constant)
    if training and bound.gradient == "wake_sleep":
        extra = _dream(model, condition, ops.shape(params)[0])
    elif training and bound.gradient == "reweighted_wake_sleep":
        weights = ops.stop_gradient(ops.softmax(sample.log_weights(model.beta), axis=0))
        extra = -ops.sum(weights * family.log_prob(still, params, event_ndim), axis=0)
    first, *others = bound(sample, model.beta)
    if extra is not None:  # adds 0 to the value
        first = first + (extra - ops.stop_gradient(extra))
    return Estimate((first, *others), z, sample, x_params)


class _Rest:
    """All trainable variables of a model but those of some of its parts, for `held`."""

    def __init__(self, model: Any, parts: tuple[Any, ...]) -> None:
        own = {id(variable) for part in parts for variable in part.trainable_variables}
        self.trainable_variables = [each for each in model.trainable_variables if id(each) not in own]


def _dream(model, condition, n):
    """−log q(z|x) `(n,)` of codes and images drawn from the model."""
    seed = model.seed_generator
    with held(model.decoder, model.prior, model.likelihood):
        z = ops.stop_gradient(model.prior.sample(n, condition, seed))
        x = model.likelihood.sample(model.generation(z[None], condition, True)[0], 1, seed)[0]
    params = model.inference(ops.stop_gradient(x), condition, True)
    return -model.posterior_family.log_prob(z, params, len(model.latent_shape))


def _together(bound, model, params, score, training):
    """`estimate` for one bound of all networks."""
    family, beta, event_ndim = model.posterior_family, model.beta, len(model.latent_shape)
    num_samples, seed = model.num_samples, model.seed_generator
    if bound.gradient == "reparameterized":
        draw = family.sample_for_gradient if training else family.sample_and_log_prob
        z, log_posterior = draw(params, num_samples, seed, event_ndim)
        sample, x_params = score(z, log_posterior, params)
        return Estimate(bound(sample, beta), z, sample, x_params)
    z = family.sample(params, num_samples, seed)
    if bound.gradient in ("doubly_reparameterized", "sticking_the_landing"):
        # log q(z|x) as a function of z alone: q's parameters, and its own weights if it has any, are constants.
        constant = ops.stop_gradient(params)

        def held_log_posterior(z):
            with held(family):
                return family.log_prob(z, constant, event_ndim)

        if bound.gradient == "doubly_reparameterized":
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


def _scale_gradient(z, factors):
    """The identity in `z`, whose gradient is multiplied by the constants `factors`."""
    still = ops.stop_gradient(z)
    z = still + factors * (z - still)
    # Computed from the factors: otherwise TensorFlow's graph optimiser detaches the first pass from the second, and it
    # was seen to read weights that the step had already updated.
    return ops.where(ops.isnan(factors), factors, z)
