"""Lower bounds on log p(x): from log-densities of posterior samples to one number per example, in nats.

A bound is a small object, `bound(sample, beta) -> (terms)`. The terms are what is minimised, each `(batch,)`, and their
sum is the negative bound. β weighs the KL (or, in a multi-sample bound, the log-ratio log p(z) − log q(z|x)). How its
gradient is estimated is an argument too; `estimate` does it.
"""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from kvae import checks

GRADIENTS = ("reparameterized", "doubly_reparameterized", "score_function")
NEAR_ONE = 1e-3  # |1 − α| below which the Rényi bound is computed through expm1, free of cancellation


class PosteriorSample(NamedTuple):
    """What a bound is made of: the log-densities of S posterior samples of a batch, in nats.

    Attributes:
        log_likelihood: log p(x|z_s), `(samples, batch)`, summed over pixels.
        log_prior: log p(z_s), `(samples, batch)`, summed over latent dimensions.
        log_posterior: log q(z_s|x), `(samples, batch)`.
        kl: KL(q(z|x) ‖ p(z)) in closed form, `(batch, latent)`, one number a dimension; `None` where there is none.
    """

    log_likelihood: Any
    log_prior: Any
    log_posterior: Any
    kl: Any = None

    def log_weights(self, beta=1.0):
        """log w_s = log p(x|z_s) + β (log p(z_s) − log q(z_s|x)), `(samples, batch)`."""
        return self.log_likelihood + beta * (self.log_prior - self.log_posterior)

    def total_kl(self):
        """KL(q(z|x) ‖ p(z)), `(batch,)`: exact where it can be, else the mean over the samples of log q − log p."""
        if self.kl is None:
            return ops.mean(self.log_posterior - self.log_prior, axis=0)
        return ops.sum(self.kl, axis=-1)


class Bound:
    """Base of all bounds: configuration in the constructor's arguments, equality by it.

    Args:
        gradient: how the gradient is estimated. "reparameterized": through the samples z = g(ε, params) (Kingma &
            Welling 2014, section 2.4). "doubly_reparameterized": without the term of the score, whose expectation is
            turned into one through z (Tucker et al. 2019, https://arxiv.org/abs/1810.04152, eq. 8; for one sample
            Roeder et al. 2017); the signal-to-noise ratio then grows with the samples. "score_function": E[f ∇ log q],
            which needs no path through z and is far noisier (Paisley et al. 2012).

    Raises:
        ValueError: for an unknown estimator, or one that the bound cannot carry.
    """

    def __init__(self, gradient="reparameterized"):
        if gradient not in GRADIENTS:
            raise ValueError(f"`gradient` must be one of {GRADIENTS}. Received: {gradient!r}")
        self.gradient = gradient

    def __call__(self, sample, beta):
        """The terms to minimise.

        Args:
            sample: `PosteriorSample`.
            beta: scalar weight of the KL.

        Returns:
            Tuple of tensors `(batch,)` whose sum is the negative bound (at β = 1).
        """
        raise NotImplementedError

    def path_weights(self, log_weights, beta):
        """Factors `(samples, batch)` on the gradient through each z_s, for the doubly reparameterized estimator."""
        raise NotImplementedError

    def get_config(self):
        return {"gradient": self.gradient}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), tuple(sorted(self.get_config().items()))))


