"""The figure of the ladder: one row per method, one column per question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from kvae.plots.canvas import LABEL_SIZE, TITLE_SIZE, new_figure
from kvae.plots.image_grids import draw_images
from kvae.plots.scatter import draw_scatter
from kvae.types import ArrayLike

if TYPE_CHECKING:
    from kvae.ladder import Rung

SIDE = 4  # images per row; each cell has two rows
COLUMNS = ("real, reconstructed", "random codes z ~ N(0, I)", "interpolation", "codes of test images")


def ladder(rungs: Sequence[Rung], x: ArrayLike, labels: ArrayLike | None, title: str = "The ladder") -> Figure:
    """Plot the results of `kvae.ladder.climb`.

    Args:
        rungs: list of `kvae.ladder.Rung`.
        x: test images `(n, *image_shape)`, in the order in which the rungs reconstructed them.
        labels: their labels `(n,)`, which colour the codes.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` with one row per method: its metrics, its reconstructions below the original
        images, decoded random codes, an interpolation and the codes.

    Example:

    >>> rungs = list(kvae.ladder.climb(data, epochs=20))
    >>> figure = kvae.plots.ladder(rungs, data.x_test, data.y_test)
    """
    x, labels = np.asarray(x), np.asarray(labels)
    figure = new_figure(21, 3.1 * len(rungs) + 0.8, title)
    figure.set_layout_engine("constrained", wspace=0.03)
    grid = figure.add_gridspec(len(rungs), 5, width_ratios=(3, 5, 5, 5, 3))
    handles = []
    for row, rung in enumerate(rungs):
        axes = [figure.add_subplot(grid[row, column]) for column in range(5)]
        axes[0].axis("off")
        numbers = [
            f"reconstruction MSE {rung.reconstruction_mse:.4f}",
            f"Fréchet distance {rung.frechet_distance:.2f}\n(fitted codes {rung.frechet_distance_fitted:.2f})",
            f"probe accuracy {rung.probe_accuracy:.1%}",
            f"{rung.seconds:.1f} s",
        ]
        axes[0].text(0, 0.98, rung.name, fontsize=TITLE_SIZE, weight="bold", va="top")
        axes[0].text(0, 0.76, "\n".join(numbers), fontsize=LABEL_SIZE, va="top", linespacing=1.5)
        columns = [np.concatenate([x[:SIDE], rung.reconstructions[:SIDE]]), rung.random, rung.interpolation]
        for axis, images in zip(axes[1:4], columns, strict=True):
            draw_images(axis, images[: 2 * SIDE].reshape(2, SIDE, *images.shape[1:]))
        handles = draw_scatter(axes[4], rung.z, labels[: len(rung.z)], inches=2.6)
        if row == 0:
            for axis, name in zip(axes[1:], COLUMNS, strict=True):
                axis.set_title(name, fontsize=TITLE_SIZE)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=10, fontsize=LABEL_SIZE, markerscale=1.6, frameon=False
    )
    return figure
