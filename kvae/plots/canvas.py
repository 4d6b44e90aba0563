"""Common parts of all figures: font sizes for a projector, colour-blind safe colours, and saving."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kvae.io import atomic
from kvae.types import Array, ArrayLike, PathLike

ClassNames: TypeAlias = Sequence[str] | Mapping[int, str] | None

# In points. On a figure about 9 inches wide, these are legible from the back of a lecture room.
TITLE_SIZE = 18
LABEL_SIZE = 15
TICK_SIZE = 13
CHARACTER = 0.6 / 72  # average width in inches of a character, per point of font size
DPI = 150
MAX_CLASSES = 20  # in one picture

# Petroff 2021, "Accessible Color Sequences for Data Visualization", the sequence of ten: https://arxiv.org/abs/2107.02270
# Its second grey, which a scatter plot does not tell apart from the first, is a near-black here.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#1b2430",
    "#92dadd",
)


def new_figure(width: float, height: float, title: str | None = None) -> Figure:
    """Return an empty `Figure` of `width` by `height` inches, its title wrapped to the width."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(textwrap.fill(title, int(width / (TITLE_SIZE * CHARACTER))), fontsize=TITLE_SIZE)
    return figure


def text_width(labels: Iterable[object], size: float) -> float:
    """Return the width in inches of the longest line of `labels` at font `size`."""
    return max((len(line) for label in labels for line in str(label).split("\n")), default=0) * size * CHARACTER


def some_classes(classes: ArrayLike) -> Array:
    """Return at most `MAX_CLASSES` of the distinct `classes` `(n,)`, evenly spaced: more would not be legible."""
    classes = np.unique(np.asarray(classes))
    return classes[np.linspace(0, len(classes) - 1, min(len(classes), MAX_CLASSES)).round().astype(int)]


def names_of(classes: Iterable[Any], class_names: ClassNames = None) -> list[str]:
    """Return what to call each of `classes`: its entry in `class_names`, of at most 20 letters, or its number."""
    return [str(k) if class_names is None else str(class_names[k])[:20] for k in classes]


def number(value: float, digits: int = 1) -> str:
    """Format `value` with a typographic minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def save(figure: Figure, path: PathLike) -> Path:
    """Save a figure as PNG, atomically: readers see either the old file or the complete new one.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: str or path of the file; its folder is created.

    Returns:
        The path as a `pathlib.Path`.

    Raises:
        FileError: if the folder cannot be created or written to.

    Example:

    >>> path = kvae.plots.save(kvae.plots.sample_grid(model.generate(64, seed=0)), "runs/samples.png")
    """
    path = Path(path)
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside:
        write_png(figure, aside)
    return path


def write_png(figure: Figure, file: PathLike | IO[bytes]) -> None:
    """Write a figure as PNG: the pixels of `figure.savefig`, in two thirds of its time.

    Args:
        figure: `matplotlib.figure.Figure`.
        file: path, or a binary file to write to.
    """
    shown_on = figure.canvas
    try:
        # `savefig` draws once for the layout alone, and again; a layout engine does its work while it is drawn.
        FigureCanvasAgg(figure).print_png(file)
    finally:
        figure.set_canvas(shown_on)


def stack_equal(rows: Mapping[str, ArrayLike], kind: str) -> Array:
    """Stack named rows of equal shape, `kind` in errors, into an array `(rows, *shape)`."""
    arrays = {name: np.asarray(row) for name, row in rows.items()}
    first, *_ = (row.shape for row in arrays.values())
    for name, row in arrays.items():
        if row.shape != first:
            raise ValueError(
                f"All rows must have the shape of the original {kind}, {first}. Received: {name} {row.shape}"
            )
    return np.stack(list(arrays.values()))
