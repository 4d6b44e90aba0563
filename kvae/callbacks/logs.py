"""Callbacks that save or print the logs of training."""

from __future__ import annotations

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

import keras

from kvae.io import FileError, atomic, limits
from kvae.types import PathLike


class HistoryFile(keras.callbacks.Callback):
    """Save the logs of all epochs, numbered from 1, as a CSV file that is rewritten after each epoch.

    Unlike Keras's `CSVLogger`, it writes atomically, and includes the columns that preceding callbacks add. Training
    that resumes at epoch e keeps the first e rows of an existing file.

    Args:
        path: str or path of the file; its folder must exist.

    Raises:
        ValueError: when training resumes, if an existing file is not a table of numbers with a row for each epoch so
            far.
        FileError: if the file cannot be written.

    Example:

    >>> history = model.fit(data.x_train, epochs=60, callbacks=[kvae.callbacks.HistoryFile("history.csv")])
    """

    def __init__(self, path: PathLike) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows: list[dict[str, Any]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self.rows and epoch > 0 and self.path.is_file():
            columns = read_history(self.path)
            found = min(map(len, columns.values()), default=0)
            if found < epoch:
                raise ValueError(
                    f"`path` must contain the {epoch} epochs so far: delete it to record the remaining ones only. "
                    f"Received: {self.path}, with {found}"
                )
            self.rows = [
                {"epoch": row + 1, **{name: values[row] for name, values in columns.items()}} for row in range(epoch)
            ]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rows.append({"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}})
        with atomic.replacing(self.path) as aside, open(aside, "w", newline="") as file:
            names = dict.fromkeys(name for row in self.rows for name in row)  # validation may skip some epochs
            writer = csv.DictWriter(file, list(names))
            writer.writeheader()
            writer.writerows(self.rows)


def read_history(path: PathLike) -> dict[str, list[float]]:
    """A file of `HistoryFile` as a dict from names to lists of floats, without the numbers of the epochs.

    Args:
        path: str or path.

    Returns:
        Dict of lists of equal length; NaN where a column has no value.

    Raises:
        ValueError: if it is not a table of numbers, or is larger than `limits.HISTORY`.
        FileError: if it cannot be read.
    """
    try:
        text = limits.read_bytes(path, limits.HISTORY).decode()
        if not text.endswith("\n"):  # a number that is cut short is a number, too
            raise ValueError("its last line is incomplete")
        names, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return {name: [float(value or "nan") for value in column] for name, column in columns if name != "epoch"}
    except FileError:
        raise
    except (ValueError, csv.Error) as error:
        reason = limits.printable(error, 200)
        raise ValueError(
            f"`path` must be the history.csv of a run, a table of numbers. Received: {path} ({reason})"
        ) from error


class Progress(keras.callbacks.Callback):
    """Show one Keras progress bar for all epochs, or print lines if the output is not a terminal.

    About ten lines are printed, and more if an epoch ends `SECONDS` after the last one.
    """

    SECONDS = 30.0
    hears_executions = True  # the bar may move by many steps: `fit_on_arrays` need not return to Python after each

    def on_train_begin(self, logs: Any = None) -> None:
        self.printed = time.monotonic()
        self.steps = self.params["steps"] or 1
        self.bar = None
        if sys.stdout.isatty():
            self.bar = keras.utils.Progbar(self.params["epochs"] * self.steps, stateful_metrics=["loss", "val_loss"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.bar:
            done = self.epoch * self.steps + batch + 1
            self.bar.update(done, [("loss", logs["loss"])], finalize=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        epochs = self.params["epochs"]
        shown = {name: logs[name] for name in ("loss", "val_loss") if name in logs}
        if self.bar:
            self.bar.update((epoch + 1) * self.steps, list(shown.items()), finalize=epoch + 1 == epochs)
        elif self._is_due(epoch + 1, epochs):
            self.printed = time.monotonic()
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in shown.items())
            print(f"epoch {epoch + 1}/{epochs}: {numbers} nats", flush=True)

    def _is_due(self, epoch, epochs):
        late = time.monotonic() - self.printed > self.SECONDS
        return late or epoch % max(1, epochs // 10) == 0 or epoch == epochs
