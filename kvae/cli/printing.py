"""What the `kvae` command prints."""

from __future__ import annotations

import contextlib
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kvae.data import Dataset
    from kvae.evaluation import Finding


def metrics(numbers: Mapping[str, Any]) -> None:
    """Print numbers, one per line, then notes on them and how they compare with the reference card."""
    for name, value in numbers.items():
        if not isinstance(value, (dict, list)):
            shown = "–" if value is None else f"{value:.4g}" if isinstance(value, float) else value
            print(f"{name.replace('_', ' '):>30}  {shown}")
    for note in numbers.get("notes", ()):
        _paragraph("note:", note)
    if "card" in numbers:
        _paragraph("Is it good?", numbers["card"]["text"])


MOST_CLASSES = 30  # whose sizes are printed


@contextlib.contextmanager
def busy(doing: str, after: float = 2.0, every: float = 15.0) -> Iterator[None]:
    """Print what is being done if it takes longer than `after` seconds, and again each time `every` seconds pass."""
    done, start = threading.Event(), time.monotonic()

    def report():
        if not done.wait(after):
            print(f"{doing} …", flush=True)
        while not done.wait(every):
            print(f"{doing}: {time.monotonic() - start:.0f} s so far …", flush=True)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def findings(found: Iterable[Finding]) -> None:
    """Print what the doctor found."""
    for finding in found:
        _paragraph(f"{finding.severity}, {finding.name.replace('_', ' ')}:", finding.message)
        if finding.advice:
            print(textwrap.fill(finding.advice, 110, initial_indent="  try ", subsequent_indent="      "))


def dataset(found: Dataset) -> None:
    """Print the size, shape and labels of a data set."""
    kind = "images" if len(found.image_shape) == 3 else "examples"
    print(f"{found.name}: {len(found.x_train)} training and {len(found.x_test)} test {kind}, ", end="")
    if kind == "images":
        height, width, channels = found.image_shape
        print(f"{height} high, {width} wide, {channels} channel(s), pixel mean {found.x_train.mean():.3f}")
    else:
        mean, deviation = found.x_train.mean(), found.x_train.std()
        size, *others = found.image_shape
        what = f"series or table of {size} values"
        if others:
            what = f"series of {size} times and {others[0]} channel(s)"
        print(f"{what}, mean {mean:.3f}, standard deviation {deviation:.3f}")
    if found.y_train is None:
        return
    if found.num_classes:
        counts = np.bincount(found.y_train, minlength=found.num_classes)
        names = found.class_names or range(found.num_classes)
        shown = [f"{name}: {n}" for name, n in zip(names, counts[:MOST_CLASSES], strict=False)]
        more = f" and {len(counts) - MOST_CLASSES} more" if len(counts) > MOST_CLASSES else ""
        print(f"training {kind} per label: " + ", ".join(shown) + more)
    else:
        print(f"attribute vectors of length {found.y_train.shape[1]}")


def ladder(numbers: Iterable[Mapping[str, str | float]]) -> None:
    """Print the ladder's table, one row per method."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for i, name in enumerate(("method", "MSE", "Fréchet", "fitted codes", "probe", "seconds")):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in numbers:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
    Console().print(table)


def _paragraph(head, text):
    print("\n" + textwrap.fill(f"{head} {text}", 110, subsequent_indent="  "))
