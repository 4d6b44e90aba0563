"""Plots of tables: the distribution of each feature, or of each column of several kinds."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kvae import checks
from kvae.distributions.column_transformer import is_missing
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure
from kvae.types import ArrayLike

MAX_FEATURES = 16  # panels that fit on a screen
MAX_BARS = 8  # in one of them
BINS = 20
SKEWED = 20  # how much larger than the median the largest number is where a logarithmic scale is used
COLUMNS = 4
STYLES: dict[str, dict[str, Any]] = {  # of a histogram, by what it shows
    "data": {"color": COLORS[0], "histtype": "stepfilled", "alpha": 0.45},
    "samples": {"color": COLORS[2], "histtype": "step"},
}


def feature_histograms(
    x: ArrayLike,
    samples: ArrayLike,
    feature_names: Sequence[str] | None = None,
    title: str = "Data and samples",
) -> Figure:
    """Plot the histogram of each feature of a table above that of generated samples, each with an area of 1.

    Features from 0 up whose values spread over orders of magnitude, such as counts, are on a logarithmic scale.

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
    if x.shape[1] > MAX_FEATURES:
        title += f": the first {MAX_FEATURES} of {x.shape[1]}"
    figure, panels = _panels(x.shape[1], title)
    for feature, axes in enumerate(panels):
        _histograms(axes, x[~np.isnan(x[:, feature]), feature], samples[:, feature])
        name = f"feature {feature}" if feature_names is None else str(feature_names[feature])[:24]
        axes.set_title(name, fontsize=LABEL_SIZE)
    return _with_legend(figure, panels[0])


def column_histograms(
    table: Mapping[str, Any], samples: Mapping[str, Any], title: str = "Columns of data and samples"
) -> Figure:
    """Plot the distribution of each column of a table and of generated rows, whatever kind of column it is.

    Categories, yes and no, and numbers of at most 8 different values are drawn as bars, the share of each value: the 8
    that are most frequent in the table. Other numbers are drawn as histograms. Missing cells are left out; their share
    is in the title of the panel. As in `feature_histograms`, only the marginal distributions are shown.

    Args:
        table: `pandas.DataFrame`, or dict from names to cells `(n,)`; `None` or NaN is missing. The first 16 columns
            are plotted.
        samples: generated rows with the same columns, such as `to_frame(model.generate(1000), transformer, frame)`.
        title: str.

    Returns:
        A `matplotlib.figure.Figure` with one axes per column.

    Raises:
        ValueError: if there are no columns, one of them is missing in `samples`, or one has no cell that is known.

    Example:

    >>> table = {"age": np.linspace(20, 60, 50), "city": ["Bonn", "Kiel"] * 20 + [None] * 10}
    >>> figure = kvae.plots.column_histograms(table, {"age": [31.5, 40.0], "city": ["Kiel", "Kiel"]})
    >>> figure.axes[1].get_title()
    'city, 20% missing'
    """
    names = list(table)
    absent = [name for name in names if name not in samples]
    if not names or absent:
        what = f"samples without {', '.join(map(repr, absent))}" if names else "a table without columns"
        raise ValueError(f"`samples` must have the columns of `table`, at least one. Received: {what}")
    figure, panels = _panels(len(names), title)
    for name, axes in zip(names, panels, strict=False):
        both = [_known(cells[name], f"{role}[{name!r}]") for role, cells in (("table", table), ("samples", samples))]
        values = set(both[0]) | set(both[1])
        numbers = all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values)
        if not numbers:
            _bars_of_words(axes, *both)
        elif len(values) <= MAX_BARS:
            _bars_of_numbers(axes, sorted(values), *both)
        else:
            _histograms(axes, *(np.array(cells, "float64") for cells in both))
        gaps = 1 - len(both[0]) / len(table[name])
        axes.set_title(f"{str(name)[:24]}{f', {gaps:.0%} missing' if gaps else ''}", fontsize=LABEL_SIZE)
    return _with_legend(figure, panels[0])


def _panels(count, title):
    """A figure and its axes, one for each of the first `MAX_FEATURES` features."""
    count = min(count, MAX_FEATURES)
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = new_figure(max(3.2 * columns, 5), 2.3 * rows + 1.1, title)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[count:]:
        axes.remove()
    for axes in panels[:count]:
        axes.tick_params(labelsize=TICK_SIZE)
    return figure, panels[:count]


def _with_legend(figure, axes):
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=LABEL_SIZE, frameon=False)
    return figure


def _histograms(axes, data, samples):
    """Histograms of numbers, each with an area of 1; of log(1 + x) where they spread over orders of magnitude."""
    both = np.concatenate([data, samples])
    whole = np.array_equal(both, np.rint(both))
    skewed = both.min() >= 0 and both.max() > SKEWED * (1 + np.median(both))
    if skewed:
        data, samples, both = map(np.log1p, (data, samples, both))
    bins = np.histogram_bin_edges(both, BINS)
    if whole:  # a bin without a whole number would be an empty one, two of them in every other bin a comb
        if skewed:
            starts = np.unique(np.floor(np.expm1(bins[:-1])))
            bins = np.log1p(np.append(starts, np.rint(np.expm1(both.max())) + 1) - 0.5)
        else:
            width = max(1, math.ceil((both.max() - both.min() + 1) / BINS))
            bins = np.arange(both.min() - 0.5, both.max() + width + 0.5, width)
    for values, label in ((data, "data"), (samples, "samples")):
        if len(values):
            axes.hist(values, bins, density=True, label=label, linewidth=2.5, **STYLES[label])
    if skewed:
        decades = int(bins[-1] / np.log(10))
        ticks = [0, *(10**power for power in range(0, decades + 1, max(1, -(-decades // 3))))]
        axes.set_xticks(np.log1p(ticks), [f"{tick:g}" for tick in ticks])
    else:
        axes.locator_params(nbins=4)
    axes.set_yticks([])


def _bars_of_words(axes, data, samples):
    """Horizontal bars beside their names, the most frequent value on top."""
    counts = collections.Counter(data)
    counts.update(dict.fromkeys(samples, 0))
    values = [value for value, _ in counts.most_common(MAX_BARS)]
    places = np.arange(len(values), dtype="float64")
    for cells, label, shift in ((data, "data", -0.2), (samples, "samples", 0.2)):
        axes.barh(places + shift, _shares(values, cells), 0.4, label=label, **_filled(label))
    axes.set_yticks(places, [str(value)[:12] for value in values])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, 0))


def _bars_of_numbers(axes, values, data, samples):
    """Bars at the numbers themselves."""
    width = 0.4 * min(np.diff(values), default=1.0)
    for cells, label, shift in ((data, "data", -width / 2), (samples, "samples", width / 2)):
        axes.bar(np.array(values) + shift, _shares(values, cells), width, label=label, **_filled(label))
    axes.set_xticks(values, [f"{value:g}".replace("-", "−") for value in values])
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0))


def _filled(label):
    """The colours of bars, as those of histograms."""
    color = COLORS[0] if label == "data" else COLORS[2]
    return {"facecolor": (color, 0.45 if label == "data" else 0.0), "edgecolor": color, "linewidth": 2.0}


def _shares(values, cells):
    counts = collections.Counter(cells)
    return [counts[value] / len(cells) for value in values]


def _known(cells, name):
    """The cells of a column that are not missing, as a list."""
    known = [cell for cell in np.asarray(cells, object).tolist() if not is_missing(cell)]
    if not known:
        raise ValueError(f"`{name}` must have at least one known cell: drop the column. Received: {len(cells)} cells")
    return known
