"""Outlines drawn from known factors: data for learning disentangled codes, and for scoring them.

As in dSprites (Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset), white shapes on black vary in
outline, scale, rotation and position, and every combination of their values appears once.
"""

from __future__ import annotations

import numpy as np

from kvae.data import files
from kvae.types import Array

SIZE = 64  # pixels along each side of an image
OUTLINES = ("square", "ellipse", "heart")
FACTOR_NAMES = ("outline", "scale", "rotation", "x", "y")
SCALES = (7.5, 10.0, 12.5, 15.0)  # pixels from the centre of mass to the furthest point of the outline
# Degrees, counterclockwise. A quarter turn maps the square onto itself, so the angles stop short of one.
ROTATIONS = tuple(11.25 * step for step in range(8))
POSITIONS = tuple(range(15, 49, 3))  # pixel, from the left or the top, in which the centre of mass lies
NUM_VALUES = tuple(map(len, (OUTLINES, SCALES, ROTATIONS, POSITIONS, POSITIONS)))
REACH = 15  # pixels from the central one to the last that an outline covers: nothing is cut off at the border
SUBPIXELS = 8  # along each side of a pixel, which takes the share of them that lie inside the outline

# The heart (u² + v² − 1)³ < u² v³, and where its centre of mass lies and how far it reaches from there.
HEART_CENTRE = 0.2935
HEART_REACH = 1.2927


def split() -> tuple[tuple[Array, Array, Array, Array], tuple[Array, Array]]:
    """Draw the images; return `(x_train, y_train, x_test, y_test)` and the factors of both parts.

    The outline is the label. The split is 80/20 with a fixed seed, stratified by outline.
    """
    from sklearn.model_selection import train_test_split

    every = np.indices(NUM_VALUES).reshape(len(NUM_VALUES), -1).T  # (n, factors), the last one varies fastest
    parts = train_test_split(every, test_size=files.TEST_FRACTION, random_state=files.SPLIT_SEED, stratify=every[:, 0])
    train, test = (np.ascontiguousarray(part, "int64") for part in parts)
    return (draw(train), train[:, 0].copy(), draw(test), test[:, 0].copy()), (train, test)


def draw(factors: Array) -> Array:
    """Draw one image for each row of factors.

    Args:
        factors: int array `(n, 5)`, the index of each factor's value, in the order of `FACTOR_NAMES`.

    Returns:
        float32 array `(n, 64, 64, 1)` in [0, 1]: the share of each pixel that lies inside the outline.
    """
    patches = _patches()
    images = np.zeros((len(factors), SIZE, SIZE, 1), "float32")
    outline, scale, rotation, x, y = factors.T
    for i, left in enumerate(POSITIONS):
        for j, top in enumerate(POSITIONS):
            rows = np.flatnonzero((x == i) & (y == j))
            across, down = (slice(centre - REACH, centre + REACH + 1) for centre in (left, top))
            images[rows, down, across, 0] = patches[outline[rows], scale[rows], rotation[rows]]
    return images


def _patches():
    """Every outline in every scale and rotation, around its centre: `(outlines, scales, rotations, size, size)`."""
    size = 2 * REACH + 1
    steps = (np.arange(size * SUBPIXELS, dtype="float32") + 0.5) / SUBPIXELS - size / 2  # pixels from the centre
    right, up = np.meshgrid(steps, -steps)
    patches = np.zeros((*NUM_VALUES[:3], size, size), "float32")
    for i, angle in enumerate(np.deg2rad(ROTATIONS)):
        # Turning the axes by −angle turns the outline by angle.
        u, v = np.cos(angle) * right + np.sin(angle) * up, np.cos(angle) * up - np.sin(angle) * right
        for j, scale in enumerate(SCALES):
            for k, inside in enumerate(_inside(u / np.float32(scale), v / np.float32(scale))):
                patches[k, j, i] = inside.reshape(size, SUBPIXELS, size, SUBPIXELS).mean(axis=(1, 3))
    return patches


def _inside(u, v):
    """Whether points lie inside each outline, which is centred at 0 and reaches as far as 1."""
    yield np.maximum(np.abs(u), np.abs(v)) < np.sqrt(0.5)
    yield u**2 + (2 * v) ** 2 < 1
    u, v = HEART_REACH * u, HEART_REACH * v + HEART_CENTRE
    square = u**2
    yield (square + v**2 - 1) ** 3 < square * v**3
