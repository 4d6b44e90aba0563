"""Run and grade student notebooks, each in a separate process so that none can stop the others."""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kvae.io import limits
from kvae.types import PathLike
from kvae.worksheet import notebooks, processes, submissions
from kvae.worksheet.checking import MARKS, exercises
from kvae.worksheet.exercise import Exercise

SECONDS = 300  # for each notebook, counted from its first cell
MEGABYTES = 8192
STARTING = 120  # seconds that a process may take to reach the first cell

NO_WORKSHEET = "not a worksheet: no check line in it"
# Code that reads the answers, which are part of the installed package.
LOOKS_UP = re.compile(r"worksheet\.(?:w\d\d\w*|checking|exercise)\b|worksheet import w\d\d\w*|\bEXERCISES\b")


@dataclasses.dataclass
class Result:
    """The result of one submission.

    Attributes:
        name: path of the file relative to the folder.
        state: "run", or the reason why it did not run to the end.
        verdicts: `(state, message)` by exercise; an exercise without an entry was not judged, and a note says why.
        notes: messages for the instructor.
        seconds: how long it ran.
        worksheet: number of the worksheet, or `None`.
        student: who submitted it; empty for a single notebook.
    """

    name: str
    state: str
    verdicts: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    worksheet: int | None = None
    student: str = ""

    @property
    def exercises(self) -> dict[str, Exercise]:
        """The exercises of its worksheet, by name."""
        return exercises(self.worksheet) if self.worksheet else {}

    def points(self, exercise: str) -> int | None:
        """Points for one exercise; `None` if it was not judged."""
        if exercise not in self.verdicts:
            return None
        return self.exercises[exercise].points if self.verdicts[exercise][0] == "right" else 0

    def entry(self, exercise: str) -> int | str | None:
        """Entry in the table: the points, or "right", "wrong" or "todo" for a stretch exercise, which has no points."""
        has_points = exercise not in self.verdicts or self.exercises[exercise].points
        return self.points(exercise) if has_points else self.verdicts[exercise][0]

    def total(self) -> int | None:
        """Sum of the points of all judged exercises; `None` if none was judged."""
        return sum(self.points(exercise) or 0 for exercise in self.verdicts) if self.verdicts else None


def run(
    path: PathLike,
    name: str | None = None,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    worksheet: int | None = None,
) -> Result:
    """Run a notebook in a new process and collect the verdicts of its checks. Never raises, whatever is in the file.

    Args:
        path: the notebook.
        name: name in the result; `None` for the file name.
        seconds: time limit, counted from the first cell.
        megabytes: memory limit; Unix only.
        worksheet: number of the expected worksheet; `None` to accept any.

    Returns:
        The result.
    """
    name = name or limits.printable(Path(path).name)
    try:
        notebook = notebooks.read(path)
    except (ValueError, OSError) as error:
        return Result(name, getattr(error, "strerror", None) or str(error))
    return _run(notebook, name, seconds, megabytes, worksheet)


def _run(
    notebook: notebooks.Notebook, name: str, seconds: float, megabytes: int, worksheet: int | None, student: str = ""
) -> Result:
    result = Result(name, "run", worksheet=worksheet, student=student)
    numbers = collections.Counter(check.split(".")[0] for check in notebook.checks)
    found = int(numbers.most_common(1)[0][0]) if numbers else notebook.about.get("worksheet")
    if worksheet and worksheet != found:
        result.state = f"worksheet {found}, not {worksheet}" if found else NO_WORKSHEET
        return result
    if not found or not exercises(found):
        result.state = NO_WORKSHEET
        return result
    result.worksheet = found
    start = time.monotonic()
    records, ending = _records(notebook, seconds, megabytes)
    result.seconds = time.monotonic() - start
    _read(result, notebook, records, ending)
    return result


def grade(
    folder: PathLike,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    worksheet: int | None = None,
    jobs: int = 1,
) -> Iterator[Result]:
    """Run all submissions in a folder, its subfolders and zip archives, after all of them have been read.

    Args:
        folder: the folder. Hidden files and `.csv` files are skipped; every other file is taken as a submission. The
            first part of its path is the student.
        seconds: time limit for each submission.
        megabytes: memory limit for each submission; Unix only.
        worksheet: number of the expected worksheet; `None` for the most frequent one.
        jobs: how many submissions run at a time.

    Yields:
        The best result of each student, in the order of their names, as soon as it is known. What has started is
        stopped when the iteration ends early, as by Ctrl-C.

    Raises:
        ValueError: if there is no submission.
    """
    found = submissions.find(folder)
    if not found:
        raise ValueError(f"`folder` must be a folder that contains submissions. Received: {folder}")
    worksheet = worksheet or _usual_worksheet(found)
    students = itertools.groupby(sorted(found, key=lambda each: each.student), key=lambda each: each.student)

    def one(files: list[submissions.Submission]) -> Result:
        return _best([_graded(each, seconds, megabytes, worksheet) for each in files])

    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        yield from pool.map(one, [list(files) for _, files in students])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        processes.stop_all()
        pool.shutdown()
        processes.STOPPED.clear()


