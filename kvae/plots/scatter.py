"""Scatter plots of latent codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kvae import checks
from kvae.plots.canvas import (
    COLORS,
    LABEL_SIZE,
    TICK_SIZE,
    ClassNames,
    names_of,
    new_figure,
    some_classes,
    text_width,
)
from kvae.types import ArrayLike

POINT_SIZE = 44
# Markers, and the area relative to a circle at which they look equally large.
MARKERS = {"o": 1.0, "s": 0.9, "^": 1.1, "D": 0.8, "v": 1.1, "P": 1.4, "X": 1.4, "<": 1.1, ">": 1.1, "*": 2.2}


def latent_scatter(
    z: ArrayLike,
    labels: ArrayLike | None = None,
    title: str = "Latent codes",
    class_names: ClassNames = None,
) -> Figure:
    """Plot latent codes as points, with a colour and a marker for each class.

    Codes of two dimensions are plotted directly, codes of more through their first two principal components (the axis
    labels state the explained variance). Codes of one dimension are spread over one line per class. Each class is
    labelled at its median, unless classes overlap so much that only the legend can name them, as often in a CVAE. Of
    more than 20 classes, 20 are named, and the others are grey.

    Args:
        z: array `(n, latent_dim)`.
        labels: integers `(n,)`. With `None` or attribute vectors `(n, k)`, all points have one colour.
        title: str.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `z` is not a finite two-dimensional array, or `labels` are not one integer per code.

    Example:

    >>> figure = kvae.plots.latent_scatter(model.encode(data.x_test), data.y_test)
    """
    figure = new_figure(8, 8, title)
    handles = draw_scatter(figure.add_subplot(), z, labels, class_names, inches=7)
    if handles:
        columns = -(-len(handles) // 20)
        room = columns * (text_width([handle.get_label() for handle in handles], LABEL_SIZE) + 0.7)
        figure.set_size_inches(8 + room, 8)
        figure.legend(
            handles=handles,
            loc="outside right upper",
            ncols=columns,
            fontsize=LABEL_SIZE,
            markerscale=1.6,
            handletextpad=0.2,
            frameon=False,
        )
    return figure


def draw_scatter(
    axes: Axes,
    z: ArrayLike,
    labels: ArrayLike | None = None,
    class_names: ClassNames = None,
    inches: float = 7,
) -> list[Any]:
    """Draw codes on `axes` about `inches` wide, and return the legend handles, an empty list without labels."""
    z = np.asarray(z)
    z = checks.array(z, z.shape[1:2] if z.ndim == 2 else ("latent_dim",), "z")
    classes, members = _classes(labels, len(z))
    points, axis_labels = _project(z, members)
    axes.set_xlabel(axis_labels[0], fontsize=LABEL_SIZE)
    axes.set_ylabel(axis_labels[1], fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    if z.shape[1] == 1:
        axes.set_yticks([])
    else:
        low, high = points.min(axis=0), points.max(axis=0)
        middle, half = (low + high) / 2, 0.54 * (np.max(high - low) or 1.0)
        axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
        axes.set_anchor(
            "SW"
        )  # keep the labelled sides where the layout measured them if the aspect ratio shrinks the axes
    style: dict[str, Any] = {"alpha": 0.8, "linewidths": 0.5, "edgecolors": "#404040"}
    if not len(classes):
        axes.scatter(points[:, 0], points[:, 1], s=POINT_SIZE, color=COLORS[0], **style)
        return []
    shown = some_classes(classes)
    others = ~np.isin(classes, shown)[members]
    if others.any():
        axes.scatter(points[others, 0], points[others, 1], s=POINT_SIZE / 2, color="#d0d0d0", label="others")
    classes, points, members = shown, points[~others], np.searchsorted(shown, classes[members][~others])
    names = names_of(classes, class_names)
    handles = [
        axes.scatter(
            points[members == i, 0],
            points[members == i, 1],
            s=POINT_SIZE * MARKERS[marker],
            color=COLORS[i % 10],
            marker=marker,
            label=label,
            **style,
        )
        for i, (label, marker) in enumerate(zip(names, _markers(len(names)), strict=True))
    ]
    _name_classes(axes, points, members, names, inches)
    return handles


def _markers(n):
    """Markers of `n` classes. Beyond ten, colours repeat, each with a different marker."""
    return [list(MARKERS)[(i + i // len(COLORS)) % len(MARKERS)] for i in range(n)]


def _classes(labels, n):
    """The distinct labels, and the index of each example's label among them."""
    if labels is None or np.ndim(labels) > 1:
        return (), np.zeros(n, int)
    labels = np.asarray(labels)
    checks.same_length(labels, n, "labels")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be integers: use .astype(int). Received: dtype {labels.dtype}")
    return np.unique(labels, return_inverse=True)


def _project(z, members):
    """Points in the plane `(n, 2)`, and the labels of the two axes."""
    if z.shape[1] == 1:  # one line per class, from top to bottom, with vertical jitter
        heights = np.random.default_rng(0).uniform(-0.35, 0.35, len(z)) - members
        return np.column_stack([z[:, 0], heights]), ("$z_0$", "")
    if z.shape[1] == 2:
        return z, ("$z_0$", "$z_1$")
    centred = z - z.mean(axis=0)
    variances, components = np.linalg.eigh(centred.T @ centred)
    components = components[:, :-3:-1]
    # The sign of a component is arbitrary; fixing it keeps plots of consecutive epochs from flipping.
    components = components * np.sign(components[np.abs(components).argmax(axis=0), (0, 1)])
    shares = 100 * variances[:-3:-1] / (variances.sum() or 1.0)  # avoids 0/0 for constant codes
    labels = [f"principal component {k} of $z$ ({share:.0f}% of variance)" for k, share in enumerate(shares, start=1)]
    return centred @ components, labels


def _name_classes(axes, points, members, names, inches):
    """Label each class at its median, or none if legible labels would be far from their medians."""
    medians = np.array([np.median(points[members == i], axis=0) for i in range(len(names))])
    unit_x, unit_y = np.ptp([axes.get_xlim(), axes.get_ylim()], axis=1) / inches  # data units per inch
    widths = unit_x * np.array([text_width([name], LABEL_SIZE) + 0.1 for name in names])
    height = unit_y * LABEL_SIZE * 1.5 / 72
    places = _spread(medians, widths, height)
    if np.abs(places - medians).max() > 1.5 * height:
        return
    for place, name in zip(places, names, strict=True):
        axes.annotate(
            name,
            place,
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            fontweight="bold",
            path_effects=[patheffects.withStroke(linewidth=4, foreground="white")],
        )


def _spread(places, widths, height):
    """Shift labels at `places` `(n, 2)` vertically until none overlap."""
    x, y = places.T
    beside = np.abs(x[:, None] - x) >= (widths[:, None] + widths) / 2
    np.fill_diagonal(beside, True)
    y = y + 1e-3 * height * np.arange(len(y))  # breaks ties between equal positions
    for _ in range(200):
        offsets = y[:, None] - y
        overlap = np.clip(height - np.abs(offsets), 0, None)
        y = y + np.sum(np.where(beside, 0, np.sign(offsets) * overlap / 2), axis=1)
    return np.column_stack([x, y])
