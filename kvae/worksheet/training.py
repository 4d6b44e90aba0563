"""What a worksheet shows while it trains a model."""

import os
import time
from typing import Any

import keras

SECONDS = 0.5  # between two updates


def progress() -> keras.callbacks.Callback:
    """A callback for `fit(verbose=0)` that shows the epoch on one line, which disappears at the end.

    Nothing is shown while a worksheet is built or graded, where the line would only be in the way.

    Returns:
        The callback.

    Example:

    >>> kvae.worksheet.progress().__class__.__name__
    'Progress'
    """
    return Progress()


class Progress(keras.callbacks.Callback):
    """The line, which is empty again at the end."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Nothing has been shown yet."""
        self.width, self.shown = 0, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the epoch and the loss, at most twice a second."""
        silent = os.environ.get("KVAE_REPORT") or os.environ.get("KVAE_STRICT", "0") not in ("", "0")
        if silent or time.monotonic() - self.shown < SECONDS:
            return
        loss = f", loss {float(logs['loss']):.4g}" if logs and "loss" in logs else ""
        line = f"training: epoch {epoch + 1} of {self.params['epochs']}{loss}"
        print(f"\r{line:<{self.width}}", end="", flush=True)
        self.width, self.shown = len(line), time.monotonic()

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the line."""
        if self.width:
            print(f"\r{'':<{self.width}}\r", end="", flush=True)
