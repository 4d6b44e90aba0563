"""What is wrong with an answer: a mistake from its exercise's table, else how its numbers relate to the right ones.

Nothing here is a guess. A mistake of the table must give the same numbers in every case of the exercise; a relation
such as "twice the right values" must hold in every case; and an edit that is named has been tried.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae.types import Array
from kvae.worksheet import repairs
from kvae.worksheet.exercise import Exercise, as_tensor, call, silent
from kvae.worksheet.messages import parameters
from kvae.worksheet.relations import relations, sizes
from kvae.worksheet.resources import TimeUpError, within

SECONDS = 30.0  # for the search of an edit, which has a limit of its own, unless one of them never ends


def of_numbers(exercise: Exercise, answer: Any, numbers: dict[str, Array]) -> str:
    """What is wrong with an answer whose numbers are wrong, or "" if nothing can be said."""
    for (outcome, message), (mistake, _) in zip(exercise.mistakes, exercise.wrong, strict=True):
        if isinstance(outcome, dict) and exercise.same(numbers, outcome) and _alike(exercise, answer, mistake):
            return message
    related = _relations(exercise, answer, numbers)
    named = [text for key, text in related.items() if not key[0].startswith("some ")]
    said = next(iter(named), "") or _unused(exercise, answer) or edit(exercise, answer)
    return said or next(iter(related.values()), "") or _partly_right(exercise, numbers)


def of_an_error(exercise: Exercise, answer: Any, raised: str) -> str:
    """What is wrong with an answer that raised an error, or ""."""
    known = [message for outcome, message in exercise.mistakes if outcome == raised]
    return known[0] if known else edit(exercise, answer)


def edit(exercise: Exercise, answer: Any) -> str:
    """One edit of a function that makes it right, in words, or ""."""
    if isinstance(exercise.reference, type):
        return ""
    try:
        with silent():
            return within(SECONDS, lambda: repairs.find(answer, exercise.holds))
    except TimeUpError:
        return ""


def _alike(exercise: Exercise, answer: Any, mistake: Any) -> bool:
    """Whether an answer agrees with a mistake in the further cases too, so that it is not accused of another's."""
    for case in range(1, len(exercise.cases) if answer is not mistake else 0):
        mine, theirs = exercise.outcome(answer, case), exercise.outcome(mistake, case)
        if isinstance(mine, dict) != isinstance(theirs, dict):
            return False
        if isinstance(mine, dict) and isinstance(theirs, dict) and not exercise.same(mine, theirs):
            return False
    return True


def _relations(exercise: Exercise, answer: Any, numbers: dict[str, Array]) -> dict[Any, str]:
    """How the wrong numbers relate to the right ones, in every case."""
    if numbers.keys() != exercise.expected.keys():
        return {}
    off = [name for name, want in exercise.expected.items() if not exercise.same({name: numbers[name]}, {name: want})]
    found: dict[Any, str] | None = None
    for case in range(len(exercise.cases)):
        outcome = exercise.outcome(answer, case) if case else numbers
        if isinstance(outcome, str):
            continue  # it raises there; what it does here is enough
        known = outcome.keys() & exercise.expected_at(case).keys()
        for name in (name for name in off if name in known):
            want = exercise.expected_at(case)[name]
            if case and exercise.same({name: outcome[name]}, {name: want}):
                continue
            here = dict(relations(outcome[name], want, sizes(exercise.cases[case])))
            found = here if found is None else {key: text for key, text in found.items() if key in here}
    return found or {}


def _unused(exercise: Exercise, answer: Any) -> str:
    """The argument that has no effect on the answer, although it should, in words, or ""."""
    if not isinstance(exercise.arguments, tuple):
        return ""
    without = []
    for i, each in enumerate(exercise.arguments):
        if np.asarray(each).dtype.kind not in "fiu":
            continue
        changes = [
            [*exercise.arguments[:i], other, *exercise.arguments[i + 1 :]] for other in _others(np.asarray(each))
        ]
        mine = [_result(exercise, answer, given) for given in (exercise.arguments, *changes)]
        right = [_result(exercise, exercise.reference, given) for given in (exercise.arguments, *changes)]
        tried = [a for a, b in zip(mine[1:], right[1:], strict=True) if a is not None and b is not None]
        finite = mine[0] is not None and all(np.isfinite(array).all() for array in mine[0].values())
        changed = any(b is not None and not exercise.same(b, right[0] or {}) for b in right[1:])
        if finite and mine[0] and len(tried) >= 3 and changed and all(_equal(mine[0], a) for a in tried):
            without.append(parameters(answer, len(exercise.arguments))[i])
    if len(without) == len(exercise.arguments) > 1:
        return "these are the same for all arguments"
    return f"{' and '.join(f'`{name}`' for name in without)} has no effect on the result" if without else ""


def _result(exercise: Exercise, function: Any, arguments: Any) -> dict[str, Array] | None:
    """The numbers of a function at some arguments, or `None` if it raises."""
    try:
        with silent():
            return exercise.numbers(call(function, *(as_tensor(a) if exercise.tensors else a for a in arguments)))
    except (Exception, SystemExit):
        return None


def _equal(some: dict[str, Array], other: dict[str, Array]) -> bool:
    return all(np.array_equal(some[name], other[name], equal_nan=some[name].dtype.kind == "f") for name in some)


def _others(array: Array) -> list[Array]:
    """Arrays of its shape and type with other values, small and large; labels keep their range."""
    if array.dtype.kind != "f":
        count = max(int(array.max(initial=0)) + 1, 2)
        return [(array + i) % count if array.ndim else array + array.dtype.type(i) for i in (1, 2, 3)]
    places = np.arange(array.size).reshape(array.shape)
    made = [1.3 * array + 0.1 * places, 0.01 * array, -array, 0.5 + places, 1 / (2.0 + places), np.flip(array) + 3]
    return [each.astype(array.dtype) for each in made]


def _partly_right(exercise: Exercise, numbers: dict[str, Array]) -> str:
    """Where the numbers are right and where they are not, or "" if all are wrong."""
    expected = exercise.expected
    if numbers.keys() != expected.keys():
        return ""
    if any(np.isnan(array).any() for array in numbers.values() if array.dtype.kind == "f"):
        return "NaN comes from the log or root of a negative number, or from 0/0"
    if any(np.isinf(array).any() for array in numbers.values() if array.dtype.kind == "f"):
        return "infinity comes from log 0, from a division by 0, or from exp of a large number"
    right = [name for name, want in expected.items() if exercise.same({name: numbers[name]}, {name: want})]
    if right and any(right):
        return f"right already: {', '.join(right)}"
    for name, want in expected.items():
        got = numbers[name]
        if got.shape != want.shape:
            same = np.isclose(got.sum(), want.sum(), rtol=1e-4) and abs(float(want.sum())) > 1e-6
            return "the sum of all values is right: was it taken over another axis?" if same else ""
        close = np.isclose(got, want, rtol=1e-5, atol=exercise.tolerance)
        if close.size / 4 <= close.sum() < close.size:
            columns = [i for i in range(want.shape[-1]) if close[..., i].all()] if want.ndim > 1 else []
            where = f", all of column {columns[0]} among them" if columns else ""
            return f"{close.sum()} of {close.size} values are right{where}"
        signs = got.dtype.kind == "f" and want.size > 1 and (np.sign(got) == -np.sign(want)).all()
        if signs:
            return "every value has the wrong sign, and another size"
    return ""
