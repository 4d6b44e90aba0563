"""An exercise as data, and the verdict on an answer."""

import dataclasses
import functools
import re
import traceback
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from kvae.types import Array
from kvae.worksheet.resources import TimeUpError, within

State: TypeAlias = Literal["right", "wrong", "todo"]
BACKENDS = ("tensorflow", "torch", "jax", "jaxlib")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Exercise:
    """The right answer to an exercise, its tolerance, and common mistakes.

    An answer is a value, a function or a class. The comparison is of the value itself; of the function's result for
    `arguments`; or, with `measure`, of what `measure` returns for the answer.

    Args:
        title: a few words.
        reference: the right answer.
        wrong: pairs of a wrong answer and a message, which says what is wrong and how to fix it. An answer with the
            same numbers or the same error gets that message.
        arguments: arrays to call a function with; `None` for other answers.
        measure: function from an answer to an array, or to a dict of arrays by name; `None` for the plain comparison.
        at: the arguments in words, for the messages.
        tolerance: absolute, for each number.
        tensors: whether arguments are passed as tensors of Keras's backend and NumPy results are rejected; `False`
            for a function of NumPy arrays.
        points: for grading.
        seconds: time limit for an answer.

    Example:

    ```python
    twice = kvae.worksheet.Exercise(
        title="twice",
        reference=lambda x: 2 * x,
        arguments=(np.array([1.0, 3.0]),),
        wrong=[(lambda x: x**2, "this is the square")],
    )
    ```
    """

    title: str
    reference: Any
    wrong: list[tuple[Any, str]]
    arguments: tuple[Any, ...] | None = None
    measure: Callable[[Any], Any] | None = None
    at: str = ""
    tolerance: float = 1e-3
    tensors: bool = True
    points: int = 1
    seconds: float = 20.0

    def result(self, answer: Any) -> Any:
        """The result of an answer, before its conversion to numbers; raises whatever the answer raises."""
        if self.measure is not None:
            return self.measure(answer)
        if self.arguments is None:
            return answer
        # New arrays for each call, because an answer may modify its arguments.
        return answer(*(ops.convert_to_tensor(a) if self.tensors else np.copy(a) for a in self.arguments))

    def numbers(self, result: Any) -> dict[str, Array]:
        """Convert what `result` returned to a dict of arrays by name.

        Raises:
            NotNumericError: if that is not possible.
        """
        if self.arguments is not None and self.tensors and isinstance(result, (np.ndarray, np.generic)):
            raise NotNumericError("it returned a NumPy array, which has no gradient: use keras.ops instead of NumPy")
        named = result if isinstance(result, dict) else {"": result}
        return {name: as_array(value) for name, value in named.items()}

    @functools.cached_property
    def expected(self) -> dict[str, Array]:
        """The numbers of the right answer."""
        return self.numbers(self.result(self.reference))

    @functools.cached_property
    def mistakes(self) -> list[tuple[dict[str, Array] | str, str]]:
        """The outcome of each common mistake, numbers or the headline of an error, with its message."""
        return [(self._outcome(answer), message) for answer, message in self.wrong]

    def _outcome(self, answer: Any) -> dict[str, Array] | str:
        try:
            return self.numbers(self.result(answer))
        except Exception as error:
            return headline(error)

    def same(self, numbers: dict[str, Array], others: dict[str, Array]) -> bool:
        """Whether two dicts of arrays have equal names and shapes, and values within the tolerance."""
        return numbers.keys() == others.keys() and all(
            a.shape == others[name].shape
            and np.allclose(a, others[name], rtol=1e-5, atol=self.tolerance, equal_nan=True)
            for name, a in numbers.items()
        )


class Verdict(NamedTuple):
    """The result of a check.

    Attributes:
        state: "right", "wrong" or "todo".
        message: one line.
    """

    state: State
    message: str


class NotNumericError(Exception):
    """An answer that does not yield numbers; the message is for its author."""


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer. Never raises, whatever the answer does.

    Args:
        exercise: the exercise.
        answer: anything.

    Returns:
        The verdict.
    """
    if answer is exercise.reference and callable(answer):
        return Verdict("todo", "this is the worksheet's own answer: run the cell with yours, then this one")
    if callable(exercise.reference) and answer is not Ellipsis and not callable(answer):
        kind = "class" if isinstance(exercise.reference, type) else "function"
        return Verdict("wrong", f"expected a {kind}: its name, without parentheses. Received: {_short(answer)}")
    try:
        result = within(exercise.seconds, lambda: exercise.result(answer))
    except NotImplementedError:
        return Verdict("todo", TODO)
    except TimeUpError:
        return Verdict("wrong", f"it took longer than {exercise.seconds:g} s: is there an endless loop?")
    except (Exception, SystemExit) as error:
        if "ellipsis" in str(error).lower():  # it used a blank
            return Verdict("todo", TODO)
        known = [f": {message}" for outcome, message in exercise.mistakes if outcome == headline(error)]
        return Verdict("wrong", describe(error) + "".join(known[:1]))
    try:
        numbers = exercise.numbers(result)
    except NotNumericError as error:
        return Verdict("todo" if str(error) == TODO else "wrong", str(error))
    values = compare(exercise, numbers)
    if exercise.same(numbers, exercise.expected):
        return Verdict("right", values)
    for wrong, message in exercise.mistakes:
        if isinstance(wrong, dict) and exercise.same(numbers, wrong):
            return Verdict("wrong", f"{values}: {message}")
    nan = any(np.isnan(array).any() for array in numbers.values())
    return Verdict(
        "wrong", values + ("; NaN comes from the log or root of a negative number, or from 0/0" if nan else "")
    )


TODO = "not done yet: fill in the blank (replace every `...` and `raise NotImplementedError`)"


def as_array(value: Any) -> Array:
    """Convert the result of an answer to a NumPy array of numbers.

    Raises:
        NotNumericError: if it is not one; the message is for the author of the answer.
    """
    if value is Ellipsis or value is NotImplemented:
        raise NotNumericError(TODO)
    if value is None:
        raise NotNumericError("it returned None: is `return` missing?")
    backend = type(value).__module__.split(".")[0]
    if backend in BACKENDS and not ops.is_tensor(value) and not hasattr(value, "assign"):
        raise NotNumericError(
            f"it returned a {backend} tensor, but Keras runs on {keras.backend.backend()} here: use keras.ops"
        )
    try:
        array = ops.convert_to_numpy(value) if backend in BACKENDS else np.asarray(value)
    except Exception as error:
        raise NotNumericError(f"expected an array of numbers. Received: {_short(value)}") from error
    if array.dtype.kind not in "fiub":
        raise NotNumericError(f"expected numbers. Received: {_short(value)}")
    return array


def compare(exercise: Exercise, numbers: dict[str, Array]) -> str:
    """Format "your value …, expected …" for the first number that is wrong, or else for the first number."""
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


def describe(error: BaseException) -> str:
    """Describe an exception in one line: its type, its message, and the line of the answer that raised it."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in lines if "<cell" in frame.filename or "ipykernel" in frame.filename]
    where = f", in your line `{own[-1].line}`" if own and own[-1].line else ""
    return f"it raised {headline(error)}{where}"


def headline(error: BaseException) -> str:
    """Type and message of an exception, without the colours and arguments that Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m|Exception encountered when calling .*", "", str(error))
    text = " ".join(text.split("Arguments received by")[0].split())[:200].rstrip(". ")
    return f"{type(error).__name__}{f': {text}' if text else ''}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if value.dtype.kind == "f" else str(value)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
