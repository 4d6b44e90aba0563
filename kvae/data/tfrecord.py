"""TFRecord files as a source, and writing arrays as TFRecord files.

A file is a sequence of records (https://www.tensorflow.org/tutorials/load_data/tfrecord), each an 8-byte length, its
4-byte checksum, the content, and the content's 4-byte checksum. Lengths are scanned once, so that blocks can be
read in any order.
"""

from __future__ import annotations

import contextlib
from array import array
from pathlib import Path
from typing import Literal

import google_crc32c
import numpy as np

from kvae import checks
from kvae.data.image_folder import Unreadable, decode, first_shape, fitted, same_shape
from kvae.data.sources import WINDOW_BYTES, Source
from kvae.io import FileError, atomic, limits
from kvae.training.pipelines import smallest
from kvae.types import ArrayLike, PathLike

SUFFIXES = (".tfrecord", ".tfrecords")
HEAD, FOOT = 12, 4  # bytes before and after the content
BLOCK_RECORDS = 8
READ_AHEAD = 2**16  # bytes: many small records per read, little waste on a large one


def record_source(
    paths: list[Path],
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    skip: bool = False,
    convert: bool = True,
) -> Source:
    """Open images in TFRecord files of `tf.train.Example`s.

    Args:
        paths: list of `pathlib.Path`s.
        image_size: `(height, width)`; `None` for the size of the first image.
        channels: 1 or 3; `None` for the channels of the first image.
        skip: whether to skip unreadable images when looking for the first one.
        convert: whether images of another shape than the first are converted to it, rather than raising an error.

    Returns:
        A `Source`. Its `num_classes` is `None`: counting the classes would mean reading every record.

    Raises:
        ValueError: if a file is damaged or empty, or has no images.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.train import Example

    indices = [_index(path) for path in paths]
    file_of = np.concatenate([np.full(len(sizes), i) for i, (_, sizes) in enumerate(indices)])
    starts = np.concatenate([starts[:-1] for starts, _ in indices])
    ends = np.concatenate([starts[1:] for starts, _ in indices])
    sizes = np.concatenate([sizes for _, sizes in indices])

    def fetch(block):
        path = paths[file_of[block]]
        content = np.fromfile(path, "uint8", int(ends[block] - starts[block]), offset=int(starts[block])).tobytes()
        records, at = np.empty(int(sizes[block]), object), 0
        intact = np.zeros(len(records), bool)
        for i in range(len(records)):
            length = int.from_bytes(content[at : at + 8], "little")
            records[i] = content[at + HEAD : at + HEAD + length]
            at += HEAD + length + FOOT
            intact[i] = masked_crc(records[i]) == int.from_bytes(content[at - FOOT : at], "little")
        return records, intact, np.full(len(records), file_of[block])

    def parsed(columns):
        """The features of each record, or an `Unreadable` in their place, and the index of its file."""
        records, intact, files = columns
        return [
            (parse(record, file) if good else Unreadable(f"An image in {paths[file]}", "another checksum"), file)
            for record, good, file in zip(records, intact, files, strict=True)
        ]

    def parse(record, file):
        """Parse a record into a dict of its features."""
        try:
            return Example.FromString(record).features.feature
        except DecodeError as error:
            raise FileError(f"{paths[file]} must contain tf.train.Example records. Received: {error}") from error

    def load(features, file, size, depth):
        if isinstance(features, Unreadable):
            return features
        if not features["image"].bytes_list.value:
            raise FileError(
                f"{paths[file]}: every record must have the bytes feature `image`. "
                f"Received: {limits.printable(sorted(features))}"
            )
        content, shape = features["image"].bytes_list.value[0], features["shape"].int64_list.value
        try:
            if len(shape) not in (0, 2, 3):
                raise ValueError(f"`shape` must be (height, width) or (height, width, channels), not {list(shape)[:9]}")
            image = np.frombuffer(content, "uint8").reshape((*shape, 1)[:3]) if shape else decode(content)
            return fitted(image, size, depth)
        except ValueError as error:
            return Unreadable(f"An image in {paths[file]}", str(error))

    def label(features, file):
        if isinstance(features, Unreadable):
            return 0  # of a row that is left out
        if bool(features["label"].int64_list.value) != labelled:
            raise FileError(
                f"{paths[file]}: either all records or none must have the integer feature `label`. "
                f"Received: {limits.printable(sorted(features))}"
            )
        return features["label"].int64_list.value[0] if labelled else 0

    def opened():
        return (row for block in range(len(sizes)) for row in parsed(fetch(block)))

    shape = first_shape((load(features, file, image_size, channels) for features, file in opened()), skip)
    first = next(features for features, _ in opened() if not isinstance(features, Unreadable))
    labelled = bool(first["label"].int64_list.value)

    def decode_rows(columns, run):
        rows = parsed(columns)
        labels = np.array([label(features, file) for features, file in rows])
        return list(run(lambda row: one(*row), rows)), labels if labelled else None

    def one(features, file):
        if convert:
            return load(features, file, shape[:2], shape[2])
        return same_shape(load(features, file, image_size, channels), shape, f"An image in {paths[file]}")

    window = max(1, int(WINDOW_BYTES // np.mean(ends - starts)))
    return Source(shape, "uint8", labelled, None, sizes, window, fetch, decode_rows)


def masked_crc(content: bytes) -> int:
    """The checksum of a record or a length: its CRC-32C, rotated by 15 bits, plus a constant."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _index(path):
    """The offsets at which the blocks of a file start (and the last one ends), and their numbers of records."""
    end, at, count, starts = path.stat().st_size, 0, 0, array("q")
    with open(path, "rb", READ_AHEAD) as file:
        while at < end:
            if count % BLOCK_RECORDS == 0:
                starts.append(at)
            head = file.read(HEAD)
            if masked_crc(head[:8]) != int.from_bytes(head[8:], "little"):
                at = -1
                break
            at += HEAD + int.from_bytes(head[:8], "little") + FOOT
            count += 1
            file.seek(min(at, end))
    if at != end or not count:
        raise ValueError(
            f"{path} must be a TFRecord file, neither empty, compressed nor damaged. Received: {end} bytes, in which "
            f"{'the checksum of a length is another' if at < 0 else f'record {count} ends at byte {at}'}"
        )
    sizes = np.full(len(starts), BLOCK_RECORDS)
    sizes[-1] -= BLOCK_RECORDS * len(starts) - count
    starts.append(end)
    return np.array(starts), sizes


