"""Callbacks that write down or show how training goes."""

import csv
import sys
from pathlib import Path

import keras

from kvae.io import atomic


class HistoryFile(keras.callbacks.Callback):
    """Write the logs of all epochs as a CSV file, anew after each epoch; epochs are counted from 1.

    Unlike Keras's `CSVLogger` it never leaves half a line, and it has the columns that callbacks before it add. A
    training that goes on from epoch e keeps the file's first e lines.

    Args:
        path: the file.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        if not self.rows and epoch > 0 and self.path.is_file():
            with open(self.path, newline="") as file:
                self.rows = list(csv.DictReader(file))[:epoch]

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}})
        with atomic.replacing(self.path) as aside, open(aside, "w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[0])
            writer.writeheader()
            writer.writerows(self.rows)


class Progress(keras.callbacks.Callback):
    """One of Keras's bars for the whole training; ten lines in all where the output is no terminal."""

    def on_train_begin(self, logs=None):
        self.steps = self.params["steps"] or 1
        self.bar = None
        if sys.stdout.isatty():
            self.bar = keras.utils.Progbar(self.params["epochs"] * self.steps, stateful_metrics=["loss", "val_loss"])

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            done = self.epoch * self.steps + batch + 1
            self.bar.update(done, [("loss", logs["loss"])], finalize=False)

    def on_epoch_end(self, epoch, logs=None):
        epochs = self.params["epochs"]
        shown = {name: logs[name] for name in ("loss", "val_loss") if name in logs}
        if self.bar:
            self.bar.update((epoch + 1) * self.steps, list(shown.items()), finalize=epoch + 1 == epochs)
        elif (epoch + 1) % max(1, epochs // 10) == 0 or epoch + 1 == epochs:
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in shown.items())
            print(f"epoch {epoch + 1}/{epochs}: {numbers} nats", flush=True)
