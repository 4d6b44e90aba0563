"""A batch, what a pass over it gives, and functions of tensors applied to arrays batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kvae.models import conditions
from kvae.training.kept import Kept, as_array
from kvae.types import Array, Tensor


class Batch(NamedTuple):
    """A batch on its way through a step.

    Attributes:
        x: images `(batch, *image_shape)`.
        y: the condition: a tensor `(batch, ...)` or a tuple of them; `None` without one.
        sample_weight: `(batch,)`, or `None`.
    """

    x: Tensor
    y: Any = None
    sample_weight: Tensor | None = None


class BatchResult(NamedTuple):
    """What a pass over a batch gives.

    Attributes:
        reconstruction: `(batch, *image_shape)`, pixel means.
        losses: tensors `(batch,)`, nats; their sum is minimised.
        terms: dict from names to tensors `(batch,)`, to be logged. A term of some examples only is a tuple of them and
            of a tensor `(batch,)` that is 1 for those and 0 for the others.
    """

    reconstruction: Tensor
    losses: tuple[Tensor, ...]
    terms: dict[str, Any]


class Pass(NamedTuple):
    """What inference and generation gave for a batch: all that its losses are made of.

    Attributes:
        condition: what the networks saw in addition to `x` and `z`: a tuple of tensors `(batch, ...)`.
        params: the encoder's outputs, parameters of q(z|x) or an autoencoder's code: `(batch, ...)`.
        z: codes `(samples, batch, *latent_shape)`.
        x_params: the decoder's outputs, parameters of p(x|z): `(samples, batch, ...)`.
        sample: a VAE's `kvae.bounds.PosteriorSample`, the log-densities of `z`.
        losses: a VAE's bound: tensors `(batch,)` whose sum is its negative.
    """

    condition: tuple[Tensor, ...]
    params: Tensor
    z: Tensor
    x_params: Tensor
    sample: Any = None
    losses: tuple[Tensor, ...] = ()


def weighted(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Values `(batch,)` times the weights of their examples, if these have any."""
    return values if sample_weight is None else values * ops.cast(sample_weight, values.dtype)


def in_batches(
    function: Callable[..., Any],
    *arrays: Any,
    batch_size: int,
    noise: keras.random.SeedGenerator | None = None,
) -> Any:
    """Apply `function` to slices of `arrays` and join the results, so that memory stays flat.

    Args:
        function: from tensors `(batch, ...)`, one per array, to a tensor `(batch, ...)` or a tuple of them: one of
            `kvae.training.kept`, or one that runs eagerly.
        *arrays: NumPy arrays of equal length n, or tuples of them; `None` is passed on as it is. The first, images or
            codes of any dtype, is passed in float32.
        batch_size: rows at a time.
        noise: what a kept function draws from.

    Returns:
        NumPy array `(n, ...)`, or a tuple of them.
    """
    first, *others = arrays
    n = len(first)
    is_kept = isinstance(function, Kept)
    results: tuple[Array, ...] = ()

    def store(rows: slice, parts: Any) -> None:
        nonlocal results
        arrays = tuple(map(as_array, parts if isinstance(parts, tuple) else (parts,)))
        if not results:  # filled batch by batch: a list of batches would be copied once more in the end
            results = tuple(np.empty((n, *array.shape[1:]), array.dtype) for array in arrays)
        for result, array in zip(results, arrays, strict=True):
            result[rows] = array[: rows.stop - rows.start]

    with ThreadPoolExecutor(1) as thread:  # which stores a batch, in memory to be cleared first, beside the next one
        stored: Any = None
        for start in range(0, n, batch_size):
            rows = slice(start, min(start + batch_size, n))
            x = np.asarray(first[rows], "float32")  # converted here: a copy of all images may not fit into memory
            batch = (x, *(conditions.take(array, rows) for array in others))
            parts = function(*batch, noise=noise, most=batch_size) if is_kept else function(*map(_tensors, batch))
            if stored:
                stored.result()
            stored = thread.submit(store, rows, parts)
        stored.result()
    return results if isinstance(parts, tuple) else results[0]


def _tensors(array):
    if isinstance(array, tuple):
        return tuple(map(_tensors, array))
    return None if array is None else ops.convert_to_tensor(array)
