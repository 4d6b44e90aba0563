"""Image files: bytes to pixels through TensorFlow's decoders, and a folder of them as a source."""

import os
from typing import NamedTuple

import numpy as np

from kvae.data.sources import Source, blocks
from kvae.io import FileError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
LUMA = np.array([0.299, 0.587, 0.114], "float32")  # ITU-R BT.601, as in JPEG
NAME_BYTES = 1000  # more than any name takes: what lies in memory of an image not yet opened


def decode(content):
    """Pixels of an encoded PNG, JPEG, BMP or GIF (its first frame).

    Args:
        content: bytes.

    Returns:
        uint8 `(height, width, channels)`, with the channels of the file.

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


def fitted(image, image_size=None, channels=None):
    """Give an image the wanted size and channels.

    Args:
        image: uint8 `(height, width, c)`, where c is 1 or 3, or 2 or 4 with a last channel of transparency.
        image_size: `(height, width)` to resize to, or `None`.
        channels: 1 or 3; `None` for those of the image without its transparency.

    Returns:
        uint8 `(height, width, channels)`.
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
    """What stands in the place of an image that cannot be read."""

    name: str
    reason: str

    def error(self):
        """The error that names it, in one line."""
        return FileError(
            f'{self.name} must be a readable image: repair or remove it, or leave such out with unreadable="skip". '
            f"Received: {' '.join(self.reason.split())}"
        )


def first_shape(images, skip):
    """The shape of the first image that can be read.

    Args:
        images: iterable of arrays, and of `Unreadable` in place of some.
        skip: whether to pass over these.
    """
    for image in images:
        if not isinstance(image, Unreadable):
            return image.shape
        if not skip:
            break
    raise image.error()


def folder_source(path, image_size=None, channels=None, skip=False):
    """Images in a folder, or in one folder a class.

    Args:
        path: `pathlib.Path`.
        image_size: `(height, width)`; `None` for the first image's.
        channels: 1 or 3; `None` for the first image's.
        skip: whether the first image may be unreadable.

    Returns:
        A `Source`.

    Raises:
        FileError: if there are no images, a class has none, or the first is unreadable.
    """
    names, folders = _image_names(path), [path]
    classes = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    inside = {name: _image_names(path / name) for name in classes}
    labelled = any(map(len, inside.values()))
    if labelled:
        if len(names):
            raise FileError(
                f"{path} must hold either images or class folders with images. Received: both, such as "
                f"{os.fsdecode(names[0])} and {next(name for name in classes if len(inside[name]))}/"
            )
        empty = [name for name in classes if not len(inside[name])]
        if empty:
            raise FileError(
                f"{path / empty[0]} must hold images ({', '.join(SUFFIXES)}): fill or remove this class folder. "
                "Received: none"
            )
        folders = [path / name for name in classes]
        names = np.concatenate([inside[name] for name in classes])
    if not len(names):
        raise FileError(f"{path} must hold images ({', '.join(SUFFIXES)}) or class folders of them. Received: none")
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
    """Sorted names of the images in a folder, as bytes in one array: millions of Python strings would fill memory."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        images = sorted(name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
    return np.array([os.fsencode(name) for name in images], "S")
