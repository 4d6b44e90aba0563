"""Wrong answers that no table lists: none is called right, most get a diagnosis, and what is said is so."""

import collections
import dataclasses

import numpy as np
import pytest
import wrong_answers
from keras import ops

from kvae.worksheet import checking, diagnosis, messages, probes, relations
from kvae.worksheet.exercise import OTHER, Exercise, judge

ANSWERS = list(wrong_answers.table())
FUNCTIONS_OF = {key.partition(" ")[0]: answers for key, answers in wrong_answers.FUNCTIONS.items()}
MOST_WITHOUT_A_WORD = 0.2


def judged(answers):
    """Count the verdicts; none may be right."""
    counts = collections.Counter()
    for name, code, answer in answers:
        state, message, word = wrong_answers.verdict(name, answer)
        assert state == "wrong", (name, code, message)
        assert "\n" not in message
        counts[bool(word)] += 1
    return counts


def test_there_are_many():
    assert len(ANSWERS) >= 200
    assert len({name for name, _, _ in ANSWERS}) >= 50


@pytest.mark.long
def test_few_of_all_worksheets_end_without_a_word():
    counts = judged(ANSWERS)
    assert counts[False] <= MOST_WITHOUT_A_WORD * counts.total()


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("1.1", "x.reshape(5, 6) - x.reshape(5, 6).mean(axis=0)", "right there, but with other arguments it raised"),
        ("1.1", "x -= x.mean(axis=0)\nreturn x.reshape(len(x), -1)", "changes its argument `x` in place"),
        ("1.2", "np.median((x @ (w / np.linalg.norm(w))) ** 2)", "right with `mean` in place of `median`"),
        ("1.7", "mean + noise * variances @ w.T", "you scaled by the variance"),
        ("2.4", "z.mean(axis=0) + z.std(axis=0, ddof=1) * noise", "right with `z.std(axis=0)` in place of"),
        ("3.2", "np.mean(data[:, None] < elsewhere + 0.2)", "right with `elsewhere` in place of `elsewhere + 0.2`"),
        ("4.2", "np.log(np.mean(np.exp(log_values - log_values.min()))) + log_values.min()", "but not with other"),
        ("4.5", "np.sum(log_w) / 4", f"right there, but not with other arguments: {OTHER}"),
        ("4.5", "np.mean(log_w) - np.log(len(log_w))", "the right values minus ln 4, and 4 is a size"),
        ("5.2", FUNCTIONS_OF["5.2"][-1], "right with `mu + s * noise` in place of `mu + s + noise`"),
        ("5.6", "(f_z - (np.sum(f_z) - f_z) / (len(f_z) - 1)).tolist()", "right there, but as a list"),
        ("9.3", "-0.5 * np.sum((observed - means) ** 2, axis=1) / 0.49", "but not with other arguments"),
        ("11.6", FUNCTIONS_OF["11.6"][0], "right with `sum` in place of `mean`"),
        ("9.4", "w = np.exp(logs - logs.mean())\nreturn w / w.sum() @ means", "subtract the largest one first"),
    ],
)
def test_what_is_said(name, code, said):
    key = next(key for key in wrong_answers.FUNCTIONS if key.startswith(f"{name} "))
    answer = wrong_answers.function(name, key.partition(" ")[2], code)
    state, message = judge(checking.find(name), answer)
    assert state == "wrong"
    assert said in message, message


DOUBLE = Exercise(
    title="twice",
    reference=lambda x: 2 * x,
    arguments=(np.array([1.0, 3.0], "float32"),),
    wrong=[(lambda x: ops.square(x) + 1, "this is a square")],
    further=[((np.array([5.0, -2.0, 0.5], "float32"),), OTHER)],
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: ops.cast(2 * x, "float64"), "right there, but of type float64: the cells below need float32"),
        (lambda x: x + ops.stop_gradient(x), "another gradient with respect to `x`"),
        (lambda x: ops.convert_to_tensor(2 * ops.convert_to_numpy(x)), "no gradient with respect to `x`"),
        (lambda x: [2.0 * float(each) for each in x], "right there, but as a list"),
        (lambda x: ops.convert_to_tensor([2.0, 6.0]), f"not with other arguments: {OTHER}"),
        (lambda x: {1: 2 * x, "b": x}, "expected an array or a number. Received: one result for each of 1, b"),
        (lambda x: {}, "Received: no result"),
        (lambda x: ops.concatenate([ops.array([2.0]), 2 * x[1:]]), "not with other arguments"),
    ],
)
def test_right_numbers_are_not_enough(answer, said):
    state, message = judge(DOUBLE, answer)
    assert state == "wrong"
    assert said in message, message


