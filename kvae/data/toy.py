"""Toy data in the plane, on which an energy can be seen: a noisy curve, `(n, 2)`.

The curve is standardised, mean 0 and standard deviation 1 in both coordinates; `noise` is in the same units. So two
draws with different seeds, say for training and testing, lie on the same curve.
"""

import numpy as np
from sklearn.datasets import make_moons

from kvae import checks

CURVE_POINTS = 10_000  # of the noise-free curve, to find its mean and standard deviation


def spiral(n, noise=0.1, seed=None):
    """Points on a spiral r = θ, θ from π/2 to 3π, evenly spread along it, with Gaussian noise.

    Args:
        n: int, how many.
        noise: standard deviation of the noise in each coordinate, in standard deviations of the curve; 0 for none.
        seed: int; `None` for a random draw.

    Returns:
        Array `(n, 2)`, float32.

    Raises:
        ValueError: if `n` is no positive integer or `noise` no number of at least 0.

    Example:

    >>> x = kvae.toy.spiral(500, seed=0)
    >>> vae = kvae.VAE(*kvae.networks.mlp((2,), latent_dim=1, likelihood="gaussian"), likelihood="gaussian")
    """

    def curve(n, rng):
        # Uniform in θ², because the arc's length grows as θ²/2 (for a θ well above 1).
        angle = np.sqrt(rng.uniform((np.pi / 2) ** 2, (3 * np.pi) ** 2, n))
        return angle[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])

    return _noisy(curve, n, noise, seed)


def moons(n, noise=0.1, seed=None):
    """Points on two half circles that reach into each other, scikit-learn's `make_moons`.

    Args:
        n: int, how many.
        noise: standard deviation of the noise in each coordinate, in standard deviations of the curve; 0 for none.
        seed: int; `None` for a random draw.

    Returns:
        Array `(n, 2)`, float32.

    Raises:
        ValueError: if `n` is no positive integer or `noise` no number of at least 0.

    Example:

    >>> x = kvae.toy.moons(500, noise=0.05, seed=0)
    """

    def curve(n, rng):
        return make_moons(n, random_state=int(rng.integers(2**31)))[0]

    return _noisy(curve, n, noise, seed)


def _noisy(curve, n, noise, seed):
    n = checks.positive_integer(n, "n")
    if not (isinstance(noise, (int, float)) and 0 <= noise < np.inf):
        raise ValueError(f"`noise` must be a number of at least 0. Received: noise={noise!r}")
    whole = curve(CURVE_POINTS, np.random.default_rng(0))
    rng = np.random.default_rng(seed)
    x = (curve(n, rng) - whole.mean(axis=0)) / whole.std(axis=0)
    return (x + noise * rng.standard_normal((n, 2))).astype("float32")
