"""The logarithm of the gamma function, which Keras does not have, and of its quotients, without cancellation."""

from __future__ import annotations

import math

from keras import ops

from kvae.types import Tensor

SHIFT = 8  # Stirling's series is used from here on, where its first term left out is below 3e-10


def log_gamma(x: Tensor) -> Tensor:
    """log Γ(x) for x > 0, by Stirling's series for log Γ(x + 8) and Γ(x + 8) = x (x + 1) … (x + 7) Γ(x)."""
    y = x + SHIFT
    stirling = (y - 0.5) * ops.log(y) - y + 0.5 * math.log(2.0 * math.pi) + _remainder(y)
    return stirling - _log_product([x + i for i in range(SHIFT)])


def log_rising_power(k: Tensor, alpha: Tensor) -> Tensor:
    """Σ_{i<k} log(1 + iα) = log Γ(k + r) − log Γ(r) − k log r, r = 1/α, of whole numbers k ≥ 0 and α > 0.

    It tends to 0 with α, where the three terms are large. The difference of the two series at R = r + 8 and k + R is
    (k + R − ½) log(1 + k/R) + k log R − k + remainders.
    """
    r = 1.0 / alpha
    shifted = r + SHIFT
    series = (k + shifted - 0.5) * ops.log1p(k / shifted) - k + k * ops.log1p(SHIFT * alpha)
    series = series + _remainder(k + shifted) - _remainder(shifted)
    return series - _log_product([1.0 + k / (r + i) for i in range(SHIFT)])


def _remainder(y):
    """log Γ(y) − (y − ½) log y + y − ½ log 2π, for y ≥ 8 (DLMF 5.11.1, https://dlmf.nist.gov/5.11)."""
    inverse = 1.0 / y
    square = inverse * inverse
    return inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0))


def _log_product(factors):
    """The logarithm of a product, two factors at a time: of all of them, it would overflow."""
    return sum(ops.log(one * other) for one, other in zip(factors[::2], factors[1::2], strict=True))
