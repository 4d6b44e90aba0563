"""The gate into a model: every batch is checked in the same way, whatever brings it.

| data | shapes | values |
| --- | --- | --- |
| arrays, `train_on_batch`, `test_on_batch` | at once | at once |
| `tf.data.Dataset` | before the first batch | first batch of an epoch; the others against limits, see `_tf_data` |
| `PyDataset`, generator, `DataLoader` | each batch | each batch |
| `model(x)` | at once | at once, outside compiled functions |
| anything else, such as a distributed dataset | when the step is compiled | not at all |

Columns `(n, 1)` of labels and of sample weights become vectors. Whatever else does not fit is a one-line `ValueError`.
"""

from __future__ import annotations

import contextlib
import copy
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.io import FileError
from kvae.training import strategy

# Intervals of pixel values, the widest first. A model's own is the first one whose ends its `check_images` accepts.
INTERVALS = ((-1e15, 1e15), (0.0, 1e15), (-1.0, 1.0), (0.0, 1.0))


class BatchError(ValueError):
    """A batch of a dataset or generator that does not fit the model."""


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Re-raise the error of a file or a batch as itself, instead of the backend's error that wraps it."""
    try:
        yield
    except Exception as error:
        kinds = {kind.__name__: kind for kind in (FileError, BatchError)}
        found = re.search(rf"\b({'|'.join(kinds)}): (.*)", str(error))
        if isinstance(error, tuple(kinds.values())) or found is None:
            raise
        raise kinds[found[1]](found[2]) from None


def admit(model: Any, x: Any, y: Any = None, sample_weight: Any = None, *, prefix: str = "") -> tuple[Any, Any, Any]:
    """Check the data given to a model.

    Args:
        model: a `BaseModel`.
        x: images `(n, *image_shape)`, a `tf.data.Dataset`, `PyDataset` or `DataLoader`, or a generator.
        y: the condition; `None` with datasets and generators, whose batches hold it.
        sample_weight: array `(n,)` or `(n, 1)`, or `None`.
        prefix: str, put before the arguments' names in errors.

    Returns:
        `(x, y, sample_weight)` for Keras. Of arrays, `x` and `sample_weight` are NumPy's; a dataset or generator is
        wrapped such that it raises the errors of its batches.

    Raises:
        ValueError: if images, conditions or weights do not fit the model.
    """

    def check(batch):
        try:
            batch = parts(batch)
            arrays(model, *batch, prefix=prefix)
            return packed(*shaped(model, *batch))
        except ValueError as error:
            raise BatchError(error) from None

    if hasattr(x, "element_spec"):
        return _tf_data(model, x, check), y, sample_weight
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedDataset(x, check), y, sample_weight
    if isinstance(x, types.GeneratorType):
        return _checked(x, check), y, sample_weight
    if any(base.__name__ == "DataLoader" and base.__module__.startswith("torch.") for base in type(x).__mro__):
        return _checked_loader(x, check), y, sample_weight
    if hasattr(x, "__array__") or isinstance(x, list):
        x, y, sample_weight = arrays(model, x, y, sample_weight, prefix=prefix)
        strategy.check_equal_parts(len(x), f"len({prefix}x)")
    return x, y, sample_weight


def arrays(model: Any, x: Any, y: Any = None, sample_weight: Any = None, *, prefix: str = "") -> tuple[Any, Any, Any]:
    """Check arrays by shape and value; arguments, result and errors as in `admit`."""
    x = model.check_images(x if isinstance(x, list) else _array(x), prefix + "x")  # a list may be of several shapes
    if model.conditions is not None:
        y = model.check_condition(keras.tree.map_structure(_array, y), len(x))
    elif y is not None:  # only a `class_weight` reads it
        y = keras.tree.map_structure(_array, y)
        keras.tree.map_structure(lambda part: checks.same_length(part, len(x), prefix + "y"), y)
    if sample_weight is not None:
        sample_weight = checks.sample_weight(_array(sample_weight), len(x), prefix + "sample_weight")
    return x, y, sample_weight


