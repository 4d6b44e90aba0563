"""Input validation. Every error states in one line what was expected, how to fix it and what was received."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
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


def positive_number_or(words: str | Sequence[str], value: Any, name: str) -> Any:
    """Return `value` if it is `None` or one of `words`, or as a float if it is a finite number above 0."""
    words = [words] if isinstance(words, str) else words
    if value is None or (isinstance(value, str) and value in words):
        return value
    try:
        return positive_number(value, name)
    except ValueError:
        known = ", ".join(f'"{word}"' for word in words)
        raise ValueError(f"`{name}` must be None, {known} or a positive number. Received: {name}={value!r}") from None


def seed(value: Any, name: str = "seed") -> int | None:
    """Return `value` as an int if it is an integer from 0 to 2³² − 1, Python's or NumPy's; `None` passes."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**32:
        raise ValueError(f"`{name}` must be an integer from 0 to 4294967295, or None. Received: {value!r}")
    return int(value)


def seeds(value: Any, n: int) -> list[Any]:
    """Return `n` seeds for independent draws: the same integer for two draws would give both the same noise.

    Args:
        value: an integer, which is split; a `keras.random.SeedGenerator`, which advances by itself, or `None`: returned
            n times.
        n: number of seeds. The first ones do not depend on it.
    """
    if not isinstance(value, (int, np.integer)):
        return [value] * n
    return (np.random.SeedSequence(int(value)).generate_state(n) >> 1).tolist()  # PyTorch takes int32


