"""Labels of which most are hidden."""

from __future__ import annotations

import numpy as np

from kvae import checks
from kvae.types import Array, ArrayLike

UNKNOWN = -1


def few_labels(y: ArrayLike, per_class: int, seed: int | None = 0) -> Array:
    """Keep a few labels of each class, drawn at random, and hide the others.

    Args:
        y: integer labels `(n,)`, at least 0.
        per_class: how many to keep of each class, at least 1.
        seed: int for a reproducible draw; `None` for a random one.

    Returns:
        Int array `(n,)` with −1 in place of a hidden label, for `SemiSupervisedVAE.fit`.

    Raises:
        ValueError: if labels are not integers of at least 0, or a class has fewer than `per_class` of them.

    Example:

    >>> y = kvae.data.few_labels(data.y_train, per_class=5, seed=0)
    >>> int((y >= 0).sum())
    50
    """
    y = np.asarray(y)
    per_class = checks.positive_integer(per_class, "per_class")
    if y.ndim != 1 or y.dtype.kind not in "iu" or not len(y) or y.min() < 0:
        smallest = f", from {y.min()}" if y.dtype.kind in "iu" and y.size else ""
        raise ValueError(
            f"`y` must be integers (n,) of at least 0. Received: shape {y.shape}, dtype {y.dtype}{smallest}"
        )
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < per_class:
        smallest_class = classes[counts.argmin()]
        raise ValueError(
            f"`per_class` must be at most the number of examples of the smallest class, {counts.min()} of class "
            f"{smallest_class}. Received: {per_class}"
        )
    rng = np.random.default_rng(checks.seed(seed))
    kept = np.concatenate([rng.choice(np.flatnonzero(y == each), per_class, replace=False) for each in classes])
    hidden = np.full(len(y), UNKNOWN)
    hidden[kept] = y[kept]
    return hidden
