"""Counts: numbers of words, of molecules, of events."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.distributions.log_gamma import log_gamma, log_rising_power
from kvae.types import Array, Number, Seed, Shape, Tensor

LOG_MEAN_RANGE = (-20.0, 20.0)
LOG_DISPERSION_RANGE = (-14.0, 7.0)
LARGEST_COUNT = 2**24  # float32 holds whole numbers up to here
FEW = 10.0  # rates below are drawn by a sum over the first counts, the others by rejection
FIRST_COUNTS = 34  # of a rate below 10, more come once in 10⁸ draws, beyond what uniform numbers in float32 resolve
PROPOSALS = 16  # for each draw of a larger rate, of which 6 in 7 or more are accepted


class Counts(Distribution):
    """Base class of the families of counts, whose first parameter is the logarithm of their mean."""

    reparameterized = False

    def mean(self, params: Tensor) -> Tensor:
        return ops.exp(self.parameters(params)[0])

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        """The same, rounded to counts."""
        return ops.maximum(ops.round(super().tempered(value, params, temperature)), 0.0)

    def as_input(self, value: Tensor) -> Tensor:
        return ops.log1p(value)

    def scaled(self, params: Tensor, log_size: Tensor) -> Tensor:
        log_mean, *others = super().parameters(params)
        return ops.concatenate([log_mean + log_size, *others], axis=-1)

    def check(self, value: Array, name: str) -> None:
        wrong = (value < 0) | (value > LARGEST_COUNT) | (value != np.rint(value))
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            column = f" in {self.element_name(at[1:])}" if value.ndim > 1 else ""
            raise ValueError(
                f"`{name}` must hold counts, whole numbers from 0 to {LARGEST_COUNT:,}, for the {type(self).__name__} "
                f"likelihood, neither scaled nor logarithms. Received: {value[at]:g}{column} of example {at[0]}"
            )


@keras.saving.register_keras_serializable(package="kvae")
class Poisson(Counts):
    """Poisson distribution of counts, P(k) = exp(k log μ − μ) / k!, from log μ; its variance is its mean.

    Example:

    >>> poisson = kvae.distributions.Poisson()
    >>> round(float(poisson.elementwise_log_prob(2.0, keras.ops.zeros(1))[0]), 4)  # log e⁻¹ / 2!
    -1.6931
    """

    parameter_names = ("log_mean",)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        return (ops.clip(params, *LOG_MEAN_RANGE),)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        mean = self.mean(ops.convert_to_tensor(params))
        return poisson_draws(ops.broadcast_to(mean, noise_shape(num_samples, mean)), seed)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        (log_mean,) = self.parameters(params)
        return value * log_mean - ops.exp(log_mean) - log_gamma(value + 1.0)


@keras.saving.register_keras_serializable(package="kvae")
class NegativeBinomial(Counts):
    """Negative binomial distribution of counts: Poisson, with a mean that varies by a gamma distribution.

    With mean μ and dispersion α, the variance is μ + αμ²; as α tends to 0, it is the Poisson distribution. Counts of
    molecules, words or events are usually dispersed: a Poisson likelihood then explains their scatter by the code.

    Args:
        dispersion: where α comes from. "learned": one for each element of an example, such as a gene, trained with the
            model. `None`: from the network, `[log μ, log α]` on the last axis. A float: fixed at that value.

    Raises:
        ValueError: if `dispersion` is anything else.

    Example:

    >>> family = kvae.distributions.NegativeBinomial(dispersion=1.0)  # geometric: P(k) = ½ · ½ᵏ for a mean of 1
    >>> round(float(family.elementwise_log_prob(2.0, keras.ops.zeros(1))[0]), 4)
    -2.0794
    """

    def __init__(self, dispersion: Number | Literal["learned"] | None = "learned", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dispersion = checks.positive_number_or("learned", dispersion, "dispersion")
        self.num_parameters = 2 if dispersion is None else 1
        self.parameter_names = ("log_mean", "log_dispersion") if dispersion is None else ("log_mean",)
        self.learned_log_dispersion: Any = None

    def bind(self, event_shape: Shape) -> None:
        if self.dispersion == "learned" and self.learned_log_dispersion is None:
            self.learned_log_dispersion = self.add_weight(
                shape=event_shape, initializer="zeros", name="log_dispersion", dtype="float32"
            )

    @property
    def log_dispersion(self) -> Tensor | float:
        """log α, fixed or learned; it starts at 0, α = 1."""
        if self.dispersion == "learned":
            learned = self.learned_log_dispersion
            return 0.0 if learned is None else ops.clip(ops.convert_to_tensor(learned), *LOG_DISPERSION_RANGE)
        return float(np.clip(math.log(self.dispersion), *LOG_DISPERSION_RANGE))

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        """log μ and, if it comes from the network, log α, each `(..., size)`."""
        if self.dispersion is not None:
            return (ops.clip(params, *LOG_MEAN_RANGE),)
        log_mean, log_dispersion = ops.split(params, 2, axis=-1)
        return ops.clip(log_mean, *LOG_MEAN_RANGE), ops.clip(log_dispersion, *LOG_DISPERSION_RANGE)

    def mean_and_dispersion(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """μ and α, each `(..., size)`."""
        log_mean, *other = self.parameters(params)
        log_dispersion = other[0] if other else self.log_dispersion
        return ops.exp(log_mean), ops.exp(log_dispersion + ops.zeros_like(log_mean))

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        mean, alpha = self.mean_and_dispersion(ops.convert_to_tensor(params))
        shape = noise_shape(num_samples, mean)
        one, other = checks.seeds(seed, 2)
        factor = keras.random.gamma(shape, ops.broadcast_to(1.0 / alpha, shape), dtype="float32", seed=one)
        return poisson_draws(mean * alpha * factor, other)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        # Γ(k + r) / (Γ(r) k!) (αμ)ᵏ / (1 + αμ)^(k + r) with r = 1/α, and Γ(k + r) / Γ(r) = rᵏ (1 + α) (1 + 2α) …
        mean, alpha = self.mean_and_dispersion(params)
        log_mean = self.parameters(params)[0]
        rest = log_rising_power(value, alpha) - (value + 1.0 / alpha) * ops.log1p(alpha * mean)
        return value * log_mean - log_gamma(value + 1.0) + rest

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dispersion": self.dispersion}


def poisson_draws(rate: Tensor, seed: Seed) -> Tensor:
    """Draws from Poisson distributions.

    Args:
        rate: tensor `(...)` of means.
        seed: int or `keras.random.SeedGenerator`.

    Returns:
        Tensor of the same shape, float32.
    """
    one, other = checks.seeds(seed, 2)
    few = ops.minimum(rate, FEW)
    u = uniform(ops.shape(rate), one)
    probability = ops.exp(-few)
    total, small = probability, ops.zeros_like(few)
    for k in range(1, FIRST_COUNTS):
        small = small + ops.cast(u > total, "float32")
        probability = probability * few / k
        total = total + probability
    return ops.where(rate < FEW, small, _rejected_poisson(ops.maximum(rate, FEW), other))


def _rejected_poisson(rate, seed):
    """Draws for rates of at least 10 by Hörmann's transformed rejection (1993, algorithm PTRS).

    https://doi.org/10.1016/0167-6687(93)90997-4
    """
    b = 0.931 + 2.53 * ops.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    one, other = checks.seeds(seed, 2)
    shape = (PROPOSALS, *ops.shape(rate))
    u, v = uniform(shape, one) - 0.5, uniform(shape, other)
    us = 0.5 - ops.abs(u)
    k = ops.floor((2.0 * a / us + b) * u + rate + 0.43)
    whole = ops.maximum(k, 0.0)
    log_ratio = ops.log(v) + ops.log(inverse_alpha / (a / ops.square(us) + b))
    accepted = (k >= 0.0) & (log_ratio <= _poisson_log_prob(whole, rate))
    first = ops.argmax(ops.cast(accepted, "int32"), axis=0, keepdims=True)
    return ops.take_along_axis(whole, first, axis=0)[0]


def _poisson_log_prob(k, rate):
    """log P(k) for rates of at least 10, without the cancellation of k log μ − μ − log k!, which are near 10⁷ for 10⁶.

    By Stirling's series, −μ ((1 + d) log(1 + d) − d) − ½ log 2πk − 1/(12k) with d = k/μ − 1.
    """
    direct = k * ops.log(rate) - rate - log_gamma(k + 1.0)
    many = ops.maximum(k, 16.0)
    d = (many - rate) / rate
    series = -rate * ((1.0 + d) * ops.log1p(d) - d) - 0.5 * ops.log(2.0 * math.pi * many) - 1.0 / (12.0 * many)
    return ops.where(k < 16.0, direct, series)
