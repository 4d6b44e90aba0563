"""In-memory data sets from Keras, scikit-learn and files, and binarization."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import keras
import numpy as np

from kvae import checks
from kvae.data import files, in_memory, mnist_small, shapes, tfrecord
from kvae.io import FileError
from kvae.training import strategy
from kvae.training.orders import Order
from kvae.training.pipelines import pipeline
from kvae.types import Array, PathLike, Shape

if TYPE_CHECKING:
    import tensorflow as tf

Binarization: TypeAlias = Literal["static", "dynamic"] | None

BINARIZATIONS = (None, "static", "dynamic")
KERAS_FILES = {
    "mnist": "datasets/mnist.npz",
    "fashion_mnist": "datasets/fashion-mnist/ (train- and t10k-images and -labels, four .gz files)",
}
DATASETS = ("digits", "mnist_small", "shapes", *KERAS_FILES)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images, series or tables, and labels, split into a training and a test set.

    Attributes:
        x_train: float32 images `(n, height, width, channels)` in [0, 1], or series or tables `(n, features)`, or series
            `(n, time, channels)`.
        y_train: int64 labels `(n,)`, or float32 attributes `(n, k)`; `None` for unlabelled data.
        x_test: as `x_train`.
        y_test: as `y_train`.
        num_classes: number of classes; `None` if there are no class labels.
        name: name of the data set, or of the file without its suffix.
        binarization: `None`, "static" (the arrays are already binary) or "dynamic" (`batches` resamples the pixels).
        class_names: names of the classes, in the order of their labels, if these are text or folders; else `None`.
        factors: int64 `(n, k)`: for each image of `x_train`, the index of the value of each factor that it was drawn
            with, from 0; `None` where they are not known.
        factors_test: the same for `x_test`.
        factor_names: names of the k factors, in the order of the columns.
        rows: where `load_data` has divided the examples of a file of arrays, the index there of each of `x_train`, and
            of each of `x_test`; else `None`.
    """

    x_train: Array
    y_train: Array | None
    x_test: Array
    y_test: Array | None
    num_classes: int | None
    name: str
    binarization: Binarization = None
    class_names: tuple[str, ...] | None = None
    factors: Array | None = None
    factors_test: Array | None = None
    factor_names: tuple[str, ...] | None = None
    rows: tuple[Array, Array] | None = None

    @property
    def image_shape(self) -> Shape:
        """Shape of one example, `(height, width, channels)`, or `(features,)` or `(time, channels)` of others."""
        return self.x_train.shape[1:]

    def batches(
        self,
        subset: Literal["train", "test"] = "train",
        batch_size: int = 128,
        labels: bool = True,
        seed: int = 0,
        first_epoch: int = 0,
        order: Order | None = None,
    ) -> tf.data.Dataset:
        """Return the data as a `tf.data.Dataset` of batches, for `fit` and `evaluate` on any backend.

        With dynamic binarization, each pixel is resampled from x ~ Bernoulli(grey value) every time a batch is drawn
        (Burda et al. 2016). This includes the test images, whose samples depend on the seed alone.

        Args:
            subset: "train" (reshuffled every epoch) or "test" (in order).
            batch_size: int, examples per batch.
            labels: whether to return `(x, y)` rather than `x`.
            seed: int, seed of the shuffling and of the binary pixels.
            first_epoch: int, index of the first epoch. Set it to e to resume training at epoch e.
            order: which training examples an epoch takes, such as `model.epoch_order(...)`; `None` for each once.

        Returns:
            A `tf.data.Dataset`. With several workers, each batch is divided among them. With several JAX devices, each
            batch is split evenly, and the examples left over at the end of an epoch are dropped.

        Example:

        >>> history = cvae.fit(data.batches(batch_size=64), epochs=5)
        """
        if subset not in ("train", "test"):
            raise ValueError(f'`subset` must be "train" or "test". Received: {subset!r}')
        strategy.check_equal_parts(batch_size, "batch_size")
        train = subset == "train"
        x, y = (self.x_train, self.y_train) if train else (self.x_test, self.y_test)
        dynamic = self.binarization == "dynamic"
        return pipeline(
            x,
            y if labels else None,
            batch_size=batch_size,
            shuffle=train,
            dynamic=dynamic,
            seed=seed,
            first_epoch=first_epoch,
            multiple=strategy.num_devices(),
            order=order if train else None,
        )


