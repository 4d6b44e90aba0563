"""`kvae workshop` on the command line, with submissions of every kind."""

import csv
import json
import subprocess
import sys

import fresh
import pytest

from kvae.cli import main
from kvae.worksheet import grade_table, grading, notebooks

pytestmark = pytest.mark.long

# Worksheet 90, a private one without training.
CHECKS = """
import numpy as np
from kvae.worksheet import Exercise
X = (np.array([1.0, 3.0]),)
EXERCISES = {
    "90.1": Exercise(title="twice", reference=lambda x: 2 * x, arguments=X, tensors=False, points=2,
                     wrong=[(lambda x: x**2, "this is the square")]),
    "90.2": Exercise(title="half", reference=lambda x: x / 2, arguments=X, tensors=False,
                     wrong=[(lambda x: 2 / x, "the wrong way round")], seconds=2),
    "90.3": Exercise(title="a number", reference=0.5, wrong=[(2, "the inverse")]),
}
"""
# A printed verdict does not count.
FIRST = "import kvae\nprint('90.1', {'exercise': '90.1', 'state': 'right', 'message': ''})"
RIGHT = ["def twice(x):\n    return x + x", "def half(x):\n    return x / 2", "number = twice(1) / 4"]
LINES = [f'{name} = kvae.worksheet.check("90.{i}", {name})' for i, name in enumerate(("twice", "half", "number"), 1)]


def cells(*answers, lines=LINES):
    return [FIRST, *(f"{answer}\n{line}" for answer, line in zip(answers, lines, strict=True))]


def submission(sources):
    code = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    return json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


TWICE, HALF, NUMBER = RIGHT
# Of every end of a process; test_worksheet_submissions.py has what else a folder holds.
SUBMISSIONS = {
    "anna/w90.ipynb": submission(cells(*RIGHT)),
    "endless.ipynb": submission(cells(TWICE, "while True: pass", NUMBER)),
    "greedy.ipynb": submission(cells(TWICE, "import numpy\nhuge = numpy.ones(2**33)\nhalf = ...", NUMBER)),
    "quits.ipynb": submission(cells(TWICE, "import os\nos._exit(0)", NUMBER)),
    "essay.pdf": "%PDF-1.4 not a notebook",
}


def kvae(*arguments, code=0):
    """Output of the command, run in a new process."""
    command = [sys.executable, "-c", fresh.KVAE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


# name: state, total points, points per exercise (- if not judged), and a note
ROWS = {
    "anna/w90.ipynb": ("run", "4", "2 1 1", ""),
    "endless.ipynb": ("stopped after 10 s, in cell 3", "2", "2 - -", "90.3 not judged: its check was not reached"),
    "greedy.ipynb": ("run", "3", "2 - 1", "cell 3: it raised"),
    "quits.ipynb": ("the process ended early, in cell 3", "2", "2 - -", "90.2 not judged: its check was not reached"),
    "essay.pdf": ("not a notebook: expected an .ipynb file, as saved by Jupyter and Colab", "", "- - -", ""),
}


def test_a_folder_is_graded_within_limits(tmp_path):
    checks, folder, table = tmp_path / "checks", tmp_path / "in", tmp_path / "out" / "grades.csv"
    for name, text in ({"checks/w90.py": CHECKS} | {f"in/{name}": text for name, text in SUBMISSIONS.items()}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    limits = ("--seconds", "10", "--megabytes", "4000", "--jobs", "2")
    printed = kvae("workshop", "grade", folder, "--checks", checks, "--out", table, *limits)
    rows = {row["submission"]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
    assert set(rows) == set(ROWS)
    for name, (state, points, each, note) in ROWS.items():
        row = rows[name]
        found = row["state"], row["points"], " ".join(row[f"90.{i}"] or "-" for i in (1, 2, 3))
        assert (name, *found) == (name, state, points, each)
        assert note in row["notes"]
        assert bool(note) == bool(row["notes"])
        assert name in printed


def test_a_folder_without_submissions_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="`folder` must be a folder that contains submissions"):
        list(grading.grade(tmp_path))


def test_copy_never_replaces_a_file_unless_told(tmp_path, capsys):
    assert main.main(["workshop", "copy", "6", str(tmp_path / "course")]) == 0
    (target,) = (tmp_path / "course").iterdir()
    assert target.read_bytes() == notebooks.student_notebooks()[6].read_bytes()
    assert f"kvae workshop check {target}" in capsys.readouterr().out
    target.write_text("my answers")
    assert main.main(["workshop", "copy", "6", str(tmp_path / "course")]) == 1
    assert target.read_text() == "my answers"
    assert "already exists" in capsys.readouterr().err
    assert main.main(["workshop", "copy", "6", str(tmp_path / "course"), "--force"]) == 0
    assert target.read_text() != "my answers"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["copy", "77"], "see `kvae workshop list`. Received: 77"),
        (["check", "nowhere.ipynb"], "`FILE` must be a notebook"),
        (["grade", "nowhere"], "`DIR` must be a folder"),
        (["grade", ".", "--checks", "nowhere"], "`checks` must be a folder"),
        (["grade", ".", "--jobs", "0"], "`jobs` must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(arguments, words, capsys):
    assert main.main(["workshop", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kvae workshop: ")
    assert words in line


def test_list_needs_no_keras():
    printed = kvae("workshop", "list")
    for number, path in notebooks.student_notebooks().items():
        assert f"{number:>2} " in printed
        assert notebooks.read(path).about["topic"] in printed
    start = "import sys; sys.argv[0] = 'kvae'; from kvae.cli.main import main; "
    code = start + "main(['workshop', 'list']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "kvae.worksheet.notebooks" in loaded.split()
    assert "keras" not in loaded.split()


def test_check_reports_on_each_exercise(tmp_path, monkeypatch, capsys):
    (tmp_path / "w90.py").write_text(CHECKS)
    path = tmp_path / "mine.ipynb"
    path.write_text(submission(cells(TWICE, "def half(x):\n    return 2 / x", "number = ...")))
    monkeypatch.delenv("KVAE_CHECKS", raising=False)
    assert main.main(["workshop", "check", str(path), "--checks", str(tmp_path)]) == 1
    monkeypatch.delenv("KVAE_CHECKS")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("90.1 ✓ twice: ")
    assert lines[1].endswith("the wrong way round")
    assert lines[2].startswith("90.3 … a number: not done yet")
    assert lines[3].startswith("worksheet 90: 1 of 3 exercises right, 2 of 4 points, ")


def test_a_stretch_exercise_shows_its_verdict_instead_of_points(tmp_path):
    verdicts = {"6.6": ("right", ""), "6.7": ("right", "")}
    result = grading.Result("mine", "run", verdicts, worksheet=6)
    grade_table.write_csv([result], tmp_path / "grades.csv")
    (row,) = csv.DictReader((tmp_path / "grades.csv").open())
    assert (row["6.5"], row["6.6"], row["6.7"], row["points"]) == ("", "1", "right", "1")
