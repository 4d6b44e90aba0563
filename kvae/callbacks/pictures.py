"""Callbacks that draw while a model trains."""

import time

import keras
import numpy as np

from kvae import baselines, checks, plots
from kvae.io import atomic

MAX_POINTS = 2000  # in a scatter; more hide one another


class Picture(keras.callbacks.Callback):
    """Base of the callbacks that draw: subclasses set `name` and write `figure(epoch)`.

    At the end of each `every`-th epoch, and after training unless its last epoch was one of them, the figure goes to
    `<folder>/<name>_epoch_<epoch>.png`, epochs counted from 1. It is drawn once before training, and thrown away, so
    that a folder, a model or data that do not fit fail before the first epoch and not after it.

    Args:
        folder: str or path, where the PNG files go; it is created.
        every: int, epochs from picture to picture.
        tensorboard: log directory that the pictures go to as well; `None` for none.

    Raises:
        ValueError: if `every` is no positive integer.
        ImportError: if `tensorboard` is given and TensorBoard is not installed.
        FileError: before training, if the folder can be neither made nor written to.
    """

    name = "picture"

    def __init__(self, folder, every=1, tensorboard=None):
        super().__init__()
        self.folder = folder
        self.every = checks.positive_integer(every, "every")
        self.tensorboard = tensorboard
        self._writer = None
        if tensorboard is not None:
            _import_tensorboard()

    def figure(self, epoch):
        """The `matplotlib.figure.Figure` after `epoch` finished epochs."""
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        self._finished = self._drawn = None
        self.folder = atomic.make_folder(self.folder)
        self.figure(0)
        if self.tensorboard is not None:
            writer, _, _ = _import_tensorboard()
            self._writer = writer.EventFileWriter(str(self.tensorboard))

    def on_epoch_end(self, epoch, logs=None):
        self._finished = epoch + 1
        if self._finished % self.every == 0:
            self._draw()

    def on_train_end(self, logs=None):
        if self._finished != self._drawn:
            self._draw()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _draw(self):
        path = self.folder / f"{self.name}_epoch_{self._finished:04d}.png"
        figure = self.figure(self._finished)
        plots.save(figure, path)
        self._drawn = self._finished
        if self._writer is None:
            return
        _, event_pb2, summary_pb2 = _import_tensorboard()
        width, height = figure.canvas.get_width_height()
        image = summary_pb2.Summary.Image(
            height=height, width=width, colorspace=4, encoded_image_string=path.read_bytes()
        )
        summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=self.name, image=image)])
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=self._finished, summary=summary))
        self._writer.flush()


class SampleGrid(Picture):
    """Draw samples from the prior, from the same noise each time, so that one sees a picture become clear.

    A VAE gives a square of `columns` by `columns`, a CVAE `columns` images a class, a row each.

    Args:
        folder: str or path.
        every: int, epochs from picture to picture.
        tensorboard: log directory, or `None`.
        columns: int, images in a row.
        labels: for a CVAE: the labels `(n,)` or attribute vectors `(n, k)` to draw, one image each; `None` for every
            class, which needs `num_classes`.
        seed: int, of the noise.

    Raises:
        ValueError: as `Picture`; before training, if the model needs `labels`.

    Example:

    >>> model.fit(x, y, epochs=60, callbacks=[kvae.callbacks.SampleGrid("runs/first", every=10)])
    """

    name = "sample_grid"

    def __init__(self, folder, every=1, tensorboard=None, columns=10, labels=None, seed=0):
        super().__init__(folder, every, tensorboard)
        self.columns = checks.positive_integer(columns, "columns")
        self.labels = labels
        self.seed = seed

    def figure(self, epoch):
        title = f"Samples after epoch {epoch}"
        if not self.model.takes_labels:
            return plots.sample_grid(self.model.generate(self.columns**2, seed=self.seed), title=title)
        labels = self.labels
        if labels is None and self.model.num_classes is not None:
            labels = np.repeat(np.arange(self.model.num_classes), self.columns)
        return plots.sample_grid(self.model.generate(labels=labels, seed=self.seed), labels, title)


class ReconstructionGrid(Picture):
    """Draw images above their reconstructions.

    Args:
        folder: str or path.
        x: images `(n, *image_shape)`.
        y: their labels, for a CVAE.
        count: int, how many are drawn, from the first on.
        every: int, epochs from picture to picture.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as `Picture`; before training, if images or labels do not fit the model.

    Example:

    >>> model.fit(x, epochs=60, callbacks=[kvae.callbacks.ReconstructionGrid("runs/first", x_test)])
    """

    name = "reconstruction_grid"

    def __init__(self, folder, x, y=None, count=10, every=1, tensorboard=None):
        super().__init__(folder, every, tensorboard)
        self.x, self.y = _select(x, y, slice(checks.positive_integer(count, "count")))

    def figure(self, epoch):
        reconstruction = self.model.reconstruct(self.x, self.y)
        return plots.reconstruction_grid(self.x, reconstruction, title=f"Reconstructions after epoch {epoch}")


