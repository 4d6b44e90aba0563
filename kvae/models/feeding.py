"""How `fit` on arrays is fed: batches gathered whole from memory, and as many steps an execution as the logs allow.

Keras's own way of slicing an array leaves half of a CPU idle with small models; `benchmarks/README.md` has the profile.
What this way does not cover (a `class_weight`, `steps_per_epoch`, a distribution strategy) goes the way of Keras.
"""

import keras
import numpy as np

from kvae import checks, data

MOST_STEPS = 100  # an execution: more gain nothing, and Ctrl-C waits for its end
BARS = 20  # how often an epoch's progress bar moves
BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def covers(model, arguments):
    """Whether `fit` with these arguments, on arrays, can be fed this way."""
    return (
        not model.run_eagerly
        and getattr(model, "_distribute_strategy", None) is None
        and keras.backend.backend() != "torch"  # its steps are eager, and tensors from TensorFlow would be copied
        and arguments.get("class_weight") is None
        and arguments.get("steps_per_epoch") is None
        and arguments.get("validation_steps") is None
        and isinstance(arguments.get("shuffle", True), bool)
        and keras.distribution.distribution() is None
    )


def feed(model, x, y, arguments):
    """Turn arrays into data sets that feed `fit`.

    Args:
        model: a compiled `BaseModel`.
        x: images `(n, *image_shape)`, checked.
        y: labels, or `None`.
        arguments: dict of `fit`'s other arguments.

    Returns:
        The arguments of `fit`, data sets for arrays.
    """
    arguments = dict(arguments)
    batch_size = arguments.pop("batch_size", None)
    if batch_size is not None and checks.positive_integer(batch_size, "batch_size") > len(x):
        raise ValueError(f"`batch_size` must be at most the number of examples, {len(x)}. Received: {batch_size}")
    batch_size = batch_size or 32
    weights = arguments.pop("sample_weight", None)
    split, validation = arguments.pop("validation_split", None), arguments.get("validation_data")
    if split and validation is None:  # the last ones, as in Keras
        if not 0 < split < 1:
            raise ValueError(f"`validation_split` must lie between 0 and 1. Received: {split}")
        cut = int(len(x) * (1 - split))
        if cut in (0, len(x)):
            raise ValueError(
                f"`validation_split` must leave examples on both sides. Received: {split} of {len(x)} examples"
            )
        validation = tuple(None if a is None else a[cut:] for a in (x, y, weights))
        x, y, weights = (None if a is None else a[:cut] for a in (x, y, weights))
    val_batch_size = arguments.pop("validation_batch_size", None) or batch_size
    if isinstance(validation, tuple) and not hasattr(validation[0], "element_spec"):
        x_val, y_val, val_weights = keras.utils.unpack_x_y_sample_weight(validation)
        arguments["validation_data"] = data.pipeline(
            x_val, y_val, val_weights, batch_size=val_batch_size, shuffle=False
        )
    shuffle, arguments["shuffle"] = arguments.get("shuffle", True), False
    seed = model.seed if getattr(model, "seed", None) is not None else int(np.random.randint(2**31))  # noqa: NPY002
    position = _Position()
    arguments["x"] = data.pipeline(
        x, y, weights, batch_size=batch_size, shuffle=shuffle, seed=seed, position=lambda: position.steps
    )
    callbacks = arguments.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        position.set_model(model)
        callbacks.append(position)
    else:
        listed = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
        steps = steps_per_execution(-(-len(x) // batch_size), listed, arguments.get("verbose", "auto"))
        model.take_steps(steps)
        arguments["callbacks"] = [*listed, position]
    return arguments


class _Position(keras.callbacks.Callback):
    """Notes the steps taken when an epoch begins; on JAX the optimizer's count cannot be read later."""

    steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.steps = int(self.model.optimizer.iterations)


def steps_per_execution(num_batches, callbacks, verbose):
    """How many steps may run without a word to anybody.

    Args:
        num_batches: int, of an epoch.
        callbacks: list of those that `fit` got.
        verbose: what `fit` got.

    Returns:
        Int: 1 if a callback wants to hear of each batch; else as many as leave a progress bar moving.
    """
    if any(_hears_batches(callback) for callback in callbacks):
        return 1
    moves = BARS if verbose in ("auto", 1) else 1
    return max(1, min(MOST_STEPS, -(-num_batches // moves)))


def _hears_batches(callback):
    if getattr(callback, "save_freq", None) == "epoch":  # ModelCheckpoint, BackupAndRestore: the hooks do nothing
        return False
    base = keras.callbacks.Callback
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook) for hook in BATCH_HOOKS)
