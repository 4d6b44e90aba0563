"""Arrays in memory as batches: gathered whole, shuffled and binarized afresh, fast enough to keep a model busy."""

import itertools

import numpy as np

from kvae import checks

GREYS = np.arange(256, dtype="float32") / np.float32(255)  # what the bytes of an image file stand for


def pipeline(
    x, y=None, sample_weight=None, *, batch_size=128, shuffle=True, dynamic=False, seed=0, first_epoch=0, entropy=None
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

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`, the last batch short.
    """
    import tensorflow as tf

    batch_size = checks.positive_integer(batch_size, "batch_size")
    n, num_batches = len(x), -(-len(x) // batch_size)
    fetch = _fetcher(x)
    others = [None if a is None else tf.constant(a) for a in (y, sample_weight)]
    if entropy is None:
        entropy = zip(itertools.repeat(seed % 2**64), itertools.count(first_epoch), strict=False).__next__

    def epoch():
        """The rows of one epoch, and the seed of its pixels; called whenever an epoch begins."""
        rng = np.random.default_rng(entropy())
        rows = rng.permutation(n) if shuffle else np.arange(n)
        yield rows, rng.integers(2**62, size=2)

    def gather(rows, noise_seed, batch):
        images = fetch(rows)
        if dynamic:
            noise = tf.random.stateless_uniform(tf.shape(images), noise_seed + [0, 1] * batch)
            images = tf.cast(noise < images, tf.float32)
        y, sample_weight = (None if a is None else tf.gather(a, rows) for a in others)
        if sample_weight is not None:
            return images, y, sample_weight
        return images if y is None else (images, y)

    def batches(rows, noise_seed):
        numbered = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).enumerate()
        return numbered.map(lambda batch, rows: gather(rows, noise_seed, batch), num_parallel_calls=1)

    signature = (tf.TensorSpec((n,), tf.int64), tf.TensorSpec((2,), tf.int64))
    dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature).flat_map(batches)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_batches)).prefetch(4)
    options = tf.data.Options()  # one thread keeps ahead of the model; more of them would take its cores
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    return dataset.with_options(options)


def _fetcher(x):
    """A function from row numbers to float32 images, over the smallest exact copy of `x`."""
    import tensorflow as tf

    stored, greys = tf.constant(smallest(x)), tf.constant(GREYS)
    if stored.dtype != tf.uint8:
        return lambda rows: tf.gather(stored, rows)
    return lambda rows: tf.gather(greys, tf.cast(tf.gather(stored, rows), tf.int32))


def smallest(x, chunk=4096):
    """`x` as uint8 if every value is a whole 255th (as those of image files and binary pixels are), else as float32."""
    x = np.asarray(x)
    quantised = np.empty(x.shape, "uint8")
    for start in range(0, len(x), chunk):  # in pieces, so that memory stays flat
        rows = slice(start, start + chunk)
        piece = x[rows]
        if not (piece.min() >= 0 and piece.max() <= 1):
            return x.astype("float32", copy=False)
        np.rint(piece * np.float32(255), out=quantised[rows], casting="unsafe")
        if not np.array_equal(GREYS[quantised[rows]], piece):
            return x.astype("float32", copy=False)
    return quantised
