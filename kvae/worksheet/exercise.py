"""An exercise as data, and the verdict on an answer."""

import dataclasses
import functools
import re
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kvae.worksheet.resources import TimeUpError, within

BACKENDS = ("tensorflow", "torch", "jax", "jaxlib")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exercise:
    """What is right, how near an answer must come, and the wrong answers that people usually give.

    An answer is a value, a function or a class. What is compared is the value itself; the function's result for
    `arguments`; or, with `measure`, whatever that makes of the answer.

    Args:
        title: str, a few words.
        reference: the right answer.
        wrong: pairs of a wrong answer and the message that an answer with the same numbers, or the same error, gets:
            what is wrong, and how to mend it.
        arguments: tuple of arrays for a function; `None` otherwise.
        measure: function from an answer to an array, or to a dict of arrays by name; `None` for the plain comparison.
        at: str, the arguments in words, for the messages.
        tolerance: float, absolute, on each number.
        tensors: whether the arguments are handed over as tensors of Keras's backend, and no NumPy array may come back;
            `False` for a function of NumPy arrays.
        points: int, for grading.
        seconds: float, how long an answer may take.
    """

    title: str
    reference: Any
    wrong: list[tuple[Any, str]]
    arguments: tuple | None = None
    measure: Callable | None = None
    at: str = ""
    tolerance: float = 1e-3
    tensors: bool = True
    points: int = 1
    seconds: float = 20.0

    def result(self, answer):
        """What is compared, as the answer gives it; raises whatever the answer raises."""
        if self.measure is not None:
            return self.measure(answer)
        if self.arguments is None:
            return answer
        # Fresh ones each time, so that an answer that writes to its arguments spoils them for nobody.
        return answer(*(ops.convert_to_tensor(a) if self.tensors else np.copy(a) for a in self.arguments))

    def numbers(self, result):
        """Turn what `result` gave into a dict of arrays by name.

        Raises:
            NoNumbersError: if that is not possible.
        """
        if self.arguments is not None and self.tensors and isinstance(result, (np.ndarray, np.generic)):
            raise NoNumbersError("it returned a NumPy array, where gradients end: use keras.ops instead of NumPy")
        named = result if isinstance(result, dict) else {"": result}
        return {name: as_array(value) for name, value in named.items()}

    @functools.cached_property
    def expected(self):
        """The right answer's numbers."""
        return self.numbers(self.result(self.reference))

    @functools.cached_property
    def usual(self):
        """What the usual wrong answers give, numbers or an error's words, each with its message."""
        return [(self._outcome(answer), message) for answer, message in self.wrong]

    def _outcome(self, answer):
        try:
            return self.numbers(self.result(answer))
        except Exception as error:
            return headline(error)

    def same(self, numbers, others):
        """Whether two dicts of arrays have equal shapes, and values within the tolerance."""
        return numbers.keys() == others.keys() and all(
            a.shape == others[name].shape
            and np.allclose(a, others[name], rtol=1e-5, atol=self.tolerance, equal_nan=True)
            for name, a in numbers.items()
        )


class Verdict(NamedTuple):
    """What a check has found.

    Attributes:
        state: "right", "wrong" or "todo".
        message: str, one line.
    """

    state: str
    message: str


class NoNumbersError(Exception):
    """An answer from which no numbers come; the message says so to whoever wrote it."""


