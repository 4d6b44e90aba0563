"""Build the worksheets from `src/`, the only files to edit by hand.

    python workshops/build.py              all worksheets; `python workshops/build.py 6` builds one
    python workshops/build.py --check      fail if a built file is stale; nothing is written or run
    python workshops/build.py --execute    run all solutions again, stale or not
    python workshops/build.py --nbgrader course    also write an nbgrader course folder

Each source yields `student/*.ipynb` (blanks, no outputs), `solutions/*.ipynb` (executed), and a row of the table in
the README. Building a student notebook twice gives identical bytes. The outputs of a solution contain numbers from
training, which differ slightly between machines, so staleness depends on its inputs: a solution is stale if its cells
differ from those of a new build, or if the source or the checks (`kvae/worksheet/wNN*.py`) have changed since it was
run; its metadata holds their digest. Only stale solutions are run.
"""

import argparse
import ast
import hashlib
import os
import re
import sys
import textwrap
import time
from pathlib import Path

try:
    import jupytext
    import nbformat
    from nbclient import NotebookClient
except ImportError as error:
    sys.exit(f'build.py: {error.name} is missing: pip install "kvae-workshop[worksheets]"')

REPOSITORY = None  # "owner/name" once the repository is public: then student notebooks get a Colab badge
HERE = Path(__file__).parent
TABLE = re.compile(r"(<!-- worksheets: written by build.py -->\n).*?(<!-- end of worksheets -->)", re.DOTALL)
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION\n", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(r"^ *### BEGIN HIDDEN TESTS\n.*?^ *### END HIDDEN TESTS\n", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"^ *### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\n", re.MULTILINE)
CHECK = re.compile(r"^(?:\w+ = )?kvae\.worksheet\.check\(\"(\d+\.\d+)\".*\n?", re.MULTILINE)
INSTRUCTOR = "instructor"  # cells with this tag appear in the solution only


def main():
    """Build the worksheets, or check whether the built files are up to date."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("numbers", nargs="*", type=int, help="numbers of worksheets; default: all")
    parser.add_argument("--check", action="store_true", help="fail if a built file is stale")
    parser.add_argument("--execute", action="store_true", help="run all solutions, stale or not")
    parser.add_argument("--nbgrader", metavar="DIR", help="also write an nbgrader course folder")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sources = sorted((HERE / "src").glob("w[0-9][0-9]_*.py"))
    stale = []
    for path in sources:
        if arguments.numbers and number(path) not in arguments.numbers:
            continue
        student, solution = HERE / "student" / f"{path.stem}.ipynb", HERE / "solutions" / f"{path.stem}.ipynb"
        fresh = as_text(student_notebook(path))
        old_solution = is_stale(solution, solution_notebook(path))
        if arguments.check:
            stale += [student] * (read(student) != fresh) + [solution] * old_solution
            continue
        write(student, fresh)
        if old_solution or arguments.execute:
            start = time.time()
            notebook = execute(solution_notebook(path))
            write(solution, as_text(notebook))
            size = solution.stat().st_size / 1000
            print(f"{solution.name}: run in {time.time() - start:.0f} s, {size:.0f} kB")
        if arguments.nbgrader:
            write(
                Path(arguments.nbgrader) / "source" / path.stem / f"{path.stem}.ipynb", as_text(nbgrader_notebook(path))
            )
    if arguments.nbgrader:
        write(
            Path(arguments.nbgrader) / "nbgrader_config.py", 'c = get_config()\nc.CourseDirectory.course_id = "kvae"\n'
        )
    readme = HERE / "README.md"
    page = TABLE.sub(lambda match: match[1] + table(sources) + match[2], read(readme))
    if not arguments.check:
        write(readme, page)
    elif page != read(readme):
        stale.append(readme)
    if stale:
        names = ", ".join(str(path.relative_to(HERE)) for path in stale)
        sys.exit(f"stale, run `python workshops/build.py`: {names}")


def load(path):
    """The notebook of a source, with cell ids from file and position, because jupytext's ids are random."""
    notebook = jupytext.read(path, fmt="py:percent")
    for i, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha256(f"{path.stem}/{i}".encode()).hexdigest()[:8]
        cell.source += "\n"  # every marker must end with a newline; `as_text` removes it
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "kvae": dict(notebook.metadata["kvae"]),
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def student_notebook(path):
    """The notebook with blanks instead of solutions, without hidden tests and instructor cells."""
    notebook = load(path)
    notebook.cells = [cell for cell in notebook.cells if INSTRUCTOR not in cell.metadata.get("tags", ())]
    for cell in notebook.cells:
        cell.source = HIDDEN.sub(
            "", SOLUTION.sub(blank if cell.cell_type == "code" else "*Your answer.*\n", cell.source)
        )
    if REPOSITORY:
        link = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/workshops/student/{path.stem}.ipynb"
        notebook.cells[0].source = (
            f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})\n\n"
            + notebook.cells[0].source
        )
        install = nbformat.v4.new_code_cell(
            f"# In Colab only:\n# %pip install -q git+https://github.com/{REPOSITORY}\n"
        )
        install.id = hashlib.sha256(f"{path.stem}/install".encode()).hexdigest()[:8]
        notebook.cells.insert(1, install)
    return notebook


