"""The only module that uses names which Keras, TensorFlow or PyTorch do not promise to keep.

Each function says what it is for and what happens once Keras no longer has the name: the same result on a slower path,
or one line that says what to do instead. `NAMES` lists them; a test keeps them out of every other file.
"""

from __future__ import annotations

import contextlib
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras

NAMES = (
    "IsMklEnabled",
    "_flatten_layers",
    "_fused_adam_",
    "_get_variable_index",
    "_initial_epoch",
    "_maybe_symbolic_build",
    "_momentums",
    "_parallel_update_step",
    "_pywrap_util_port",
    "_schema",
    "_use_cached_eval_dataset",
    "_velocities",
    "add_update",
    "keras.src",
    "torch_seed_generator",
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


def tensorflow_uses_onednn() -> bool:
    """Whether TensorFlow runs the kernels of oneDNN.

    Without the names: yes, so that nobody is told otherwise.
    """
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return True
    is_enabled = _private(_pywrap_util_port, "IsMklEnabled")
    return is_enabled is _GONE or bool(is_enabled())


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


def update_together(optimizer: keras.optimizers.Optimizer, method: Callable[..., None]) -> None:
    """Make an optimizer, on PyTorch, update all its variables by a method of one's own.

    Without the names: Keras updates them.

    Args:
        optimizer: a Keras optimizer.
        method: function `(optimizer, gradients, variables, learning_rate)`, which may call `update_by_keras`.
    """
    import torch

    if _GONE not in (_private(optimizer, "_parallel_update_step"), _private(torch, "_fused_adam_")):
        optimizer._parallel_update_step = types.MethodType(method, optimizer)


def update_by_keras(optimizer: Any, gradients: Any, variables: Any, learning_rate: Any) -> None:
    """What an optimizer did before `update_together`."""
    type(optimizer)._parallel_update_step(optimizer, gradients, variables, learning_rate)


def torch_adam(weights: Any, gradients: Any, m: Any, v: Any, rate: Any, optimizer: keras.optimizers.Adam) -> None:
    """PyTorch's kernel of Adam, without its bias correction: θ ← θ − rate · m / (√v + ε), with the new m and v.

    Only a method that `update_together` has accepted calls it.

    Args:
        weights, gradients, m, v: lists of float32 tensors; all but the gradients are updated in place.
        rate: scalar tensor.
        optimizer: the one with β₁, β₂ and ε.
    """
    import torch

    late = torch.full((), torch.inf, device=rate.device)  # at t = ∞, 1 − βᵗ is 1
    torch._fused_adam_(
        weights,
        gradients,
        m,
        v,
        [],
        [late] * len(weights),
        lr=rate,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,
        eps=optimizer.epsilon,
        amsgrad=False,
        maximize=False,
    )


def written(function: Any, args: Any, kwargs: dict[str, Any]) -> list[Any] | None:
    """Which arguments an operation of PyTorch changes in place.

    Without the name: `None`, and the caller does not know.

    Args:
        function: an operation as a `TorchDispatchMode` sees it.
        args, kwargs: its arguments.
    """
    schema = _private(function, "_schema")
    if schema is _GONE:
        return None
    places = enumerate(schema.arguments)
    changed = [(i, each.name) for i, each in places if each.alias_info is not None and each.alias_info.is_write]
    return [args[i] if i < len(args) else kwargs.get(name) for i, name in changed]


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


@contextlib.contextmanager
def torch_generators(seeded: Callable[[Any, Any], None]) -> Iterator[None]:
    """A context in which Keras leaves it to a function to seed the PyTorch generators that this thread draws from.

    Without the names: Keras seeds them itself, with the value of a tensor that Python reads.

    Args:
        seeded: function of a new `torch.Generator` and the tensor to seed it with.
    """
    source = _private(keras, "src")
    module: Any = None if source is _GONE else source.backend.torch.random
    original, draw, device = (_private(module, name) for name in ("torch_seed_generator", "draw_seed", "get_device"))
    if _GONE in (original, draw, device):
        yield
        return
    import torch

    thread = threading.get_ident()

    def make(seed):
        if threading.get_ident() != thread or device() == "meta":
            return original(seed)
        generator = torch.Generator(device=device())
        first, second = draw(seed)
        seeded(generator, first + second)
        return generator

    module.torch_seed_generator = make
    try:
        yield
    finally:
        module.torch_seed_generator = original
