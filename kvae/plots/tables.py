"""Plots of tables: the distribution of each feature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kvae import checks
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure
from kvae.types import ArrayLike

MAX_FEATURES = 16  # panels that fit on a screen
BINS = 20
COLUMNS = 4


def feature_histograms(
    x: ArrayLike,
    samples: ArrayLike,
    feature_names: Sequence[str] | None = None,
    title: str = "Data and samples",
) -> Figure:
    """Plot the histogram of each feature of a table above that of generated samples, each with an area of 1.

    What the features have to do with one another does not show here: a model may match all histograms and still draw
    impossible combinations.

    Args:
        x: array `(n, features)`, NaN where a value is missing. The first 16 features are plotted.
        samples: array `(m, features)`, such as `kvae.evaluation.draw(model, 1000)`. What `model.generate` gives are
            means, which spread less than the data.
        feature_names: one string per feature; `None` for their numbers.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` with one axes per feature.

    Raises:
        ValueError: if the arrays are not finite tables of the same features, or there is not one name per feature.

    Example:

    >>> table = np.random.default_rng(0).normal(size=(500, 3))
    >>> figure = kvae.plots.feature_histograms(table, table[:100], ["age", "height", "weight"])
    """
    x = np.asarray(x)
    x = checks.array(x, x.shape[1:2] or ("features",), "x", may_be_missing=True)
    samples = checks.array(samples, x.shape[1:], "samples")
    if feature_names is not None and len(feature_names) != x.shape[1]:
        raise ValueError(f"There must be one name per feature, here {x.shape[1]}. Received: {len(feature_names)} names")
    count = min(x.shape[1], MAX_FEATURES)
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = new_figure(max(3.2 * columns, 5), 2.3 * rows + 1.1, title)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for feature, axes in enumerate(panels):
        if feature >= count:
            axes.remove()
            continue
        both = x[~np.isnan(x[:, feature]), feature], samples[:, feature]
        bins = np.histogram_bin_edges(np.concatenate(both), BINS)
        for values, color, label in zip(both, (COLORS[0], COLORS[2]), ("data", "samples"), strict=True):
            if not len(values):
                continue
            filled = {"histtype": "stepfilled", "alpha": 0.45} if label == "data" else {"histtype": "step"}
            axes.hist(values, bins, density=True, color=color, label=label, linewidth=2.5, **filled)
        name = f"feature {feature}" if feature_names is None else str(feature_names[feature])[:24]
        axes.set_title(name, fontsize=LABEL_SIZE)
        axes.tick_params(labelsize=TICK_SIZE)
        axes.locator_params(nbins=4)
        axes.set_yticks([])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=LABEL_SIZE, frameon=False)
    return figure
