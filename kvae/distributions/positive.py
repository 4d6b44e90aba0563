"""Families of positive numbers: by composition (log-normal) and by the inverse distribution function (exponential)."""

import keras
from keras import ops

from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.distributions.location_scale import LOG_SCALE_RANGE
from kvae.distributions.normal import Normal

# log z of a log-normal is kept in this range: float32 holds neither e^89 nor e^-104, and a z of infinity or 0 would
# make its log-density NaN; nor does it hold the squares that a network's outputs for e^60 end up in.
LOG_RANGE = (-30.0, 30.0)


@keras.saving.register_keras_serializable(package="kvae")
class LogNormal(Distribution):
    """Log-normal distribution, z = exp(n) with n ~ N(mean, σ²); parameters `[mean, log_var]` of n.

    As a posterior it takes a log-normal prior; the KL is that of the two normals, since exp is one-to-one.

    Example:

    >>> log_normal = kvae.distributions.LogNormal()
    >>> float(log_normal.log_prob(1.0, keras.ops.zeros(2))[0])
    -0.9189385175704956
    """

    num_parameters = 2
    parameter_names = ("mean", "log_var")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._normal = Normal()

    def parameters(self, params):
        return self._normal.parameters(params)

    def sample(self, params, num_samples, seed):
        return ops.exp(ops.clip(self._normal.sample(params, num_samples, seed), *LOG_RANGE))

    def log_prob(self, value, params):
        log_value = ops.log(value)
        return self._normal.log_prob(log_value, params) - log_value  # the change of variables: dn/dz = 1/z

    def mean(self, params):
        mean, log_var = self.parameters(params)
        return ops.exp(ops.clip(mean + 0.5 * ops.exp(log_var), *LOG_RANGE))

    def kl_divergence(self, params, prior, prior_params):
        if not isinstance(prior, LogNormal):
            return None
        return self._normal.kl_divergence(params, prior._normal, prior_params)


@keras.saving.register_keras_serializable(package="kvae")
class Exponential(Distribution):
    """Exponential distribution, density exp(−z / scale) / scale; the one parameter is `log_scale`, scale the mean.

    As a posterior it takes an exponential prior.

    Example:

    >>> exponential = kvae.distributions.Exponential()
    >>> float(exponential.log_prob(2.0, keras.ops.zeros(1))[0])
    -2.0
    """

    parameter_names = ("log_scale",)

    def parameters(self, params):
        return (ops.clip(params, *LOG_SCALE_RANGE),)

    def sample(self, params, num_samples, seed):
        (log_scale,) = self.parameters(params)
        unit = -ops.log1p(-uniform(noise_shape(num_samples, log_scale), seed))
        return ops.exp(log_scale) * ops.cast(unit, log_scale.dtype)

    def log_prob(self, value, params):
        (log_scale,) = self.parameters(params)
        return -value * ops.exp(-log_scale) - log_scale

    def mean(self, params):
        return ops.exp(self.parameters(params)[0])

    def kl_divergence(self, params, prior, prior_params):
        if not isinstance(prior, Exponential):
            return None
        log_ratio = self.parameters(params)[0] - prior.parameters(prior_params)[0]
        return ops.exp(log_ratio) - log_ratio - 1.0
