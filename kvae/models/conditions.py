"""The condition y of a model: class labels, vectors, images, or several of these, checked and encoded in one way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions.counts import LOG_MEAN_RANGE
from kvae.types import Array, Shape, Tensor

LARGEST_LOG_SIZE = LOG_MEAN_RANGE[1]  # beyond it, rates are cut off


@dataclasses.dataclass(frozen=True)
class Condition:
    """One part of y: class labels, which the networks see one-hot encoded, or arrays, which they see as they are.

    Attributes:
        shape: shape of what the networks take per example.
        num_classes: number of classes of integer labels; `None` for arrays of `shape`.
        name: what to call it in errors.
        may_be_unknown: whether a class label may be −1, unknown, which the networks see as zeros.
        is_log_size: whether it is the logarithm of an example's size, by which networks multiply rates.
    """

    shape: Shape
    num_classes: int | None = None
    name: str = "labels"
    may_be_unknown: bool = False
    is_log_size: bool = False

    @property
    def least(self) -> int:
        """The smallest class label."""
        return -1 if self.may_be_unknown else 0

    def check(self, y: Any, num_examples: int | None) -> Array:
        """Return `y` as an array, or raise a `ValueError`.

        Args:
            y: integers `(n,)`, or numbers `(n, *shape)`.
            num_examples: the n expected; `None` if any will do.
        """
        if self.num_classes is not None:
            if y is None and num_examples is not None and self.may_be_unknown:
                return np.full(num_examples, -1)
            return checks.class_labels(y, self.num_classes, num_examples, self.name, self.least)
        if y is None:
            raise ValueError(
                f"`{self.name}` is missing: this model needs an array of shape (n, {', '.join(map(str, self.shape))}). "
                "Received: None"
            )
        fix = "drop examples of size 0" if self.is_log_size else "drop or repair the examples that are not"
        y = checks.array(y, self.shape, self.name, fix=fix)
        checks.same_length(y, num_examples, self.name)
        if self.is_log_size:
            _check_log_sizes(y, self.name)
        with np.errstate(over="ignore"):
            values = y.astype("float32", copy=False)
        if y.dtype.itemsize > 4 and not np.isfinite(values).all():
            raise ValueError(
                f"`{self.name}` must be finite in float32: rescale. Received: values from {y.min():g} to {y.max():g}"
            )
        # Floats that are all whole numbers, as after `x.astype("float32")`, are bytes too.
        if len(self.shape) == 3 and y.max() > 1 and (self.holds_integers(y) or np.array_equal(y, np.rint(y))):
            raise ValueError(
                f"`{self.name}` must hold images of floats, or of 0 and 1, scaled as in training: divide bytes by 255. "
                f"Received: dtype {y.dtype}, values from {y.min()} to {y.max()}"
            )
        return values

    def holds_integers(self, y: Any) -> bool:
        """Whether `y`, an array or tensor, holds images of integers, which may be bytes that nobody has scaled."""
        return len(self.shape) == 3 and "int" in str(y.dtype)

    def shaped(self, y: Tensor) -> Tensor:
        """Return a batch's `y` in this condition's shape, a column of labels as a vector, or raise a `ValueError`."""
        if self.num_classes is not None:
            return checks.label_vector(y, self.num_classes, self.name)
        checks.example_shape(y, self.shape, self.name)
        return y

    def encode(self, y: Tensor) -> Tensor:
        """What the networks see of `y`: a float32 tensor `(batch, *shape)`."""
        if self.num_classes is None:
            return ops.cast(y, "float32")
        return ops.one_hot(ops.cast(y, "int32"), self.num_classes, dtype="float32")


def _check_log_sizes(y, name):
    """Raise a `ValueError` for what can only be sizes: large numbers, or whole ones from 1 up."""
    if np.abs(y).max() > LARGEST_LOG_SIZE or (1 <= y.min() < y.max() and np.array_equal(y, np.rint(y))):
        raise ValueError(
            f"`{name}` must hold logarithms of sizes, such as np.log(total / total.mean()), between "
            f"−{LARGEST_LOG_SIZE:g} and {LARGEST_LOG_SIZE:g}. Received: values from {y.min():g} to {y.max():g}"
        )


@dataclasses.dataclass(frozen=True)
class Conditions:
    """All parts of y: a single one is given as it is, several as a tuple of them in the networks' order."""

    parts: tuple[Condition, ...]

    @classmethod
    def from_shapes(
        cls, shapes: Sequence[Shape], num_classes: int | Sequence[int | None] | None, log_size: bool = False
    ) -> Conditions:
        """The conditions of networks that take inputs of these shapes in addition to `x` or `z`.

        Args:
            shapes: one per condition.
            num_classes: number of classes of integer labels, `None` for arrays; a sequence for several conditions.
            log_size: whether the last condition is the logarithm of an example's size.

        Raises:
            ValueError: if there is not one number per condition, or a width differs from its number of classes.
        """
        given = tuple(num_classes) if isinstance(num_classes, (tuple, list)) else (num_classes,)
        if len(given) != len(shapes):
            raise ValueError(
                f"`num_classes` must have one entry, an integer or None, per condition of the networks, "
                f"{len(shapes)}. Received: {num_classes!r}"
            )
        parts = []
        for i, (shape, classes) in enumerate(zip(shapes, given, strict=True)):
            if classes is not None and shape != (checks.positive_integer(classes, "num_classes"),):
                raise ValueError(
                    "`num_classes` must be the width of the networks' condition: build both networks with the same "
                    f"num_classes. Received: num_classes={classes}, condition of shape {shape}"
                )
            name = "labels" if len(shapes) == 1 else f"labels[{i}]"
            is_log_size = log_size and i == len(shapes) - 1
            parts.append(Condition(shape, classes, "log_size" if is_log_size else name, is_log_size=is_log_size))
        return cls(tuple(parts))

    def check(self, y: Any, num_examples: int | None = None) -> Any:
        """Return `y` as an array or a tuple of arrays, or raise a `ValueError`; arguments as in `Condition.check`."""
        return self._each(y, lambda part, value: part.check(value, num_examples))

    def shaped(self, y: Any) -> Any:
        """Return a batch's `y`, a tensor or a tuple of them, in the conditions' shapes, or raise a `ValueError`."""
        return self._each(y, Condition.shaped)

    def pairs(self, y: Any) -> tuple[tuple[Condition, Any], ...]:
        """Each condition with its part of `y`."""
        pairs = self._each(y, lambda part, value: (part, value))
        return (pairs,) if len(self.parts) == 1 else pairs

    def encode(self, y: Any) -> tuple[Tensor, ...]:
        """What the networks see in addition to `x` or `z`: a tuple of tensors `(batch, ...)`."""
        encoded = self._each(y, Condition.encode)
        return encoded if isinstance(encoded, tuple) else (encoded,)

    def zeros(self, n: int = 1) -> tuple[Tensor, ...]:
        """What the networks see of `n` examples whose conditions are all zero."""
        return tuple(ops.zeros((n, *part.shape), "float32") for part in self.parts)

    def _each(self, y, function):
        if len(self.parts) == 1:
            return function(self.parts[0], y)
        if not isinstance(y, (tuple, list)) or len(y) != len(self.parts):
            kind = f"{len(y)} of them" if isinstance(y, (tuple, list)) else type(y).__name__
            shapes = [f"(n, {', '.join(map(str, part.shape))})" for part in self.parts]
            wanted = ", ".join(
                "integers (n,)" if part.num_classes else shape for part, shape in zip(self.parts, shapes, strict=True)
            )
            raise ValueError(f"`labels` must be a tuple of {len(self.parts)} conditions: {wanted}. Received: {kind}")
        return tuple(function(part, value) for part, value in zip(self.parts, y, strict=True))


def take(y: Any, rows: Any) -> Any:
    """The given rows of a condition: an array, a tuple of arrays, or `None`."""
    if isinstance(y, tuple):
        return tuple(take(part, rows) for part in y)
    return None if y is None else np.asarray(y)[rows]


def repeat(y: Any, times: int) -> Any:
    """The condition of one example, or `None`, as that of `times` examples."""
    if isinstance(y, tuple):
        return tuple(repeat(part, times) for part in y)
    return None if y is None else np.repeat(np.asarray(y)[None], times, axis=0)


def equal(one: Any, other: Any) -> bool:
    """Whether the conditions of two examples are the same."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return np.array_equal(one, other)


def class_part(y: Any) -> Any:
    """The class labels in a condition, for the rows and colours of a picture: those of a tuple, or `y` itself."""
    if not isinstance(y, tuple):
        return y
    return next((part for part in y if np.ndim(part) == 1), None)


def length(y: Any) -> int:
    """How many examples a condition is for."""
    return len(y[0]) if isinstance(y, tuple) else len(y)
