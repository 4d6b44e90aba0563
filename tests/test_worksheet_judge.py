"""Verdicts on answers of every kind; `check`, strict mode, and private exercises of an instructor."""

import contextlib
import json
import logging
import threading
import time

import keras
import numpy as np
import pytest
from keras import ops

from kvae import worksheet
from kvae.worksheet import checking, messages
from kvae.worksheet.exercise import TODO, Exercise, judge
from kvae.worksheet.resources import TimeUpError, within

DOUBLE = Exercise(
    title="twice",
    reference=lambda x: 2 * x,
    arguments=(np.array([1.0, 3.0], "float32"),),
    wrong=[(lambda x: x**2, "this is the square"), (lambda x: 2 * ops.sum(x), "do not sum")],
    seconds=0.3,
)
VALUE = Exercise(title="a number", reference=0.5, wrong=[(2.0, "the inverse")], tolerance=0.01)


def loops(x):
    while True:
        pass


def loops_and_swallows(x):
    end = time.time() + 5
    while time.time() < end:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (lambda x: x + x, "right", "your value[0] 2, expected 2 ± 0.001"),
        (lambda x: x**2, "wrong", "your value[0] 1, expected 2 ± 0.001: this is the square"),
        (lambda x: 2 * ops.sum(x), "wrong", "shape (), expected (2,): do not sum"),
        (lambda x: 2 * x + 0.5, "wrong", "your value[0] 2.5, expected 2 ± 0.001"),
        (lambda x: None, "wrong", "it returned None: is `return` missing?"),
        (lambda x: x * float("nan"), "wrong", "NaN comes from"),
        (lambda x: ops.ones((2, 1)), "wrong", "your result has shape (2, 1), expected (2,)"),
        (lambda x: np.array([2.0, 6.0]), "wrong", "a NumPy array, which has no gradient: use keras.ops"),
        (lambda x: "2", "wrong", "expected numbers. Received: '2'"),
        (lambda x: [[1, 2], [3]], "wrong", "expected an array of numbers"),
        (lambda x: 1 / 0, "wrong", "it raised ZeroDivisionError: division by zero"),
        (lambda: 1, "wrong", "it raised TypeError"),
        (lambda x: exit(), "wrong", "it raised SystemExit"),
        (loops, "wrong", "it took longer than 0.3 s: is there an endless loop?"),
        (loops_and_swallows, "wrong", "it took longer than 0.3 s"),
        (lambda x: ..., "todo", TODO),
        (lambda x: 2 * ..., "todo", TODO),
        (..., "todo", TODO),
        (DOUBLE.reference, "todo", "the worksheet's own answer"),
        (7, "wrong", "expected a function: its name, without parentheses. Received: 7"),
    ],
)
def test_the_verdict_on_a_function(answer, state, words):
    start = time.time()
    verdict = judge(DOUBLE, answer)
    assert verdict.state == state
    assert words in verdict.message
    assert "\n" not in verdict.message
    assert time.time() - start < 4


def test_a_tensor_of_another_backend_is_reported():
    here = keras.backend.backend()
    other = pytest.importorskip("torch" if here != "torch" else "tensorflow")
    tensor = other.ones(2)
    assert judge(DOUBLE, lambda x: tensor).message.endswith(f"but Keras runs on {here} here: use keras.ops")


def test_a_blank_that_raises_is_not_done_yet():
    def blank(x):
        raise NotImplementedError

    assert judge(DOUBLE, blank) == ("todo", TODO)


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (0.505, "right", "your value 0.505, expected 0.5 ± 0.01"),
        (2, "wrong", "expected 0.5 ± 0.01: the inverse"),
        (np.float32(0.6), "wrong", "your value 0.6, expected 0.5 ± 0.01"),
        (None, "wrong", "None"),
        (..., "todo", TODO),
        ([0.5, 0.5], "wrong", "shape (2,), expected ()"),
    ],
)
def test_the_verdict_on_a_value(answer, state, words):
    verdict = judge(VALUE, answer)
    assert verdict.state == state
    assert words in verdict.message


def test_an_error_may_be_a_common_mistake_too():
    def wide(x):
        raise ValueError("\x1b[1mtoo wide\x1b[0m\n\nArguments received by f: x=1")

    exercise = Exercise(
        title="", reference=abs, wrong=[(wide, "make it narrow")], arguments=(np.ones(2),), tensors=False
    )
    assert judge(exercise, lambda x: wide(x)).message == "it raised ValueError: too wide: make it narrow"
    assert judge(exercise, lambda x: 1 / 0).message == "it raised ZeroDivisionError: division by zero"


