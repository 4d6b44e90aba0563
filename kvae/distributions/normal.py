"""The normal distribution: the usual posterior, and a likelihood of real-valued pixels."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution, noise_shape
from kvae.types import Array, Number, Seed, Shape, Tensor

LOG_2PI = math.log(2.0 * math.pi)

# σ between 1e-3 and 1e3. Without a floor, a pixel that never changes drives σ to 0 and the density to infinity; without
# a ceiling, exp(log_var) overflows. Inside the range the clip is exact.
LOG_VAR_RANGE = (-14.0, 14.0)

# log σ² of the single learned σ is this many times its weight. Adam moves a weight by about its learning rate per step,
# so an unscaled weight would need thousands of steps from σ = 1 to the 0.1 or so of images, while the KL dominates.
LEARNED_SPEED = 10.0

# The squares of larger values, divided by the smallest σ² and summed over an image, overflow float32.
LARGEST_VALUE = 1e15


@keras.saving.register_keras_serializable(package="kvae")
class Normal(Distribution):
    """Normal distribution N(mean, σ²), as a posterior or (with `sigma`) as a likelihood.

    Args:
        sigma: where σ comes from. `None`: from the parameters, `[mean, log_var]` on the last axis, one σ per element.
            A float: fixed at that value. `"learned"`: one σ shared by all elements and trained with the model, the
            calibrated decoder of Rybkin et al. 2021 (https://arxiv.org/abs/2006.13202). `"per_element"`: likewise, one
            σ for each element, such as a column of a table. In the last three, the parameters are the mean alone.

    Raises:
        ValueError: if `sigma` is anything else.

    Example:

    >>> normal = kvae.distributions.Normal()
    >>> round(float(normal.elementwise_log_prob(0.0, keras.ops.zeros(2))[0]), 4)  # log N(0 | 0, 1)
    -0.9189
    """

    def __init__(self, sigma: Number | Literal["learned", "per_element"] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sigma = checks.positive_number_or(("learned", "per_element"), sigma, "sigma")
        self.num_parameters = 2 if sigma is None else 1
        self.parameter_names = ("mean", "log_var") if sigma is None else ("mean",)
        self.slow_log_var: Any = None
        if sigma == "learned":
            self._create(())

    def bind(self, event_shape: Shape) -> None:
        if self.sigma == "per_element" and self.slow_log_var is None:
            self._create(event_shape)

    def _create(self, shape):
        self.slow_log_var = self.add_weight(shape=shape, initializer="zeros", name="slow_log_var", dtype="float32")

    @property
    def log_var(self) -> Tensor | float:
        """The learned log σ², a scalar tensor, or one of the shape of an example; it starts at 0."""
        return 0.0 if self.slow_log_var is None else LEARNED_SPEED * ops.convert_to_tensor(self.slow_log_var)

    def mean_and_log_var(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Split `params` into `mean` and `log_var`, each `(..., size)`; a learned `log_var` has no leading axes."""
        if self.sigma is None:
            mean, log_var = ops.split(params, 2, axis=-1)
        elif isinstance(self.sigma, str):
            mean, log_var = params, self.log_var
        else:
            return params, 2.0 * math.log(self.sigma)
        return mean, ops.clip(log_var, *LOG_VAR_RANGE)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        return self.mean_and_log_var(params)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        mean, log_var = self.mean_and_log_var(params)
        noise = keras.random.normal(noise_shape(num_samples, mean), dtype=mean.dtype, seed=seed)
        return mean + ops.exp(0.5 * log_var) * noise  # z = μ + σ ⊙ ε,  ε ~ N(0, I)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        mean, log_var = self.mean_and_log_var(params)
        return -0.5 * (LOG_2PI + log_var + ops.square(value - mean) * ops.exp(-log_var))

    def mean(self, params: Tensor) -> Tensor:
        return self.mean_and_log_var(params)[0]

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        """KL(N(μ, σ²) ‖ N(m, s²)) = ½ (log s² − log σ² + (σ² + (μ − m)²) / s² − 1).

        For m = 0, s = 1 this is Kingma & Welling 2014, appendix B. Arguments and result are those of `Distribution`.
        """
        if not isinstance(prior, Normal):
            return None
        mean, log_var = self.mean_and_log_var(params)
        prior_mean, prior_log_var = prior.mean_and_log_var(prior_params)
        squares = (ops.exp(log_var) + ops.square(mean - prior_mean)) * ops.exp(-prior_log_var)
        return 0.5 * (prior_log_var - log_var + squares - 1.0)

    def cross_entropy(self, mean: Tensor, variance: Tensor, params: Tensor) -> Tensor:
        """−E[log N(z | m, s²)] for any distribution of z with the given mean and variance, which determine it.

        Args:
            mean: tensor `(..., size)`.
            variance: tensor `(..., size)`.
            params: tensor `(..., num_parameters * size)`, of N(m, s²).

        Returns:
            Tensor `(..., size)`, nats.
        """
        m, log_var = self.mean_and_log_var(params)
        return 0.5 * (LOG_2PI + log_var + (variance + ops.square(mean - m)) * ops.exp(-log_var))

    def standard_prior(self) -> Distribution:
        return Normal()

    def check(self, value: Array, name: str) -> None:
        low, high = float(np.min(value)), float(np.max(value))
        if max(-low, high) > LARGEST_VALUE:
            raise ValueError(
                f"`{name}` must hold values of magnitude at most {LARGEST_VALUE:g}, so that their squares are finite: "
                f"rescale. Received: values from {low:g} to {high:g}"
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma}
