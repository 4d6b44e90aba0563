"""Every check of every worksheet, with its right answer and each of its wrong answers, one test each."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

import kvae
from kvae.worksheet import checking, notebooks
from kvae.worksheet.exercise import TODO, judge


def measured_once(exercise):
    """The exercise, which measures an answer once: some train a model for it, also for each mistake that it knows."""
    return dataclasses.replace(exercise, measure=exercise.measure and functools.cache(exercise.measure))


SHEETS = sorted(int(path.stem[1:]) for path in Path(kvae.__file__).parent.glob("worksheet/w[0-9][0-9].py"))
EXERCISES = {name: measured_once(each) for sheet in SHEETS for name, each in checking.exercises(sheet).items()}
FUNCTIONS = {name: exercise for name, exercise in EXERCISES.items() if exercise.arguments is not None}
TABLE = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.wrong))]


def another(answer):
    """A copy of the answer: `check` recognises the reference object itself."""
    if isinstance(answer, type):
        return type("Answer", (answer,), {})
    return (lambda *arguments: answer(*arguments)) if callable(answer) else answer


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_right(name):
    exercise = EXERCISES[name]
    state, message = judge(exercise, another(exercise.reference))
    assert state == "right", message
    assert "expected" in message


@pytest.mark.parametrize(("name", "i"), TABLE, ids=lambda value: str(value))
def test_a_wrong_answer_gets_its_own_message(name, i):
    answer, message = EXERCISES[name].wrong[i]
    state, said = judge(EXERCISES[name], answer)
    assert state == "wrong"
    assert said.endswith(f": {message}"), said
    assert "\n" not in said


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mistakes_that_a_function_can_make_in_any_exercise(name):
    exercise = FUNCTIONS[name]

    def loud(*arguments):
        raise RuntimeError("no idea")

    nan = np.full(np.shape(exercise.expected[""]), np.nan, "float32")
    tensor = kvae.worksheet.exercise.ops.convert_to_tensor(nan) if exercise.tensors else nan
    for answer, state, words in [
        (lambda *arguments: None, "wrong", "returned None: is `return` missing?"),
        (lambda *arguments: ..., "todo", TODO),
        (lambda *arguments: tensor, "wrong", "NaN"),
        (lambda *arguments: "42", "wrong", "expected numbers. Received: '42'"),
        (loud, "wrong", "it raised RuntimeError: no idea"),
        (..., "todo", TODO),
        (3.0, "wrong", "expected a function: its name, without parentheses. Received: 3.0"),
        (exercise.reference, "todo", "the worksheet's own answer"),
    ]:
        found, message = judge(exercise, answer)
        assert found == state
        assert words in message
    if exercise.expected[""].ndim:
        shaped = kvae.worksheet.exercise.ops.ones((7, 5, 3)) if exercise.tensors else np.ones((7, 5, 3))
        assert "your result has shape (7, 5, 3), expected (" in judge(exercise, lambda *arguments: shaped)[1]


@pytest.mark.parametrize("sheet", SHEETS)
def test_each_worksheet_has_a_notebook_with_all_its_checks(sheet):
    notebook = notebooks.read(notebooks.student_notebooks()[sheet])
    assert notebook.checks == list(checking.exercises(sheet))
    assert notebook.about["worksheet"] == sheet


@pytest.mark.parametrize("name", EXERCISES)
def test_each_exercise_knows_common_mistakes(name):
    assert len(EXERCISES[name].wrong) >= 2
    assert len({message for _, message in EXERCISES[name].wrong}) == len(EXERCISES[name].wrong)
