"""The only module that uses names which Keras does not promise to keep.

Each function says what it is for and what happens once Keras no longer has the name: the same result on a slower path,
or one line that says what to do instead. `NAMES` lists them; a test keeps them out of every other file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

NAMES = (
    "_flatten_layers",
    "_get_variable_index",
    "_initial_epoch",
    "_maybe_symbolic_build",
    "_momentums",
    "_use_cached_eval_dataset",
    "_velocities",
    "add_update",
    "keras.src",
    "uninitialized_variables",
)

# Where Keras's classes and functions live in a saved configuration, which names them by their private modules.
OPERATION_MODULES = ("keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.math")
NETWORK_MODULES = ("keras.src.models.functional", "keras.src.models.sequential")
BACKEND_MODULES = "keras.src.backend."  # followed by `torch.optimizers.torch_adam`, for example


_GONE = object()


def _private(owner: Any, name: str) -> Any:
    """The attribute `name` of `owner`, or `_GONE` if Keras no longer has it."""
    return getattr(owner, name, _GONE)


def adam_moments(optimizer: keras.optimizers.Optimizer, variable: Any) -> tuple[Any, Any] | None:
    """The moving averages m and v that an Adam keeps for a variable: what a fused kernel updates in place.

    Without the names: `None`, and the caller leaves the update to Keras.

    Args:
        optimizer: a built `keras.optimizers.Adam` or `AdamW`.
        variable: one of those that it was built with.

    Returns:
        `(m, v)`, Keras variables of the shape of `variable`.
    """
    index_of, m, v = (_private(optimizer, name) for name in ("_get_variable_index", "_momentums", "_velocities"))
    if _GONE in (index_of, m, v):
        return None
    index = index_of(variable)
    return m[index], v[index]


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """A model and all layers inside it, however deep.

    Without the name: found through the public `layers`, which leaves out those held by a layer that is not a model. On
    JAX, a convolution hidden there then runs inside a scan, where it is slow.
    """
    flatten = _private(model, "_flatten_layers")
    if flatten is not _GONE:
        return list(flatten())
    inner = (layers_of(layer) for layer in getattr(model, "layers", ()))
    return [model, *(layer for layers in inner for layer in layers)]


def begin_at_epoch(model: keras.Model, epoch: int | None) -> bool:
    """Make a running `fit` start at an epoch, when called in a callback's `on_train_begin`; `None` undoes it.

    Without the name: `False`, and the caller asks for `fit(initial_epoch=...)`.

    Args:
        model: the model that `fit` was called on.
        epoch: int, counted from 0.

    Returns:
        Whether `fit` will do so.
    """
    if _private(model, "_initial_epoch") is _GONE:
        return False
    model._initial_epoch = epoch
    return True


def is_validation_in_fit(arguments: dict[str, Any]) -> bool:
    """Whether `evaluate` was called by `fit`, which has checked the validation data already.

    Without the name: `False`, and the data are checked again after each epoch.

    Args:
        arguments: the keyword arguments of `evaluate`.
    """
    return bool(arguments.get("_use_cached_eval_dataset", False))


def build_without_data(model: keras.Model) -> None:
    """Keep Keras from building a model, which is built, from its first batch.

    On several workers Keras averages that batch over them, and fails if it has several parts, such as images and
    labels. Without the name: nothing is changed.

    Args:
        model: the model, with its optimizer built.
    """
    if _private(model, "_maybe_symbolic_build") is not _GONE:
        model._maybe_symbolic_build = lambda *_, **__: None


@contextlib.contextmanager
def variables_kept(model: keras.Model) -> Iterator[None]:
    """Give a model its variables back if a `fit`, `evaluate` or `predict` fails.

    On JAX, Keras takes the values out of the variables and passes them from step to step; where the first step fails,
    or any step of `evaluate`, it does not put them back, and the model is lost. `jax_state_sync` puts back the state
    of the last step. Without the name: the values before the call.

    Args:
        model: the model that runs.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    variables = [*model.variables, *(model.optimizer.variables if getattr(model, "optimizer", None) else [])]
    before = [(variable, variable.value) for variable in variables]
    try:
        yield
    except BaseException:
        getattr(model, "jax_state_sync", lambda: None)()
        for variable, value in before:
            try:
                variable.value  # noqa: B018
            except TypeError:  # it was taken out
                variable.assign(value)
        raise


def with_public_optimizers(config: Any) -> Any:
    """A saved configuration in which optimizers go by their public module: under PyTorch, Keras writes a private one.

    Without the name: the configuration as it is; a model saved under PyTorch then loads only there.

    Args:
        config: nested dicts and lists, as `keras.saving.serialize_keras_object` returns them.
    """
    if isinstance(config, dict):
        config = {key: with_public_optimizers(value) for key, value in config.items()}
        if str(config.get("module")).startswith(BACKEND_MODULES):
            config["module"] = "keras.optimizers"
        return config
    return [with_public_optimizers(each) for each in config] if isinstance(config, list) else config


def deferred_variables() -> list[keras.Variable] | None:
    """The variables that this thread has created inside a `keras.StatelessScope`: they have a shape, and no value yet.

    Without the names: `None`, and the caller knows only those that the created objects still hold.
    """
    source = _private(keras, "src")
    if source is _GONE:
        return None
    return source.backend.common.global_state.get_global_attribute("uninitialized_variables")


class TransparentScope(keras.StatelessScope):
    """A `keras.StatelessScope` that changes nothing: variables are read and assigned as outside of it.

    A subclass overrides `seen` to change what is read. Keras's own scope hides the one around it, such as that of a
    step on JAX, and forgets the assignments of random streams and of batch normalization.

    Keras reports an assignment to a scope through `add_update`. If that had another name, assignments inside would be
    lost with the scope, as in Keras's own.
    """

    def seen(self, variable: keras.Variable, value: Any) -> Any:
        """The value of `variable` for readers inside this scope; `value` is the one outside."""
        return value

    def get_current_value(self, variable: keras.Variable) -> Any:
        self.__exit__()
        try:
            value = variable.value
        finally:
            self.__enter__()
        return self.seen(variable, value)

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        variable, value = update
        self.__exit__()
        try:
            variable.assign(value)
        finally:
            self.__enter__()