def load_data(
    name: PathLike = "digits",
    binarization: Binarization = None,
    seed: int = 0,
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        name: "digits" (1,797 real 8×8 digits bundled with scikit-learn, so no download; split 80/20 with seed 0,
            stratified by class), "mnist_small" (10,000 of MNIST's 28×28 digits, included in kvae: 800 training and 200
            test images of each class, with 16 grey levels; CC BY-SA 3.0), "shapes" (13,824 images 64×64 drawn by the
            library from known `factors`, split 80/20 likewise), "mnist" or "fashion_mnist" (through Keras, which
            downloads and caches them), or the path of one of

            - an `.npz` file that contains either `x_train` and `x_test` (or `train` and `test`), with optional
              `y_train` and `y_test`, or one array `images` (or `x`), with optional `labels`, `y` or `attributes`.
              Labels that are text become classes in sorted order, `class_names`.
            - an `.npy` file of images, or a folder of `.npy` files with the names of the arrays of an `.npz` file.
            - a folder with the four IDX files of a data set in MNIST's format ("train-images-idx3-ubyte",
              "t10k-labels-idx1-ubyte" and so on, also with ".gz").
            - a folder of images, or of one subfolder per class, `class_names`, in the formats of `data.stream`. It may
              be divided into the subfolders "train" and "test".
            - a TFRecord file, a folder of them, or a pattern such as "data/train-*.tfrecord", as in `data.stream`.

            What is not divided into training and test images is split 80/20 with seed 0, stratified by class if
            possible. Integers above 1 in arrays of images are divided by 255.

            Arrays `(n, features)` other than `images` are series or tables. They keep their values, which a Gaussian
            likelihood can model: standardise them first. So do series of several channels, `(n, time, channels)`, in an
            `.npz` file as the array `series`, or as `series_train` and `series_test`.

            "shapes" are a square, an ellipse or a heart (the label) in 4 scales, 8 rotations by less than a quarter
            turn and 12 × 12 positions, each combination once: no two images are the same. They take 226 MB.
        binarization: `None` for grey values, "static" for pixels sampled once from Bernoulli(grey value), "dynamic"
            for pixels that `Dataset.batches` resamples every time.
        seed: int, seed of the static binarization.
        image_size: `(height, width)` to which image files and TFRecords are resized. If `None`, all must have one size.
        channels: 1 (grey) or 3 (RGB), to which these are converted. If `None`, all must have the same number.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: if the name is unknown, the file is damaged, its arrays are not images, or there are too few.
        FileError: if the file is missing or unreadable, images have several shapes, only some of them have a label, or
            the data set can be neither found nor downloaded.

    Example:

    >>> kvae.load_data("digits").x_train.shape
    (1437, 8, 8, 1)
    """
    if binarization not in BINARIZATIONS:
        raise ValueError(f"`binarization` must be one of {BINARIZATIONS}. Received: {binarization!r}")
    arrays, stem, others = _read(name, image_size, channels)
    x_train, y_train, x_test, y_test = arrays
    if binarization is not None and x_train.ndim < 4:
        raise ValueError(f"`binarization` must be None for series and tables. Received: {binarization!r}")
    if binarization == "static":
        rng = np.random.default_rng(checks.seed(seed))
        x_train, x_test = binarize(x_train, rng), binarize(x_test, rng)
    class_labels = y_train is not None and y_train.ndim == 1
    num_classes = int(max(y_train.max(), y_test.max())) + 1 if class_labels else None
    return Dataset(x_train, y_train, x_test, y_test, num_classes, stem, binarization, **others)


def binarize(x: Array, rng: np.random.Generator) -> Array:
    """Sample binary pixels, x ~ Bernoulli(grey value).

    Args:
        x: array of probabilities in [0, 1].
        rng: `numpy.random.Generator`.

    Returns:
        float32 array of zeros and ones with the shape of `x`.
    """
    return (rng.random(x.shape, dtype="float32") < x).astype("float32")


def _read(name, image_size, channels):
    """Return `(x_train, y_train, x_test, y_test)`, the data set's name and a dict of its other attributes."""
    path = Path(str(name))
    stem = Path(os.path.abspath(path)).name if path.is_dir() else path.stem
    if has_image_files(name):
        arrays, class_names = in_memory.read(path, image_size, channels)
        return arrays, stem, {"class_names": class_names}
    if (image_size, channels) != (None, None):
        raise ValueError(
            "`image_size` and `channels` must be omitted for arrays, which are not converted. "
            f"Received: image_size={image_size}, channels={channels}"
        )
    if name == "digits":
        return _digits(), name, {}
    if name == "mnist_small":
        return _as_images(*mnist_small.split()), name, {}
    if name == "shapes":
        arrays, (factors, factors_test) = shapes.split()
        known = {"factors": factors, "factors_test": factors_test, "factor_names": shapes.FACTOR_NAMES}
        return arrays, name, {"class_names": shapes.OUTLINES, **known}
    if name in KERAS_FILES:
        return _from_keras(name), name, {}
    if path.suffix.lower() == ".npz":
        arrays, others = files.from_npz(path)
    elif path.suffix.lower() == ".npy" or (path.is_dir() and ".npy" in _endings(path)):
        arrays, others = files.from_npy(path)
    elif path.is_dir():
        arrays, others = files.from_idx(path), {}
    else:
        raise ValueError(
            f"`name` must be one of {list(DATASETS)} or a path to an .npz, .npy or .tfrecord file, or to a folder of "
            f"images, class folders, IDX or TFRecord files. Received: {name!r}"
        )
    return arrays, stem, others


