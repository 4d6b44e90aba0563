"""A capacity for each part of a joint posterior (Dupont 2018, https://arxiv.org/abs/1804.00104)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks, priors
from kvae.distributions import Joint
from kvae.penalties.disentangling import Capacity
from kvae.types import Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class JointCapacity(Capacity):
    """JointVAE: γ Σ_i |KL_i − C_i| in place of β KL, for the parts of a `distributions.Joint` posterior (eq. 7).

    Without capacities of their own, categorical dimensions are often ignored, since the normal ones reduce the loss
    faster. `kvae.callbacks.CapacityWarmup` raises all C_i in proportion. As in `Capacity`, the KL of the bound cancels,
    and the penalty without that is logged as `capacity_loss`.

    Args:
        gamma: γ, at least 0.
        capacities: C_i in nats, each above 0, one for each part. That of a categorical variable with K values can use
            log K.

    Raises:
        ValueError: if an argument is out of range; in a model, as for `Capacity`, if its posterior is not a `Joint` of
            as many parts, or its prior not "standard".

    Example:

    >>> from kvae.distributions import Categorical, Joint, Normal
    >>> posterior = Joint([Normal(), Categorical()], sizes=[8, 10])
    >>> networks = kvae.networks.mlp((8, 8, 1), latent_dim=18, posterior=posterior)
    >>> penalty = kvae.penalties.JointCapacity(gamma=30.0, capacities=(5.0, 2.3))
    >>> model = kvae.VAE(*networks, posterior=posterior, penalty=penalty)
    """

    gamma: float = 30.0
    capacities: Sequence[float] = (5.0, 5.0)
    capacity: float = dataclasses.field(init=False, default=0.0)  # their sum, which a callback raises

    def __post_init__(self) -> None:
        self._check_number("gamma")
        if not isinstance(self.capacities, (list, tuple)) or not self.capacities:
            raise ValueError(f"`capacities` must hold one number for each part. Received: {self.capacities!r}")
        each = tuple(checks.positive_number(capacity, "capacities") for capacity in self.capacities)
        object.__setattr__(self, "capacities", each)
        object.__setattr__(self, "capacity", sum(each))

    def check(self, model: Any) -> None:
        super().check(model)
        family, count = model.posterior_family, len(self.capacities)
        if not isinstance(family, Joint) or len(family.parts) != count or type(model.prior) is not priors.Standard:
            raise ValueError(
                f"`penalty` JointCapacity needs a posterior kvae.distributions.Joint of {count} parts, one for each of "
                f'the `capacities`, and prior="standard". Received: a {type(family).__name__} posterior and a '
                f"{type(model.prior).__name__} prior"
            )

    def __call__(
        self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        family, prior = model.posterior_family, model.prior
        kls = family.kl_of_parts(params, prior.family, prior.params(()), prior.event_ndim)
        share = ops.convert_to_tensor(model.capacity) / self.capacity
        distances = [ops.abs(ops.mean(kl) - share * each) for kl, each in zip(kls, self.capacities, strict=True)]
        distance = self.gamma * sum(distances) * ops.ones_like(kls[0])
        return distance - ops.convert_to_tensor(model.beta) * sum(kls), {"capacity_loss": distance}

    def get_config(self) -> dict[str, Any]:
        return {"gamma": self.gamma, "capacities": list(self.capacities)}
