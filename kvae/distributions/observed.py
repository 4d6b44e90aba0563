"""Missing values: the likelihood of what was observed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.distributions.base import Distribution
from kvae.distributions.categorical import Categorical
from kvae.distributions.joint import Joint
from kvae.types import Array, Seed, Shape, Tensor

IN_EVERY_SUPPORT = 0.5  # takes the place of missing values in formulas whose result is then left out


@keras.saving.register_keras_serializable(package="kvae")
class Observed(Distribution):
    """A likelihood of examples with missing values, which are NaN: log p of the values that were observed.

    Values that are missing at random are integrated out by leaving their terms out of the sum, so that the bound is one
    on the log-density of what was observed (Mattei & Frellsen 2019, eq. 4, https://arxiv.org/abs/1812.02633: MIWAE for
    missing data, with `bound="importance_weighted"`). Encoders that the factories build see 0 in the place of a
    missing value and, as more channels, which values were observed. `evaluation.impute` fills the gaps.

    Args:
        family: the likelihood of complete examples, a `Distribution`. Of a `Categorical` part, all values of an example
            are missing, or none.

    Raises:
        ValueError: if `family` is no `Distribution`.

    Example:

    >>> from kvae.distributions import Normal, Observed
    >>> likelihood = Observed(Normal(sigma="learned"))
    >>> networks = kvae.networks.mlp((4,), latent_dim=2, likelihood=likelihood)
    >>> model = kvae.VAE(*networks, likelihood=likelihood, bound="importance_weighted", num_samples=20)
    >>> model.elbo([[0.3, float("nan"), -1.0, 0.2]]).shape
    (1,)
    """

    allows_missing = True

    def __init__(self, family: Distribution, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(family, Distribution) or family.allows_missing:
            raise ValueError(f"`family` must be a kvae Distribution of complete examples. Received: {family!r}")
        self.family = family
        self.num_parameters, self.parameter_names = family.num_parameters, family.parameter_names
        self.reparameterized, self.discrete = family.reparameterized, family.discrete
        self.generates_draws = family.generates_draws

    def bind(self, event_shape: Shape) -> None:
        self.family.bind(event_shape)

    def num_outputs(self, size: int) -> int:
        return self.family.num_outputs(size)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        return self.family.parameters(params)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        return self.family.sample(params, num_samples, seed)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        value = ops.convert_to_tensor(value)
        missing = ops.isnan(value)
        log_prob = self.family.elementwise_log_prob(ops.where(missing, IN_EVERY_SUPPORT, value), params)
        return ops.where(missing, 0.0, log_prob)

    def mean(self, params: Tensor) -> Tensor:
        return self.family.mean(params)

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        return self.family.tempered(value, params, temperature)

    def as_input(self, value: Tensor) -> Tensor:
        missing = ops.isnan(value)
        zeros, ones = ops.zeros_like(value), ops.ones_like(value)
        filled = self.family.as_input(ops.where(missing, zeros, value))
        return ops.concatenate([filled, ops.where(missing, zeros, ones)], axis=-1)

    def scaled(self, params: Tensor, log_size: Tensor) -> Tensor:
        return self.family.scaled(params, log_size)

    def check(self, value: Array, name: str) -> None:
        missing = np.isnan(value)
        empty = np.flatnonzero(missing.reshape(len(value), -1).all(axis=1))
        if len(empty):
            raise ValueError(
                f"`{name}` must have at least one observed value in each example: drop those without. "
                f"Received: {len(empty)} of {len(value)} without, the first at index {empty[0]}"
            )
        if not isinstance(self.family, Joint):
            self.family.check(filled(self.family, value, missing, name), name)
            return
        for part, place, called in self.family.pieces(name):
            complete = filled(part, value[..., place], missing[..., place], called)
            self.family.check_part(part, complete, called)

    def element_name(self, index: tuple[int, ...]) -> str:
        return self.family.element_name(index)

    def check_training(self, value: Array, name: str) -> None:
        self.family.check_training(value, name)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "family": keras.saving.serialize_keras_object(self.family)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Observed:
        return cls(**{**config, "family": keras.saving.deserialize_keras_object(config["family"])})


def filled(family: Distribution, value: Array, missing: Array, name: str) -> Array:
    """`value` with 1, which every family allows, or a first category in the place of what is missing, to be checked.

    Raises:
        ValueError: if parts of a categorical variable are missing.
    """
    if isinstance(family, Categorical):
        some = missing.any(axis=-1) & ~missing.all(axis=-1)
        if some.any():
            raise ValueError(
                f"`{name}` must be missing as a whole, or not at all: it is one variable. "
                f"Received: parts of it in example {np.argwhere(some)[0][0]}"
            )
        return np.where(missing, np.eye(1, value.shape[-1])[0], value)
    return np.where(missing, 1.0, value)
