"""Atomic file writes."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kvae.io import FileError

if TYPE_CHECKING:
    from kvae.types import PathLike


def make_folder(folder: PathLike) -> Path:
    """Create `folder` if it does not exist, and check that it is writable.

    Args:
        folder: str or path.

    Returns:
        The folder as a `pathlib.Path`.

    Raises:
        FileError: if it cannot be created or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(
            f"The output folder must be writable: choose another. Received: {folder} ({error.strerror})"
        ) from error
    return folder


def check_replaceable(path: PathLike) -> Path:
    """Raise a `FileError` unless `path` is free or a regular file, so that no device or link is ever replaced.

    Args:
        path: str or path.

    Returns:
        The path as a `pathlib.Path`.
    """
    path = Path(path)
    try:
        mode = os.lstat(path).st_mode  # of a symbolic link itself: replacing would not write to what it points to
    except OSError:  # absent; if it is unreachable, writing says so
        return path
    if stat.S_ISREG(mode):
        return path
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    raise FileError(
        f"The output must be a new or regular file, which is replaced as a whole: choose another path. "
        f"Received: {path}, {kinds.get(stat.S_IFMT(mode), 'a device')}"
    )


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Replace a file atomically: yield a temporary path to write to, which replaces `path` on success.

    The new content is flushed to disk before the rename, so that a power failure leaves either the old file or the
    new one.

    Args:
        path: file to create or replace; its folder must exist.

    Yields:
        A `pathlib.Path` in the same folder, with the same suffix, of an empty file.

    Raises:
        FileError: if it cannot be written, for example because the disk is full, or if `path` is neither free nor a
            regular file. What is there is left untouched.
    """
    path = check_replaceable(path)
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.half{path.suffix}")
    try:
        # A new file under a name that nobody can predict: a link that waits there would redirect the writing.
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, check_replaceable(path))
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{path} could not be written: free some space, or choose another location. "
            f"Received: {error.strerror or error}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it is gone, or its folder cannot be reached
            aside.unlink()


def halves(folder: PathLike) -> list[Path]:
    """List the temporary files of `replacing` in `folder`, in use or left behind by a killed process."""
    return list(Path(folder).glob(".*.half*"))


@contextlib.contextmanager
def locked(folder: PathLike) -> Iterator[None]:
    """Hold an exclusive lock on a folder. The operating system releases it when the process ends, even by a crash.

    Args:
        folder: path of an existing folder.

    Raises:
        FileError: if another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # not available on Windows, where concurrent writers are not detected
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileError(
                f"`out` must not be in use by another process: choose another folder. Received: {folder}"
            ) from error
        yield
    finally:
        os.close(handle)
