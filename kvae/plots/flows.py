"""Flow fields as arrows over images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kvae.plots.canvas import COLORS, new_figure
from kvae.plots.image_grids import draw_images, grid_inches
from kvae.types import ArrayLike


def flow_grid(
    images: ArrayLike,
    flows: ArrayLike,
    row_labels: Sequence[object] | None = None,
    column_labels: Sequence[object] | None = None,
    title: str | None = None,
    shortest: float = 0.5,
) -> Figure:
    """Plot a grid of images with flows as arrows over them, one image per row and one flow per column.

    Args:
        images: array `(rows, height, width, channels)` in [0, 1], with 1 or 3 channels.
        flows: array `(rows, columns, cells_down, cells_across, 2)`: the displacement in pixels, down and to the right,
            of the centre of each cell of an evenly divided image.
        row_labels: one string or number per row, shown on the left.
        column_labels: one string or number per column, shown above.
        title: str.
        shortest: length in pixels below which no arrow is drawn, so that noise does not cover the image.

    Returns:
        A `matplotlib.figure.Figure` with one axes, which contains the images and one `Quiver` with the arrows.

    Raises:
        ValueError: if the shapes do not fit together, or there is not one label per row or column.

    Example:

    >>> flows = np.random.default_rng(0).normal(size=(3, 4, 2, 2, 2))  # four flows for each of three images
    >>> figure = kvae.plots.flow_grid(data.x_test[:3], flows)
    """
    images, flows = np.asarray(images), np.asarray(flows, "float64")
    if images.ndim != 4 or flows.ndim != 5 or len(flows) != len(images) or flows.shape[-1] != 2:
        raise ValueError(
            "`flows` must have shape (rows, columns, cells_down, cells_across, 2) for images (rows, height, width, "
            "channels). "
            f"Received: flows {flows.shape}, images {images.shape}"
        )
    columns, (height, width) = flows.shape[1], images.shape[1:3]
    tiles = np.repeat(images[:, None], columns, axis=1)
    gap = max(2, height // 10)  # room for arrows that leave their image
    across, down = grid_inches(tiles.shape, row_labels, column_labels, gap)
    figure = new_figure(max(across, 5), down + (0.45 if title else 0), title)
    axes = figure.add_subplot()
    draw_images(axes, tiles, row_labels, column_labels, gap)
    row, column, i, j = np.nonzero(np.hypot(flows[..., 0], flows[..., 1]) >= shortest)
    x, y = (
        tile * (side + gap) + (cell + 0.5) * side / cells - 0.5  # pixel centres are at whole numbers
        for tile, cell, side, cells in ((column, j, width, flows.shape[3]), (row, i, height, flows.shape[2]))
    )
    v, u = flows[row, column, i, j].T
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.12 * height / flows.shape[2], "units": "xy"}
    axes.quiver(x, y, u, v, color=COLORS[1], headwidth=3.5, headlength=3.5, headaxislength=3, **arrows)
    return figure
