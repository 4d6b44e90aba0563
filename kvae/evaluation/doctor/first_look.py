"""What is checked before any figure is computed: weights that are not finite, and data on a wrong scale."""

from __future__ import annotations

import keras
import numpy as np

from kvae.evaluation.doctor.finding import Finding
from kvae.types import Array, Shape

SPREAD = 30.0  # how many times the standard deviation of one column may be that of another
COUNTS = ("counts", "bytes")  # supports of integers: see `loss_scale.SUPPORTS`


def weights(model: keras.Model) -> Finding | None:
    """NaN or infinity in a model's weights, with which nothing else can be computed."""
    bad = [weight for weight in model.weights if not _is_finite(weight)]
    if not bad:
        return None
    return Finding(
        "not_finite",
        "problem",
        f"NaN or infinity in {len(bad)} of the model's {len(model.weights)} weights, the first of them {bad[0].path}: "
        "training has diverged.",
        "train again with callbacks.StopOnNaN(), which names the term that failed first; a lower learning rate, or "
        "clipnorm=1.0 in the optimizer.",
        float(len(bad)),
    )


def _is_finite(weight):
    return np.isfinite(np.asarray(keras.ops.convert_to_numpy(weight), "float64")).all()


def scale(x: Array, shape: Shape, support: str | None) -> Finding | None:
    """Data `(n, *shape)` on a wrong scale for a likelihood with a given support."""
    if len(shape) > 2:
        return _pixels(x, support)
    return _columns(x) if len(shape) == 1 and support in ("real", None) else None


def _pixels(x, support):
    top, bottom = float(np.nanmax(x)), float(np.nanmin(x))
    if 0 < top <= 1.01 / 255 and bottom >= 0:
        return Finding(
            "pixels",
            "problem",
            f"The largest pixel is {top:.4g}, about 1/255: the images seem to have been divided by 255 twice.",
            "divide by 255 once; kvae.load_data already returns pixels in [0, 1].",
            top,
        )
    if support not in COUNTS and bottom >= 0 and 2 < top <= 255 and np.nanmax(np.mod(x, 1)) == 0:
        return Finding(
            "pixels",
            "problem",
            f"The pixels are integers up to {top:g}; values in [0, 1] are expected.",
            "divide by 255 (or by the largest value that a pixel can have), in training and here.",
            top,
        )
    return None


def _columns(x):
    mean, std = np.nanmean(x, axis=0, dtype="float64"), np.nanstd(x, axis=0, dtype="float64")  # NaN is missing
    if not np.any(std > 0):
        return None
    low, high, far = float(std[std > 0].min()), float(std.max()), float(np.max(np.abs(mean)))
    if 1 / SPREAD < high < SPREAD and high < SPREAD * low and far < SPREAD * high:
        return None
    return Finding(
        "columns",
        "warning",
        f"The columns have standard deviations from {low:.3g} to {high:.3g} and means up to {far:.3g} in magnitude; "
        "networks, and a likelihood whose columns share one σ, expect about 1 and 0.",
        "standardise the columns, x = (x - x_train.mean(axis=0)) / x_train.std(axis=0), in training and here.",
        high / low,
    )
