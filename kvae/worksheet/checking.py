"""The three functions that a worksheet's cells call."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvae.worksheet.exercise import Exercise, judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 100  # JupyterLab breaks longer lines inside words
MARKS = {"right": "✓", "wrong": "✗", "todo": "…"}


def check(name: str, answer: Any) -> Any:
    """Check an answer and print the verdict: right, wrong and why, or not done yet.

    With the environment variable `KVAE_STRICT=1`, every answer that is not right raises. With `KVAE_REPORT=FILE`, the
    verdict is also appended to that file as a line of JSON, for `kvae workshop check` and `grade`.

    Args:
        name: number of the exercise, such as "6.2".
        answer: a value, a function or a class, depending on the exercise.

    Returns:
        The answer if it is right; otherwise the worksheet's own answer, so that the cells below always run.

    Raises:
        AssertionError: with `KVAE_STRICT=1`, if the answer is not right; the message is the line otherwise printed.
        ValueError: if there is no such exercise.

    Example:

    >>> def kl(z_mean, z_log_var):
    ...     return 0.5 * ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1)
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
    whole = f"{line}{'' if line.endswith('?') else '.'} The cells below use the worksheet's own answer."
    print(textwrap.fill(whole, WIDTH, break_long_words=False, break_on_hyphens=False))
    return exercise.reference


def reference(name: str) -> Any:
    """The worksheet's own answer to an exercise.

    Args:
        name: number of the exercise, such as "6.2".

    Returns:
        A value, a function or a class.

    Raises:
        ValueError: if there is no such exercise.
    """
    if os.environ.get("KVAE_REPORT"):
        report(looked_up=str(name))
    return find(name).reference


def show(figure: Figure, dpi: int = 72) -> None:
    """Show a figure in a notebook, as a PNG with few colours that keeps the notebook file small.

    Outside a notebook, as in `kvae workshop check`, nothing is drawn.

    Args:
        figure: the figure.
        dpi: pixels per inch.
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


def find(name: str) -> Exercise:
    """The exercise with a number such as "6.2".

    Raises:
        ValueError: if there is no such exercise.
    """
    sheet, _, _ = str(name).partition(".")
    known = exercises(int(sheet)) if sheet.isdigit() else {}
    if name not in known:
        raise ValueError(
            f"`name` must be the number of an exercise, such as {next(iter(known), '6.2')!r}. Received: {name!r}"
        )
    return known[name]


def exercises(number: int) -> dict[str, Exercise]:
    """The exercises of a worksheet by name; empty if there is no such worksheet.

    They come from `kvae.worksheet.wNN`, unless the folder named by the environment variable `KVAE_CHECKS` contains a
    `wNN.py`: private tests of an instructor, or a worksheet that is not part of kvae.
    """
    return _exercises(int(number), os.environ.get("KVAE_CHECKS", ""))


@functools.cache
def _exercises(number: int, folder: str) -> dict[str, Exercise]:
    private = Path(folder) / f"w{number:02d}.py"
    public = f"kvae.worksheet.w{number:02d}"
    if folder and private.is_file():
        # Under another name, so that it can import and modify the public module.
        spec = importlib.util.spec_from_file_location(f"private_w{number:02d}", private)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]  # a .py file always has a spec
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        return module.EXERCISES
    return importlib.import_module(public).EXERCISES if importlib.util.find_spec(public) else {}


def report(**record: Any) -> None:
    """Append a line of JSON to the file named by `KVAE_REPORT`."""
    with open(os.environ["KVAE_REPORT"], "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
