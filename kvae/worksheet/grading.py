"""Students' notebooks, run and marked: each in a process of its own, so that none can stop the rest."""

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
from pathlib import Path

from kvae.io import atomic, limits
from kvae.worksheet import notebooks
from kvae.worksheet.checking import MARKS, exercises

SECONDS = 300  # of each notebook, from its first cell on
MEGABYTES = 8192
STARTING = 120  # seconds that a process may take to get to the first cell


@dataclasses.dataclass
class Result:
    """What became of one submission.

    Attributes:
        name: the file's path in the folder.
        state: "run", or why it was not run to its end.
        verdicts: dict from an exercise to `(state, message)`; without an entry it was not judged, and a note says why.
        notes: list of texts, what a teacher should look at.
        seconds: float, how long it ran.
        worksheet: its number, or `None`.
    """

    name: str
    state: str
    verdicts: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    worksheet: int | None = None

    def points(self, exercise):
        """Points of one exercise; `None` if it was not judged."""
        if exercise not in self.verdicts:
            return None
        return exercises(self.worksheet)[exercise].points if self.verdicts[exercise][0] == "right" else 0

    def entry(self, exercise):
        """What the table shows: the points, or "right", "wrong" or "todo" of a stretch exercise, which has none."""
        has_points = exercise not in self.verdicts or exercises(self.worksheet)[exercise].points
        return self.points(exercise) if has_points else self.verdicts[exercise][0]

    def total(self):
        """Points of all that were judged; `None` if none was."""
        points = [self.points(exercise) for exercise in self.verdicts]
        return sum(points) if points else None


def run(path, name=None, seconds=SECONDS, megabytes=MEGABYTES, worksheet=None):
    """Run a notebook in a fresh process and read what its checks say. Never raises on what is in the file.

    Args:
        path: str or path.
        name: str, what to call it; `None` for its file name.
        seconds: float, after which it is stopped, counted from its first cell on.
        megabytes: int, the memory it may take; Unix only.
        worksheet: int, the worksheet that is expected; `None` for whichever it is.

    Returns:
        A `Result`.
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
        result.state = f"worksheet {found}, not {worksheet}" if found else "not a worksheet: no check line in it"
        return result
    if not result.worksheet or not exercises(result.worksheet):
        result.state = "not a worksheet: no check line in it"
        return result
    start = time.monotonic()
    records, ending = _records(path.resolve(), seconds, megabytes)
    result.seconds = time.monotonic() - start
    _read(result, notebook, records, ending)
    return result


def grade(folder, seconds=SECONDS, megabytes=MEGABYTES, worksheet=None, jobs=1):
    """Run all submissions in a folder and the folders in it.

    Args:
        folder: str or path. Hidden files and `.csv` files are passed over; everything else is taken for a submission.
        seconds: float, for each.
        megabytes: int, for each.
        worksheet: int; `None` for the one that most of them are.
        jobs: int, how many run at a time.

    Yields:
        A `Result` each, in the order of their names.

    Raises:
        ValueError: if there is no submission.
    """
    folder = Path(folder)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_submission(path.relative_to(folder))]
    if not paths:
        raise ValueError(f"`folder` must be a folder with submissions in it. Received: {folder}")
    worksheet = worksheet or _usual_worksheet(paths)

    def one(path):
        return run(path, limits.printable(path.relative_to(folder)), seconds, megabytes, worksheet)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, paths)


def write_csv(results, path):
    """Write results as a table: a row each, with points an exercise; a cell is empty where nothing was judged.

    Args:
        results: list of `Result`.
        path: str or path; its folder is created.
    """
    names = sorted({name for result in results for name in (exercises(result.worksheet) if result.worksheet else ())})
    names.sort(key=lambda name: [int(part) for part in name.split(".")])
    path = Path(path)
    atomic.make_folder(path.parent)
    with atomic.replacing(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["submission", "state", "points", "of", *names, "seconds", "notes"])
        for result in results:
            available = sum(e.points for e in exercises(result.worksheet).values()) if result.worksheet else None
            entries = [result.entry(name) for name in names]
            notes = "; ".join(result.notes)
            writer.writerow(
                [result.name, result.state, result.total(), available, *entries, f"{result.seconds:.0f}", notes]
            )


def lines(result):
    """A result as lines of text, one an exercise."""
    for name, exercise in exercises(result.worksheet).items() if result.worksheet else ():
        if name in result.verdicts:
            state, message = result.verdicts[name]
            yield f"{name} {MARKS[state]} {exercise.title}: {message}"
        else:
            yield f"{name} ? {exercise.title}: not judged"
    yield from (f"    {note}" for note in result.notes)


def _records(path, seconds, megabytes):
    """Run a notebook; return what it reported and, if it came to no good end, why."""
    with tempfile.TemporaryDirectory() as folder:  # to work in, so that it changes nothing beside the submissions
        told = Path(folder) / "report.jsonl"
        work = Path(folder) / "work"
        work.mkdir()
        here = str(Path(__file__).parents[2])
        environment = {
            **os.environ,
            "KVAE_REPORT": str(told),
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
            _wait_for_start(process, told)
            code = process.wait(seconds)
            if code:
                ending = f"the process ended with code {code}; out of memory ({megabytes} MB)?"
        except subprocess.TimeoutExpired:
            ending = f"stopped after {seconds:g} s"
        finally:
            _stop(process)
        return list(_parsed(told)), ending


def _wait_for_start(process, told):
    """Wait until the notebook's first cell begins, so that its time is its own and not that of importing TensorFlow."""
    end = time.monotonic() + STARTING
    while process.poll() is None and not told.exists() and time.monotonic() < end:
        time.sleep(0.05)


def _stop(process):
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError, PermissionError):  # Windows; all gone; another's
        process.kill()
    process.wait()


def _parsed(told):
    """The records in a report that are whole: the last line of a stopped process may not be, and anybody may write."""
    if not told.is_file():
        return
    with told.open("rb") as file:
        lines = file.read(limits.REPORT).splitlines()
    for line in lines:
        try:
            record = limits.parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _read(result, notebook, records, ending):
    """Turn what a notebook reported into verdicts and notes."""
    cell = None
    for record in records:
        cell = limits.printable(record["cell"], 9) if "cell" in record else cell
        if "error" in record:
            result.notes.append(f"cell {cell}: {limits.printable(record['error'])}")
        elif str(record.get("exercise")) in exercises(result.worksheet) and str(record.get("state")) in MARKS:
            verdict = str(record["state"]), limits.printable(record.get("message"))
            result.verdicts[str(record["exercise"])] = verdict
    if ending or not any("done" in record for record in records):
        result.state = f"{ending or 'the process ended early'}, in cell {cell}" if cell else ending or "did not start"
    counts = collections.Counter(notebook.checks)
    for name in exercises(result.worksheet):
        if name not in result.verdicts:
            why = "its check was not reached" if counts[name] else "its check line is gone"
            result.notes.append(f"{name} not judged: {why}")
        elif counts[name] > 1:
            result.notes.append(f"{name}: {counts[name]} check lines; the last that ran counts")


def _is_submission(path):
    return not any(part.startswith((".", "__")) for part in path.parts) and path.suffix != ".csv"


def _usual_worksheet(paths):
    """The worksheet that most of the files are; `None` if none is one."""
    found: collections.Counter = collections.Counter()
    for path in paths:
        try:
            found.update({check.split(".")[0] for check in notebooks.read(path).checks})
        except (ValueError, OSError):
            continue
    return int(found.most_common(1)[0][0]) if found else None
