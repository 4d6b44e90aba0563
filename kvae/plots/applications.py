"""What a trained model is good for, drawn: the arrays are those of `kvae.applications`."""

import numpy as np

from kvae import checks
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure
from kvae.plots.image_grids import draw_images, image_grid

HIDDEN = 0.5  # the grey of pixels that are not known
SHOWN_SAMPLES = 3


def anomalies(
    x, scores, strange=None, names=("normal", "strange"), columns=10, unit="anomaly score", title="Anomaly scores"
):
    """Draw anomaly scores as histograms, and above them the images that a model finds most ordinary and strangest.

    Args:
        x: images `(n, height, width, channels)`.
        scores: their scores `(n,)`, from `applications.anomaly_score`.
        strange: scores `(m,)` of images that are known to be strange, as a second histogram; `None` for none.
        names: two texts for the legend.
        columns: int, images in a row.
        unit: str, what the scores are.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` with two axes: images and histograms.

    Raises:
        ValueError: if there are not as many scores as images.

    Example:

    >>> figure = kvae.plots.anomalies(x, kvae.applications.anomaly_score(model, x))
    """
    x, scores = np.asarray(x), np.asarray(scores)
    checks.same_length(scores, len(x), "scores")
    order = np.argsort(scores)
    columns = min(columns, len(x))
    figure = new_figure(11, 7.5, title)
    above, below = figure.subplots(2, 1, height_ratios=(4, 5))
    draw_images(above, x[np.stack([order[:columns], order[::-1][:columns]])], ["most ordinary", "strangest"])
    sets = {names[0]: scores} if strange is None else {names[0]: scores, names[1]: np.asarray(strange)}
    bins = np.histogram_bin_edges(np.concatenate(list(sets.values())), bins=50)
    for (name, values), color, hatch in zip(sets.items(), (COLORS[0], COLORS[1]), (None, "//"), strict=False):
        below.hist(values, bins, density=True, alpha=0.65, color=color, hatch=hatch, edgecolor="#404040", label=name)
    below.set_xlabel(unit, fontsize=LABEL_SIZE)
    below.set_ylabel("density", fontsize=LABEL_SIZE)
    below.tick_params(labelsize=TICK_SIZE)
    below.legend(fontsize=LABEL_SIZE, frameon=False)
    return figure


def inpainting(x, mask, samples, rows=8, title="Filling in what is hidden"):
    """Draw images with hidden pixels and what a model fills in, one image a row.

    Columns are what is known, a few samples, their mean, their spread (standard deviation, doubled so that
    it reaches from black to white) and the truth.

    Args:
        x: true images `(n, height, width, channels)`.
        mask: bools, `True` where a pixel is known, of an image's shape or of that of `x`.
        samples: array `(samples, n, height, width, channels)`, from `applications.inpaint`.
        rows: int, how many images are drawn.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes do not fit.

    Example:

    >>> figure = kvae.plots.inpainting(x, mask, kvae.applications.inpaint(model, x, mask))
    """
    return _restored("known", np.where(mask, x, HIDDEN), samples, x, rows, title)


def denoising(x, noisy, samples, rows=8, title="Taking noise away"):
    """Draw noisy images and what a model makes of them, with columns as in `inpainting`.

    Args:
        x: clean images `(n, height, width, channels)`.
        noisy: array like `x`.
        samples: array `(samples, n, height, width, channels)`, from `applications.denoise`.
        rows: int, how many images are drawn.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes do not fit.
    """
    return _restored("noisy", noisy, samples, x, rows, title)


def super_resolution(x, small, samples, rows=8, title="Super-resolution"):
    """Draw small images and what a model makes of them, with columns as in `inpainting`.

    Args:
        x: true images `(n, height, width, channels)`.
        small: images `(n, height / factor, width / factor, channels)`, drawn with large pixels.
        samples: array `(samples, n, height, width, channels)`, from `applications.super_resolve`.
        rows: int, how many images are drawn.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the shapes do not fit.
    """
    factor = max(1, np.shape(x)[1] // np.shape(small)[1])
    return _restored("small", np.kron(small, np.ones((1, factor, factor, 1))), samples, x, rows, title)


def rate_distortion(curves, png=None, title="Rate and distortion"):
    """Draw what files cost against what they lose: to the lower left is better.

    Args:
        curves: dict from names to what `applications.rate_distortion` gives.
        png: float, the rate of PNG, which loses nothing; `None` for none.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`; solid lines are files, dashed ones an ideal coder that knows the prior alone.

    Raises:
        ValueError: if there are no curves.

    Example:

    >>> figure = kvae.plots.rate_distortion({"VAE": kvae.applications.rate_distortion(model, x, [0.5, 1, 2])})
    """
    if not curves:
        raise ValueError("`curves` must hold at least one method. Received: none")
    figure = new_figure(10, 7, title)
    axes = figure.add_subplot()
    for (name, curve), color, marker in zip(curves.items(), COLORS, "os^DvPX<>*", strict=False):
        style = {"color": color, "marker": marker, "markersize": 9, "linewidth": 2.5}
        axes.plot(curve["rate"], curve["mse"], "-", label=f"{name}, file", **style)
        axes.plot(curve["prior_rate"], curve["mse"], "--", label=f"{name}, coded under its prior", **style, alpha=0.6)
    if png is not None:
        axes.axvline(png, color="black", linewidth=2.5, linestyle=":", label="PNG, no loss")
    axes.set_xscale("log")
    axes.set_xlabel("bits a pixel", fontsize=LABEL_SIZE)
    axes.set_ylabel("mean squared error a pixel", fontsize=LABEL_SIZE)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.set_ylim(bottom=0)
    axes.tick_params(which="both", labelsize=TICK_SIZE)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=TICK_SIZE)
    return figure


def _restored(name, observed, samples, x, rows, title):
    x, samples = np.asarray(x), np.asarray(samples)
    if samples.ndim != 5 or samples.shape[1:] != x.shape or np.shape(observed) != x.shape:
        raise ValueError(
            f"`samples` must have shape (samples, *{x.shape}), like the true images, and what is observed must fit "
            f"them. Received: samples {samples.shape}, observed {np.shape(observed)}"
        )
    shown = samples[:SHOWN_SAMPLES]
    columns = [observed, *shown, samples.mean(axis=0), 2 * samples.std(axis=0), x]
    names = [name, *(f"sample {k}" for k in range(1, len(shown) + 1)), "mean", "2 × spread", "truth"]
    return image_grid(np.stack([column[:rows] for column in columns], axis=1), None, names, title)