def blank(match):
    """The blank that replaces a solution: the left-hand side of its last line, and the solution's length."""
    indent, solution = match[1], textwrap.dedent(match[2])
    last = ast.parse(solution).body[-1]
    if isinstance(last, ast.Return):
        left = "return ..."
    elif isinstance(last, ast.Assign):
        values = ", ".join(["..."] * len(getattr(last.targets[0], "elts", "1")))
        left = f"{ast.get_source_segment(solution, last.targets[0])} = {values}"
    else:
        left = "raise NotImplementedError" if indent else "..."
    count = sum(bool(line.strip()) and not line.strip().startswith("#") for line in solution.splitlines())
    return f"{indent}{left}  # YOUR CODE: {count} line{'s' * (count != 1)}\n"


def solution_notebook(path):
    """The complete notebook without markers, not yet run; its metadata holds the digest of its inputs."""
    notebook = load(path)
    for cell in notebook.cells:
        cell.source = MARKER.sub("", cell.source)
    checks = sorted((HERE.parent / "kvae" / "worksheet").glob(f"w{number(path):02d}*.py"))
    inputs = b"".join(each.read_bytes() for each in (path, *checks))
    notebook.metadata["kvae"]["digest"] = hashlib.sha256(inputs).hexdigest()[:16]
    return notebook


def nbgrader_notebook(path):
    """The notebook for nbgrader: answers to fill in, and each check in a separate locked cell with its points."""
    from kvae.worksheet.checking import find

    notebook = load(path)
    cells = []
    for cell in notebook.cells:
        if INSTRUCTOR in cell.metadata.get("tags", ()):
            continue
        check = CHECK.search(cell.source)
        cells.append(cell)
        if "### BEGIN SOLUTION" in cell.source:
            cell.metadata["nbgrader"] = grader_cell(f"answer-{cell.id}", solution=True)
        if check:
            locked = nbformat.v4.new_code_cell(cell.source[check.start() :])
            locked.id = hashlib.sha256(f"{path.stem}/{check[1]}".encode()).hexdigest()[:8]
            points = find(check[1]).points
            locked.metadata["nbgrader"] = grader_cell(f"check-{check[1].replace('.', '-')}", grade=True, points=points)
            cell.source = cell.source[: check.start()]
            cells.append(locked)
    notebook.cells = cells
    return notebook


def grader_cell(name, solution=False, grade=False, **points):
    """Metadata of a cell for nbgrader, schema 3."""
    return dict(grade_id=name, solution=solution, grade=grade, locked=grade, task=False, schema_version=3, **points)


def execute(notebook):
    """Run a notebook with strict checks; remove what changes from run to run."""
    os.environ.update(KVAE_STRICT="1", PYTHONHASHSEED="0")
    quiet = ["--log-level=40"]
    NotebookClient(notebook, timeout=600, kernel_name="python3", extra_arguments=quiet).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # timestamps
        if cell.cell_type == "code":
            cell.outputs = joined([output for output in cell.outputs if output.get("name") != "stderr"])
    notebook.metadata["language_info"] = {"name": "python"}  # without the version
    return notebook


def joined(outputs):
    """Merge consecutive text outputs, whose boundaries depend on timing."""
    result = []
    for output in outputs:
        if result and output.output_type == "stream" and result[-1].output_type == "stream":
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def is_stale(path, fresh):
    """Whether the executed notebook at `path` is missing or was built from other inputs."""
    if not path.is_file():
        return True
    old = nbformat.read(path, as_version=4)
    cells = [
        [(cell.id, cell.source) for cell in each.cells] for each in (old, nbformat.reads(as_text(fresh), as_version=4))
    ]
    return old.metadata.get("kvae") != fresh.metadata["kvae"] or cells[0] != cells[1]


def table(sources):
    """The table "The course at a glance" of the README."""
    rows = ["| | topic | lectures | minutes |", "| --- | --- | --- | --- |"]
    for path in sources:
        about = load(path).metadata["kvae"]
        topic = f"[{about['topic']}](solutions/{path.stem}.ipynb): {about['about']}"
        rows.append(f"| {about['worksheet']} | {topic} | {about['lectures']} | {about['minutes']} |")
    return "\n".join(rows) + "\n"


def number(path):
    """The number of a worksheet, from its file name."""
    return int(path.stem[1:3])


def as_text(notebook):
    """A notebook as the text of a valid file, the same for equal notebooks."""
    for cell in notebook.cells:
        cell.source = cell.source.rstrip("\n")
        cell.metadata.pop("lines_to_next_cell", None)
    nbformat.validate(notebook)
    return nbformat.writes(notebook)


def read(path):
    """The text of a file; empty if the file does not exist."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def write(path, text):
    """Write a file and create its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
