"""What a run folder says, read back: of a finished run, of one that was interrupted, and of one that still trains."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvae import checks
from kvae.callbacks.logs import read_history
from kvae.cli import options as run_options
from kvae.cli import run_folder
from kvae.evaluation import reference_cards
from kvae.io import FileError, atomic, limits
from kvae.types import PathLike

PICTURE = re.compile(r"(\w+)_epoch_(\d{1,9})\.png")


@dataclasses.dataclass(frozen=True)
class Record:
    """A run folder, read back.

    Attributes:
        path: the folder.
        name: what it is called: its name, or what tells its path from those of the runs beside it.
        options: complete options.
        config: dict, the other entries of `config.json`: backend, versions, devices and data.
        history: from the columns of `history.csv` to one value per complete epoch; empty before the first one.
        metrics: content of `metrics.json`; empty before the evaluation.
        state: "finished", "interrupted", "running", or "stopped" by a number that was not finite.
    """

    path: Path
    name: str
    options: dict[str, Any]
    config: dict[str, Any]
    history: dict[str, list[float]]
    metrics: dict[str, Any]
    state: str

    @property
    def epochs(self) -> int:
        """The number of complete epochs."""
        return len(next(iter(self.history.values()), ()))

    @property
    def progress(self) -> str:
        """How far it got, in words."""
        if self.state == "finished":
            return f"finished after {self.epochs} epochs" if self.epochs != 1 else "finished after 1 epoch"
        so_far = f"{self.epochs} of {self.options['epochs']} epochs"
        if self.state == "stopped":
            return f"stopped after {so_far}, because a number was no longer finite"
        evaluated = "" if self.metrics else ", before it was evaluated"
        return (
            f"still training, {so_far} so far" if self.state == "running" else f"interrupted after {so_far}{evaluated}"
        )

    @property
    def placement(self) -> reference_cards.Placement | None:
        """The run's place on its reference card; `None` without one, or if it was not trained to its end."""
        if self.state != "finished" or not isinstance(self.metrics.get("dataset"), str):
            return None
        numbers = {name: self.number(name) for name in self.metrics if self.number(name) is not None}
        known = {**numbers, "dataset": self.metrics["dataset"]}
        return reference_cards.place(known, self.options, run_options.DEFAULTS)

    @property
    def data_key(self) -> tuple[Any, ...]:
        """What runs on the same data share. The pixels of a static binarization depend on the seed, and may differ."""
        described = self.config["data"] or {"dataset": self.options["dataset"]}
        if self.options["binarization"] == "static":
            described = {**described, "checksum": None, "dataset": self.options["dataset"], "binarization": "static"}
        return tuple(sorted((name, str(value)) for name, value in described.items()))

    def number(self, name: str) -> float | None:
        """A number of `metrics.json`; `None` if it is missing or not finite."""
        value = self.metrics.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= checks.LARGEST:
            return None
        return float(value)

    def command(self) -> str:
        """The command line that repeats the run."""
        words = ["kvae", "train"]
        for name, value in self.changed().items():
            flag = f"--{name.replace('_', '-')}"
            if isinstance(value, (list, tuple)):
                words += [flag, *map(str, value)]
            else:  # a value that starts with a dash must not look like a flag
                words += [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
        if self.config["devices"] not in ("none", ""):
            words += ["--strategy", self.config["devices"]]
        if self.config["backend"] not in ("tensorflow", ""):
            words += ["--backend", self.config["backend"]]
        return shlex.join(words)

    def changed(self) -> dict[str, Any]:
        """The options that differ from the defaults of `kvae train`."""
        return {name: value for name, value in self.options.items() if value != run_options.DEFAULTS[name]}

    def pictures(self) -> dict[str, Path]:
        """The last picture of each kind, by kind."""
        last: dict[str, tuple[int, Path]] = {}
        folder = self.path / "pictures"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            found = PICTURE.fullmatch(path.name)
            if found and path.is_file() and int(found[2]) >= last.get(found[1], (0, path))[0]:
                last[found[1]] = int(found[2]), path
        return {kind: path for kind, (_, path) in last.items()}


def read(paths: Sequence[PathLike]) -> list[Record]:
    """Read run folders.

    Args:
        paths: the folders, each once.

    Returns:
        List of `Record`, in the same order.

    Raises:
        ValueError: if a folder is not a run, one of its files is damaged, or a run is named twice.
    """
    folders = [Path(path) for path in paths]
    for folder in folders:
        if not (folder / "config.json").is_file():
            what = "a file" if folder.is_file() else "without one" if folder.is_dir() else "which does not exist"
            raise FileError(f"`run` must be the folder of a run, with its config.json. Received: {folder}, {what}")
    resolved = [folder.resolve() for folder in folders]
    for i, folder in enumerate(resolved):
        if folder in resolved[:i]:
            raise ValueError(f"`run` must name each run once. Received: {folders[i]} twice")
    above = Path(os.path.commonpath([folder.parent for folder in resolved]))
    return [
        _read(folder, limits.printable(path.relative_to(above))) for folder, path in zip(folders, resolved, strict=True)
    ]


def _read(folder: Path, name: str) -> Record:
    config = _json(folder / "config.json")
    try:
        options = run_options.complete(run_folder.read_options(folder / "config.json"))
    except FileError:
        raise
    except ValueError as error:
        raise ValueError(f"{error}, in {folder / 'config.json'}") from error
    described = {key: config[key] if isinstance(config.get(key), dict) else {} for key in ("data", "versions")}
    named = {key: config[key] if isinstance(config.get(key), str) else "" for key in ("backend", "devices")}
    history, metrics = folder / "history.csv", folder / "metrics.json"
    numbers = _json(metrics) if metrics.is_file() else {}
    return Record(
        folder,
        name,
        options,
        {**described, **named},
        read_history(history) if history.is_file() else {},
        numbers,
        _state(folder, numbers),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = limits.parse_json(limits.read_bytes(path, limits.CONFIG, "run"))
        if not isinstance(content, dict):
            raise ValueError("it is not a dict")
    except FileError:
        raise
    except ValueError as error:
        reason = limits.printable(error, 200)
        raise ValueError(f"`run` must hold a {path.name} that kvae wrote. Received: {path} ({reason})") from error
    return content


def _state(folder, metrics):
    try:
        with atomic.locked(folder):  # by `kvae train` while it runs
            pass
    except FileError:
        return "running"
    except OSError:  # a folder that cannot be locked
        pass
    if not metrics or (folder / run_folder.CHECKPOINT).exists():
        return "interrupted"
    return "stopped" if "stopped_in_epoch" in metrics else "finished"
