"""Grids of images, each drawn as one mosaic on one axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kvae import checks
from kvae.plots.canvas import LABEL_SIZE, ClassNames, names_of, new_figure, some_classes, stack_equal, text_width
from kvae.types import Array, ArrayLike, Shape

GRID_SIZE = 9  # maximum length in inches of the longer side of a grid
TILE_SIZES = (0.35, 1.3)  # minimum and maximum height in inches of an image


def mosaic(images: ArrayLike, gap: int | None = None) -> Array:
    """Join images into one, separated by white lines.

    Args:
        images: array `(rows, columns, height, width, channels)` in [0, 1], with 1 or 3 channels. Values outside, as
            linear methods produce, are clipped.
        gap: int, pixels between images; `None` for about 1/14 of an image's height.

    Returns:
        Array `(rows · (height + gap) − gap, columns · (width + gap) − gap)`, with an additional last axis of 3 for
        colour images.

    Raises:
        ValueError: if `images` has another shape, is empty, or contains integers above 1.
    """
    images = _check(images, ("rows", "columns"))
    rows, columns, height, width, channels = images.shape
    gap = _default_gap(height) if gap is None else gap
    padded = np.pad(images, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=1)
    joined = padded.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    joined = joined[: rows * (height + gap) - gap, : columns * (width + gap) - gap]
    return np.clip(joined[..., 0] if channels == 1 else joined, 0, 1)


def draw_images(
    axes: Axes,
    images: Array,
    row_labels: Sequence[object] | None = None,
    column_labels: Sequence[object] | None = None,
    gap: int | None = None,
) -> None:
    """Draw a mosaic on `axes`, with centred labels to the left of the rows and above the columns."""
    rows, columns, height, width = images.shape[:4]
    gap = _default_gap(height) if gap is None else gap
    axes.imshow(mosaic(images, gap), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if row_labels is not None:  # the layout would deduct the room left of a centred image from that of the labels
        axes.set_anchor("W")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=LABEL_SIZE)
    axes.spines[:].set_visible(False)
    for axis, count, side, labels in (
        (axes.yaxis, rows, height, row_labels),
        (axes.xaxis, columns, width, column_labels),
    ):
        if labels is None:
            axis.set_ticks([])
            continue
        if len(labels) != count:
            raise ValueError(f"There must be one label per row or column, here {count}. Received: {len(labels)} labels")
        axis.set_ticks(np.arange(count) * (side + gap) + (side - 1) / 2, [str(label) for label in labels])


def image_grid(
    images: ArrayLike,
    row_labels: Sequence[object] | None = None,
    column_labels: Sequence[object] | None = None,
    title: str | None = None,
    gap: int | None = None,
) -> Figure:
    """Plot a grid of grey or colour images on a fixed scale from 0 (black) to 1.

    Args:
        images: array `(rows, columns, height, width, channels)`, with 1 or 3 channels.
        row_labels: one string or number per row, shown on the left.
        column_labels: one string or number per column, shown above.
        title: str.
        gap: int, pixels between images; `None` for about 1/14 of an image's height.

    Returns:
        A `matplotlib.figure.Figure` with one axes, which contains the mosaic.

    Raises:
        ValueError: if `images` has another shape, is empty or contains integers above 1, or if there is not one label
            per row or column.

    Example:

    >>> images = kvae.load_data("digits").x_train[:20].reshape(4, 5, 8, 8, 1)
    >>> figure = kvae.plots.image_grid(images, title="Digits")
    """
    images = _check(images, ("rows", "columns"))
    width, height = grid_inches(images.shape, row_labels, column_labels, gap)
    figure = new_figure(max(width, 5), height + (0.45 if title else 0), title)
    draw_images(figure.add_subplot(), images, row_labels, column_labels, gap)
    return figure


def grid_inches(
    shape: Shape,
    row_labels: Sequence[object] | None = None,
    column_labels: Sequence[object] | None = None,
    gap: int | None = None,
) -> Array:
    """Return width and height in inches of a grid of shape `(rows, columns, height, width, channels)` with labels."""
    rows, columns, height, width, _ = shape
    row_labels, column_labels = ([] if labels is None else list(labels) for labels in (row_labels, column_labels))
    gap = _default_gap(height) if gap is None else gap
    pixels = np.array([columns * (width + gap) - gap, rows * (height + gap) - gap])
    low, high = (size / height for size in TILE_SIZES)
    scale = np.clip(GRID_SIZE / pixels.max(), low, high)  # inches per pixel
    # The widest column label sets the minimum width of a column.
    scale = max(scale, text_width([*column_labels, ""], LABEL_SIZE) / width)
    margins = np.array([text_width(row_labels, LABEL_SIZE), 0.3 if column_labels else 0])
    return pixels * scale + margins + 0.15


def sample_grid(
    images: ArrayLike, labels: ArrayLike | None = None, title: str = "Samples", class_names: ClassNames = None
) -> Figure:
    """Plot samples, as one row per class, of 20 at most, or, without class labels, as a square.

    Args:
        images: array `(n, height, width, channels)`.
        labels: integers `(n,)`, the class that each image was generated for. With `None` or attribute vectors `(n, k)`,
            the images are arranged as a square.
        title: str.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `images` has another shape, or there is not one label per image.

    Example:

    >>> labels = np.repeat(np.arange(10), 8)
    >>> figure = kvae.plots.sample_grid(cvae.generate(labels=labels, seed=0), labels)
    """
    rows, classes = in_rows(_check(images, ("n",)), labels)
    return image_grid(rows, None if classes is None else names_of(classes, class_names), title=title)


def in_rows(examples: Array, labels: ArrayLike | None, blank: float = 1.0) -> tuple[Array, Array | None]:
    """Arrange examples in one row per class, of 20 at most, or, without class labels, as a square.

    Args:
        examples: array `(n, ...)`.
        labels: integers `(n,)`; `None` or attribute vectors `(n, k)` for a square.
        blank: value of the places that remain empty.

    Returns:
        Array `(rows, columns, ...)`, and the class of each row, or `None` for a square.
    """
    if labels is not None:
        checks.same_length(labels, len(examples), "labels")
    if labels is None or np.ndim(labels) > 1:
        columns = math.ceil(math.sqrt(len(examples)))
        return _rows([examples[i : i + columns] for i in range(0, len(examples), columns)], blank), None
    classes = some_classes(labels)
    return _rows([examples[np.asarray(labels) == label] for label in classes], blank), classes


def reconstruction_grid(
    x: ArrayLike,
    reconstruction: ArrayLike,
    others: Mapping[str, ArrayLike] | None = None,
    title: str = "Reconstructions",
) -> Figure:
    """Plot images above their reconstructions by a model and, optionally, by other methods.

    Args:
        x: original images `(n, height, width, channels)`, one per column.
        reconstruction: array like `x`.
        others: dict from names to arrays like `x`, each shown as another row, such as `{"PCA": pca.reconstruct(x)}`.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes differ.

    Example:

    >>> x = data.x_test[:10]
    >>> figure = kvae.plots.reconstruction_grid(x, model.reconstruct(x), {"PCA": pca.reconstruct(x)})
    """
    rows = {"original": x, "reconstruction": reconstruction, **(others or {})}
    return image_grid(stack_rows(rows), list(rows), title=title)


def stack_rows(rows: Mapping[str, ArrayLike]) -> Array:
    """Stack named rows of images of equal shape into an array `(rows, columns, *image_shape)`."""
    return _check(stack_equal(rows, "images"), ("rows", "n"))


def _rows(rows, blank):
    """Stack rows of different lengths, padding the short ones with `blank`."""
    stacked = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), blank, "float32")
    for row, line in zip(stacked, rows, strict=True):
        row[: len(line)] = line
    return stacked


def _check(images: ArrayLike, leading: tuple[str, ...]) -> Array:
    images = np.asarray(images)
    if images.ndim != len(leading) + 3 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise ValueError(
            f"`images` must have shape ({', '.join(leading)}, height, width, 1 or 3 channels) and not be empty. "
            f"Received: shape {images.shape}"
        )
    if images.dtype.kind in "iu" and images.max() > 1:
        raise ValueError(f"`images` must be in [0, 1]: divide by 255. Received: integers up to {images.max()}")
    return images


def _default_gap(height):
    return max(1, height // 14)
