"""What a teacher hands out: student notebooks, and the wheel that they install where kvae is missing, as on Colab."""

import base64
import contextlib
import hashlib
import importlib.metadata
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kvae.io import FileError, atomic
from kvae.types import PathLike
from kvae.worksheet import notebooks

PROJECT = "kvae-workshop"  # the name that pip installs
PACKAGE = Path(__file__).parents[1]
SOURCES = ("kvae", "workshops/student", "pyproject.toml", "setup.py", "README.md", "LICENSE")  # what a build reads
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
BY_INSTALLERS = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")  # in the .dist-info of what is installed

INSTALL = """\
# Installs kvae if it is missing, from the wheel beside this notebook. On Colab, upload that file: folder icon, left.
import importlib, importlib.util, pathlib, subprocess, sys

if importlib.util.find_spec("kvae") is None:
    wheel = pathlib.Path("{wheel}")
    if not wheel.is_file():
        raise FileNotFoundError(f"upload {{wheel}} into the folder {{pathlib.Path.cwd()}}, then run this cell again")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    importlib.invalidate_caches()
"""


def write(path: PathLike, numbers: list[int]) -> list[str]:
    """Write a zip archive of student notebooks and kvae's wheel.

    Args:
        path: the archive.
        numbers: of the worksheets.

    Returns:
        The names of the files in it.

    Raises:
        FileError: if the archive cannot be written, or the wheel cannot be made.
    """
    path, known = Path(path), notebooks.student_notebooks()
    atomic.make_folder(path.parent)
    with _wheel() as wheel:
        files = {known[number].name: _with_install_cell(known[number], wheel.name) for number in numbers}
        files[wheel.name] = wheel.read_bytes()
    with atomic.replacing(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, time.localtime()[:6])
            member.external_attr = 0o644 << 16  # for the whole class, where `writestr` on its own means the owner alone
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return list(files)


def _with_install_cell(path: Path, wheel: str) -> bytes:
    """A notebook with a cell after its title that installs kvae if necessary."""
    content = json.loads(path.read_bytes())
    source = INSTALL.format(wheel=wheel).splitlines(keepends=True)
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "id": "install", "metadata": {}}
    content["cells"].insert(1, {**cell, "outputs": [], "source": source})
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


@contextlib.contextmanager
def _wheel() -> Iterator[Path]:
    """Yield the path of a wheel of this kvae: built if it runs from a checkout, or packed from what is installed."""
    with tempfile.TemporaryDirectory(prefix="kvae-wheel-") as folder:
        checkout = PACKAGE.parent
        if (checkout / "pyproject.toml").is_file() and (checkout / "setup.py").is_file():
            yield _build(checkout, Path(folder))
        else:
            yield _pack(Path(folder))


def _build(checkout: Path, folder: Path) -> Path:
    """Build a checkout as pip does with `--no-build-isolation`, which needs no network; the checkout stays clean."""
    copy = folder / "checkout"
    copy.mkdir()
    for name in SOURCES:
        source, target = checkout / name, copy / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, errors="replace", check=False)
    built = list(folder.glob("*.whl"))
    if done.returncode or not built:
        reason = (done.stderr.strip().splitlines() or ["no wheel was written"])[-1]
        raise FileError(
            'The wheel could not be built from the checkout: try pip install "setuptools>=77". '
            f"Received: {reason[:200]}"
        )
    return built[0]


def _pack(folder: Path) -> Path:
    """Pack the files that pip has installed from a wheel into that wheel again."""
    try:
        distribution = importlib.metadata.distribution(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        distribution = None
    files = {each.as_posix(): Path(str(each.locate())) for each in (distribution and distribution.files) or ()}
    if distribution is None or files.get("kvae/__init__.py", Path()).resolve() != (PACKAGE / "__init__.py").resolve():
        raise FileError(
            "kvae must be installed with pip, or run from a checkout, so that its wheel can be made. "
            f"Received: {PACKAGE}"
        )
    kept = {
        name: path
        for name, path in files.items()
        if not name.startswith(("..", "/")) and "__pycache__" not in name and path.name not in BY_INSTALLERS
    }
    information = next(name for name in kept if name.endswith(".dist-info/WHEEL")).removesuffix("/WHEEL")
    target, record = folder / f"{information.removesuffix('.dist-info')}-py3-none-any.whl", io.StringIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in kept.items():
            content = path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.write(f"{name},sha256={digest},{len(content)}\n")
            archive.writestr(name, content)
        record.write(f"{information}/RECORD,,\n")
        archive.writestr(f"{information}/RECORD", record.getvalue())
    return target
