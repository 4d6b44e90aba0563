"""Further tests of an answer with the right numbers: other arguments, its gradient, a compiled call, types."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.training.gradients import gradient
from kvae.types import Array
from kvae.worksheet import diagnosis
from kvae.worksheet.exercise import (
    ChangedArgumentError,
    Exercise,
    NotCompiledError,
    NotNumericError,
    as_tensor,
    silent,
)
from kvae.worksheet.messages import describe, headline, parameters
from kvae.worksheet.resources import TimeUpError, within

SECONDS = 60.0  # at least, because a step is compiled
WHERE_IT_STOPS = "np numpy math float int detach convert_to_numpy stop_gradient get_weights to_categorical item tolist"


def flaw(exercise: Exercise, answer: Any, result: Any) -> str:
    """What breaks the cells below although the numbers are right, or "".

    Args:
        exercise: the exercise.
        answer: an answer with the right numbers.
        result: what it returned.
    """
    with silent():
        try:
            seconds = max(SECONDS, exercise.seconds)
            return _container(exercise, result) or within(seconds, lambda: _others(exercise, answer, result))
        except TimeUpError:
            return f"with other arguments it takes longer than {seconds:g} s"


def _others(exercise: Exercise, answer: Any, result: Any) -> str:
    said = _elsewhere(exercise, answer)
    if said or not exercise.tensors or not callable(answer) or not isinstance(exercise.arguments, tuple):
        return said
    return _other_dtype(exercise, result) or _gradient(exercise, answer) or _compiled(exercise, answer)


def _container(exercise: Exercise, result: Any) -> str:
    """What is returned if it must be an array and is not one."""
    if exercise.arguments is None or not isinstance(result, (list, tuple)):
        return ""
    return f"as a {type(result).__name__}: the cells below need an array, so np.array(…) or ops.stack(…)"


def _elsewhere(exercise: Exercise, answer: Any) -> str:
    """What the answer does wrong in a further case."""
    for case, (_, message) in enumerate(exercise.further, 1):
        try:
            numbers = exercise.numbers(exercise.result(answer, case))
        except (ChangedArgumentError, NotCompiledError, NotNumericError) as error:
            return f"with other arguments {error}"
        except (Exception, SystemExit) as error:
            return f"with other arguments {describe(error)}: {message}"
        if not exercise.same(numbers, exercise.expected_at(case)):
            edit = diagnosis.edit(exercise, answer)
            return f"not with other arguments: {message}{f' ({edit})' if edit else ''}"
    return ""


def _other_dtype(exercise: Exercise, result: Any) -> str:
    right = exercise.result(exercise.reference)
    if isinstance(result, dict) or not ops.is_tensor(right) or not ops.is_tensor(result):
        return ""
    mine, expected = (keras.backend.standardize_dtype(each.dtype) for each in (result, right))
    return "" if mine == expected else f"of type {mine}: the cells below need {expected}, so ops.cast(…, {expected!r})"


def _slopes(exercise: Exercise, function: Any) -> list[Array]:
    """The gradient of the weighted sum of a function's results with respect to each floating-point argument."""
    arguments = [np.copy(each) for each in exercise.arguments or ()]
    moving = [i for i, each in enumerate(arguments) if each.dtype.kind == "f"]
    size = exercise.expected[""].size
    weights = ops.convert_to_tensor(np.cos(np.arange(1, size + 1)).astype("float32"))

    def value(*floats: Any) -> Any:
        given = [as_tensor(each) for each in arguments]
        for i, each in zip(moving, floats, strict=True):
            given[i] = each
        return ops.sum(weights * ops.reshape(ops.cast(function(*given), "float32"), (-1,)))

    return [ops.convert_to_numpy(each) for each in gradient(value, *(arguments[i] for i in moving))[1:]]


def _gradient(exercise: Exercise, answer: Any) -> str:
    """Where the gradient of the answer is not that of the reference."""
    floats = [i for i, each in enumerate(exercise.arguments or ()) if np.asarray(each).dtype.kind == "f"]
    if not floats:
        return ""
    try:
        mine = _slopes(exercise, answer)
    except Exception as error:
        return f"it has no gradient, {describe(error)}{_suspects(answer)}"
    for i, got, want in zip(floats, mine, _slopes(exercise, exercise.reference), strict=True):
        if not np.allclose(got, want, rtol=1e-2, atol=1e-3 * max(1.0, float(np.abs(want).max(initial=0)))):
            name = parameters(answer, len(exercise.arguments or ()))[i]
            what = "has no gradient" if not got.any() else "has another gradient"
            return f"it {what} with respect to `{name}`, so a model would not learn through it{_suspects(answer)}"
    return ""


class Around(keras.Model):
    """A model around a function, whose compiled step calls it as `fit` would."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs: Any) -> Any:
        """What the function returns."""
        return self.function(*inputs)


def _compiled(exercise: Exercise, answer: Any) -> str:
    """The error of an answer when it is compiled, as in `fit`."""
    try:
        compiled(lambda *arguments: answer(*arguments), *(exercise.arguments or ()))
    except NotCompiledError as error:
        return f"{error}{_suspects(answer)}"
    return ""


def compiled(function: Any, *arrays: Any) -> None:
    """Call a function of tensors, or a model, in a compiled step, as `fit` does.

    Raises:
        NotCompiledError: if it raises there; the message is for the author of the function.
    """
    model = Around(function)
    model.compile(jit_compile=False)
    try:
        model.predict_on_batch([np.copy(each) for each in arrays])
    except Exception as error:
        raise NotCompiledError(f"not inside `fit`, whose step is compiled: it raises {headline(error)}") from error


def weight_gradient(loss: Callable[[], Any], variable: keras.Variable) -> Any:
    """The gradient of a loss, a function without arguments, with respect to a variable that it uses."""

    def at(value: Any) -> Any:
        with keras.StatelessScope(state_mapping=[(variable, value)]):
            return loss()

    return gradient(at, ops.convert_to_numpy(variable))[1]


def _suspects(answer: Any) -> str:
    """What in the answer's source stops a gradient or the compilation, as a hint; "" if nothing is known."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError):
        return ""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [
        ast.unparse(each)
        for each in calls
        if {getattr(each, "attr", ""), ast.unparse(each).split(".")[0]} & set(WHERE_IT_STOPS.split())
        or (isinstance(each, ast.Attribute) and each.attr == "numpy")
    ]
    return f": what about {', '.join(f'`{name}`' for name in dict.fromkeys(found))}? Use keras.ops" if found else ""
