"""Interpolation between images in the latent space."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae import checks
from kvae.models import conditions
from kvae.types import Array, ArrayLike


def interpolate(
    model: Any,
    x_start: ArrayLike,
    x_end: ArrayLike,
    y_start: Any = None,
    y_end: Any = None,
    y: Any = None,
    steps: int = 9,
) -> Array:
    """Decode points on the straight line between the codes of two images.

    Args:
        model: a trained model of any family, or a baseline with `encode` and `decode`.
        x_start: image `(height, width, channels)`.
        x_end: image like `x_start`.
        y_start: for a conditional model, the first image's class, attribute vector `(k,)`, image or tuple of these.
        y_end: for a conditional model, the second image's.
        y: for a conditional model, the condition to decode with; `None` for `y_start`.
        steps: int, number of points on the line, including both ends.

    Returns:
        Array `(steps, height, width, channels)` of pixel means.

    Raises:
        ValueError: if images or labels do not fit the model, or `steps` is not a positive integer.

    Example:

    >>> kvae.applications.interpolate(model, data.x_test[0], data.x_test[1], steps=5).shape
    (5, 8, 8, 1)
    """
    steps = checks.positive_integer(steps, "steps")

    def labels(y, n):
        return () if y is None else (conditions.repeat(y, n),)

    z_start, z_end = (model.encode(np.asarray(x)[None], *labels(y, 1)) for x, y in ((x_start, y_start), (x_end, y_end)))
    line = z_start + np.linspace(0, 1, steps, dtype="float32")[:, None] * (z_end - z_start)
    return model.decode(line, *labels(y_start if y is None else y, steps))
