"""Latent codes as points in the plane."""

import numpy as np
from matplotlib import patheffects

from kvae import checks
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure, text_width

POINT_SIZE = 44
# Shapes, and how much larger than a circle of equal weight their area must be.
MARKERS = {"o": 1.0, "s": 0.9, "^": 1.1, "D": 0.8, "v": 1.1, "P": 1.4, "X": 1.4, "<": 1.1, ">": 1.1, "*": 2.2}


def latent_scatter(z, labels=None, title="Latent codes", class_names=None):
    """Draw latent codes as points, classes told apart by colour and by marker.

    Two dimensions are drawn as they are, more through their first two principal components (the axes say so, with the
    share of the variance). One dimension is spread over a line for each class. Each class is named at its median,
    unless classes lie on one another so closely, as they may in a conditional VAE, that only the legend can name them.

    Args:
        z: array `(n, latent_dim)`.
        labels: integers `(n,)`; `None`, or attribute vectors `(n, k)`, give one colour.
        title: str.
        class_names: one text a class, indexed by the label; `None` for the numbers.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `z` is no finite array of two axes, or labels are no integers, one a code.

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


def draw_scatter(axes, z, labels=None, class_names=None, inches=7):
    """Draw codes on `axes` of about `inches` width; returns the legend's handles, none if unlabelled."""
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
        axes.set_anchor("SW")  # the labelled sides stay where the layout measured them when the other two give way
    style = {"alpha": 0.8, "linewidths": 0.5, "edgecolors": "#404040"}
    if not len(classes):
        axes.scatter(*points.T, s=POINT_SIZE, color=COLORS[0], **style)
        return []
    names = [str(k if class_names is None else class_names[k]) for k in classes]
    handles = [
        axes.scatter(
            *points[members == i].T,
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
    """Markers of `n` classes; beyond ten the colours come again, each with another marker than before."""
    return [list(MARKERS)[(i + i // len(COLORS)) % len(MARKERS)] for i in range(n)]


def _classes(labels, n):
    """The labels that occur, and for each example the place of its own among them."""
    if labels is None or np.ndim(labels) > 1:
        return (), np.zeros(n, int)
    labels = np.asarray(labels)
    checks.same_length(labels, n, "labels")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be integers: use .astype(int). Received: dtype {labels.dtype}")
    return np.unique(labels, return_inverse=True)


def _project(z, members):
    """Points in the plane `(n, 2)` and the two axes' labels."""
    if z.shape[1] == 1:  # a line for each class, from above, its points scattered to be seen
        heights = np.random.default_rng(0).uniform(-0.35, 0.35, len(z)) - members
        return np.column_stack([z[:, 0], heights]), ("$z_0$", "")
    if z.shape[1] == 2:
        return z, ("$z_0$", "$z_1$")
    centred = z - z.mean(axis=0)
    variances, components = np.linalg.eigh(centred.T @ centred)
    components = components[:, :-3:-1]
    # A component's sign is free; this choice keeps pictures of consecutive epochs from flipping.
    components = components * np.sign(components[np.abs(components).argmax(axis=0), (0, 1)])
    shares = 100 * variances[:-3:-1] / (variances.sum() or 1.0)  # constant codes have no variance to share
    labels = [f"principal component {k} of $z$ ({share:.0f}% of variance)" for k, share in enumerate(shares, start=1)]
    return centred @ components, labels


def _name_classes(axes, points, members, names, inches):
    """Write each class at its median; nothing at all if that would take large shifts to be legible."""
    medians = np.array([np.median(points[members == i], axis=0) for i in range(len(names))])
    unit_x, unit_y = np.ptp([axes.get_xlim(), axes.get_ylim()], axis=1) / inches  # data units an inch
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
    """Shift texts at `places` `(n, 2)` up and down until none covers another."""
    x, y = places.T
    beside = np.abs(x[:, None] - x) >= (widths[:, None] + widths) / 2
    np.fill_diagonal(beside, True)
    y = y + 1e-3 * height * np.arange(len(y))  # equal places need a direction
    for _ in range(200):
        offsets = y[:, None] - y
        overlap = np.clip(height - np.abs(offsets), 0, None)
        y = y + np.sum(np.where(beside, 0, np.sign(offsets) * overlap / 2), axis=1)
    return np.column_stack([x, y])
