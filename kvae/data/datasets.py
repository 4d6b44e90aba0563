"""Data sets as arrays, from Keras, scikit-learn and files, and binarization."""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from kvae import checks
from kvae.io import FileError, limits, npz
from kvae.training import strategy
from kvae.training.pipelines import pipeline

TEST_FRACTION = 0.2  # of a data set that comes without a split
SPLIT_SEED = 0
BINARIZATIONS = (None, "static", "dynamic")
KERAS_FILES = {
    "mnist": "datasets/mnist.npz",
    "fashion_mnist": "datasets/fashion-mnist/ (train- and t10k-images and -labels, four .gz files)",
}
DATASETS = ("digits", *KERAS_FILES)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with labels, split for training and testing.

    Attributes:
        x_train: float32 `(n, height, width, channels)` in [0, 1].
        y_train: int64 labels `(n,)`, or float32 attributes `(n, k)`; `None` for unlabelled data.
        x_test: as `x_train`.
        y_test: as `y_train`.
        num_classes: number of classes; `None` without class labels.
        name: what was loaded.
        binarization: `None`, "static" (the arrays are binary already) or "dynamic" (`batches` draws fresh pixels).
    """

    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    num_classes: int | None
    name: str
    binarization: str | None = None

    @property
    def image_shape(self):
        """Shape of one example, `(height, width, channels)`."""
        return self.x_train.shape[1:]

    def batches(self, subset="train", batch_size=128, labels=True, seed=0, first_epoch=0):
        """The data as a `tf.data.Dataset` of batches, for `fit` and `evaluate` on any backend.

        With dynamic binarization each pixel is drawn anew, x ~ Bernoulli(grey value), every time a batch is used
        (Burda et al. 2016); the test images are drawn afresh too, from the seed.

        Args:
            subset: "train" (shuffled every epoch, from the seed) or "test" (in order).
            batch_size: int.
            labels: whether to give `(x, y)` rather than `x`.
            seed: int, for the order and the pixels.
            first_epoch: int, the number of the first epoch; a training that goes on from epoch e begins with e.

        Returns:
            A `tf.data.Dataset`. Several workers divide each batch among them. Several JAX devices take equal parts of
            it, for which an epoch leaves out the few examples too many.
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


def load_data(name="digits", binarization=None, seed=0):
    """Load a data set.

    Args:
        name: "digits" (1,797 real 8×8 digits inside scikit-learn, no network; a stratified 80/20 split with seed 0),
            "mnist" or "fashion_mnist" (through Keras, which downloads them once), or a path to an `.npz` file. A file
            holds `x_train` and `x_test` (or `train` and `test`), with `y_train` and `y_test` if labelled, or else one
            array `images` (or `x`), with `labels`, `y` or `attributes`, which is split 80/20 with seed 0. Integers
            above 1 are divided by 255.
        binarization: `None` for grey values, "static" for pixels drawn once from Bernoulli(grey value), "dynamic" for
            pixels drawn afresh each time `Dataset.batches` uses them.
        seed: int, for static binarization.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: for an unknown name, a damaged file, or arrays that are no images.
        FileError: if a file is missing, or a data set can be neither found nor downloaded.

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


def binarize(x, rng):
    """Draw binary pixels from grey values.

    Args:
        x: array of probabilities in [0, 1].
        rng: `numpy.random.Generator`.

    Returns:
        float32 array of 0 and 1, of the same shape.
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
            f"{name} could not be found or downloaded: put {home / KERAS_FILES[name]} there by hand (or set KERAS_HOME "
            'to a folder that has it), or use "digits", which needs no network. '
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
                f"{path}: training and test images must have one shape. Received: {x_train.shape}, {x_test.shape}"
            )
        y_train, y_test = (_labels(arrays.get(f"y_{part}")) for part in ("train", "test"))
        if y_train is None or y_test is None:
            y_train = y_test = None
        else:
            checks.same_length(y_train, len(x_train), "y_train")
            checks.same_length(y_test, len(x_test), "y_test")
            if y_train.shape[1:] != y_test.shape[1:]:
                raise ValueError(
                    f"{path}: y_train and y_test must have the same attributes, each value in both. "
                    f"Received: vectors of {y_train.shape[1:]} and {y_test.shape[1:]}"
                )
        return x_train, y_train, x_test, y_test
    images = _first(arrays, "images", "x")
    if images is None:
        raise ValueError(
            f"{path} must hold the arrays x_train and x_test, or images; with labels y_train and y_test, or labels. "
            f"Received: {sorted(arrays) or 'no arrays'}"
        )
    y = _labels(_first(arrays, "labels", "y", "attributes"))
    if y is not None:
        checks.same_length(y, len(images), "labels")
    return _split(_images(images, "images"), y)


def _first(arrays, *keys):
    return next((arrays[key] for key in keys if key in arrays), None)


def _labels(y):
    """Class labels as int64; categorical attributes `(n, k)` as one float vector of one-hot blocks."""
    if y is None:
        return None
    if y.ndim not in (1, 2) or y.size == 0:
        raise ValueError(f"Labels must have shape (n,), attributes (n, k), none of them 0. Received: shape {y.shape}")
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
    size = 4 * len(y) * int((y.max(axis=0) + 1).sum())  # few bytes of a file can ask for many zeros
    if size > limits.UNPACKED:
        raise ValueError(
            f"Attributes must take at most {limits.UNPACKED:,} bytes as one-hot vectors. Received: {size:,}"
        )
    return np.concatenate([_one_hot(column) for column in y.T], axis=1)


def _one_hot(column):
    """Float32 `(n, categories)` of categories `(n,)`."""
    blocks = np.zeros((len(column), column.max() + 1), "float32")
    blocks[np.arange(len(column)), column] = 1
    return blocks


def _images(x, name):
    """Float32 images in [0, 1] with a channel axis."""
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
            f"`{name}` must hold floats in [0, 1] or integers in 0..255. "
            f"Received: values from {x.min():g} to {x.max():g}"
        )
    return x


def _split(x, y):
    """An 80/20 split by a fixed seed, stratified where there are class labels."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(x))
    classes = y is not None and y.ndim == 1 and np.unique(y, return_counts=True)[1].min() > 1
    train, test = train_test_split(
        rows, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=y if classes else None
    )
    return x[train], None if y is None else y[train], x[test], None if y is None else y[test]