def has_image_files(name: PathLike) -> bool:
    """Whether a name of `load_data` is a path of image files or TFRecord files, rather than of arrays."""
    path = Path(str(name))
    if name in DATASETS:
        return False
    if path.is_dir():
        return not any(ending == ".npy" or ending.endswith("-ubyte") for ending in _endings(path))
    return path.suffix.lower() in tfrecord.SUFFIXES


def _endings(folder):
    """The endings of the files in a folder, without that of gzip."""
    names = (each.name.lower().removesuffix(".gz") for each in folder.iterdir() if not each.name.startswith("."))
    return {".idx-ubyte" if name.endswith("-ubyte") else Path(name).suffix for name in names}


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    return files.split(digits.images / digits.images.max(), digits.target.astype("int64"), "images")[0]


def _from_keras(name):
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()  # as Keras chooses it
    missing = [
        folder for folder in (home / "datasets" / "fashion-mnist", home / "datasets", home) if not folder.exists()
    ]
    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        for folder in missing:  # Keras creates them before it tries to download
            with contextlib.suppress(OSError):  # not there, or not empty
                folder.rmdir()
        raise FileError(
            f"{name} could not be found or downloaded: place {home / KERAS_FILES[name]} manually (or set KERAS_HOME to "
            'a folder that contains it), or use "mnist_small" or "digits", which need no download. '
            f"Received: {str(error).splitlines()[0][:120]}"
        ) from error
    return _as_images(x_train, y_train, x_test, y_test)


def _as_images(x_train, y_train, x_test, y_test):
    return (
        files.images(x_train, "x_train"),
        y_train.astype("int64"),
        files.images(x_test, "x_test"),
        y_test.astype("int64"),
    )
