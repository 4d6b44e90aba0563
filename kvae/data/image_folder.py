"""Decoding of image files, and folders of images as a source."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import types
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from kvae import checks
from kvae.data.sources import Source, blocks
from kvae.io import FileError, limits
from kvae.types import Array, Shape

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # Pillow also knows some that run other programs
LUMA = np.array([0.299, 0.587, 0.114], "float32")  # ITU-R BT.601, as in JPEG
FILE_BYTES = 4 * limits.EXAMPLE  # of an encoded image
NAME_BYTES = 1000  # upper bound on a file name, all that is held in memory of an image that has not been read
_QUIET = types.SimpleNamespace(lock=threading.Lock(), threads=0, filter=None)  # see `_quiet_pillow`


def decode(content: bytes) -> Array:
    """Decode an image, turned upright as its EXIF orientation says; of an animation, the first frame.

    Args:
        content: bytes, the encoded image.

    Returns:
        uint8 array `(height, width, channels)`: 1 channel for grey, 3 for colour (palettes and CMYK are converted), one
        more for alpha. 16-bit grey values are scaled to 8 bits.

    Raises:
        ValueError: if it is not an image of one of the `FORMATS`, damaged, or larger than `limits.EXAMPLE`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _quiet_pillow(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            size = image.width * image.height * len(image.getbands())
            if size > limits.EXAMPLE:  # only the header has been read
                raise ValueError(f"at most {limits.EXAMPLE:,} numbers are allowed, and its header declares {size:,}")
            return _as_bytes(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow raises many types of errors for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"not an image in one of the formats {', '.join(FORMATS)}"
        raise ValueError(reason) from error


@contextlib.contextmanager
def _quiet_pillow():
    """Ignore Pillow's warnings in the meantime: of large images, to which `limits.EXAMPLE` applies, and of metadata.

    Images are decoded by several threads at once, and the filters are those of the process. Hence the first thread adds
    a filter and the last one removes it: with `warnings.catch_warnings`, each would restore what another had changed.
    """
    with _QUIET.lock:
        _QUIET.threads += 1
        if _QUIET.threads == 1:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _QUIET.filter = warnings.filters[0]
    try:
        yield
    finally:
        with _QUIET.lock:
            _QUIET.threads -= 1
            if _QUIET.threads == 0 and _QUIET.filter in warnings.filters:
                warnings.filters.remove(_QUIET.filter)  # type: ignore[attr-defined]


def _as_bytes(image):
    """The pixels of a Pillow image as uint8 `(height, width, channels)`."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits
        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() >= 2**16:
            raise ValueError(f"its pixels must have 8 or 16 bits, and have Pillow's mode {image.mode}")
        return np.rint(pixels / 257).astype("uint8")[..., None]
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert({"1": "L", "La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGB"))
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def fitted(image: Array, image_size: tuple[int, int] | None = None, channels: Literal[1, 3] | None = None) -> Array:
    """Convert an image to the requested size and number of channels.

    Args:
        image: uint8 array `(height, width, c)`, with c = 1 or 3, or 2 or 4 if the last channel is alpha.
        image_size: `(height, width)` to resize to, or `None` to keep the size.
        channels: 1 (grey) or 3 (RGB); `None` keeps the image's channels, except alpha.

    Returns:
        uint8 array `(height, width, channels)`.

    Raises:
        ValueError: if the image is empty, or its channels can be converted to none of these.
    """
    if 0 in image.shape:
        raise ValueError(f"an image must have pixels, not shape {image.shape}")
    depth = image.shape[-1] - 1 if image.shape[-1] in (2, 4) else image.shape[-1]
    image = image[..., :depth]
    if depth == 3 and channels == 1:
        image = np.rint(image @ LUMA)[..., None].astype("uint8")
    elif depth == 1 and channels == 3:
        image = np.repeat(image, 3, axis=-1)
    elif channels not in (None, depth):
        raise ValueError(f"{channels} channels are needed, there are {depth}")
    if image_size is not None and image.shape[:2] != tuple(image_size):
        import tensorflow as tf

        with tf.device("CPU"):
            image = tf.image.resize(image, image_size, antialias=True).numpy()
        image = np.rint(image).clip(0, 255).astype("uint8")
    return image


def conversion(image_size: Sequence[int] | None, channels: Any) -> tuple[tuple[int, int] | None, Any]:
    """Return `image_size` as a tuple `(height, width)` or `None`, and `channels`, or raise a `ValueError`."""
    if channels not in (None, 1, 3):
        raise ValueError(f"`channels` must be 1, 3 or None. Received: {channels!r}")
    if image_size is None:
        return None, channels
    if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
        raise ValueError(f"`image_size` must be (height, width). Received: {image_size!r}")
    height, width = (checks.positive_integer(length, "image_size") for length in image_size)
    return (height, width), channels


def same_shape(image: Array | Unreadable, shape: Shape, name: str) -> Array | Unreadable:
    """Return an image; raise a `FileError` that says how to convert it if its shape is not `shape`."""
    if isinstance(image, Unreadable) or image.shape == shape:
        return image
    convert = "resize them all with `image_size`, --image-size HEIGHT WIDTH"
    if image.shape[:2] == shape[:2]:
        convert = "convert them all with `channels`, --channels 1 for grey or 3 for colour"
    raise FileError(
        f"{limits.printable(name, 4000)} must have the shape of the first image, {shape}: {convert}. "
        f"Received: {image.shape}"
    )


class Unreadable(NamedTuple):
    """Placeholder for an image that could not be read."""

    name: str
    reason: str

    def error(self) -> FileError:
        """Return the one-line error that names the image."""
        return FileError(
            f"{limits.printable(self.name, 4000)} must be a readable image: repair or remove it, or skip such images "
            f'with kvae.data.stream and unreadable="skip". Received: {limits.printable(" ".join(self.reason.split()))}'
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
    convert: bool = True,
) -> Source:
    """Open a folder of images, or of one subfolder per class.

    Args:
        path: `pathlib.Path` of the folder.
        image_size: `(height, width)`; `None` for the size of the first image.
        channels: 1 or 3; `None` for the channels of the first image.
        skip: whether to skip unreadable images when looking for the first one.
        convert: whether images of another shape than the first are converted to it, rather than raising an error.

    Returns:
        A `Source`.

    Raises:
        FileError: if the folder has no images, a class folder is empty, or the first image is unreadable.
    """
    names, classes = _entries(path)
    folders = [path]
    inside = {name: _entries(path / name)[0] for name in classes}
    labelled = any(map(len, inside.values()))
    if labelled:
        if len(names):
            first, other = os.fsdecode(names[0]), next(name for name in classes if len(inside[name]))
            raise FileError(
                f"{path} must contain either images or class folders with images. Received: both, such as "
                f"{limits.printable(first)} and {limits.printable(other)}/"
            )
        empty = [name for name in classes if not len(inside[name])]
        if empty:
            raise FileError(
                f"{path}/{limits.printable(empty[0])} must contain images ({', '.join(SUFFIXES)}): fill or remove this "
                "class folder. Received: none"
            )
        folders = [path / name for name in classes]
        names = np.concatenate([inside[name] for name in classes])
    if not len(names):
        raise FileError(f"{path} must contain images ({', '.join(SUFFIXES)}) or class folders of them. Received: none")
    ends = np.cumsum([len(inside[name]) for name in classes]) if labelled else np.array([len(names)])

    def path_of(row):
        return folders[int(np.searchsorted(ends, row, "right"))] / os.fsdecode(names[row])

    def load(row, size, depth):
        file = path_of(row)
        try:
            if not file.is_file():
                raise ValueError("not a file, or a symbolic link to none")  # a pipe or a device may never end
            return fitted(decode(limits.read_bytes(file, FILE_BYTES)), size, depth)
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
        return list(run(one, rows)), labels

    def one(row):
        if convert:
            return load(row, shape[:2], shape[2])
        return same_shape(load(row, image_size, channels), shape, str(path_of(row)))

    num_classes, class_names = None, None
    if labelled:
        num_classes, class_names = len(classes), tuple(limits.printable(name) for name in classes)
    return Source(shape, "uint8", labelled, num_classes, sizes, window, fetch, decode_rows, class_names)


def _entries(folder):
    """The images in a folder, sorted by name, and its subfolders, sorted.

    The names of the images are one array of bytes: millions of Python strings would fill memory.
    """
    images, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            # An entry knows its kind without another system call, except of a link, where it fails on a loop.
            if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                folders.append(entry.name)
            elif entry.name.lower().endswith(SUFFIXES):
                images.append(os.fsencode(entry.name))
    return np.array(sorted(images), "S"), sorted(folders)
