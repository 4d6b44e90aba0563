"""Images and labels from untrusted `.npz`, `.npy` and IDX files, and their conversion to the arrays of a `Dataset`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from kvae import checks
from kvae.io import FileError, idx, limits, npz
from kvae.types import Array

TEST_FRACTION = 0.2  # held out of a data set that has no split of its own
SPLIT_SEED = 0


def from_idx(folder: Path) -> tuple[Array, Array, Array, Array]:
    """Read the four IDX files of a data set; return `(x_train, y_train, x_test, y_test)`."""
    read: dict[tuple[str, str], Any] = {}
    for part, stem in (("train", "train"), ("test", "t10k")):
        for kind, dimensions in (("images", 3), ("labels", 1)):
            path = idx.find(folder, f"{stem}-{kind}-idx{dimensions}-ubyte")
            read[part, kind] = None if path is None else idx.read(path)
    missing = [f"{'t10k' if part == 'test' else part}-{kind}" for (part, kind), x in read.items() if x is None]
    if missing:
        raise FileError(
            "`name`, if it is a folder of IDX files, must contain four, such as train-images-idx3-ubyte.gz. "
            f"Received: {folder}, without {', '.join(missing)}"
        )
    x_train, x_test = (images(read[part, "images"], f"{part} images") for part in ("train", "test"))
    both = []
    for part, x in (("train", x_train), ("test", x_test)):
        y = labels(read[part, "labels"])
        checks.same_length(y, len(x), f"{part} labels")
        both.append(y)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"{folder}: training and test images must have the same shape. Received: {x_train.shape}, {x_test.shape}"
        )
    return x_train, both[0], x_test, both[1]


def from_npz(path: Path) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read an `.npz` file; return `(x_train, y_train, x_test, y_test)` and `class_names` and `rows` of a `Dataset`."""
    return _from_arrays(npz.read(path), path)


