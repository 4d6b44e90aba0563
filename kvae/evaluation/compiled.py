"""Compiled functions of tensors and noise on any backend, applied to arrays in chunks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kvae import checks
from kvae.models import conditions

QUIET = 2.0  # seconds before progress is first shown


class Compiled(keras.Model):
    """A compiled function of tensors and noise: the `call` of a model, which Keras compiles for prediction.

    Models inside `function` are not tracked, so Keras does not touch their weights (on JAX it would donate their
    buffers). The weights are those of the first call: make a new object after further training.

    Args:
        function: `function(noise, *tensors)` that returns a tensor or a tuple of tensors; `noise` is a
            `keras.random.SeedGenerator`.
        seed: int for reproducible noise; `None` for a random one.
        fuse: whether to compile with XLA on TensorFlow too, where Keras does not on a CPU. XLA fuses elementwise
            operations into one loop, but its random numbers are slow there: draw them in another function.

    Example:

    >>> from kvae.evaluation.compiled import Compiled
    >>> noisy = Compiled(lambda noise, x: x + keras.random.normal((3,), seed=noise), seed=0)
    >>> noisy.run(np.zeros(3, "float32")).shape
    (3,)
    """

    def __init__(self, function: Callable[..., Any], seed: int | None = None, fuse: bool = False) -> None:
        super().__init__(dtype="float32")  # the functions are of densities, whatever the policy of the networks
        if fuse and keras.backend.backend() == "tensorflow":
            self.compile(jit_compile=True)
        self.function = function
        self.noise = keras.random.SeedGenerator(checks.seed(seed))  # tracked, so that each run draws new noise
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self.function(self.noise, *inputs)

    def run(self, *arrays: Any) -> Any:
        """Apply the function to NumPy arrays, leaving out those that are `None`; the result is in NumPy too."""
        return self.predict_on_batch(tuple(a for a in arrays if a is not None))


def even_share(total: int, at_most: int) -> int:
    """The smallest chunk size that splits `total` into as few chunks as the size `at_most` does."""
    return -(-total // -(-total // at_most))


def chunks(
    arrays: Sequence[Any], size: int, verbose: bool = False, label: str = ""
) -> Iterator[tuple[slice, list[Any]]]:
    """Slice arrays of equal length n into chunks of one size, so that a single compiled shape serves all of them.

    Args:
        arrays: NumPy arrays `(n, ...)`, or `None`.
        size: int, maximum number of rows per chunk.
        verbose: whether to print progress in runs of more than two seconds.
        label: str, the name of the computation in that output.

    Yields:
        `(rows, parts)`: a slice of 0..n, and those rows of each array; the last chunk is padded with the last row.
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
    """Progress of long runs: a Keras progress bar, or at most ten lines if the output is not a terminal."""

    def __init__(self, total: int, label: str) -> None:
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