@keras.saving.register_keras_serializable(package="kvae")
class ELBO(Bound):
    """E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)) (Kingma & Welling 2014, eq. 3 and 10).

    The expectation is the mean over the posterior samples. β = 1 is the evidence lower bound; another β is β-VAE's
    objective (Higgins et al. 2017, eq. 4).

    Args:
        kl: "closed_form", where posterior and prior have one (else the mean over the samples), or "monte_carlo".
        free_bits: nats, at least 0, that each latent dimension may hold at no cost: the KL of dimension j is
            max(λ, its mean over the batch), Kingma et al. 2016 (https://arxiv.org/abs/1606.04934), eq. 15. Above 0
            the loss lies above the negative ELBO. Needs a KL in closed form.
        gradient: as in `Bound`; "doubly_reparameterized" goes with `kl="monte_carlo"`.

    Raises:
        ValueError: if an argument is none of these, or two do not go together.
    """

    def __init__(self, kl="closed_form", free_bits=0.0, gradient="reparameterized"):
        super().__init__(gradient)
        if kl not in ("closed_form", "monte_carlo"):
            raise ValueError(f'`kl` must be "closed_form" or "monte_carlo". Received: {kl!r}')
        number = isinstance(free_bits, (int, float)) and not isinstance(free_bits, bool)
        if not (number and 0 <= free_bits < math.inf):
            raise ValueError(f"`free_bits` must be a finite number of at least 0. Received: {free_bits!r}")
        if kl == "monte_carlo" and free_bits:
            raise ValueError(f'`free_bits` must go with kl="closed_form". Received: free_bits={free_bits}, kl={kl!r}')
        if kl == "closed_form" and gradient == "doubly_reparameterized":
            raise ValueError(f'gradient="doubly_reparameterized" must go with kl="monte_carlo". Received: kl={kl!r}')
        self.kl = kl
        self.free_bits = float(free_bits)

    def __call__(self, sample, beta):
        kl = ops.mean(sample.log_posterior - sample.log_prior, axis=0)
        if self.kl == "closed_form" and sample.kl is not None:
            per_dimension = sample.kl
            if self.free_bits:
                full = ops.mean(per_dimension, axis=0, keepdims=True) > self.free_bits
                per_dimension = ops.where(full, per_dimension, self.free_bits)
            kl = ops.sum(per_dimension, axis=-1)
        return -ops.mean(sample.log_likelihood, axis=0), beta * kl

    def path_weights(self, log_weights, beta):
        return ops.ones_like(log_weights)

    def get_config(self):
        return {**super().get_config(), "kl": self.kl, "free_bits": self.free_bits}


@keras.saving.register_keras_serializable(package="kvae")
class Renyi(Bound):
    """The variational Rényi bound L_α = 1/(1−α) log (1/K) Σ_s w_s^(1−α) (Li & Turner 2016, eq. 9 and 13).

    https://arxiv.org/abs/1602.02311. It falls with α: α = −∞ is the largest log-weight (VR-max), α = 0 the
    importance-weighted bound, α = 1 the ELBO. Below α = 0 it may exceed log p(x), the more so the more samples.

    Args:
        alpha: float down to and including `-math.inf`; not +∞ and not NaN.
        gradient: as in `Bound`; "doubly_reparameterized" goes with a finite `alpha`, since the largest weight jumps
            from sample to sample and its score has no path in its place.

    Raises:
        ValueError: if `alpha` is none of these, or does not go with `gradient`.

    Example:

    >>> model = kvae.VAE(encoder, decoder, bound=kvae.bounds.Renyi(alpha=0.5), num_samples=5)
    """

    def __init__(self, alpha=0.5, gradient="reparameterized"):
        super().__init__(gradient)
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not alpha < math.inf:
            raise ValueError(f"`alpha` must be a finite number or -inf. Received: {alpha!r}")
        if alpha == -math.inf and gradient == "doubly_reparameterized":
            raise ValueError(f'`alpha` must be finite with gradient="doubly_reparameterized". Received: {alpha!r}')
        self.alpha = float(alpha)

    def __call__(self, sample, beta):
        return (-self.from_log_weights(sample.log_weights(beta)),)

    def from_log_weights(self, log_weights):
        """L_α `(batch,)` of log-weights `(samples, batch)`; −∞, never NaN, where all weights are zero."""
        power = 1.0 - self.alpha
        if power == math.inf:
            return ops.max(log_weights, axis=0)
        mean = ops.mean(log_weights, axis=0)
        if power == 0.0:
            return mean
        if abs(power) >= NEAR_ONE:
            return log_mean_exp(power * log_weights) / power
        # log mean exp(p δ) / p, with δ around the mean: through expm1 and log1p while p δ is small
        center = ops.where(ops.isfinite(mean), mean, ops.zeros_like(mean))
        deviations = power * (log_weights - ops.stop_gradient(center))
        near = ops.log1p(ops.mean(ops.expm1(ops.minimum(deviations, 1.0)), axis=0))
        far = log_mean_exp(deviations)
        return ops.stop_gradient(center) + ops.where(ops.max(deviations, axis=0) < 1.0, near, far) / power

    def path_weights(self, log_weights, beta):
        # With v_s = w_s^(1−α) / Σ_t w_t^(1−α) the gradient is Σ_s v_s ∇ log w_s. Its score part, −β Σ_s v_s ∇ log q,
        # equals in expectation −β (1−α) Σ_s v_s (1 − v_s) ∂ log w_s/∂z ∇ z, since ∂v_s/∂ log w_s = (1−α) v_s (1 − v_s).
        power = 1.0 - self.alpha
        return 1.0 - beta * power * (1.0 - ops.exp(ops.log_softmax(power * log_weights, axis=0)))

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="kvae")
class ImportanceWeighted(Renyi):
    """The importance-weighted bound L_K = log (1/K) Σ_s w_s of IWAE, which grows with K towards log p(x).

    K is the model's `num_samples`; K = 1 is the ELBO. Burda, Grosse, Salakhutdinov 2016, eq. 8
    (https://arxiv.org/abs/1509.00519).

    Args:
        gradient: as in `Bound`; with many samples "doubly_reparameterized" trains the encoder better.

    Example:

    >>> model = kvae.VAE(encoder, decoder, bound="importance_weighted", num_samples=5)
    """

    def __init__(self, gradient="reparameterized"):
        super().__init__(alpha=0.0, gradient=gradient)

    def get_config(self):
        return {"gradient": self.gradient}


