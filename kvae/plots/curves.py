"""Training curves, and the comparison of a model with PCA."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kvae.plots.canvas import COLORS, LABEL_SIZE, MAX_CLASSES, TICK_SIZE, TITLE_SIZE, ClassNames, new_figure
from kvae.plots.image_grids import draw_images, stack_rows
from kvae.plots.lines import draw_lines, stack_lines
from kvae.plots.scatter import draw_scatter
from kvae.types import Array, ArrayLike

if TYPE_CHECKING:
    import keras

PANELS = (
    ("Loss", {"loss": "loss"}),
    ("Reconstruction and KL", {"reconstruction_loss": "reconstruction", "kl_loss": "KL"}),
)


def history(
    history: keras.callbacks.History | Mapping[str, Sequence[float]],
    title: str | None = "Training",
    panels: Sequence[str] | None = None,
) -> Figure:
    """Plot training curves: the loss, and next to it the reconstruction and KL terms.

    Args:
        history: return value of `fit`, its `history` dict, or a mapping from names to one value per epoch, in nats per
            example. Validation curves are dashed; missing terms are omitted.
        title: str, or `None`.
        panels: titles of the panels to plot, of "Loss" and "Reconstruction and KL"; `None` for all.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there is no `loss`, or nothing to plot in `panels`.

    Example:

    >>> figure = kvae.plots.history(model.fit(data.x_train, epochs=30, validation_data=(data.x_test,)))
    """
    curves = getattr(history, "history", history)
    if not len(curves.get("loss", ())):
        raise ValueError(
            "`history` must contain a `loss` of at least one epoch: pass the return value of `fit`. "
            f"Received: {sorted(curves) or 'nothing'}"
        )
    wanted = [name for name, _ in PANELS] if panels is None else panels
    found = [(name, terms) for name, terms in PANELS if name in wanted and any(key in curves for key in terms)]
    if not found:
        raise ValueError(f"`panels` must be among {[name for name, _ in PANELS]}. Received: {panels}")
    figure = new_figure(6.5 * len(found), 6, title)
    for axes, (name, terms) in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        for color, (key, label) in zip((COLORS[0], COLORS[2]), terms.items(), strict=False):
            for prefix, line, suffix in (("", "-", "training"), ("val_", "--", "validation")):
                _draw_curve(axes, curves, prefix + key, color=color, linestyle=line, label=f"{label}, {suffix}")
        axes.set_title(name, fontsize=LABEL_SIZE)
        _label_axes(axes, len(curves["loss"]))
        axes.legend(fontsize=TICK_SIZE, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)
    return figure


def histories(runs: Mapping[str, Mapping[str, Sequence[float]]], key: str, title: str | None = None) -> Figure:
    """Plot one term of several trainings over each other.

    Args:
        runs: from the names of at most 20 trainings to their curves, as for `history`.
        key: the term to plot, such as "val_loss", in nats per example.
        title: str, or `None`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if a training does not have the term, or there are too many.

    Example:

    >>> runs = {f"β = {beta}": {"loss": [30.0, 25.0 + beta]} for beta in (1, 4)}
    >>> figure = kvae.plots.histories(runs, "loss")
    """
    lacking = [name for name, curves in runs.items() if not (len(curves.get(key, ())) and "loss" in curves)]
    if lacking or not 1 <= len(runs) <= MAX_CLASSES:
        received = f"{lacking} without it" if lacking else f"{len(runs)} trainings"
        raise ValueError(f"`runs` must be 1 to {MAX_CLASSES} trainings with a `{key}`. Received: {received}")
    # Matplotlib takes dollars for a formula, and hides what begins with an underscore.
    labels = [" " + (name if len(name) <= 30 else f"…{name[-29:]}").replace("$", r"\$") for name in runs]
    columns = 2 if len(runs) > 3 and max(map(len, labels)) <= 14 else 1
    figure = new_figure(6.5, 5 + 0.3 * math.ceil(len(runs) / columns), title)
    axes = figure.subplots()
    for i, (label, curves) in enumerate(zip(labels, runs.values(), strict=True)):
        style = {"color": COLORS[i % len(COLORS)], "linestyle": ("-", "--", "-.", ":")[i % 4]}
        _draw_curve(axes, curves, key, label=label, **style)
    _label_axes(axes, max(len(curves["loss"]) for curves in runs.values()))
    figure.legend(fontsize=TICK_SIZE, ncols=columns, loc="outside lower center", frameon=False)
    return figure


def _draw_curve(axes, curves, key, **style):
    values = np.asarray(curves.get(key, ()))
    if len(values):  # with `validation_freq`, there are fewer values than epochs
        x = np.arange(1, len(values) + 1) * (len(curves["loss"]) // len(values))
        axes.plot(x, values, linewidth=2.5, marker="o" if len(values) == 1 else None, **style)


def _label_axes(axes, epochs):
    axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
    axes.set_ylabel("nats per example", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, epochs + 0.5)
    axes.grid(alpha=0.3)


def beside_pca(
    x: ArrayLike,
    model_reconstruction: ArrayLike,
    pca_reconstruction: ArrayLike,
    z: ArrayLike,
    z_pca: ArrayLike,
    labels: ArrayLike | None = None,
    title: str = "Model and PCA",
    columns: int = 10,
    class_names: ClassNames = None,
    errors: tuple[float, float] | None = None,
) -> Figure:
    """Compare a model with PCA at the same latent size: reconstructions above, codes below.

    Args:
        x: original images `(n, height, width, channels)`. The first ones are plotted.
        model_reconstruction: array like `x`.
        pca_reconstruction: array like `x`.
        z: the model's codes `(m, latent_dim)`, plotted as points; m may differ from n.
        z_pca: PCA's codes `(m, latent_dim)` of the same images.
        labels: integers `(m,)`, or `None`.
        title: str.
        columns: int, number of images to plot.
        class_names: one string per class, indexed by the label; `None` for the class numbers.
        errors: mean squared errors per pixel of the model and of PCA, for the row labels; `None` for those over `x`.

    Returns:
        A `matplotlib.figure.Figure` with three axes: images, the model's codes, PCA's codes.

    Raises:
        ValueError: if the shapes do not match.

    Example:

    >>> x = data.x_test
    >>> figure = kvae.plots.beside_pca(
    ...     x, model.reconstruct(x), pca.reconstruct(x), model.encode(x), pca.encode(x), data.y_test
    ... )
    """
    rows = stack_rows({"real": x, "model": model_reconstruction, "PCA": pca_reconstruction})
    codes = {"the model": z, "PCA": z_pca}
    return _beside_pca(draw_images, rows, codes, labels, title, columns, class_names, errors)


def lines_beside_pca(
    x: ArrayLike,
    model_reconstruction: ArrayLike,
    pca_reconstruction: ArrayLike,
    z: ArrayLike,
    z_pca: ArrayLike,
    labels: ArrayLike | None = None,
    title: str = "Model and PCA",
    columns: int = 6,
    class_names: ClassNames = None,
    errors: tuple[float, float] | None = None,
) -> Figure:
    """Compare a model of series or feature vectors with PCA, as `beside_pca` does for images.

    Args:
        x: originals `(n, length)` or `(n, length, channels)`. The first ones are plotted.
        model_reconstruction: array like `x`.
        pca_reconstruction: array like `x`.
        z: the model's codes `(m, latent_dim)`, plotted as points; m may differ from n.
        z_pca: PCA's codes `(m, latent_dim)` of the same examples.
        labels: integers `(m,)`, or `None`.
        title: str.
        columns: int, number of originals to plot.
        class_names: one string per class, indexed by the label; `None` for the class numbers.
        errors: mean squared errors per value of the model and of PCA; `None` for those over `x`.

    Returns:
        A `matplotlib.figure.Figure` with three axes: lines, the model's codes, PCA's codes.

    Raises:
        ValueError: if the shapes do not match.
    """
    rows = stack_lines({"real": x, "model": model_reconstruction, "PCA": pca_reconstruction})
    codes = {"the model": z, "PCA": z_pca}
    return _beside_pca(draw_lines, rows, codes, labels, title, columns, class_names, errors)


def _beside_pca(
    draw: Callable[..., None],
    rows: Array,
    codes: Mapping[str, ArrayLike],
    labels: ArrayLike | None,
    title: str,
    columns: int,
    class_names: ClassNames,
    errors: tuple[float, float] | None,
) -> Figure:
    """Draw `rows`, originals and two reconstructions, above the codes of two methods."""
    if errors is None:
        errors = tuple(np.nanmean((rows[1:] - rows[0]) ** 2, axis=tuple(range(1, rows.ndim))))
    names = ["real", f"model\nMSE {errors[0]:.4f}", f"PCA\nMSE {errors[1]:.4f}"]
    figure = new_figure(13, 11, title)
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 5))
    draw(figure.add_subplot(grid[0, :]), rows[:, :columns], names)
    for column, (name, z) in enumerate(codes.items()):
        axes = figure.add_subplot(grid[1, column])
        axes.set_title(f"Codes of {name}", fontsize=TITLE_SIZE)
        handles = draw_scatter(axes, z, labels, class_names, inches=5)
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=10,
            fontsize=LABEL_SIZE,
            markerscale=1.6,
            handletextpad=0.2,
            frameon=False,
        )
    return figure
