"""Callbacks that save figures during training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from kvae import checks, plots
from kvae.io import atomic
from kvae.models import capabilities, conditions
from kvae.plots.canvas import ClassNames, some_classes
from kvae.plots.examples import grids_of
from kvae.types import Array, ArrayLike, PathLike

MAX_POINTS = 2000  # in a scatter plot; more would overlap


class Picture(keras.callbacks.Callback):
    """Base class of the callbacks that save figures: subclasses define `name` and `figure(epoch)`.

    Every `every` epochs, and after the last epoch, the figure is saved as `<folder>/<name>_epoch_<epoch>.png`, with
    epochs numbered from 1. It is also drawn once before training, and discarded, so that an unsuitable folder, model or
    data set raises an error before the first epoch rather than after it.

    Args:
        folder: str or path of the folder for the PNG files, which is created.
        every: int, number of epochs between figures.
        tensorboard: str or path of a log directory to which the figures are also written, if any.

    Raises:
        ValueError: if `every` is not a positive integer.
        ImportError: if `tensorboard` is given and TensorBoard is not installed.
        FileError: before training, if the folder cannot be created or written to.
    """

    name = "picture"

    def __init__(self, folder: PathLike, every: int = 1, tensorboard: PathLike | None = None) -> None:
        super().__init__()
        self.folder: PathLike = folder
        self.every = checks.positive_integer(every, "every")
        self.tensorboard = tensorboard
        self._writer = None
        if tensorboard is not None:
            _import_tensorboard()

    def figure(self, epoch: int) -> Figure:
        """Return the `matplotlib.figure.Figure` after `epoch` completed epochs."""
        raise NotImplementedError

    def on_train_begin(self, logs: Any = None) -> None:
        self._finished: int | None = None
        self._drawn: int | None = None
        self.folder = atomic.make_folder(self.folder)
        self.figure(0)
        if self.tensorboard is not None:
            writer, _, _ = _import_tensorboard()
            self._writer = writer.EventFileWriter(str(self.tensorboard))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._finished = epoch + 1
        if (epoch + 1) % self.every == 0:
            self._draw(epoch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        if self._finished is not None and self._finished != self._drawn:
            self._draw(self._finished)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _draw(self, epoch: int) -> None:
        path = Path(self.folder) / f"{self.name}_epoch_{epoch:04d}.png"
        figure = self.figure(epoch)
        plots.save(figure, path)
        self._drawn = epoch
        if self._writer is None:
            return
        _, event_pb2, summary_pb2 = _import_tensorboard()
        width, height = figure.canvas.get_width_height()
        image = summary_pb2.Summary.Image(
            height=height, width=width, colorspace=4, encoded_image_string=path.read_bytes()
        )
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=self.name, image=image)])
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=epoch, summary=summary))
        self._writer.flush()


class SampleGrid(Picture):
    """Plot samples from the prior, always with the same noise, so that successive figures show the same images improve.

    The samples of a VAE form a square of `columns` by `columns` images, those of a CVAE one row of `columns` images per
    class, of 20 classes at most.

    Args:
        folder: str or path.
        every: int, number of epochs between figures.
        tensorboard: log directory, or `None`.
        columns: int, images per row.
        labels: conditions of the images to generate, for a CVAE: labels `(n,)`, attribute vectors `(n, k)`, images, or
            a tuple of these; `None` for all classes, which requires a model with `num_classes`.
        seed: int, seed of the noise.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Raises:
        ValueError: as for `Picture`; also, before training starts, if the model requires `labels`.

    Example:

    >>> pictures = kvae.callbacks.SampleGrid("runs/first", every=10)
    >>> history = cvae.fit(data.x_train, data.y_train, epochs=60, callbacks=[pictures])
    """

    name = "sample_grid"

    def __init__(
        self,
        folder: PathLike,
        every: int = 1,
        tensorboard: PathLike | None = None,
        columns: int = 10,
        labels: Any = None,
        seed: int = 0,
        class_names: ClassNames = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.columns = checks.positive_integer(columns, "columns")
        self.labels = labels
        self.seed = seed
        self.class_names = class_names

    def figure(self, epoch: int) -> Figure:
        title, draw = f"Samples after epoch {epoch}", grids_of(self.model.image_shape).samples
        if not capabilities.has(self.model, "condition"):
            return draw(self.model.generate(self.columns**2, seed=self.seed), title=title)
        labels = self.labels
        if labels is None and capabilities.has(self.model, "classes"):
            labels = np.repeat(some_classes(np.arange(self.model.num_classes)), self.columns)
        images = self.model.generate(labels=labels, seed=self.seed)
        return draw(images, conditions.class_part(labels), title, self.class_names)


class ReconstructionGrid(Picture):
    """Plot images above their reconstructions.

    Args:
        folder: str or path.
        x: images `(n, *image_shape)`.
        y: their labels, for a CVAE.
        count: int, number of images to plot, starting with the first.
        every: int, number of epochs between figures.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as for `Picture`; also, before training starts, if images or labels do not match the model.

    Example:

    >>> pictures = kvae.callbacks.ReconstructionGrid("runs/first", data.x_test)
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[pictures])
    """

    name = "reconstruction_grid"

    def __init__(
        self,
        folder: PathLike,
        x: ArrayLike,
        y: Any = None,
        count: int = 10,
        every: int = 1,
        tensorboard: PathLike | None = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.x, self.y = select(x, y, slice(checks.positive_integer(count, "count")))

    def figure(self, epoch: int) -> Figure:
        reconstruction = self.model.reconstruct(self.x, self.y)
        draw = grids_of(self.model.image_shape).reconstructions
        return draw(self.x, reconstruction, title=f"Reconstructions after epoch {epoch}")


class LatentScatter(Picture):
    """Plot the posterior means of images as points, coloured by class.

    Args:
        folder: str or path.
        x: images `(n, *image_shape)`; at most 2,000 evenly spaced rows are plotted.
        y: their labels `(n,)`, which set the colours; a CVAE also conditions on them.
        every: int, number of epochs between figures.
        tensorboard: log directory, or `None`.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Raises:
        ValueError: as for `Picture`; also, before training starts, if images or labels do not match the model.

    Example:

    >>> pictures = kvae.callbacks.LatentScatter("runs/first", data.x_test, data.y_test, every=20)
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[pictures])
    """

    name = "latent_scatter"

    def __init__(
        self,
        folder: PathLike,
        x: ArrayLike,
        y: Any = None,
        every: int = 1,
        tensorboard: PathLike | None = None,
        class_names: ClassNames = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.class_names = class_names
        x = np.asarray(x)
        self.x, self.y = select(x, y, spaced_rows(len(x)))

    def figure(self, epoch: int) -> Figure:
        z = self.model.encode(self.x, self.y)
        classes = conditions.class_part(self.y)
        return plots.latent_scatter(z, classes, f"Latent codes after epoch {epoch}", self.class_names)


class LatentManifold(Picture):
    """Plot the decoded images over a two-dimensional latent space.

    Args:
        folder: str or path.
        label: the condition of one image, for a CVAE: class, attribute vector `(k,)`, image, or a tuple of these;
            `None` for class 0.
        n: int, images along each side.
        every: int, number of epochs between figures.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as for `Picture`; also, before training starts, if the model does not have two latent dimensions.

    Example:

    >>> history = model.fit(data.x_train, epochs=60, callbacks=[kvae.callbacks.LatentManifold("runs/first", n=20)])
    """

    name = "latent_manifold"

    def __init__(
        self,
        folder: PathLike,
        label: Any = None,
        n: int = 15,
        every: int = 1,
        tensorboard: PathLike | None = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.label = label
        self.n = checks.positive_integer(n, "n")

    def figure(self, epoch: int) -> Figure:
        return plots.latent_manifold(self.model, self.n, self.label, f"Learned manifold after epoch {epoch}")


def select(x: ArrayLike, y: Any, rows: Any) -> tuple[Array, Any]:
    """Select `rows` of images and of their conditions, if any."""
    x = np.asarray(x)
    if y is None:
        return x[rows], None
    for part in y if isinstance(y, tuple) else (y,):
        checks.same_length(np.asarray(part), len(x), "y")
    return x[rows], conditions.take(y, rows)


def spaced_rows(n: int) -> Array | slice:
    """Indices of at most `MAX_POINTS` evenly spaced rows of `n`; a slice if these are all, which copies nothing."""
    return slice(None) if n <= MAX_POINTS else np.linspace(0, n - 1, MAX_POINTS).astype(int)


def _import_tensorboard():
    """Import TensorBoard's event writer and its protocol buffers, without TensorFlow."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer import event_file_writer
    except ImportError as error:
        raise ImportError("`tensorboard` requires TensorBoard: pip install tensorboard") from error
    return event_file_writer, event_pb2, summary_pb2
