"""Short descriptions of the data of a training run, which several workers, or a resumed run, must share."""

from __future__ import annotations

import zlib
from typing import Any

import keras
import numpy as np

from kvae.training import strategy
from kvae.types import Array

# The arguments of `fit` that all workers must share.
SHARED = ("x", "y", "sample_weight", "validation_data", "validation_split", "batch_size", "epochs", "steps_per_epoch")


def check_same_data(model: keras.Model, arguments: dict[str, Any]) -> None:
    """Raise a `ValueError` on all workers unless `fit` was given the same data on each of them.

    Arrays are compared by shape and checksum, and so are those of `Dataset.batches`. Other datasets and generators are
    not read for it.

    Args:
        model: the model that is fitted.
        arguments: those of `fit`, by name.
    """
    with strategy.scope_of(model):
        if strategy.several_workers():
            found = {name: describe(arguments[name]) for name in SHARED if arguments.get(name) is not None}
            strategy.check_same(found, "data and arguments in `fit`: copy those of the first one")


def describe(data: Any) -> Any:
    """What tells an argument of `fit` from another one, in types that JSON has.

    Args:
        data: an array, a tensor, a number, a tuple or dict of them, or a dataset.

    Returns:
        A text for arrays and what has a `describe` of its own; the name of the type for what would have to be read.
    """
    if isinstance(data, dict):
        return {name: describe(part) for name, part in data.items() if part is not None}
    if isinstance(data, tuple):
        return [describe(part) for part in data]
    if data is None or isinstance(data, (int, float)):
        return data
    if callable(getattr(data, "describe", None)):
        return data.describe()
    if isinstance(data, list) or (hasattr(data, "__array__") and hasattr(data, "shape")):
        array = keras.ops.convert_to_numpy(data) if keras.ops.is_tensor(data) else np.asarray(data)
        return f"{array.dtype} {array.shape}, checksum {checksum(array)}"
    return type(data).__name__


def checksum(*arrays: Array | None) -> str:
    """The CRC-32 of the bytes of arrays, as eight hexadecimal digits."""
    total = 0
    for array in arrays:
        total = zlib.crc32(b"" if array is None else np.ascontiguousarray(array).view("uint8").data, total)
    return f"{total:08x}"
