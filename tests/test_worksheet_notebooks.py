"""The built worksheets: up to date, reproducible, and running from the first cell to the last."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fresh
import pytest

from kvae.worksheet import checking, grading, notebooks, run_notebook

WORKSHOPS = Path(__file__).parents[1] / "workshops"
SOURCES = sorted((WORKSHOPS / "src").glob("w[0-9][0-9]_*.py"))
jupytext = pytest.importorskip("jupytext", reason='building worksheets needs pip install "kvae-workshop[worksheets]"')
pytest.importorskip("nbclient", reason='building worksheets needs pip install "kvae-workshop[worksheets]"')


def load_builder():
    spec = importlib.util.spec_from_file_location("build_worksheets", WORKSHOPS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_builder()
pytestmark = pytest.mark.long
each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A copy of the build to modify, and what is stale in it beforehand."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(WORKSHOPS, folder / "workshops", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "kvae" / "worksheet").mkdir(parents=True)
    for path in Path(checking.__file__).parent.glob("w[0-9][0-9]*.py"):
        shutil.copy(path, folder / "kvae" / "worksheet")
    return folder, stale(folder)


def stale(folder):
    """The products that `build.py --check` names."""
    done = subprocess.run(
        [sys.executable, folder / "workshops" / "build.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == bool(done.stderr)
    return set(done.stderr.strip().partition("`: ")[2].split(", ")) - {""}


def test_the_products_are_up_to_date():
    assert stale(WORKSHOPS.parent) == set()


STUDENT, SOLUTION, README = "student/w06_vae_in_keras.ipynb", "solutions/w06_vae_in_keras.ipynb", "README.md"


@pytest.mark.parametrize(
    ("path", "old", "new", "products"),
    [
        ("workshops/src/w06_vae_in_keras.py", "## Summary", "## Sum", {STUDENT, SOLUTION}),
        ("workshops/src/w06_vae_in_keras.py", "minutes: 50", "minutes: 45", {STUDENT, SOLUTION, README}),
        ("workshops/src/w06_vae_in_keras.py", "Ask for the other end too", "Ask", {SOLUTION}),
        (f"workshops/{STUDENT}", "## Summary", "## Sum", {STUDENT}),
        (f"workshops/{SOLUTION}", "## Summary", "## Sum", {SOLUTION}),
        ("kvae/worksheet/w06.py", "points=2", "points=3", {SOLUTION}),
        (
            "kvae/worksheet/w11_answers.py",
            "SIGMA = 0.2",
            "SIGMA = 0.3",
            {"solutions/w11_one_picture_many_answers.ipynb"},
        ),
    ],
)
def test_what_has_changed_is_stale(workshop, path, old, new, products):
    folder, stale_before = workshop
    file = folder / path
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new))
    try:
        assert stale(folder) - stale_before == products
    finally:
        file.write_text(before)


@each
def test_two_builds_are_equal(source):
    for make in (build.student_notebook, build.solution_notebook, build.nbgrader_notebook):
        assert build.as_text(make(source)) == build.as_text(make(source))


@each
def test_a_students_notebook_gives_nothing_away(source):
    student, solution = build.student_notebook(source), build.solution_notebook(source)
    text = "\n".join(cell.source for cell in student.cells)
    whole = "\n".join(cell.source for cell in solution.cells)
    assert "### BEGIN" not in text
    assert "### BEGIN" not in whole
    assert "For the instructor" in whole
    assert "For the instructor" not in text
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in student.cells)
    for match in build.SOLUTION.finditer(source.read_text()):
        assert match[2].strip() not in text
        assert match[2].strip() in whole


@each
def test_a_worksheet_has_all_its_parts(source):
    notebook = build.student_notebook(source)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert 10 <= len(code) <= 16
    blanks = re.findall(r"# YOUR CODE: (\d+) line", "\n".join(code))
    assert 4 <= len(blanks) - ("stretch" in words) <= 6  # not counting the stretch exercise
    assert all(1 <= int(lines) <= 6 for lines in blanks)
    assert 45 <= notebook.metadata["kvae"]["minutes"] <= 50
    for wanted in (
        "After it you can",
        "**Predict before you run.**",
        "<details><summary>Hint",
        "bug",
        "stretch",
        "## Summary",
    ):
        assert wanted in words
    for name in checking.exercises(build.number(source)):
        assert re.search(rf"^## Exercise {name}[:,].*\(.*\)$", words, re.MULTILINE)
    assert '"mnist"' in code[0]
    assert words.count("**Predict before you run.**") == words.count(
        "<summary>Answer to “Predict before you run”</summary>"
    )


@each
def test_the_built_solution_was_run_and_is_small(source):
    path = WORKSHOPS / "solutions" / f"{source.stem}.ipynb"
    cells = [cell for cell in build.nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not any(output.get("name") == "stderr" for output in outputs)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert re.findall(r"^(\d+\.\d+) ✓", printed, re.MULTILINE) == list(checking.exercises(build.number(source)))
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert path.stat().st_size < 400_000


QUARTER = """import dataclasses
def quarter(data):
    parts = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    return dataclasses.replace(data, **{name: part[: len(part) // 4] for name, part in parts.items()})
"""
EPOCHS = re.compile(r"^(EPOCHS\b[^\d\n]*)\d+", re.MULTILINE)
# What takes longest, and less of it: draws of labels, images of an exact integral, images filled in.
SHORTER = {"for draw in range(3)": "for draw in range(1)", "x_test[:50]": "x_test[:10]", "x_test[:60]": "x_test[:20]"}
RUN = "import sys; from kvae.worksheet import run_notebook; run_notebook.main(*sys.argv[1:])"


def in_a_fresh_process(command, folder, environment, seconds, starting, started):
    """`processes.run` without its limit of time, in a process that need not import Keras."""
    return fresh.python(RUN, *command[-2:], cwd=folder, check=False, **environment).returncode


def run_shortly(notebook, path, monkeypatch):
    """Run a notebook on a quarter of the images, with 3 epochs in each training, and with less of what is `SHORTER`.

    Answers are judged on fixed arrays, not on trained models.
    """
    for cell in notebook.cells:
        cell.source = EPOCHS.sub(r"\g<1>3", cell.source)
        for long, short in SHORTER.items():
            cell.source = cell.source.replace(long, short)
        cell.source, loaded = re.subn(r"= (kvae\.load_data\(.*\))", r"= quarter(\1)", cell.source)
        cell.source = QUARTER * loaded + cell.source
    path.write_text(build.as_text(notebook))
    monkeypatch.setattr(grading.processes, "run", in_a_fresh_process)
    return grading.run(path)


@each
def test_the_solution_runs_and_every_answer_is_right(source, tmp_path, monkeypatch):
    """A long training is that of the built solution, whose outputs are in the repository."""
    result = run_shortly(build.solution_notebook(source), tmp_path / "solution.ipynb", monkeypatch)
    assert (result.state, result.notes) == ("run", [])
    assert {state for state, _ in result.verdicts.values()} == {"right"}
    print(f"{source.stem}: {result.seconds:.1f} s")


@each
def test_a_students_notebook_runs_through_and_nothing_is_done(source, tmp_path, monkeypatch):
    result = run_shortly(build.student_notebook(source), tmp_path / "student.ipynb", monkeypatch)
    assert (result.state, result.notes) == ("run", [])
    assert {state for state, _ in result.verdicts.values()} == {"todo"}
    assert result.total() == 0


@each
def test_a_students_notebook_fails_in_strict_mode(source, monkeypatch):
    monkeypatch.setenv("KVAE_STRICT", "1")
    first = next(iter(checking.exercises(build.number(source))))
    code = notebooks.read(WORKSHOPS / "student" / f"{source.stem}.ipynb").cells
    whole = EPOCHS.sub(r"\g<1>1", "\n".join(cell for _, cell in code))
    with pytest.raises(AssertionError, match=f"^{re.escape(first)} … not done yet"):
        run_notebook.run_cell(0, whole, {"__name__": "__main__"})


@each
def test_nbgrader_gets_a_locked_cell_with_points_for_each_check(source):
    cells = build.nbgrader_notebook(source).cells
    exercises = checking.exercises(build.number(source))
    checks = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert [cell.metadata["nbgrader"]["points"] for cell in checks] == [e.points for e in exercises.values()]
    assert all(cell.metadata["nbgrader"]["locked"] and "check(" in cell.source for cell in checks)
    answers = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert len(answers) >= 4
    assert all("### BEGIN SOLUTION" in cell.source and "worksheet.check(" not in cell.source for cell in answers)
    names = [cell.metadata["nbgrader"]["grade_id"] for cell in (*checks, *answers)]
    assert len(set(names)) == len(names)
    assert len({cell.id for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("solution", "blank"),
    [
        ("    return x + 1\n", "    return ...  # YOUR CODE: 1 line\n"),
        ("    # why\n    y = x\n    return (\n        y\n    )\n", "    return ...  # YOUR CODE: 4 lines\n"),
        ("a = 1\nb, c = 2, 3\n", "b, c = ..., ...  # YOUR CODE: 2 lines\n"),
        ("    self.add_loss(x)\n", "    raise NotImplementedError  # YOUR CODE: 1 line\n"),
        ("print(1)\n", "...  # YOUR CODE: 1 line\n"),
    ],
)
def test_a_blank_keeps_the_left_hand_side(solution, blank):
    indent = " " * (len(solution) - len(solution.lstrip(" ")))
    text = f"{indent}### BEGIN SOLUTION\n{solution}{indent}### END SOLUTION\n"
    assert build.SOLUTION.sub(build.blank, text) == blank


def test_a_repository_adds_a_colab_badge(monkeypatch):
    monkeypatch.setattr(build, "REPOSITORY", "somebody/kvae")
    notebook = build.student_notebook(SOURCES[0])
    assert "somebody/kvae/blob/main/workshops/student/" in notebook.cells[0].source
    assert "%pip install" in notebook.cells[1].source
    monkeypatch.setattr(build, "REPOSITORY", None)
    assert "colab" not in build.as_text(build.student_notebook(SOURCES[0])).lower().replace("colab only", "")
