"""Families of distributions: sample, log-density, mean, and the KL where it has a closed form.

A family holds no parameters of its own (but for one learned σ); they come in as one tensor whose last axis an encoder
or decoder has filled, e.g. `(batch, 2 * latent)` holding `[mean, log_var]`. Every density is elementwise and keeps its
normalising constant; the caller sums over pixels or latent dimensions.
"""

import math

import keras
import numpy as np
from keras import ops

from kvae import checks

LOG_2PI = math.log(2.0 * math.pi)

# σ between 1e-3 and 1e3. Without a floor a pixel that never changes drives σ to 0 and the density to infinity; without
# a ceiling exp(log_var) overflows. Inside the range the clip is exact.
LOG_VAR_RANGE = (-14.0, 14.0)

# log σ² of the one learned σ is this many times its weight. Adam moves a weight by about its rate a step, so a plain
# weight would need thousands of steps from σ = 1 to the 0.1 or so of images, while the KL starves the code.
LEARNED_SPEED = 10.0


class Distribution(keras.layers.Layer):
    """Base of all families: elementwise, with parameters side by side on the last axis.

    A Keras layer, so that a parameter that the family learns itself (one σ for all pixels) is tracked, trained and
    saved with the model that uses it.

    Attributes:
        num_parameters: how many numbers describe one element. An encoder for `latent` dimensions therefore ends in
            `num_parameters * latent` units, a decoder for `channels` in `num_parameters * channels`.
    """

    num_parameters = 1

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def sample(self, params, num_samples, seed):
        """Draw `num_samples` values an element.

        Args:
            params: tensor `(batch, ..., num_parameters * size)`.
            num_samples: int, how many draws.
            seed: int or `keras.random.SeedGenerator`.

        Returns:
            Tensor `(num_samples, batch, ..., size)`, differentiable in `params` where the family allows it.
        """
        raise NotImplementedError

    def log_prob(self, value, params):
        """Elementwise log-density (nats) of `value` `(..., size)` under `params` `(..., num_parameters * size)`."""
        raise NotImplementedError

    def mean(self, params):
        """Mean `(..., size)` of the distributions that `params` `(..., num_parameters * size)` describe."""
        raise NotImplementedError

    def check(self, value, name):
        """Raise a `ValueError` if the NumPy array `value`, called `name`, lies outside the family's support."""

    def _split(self, params):
        return ops.split(params, self.num_parameters, axis=-1)


@keras.saving.register_keras_serializable(package="kvae")
class Normal(Distribution):
    """Normal distribution N(mean, σ²), as a posterior or (with `sigma`) as a likelihood.

    Args:
        sigma: where σ comes from. `None`: from the parameters, `[mean, log_var]` on the last axis, one σ an element.
            A float: fixed at that value. `"learned"`: one σ shared by all elements and trained with the model, the
            calibrated decoder of Rybkin et al. 2021 (https://arxiv.org/abs/2006.13202). With a float or `"learned"`
            the parameters are the mean alone.

    Raises:
        ValueError: if `sigma` is none of the above.

    Example:

    >>> normal = kvae.distributions.Normal()
    >>> float(normal.log_prob(0.0, keras.ops.zeros(2))[0])  # log N(0 | 0, 1)
    -0.9189385175704956
    """

    def __init__(self, sigma=None, **kwargs):
        super().__init__(**kwargs)
        is_number = isinstance(sigma, (int, float)) and not isinstance(sigma, bool)
        if not (sigma is None or sigma == "learned" or (is_number and sigma > 0 and math.isfinite(sigma))):
            raise ValueError(f'`sigma` must be None, "learned" or a positive number. Received: sigma={sigma!r}')
        self.sigma = sigma
        self.num_parameters = 2 if sigma is None else 1
        if sigma == "learned":
            self.slow_log_var = self.add_weight(shape=(), initializer="zeros", name="slow_log_var", dtype="float32")

    @property
    def log_var(self):
        """The learned log σ², a scalar tensor; it starts at 0."""
        return LEARNED_SPEED * ops.convert_to_tensor(self.slow_log_var)

    def mean_and_log_var(self, params):
        """Split `params` into `mean` and `log_var`, each `(..., size)`; `log_var` is a scalar if σ is shared."""
        if self.sigma is None:
            mean, log_var = self._split(params)
        elif self.sigma == "learned":
            mean, log_var = params, self.log_var
        else:
            return params, 2.0 * math.log(self.sigma)
        return mean, ops.clip(log_var, *LOG_VAR_RANGE)

    def sample(self, params, num_samples, seed):
        mean, log_var = self.mean_and_log_var(params)
        noise = keras.random.normal((num_samples, *ops.shape(mean)), dtype=mean.dtype, seed=seed)
        return mean + ops.exp(0.5 * log_var) * noise  # z = μ + σ ⊙ ε,  ε ~ N(0, I)

    def log_prob(self, value, params):
        mean, log_var = self.mean_and_log_var(params)
        return -0.5 * (LOG_2PI + log_var + ops.square(value - mean) * ops.exp(-log_var))

    def mean(self, params):
        return self.mean_and_log_var(params)[0]

    def kl_divergence(self, params, prior_params=None):
        """Closed-form KL(N(μ, σ²) ‖ N(m, s²)), elementwise, in nats.

        KL = ½ (log s² − log σ² + (σ² + (μ − m)²) / s² − 1), which for m = 0, s = 1 is Kingma & Welling 2014,
        appendix B.

        Args:
            params: tensor `(..., 2 * size)` of the first distribution.
            prior_params: tensor of the second one, same layout; `None` for the standard normal.

        Returns:
            Tensor `(..., size)`.
        """
        mean, log_var = self.mean_and_log_var(params)
        prior_mean, prior_log_var = (0.0, 0.0) if prior_params is None else self.mean_and_log_var(prior_params)
        squares = (ops.exp(log_var) + ops.square(mean - prior_mean)) * ops.exp(-prior_log_var)
        return 0.5 * (prior_log_var - log_var + squares - 1.0)

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma}


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

    def sample(self, params, num_samples, seed):
        uniform = keras.random.uniform((num_samples, *ops.shape(params)), seed=seed)
        return ops.cast(uniform < self.mean(params), params.dtype)

    def log_prob(self, value, params):
        return value * params - ops.softplus(params)  # x log π + (1 − x) log(1 − π) with π = sigmoid(logits)

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


POSTERIORS = {"normal": Normal}
LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": lambda: Normal(sigma="learned")}


def posterior_family(name):
    """The posterior family called `name` (a key of `POSTERIORS`), or `name` itself if it is a `Distribution`."""
    return checks.lookup(name, POSTERIORS, Distribution, "posterior")


def likelihood_family(name):
    """The likelihood called `name` (a key of `LIKELIHOODS`), or `name` itself if it is a `Distribution`.

    `"gaussian"` learns one σ for all pixels; give `Normal(sigma=0.1)` to fix it, `Normal()` for one a pixel.
    """
    return checks.lookup(name, LIKELIHOODS, Distribution, "likelihood")
