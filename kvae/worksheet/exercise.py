"""An exercise as data, and the verdict on an answer."""

import contextlib
import dataclasses
import functools
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from kvae.types import Array
from kvae.worksheet.messages import describe, headline, parameters, short, two_numbers
from kvae.worksheet.resources import TimeUpError, within

State: TypeAlias = Literal["right", "wrong", "todo"]
Given: TypeAlias = tuple[Any, ...] | Callable[[Any], Any] | None  # arguments, a measure, or nothing for a value
BACKENDS = ("tensorflow", "torch", "jax", "jaxlib")
# What an answer may have done that is right at the arguments of an exercise and wrong at further ones.
OTHER = "is a size or a value written as a number that fits only the first ones, or an argument not used?"
EXTREME = "exp overflows or underflows where the values are large or far apart: subtract the largest one first"


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
        further: pairs of further arguments (or of a further measure) and a message, for an answer that is right at
            `arguments` and wrong there: other sizes and seeds, extreme values. They are never printed.
        tolerance: absolute, for each number.
        tensors: whether arguments are passed as tensors of Keras's backend, NumPy results are rejected, and the answer
            must have the reference's gradient and run when compiled; `False` for a function of NumPy arrays.
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
    further: Sequence[tuple[Given, str]] = ()
    tolerance: float = 1e-3
    tensors: bool = True
    points: int = 1
    seconds: float = 20.0

    @functools.cached_property
    def cases(self) -> list[Given]:
        """What an answer is tried on: first what the message describes, then what it does not."""
        return [self.arguments if self.measure is None else self.measure, *(given for given, _ in self.further)]

    def result(self, answer: Any, case: int = 0) -> Any:
        """The result of an answer, before its conversion to numbers; raises whatever the answer raises."""
        given = self.cases[case]
        if given is None:
            return answer
        if callable(given):
            return given(answer)
        return call(answer, *(as_tensor(each) if self.tensors else each for each in given))

    def numbers(self, result: Any) -> dict[str, Array]:
        """Convert what `result` returned to a dict of arrays by name.

        Raises:
            NotNumericError: if that is not possible.
        """
        if self.arguments is not None and self.tensors and isinstance(result, (np.ndarray, np.generic)):
            raise NotNumericError("it returned a NumPy array, which has no gradient: use keras.ops instead of NumPy")
        named = result if isinstance(result, dict) else {"": result}
        return {str(name): as_array(value) for name, value in named.items()}

    @property
    def expected(self) -> dict[str, Array]:
        """The numbers of the right answer."""
        return self.expected_at(0)

    @functools.cached_property
    def mistakes(self) -> list[tuple[dict[str, Array] | str, str]]:
        """The outcome of each common mistake, numbers or the headline of an error, with its message."""
        return [(self.outcome(answer), message) for answer, message in self.wrong]

    def expected_at(self, case: int) -> dict[str, Array]:
        """The numbers of the right answer in a case."""
        if case not in self._expected:
            self._expected[case] = self.numbers(self.result(self.reference, case))
        return self._expected[case]

    @functools.cached_property
    def _expected(self) -> dict[int, dict[str, Array]]:
        return {}

    def outcome(self, answer: Any, case: int = 0) -> dict[str, Array] | str:
        """The numbers of an answer in a case, or the headline of its error; what it prints is discarded."""
        try:
            with silent():
                return self.numbers(self.result(answer, case))
        except (Exception, SystemExit) as error:
            return headline(error)

    def holds(self, answer: Any) -> bool:
        """Whether an answer has the right numbers in every case."""
        return all(
            isinstance(numbers := self.outcome(answer, case), dict) and self.same(numbers, self.expected_at(case))
            for case in range(len(self.cases))
        )

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


class ChangedArgumentError(Exception):
    """An answer that changes an argument in place; the message is for its author."""


