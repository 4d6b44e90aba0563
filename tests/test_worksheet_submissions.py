"""Grading a folder of the submissions that a teacher gets: archives, several files, accidents and tricks.

Each notebook runs in a fork of this process instead of a new one, which would import TensorFlow for each.
"""

import csv
import io
import json
import os
import signal
import sys
import time
import zipfile

import pytest
from test_worksheet_grading import CHECKS, FIRST, HALF, LINES, NUMBER, TWICE, cells, submission

from kvae.worksheet import grade_table, grading, processes, run_notebook, submissions

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="it forks this process"),
    pytest.mark.filterwarnings("ignore:.*fork.*"),
]


def in_a_fork(command, folder, environment, seconds, starting, started):
    """`processes.run`, in a fork of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.update(environment)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nowhere, standard)
            run_notebook.main(*command[-2:])
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def with_lines(*lines):
    """A right notebook with further lines at the top."""
    first, *others = cells(TWICE, HALF, NUMBER)
    return submission(["\n".join([first, *lines]), *others])


def archive(**members):
    """The bytes of a zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__slash__", "/").replace("__up__", ".."), content)
    return packed.getvalue()


def old_format():
    """The same notebook as IPython saved it before 2015."""
    code = [{"cell_type": "code", "language": "python", "input": [source]} for source in cells(TWICE, HALF, NUMBER)]
    return json.dumps({"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": code}]})


