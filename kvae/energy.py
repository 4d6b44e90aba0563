"""The energy view: what a model says of every point, low on the data and, if it is well shaped, higher elsewhere.

After lecture 002, slides of Yann LeCun's: any unsupervised method defines an energy E(x). Making it low on the data is
easy; the methods differ in how they make it higher everywhere else, in seven strategies. Here E(x) is a method that
the baselines, the autoencoders and the VAEs share; its unit is the model's own (squared distance, or nats).
"""

import numpy as np
from sklearn.metrics import roc_auc_score

from kvae import checks

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


def energy(model, x):
    """The energy of each example under any model that has one.

    Args:
        model: a fitted baseline (`PCA`, `KMeans`, `GMM`, `SparseCoding`), an `Autoencoder`, a `VAE`, or any object with
            a method `energy(x)`.
        x: array `(n, *image_shape)`.

    Returns:
        Array `(n,)`: ‖x − x̂‖² for PCA, K-means and autoencoders, with λ|z|₁ for sparse coding; −log p(x) for a mixture
        and −ELBO for a VAE, in nats.

    Raises:
        ValueError: if the model has no energy, if `x` has another shape than its examples, or if an energy is NaN.

    Example:

    >>> pca = kvae.baselines.PCA(1).fit(kvae.toy.spiral(500, seed=0))
    >>> kvae.energy.energy(pca, kvae.toy.spiral(3, seed=1)).shape
    (3,)
    """
    method = getattr(model, "energy", None)
    if not callable(method):
        raise ValueError(
            "`model` must have an energy: a fitted baseline, an autoencoder or a VAE. "
            f"Received: {type(model).__name__}, without a method energy(x)"
        )
    energies = np.asarray(method(x), "float64")
    if np.isnan(energies).any():
        raise ValueError(
            "`model` must give energies that are numbers: has its training diverged? "
            f"Received: NaN for {np.isnan(energies).sum()} of {len(energies)} examples"
        )
    return energies


def box(x, margin=0.25):
    """A square that holds the points `x` `(n, 2)`, with `margin` times its side added all around.

    Returns:
        `((left, right), (bottom, top))`, floats.

    Raises:
        ValueError: if `x` holds no points of the plane.
    """
    x = checks.array(x, (2,), "x")
    low, high = x.min(axis=0), x.max(axis=0)
    middle, side = (low + high) / 2, np.max(high - low) or 1.0
    return tuple((float(c - (0.5 + margin) * side), float(c + (0.5 + margin) * side)) for c in middle)


def energy_surface(model, limits, n=100):
    """The energy on a grid over a box of the plane.

    Args:
        model: as in `energy`, of examples `(2,)`.
        limits: `((left, right), (bottom, top))`, for example `box(x)`.
        n: int, points along each side.

    Returns:
        `(horizontal, vertical, energies)`: coordinates `(n,)` and `(n,)`, rising, and energies `(n, n)` with
        `energies[i, j]` = E([horizontal[j], vertical[i]]), as Matplotlib's `contourf` takes them.

    Raises:
        ValueError: if the model is not one of the plane, limits are no rising pairs, or `n` is below 2.

    Example:

    >>> x = kvae.toy.moons(500, seed=0)
    >>> kvae.energy.energy_surface(kvae.baselines.KMeans(8).fit(x), kvae.energy.box(x))[2].shape
    (100, 100)
    """
    (left, right), (bottom, top) = _check_limits(limits)
    if checks.positive_integer(n, "n") < 2:
        raise ValueError(f"`n` must be at least 2: a grid has two sides. Received: n={n}")
    shape = getattr(model, "image_shape", None)
    if shape not in (None, (2,)):
        raise ValueError(f"`model` must be one of points in the plane, shape (2,). Received: a model of shape {shape}")
    horizontal, vertical = np.linspace(left, right, n), np.linspace(bottom, top, n)
    points = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)
    return horizontal, vertical, energy(model, points.astype("float32")).reshape(n, n)


def separation(model, x, limits, n=10_000, seed=0):
    """How well the energy tells data from the rest of the box: an AUROC.

    It is the probability that a point of `x` has a lower energy than one drawn evenly from the box: 1 if the data lie
    lowest, ½ for a flat or random energy. Points of the box that happen to lie on the data keep it below 1 for any
    model.

    Args:
        model: as in `energy`, of examples `(2,)`.
        x: held-out data `(m, 2)`.
        limits: `((left, right), (bottom, top))`, for example `box(x)`.
        n: int, points drawn from the box.
        seed: int, for those points.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: as in `energy_surface`.

    Example:

    >>> x = kvae.toy.moons(500, seed=0)
    >>> kvae.energy.separation(kvae.baselines.PCA(1).fit(x), kvae.toy.moons(500, seed=1), kvae.energy.box(x))
    """
    low, high = np.transpose(_check_limits(limits))
    x = checks.array(x, (2,), "x")
    elsewhere = np.random.default_rng(seed).uniform(low, high, (checks.positive_integer(n, "n"), 2))
    energies = np.concatenate([energy(model, x), energy(model, elsewhere.astype("float32"))])
    return float(roc_auc_score(np.arange(len(energies)) >= len(x), energies))


def _check_limits(limits):
    pairs = np.asarray(limits, "float64")
    if pairs.shape != (2, 2) or not np.isfinite(pairs).all() or (pairs[:, 0] >= pairs[:, 1]).any():
        raise ValueError(f"`limits` must be ((left, right), (bottom, top)), each pair rising. Received: {limits!r}")
    return pairs
