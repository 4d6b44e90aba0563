"""The wording of messages: an exception, two numbers, anything that an answer returned, each in one line."""

import inspect
import re
import traceback
from typing import Any

import numpy as np


def describe(error: BaseException) -> str:
    """Describe an exception in one line: its type, its message, and the line of the answer that raised it."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in lines if "<cell" in frame.filename or "ipykernel" in frame.filename]
    where = f", in your line `{own[-1].line}`" if own and own[-1].line else ""
    return f"it raised {headline(error)}{where}"


def headline(error: BaseException) -> str:
    """Type and message of an exception, without the colours, arguments and names that Keras and TensorFlow add."""
    noise = r"\x1b\[[0-9;]*m|Exception encountered when calling .*|\{\{function_node .*?\}\} |\[Op:\w+\] name:( \w+$)?"
    text = re.sub(noise, "", str(error))
    text = " ".join(text.split("Arguments received by")[0].split())[:200].rstrip(". ")
    return f"{type(error).__name__}{f': {text}' if text else ''}"


def two_numbers(got: Any, want: Any) -> tuple[str, str]:
    """Two numbers with four digits, or as many more as it takes to tell different ones apart."""
    for digits in range(4, 10):
        mine, right = (f"{each:.{digits}g}" if each.dtype.kind == "f" else str(each) for each in (got, want))
        if mine != right or np.isclose(got, want, rtol=1e-5, atol=0):
            break
    return mine, right


def short(value: Any) -> str:
    """Anything in at most 60 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"an object of class {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def parameters(answer: Any, count: int) -> list[str]:
    """The names of an answer's parameters, or "argument 1" and so on where they have none."""
    try:
        names = list(inspect.signature(answer).parameters)
    except (TypeError, ValueError):
        names = []
    return [names[i] if i < len(names) else f"argument {i + 1}" for i in range(count)]
