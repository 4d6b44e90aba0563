"""Families of positive numbers: by composition (log-normal) and by the inverse distribution function (exponential)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.distributions.location_scale import LOG_SCALE_RANGE
from kvae.distributions.normal import Normal
from kvae.types import Seed, Tensor

# log z of a log-normal is kept in this range: float32 can represent neither e^89 nor e^-104 (a z of infinity or 0
# would make the log-density NaN), nor the squares that a network computes from e^60.
LOG_RANGE = (-30.0, 30.0)


@keras.saving.register_keras_serializable(package="kvae")
class LogNormal(Distribution):
    """Log-normal distribution, z = exp(n) with n ~ N(mean, σ²); parameters `[mean, log_var]` of n.

    As a posterior it goes with a log-normal prior; the KL is that of the two normals, since exp is one-to-one.

    Example:

    >>> log_normal = kvae.distributions.LogNormal()
    >>> round(float(log_normal.elementwise_log_prob(1.0, keras.ops.zeros(2))[0]), 4)
    -0.9189
    """

    num_parameters = 2
    parameter_names = ("mean", "log_var")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._normal = Normal()

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        return self._normal.parameters(params)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        return ops.exp(ops.clip(self._normal.sample(params, num_samples, seed), *LOG_RANGE))

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        log_value = ops.log(value)
        return self._normal.elementwise_log_prob(log_value, params) - log_value  # the change of variables: dn/dz = 1/z

    def mean(self, params: Tensor) -> Tensor:
        mean, log_var = self.parameters(params)
        return ops.exp(ops.clip(mean + 0.5 * ops.exp(log_var), *LOG_RANGE))

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        """The same for the logarithms, which keeps the draws positive."""
        return ops.exp(ops.clip(self._normal.tempered(ops.log(value), params, temperature), *LOG_RANGE))

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        if not isinstance(prior, LogNormal):
            return None
        return self._normal.elementwise_kl(params, prior._normal, prior_params)


@keras.saving.register_keras_serializable(package="kvae")
class Exponential(Distribution):
    """Exponential distribution, density exp(−z / scale) / scale; the one parameter is `log_scale`, scale the mean.

    As a posterior it goes with an exponential prior.

    Example:

    >>> exponential = kvae.distributions.Exponential()
    >>> round(float(exponential.elementwise_log_prob(2.0, keras.ops.zeros(1))[0]), 4)
    -2.0
    """

    parameter_names = ("log_scale",)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        return (ops.clip(params, *LOG_SCALE_RANGE),)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        (log_scale,) = self.parameters(params)
        unit = -ops.log1p(-uniform(noise_shape(num_samples, log_scale), seed))
        return ops.exp(log_scale) * ops.cast(unit, log_scale.dtype)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        (log_scale,) = self.parameters(params)
        return -value * ops.exp(-log_scale) - log_scale

    def mean(self, params: Tensor) -> Tensor:
        return ops.exp(self.parameters(params)[0])

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        """Draws with their ratio to the mean raised to the power of `temperature`, which keeps them positive."""
        mean = self.mean(params)
        return mean * (value / mean) ** temperature

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        if not isinstance(prior, Exponential):
            return None
        log_ratio = self.parameters(params)[0] - prior.parameters(prior_params)[0]
        return ops.exp(log_ratio) - log_ratio - 1.0
