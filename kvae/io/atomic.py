"""Atomic file writes."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
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


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Replace a file atomically: yield a temporary path to write to, which replaces `path` on success.

    The new content is flushed to disk before the rename, so that a power failure leaves either the old file or the
    new one.

    Args:
        path: file to create or replace; its folder must exist.

    Yields:
        A `pathlib.Path` in the same folder, with the same suffix.

    Raises:
        FileError: if it cannot be written, for example because the disk is full. An existing file is left untouched.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.half{path.suffix}")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"{path} could not be written: free some space, or choose another location. "
            f"Received: {error.strerror or error}"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


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


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into a `KeyboardInterrupt`, as Ctrl-C is, so that progress can be saved before exiting."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number, frame):
    raise KeyboardInterrupt
