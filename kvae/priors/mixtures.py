"""Mixtures as priors: learned components, posteriors of learned pseudo-inputs, or components set by the condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks, networks
from kvae.distributions import Distribution, MixtureDensity, SphericalUniform, VonMisesFisher
from kvae.priors.base import Prior
from kvae.types import Network, Seed, Shape, Tensor


class Components(Prior):
    """Base class of the mixtures p(z) = Σ_k π_k p_k(z): subclasses give `log_mixing` and the components' parameters.

    Args:
        num_components: number of components.
    """

    def __init__(self, num_components: int = 50, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_components = checks.positive_integer(num_components, "num_components")

    def log_mixing(self) -> Tensor:
        """log π, `(components,)`."""
        return ops.full((self.num_components,), -math.log(self.num_components), "float32")

    def component_params(self) -> Tensor:
        """Parameters `(components, *params_shape)`."""
        raise NotImplementedError

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        z = ops.expand_dims(z, -1 - self.event_ndim)  # (..., 1, *latent_shape), against the components
        log_prob = self.family.log_prob(z, self.component_params(), self.event_ndim)  # (..., components)
        return ops.logsumexp(self.log_mixing() + log_prob, axis=-1)

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        one, other = checks.seeds(seed, 2)
        k = keras.random.categorical(ops.expand_dims(self.log_mixing(), 0), n, seed=one)[0]
        return self.draw(self.family, ops.take(self.component_params(), k, axis=0), other, temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_components": self.num_components}


@keras.saving.register_keras_serializable(package="kvae")
class Mixture(Components):
    """A learned mixture: mixing weights and components of the family, which start spread out and are trained.

    Args:
        num_components: number of components.

    Example:

    >>> model = kvae.VAE(encoder, decoder, prior=kvae.priors.Mixture(num_components=10))
    """

    def family_for(self, posterior_family: Distribution) -> Distribution:
        family = super().family_for(posterior_family)
        return VonMisesFisher() if isinstance(family, SphericalUniform) else family  # components that can differ

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        spread = keras.initializers.RandomNormal(stddev=0.5, seed=0)  # equal components would stay equal
        self.component_weights = self.add_weight(
            shape=(self.num_components, *self.params_shape), initializer=spread, name="params"
        )
        self.logits = self.add_weight(shape=(self.num_components,), initializer="zeros", name="logits")

    def log_mixing(self) -> Tensor:
        return ops.log_softmax(ops.convert_to_tensor(self.logits))

    def component_params(self) -> Tensor:
        return ops.convert_to_tensor(self.component_weights)


@keras.saving.register_keras_serializable(package="kvae")
class Vamp(Components):
    """VampPrior, p(z) = 1/K Σ_k q(z|u_k) with learned pseudo-inputs u_k in [0, 1].

    Tomczak & Welling 2018, eq. 9 (https://arxiv.org/abs/1705.07120).

    Args:
        num_components: K.

    Example:

    >>> model = kvae.VAE(encoder, decoder, prior="vamp")
    """

    def family_for(self, posterior_family: Distribution) -> Distribution:
        return posterior_family  # its components are q(z|u_k) themselves

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        self._encode = encode
        # Logits of sparse grey images; the encoder sees their sigmoid, so that u stays an image.
        start = keras.initializers.RandomNormal(mean=-2.0, stddev=1.0, seed=0)
        self.pseudo_logits = self.add_weight(
            shape=(self.num_components, *image_shape), initializer=start, name="pseudo_logits"
        )

    def pseudo_inputs(self) -> Tensor:
        """The images u, `(components, *image_shape)`."""
        return ops.sigmoid(ops.convert_to_tensor(self.pseudo_logits))

    def component_params(self) -> Tensor:
        return self._encode(self.pseudo_inputs())


@keras.saving.register_keras_serializable(package="kvae")
class ConditionalMixture(Prior):
    """A mixture density network as the prior of a `CVAE`: p(z|y) = Σ_k π_k(y) N(z | μ_k(y), σ_k²(y)).

    With encoder and decoder held fixed (`trainable = False`), fitting the model is fitting the network to codes drawn
    from q(z|x, y), as in Deshpande et al. 2017 (https://arxiv.org/abs/1612.01958), section 4.

    Args:
        network: Functional model from the condition, or a list of its parts, to `mixture.num_outputs` numbers.
        mixture: `kvae.distributions.MixtureDensity` of vectors as long as a code.

    Raises:
        ValueError: when bound to a model, if the network or the codes do not fit the mixture.

    Example:

    ```python
    mixture = kvae.distributions.MixtureDensity(num_components=8, size=2)
    network = keras.Sequential([keras.Input((10,)), keras.layers.Dense(mixture.num_outputs)])
    encoder, decoder = kvae.networks.mlp((8, 8, 1), latent_dim=2, num_classes=10)
    model = kvae.CVAE(encoder, decoder, 10, prior=kvae.priors.ConditionalMixture(network, mixture))
    ```
    """

    def __init__(self, network: Network, mixture: MixtureDensity, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.mixture = mixture

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        expected = (self.mixture.num_outputs,), (self.mixture.size,)
        given = tuple(self.network.output_shape[1:]), self.latent_shape
        if given != expected:
            raise ValueError(
                f"`prior` must be a network to {expected[0]} and a mixture of codes {expected[1]} per example: end the "
                f"network in Dense(mixture.num_outputs). Received: {given[0]} and codes {given[1]}"
            )

    def mixture_params(self, condition: Sequence[Tensor]) -> Tensor:
        """Parameters `(batch, mixture.num_outputs)`, for the methods of the mixture."""
        first, *others = condition[: len(self.network.inputs)]  # as in `Conditional`
        return networks.apply(self.network, first, others)

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        return self.mixture.log_prob(z, self.mixture_params(condition))

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        return self.mixture.sample(self.mixture_params(condition), 1, seed, temperature)[0]

    def get_config(self) -> dict[str, Any]:
        parts = {"network": self.network, "mixture": self.mixture}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConditionalMixture:
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("network", "mixture")}
        return cls(**{**config, **parts})
