"""What every model shares: how it plugs into Keras's `fit`.

Keras passes only `x` to `call`. Labels and weights therefore travel with it: `train_step` packs `(x, y, sample_weight)`
into one `Batch`, which Keras then treats as `x`, and `call` returns a `BatchResult`, which Keras treats as `y_pred`.
In the methods below that Keras calls, they are named `batch` and `result`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.models import saving
from kvae.models.batches import Batch, BatchResult, weighted
from kvae.models.conditions import Conditions
from kvae.models.steps import Steps
from kvae.training import fit_on_arrays, gate, kept, keras_internals, onednn, optimizers, strategy
from kvae.training.adam import fuse_adam
from kvae.training.descriptions import check_same_data
from kvae.training.finite_steps import FiniteSteps, TermMean, guards_first
from kvae.training.normalisation import fuse_normalisation
from kvae.training.orders import Order, shuffled
from kvae.training.pipelines import Rows
from kvae.types import Array, ArrayLike, PathLike, Shape, Tensor


class BaseModel(Steps):
    """Base class of the models: subclasses implement `run_batch` and name the terms they log in `term_names`.

    Keras minimises the sum of the losses, which `call` registers with `add_loss`; the terms of each example update the
    trackers. Logged numbers are in nats per example: summed over pixels and latent dimensions, averaged over examples.
    As in Keras, a `sample_weight` multiplies its example's terms before that average.

    A subclass that logs more extends the names, `term_names = (*kvae.VAE.term_names, "accuracy")`, and returns the
    term in `BatchResult.terms`; its `val_` twin is added automatically.
    """

    term_names: tuple[str, ...] = ()
    optimizer_groups: dict[str, tuple[str, ...]] = {}  # from a name to the attributes that its optimizer trains
    conditions: Conditions | None = None  # what the model is given in addition to x

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._counts_finite_steps = False

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can do: keys of `kvae.models.capabilities.CAPABILITIES`."""
        if self.conditions is None:
            return frozenset()
        labels = len(self.conditions.parts) == 1 and self.conditions.parts[0].num_classes is not None
        return frozenset({"condition", "classes"} if labels else {"condition"})

    @property
    def logged_terms(self) -> tuple[str, ...]:
        """Names of all terms that are logged: the model's own and those of its parts."""
        return self.term_names

    @property
    def compute_dtype(self) -> str:
        """Always float32, for images, densities and sums; the networks follow their own dtype policies."""
        return "float32"

    # What a subclass implements.

    @property
    def image_shape(self) -> Shape:
        """Shape of one example."""
        raise NotImplementedError

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        """One pass over a batch, with `batch.x` in float32."""
        raise NotImplementedError

    def check_images(self, x: ArrayLike, name: str = "x") -> Array:
        """Return `x` as an array that the model can score, or raise a `ValueError` that says how to fix it."""
        return checks.array(x, self.image_shape, name)

    def check_training(self, x: Any) -> None:
        """Raise a `ValueError` if the model cannot be trained on `x`, an array that `check_images` has accepted."""

    def check_condition(self, y: Any, num_examples: int | None) -> Any:
        """Return `y` as arrays for `num_examples` examples, or raise a `ValueError`; ignored without a condition."""
        return None if self.conditions is None else self.conditions.check(y, num_examples)

    def epoch_order(self, n: int, y: Any, batch_size: int) -> Order:
        """Which of `n` rows of arrays, with conditions `y`, an epoch of `fit` takes, and in which order."""
        return shuffled(n)

    # How the model plugs into Keras.

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model as in Keras, with validated inputs; `call` says what they are."""
        if not isinstance(inputs, Batch):
            inputs = self._checked_inputs(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Reconstruct a batch and register its losses.

        Args:
            inputs: images `(batch, *image_shape)`; `(images, y)` for a model with a condition.
            training: bool.

        Returns:
            Pixel means `(batch, *image_shape)`.
        """
        is_batch = isinstance(inputs, Batch)
        batch = inputs if is_batch else Batch(inputs) if self.conditions is None else Batch(*inputs)
        result = self.run_batch(batch._replace(x=ops.cast(batch.x, "float32")), training)
        for loss in result.losses:
            self.add_loss(ops.mean(weighted(loss, batch.sample_weight)))
        return result if is_batch else result.reconstruction

    def compile(self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any) -> None:
        """Configure training as in Keras, without `loss`; `metrics` compare the images with their reconstructions.

        A model with `optimizer_groups` takes an optimizer for each, such as `discriminator_optimizer`; `optimizer` is
        that of all other networks.

        Raises:
            ValueError: if a loss is given: the model knows its own; or if an optimizer is missing or has no group.
        """
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__} computes its own loss: drop `loss` from `compile`. Received: loss={loss!r}"
            )
        kept.forget(self)
        self._make_trackers()
        optimizer = optimizers.for_model(self, optimizer, kwargs)
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        self.steps_given = kwargs.get("steps_per_execution") is not None
        if not strategy.is_distributed(self):
            fuse_adam(self.optimizer)
            if keras.backend.backend() == "tensorflow":
                fuse_normalisation(self)
                if fit_on_arrays.convolutions(self):
                    onednn.advise()
        if metrics is not None:  # built here, because Keras would build them by calling the model without labels
            images = np.zeros((1, *self.image_shape), "float32")
            super().compute_metrics(None, images, images)
            self.reset_metrics()

    def get_compile_config(self) -> dict[str, Any]:
        """Like Keras's, but with public names of optimizers: under PyTorch, Keras writes names that load only there."""
        return keras_internals.with_public_optimizers(super().get_compile_config())

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was; Keras leaves this to a class with a `compile` of its own."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{name: value for name, value in config.items() if value is not None})
        optimizers.build(self)  # so that its saved state finds its variables

    def train_step(self, *args: Any) -> Any:
        """Minimise `sum(self.losses)` and update the trackers; on JAX, the state comes before the data."""
        return self._step(super().train_step, *args)

    def test_step(self, *args: Any) -> Any:
        """Like `train_step` without the update."""
        return self._step(super().test_step, *args)

    def _step(self, step, *args):
        *state, data = args
        if isinstance(data, (tuple, list)) and isinstance(data[0], Rows):  # PyTorch's loader makes lists of tuples
            if state:
                return fit_on_arrays.scan(lambda state, data: step(state, self._pack(data)), state[0], data[0])
            data = fit_on_arrays.gathered(*data[0])
        return strategy.reducible(step(*state, self._pack(data)))

    def predict_step(self, *args: Any) -> Any:
        """Reconstruct a batch."""
        *state, data = args
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return super().predict_step(*state, (x if self.conditions is None or y is None else (x, y),))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The sum of the registered losses, such that its gradient is that of the whole batch on several replicas."""
        batch, result = x, y_pred
        loss = super().compute_loss(batch, y, result, sample_weight, training)
        share = strategy.share(ops.shape(batch.x)[0])
        if share is None:
            return loss
        # Keras weights the value by the number of examples when it is logged, but not its gradient.
        loss = ops.where(share > 0, loss, 0.0)  # NaN if a short last batch has no example for this replica
        return share * loss + ops.stop_gradient((1 - share) * loss)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the trackers with the terms of each example and return all logs."""
        batch, result = x, y_pred
        names = [tracker.name for tracker in self.term_trackers]
        if set(result.terms) != set(names):
            raise ValueError(
                f"`run_batch` must return the terms {sorted(names)}: name each in `term_names`, as in "
                f"term_names = (*kvae.VAE.term_names, 'accuracy'). Received: {sorted(result.terms)}"
            )
        for tracker in self.term_trackers:  # vectors, so that a short last batch counts by its size
            term = result.terms[tracker.name]
            values, counted = term if isinstance(term, tuple) else (term, None)
            tracker.update_state(weighted(values, batch.sample_weight), counted)
        if self._counts_finite_steps:
            self.finite_steps.update_state(self.term_trackers)
        return super().compute_metrics(batch, batch.x, result.reconstruction, batch.sample_weight)

    def _make_trackers(self):
        """Create the trackers of the logged terms, once, when a subclass and its parts have named their terms."""
        if not hasattr(self, "term_trackers"):
            self.term_trackers = [TermMean(name=name, dtype="float32") for name in self.logged_terms]
            self.finite_steps = FiniteSteps(len(self.term_trackers), name="finite_steps")

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Like `keras.Model.fit`, with validated inputs and a faster input pipeline for arrays.

        Args:
            x: images `(n, *image_shape)`, a `tf.data.Dataset` or a `keras.utils.PyDataset`. Arrays are shuffled by the
                model's `seed`, and many steps run at once unless a callback hears of each batch or `compile` got
                `steps_per_execution`.
            y: labels, for a model that takes them.
            *args, **kwargs: as in `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: if images, labels or weights do not fit the model, or differ between several workers.
        """
        arguments = fit_on_arrays.by_name(keras.Model.fit, self, x, y, *args, **kwargs)
        arguments["callbacks"] = guards_first(arguments.get("callbacks"))
        check_same_data(self, arguments)
        batches = getattr(arguments.get("x"), "batches_per_epoch", None)
        x, y = self._admit(arguments)
        self.check_training(x)
        validation = arguments.get("validation_data")
        if isinstance(validation, (tuple, list)):
            given = keras.utils.unpack_x_y_sample_weight(tuple(validation))
            arguments["validation_data"] = fit_on_arrays.with_targets(*gate.admit(self, *given, prefix="validation "))
        elif validation is not None:
            arguments["validation_data"] = gate.admit(self, validation, prefix="validation ")[0]
        if isinstance(x, np.ndarray) and fit_on_arrays.covers(self, arguments):
            arguments = fit_on_arrays.feed(self, x, y, arguments)
        else:
            if not isinstance(x, (np.ndarray, keras.utils.PyDataset)):
                arguments.setdefault("shuffle", False)  # it shuffles itself; Keras only warns of its default
            arguments |= {"x": x, "y": y}
            if fit_on_arrays.covers(self, arguments):
                arguments = fit_on_arrays.feed_validation(self, arguments)
        # Without a number of steps, Keras makes two iterators for each epoch, 20 ms each, and uses one.
        arguments.setdefault("steps_per_epoch", getattr(arguments["x"], "batches_per_epoch", batches))
        optimizers.build(self)
        with gate.plain_errors(), keras_internals.variables_kept(self):
            return super().fit(**arguments)

    def count_finite_steps(self) -> None:
        """Make `finite_steps` count from now on, at the cost of a few small operations a step."""
        if not self._counts_finite_steps:
            self._counts_finite_steps = True
            self.compile_steps_anew()

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Like `keras.Model.evaluate`, with inputs validated as in `fit`."""
        arguments = fit_on_arrays.by_name(keras.Model.evaluate, self, x, y, *args, **kwargs)
        if keras_internals.is_validation_in_fit(kwargs):  # `fit` has checked already
            x, y = (arguments.pop(name, None) for name in ("x", "y"))
        else:
            x, y = self._admit(arguments)
            x, y = fit_on_arrays.in_order(self, x, y, arguments)
        with gate.plain_errors(), keras_internals.variables_kept(self):
            return super().evaluate(x, y, **arguments)

    def save(self, filepath: PathLike, *args: Any, **kwargs: Any) -> None:
        """Like `keras.Model.save`, except that the file must end in ".keras": models are not loaded from HDF5 files.

        Raises:
            ValueError: if it ends otherwise, or if two of the model's networks share a layer.
        """
        saving.check(self, filepath)
        super().save(filepath, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Like `keras.Model.predict`, with validated arrays: reconstructions of `x`, or `(x, y)` with a condition."""
        arguments = fit_on_arrays.by_name(keras.Model.predict, self, x, *args, **kwargs)
        x = arguments.pop("x")
        pair = self.conditions is not None and isinstance(x, (tuple, list)) and len(x) == 2
        x, y, _ = gate.admit(self, *x) if pair else gate.admit(self, x)
        x, y = fit_on_arrays.in_order(self, x, y, arguments)
        with gate.plain_errors(), keras_internals.variables_kept(self):
            return super().predict(x if y is None else (x, y), **arguments)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Like `keras.Model.train_on_batch`, with validated inputs."""
        arguments = fit_on_arrays.by_name(keras.Model.train_on_batch, self, x, y, *args, **kwargs)
        optimizers.build(self)
        return super().train_on_batch(*self._admit(arguments), **arguments)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Like `keras.Model.test_on_batch`, with validated inputs."""
        arguments = fit_on_arrays.by_name(keras.Model.test_on_batch, self, x, y, *args, **kwargs)
        return super().test_on_batch(*self._admit(arguments), **arguments)

    def _checked_inputs(self, inputs):
        if self.conditions is not None and (not isinstance(inputs, (tuple, list)) or len(inputs) != 2):
            raise ValueError(f"{type(self).__name__} must be called on (images, labels). Received: images alone")
        x, y = gate.inputs(self, *((inputs, None) if self.conditions is None else inputs))
        return x if self.conditions is None else (x, y)

    def _pack(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return (Batch(*gate.shaped(self, x, None if self.conditions is None else y, sample_weight)),)

    def _admit(self, arguments):
        """Take `x`, `y` and weights out of the arguments of `fit`: `(x, y)`, checked; the weights go back, checked."""
        given = [arguments.pop(name, None) for name in ("x", "y", "sample_weight")]
        if arguments.get("class_weight") is not None:
            gate.check_class_weight(*given[:2])
        x, y, sample_weight = fit_on_arrays.with_targets(*gate.admit(self, *given))
        if sample_weight is not None:
            arguments["sample_weight"] = sample_weight
        return x, y
