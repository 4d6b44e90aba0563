"""A call of a Keras operation, as the walk of `kvae/explorer/graph.py` finds it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from kvae.types import Array, Shape


class UnsupportedError(ValueError):
    """An operation that a page cannot compute.

    Args:
        operation: it.
        reason: what about it, if it is not the operation as such.
    """

    def __init__(self, operation: Any, reason: str = "") -> None:
        name, kind = getattr(operation, "name", ""), type(operation).__name__
        super().__init__(f"{kind}{f' {name!r}' if name else ''}{f', {reason}' if reason else ''}")


@dataclasses.dataclass(frozen=True)
class Call:
    """An operation and what it is called on.

    Attributes:
        operation: layer, or one of `keras.ops`.
        args, kwargs: its arguments, in which tensors are symbolic.
        values: the numbers of the values that these tensors stand for.
        input_shapes, output_shapes: of one example.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    values: list[int]
    input_shapes: list[Shape]
    output_shapes: list[Shape]


def need_channels_last(layer: Any) -> None:
    """Raise `UnsupportedError` for a layer of images with their channels in front."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise UnsupportedError(layer, "with channels in front")


def as_array(values: Any, dtype: str = "float32") -> Array:
    """A tensor, a variable or a number as an array."""
    return np.array(ops.convert_to_numpy(values), dtype)