RIGHT = submission(cells(TWICE, HALF, NUMBER))
ONE = submission(cells(TWICE, "half = ...", "number = ..."))
DEEP = ["import os", "for i in range(2000):", "    os.mkdir('d'); os.chdir('d')"]
DELETES = ["import os, glob, shutil", "for path in glob.glob(os.environ['CLASS'] + '/*'):"]
DELETES += ["    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)"]
SUBMISSIONS = {
    # file: content, state, points, words in the notes
    "Anna Müller_123_assignsubmission_file_/w90.ipynb": (RIGHT, "run", "4", ""),
    "best/first.ipynb": (ONE, None, None, ""),
    "best/second.ipynb": (RIGHT, "run", "4", "the best of 2 notebooks; best/first.ipynb: 2 points"),
    "best/third.docx": ("PK not an archive", None, None, ""),
    "deep.ipynb": (with_lines(*DEEP), "run", "4", ""),
    "deletes.ipynb": (with_lines(*DELETES), "run", "4", ""),
    "zz_after_deletes.ipynb": (RIGHT, "run", "4", ""),
    "old.ipynb": (old_format(), "run", "4", ""),
    "bom.ipynb": ("\ufeff" + RIGHT, "run", "4", ""),
    "=cmd|'/C calc'!A1.ipynb": (RIGHT, "run", "4", ""),
    "+1.ipynb": (ONE, "run", "2", ""),
    "@sum.ipynb": ("", "an empty file", "", ""),
    "patched.ipynb": (
        with_lines("kvae.worksheet.check = lambda name, answer: answer"),
        "run",
        "",
        "REPLACES kvae.works",
    ),
    "judge.ipynb": (
        with_lines("from kvae.worksheet import checking", "checking.judge = lambda *_: ('right', 'yes')"),
        "run",
        "4",
        "REPLACES kvae.worksheet.checking.judge",
    ),
    "allclose.ipynb": (
        submission(
            [FIRST + "\nimport numpy\nnumpy.allclose = lambda *a, **k: True", *cells("twice = abs", HALF, NUMBER)[1:]]
        ),
        "run",
        "4",
        "REPLACES numpy.allclose",
    ),
    "colab.ipynb": (
        with_lines("from google.colab import drive", "drive.mount('/content/drive')", "!pip install -q kvae.whl"),
        "run",
        "4",
        "cell 1 ran without !pip install -q kvae.whl; from google.colab import drive",
    ),
    "shadows.ipynb": (
        with_lines("class kvae:\n    class worksheet:\n        check = print"),
        "run",
        "",
        "REPLACES kvae",
    ),
    "answers.ipynb": (
        submission(cells("twice = kvae.worksheet.reference('90.1')", HALF, NUMBER)),
        "run",
        "2",
        "cell 2 looks up the worksheet's answer to 90.1",
    ),
    "hidden_answers.ipynb": (
        with_lines("def other(x):\n    return kvae.worksheet.checking.find('90.1')"),
        "run",
        "4",
        "cell 1 reads the package's answers: worksheet.checking",
    ),
    "reference_answers.ipynb": (
        submission(cells(TWICE, f"import kvae.worksheet.w11_answers\n{HALF}", NUMBER)),
        "run",
        "4",
        "cell 3 reads the package's answers: worksheet.w11_answers",
    ),
    "quits.ipynb": (
        submission(cells(TWICE, "import os\nos._exit(0)", NUMBER)),
        "the process ended early, in cell 3",
        "2",
        "",
    ),
    "endless.ipynb": (submission(cells(TWICE, "while True: pass", NUMBER)), "stopped after 20 s, in cell 3", "2", ""),
    "recursive.ipynb": (submission(cells(TWICE, "def half(x):\n    return half(x)", NUMBER)), "run", "3", ""),
    "syntax.ipynb": (submission(cells("def twice(x)", HALF, NUMBER)), "run", "2", "SyntaxError"),
    "changes.ipynb": (submission(cells("def twice(x):\n    x *= 2\n    return x", HALF, NUMBER)), "run", "2", ""),
    "listed.ipynb": (submission(cells("def twice(x):\n    return [2 * a for a in x]", HALF, NUMBER)), "run", "2", ""),
    "numbered.ipynb": (submission(cells("def twice(x):\n    return {1: x}", HALF, NUMBER)), "run", "2", ""),
    "wrong.ipynb": (
        submission(cells("def twice(x):\n    return x**2", "def half(x):\n    x / 2", "number = ...")),
        "run",
        "0",
        "",
    ),
    "broken.ipynb": (
        submission(cells("def twice(x)\n    return 2", HALF, "!pip list\nnumber = 1 / 0\n")),
        "run",
        "1",
        "(<cell 2>, line 1); cell 4 ran without !pip list; cell 4: it raised ZeroDivisionError: division by zero, in "
        "your line `number = 1 / 0`; 90.1 not judged: its check was not reached; 90.3 not judged",
    ),
    "deleted.ipynb": (
        submission(cells(TWICE, HALF, NUMBER, lines=[LINES[0], "", LINES[2]])),
        "run",
        "3",
        "90.2 not judged: its check line is missing",
    ),
    "no_code.ipynb": (submission([]), "a notebook without code", "", ""),
    "free.ipynb": (submission(["print('hello')"]), "not a worksheet: no check line in it", "", ""),
    "twice.ipynb": (
        submission([*cells(TWICE, HALF, "number = 2"), f"number = 0.5\n{LINES[2]}"]),
        "run",
        "4",
        "2 check lines",
    ),
    "essay.pdf": ("%PDF-1.4", "not a notebook: expected an .ipynb file, as saved by Jupyter and Colab", "", ""),
    "nested.ipynb": ("[" * 50_000, "not a notebook: expected an .ipynb file, as saved by Jupyter and Colab", "", ""),
    "other.ipynb": (submission(['kvae.worksheet.check("6.1", ...)']), "worksheet 6, not 90", "", ""),
    "own.zip": (archive(w90__slash__w90=RIGHT, __MACOSX__slash__x=b"", notes=b"see there"), "run", "4", ""),
    "class.zip": (archive(carl__slash__w90=RIGHT, dora__slash__w90=ONE), None, None, ""),
    "slip.zip": (archive(__up____slash__evil=RIGHT), "an archive that was not unpacked", "", ""),
    "bomb.zip": (archive(bomb=b"0" * (3 * 2**26)), "an archive that was not unpacked", "", ""),
    "torn.zip": (archive(a=RIGHT)[:60], "an archive that was not unpacked", "", ""),
    "matryoshka.zip": (archive(a=archive(b=archive(c=archive(d=RIGHT)))), "an archive inside archives", "", ""),
    "empty.zip": (archive(), "not a notebook", "", ""),
    "letter.docx": (
        archive(**{"[Content_Types].xml": b"", "word/document.xml": b"", "docProps/app.xml": b""}),
        "not a notebook",
        "",
        "",
    ),
    "old.csv": ("submission,points\n", None, None, ""),
    ".ipynb_checkpoints/w90.ipynb": ("", None, None, ""),
}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder of submissions; its private checks are in use, and notebooks run in forks."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "w90.py").write_text(CHECKS)
    monkeypatch.setenv("KVAE_CHECKS", str(tmp_path / "checks"))
    monkeypatch.setattr(processes, "run", in_a_fork)
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.setenv("CLASS", str(folder))
    return folder