def from_npy(path: Path) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read an `.npy` file of images, or a folder of `.npy` files with the names of the arrays of an `.npz` file."""
    if path.is_dir():
        there = [file for file in sorted(path.iterdir()) if file.suffix.lower() == ".npy"]
        return _from_arrays({file.stem: npz.read_npy(file) for file in there}, path)
    arrays, rows = split(npz.read_npy(path), None, str(path))
    return arrays, {"rows": rows}


def _from_arrays(arrays, path):
    train, test = (_first(arrays, f"x_{part}", part, f"series_{part}") for part in ("train", "test"))
    if train is not None and test is not None:
        series = "series_train" in arrays
        x_train, x_test = images(train, "x_train", series=series), images(test, "x_test", series=series)
        if x_train.shape[1:] != x_test.shape[1:]:
            raise ValueError(
                f"{path}: training and test images must have the same shape. Received: {x_train.shape}, {x_test.shape}"
            )
        if ("y_train" in arrays) != ("y_test" in arrays):
            raise ValueError(f"{path} must contain both y_train and y_test, or neither. Received: {sorted(arrays)}")
        (y_train, y_test), class_names = _classes(arrays.get("y_train"), arrays.get("y_test"))
        y_train, y_test = labels(y_train), labels(y_test)
        if y_train is not None:
            checks.same_length(y_train, len(x_train), "y_train")
            checks.same_length(y_test, len(x_test), "y_test")
            if y_train.shape[1:] != y_test.shape[1:]:
                raise ValueError(
                    f"{path}: y_train and y_test must have the same attributes, with every category in both. "
                    f"Received: vectors of shape {y_train.shape[1:]} and {y_test.shape[1:]}"
                )
        return (x_train, y_train, x_test, y_test), {"class_names": class_names}
    name = next((key for key in ("images", "x", "series") if key in arrays), None)
    if name is None:
        raise ValueError(
            f"{path} must contain the arrays x_train and x_test (and optionally y_train and y_test), or images or "
            f"series (and optionally labels). Received: {sorted(arrays) or 'no arrays'}"
        )
    x = arrays[name]
    if x.ndim == 2 and name == "images":  # flattened, most likely
        raise ValueError(
            f"`images` must have shape (n, height, width) or (n, height, width, channels): reshape them, or call the "
            f"array x if it is a series or a table. Received: shape {x.shape}"
        )
    (y,), class_names = _classes(_first(arrays, "labels", "y", "attributes"))
    arrays.clear()  # only one copy of the images should be in memory besides the result
    divided, rows = split(x, labels(y), name, name == "series")
    return divided, {"class_names": class_names, "rows": rows}


def _first(arrays, *keys):
    return next((arrays[key] for key in keys if key in arrays), None)


def _classes(*columns):
    """Replace labels that are text by numbers, and return all labels and the names of the classes, or `None`."""
    text = [y for y in columns if y is not None and y.dtype.kind in "US"]
    if not text:
        return columns, None
    if len(text) < len(columns) or any(y.ndim != 1 or not len(y) for y in text):
        shapes = ", ".join("none" if y is None else f"{y.dtype} {y.shape}" for y in columns)
        raise ValueError(f"Labels that are text must have shape (n,), for training and for testing. Received: {shapes}")
    text = [np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y for y in text]
    names = np.unique(np.concatenate([np.unique(y) for y in text]))
    if len(names) > limits.CLASSES:
        raise ValueError(f"Labels must have at most {limits.CLASSES:,} classes. Received: {len(names):,} names")
    return [np.searchsorted(names, y) for y in text], tuple(limits.printable(name) for name in names)


def labels(y: Any) -> Any:
    """Convert class labels to int64, and categorical attributes `(n, k)` to concatenated one-hot vectors."""
    if y is None:
        return None
    if y.ndim not in (1, 2) or y.size == 0:
        raise ValueError(f"Labels must have shape (n,), attributes (n, k), and not be empty. Received: shape {y.shape}")
    if y.dtype.kind == "f" and y.ndim == 2:
        return checks.array(y, y.shape[1:], "attributes").astype("float32")
    if y.dtype.kind not in "iub":
        raise ValueError(f"Labels must be integers or text. Received: dtype {y.dtype}")
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


def images(x: Array, name: str, rows: Array | None = None, series: bool = False) -> Array:
    """Convert images, or those at the indices `rows`, to float32 in [0, 1], with a channel axis.

    A table, `(n, features)`, is converted to float32 and keeps its values; so do `series`, `(n, time, channels)`.
    """
    if x.ndim == 2 or (series and x.ndim == 3):
        with np.errstate(over="ignore"):  # infinity in float32 is found by the check
            table = (x if rows is None else x[rows]).astype("float32")
        return checks.array(table, x.shape[1:], name)
    fix = ""
    if x.ndim == 3:
        x = x[..., None]
        fix = ": call the array series in an .npz file if it is one, (n, time, channels)"
    if x.ndim != 4 or series:
        raise ValueError(
            f"`{name}` must have shape (n, height, width) or (n, height, width, channels), or (n, features) for series "
            f"and tables, (n, time, channels) for series in an array of that name. Received: shape {x.shape}"
        )
    if rows is None:
        x = checks.array(x, x.shape[1:], name)
    if x.dtype.kind in "iu" and x.max() > 1:
        _in_range(x, name, 255, fix)
        return np.divide(x if rows is None else x[rows], np.float32(255), dtype="float32")
    _in_range(x, name, 1, fix)
    return (x if rows is None else x[rows]).astype("float32", copy=False)


def _in_range(x, name, most, fix):
    if x.min() < 0 or x.max() > most:
        raise ValueError(
            f"`{name}` must contain floats in [0, 1] or integers in 0..255{fix}. "
            f"Received: values from {x.min():g} to {x.max():g}"
        )


def split(x: Array, y: Array | None, name: str, series: bool = False) -> tuple[tuple[Any, ...], tuple[Array, Array]]:
    """Convert images or `series` as `images` does, and split them 80/20 with a fixed seed, if possible by class.

    Returns `(x_train, y_train, x_test, y_test)`, and the indices in `x` of those for training and for testing.
    Converting the parts instead of the whole, once it is complete and finite, saves a copy.
    """
    from sklearn.model_selection import train_test_split

    if x.ndim in (2, 3, 4):
        x = checks.array(x, x.shape[1:], name)
    if x.ndim not in (2, 3, 4) or len(x) < 2:
        raise ValueError(
            f"`{name}` must have shape (n, height, width) or (n, height, width, channels), or (n, features) for series "
            f"and tables, with n of at least 2: {TEST_FRACTION:.0%} are held out for testing. Received: shape {x.shape}"
        )
    if y is not None:
        checks.same_length(y, len(x), "labels")
    rows = np.arange(len(x))
    counts = np.unique(y, return_counts=True)[1] if y is not None and y.ndim == 1 else np.zeros(1)
    stratified = counts.min() > 1 and len(counts) <= math.ceil(TEST_FRACTION * len(x))  # each class in both parts
    train, test = train_test_split(
        rows, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=y if stratified else None
    )
    x_train, x_test = (images(x, name, part, series) for part in (train, test))
    y_train, y_test = (None, None) if y is None else (y[train], y[test])
    return (x_train, y_train, x_test, y_test), (train, test)
