"""Binary pixels."""

import math

import keras
import numpy as np
from keras import ops

from kvae.distributions.base import Distribution


@keras.saving.register_keras_serializable(package="kvae")
class Bernoulli(Distribution):
    """Bernoulli distribution of pixels in [0, 1], from logits.

    Grey values between 0 and 1 are scored by the same formula, x log π + (1 − x) log(1 − π), the usual cross-entropy;
    it is a log-probability only of pixels that are 0 or 1, so binarize the data where numbers are to be compared.

    Example:

    >>> bernoulli = kvae.distributions.Bernoulli()
    >>> float(bernoulli.log_prob(1.0, keras.ops.zeros(1))[0])  # log ½
    -0.6931471824645996
    """

    reparameterized = False

    def sample(self, params, num_samples, seed):
        uniform = keras.random.uniform((num_samples, *ops.shape(params)), seed=seed)
        return ops.cast(uniform < self.mean(params), params.dtype)

    def log_prob(self, value, params):
        # x log π + (1 − x) log(1 − π) = x a − log(1 + exp(a)) = (x − ½) a − log(2 cosh(a/2)), with a the logits.
        scale = _log_2_cosh_half_and_slope if keras.backend.backend() == "tensorflow" else _log_2_cosh_half
        return (value - 0.5) * params - scale(params)

    def sum_log_prob(self, value, params):
        if type(self).log_prob is not Bernoulli.log_prob:  # a subclass's own may look at the image's axes
            return super().sum_log_prob(value, params)
        pixels = math.prod(params.shape[2:])  # in one axis: XLA's loop over them is twice as fast
        value = ops.reshape(value, (-1, pixels))
        return super().sum_log_prob(value, ops.reshape(params, (params.shape[0], -1, pixels)))

    def mean(self, params):
        return ops.sigmoid(params)

    def check(self, value, name):
        low, high = float(np.min(value)), float(np.max(value))
        if low < 0.0 or high > 1.0:
            mend = (
                "divide by 255"
                if low >= 0.0 and high <= 255.0
                else 'rescale, or use likelihood="gaussian" (in an autoencoder, loss="mse")'
            )
            raise ValueError(
                f"`{name}` must hold pixels in [0, 1] for the Bernoulli likelihood: {mend}. "
                f"Received: {value.dtype} values from {low:g} to {high:g}"
            )


def _log_2_cosh_half(a):
    """log(exp(a/2) + exp(−a/2)), with the largest part taken out of the logarithm: XLA makes that one fast loop."""
    size = ops.abs(a)
    return 0.5 * size + ops.log(1.0 + ops.exp(-size))


@ops.custom_gradient
def _log_2_cosh_half_and_slope(a):
    """The same, its derivative π − ½ told: the way back through logarithm and exponential has more operations.

    For TensorFlow alone: JAX would lose its forward mode by it and PyTorch the second derivative, and gain nothing.
    """

    def gradient(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        return upstream * (ops.sigmoid(a) - 0.5)

    return _log_2_cosh_half(a), gradient
