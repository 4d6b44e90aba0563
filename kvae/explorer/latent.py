"""Which directions of the latent space a page shows, and over which range."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kvae import baselines
from kvae.models import capabilities
from kvae.types import Array

MOST_DIRECTIONS = 12  # two span the plane, each of the others has a slider
PRIOR_RANGE = 3.0  # standard deviations of N(0, 1)
MARGIN = 0.05  # of the range of codes, on either side


@dataclasses.dataclass(frozen=True)
class Directions:
    """Directions through the latent space: a code is z = origin + Σ_k u_k basis_k, plus what they leave out.

    Attributes:
        names: one for each of the K directions, those in which codes vary the most first.
        basis: `(K, latent_dim)`, rows of length 1 at right angles.
        origin: `(latent_dim,)`.
        low, high: `(K,)`, the range of u that is shown.
        start: `(K,)`, where a page begins.
        note: how a latent space that is too large is projected; empty otherwise.
    """

    names: list[str]
    basis: Array
    origin: Array
    low: Array
    high: Array
    start: Array
    note: str = ""


def directions(model: Any, codes: Array) -> Directions:
    """The latent dimensions themselves, or the principal components of codes that have too many of them.

    Args:
        model: the model.
        codes: codes of training data `(n, latent_dim)`; of length 0 if there are none.
    """
    size = codes.shape[1]
    origin, note = np.zeros(size), ""
    if size <= MOST_DIRECTIONS:
        order = np.argsort(-codes.std(axis=0), kind="stable") if len(codes) > 1 else np.arange(size)
        basis, names = np.eye(size)[order], [f"z{i + 1}" for i in order]
    elif len(codes) < 2:
        basis, names = np.eye(size)[:MOST_DIRECTIONS], [f"z{i + 1}" for i in range(MOST_DIRECTIONS)]
        note = f"The first {MOST_DIRECTIONS} of {size:,} latent dimensions can be moved; the others are 0."
    else:
        count = min(MOST_DIRECTIONS, len(codes) - 1)
        pca = baselines.PCA(count).fit(codes.astype("float64"))
        basis, origin = pca.components, codes.mean(axis=0)
        names = [f"PC {i + 1}" for i in range(count)]
        spread = np.sum((codes - origin) ** 2)
        share = np.sum(((codes - origin) @ basis.T) ** 2) / spread if spread > 0 else 1.0
        note = (
            f"The {size:,} latent dimensions are projected: to the {count} principal components of the codes of "
            f"{len(codes):,} training examples, which hold {share:.0%} of their variance."
        )
    u = (codes - origin) @ basis.T
    from_prior = capabilities.has(model, "prior") and size <= MOST_DIRECTIONS
    low, high = _ranges(u, from_prior)
    start = np.zeros(len(basis)) if from_prior or not len(u) else u.mean(axis=0)
    return Directions(names, basis, origin, low, high, start, note)


def _ranges(u, from_prior):
    """The range of each coordinate of codes `(n, K)`, which includes that of a prior."""
    least = PRIOR_RANGE if from_prior or len(u) == 0 else 0.0
    low, high = np.full(u.shape[1], -least), np.full(u.shape[1], least)
    if len(u):
        width = np.ptp(u, axis=0)
        near, far = u.min(axis=0) - MARGIN * width, u.max(axis=0) + MARGIN * width
        low, high = (np.minimum(low, near), np.maximum(high, far)) if least else (near, far)
    flat = high - low < 1e-6  # a dimension in which all codes are the same
    return np.where(flat, low - 1.0, low), np.where(flat, high + 1.0, high)
