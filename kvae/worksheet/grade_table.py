"""The table of points: one row per student, written as soon as it is known."""

import csv
from collections.abc import Iterable
from pathlib import Path

from kvae.io import atomic
from kvae.types import PathLike
from kvae.worksheet.grading import Result
from kvae.worksheet.submissions import display_name

# A spreadsheet takes a cell that starts with one of these for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_csv(results: Iterable[Result], path: PathLike) -> int:
    """Write results as a table with one row per student and the points of each exercise, empty if not judged.

    Each row is on disk before the next result is asked for, so an interruption loses none. The file is UTF-8 with the
    mark by which Excel recognises it, and no cell is a formula.

    Args:
        results: the results.
        path: file to write; its folder is created. An existing file is replaced at the first result.

    Returns:
        The number of rows.
    """
    path = atomic.check_replaceable(path)
    atomic.make_folder(Path(path).parent)
    rows = 0
    for result in results:
        names = sorted(result.exercises, key=lambda name: [int(part) for part in name.split(".")])
        with path.open("a" if rows else "w", newline="", encoding="utf-8" if rows else "utf-8-sig") as file:
            writer = csv.writer(file)
            if not rows:
                header = names
                columns = ["student", "name", "submission", "state", "points", "of"]
                writer.writerow([*columns, *header, "seconds", "notes"])
            available = sum(each.points for each in result.exercises.values()) if result.worksheet else None
            who = [result.student, display_name(result.student), result.name, result.state]
            entries = [result.entry(name) for name in header]
            notes = safe("; ".join(result.notes))
            writer.writerow([*map(safe, who), result.total(), available, *entries, f"{result.seconds:.0f}", notes])
        rows += 1
    return rows


def safe(text: str) -> str:
    """Text for a cell of a spreadsheet, which must not start like a formula."""
    return f"'{text}" if text.lstrip().startswith(FORMULA) or text.startswith(FORMULA) else text
