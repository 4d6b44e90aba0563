"""The three functions that a worksheet's cells call."""

import functools
import importlib.util
import io
import json
import os
from pathlib import Path

from kvae.worksheet.exercise import judge

MARKS = {"right": "✓", "wrong": "✗", "todo": "…"}


def check(name, answer):
    """Check an answer and print a line: right, wrong and why, or not done yet.

    Under the environment variable `KVAE_STRICT=1` anything but a right answer raises. With `KVAE_REPORT=FILE` the
    verdict is also appended to that file, as a line of JSON, for `kvae workshop check` and `grade`.

    Args:
        name: the exercise's number, such as "6.2".
        answer: a value, a function or a class, as the exercise asks for.

    Returns:
        The answer if it is right; otherwise the worksheet's own, so that the cells below run in any case.

    Raises:
        AssertionError: under `KVAE_STRICT=1`, with the line that would be printed.
        ValueError: if there is no such exercise.

    Example:

    >>> kl = kvae.worksheet.check("6.2", kl)
    6.2 ✓ your value[0] 3.75, expected 3.75 ± 0.001 at two codes of three dimensions
    """
    exercise = find(name)
    state, message = judge(exercise, answer)
    if os.environ.get("KVAE_REPORT"):
        report(exercise=name, state=state, message=message)
    line = f"{name} {MARKS[state]} {message}"
    if state == "right":
        print(line)
        return answer
    if os.environ.get("KVAE_STRICT", "0") not in ("", "0"):
        raise AssertionError(line)
    print(line if state == "wrong" else f"{line}. The cells below go on with the worksheet's own answer.")
    return exercise.reference


def reference(name):
    """The worksheet's own answer to an exercise.

    Args:
        name: the exercise's number, such as "6.2".

    Raises:
        ValueError: if there is no such exercise.
    """
    return find(name).reference


def show(figure, dpi=72):
    """Show a figure in a notebook, as a PNG of few colours so that the notebook's file stays small.

    Outside a notebook, as in `kvae workshop check`, nothing is drawn.

    Args:
        figure: `matplotlib.figure.Figure`.
        dpi: int, pixels an inch.
    """
    try:
        from IPython import get_ipython
        from IPython.display import Image, display
    except ImportError:
        return
    if get_ipython() is None:
        return
    import PIL.Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    PIL.Image.open(drawn).convert("RGB").quantize(64).save(small, format="png", optimize=True)
    display(Image(small.getvalue(), alt=figure.get_suptitle()))


def find(name):
    """The `Exercise` of a number such as "6.2".

    Raises:
        ValueError: if there is none.
    """
    sheet, _, _ = str(name).partition(".")
    known = exercises(int(sheet)) if sheet.isdigit() else {}
    if name not in known:
        raise ValueError(
            f"`name` must be an exercise's number, such as {next(iter(known), '6.2')!r}. Received: {name!r}"
        )
    return known[name]


def exercises(number):
    """A worksheet's exercises by name; none for a worksheet that is not there.

    They stand in `kvae.worksheet.wNN`, unless the folder that the environment variable `KVAE_CHECKS` names has a
    `wNN.py`: a teacher's private tests, or a worksheet that is no part of kvae.
    """
    return _exercises(int(number), os.environ.get("KVAE_CHECKS", ""))


@functools.cache
def _exercises(number, folder):
    private = Path(folder) / f"w{number:02d}.py"
    public = f"kvae.worksheet.w{number:02d}"
    if folder and private.is_file():
        # Under a name of its own, so that it can import the public one and change what it wants to.
        spec = importlib.util.spec_from_file_location(f"private_w{number:02d}", private)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]  # a .py file always has a spec
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        return module.EXERCISES
    return importlib.import_module(public).EXERCISES if importlib.util.find_spec(public) else {}


def report(**record):
    """Append a line of JSON to the file that `KVAE_REPORT` names."""
    with open(os.environ["KVAE_REPORT"], "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
