"""Bessel functions of the von Mises-Fisher distribution, without the cancellation that float32 does not survive."""

from __future__ import annotations

import math

from keras import ops

from kvae.types import Tensor

# The order ν at which the expansion for large orders starts; its relative error there is below 1e-6 for every κ.
ORDER = 12.0

# U_k(p) = Σ_i c_i p^(k + 2i), divided by the number (DLMF 10.41.10).
EXPANSION = {
    1: ((3.0, -5.0), 24.0),
    2: ((81.0, -462.0, 385.0), 1152.0),
    3: ((30375.0, -369603.0, 765765.0, -425425.0), 414720.0),
}


def mean_and_log_partition(kappa: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """κ(1 − A) and κ − g, of which the KL to the uniform distribution is the difference: κA − g.

    For the cosine w of the angle between a unit vector in d dimensions and the mean direction, A = E[w] =
    I_{d/2}(κ) / I_{d/2−1}(κ) under the von Mises-Fisher distribution, and g = log E[exp(κw)] under the uniform one. A
    tends to 1, and g to κ − (d − 1)/2 · log κ, so that κA − g would lose all digits for large κ.

    With g_ν and r_ν = I_{ν+1}/I_ν of order ν = d/2 − 1, both come from the uniform expansion for large orders (DLMF
    10.41.3, https://dlmf.nist.gov/10.41) at an order of at least `ORDER`, and descend to ν by 1/r_ν = 2(ν+1)/κ +
    r_{ν+1} and g_ν = g_{ν+1} + log(1 + κ r_{ν+1} / (2(ν+1))), in which all terms are positive.

    Args:
        kappa: κ, tensor of any shape, at least 0.
        d: number of dimensions, at least 2.

    Returns:
        Tuple of κ(1 − A) and κ − g, tensors of the shape of `kappa`.
    """
    nu = 0.5 * d - 1.0
    steps = max(0, math.ceil(ORDER - nu))
    n = nu + steps
    x = kappa / n
    s = ops.sqrt(1.0 + ops.square(x))
    p = 1.0 / s
    total, slope = _series(p, n)
    at_zero, _ = _series(1.0, n)
    gap = n * x / (1.0 + s) * (1.0 + 1.0 / (s + x)) + 0.5 * ops.square(x * p) + ops.square(x) * p**3 * slope / total
    rest = n * (1.0 - 1.0 / (s + x)) + n * ops.log(0.5 * (1.0 + s)) + 0.5 * ops.log(s)
    rest = rest - ops.log(total) + math.log(at_zero)
    for step in reversed(range(steps)):
        twice = 2.0 * (nu + step + 1.0)
        rest = rest - ops.log1p((kappa - gap) / twice)
        gap = (twice - gap) * kappa / (kappa + twice - gap)
    return gap, rest


def _series(p, n):
    """S(p) = 1 + Σ_k U_k(p) / n^k and its derivative."""
    total, slope = 1.0, 0.0
    for k, (coefficients, divisor) in EXPANSION.items():
        for i, c in enumerate(coefficients):
            power = k + 2 * i
            total = total + c / (divisor * n**k) * p**power
            slope = slope + c / (divisor * n**k) * power * p ** (power - 1)
    return total, slope


def log_sphere_area(d: int) -> float:
    """log |S^(d−1)|, the area of the unit sphere in d dimensions."""
    return math.log(2.0) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
