"""Arrays in chunks of one size, so that a single compiled shape serves all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kvae.models import conditions
from kvae.training.kept import as_array
from kvae.types import Array

QUIET = 2.0  # seconds before progress is first shown


def even_share(total: int, at_most: int) -> int:
    """The smallest chunk size that splits `total` into as few chunks as the size `at_most` does."""
    return -(-total // -(-total // at_most))


def chunks(
    arrays: Sequence[Any], size: int, verbose: bool = False, label: str = ""
) -> Iterator[tuple[slice, list[Any]]]:
    """Slice arrays of equal length n into chunks of one size.

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


def in_chunks(
    function: Callable[..., Any], *arrays: Any, size: int, noise: keras.random.SeedGenerator | None = None
) -> tuple[Array, ...]:
    """Apply a kept function of rows to chunks and join its results.

    Args:
        function: from tensors `(batch, ...)` to a tuple of them.
        *arrays: as in `chunks`.
        size: as in `chunks`.
        noise: what the function draws from.

    Returns:
        Tuple of arrays `(n, ...)`.
    """
    parts = [
        [as_array(result)[: rows.stop - rows.start] for result in function(*part, noise=noise)]
        for rows, part in chunks(arrays, size)
    ]
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


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
