"""Energy functions: a model assigns every point an energy, low on the data and, ideally, higher elsewhere.

After lecture 002, based on slides by Yann LeCun: every unsupervised method defines an energy E(x). Making it low on the
data is easy; the methods differ in how they keep it higher everywhere else, for which there are seven strategies. The
baselines, autoencoders, VAEs and energy networks share a method `energy(x)`, whose unit depends on the model (squared
distance or nats).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from sklearn.metrics import roc_auc_score

from kvae import checks
from kvae.types import Array, ArrayLike

Limits: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

# The lecture's "Seven Strategies to Shape the Energy Function", shortened; G(x) is the reconstruction.
STRATEGIES = {
    1: "constant volume of low energy",
    2: "push down on data, push up everywhere else",
    3: "push down on data, push up on chosen locations",
    4: "minimise the gradient, maximise the curvature around data",
    5: "dynamics goes to the manifold",
    6: "a regulariser limits the volume of low energy",
    7: "make G(x) as constant as possible",
}


def energy(model: Any, x: ArrayLike) -> Array:
    """Compute the energy of each example.

    Args:
        model: a fitted baseline (`PCA`, `KMeans`, `GMM`, `SquareICA`, `SparseCoding`), an `Autoencoder`, a `VAE`, an
            `EnergyNetwork`, or any object with a method `energy(x)`.
        x: array `(n, *image_shape)`.

    Returns:
        Array `(n,)`. In squared units of x: ‖x − x̂‖² for PCA, K-means and autoencoders, sparse, contractive and
        saturating ones included; the same plus λ|z|₁ for `SparseCoding`, and α‖z − F(x)‖² as well for a
        `PredictiveSparseDecomposition`, at the best z. In nats: −log p(x) for a Gaussian mixture, `SquareICA` and an
        `EnergyNetwork` trained by noise-contrastive estimation; −log p(x) up to an unknown constant for one trained by
        contrastive divergence or sliced score matching, and that of the data blurred by the noise after denoising score
        matching; −ELBO for a VAE.

    Raises:
        ValueError: if the model has no energy, `x` does not have the shape of its examples, or an energy is NaN.

    Example:

    >>> pca = kvae.baselines.PCA(1).fit(kvae.toy.spiral(500, seed=0))
    >>> kvae.energy.energy(pca, kvae.toy.spiral(3, seed=1)).shape
    (3,)
    """
    method = getattr(model, "energy", None)
    if not callable(method):
        raise ValueError(
            "`model` must have an energy: a fitted baseline, an autoencoder, a VAE or an EnergyNetwork. "
            f"Received: {type(model).__name__}, without a method energy(x)"
        )
    energies = np.asarray(method(x), "float64")
    if np.isnan(energies).any():
        raise ValueError(
            "`model` must have energies that are not NaN: its training may have diverged. "
            f"Received: NaN for {np.isnan(energies).sum()} of {len(energies)} examples"
        )
    return energies


def box(x: ArrayLike, margin: float = 0.25) -> Limits:
    """Return the bounding square of the points `x` `(n, 2)`, enlarged on each side by `margin` times its length.

    Returns:
        `((left, right), (bottom, top))`, floats.

    Raises:
        ValueError: if `x` is not an array of points in the plane.
    """
    x = checks.array(x, (2,), "x")
    low, high = x.min(axis=0), x.max(axis=0)
    middle, side = (low + high) / 2, np.max(high - low) or 1.0
    horizontal, vertical = ((float(c - (0.5 + margin) * side), float(c + (0.5 + margin) * side)) for c in middle)
    return horizontal, vertical


def energy_surface(model: Any, limits: Limits, n: int = 100) -> tuple[Array, Array, Array]:
    """Compute the energy on a grid over a rectangle in the plane.

    Args:
        model: as in `energy`, with examples of shape `(2,)`.
        limits: `((left, right), (bottom, top))`, for example `box(x)`.
        n: int, grid points along each side.

    Returns:
        `(horizontal, vertical, energies)`: increasing coordinates `(n,)` and `(n,)`, and energies `(n, n)` with
        `energies[i, j]` = E([horizontal[j], vertical[i]]), as Matplotlib's `contourf` expects.

    Raises:
        ValueError: if the model's examples are not points in the plane, a pair of limits is not increasing, or `n` is
            below 2.

    Example:

    >>> x = kvae.toy.moons(500, seed=0)
    >>> kvae.energy.energy_surface(kvae.baselines.KMeans(8).fit(x), kvae.energy.box(x))[2].shape
    (100, 100)
    """
    (left, right), (bottom, top) = _check_limits(limits)
    if checks.positive_integer(n, "n") < 2:
        raise ValueError(f"`n` must be at least 2: a grid includes both ends of its sides. Received: n={n}")
    shape = getattr(model, "image_shape", None)
    if shape not in (None, (2,)):
        raise ValueError(f"`model` must model points in the plane, shape (2,). Received: a model of shape {shape}")
    horizontal, vertical = np.linspace(left, right, n), np.linspace(bottom, top, n)
    points = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)
    return horizontal, vertical, energy(model, points.astype("float32")).reshape(n, n)


def separation(model: Any, x: ArrayLike, limits: Limits, n: int = 10_000, seed: int = 0) -> float:
    """Measure how well the energy separates the data from the rest of the box, as an AUROC.

    It is the probability that a point of `x` has a lower energy than a point drawn uniformly from the box: 1 if the
    data have the lowest energies, ½ for a constant or random energy. Because some points of the box fall on the data,
    it stays below 1 for every model.

    Args:
        model: as in `energy`, with examples of shape `(2,)`.
        x: held-out data `(m, 2)`.
        limits: `((left, right), (bottom, top))`, for example `box(x)`.
        n: int, number of points drawn from the box.
        seed: int, seed of these points.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: as in `energy_surface`.

    Example:

    >>> x = kvae.toy.moons(500, seed=0)
    >>> auroc = kvae.energy.separation(kvae.baselines.PCA(1).fit(x), kvae.toy.moons(500, seed=1), kvae.energy.box(x))
    """
    low, high = np.transpose(_check_limits(limits))
    x = checks.array(x, (2,), "x")
    elsewhere = np.random.default_rng(checks.seed(seed)).uniform(low, high, (checks.positive_integer(n, "n"), 2))
    energies = np.concatenate([energy(model, x), energy(model, elsewhere.astype("float32"))])
    return float(roc_auc_score(np.arange(len(energies)) >= len(x), energies))


def _check_limits(limits):
    pairs = np.asarray(limits, "float64")
    if pairs.shape != (2, 2) or not np.isfinite(pairs).all() or (pairs[:, 0] >= pairs[:, 1]).any():
        raise ValueError(f"`limits` must be increasing pairs ((left, right), (bottom, top)). Received: {limits!r}")
    return pairs
