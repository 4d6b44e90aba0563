"""Functions of a model and of tensors, compiled once and kept with the model: its methods on arrays run through them.

On TensorFlow a function is traced once, for any number of rows. On JAX shapes are fixed: where nothing is drawn, short
batches are filled up to one of a few sizes, and the variables that the function reads become arguments of the compiled
one. On PyTorch, and with `run_eagerly`, nothing is compiled, and no gradient is prepared.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.training import strategy
from kvae.types import Array, Tensor

MOST = 64  # functions kept with a model, and compiled forms of each
LEAST_ROWS = 32  # on JAX, of a batch that is filled up: fewer take about as long
_compiling = threading.RLock()


class _Functions:
    """The kept functions of a model, in an object of no kind that Keras tracks, saves or copies."""

    def __init__(self) -> None:
        self.by_key: dict[Any, Kept] = {}


def kept(model: Any, function: Callable[..., Any], *settings: Any, fuse: bool = False) -> Kept:
    """A function of a model and of tensors, compiled when it is first called and kept with the model.

    It sees the weights as they are at each call. All else that it reads of the model is compiled into it, as into the
    steps of `fit`: `compile`, or another network, family or bound in place of the model's, drops what is kept.

    Args:
        model: a Keras model.
        function: `function(model, *settings, noise, *tensors)` that returns a tensor or a tuple of them. It belongs to
            a module or class: one made anew for each call would be compiled for each.
        *settings: hashable values that are compiled into the function.
        fuse: whether to compile with XLA on TensorFlow too. It fuses elementwise operations into one loop, but its
            random numbers are slow there: draw them in another function.

    Example:

    >>> from kvae.training.kept import kept
    >>> def shifted(model, shift, noise, x):
    ...     return x + shift
    >>> float(kept(model, shifted, 2.0)(np.ones(1, "float32"))[0])
    3.0
    """
    key = (function, settings, fuse)
    with _compiling:
        functions = vars(model).setdefault("_kept_functions", _Functions()).by_key
        if key not in functions:
            _remember(functions, key, Kept(model, functools.partial(function, model, *settings), fuse))
        return functions[key]


def forget(model: Any) -> None:
    """Drop the kept functions of a model."""
    vars(model).pop("_kept_functions", None)


def as_array(tensor: Tensor) -> Array:
    """A tensor as a NumPy array, in the tensor's memory where the backend allows it; Keras would copy it."""
    return ops.convert_to_numpy(tensor) if keras.backend.backend() == "torch" else np.asarray(tensor)


class Kept:
    """A function that `kept` returns."""

    def __init__(self, model: Any, function: Callable[..., Any], fuse: bool) -> None:
        self.model, self.function, self.fuse = model, function, fuse
        self.forms: dict[Any, Any] = {}

    def __call__(self, *arrays: Any, noise: keras.random.SeedGenerator | None = None, most: int | None = None) -> Any:
        """Apply the function.

        Args:
            *arrays: arrays or tensors, tuples of them, or `None`.
            noise: what the function draws from, if it does. Its state advances before the function runs, so that
                another thread that draws from it gets other numbers.
            most: rows of a full batch, if the first axes of all arrays and results are rows. Where shapes are fixed
                and nothing is drawn, the last row is then repeated, and the result has rows for these too.

        Returns:
            What the function returns: tensors.
        """
        backend = keras.backend.backend()
        if backend == "torch" or self.model.run_eagerly or _tensorflow_is_eager():
            with _without_gradients():
                return self.function(noise, *_each(ops.convert_to_tensor, arrays))
        leaves: list[Any] = []
        _each(leaves.append, arrays)
        numbers = itertools.count()
        places = _each(lambda _: next(numbers), arrays)
        if backend == "jax" and most is not None and noise is None:  # JAX's draws depend on the shape of all
            leaves = [_filled(leaf, most) for leaf in leaves]
        any_rows = backend == "tensorflow" and not self.fuse
        specs = tuple((*leaf.shape[any_rows:], keras.backend.standardize_dtype(leaf.dtype)) for leaf in leaves)
        key = (places, specs, noise is None)
        with _compiling:
            if key not in self.forms:
                form = (_Graph if backend == "tensorflow" else _Jitted)(self, places, leaves, noise)
                _remember(self.forms, key, form)
            form = self.forms[key]
        return form(*([] if noise is None else [strategy.take(noise, form.draws)]), *leaves)

    def on_leaves(self, places: Any, leaves: Any, draws: bool) -> tuple[Any, int]:
        """The function of flat tensors, after a seed's state if it draws, and how many times it has drawn."""
        state, tensors = (leaves[0], leaves[1:]) if draws else (None, leaves)
        noise = _Stream(state) if draws else None
        result = self.function(noise, *_each(tensors.__getitem__, places))
        return result, noise.draws if noise else 0


