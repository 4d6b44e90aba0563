"""What every family of distributions offers."""

import keras
from keras import ops

UNIFORM_EDGE = 2.0**-24  # what a uniform draw keeps away from 0 and 1, half a step of float32's grid


class Distribution(keras.layers.Layer):
    """Base of all families: elementwise, with parameters side by side on the last axis.

    A Keras layer, so that a parameter that the family learns itself (one σ for all pixels) is tracked, trained and
    saved with the model that uses it.

    Attributes:
        num_parameters: how many numbers describe one element. An encoder for `latent` dimensions therefore ends in
            `num_parameters * latent` units, a decoder for `channels` in `num_parameters * channels`.
        parameter_names: their names in the maths, such as `("loc", "log_scale")`.
        reparameterized: whether `sample` is differentiable in the parameters.
    """

    reparameterized = True
    num_parameters = 1
    parameter_names: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})  # whatever the policy of the networks
        self.built = True

    def parameters(self, params):
        """Split `params` `(..., num_parameters * size)` into the tensors `(..., size)` of `parameter_names`."""
        return tuple(ops.split(params, self.num_parameters, axis=-1))

    def sample(self, params, num_samples, seed):
        """Draw `num_samples` values an element.

        Args:
            params: tensor `(batch, ..., num_parameters * size)`.
            num_samples: int, how many draws.
            seed: int or `keras.random.SeedGenerator`.

        Returns:
            Tensor `(num_samples, batch, ..., size)`, differentiable in `params` if `reparameterized`.
        """
        raise NotImplementedError

    def log_prob(self, value, params):
        """Elementwise log-density (nats) of `value` `(..., size)` under `params` `(..., num_parameters * size)`."""
        raise NotImplementedError

    def sum_log_prob(self, value, params):
        """Log-density of whole examples `(samples, batch)`, `log_prob` summed over all axes after these two.

        Args:
            value: tensor `(batch, ..., size)`.
            params: tensor `(samples, batch, ..., num_parameters * size)`.

        Returns:
            Tensor `(samples, batch)`.
        """
        log_prob = self.log_prob(value, params)
        return ops.sum(log_prob, axis=tuple(range(2, len(log_prob.shape))))

    def mean(self, params):
        """Mean `(..., size)` of the distributions that `params` `(..., num_parameters * size)` describe."""
        raise NotImplementedError

    def kl_divergence(self, params, prior, prior_params):
        """KL(q ‖ p) in closed form, elementwise, in nats.

        Args:
            params: tensor `(..., num_parameters * size)`, of q, which is of this family.
            prior: the `Distribution` of p.
            prior_params: tensor `(..., prior.num_parameters * size)`.

        Returns:
            Tensor `(..., size)`; `None` where there is no closed form, so that the KL must be sampled.
        """
        return None

    def standard_prior(self):
        """The family of the prior that suits this one as a posterior; with all parameters 0 it is the standard one."""
        return type(self)()

    def check(self, value, name):
        """Raise a `ValueError` if the NumPy array `value`, called `name`, lies outside the family's support."""


def noise_shape(num_samples, loc):
    """Shape of the noise of `num_samples` draws for each element of `loc`."""
    return (num_samples, *ops.shape(loc))


def uniform(shape, seed):
    """Draws from U(0, 1) that are neither 0 nor 1, so that every quantile function is finite.

    In float32 whatever the model computes in: half precision would round those near 1 to 1.
    """
    return ops.clip(keras.random.uniform(shape, seed=seed, dtype="float32"), UNIFORM_EDGE, 1.0 - UNIFORM_EDGE)
