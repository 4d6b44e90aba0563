"""Arrays in memory as batches: gathered whole, shuffled and binarized afresh, fast enough to keep a model busy."""

import itertools
from typing import NamedTuple

import numpy as np

from kvae import checks

GREYS = np.arange(256, dtype="float32") / np.float32(255)  # what the bytes of an image file stand for


class Rows(NamedTuple):
    """A batch, or many on JAX, not gathered yet.

    Attributes:
        rows: int tensor of the numbers of its rows, `(batch,)` or `(steps, batch)`.
        arrays: tuple of images, labels and sample weights on the device, all of them; labels and weights may be `None`.
    """

    rows: object
    arrays: tuple


def pipeline(
    x,
    y=None,
    sample_weight=None,
    *,
    batch_size=128,
    shuffle=True,
    dynamic=False,
    seed=0,
    first_epoch=0,
    entropy=None,
    multiple=1,
):
    """Arrays in memory as a `tf.data.Dataset` that gathers whole batches.

    The order and the binary pixels of an epoch depend on nothing but the seed and the epoch's number, so that a
    training that was interrupted can go on as if it had not been.

    Args:
        x: images `(n, ...)`; floats that are whole 255ths are kept as bytes.
        y: labels `(n, ...)`, or `None`.
        sample_weight: array `(n,)`, or `None`.
        batch_size: int.
        shuffle: whether each epoch has an order of its own.
        dynamic: whether to draw binary pixels from grey values afresh each time.
        seed: int.
        first_epoch: int, the number of the first epoch that is drawn from the data set.
        entropy: function, called when an epoch begins, to the integers from which to draw it, in place of the seed and
            the epoch's number.
        multiple: int that the size of each batch must be divisible by; what the last one has too many of is left out.

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`, the last batch short.
    """
    import tensorflow as tf

    batch_size = checks.positive_integer(batch_size, "batch_size")
    if batch_size % multiple:
        raise ValueError(f"`batch_size` must be divisible by `multiple`, {multiple}. Received: {batch_size}")
    total = len(x)
    n = total // multiple * multiple
    num_batches = -(-n // batch_size)
    fetch = _fetcher(x)
    others = [None if a is None else tf.convert_to_tensor(a) for a in (y, sample_weight)]
    entropy = entropy or numbered(seed, first_epoch)

    def gather(rows, noise_seed, batch):
        images = fetch(rows)
        if dynamic:
            images = binary(images, noise_seed + [0, 1] * batch)
        y, sample_weight = (None if a is None else tf.gather(a, rows) for a in others)
        if sample_weight is not None:
            return images, y, sample_weight
        return images if y is None else (images, y)

    def batches(rows, noise_seed):
        numbered = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).enumerate()
        return numbered.map(lambda batch, rows: gather(rows, noise_seed, batch), num_parallel_calls=1)

    return kept_ahead(_orders(total, n, shuffle, entropy).flat_map(batches), num_batches)


def rows(x, y=None, sample_weight=None, *, batch_size, shuffle, entropy):
    """As `pipeline`, but of batches that the step gathers itself: less work for the one thread beside it.

    Args:
        x: images `(n, ...)`.
        y: labels `(n, ...)`, or `None`.
        sample_weight: array `(n,)`, or `None`.
        batch_size: int.
        shuffle: whether each epoch has an order of its own.
        entropy: function, called when an epoch begins, to the integers from which to draw its order; `None` without.

    Returns:
        A `tf.data.Dataset` of `(Rows,)`; its images are bytes if they could be kept so.
    """
    import tensorflow as tf

    arrays = tuple(None if a is None else tf.convert_to_tensor(a) for a in (smallest(x), y, sample_weight))
    num_batches = -(-len(x) // batch_size)
    numbers = _orders(len(x), len(x), shuffle, entropy or numbered(0)).flat_map(
        lambda rows, _: tf.data.Dataset.range(num_batches).map(
            lambda batch: rows[batch * batch_size : (batch + 1) * batch_size]  # `batch` would join them one by one
        )
    )
    batches = tf.data.Dataset.zip((Rows(numbers, tf.data.Dataset.from_tensors(arrays).repeat()),))
    return kept_ahead(batches, num_batches)


def _orders(total, n, shuffle, entropy):
    """The numbers of `n` among `total` rows, and the seed of the pixels: an epoch each, drawn when it begins."""
    import tensorflow as tf

    def epoch():
        rng = np.random.default_rng(entropy())
        rows = rng.permutation(total) if shuffle else np.arange(total)
        yield rows[:n], rng.integers(2**62, size=2)

    signature = (tf.TensorSpec((n,), tf.int64), tf.TensorSpec((2,), tf.int64))
    return tf.data.Dataset.from_generator(epoch, output_signature=signature)


def numbered(seed, first_epoch=0):
    """A function, called when an epoch begins, to the integers from which to draw it: the seed and its number."""
    return zip(itertools.repeat(seed % 2**64), itertools.count(first_epoch), strict=False).__next__


def binary(images, seed):
    """Pixels x ~ Bernoulli(grey value), from a seed of two integers."""
    import tensorflow as tf

    return tf.cast(tf.random.stateless_uniform(tf.shape(images), seed) < images, tf.float32)


def from_bytes(images):
    """The grey values in [0, 1] that uint8 images stand for: those of `GREYS`, to the bit."""
    import tensorflow as tf

    return tf.cast(images, tf.float32) / 255.0


def kept_ahead(dataset, num_batches):
    """Prefetch a `tf.data.Dataset` of batches, by one thread: more of them would take the model's cores."""
    import tensorflow as tf

    dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_batches)).prefetch(4)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False  # they would copy the arrays
    options.threading.private_threadpool_size = 1
    # Several workers take their parts of the same batches: all have the same order, from the seed.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def _fetcher(x):
    """A function from row numbers to float32 images, over the smallest exact copy of `x`."""
    import tensorflow as tf

    stored = tf.convert_to_tensor(smallest(x))  # `constant` copies twice
    if stored.dtype != tf.uint8:
        return lambda rows: tf.gather(stored, rows)
    return lambda rows: from_bytes(tf.gather(stored, rows))


def smallest(x, block=64):
    """`x` as uint8 if every value is a whole 255th (as those of image files and binary pixels are), else as float32."""
    x = np.asarray(x)
    quantised, buffer = np.empty(x.shape, "uint8"), np.empty((block, *x.shape[1:]), "float32")
    for start in range(0, len(x), block):  # as much as the processor keeps near
        piece = x[start : start + block]
        if not (piece.min() >= 0 and piece.max() <= 1):
            return x.astype("float32", copy=False)
        greys = buffer[: len(piece)]
        np.rint(np.multiply(piece, np.float32(255), out=greys, casting="unsafe"), out=greys)
        quantised[start : start + block] = greys
        if not np.array_equal(np.divide(greys, np.float32(255), out=greys), piece):
            return x.astype("float32", copy=False)
    return quantised