def write_records(path: PathLike, x: ArrayLike, y: ArrayLike | None = None, shards: int = 1) -> list[Path]:
    """Write images as TFRecord files for `stream`, with the features `image` (raw bytes), `shape` and `label`.

    Args:
        path: file to write, such as "train.tfrecord"; its folder is created. No file appears until all are complete.
        x: images `(n, height, width)` or `(n, height, width, channels)`: uint8, or floats in [0, 1] that are multiples
            of 1/255. May be a memory map: rows are read one at a time.
        y: integer labels `(n,)`, or `None`.
        shards: int, number of files. If there are several, "-00000-of-00004" and so on is appended to their names.

    Returns:
        List of the files' `pathlib.Path`s.

    Raises:
        ValueError: if `x` does not contain such images, `y` is not one label per image, or there are more shards than
            images.

    Example:

    >>> data = kvae.load_data("digits")
    >>> x = np.rint(255 * data.x_train).astype("uint8")
    >>> paths = kvae.data.write_records("digits.tfrecord", x, data.y_train, shards=4)
    >>> paths[0].name
    'digits-00000-of-00004.tfrecord'
    >>> kvae.data.stream("digits-*.tfrecord").num_examples
    1437
    """
    import tensorflow as tf
    from tensorflow.train import BytesList, Example, Feature, Features, Int64List

    path, shards = Path(path), checks.positive_integer(shards, "shards")
    x = x if isinstance(x, np.ndarray) else np.asarray(x)
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(
            f"`x` must have shape (n, height, width) or (n, height, width, channels). Received: shape {x.shape}"
        )
    if y is not None:
        y = checks.class_labels(y, np.iinfo("int64").max, len(x), "y")
    if shards > len(x):
        raise ValueError(f"`shards` must be at most the number of images, {len(x)}. Received: {shards}")
    atomic.make_folder(path.parent)
    paths = [path]
    if shards > 1:
        paths = [path.with_name(f"{path.stem}-{i:05d}-of-{shards:05d}{path.suffix}") for i in range(shards)]
    with contextlib.ExitStack() as stack:
        for i, each in enumerate(paths):
            with tf.io.TFRecordWriter(str(stack.enter_context(atomic.replacing(each)))) as writer:
                for row in range(len(x) * i // shards, len(x) * (i + 1) // shards):
                    image = x[row] if x.dtype == np.uint8 else smallest(x[row][None])[0]
                    if image.dtype != np.uint8:
                        raise ValueError(
                            "`x` must be uint8, or floats in [0, 1] that are multiples of 1/255: use "
                            f'np.rint(x * 255).astype("uint8"). Received: {x.dtype} with other values'
                        )
                    shape = Feature(int64_list=Int64List(value=image.shape))
                    features = {"image": Feature(bytes_list=BytesList(value=[image.tobytes()])), "shape": shape}
                    if y is not None:
                        features["label"] = Feature(int64_list=Int64List(value=[int(y[row])]))
                    writer.write(Example(features=Features(feature=features)).SerializeToString())
    return paths
