"""What a decoder makes of chosen codes. `model` is a `kvae.VAE`, a `kvae.CVAE`, or anything with their verbs."""

from statistics import NormalDist

import numpy as np

from kvae import checks
from kvae.applications.interpolation import interpolate
from kvae.plots.canvas import LABEL_SIZE, new_figure, number
from kvae.plots.image_grids import draw_images, grid_inches, image_grid

MAX_TRAVERSED = 12  # rows that still fit a screen
MAX_TICKS = 8


def quantile_codes(n):
    """Codes on a square grid that the standard normal prior fills evenly.

    Coordinates are the quantiles (i + ½) / n of N(0, 1): Kingma & Welling 2014, figure 4
    (https://arxiv.org/abs/1312.6114).

    Args:
        n: int, codes along each side.

    Returns:
        Array `(n, n, 2)`, float32: z₀ grows from left to right, z₁ from bottom to top, as on a plot.

    Raises:
        ValueError: if `n` is no positive integer.

    Example:

    >>> kvae.plots.quantile_codes(3)[:, 0]
    array([[-0.9674216,  0.9674216],
           [-0.9674216,  0.       ],
           [-0.9674216, -0.9674216]], dtype=float32)
    """
    n = checks.positive_integer(n, "n")
    values = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)], "float32")
    return np.stack(np.meshgrid(values, values[::-1]), axis=-1)


def latent_manifold(model, n=15, label=None, title="Learned manifold"):
    """Draw what a two-dimensional latent space decodes to, after Kingma & Welling 2014, figure 4.

    Args:
        model: model with `latent_dim` 2.
        n: int, images along each side, at the quantiles of the prior.
        label: for a conditional model the class, or attribute vector `(k,)`, to decode under; `None` for class 0.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`, its ticks the values of z.

    Raises:
        ValueError: if the model has not exactly two latent dimensions.

    Example:

    >>> figure = kvae.plots.latent_manifold(model, n=20, label=3)
    """
    if model.latent_dim != 2:
        raise ValueError(
            "`model` must have latent_dim=2 for a manifold: for others use traversal (or the callback LatentScatter). "
            f"Received: latent_dim={model.latent_dim}"
        )
    codes = quantile_codes(n)
    images = _decode(model, codes, label)
    width, height = grid_inches(images.shape, gap=0)
    figure = new_figure(max(width, 5) + 1, height + 1.1, title)
    axes = figure.add_subplot()
    draw_images(axes, images, _ticks(codes[:, 0, 1]), _ticks(codes[0, :, 0]), gap=0)
    axes.xaxis.tick_bottom()
    axes.tick_params(length=4)
    axes.set_xlabel("$z_0$", fontsize=LABEL_SIZE)
    axes.set_ylabel("$z_1$", fontsize=LABEL_SIZE, rotation=0, va="center", labelpad=14)
    return figure


def traversal(model, z=None, y=None, values=(-3, -2, -1, 0, 1, 2, 3), dims=None, title="Latent traversal"):
    """Draw how the image changes along each latent dimension, the others kept.

    Args:
        model: model of any latent size.
        z: array `(latent_dim,)` to start from, such as `model.encode(x[:1])[0]`; `None` for zeros.
        y: for a conditional model the class, or attribute vector `(k,)`, to decode under; `None` for class 0.
        values: numbers that a dimension takes, one a column.
        dims: integers, the dimensions to draw, counted from 0; `None` for the first 12.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`, one row a dimension.

    Raises:
        ValueError: if `z` does not have the model's size or `dims` are not among its dimensions.

    Example:

    >>> figure = kvae.plots.traversal(model, z=model.encode(data.x_test[:1])[0], values=np.linspace(-3, 3, 11))
    """
    z = np.zeros(model.latent_dim, "float32") if z is None else np.asarray(z, "float32")
    if z.shape != (model.latent_dim,):
        raise ValueError(f"`z` must be one code, shape ({model.latent_dim},). Received: shape {z.shape}")
    dims = list(range(min(model.latent_dim, MAX_TRAVERSED))) if dims is None else list(dims)
    if not dims or not set(dims) <= set(range(model.latent_dim)):
        raise ValueError(f"`dims` must be some of 0..{model.latent_dim - 1}. Received: {dims}")
    codes = np.tile(z, (len(dims), len(values), 1))
    for row, dim in enumerate(dims):
        codes[row, :, dim] = values
    return image_grid(_decode(model, codes, y), [f"$z_{{{dim}}}$" for dim in dims], list(map(number, values)), title)


