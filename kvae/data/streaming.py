"""Data sets larger than memory: image folders, TFRecord files and arrays on disk, read batch by batch.

The data are divided into blocks. Each epoch permutes the blocks, then shuffles rows within a window of consecutive
blocks, so that only the block indices and one window are in memory.
"""

from __future__ import annotations

import collections
import dataclasses
import glob
import os
import warnings
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kvae import checks
from kvae.data import image_folder, sources, tfrecord
from kvae.io import FileError
from kvae.training.pipelines import binary, from_bytes, kept_ahead, numbered
from kvae.types import PathLike, Shape

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Stream:
    """A data set of images that stays on disk.

    Attributes:
        image_shape: `(height, width, channels)`.
        num_classes: number of classes; `None` if there are no labels, and for TFRecord files, whose labels are only
            known once all records have been read.
        num_examples: number of images.
        name: name of the file or folder, without its suffix.
        unreadable: "raise" or "skip".
        threads: int, number of threads that decode images.
        class_names: names of the class folders, in the order of their labels; `None` for other data.
        source: the underlying `kvae.data.sources.Source`.
    """

    image_shape: Shape
    num_classes: int | None
    num_examples: int
    name: str
    unreadable: Literal["raise", "skip"] = "raise"
    threads: int = 2
    class_names: tuple[str, ...] | None = None
    source: sources.Source = dataclasses.field(repr=False, compare=False, kw_only=True)

    def batches(
        self,
        batch_size: int = 128,
        shuffle: bool = True,
        labels: bool = True,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        binarization: Literal["dynamic"] | None = None,
        first_epoch: int = 0,
    ) -> tf.data.Dataset:
        """Return the data as a `tf.data.Dataset` of batches, for `fit` and `evaluate` on any backend.

        The order and the binary pixels of an epoch depend only on the seed and the epoch's index. Worker i of n reads
        every n-th block. All workers yield as many images as the one with the fewest, hence the same number of batches.

        Args:
            batch_size: int, examples per batch of this worker.
            shuffle: whether to reshuffle every epoch; otherwise examples come in the order of the files.
            labels: whether to return `(x, y)` rather than `x`, if there are labels.
            seed: int, seed of the shuffling and of the binary pixels.
            shard: `(index, count)` of this worker. Under a `tf.distribute` strategy, use it with
                `distribute_datasets_from_function`.
            binarization: `None` for grey values, "dynamic" to sample x ~ Bernoulli(grey value) anew every time.
            first_epoch: int, index of the first epoch. Set it to e to resume training at epoch e.

        Returns:
            A `tf.data.Dataset` of float32 images `(batch, height, width, channels)` in [0, 1], or of tuples of these
            and int64 labels `(batch,)`. The last batch may be smaller.

        Raises:
            ValueError: if a batch is larger than the worker's shard, or a shard is empty.
        """
        import tensorflow as tf

        if binarization not in (None, "dynamic"):
            raise ValueError(f'`binarization` of a stream must be None or "dynamic". Received: {binarization!r}')
        batch_size = checks.positive_integer(batch_size, "batch_size")
        mine, rows = self._share(shard)
        if batch_size > rows:
            raise ValueError(
                f"`batch_size` must be at most the number of images{' per worker' * (shard[1] > 1)}, {rows}. "
                f"Received: {batch_size}"
            )
        labels = labels and self.source.labelled
        entropy = numbered(seed, first_epoch)
        warned: list[bool] = []

        def epoch():
            """Yield the images, labels and pixel seeds of one epoch; called at the start of each."""
            rng = np.random.default_rng([*entropy(), shard[0]])  # binary pixels differ between workers
            noise_seed = rng.integers(2**62, size=2)
            mixed = _mixed(self.source, mine, batch_size, rows, rng if shuffle else None)
            for batch, (x, y) in enumerate(self._decoded(mixed, warned)):
                yield (x, *((y,) if labels else ()), noise_seed + np.array([0, batch]))

        def ready(x, *others):
            *y, pixel_seed = others
            x = from_bytes(x) if x.dtype == tf.uint8 else x
            x = binary(x, pixel_seed) if binarization else x
            return (x, *y) if labels else x

        dtype = tf.as_dtype(self.source.dtype)
        signature = (
            tf.TensorSpec((None, *self.image_shape), dtype),
            *([tf.TensorSpec((None,), tf.int64)] if labels else []),
            tf.TensorSpec((2,), tf.int64),
        )
        dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature).map(ready)
        dataset = kept_ahead(dataset, -(-rows // batch_size))
        if shard[1] == 1:
            return dataset
        options = tf.data.Options()  # already sharded: keep a strategy from doing it again
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return dataset.with_options(options)

    def _share(self, shard):
        """The blocks of a worker, and the number of rows that every worker yields."""
        if not (
            isinstance(shard, (tuple, list))
            and len(shard) == 2
            and all(isinstance(number, (int, np.integer)) for number in shard)
            and 0 <= shard[0] < shard[1]
        ):
            raise ValueError(f"`shard` must be (index, count) with 0 <= index < count. Received: {shard!r}")
        index, count = shard
        sizes = self.source.sizes
        rows = min(int(sizes[worker::count].sum()) for worker in range(count))
        if not rows:
            raise ValueError(
                f"`shard` must have at most as many workers as there are blocks of images, {len(sizes)}. "
                f"Received: {shard!r}"
            )
        return np.arange(index, len(sizes), count), rows

    def _decoded(self, batches, warned):
        """Decode each batch. An unreadable image raises, or is skipped with one warning at the end unless `warned`."""
        missing: set[str] = set()
        last: tuple = ()
        with futures.ThreadPoolExecutor(self.threads) as pool:
            for columns in batches:
                x, y = self.source.decode(columns, pool.map)
                if isinstance(x, list):
                    good = [i for i, image in enumerate(x) if not isinstance(image, image_folder.Unreadable)]
                    bad = [image for image in x if isinstance(image, image_folder.Unreadable)]
                    if bad and (self.unreadable == "raise" or not (good or last)):
                        raise bad[0].error()
                    missing.update(image.name for image in bad)
                    if good:
                        last = np.stack([x[i] for i in good]), None if y is None else y[good]
                    x, y = last  # if no image is readable, repeat the last batch: workers must stay in step
                yield x, y
        if missing and not warned:
            warned.append(True)
            warnings.warn(
                f"Skipped {len(missing)} unreadable image(s) of {self.name}, such as {min(missing)}",
                UserWarning,
                stacklevel=2,
            )


def stream(
    path: PathLike,
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    unreadable: Literal["raise", "skip"] = "raise",
    arrays: tuple[str, str | None] | None = None,
    threads: int = 2,
) -> Stream:
    """Open a data set of images that need not fit into memory.

    Args:
        path: one of

            - a folder of PNG, JPEG, BMP, GIF, WebP or TIFF images, or of one subfolder per class; classes are numbered
              0, 1, … in the sorted order of their names. Images are turned upright as their EXIF orientation says; of
              an animation, the first frame counts.
            - a TFRecord file, a folder of `.tfrecord` files, or a pattern such as "data/train-*.tfrecord". Records are
              `tf.train.Example`s with the features `image` (an encoded image, or raw uint8 with its `shape`) and
              optionally `label`, as `write_records` writes them. Opening a file scans the lengths of its records.
            - an `.npy` file of uint8, bool or floats in [0, 1], an uncompressed `.npz` file of such arrays
              (`np.savez`), or a folder of `.npy` files.
        image_size: `(height, width)` to which images of files and records are resized; `None` for the size of the
            first image.
        channels: 1 (grey) or 3 (RGB); `None` for the channels of the first image.
        unreadable: what to do with an image that cannot be decoded: "raise" a `FileError` that names it, or "skip" it
            and warn once, after the epoch, with the number of skipped images.
        arrays: names of the images and of the labels (or `None`) in an `.npz` file or a folder of arrays. Defaults to
            the first that exists of `images`, `x`, `x_train`, `train` and of `labels`, `y`, `y_train`.
        threads: int, number of threads that decode images.

    Returns:
        A `Stream`.

    Raises:
        FileError: if the path does not exist, a folder or a class has no images, or the first image is unreadable.
        ValueError: if a file is damaged or compressed, or an array does not contain images.

    Example:

    >>> photos = kvae.data.stream("photos", image_size=(64, 64))
    >>> model.fit(photos.batches(128, labels=False), epochs=10)
    """
    if unreadable not in ("raise", "skip"):
        raise ValueError(f'`unreadable` must be "raise" or "skip". Received: {unreadable!r}')
    image_size, channels = image_folder.conversion(image_size, channels)
    threads = checks.positive_integer(threads, "threads")
    path = Path(path)
    kind, paths = kind_of(path)
    if kind == "arrays":
        if (image_size, channels) != (None, None):
            raise ValueError(
                "`image_size` and `channels` must be omitted for arrays, which are not converted. "
                f"Received: image_size={image_size}, channels={channels}"
            )
        source = sources.array_source(path, arrays)
    else:
        if arrays is not None:
            raise ValueError(f"`arrays` must be used with an .npz file or a folder of .npy files. Received: {path}")
        skip = unreadable == "skip"
        if kind == "records":
            source = tfrecord.record_source(paths, image_size, channels, skip)
        else:
            source = image_folder.folder_source(path, image_size, channels, skip)
    found = source.image_shape, source.num_classes, int(source.sizes.sum()), path.stem
    return Stream(*found, unreadable, threads, source.class_names, source=source)


def kind_of(path: Path) -> tuple[Literal["arrays", "records", "images"], list[Path]]:
    """The kind of data at a path, and the paths of the record files; raises a `FileError` if there is none."""
    if not path.exists():
        paths = [Path(found) for found in sorted(glob.glob(str(path))) if os.path.exists(found)]
        if not paths:
            raise FileError(
                f"`path` must be an existing file or folder, or a pattern that matches files. Received: {path}"
            )
        wrong = [found for found in paths if found.suffix.lower() not in tfrecord.SUFFIXES]
        if wrong:
            raise FileError(f"`path`, if it is a pattern, must match only TFRecord files. Received: {wrong[0]}")
        return "records", paths
    if path.is_dir():
        endings = collections.defaultdict(list)
        for name in os.listdir(path):
            if not name.startswith("."):
                endings[os.path.splitext(name)[1].lower()].append(name)
        paths = [path / name for ending in tfrecord.SUFFIXES for name in endings[ending]]
        if paths:
            return "records", sorted(paths)
        return "arrays" if endings[".npy"] else "images", []
    if path.is_file():  # not a device or a pipe
        if path.suffix.lower() in tfrecord.SUFFIXES:
            return "records", [path]
        if path.suffix.lower() in (".npy", ".npz"):
            return "arrays", []
    raise FileError(f"`path` must be a folder, or a file that ends in .tfrecord, .npy or .npz. Received: {path}")


def _mixed(source, blocks, batch_size, rows, rng=None):
    """Batches of rows in their on-disk encoding.

    Args:
        source: a `Source`.
        blocks: int array, indices of the blocks to read.
        batch_size: int.
        rows: int, number of rows to yield in total.
        rng: `numpy.random.Generator` that permutes the blocks and the rows of a window; `None` for the order on disk.

    Yields:
        Tuples of arrays, one row per example.
    """
    blocks = blocks if rng is None else rng.permutation(blocks)
    rest: list[tuple] = []  # rows that did not fill a batch
    given = 0
    for start in range(0, len(blocks), source.window):
        window = [source.fetch(block) for block in blocks[start : start + source.window]]
        columns = tuple(map(np.concatenate, zip(*rest, *window, strict=True)))
        del window  # free the parts: the columns are copies
        num = len(columns[0])
        places = np.arange(num) if rng is None else rng.permutation(num)
        last = start + source.window >= len(blocks)
        full = num if last else num // batch_size * batch_size
        for begin in range(0, full, batch_size):
            chosen = places[begin : min(begin + batch_size, full)][: rows - given]
            given += len(chosen)
            if len(chosen):
                yield tuple(column[chosen] for column in columns)
        rest = [tuple(column[places[full:]] for column in columns)]
