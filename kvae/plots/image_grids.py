"""Grids of images: one axes and one mosaic, however many images there are."""

import math

import numpy as np

from kvae import checks
from kvae.plots.canvas import LABEL_SIZE, new_figure, text_width

GRID_SIZE = 9  # inches that the longer side of a grid may take
TILE_SIZES = (0.35, 1.3)  # smallest and largest height of one image, inches


def mosaic(images, gap=None):
    """Join images into one, with white lines between them.

    Args:
        images: array `(rows, columns, height, width, channels)` in [0, 1], with 1 or 3 channels; values beyond, as a
            linear method gives them, are clipped.
        gap: int, pixels between images; `None` for about a fourteenth of an image's height.

    Returns:
        Array `(rows · (height + gap) − gap, columns · (width + gap) − gap)`, for colour images with a last axis of 3.

    Raises:
        ValueError: on another shape, no images, or integers above 1.
    """
    images = _check(images, ("rows", "columns"))
    rows, columns, height, width, channels = images.shape
    gap = _default_gap(height) if gap is None else gap
    padded = np.pad(images, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=1)
    joined = padded.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    joined = joined[: rows * (height + gap) - gap, : columns * (width + gap) - gap]
    return np.clip(joined[..., 0] if channels == 1 else joined, 0, 1)


def draw_images(axes, images, row_labels=None, column_labels=None, gap=None):
    """Draw a mosaic on `axes`, with labels at the middles of the rows (left) and columns (above)."""
    rows, columns, height, width = images.shape[:4]
    gap = _default_gap(height) if gap is None else gap
    axes.imshow(mosaic(images, gap), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
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
            raise ValueError(f"Labels must be one for each row or column, {count} here. Received: {len(labels)} labels")
        axis.set_ticks(np.arange(count) * (side + gap) + (side - 1) / 2, [str(label) for label in labels])


def image_grid(images, row_labels=None, column_labels=None, title=None, gap=None):
    """Draw a grid of images, grey or coloured, on a fixed scale from 0 (black) to 1.

    Args:
        images: array `(rows, columns, height, width, channels)`, with 1 or 3 channels.
        row_labels: one text or number a row, written on the left.
        column_labels: one text or number a column, written above.
        title: str.
        gap: int, pixels between images; `None` for about a fourteenth of an image's height.

    Returns:
        A `matplotlib.figure.Figure` with one axes, which holds one mosaic.

    Raises:
        ValueError: on another shape, no images, integers above 1, or too many or few labels.

    Example:

    >>> images = kvae.load_data("digits").x_train[:20].reshape(4, 5, 8, 8, 1)
    >>> figure = kvae.plots.image_grid(images, title="Digits")
    """
    images = _check(images, ("rows", "columns"))
    width, height = grid_inches(images.shape, row_labels, column_labels, gap)
    figure = new_figure(max(width, 5), height + (0.45 if title else 0), title)
    draw_images(figure.add_subplot(), images, row_labels, column_labels, gap)
    return figure


def grid_inches(shape, row_labels=None, column_labels=None, gap=None):
    """Width and height in inches of a grid of `shape` `(rows, columns, height, width, channels)` with its labels."""
    rows, columns, height, width, _ = shape
    row_labels, column_labels = ([] if labels is None else list(labels) for labels in (row_labels, column_labels))
    gap = _default_gap(height) if gap is None else gap
    pixels = np.array([columns * (width + gap) - gap, rows * (height + gap) - gap])
    scale = np.clip(GRID_SIZE / pixels.max(), *(size / height for size in TILE_SIZES))  # inches a pixel
    # Column labels stand side by side, so the widest sets how narrow a column may be.
    scale = max(scale, text_width([*column_labels, ""], LABEL_SIZE) / width)
    margins = np.array([text_width(row_labels, LABEL_SIZE), 0.3 if column_labels else 0])
    return pixels * scale + margins + 0.15


def sample_grid(images, labels=None, title="Samples"):
    """Draw samples: as a square, or with labels as a row for each.

    Args:
        images: array `(n, height, width, channels)`.
        labels: integers `(n,)`, the class that each image was drawn for; `None`, or attribute vectors `(n, k)`, give
            the square.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: on another shape, or if there are not as many labels as images.

    Example:

    >>> labels = np.repeat(np.arange(10), 8)
    >>> figure = kvae.plots.sample_grid(model.generate(labels=labels, seed=0), labels)
    """
    images = _check(images, ("n",))
    if labels is not None:
        checks.same_length(labels, len(images), "labels")
    if labels is None or np.ndim(labels) > 1:
        columns = math.ceil(math.sqrt(len(images)))
        return image_grid(_rows([images[i : i + columns] for i in range(0, len(images), columns)]), title=title)
    names = np.unique(labels)
    return image_grid(_rows([images[np.asarray(labels) == name] for name in names]), list(names), title=title)


def reconstruction_grid(x, reconstruction, others=None, title="Reconstructions"):
    """Draw images above what a model, and perhaps other methods, make of them.

    Args:
        x: originals `(n, height, width, channels)`, one a column.
        reconstruction: array like `x`.
        others: dict from names to arrays like `x`, one further row each, such as `{"PCA": pca.reconstruct(x)}`.
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


def stack_rows(rows):
    """Stack named rows of images, of equal shapes, to `(rows, columns, *image_shape)`."""
    first, *_ = (np.shape(images) for images in rows.values())
    for name, images in rows.items():
        if np.shape(images) != first:
            raise ValueError(f"All rows must have the originals' shape {first}. Received: {name} {np.shape(images)}")
    return _check(np.stack(list(rows.values())), ("rows", "n"))


def _rows(rows):
    """Stack rows of different lengths, the short ones filled up with white."""
    images = np.ones((len(rows), max(map(len, rows)), *rows[0].shape[1:]), "float32")
    for row, line in zip(images, rows, strict=True):
        row[: len(line)] = line
    return images


def _check(images, leading):
    images = np.asarray(images)
    if images.ndim != len(leading) + 3 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise ValueError(
            f"`images` must have shape ({', '.join(leading)}, height, width, 1 or 3 channels), none of them empty. "
            f"Received: shape {images.shape}"
        )
    if images.dtype.kind in "iu" and images.max() > 1:
        raise ValueError(f"`images` must lie in [0, 1]: divide by 255. Received: integers up to {images.max()}")
    return images


def _default_gap(height):
    return max(1, height // 14)
