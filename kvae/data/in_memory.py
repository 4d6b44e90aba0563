"""Folders of images and TFRecord files, read into memory as the arrays of a `Dataset`."""

from __future__ import annotations

import math
import os
from concurrent import futures
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kvae.data import files, image_folder, streaming, tfrecord
from kvae.data.sources import Source
from kvae.io import FileError, limits
from kvae.types import Array

PARTS = ["train", "test"]  # subfolders of a data set that is already split


def read(
    path: Path, image_size: tuple[int, int] | None = None, channels: Literal[1, 3] | None = None
) -> tuple[tuple[Any, ...], tuple[str, ...] | None]:
    """Read image files or TFRecord files.

    Unlike `stream`, this never converts images without being asked: if some have another shape than the first, the
    error says how to convert them all.

    Args:
        path: `pathlib.Path` of a folder of images, of class folders or of TFRecord files, which may be divided into the
            subfolders train and test; of a TFRecord file; or a pattern.
        image_size: `(height, width)` to resize to; `None` for images of one size.
        channels: 1 or 3; `None` for images with the same number of channels.

    Returns:
        `(x_train, y_train, x_test, y_test)`, and the names of the classes, or `None`. Without subfolders train and
        test, the images are split 80/20.

    Raises:
        FileError: if there are no images, one is unreadable or of another shape, or only some are labelled.
        ValueError: if there are too few images, or they do not fit into memory.
    """
    image_size, channels = image_folder.conversion(image_size, channels)
    if not _is_divided(path):
        source = _open(path, image_size, channels)
        x, y = _arrays(source, path)
        _check_counts(x, y, source.class_names, path)
        return files.split(x, y, str(path))[0], source.class_names
    sources = [_open(path / part, image_size, channels) for part in PARTS]
    if sources[0].image_shape != sources[1].image_shape:
        raise ValueError(
            f"{path}: training and test images must have the same shape: resize them all with `image_size`. "
            f"Received: {sources[0].image_shape}, {sources[1].image_shape}"
        )
    if sources[0].labelled != sources[1].labelled:
        raise FileError(f"{path} must have labels in both train and test, or in neither. Received: labels in one")
    (x_train, y_train), (x_test, y_test) = (
        _arrays(source, path / part) for source, part in zip(sources, PARTS, strict=True)
    )
    names = None
    if sources[0].class_names and sources[1].class_names:  # a class may be missing in one of the two
        names = tuple(sorted({*sources[0].class_names, *sources[1].class_names}))
        y_train, y_test = (
            np.searchsorted(names, source.class_names)[y] for source, y in zip(sources, (y_train, y_test), strict=True)
        )
    return (files.images(x_train, "x_train"), y_train, files.images(x_test, "x_test"), y_test), names


def _is_divided(path):
    """Whether a folder has the subfolders train and test."""
    if not path.is_dir():
        return False
    folders = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not set(PARTS) <= set(folders):
        return False
    others = [name for name in folders if name not in PARTS]
    if others:
        raise FileError(
            f"{path} must have no folders beside train and test: move the others. "
            f"Received: {limits.printable(', '.join(others), 200)}"
        )
    return True


def _open(path, image_size, channels):
    kind, paths = streaming.kind_of(path)
    if kind == "arrays":
        raise FileError(f"{path} must contain images or TFRecord files, and not arrays. Received: .npy files")
    if kind == "records":
        return tfrecord.record_source(paths, image_size, channels, convert=False)
    return image_folder.folder_source(path, image_size, channels, convert=False)


def _arrays(source: Source, path: Path) -> tuple[Array, Array | None]:
    """All images of a source, as uint8 or as float32 in [0, 1], and their labels."""
    shape = (int(source.sizes.sum()), *source.image_shape)
    size, most = 4 * math.prod(shape), int(os.environ.get("KVAE_MAX_BYTES", limits.UNPACKED))
    if size > most:
        raise ValueError(
            f"{path} must take at most {most:,} bytes in memory (set KVAE_MAX_BYTES to raise the limit): make the "
            f"images smaller with `image_size`, or train on batches of kvae.data.stream. Received: {size:,} bytes"
        )
    x, labels, row = np.empty(shape, source.dtype), [], 0
    with futures.ThreadPoolExecutor() as pool:
        for block in range(len(source.sizes)):
            images, y = source.decode(source.fetch(block), pool.map)
            for image in images:
                if isinstance(image, image_folder.Unreadable):
                    raise image.error()
                x[row] = image
                row += 1
            labels.append(y)
    if x.max() <= 1:
        x = x / np.float32(255)  # black images: a byte of 1 is 1/255 here, and not the 1 of binary arrays
    return x, files.labels(np.concatenate(labels)) if source.labelled else None


def _check_counts(x, y, class_names, path):
    """Raise unless both parts of the split can have an image, and one of each class folder."""
    held_out = f"{files.TEST_FRACTION:.0%} are held out for testing, unless there are subfolders train and test"
    if len(x) < 2:
        raise ValueError(f"{path} must contain at least 2 images: {held_out}. Received: 1")
    if class_names:
        counts = np.bincount(y)
        if counts.min() < 2:
            name = path / class_names[counts.argmin()]
            raise ValueError(f"{name} must contain at least 2 images: {held_out}. Received: {counts.min()}")
