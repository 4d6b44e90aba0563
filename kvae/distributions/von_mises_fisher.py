"""The von Mises-Fisher distribution and the uniform one, of codes on the unit sphere."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution, sum_event, uniform
from kvae.distributions.bessel import log_sphere_area, mean_and_log_partition
from kvae.types import Number, Seed, Shape, Tensor

CONCENTRATIONS = (1e-3, 1e6)  # in which float32 holds densities and draws; parameters are clipped to the range
PROPOSALS = 16  # draws for each sample, at most a third of which are rejected: all of them once in 10⁷ samples
NODES, WEIGHTS = (each.astype("float32") for each in np.polynomial.legendre.leggauss(24))
WINDOW = 8.0  # standard deviations of the angle that an integral from a draw outwards covers


class Spherical(Distribution):
    """Base class of the families on the unit sphere of the last axis of a code."""

    def bind(self, event_shape: Shape) -> None:
        if event_shape[-1] < 2:
            raise ValueError(
                f"`latent_dim` must be at least 2 for codes on a sphere: with 1 there are only two. Received: "
                f"{event_shape[-1]}"
            )

    def standard_prior(self) -> Distribution:
        return SphericalUniform()


@keras.saving.register_keras_serializable(package="kvae")
class SphericalUniform(Spherical):
    """The uniform distribution on the unit sphere, as the prior of a `VonMisesFisher` posterior.

    It has no parameters: of the tensor in their place, `(..., size)`, only the shape counts.

    Example:

    >>> family = kvae.distributions.SphericalUniform()
    >>> z = family.sample(keras.ops.zeros((1, 3)), 5, seed=0)
    >>> round(float(family.log_prob(z, keras.ops.zeros((1, 3)))[0, 0]), 4)  # −log 4π
    -2.531
    """

    parameter_names = ("nothing",)

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        noise = keras.random.normal((num_samples, *ops.shape(params)), dtype="float32", seed=seed)
        return _unit(noise)

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        constant = ops.zeros_like(value[..., 0] + params[..., 0]) - log_sphere_area(value.shape[-1])
        return constant if event_ndim == 1 else sum_event(constant, event_ndim - 1)

    def mean(self, params: Tensor) -> Tensor:
        return ops.zeros_like(params)

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        """The draws as they are: a uniform distribution has no spread to change."""
        return value


@keras.saving.register_keras_serializable(package="kvae")
class VonMisesFisher(Spherical):
    """Von Mises-Fisher distribution on the unit sphere, q(z) ∝ exp(κ μᵀz), as a posterior; its prior is uniform.

    The KL to the uniform prior depends on κ alone, so that the prior does not pull codes to one place, as N(0, I) pulls
    them to 0 (Davidson et al. 2018, https://arxiv.org/abs/1804.00891, eq. 4 to 6). An encoder gives a vector whose
    direction is μ and, behind it, log κ, which is one number for all dimensions and clipped to 1e-3 … 1e6. The density
    does not factorise: there is no KL of a dimension. A code `(places, size)` has one point of a sphere at each place.

    Draws are exact up to 16 rejected proposals (Wood 1994, https://doi.org/10.1080/03610919408813161). Their gradient
    with respect to κ is the implicit one, −(∂F/∂κ) / q for the angle's distribution function F (Figurnov, Mohamed, Mnih
    2018, https://arxiv.org/abs/1805.08498, eq. 5), by an integral over the angle. The code of an image is μ.

    Args:
        concentration: κ for all images, from 1e-3 to 1e6, in which case the encoder gives only the direction; `None`
            for κ from the encoder.

    Raises:
        ValueError: for a concentration out of that range; in a model, for codes of one dimension.

    Example:

    >>> networks = kvae.networks.mlp((8, 8, 1), latent_dim=3, posterior="von_mises_fisher")
    >>> model = kvae.VAE(*networks, posterior="von_mises_fisher")
    >>> model.sample_prior(4).shape
    (4, 3)
    """

    def __init__(self, concentration: Number | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if concentration is not None:
            checks.number(concentration, "concentration", at_least=CONCENTRATIONS[0], at_most=CONCENTRATIONS[1])
        self.concentration = concentration
        names = ("mean_direction", "log_concentration")
        self.parameter_names = names if concentration is None else names[:1]

    def num_outputs(self, size: int) -> int:
        return size + (self.concentration is None)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        """μ `(..., size)` and, unless it is fixed, log κ `(..., 1)`."""
        mu, kappa = self.direction_and_concentration(params)
        return (mu, ops.log(kappa)) if self.concentration is None else (mu,)

    def direction_and_concentration(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """μ `(..., size)` and κ `(..., 1)`."""
        params = ops.cast(params, "float32")
        if self.concentration is not None:
            return _unit(params), ops.full_like(params[..., :1], self.concentration)
        low, high = (math.log(each) for each in CONCENTRATIONS)
        return _unit(params[..., :-1]), ops.exp(ops.clip(params[..., -1:], low, high))

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        mu, kappa = self.direction_and_concentration(params)
        one, other = checks.seeds(seed, 2)
        angle = self._angle(ops.broadcast_to(kappa, (num_samples, *ops.shape(kappa))), mu.shape[-1], one)
        noise = keras.random.normal((num_samples, *ops.shape(mu)), dtype="float32", seed=other)
        across = _unit(_orthogonal(_unit(_orthogonal(noise, mu)), mu))  # twice, against the rounding of the first
        return mu * ops.cos(angle) + across * ops.sin(angle)

    def _angle(self, kappa, d, seed):
        """Draws of the angle to μ `(..., 1)`, with their implicit derivative with respect to κ `(..., 1)`."""
        still = ops.stop_gradient(kappa)
        angle = ops.stop_gradient(_proposed_angle(still, d, seed))
        slope = ops.stop_gradient(_slope_of_angle(angle, still, d))
        return angle + slope * (kappa - still)

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        mu, kappa = self.direction_and_concentration(params)
        d = mu.shape[-1]
        _, rest = mean_and_log_partition(kappa[..., 0], d)
        squares = ops.sum(ops.square(ops.cast(value, "float32") - mu), axis=-1)  # 2 (1 − μᵀz)
        log_prob = rest - log_sphere_area(d) - 0.5 * kappa[..., 0] * squares
        return log_prob if event_ndim == 1 else sum_event(log_prob, event_ndim - 1)

    def mean(self, params: Tensor) -> Tensor:
        """The mean direction μ, a point of the sphere; the expectation of z is A μ, inside of it."""
        return self.direction_and_concentration(params)[0]

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        mean = self.mean(params)
        return _unit(mean + temperature * (value - mean))

    def kl_divergence(
        self, params: Tensor, prior: Distribution, prior_params: Tensor, event_ndim: int = 1
    ) -> Tensor | None:
        """KL(q ‖ uniform) = κA − g, by `bessel.mean_and_log_partition`. Arguments are those of `Distribution`."""
        if not isinstance(prior, SphericalUniform):
            return None
        mu, kappa = self.direction_and_concentration(params)
        gap, rest = mean_and_log_partition(kappa[..., 0], mu.shape[-1])
        kl = rest - gap
        return kl if event_ndim == 1 else sum_event(kl, event_ndim - 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "concentration": self.concentration}


def _orthogonal(vectors, mu):
    """Vectors without their part along μ."""
    return vectors - mu * ops.sum(mu * vectors, axis=-1, keepdims=True)


def _unit(vectors):
    """Vectors of length 1 along the last axis; the first axis of space for 0."""
    peak = ops.stop_gradient(ops.max(ops.abs(vectors), axis=-1, keepdims=True))
    vectors = vectors / ops.maximum(peak, 1e-6)  # squares of large ones would overflow
    first = ops.one_hot(0, vectors.shape[-1], dtype="float32")
    vectors = vectors + 1e-6 * first
    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))


def _proposed_angle(kappa, d, seed):
    """Angles `(..., 1)` of the distribution ∝ exp(κ cos θ) sin^(d−2) θ, by rejection from Wood's envelope."""
    shape = (*ops.shape(kappa)[:-1], PROPOSALS)
    one, two, three = (uniform(shape, each) for each in checks.seeds(seed, 3))
    # A coordinate of a uniform point of the sphere is ∝ (1 − t²)^((d−3)/2): Ulrich 1984, of a projection to a plane.
    radius = ops.sqrt(1.0 - one ** (2.0 / (d - 2))) if d > 2 else 1.0
    t = 0.5 + 0.5 * radius * ops.cos(2.0 * math.pi * two)
    b = (d - 1) / (2.0 * kappa + ops.sqrt(4.0 * ops.square(kappa) + (d - 1) ** 2))
    gap = 2.0 * b * t / (1.0 - (1.0 - b) * t)  # 1 − cos θ, which float32 keeps where cos θ is near 1
    start = 2.0 * b / (1.0 + b)  # 1 − x_0
    ratio = (start + (1.0 - start) * gap) / (start * (2.0 - start))  # (1 − x_0 w) / (1 − x_0²)
    accepted = kappa * (start - gap) + (d - 1) * ops.log(ratio) >= ops.log(three)
    first = ops.argmax(ops.cast(accepted, "int32"), axis=-1, keepdims=True)
    gap = ops.take_along_axis(gap, first, axis=-1)
    return 2.0 * ops.arcsin(ops.sqrt(ops.clip(0.5 * gap, 1e-12, 1.0 - 1e-7)))


def _slope_of_angle(angle, kappa, d):
    """dθ/dκ at fixed F(θ): −∫_0^θ f(φ) (cos φ − A) dφ / f(θ), or +∫_θ^π, whichever has no cancellation."""
    mode = 2.0 * kappa / ((d - 2) + ops.sqrt((d - 2.0) ** 2 + 4.0 * ops.square(kappa)))  # cos θ where f is largest
    width = WINDOW * ops.rsqrt(kappa * mode + kappa / mode)
    gap, _ = mean_and_log_partition(kappa, d)
    gap = gap / kappa  # 1 − A
    inwards = 2.0 * ops.square(ops.sin(0.5 * angle)) < gap
    length = ops.where(inwards, -ops.minimum(angle, width), ops.minimum(math.pi - angle, width))
    phi = angle + length * ops.convert_to_tensor(0.5 + 0.5 * NODES)
    difference = 2.0 * kappa * ops.sin(0.5 * (phi - angle)) * ops.sin(0.5 * (phi + angle))
    sines = ops.log(ops.maximum(ops.sin(phi), 1e-30)) - ops.log(ops.maximum(ops.sin(angle), 1e-30))
    density = ops.exp(ops.minimum((d - 2.0) * sines - difference, 60.0))  # f(φ) / f(θ)
    values = density * (gap - 2.0 * ops.square(ops.sin(0.5 * phi))) * ops.convert_to_tensor(0.5 * WEIGHTS)
    return length * ops.sum(values, axis=-1, keepdims=True)
