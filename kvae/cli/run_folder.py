"""The folder of a run: its files, the lock on it, and its options read back."""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kvae.io import FileError, atomic, limits
from kvae.types import PathLike

CHECKPOINT = "checkpoint.npz"  # there until the run is finished
FILES = ("config.json", "history.csv", "model.keras", "metrics.json", "pictures")


def check(out: Path, force: bool) -> None:
    """Raise unless `out` can become a run folder: absent or empty, or an old run and `force`."""
    if out.is_file():
        raise FileError(f"`out` must be a folder. Received: the file {out}")
    if out.is_dir() and set(out.iterdir()) - set(atomic.halves(out)):
        if not (out / "config.json").is_file():
            raise FileError(f"`out` must be empty or an earlier run. Received: {out}, which contains other files")
        if not force:
            raise FileError(
                f"`out` already contains a run: choose another folder, or use --force or --resume. Received: {out}"
            )


def sweep(out: Path) -> None:
    """Remove what a killed process left half-written; no other process may be writing there."""
    for path in atomic.halves(out) + atomic.halves(out / "pictures"):
        path.unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Remove a run's files from its folder, and no others."""
    for name in (*FILES, CHECKPOINT):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(out: Path, options: dict[str, Any], resume: bool) -> Iterator[None]:
    """Lock the folder of a run and clean it up; unless the run is resumed, it then contains only a `config.json`.

    Args:
        out: the folder; created if it does not exist.
        options: complete options of the run.
        resume: whether to keep the files of a run that was interrupted.

    Raises:
        FileError: if the folder cannot be written to, or another process is writing there.
    """
    import keras

    import kvae

    with atomic.locked(atomic.make_folder(out)):
        sweep(out)
        if not resume:
            clear(out)
            versions = {"kvae": kvae.__version__, "keras": keras.__version__, "python": platform.python_version()}
            config = {"options": options, "backend": keras.backend.backend(), "versions": versions}
            write_json(out / "config.json", config)
        yield


def remove(out: Path) -> None:
    """Remove a run's files, and their folder if nothing else is in it."""
    clear(out)
    if not any(out.iterdir()):
        out.rmdir()


def write_json(path: PathLike, content: Any) -> None:
    """Write `content` as indented JSON to `path`."""
    with atomic.replacing(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n")


def read_options(path: PathLike) -> dict[str, Any]:
    """The options in a run's `config.json`.

    Raises:
        ValueError: if the file is missing, damaged, or larger than `limits.CONFIG`.
    """
    options = _config(path, "options")
    if not isinstance(options, dict):
        raise ValueError(f"`config` must be the config.json of a run. Received: {path} (its options are not a dict)")
    return options


def options_to_resume(out: Path, backend: str) -> dict[str, Any]:
    """The options of a run that was interrupted.

    Args:
        out: its folder.
        backend: of Keras; another one would not continue with the same numbers.

    Raises:
        ValueError: if it is not a run, is finished, or ran on another backend.
    """
    if not (out / "config.json").is_file():
        raise FileError(f"`resume` must be the folder of a run, with its config.json. Received: {out}")
    before = _config(out / "config.json", "backend")
    if before != backend:
        raise ValueError(f"`resume` requires the backend of the run: set KERAS_BACKEND={before}. Received: {backend}")
    if (out / "metrics.json").is_file() and not (out / CHECKPOINT).is_file():
        raise ValueError(
            f"`resume` must be a run that was interrupted: nothing is left to do. Received: {out}, finished"
        )
    return read_options(out / "config.json")


def _config(path, key):
    try:
        return limits.parse_json(limits.read_bytes(path, limits.CONFIG, "config"))[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"`config` must be the config.json of a run. Received: {path} ({error})") from error