def test_several_numbers_are_named():
    pair = Exercise(title="", reference=(1.0, 2.0), wrong=[], measure=lambda a: {"first": a[0], "second": a[1]})
    assert judge(pair, (1.0, 3.0)).message.startswith("second: your value 3, expected 2 ± 0.001")


def test_arguments_are_fresh_for_every_answer():
    exercise = Exercise(title="", reference=np.sum, wrong=[], arguments=(np.ones(3),), tensors=False)

    def greedy(x):
        x[:] = 0
        return x.sum()

    assert judge(exercise, greedy).state == "wrong"
    assert judge(exercise, lambda x: x.sum()).state == "right"


def test_the_limit_holds_off_the_main_thread_too():
    caught = []

    def run():
        try:
            within(0.2, lambda: time.sleep(2))
        except TimeUpError:
            caught.append(True)
        caught.append(within(1, lambda: 5))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [True, 5]


def test_check_prints_and_returns_an_answer_that_works(capsys):
    kl, wrong = worksheet.reference("6.2"), lambda m, v: 2 * worksheet.reference("6.2")(m, v)
    right = lambda m, v: kl(m, v)  # noqa: E731
    assert worksheet.check("6.2", right) is right
    assert worksheet.check("6.2", wrong) is kl
    assert worksheet.check("6.2", ...) is kl
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= checking.WIDTH
    verdicts = ["6.2 " + " ".join(each.split()) for each in printed.split("6.2 ")[1:]]
    assert [each[:5] for each in verdicts] == ["6.2 ✓", "6.2 ✗", "6.2 …"]
    assert verdicts[1].endswith("the factor ½ is missing. The cells below use the worksheet's own answer.")
    assert verdicts[2].endswith("use the worksheet's own answer.")


def test_a_message_that_is_a_question_gets_no_full_stop(capsys, monkeypatch):
    monkeypatch.setitem(checking.exercises(6), "6.2", VALUE)
    monkeypatch.setattr(checking, "judge", lambda exercise, answer: ("wrong", "how many?"))
    worksheet.check("6.2", 1)
    assert capsys.readouterr().out.startswith("6.2 ✗ how many? The cells")


def test_tensorflow_does_not_warn_in_a_students_notebook():
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        worksheet.quiet()
        assert logger.level == logging.ERROR
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize("name", ["", " concat"])
def test_tensorflows_names_of_operations_are_not_shown(name):
    error = ValueError(f"{{{{function_node __wrapped__MatMul_device_/job:0}}}} [4,2] vs. [3,2] [Op:MatMul] name:{name}")
    assert messages.headline(error) == "ValueError: [4,2] vs. [3,2]"


def test_strict_mode_raises_what_would_be_printed(monkeypatch):
    monkeypatch.setenv("KVAE_STRICT", "1")
    with pytest.raises(AssertionError, match=r"6\.2 ✗ .*the sign: a KL divergence is never negative"):
        worksheet.check("6.2", lambda m, v: -worksheet.reference("6.2")(m, v))
    with pytest.raises(AssertionError, match=r"6\.2 … not done yet"):
        worksheet.check("6.2", ...)


def test_the_report_has_one_line_of_json_per_verdict(monkeypatch, tmp_path):
    monkeypatch.setenv("KVAE_REPORT", str(tmp_path / "report"))
    worksheet.check("6.2", ...)
    right = worksheet.reference("6.1")
    worksheet.check("6.1", lambda m, v, e: right(m, v, e))
    records = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert records[1] == {"looked_up": "6.1"}
    assert [(each["exercise"], each["state"]) for each in records[::2]] == [("6.2", "todo"), ("6.1", "right")]


@pytest.mark.parametrize("name", ["6.99", "99.1", "six", 6.2, None])
def test_an_unknown_exercise_is_an_error(name):
    with pytest.raises(ValueError, match="`name` must be the number of an exercise"):
        worksheet.check(name, 1)


def test_private_exercises_replace_the_public_ones(monkeypatch, tmp_path):
    (tmp_path / "w06.py").write_text(
        "import dataclasses\nfrom kvae.worksheet.w06 import EXERCISES as PUBLIC\n"
        'EXERCISES = PUBLIC | {"6.2": dataclasses.replace(PUBLIC["6.2"], points=7)}\n'
    )
    monkeypatch.setenv("KVAE_CHECKS", str(tmp_path))
    assert [checking.find(name).points for name in ("6.1", "6.2")] == [1, 7]
    monkeypatch.delenv("KVAE_CHECKS")
    assert checking.find("6.2").points == 1


def test_show_is_silent_outside_a_notebook(capsys):
    from kvae.plots.canvas import new_figure

    worksheet.show(new_figure(2, 2))
    assert capsys.readouterr() == ("", "")
