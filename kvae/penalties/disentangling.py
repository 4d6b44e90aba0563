"""Penalties that disentangle: each code dimension should stand for one factor of the data.

They act on the aggregate posterior q(z) = E_x[q(z|x)], of which E_x[KL(q(z|x) ‖ p(z))] holds three parts (Chen et al.
2018, eq. 2): I(x; z) + KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j)). β weights all three.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras
from keras import ops

from kvae import bounds, checks
from kvae.distributions import Distribution, Normal
from kvae.penalties.base import Penalty, check_density
from kvae.types import Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class TotalCorrelation(Penalty):
    """β-TCVAE: weight · TC, with the total correlation TC = KL(q(z) ‖ Π_j q(z_j)), zero for independent dimensions.

    The KL of the bound contains TC once. With the model's β = 1 this is therefore the β-TCVAE of Chen, Li, Grosse and
    Duvenaud 2018, eq. 5 (https://arxiv.org/abs/1802.04942) with α = γ = 1 and their β = 1 + `weight`.

    At each z ~ q(z|x_i), the densities q(z) and q(z_j) are estimated from the M examples of the batch:

    - Without `num_examples`, by minibatch-weighted sampling, log q(z) ≈ log 1/(NM) Σ_m q(z|x_m) (eq. 4 and S4). The
      size N of the data set adds the constant (d − 1) log N to the TC of d dimensions, and nothing to its gradient. It
      is left out, so that the logged TC of independent dimensions is about 0; it cannot exceed (d − 1) log M.
    - With it, by minibatch stratified sampling (S6, in a form that treats all other examples alike): q(z|x_i) has the
      weight 1/N that it has in the whole data set, the other M − 1 examples share the rest, and the estimate of q(z)
      is unbiased. The logged TC is closer to that of the whole data set, but varies more from batch to batch. If the
      batch is the data set, M = N, both are exact.

    The estimate of each example is logged as `total_correlation`, without the weight. Its cost grows with M².

    Args:
        weight: at least 0.
        num_examples: N, the number of training examples, for stratified sampling.

    Raises:
        ValueError: if an argument is out of range; in a model, if its posterior does not factorise over dimensions or
            its bound's gradient is not "reparameterized".

    Example:

    >>> model = kvae.VAE(encoder, decoder, penalty=kvae.penalties.TotalCorrelation(5.0))
    """

    weight: float
    num_examples: int | None = None

    term_names = ("total_correlation",)

    def __post_init__(self) -> None:
        self._check_number("weight")
        if self.num_examples is not None:
            checks.positive_integer(self.num_examples, "num_examples")

    def check(self, model: Any) -> None:
        check_density(self, model, sampled=True)
        family = model.posterior_family
        if type(family).elementwise_log_prob is Distribution.elementwise_log_prob:
            raise ValueError(
                "`penalty` TotalCorrelation needs a posterior of independent dimensions, such as the normal. "
                f"Received: {type(family).__name__}"
            )

    def __call__(
        self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        log_joint, log_marginals = self.log_aggregate(z, params, model.posterior_family)
        total_correlation = ops.mean(log_joint - ops.sum(log_marginals, axis=-1), axis=0)
        return self.weight * total_correlation, {"total_correlation": total_correlation}

    def log_aggregate(self, z: Tensor, params: Tensor, family: Distribution) -> tuple[Tensor, Tensor]:
        """The densities of the aggregate posterior at samples of a batch.

        Args:
            z: codes `(samples, batch, *latent_shape)`, each drawn from the q(z|x) of its row.
            params: parameters of q(z|x), `(batch, ...)`.
            family: `Distribution` of q(z|x).

        Returns:
            Tuple of log q(z) `(samples, batch)` and log q(z_j) `(samples, batch, latent_dim)`, nats.
        """
        num_samples, batch = z.shape[0], ops.shape(z)[1]
        log_each = family.elementwise_log_prob(z[:, :, None], params)  # of each code under the q(z_j|x_m) of each row
        log_each = ops.reshape(log_each, (num_samples, batch, batch, -1))
        log_weights = self.log_weights(batch)
        log_joint = ops.logsumexp(log_weights + ops.sum(log_each, axis=-1), axis=2)
        return log_joint, ops.logsumexp(log_weights[..., None] + log_each, axis=2)

    def log_weights(self, batch: Any) -> Tensor:
        """The logs of the weights `(batch, batch)` that row i's estimate gives to each row m; a row sums to 1."""
        rows = ops.arange(batch)
        own = rows[:, None] == rows[None]
        size = ops.cast(batch, "float32")
        if self.num_examples is None:
            return -ops.log(size) * ops.ones_like(own, "float32")
        share = 1.0 / self.num_examples
        others = (1.0 - share) / ops.maximum(size - 1.0, 1.0)
        return ops.log(ops.maximum(ops.where(own, share, others), 1e-30))


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class DIP(Penalty):
    """DIP-VAE: λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)², which pulls a covariance C of the codes to the identity.

    In variant "i", C is the covariance of the posterior means over the batch, Cov_x[μ(x)]; in variant "ii" that of
    q(z), Cov_x[μ(x)] + E_x[diag σ²(x)] (Kumar, Sattigeri, Balakrishnan 2018, section 3,
    https://arxiv.org/abs/1711.00848). Every example of a batch gets the same penalty. A batch should have many more
    examples than the code has dimensions.

    Args:
        lambda_od: λ_od, weight of the covariances, at least 0.
        lambda_d: λ_d, weight of the variances, at least 0; `None` for 10 · `lambda_od` in variant "i", which
            leaves out the variances σ², and for `lambda_od` in variant "ii".
        variant: "i" or "ii".

    Raises:
        ValueError: if an argument is out of range; in a model, if it has no posterior or, for variant "ii", one that is
            not normal.

    Example:

    >>> model = kvae.VAE(encoder, decoder, penalty=kvae.penalties.DIP(10.0))
    """

    lambda_od: float
    lambda_d: float | None = None
    variant: Literal["i", "ii"] = "i"

    def __post_init__(self) -> None:
        self._check_number("lambda_od")
        if self.lambda_d is not None:
            self._check_number("lambda_d")
        if self.variant not in ("i", "ii"):
            raise ValueError(f'`variant` must be "i" or "ii". Received: {self.variant!r}')

    def check(self, model: Any) -> None:
        check_density(self, model)
        if self.variant == "ii" and not isinstance(model.posterior_family, Normal):
            raise ValueError(
                '`penalty` DIP with variant="ii" needs the variances of a normal posterior: use variant="i". '
                f"Received: {type(model.posterior_family).__name__}"
            )

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        family = model.posterior_family
        mean = ops.reshape(family.mean(params), (ops.shape(params)[0], -1))
        centred = mean - ops.mean(mean, axis=0)
        covariance = ops.matmul(ops.transpose(centred), centred) / ops.cast(ops.shape(mean)[0], "float32")
        diagonal = ops.diagonal(covariance)
        off_diagonal = ops.sum(ops.square(covariance)) - ops.sum(ops.square(diagonal))
        if self.variant == "ii":
            _, log_var = family.mean_and_log_var(params)
            variance = ops.exp(log_var) + ops.zeros_like(family.mean(params))  # σ may be shared
            diagonal = diagonal + ops.mean(ops.reshape(variance, ops.shape(mean)), axis=0)
        lambda_d = self.lambda_d
        if lambda_d is None:
            lambda_d = 10.0 * self.lambda_od if self.variant == "i" else self.lambda_od
        penalty = self.lambda_od * off_diagonal + lambda_d * ops.sum(ops.square(diagonal - 1.0))
        return penalty * ops.ones(ops.shape(params)[:1], "float32")


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Capacity(Penalty):
    """Controlled capacity: γ |KL − C| in place of β KL, so that the code may use C nats, neither more nor less.

    Burgess et al. 2018, eq. 8 (https://arxiv.org/abs/1804.03599). KL is the mean of KL(q(z|x) ‖ p(z)) over the batch,
    and every example gets the same penalty. `kvae.callbacks.CapacityWarmup` raises C from 0 during training, so that
    factors enter the code one after the other, those that explain most first. Without it, C is `capacity` from the
    start. C is kept in the model's variable `capacity`.

    The penalty is γ |KL − C| − β KL, which cancels the KL of the bound whatever the model's β: `loss` is
    `reconstruction_loss` plus γ |KL − C|, which is logged as `capacity_loss`.

    Args:
        gamma: γ, at least 0.
        capacity: C in nats, at least 0.

    Raises:
        ValueError: if an argument is out of range; in a model, if its bound is not `ELBO()`, whose KL can be replaced,
            its prior depends on a condition or is itself estimated from samples, or it has a capacity already.

    Example:

    >>> model = kvae.VAE(encoder, decoder, penalty=kvae.penalties.Capacity(gamma=100.0, capacity=10.0))
    """

    gamma: float = 1000.0
    capacity: float = 25.0

    term_names = ("capacity_loss",)

    def __post_init__(self) -> None:
        self._check_number("gamma")
        self._check_number("capacity")

    def check(self, model: Any) -> None:
        check_density(self, model, prior=True)
        bound = model.bound
        if not isinstance(bound, bounds.ELBO) or bound.kl != "closed_form" or bound.free_bits:
            raise ValueError(
                "`penalty` Capacity replaces the KL of the bound ELBO(), without free bits and in closed form. "
                f"Received: {type(bound).__name__} with {bound.get_config()}"
            )
        if model.prior.stochastic:
            raise ValueError(
                "`penalty` Capacity needs a prior with a density, not an estimate of it. "
                f"Received: a {type(model.prior).__name__} prior"
            )
        if hasattr(model, "capacity"):
            raise ValueError("`penalty` must contain one Capacity at most. Received: two")

    def bind(self, model: Any) -> None:
        # A variable, because a float would be compiled into the step as a constant.
        model.capacity = model.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.capacity),
            trainable=False,
            dtype="float32",
            autocast=False,
            name="capacity",
        )

    def __call__(
        self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        family, prior = model.posterior_family, model.prior
        kl, _ = prior.kl(family, params, ())
        if kl is None:  # the same estimate as the bound's, from the same samples
            kl = ops.mean(family.log_prob(z, params, prior.event_ndim) - prior.log_prob(z, (), seed), axis=0)
        distance = self.gamma * ops.abs(ops.mean(kl) - ops.convert_to_tensor(model.capacity))
        distance = distance * ops.ones_like(kl)
        return distance - ops.convert_to_tensor(model.beta) * kl, {"capacity_loss": distance}
