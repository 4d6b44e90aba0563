"""A result of the doctor's examination, and the words for the data that it speaks of."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from kvae.types import Shape


@dataclasses.dataclass(frozen=True)
class Finding:
    """A single result of the doctor's examination.

    Attributes:
        name: what it is about, one word.
        severity: "problem", "warning", "note" or, for a healthy model, "ok".
        message: what was found, with the figure that shows it.
        advice: what to try; empty if there is nothing to fix.
        value: the figure; `None` if no single number shows it.
    """

    name: str
    severity: str
    message: str
    advice: str
    value: float | None

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}" + (f" Try: {self.advice}" if self.advice else "")


class Words(NamedTuple):
    """What an example and the numbers in it are called."""

    example: str
    values: str


def words(shape: Shape) -> Words:
    """The words for examples of a shape: without a channel axis, as in a table or a series, they are not images."""
    return Words("image", "pixels") if len(shape) > 2 else Words("example", "values")
