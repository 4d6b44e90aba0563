"""Input validation. Every error states in one line what was expected, how to fix it and what was received."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from kvae.types import Array, ArrayLike, Shape

T = TypeVar("T")
LARGEST = sys.float_info.max


def lookup(name: str | T, known: Mapping[str, Callable[[], T]], kind: type[T], role: str) -> T:
    """Turn a name into an object: `known[name]()`; an instance of `kind` passes through.

    Args:
        name: str or an instance of `kind`.
        known: dict from names to callables without arguments.
        kind: class.
        role: the argument's name, for the message.

    Raises:
        ValueError: for an unknown name, with the list of known ones.
    """
    if isinstance(name, kind):
        return name
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"`{role}` must be one of {sorted(known)} or a kvae {kind.__name__}. Received: {name!r}")
    return known[name]()


def positive_integer(value: Any, name: str) -> int:
    """Return `value` as an int if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}")
    return int(value)


def number(
    value: Any,
    name: str,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a float if it is a finite number, Python's or NumPy's, within the given limits.

    Args:
        value: the argument.
        name: the argument's name, for the message.
        at_least: smallest value allowed; `None` for no limit. Likewise the other three.
        above: limit that it must exceed.
        at_most: largest value allowed.
        below: limit that it must stay under.

    Raises:
        ValueError: if it is not a number (a bool is not), not finite, or outside the limits.
    """
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if (
        not is_number
        or not -LARGEST <= value <= LARGEST  # an integer from a file may be too large for a float
        or (at_least is not None and value < at_least)
        or (above is not None and value <= above)
        or (at_most is not None and value > at_most)
        or (below is not None and value >= below)
    ):
        limits = {"of at least": at_least, "above": above, "of at most": at_most, "below": below}
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)
        if at_least is not None and at_most is not None:
            wanted = f"from {at_least:g} to {at_most:g}"
        raise ValueError(
            f"`{name}` must be a finite number{f' {wanted}' if wanted else ''}. Received: {name}={value!r}"
        )
    return float(value)


def positive_number(value: Any, name: str) -> float:
    """Return `value` as a float if it is a finite number above 0."""
    return number(value, name, above=0)


def array(x: ArrayLike, shape: Shape, name: str) -> Array:
    """Return `x` as an array of examples of `shape`, finite and not empty.

    Args:
        x: array-like `(n, *shape)`.
        shape: tuple of ints, one example's shape.
        name: the argument's name, for the message.

    Raises:
        ValueError: if the shape is wrong, there are no examples, or a value is not a finite number.
    """
    x = np.asarray(x)
    shape = tuple(shape)
    expected = f"`{name}` must have shape (n, {', '.join(map(str, shape))})"
    if x.shape[1:] != shape or x.ndim == 0:
        fix = ""
        if shape[-1:] == (1,) and x.shape[1:] == shape[:-1]:
            fix = f": add the channel axis with {name}[..., None]"
        elif x.shape == shape:
            fix = f": add the batch axis with {name}[None]"
        raise ValueError(f"{expected}{fix}. Received: shape {x.shape}")
    if len(x) == 0:
        raise ValueError(f"`{name}` must contain at least one example. Received: shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise ValueError(f"`{name}` must contain numbers. Received: dtype {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(np.sum(x)):  # one pass without a temporary; look closer only on failure
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        if len(bad):
            raise ValueError(
                f"`{name}` must be finite: drop or repair the examples that are not. "
                f"Received: NaN or infinity in {len(bad)} of {len(x)} examples, the first at index {bad[0]}"
            )
    return x


def batch(element: Any, image_shape: Shape, conditions: Any = None, model: str = "model") -> None:
    """Raise a `ValueError` unless what a dataset gives, or declares that it will give, is a batch for a model.

    Args:
        element: images, or a tuple of images, conditions and sample weights; arrays, or their shapes and types.
        image_shape: tuple of ints, one example's shape.
        conditions: the `kvae.models.conditions.Conditions` of the model; `None` for a model without a condition.
        model: name of the model's class, for the message.
    """
    parts = element if isinstance(element, (tuple, list)) else (element,)
    flat = [each for part in parts for each in (part if isinstance(part, (tuple, list)) else (part,))]
    known = all(part is None or hasattr(part, "shape") for part in flat)
    if not (1 <= len(parts) <= 3 and hasattr(parts[0], "shape") and known):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise ValueError(
            f"The dataset must give images, (images, labels) or (images, labels, sample_weight). Received: ({kinds})"
        )
    x, y = (*parts, None)[:2]
    if conditions is not None:
        if y is None:
            raise ValueError(f"{model} requires a dataset of (images, labels). Received: a dataset of images only")
        conditions.check_spec(y)
    rank = getattr(x.shape, "rank", len(tuple(x.shape)))
    if rank is None:
        return
    fits = all(have in (None, want) for have, want in zip(x.shape[1:], image_shape, strict=False))
    if not fits or rank != len(image_shape) + 1:
        raise ValueError(
            f"The dataset must give batches of shape (batch, {', '.join(map(str, image_shape))}): batch it, and give "
            f"images a channel axis. Received: shape {tuple(x.shape)}"
        )
    if "uint8" in str(x.dtype):
        raise ValueError("The dataset must give floats in [0, 1]: divide its images by 255. Received: uint8")


def class_labels(
    labels: ArrayLike | None, num_classes: int, num_examples: int | None = None, name: str = "labels"
) -> Array:
    """Return `labels` as an int array `(n,)` with values in 0..num_classes − 1.

    Args:
        labels: array-like of integers `(n,)`.
        num_classes: int.
        num_examples: int, the expected n; `None` if unknown.
        name: the argument's name, for the message.

    Raises:
        ValueError: if they are missing, not integers, of the wrong length, negative or too large.
    """
    if labels is None:
        raise ValueError(
            f"`{name}` is missing: a conditional model needs one integer label in 0..{num_classes - 1} per example. "
            "Received: None"
        )
    labels = np.asarray(labels)
    if labels.ndim != 1:
        fix = " (use np.argmax(labels, axis=-1) on one-hot labels)" if labels.shape[1:] == (num_classes,) else ""
        raise ValueError(f"`{name}` must be one integer per example, shape (n,){fix}. Received: shape {labels.shape}")
    same_length(labels, num_examples, name)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must be integers: use .astype(int). Received: dtype {labels.dtype}")
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"`{name}` must be in 0..{num_classes - 1} for num_classes={num_classes}. "
            f"Received: values from {labels.min()} to {labels.max()}"
        )
    return labels


def same_length(y: Any, num_examples: int | None, name: str) -> None:
    """Raise a `ValueError` unless `y` has one row per example; `num_examples=None` skips the check."""
    if num_examples is not None and len(y) != num_examples:
        raise ValueError(f"`{name}` must have one entry per example: {num_examples}. Received: {len(y)}")
