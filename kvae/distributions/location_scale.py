"""Location-scale families z = loc + scale · u, with u from a fixed distribution (Kingma & Welling 2014, section 2.4).

As posteriors they go with a normal prior: the cross-entropy with a normal depends only on mean and variance, so the KL
of each has a closed form, KL(q ‖ N(m, s²)) = −H(q) − E_q[log N(z | m, s²)].
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.distributions.normal import LOG_VAR_RANGE, Normal
from kvae.types import Number, Seed, Tensor

LOG_SCALE_RANGE = tuple(0.5 * edge for edge in LOG_VAR_RANGE)
EULER_GAMMA = 0.5772156649015329


class LocationScale(Distribution):
    """Base of the families with parameters `[loc, log_scale]`: subclasses describe u, the member of loc 0, scale 1.

    Attributes:
        unit_mean: E[u].
        unit_variance: Var[u].
        unit_entropy: −E[log p(u)], nats.
    """

    num_parameters = 2
    parameter_names = ("loc", "log_scale")
    unit_mean = 0.0
    unit_variance = 1.0
    unit_entropy = 0.0

    def draw_unit(self, shape: tuple[Any, ...], seed: Seed) -> Tensor:
        """Draws of u, float32."""
        raise NotImplementedError

    def unit_log_prob(self, u: Tensor) -> Tensor:
        """log p(u), elementwise."""
        raise NotImplementedError

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        loc, log_scale = ops.split(params, 2, axis=-1)
        return loc, ops.clip(log_scale, *LOG_SCALE_RANGE)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        loc, log_scale = self.parameters(params)
        unit = ops.cast(self.draw_unit(noise_shape(num_samples, loc), seed), loc.dtype)
        return loc + ops.exp(log_scale) * unit

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        loc, log_scale = self.parameters(params)
        return self.unit_log_prob((value - loc) * ops.exp(-log_scale)) - log_scale

    def mean(self, params: Tensor) -> Tensor:
        loc, log_scale = self.parameters(params)
        return loc + self.unit_mean * ops.exp(log_scale)

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        if not isinstance(prior, Normal):
            return None
        log_scale = self.parameters(params)[1]
        variance = self.unit_variance * ops.exp(2.0 * log_scale)
        entropy = self.unit_entropy + log_scale
        return prior.cross_entropy(self.mean(params), variance, prior_params) - entropy

    def standard_prior(self) -> Distribution:
        return Normal()


@keras.saving.register_keras_serializable(package="kvae")
class Laplace(LocationScale):
    """Laplace distribution, density exp(−|z − loc| / scale) / (2 scale).

    Example:

    >>> laplace = kvae.distributions.Laplace()
    >>> round(float(laplace.elementwise_log_prob(0.0, keras.ops.zeros(2))[0]), 4)  # log ½
    -0.6931
    """

    unit_variance = 2.0
    unit_entropy = 1.0 + math.log(2.0)

    def draw_unit(self, shape: tuple[Any, ...], seed: Seed) -> Tensor:
        u = uniform(shape, seed) - 0.5  # the inverse distribution function, on either side of the median
        return -ops.sign(u) * ops.log1p(-2.0 * ops.abs(u))

    def unit_log_prob(self, u: Tensor) -> Tensor:
        return -ops.abs(u) - math.log(2.0)


@keras.saving.register_keras_serializable(package="kvae")
class Logistic(LocationScale):
    """Logistic distribution, the one whose distribution function is the sigmoid of (z − loc) / scale.

    Example:

    >>> logistic = kvae.distributions.Logistic()
    >>> round(float(logistic.elementwise_log_prob(0.0, keras.ops.zeros(2))[0]), 4)  # log ¼
    -1.3863
    """

    unit_variance = math.pi**2 / 3.0
    unit_entropy = 2.0

    def draw_unit(self, shape: tuple[Any, ...], seed: Seed) -> Tensor:
        u = uniform(shape, seed)
        return ops.log(u) - ops.log1p(-u)

    def unit_log_prob(self, u: Tensor) -> Tensor:
        return -ops.softplus(u) - ops.softplus(-u)


@keras.saving.register_keras_serializable(package="kvae")
class StudentT(LocationScale):
    """Student's t-distribution, with heavier tails than the normal.

    Args:
        df: degrees of freedom ν > 2, so that the variance, and the KL to a normal prior, is finite.

    Raises:
        ValueError: if `df` is not a finite number above 2.

    Example:

    >>> student = kvae.distributions.StudentT(df=5.0)
    >>> round(float(student.elementwise_log_prob(0.0, keras.ops.zeros(2))[0]), 4)
    -0.9686
    """

    def __init__(self, df: Number = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.df = checks.number(df, "df", above=2)
        from scipy.special import betaln, digamma

        half, half_next = 0.5 * self.df, 0.5 * (self.df + 1.0)
        self._log_norm = 0.5 * math.log(self.df) + float(betaln(half, 0.5))
        self.unit_variance = self.df / (self.df - 2.0)
        self.unit_entropy = half_next * float(digamma(half_next) - digamma(half)) + self._log_norm

    def draw_unit(self, shape: tuple[Any, ...], seed: Seed) -> Tensor:
        # Bailey 1994, https://doi.org/10.2307/2153537: a radius, by its inverse distribution function, times the
        # cosine of a uniform angle.
        one, other = checks.seeds(seed, 2)
        radius = ops.sqrt(self.df * ops.expm1(-2.0 / self.df * ops.log(uniform(shape, one))))
        return radius * ops.cos(2.0 * math.pi * uniform(shape, other))

    def unit_log_prob(self, u: Tensor) -> Tensor:
        return -0.5 * (self.df + 1.0) * ops.log1p(ops.square(u) / self.df) - self._log_norm

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "df": self.df}


@keras.saving.register_keras_serializable(package="kvae")
class Gumbel(LocationScale):
    """Gumbel distribution of the largest of many, drawn by its inverse distribution function −log(−log u).

    Example:

    >>> gumbel = kvae.distributions.Gumbel()
    >>> round(float(gumbel.elementwise_log_prob(0.0, keras.ops.zeros(2))[0]), 4)  # log e⁻¹
    -1.0
    """

    unit_mean = EULER_GAMMA
    unit_variance = math.pi**2 / 6.0
    unit_entropy = EULER_GAMMA + 1.0

    def draw_unit(self, shape: tuple[Any, ...], seed: Seed) -> Tensor:
        return -ops.log(-ops.log(uniform(shape, seed)))

    def unit_log_prob(self, u: Tensor) -> Tensor:
        return -u - ops.exp(-u)
