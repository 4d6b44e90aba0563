"""`kvae workshop`: hand out worksheets, check a notebook, grade a folder of notebooks."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from kvae.cli import interruptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the subcommands of `kvae workshop` to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list the worksheets, with topics and durations", description=LIST)

    sub = actions.add_parser("copy", help="copy a worksheet to fill in", description=COPY)
    sub.add_argument("number", type=int, metavar="N", help="the worksheet's number, as `kvae workshop list` shows it")
    sub.add_argument("folder", nargs="?", default=".", metavar="DIR", help="folder to copy to; default: current folder")
    sub.add_argument("--force", action="store_true", help="replace an existing copy, with everything filled in")

    sub = actions.add_parser("zip", help="pack worksheets and kvae for students, also on Colab", description=ZIP)
    sub.add_argument("numbers", nargs="*", type=int, metavar="N", help="the worksheets' numbers; default: all")
    sub.add_argument("--out", default="kvae-worksheets.zip", metavar="ZIP", help="the archive; default: %(default)s")
    sub.add_argument("--force", action="store_true", help="replace an existing archive")

    sub = actions.add_parser("check", help="run a notebook and report on each exercise", description=CHECK)
    sub.add_argument("file", metavar="FILE", help="a student's .ipynb file")
    _limits(sub)

    sub = actions.add_parser("grade", help="run a folder of notebooks and assign points", description=GRADE)
    sub.add_argument("folder", metavar="DIR", help="folder of submissions, with subfolders and zip archives")
    sub.add_argument("--out", metavar="CSV", help="also write the points to this table")
    sub.add_argument("--worksheet", type=int, metavar="N", help="the assigned number; default: that of most notebooks")
    sub.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks run in parallel; default: %(default)s")
    _limits(sub)


LIST = "List the worksheets."
COPY = "Copy a worksheet to fill in. An existing file is only replaced with --force."
ZIP = (
    "Pack student notebooks and kvae's wheel into one archive, to upload for a class. The first cell of each notebook "
    "installs the wheel beside it if kvae is missing, as on Colab. Needs no network."
)
CHECK = "Run a notebook in a separate process and report on each exercise. Exit code 0 if all are right, else 1."
GRADE = (
    "Run every notebook in a folder and its zip archives, each in a separate process, and assign points: a row per "
    "student, for the best of their notebooks. Notebooks run with your "
    "permissions: the limits guard against accidents, not attacks."
)


def run(arguments: Namespace) -> int | None:
    """Run `kvae workshop ACTION`, and return its exit code."""
    return {"list": list_all, "copy": copy, "zip": pack, "check": check, "grade": grade}[arguments.action](arguments)


def list_all(arguments: Namespace) -> None:
    """Print the worksheets."""
    from kvae.worksheet import notebooks

    print(f"{'':>2}  {'minutes':>7}  {'lectures':<13}  topic")
    for number, path in notebooks.student_notebooks().items():
        about = notebooks.read(path).about
        topic = f"{about['topic']}: {about['about']}".replace("`", "")
        print(f"{number:>2}  {about['minutes']:>7}  {about['lectures']:<13}  {topic}")
    print("To fill one in, copy it: kvae workshop copy N DIR")


def copy(arguments: Namespace) -> None:
    """Copy a student's notebook."""
    from kvae.io import FileError, atomic

    source = _student_notebook(arguments.number)
    target = atomic.make_folder(arguments.folder) / source.name
    if target.exists() and not arguments.force:
        raise FileError(f"{target} already exists: choose another folder, or use --force to overwrite it")
    with atomic.replacing(target) as aside:
        aside.write_bytes(source.read_bytes())
    print(f"written to {target}")
    print(f"  open it:  jupyter lab {target}   (pip install jupyterlab, if necessary; VS Code and Colab work too)")
    print("  fill in:  each blank is marked YOUR CODE; run its cell, and read the result of its check")
    print(f"  finally:  kvae workshop check {target}")


