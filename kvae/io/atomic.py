"""Writing to disk so that nothing is ever half there."""

import contextlib
import os
import signal
import tempfile
import threading
from pathlib import Path

from kvae.io import FileError


def make_folder(folder):
    """Create `folder` if need be and try whether it takes files.

    Args:
        folder: str or path.

    Returns:
        The folder as a `pathlib.Path`.

    Raises:
        FileError: if it can be neither made nor written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileError(
            f"Output needs a folder that can be written to: choose another. Received: {folder} ({error.strerror})"
        ) from error
    return folder


@contextlib.contextmanager
def replacing(path):
    """Give a path to write to; what was written takes the place of `path` at the end, and only if all went well.

    It is on the disk before it does, so that a loss of power leaves the old file or the new one.

    Args:
        path: the file to make or replace; its folder must exist.

    Yields:
        A `pathlib.Path` in the same folder, with the same ending.

    Raises:
        FileError: if it cannot be written, as on a full disk; the file that was there before still is.
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
            f"{path} could not be written: make room for it, or choose another place. "
            f"Received: {error.strerror or error}"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def halves(folder):
    """What `replacing` has in `folder`: being written, or left by a process that was killed."""
    return list(Path(folder).glob(".*.half*"))


@contextlib.contextmanager
def locked(folder):
    """Keep other processes out of a folder while it is being written; the lock ends with the process, however it ends.

    Args:
        folder: path of an existing folder.

    Raises:
        FileError: if another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks: there two processes are on their own
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileError(f"`out` is being written by another process: choose another. Received: {folder}") from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def terminable():
    """Let the signal SIGTERM interrupt as Ctrl-C does, so that what is done by then can be saved."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number, frame):
    raise KeyboardInterrupt