class LatentScatter(Picture):
    """Draw the posterior means of images as points, coloured by class.

    Args:
        folder: str or path.
        x: images `(n, *image_shape)`; of more than 2,000, evenly spaced ones are drawn.
        y: their labels `(n,)` for the colours; a CVAE also encodes with them.
        every: int, epochs from picture to picture.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as `Picture`; before training, if images or labels do not fit the model.

    Example:

    >>> model.fit(x, epochs=60, callbacks=[kvae.callbacks.LatentScatter("runs/first", x_test, y_test, every=5)])
    """

    name = "latent_scatter"

    def __init__(self, folder, x, y=None, every=1, tensorboard=None):
        super().__init__(folder, every, tensorboard)
        self.x, self.y = _select(x, y, _spaced_rows(len(x)))

    def figure(self, epoch):
        z = self.model.encode(self.x, self.y)
        return plots.latent_scatter(z, self.y, title=f"Latent codes after epoch {epoch}")


class LatentManifold(Picture):
    """Draw what a two-dimensional latent space decodes to.

    Args:
        folder: str or path.
        label: for a CVAE the class, or attribute vector `(k,)`, to decode under; `None` for class 0.
        n: int, images along each side.
        every: int, epochs from picture to picture.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as `Picture`; before training, if the model has not exactly two latent dimensions.

    Example:

    >>> model.fit(x, epochs=60, callbacks=[kvae.callbacks.LatentManifold("runs/first", n=20)])
    """

    name = "latent_manifold"

    def __init__(self, folder, label=None, n=15, every=1, tensorboard=None):
        super().__init__(folder, every, tensorboard)
        self.label = label
        self.n = checks.positive_integer(n, "n")

    def figure(self, epoch):
        return plots.latent_manifold(self.model, self.n, self.label, f"Learned manifold after epoch {epoch}")


class PCABaseline(Picture):
    """Draw the model beside PCA of the same latent size, and log both reconstruction errors.

    PCA is fitted once, before training. Each epoch's logs get `reconstruction_mse` and `pca_reconstruction_mse`, the
    mean squared error a pixel over `x_test`, so `History`, and a `CSVLogger` that comes later in the list, hold them.

    Args:
        folder: str or path.
        x_train: images `(n, *image_shape)` that PCA is fitted to.
        x_test: images `(m, *image_shape)` that both reconstruct.
        y_test: labels of `x_test` for the colours; a CVAE also encodes and decodes with them.
        every: int, epochs from picture to picture.
        tensorboard: log directory, or `None`.

    Raises:
        ValueError: as `Picture`; before training, if images or labels do not fit the model.

    Example:

    >>> baseline = kvae.callbacks.PCABaseline("runs/first", data.x_train, data.x_test, data.y_test)
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[baseline])
    >>> history.history["reconstruction_mse"][-1] < history.history["pca_reconstruction_mse"][-1]
    True
    """

    name = "pca_baseline"

    def __init__(self, folder, x_train, x_test, y_test=None, every=1, tensorboard=None):
        super().__init__(folder, every, tensorboard)
        self.x_train = x_train
        self.x_test, self.y_test = _select(x_test, y_test, slice(None))

    def on_train_begin(self, logs=None):
        pca = baselines.PCA(self.model.latent_dim).fit(self.x_train)
        self._pca_z = pca.encode(self.x_test)
        self._pca_reconstruction = pca.decode(self._pca_z)
        self._run_model()
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._run_model()
        logs["reconstruction_mse"] = self._mse(self._reconstruction)
        logs["pca_reconstruction_mse"] = self._mse(self._pca_reconstruction)
        super().on_epoch_end(epoch, logs)

    def figure(self, epoch):
        rows = _spaced_rows(len(self.x_test))
        return plots.beside_pca(
            self.x_test,
            self._reconstruction,
            self._pca_reconstruction,
            self._z[rows],
            self._pca_z[rows],
            None if self.y_test is None else self.y_test[rows],
            title=f"Model beside PCA after epoch {epoch}",
        )

    def _run_model(self):
        self._z = self.model.encode(self.x_test, self.y_test)
        self._reconstruction = self.model.decode(self._z, self.y_test)

    def _mse(self, reconstruction):
        return float(np.mean((reconstruction - self.x_test) ** 2))


def _select(x, y, rows):
    """The `rows` of images and of their labels, if there are any."""
    x = np.asarray(x)
    if y is None:
        return x[rows], None
    checks.same_length(y, len(x), "y")
    return x[rows], np.asarray(y)[rows]


def _spaced_rows(n):
    return np.linspace(0, n - 1, min(n, MAX_POINTS)).astype(int)


def _import_tensorboard():
    """TensorBoard's event writer and its two message modules, without TensorFlow."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer import event_file_writer
    except ImportError as error:
        raise ImportError("`tensorboard` needs TensorBoard: pip install tensorboard") from error
    return event_file_writer, event_pb2, summary_pb2