class _Stream(keras.random.SeedGenerator):
    """The numbers that follow a state, which may be a symbolic tensor: the same as those of Keras's generator."""

    def __init__(self, state: Tensor) -> None:  # without a variable
        self.start, self.draws = state, 0

    def next(self, ordered: bool = True) -> Tensor:
        dtype = keras.backend.standardize_dtype(self.start.dtype)
        seed = ops.add(self.start, ops.convert_to_tensor(np.array([0, self.draws]), dtype))
        self.draws += 1
        return seed


class _Graph:
    """A graph of TensorFlow. Variables are captured, so that it reads and assigns them where they are."""

    def __init__(self, kept: Kept, places: Any, leaves: list[Any], noise: Any) -> None:
        import tensorflow as tf

        def flat(*leaves):
            result, self.draws = kept.on_leaves(places, leaves, noise is not None)
            return result

        specs = [tf.TensorSpec(leaf.shape if kept.fuse else (None, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        if noise is not None:
            specs.insert(0, tf.TensorSpec([2], noise.state.dtype))
        function = tf.function(flat, specs, autograph=False, jit_compile=kept.fuse or None)
        self.run = function.get_concrete_function()  # does not look for a graph that fits at each call: 0.4 ms

    def __call__(self, *leaves: Any) -> Any:
        return self.run(*map(ops.convert_to_tensor, leaves))


class _Jitted:
    """A compiled function of JAX. What it reads of variables, and assigns to them, passes through it."""

    def __init__(self, kept: Kept, places: Any, leaves: list[Any], noise: Any) -> None:
        import jax

        def look(*leaves):
            with _Reading() as scope:
                result, self.draws = kept.on_leaves(places, leaves, noise is not None)
            self.variables = list(scope.read.values())
            self.assigned = [v for v in self.variables if id(v) in scope.state_mapping]
            return result

        def run(values, *leaves):
            with keras.StatelessScope(list(zip(self.variables, values, strict=True))) as scope:
                result, _ = kept.on_leaves(places, leaves, noise is not None)
            return result, [scope.get_current_value(v) for v in self.assigned]

        jax.eval_shape(look, *([] if noise is None else [noise.state.value]), *leaves)
        self.run = jax.jit(run)

    def __call__(self, *leaves: Any) -> Any:
        result, values = self.run([variable.value for variable in self.variables], *leaves)
        for variable, value in zip(self.assigned, values, strict=True):
            variable.assign(value)
        return result


class _Reading(keras.StatelessScope):
    """A scope that lists the variables that are read in it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: keras.Variable) -> Any:
        self.read.setdefault(id(variable), variable)
        return super().get_current_value(variable)


def _remember(entries, key, entry):
    """Add an entry to a dict of at most `MOST`, whose oldest one makes room."""
    if len(entries) >= MOST:
        entries.pop(next(iter(entries)))
    entries[key] = entry


def _each(function, arrays):
    """Nested tuples with the results of `function` in place of their arrays; `None` stays."""
    if isinstance(arrays, tuple):
        return tuple(_each(function, array) for array in arrays)
    return None if arrays is None else function(arrays)


def _filled(array, most):
    """An array with its last row repeated, to one of a few numbers of rows: powers of two, and `most`."""
    size = min(most, max(LEAST_ROWS, 1 << (len(array) - 1).bit_length()))
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def _tensorflow_is_eager():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.config.functions_run_eagerly()


def _without_gradients() -> AbstractContextManager[Any]:
    """PyTorch prepares a gradient in every operation, TensorFlow and JAX only where one is asked for."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
