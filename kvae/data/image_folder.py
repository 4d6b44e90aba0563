"""Decoding of image files with TensorFlow, and folders of images as a source."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from kvae.data.sources import Source, blocks
from kvae.io import FileError
from kvae.types import Array, Shape

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
LUMA = np.array([0.299, 0.587, 0.114], "float32")  # ITU-R BT.601, as in JPEG
NAME_BYTES = 1000  # upper bound on a file name, all that is held in memory of an image that has not been read


def decode(content: bytes) -> Array:
    """Decode a PNG, JPEG, BMP or GIF (its first frame).

    Args:
        content: bytes, the encoded image.

    Returns:
        uint8 array `(height, width, channels)`, with as many channels as the file has.

    Raises:
        ValueError: if TensorFlow cannot decode it.
    """
    import tensorflow as tf

    try:
        with tf.device("CPU"):
            return tf.io.decode_image(content, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        reason = error.message.split("}} ")[-1].split(" [Op:")[0].splitlines()[0]
        raise ValueError(reason) from error


def fitted(image: Array, image_size: tuple[int, int] | None = None, channels: Literal[1, 3] | None = None) -> Array:
    """Convert an image to the requested size and number of channels.

    Args:
        image: uint8 array `(height, width, c)`, with c = 1 or 3, or 2 or 4 if the last channel is alpha.
        image_size: `(height, width)` to resize to, or `None` to keep the size.
        channels: 1 (grey) or 3 (RGB); `None` keeps the image's channels, except alpha.

    Returns:
        uint8 array `(height, width, channels)`.
    """
    depth = image.shape[-1] - 1 if image.shape[-1] in (2, 4) else image.shape[-1]
    image = image[..., :depth]
    if depth == 3 and channels == 1:
        image = np.rint(image @ LUMA)[..., None].astype("uint8")
    elif depth == 1 and channels == 3:
        image = np.repeat(image, 3, axis=-1)
    if image_size is not None and image.shape[:2] != tuple(image_size):
        import tensorflow as tf

        with tf.device("CPU"):
            image = tf.image.resize(image, image_size, antialias=True).numpy()
        image = np.rint(image).clip(0, 255).astype("uint8")
    return image


class Unreadable(NamedTuple):
    """Placeholder for an image that could not be read."""

    name: str
    reason: str

    def error(self) -> FileError:
        """Return the one-line error that names the image."""
        return FileError(
            f'{self.name} must be a readable image: repair or remove it, or skip such images with unreadable="skip". '
            f"Received: {' '.join(self.reason.split())}"
        )


def first_shape(images: Iterable[Array | Unreadable], skip: bool) -> Shape:
    """Return the shape of the first readable image.

    Args:
        images: iterable of arrays, with an `Unreadable` for each image that could not be read.
        skip: whether to skip unreadable images.

    Raises:
        FileError: if the first image is unreadable and `skip` is false, or if all images are.
    """
    for image in images:
        if not isinstance(image, Unreadable):
            return image.shape
        unreadable = image
        if not skip:
            break
    raise unreadable.error()


def folder_source(
    path: Path,
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    skip: bool = False,
) -> Source:
    """Open a folder of images, or of one subfolder per class.

    Args:
        path: `pathlib.Path` of the folder.
        image_size: `(height, width)`; `None` for the size of the first image.
        channels: 1 or 3; `None` for the channels of the first image.
        skip: whether to skip unreadable images when looking for the first one.

    Returns:
        A `Source`.

    Raises:
        FileError: if the folder has no images, a class folder is empty, or the first image is unreadable.
    """
    names, folders = _image_names(path), [path]
    classes = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    inside = {name: _image_names(path / name) for name in classes}
    labelled = any(map(len, inside.values()))
    if labelled:
        if len(names):
            raise FileError(
                f"{path} must contain either images or class folders with images. Received: both, such as "
                f"{os.fsdecode(names[0])} and {next(name for name in classes if len(inside[name]))}/"
            )
        empty = [name for name in classes if not len(inside[name])]
        if empty:
            raise FileError(
                f"{path / empty[0]} must contain images ({', '.join(SUFFIXES)}): fill or remove this class folder. "
                "Received: none"
            )
        folders = [path / name for name in classes]
        names = np.concatenate([inside[name] for name in classes])
    if not len(names):
        raise FileError(f"{path} must contain images ({', '.join(SUFFIXES)}) or class folders of them. Received: none")
    ends = np.cumsum([len(inside[name]) for name in classes]) if labelled else np.array([len(names)])

    def load(row, size, depth):
        file = folders[int(np.searchsorted(ends, row, "right"))] / os.fsdecode(names[row])
        try:
            return fitted(decode(file.read_bytes()), size, depth)
        except (OSError, ValueError) as error:
            return Unreadable(str(file), str(error))

    shape = first_shape((load(row, image_size, channels) for row in range(len(names))), skip)
    sizes, window = blocks(len(names), NAME_BYTES)
    size = int(sizes[0])

    def fetch(block):
        return (np.arange(block * size, block * size + int(sizes[block])),)

    def decode_rows(columns, run):
        (rows,) = columns
        labels = np.searchsorted(ends, rows, "right") if labelled else None
        return list(run(lambda row: load(row, shape[:2], shape[2]), rows)), labels

    return Source(shape, "uint8", labelled, len(classes) if labelled else None, sizes, window, fetch, decode_rows)


def _image_names(folder):
    """Sorted names of the images in a folder, as one array of bytes: millions of Python strings would fill memory."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        images = sorted(name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
    return np.array([os.fsencode(name) for name in images], "S")
