"""What `stream` reads from, block by block; and the sources that are arrays on disk: `.npy`, and `.npz` as it lies."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kvae.io import FileError

BLOCK_ROWS, BLOCK_BYTES = 64, 2**18  # at most, for one read
WINDOW_BYTES = 2**25  # of the blocks whose rows are mixed with one another
CHUNK = 2**20  # labels looked through at a time
IMAGES = ("images", "x", "x_train", "train")
LABELS = ("labels", "y", "y_train")


class Source(NamedTuple):
    """Rows in blocks: a block is what one read brings, and what shuffling and sharding move about.

    Attributes:
        image_shape: `(height, width, channels)`.
        dtype: of decoded images: "uint8", or "float32" in [0, 1].
        labelled: whether rows have labels.
        num_classes: int, or `None` where there are no labels or only reading everything would tell.
        sizes: int array `(blocks,)`, the rows of each.
        window: int, blocks to be held in memory together.
        fetch: from a block's number to a tuple of arrays, a row an example, as they lie on the disk.
        decode: from such arrays (of any rows) and a `map` function to images and labels (or `None`); in a list of
            images, an `Unreadable` stands for one that cannot be read.
    """

    image_shape: tuple
    dtype: str
    labelled: bool
    num_classes: int | None
    sizes: np.ndarray
    window: int
    fetch: Callable
    decode: Callable


class Member(NamedTuple):
    """An array on disk: the file it lies in, and where its first byte is."""

    path: Path
    name: str
    dtype: np.dtype
    shape: tuple
    offset: int

    def rows(self, start, stop):
        """Read rows `start` to `stop`; a read, not a map, so that nothing stays resident that is not held."""
        row = int(np.prod(self.shape[1:]))
        offset = self.offset + start * row * self.dtype.itemsize
        values = np.fromfile(self.path, self.dtype, (stop - start) * row, offset=offset)
        if len(values) < (stop - start) * row:
            raise FileError(f"{self.name} must stay as it is while it is read. Received: an end before row {stop}")
        return values.reshape(stop - start, *self.shape[1:])


def blocks(num_rows, row_bytes):
    """Cut rows into blocks: small ones, so that even little data can be mixed and dealt out evenly.

    Args:
        num_rows: int.
        row_bytes: int, what a row takes in memory.

    Returns:
        `(sizes, window)` of a `Source`.
    """
    most = min(BLOCK_ROWS, max(1, BLOCK_BYTES // row_bytes))
    size = int(np.clip(num_rows // 1000, 1, most))
    sizes = np.full(-(-num_rows // size), size)
    sizes[-1] -= size * len(sizes) - num_rows
    return sizes, max(1, WINDOW_BYTES // (row_bytes * size))


def array_source(path, arrays=None):
    """Rows of arrays that stay on disk.

    Args:
        path: `pathlib.Path` of an `.npy` file, an `.npz` file that is not compressed, or a folder of `.npy` files.
        arrays: names of the images and of the labels (or `None`), in a folder or an `.npz`.

    Returns:
        A `Source`.

    Raises:
        ValueError: for arrays that are missing, compressed, damaged or no images.
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
    num_rows, quantised = images.shape[0], images.dtype == np.uint8
    sizes, window = blocks(num_rows, images.dtype.itemsize * int(np.prod(image_shape)))
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
                    f"{images.name} must hold uint8 or floats in [0, 1]: divide them. "
                    f"Received: values from {x.min():g} to {x.max():g}"
                )
        return x, y[0].astype("int64") if y else None

    num_classes = None if labels is None else _num_classes(labels, num_rows)
    dtype = "uint8" if quantised else "float32"
    return Source(image_shape, dtype, labels is not None, num_classes, sizes, window, fetch, decode)


def _members(path, arrays):
    """The arrays of images and of labels (or `None`), as `Member`s."""
    if path.suffix == ".npy":
        if arrays is not None:
            raise ValueError(f"`arrays` must be left out for one .npy file. Received: {arrays!r}")
        return _in_file(path, str(path)), None
    if path.is_dir():
        there = {file.stem: file for file in sorted(path.glob("*.npy"))}
        wanted = _chosen(path, there, arrays)
        return tuple(None if name is None else _in_file(there[name], str(there[name])) for name in wanted)
    try:
        with zipfile.ZipFile(path) as archive:
            there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is no .npz file, or is damaged: {error}") from error
    return tuple(None if name is None else _in_zip(path, there[name]) for name in _chosen(path, there, arrays))


def _chosen(path, there, arrays):
    """Names of the images and the labels: those that were asked for, or the first that are there."""
    if arrays is None:
        images = next((name for name in IMAGES if name in there), None)
        labels = next((name for name in LABELS if name in there), None)
        if images is None:
            raise ValueError(
                f"{path} must hold an array named one of {list(IMAGES)} (labels: {list(LABELS)}), or name yours with "
                f"`arrays`. Received: {sorted(there) or 'no arrays'}"
            )
        return images, labels
    if not isinstance(arrays, (tuple, list)) or len(arrays) != 2:
        raise ValueError(f"`arrays` must be two names, of images and of labels (or None). Received: {arrays!r}")
    missing = [name for name in arrays if name is not None and name not in there]
    if missing or arrays[0] is None:
        raise ValueError(f"`arrays` must name what is in {path}: {sorted(there)}. Received: {arrays!r}")
    return arrays


def _in_zip(path, info):
    """An array where it lies in an archive, which NumPy's own `mmap_mode` does not look for."""
    name = f"{info.filename} in {path}"
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed: write it with np.savez, or unpack it to .npy files in a folder")
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)  # the local header, whose last two numbers are the lengths of a name and of extra fields
        lengths = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
    return _in_file(path, name, info.header_offset + 30 + sum(lengths), info.file_size)


def _in_file(path, name, start=0, num_bytes=None):
    """Read the header of an array that starts at a byte of a file, and check that all of it is there."""
    end = path.stat().st_size if num_bytes is None else start + num_bytes
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with open(path, "rb") as file:
            file.seek(start)
            shape, column_major, dtype = readers[np.lib.format.read_magic(file)](file)
            offset = file.tell()
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise ValueError(f"{name} is no array of NumPy's, or is damaged: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} must hold numbers, not Python objects. Received: dtype {dtype}")
    if column_major and len(shape) > 1:
        raise ValueError(f"{name} must lie row by row: save np.ascontiguousarray of it. Received: Fortran order")
    num_bytes = int(np.prod(shape)) * dtype.itemsize
    if offset + num_bytes > end:
        raise ValueError(f"{name} is cut short: {num_bytes} bytes expected. Received: {end - offset}")
    return Member(path, name, dtype, shape, offset)


def _num_classes(labels, num_rows):
    """One more than the largest label."""
    if len(labels.shape) != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{labels.name} must be integers of shape (n,). Received: shape {labels.shape}, dtype {labels.dtype}"
        )
    if labels.shape[0] != num_rows:
        raise ValueError(f"{labels.name} must hold one entry an example: {num_rows}. Received: {labels.shape[0]}")
    largest = 0
    for start in range(0, num_rows, CHUNK):
        values = labels.rows(start, min(start + CHUNK, num_rows))
        if values.min() < 0:
            raise ValueError(f"{labels.name} must not hold negative labels. Received: {values.min()}")
        largest = max(largest, int(values.max()))
    return largest + 1
