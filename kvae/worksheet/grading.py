"""Run and grade student notebooks, each in a separate process so that none can stop the others."""

import collections
import concurrent.futures
import csv
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kvae.io import atomic, limits
from kvae.types import PathLike
from kvae.worksheet import notebooks
from kvae.worksheet.checking import MARKS, exercises
from kvae.worksheet.exercise import Exercise

SECONDS = 300  # for each notebook, counted from its first cell
MEGABYTES = 8192
STARTING = 120  # seconds that a process may take to reach the first cell

NO_WORKSHEET = "not a worksheet: no check line in it"


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
    """

    name: str
    state: str
    verdicts: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    worksheet: int | None = None

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
    path = Path(path)
    result = Result(name or limits.printable(path.name), "run")
    try:
        notebook = notebooks.read(path)
    except (ValueError, OSError) as error:
        result.state = getattr(error, "strerror", None) or str(error)
        return result
    numbers = collections.Counter(check.split(".")[0] for check in notebook.checks)
    found = int(numbers.most_common(1)[0][0]) if numbers else notebook.about.get("worksheet")
    result.worksheet = worksheet or found
    if result.worksheet != found:
        result.state = f"worksheet {found}, not {worksheet}" if found else NO_WORKSHEET
        return result
    if not result.worksheet or not exercises(result.worksheet):
        result.state = NO_WORKSHEET
        return result
    start = time.monotonic()
    records, ending = _records(path.resolve(), seconds, megabytes)
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
    """Run all submissions in a folder and its subfolders.

    Args:
        folder: the folder. Hidden files and `.csv` files are skipped; every other file is taken as a submission.
        seconds: time limit for each submission.
        megabytes: memory limit for each submission; Unix only.
        worksheet: number of the expected worksheet; `None` for the most frequent one.
        jobs: how many submissions run at a time.

    Yields:
        The result of each submission, in the order of their names.

    Raises:
        ValueError: if there is no submission.
    """
    folder = Path(folder)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_submission(path.relative_to(folder))]
    if not paths:
        raise ValueError(f"`folder` must be a folder that contains submissions. Received: {folder}")
    worksheet = worksheet or _usual_worksheet(paths)

    def one(path: Path) -> Result:
        return run(path, limits.printable(path.relative_to(folder)), seconds, megabytes, worksheet)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, paths)


def write_csv(results: Iterable[Result], path: PathLike) -> None:
    """Write results as a table with one row per submission and the points of each exercise, empty if not judged.

    Args:
        results: the results.
        path: file to write; its folder is created.
    """
    results = list(results)
    names = sorted({name for result in results for name in result.exercises})
    names.sort(key=lambda name: [int(part) for part in name.split(".")])
    path = Path(path)
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["submission", "state", "points", "of", *names, "seconds", "notes"])
        for result in results:
            available = sum(e.points for e in result.exercises.values()) if result.worksheet else None
            entries = [result.entry(name) for name in names]
            notes = "; ".join(result.notes)
            writer.writerow(
                [result.name, result.state, result.total(), available, *entries, f"{result.seconds:.0f}", notes]
            )


def lines(result: Result) -> Iterator[str]:
    """A result as lines of text, one per exercise, followed by the notes."""
    for name, exercise in result.exercises.items():
        if name in result.verdicts:
            state, message = result.verdicts[name]
            yield f"{name} {MARKS[state]} {exercise.title}: {message}"
        else:
            yield f"{name} ? {exercise.title}: not judged"
    yield from (f"    {note}" for note in result.notes)


def _records(path: Path, seconds: float, megabytes: int) -> tuple[list[dict[str, Any]], str | None]:
    """Run a notebook; return its report and, if it did not end normally, the reason."""
    with tempfile.TemporaryDirectory() as folder:  # the working directory, so that submissions stay unchanged
        report_file = Path(folder) / "report.jsonl"
        work = Path(folder) / "work"
        work.mkdir()
        here = str(Path(__file__).parents[2])
        environment = {
            **os.environ,
            "KVAE_REPORT": str(report_file),
            "KVAE_STRICT": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "kvae.worksheet.run_notebook", str(path), str(megabytes)],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ending = None
        try:
            _wait_for_start(process, report_file)
            code = process.wait(seconds)
            if code:
                ending = f"the process ended with code {code}; out of memory ({megabytes} MB)?"
        except subprocess.TimeoutExpired:
            ending = f"stopped after {seconds:g} s"
        finally:
            _stop(process)
        return list(_parsed(report_file)), ending


def _wait_for_start(process: subprocess.Popen[bytes], report_file: Path) -> None:
    """Wait for the first cell, so that the time limit does not include the import of TensorFlow."""
    end = time.monotonic() + STARTING
    while process.poll() is None and not report_file.exists() and time.monotonic() < end:
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError, PermissionError):  # Windows; already gone; not permitted
        process.kill()
    process.wait()


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
        elif str(record.get("exercise")) in result.exercises and str(record.get("state")) in MARKS:
            verdict = str(record["state"]), limits.printable(record.get("message"))
            result.verdicts[str(record["exercise"])] = verdict
    if ending or not any("done" in record for record in records):
        result.state = f"{ending or 'the process ended early'}, in cell {cell}" if cell else ending or "did not start"
    counts = collections.Counter(notebook.checks)
    for name in result.exercises:
        if name not in result.verdicts:
            why = "its check was not reached" if counts[name] else "its check line is missing"
            result.notes.append(f"{name} not judged: {why}")
        elif counts[name] > 1:
            result.notes.append(f"{name}: {counts[name]} check lines; the last that ran counts")


def _is_submission(path: Path) -> bool:
    return not any(part.startswith((".", "__")) for part in path.parts) and path.suffix != ".csv"


def _usual_worksheet(paths: Iterable[Path]) -> int | None:
    """The most frequent worksheet among the files; `None` without any."""
    found: collections.Counter[str] = collections.Counter()
    for path in paths:
        try:
            found.update({check.split(".")[0] for check in notebooks.read(path).checks})
        except (ValueError, OSError):
            continue
    return int(found.most_common(1)[0][0]) if found else None
