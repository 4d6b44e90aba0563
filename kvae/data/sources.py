"""Sources that `stream` reads block by block, and arrays on disk (`.npy`, uncompressed `.npz`) as a source."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.io import FileError, limits, npz
from kvae.types import Array, Shape

BLOCK_ROWS, BLOCK_BYTES = 64, 2**18  # upper bounds for one read
WINDOW_BYTES = 2**25  # size of the shuffle window
CHUNK = 2**20  # labels scanned at a time
IMAGES = ("images", "x", "x_train", "train")
LABELS = ("labels", "y", "y_train")


class Source(NamedTuple):
    """A data set on disk, divided into blocks: the unit of reading, shuffling and sharding.

    Attributes:
        image_shape: `(height, width, channels)`.
        dtype: dtype of the decoded images: "uint8", or "float32" in [0, 1].
        labelled: whether examples have labels.
        num_classes: int; `None` if there are no labels, or if counting the classes would mean reading all the data.
        sizes: int array `(blocks,)`, the number of rows in each block.
        window: int, number of blocks that are held in memory and shuffled together.
        fetch: function from a block's index to a tuple of arrays in their on-disk encoding, one row per example.
        decode: function from such arrays, for any selection of rows, and a `map` function to images and labels (or
            `None`). If the images are a list, an `Unreadable` takes the place of each one that could not be read.
        class_names: names of the classes, in the order of their labels; `None` if they only have numbers.
    """

    image_shape: Shape
    dtype: str
    labelled: bool
    num_classes: int | None
    sizes: Array
    window: int
    fetch: Callable
    decode: Callable
    class_names: tuple[str, ...] | None = None


class Member(NamedTuple):
    """An array inside a file, starting at byte `offset`."""

    path: Path
    name: str
    dtype: np.dtype
    shape: Shape
    offset: int

    def rows(self, start: int, stop: int) -> Array:
        """Read rows `start` to `stop`. Reading instead of memory-mapping keeps used pages from staying resident."""
        row = math.prod(self.shape[1:])
        offset = self.offset + start * row * self.dtype.itemsize
        values = np.fromfile(self.path, self.dtype, (stop - start) * row, offset=offset)
        if len(values) < (stop - start) * row:
            raise FileError(f"{self.name} must not change while it is read. Received: end of file before row {stop}")
        return values.reshape(stop - start, *self.shape[1:])


def blocks(num_rows: int, row_bytes: int) -> tuple[Array, int]:
    """Divide rows into blocks, small enough that even a small data set can be shuffled and sharded evenly.

    Args:
        num_rows: int.
        row_bytes: int, size of a row in memory.

    Returns:
        `(sizes, window)` of a `Source`.
    """
    most = min(BLOCK_ROWS, max(1, BLOCK_BYTES // row_bytes))
    size = int(np.clip(num_rows // 1000, 1, most))
    sizes = np.full(-(-num_rows // size), size)
    sizes[-1] -= size * len(sizes) - num_rows
    return sizes, max(1, WINDOW_BYTES // (row_bytes * size))


def array_source(path: Path, arrays: tuple[str, str | None] | None = None) -> Source:
    """Open arrays on disk without loading them.

    Args:
        path: `pathlib.Path` of an `.npy` file, an uncompressed `.npz` file, or a folder of `.npy` files.
        arrays: names of the images and of the labels (or `None`) in a folder or an `.npz` file.

    Returns:
        A `Source`.

    Raises:
        ValueError: if an array is missing, compressed or damaged, or does not contain images.
    """
    images, labels = _members(path, arrays)
    if len(images.shape) not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"{images.name} must have shape (n, height, width) or (n, height, width, channels), and not be empty. "
            f"Received: shape {images.shape}"
        )
    if images.dtype != np.uint8 and images.dtype.kind not in "fb":
        raise ValueError(f"{images.name} must be uint8, floats in [0, 1] or bool. Received: dtype {images.dtype}")
    image_shape = (*images.shape[1:], 1)[:3]
    if math.prod(image_shape) > limits.EXAMPLE:
        raise ValueError(
            f"{images.name} must have at most {limits.EXAMPLE:,} numbers per image. Received: shape {images.shape}"
        )
    num_rows, quantised = images.shape[0], images.dtype == np.uint8
    sizes, window = blocks(num_rows, images.dtype.itemsize * math.prod(image_shape))
    size = int(sizes[0])
    if quantised and images.rows(0, min(num_rows, size * window)).max() == 1:
        raise ValueError(f"{images.name} must be bool if its pixels are binary: a byte of 1 is 1/255. Received: uint8")

    def fetch(block):
        rows = block * size, block * size + int(sizes[block])
        return tuple(member.rows(*rows) for member in (images, labels) if member)

    def decode(columns, run):
        x, *y = columns
        x = x.reshape(-1, *image_shape)
        if not quantised:
            x = x.astype("float32", copy=False)
            if not (x.min() >= 0 and x.max() <= 1):
                raise FileError(
                    f"{images.name} must contain uint8 or floats in [0, 1]: rescale the images. "
                    f"Received: values from {x.min():g} to {x.max():g}"
                )
        return x, y[0].astype("int64") if y else None

    num_classes = None if labels is None else _num_classes(labels, num_rows)
    dtype = "uint8" if quantised else "float32"
    return Source(image_shape, dtype, labels is not None, num_classes, sizes, window, fetch, decode)


def _members(path, arrays):
    """Find the arrays of images and of labels (or `None`)."""
    if path.suffix.lower() == ".npy":
        if arrays is not None:
            raise ValueError(f"`arrays` must be omitted for a single .npy file. Received: {arrays!r}")
        return _in_file(path, str(path)), None
    if path.is_dir():
        there = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() == ".npy"}
        wanted = _chosen(path, there, arrays)
        return tuple(None if name is None else _in_file(there[name], str(there[name])) for name in wanted)
    try:
        with zipfile.ZipFile(path) as archive:
            there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is not an .npz file, or is damaged: {error}") from error
    return tuple(None if name is None else _in_zip(path, there[name]) for name in _chosen(path, there, arrays))


def _chosen(path, there, arrays):
    """Names of the images and the labels: those requested, or else the first known names that exist."""
    if arrays is None:
        images = next((name for name in IMAGES if name in there), None)
        labels = next((name for name in LABELS if name in there), None)
        if images is None:
            raise ValueError(
                f"{path} must contain an array named one of {list(IMAGES)} (labels: {list(LABELS)}): rename yours, or "
                f"pass its name in `arrays`. Received: {sorted(there) or 'no arrays'}"
            )
        return images, labels
    if not isinstance(arrays, (tuple, list)) or len(arrays) != 2:
        raise ValueError(f"`arrays` must be two names, of images and of labels (or None). Received: {arrays!r}")
    missing = [name for name in arrays if name is not None and name not in there]
    if missing or arrays[0] is None:
        raise ValueError(f"`arrays` must name arrays in {path}, which are {sorted(there)}. Received: {arrays!r}")
    return arrays


def _in_zip(path, info):
    """Locate an array inside an archive, which NumPy's `mmap_mode` does not support."""
    name = f"{limits.printable(info.filename, 80)} in {path}"
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed: save it with np.savez, or unpack it into a folder of .npy files")
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)  # local file header, which ends with the lengths of the file name and the extra field
        lengths = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
    return _in_file(path, name, info.header_offset + 30 + sum(lengths), info.file_size)


def _in_file(path, name, start=0, num_bytes=None):
    """Read the header of the array that starts at byte `start`, and check that the array is complete."""
    most = path.stat().st_size - start
    with open(path, "rb") as file:
        file.seek(start)
        shape, column_major, dtype = npz.header(file, name, most if num_bytes is None else min(num_bytes, most))
        offset = file.tell()
    if column_major and len(shape) > 1:
        raise ValueError(f"{name} must be in C order: save np.ascontiguousarray of it. Received: Fortran order")
    return Member(path, name, dtype, shape, offset)


def _num_classes(labels, num_rows):
    """One more than the largest label."""
    if len(labels.shape) != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{labels.name} must be integers of shape (n,). Received: shape {labels.shape}, dtype {labels.dtype}"
        )
    if labels.shape[0] != num_rows:
        raise ValueError(f"{labels.name} must have one entry per example: {num_rows}. Received: {labels.shape[0]}")
    largest = 0
    for start in range(0, num_rows, CHUNK):
        values = labels.rows(start, min(start + CHUNK, num_rows))
        if values.min() < 0:
            raise ValueError(f"{labels.name} must not contain negative labels. Received: {values.min()}")
        largest = max(largest, int(values.max()))
    return largest + 1
