"""In-memory data sets from Keras, scikit-learn and `.npz` files, and binarization."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import keras
import numpy as np

from kvae import checks
from kvae.io import FileError, limits, npz
from kvae.training import strategy
from kvae.training.pipelines import pipeline
from kvae.types import Array, PathLike, Shape

if TYPE_CHECKING:
    import tensorflow as tf

Binarization: TypeAlias = Literal["static", "dynamic"] | None

TEST_FRACTION = 0.2  # held out of a data set that has no split of its own
SPLIT_SEED = 0
BINARIZATIONS = (None, "static", "dynamic")
KERAS_FILES = {
    "mnist": "datasets/mnist.npz",
    "fashion_mnist": "datasets/fashion-mnist/ (train- and t10k-images and -labels, four .gz files)",
}
DATASETS = ("digits", *KERAS_FILES)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images and labels, split into a training and a test set.

    Attributes:
        x_train: float32 `(n, height, width, channels)` in [0, 1].
        y_train: int64 labels `(n,)`, or float32 attributes `(n, k)`; `None` for unlabelled data.
        x_test: as `x_train`.
        y_test: as `y_train`.
        num_classes: number of classes; `None` if there are no class labels.
        name: name of the data set, or of the file without its suffix.
        binarization: `None`, "static" (the arrays are already binary) or "dynamic" (`batches` resamples the pixels).
    """

    x_train: Array
    y_train: Array | None
    x_test: Array
    y_test: Array | None
    num_classes: int | None
    name: str
    binarization: Binarization = None

    @property
    def image_shape(self) -> Shape:
        """Shape of one example, `(height, width, channels)`."""
        return self.x_train.shape[1:]

    def batches(
        self,
        subset: Literal["train", "test"] = "train",
        batch_size: int = 128,
        labels: bool = True,
        seed: int = 0,
        first_epoch: int = 0,
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
        )


def load_data(name: PathLike = "digits", binarization: Binarization = None, seed: int = 0) -> Dataset:
    """Load a data set.

    Args:
        name: "digits" (1,797 real 8×8 digits bundled with scikit-learn, so no download; split 80/20 with seed 0,
            stratified by class), "mnist" or "fashion_mnist" (through Keras, which downloads and caches them), or the
            path of an `.npz` file. The file must contain either `x_train` and `x_test` (or `train` and `test`), with
            optional `y_train` and `y_test`, or one array `images` (or `x`), with optional `labels`, `y` or
            `attributes`, which is split 80/20 with seed 0. Integer images with values above 1 are divided by 255.
        binarization: `None` for grey values, "static" for pixels sampled once from Bernoulli(grey value), "dynamic"
            for pixels that `Dataset.batches` resamples every time.
        seed: int, seed of the static binarization.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: if the name is unknown, the file is damaged, or its arrays are not images.
        FileError: if the file is missing, or the data set can be neither found nor downloaded.

    Example:

    >>> kvae.load_data("digits").x_train.shape
    (1437, 8, 8, 1)
    """
    if binarization not in BINARIZATIONS:
        raise ValueError(f"`binarization` must be one of {BINARIZATIONS}. Received: {binarization!r}")
    arrays, stem = _read(name)
    x_train, y_train, x_test, y_test = arrays
    if binarization == "static":
        rng = np.random.default_rng(seed)
        x_train, x_test = binarize(x_train, rng), binarize(x_test, rng)
    class_labels = y_train is not None and y_train.ndim == 1
    num_classes = int(max(y_train.max(), y_test.max())) + 1 if class_labels else None
    return Dataset(x_train, y_train, x_test, y_test, num_classes, stem, binarization)


def binarize(x: Array, rng: np.random.Generator) -> Array:
    """Sample binary pixels, x ~ Bernoulli(grey value).

    Args:
        x: array of probabilities in [0, 1].
        rng: `numpy.random.Generator`.

    Returns:
        float32 array of zeros and ones with the shape of `x`.
    """
    return (rng.random(x.shape, dtype="float32") < x).astype("float32")


def _read(name):
    """Return `(x_train, y_train, x_test, y_test)` and the data set's name."""
    if name == "digits":
        return _digits(), name
    if name in KERAS_FILES:
        return _from_keras(name), name
    path = Path(str(name))
    if path.suffix != ".npz":
        raise ValueError(f"`name` must be one of {list(DATASETS)} or a path to an .npz file. Received: {name!r}")
    return _from_npz(path), path.stem


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    return _split(_images(digits.images / digits.images.max(), "images"), digits.target.astype("int64"))


