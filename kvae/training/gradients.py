"""Gradients outside a model's `fit`, on every backend: of a function of tensors, and gradient ascent to a maximum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.types import Array, ArrayLike, Tensor


def gradient(
    function: Callable[..., Tensor], *arrays: ArrayLike | Tensor, differentiable: bool = False
) -> tuple[Tensor, ...]:
    """Value and gradient of a scalar function, by the automatic differentiation of the backend in use.

    It also works inside a compiled function. An argument that does not affect the value has gradient 0. The result can
    be differentiated again with respect to the same arguments, and with `differentiable` to anything else.

    Args:
        function: from tensors, one per array, to a scalar tensor.
        *arrays: the point to differentiate at: floating-point arrays or tensors of any shape.
        differentiable: whether a loss of the result trains the weights of models inside `function`. Only PyTorch needs
            to know, which keeps the graph of the computation for it.

    Returns:
        `(value, *gradients)`: a scalar tensor, and for each argument the partial derivatives, a tensor of its shape.

    Raises:
        ValueError: if the result is not a scalar, or an argument is missing or not floating-point.

    Example:

    >>> from kvae.training.gradients import gradient
    >>> value, slope = gradient(lambda z: ops.sum(z**2), np.array([1.0, 3.0], "float32"))
    >>> float(value), [float(each) for each in slope]
    (10.0, [2.0, 6.0])
    """
    tensors = tuple(ops.convert_to_tensor(array) for array in arrays)
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors]
    if not tensors or not all("float" in dtype for dtype in dtypes):
        raise ValueError(f"`arrays` must be one or more floating-point arrays. Received dtypes: {dtypes}")

    def scalar(*tensors: Tensor) -> Tensor:
        value = ops.convert_to_tensor(function(*tensors))
        if len(value.shape):
            shape = tuple(value.shape)
            raise ValueError(f"`function` must return a scalar, such as ops.sum(...). Received: shape {shape}")
        return value

    return _BACKENDS[keras.backend.backend()](scalar, tensors, differentiable)


def _with_tensorflow(function, tensors, differentiable):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return value, *tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _with_jax(function, tensors, differentiable):
    import jax

    value, gradients = jax.value_and_grad(function, argnums=tuple(range(len(tensors))))(*tensors)
    return value, *gradients


def _with_torch(function, tensors, differentiable):
    import torch

    nested = torch.is_grad_enabled() and (differentiable or any(tensor.requires_grad for tensor in tensors))
    with torch.enable_grad():
        tensors = [tensor if tensor.requires_grad else tensor.detach().requires_grad_() for tensor in tensors]
        value = function(*tensors)
        if not value.requires_grad:  # it depends on no argument
            return value, *(torch.zeros_like(tensor) for tensor in tensors)
        gradients = torch.autograd.grad(value, tensors, create_graph=nested, allow_unused=True, materialize_grads=True)
    # Otherwise the graphs of a loop's steps, each begun where the last one ended, would add up.
    return (value, *gradients) if nested else (value.detach(), *gradients)


_BACKENDS = {"tensorflow": _with_tensorflow, "jax": _with_jax, "torch": _with_torch}


def maximise(
    objective: Callable[[Tensor], Tensor],
    start: ArrayLike | Tensor,
    steps: int,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    beta_2: float = 0.999,
    noise: keras.random.SeedGenerator | None = None,
) -> Array:
    """Maximise an objective of one value per example with Adam, compiled.

    The examples are independent: the sum over them is maximised, and Adam scales each coordinate separately.

    Args:
        objective: function of a tensor of the shape of `start`, to a tensor `(n,)`. Models that it uses are constant.
        start: array `(n, ...)`.
        steps: number of Adam steps.
        learning_rate: of Adam, or a schedule.
        beta_2: decay rate of Adam's mean of squared gradients.
        noise: the `keras.random.SeedGenerator` that a stochastic objective draws from, anew in each step.

    Returns:
        NumPy array of the shape of `start`.

    Example:

    >>> from kvae.training.gradients import maximise
    >>> start = np.zeros((5, 2), "float32")
    >>> z = maximise(lambda z: -ops.sum((z - 1.0) ** 2, axis=-1), start, steps=300, learning_rate=0.1)
    >>> bool(np.allclose(z, 1.0, atol=0.01))
    True
    """
    climber = _Climber(objective, start, noise)
    # TensorFlow loops over the steps of an execution inside the graph. JAX would unroll the loop; PyTorch has no graph.
    at_once = min(steps, 100) if keras.backend.backend() == "tensorflow" else 1
    climber.compile(optimizer=keras.optimizers.Adam(learning_rate, beta_2=beta_2), steps_per_execution=at_once)
    climber.fit(np.zeros((steps, 1), "float32"), batch_size=1, shuffle=False, verbose=0)
    return ops.convert_to_numpy(climber.point)


class _Climber(keras.Model):
    """The point as the weight of a model: Keras's `fit` is a compiled loop, with its optimizers, on every backend.

    Models inside the function `objective` are not tracked, so their weights are constant.
    """

    def __init__(
        self, objective: Callable[[Tensor], Tensor], start: Any, noise: keras.random.SeedGenerator | None
    ) -> None:
        super().__init__(name="climber", dtype="float32")  # whatever the policy of the networks
        self.objective = objective
        self.noise = noise  # tracked, so that it advances at each step on JAX too
        self.point = self.add_weight(shape=start.shape, initializer="zeros", name="point")
        self.point.assign(start)

    def call(self, inputs):
        self.add_loss(-ops.sum(self.objective(ops.convert_to_tensor(self.point))))
        return inputs
