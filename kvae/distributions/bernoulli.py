"""Binary pixels."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
from keras import ops

from kvae.distributions.base import Distribution
from kvae.training import fused
from kvae.types import Array, Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class Bernoulli(Distribution):
    """Bernoulli distribution of pixels in [0, 1], from logits.

    Grey values between 0 and 1 are scored by the same formula, x log π + (1 − x) log(1 − π), the usual cross-entropy;
    it is a log-probability only of pixels that are 0 or 1, so binarize the data where numbers are to be compared.

    Example:

    >>> bernoulli = kvae.distributions.Bernoulli()
    >>> round(float(bernoulli.elementwise_log_prob(1.0, keras.ops.zeros(1))[0]), 4)  # log ½
    -0.6931
    """

    reparameterized = False
    parameter_names = ("logits",)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        uniform = keras.random.uniform((num_samples, *ops.shape(params)), dtype="float32", seed=seed)
        return ops.cast(uniform < self.mean(params), params.dtype)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        # x log π + (1 − x) log(1 − π) = x a − log(1 + exp(a)) = (x − ½) a − log(2 cosh(a/2)), with a the logits.
        scale = _log_2_cosh_half_and_slope() if keras.backend.backend() == "tensorflow" else _log_2_cosh_half
        return (value - 0.5) * params - scale(params)

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        own = type(self).elementwise_log_prob is Bernoulli.elementwise_log_prob
        if not own or event_ndim == 1:  # a subclass's formula may look at the image's axes
            return super().log_prob(value, params, event_ndim)
        # All pixels in one axis: XLA's loop over them is twice as fast.
        value, params = _flat_event(value, event_ndim), _flat_event(params, event_ndim)
        if fused.fuses(value, params):
            return fused.sum_of_terms(_log_prob, _by_pixels, _by_logits)(value, params)
        return super().log_prob(value, params)

    def mean(self, params: Tensor) -> Tensor:
        return ops.sigmoid(params)

    def check(self, value: Array, name: str) -> None:
        check_unit_interval(value, name, self)


def check_unit_interval(value: Array, name: str, likelihood: Distribution) -> None:
    """Raise a `ValueError` if values lie outside [0, 1], which `likelihood` needs."""
    low, high = float(np.min(value)), float(np.max(value))
    if low < 0.0 or high > 1.0:
        image = value.ndim > 2 and low >= 0.0 and high <= 255.0
        other = 'rescale, or use likelihood="gaussian" (in an autoencoder, loss="mse")'
        fix = "divide by 255" if image else other
        what = "pixels" if value.ndim > 2 else "values"
        raise ValueError(
            f"`{name}` must hold {what} in [0, 1] for the {type(likelihood).__name__} likelihood: {fix}. "
            f"Received: {value.dtype} values from {low:g} to {high:g}"
        )


def _log_prob(x, a):
    return (x - 0.5) * a - _log_2_cosh_half(a)


def _by_pixels(x, a):
    return a


def _by_logits(x, a):
    return x - ops.sigmoid(a)


def _flat_event(x, event_ndim):
    """`x` `(..., *event)` with the axes of an event joined into one."""
    known = [-1 if length is None else length for length in x.shape[:-event_ndim]]
    if known.count(-1) > 1:
        known = list(ops.shape(x)[:-event_ndim])
    return ops.reshape(x, (*known, math.prod(x.shape[-event_ndim:])))


def _log_2_cosh_half(a):
    """log(exp(a/2) + exp(−a/2)), with the larger part outside the logarithm, which XLA compiles to one fast loop."""
    size = ops.abs(a)
    return 0.5 * size + ops.log(1.0 + ops.exp(-size))


@functools.cache
def _log_2_cosh_half_and_slope():
    """A function for the same, with its gradient π − ½ in closed form.

    Backpropagation through logarithm and exponential takes longer. For TensorFlow only: JAX would lose forward mode and
    PyTorch the second derivative, and neither would be faster.
    """

    def with_slope(a):
        return _log_2_cosh_half(a), lambda upstream: upstream * (ops.sigmoid(a) - 0.5)

    return fused.with_gradient(with_slope)
