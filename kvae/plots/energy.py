"""Energy surfaces over the plane."""

import textwrap

import numpy as np
from matplotlib import colormaps

from kvae import checks, energy
from kvae.plots.canvas import LABEL_SIZE, TICK_SIZE, new_figure

PANEL = 3.7  # inches
CAPTION_WIDTH = 33  # characters of a caption's line
LEVELS = np.linspace(0, 1, 11)
POINTS = 300  # more of them would hide the surface


def energy_surfaces(models, x, captions=None, limits=None, n=120, title="Energy E(x): low on the data?"):
    """Draw the energy of each model over the plane, a panel a model, with the data on it.

    Energies differ in unit and range, so what is coloured is not E but its rank: the share of the box that has a lower
    energy. Each colour therefore covers a tenth of every panel, and what can be compared is where a model puts its
    lowest tenth.

    Args:
        models: dict from names to models of points `(2,)`, as `kvae.energy.energy` takes them.
        x: data `(m, 2)`; at most 300 points, evenly taken, are drawn.
        captions: dict from names to a text under the name, for example the strategy (long lines are wrapped); `None`
            for none.
        limits: `((left, right), (bottom, top))`; `None` for `kvae.energy.box(x)`.
        n: int, grid points along a side.
        title: str.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there is no model, or one has no energy or is not of the plane.

    Example:

    >>> x = kvae.toy.spiral(500, seed=0)
    >>> models = {f"{k} centres": kvae.baselines.KMeans(k).fit(x) for k in (5, 20)}
    >>> figure = kvae.plots.energy_surfaces(models, x)
    """
    if not models:
        raise ValueError(f"`models` must hold at least one model under its name. Received: {models!r}")
    x = checks.array(x, (2,), "x")
    limits = energy.box(x) if limits is None else limits
    captions = captions or {}
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    figure = new_figure(PANEL * columns + 1.2, (PANEL + 0.8) * rows + 0.8, title)
    shown = x[np.linspace(0, len(x) - 1, min(POINTS, len(x))).astype(int)]
    for place, (name, model) in enumerate(models.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        horizontal, vertical, energies = energy.energy_surface(model, limits, n)
        filled = axes.contourf(horizontal, vertical, lower_share(energies), LEVELS, cmap=colormaps["viridis"])
        axes.scatter(*shown.T, s=9, color="white", edgecolors="black", linewidths=0.5)
        axes.set(aspect="equal", xlim=limits[0], ylim=limits[1], xticks=[], yticks=[])
        caption = [textwrap.fill(line, CAPTION_WIDTH) for line in captions.get(name, "").splitlines()]
        room = axes.set_title("\n".join([" ", *caption]), fontsize=TICK_SIZE)  # its first line is left to the name
        heading = axes.annotate(
            name, (0.5, 1), xycoords=room, ha="center", va="top", fontsize=LABEL_SIZE, fontweight="bold"
        )
        heading.set_in_layout(False)  # its room is there, and before the first drawing its place is not
    bar = figure.colorbar(filled, ax=figure.axes, location="right", ticks=LEVELS[::2])
    bar.set_label("share of the box with a lower energy than here", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    return figure


def lower_share(energies):
    """The share of all entries of `energies` that are lower, for each entry: an array of the same shape, in [0, 1)."""
    return np.searchsorted(np.sort(energies, axis=None), energies) / energies.size
