"""Exact resumption of interrupted training."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kvae import checks
from kvae.io import atomic, limits, npz
from kvae.training import keras_internals, strategy
from kvae.types import PathLike

FORMAT = 1  # version of the file; others are rejected


class Checkpoint(keras.callbacks.Callback):
    """Save the complete training state at the end of each epoch, and resume from it when `fit` is called again.

    The state consists of all variables of model and optimizer, including random streams, the epoch and the history.
    `fit` on arrays, and a dataset that counts its epochs from `first_epoch`, draw order and pixels from the seed and
    the number of steps taken. So a run that is killed at any moment and started again ends with the same weights as an
    uninterrupted one, to the bit (on a CPU, with the same backend and versions).

    The file is written under another name, synced and renamed, so that the last complete one always exists. Keras's
    `BackupAndRestore` keeps weights and optimizer, but neither random streams nor history, and writes in place.

    With several workers, each has the callback, created inside `strategy.scope`; only the first one writes, and passes
    what it reads to the others.

    Args:
        path: the file, `.npz`. If it exists when training begins, training resumes from it.
        every: number of epochs between two checkpoints.

    Attributes:
        epoch: number of epochs completed, including those of an existing file.

    Raises:
        ValueError: if the file is damaged and, when training begins, if it belongs to another model.
        FileError: if the file cannot be written, for example on a full disk; the previous one is kept.

    Example:

    >>> checkpoint = kvae.callbacks.Checkpoint("checkpoint.npz")
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[checkpoint])
    """

    def __init__(self, path: PathLike, every: int = 1) -> None:
        super().__init__()
        self.path = Path(path)
        if self.path.suffix != ".npz":
            raise ValueError(f"`path` must end in .npz. Received: {path}")
        self.every = checks.positive_integer(every, "every")
        self.history: dict[str, list[float]] = {}
        self.writes = strategy.writes()
        content = _content(self.path)
        self.epoch = _parse(content, self.path)[0]["epoch"] if content else 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        with strategy.scope_of(self.model):
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self.history, self.epoch = restore(self.model, self.path)
        if self.epoch:
            keras_internals.begin_at_epoch(self.model, self.epoch)
        self.resumed_at = self.epoch
        self.restored = {name: list(values) for name, values in self.history.items()}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch < self.resumed_at:
            raise ValueError(
                f"`fit` must begin after the checkpoint's last epoch: call it with initial_epoch={self.resumed_at}, "
                f"which a callback cannot set in this version of Keras. Received: {self.path}, and epoch {epoch}"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.writes and (self.epoch % self.every == 0 or self.epoch == self.params["epochs"]):
            save(self.model, self.path, self.history, self.epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        keras_internals.begin_at_epoch(self.model, None)
        history = self.model.history  # what `fit` returns
        if history is not None and self.restored:
            first = len(next(iter(self.restored.values())))
            history.epoch = [*range(first), *history.epoch]
            for name, values in self.restored.items():
                history.history[name] = values + history.history.get(name, [])


def save(model: keras.Model, path: PathLike, history: dict[str, list[float]], epoch: int) -> None:
    """Write the training state to `path`.

    Args:
        model: a compiled and built Keras model.
        path: file to write.
        history: dict from names to lists of floats, one per epoch.
        epoch: number of epochs completed.

    Raises:
        FileError: if the file cannot be written.
    """
    arrays = [_portable(keras.ops.convert_to_numpy(v)) for v in _all_variables(model)]
    record = {"format": FORMAT, "epoch": epoch, "history": history, "variables": len(arrays)}
    numbered = {str(i): array for i, array in enumerate(arrays)}
    with atomic.replacing(path) as aside:
        np.savez(aside, record=np.array(json.dumps(record)), **numbered)


def restore(model: keras.Model, path: PathLike) -> tuple[dict[str, list[float]], int]:
    """Set the variables of a model and its optimizer to the state in `path`; without that file, do nothing.

    Args:
        model: a compiled and built Keras model, like the one that was saved.
        path: file written by `save`.

    Returns:
        `(history, epoch)`, as in `save`; `({}, 0)` without a file.

    Raises:
        ValueError: if the file is damaged or belongs to another model; then nothing is changed.
    """
    variables = _all_variables(model)
    content = _content(Path(path))
    if not content:
        return {}, 0
    record, arrays = _parse(content, path)
    shapes = [a.shape for a in arrays], [tuple(v.shape) for v in variables]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`path` must be a checkpoint of this model and optimizer: delete it to start over, or build the same model "
            f"again. Received: {path}, with {len(arrays)} variables"
        )
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return record["history"], record["epoch"]


def _content(path):
    """The bytes of the checkpoint, which the first of several workers reads for all; empty without one."""
    here = strategy.writes() and path.is_file()
    return strategy.from_chief(path.read_bytes() if here else b"")


def _parse(content, path):
    """The record and the arrays of a checkpoint, or a `ValueError`."""
    try:
        arrays = npz.unpack(io.BytesIO(content))
        record = limits.parse_json(str(arrays.pop("record")))
        if record["format"] != FORMAT:
            raise ValueError(f"format {limits.printable(record['format'], 80)}, not {FORMAT}")
        epoch, history = record["epoch"], record["history"]
        if not isinstance(epoch, int) or epoch < 0 or record["variables"] != len(arrays):
            raise ValueError("its epoch or its number of variables is not one")
        if any(not isinstance(value, (int, float)) for values in history.values() for value in values):
            raise ValueError("its history is not one of numbers")
        variables = [arrays[str(i)] for i in range(len(arrays))]
        if any(array.dtype.kind not in "fiub" for array in variables):
            raise ValueError("its variables are not numbers")
        return record, variables
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`path` must be a checkpoint: delete it to start over. Received: {path}, not one or damaged ({error})"
        ) from error


def _all_variables(model):
    """The variables of model and optimizer, in an order that is the same whenever they are built."""
    return [*model.variables, *model.optimizer.variables]


def _portable(array):
    """`array` in a type that NumPy can write without pickle: bfloat16 is not one, but float32 holds its values."""
    return array if array.dtype.kind in "fiub" else array.astype("float32")
