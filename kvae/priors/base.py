"""What every prior offers, and those that are a single member of a family: standard, or conditional.

A prior is a Keras layer that its model binds to itself. It scores codes (`log_prob`), draws them (`sample`) and, where
possible, gives the KL from a posterior in closed form (`kl`). Codes may have any shape; the family sums over it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae import networks, outputs
from kvae.distributions import Distribution
from kvae.distributions.base import sum_event
from kvae.types import Network, Seed, Shape, Tensor


class Prior(keras.layers.Layer):
    """Base class of the priors.

    Attributes:
        family: `Distribution` of p(z) or of its components, the posterior's `standard_prior`; set by `bind`.
        latent_shape: shape of one code; set by `bind`.
    """

    stochastic: bool = False  # whether `log_prob` is itself an estimate, from samples of its own

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})  # whatever the policy: see networks.apply

    def bind(
        self,
        posterior_family: Distribution,
        latent_shape: Shape,
        image_shape: Shape,
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        """Bind the prior to a model and create its weights.

        Args:
            posterior_family: `Distribution` of q(z|x).
            latent_shape: shape of one code.
            image_shape: shape of one example.
            encode: function from images `(n, *image_shape)` to the parameters of q(z|x).

        Raises:
            ValueError: if the prior already belongs to a model, or does not fit this one.
        """
        if hasattr(self, "family"):
            raise ValueError("`prior` must be a new object for each model. Received: the prior of another model")
        self.family = self.family_for(posterior_family)
        self.latent_shape = tuple(latent_shape)
        self.make_weights(image_shape, encode)
        self.built = True

    @property
    def event_ndim(self) -> int:
        """Number of axes of a code."""
        return len(self.latent_shape)

    @property
    def params_shape(self) -> Shape:
        """Shape of the family's parameters for one code."""
        *places, size = self.latent_shape
        return (*places, self.family.num_outputs(size))

    def family_for(self, posterior_family: Distribution) -> Distribution:
        """The `Distribution` of p(z), or of its components, that goes with a posterior."""
        return posterior_family.standard_prior()

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        """Create the prior's weights; none here."""

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        """log p(z), or log p(z|y): `(..., batch)` of codes `(..., batch, *latent_shape)`, nats."""
        raise NotImplementedError

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        """Draw codes.

        Args:
            n: number of codes.
            condition: tensors `(n, ...)`, none without a condition.
            seed: int or `keras.random.SeedGenerator`.
            temperature: what the spread of each member of the family is multiplied by.

        Returns:
            Tensor `(n, *latent_shape)`.
        """
        raise NotImplementedError

    @staticmethod
    def draw(family: Distribution, params: Tensor, seed: Seed, temperature: float) -> Tensor:
        """One draw for each row of `params`, at a temperature."""
        z = family.sample(params, 1, seed)[0]
        return z if temperature == 1 else family.tempered(z, params, temperature)

    def kl(
        self, posterior_family: Distribution, params: Tensor, condition: Sequence[Tensor]
    ) -> tuple[Tensor | None, Tensor | None]:
        """KL(q(z|x) ‖ p(z)) in closed form.

        Returns:
            Tuple of the KL `(batch,)` and its part of each latent dimension `(batch, *latent_shape)`, nats; `None`
            where there is no closed form, or no split into dimensions.
        """
        return None, None

    def params(self, condition: Sequence[Tensor]) -> Tensor:
        """Parameters `(1 or batch, *params_shape)` of a prior that is a single member of its family; else `None`."""
        return None


class Single(Prior):
    """Base class of the priors that are a single member of a family: subclasses implement `params`."""

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        return self.family.log_prob(z, self.params(condition), self.event_ndim)

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        params = self.params(condition)
        return self.draw(self.family, ops.broadcast_to(params, (n, *params.shape[1:])), seed, temperature)

    def kl(
        self, posterior_family: Distribution, params: Tensor, condition: Sequence[Tensor]
    ) -> tuple[Tensor | None, Tensor | None]:
        prior_params = self.params(condition)
        per_dimension = posterior_family.elementwise_kl(params, self.family, prior_params)
        if per_dimension is not None:
            return sum_event(per_dimension, self.event_ndim), per_dimension
        return posterior_family.kl_divergence(params, self.family, prior_params, self.event_ndim), None


@keras.saving.register_keras_serializable(package="kvae")
class Standard(Single):
    """N(0, I), or for a posterior of positive numbers the standard member of its family."""

    def params(self, condition: Sequence[Tensor]) -> Tensor:
        return ops.zeros((1, *self.params_shape), "float32")


@keras.saving.register_keras_serializable(package="kvae")
class Conditional(Single):
    """p(z|y), its parameters computed by a network (Sohn, Lee, Yan 2015, eq. 4).

    Args:
        network: Functional model from the condition, or a list of its parts, to the parameters.
    """

    def __init__(self, network: Network, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        if tuple(self.network.output_shape[1:]) != self.params_shape:
            raise ValueError(
                f"`prior` must give parameters of shape {self.params_shape} per example. "
                f"Received: {self.network.input_shape} to {self.network.output_shape}"
            )
        outputs.check(self.network, "prior", self.family)

    def params(self, condition: Sequence[Tensor]) -> Tensor:
        first, *others = condition[: len(self.network.inputs)]  # y, without what a model draws in addition to it
        return networks.apply(self.network, first, others)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Conditional:
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})
