"""Grey values in [0, 1] with a density, in place of binary ones."""

from __future__ import annotations

import keras
from keras import ops

from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.distributions.bernoulli import check_unit_interval
from kvae.types import Array, Seed, Tensor

SMALL = 0.5  # magnitude of the logits below which series take the place of formulas that cancel


@keras.saving.register_keras_serializable(package="kvae")
class ContinuousBernoulli(Distribution):
    """Continuous Bernoulli distribution of pixels in [0, 1], the density exp(ax) · a / (exp(a) − 1), from its logit a.

    The cross-entropy of a Bernoulli likelihood is no density of grey values: it integrates to less than 1 over [0, 1].
    This family adds the logarithm of the missing factor, which makes the bound one on log p(x) (Loaiza-Ganem &
    Cunningham 2019, https://arxiv.org/abs/1907.06845, eq. 4 to 9; with their λ the sigmoid of a). The mean of a pixel
    is not the sigmoid of a, but 1/(1 − exp(−a)) − 1/a.

    Example:

    >>> family = kvae.distributions.ContinuousBernoulli()
    >>> round(float(family.elementwise_log_prob(0.3, keras.ops.ones(1))[0]), 4)  # 0.3 − log(e − 1)
    -0.2413
    """

    parameter_names = ("logits",)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        size = ops.maximum(ops.abs(params), 1e-4)  # uniform, to float32's precision
        u = ops.cast(uniform(noise_shape(num_samples, size), seed), size.dtype)
        # The inverse distribution function of the density that falls by exp(−|a|); for positive a, from 1 downwards.
        falling = -ops.log1p(u * ops.expm1(-size)) / size
        return ops.where(params > 0.0, 1.0 - falling, falling)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        # log ∫ exp(ax) dx = a/2 + log(sinh(h) / h) with h = |a|/2
        square = ops.square(0.5 * params)
        series = square * (1.0 / 6.0 - square * (1.0 / 180.0 - square / 2835.0))
        size = ops.maximum(ops.abs(params), SMALL)
        formula = 0.5 * size + ops.log(-ops.expm1(-size) / size)
        return (value - 0.5) * params - ops.where(ops.abs(params) < SMALL, series, formula)

    def mean(self, params: Tensor) -> Tensor:
        square = ops.square(params)
        series = 0.5 + params * (1.0 / 12.0 - square * (1.0 / 720.0 - square / 30240.0))
        size = ops.maximum(ops.abs(params), SMALL)
        falling = 1.0 / size - 1.0 / ops.expm1(size)
        return ops.where(ops.abs(params) < SMALL, series, ops.where(params > 0.0, 1.0 - falling, falling))

    def check(self, value: Array, name: str) -> None:
        check_unit_interval(value, name, self)
