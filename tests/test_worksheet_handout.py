"""`kvae workshop zip`: the notebooks and the wheel that a teacher uploads."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kvae
from kvae.cli import main
from kvae.worksheet import handout, notebooks

ROOT = Path(handout.__file__).parents[2]
WHEEL = f"kvae_workshop-{kvae.__version__}-py3-none-any.whl"
in_a_checkout = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="kvae is installed, not in a checkout")


def unpacked(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_of_the_checkout():
    """But those in which other processes count the lines that they run."""
    return {name for name in os.listdir(ROOT) if not name.startswith(".coverage")}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The files of two worksheets' archive, and their folder."""
    folder = tmp_path_factory.mktemp("course")
    archive = folder / "new" / "course.zip"
    before = files_of_the_checkout()
    assert main.main(["workshop", "zip", "7", "6", "--out", str(archive)]) == 0
    assert files_of_the_checkout() == before
    return unpacked(archive), archive


def test_an_archive_has_the_notebooks_with_an_install_cell_and_the_wheel(course):
    files, _ = course
    known = notebooks.student_notebooks()
    assert list(files) == [known[7].name, known[6].name, WHEEL]
    original, packed = json.loads(known[6].read_bytes()), json.loads(files[known[6].name])
    cell = packed["cells"].pop(1)
    assert packed == original
    assert WHEEL in "".join(cell["source"])
    assert len({each["id"] for each in packed["cells"]} | {cell["id"]}) == len(packed["cells"]) + 1


def test_the_wheel_has_what_is_not_python(course, tmp_path):
    files, _ = course
    (tmp_path / WHEEL).write_bytes(files[WHEEL])
    names = set(unpacked(tmp_path / WHEEL))
    wanted = ("py.typed", "data/mnist_small.npz", "data/MNIST-LICENSE.md", "evaluation/cards.json")
    assert {f"kvae/{name}" for name in wanted} <= names
    assert {f"kvae/worksheet/student/{path.name}" for path in notebooks.student_notebooks().values()} <= names
    assert not [name for name in names if "pycache" in name]


@pytest.mark.long
def test_an_installed_kvae_packs_the_wheel_it_came_from(course, tmp_path):
    files, _ = course
    (tmp_path / WHEEL).write_bytes(files[WHEEL])
    built = unpacked(tmp_path / WHEEL)
    site = tmp_path / "site-packages"  # its coverage counts as that of kvae/: see pyproject.toml
    for name, content in built.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (information,) = site.glob("*.dist-info")
    (information / "INSTALLER").write_text("pip")
    with (information / "RECORD").open("a") as record:
        record.write(f"{information.name}/INSTALLER,,\nkvae/__pycache__/bounds.cpython-312.pyc,,\n../../bin/kvae,,\n")
    code = "import sys; sys.argv[0] = 'kvae'; from kvae.cli.main import main; sys.exit(main(['workshop', 'zip']))"
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    files = unpacked(tmp_path / "kvae-worksheets.zip")
    assert len(files) == len(notebooks.student_notebooks()) + 1
    (tmp_path / "again.whl").write_bytes(files[WHEEL])
    again = unpacked(tmp_path / "again.whl")
    records = [set(each.pop(f"{information.name}/RECORD").decode().split()) for each in (built, again)]
    assert again == built
    assert records[0] == records[1]


def test_an_archive_is_only_replaced_when_told(course, capsys):
    _, archive = course
    content = archive.read_bytes()
    assert main.main(["workshop", "zip", "6", "--out", str(archive)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"kvae workshop: {archive} already exists: choose another name, or use --force to overwrite it"
    assert archive.read_bytes() == content
    assert main.main(["workshop", "zip", "66", "--out", str(archive)]) == 1
    assert "see `kvae workshop list`. Received: 66" in capsys.readouterr().err


@in_a_checkout
def test_a_wheel_that_cannot_be_built_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(handout, "BUILD", "raise ImportError('no setuptools')")
    assert main.main(["workshop", "zip", "--out", str(tmp_path / "course.zip")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('try pip install "setuptools>=77". Received: ImportError: no setuptools')
    assert not list(tmp_path.iterdir())


def test_a_copy_that_pip_does_not_know_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(handout, "PACKAGE", tmp_path / "kvae")
    with pytest.raises(
        handout.FileError, match=rf"must be installed with pip, or run from a checkout.* Received: {tmp_path}"
    ):
        handout.write(tmp_path / "course.zip", [6])


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Runs the install cell in an empty folder; returns what it starts."""
    monkeypatch.chdir(tmp_path)
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: started.append(command[1:]))

    def run():
        exec(handout.INSTALL.format(wheel=WHEEL), {})
        return started

    return run


def test_the_install_cell_does_nothing_where_kvae_is_installed(install):
    assert install() == []


def test_the_install_cell_installs_the_wheel_beside_it(install, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=f"upload {WHEEL} into the folder {tmp_path}, then run this cell again"):
        install()
    (tmp_path / WHEEL).write_text("")
    assert install() == [["-m", "pip", "install", "--quiet", WHEEL]]


@pytest.mark.long
def test_the_first_cells_run_in_a_fresh_folder(course, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    files, _ = course
    notebook = nbformat.reads(files["w06_vae_in_keras.ipynb"].decode(), as_version=4)
    nbformat.validate(notebook)
    notebook.cells = notebook.cells[:4]  # the title, how to install, the data, a heading
    client(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert any("training images (8000, 28, 28, 1)" in str(cell.get("outputs")) for cell in notebook.cells)
