"""Flows as posteriors and as priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.distributions import Distribution, Normal
from kvae.flows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from kvae.flows.base import Chain, Flow
from kvae.flows.coupling import Coupling, Spline
from kvae.flows.elementary import Planar, Radial
from kvae.priors import Prior as BasePrior
from kvae.types import Seed, Shape, Tensor

FLOWS = {
    "planar": Planar,
    "radial": Radial,
    "coupling": Coupling,
    "spline": Spline,
    "maf": MaskedAutoregressive,
    "iaf": InverseAutoregressive,
}


def chain(flows: str | Sequence[Flow], depth: int) -> Chain:
    """The flows of a list, or `depth` of those of a name."""
    if isinstance(flows, str):
        if flows not in FLOWS:
            raise ValueError(f"`flows` must be a list of flows or one of {sorted(FLOWS)}. Received: {flows!r}")
        return Chain([FLOWS[flows]() for _ in range(checks.positive_integer(depth, "depth"))])
    return Chain(flows)


def _size(latent_shape, what):
    if len(latent_shape) != 1:
        raise ValueError(
            f"A flow as {what} maps vectors: build the decoder for codes of one axis. Received: codes {latent_shape}"
        )
    return latent_shape[0]


@keras.saving.register_keras_serializable(package="kvae")
class Posterior(Distribution):
    """A posterior that flows make of a normal one: z = f(z_0), z_0 ~ N(μ(x), σ²(x)).

    log q(z|x) = log N(z_0 | μ, σ²) − log |det ∂f/∂z_0| (Rezende & Mohamed 2015, eq. 6). The KL to the prior has no
    closed form and is estimated at the samples. The code of an image is f(μ).

    Args:
        flows: "planar", "radial" or "iaf" for that kind, or "coupling", "spline" or "maf", or a list of
            `kvae.flows.Flow`.
        depth: number of flows of a named kind.
        context: numbers for each latent dimension that the encoder gives in addition to μ and log σ², and that every
            flow takes into account, so that f depends on the image: 0 for none.

    Raises:
        ValueError: for an unknown name, or something else than flows.

    Example:

    >>> posterior = kvae.flows.Posterior("iaf", depth=2, context=1)
    >>> encoder, decoder = kvae.networks.mlp((8, 8, 1), latent_dim=4, posterior=posterior)
    >>> model = kvae.VAE(encoder, decoder, posterior=posterior)
    """

    def __init__(self, flows: str | Sequence[Flow] = "iaf", depth: int = 4, context: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow = chain(flows, depth)
        self.context = 0 if context == 0 else checks.positive_integer(context, "context")
        self.base = Normal()
        self.num_parameters = 2 + self.context
        self.parameter_names = ("mean", "log_var", *(f"context_{i}" for i in range(self.context)))

    def bind(self, event_shape: Shape) -> None:
        size = _size(event_shape, "a posterior")
        self.flow.bind(size, self.context * size)

    def _split(self, params, like=None):
        """Parameters of the base, and the context with the leading axes of `like`."""
        params, edge = ops.convert_to_tensor(params), 2 * self.flow.size
        if not self.context:
            return params, None
        context = params[..., edge:]
        return params[..., :edge], context if like is None else context + ops.zeros_like(like[..., :1])

    def sample_and_log_prob(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        base, _ = self._split(params)
        z, log_prob = self.base.sample_and_log_prob(base, num_samples, seed)
        z, log_det = self.flow.forward(z, self._split(params, z)[1])
        return z, log_prob - log_det

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        base, _ = self._split(params)
        value = value + ops.zeros_like(base[..., : self.flow.size])  # with the leading axes of both
        z, log_det = self.flow.inverse(value, self._split(params, value)[1])
        return self.base.log_prob(z, base) + log_det

    def mean(self, params: Tensor) -> Tensor:
        mean = self.base.mean(self._split(params)[0])
        return self.flow.forward(mean, self._split(params, mean)[1])[0]

    def standard_prior(self) -> Distribution:
        return Normal()

    def get_config(self) -> dict[str, Any]:
        flows = [keras.saving.serialize_keras_object(flow) for flow in self.flow.flows]
        return {**super().get_config(), "flows": flows, "context": self.context}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Posterior:
        flows = [keras.saving.deserialize_keras_object(flow) for flow in config["flows"]]
        return cls(**{**config, "flows": flows})


@keras.saving.register_keras_serializable(package="kvae")
class Prior(BasePrior):
    """A prior that flows make of N(0, I): z = f(u), log p(z) = log N(u | 0, I) + log |det ∂f⁻¹/∂z|, u = f⁻¹(z).

    Training needs the inverse: "coupling", "spline" and "maf" compute it in one pass, "iaf" in as many as there are
    latent dimensions (Chen et al. 2017, https://arxiv.org/abs/1611.02731, section 3.2).

    Args:
        flows: as in `Posterior`.
        depth: number of flows of a named kind.

    Raises:
        ValueError: as for `Posterior`.

    Example:

    >>> model = kvae.VAE(encoder, decoder, prior=kvae.flows.Prior("maf", depth=4))
    """

    def __init__(self, flows: str | Sequence[Flow] = "coupling", depth: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow = chain(flows, depth)

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        self.flow.bind(_size(self.latent_shape, "a prior"))
        self.base = Normal()

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        u, log_det = self.flow.inverse(z)
        return self.base.log_prob(u, ops.zeros((2 * self.flow.size,), "float32")) + log_det

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        u = self.draw(self.base, ops.zeros((n, 2 * self.flow.size), "float32"), seed, temperature)
        return self.flow.forward(u)[0]

    def get_config(self) -> dict[str, Any]:
        flows = [keras.saving.serialize_keras_object(flow) for flow in self.flow.flows]
        return {**super().get_config(), "flows": flows}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Prior:
        flows = [keras.saving.deserialize_keras_object(flow) for flow in config["flows"]]
        return cls(**{**config, "flows": flows})
