"""The input pipeline of `fit` on arrays: whole batches from memory, and many steps per execution.

With small models, Keras's slicing of arrays leaves half of a CPU idle; `benchmarks/README.md` has the profile. The
arrays are kept on the device, and a step gathers its batch given the row numbers; on JAX an execution is one compiled
scan over them, on PyTorch a loop of recorded steps. For convolutions on JAX, which are slow inside a scan, batches are
gathered whole. Keras feeds what is not covered: a `class_weight`, `steps_per_epoch`, a distribution.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.training import keras_internals, orders, pipelines, strategy
from kvae.types import Array, Tensor

MOST_STEPS = 100  # per execution: more would gain nothing, and Ctrl-C takes effect only after one
BATCH_SIZE = 32  # of Keras, where none is given
BARS = 20  # updates of the progress bar per epoch
BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def by_name(method: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of one of Keras's methods by name, without `self`."""
    arguments = dict(inspect.signature(method).bind_partial(*args, **kwargs).arguments)
    named = arguments.pop("kwargs", {})
    return {name: value for name, value in arguments.items() if name != "self"} | named


def with_targets(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Arrays as Keras takes them: it drops the weights of data without targets."""
    return x, np.zeros(len(x)) if y is None and sample_weight is not None else y, sample_weight


def covers(model: Any, arguments: dict[str, Any]) -> bool:
    """Whether this pipeline can feed `fit` on arrays with these arguments."""
    return (
        not (model.run_eagerly and keras.backend.backend() != "torch")  # where every step is eager
        and not strategy.is_distributed(model)
        and keras.distribution.distribution() is None
        and arguments.get("class_weight") is None
        and arguments.get("steps_per_epoch") is None
        and arguments.get("validation_steps") is None
        and isinstance(arguments.get("shuffle", True), bool)
    )


def feed(model: Any, x: Array, y: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays into datasets that feed `fit`.

    Args:
        model: a compiled `BaseModel`.
        x: images `(n, *image_shape)`, checked.
        y: labels, or `None`.
        arguments: the other arguments of `fit`.

    Returns:
        The arguments of `fit`, with datasets in place of arrays.

    Raises:
        ValueError: if `batch_size` or `validation_split` does not fit the number of examples.
    """
    arguments = dict(arguments)
    batch_size = arguments.pop("batch_size", None)
    if batch_size is not None and checks.positive_integer(batch_size, "batch_size") > len(x):
        raise ValueError(f"`batch_size` must be at most the number of examples, {len(x)}. Received: {batch_size}")
    batch_size = batch_size or min(BATCH_SIZE, len(x))
    train, validation = _split(
        (x, y, arguments.pop("sample_weight", None)),
        arguments.pop("validation_split", None),
        arguments.get("validation_data"),
    )
    shuffle, arguments["shuffle"] = arguments.get("shuffle", True), False
    order = model.epoch_order(len(train[0]), train[1], batch_size) if shuffle else orders.unchanged(len(train[0]))
    callbacks = arguments.get("callbacks") or []
    entropy = _Entropy()
    if isinstance(callbacks, keras.callbacks.CallbackList):  # it already has its progress bar, and may have any hook
        entropy.set_model(model)
        callbacks.append(entropy)
        steps = 1
    else:
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        steps = steps_per_execution(order.length // batch_size, callbacks, arguments.get("verbose", "auto"))
        arguments["callbacks"] = [*callbacks, entropy]
    if keras.backend.backend() == "tensorflow":
        model.take_steps(steps)
    make, steps = _form(model, steps)
    arguments["x"] = make(train, batch_size, steps, order, entropy)
    arguments["validation_data"] = validation
    return feed_validation(model, arguments, batch_size, steps)


def feed_validation(
    model: Any, arguments: dict[str, Any], batch_size: int = BATCH_SIZE, steps: int = 1
) -> dict[str, Any]:
    """Turn arrays for validation, if there are any, into a dataset that feeds `fit`.

    Args:
        model: a compiled `BaseModel`.
        arguments: those of `fit`.
        batch_size: without a `validation_batch_size`.
        steps: batches per execution, where the dataset says how many.

    Returns:
        The arguments of `fit`, with a dataset in place of `validation_data`.
    """
    given = arguments.get("validation_data")
    if not isinstance(given, tuple) or not isinstance(given[0], np.ndarray):
        return arguments
    batch_size = arguments.pop("validation_batch_size", None) or batch_size
    validation = keras.utils.unpack_x_y_sample_weight(given)
    n = len(validation[0])
    make, steps = _form(model, steps)
    return arguments | {"validation_data": make(validation, min(batch_size, n), steps, orders.unchanged(n))}


def _form(model, steps):
    """What makes a dataset of arrays on this backend, and batches per execution, where the dataset says how many."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _numbers, steps
    if backend == "torch":
        return (_OnDevice, 1) if model.run_eagerly or model.jit_compile else (_Executions, steps)
    if backend == "jax" and model.jit_compile and not (model.steps_given or convolutions(model)):
        return _Executions, steps
    return _Batches, 1


def steps_per_execution(num_batches: int, callbacks: list[Any], verbose: Any) -> int:
    """Steps per execution that no callback would notice.

    Args:
        num_batches: number of full batches per epoch.
        callbacks: those passed to `fit`.
        verbose: as passed to `fit`.

    Returns:
        1 if a callback has a hook for each batch; else as many as keep a progress bar moving, and a divisor of
        `num_batches` if there is one nearby, so that one compiled shape serves all executions.
    """
    if any(_hears_batches(callback) for callback in callbacks):
        return 1
    moves = BARS if verbose in ("auto", 1) else 1
    most = max(1, min(MOST_STEPS, -(-num_batches // moves)))
    return next((steps for steps in range(most, most // 2, -1) if num_batches % steps == 0), most)


def _hears_batches(callback):
    if getattr(callback, "hears_executions", False):
        return False
    if getattr(callback, "save_freq", None) == "epoch":  # ModelCheckpoint, BackupAndRestore: the hooks do nothing
        return False
    base = keras.callbacks.Callback
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook) for hook in BATCH_HOOKS)


def _split(train, fraction, validation):
    """Training and validation data; as in Keras, the last `fraction` of the arrays unless `validation` is given."""
    if not fraction or validation is not None:
        return train, validation
    n = len(train[0])
    cut = int(n * (1 - fraction)) if 0 < fraction < 1 else 0
    if cut in (0, n):
        raise ValueError(f"`validation_split` must leave examples on both sides. Received: {fraction} of {n} examples")
    return pipelines.each(lambda a: a[:cut], train), pipelines.each(lambda a: a[cut:], train)


def convolutions(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model that XLA runs slowly inside a scan on a CPU."""
    return [layer for layer in keras_internals.layers_of(model) if "Conv" in type(layer).__name__]


def _numbers(arrays, batch_size, steps, order, entropy=None):
    return pipelines.rows(*arrays, batch_size=batch_size, order=order, entropy=entropy)


class _Entropy(keras.callbacks.Callback):
    """What the order of an epoch is drawn from: the seed of the model's random stream, and the steps taken so far.

    Both are part of the training state, so a resumed run repeats the order. They are read when an epoch begins; on JAX
    they cannot be read later.
    """

    def on_epoch_begin(self, epoch, logs=None):
        seed = ops.convert_to_numpy(self.model.seed_generator.state)[0]
        self.now = int(seed), int(self.model.optimizer.iterations)

    def __call__(self) -> tuple[int, int]:
        return self.now


class _Batches(keras.utils.PyDataset):
    """The batches of an epoch, gathered whole from memory."""

    def __init__(
        self, arrays: Sequence[Any], batch_size: int, steps: int, order: orders.Order, entropy: Any = None
    ) -> None:
        super().__init__()
        x, *others = arrays
        self.arrays = self._hold(pipelines.smallest(x), *others)
        self.batch_size, self.steps, self.order, self.entropy = batch_size, steps, order, entropy
        n = order.length
        full = n // batch_size * batch_size
        size = batch_size * steps
        self.cuts = [*range(0, full, size), full, *([n] if full < n else [])]

    def _hold(self, *arrays):
        return arrays

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def on_epoch_begin(self):
        rng = np.random.default_rng(self.entropy() if self.entropy else 0)
        self.rows = self.order.draw(rng).astype("int32")

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = self.rows[self.cuts[index] : self.cuts[index + 1]]
        x, *others = self.arrays
        x = pipelines.GREYS[x[rows]] if x.dtype == "uint8" else x[rows]
        return keras.utils.pack_x_y_sample_weight(x, *pipelines.each(lambda a: a[rows], others))


class _OnDevice(_Batches):
    """Arrays on the device, and the row numbers of each batch of an epoch."""

    def _hold(self, *arrays):
        return pipelines.each(ops.convert_to_tensor, arrays)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return (pipelines.Rows(self.rows[self.cuts[index] : self.cuts[index + 1]], tuple(self.arrays)),)


class _Executions(_OnDevice):
    """Likewise, with the row numbers of the batches of each execution."""

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = self.rows[self.cuts[index] : self.cuts[index + 1]]
        return (pipelines.Rows(rows.reshape(-1, min(self.batch_size, len(rows))), tuple(self.arrays)),)


class _InOrder(keras.utils.PyDataset):
    """Arrays in their order, cut and converted batch by batch."""

    def __init__(self, arrays: tuple[Any, ...], batch_size: int) -> None:
        super().__init__()
        self.arrays, self.batch_size = arrays, batch_size

    def __len__(self) -> int:
        return -(-len(self.arrays[0]) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        x, *others = pipelines.each(lambda a: a[rows], self.arrays)
        return keras.utils.pack_x_y_sample_weight(np.asarray(x, "float32"), *others)


def in_order(model: Any, x: Any, y: Any, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Arrays as a dataset for `evaluate` and `predict`: Keras would first convert them as a whole, to one copy or two.

    Args:
        model: a `BaseModel`.
        x: images `(n, *image_shape)`, checked, or what else the model was given.
        y: their conditions, or `None`.
        arguments: the other arguments of `evaluate` or `predict`; what the dataset replaces is taken out of them.

    Returns:
        `(dataset, None)`, or `(x, y)` if Keras must feed them itself.
    """
    is_array = isinstance(x, np.ndarray) and arguments.get("steps") is None
    if not is_array or strategy.is_distributed(model) or keras.distribution.distribution() is not None:
        return x, y
    batch_size, sample_weight = (arguments.pop(name, None) for name in ("batch_size", "sample_weight"))
    batch_size = BATCH_SIZE if batch_size is None else checks.positive_integer(batch_size, "batch_size")
    return _InOrder((x, y, sample_weight), batch_size), None


def scan(step: Callable[..., Any], state: Any, execution: pipelines.Rows) -> Any:
    """Take the steps of an execution, on JAX.

    Args:
        step: function `step(state, batch)` that returns `(logs, state)`, for one batch as a dataset yields it.
        state: what Keras passes from step to step.
        execution: `training.pipelines.Rows` of `(steps, batch)`.

    Returns:
        `(logs, state)` after the last step.
    """
    rows, arrays = execution

    def body(state, rows):
        logs, state = step(state, gathered(rows, arrays))
        return state, logs

    state, logs = ops.scan(body, state, rows)
    return {name: values[-1] for name, values in logs.items()}, state


def gathered(rows: Tensor, arrays: tuple[Any, ...]) -> Any:
    """The batch of these rows, as a dataset yields it.

    Args:
        rows: int tensor `(batch,)`.
        arrays: those of `training.pipelines.Rows`.
    """
    images, *others = arrays
    x = ops.take(images, rows, axis=0)
    if keras.backend.standardize_dtype(x.dtype) == "uint8":
        x = ops.cast(x, "float32") / 255.0
    return keras.utils.pack_x_y_sample_weight(x, *pipelines.each(lambda array: ops.take(array, rows, axis=0), others))