def write(folder, files):
    """Write files by name."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.long
def test_a_class_of_all_kinds(course, tmp_path):
    assert len(SUBMISSIONS) >= 34
    write(course, {name: content for name, (content, *_) in SUBMISSIONS.items()})
    table = tmp_path / "out" / "grades.csv"
    results = grading.grade(course, seconds=20, megabytes=16_000)
    rows = grade_table.write_csv(results, table)
    text = table.read_bytes().decode()
    assert text.startswith("\ufeff")
    found = {row["submission"].removeprefix("'"): row for row in csv.DictReader(io.StringIO(text[1:]))}
    assert len(found) == rows
    for name, (_, state, points, note) in SUBMISSIONS.items():
        if state is None:
            continue
        if name.endswith(".zip"):
            matching = [each for each in found if each.startswith((name, name.removesuffix(".zip") + "/"))]
            assert len(matching) == 1, (name, list(found))
            row = found[matching[0]]
        else:
            row = found[name]
        assert (name, row["state"][: len(state)], row["points"]) == (name, state, points), row
        assert note in row["notes"], row
    assert not [name for name in found if name.startswith(("old.csv", ".ipynb_checkpoints"))]
    assert {name for name in found if name.startswith(("carl", "dora"))} == {"carl/w90", "dora/w90"}
    names = {row["student"]: row["name"] for row in found.values()}
    assert names["Anna Müller_123_assignsubmission_file_"] == "Anna Müller"
    assert names["own"] == "own"
    assert "best" in names
    assert not any(cell.lstrip().startswith(("=", "+", "@")) for row in found.values() for cell in row.values())
    assert not list(tmp_path.rglob("evil"))


def test_rows_are_on_disk_before_the_next_submission_runs(course, tmp_path):
    write(course, {f"{name}.ipynb": RIGHT for name in "abc"})
    table = tmp_path / "grades.csv"

    def interrupted():
        for i, result in enumerate(grading.grade(course, seconds=60)):
            if i == 2:
                raise KeyboardInterrupt
            yield result

    with pytest.raises(KeyboardInterrupt):
        grade_table.write_csv(interrupted(), table)
    assert [line.split(",")[0] for line in table.read_text(encoding="utf-8-sig").splitlines()] == ["student", "a", "b"]


def test_an_error_of_the_grading_is_the_state_of_one_row(course, monkeypatch):
    write(course, {"a.ipynb": RIGHT, "b.ipynb": RIGHT})

    def fails(notebook, *_):
        raise OSError("no space left")

    monkeypatch.setattr(grading, "_records", fails)
    assert [each.state for each in grading.grade(course)] == ["could not be graded: OSError: no space left"] * 2


@pytest.mark.parametrize(
    ("source", "x", "skipped"),
    [
        ("from google.colab import drive\ndrive.mount('/content/drive', force_remount=True)\nx = 1", 1, "from google"),
        ("import google.colab, math\ngoogle.colab.drive.mount('/x')\nx = math.ceil(0.5)", 1, "import google.colab"),
        ("from google import colab\nfor name in colab.files.upload(): x = 0\nx = 1", 1, "from google import colab"),
        ("def f():\n    from google.colab import files as f\n    f.download('x')\nf()\nx = 1", 1, "from google.colab"),
        (
            "try:\n    import google.colab\n    x = 0\nexcept ImportError:\n    x = 1",
            1,
            None,
        ),  # asks whether this is Colab
        ("import sys\nx = 0 if 'google.colab' in sys.modules else 1", 1, None),
        ("x = 0 if 'google.colab' in str(get_ipython()) else 1", 1, None),
        ("get_ipython().system('pip install y')\nx = 1", 1, None),
        ("import google.protobuf\nx = 1", 1, None),
        ("if True:\n    %pip install y\nx = 1", 1, "%pip install y"),
        ("!pip install y \\\n  z\nx = 1", 1, "!pip install y"),
        ("x = !ls", None, "!ls"),
        ("%%capture\n!pip install y\nx = 1", 1, "%%capture; !pip install y"),
        ("%%bash\npip install y; x = 0", "before", "%%bash"),
        ("x = '''\n!pip\n'''", "\n!pip\n", None),
    ],
)
def test_a_cell_runs_without_what_is_colabs(source, x, skipped, monkeypatch):
    records = []
    monkeypatch.setattr(run_notebook, "report", lambda **record: records.append(record["skipped"]))
    namespace = {"x": "before", "get_ipython": run_notebook.MagicMock()}
    run_notebook.run_cell(3, source, namespace)
    assert namespace["x"] == x
    assert [each.startswith(skipped or "-") for each in records] == [True] * (skipped is not None)


def test_a_skipped_command_moves_no_line(monkeypatch):
    monkeypatch.setattr(run_notebook, "report", lambda **_: None)
    with pytest.raises(ZeroDivisionError) as raised:
        run_notebook.run_cell(4, "!ls \\\n -l\n1 / 0", {})
    assert raised.traceback[-1].lineno == 2  # counted from 0


def test_a_deep_tree_is_removed(tmp_path):
    here = os.getcwd()
    root = tmp_path / "root"
    root.mkdir()
    try:
        os.chdir(root)
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    (root / "file").write_text("")
    (root / "link").symlink_to(tmp_path)
    submissions.remove_tree(root)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("student", "name"),
    [
        ("Anna Müller_123_assignsubmission_file_", "Anna Müller"),
        ("muelleranna_LATE_4711_99_w06", "muelleranna"),
        ("muelleranna_4711_99_w06", "muelleranna"),
        ("anna", "anna"),
        ("w06_anna", "w06 anna"),
        ("_12_", "_12_"),
    ],
)
def test_names_without_the_numbers_of_a_platform(student, name):
    assert submissions.display_name(student) == name


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "  =1", "＝1"])
def test_formulas_are_text(text):
    assert grade_table.safe(text) == f"'{text}"
    assert grade_table.safe("w90.ipynb") == "w90.ipynb"