class NotCompiledError(Exception):
    """An answer that raises when it is compiled; the message is for its author."""


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer. Never raises, whatever the answer does.

    Args:
        exercise: the exercise.
        answer: anything.

    Returns:
        The verdict.
    """
    from kvae.worksheet import diagnosis, probes  # which import this module

    if answer is exercise.reference and callable(answer):
        return Verdict("todo", "this is the worksheet's own answer: run the cell with yours, then this one")
    if callable(exercise.reference) and answer is not Ellipsis and not callable(answer):
        kind = "class" if isinstance(exercise.reference, type) else "function"
        return Verdict("wrong", f"expected a {kind}: its name, without parentheses. Received: {short(answer)}")
    try:
        result = within(exercise.seconds, lambda: exercise.result(answer))
    except NotImplementedError:
        return Verdict("todo", TODO)
    except TimeUpError:
        return Verdict("wrong", f"it took longer than {exercise.seconds:g} s: is there an endless loop?")
    except (Exception, SystemExit) as error:
        if "ellipsis" in f"{error} {error.__cause__}".lower():  # it used a blank
            return Verdict("todo", TODO)
        if isinstance(error, (ChangedArgumentError, NotCompiledError)):
            return Verdict("wrong", str(error))
        raised = headline(error)
        why = _safely(lambda: diagnosis.of_an_error(exercise, answer, raised))
        return Verdict("wrong", describe(error) + (f": {why}" if why else ""))
    try:
        numbers = exercise.numbers(result)
    except NotNumericError as error:
        return Verdict("todo" if str(error) == TODO else "wrong", str(error))
    values = compare(exercise, numbers)
    if not exercise.same(numbers, exercise.expected):
        why = _safely(lambda: diagnosis.of_numbers(exercise, answer, numbers))
        return Verdict("wrong", f"{values}: {why}" if why else values)
    flaw = _safely(lambda: probes.flaw(exercise, answer, result))
    return Verdict("wrong", f"{values}: right there, but {flaw}") if flaw else Verdict("right", values)


def _safely(find: Callable[[], str]) -> str:
    """What is found, or "" if the search fails: whatever an answer does elsewhere must not cost its verdict."""
    with contextlib.suppress(Exception):
        return find()
    return ""


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Discard what an answer prints, and its warnings: it has been called before, and they have been shown."""
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_tensor(value: Any) -> Any:
    """A new tensor, of memory of its own: PyTorch's would share that of an array."""
    return ops.convert_to_tensor(np.copy(value))


def call(answer: Callable[..., Any], *arguments: Any) -> Any:
    """Call an answer with copies of the arrays among its arguments.

    Raises:
        ChangedArgumentError: if it changes one of them in place.
    """
    given = [np.copy(each) if isinstance(each, np.ndarray) else each for each in arguments]
    result = answer(*given)
    for i, (before, after) in enumerate(zip(arguments, given, strict=True)):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            name = parameters(answer, len(given))[i]
            raise ChangedArgumentError(
                f"it changes its argument `{name}` in place, and with it the array of the cell that calls it: "
                f"write x = x − …, not x -= … or x[…] = …"
            )
    return result


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
        raise NotNumericError(f"expected an array of numbers. Received: {short(value)}") from error
    if array.dtype.kind not in "fiub":
        raise NotNumericError(f"expected numbers. Received: {short(value)}")
    return array


def compare(exercise: Exercise, numbers: dict[str, Array]) -> str:
    """Format "your value …, expected …" for the first number that is wrong, or else for the first number."""
    expected = exercise.expected
    where = f" at {exercise.at}" if exercise.at else ""
    if numbers.keys() != expected.keys():
        received = f"one result for each of {', '.join(numbers)}" if any(numbers) else "one result without a name"
        wanted = f"one for each of {', '.join(expected)}" if any(expected) else "an array or a number"
        return f"expected {wanted}. Received: {received if numbers else 'no result'}"
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
    mine, right = two_numbers(got[index], want[index])
    return f"{label}your value{place if not name else ''} {mine}, expected {right} ± {exercise.tolerance:g}{where}"