def shaped(model: Any, x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """Check the static shapes of a batch of tensors; arguments, result and errors as in `admit`."""
    checks.example_shape(x, model.image_shape, "x")
    if model.conditions is not None:
        if y is None:
            model.check_condition(None, None)  # says what is missing
        y = model.conditions.shaped(y)
    if isinstance(sample_weight, (tuple, list)):  # Keras repeats the weights for each of several targets
        sample_weight = sample_weight[0]
    if sample_weight is not None:
        sample_weight = checks.vector(sample_weight, "sample_weight")
    have = checks.static_shape(x)
    for name, values in (("labels", y), ("sample_weight", sample_weight)):
        for part in keras.tree.flatten(values):
            lengths = [(shape or (None,))[0] for shape in (have, None if part is None else checks.static_shape(part))]
            if None not in lengths and lengths[0] != lengths[1]:
                raise ValueError(f"`{name}` must have one entry per example: {lengths[0]}. Received: {lengths[1]}")
    return x, y, sample_weight


def check_class_weight(x: Any, y: Any) -> None:
    """Raise a `ValueError` if there are no labels, or several, for a `class_weight` of `fit` to look up."""
    if hasattr(x, "element_spec"):
        y = parts(x.element_spec)[1]
    elif isinstance(x, keras.utils.PyDataset):
        y = parts(x[0])[1]
    if y is None or isinstance(y, tuple):
        kind = "no labels" if y is None else f"{len(y)} conditions"
        raise ValueError(
            f"`class_weight` needs the labels of the examples, also for a model without a condition: fit(x, y, "
            f"class_weight=...), or `sample_weight` instead. Received: {kind}"
        )


def inputs(model: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Check what a model is called on: tensors by value where they have values, not while a function is compiled.

    Args:
        model: a `BaseModel`.
        x: images `(n, *image_shape)`, an array or a tensor.
        y: the condition, or `None`.

    Returns:
        `(x, y)`, a column of labels as a vector.
    """
    x, y = keras.tree.map_structure(_tensor_or_array, (x, y))
    if (values := _values((x, y))) is not None:
        arrays(model, *values)
    return shaped(model, x, y)[:2]


def parts(batch: Any) -> tuple[Any, Any, Any]:
    """Images, condition and sample weights of what a dataset gives: arrays, tensors, or their declared types.

    Args:
        batch: images, or a tuple or list of images, conditions and sample weights.

    Returns:
        Tuple of the three; `None` for those that are not there.

    Raises:
        ValueError: if it has another structure.
    """
    given = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    flat = [each for part in given for each in (part if isinstance(part, (tuple, list)) else (part,))]
    known = all(part is None or hasattr(part, "shape") for part in flat)
    if not (1 <= len(given) <= 3 and hasattr(given[0], "shape") and known):
        kinds = ", ".join(type(part).__name__ for part in given)
        raise ValueError(
            f"The dataset must give images, (images, labels) or (images, labels, sample_weight). Received: ({kinds})"
        )
    x, y, sample_weight = (*given, None, None)[:3]
    return x, tuple(y) if isinstance(y, list) else y, sample_weight


def packed(x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, ...]:
    """A batch as a dataset gives it: a tuple of as many parts as there are."""
    return (x, y, sample_weight) if sample_weight is not None else (x,) if y is None else (x, y)


def _array(values):
    if ops.is_tensor(values):
        return ops.convert_to_numpy(values)
    return None if values is None else np.asarray(values)


def _values(tensors):
    """The tensors as arrays; `None` for symbolic ones."""
    try:
        return keras.tree.map_structure(_array, tensors)
    except (RuntimeError, TypeError, ValueError):  # on TensorFlow and PyTorch; on JAX; `KerasTensor`
        return None


def _tensor_or_array(values):
    is_tensor = values is None or ops.is_tensor(values) or isinstance(values, keras.KerasTensor)
    return values if is_tensor else np.asarray(values)


def _tf_data(model, dataset, check):
    """A dataset whose batches are checked.

    With known shapes, Python looks at the first batch of each epoch only. The others are compared with limits inside
    the pipeline, and Python looks at a batch that exceeds them, to say why or to accept it.
    """
    if not hasattr(dataset, "map"):  # a distributed one
        return dataset
    import tensorflow as tf

    if hasattr(dataset, "cardinality") and int(dataset.cardinality()) == 0:
        raise ValueError("The dataset must give at least one batch. Received: an empty one")
    spec = keras.tree.flatten(parts(dataset.element_spec))
    if any(part is not None and part.shape.rank is None for part in spec):
        return _of_unknown_shape(model, dataset, check)
    kinds = {part.dtype.name for part in spec if part is not None}
    if not kinds.isdisjoint({"string", "complex64", "complex128"}):
        raise ValueError(f"The dataset must give numbers. Received: dtypes {', '.join(sorted(kinds))}")
    low, high = _interval(model)

    def is_plain(x, y, sample_weight):
        """Whether a batch is within the limits, and no value is NaN."""
        x = tf.cast(x, tf.float32)  # compared after it is reduced, which takes half the time; the sum finds NaN
        plain = [(tf.reduce_min(x) >= low) & (tf.reduce_max(x) <= high) & tf.math.is_finite(tf.reduce_sum(x))]
        for part, each in () if model.conditions is None else model.conditions.pairs(y):
            if part.num_classes is None:
                plain.append(tf.abs(tf.cast(each, tf.float32)) < (1.5 if part.holds_integers(each) else np.inf))
            else:
                plain.append((each >= part.least) & (each < part.num_classes))
        if sample_weight is not None:
            plain.append(tf.math.is_finite(tf.cast(sample_weight, tf.float32)))
        return tf.reduce_all(tf.stack([tf.reduce_all(each) for each in plain]))

    def checked(index, *batch):
        batch = shaped(model, *parts(batch[0] if len(batch) == 1 else batch))
        fine = (index > 0) & is_plain(*batch)
        tensors = [each for each in keras.tree.flatten(batch) if each is not None]

        def look_closer(*values):
            check(_filled(batch, values))

        looked = tf.cond(fine, tf.no_op, lambda: tf.numpy_function(look_closer, tensors, []))
        with tf.control_dependencies([looked]):
            return packed(tf.identity(batch[0]), *batch[1:])

    return dataset.enumerate().map(tf.autograph.experimental.do_not_convert(checked))


def _of_unknown_shape(model, dataset, check):
    """A dataset that does not declare its shapes: Python looks at every batch, and then they are known."""
    import tensorflow as tf

    def checked(*batch):
        batch = shaped(model, *parts(batch[0] if len(batch) == 1 else batch))
        tensors = [each for each in keras.tree.flatten(batch) if each is not None]
        values = tf.numpy_function(
            lambda *arrays: keras.tree.flatten(check(_filled(batch, arrays))), tensors, [each.dtype for each in tensors]
        )
        x, y, sample_weight = _filled(batch, values)
        x.set_shape((None, *model.image_shape))
        for part, each in () if model.conditions is None else model.conditions.pairs(y):
            each.set_shape((None,) if part.num_classes else (None, *part.shape))
        if sample_weight is not None:
            sample_weight.set_shape((None,))
        return packed(x, y, sample_weight)

    return dataset.map(tf.autograph.experimental.do_not_convert(checked))


def _filled(batch, values):
    """The given values in place of the tensors of a batch, as `parts` gives it."""
    values = iter(values)
    return keras.tree.map_structure(lambda _: next(values), batch, none_is_leaf=False)


def _interval(model):
    for low, high in INTERVALS:
        x = np.full((2, *model.image_shape), low, "float32")
        x[1] = high
        try:
            model.check_images(x)
        except ValueError:
            continue
        return low, high
    return np.inf, -np.inf


class _CheckedDataset(keras.utils.PyDataset):
    """A `PyDataset` whose batches are checked."""

    def __init__(self, dataset: keras.utils.PyDataset, check: Callable[[Any], Any]) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self.dataset, self.check = dataset, check

    @property
    def num_batches(self) -> int | None:
        return self.dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        return self.check(self.dataset[index])

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()


def _checked(batches: Any, check: Callable[[Any], Any]) -> Iterator[Any]:
    empty = True
    for batch in batches:
        empty = False
        yield check(batch)
    if empty:
        raise ValueError("The data must give at least one batch. Received: none")


def _checked_loader(loader, check):
    """A copy of a PyTorch `DataLoader` whose batches are checked: Keras wants an instance of that class."""
    cls = type(loader)
    checked = copy.copy(loader)
    checked.__class__ = type(
        cls.__name__,
        (cls,),
        {"__iter__": lambda self: _checked(cls.__iter__(self), check), "__module__": cls.__module__},
    )
    return checked
