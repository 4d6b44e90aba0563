"""Arrays in memory as batches: gathered whole, shuffled and binarized anew, fast enough to keep a model busy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from kvae import checks
from kvae.training import orders
from kvae.training.descriptions import describe
from kvae.types import Array, ArrayLike, Tensor

GREYS = np.arange(256, dtype="float32") / np.float32(255)  # the values of the bytes of an image file


class Rows(NamedTuple):
    """A batch not gathered yet; on JAX and PyTorch, the batches of several steps.

    Attributes:
        rows: int tensor of row numbers, `(batch,)` or `(steps, batch)`.
        arrays: all images, labels and sample weights, on the device; labels and weights may be `None`.
    """

    rows: Tensor
    arrays: tuple[Any, ...]


def pipeline(
    x: Array,
    y: Array | None = None,
    sample_weight: Array | None = None,
    *,
    batch_size: int = 128,
    shuffle: bool = True,
    dynamic: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
    entropy: Callable[[], Any] | None = None,
    multiple: int = 1,
    order: orders.Order | None = None,
) -> Any:
    """Arrays in memory as a `tf.data.Dataset` that gathers whole batches.

    The order and the binary pixels of an epoch depend only on the seed and the epoch's number, so that an interrupted
    run can resume exactly.

    Args:
        x: images `(n, ...)`; floats that are multiples of 1/255 are kept as bytes.
        y: labels `(n, ...)`, or `None`.
        sample_weight: array `(n,)`, or `None`.
        batch_size: int.
        shuffle: whether to draw a new order for each epoch.
        dynamic: whether to draw new binary pixels from the grey values in each epoch.
        seed: int.
        first_epoch: number of the first epoch that is drawn from the dataset.
        entropy: function that is called when an epoch begins and returns the integers to seed it with, instead of the
            seed and the epoch's number.
        multiple: int that every batch size must be divisible by; surplus examples of the last batch are left out.
        order: which rows an epoch takes; `None` for each once, in the order that `shuffle` asks for.

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`, the last batch short.

    Raises:
        ValueError: if `batch_size` is not a positive integer divisible by `multiple`.
    """
    import tensorflow as tf

    batch_size = checks.positive_integer(batch_size, "batch_size")
    if batch_size % multiple:
        raise ValueError(f"`batch_size` must be divisible by `multiple`, {multiple}. Received: {batch_size}")
    if order is None:
        order = orders.shuffled(len(x)) if shuffle else orders.unchanged(len(x))
    n = order.length // multiple * multiple
    num_batches = -(-n // batch_size)
    stored = tf.convert_to_tensor(smallest(x))  # `constant` copies twice
    fetch = _fetcher(stored)
    others = each(tf.convert_to_tensor, (y, sample_weight))
    entropy = entropy or numbered(seed, first_epoch)

    def gather(rows, noise_seeds=None):
        images = fetch(rows)
        if dynamic:
            images = binary(images, noise_seeds[0])
        y, sample_weight = each(lambda a: tf.gather(a, rows), others)
        if sample_weight is not None:
            return images, y, sample_weight
        return images if y is None else (images, y)

    def epoch():  # the numbers of its rows, and for each the seed of the pixels of its batch
        rng = np.random.default_rng(entropy())
        rows = order.draw(rng)[:n]
        if not dynamic:
            return rows
        first, second = rng.integers(2**62, size=2)
        return rows, np.stack([np.full(n, first), second + np.arange(n) // batch_size], axis=-1)

    drawn = _drawn(epoch, (n,), (n, 2)) if dynamic else _drawn(epoch, (n,))
    dataset = kept_ahead(drawn.unbatch().batch(batch_size).map(gather, num_parallel_calls=1), num_batches)
    parts = {"x": stored, "y": others[0], "sample_weight": others[1], "batch_size": batch_size, "seed": seed}
    dataset.describe = lambda: describe(parts)  # for several workers, without reading a batch
    return dataset


def rows(
    x: Array,
    y: Array | None = None,
    sample_weight: Array | None = None,
    *,
    batch_size: int,
    order: orders.Order,
    entropy: Callable[[], Any] | None,
) -> Any:
    """Like `pipeline`, but the step gathers its batch itself, which leaves less to the background thread.

    Args:
        x: images `(n, ...)`.
        y: labels `(n, ...)`, or `None`.
        sample_weight: array `(n,)`, or `None`.
        batch_size: int.
        order: which rows an epoch takes.
        entropy: function that is called when an epoch begins and returns the integers to seed its order with; `None`
            for a fixed seed.

    Returns:
        A `tf.data.Dataset` of `(Rows,)`, with images as bytes if that is exact.
    """
    import tensorflow as tf

    arrays = each(tf.convert_to_tensor, (smallest(x), y, sample_weight))
    num_batches = -(-order.length // batch_size)
    entropy = entropy or numbered(0)
    numbers = _drawn(lambda: order.draw(np.random.default_rng(entropy())), (order.length,))
    numbers = numbers.unbatch().batch(batch_size)
    batches = tf.data.Dataset.zip((Rows(numbers, tf.data.Dataset.from_tensors(arrays).repeat()),))
    return kept_ahead(batches, num_batches)


def _drawn(epoch, *shapes):
    """A dataset whose only element is what `epoch` returns when it begins: arrays of int64 of these shapes.

    Keras makes two iterators for each epoch. With `from_generator`, and a dataset within a dataset for the batches, one
    took 60 ms up to its first element, longer than an epoch of a small data set; this way it takes 8.
    """
    import tensorflow as tf

    def element(_):
        if len(shapes) == 1:
            return tf.ensure_shape(tf.numpy_function(epoch, (), tf.int64), *shapes)
        return tuple(map(tf.ensure_shape, tf.numpy_function(epoch, (), (tf.int64,) * len(shapes)), shapes))

    return tf.data.Dataset.range(1).map(element)


def numbered(seed: int, first_epoch: int = 0) -> Callable[[], Any]:
    """A function that returns the integers to seed each epoch with: the seed and the epoch's number."""
    return zip(itertools.repeat(seed % 2**64), itertools.count(first_epoch), strict=False).__next__


def binary(images: Tensor, seed: Tensor) -> Tensor:
    """Pixels x ~ Bernoulli(grey value), given a seed of two integers."""
    import tensorflow as tf

    return tf.cast(tf.random.stateless_uniform(tf.shape(images), seed) < images, tf.float32)


def from_bytes(images: Tensor) -> Tensor:
    """The grey values in [0, 1] of uint8 images: those of `GREYS`, to the bit."""
    import tensorflow as tf

    return tf.cast(images, tf.float32) / 255.0


def kept_ahead(dataset: Any, num_batches: int) -> Any:
    """Prefetch a `tf.data.Dataset` of batches with one thread: more would compete with the model for cores."""
    import tensorflow as tf

    dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_batches)).prefetch(4)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False  # they would copy the arrays
    options.threading.private_threadpool_size = 1
    # Several workers take their shares of the same batches: all draw the same order, from the seed.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = dataset.with_options(options)
    dataset.batches_per_epoch = num_batches  # for `fit`
    return dataset


def _fetcher(stored):
    """A function from row numbers to float32 images, over their smallest exact copy."""
    import tensorflow as tf

    if stored.dtype != tf.uint8:
        return lambda rows: tf.gather(stored, rows)
    return lambda rows: from_bytes(tf.gather(stored, rows))


def smallest(x: ArrayLike, block: int = 64) -> Array:
    """`x` as uint8 if every value is a multiple of 1/255 (as in image files and binary pixels), else as float32."""
    x = np.asarray(x)
    quantised, buffer = np.empty(x.shape, "uint8"), np.empty((block, *x.shape[1:]), "float32")
    for start in range(0, len(x), block):  # fits into the processor's cache
        piece = x[start : start + block]
        if not (piece.min() >= 0 and piece.max() <= 1):
            return x.astype("float32", copy=False)
        greys = buffer[: len(piece)]
        np.rint(np.multiply(piece, np.float32(255), out=greys, casting="unsafe"), out=greys)
        quantised[start : start + block] = greys
        if not np.array_equal(np.divide(greys, np.float32(255), out=greys), piece):
            return x.astype("float32", copy=False)
    return quantised


def each(function: Callable[[Any], Any], arrays: Iterable[Any]) -> tuple[Any, ...]:
    """Apply `function` to each array; labels may be a tuple of arrays, and `None` stays `None`."""
    return tuple(
        each(function, a) if isinstance(a, (tuple, list)) else None if a is None else function(a) for a in arrays
    )