def test_a_step_that_does_not_compile_is_not_right():
    def answer(x):
        return x + x if float(x[0]) > 0 else 2 * x

    state, message = judge(DOUBLE, answer)
    assert state == "wrong"
    assert "whose step is compiled" in message


def test_a_mistake_is_named_only_if_it_agrees_everywhere():
    """At 1 and 3 this equals x² + 1, at the further arguments it does not."""
    assert judge(DOUBLE, lambda x: ops.square(x) + 1).message.endswith("this is a square")
    assert not judge(DOUBLE, lambda x: 4 * x - 2).message.endswith("this is a square")


def test_numbers_get_as_many_digits_as_tell_them_apart():
    near = Exercise(title="", reference=-1002.2, wrong=[])
    assert judge(near, -1002.25).message.startswith("your value -1002.25, expected -1002.2 ")
    assert judge(near, -1002.2).message.startswith("your value -1002, expected -1002 ")


WANT = np.array([[0.5, 2.0, -1.0], [3.0, 0.25, 4.0]])


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (-WANT, "the wrong sign"),
        (2 * WANT, "times 2: a factor ½ is missing"),
        (WANT * np.log(2), "times 0.6931: ln 2, which turns bits into nats"),
        (WANT / 7, "times 1/7, and 7 is a size of the arguments: a mean where a sum is expected?"),
        (WANT * 7 / 6, "times 7/6, and 7 is a size of the arguments: n − 1 in a denominator where n is expected?"),
        (WANT + np.log(7), "plus ln 7, and 7 is a size"),
        (WANT - 0.5, "minus ½"),
        (WANT + 0.123, "plus 0.123: a term is missing, or one too many"),
        (WANT.T, "transposed"),
        (WANT[::-1], "in reverse order along axis=0"),
        (WANT[:, [1, 2, 0]], "moved along axis=1"),
        (WANT.ravel(), "in the shape (6,): reshape them to (2, 3)"),
        (WANT[None], "an axis of size 1 too many"),
        (WANT.sum(axis=0), "this is the sum of the right values over axis=0, which should stay separate"),
        (np.stack([0.25 * WANT, 0.75 * WANT]), "the sum over axis=0 of these is right: it is missing"),
        (np.exp(WANT), "the exponentials of the right values"),
        (np.abs(WANT), "the absolute values of the right ones"),
        (1 - WANT, "1 minus the right values"),
        (0 * WANT + WANT.mean(), "each of these is the mean of the right values"),
    ],
)
def test_how_an_array_relates_to_the_right_one(got, said):
    texts = [text for _, text in relations.relations(got, WANT, [7])]
    assert any(said in text for text in texts), texts


def test_an_axis_of_size_1_is_no_missing_sum():
    said = [key for key, _ in relations.relations(np.array([[3.0]]), np.array([3.0]), [7])]
    assert "squeezed" in said
    assert not any(key[0] == "uncollected" for key in said)


def test_other_arrays_are_not_related():
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert list(relations.relations(rng.normal(size=(2, 3)), WANT, [7, 2, 3])) == []


def test_an_argument_is_unused_only_if_nothing_changes():
    pair = Exercise(
        title="",
        reference=lambda a, b: a + b,
        arguments=(np.array([1.0, 2.0]), np.array([3.0, 5.0])),
        wrong=[],
        tensors=False,
    )
    assert (
        diagnosis.of_numbers(pair, lambda a, b: 7 * a**2, {"": np.array([7.0, 28.0])})
        == "`b` has no effect on the result"
    )
    assert "no effect" not in diagnosis.of_numbers(pair, lambda a, b: a**2 + (b > 4), {"": np.array([1.0, 5.0])})


def test_every_exercise_has_further_arguments_of_other_sizes():
    for sheet in range(1, 10):
        for name, each in checking.exercises(sheet).items():
            assert each.further or isinstance(each.reference, type), name
            given = [more for more, _ in each.further if isinstance(more, tuple)]
            for i, argument in enumerate(each.arguments or ()):
                for axis, size in enumerate(np.shape(argument)):
                    assert size == 1 or any(np.shape(more[i])[axis] != size for more in given), (name, i, axis)


def test_a_private_exercise_needs_no_further_arguments():
    alone = dataclasses.replace(DOUBLE, further=())
    assert judge(alone, lambda x: x + x).state == "right"
    assert probes.flaw(alone, lambda x: x + x, None) == ""
    assert messages.parameters(lambda a, *b: a, 3) == ["a", "b", "argument 3"]