def interpolation(model, x_start, x_end, y_start=None, y_end=None, steps=9, title="Interpolation"):
    """Draw the decoded straight line between two images' posterior means, the images themselves at its ends.

    A conditional model decodes the line once under each of the two labels.

    Args:
        model: model of any latent size.
        x_start: image `(height, width, channels)`.
        x_end: image like `x_start`.
        y_start: for a conditional model the first image's class, or attribute vector `(k,)`.
        y_end: for a conditional model the second image's.
        steps: int, codes on the line, its ends among them.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`; the columns tell the share of the way.

    Raises:
        ValueError: if images or labels do not fit the model.

    Example:

    >>> figure = kvae.plots.interpolation(model, data.x_test[0], data.x_test[1])
    """
    steps = checks.positive_integer(steps, "steps")
    labels = [None]
    if model.takes_labels:
        labels = [y_start] if np.array_equal(y_start, y_end) else [y_start, y_end]
    images = np.ones((len(labels), steps + 2, *model.image_shape), "float32")
    for row, label in zip(images, labels, strict=True):
        row[1:-1] = interpolate(model, x_start, x_end, y_start, y_end, label, steps)
    images[0, 0], images[-1, -1] = x_start, x_end  # beside the row of their own label
    columns = ["start", *(f"{share:.2g}" for share in np.linspace(0, 1, steps)), "end"]
    names = [f"as {label}" for label in labels] if len(labels) > 1 and np.ndim(y_start) == 0 else None
    return image_grid(images, names, columns, title)


def style_by_digit(model, n_styles=8, seed=0, title="One style a row"):
    """Draw styles from the prior under every label: the noise of a row is shared.

    Args:
        model: `kvae.CVAE` with `num_classes`.
        n_styles: int, rows.
        seed: int.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`, one column a class.

    Raises:
        ValueError: if the model has no classes.

    Example:

    >>> figure = kvae.plots.style_by_digit(model, n_styles=10)
    """
    classes = _classes(model)
    n_styles = checks.positive_integer(n_styles, "n_styles")
    # The same seed gives the same noise to each class; under a learned prior the codes then differ with the class.
    columns = [model.generate(labels=np.full(n_styles, label), seed=seed) for label in classes]
    return image_grid(np.stack(columns, axis=1), None, list(classes), title)


def style_transfer(model, x, y, title="Style of the real image under every label"):
    """Draw real images and, beside each, its style decoded under every label.

    Args:
        model: `kvae.CVAE` with `num_classes`.
        x: images `(n, height, width, channels)`, one a row.
        y: their labels `(n,)`.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`; the first column holds the real images.

    Raises:
        ValueError: if the model has no classes, or images or labels do not fit it.

    Example:

    >>> figure = kvae.plots.style_transfer(model, data.x_test[:8], data.y_test[:8])
    """
    classes = _classes(model)
    decoded = model.transfer_style(x, y, classes)
    return image_grid(np.concatenate([np.asarray(x)[:, None], decoded], axis=1), None, ["real", *classes], title)


def _decode(model, codes, label):
    """Decode codes `(..., latent_dim)` under one label to `(..., *image_shape)`."""
    flat = codes.reshape(-1, codes.shape[-1])
    if not model.takes_labels:
        images = model.decode(flat)
    else:
        if label is None and model.num_classes is not None:
            label = 0
        images = model.decode(flat, None if label is None else np.repeat(np.asarray(label)[None], len(flat), axis=0))
    return images.reshape(*codes.shape[:-1], *images.shape[1:])


def _classes(model):
    if getattr(model, "num_classes", None) is None:
        raise ValueError(
            "`model` must be a CVAE with num_classes: for other models use traversal. "
            f"Received: {type(model).__name__} without classes"
        )
    return np.arange(model.num_classes)


def _ticks(values):
    """One text a value, the most of them empty, around the middle one."""
    step = -(-len(values) // MAX_TICKS)
    return [number(value) if (i - len(values) // 2) % step == 0 else "" for i, value in enumerate(values)]
