"""Mixtures as priors: learned components, or the posteriors of learned pseudo-inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.distributions import Distribution
from kvae.priors.base import Prior
from kvae.types import Seed, Shape, Tensor


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
