"""More data than memory: image folders, TFRecord files and arrays on disk as batches, read as they are needed.

Rows lie in blocks. An epoch puts the blocks in a new order and mixes the rows of as many as make a window; nothing but
the blocks' numbers and one window is ever in memory.
"""

import contextlib
import dataclasses
import glob
import re
import warnings
from concurrent import futures
from pathlib import Path

import numpy as np

from kvae import checks
from kvae.data import image_folder, sources, tfrecord
from kvae.io import FileError
from kvae.training.pipelines import binary, from_bytes, kept_ahead, numbered


@dataclasses.dataclass(frozen=True)
class Stream:
    """Images that stay on disk.

    Attributes:
        image_shape: `(height, width, channels)`.
        num_classes: number of classes; `None` without labels, and for TFRecord files, which would have to be read.
        num_examples: number of images.
        name: of the file or folder.
        unreadable: "raise" or "skip".
        threads: int, that decode images.
        source: the `kvae.data.sources.Source` behind it.
    """

    image_shape: tuple
    num_classes: int | None
    num_examples: int
    name: str
    unreadable: str = "raise"
    threads: int = 2
    source: sources.Source = dataclasses.field(repr=False, compare=False, kw_only=True)

    def batches(
        self, batch_size=128, shuffle=True, labels=True, seed=0, shard=(0, 1), binarization=None, first_epoch=0
    ):
        """The data as a `tf.data.Dataset` of batches, for `fit` and `evaluate` on any backend.

        The order and the binary pixels of an epoch depend on the seed and the epoch's number alone. Worker i of n reads
        every n-th block; all workers get as many images as the one with the fewest, and so as many batches.

        Args:
            batch_size: int.
            shuffle: whether each epoch has an order of its own; else it is that of the files.
            labels: whether to give `(x, y)` rather than `x`, where there are labels.
            seed: int, for the order and the pixels.
            shard: `(index, count)` of this worker, whose own `batch_size` is meant; under a strategy of TensorFlow's,
                for `distribute_datasets_from_function`.
            binarization: `None` for grey values, "dynamic" for x ~ Bernoulli(grey value), afresh each time.
            first_epoch: int, the number of the first epoch; a training that goes on from epoch e begins with e.

        Returns:
            A `tf.data.Dataset` of float32 `(batch, height, width, channels)` in [0, 1], or of these and int64 labels
            `(batch,)`; the last batch is short.

        Raises:
            ValueError: for a batch larger than the worker's share, or a share that is empty.
        """
        import tensorflow as tf

        if binarization not in (None, "dynamic"):
            raise ValueError(f'`binarization` of a stream must be None or "dynamic". Received: {binarization!r}')
        batch_size = checks.positive_integer(batch_size, "batch_size")
        mine, rows = self._share(shard)
        if batch_size > rows:
            raise ValueError(
                f"`batch_size` must be at most the number of images{' of a worker' * (shard[1] > 1)}, {rows}. "
                f"Received: {batch_size}"
            )
        labels = labels and self.source.labelled
        entropy = numbered(seed, first_epoch)
        told: list[bool] = []

        def epoch():
            """An epoch's images, labels and seeds of pixels; called whenever an epoch begins."""
            rng = np.random.default_rng([*entropy(), shard[0]])  # each worker has binary pixels of its own
            noise_seed = rng.integers(2**62, size=2)
            mixed = _mixed(self.source, mine, batch_size, rows, rng if shuffle else None)
            for batch, (x, y) in enumerate(self._decoded(mixed, told)):
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
        options = tf.data.Options()  # dealt out already: a strategy is not to do it again
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return dataset.with_options(options)

    def _share(self, shard):
        """The blocks of a worker, and how many rows each worker gives."""
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

    def _decoded(self, batches, told):
        """Images and labels of each batch; the unreadable stop all, or are left out and, unless `told`, warned of."""
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
                    x, y = last  # where nothing is readable, the batch before again: workers keep in step
                yield x, y
        if missing and not told:
            told.append(True)
            warnings.warn(
                f"Left out of {self.name}: {len(missing)} unreadable image(s), the first of them {min(missing)}",
                UserWarning,
                stacklevel=2,
            )


