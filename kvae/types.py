"""The types that public signatures name.

Keras ships no type information, so a `keras.Model` is `Any` to a type checker. `Network` describes what kvae needs of
one, so that a checker rejects what is not a network.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike
Tensor: TypeAlias = Any  # of whichever backend Keras runs on
Shape: TypeAlias = tuple[int, ...]
PathLike: TypeAlias = str | Path
Seed: TypeAlias = Any  # an int or a `keras.random.SeedGenerator`
Number: TypeAlias = int | float | np.integer[Any] | np.floating[Any]
Activation: TypeAlias = str | Callable[[Tensor], Tensor] | None


class Network(Protocol):
    """A built Functional or Sequential `keras.Model`."""

    inputs: list[Any]
    outputs: list[Any]
    layers: list[Any]
    input_shape: Any
    output_shape: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