def judge(exercise, answer):
    """The verdict on an answer; raises nothing, whatever the answer does.

    Args:
        exercise: `Exercise`.
        answer: anything.

    Returns:
        A `Verdict`.
    """
    if answer is exercise.reference and callable(answer):
        return Verdict("todo", "this is the worksheet's own answer: run the cell with yours, then this one")
    if callable(exercise.reference) and answer is not Ellipsis and not callable(answer):
        kind = "class" if isinstance(exercise.reference, type) else "function"
        return Verdict("wrong", f"a {kind} is wanted, its name without brackets. Received: {_short(answer)}")
    try:
        result = within(exercise.seconds, lambda: exercise.result(answer))
    except NotImplementedError:
        return Verdict("todo", TODO)
    except TimeUpError:
        return Verdict("wrong", f"it took longer than {exercise.seconds:g} s: does a loop never end?")
    except (Exception, SystemExit) as error:
        if "ellipsis" in str(error).lower():  # a blank was computed with
            return Verdict("todo", TODO)
        known = [f": {message}" for outcome, message in exercise.usual if outcome == headline(error)]
        return Verdict("wrong", describe(error) + "".join(known[:1]))
    try:
        numbers = exercise.numbers(result)
    except NoNumbersError as error:
        return Verdict("todo" if str(error) == TODO else "wrong", str(error))
    values = compare(exercise, numbers)
    if exercise.same(numbers, exercise.expected):
        return Verdict("right", values)
    for wrong, message in exercise.usual:
        if isinstance(wrong, dict) and exercise.same(numbers, wrong):
            return Verdict("wrong", f"{values}: {message}")
    nan = any(np.isnan(array).any() for array in numbers.values())
    return Verdict("wrong", values + ("; NaN comes of the log or root of a negative number, or of 0/0" if nan else ""))


TODO = "not done yet: fill in the blank (no `...`, no `raise NotImplementedError` may be left)"


def as_array(value):
    """Turn what an answer gave into a NumPy array of numbers.

    Raises:
        NoNumbersError: if it is none, in words for whoever wrote the answer.
    """
    if value is Ellipsis or value is NotImplemented:
        raise NoNumbersError(TODO)
    if value is None:
        raise NoNumbersError("it returned None: is `return` missing?")
    backend = type(value).__module__.split(".")[0]
    if backend in BACKENDS and not ops.is_tensor(value) and not hasattr(value, "assign"):
        raise NoNumbersError(
            f"it gave a {backend} tensor, but Keras runs on {keras.backend.backend()} here: use keras.ops"
        )
    try:
        array = ops.convert_to_numpy(value) if backend in BACKENDS else np.asarray(value)
    except Exception as error:
        raise NoNumbersError(f"an array of numbers is wanted. Received: {_short(value)}") from error
    if array.dtype.kind not in "fiub":
        raise NoNumbersError(f"numbers are wanted. Received: {_short(value)}")
    return array


def compare(exercise, numbers):
    """Say "your value …, expected …" of the first number that is off; of the very first if none is."""
    expected = exercise.expected
    where = f" at {exercise.at}" if exercise.at else ""
    if numbers.keys() != expected.keys():
        return f"your values are {', '.join(numbers)}, expected {', '.join(expected)}"
    for name, want in expected.items():
        got = numbers[name]
        if got.shape != want.shape:
            label = f"{name}: " if name else ""
            return f"{label}your result has shape {got.shape}, expected {want.shape}{where}"
    off = [name for name, want in expected.items() if not exercise.same({name: numbers[name]}, {name: want})]
    name = off[0] if off else next(iter(expected))
    got, want = numbers[name], expected[name]
    far = np.isnan(got) if np.isnan(got).any() else ~np.isclose(got, want, rtol=1e-5, atol=exercise.tolerance)
    index = tuple(int(i) for i in (np.argwhere(far)[0] if far.any() else (0,) * want.ndim))
    place = f"[{', '.join(map(str, index))}]" if want.size > 1 else ""
    label = f"{name}{place}: " if name else ""
    text = f"{label}your value{place if not name else ''} {_number(got[index])}, expected {_number(want[index])}"
    return f"{text} ± {exercise.tolerance:g}{where}"


def describe(error):
    """One line on an exception: its type, its message, and the line of the answer's own code that it came from."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in lines if "<cell" in frame.filename or "ipykernel" in frame.filename]
    where = f", in your line `{own[-1].line}`" if own and own[-1].line else ""
    return f"it raised {headline(error)}{where}"


def headline(error):
    """An exception's type and message, without the colours and the arguments that Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m|Exception encountered when calling .*", "", str(error))
    text = " ".join(text.split("Arguments received by")[0].split())[:200].rstrip(". ")
    return f"{type(error).__name__}{f': {text}' if text else ''}"


def _number(value):
    return f"{value:.4g}" if value.dtype.kind == "f" else str(value)


def _short(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
