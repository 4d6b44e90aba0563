"""Grey levels: probabilities of the 256 values of a byte, for likelihoods in bits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.distributions.bernoulli import check_unit_interval
from kvae.types import Array, Seed, Tensor

LOG_SCALE_RANGE = (-7.0, 7.0)  # a scale of a quarter of a grey level, and of a thousand images


class Levels(Distribution):
    """Base class of the families of pixels with finitely many levels k/(levels − 1), k = 0, …, levels − 1."""

    reparameterized = False

    def __init__(self, levels: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = checks.positive_integer(levels, "levels")
        if self.levels < 2:
            raise ValueError(f"`levels` must be an integer of at least 2. Received: {levels!r}")

    def level(self, value: Tensor) -> Tensor:
        """The number k of each pixel's level, a float."""
        return ops.round(ops.clip(value, 0.0, 1.0) * (self.levels - 1.0))

    def check(self, value: Array, name: str) -> None:
        check_unit_interval(value, name, self)
        off = np.abs(value * (self.levels - 1.0) - np.rint(value * (self.levels - 1.0)))
        if (off > 0.05).any():
            at = tuple(int(i) for i in np.argwhere(off > 0.05)[0])
            place = f" in {self.element_name(at[1:])} of example {at[0]}" if value.ndim > 1 else ""
            raise ValueError(
                f"`{name}` must hold the {self.levels} levels k/{self.levels - 1} for the {type(self).__name__} "
                f'likelihood, without noise: use likelihood="continuous_bernoulli" or "gaussian" for other values. '
                f"Received: {value[at]:g}{place}"
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}


