"""Lower bounds on log p(x): from log-densities of posterior samples to one number per example, in nats.

A bound is a small object, `bound(sample, beta) -> terms`. The terms, each `(batch,)`, are minimised, and their sum is
the negative bound. β weights the KL (or, in a multi-sample bound, the log-ratio log p(z) − log q(z|x)). How the
gradient is estimated is an argument of the bound; `kvae.models.estimators` carries it out.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.distributions.posterior_sample import PosteriorSample
from kvae.types import Number, Tensor

WAKE_SLEEP = ("wake_sleep", "reweighted_wake_sleep")  # for which a bound trains decoder and prior alone
GRADIENTS = ("reparameterized", "doubly_reparameterized", "sticking_the_landing", "score_function", *WAKE_SLEEP)
NEAR_ONE = 1e-3  # |1 − α| below which the Rényi bound is computed through expm1, free of cancellation


class Bound:
    """Base class of all bounds: the constructor's arguments are the configuration, and equality compares it.

    A bound may log terms of its own: it names them in `term_names` and returns them from `logged_terms`.

    Args:
        gradient: how the gradient is estimated. "reparameterized": through the samples z = g(ε, params) (Kingma &
            Welling 2014, section 2.4). "doubly_reparameterized": without the term of the score, whose expectation is
            turned into one through z (Tucker et al. 2019, https://arxiv.org/abs/1810.04152, eq. 8; for one sample
            Roeder et al. 2017); the signal-to-noise ratio then grows with the samples. "sticking_the_landing": without
            that term (Roeder, Wu, Duvenaud 2017, https://arxiv.org/abs/1703.09194), unbiased for the ELBO alone.
            "score_function": E[f ∇ log q], far noisier (Paisley et al. 2012); neither it nor the next two need a path
            through z. With those, the bound trains decoder and prior alone: "wake_sleep", where the encoder maximises
            log q(z|x) of images and codes drawn from the model (Hinton et al. 1995); "reweighted_wake_sleep", where it
            is log q(z_s|x) of several samples, weighted by w_s / Σ_t w_t (Bornschein & Bengio 2015,
            https://arxiv.org/abs/1406.2751, eq. 9).

    Raises:
        ValueError: for an unknown estimator, or one that the bound does not support.
    """

    term_names: tuple[str, ...] = ()

    def __init__(self, gradient: str = "reparameterized") -> None:
        if gradient not in GRADIENTS:
            raise ValueError(f"`gradient` must be one of {GRADIENTS}. Received: {gradient!r}")
        self.gradient = gradient

    def __call__(self, sample: PosteriorSample, beta: Tensor) -> tuple[Tensor, ...]:
        """The terms to minimise.

        Args:
            sample: `PosteriorSample`.
            beta: scalar weight of the KL.

        Returns:
            Tuple of tensors `(batch,)` whose sum is the negative bound (at β = 1).
        """
        raise NotImplementedError

    def logged_terms(self, sample: PosteriorSample, beta: Tensor) -> dict[str, Tensor]:
        """Further terms to log, by the names in `term_names`: tensors `(batch,)`, not minimised."""
        return {}

    def path_weights(self, log_weights: Tensor, beta: Tensor) -> Tensor:
        """Factors `(samples, batch)` on the gradient through each z_s, for the doubly reparameterized estimator."""
        raise NotImplementedError

    def check_samples(self, num_samples: int) -> None:
        """Raise a `ValueError` if the bound or its gradient cannot be estimated from so many samples."""
        if self.gradient == "reweighted_wake_sleep" and num_samples < 2:
            raise ValueError(f"`num_samples` must be at least 2 with {self.gradient!r}. Received: {num_samples}")

    def for_encoder(self) -> Bound | None:
        """The bound that trains the encoder, if it is another one than this, which then trains decoder and prior."""
        return None

    def get_config(self) -> dict[str, Any]:
        return {"gradient": self.gradient}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Bound:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bound) and type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self.get_config().items()))))


@keras.saving.register_keras_serializable(package="kvae")
class ELBO(Bound):
    """E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)) (Kingma & Welling 2014, eq. 3 and 10).

    The expectation is the mean over the posterior samples. β = 1 is the evidence lower bound; another β is β-VAE's
    objective (Higgins et al. 2017, eq. 4).

    Args:
        kl: "closed_form", where posterior and prior have one (else the mean over the samples), or "monte_carlo".
        free_bits: nats, at least 0, that each latent dimension, or layer of a `HierarchicalVAE`, may use at no cost:
            the KL of dimension j is max(λ, its mean over the batch), Kingma et al. 2016
            (https://arxiv.org/abs/1606.04934), eq. 15. Above 0 the loss exceeds the negative ELBO. Requires a
            closed-form KL per dimension.
        gradient: as in `Bound`, without "reweighted_wake_sleep"; those without the score require `kl="monte_carlo"`.

    Raises:
        ValueError: if an argument is not one of these, or two exclude each other.
    """

    def __init__(self, kl: str = "closed_form", free_bits: Number = 0.0, gradient: str = "reparameterized") -> None:
        super().__init__(gradient)
        if kl not in ("closed_form", "monte_carlo"):
            raise ValueError(f'`kl` must be "closed_form" or "monte_carlo". Received: {kl!r}')
        self.free_bits = checks.number(free_bits, "free_bits", at_least=0)
        if kl == "monte_carlo" and free_bits:
            raise ValueError(f'`free_bits` requires kl="closed_form". Received: free_bits={free_bits}, kl={kl!r}')
        if kl == "closed_form" and gradient in ("doubly_reparameterized", "sticking_the_landing"):
            raise ValueError(f'gradient="{gradient}" requires kl="monte_carlo". Received: kl={kl!r}')
        if gradient == "reweighted_wake_sleep":
            raise ValueError(f'gradient="{gradient}" requires the bound "importance_weighted". Received: an ELBO')
        self.kl = kl

    def __call__(self, sample: PosteriorSample, beta: Tensor) -> tuple[Tensor, ...]:
        if self.kl == "monte_carlo":
            kl = sample.sampled_kl()
        elif self.free_bits:
            kl = sample.kl_per_dimension
            full = ops.mean(kl, axis=0, keepdims=True) > self.free_bits
            kl = ops.where(full, kl, self.free_bits)
            kl = ops.sum(kl, axis=tuple(range(1, len(kl.shape))))
        else:
            kl = sample.total_kl()
        return -ops.mean(sample.log_likelihood, axis=0), beta * kl

    def path_weights(self, log_weights: Tensor, beta: Tensor) -> Tensor:
        return ops.ones_like(log_weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kl": self.kl, "free_bits": self.free_bits}


@keras.saving.register_keras_serializable(package="kvae")
class Renyi(Bound):
    """The variational Rényi bound L_α = 1/(1−α) log (1/K) Σ_s w_s^(1−α) (Li & Turner 2016, eq. 9 and 13).

    https://arxiv.org/abs/1602.02311. It decreases with α: α = −∞ is the largest log-weight (VR-max), α = 0 the
    importance-weighted bound, α = 1 the ELBO. Below α = 0 it may exceed log p(x), and more so with more samples.

    Args:
        alpha: float down to and including `-math.inf`; not +∞ and not NaN.
        gradient: as in `Bound`; "doubly_reparameterized" requires a finite `alpha`: the largest weight jumps from
            sample to sample, so its score term cannot be replaced by a path derivative.

    Raises:
        ValueError: if `alpha` is not one of these, or excluded by `gradient`.

    Example:

    >>> model = kvae.VAE(encoder, decoder, bound=kvae.bounds.Renyi(alpha=0.5), num_samples=5)
    """

    def __init__(self, alpha: Number = 0.5, gradient: str = "reparameterized") -> None:
        super().__init__(gradient)
        try:
            self.alpha = -math.inf if alpha == -math.inf else checks.number(alpha, "alpha")
        except ValueError:
            raise ValueError(f"`alpha` must be a finite number or -inf. Received: alpha={alpha!r}") from None
        if alpha == -math.inf and gradient == "doubly_reparameterized":
            raise ValueError(f'`alpha` must be finite with gradient="doubly_reparameterized". Received: {alpha!r}')

    def __call__(self, sample: PosteriorSample, beta: Tensor) -> tuple[Tensor, ...]:
        return (-self.from_log_weights(sample.log_weights(beta)),)

    def from_log_weights(self, log_weights: Tensor) -> Tensor:
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

    def path_weights(self, log_weights: Tensor, beta: Tensor) -> Tensor:
        # With v_s = w_s^(1−α) / Σ_t w_t^(1−α) the gradient is Σ_s v_s ∇ log w_s. Its score part, −β Σ_s v_s ∇ log q,
        # equals in expectation −β (1−α) Σ_s v_s (1 − v_s) ∂ log w_s/∂z ∇ z, since ∂v_s/∂ log w_s = (1−α) v_s (1 − v_s).
        power = 1.0 - self.alpha
        return 1.0 - beta * power * (1.0 - ops.exp(ops.log_softmax(power * log_weights, axis=0)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="kvae")
class ImportanceWeighted(Renyi):
    """The importance-weighted bound L_K = log (1/K) Σ_s w_s of IWAE, which rises with K towards log p(x).

    K is the model's `num_samples`; K = 1 is the ELBO. Burda, Grosse, Salakhutdinov 2016, eq. 8
    (https://arxiv.org/abs/1509.00519). A tighter bound trains the encoder worse, which three variants make up for
    (Rainforth et al. 2018, section 6, https://arxiv.org/abs/1802.04537): with M `groups` the mean of the M bounds of
    K/M samples each, MIWAE; with an `elbo_share` β the combination β · ELBO + (1 − β) · L_K, CIWAE; with M `groups`
    for the encoder, but `decoder_groups=1` for decoder and prior, PIWAE, whose loss is the decoder's bound.

    Args:
        gradient: as in `Bound`; with many samples "doubly_reparameterized" trains the encoder better.
        groups: M, of which `num_samples` must be a multiple.
        elbo_share: β, at least 0 and below 1.
        decoder_groups: groups of the bound that trains decoder and prior; `None` for `groups`.

    Raises:
        ValueError: if an argument is not one of these; in a model, for samples that do not fill the groups.

    Example:

    >>> model = kvae.VAE(encoder, decoder, bound="importance_weighted", num_samples=5)
    """

    def __init__(
        self,
        gradient: str = "reparameterized",
        groups: int = 1,
        elbo_share: Number = 0.0,
        decoder_groups: int | None = None,
    ) -> None:
        super().__init__(alpha=0.0, gradient=gradient)
        self.groups = checks.positive_integer(groups, "groups")
        self.elbo_share = checks.number(elbo_share, "elbo_share", at_least=0, below=1)
        if decoder_groups is not None:
            checks.positive_integer(decoder_groups, "decoder_groups")
            if gradient in WAKE_SLEEP:
                raise ValueError(
                    f"`decoder_groups` requires a gradient of a bound for the encoder. Received: gradient={gradient!r}"
                )
        self.decoder_groups = decoder_groups

    def for_encoder(self) -> ImportanceWeighted | None:
        if self.decoder_groups in (None, self.groups):
            return None
        return ImportanceWeighted(self.gradient, self.groups, self.elbo_share)

    def from_log_weights(self, log_weights: Tensor) -> Tensor:
        bound = ops.mean(log_mean_exp(self._grouped(log_weights, self.decoder_groups or self.groups)), axis=0)
        share = self.elbo_share
        return share * ops.mean(log_weights, axis=0) + (1.0 - share) * bound if share else bound

    def path_weights(self, log_weights: Tensor, beta: Tensor) -> Tensor:
        # The gradient is Σ_s c_s ∇ log w_s with c_s = β/K + (1 − β) v_s / M, in which v sums to 1 in each group. The
        # score's part vanishes in the ELBO, and is replaced as in `Renyi` in each group's bound.
        grouped = self._grouped(log_weights, self.groups)
        v = ops.reshape(ops.exp(ops.log_softmax(grouped, axis=0)), ops.shape(log_weights))
        elbo, others = self.elbo_share / log_weights.shape[0], (1.0 - self.elbo_share) * v / self.groups
        replaced = 1.0 - beta * (1.0 - v)
        return (elbo + others * replaced) / (elbo + others) if self.elbo_share else replaced

    def check_samples(self, num_samples: int) -> None:
        super().check_samples(num_samples)
        for groups in (self.groups, self.decoder_groups or self.groups):
            if num_samples % groups:
                wanted = f"a multiple of the bound's {groups} groups"
                raise ValueError(f"`num_samples` must be {wanted}. Received: {num_samples}")

    def _grouped(self, log_weights, groups):
        """Log-weights `(samples / groups, groups, batch)`."""
        num_samples = log_weights.shape[0]
        self.check_samples(num_samples)
        return ops.reshape(log_weights, (num_samples // groups, groups, *ops.shape(log_weights)[1:]))

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("gradient", "groups", "elbo_share", "decoder_groups")}


BOUNDS = {"elbo": ELBO, "importance_weighted": ImportanceWeighted, "renyi": Renyi}


def get(name: str | Bound) -> Bound:
    """The bound called `name` (a key of `BOUNDS`), or `name` itself if it is a `Bound`.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    return checks.lookup(name, BOUNDS, Bound, "bound")


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """log (1/K) Σ_s w_s of log-weights `(samples, batch)`: `(batch,)`, −∞ where every weight is zero."""
    peak = ops.stop_gradient(ops.max(log_weights, axis=0))
    peak = ops.where(ops.isfinite(peak), peak, ops.zeros_like(peak))
    return peak + ops.log(ops.mean(ops.exp(log_weights - peak), axis=0))
