"""The submissions in a folder: files and zip archives of a learning platform, read completely before any is run."""

import io
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kvae.io import limits
from kvae.types import PathLike
from kvae.worksheet import notebooks

DEEPEST = 20  # folders below each other that are searched
NESTED = 2  # archives inside archives that are unpacked
DOCUMENT = {"[Content_Types].xml", "mimetype"}  # a member of a Word or LibreOffice file, which is an archive too
# What platforms append to a student's name: "Anna Müller_123_assignsubmission_file_", "müller_anna_LATE_123_456_w06".
APPENDED = re.compile(r"(_\d+)?_assignsubmission.*|_(LATE_)?\d{2,}_.*|_attempt_.*", re.DOTALL)


class Submission(NamedTuple):
    """A file that a student has handed in.

    Attributes:
        student: the first part of its path: a folder, or the name of a file that is in none.
        name: its path, which goes through archives.
        notebook: its code, or `None`.
        problem: why there is none.
    """

    student: str
    name: str
    notebook: notebooks.Notebook | None
    problem: str = ""


def find(folder: PathLike) -> list[Submission]:
    """Read all submissions in a folder, its subfolders, and zip archives.

    Hidden files and `.csv` files are skipped. Archives are read in memory, so no file is written.

    Args:
        folder: the folder.

    Returns:
        The submissions, sorted by their names.
    """
    folder = Path(folder)
    found = [
        each for path in _files(folder) for each in _read(path, PurePosixPath(path.relative_to(folder).as_posix()))
    ]
    return sorted(found, key=lambda each: each.name)


def display_name(student: str) -> str:
    """A student's name without the numbers that a platform appends to it."""
    return APPENDED.sub("", student).replace("_", " ").strip() or student


def remove_tree(folder: PathLike) -> None:
    """Remove a folder, however deep: folders inside it are moved up first, so that no path gets too long. Never raises.

    Args:
        folder: the folder.
    """
    if os.name != "posix":
        shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        _empty(root)
    finally:
        os.close(root)
    shutil.rmtree(folder, ignore_errors=True)


def _empty(root: int) -> None:
    """Remove what is in the folder of a file descriptor."""
    left, moved = [""], 0
    while left:
        name = left.pop()
        try:
            here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root) if name else os.dup(root)
        except OSError:
            continue
        try:
            for entry in os.listdir(here):
                try:
                    if not stat.S_ISDIR(os.stat(entry, dir_fd=here, follow_symlinks=False).st_mode):
                        os.unlink(entry, dir_fd=here)
                        continue
                    os.chmod(entry, 0o700, dir_fd=here)
                    moved += 1
                    os.rename(entry, f"\r{moved}", src_dir_fd=here, dst_dir_fd=root)
                    left.append(f"\r{moved}")
                except OSError:
                    continue
        finally:
            os.close(here)
        if name:
            try:
                os.rmdir(name, dir_fd=root)
            except OSError:
                continue


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders, without links to folders and without recursion."""
    left = [(folder, 0)]
    while left:
        here, depth = left.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            continue
        for entry in entries:
            if _hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                left += [(Path(entry.path), depth + 1)] if depth < DEEPEST else []
            elif entry.is_file() and not entry.name.endswith(".csv"):
                yield Path(entry.path)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _read(path: Path, name: PurePosixPath) -> list[Submission]:
    try:
        with path.open("rb") as file:
            packed = file.read(4) == b"PK\x03\x04"
        content = limits.read_bytes(path, limits.ARCHIVE if packed else limits.NOTEBOOK)
    except (OSError, ValueError) as error:
        return [_submission(name, problem=getattr(error, "strerror", None) or str(error))]
    return _unpack(content, name, NESTED) if packed else [_parse(content, name)]


def _submission(name: PurePosixPath, notebook: notebooks.Notebook | None = None, problem: str = "") -> Submission:
    student = name.parts[0] if len(name.parts) > 1 else name.stem
    return Submission(limits.printable(student, 200), limits.printable(name), notebook, problem)


def _parse(content: bytes, name: PurePosixPath) -> Submission:
    try:
        return _submission(name, notebooks.parse(content))
    except ValueError as error:
        return _submission(name, problem=str(error))


def _unpack(content: bytes, name: PurePosixPath, deeper: int) -> list[Submission]:
    """The submissions in a zip archive: those of a class if it has a folder for each of several students."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [each for each in limits.archive_members(archive) if not each.is_dir()]
            inside = {each.filename: PurePosixPath(each.filename) for each in members}
            inside = {key: path for key, path in inside.items() if path.parts and not any(map(_hidden, path.parts))}
            if not inside.keys().isdisjoint(DOCUMENT):
                return [_parse(content, name)]
            students = {path.parts[0] for path in inside.values() if len(path.parts) > 1}
            top = name.parent if len(students) > 1 and len(name.parts) == 1 else name.with_suffix("")
            found = []
            for key, path in inside.items():
                if path.suffix.lower() == ".csv":
                    continue
                with archive.open(key) as file:
                    part = file.read(limits.NOTEBOOK + 1)
                if part[:4] == b"PK\x03\x04":
                    many = _unpack(part, top / path, deeper - 1) if deeper else []
                    found += many or [_submission(top / path, problem="an archive inside archives")]
                elif len(part) > limits.NOTEBOOK:
                    found.append(_submission(top / path, problem=f"larger than {limits.NOTEBOOK:,} bytes"))
                else:
                    found.append(_parse(part, top / path))
            return found or [_submission(name, problem="an archive without files")]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        return [_submission(name, problem=f"an archive that was not unpacked: {limits.printable(error, 200)}")]
