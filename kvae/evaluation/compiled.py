"""Running a model's tensors fast: compiled, with noise, without a backend's name."""

import sys
import time

import keras
import numpy as np

from kvae.models import conditions

QUIET = 2.0  # seconds without a word: shorter runs need no progress


class Compiled(keras.Model):
    """A function of tensors and noise, compiled: Keras compiles, on every backend that can, what it predicts with.

    The model that `function` uses hides in it, so that Keras neither tracks nor touches its weights (on JAX it would
    give their memory away). Its weights are therefore those of the first call: make a new object after training on.

    Args:
        function: `function(noise, *tensors)`, `noise` a `keras.random.SeedGenerator`, to a tensor or a tuple of such.
        seed: int for reproducible noise; `None` for a random one.
        fuse: whether XLA should compile it on TensorFlow too, where Keras leaves that out on a CPU. It makes one loop
            of what is done to each pixel, but its random numbers are slow there: draw them in another function.

    Example:

    >>> Compiled(lambda noise, x: x + keras.random.normal((3,), seed=noise), seed=0).run(np.zeros(3, "float32"))
    """

    def __init__(self, function, seed=None, fuse=False):
        super().__init__()
        if fuse and keras.backend.backend() == "tensorflow":
            self.compile(jit_compile=True)
        self.function = function
        self.noise = keras.random.SeedGenerator(seed)  # tracked, so that each run draws anew
        self.built = True

    def call(self, inputs):
        return self.function(self.noise, *inputs)

    def run(self, *arrays):
        """The function's result on `arrays`, as NumPy; `None`s among the arrays are left out."""
        return self.predict_on_batch(tuple(a for a in arrays if a is not None))


def even_share(total, at_most):
    """The smallest size of chunk, up to `at_most`, that splits `total` into as few chunks as `at_most` does."""
    return -(-total // -(-total // at_most))


def chunks(arrays, size, verbose=False, label=""):
    """Slices of arrays of equal length n, all of one size, so that one compiled shape serves them.

    Args:
        arrays: NumPy arrays `(n, ...)`, or `None`.
        size: int, rows of a slice at most.
        verbose: whether to print how far it is, in a run of more than two seconds.
        label: str, what is being computed.

    Yields:
        `(rows, parts)`: a slice of 0..n, and the arrays' rows, the last part filled up with the last row.
    """
    n = len(arrays[0])
    size = even_share(n, size)
    progress = _Progress(n, label) if verbose else None
    for start in range(0, n, size):
        index = np.minimum(np.arange(start, start + size), n - 1)
        rows = slice(start, min(start + size, n))
        yield rows, [conditions.take(a, index) for a in arrays]
        if progress:
            progress.update(rows.stop)


class _Progress:
    """One of Keras's bars once a run turns out long; ten lines at most where the output is no terminal."""

    def __init__(self, total, label):
        self.total, self.label, self.start = total, label, time.perf_counter()
        self.bar = keras.utils.Progbar(total, unit_name="example") if sys.stdout.isatty() else None
        self.tenths = 0

    def update(self, done):
        if time.perf_counter() - self.start < QUIET:
            return
        if self.bar:
            self.bar.update(done, finalize=done == self.total)
        elif 10 * done // self.total > self.tenths:
            self.tenths = 10 * done // self.total
            print(f"{self.label}: {done} of {self.total} examples", flush=True)