def array(
    x: ArrayLike,
    shape: Shape,
    name: str,
    may_be_missing: bool = False,
    fix: str = "drop or repair the examples that are not",
    element_name: Callable[[tuple[int, ...]], str] | None = None,
) -> Array:
    """Return `x` as an array of examples of `shape`, finite and not empty.

    Args:
        x: array-like `(n, *shape)`.
        shape: tuple of ints, one example's shape.
        name: the argument's name, for the message.
        may_be_missing: whether values may be NaN.
        fix: what to do about values that are not finite, for the message.
        element_name: function from the index of an element of an example to what to call it in the message.

    Raises:
        ValueError: if the shape is wrong, there are no examples, or a value is not a finite number.
    """
    try:
        x = np.asarray(x)
    except ValueError:  # NumPy's, of a list
        raise ValueError(
            f"`{name}` must hold examples of one shape, {tuple(shape)}: pad or cut them. Received: several shapes"
        ) from None
    example_shape(x, shape, name)
    if len(x) == 0:
        raise ValueError(f"`{name}` must contain at least one example. Received: shape {x.shape}")
    if x.dtype.kind not in "fiub":
        raise ValueError(f"`{name}` must contain numbers. Received: dtype {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(np.sum(x)):  # one pass without a temporary; look closer only on failure
        good = ~np.isinf(x) if may_be_missing else np.isfinite(x)
        bad = np.flatnonzero(~good.reshape(len(x), -1).all(axis=1))
        if len(bad):
            what = "infinity" if may_be_missing else "NaN or infinity"
            index = tuple(int(i) for i in np.argwhere(~good[bad[0]])[0]) if x.ndim > 1 else ()
            place = f", {element_name(index)}" if index and element_name else ""
            raise ValueError(
                f"`{name}` must be finite: {fix}. "
                f"Received: {what} in {len(bad)} of {len(x)} examples, the first at index {bad[0]}{place}"
            )
    return x


def static_shape(x: Any) -> tuple[int | None, ...] | None:
    """Shape of an array or tensor, with `None` for axes of unknown length; `None` if their number is unknown."""
    return None if getattr(x.shape, "rank", 0) is None else tuple(x.shape)


def example_shape(x: Any, example: Shape, name: str) -> None:
    """Raise a `ValueError` if `x` cannot be a batch of examples.

    Args:
        x: array or tensor, or what else has a `shape`; axes of unknown length may have any.
        example: tuple of ints, one example's shape.
        name: the argument's name, for the message.
    """
    have, example = static_shape(x), tuple(example)
    if have is None or (len(have) == len(example) + 1 and _fits(have[1:], example)):
        return
    fix = ""
    if example[-1:] == (1,) and len(have) == len(example) and _fits(have[1:], example[:-1]):
        fix = f": add the channel axis with {name}[..., None]"
    elif len(have) == len(example) and _fits(have, example):
        fix = f": add the batch axis with {name}[None], or batch the dataset"
    expected = f"`{name}` must have shape (n, {', '.join(map(str, example))})"
    raise ValueError(f"{expected}{fix}. Received: shape {have}")


def _fits(have, want):
    return all(length in (None, wanted) for length, wanted in zip(have, want, strict=True))


def vector(values: Any, name: str) -> Any:
    """Return one number per example as a vector: an array or tensor `(n,)`, or a column `(n, 1)`.

    Raises:
        ValueError: if the shape is another one.
    """
    have = static_shape(values)
    if have is not None and len(have) == 2 and have[1] == 1:
        return values[:, 0]
    if have is not None and len(have) != 1:
        raise ValueError(f"`{name}` must have one number per example, shape (n,). Received: shape {have}")
    return values


def sample_weight(weights: Array, num_examples: int, name: str = "sample_weight") -> Array:
    """Return the weights as a float32 array `(n,)`.

    Args:
        weights: array `(n,)` or `(n, 1)`.
        num_examples: int, the expected n.
        name: the argument's name, for the message.

    Raises:
        ValueError: if there is not one finite number per example.
    """
    weights = array(vector(weights, name), (), name)
    same_length(weights, num_examples, name)
    return weights.astype("float32", copy=False)


def class_labels(
    labels: ArrayLike | None, num_classes: int, num_examples: int | None = None, name: str = "labels", least: int = 0
) -> Array:
    """Return `labels` as an int array `(n,)` with values in `least`..num_classes − 1.

    Args:
        labels: array-like of integers `(n,)`, or a column `(n, 1)`.
        num_classes: int.
        num_examples: int, the expected n; `None` if unknown.
        name: the argument's name, for the message.
        least: 0, or −1 if that stands for an unknown label.

    Raises:
        ValueError: if they are missing, not integers, of the wrong length, negative or too large.
    """
    if labels is None:
        raise ValueError(
            f"`{name}` is missing: a conditional model needs one integer label in 0..{num_classes - 1} per example. "
            "Received: None"
        )
    values: Array = label_vector(np.asarray(labels), num_classes, name)
    same_length(values, num_examples, name)
    if values.dtype.kind not in "iu":
        raise ValueError(f"`{name}` must be integers: use .astype(int). Received: dtype {values.dtype}")
    if len(values) and (values.min() < least or values.max() >= num_classes):
        unknown = ", or -1 where unknown" if least < 0 else ""
        raise ValueError(
            f"`{name}` must be in 0..{num_classes - 1} for num_classes={num_classes}{unknown}. "
            f"Received: values from {values.min()} to {values.max()}"
        )
    return values


def label_vector(labels: Any, num_classes: int, name: str) -> Any:
    """Return labels `(n,)` or `(n, 1)` as a vector; raise a `ValueError` for other shapes. Also for tensors."""
    have = static_shape(labels)
    if have is not None and len(have) == 2 and have[1] == num_classes > 1:
        raise ValueError(
            f"`{name}` must be one integer per example, shape (n,): use np.argmax({name}, axis=-1) on one-hot labels. "
            f"Received: shape {have}"
        )
    return vector(labels, name)


def same_length(y: Any, num_examples: int | None, name: str) -> None:
    """Raise a `ValueError` unless `y` has one row per example; `num_examples=None` skips the check."""
    if num_examples is not None and len(y) != num_examples:
        raise ValueError(f"`{name}` must have one entry per example: {num_examples}. Received: {len(y)}")
