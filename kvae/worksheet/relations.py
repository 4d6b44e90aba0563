"""How an array relates to the right one: by a factor, a difference, a function, another order, or a sum too few."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kvae.types import Array

NAMED = {
    2.0: "a factor ½ is missing, or a 2 is one too many",
    0.5: "a factor 2 is missing, or a ½ is one too many",
    4.0: "a square of 2, or two factors ½ that are missing",
    0.25: "a factor ½ that is applied twice, or a 4 that is missing",
    np.log(2): "ln 2, which turns bits into nats",
    1 / np.log(2): "1/ln 2, which turns nats into bits",
    np.log(10): "ln 10: which logarithm did you take?",
    1 / np.log(10): "1/ln 10: which logarithm did you take?",
}
TERMS = {
    1.0: "a 1",
    2.0: "a 2",
    0.5: "½",
    np.log(2): "ln 2",
    0.5 * np.log(2 * np.pi): "½ ln 2π",
    np.log(2 * np.pi): "ln 2π",
}
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "the squares of the right values": np.square,
    "the square roots of the right values": np.sqrt,
    "the exponentials of the right values: leave out exp, or take the logarithm": np.exp,
    "the exponentials of minus the right values: leave out exp, and the sign": lambda a: np.exp(-a),
    "the logarithms of the right values: leave out the log": np.log,
    "minus the logarithms of the right values": lambda a: -np.log(a),
    "the absolute values of the right ones": np.abs,
    "the reciprocals of the right values: what is divided by what?": lambda a: 1 / a,
    "1 minus the right values: the wrong way round": lambda a: 1 - a,
    "the right values, rounded": np.rint,
    "the right values, rounded down": np.floor,
    "the right values with everything below 0 cut off": lambda a: np.maximum(a, 0),
    "the right values with everything above 1 cut off": lambda a: np.minimum(a, 1),
    "the right values through a sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "the right values, normalised to a sum of 1": lambda a: a / np.sum(a),
    "the right values without their mean": lambda a: a - np.mean(a),
    "the right values, shifted so that the largest is 0": lambda a: a - np.max(a),
}
COLLECTIONS: dict[str, Callable[..., Array]] = {"sum": np.sum, "mean": np.mean, "largest": np.max, "smallest": np.min}


def sizes(given: Any) -> list[int]:
    """The sizes of the axes of the arguments, of their examples, and of the arguments as a whole."""
    shapes = [np.shape(each) for each in given] if isinstance(given, tuple) else []
    return [size for shape in shapes for size in (*shape, int(np.prod(shape[1:])), int(np.prod(shape)))]


def relations(got: Array, want: Array, sizes: list[int]) -> Iterator[tuple[Any, str]]:
    """Relations of an array to the right one, as pairs of a key, the same in each case, and the relation in words."""
    got, want = np.asarray(got, "float64"), np.asarray(want, "float64")
    if got.shape == want.shape:
        yield from _proportions(got, want, sizes)
        yield from _differences(got, want, sizes)
        yield from _images(got, want)
    yield from _orders(got, want)
    yield from _collections(got, want)


def _near(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=2e-5, atol=1e-6, equal_nan=True))


def _proportions(got: Array, want: Array, sizes: list[int]) -> Iterator[tuple[Any, str]]:
    large = np.abs(want) > 1e-6
    if not large.any() or not np.isfinite(want).all() or not np.isfinite(got).all():
        return
    factor = float(np.median(got[large] / want[large]))
    if abs(factor) < 1e-9 or not _near(got, factor * want):
        return
    if np.isclose(factor, -1, rtol=1e-4):
        yield "sign", "these are the right values with the wrong sign"
        return
    minus = "minus " if factor < 0 else ""
    for i, size in enumerate(sizes):
        for form, (value, name, why) in enumerate(_factors(size) if size > 1 else ()):
            if np.isclose(abs(factor), value, rtol=1e-4):
                text = f"these are {minus}the right values times {name}, and {size} is a size of the arguments: {why}?"
                yield ("size", form, i), text
    for value, why in NAMED.items():
        if np.isclose(abs(factor), value, rtol=1e-4):
            yield ("factor", value, factor < 0), f"these are {minus}the right values times {value:.4g}: {why}"
    if want[large].size > 1:
        yield ("some factor", float(f"{factor:.3g}")), f"these are the right values times {factor:.4g}"


def _factors(size: int) -> Iterator[tuple[float, str, str]]:
    """Factors that come from a size: value, name, and how one gets it."""
    yield size, f"{size}", "a sum where a mean is expected"
    yield 1 / size, f"1/{size}", "a mean where a sum is expected"
    yield size**0.5, f"√{size}", "is there a root too many"
    yield size / (size - 1), f"{size}/{size - 1}", "n − 1 in a denominator where n is expected"
    yield (size - 1) / size, f"{size - 1}/{size}", "n in a denominator where n − 1 is expected"


def _differences(got: Array, want: Array, sizes: list[int]) -> Iterator[tuple[Any, str]]:
    if not got.size or not np.isfinite(got).all() or not np.isfinite(want).all():
        return
    shift = float(np.median(got - want))
    if abs(shift) < 1e-4 or not np.allclose(got, want + shift, rtol=0, atol=1e-4 + 1e-6 * np.abs(want).max()):
        return
    sign = "plus" if shift > 0 else "minus"
    for i, size in enumerate(sizes):
        for form, value in (("ln ", np.log(max(size, 1))), ("", size)):
            if size > 1 and np.isclose(abs(shift), value, rtol=1e-4):
                text = f"these are the right values {sign} {form}{size}, and {size} is a size of the arguments"
                yield ("shift", form, sign, i), text
    for value, name in TERMS.items():
        if np.isclose(abs(shift), value, rtol=1e-4):
            yield ("shift", value, sign), f"these are the right values {sign} {name}"
    if want.size > 1:
        yield ("some shift",), f"these are the right values {sign} {abs(shift):.4g}: a term is missing, or one too many"


def _images(got: Array, want: Array) -> Iterator[tuple[Any, str]]:
    if not got.size:
        return
    with np.errstate(all="ignore"):
        for text, function in FUNCTIONS.items():
            if np.isfinite(image := function(want)).all() and _near(got, image) and not _near(image, want):
                yield text, f"these are {text}"
        if np.isfinite(got).all() and (got >= 0).all() and _near(got**2, want):
            yield "unsquared", "the squares of these are the right values: something is not squared"
        if np.isfinite(got).all() and _near(np.exp(got), want):
            yield "logarithms", "the exponentials of these are the right values: exp is missing"


def _orders(got: Array, want: Array) -> Iterator[tuple[Any, str]]:
    if got.size != want.size:
        return
    if got.ndim > want.ndim and _near(np.squeeze(got), np.squeeze(want)):
        yield "squeezed", f"the values are right, with an axis of size 1 too many: {got.shape}, not {want.shape}"
        return
    if got.size < 2 or np.ptp(want) < 1e-6:
        return
    for axes in itertools.permutations(range(got.ndim)):
        if axes != tuple(range(got.ndim)) and _near(got.transpose(axes), want):
            yield (
                "transposed",
                f"transposed: these are the right values, with the axes in another order than {want.shape}",
            )
    if got.shape != want.shape:
        if _near(got.reshape(want.shape), want):
            yield "reshaped", f"these are the right values in the shape {got.shape}: reshape them to {want.shape}"
        return
    for axis in range(got.ndim):
        if got.shape[axis] > 1 and _near(np.flip(got, axis), want):
            yield ("reversed", axis), f"these are the right values in reverse order along axis={axis}"
        for step in range(1, min(got.shape[axis], 20)):
            if got.shape[axis] > 2 and _near(np.roll(got, step, axis), want):
                yield ("rolled", axis), f"these are the right values, moved along axis={axis}"
    if _near(np.sort(got, axis=None), np.sort(want, axis=None)):
        yield "order", "these are the right values in another order"


def _collections(got: Array, want: Array) -> Iterator[tuple[Any, str]]:
    """Relations by a sum, a mean or an extreme along some axes."""
    with np.errstate(all="ignore"):
        for count in range(1, got.ndim + 1):
            for axes in itertools.combinations(range(got.ndim), count):
                for name, collect in COLLECTIONS.items():
                    if (
                        max(got.shape[axis] for axis in axes) > 1
                        and got.ndim > want.ndim
                        and _near(collect(got, axis=axes), want)
                    ):
                        yield (
                            ("uncollected", name, axes),
                            f"the {name} over {_axes(axes)} of these is right: it is missing",
                        )
        for count in range(1, want.ndim + 1):
            for axes in itertools.combinations(range(want.ndim), count):
                for name, collect in COLLECTIONS.items():
                    each = collect(want, axis=axes)
                    kept = collect(want, axis=axes, keepdims=True) + 0 * want
                    if got.ndim < want.ndim and want.size > 1 and _near(got, each):
                        text = f"this is the {name} of the right values over {_axes(axes)}, which should stay separate"
                        yield ("collected", name, axes), text
                    elif got.shape == want.shape and want.shape[axes[0]] > 1 and _near(got, kept):
                        text = f"each of these is the {name} of the right values over {_axes(axes)}"
                        yield ("spread", name, axes), text
        if got.ndim == want.ndim == 1 and 0 < got.size < want.size:
            for start in range(want.size - got.size + 1):
                if _near(got, want[start : start + got.size]):
                    yield "some", f"these are {got.size} of the {want.size} values: the others are missing"
        elif (
            got.ndim == want.ndim > 0
            and got.shape[1:] == want.shape[1:]
            and len(got) != len(want)
            and got.size * want.size
        ):
            few, many = sorted((got, want), key=len)
            if _near(few, many[: len(few)]) or _near(few, many[len(many) - len(few) :]):
                more = "too many" if len(got) > len(want) else "too few"
                yield "rows", f"the values are right, but {abs(len(got) - len(want))} along axis=0 are {more}"


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis={axes[0]}" if len(axes) == 1 else f"axis={axes}"
