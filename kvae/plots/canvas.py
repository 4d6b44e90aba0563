"""What all pictures share: sizes that a projector can show, colours that everybody can tell apart, the way to disk."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from kvae.io import atomic

# Points; a figure is about 9 inches wide, so that these are legible from the back of a room.
TITLE_SIZE = 18
LABEL_SIZE = 15
TICK_SIZE = 13
CHARACTER = 0.6 / 72  # inches a character and point of font size, on average
DPI = 150

# Petroff 2021, "Accessible Color Sequences for Data Visualization", the sequence of ten: https://arxiv.org/abs/2107.02270
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)


def new_figure(width, height, title=None):
    """Return an empty `Figure` of `width` by `height` inches, its title wrapped to the width."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(textwrap.fill(title, int(width / (TITLE_SIZE * CHARACTER))), fontsize=TITLE_SIZE)
    return figure


def text_width(labels, size):
    """Inches that the longest line of `labels` takes at font `size`."""
    return max((len(line) for label in labels for line in str(label).split("\n")), default=0) * size * CHARACTER


def number(value, digits=1):
    """Return `value` with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def save(figure, path):
    """Write a figure as PNG; a reader sees the old file or the new one, never half of it.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: str or path of the file; its folder is created.

    Returns:
        The path as a `pathlib.Path`.

    Raises:
        FileError: if the folder can be neither made nor written to.

    Example:

    >>> kvae.plots.save(kvae.plots.sample_grid(model.generate(64, seed=0)), "runs/samples.png")
    """
    path = Path(path)
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside:
        figure.savefig(aside, format="png")
    return path
