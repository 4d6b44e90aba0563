"""Which plots suit the examples of a model: grids of images, or grids of lines for series and feature vectors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from kvae.plots.curves import beside_pca, lines_beside_pca
from kvae.plots.image_grids import draw_images, grid_inches, image_grid, reconstruction_grid, sample_grid
from kvae.plots.lines import draw_lines, line_grid, line_inches, line_reconstructions, line_samples
from kvae.types import Array, Shape


class Grids(NamedTuple):
    """The plots of one kind of example, each with the same arguments for either kind."""

    grid: Callable[..., Figure]
    samples: Callable[..., Figure]
    reconstructions: Callable[..., Figure]
    beside_pca: Callable[..., Figure]
    draw_plane: Callable[..., None]  # of axes, examples, row labels and column labels
    plane_inches: Callable[[Shape], Array]


IMAGES = Grids(
    image_grid,
    sample_grid,
    reconstruction_grid,
    beside_pca,
    functools.partial(draw_images, gap=0),
    functools.partial(grid_inches, gap=0),
)
LINES = Grids(
    line_grid,
    line_samples,
    line_reconstructions,
    lines_beside_pca,
    functools.partial(draw_lines, scale=False),
    line_inches,
)


def grids_of(image_shape: Shape) -> Grids:
    """The plots for examples of `image_shape`: images have three axes, a series or feature vector one or two.

    An array alone would not tell: `(n, height, width)` may be images without a channel axis, or series of several
    channels.
    """
    return LINES if len(image_shape) < 3 else IMAGES
