"""A posterior that does not factorise: planar flows (Rezende & Mohamed 2015, https://arxiv.org/abs/1505.05770)."""

import keras
from keras import ops

from kvae.distributions import Distribution, Normal


@keras.saving.register_keras_serializable(package="extensions")
class Planar(Distribution):
    """z = f_K ∘ … ∘ f_1(z_0), z_0 ~ N(μ, σ²), f(z) = z + û tanh(wᵀz + b), with weights of its own (eq. 10 to 12)."""

    num_parameters, parameter_names = 2, ("mean", "log_var")

    def __init__(self, latent_dim, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.base, self.latent_dim, self.depth = Normal(), latent_dim, depth
        start = keras.initializers.RandomNormal(stddev=0.5, seed=0)
        self.u, self.w = (self.add_weight(shape=(depth, latent_dim), initializer=start, name=name) for name in "uw")
        self.b = self.add_weight(shape=(depth,), initializer=start, name="b")

    def map(self, i):
        """(û, w, b, wᵀû) of map i; û is u moved along w so that wᵀû > −1, which makes f invertible."""
        w, wu = self.w[i], ops.sum(self.u[i] * self.w[i])
        u = self.u[i] + (ops.softplus(wu) - 1.0 - wu) * w / ops.sum(ops.square(w))
        return u, w, self.b[i], ops.sum(u * w)

    def push(self, z, log_prob=0.0):
        for u, w, b, wu in map(self.map, range(self.depth)):
            h = ops.tanh(ops.sum(z * w, axis=-1) + b)
            z, log_prob = z + u * h[..., None], log_prob - ops.log(1.0 + wu * (1.0 - ops.square(h)))
        return z, log_prob

    def sample_and_log_prob(self, params, num_samples, seed, event_ndim=1):
        return self.push(*self.base.sample_and_log_prob(params, num_samples, seed))

    def log_prob(self, value, params, event_ndim=1):
        z, log_det = value, 0.0
        for u, w, b, wu in map(self.map, reversed(range(self.depth))):
            a = ops.sum(z * w, axis=-1)  # s = wᵀz_0 solves s + wᵀû tanh(s + b) = a, whose left side increases with s
            low, high = a - ops.abs(wu), a + ops.abs(wu)
            for _ in range(30):
                s = 0.5 * (low + high)
                below = s + wu * ops.tanh(s + b) < a
                low, high = ops.where(below, s, low), ops.where(below, high, s)
            slope = ops.stop_gradient(1.0 + wu * (1.0 - ops.square(ops.tanh(s + b))))
            s = ops.stop_gradient(s)  # and a Newton step carries the gradient:
            h = ops.tanh(s - (s + wu * ops.tanh(s + b) - a) / slope + b)
            z, log_det = z - u * h[..., None], log_det + ops.log(1.0 + wu * (1.0 - ops.square(h)))
        return self.base.log_prob(z, params) - log_det

    def mean(self, params):
        return self.push(self.base.mean(params))[0]  # the image of the base's mean, as the code of an example

    def standard_prior(self):
        return Normal()

    def get_config(self):
        return super().get_config() | {"latent_dim": self.latent_dim, "depth": self.depth}
