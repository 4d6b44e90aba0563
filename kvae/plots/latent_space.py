"""Decoded codes. `model` is a `kvae.VAE`, a `kvae.CVAE`, or any object with the same methods.

Codes of a model of series or feature vectors are drawn as lines, those of other models as images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kvae import checks
from kvae.applications.interpolation import interpolate
from kvae.models import capabilities, conditions
from kvae.plots.canvas import LABEL_SIZE, ClassNames, names_of, new_figure, number, some_classes
from kvae.plots.examples import grids_of
from kvae.types import Array, ArrayLike

MAX_TRAVERSED = 12  # rows that fit on a screen
MAX_TICKS = 8


def quantile_codes(n: int) -> Array:
    """Return codes on a square grid, evenly spaced in probability under the standard normal prior.

    The coordinates are the quantiles (i + ½) / n of N(0, 1), as in Kingma & Welling 2014, figure 4
    (https://arxiv.org/abs/1312.6114).

    Args:
        n: int, codes along each side.

    Returns:
        Array `(n, n, 2)`, float32: z₀ increases from left to right, z₁ from bottom to top, as on a plot.

    Raises:
        ValueError: if `n` is not a positive integer.

    Example:

    >>> kvae.plots.quantile_codes(3)[:, 0]
    array([[-0.9674216,  0.9674216],
           [-0.9674216,  0.       ],
           [-0.9674216, -0.9674216]], dtype=float32)
    """
    n = checks.positive_integer(n, "n")
    values = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)], "float32")
    return np.stack(np.meshgrid(values, values[::-1]), axis=-1)


def latent_manifold(model: Any, n: int = 15, label: Any = None, title: str = "Learned manifold") -> Figure:
    """Plot the decoded images over a two-dimensional latent space, as in Kingma & Welling 2014, figure 4.

    Args:
        model: model with `latent_dim=2`.
        n: int, images along each side, at the quantiles of the prior.
        label: the condition of one image, for a conditional model: class, attribute vector `(k,)`, image, or a tuple of
            these; `None` for class 0.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` whose ticks are the values of z.

    Raises:
        ValueError: if the model does not have exactly two latent dimensions.

    Example:

    >>> figure = kvae.plots.latent_manifold(cvae, n=20, label=3)
    """
    if model.latent_dim != 2:
        raise ValueError(
            "`model` must have latent_dim=2 for a manifold: otherwise use traversal (or the callback LatentScatter). "
            f"Received: latent_dim={model.latent_dim}"
        )
    codes = quantile_codes(n)
    images = _decode(model, codes, label)
    grids = grids_of(images.shape[2:])
    width, height = grids.plane_inches(images.shape)
    figure = new_figure(max(width, 5) + 1, height + 1.1, title)
    axes = figure.add_subplot()
    grids.draw_plane(axes, images, _ticks(codes[:, 0, 1]), _ticks(codes[0, :, 0]))
    axes.xaxis.tick_bottom()
    axes.tick_params(length=4)
    axes.set_xlabel("$z_0$", fontsize=LABEL_SIZE)
    axes.set_ylabel("$z_1$", fontsize=LABEL_SIZE, rotation=0, va="center", labelpad=14)
    return figure


def traversal(
    model: Any,
    z: ArrayLike | None = None,
    y: Any = None,
    values: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    dims: Iterable[int] | None = None,
    title: str = "Latent traversal",
    kl: ArrayLike | None = None,
) -> Figure:
    """Plot how the decoded image changes along each latent dimension while the others are held fixed.

    Args:
        model: model of any latent size.
        z: array `(latent_dim,)` to start from, such as `model.encode(x[:1])[0]`; `None` for zeros.
        y: the condition of one image, as in `latent_manifold`.
        values: values of the traversed dimension, one per column.
        dims: integers, indices of the dimensions to traverse, one per row; `None` for the 12 with the largest `kl`, the
            largest first, or without `kl` for the first 12.
        title: str.
        kl: array `(latent_dim,)`, the KL of each dimension in nats, shown next to it: how much the model uses it. From
            `kvae.evaluation.kl_per_dimension`.

    Returns:
        A `matplotlib.figure.Figure` with one row per dimension.

    Raises:
        ValueError: if `z` or `kl` does not have the model's latent size, or `dims` are not among its dimensions.

    Example:

    >>> kl = kvae.evaluation.kl_per_dimension(model, data.x_test)
    >>> figure = kvae.plots.traversal(model, z=model.encode(data.x_test[:1])[0], values=np.linspace(-3, 3, 11), kl=kl)
    """
    z = np.zeros(model.latent_dim, "float32") if z is None else np.asarray(z, "float32")
    if z.shape != (model.latent_dim,):
        raise ValueError(f"`z` must be one code, shape ({model.latent_dim},). Received: shape {z.shape}")
    if kl is not None:
        kl = checks.array(kl, (), "kl")
        if len(kl) != model.latent_dim:
            raise ValueError(f"`kl` must have one entry per latent dimension: {model.latent_dim}. Received: {len(kl)}")
    if dims is None:
        order = np.arange(model.latent_dim) if kl is None else np.argsort(-kl, kind="stable")
        dims = order[:MAX_TRAVERSED].tolist()
    dims = list(dims)
    if not dims or not set(dims) <= set(range(model.latent_dim)):
        raise ValueError(f"`dims` must be a non-empty subset of 0..{model.latent_dim - 1}. Received: {dims}")
    codes = np.tile(z, (len(dims), len(values), 1))
    for row, dim in enumerate(dims):
        codes[row, :, dim] = values
    rows, columns = [f"$z_{{{dim}}}$" for dim in dims], list(map(number, values))
    if kl is not None:
        rows = [f"{name}: KL {kl[dim]:.1f} nats" for name, dim in zip(rows, dims, strict=True)]
    return _grid(_decode(model, codes, y), rows, columns, title)


def interpolation(
    model: Any,
    x_start: ArrayLike,
    x_end: ArrayLike,
    y_start: Any = None,
    y_end: Any = None,
    steps: int = 9,
    title: str = "Interpolation",
) -> Figure:
    """Plot the decoded line between the posterior means of two images, which are shown at its ends.

    A conditional model decodes the line once with each of the two labels.

    Args:
        model: model of any latent size.
        x_start: image `(height, width, channels)`.
        x_end: image like `x_start`.
        y_start: condition of the first image, for a conditional model: class, attribute vector `(k,)`, image or tuple.
        y_end: the same for the second image.
        steps: int, number of codes on the line, including its ends.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` whose columns are labelled with the position on the line, from 0 to 1.

    Raises:
        ValueError: if images or labels do not match the model.

    Example:

    >>> figure = kvae.plots.interpolation(model, data.x_test[0], data.x_test[1])
    """
    steps = checks.positive_integer(steps, "steps")
    labels: list[Any] = [None]
    if capabilities.has(model, "condition"):
        labels = [y_start] if conditions.equal(y_start, y_end) else [y_start, y_end]
    blank = 1 if len(model.image_shape) == 3 else np.nan  # white, or no line
    images = np.full((len(labels), steps + 2, *model.image_shape), blank, "float32")
    for row, label in zip(images, labels, strict=True):
        row[1:-1] = interpolate(model, x_start, x_end, y_start, y_end, label, steps)
    images[0, 0], images[-1, -1] = x_start, x_end  # each in the row of its own label
    columns = ["start", *(f"{share:.2g}" for share in np.linspace(0, 1, steps)), "end"]
    names = [f"as {label}" for label in labels] if len(labels) > 1 and _is_class(labels[0]) else None
    return _grid(images, names, columns, title)


def style_by_digit(
    model: Any, n_styles: int = 8, seed: int = 0, title: str = "One style per row", class_names: ClassNames = None
) -> Figure:
    """Plot styles sampled from the prior with every label, of 20 at most; the images of a row share the same noise.

    Args:
        model: `kvae.CVAE` with `num_classes`.
        n_styles: int, number of rows.
        seed: int.
        title: str.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Returns:
        A `matplotlib.figure.Figure` with one column per class.

    Raises:
        ValueError: if the model has no classes.

    Example:

    >>> figure = kvae.plots.style_by_digit(cvae, n_styles=10)
    """
    classes = _classes(model)
    n_styles = checks.positive_integer(n_styles, "n_styles")
    # The seed gives each class the same noise. With a learned prior, the codes still depend on the class.
    columns = [model.generate(labels=np.full(n_styles, label), seed=seed) for label in classes]
    return _grid(np.stack(columns, axis=1), None, names_of(classes, class_names), title)


def style_transfer(
    model: Any,
    x: ArrayLike,
    y: ArrayLike,
    title: str = "Style of the real image with every label",
    class_names: ClassNames = None,
) -> Figure:
    """Plot real images and, next to each, its style decoded with every label, of 20 at most.

    Args:
        model: `kvae.CVAE` with `num_classes`.
        x: images `(n, height, width, channels)`, one per row.
        y: their labels `(n,)`.
        title: str.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Returns:
        A `matplotlib.figure.Figure` with the real images in the first column.

    Raises:
        ValueError: if the model has no classes, or images or labels do not match it.

    Example:

    >>> figure = kvae.plots.style_transfer(cvae, data.x_test[:8], data.y_test[:8])
    """
    classes = _classes(model)
    decoded = model.transfer_style(x, y, classes)
    names = ["real", *names_of(classes, class_names)]
    rows = np.concatenate([np.asarray(x)[:, None], decoded], axis=1)
    return _grid(rows, None, names, title)


def _grid(examples, row_labels, column_labels, title):
    """A grid of `examples` `(rows, columns, *image_shape)`, as images or as lines."""
    return grids_of(examples.shape[2:]).grid(examples, row_labels, column_labels, title)


def _decode(model, codes, label):
    """Decode codes `(..., latent_dim)` with one label to images `(..., *image_shape)`."""
    flat = codes.reshape(-1, codes.shape[-1])
    if not capabilities.has(model, "condition"):
        images = model.decode(flat)
    else:
        if label is None and capabilities.has(model, "classes"):
            label = 0
        images = model.decode(flat, conditions.repeat(label, len(flat)))
    return images.reshape(*codes.shape[:-1], *images.shape[1:])


def _is_class(label):
    return not isinstance(label, tuple) and np.ndim(label) == 0


def _classes(model):
    capabilities.needs(model, "classes")
    return some_classes(np.arange(model.num_classes))


def _ticks(values):
    """Tick labels of the values, all empty except every k-th from the middle one."""
    step = -(-len(values) // MAX_TICKS)
    return [number(value) if (i - len(values) // 2) % step == 0 else "" for i, value in enumerate(values)]