def _graded(submission: submissions.Submission, seconds: float, megabytes: int, worksheet: int | None) -> Result:
    """The result of a submission; an error of the grading itself is its state."""
    name, student = submission.name, submission.student
    if submission.notebook is None:
        return Result(name, submission.problem, worksheet=worksheet, student=student)
    try:
        return _run(submission.notebook, name, seconds, megabytes, worksheet, student)
    except Exception as error:
        reason = limits.printable(f"{type(error).__name__}: {error}", 200)
        return Result(name, f"could not be graded: {reason}", worksheet=worksheet, student=student)


def _best(results: list[Result]) -> Result:
    """The result with the most points, with a note on the student's other notebooks."""
    best = max(results, key=lambda each: (each.total() or 0, each.state == "run", bool(each.verdicts)))
    others = [f"{each.name}: {each.total()} points" for each in results if each is not best and each.verdicts]
    if others:
        best.notes.append(f"the best of {len(others) + 1} notebooks; {', '.join(others)}")
    return best


def lines(result: Result) -> Iterator[str]:
    """A result as lines of text, one per exercise, followed by the notes."""
    for name, exercise in result.exercises.items():
        if name in result.verdicts:
            state, message = result.verdicts[name]
            yield f"{name} {MARKS[state]} {exercise.title}: {message}"
        else:
            yield f"{name} ? {exercise.title}: not judged"
    yield from (f"    {note}" for note in result.notes)


def _records(notebook: notebooks.Notebook, seconds: float, megabytes: int) -> tuple[list[dict[str, Any]], str | None]:
    """Run a notebook; return its report and, if it did not end normally, the reason."""
    folder = tempfile.mkdtemp(prefix="kvae-grade-")
    try:
        path, report_file = Path(folder) / "notebook.ipynb", Path(folder) / "report.jsonl"
        cells = [{"cell_type": "code", "source": source} for _, source in notebook.cells]
        path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        work = Path(folder) / "work"  # the working directory, so that submissions stay unchanged
        work.mkdir()
        here = str(Path(__file__).parents[2])
        environment = {
            **os.environ,
            "KVAE_REPORT": str(report_file),
            "KVAE_STRICT": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
        }
        command = [sys.executable, "-m", "kvae.worksheet.run_notebook", str(path), str(megabytes)]
        code = processes.run(command, work, environment, seconds, STARTING, report_file.exists)
        ending = None
        if code is None:
            ending = f"stopped after {seconds:g} s"
        elif code:
            ending = f"the process ended with code {code}; out of memory ({megabytes} MB)?"
        return list(_parsed(report_file)), ending
    finally:
        submissions.remove_tree(folder)


def _parsed(report_file: Path) -> Iterator[dict[str, Any]]:
    """The valid records of a report: a stopped process may leave an incomplete line, and notebooks can write to it."""
    if not report_file.is_file():
        return
    with report_file.open("rb") as file:
        lines = file.read(limits.REPORT).splitlines()
    for line in lines:
        try:
            record = limits.parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _read(result: Result, notebook: notebooks.Notebook, records: list[dict[str, Any]], ending: str | None) -> None:
    """Add the verdicts and notes from a notebook's report to its result."""
    cell = None
    for record in records:
        cell = limits.printable(record["cell"], 9) if "cell" in record else cell
        if "error" in record:
            result.notes.append(f"cell {cell}: {limits.printable(record['error'])}")
        elif "skipped" in record:
            result.notes.append(f"cell {cell} ran without {limits.printable(record['skipped'], 200)}")
        elif "replaced" in record:
            result.notes.append(
                f"cell {cell} REPLACES {limits.printable(record['replaced'], 60)}: a check that is not kvae's"
            )
        elif "looked_up" in record:
            result.notes.append(
                f"cell {cell} looks up the worksheet's answer to {limits.printable(record['looked_up'], 9)}"
            )
        elif str(record.get("exercise")) in result.exercises and str(record.get("state")) in MARKS:
            verdict = str(record["state"]), limits.printable(record.get("message"))
            result.verdicts[str(record["exercise"])] = verdict
    if ending or not any("done" in record for record in records):
        result.state = f"{ending or 'the process ended early'}, in cell {cell}" if cell else ending or "did not start"
    for number, source in notebook.cells:
        if seen := LOOKS_UP.search(source):
            result.notes.append(f"cell {number} reads the package's answers: {limits.printable(seen[0], 40)}")
    counts = collections.Counter(notebook.checks)
    for name in result.exercises:
        if name not in result.verdicts:
            why = "its check was not reached" if counts[name] else "its check line is missing"
            result.notes.append(f"{name} not judged: {why}")
        elif counts[name] > 1:
            result.notes.append(f"{name}: {counts[name]} check lines; the last that ran counts")


def _usual_worksheet(found: Iterable[submissions.Submission]) -> int | None:
    """The most frequent worksheet among the submissions; `None` without any."""
    sheets: collections.Counter[str] = collections.Counter()
    for each in found:
        sheets.update({check.split(".")[0] for check in each.notebook.checks} if each.notebook else ())
    return int(sheets.most_common(1)[0][0]) if sheets else None
