"""What every model shares: the way through Keras's `fit`, and verbs that take and give NumPy arrays."""

import inspect
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.data import plain_errors
from kvae.training import fit_on_arrays, strategy
from kvae.training.adam import fuse_adam
from kvae.training.finite_steps import FiniteSteps
from kvae.training.pipelines import Rows


class Batch(NamedTuple):
    """A batch on its way through a step: images, labels (or `None`) and example weights (or `None`)."""

    x: object
    y: object
    sample_weight: object


class BatchResult(NamedTuple):
    """What a pass over a batch gives.

    Attributes:
        reconstruction: `(batch, *image_shape)`, pixel means.
        losses: tuple of tensors `(batch,)`, nats; their sum is minimised.
        terms: dict from names in `term_names` to tensors `(batch,)`, nats, to be logged.
    """

    reconstruction: object
    losses: tuple
    terms: dict


class BaseModel(keras.Model):
    """Base of the models: subclasses write `run_batch` and name its logged terms in `term_names`.

    The model trains with an own `train_step`: labels travel with the images into `call`, which registers the loss terms
    with `add_loss`; Keras minimises their sum, and the terms of each example update the trackers. Logged numbers are in
    nats per example: summed over pixels and latent dimensions, averaged over examples. As in Keras, a `sample_weight`
    multiplies its example's terms before that average.
    """

    term_names: tuple[str, ...] = ()
    takes_labels = False
    steps_per_execution: int
    steps_given = False  # whether `compile` was told how many steps an execution takes

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.term_trackers = [keras.metrics.Mean(name=name) for name in self.term_names]
        self.finite_steps = FiniteSteps(len(self.term_names), name="finite_steps")
        self._counts_finite_steps = False

    @property
    def compute_dtype(self):
        """Float32 under every policy, for images, densities and sums; networks compute in what theirs says."""
        return "float32"

    # What a subclass writes.

    @property
    def image_shape(self):
        """Shape of one example."""
        raise NotImplementedError

    def run_batch(self, x, y, training):
        """One pass over a batch: a `BatchResult`."""
        raise NotImplementedError

    def check_images(self, x, name="x"):
        """Return `x` as an array that the model can score, or raise a `ValueError` that says how to mend it."""
        return checks.array(x, self.image_shape, name)

    def check_labels(self, y, num_examples):
        """Return `y` as the labels of `num_examples` examples, or raise a `ValueError`; here labels are ignored."""
        return y

    # Keras: a step, and the arrays that enter it.

    def call(self, inputs, training=False):
        """Reconstruct a batch and register its losses.

        Args:
            inputs: images `(batch, *image_shape)`; `(images, labels)` for a model that takes labels.
            training: bool.

        Returns:
            Pixel means `(batch, *image_shape)`.
        """
        batch = inputs if isinstance(inputs, Batch) else self._as_batch(inputs)
        result = self.run_batch(ops.cast(batch.x, "float32"), batch.y, training)
        for loss in result.losses:
            self.add_loss(ops.mean(_weighted(loss, batch.sample_weight)))
        return result if isinstance(inputs, Batch) else result.reconstruction

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Configure training as in Keras, without `loss`; `metrics` compare the images with their reconstructions.

        Raises:
            ValueError: if a loss is given: the model knows its own.
        """
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__} computes its own loss: drop `loss` from `compile`. Received: loss={loss!r}"
            )
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        self.steps_given = kwargs.get("steps_per_execution") is not None
        if keras.backend.backend() == "tensorflow" and self._distribute_strategy is None:
            fuse_adam(self.optimizer)
        if metrics is not None:  # built here, because Keras would build them by calling the model without labels
            images = np.zeros((1, *self.image_shape), "float32")
            super().compute_metrics(None, images, images)
            self.reset_metrics()

    def get_compile_config(self):
        """As Keras's, but the optimizer by its public name: under PyTorch Keras writes one that only PyTorch loads."""
        config = super().get_compile_config()
        optimizer = (config or {}).get("optimizer")
        if isinstance(optimizer, dict) and str(optimizer.get("module")).startswith("keras.src.backend."):
            optimizer["module"] = "keras.optimizers"
        return config

    def compile_from_config(self, config):
        """Compile as the saved model was; Keras leaves this to a class with a `compile` of its own."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{name: value for name, value in config.items() if value is not None})
        if self.optimizer is not None:  # so that its saved state finds its variables
            self.optimizer.build(self.trainable_variables)

    def train_step(self, *args):
        """Forward pass, minimise `sum(self.losses)`, update the trackers; on JAX the state comes before the data."""
        return self._step(super().train_step, *args)

    def test_step(self, *args):
        """Like `train_step` without the update."""
        return self._step(super().test_step, *args)

    def _step(self, step, *args):
        *state, data = args
        if isinstance(data, tuple) and isinstance(data[0], Rows):
            if state:
                return fit_on_arrays.scan(lambda state, data: step(state, self._pack(data)), state[0], data[0])
            data = fit_on_arrays.gathered(*data[0])
        return _reducible(step(*state, self._pack(data)))

    def predict_step(self, *args):
        """Reconstruct a batch."""
        *state, data = args
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return super().predict_step(*state, ((x, y) if self.takes_labels and y is not None else x,))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The sum of the registered losses, such that its gradient is that of the whole batch on several replicas."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        share = strategy.share(ops.shape(x.x)[0])
        if share is None:
            return loss
        # Keras weighs the value by the number of examples when it is logged, but not its gradient.
        loss = ops.where(share > 0, loss, 0.0)  # of a short last batch a replica may get nothing, whose mean is NaN
        return share * loss + ops.stop_gradient((1 - share) * loss)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the trackers with the terms of each example and return all logs."""
        for tracker in self.term_trackers:  # vectors, so that a short last batch weighs what it should
            tracker.update_state(_weighted(y_pred.terms[tracker.name], x.sample_weight))
        if self._counts_finite_steps:
            self.finite_steps.update_state(self.term_trackers)
        return super().compute_metrics(x, x.x, y_pred.reconstruction, x.sample_weight)

    def fit(self, x=None, y=None, *args, **kwargs):
        """Train as in Keras, after a check of what came; arrays are fed faster than there.

        Args:
            x: images `(n, *image_shape)`, a `tf.data.Dataset` or a `keras.utils.PyDataset`. Arrays are shuffled by the
                model's `seed`, and many steps run at once unless a callback hears of each batch or `compile` got
                `steps_per_execution`.
            y: labels, for a model that takes them.
            *args: as in `keras.Model.fit`.
            **kwargs: as in `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: if images, labels or weights do not fit the model.
        """
        arguments = inspect.signature(keras.Model.fit).bind_partial(self, x, y, *args, **kwargs).arguments
        arguments = {name: value for name, value in arguments.items() if name not in ("self", "x", "y")}
        x, y = self._check_data(x, y, arguments.get("sample_weight"))
        validation = arguments.get("validation_data")
        if isinstance(validation, (tuple, list)):
            x_val, y_val, weight = keras.utils.unpack_x_y_sample_weight(tuple(validation))
            x_val, y_val = self._check_data(x_val, y_val, weight, prefix="validation ")
            arguments["validation_data"] = keras.utils.pack_x_y_sample_weight(x_val, y_val, weight)
        elif validation is not None:
            arguments["validation_data"], _ = self._check_data(validation, prefix="validation ")
        if isinstance(x, np.ndarray) and fit_on_arrays.covers(self, arguments):
            arguments = fit_on_arrays.feed(self, x, y, arguments)
        else:
            if hasattr(x, "element_spec"):
                arguments.setdefault("shuffle", False)  # it shuffles itself; Keras only warns of its default
            arguments |= {"x": x, "y": y}
        with plain_errors():
            return super().fit(**arguments)

    def take_steps(self, steps):
        """Let an execution be of `steps` steps, unless `compile` was told how many."""
        if not self.steps_given and self.steps_per_execution != steps:
            self.steps_per_execution: int = steps
            self.train_function = self.test_function = None  # they have the old number compiled in

    def count_finite_steps(self):
        """Let `finite_steps` count from now on, at the cost of a few small operations a step."""
        if not self._counts_finite_steps:
            self._counts_finite_steps = True
            self.train_function = self.test_function = None  # they were compiled without

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Evaluate as in Keras, after the same check as `fit`."""
        if not kwargs.get("_use_cached_eval_dataset"):  # set by `fit`, which has checked already
            x, y = self._check_data(x, y, kwargs.get("sample_weight"))
        with plain_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Reconstructions of `x` (`(x, y)` for a model that takes labels), as in Keras, after a check of the arrays."""
        if self.takes_labels and isinstance(x, (tuple, list)) and len(x) == 2:
            x = self._check_data(*x)
        else:
            x, _ = self._check_data(x)
        with plain_errors():
            return super().predict(x, *args, **kwargs)

    def _as_batch(self, inputs):
        if self.takes_labels:
            if not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
                raise ValueError(f"{type(self).__name__} must be called on (images, labels). Received: images alone")
            x, y = inputs
            return Batch(x, y, None)
        return Batch(inputs, None, None)

    def _pack(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return (Batch(x, y if self.takes_labels else None, sample_weight),)

    def _check_data(self, x, y=None, sample_weight=None, prefix=""):
        """Check arrays by value, datasets by what they declare; return `(x, y)` as Keras should get them."""
        if hasattr(x, "element_spec"):  # tf.data
            if hasattr(x, "cardinality") and int(x.cardinality()) == 0:
                raise ValueError("The dataset must give at least one batch. Received: an empty one")
            checks.batch(x.element_spec, self.image_shape, type(self).__name__ if self.takes_labels else None)
        elif isinstance(x, keras.utils.PyDataset):
            checks.batch(x[0], self.image_shape, type(self).__name__ if self.takes_labels else None)
        elif hasattr(x, "__array__") or isinstance(x, list):
            x = self.check_images(x if hasattr(x, "shape") else np.asarray(x), prefix + "x")
            y = self.check_labels(y, len(x))
            strategy.check_equal_parts(len(x), f"len({prefix}x)")
            if sample_weight is not None:
                checks.same_length(sample_weight, len(x), prefix + "sample_weight")
                y = np.zeros(len(x)) if y is None else y  # Keras drops the weights of data without targets
        return x, y


def in_batches(function, *arrays, batch_size):
    """Apply `function` to slices of `arrays` and join the results, so that memory stays flat.

    Args:
        function: from tensors `(batch, ...)`, one for each array, to a tensor `(batch, ...)` or a tuple of such.
        *arrays: NumPy arrays of equal length n; `None` is handed on as it is.
        batch_size: int, rows at a time.

    Returns:
        NumPy array `(n, ...)`, or a tuple of such.
    """
    results = []
    for start in range(0, len(arrays[0]), batch_size):
        rows = slice(start, start + batch_size)
        parts = function(*(None if a is None else ops.convert_to_tensor(a[rows]) for a in arrays))
        results.append(
            tuple(map(ops.convert_to_numpy, parts)) if isinstance(parts, tuple) else ops.convert_to_numpy(parts)
        )
    if isinstance(results[0], tuple):
        return tuple(np.concatenate(column) for column in zip(*results, strict=True))
    return np.concatenate(results)


def _reducible(logs):
    """Logs as Keras can reduce them over several workers: it does so along the first axis, and fails on scalars."""
    return {name: ops.reshape(log, (1,)) for name, log in logs.items()} if strategy.several_workers() else logs


def _weighted(values, sample_weight):
    return values if sample_weight is None else values * ops.cast(sample_weight, values.dtype)
