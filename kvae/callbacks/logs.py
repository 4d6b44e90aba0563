"""Callbacks that write down or show how training goes."""

import csv
import sys

import keras


class HistoryFile(keras.callbacks.Callback):
    """Write the logs of each epoch as a line of a CSV file, once the epoch is over; epochs are counted from 1.

    Unlike Keras's `CSVLogger` it closes the file after each line, and it has the columns that callbacks before it add.

    Args:
        path: the file, which must not be there yet.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if epoch == 0:
                writer.writeheader()
            writer.writerow(row)


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
