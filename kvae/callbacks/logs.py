"""Callbacks that save or print the logs of training."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import keras

from kvae.io import atomic
from kvae.types import PathLike


class HistoryFile(keras.callbacks.Callback):
    """Save the logs of all epochs, numbered from 1, as a CSV file that is rewritten after each epoch.

    Unlike Keras's `CSVLogger`, it writes atomically, and includes the columns that preceding callbacks add. Training
    that resumes at epoch e keeps the first e rows of an existing file.

    Args:
        path: str or path of the file; its folder must exist.

    Example:

    >>> history = model.fit(data.x_train, epochs=60, callbacks=[kvae.callbacks.HistoryFile("history.csv")])
    """

    def __init__(self, path: PathLike) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows: list[dict[str, Any]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self.rows and epoch > 0 and self.path.is_file():
            with open(self.path, newline="") as file:
                self.rows = list(csv.DictReader(file))[:epoch]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rows.append({"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}})
        with atomic.replacing(self.path) as aside, open(aside, "w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[0])
            writer.writeheader()
            writer.writerows(self.rows)


class Progress(keras.callbacks.Callback):
    """Show one Keras progress bar for all epochs, or print about ten lines if the output is not a terminal."""

    def on_train_begin(self, logs: Any = None) -> None:
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
        elif (epoch + 1) % max(1, epochs // 10) == 0 or epoch + 1 == epochs:
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in shown.items())
            print(f"epoch {epoch + 1}/{epochs}: {numbers} nats", flush=True)
