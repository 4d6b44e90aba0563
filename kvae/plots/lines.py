"""Grids of line plots, for series and feature vectors: each grid is one axes, with one scale for all of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kvae.plots.canvas import (
    COLORS,
    LABEL_SIZE,
    TICK_SIZE,
    ClassNames,
    names_of,
    new_figure,
    number,
    stack_equal,
    text_width,
)
from kvae.plots.image_grids import in_rows
from kvae.types import Array, ArrayLike, Shape

GRID_SIZE = (11, 8)  # maximum width and height in inches of the cells of a grid together
CELL_SIZES = ((0.45, 2.6), (0.4, 1.5))  # minimum and maximum width, and height, in inches of a cell
GAP = 0.12  # between cells, in widths or heights of a cell
MARGIN = 0.06  # above and below the lines, in heights of a cell
LEGEND_WIDTH = 1.4  # inches of each channel's name
MARKED = 24  # lines of at most that many points get markers, which show that they are features and not a series


def draw_lines(
    axes: Axes,
    lines: ArrayLike,
    row_labels: Sequence[object] | None = None,
    column_labels: Sequence[object] | None = None,
    scale: bool = True,
) -> None:
    """Draw a grid of lines on `axes`, with labels as in `draw_images`.

    Args:
        axes: a Matplotlib axes.
        lines: array `(rows, columns, length)` or `(rows, columns, length, channels)`; a cell of NaN stays empty.
        row_labels: one string or number per row, shown on the left.
        column_labels: one string or number per column, shown above.
        scale: whether to show the values on the right, and the first and the last index below.
    """
    lines = _check(lines, ("rows", "columns"))
    rows, columns, length, channels = lines.shape
    low, high = _limits(lines)
    inside = 1 - 2 * MARGIN
    left, bottom = np.arange(columns) * (1 + GAP), np.arange(rows)[::-1] * (1 + GAP)  # corners of the cells

    def height(values):
        return MARGIN + inside * (np.asarray(values) - low) / (high - low)

    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    filled = [(x, y) for i, y in enumerate(bottom) for j, x in enumerate(left) if np.isfinite(lines[i, j]).any()]
    axes.add_collection(PolyCollection([corners + cell for cell in filled], facecolors="#f0f0f0"))
    if low < 0 < high:
        zero = [np.array([[x, y + height(0)], [x + 1, y + height(0)], [np.nan, np.nan]]) for x, y in filled]
        axes.plot(*np.concatenate(zero).T, color="#b0b0b0", linewidth=1)
    steps = (np.arange(length) + 0.5) / length
    x = np.broadcast_to(steps + left[:, None], (rows, columns, length))
    marker = "o" if length <= MARKED else None
    for channel in range(channels):
        y = height(lines[..., channel]) + bottom[:, None, None]
        xy = (np.pad(each, [(0, 0), (0, 0), (0, 1)], constant_values=np.nan).ravel() for each in (x, y))
        style: dict[str, Any] = {"color": COLORS[channel % len(COLORS)], "marker": marker, "markersize": 3.5}
        axes.plot(*xy, linewidth=1.8, **style, label=f"channel {channel}" if channels > 1 else None)
    axes.set(xlim=(0, left[-1] + 1), ylim=(0, bottom[0] + 1))
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=LABEL_SIZE)
    axes.spines[:].set_visible(False)
    for axis, starts, labels in ((axes.yaxis, bottom, row_labels), (axes.xaxis, left, column_labels)):
        if labels is not None and len(labels) != len(starts):
            raise ValueError(
                f"There must be one label per row or column, here {len(starts)}. Received: {len(labels)} labels"
            )
        axis.set_ticks([] if labels is None else starts + 0.5, [str(label) for label in labels or ()])
    if scale:
        seen = np.isfinite(lines).any(axis=(2, 3))  # no scale beside or below an empty cell
        _draw_scale(axes, lines.shape, (low, high), bottom[seen[:, -1], None], left[seen[-1]], height, steps[[0, -1]])


def _draw_scale(axes, shape, limits, bottom, left, height, ends):
    """Draw the values of the lines to the right of the rows, and the ends of their index below the columns.

    Args:
        axes: a Matplotlib axes.
        shape: `(rows, columns, length, channels)`.
        limits: the smallest and the largest value.
        bottom: array `(n, 1)` of the lower ends of the rows to label.
        left: array `(m,)` of the left ends of the columns to label.
        height: function from values to heights in a cell.
        ends: places of the first and the last index in a cell.
    """
    cell = cell_inches(shape)
    ticks = MaxNLocator(nbins=max(1, int(cell[1] / 0.4))).tick_values(*limits)
    ticks = ticks[(ticks >= limits[0]) & (ticks <= limits[1])]
    shown = bottom if cell[1] >= 0.7 else bottom[-1:]  # of many rows, the last one's
    digits = int(np.clip(-np.floor(np.log10(np.diff(ticks).min(initial=1) * 1.001)), 0, 4))
    style = {"length": 3, "labelsize": TICK_SIZE}
    right = axes.secondary_yaxis("right")
    right.set_ticks((shown + height(ticks)).ravel(), [number(tick, digits) for tick in ticks] * len(shown))
    below = axes.secondary_xaxis("bottom")
    names = [str(index) for index in (0, shape[2] - 1)]
    columns = left if GAP * cell[0] > text_width(names, TICK_SIZE) / 2 + 0.2 else left[:1]
    below.set_ticks((columns[:, None] + ends).ravel(), names * len(columns))
    for axis in (right, below):
        axis.tick_params(**style)
        axis.spines[:].set_visible(False)


def line_grid(
    lines: ArrayLike,
    row_labels: Sequence[object] | None = None,
    column_labels: Sequence[object] | None = None,
    title: str | None = None,
) -> Figure:
    """Plot a grid of series or feature vectors as lines, on one scale for all.

    Args:
        lines: array `(rows, columns, length)`, or `(rows, columns, length, channels)` for lines of several colours in
            each cell. A cell of NaN stays empty.
        row_labels: one string or number per row, shown on the left.
        column_labels: one string or number per column, shown above.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` with one axes, which contains all lines.

    Raises:
        ValueError: if `lines` has another shape, is empty or infinite, or if there is not one label per row or column.

    Example:

    >>> phases = np.linspace(0, 3, 8).reshape(2, 4, 1)
    >>> figure = kvae.plots.line_grid(np.sin(np.linspace(0, 6, 64) + phases), title="Sines")
    """
    lines = _check(lines, ("rows", "columns"))
    width, height = line_inches(lines.shape, row_labels, column_labels)
    several = 1 < lines.shape[-1] <= len(COLORS)  # of more, colours repeat
    figure = new_figure(max(width, 5), height + (0.45 if title else 0) + (0.35 if several else 0), title)
    draw_lines(figure.add_subplot(), lines, row_labels, column_labels)
    if several:
        columns = int(figure.get_figwidth() / LEGEND_WIDTH)
        figure.legend(loc="outside lower center", ncols=columns, fontsize=TICK_SIZE, frameon=False)
    return figure


def line_samples(
    x: ArrayLike, labels: ArrayLike | None = None, title: str = "Samples", class_names: ClassNames = None
) -> Figure:
    """Plot samples of series or feature vectors, arranged as `sample_grid` arranges images.

    Args:
        x: array `(n, length)` or `(n, length, channels)`.
        labels: integers `(n,)`, the class that each sample was generated for, or `None`.
        title: str.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `x` has another shape, or there is not one label per sample.

    Example:

    >>> series = np.sin(np.linspace(0, 6, 64) + np.linspace(0, 3, 12)[:, None])
    >>> figure = kvae.plots.line_samples(series, np.arange(12) // 4)
    """
    rows, classes = in_rows(_check(x, ("n",)), labels, blank=np.nan)
    return line_grid(rows, None if classes is None else names_of(classes, class_names), title=title)


def line_reconstructions(
    x: ArrayLike,
    reconstruction: ArrayLike,
    others: Mapping[str, ArrayLike] | None = None,
    title: str = "Reconstructions",
) -> Figure:
    """Plot series or feature vectors above their reconstructions by a model and, optionally, by other methods.

    Args:
        x: originals `(n, length)` or `(n, length, channels)`, one per column.
        reconstruction: array like `x`.
        others: dict from names to arrays like `x`, each shown as another row.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes differ.

    Example:

    >>> series = np.sin(np.linspace(0, 6, 64) + np.linspace(0, 3, 5)[:, None])
    >>> pca = kvae.baselines.PCA(latent_dim=1).fit(series)
    >>> figure = kvae.plots.line_reconstructions(series, pca.reconstruct(series), title="PCA")
    """
    rows = {"original": x, "reconstruction": reconstruction, **(others or {})}
    return line_grid(stack_lines(rows), list(rows), title=title)


def stack_lines(rows: Mapping[str, ArrayLike]) -> Array:
    """Stack named rows of lines of equal shape into an array `(rows, columns, length, channels)`."""
    return _check(stack_equal(rows, "lines"), ("rows", "n"))


def line_inches(
    shape: Shape, row_labels: Sequence[object] | None = None, column_labels: Sequence[object] | None = None
) -> Array:
    """Return width and height in inches of a grid of shape `(rows, columns, length, channels)` with labels."""
    rows, columns = shape[:2]
    cell = cell_inches(shape)
    cell[0] = max(cell[0], text_width([*(column_labels or ()), ""], LABEL_SIZE) + 0.1)
    margins = np.array([text_width(row_labels or (), LABEL_SIZE) + 0.7, 0.3 + 0.3 * bool(column_labels)])
    return cell * (columns, rows) * (1 + GAP) + margins


def cell_inches(shape: Shape) -> Array:
    """Return width and height in inches of one cell of a grid of shape `(rows, columns, length, channels)`."""
    low, high = np.transpose(CELL_SIZES)
    return np.clip(np.array(GRID_SIZE) / (shape[1], shape[0]) / (1 + GAP), low, high)


def _limits(lines: Array) -> tuple[float, float]:
    """The smallest and the largest value, apart from one another also for constant lines."""
    low, high = (float(value) for value in (np.nanmin(lines), np.nanmax(lines)))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _check(lines: Any, leading: tuple[str, ...]) -> Array:
    """Return the lines as an array `(*leading, length, channels)`."""
    lines = np.asarray(lines)
    if lines.ndim == len(leading) + 1:
        lines = lines[..., None]
    if lines.ndim != len(leading) + 2 or lines.size == 0 or lines.dtype.kind not in "fiub":
        raise ValueError(
            f"`lines` must be numbers of shape ({', '.join(leading)}, length) or ({', '.join(leading)}, length, "
            f"channels), and not be empty. Received: shape {lines.shape}, dtype {lines.dtype}"
        )
    lines = lines.astype("float64")
    if np.isinf(lines).any() or not np.isfinite(lines).any():
        raise ValueError("`lines` must be finite, apart from the NaN of empty cells. Received: infinity, or NaN alone")
    return lines
