"""Going on with a training that was interrupted, to the bit."""

import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from kvae import checks
from kvae.io import atomic
from kvae.training import keras_internals, strategy

FORMAT = 1  # of the file; another one is refused


class Checkpoint(keras.callbacks.Callback):
    """Save the whole state of training at the end of each epoch, and go on from it when `fit` is called again.

    The state is every variable of model and optimizer, the random streams among them, with the epoch and the history.
    `fit` on arrays, and a data set that counts its epochs from `first_epoch`, draw order and pixels from the seed and
    the steps taken; so a training that was killed at any moment and started again ends with the same weights, to the
    bit, as one that was not (on a CPU, with the same backend and versions).

    The file is written aside, synced and renamed: at every moment the last good one is there. Keras's own
    `BackupAndRestore` keeps weights and optimizer, but neither random streams nor history, and writes in place.

    Several workers all take the callback, made inside of `strategy.scope`; the first alone writes, and hands the others
    what it reads.

    Args:
        path: the file, `.npz`. If it is there when training begins, training goes on from it.
        every: int, epochs between two of them.

    Attributes:
        epoch: int, how many epochs are done; of a file that is there already, as many as it says.

    Raises:
        ValueError: if the file is damaged and, when training begins, if it belongs to another model.
        FileError: if the file cannot be written, as on a full disk; the one before stays.

    Example:

    >>> model.fit(x, epochs=100, callbacks=[kvae.callbacks.Checkpoint("runs/first/checkpoint.npz")])
    """

    def __init__(self, path, every=1):
        super().__init__()
        self.path = Path(path)
        if self.path.suffix != ".npz":
            raise ValueError(f"`path` must end in .npz. Received: {path}")
        self.every = checks.positive_integer(every, "every")
        self.history = {}
        self.writes = strategy.writes()
        content = _content(self.path)
        self.epoch = _parse(content, self.path)[0]["epoch"] if content else 0

    def on_train_begin(self, logs=None):
        with strategy.scope_of(self.model):
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self.history, self.epoch = restore(self.model, self.path)
        if self.epoch:
            keras_internals.begin_at_epoch(self.model, self.epoch)
        self.resumed_at = self.epoch
        self.restored = {name: list(values) for name, values in self.history.items()}

    def on_epoch_begin(self, epoch, logs=None):
        if epoch < self.resumed_at:
            raise ValueError(
                f"`fit` must go on from the checkpoint: call it with initial_epoch={self.resumed_at}, which this "
                f"version of Keras cannot be told by a callback. Received: {self.path}, and epoch {epoch}"
            )

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.writes and (self.epoch % self.every == 0 or self.epoch == self.params["epochs"]):
            save(self.model, self.path, self.history, self.epoch)

    def on_train_end(self, logs=None):
        keras_internals.begin_at_epoch(self.model, None)
        history = self.model.history  # what `fit` returns
        if history is not None and self.restored:
            first = len(next(iter(self.restored.values())))
            history.epoch = [*range(first), *history.epoch]
            for name, values in self.restored.items():
                history.history[name] = values + history.history.get(name, [])


def save(model, path, history, epoch):
    """Write the state of training to `path`.

    Args:
        model: a compiled and built Keras model.
        path: file to write.
        history: dict from names to lists of floats, an epoch each.
        epoch: int, how many epochs are done.

    Raises:
        FileError: if the file cannot be written.
    """
    arrays = [_portable(keras.ops.convert_to_numpy(v)) for v in _all_variables(model)]
    record = {"format": FORMAT, "epoch": epoch, "history": history, "variables": len(arrays)}
    numbered = {str(i): array for i, array in enumerate(arrays)}
    with atomic.replacing(path) as aside:
        np.savez(aside, record=np.array(json.dumps(record)), **numbered)


def restore(model, path):
    """Give a model and its optimizer the state in `path`; without that file they stay as they are.

    Args:
        model: a compiled and built Keras model, like the one that was saved.
        path: file that `save` wrote.

    Returns:
        `(history, epoch)`, as in `save`; `({}, 0)` without a file.

    Raises:
        ValueError: if the file is damaged or belongs to another model; then nothing has changed.
    """
    variables = _all_variables(model)
    content = _content(path)
    if not content:
        return {}, 0
    record, arrays = _parse(content, path)
    shapes = [a.shape for a in arrays], [tuple(v.shape) for v in variables]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`path` must be a checkpoint of this model and optimizer: delete it to begin anew, or build the model as "
            f"it was. Received: {path}, of {len(arrays)} variables"
        )
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return record["history"], record["epoch"]


def _content(path):
    """The bytes of the checkpoint of this process, or of the first of several workers; none if there is none."""
    here = strategy.writes() and path.is_file()
    return strategy.from_chief(path.read_bytes() if here else b"")


def _parse(content, path):
    """The record and the arrays of a checkpoint, or a `ValueError`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            record = json.loads(str(file["record"]))
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']}, not {FORMAT}")
            record["epoch"], record["history"]
            return record, [file[str(i)] for i in range(record["variables"])]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`path` must be a checkpoint: delete it to begin anew. Received: {path}, none or damaged ({error})"
        ) from error


def _all_variables(model):
    """The variables of model and optimizer, in an order that building them again repeats."""
    return [*model.variables, *model.optimizer.variables]


def _portable(array):
    """`array` in a type that NumPy can write without a pickle: bfloat16 is none, but fits into float32."""
    return array if array.dtype.kind in "fiub" else array.astype("float32")
