"""The folder of a run: its files, the lock on it, and its options read back."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvae.io import FileError, atomic, limits
from kvae.training.descriptions import checksum
from kvae.types import PathLike

if TYPE_CHECKING:
    from kvae.data import Dataset

CHECKPOINT = "checkpoint.npz"  # there until the run is finished
INFINITIES = {"inf": math.inf, "-inf": -math.inf}
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
        check_files(out, links=True)


def sweep(out: Path) -> None:
    """Remove what a killed process left half-written; no other process may be writing there."""
    for path in atomic.halves(out) + atomic.halves(out / "pictures"):
        path.unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Remove a run's files from its folder, and no others; of a symbolic link, only the link."""
    for name in (*FILES, CHECKPOINT):
        path = out / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def check_files(out: Path, links: bool) -> None:
    """Raise unless whatever has the name of a run's file is a file, and "pictures" a folder.

    Args:
        out: folder of the run.
        links: whether they may be symbolic links, which a new run removes. One that is resumed would refuse them only
            after the training, or write through them.
    """
    for name in (*FILES, CHECKPOINT):
        path = out / name
        wanted, fits = ("folder", path.is_dir()) if name == "pictures" else ("file", path.is_file())
        if os.path.lexists(path) and not (links if path.is_symlink() else fits):
            kind = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "something else"
            raise FileError(f"{path} must be a {wanted}: remove it, or choose another folder. Received: {kind}")


@contextlib.contextmanager
def claimed(out: Path, options: dict[str, Any], resume: bool, data: Dataset, devices: str) -> Iterator[None]:
    """Lock the folder of a run and clean it up; unless the run is resumed, it then contains only a `config.json`.

    If an error ends the run before its first epoch is complete, the folder is removed again.

    Args:
        out: the folder; created if it does not exist.
        options: complete options of the run.
        resume: whether to keep the files of a run that was interrupted.
        data: the data set, which a resumed run must share.
        devices: what to train on, a name of `strategy.scope`.

    Raises:
        FileError: if the folder cannot be written to, or another process is writing there.
        ValueError: if a run is resumed with other data; other versions or devices are only warned about.
    """
    import keras

    config = {
        "options": options,
        "backend": keras.backend.backend(),
        "versions": versions(),
        "devices": devices,
        "data": describe(data),
    }
    with atomic.locked(atomic.make_folder(out)):
        sweep(out)
        if resume:
            _compare(out / "config.json", config)
        else:
            clear(out)
            write_json(out / "config.json", config)
        try:
            yield
        except BaseException:
            if not resume and not (out / CHECKPOINT).is_file():
                remove(out)
            raise


def versions() -> dict[str, str]:
    """The versions on which the numbers of a run may depend, by name."""
    import keras

    names = ("kvae", "keras", "numpy", keras.backend.backend())
    found = {name: importlib.import_module(name).__version__ for name in names}
    return {**found, "python": platform.python_version()}


def describe(data: Dataset) -> dict[str, Any]:
    """What tells a data set from another one: its sizes, and a checksum of its arrays."""
    return {
        "training_images": len(data.x_train),
        "test_images": len(data.x_test),
        "image_shape": list(data.image_shape),
        "checksum": checksum(data.x_train, data.y_train, data.x_test, data.y_test),
    }


def _compare(path, config):
    """Compare a run's `config.json` at `path` with what the run would be today."""
    before = {key: _config(path, key) for key in ("data", "versions", "devices")}
    if before["data"] != config["data"]:
        raise ValueError(
            f"`resume` requires the data that the run began with: restore it, or start a new run. Expected: "
            f"{limits.printable(before['data'])}. Received: {config['data']}"
        )
    for key in ("versions", "devices"):
        if before[key] != config[key]:
            warnings.warn(
                f"The numbers may differ from those of an uninterrupted run, which began with other {key}: "
                f"{limits.printable(before[key])}, and is resumed with {config[key]}",
                UserWarning,
                stacklevel=2,
            )


def remove(out: Path) -> None:
    """Remove a run's files, and their folder if nothing else is in it."""
    clear(out)
    if not any(out.iterdir()):
        out.rmdir()


def write_json(path: PathLike, content: Any) -> None:
    """Write `content` as indented JSON to `path`: NaN as null, and infinity as "inf", because JSON has neither."""
    with atomic.replacing(path) as aside:
        aside.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _finite(content):
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    if not isinstance(content, float) or math.isfinite(content):
        return content
    return None if math.isnan(content) else str(float(content))


def read_options(path: PathLike) -> dict[str, Any]:
    """The options in a run's `config.json`.

    Raises:
        ValueError: if the file is missing, damaged, or larger than `limits.CONFIG`.
    """
    options = _config(path, "options")
    if not isinstance(options, dict):
        raise ValueError(f"`config` must be the config.json of a run. Received: {path} (its options are not a dict)")
    return {name: INFINITIES.get(value, value) if isinstance(value, str) else value for name, value in options.items()}


def options_to_resume(out: Path, backend: str) -> dict[str, Any]:
    """The options of a run that was interrupted.

    Args:
        out: its folder.
        backend: of Keras; another one would not continue with the same numbers.

    Raises:
        ValueError: if it is not a run, is finished, or ran on another backend.
    """
    check_files(out, links=False)
    if not (out / "config.json").is_file():
        raise FileError(f"`resume` must be the folder of a run, with its config.json. Received: {out}")
    before = _config(out / "config.json", "backend")
    if before != backend:
        raise ValueError(f"`resume` requires the backend of the run: use --backend {before}. Received: {backend}")
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
