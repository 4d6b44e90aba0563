"""Figures of the results of `kvae.applications`: of images, or of series and tables as lines.

Arrays `(n, features)` are series or tables, arrays `(n, time, channels)` series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kvae import checks
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure
from kvae.plots.image_grids import draw_images, image_grid
from kvae.plots.lines import draw_lines, line_grid
from kvae.types import ArrayLike

HIDDEN = 0.5  # grey value of unknown pixels
SHOWN_SAMPLES = 3


def anomalies(
    x: ArrayLike,
    scores: ArrayLike,
    strange: ArrayLike | None = None,
    names: tuple[str, str] = ("normal", "strange"),
    columns: int = 10,
    unit: str = "anomaly score",
    title: str = "Anomaly scores",
) -> Figure:
    """Plot histograms of anomaly scores below the images with the lowest and the highest scores.

    Args:
        x: images `(n, height, width, channels)`, or `(n, features)` or `(n, time, channels)`.
        scores: their scores `(n,)`, from `applications.anomaly_score`.
        strange: scores `(m,)` of known anomalies, if any; plotted as a second histogram.
        names: the legend's labels for the two sets of scores.
        columns: int, images per row.
        unit: str, label of the score axis.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` with two axes: images and histograms.

    Raises:
        ValueError: if `x` has another shape, or there is not one score per image.

    Example:

    >>> figure = kvae.plots.anomalies(x, kvae.applications.anomaly_score(model, x))
    """
    x, scores = np.asarray(x), np.asarray(scores)
    checks.same_length(scores, len(x), "scores")
    order = np.argsort(scores)
    columns = min(columns, len(x))
    draw = draw_images if _are_images(x) else draw_lines
    figure = new_figure(11, 7.5, title)
    above, below = figure.subplots(2, 1, height_ratios=(4, 5))
    draw(above, x[np.stack([order[:columns], order[::-1][:columns]])], ["most ordinary", "strangest"])
    sets = {names[0]: scores} if strange is None else {names[0]: scores, names[1]: np.asarray(strange)}
    bins = np.histogram_bin_edges(np.concatenate(list(sets.values())), bins=50)
    for (name, values), color, hatch in zip(sets.items(), (COLORS[0], COLORS[1]), (None, "//"), strict=False):
        below.hist(values, bins, density=True, alpha=0.65, color=color, hatch=hatch, edgecolor="#404040", label=name)
    below.set_xlabel(unit, fontsize=LABEL_SIZE)
    below.set_ylabel("density", fontsize=LABEL_SIZE)
    below.tick_params(labelsize=TICK_SIZE)
    below.legend(fontsize=LABEL_SIZE, frameon=False)
    return figure


def inpainting(x: ArrayLike, mask: ArrayLike, samples: ArrayLike, rows: int = 8, title: str = "Inpainting") -> Figure:
    """Plot images with hidden pixels and their completions by a model, one image per row.

    The columns are the known pixels, a few samples, the samples' mean, their standard deviation (of images doubled, to
    span black to white) and the true image.

    Args:
        x: true images `(n, height, width, channels)`, or `(n, features)` or `(n, time, channels)`.
        mask: bools, `True` where a pixel is known, with the shape of an image or of `x`.
        samples: array `(samples, *x.shape)`, from `applications.inpaint`.
        rows: int, number of images to plot.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes do not match.

    Example:

    >>> mask = np.ones(x.shape[1:], bool)
    >>> mask[x.shape[1] // 2 :] = False  # the lower half is unknown
    >>> figure = kvae.plots.inpainting(x, mask, kvae.applications.inpaint(model, x, mask))
    """
    x = np.asarray(x)
    hidden = HIDDEN if _are_images(x) else np.nan
    return _restored("known", np.where(np.asarray(mask), x, hidden), samples, x, rows, title)


def denoising(x: ArrayLike, noisy: ArrayLike, samples: ArrayLike, rows: int = 8, title: str = "Denoising") -> Figure:
    """Plot noisy images and their denoised versions, with columns as in `inpainting`.

    Args:
        x: clean images `(n, height, width, channels)`, or `(n, features)` or `(n, time, channels)`.
        noisy: array like `x`.
        samples: array `(samples, *x.shape)`, from `applications.denoise`.
        rows: int, number of images to plot.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes do not match.
    """
    return _restored("noisy", noisy, samples, x, rows, title)


def super_resolution(
    x: ArrayLike, small: ArrayLike, samples: ArrayLike, rows: int = 8, title: str = "Super-resolution"
) -> Figure:
    """Plot low-resolution images and their super-resolved versions, with columns as in `inpainting`.

    Args:
        x: true images `(n, height, width, channels)`.
        small: images `(n, height / factor, width / factor, channels)`, plotted with larger pixels.
        samples: array `(samples, n, height, width, channels)`, from `applications.super_resolve`.
        rows: int, number of images to plot.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes do not match.
    """
    factor = max(1, np.shape(x)[1] // np.shape(small)[1])
    return _restored("small", np.kron(small, np.ones((1, factor, factor, 1))), samples, x, rows, title)


def rate_distortion(
    curves: Mapping[str, Mapping[str, ArrayLike]], png: float | None = None, title: str = "Rate and distortion"
) -> Figure:
    """Plot the distortion of compressed images against the size of the files: closer to the lower left is better.

    Args:
        curves: dict from names to results of `applications.rate_distortion`.
        png: float, the rate of lossless PNG compression, in bits per pixel; `None` to omit it.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`. Solid lines are actual files, dashed lines an ideal coder that knows only the
        prior.

    Raises:
        ValueError: if there are no curves.

    Example:

    >>> figure = kvae.plots.rate_distortion({"VAE": kvae.applications.rate_distortion(model, x, [0.5, 1, 2])})
    """
    if not curves:
        raise ValueError("`curves` must contain at least one method. Received: none")
    figure = new_figure(10, 7, title)
    axes = figure.add_subplot()
    for (name, curve), color, marker in zip(curves.items(), COLORS, "os^DvPX<>*", strict=False):
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 9, "linewidth": 2.5}
        axes.plot(curve["rate"], curve["mse"], "-", label=f"{name}, file", **style)
        axes.plot(curve["prior_rate"], curve["mse"], "--", label=f"{name}, coded under its prior", **style, alpha=0.6)
    if png is not None:
        axes.axvline(png, color="black", linewidth=2.5, linestyle=":", label="PNG (lossless)")
    axes.set_xscale("log")
    axes.set_xlabel("bits per pixel", fontsize=LABEL_SIZE)
    axes.set_ylabel("mean squared error per pixel", fontsize=LABEL_SIZE)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.set_ylim(bottom=0)
    axes.tick_params(which="both", labelsize=TICK_SIZE)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=TICK_SIZE)
    return figure


def _are_images(x):
    """Whether the examples are images, and not series or tables; raise a `ValueError` for other shapes."""
    if x.ndim not in (2, 3, 4):
        raise ValueError(
            "`x` must have shape (n, height, width, channels), or (n, features) or (n, time, channels) for series and "
            f"tables. Received: shape {x.shape}"
        )
    return x.ndim == 4


def _restored(name, observed, samples, x, rows, title):
    x, samples = np.asarray(x), np.asarray(samples)
    images = _are_images(x)
    if samples.shape[1:] != x.shape or np.shape(observed) != x.shape:
        raise ValueError(
            f"`samples` must have shape (samples, *{x.shape}), and the observed images that of the true ones. "
            f"Received: samples {samples.shape}, observed {np.shape(observed)}"
        )
    shown = samples[:SHOWN_SAMPLES]
    columns = [observed, *shown, samples.mean(axis=0), (2 if images else 1) * samples.std(axis=0), x]
    spread = "2 × spread" if images else "spread"
    names = [name, *(f"sample {k}" for k in range(1, len(shown) + 1)), "mean", spread, "truth"]
    grid = image_grid if images else line_grid
    return grid(np.stack([column[:rows] for column in columns], axis=1), None, names, title)