BOUNDS = {"elbo": ELBO, "importance_weighted": ImportanceWeighted, "renyi": Renyi}


def get(name):
    """The bound called `name` (a key of `BOUNDS`), or `name` itself if it is a `Bound`.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    return checks.lookup(name, BOUNDS, Bound, "bound")


def log_mean_exp(log_weights):
    """log (1/K) Σ_s w_s of log-weights `(samples, batch)`: `(batch,)`, −∞ where every weight is zero."""
    peak = ops.stop_gradient(ops.max(log_weights, axis=0))
    peak = ops.where(ops.isfinite(peak), peak, ops.zeros_like(peak))
    return peak + ops.log(ops.mean(ops.exp(log_weights - peak), axis=0))


def estimate(bound, score, z, params, beta):
    """A bound's terms, with the gradient that its estimator asks for.

    Args:
        bound: a `Bound`.
        score: function `(z, params) -> (PosteriorSample, anything)`.
        z: posterior samples `(samples, batch, latent)`.
        params: posterior parameters `(batch, parameters · latent)`.
        beta: scalar weight of the KL.

    Returns:
        `(terms, sample, anything)`: the terms to minimise, each `(batch,)`, and what `score` gave.
    """
    if bound.gradient == "reparameterized":
        sample, rest = score(z, params)
        return bound(sample, beta), sample, rest
    if bound.gradient == "doubly_reparameterized":
        # The first pass only gives the factors. Both passes compute the same numbers, and XLA merges them.
        sample, _ = score(ops.stop_gradient(z), ops.stop_gradient(params))
        factors = bound.path_weights(ops.stop_gradient(sample.log_weights(beta)), beta)
        sample, rest = score(_scale_gradient(z, factors[..., None]), ops.stop_gradient(params))
        return bound(sample, beta), sample, rest
    sample, rest = score(ops.stop_gradient(z), params)
    terms = bound(sample, beta)
    # Adds 0 to the value and f ∇ Σ_s log q(z_s|x) to the gradient.
    log_q = ops.sum(sample.log_posterior, axis=0)
    signal = ops.stop_gradient(sum(terms[1:], terms[0]))
    return (terms[0] + signal * (log_q - ops.stop_gradient(log_q)), *terms[1:]), sample, rest


@ops.custom_gradient
def _scale_gradient(z, factors):
    """The identity in `z`, whose gradient is multiplied by `factors`."""

    def gradient(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        return upstream * factors, ops.zeros_like(factors)

    # z, by way of the factors: without that TensorFlow's graph optimiser cuts the first pass loose from the second, and
    # it was seen to read weights that the step had updated already.
    return ops.where(ops.isnan(factors), factors, z), gradient