def _from_keras(name):
    module = getattr(keras.datasets, name)
    try:
        (x_train, y_train), (x_test, y_test) = module.load_data()
    except Exception as error:
        home = Path(keras.config.keras_home() if hasattr(keras.config, "keras_home") else Path.home() / ".keras")
        raise FileError(
            f"{name} could not be found or downloaded: place {home / KERAS_FILES[name]} manually (or set KERAS_HOME to "
            'a folder that contains it), or use "digits", which needs no download. '
            f"Received: {str(error).splitlines()[0][:120]}"
        ) from error
    return (
        _images(x_train, "x_train"),
        y_train.astype("int64"),
        _images(x_test, "x_test"),
        y_test.astype("int64"),
    )


def _from_npz(path):
    arrays = npz.read(path)
    train, test = (_first(arrays, f"x_{part}", part) for part in ("train", "test"))
    if train is not None and test is not None:
        x_train, x_test = _images(train, "x_train"), _images(test, "x_test")
        if x_train.shape[1:] != x_test.shape[1:]:
            raise ValueError(
                f"{path}: training and test images must have the same shape. Received: {x_train.shape}, {x_test.shape}"
            )
        y_train, y_test = (_labels(arrays.get(f"y_{part}")) for part in ("train", "test"))
        if y_train is None or y_test is None:
            y_train = y_test = None
        else:
            checks.same_length(y_train, len(x_train), "y_train")
            checks.same_length(y_test, len(x_test), "y_test")
            if y_train.shape[1:] != y_test.shape[1:]:
                raise ValueError(
                    f"{path}: y_train and y_test must have the same attributes, with every category in both. "
                    f"Received: vectors of shape {y_train.shape[1:]} and {y_test.shape[1:]}"
                )
        return x_train, y_train, x_test, y_test
    images = _first(arrays, "images", "x")
    if images is None:
        raise ValueError(
            f"{path} must contain the arrays x_train and x_test (and optionally y_train and y_test), or images (and "
            f"optionally labels). Received: {sorted(arrays) or 'no arrays'}"
        )
    y = _labels(_first(arrays, "labels", "y", "attributes"))
    if y is not None:
        checks.same_length(y, len(images), "labels")
    return _split(_images(images, "images"), y)


def _first(arrays, *keys):
    return next((arrays[key] for key in keys if key in arrays), None)


def _labels(y):
    """Convert class labels to int64, and categorical attributes `(n, k)` to concatenated one-hot vectors."""
    if y is None:
        return None
    if y.ndim not in (1, 2) or y.size == 0:
        raise ValueError(f"Labels must have shape (n,), attributes (n, k), and not be empty. Received: shape {y.shape}")
    if y.dtype.kind == "f" and y.ndim == 2:
        return checks.array(y, y.shape[1:], "attributes").astype("float32")
    if y.dtype.kind not in "iub":
        raise ValueError(f"Labels must be integers. Received: dtype {y.dtype}")
    if y.min() < 0:
        raise ValueError(f"Labels and categories must not be negative. Received: values from {y.min()}")
    if y.max() >= limits.CLASSES:
        raise ValueError(f"Labels and categories must be below {limits.CLASSES:,}. Received: values up to {y.max()}")
    y = y.astype("int64")
    if y.ndim == 1:
        return y
    size = 4 * len(y) * int((y.max(axis=0) + 1).sum())  # a small file can expand to huge one-hot vectors
    if size > limits.UNPACKED:
        raise ValueError(
            f"Attributes must take at most {limits.UNPACKED:,} bytes as one-hot vectors. Received: {size:,} bytes"
        )
    return np.concatenate([_one_hot(column) for column in y.T], axis=1)


def _one_hot(column):
    """One-hot encode categories `(n,)` as float32 `(n, categories)`."""
    blocks = np.zeros((len(column), column.max() + 1), "float32")
    blocks[np.arange(len(column)), column] = 1
    return blocks


def _images(x, name):
    """Convert images to float32 in [0, 1], with a channel axis."""
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4:
        raise ValueError(
            f"`{name}` must have shape (n, height, width) or (n, height, width, channels). Received: shape {x.shape}"
        )
    x = checks.array(x, x.shape[1:], name)
    if x.dtype.kind in "iu" and x.max() > 1:
        x = x / np.float32(255)
    x = x.astype("float32", copy=False)
    if x.min() < 0 or x.max() > 1:
        raise ValueError(
            f"`{name}` must contain floats in [0, 1] or integers in 0..255. "
            f"Received: values from {x.min():g} to {x.max():g}"
        )
    return x


def _split(x, y):
    """Split 80/20 with a fixed seed, stratified by class if there are class labels."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(x))
    classes = y is not None and y.ndim == 1 and np.unique(y, return_counts=True)[1].min() > 1
    train, test = train_test_split(
        rows, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=y if classes else None
    )
    return x[train], None if y is None else y[train], x[test], None if y is None else y[test]
