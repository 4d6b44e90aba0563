"""A prior of standardized codes, as a prior of the codes themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae.distributions import Distribution
from kvae.priors.base import Prior
from kvae.types import ArrayLike, Seed, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class Rescaled(Prior):
    """The prior of z = m + s ⊙ u, where u follows another one: log p(z) = log p_u((z − m) / s) − Σ_j log s_j.

    A density fitted after training is one of standardized codes, since codes of an autoencoder may have any scale.

    Args:
        prior: `Prior` of u.

    Example:

    >>> model = kvae.VAE(encoder, decoder, prior=kvae.priors.Rescaled(kvae.priors.Mixture(10)))
    >>> model.prior.rescale(loc=[1.0, 0.0], scale=[2.0, 3.0])
    """

    def __init__(self, prior: Prior, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prior = prior
        self.stochastic = prior.stochastic

    def family_for(self, posterior_family: Distribution) -> Distribution:
        return self.prior.family_for(posterior_family)

    def bind(
        self,
        posterior_family: Distribution,
        latent_shape: Shape,
        image_shape: Shape,
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        super().bind(posterior_family, latent_shape, image_shape, encode)
        self.prior.bind(posterior_family, latent_shape, image_shape, encode)

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        given = {"shape": self.latent_shape, "trainable": False}
        self.loc = self.add_weight(initializer="zeros", name="loc", **given)
        self.log_scale = self.add_weight(initializer="zeros", name="log_scale", **given)

    def rescale(self, loc: ArrayLike, scale: ArrayLike) -> None:
        """Set m and s, both `(*latent_shape,)`; they start at 0 and 1, and training leaves them alone."""
        self.loc.assign(loc)
        self.log_scale.assign(ops.log(ops.convert_to_tensor(scale, "float32")))

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        u = (z - self.loc) * ops.exp(-self.log_scale)
        return self.prior.log_prob(u, condition, seed) - ops.sum(self.log_scale)

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        return self.loc + ops.exp(self.log_scale) * self.prior.sample(n, condition, seed, temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "prior": keras.saving.serialize_keras_object(self.prior)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rescaled:
        return cls(**{**config, "prior": keras.saving.deserialize_keras_object(config["prior"])})
