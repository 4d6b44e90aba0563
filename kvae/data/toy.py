"""Toy data sets in the plane, whose energy can be plotted: points on a noisy curve, `(n, 2)`.

The curve is standardised to mean 0 and standard deviation 1 in each coordinate, and `noise` is in the same units.
Samples with different seeds, such as a training and a test set, therefore share one curve.
"""

import numpy as np
from sklearn.datasets import make_moons

from kvae import checks
from kvae.types import Array

CURVE_POINTS = 10_000  # of the noise-free curve, to estimate its mean and standard deviation


def spiral(n: int, noise: float = 0.1, seed: int | None = None) -> Array:
    """Sample points on the spiral r = θ, θ from π/2 to 3π, evenly spaced along its length, with Gaussian noise.

    Args:
        n: int, number of points.
        noise: standard deviation of the noise in each coordinate, in standard deviations of the curve; 0 for none.
        seed: int; `None` for a different sample each time.

    Returns:
        Array `(n, 2)`, float32.

    Raises:
        ValueError: if `n` is not a positive integer, or `noise` is negative or not a finite number.

    Example:

    >>> x = kvae.toy.spiral(500, seed=0)
    >>> vae = kvae.VAE(*kvae.networks.mlp((2,), latent_dim=1, likelihood="gaussian"), likelihood="gaussian")
    """

    def curve(n, rng):
        # Uniform in θ², because the arc length grows as θ²/2 for θ well above 1.
        angle = np.sqrt(rng.uniform((np.pi / 2) ** 2, (3 * np.pi) ** 2, n))
        return angle[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])

    return _noisy(curve, n, noise, seed)


def moons(n: int, noise: float = 0.1, seed: int | None = None) -> Array:
    """Sample points on two interleaving half circles, scikit-learn's `make_moons`.

    Args:
        n: int, number of points.
        noise: standard deviation of the noise in each coordinate, in standard deviations of the curve; 0 for none.
        seed: int; `None` for a different sample each time.

    Returns:
        Array `(n, 2)`, float32.

    Raises:
        ValueError: if `n` is not a positive integer, or `noise` is negative or not a finite number.

    Example:

    >>> x = kvae.toy.moons(500, noise=0.05, seed=0)
    """

    def curve(n, rng):
        return make_moons(n, random_state=int(rng.integers(2**31)))[0]

    return _noisy(curve, n, noise, seed)


def _noisy(curve, n, noise, seed):
    n = checks.positive_integer(n, "n")
    noise = checks.number(noise, "noise", at_least=0)
    whole = curve(CURVE_POINTS, np.random.default_rng(0))
    rng = np.random.default_rng(checks.seed(seed))
    x = (curve(n, rng) - whole.mean(axis=0)) / whole.std(axis=0)
    return (x + noise * rng.standard_normal((n, 2))).astype("float32")