@keras.saving.register_keras_serializable(package="kvae")
class DiscretizedLogistic(Levels):
    """Logistic distribution of 8-bit pixels: the probability of a level is that of the interval around it.

    P(k) = σ((x + δ − m)/s) − σ((x − δ − m)/s) at x = k/(levels − 1), where δ is half the distance of two levels; the
    first and the last level take the rest on their side (Kingma et al. 2016, https://arxiv.org/abs/1606.04934, appendix
    A). The log-likelihood is one of discrete pixels, so that −ELBO in bits per dimension compares with other models'
    (`evaluation.bits_per_dimension`).

    Args:
        num_components: 1, or K for a mixture of K logistics, which can have several peaks. Channels of a colour image
            have mixtures of their own, given the code (Salimans et al. 2017, https://arxiv.org/abs/1701.05517, eq. 1).
        levels: number of grey levels.

    Raises:
        ValueError: if a number is not a positive integer, or `levels` is below 2.

    Example:

    >>> family = kvae.distributions.DiscretizedLogistic()
    >>> params = keras.ops.zeros((256, 2))  # m = 0 and s = 1
    >>> x = keras.ops.reshape(keras.ops.linspace(0.0, 1.0, 256), (256, 1))
    >>> round(float(keras.ops.sum(keras.ops.exp(family.elementwise_log_prob(x, params)))), 4)
    1.0
    """

    def __init__(self, num_components: int = 1, levels: int = 256, **kwargs: Any) -> None:
        super().__init__(levels, **kwargs)
        self.num_components = checks.positive_integer(num_components, "num_components")
        self.num_parameters = 2 if self.num_components == 1 else 3 * self.num_components
        names = [] if num_components == 1 else [f"weight_{i}" for i in range(num_components)]
        names += [f"{name}_{i}" for name in ("loc", "log_scale") for i in range(num_components)]
        self.parameter_names = ("loc", "log_scale") if num_components == 1 else tuple(names)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        parts = super().parameters(params)
        n = self.num_components
        return (*parts[:-n], *(ops.clip(each, *LOG_SCALE_RANGE) for each in parts[-n:]))

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, locations and log-scales of the components, each `(K, ..., size)`."""
        n, parts = self.num_components, self.parameters(params)
        loc, log_scale = (ops.stack(each) for each in (parts[-2 * n : -n], parts[-n:]))
        if n == 1:
            return ops.zeros_like(loc), loc, log_scale
        # Locations around which the components start apart: all of them equal would stay so for long.
        apart = ops.reshape(ops.arange(n, dtype="float32") / (n - 1.0), (n, *[1] * (len(loc.shape) - 1)))
        return ops.log_softmax(ops.stack(parts[:n]), axis=0), loc + apart, log_scale

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        log_weights, loc, log_scale = self.components(params)
        width = 1.0 / (self.levels - 1.0)
        k = self.level(value)
        inverse = ops.exp(-log_scale)
        above = (k * width + 0.5 * width - loc) * inverse
        below = (k * width - 0.5 * width - loc) * inverse
        # σ(a) − σ(b) = σ(a) σ(−b) (1 − exp(b − a)); the first level has b = −∞, the last a = ∞.
        first, last = k < 0.5, k > self.levels - 1.5
        upper = ops.where(last, 0.0, ops.log_sigmoid(above))
        lower = ops.where(first, 0.0, ops.log_sigmoid(-below))
        between = ops.where(first | last, 0.0, ops.log(-ops.expm1(-width * inverse)))
        return ops.logsumexp(log_weights + upper + lower + between, axis=0)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        log_weights, loc, log_scale = self.components(ops.convert_to_tensor(params))
        one, other = checks.seeds(seed, 2)
        shape = (num_samples, *ops.shape(loc)[1:])
        u = uniform(shape, one)
        noise = ops.log(u) - ops.log1p(-u)
        if self.num_components > 1:
            gumbel = -ops.log(-ops.log(uniform((num_samples, *ops.shape(loc)), other)))
            chosen = ops.one_hot(ops.argmax(log_weights + gumbel, axis=1), self.num_components, axis=1, dtype="float32")
            loc, log_scale = (ops.sum(chosen * each, axis=1) for each in (loc, log_scale))
        else:
            loc, log_scale = loc[0], log_scale[0]
        return self.level(loc + ops.exp(log_scale) * noise) / (self.levels - 1.0)

    def mean(self, params: Tensor) -> Tensor:
        """The mean of the logistic distribution, with what lies outside of [0, 1] moved to its edges.

        ∫_0^1 P(x > t) dt = s (softplus(m/s) − softplus((m − 1)/s)): within half a level of the mean of the levels.
        """
        log_weights, loc, log_scale = self.components(params)
        scale = ops.exp(log_scale)
        means = scale * (ops.softplus(loc / scale) - ops.softplus((loc - 1.0) / scale))
        return ops.clip(ops.sum(ops.exp(log_weights) * means, axis=0), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_components": self.num_components}


@keras.saving.register_keras_serializable(package="kvae")
class CategoricalLevels(Levels):
    """A probability for each grey level of a pixel, without an order of the levels: a softmax over 256 logits.

    The most flexible likelihood of 8-bit pixels, and the largest: 256 numbers per pixel and channel (van den Oord et
    al. 2016, https://arxiv.org/abs/1601.06759, section 3.3).

    Args:
        levels: number of grey levels.

    Raises:
        ValueError: if `levels` is not an integer above 1.

    Example:

    >>> family = kvae.distributions.CategoricalLevels(levels=4)
    >>> round(float(family.elementwise_log_prob(keras.ops.ones(1), keras.ops.zeros(4))[0]), 4)  # log ¼
    -1.3863
    """

    def __init__(self, levels: int = 256, **kwargs: Any) -> None:
        super().__init__(levels, **kwargs)
        self.num_parameters = self.levels
        self.parameter_names = tuple(f"logit_{i}" for i in range(self.levels))

    def _log_probs(self, params):
        """Log-probabilities `(..., levels, size)`."""
        params = ops.convert_to_tensor(params)
        *batch, _ = ops.shape(params)
        size = params.shape[-1] // self.levels
        return ops.log_softmax(ops.reshape(params, (*batch, self.levels, size)), axis=-2)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        levels = ops.reshape(ops.arange(self.levels, dtype="float32"), (self.levels, 1))
        chosen = ops.equal(ops.expand_dims(self.level(value), -2), levels)
        return ops.sum(ops.where(chosen, self._log_probs(params), 0.0), axis=-2)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        log_probs = self._log_probs(params)
        noisy = log_probs - ops.log(-ops.log(uniform(noise_shape(num_samples, log_probs), seed)))
        return ops.cast(ops.argmax(noisy, axis=-2), "float32") / (self.levels - 1.0)

    def mean(self, params: Tensor) -> Tensor:
        values = ops.reshape(ops.arange(self.levels, dtype="float32") / (self.levels - 1.0), (self.levels, 1))
        return ops.sum(ops.exp(self._log_probs(params)) * values, axis=-2)
