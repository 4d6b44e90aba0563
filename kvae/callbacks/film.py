"""A film of the training: one picture per epoch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure

from kvae import checks
from kvae.callbacks.pictures import Picture
from kvae.io import atomic
from kvae.types import PathLike

DPI = 80  # about 700 pixels wide; a film of 100 frames then takes about 150 MB of memory and a few MB on disk


class Film(keras.callbacks.Callback):
    """Save the pictures of a callback as the frames of an animated GIF, one per epoch.

    The film is written after training as `<folder>/<name>.gif`, with the folder and name of the picture. Scatter plots
    have the same axes in all frames. The picture's own PNG files are written only if it is passed to `fit` as well.

    Args:
        picture: a `Picture`, such as `SampleGrid`, `LatentScatter` or `LatentTraversal`. Its `every` is the number of
            epochs between frames; the last epoch is always a frame.
        frames_per_second: int.

    Raises:
        ValueError: if `picture` is not a `Picture`, or `frames_per_second` not a positive integer; before training,
            if the film would have a single frame; also as for the picture.
        FileError: before training, if the folder cannot be created or written to.

    Example:

    >>> film = kvae.callbacks.Film(kvae.callbacks.SampleGrid("runs/first"))
    >>> history = model.fit(data.x_train, epochs=30, callbacks=[film])  # runs/first/sample_grid.gif
    """

    def __init__(self, picture: Picture, frames_per_second: int = 4) -> None:
        super().__init__()
        if not isinstance(picture, Picture):
            raise ValueError(
                '`picture` must be a callback that draws one, such as kvae.callbacks.SampleGrid("runs/first"). '
                f"Received: {picture!r}"
            )
        self.picture = picture
        self.frames_per_second = checks.positive_integer(frames_per_second, "frames_per_second")

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self.picture.set_model(model)

    @property
    def path(self) -> Path:
        """Where the film is written."""
        return Path(self.picture.folder) / f"{self.picture.name}.gif"

    def on_train_begin(self, logs: Any = None) -> None:
        self._frames: list[Figure] = []
        self._first: int | None = None
        atomic.make_folder(self.picture.folder)
        self.picture.figure(0)  # raises before the first epoch if the picture does not suit the model

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._first is not None:
            return
        self._first = epoch
        epochs = self.params["epochs"]
        frames = sum(self._is_frame(each) for each in range(epoch + 1, epochs + 1))
        if frames < 2:
            raise ValueError(
                "Film needs at least two frames: train for more epochs, or lower the picture's `every`. "
                f"Received: {frames} frame in epochs {epoch + 1} to {epochs} with every={self.picture.every}"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._is_frame(epoch + 1):
            self._frames.append(self.picture.figure(epoch + 1))

    def on_train_end(self, logs: Any = None) -> None:
        if len(self._frames) < 2:
            warnings.warn(
                f"Film: training was stopped before the second frame, so that {self.path} is not written. "
                f"Received: {len(self._frames)} frames",
                UserWarning,
                stacklevel=2,
            )
        else:
            write(self._frames, self.path, self.frames_per_second)
        self._frames = []

    def _is_frame(self, epoch):
        return epoch % self.picture.every == 0 or epoch == self.params["epochs"]


def write(figures: Sequence[Figure], path: PathLike, frames_per_second: int) -> None:
    """Write figures as an animated GIF with Matplotlib's `PillowWriter`, atomically.

    Args:
        figures: the frames. All get the size of the first, and plots of points the same limits.
        path: str or path of the file; its folder must exist.
        frames_per_second: int.
    """
    from matplotlib.animation import PillowWriter

    _same_limits(figures)
    writer = PillowWriter(fps=frames_per_second)
    with atomic.replacing(path) as aside:
        writer.setup(figures[0], str(aside), dpi=DPI)
        for figure in figures:
            figure.set_size_inches(*figures[0].get_size_inches())
            writer.fig = figure
            writer.grab_frame()
        writer.finish()


def _same_limits(figures):
    """Give plots of points the limits that hold all frames, so that codes move and not the axes."""
    for every in zip(*(figure.axes for figure in figures), strict=False):
        if all(axes.collections for axes in every):
            for name in ("xlim", "ylim"):
                limits = [getattr(axes, f"get_{name}")() for axes in every]
                low, high = min(low for low, _ in limits), max(high for _, high in limits)
                for axes in every:
                    getattr(axes, f"set_{name}")(low, high)