def pack(arguments: Namespace) -> None:
    """Write an archive of student notebooks and the wheel."""
    from kvae.io import FileError
    from kvae.worksheet import handout, notebooks

    numbers = list(dict.fromkeys(arguments.numbers)) or list(notebooks.student_notebooks())
    for number in numbers:
        _student_notebook(number)
    if Path(arguments.out).exists() and not arguments.force:
        raise FileError(f"{arguments.out} already exists: choose another name, or use --force to overwrite it")
    *written, wheel = handout.write(arguments.out, numbers)
    print(f"written to {arguments.out}: {', '.join(written)} and {wheel}")
    print(f"  upload it:  students unpack it and open a notebook; on Colab, they also upload {wheel}")
    print("  collect:    kvae workshop grade SUBMISSIONS --out grades.csv")


def check(arguments: Namespace) -> int:
    """Run one notebook and print the results of its checks."""
    from kvae.worksheet import grading
    from kvae.worksheet.checking import exercises

    if not Path(arguments.file).is_file():
        raise ValueError(f"`FILE` must be a notebook, an .ipynb file. Received: {arguments.file}")
    _use_checks(arguments)
    result = grading.run(arguments.file, seconds=arguments.seconds, megabytes=arguments.megabytes)
    if result.state != "run":
        print(f"{result.name}: {result.state}")
    for line in grading.lines(result):
        print(line)
    if not result.worksheet:
        return 1
    known = exercises(result.worksheet)
    right = sum(state == "right" for state, _ in result.verdicts.values())
    points = f"{result.total() or 0} of {sum(exercise.points for exercise in known.values())} points"
    print(f"worksheet {result.worksheet}: {right} of {len(known)} exercises right, {points}, {result.seconds:.0f} s")
    return 0 if right == len(known) and result.state == "run" else 1


def grade(arguments: Namespace) -> None:
    """Grade a folder of notebooks and print a table."""
    from kvae import checks
    from kvae.worksheet import grade_table, grading

    if not Path(arguments.folder).is_dir():
        raise ValueError(f"`DIR` must be a folder of submissions. Received: {arguments.folder}")
    checks.positive_integer(arguments.jobs, "jobs")
    _use_checks(arguments)
    limits = arguments.seconds, arguments.megabytes, arguments.worksheet, arguments.jobs
    results = map(_printed, grading.grade(arguments.folder, *limits))
    if not arguments.out:
        for _ in results:
            pass
        return
    with interruptions.remembered(f"interrupted; what has been graded is in {arguments.out}"):
        rows = grade_table.write_csv(results, arguments.out)
    print(f"{rows} rows written to {arguments.out}")


def _student_notebook(number):
    from kvae.worksheet import notebooks

    known = notebooks.student_notebooks()
    if number not in known:
        raise ValueError(f"`N` must be one of {sorted(known)}, see `kvae workshop list`. Received: {number}")
    return known[number]


def _printed(result):
    points = "–" if result.total() is None else result.total()
    state = f"{result.seconds:.0f} s" if result.state == "run" else result.state
    print(f"{points:>4}  {result.name}  ({'; '.join([state, *result.notes])})", flush=True)
    return result


def _limits(sub):
    sub.add_argument("--seconds", type=float, default=300, metavar="S", help="limit per notebook; default: %(default)s")
    sub.add_argument("--megabytes", type=int, default=8192, metavar="M", help="memory limit; default: %(default)s")
    sub.add_argument("--checks", metavar="DIR", help="folder with your own wNN.py, used instead of kvae's exercises")


def _use_checks(arguments):
    if arguments.checks:
        if not Path(arguments.checks).is_dir():
            raise ValueError(f"`checks` must be a folder with a wNN.py in it. Received: {arguments.checks}")
        os.environ["KVAE_CHECKS"] = str(Path(arguments.checks).resolve())