def stream(path, image_size=None, channels=None, unreadable="raise", arrays=None, threads=2):
    """Open images that need not fit into memory.

    Args:
        path: one of

            - a folder of PNG, JPEG, BMP or GIF images, or of class folders of them: labels 0, 1, … by sorted name.
            - a TFRecord file, a folder of `.tfrecord` files, or a pattern such as "data/train-*.tfrecord". Records are
              `tf.train.Example`s with `image` (an encoded image, or raw uint8 with its `shape`) and perhaps `label`;
              `write_records` makes such. Their lengths are walked through when the file is opened.
            - an `.npy` file of uint8, bool or floats in [0, 1], an `.npz` of such arrays that is not compressed
              (`np.savez`), or a folder of `.npy` files.
        image_size: `(height, width)` that images of files and records are resized to; by default the first one's.
        channels: 1 (grey) or 3; by default the first image's.
        unreadable: what to do about an image that cannot be decoded: "raise" a `FileError` that names it, or "skip" it
            and warn once, after the epoch, of how many there were.
        arrays: names of the images and of the labels (or `None`) in an `.npz` or a folder of arrays. By default the
            first there of `images`, `x`, `x_train`, `train` and of `labels`, `y`, `y_train`.
        threads: int, that decode images.

    Returns:
        A `Stream`.

    Raises:
        FileError: if nothing is there, a folder or a class has no images, or the first image is unreadable.
        ValueError: for damaged or compressed files, and arrays that are no images.

    Example:

    >>> photos = kvae.data.stream("photos", image_size=(64, 64))
    >>> model.fit(photos.batches(128, labels=False), epochs=10)
    """
    if unreadable not in ("raise", "skip"):
        raise ValueError(f'`unreadable` must be "raise" or "skip". Received: {unreadable!r}')
    if channels not in (None, 1, 3):
        raise ValueError(f"`channels` must be 1, 3 or None. Received: {channels!r}")
    if image_size is not None:
        if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
            raise ValueError(f"`image_size` must be (height, width). Received: {image_size!r}")
        image_size = tuple(checks.positive_integer(length, "image_size") for length in image_size)
    threads = checks.positive_integer(threads, "threads")
    path = Path(path)
    kind, paths = _kind(path)
    if kind == "arrays":
        if (image_size, channels) != (None, None):
            raise ValueError("`image_size` and `channels` must be left out for arrays, which are taken as they are")
        source = sources.array_source(path, arrays)
    else:
        if arrays is not None:
            raise ValueError(f"`arrays` must go with an .npz file or a folder of .npy files. Received: {path}")
        skip = unreadable == "skip"
        if kind == "records":
            source = tfrecord.record_source(paths, image_size, channels, skip)
        else:
            source = image_folder.folder_source(path, image_size, channels, skip)
    num_examples = int(source.sizes.sum())
    return Stream(source.image_shape, source.num_classes, num_examples, path.stem, unreadable, threads, source=source)


@contextlib.contextmanager
def plain_errors():
    """Let a `FileError` from inside a pipeline come out as such, not as a page of TensorFlow's with it somewhere."""
    try:
        yield
    except Exception as error:
        found = None if isinstance(error, FileError) else re.search(r"\bFileError: (.*)", str(error))
        if found is None:
            raise
        raise FileError(found[1]) from None


def _kind(path):
    """What lies at a path: "arrays", "records" or "images"; and the record files."""
    if not path.exists():
        paths = [Path(found) for found in sorted(glob.glob(str(path)))]
        if not paths:
            raise FileError(f"`path` must be an existing file or folder, or match files. Received: {path}")
        wrong = [found for found in paths if found.suffix not in tfrecord.SUFFIXES]
        if wrong:
            raise FileError(f"`path` with a pattern must match TFRecord files alone. Received: {wrong[0]}")
        return "records", paths
    if path.is_file():
        if path.suffix in tfrecord.SUFFIXES:
            return "records", [path]
        if path.suffix in (".npy", ".npz"):
            return "arrays", None
        raise FileError(f"`path` must be a folder, or a file that ends in .tfrecord, .npy or .npz. Received: {path}")
    there = [found for found in sorted(path.iterdir()) if not found.name.startswith(".")]
    paths = [found for found in there if found.suffix in tfrecord.SUFFIXES]
    if paths:
        return "records", paths
    return "arrays" if any(found.suffix == ".npy" for found in there) else "images", None


def _mixed(source, blocks, batch_size, rows, rng=None):
    """Rows as they lie on disk, in batches.

    Args:
        source: a `Source`.
        blocks: int array, those to read.
        batch_size: int.
        rows: int, how many to give.
        rng: `numpy.random.Generator` to order the blocks with and to mix their rows within a window; `None` for the
            order on disk.

    Yields:
        Tuples of arrays, a row an example.
    """
    blocks = blocks if rng is None else rng.permutation(blocks)
    rest: list[tuple] = []  # what did not fill a batch
    given = 0
    for start in range(0, len(blocks), source.window):
        window = [source.fetch(block) for block in blocks[start : start + source.window]]
        columns = tuple(map(np.concatenate, zip(*rest, *window, strict=True)))
        del window  # or it would be there twice
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
