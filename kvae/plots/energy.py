"""Energy surfaces over the plane."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from kvae import checks, energy
from kvae.plots.canvas import CHARACTER, LABEL_SIZE, TICK_SIZE, new_figure
from kvae.types import Array, ArrayLike

PANEL = 3.7  # inches
COLUMNS = 3  # of panels without given rows
SMALL_PANEL = 3.3  # inches, in given rows, of which there may be many
ROW_LABEL = 2.4  # inches beside a row
CAPTION_WIDTH = 33  # characters per line of a caption
LEVELS = np.linspace(0, 1, 11)
POINTS = 300  # more would hide the surface


def energy_surfaces(
    models: Mapping[str, Any],
    x: ArrayLike,
    captions: Mapping[str, str] | None = None,
    limits: energy.Limits | None = None,
    n: int = 120,
    title: str = "Energy E(x): low on the data?",
    rows: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Plot the energy of each model over the plane, one panel per model, together with the data.

    Energies differ in unit and range, so the colour shows not E but its rank: the fraction of the box with a lower
    energy. Each colour therefore covers a tenth of every panel, which makes it possible to compare where the models
    have their lowest tenth.

    Args:
        models: dict from names to models of points `(2,)`, as for `kvae.energy.energy`.
        x: data `(m, 2)`; at most 300 evenly spaced rows are plotted.
        captions: dict from names to captions below the name, such as the strategy (long lines are wrapped); `None` for
            none.
        limits: `((left, right), (bottom, top))`; `None` for `kvae.energy.box(x)`.
        n: int, grid points along each side.
        title: str.
        rows: dict from labels to the names of the models in that row, such as those of one strategy; `None` for rows of
            three, without labels.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there is no model, the rows do not hold each model once, or a model has no energy or does not
            model points in the plane.

    Example:

    >>> x = kvae.toy.spiral(500, seed=0)
    >>> models = {f"{k} centres": kvae.baselines.KMeans(k).fit(x) for k in (5, 20)}
    >>> figure = kvae.plots.energy_surfaces(models, x)
    """
    if not models:
        raise ValueError(f"`models` must contain at least one named model. Received: {models!r}")
    x = checks.array(x, (2,), "x")
    limits = energy.box(x) if limits is None else limits
    captions = captions or {}
    layout = _layout(models, rows)
    columns = max(len(names) for _, names in layout)
    panel, beside = (PANEL, 0.0) if rows is None else (SMALL_PANEL, ROW_LABEL)
    figure = new_figure(beside + panel * columns + 1.2, (panel + 0.8) * len(layout) + 0.8, title)
    shown = x[np.linspace(0, len(x) - 1, min(POINTS, len(x))).astype(int)]
    places = [(i * columns + j, name) for i, (_, names) in enumerate(layout) for j, name in enumerate(names)]
    for place, name in places:
        axes = figure.add_subplot(len(layout), columns, place + 1)
        horizontal, vertical, energies = energy.energy_surface(models[name], limits, n)
        filled = axes.contourf(horizontal, vertical, lower_share(energies), LEVELS, cmap=colormaps["viridis"])
        axes.scatter(shown[:, 0], shown[:, 1], s=9, color="white", edgecolors="black", linewidths=0.5)
        axes.set(aspect="equal", xlim=limits[0], ylim=limits[1], xticks=[], yticks=[])
        caption = [textwrap.fill(line, CAPTION_WIDTH) for line in captions.get(name, "").splitlines()]
        room = axes.set_title("\n".join([" ", *caption]), fontsize=TICK_SIZE)  # the first line is reserved for the name
        heading = axes.annotate(
            name, (0.5, 1), xycoords=room, ha="center", va="top", fontsize=LABEL_SIZE, fontweight="bold"
        )
        heading.set_in_layout(False)  # its space is reserved, and its position is unknown before the first drawing
        if rows is not None and place % columns == 0:
            label = textwrap.fill(layout[place // columns][0], int(ROW_LABEL / (LABEL_SIZE * CHARACTER)))
            axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=LABEL_SIZE, labelpad=12)
    bar = figure.colorbar(filled, ax=figure.axes, location="right", ticks=LEVELS[::2], aspect=max(20, 8 * len(layout)))
    bar.set_label("fraction of the box with lower energy", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    return figure


def _layout(models, rows):
    """Pairs of a label and the names of the models in that row."""
    names = list(models)
    if rows is None:
        return [("", names[i : i + COLUMNS]) for i in range(0, len(names), COLUMNS)]
    layout = [(label, list(row)) for label, row in rows.items()]
    if not all(row for _, row in layout) or sorted(name for _, row in layout for name in row) != sorted(names):
        raise ValueError(f"`rows` must hold each name of `models`, {names}, once. Received: {dict(layout)}")
    return layout


def lower_share(energies: Array) -> Array:
    """Return, for each entry of `energies`, the fraction of entries that are lower, as an array of the same shape."""
    return np.searchsorted(np.sort(energies, axis=None), energies) / energies.size
