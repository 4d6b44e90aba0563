"""Adam's update as a single kernel, of TensorFlow or of PyTorch, where Keras runs fifteen, or ten."""

from __future__ import annotations

import math
import types
from typing import Any

import keras

from kvae.training import keras_internals
from kvae.training.optimizers import GroupedOptimizer


def fuse_adam(optimizer: keras.optimizers.Optimizer | None) -> None:
    """Make a Keras Adam or AdamW update its variables with the backend's fused kernel, in place; JAX fuses by itself.

    The equations stay the same (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, in the order given at the end of
    section 2): α_t = α √(1 − β₂ᵗ) / (1 − β₁ᵗ), θ ← θ − α_t m / (√v + ε). Everything else an optimizer does (clipping,
    weight decay, averages, accumulation) is still done by Keras, and so are updates with sparse gradients.

    Args:
        optimizer: the optimizer of a compiled model; the inner one of a `LossScaleOptimizer` and each member of a
            `GroupedOptimizer` are fused. Optimizers with other equations, and `None`, are left as they are.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        fuse_adam(optimizer.inner_optimizer)
    elif isinstance(optimizer, GroupedOptimizer):
        for member in optimizer.members():
            fuse_adam(member)
    elif (
        optimizer is not None
        and getattr(type(optimizer), "update_step", None) is keras.optimizers.Adam.update_step
        and not optimizer.amsgrad
    ):
        if keras.backend.backend() == "tensorflow":
            optimizer.update_step = types.MethodType(_update_step, optimizer)
        elif keras.backend.backend() == "torch":
            keras_internals.update_together(optimizer, _update_with_torch)


def _update_step(optimizer: Any, gradient: Any, variable: Any, learning_rate: Any) -> Any:
    """Like Keras's `update_step(gradient, variable, learning_rate)`, for TensorFlow variables."""
    import tensorflow as tf

    moments = keras_internals.adam_moments(optimizer, variable)
    if moments is None or isinstance(gradient, tf.IndexedSlices):
        return keras.optimizers.Adam.update_step(optimizer, gradient, variable, learning_rate)
    (m, v), dtype = moments, variable.dtype
    beta_1, beta_2, epsilon = (
        tf.cast(number, dtype) for number in (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon)
    )
    step = tf.cast(optimizer.iterations + 1, dtype)
    return tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=m.value.handle,
        v=v.value.handle,
        beta1_power=beta_1**step,
        beta2_power=beta_2**step,
        lr=tf.cast(learning_rate, dtype),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=tf.cast(gradient, dtype),
    )


def _update_with_torch(optimizer: Any, gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
    """Update all variables together."""
    import torch

    moments = [keras_internals.adam_moments(optimizer, variable) for variable in variables]
    weights = [variable.value for variable in variables]
    if None in moments or {each.dtype for each in (*weights, *gradients)} != {torch.float32}:
        keras_internals.update_by_keras(optimizer, gradients, variables, learning_rate)
        return
    m, v = ([pair[i].value for pair in moments if pair is not None] for i in (0, 1))
    step = keras.ops.convert_to_tensor(optimizer.iterations) + 1

    def correction(beta):  # 1 − βᵗ
        return -torch.expm1(step * (math.log(beta) if beta else -math.inf))

    rate = learning_rate * torch.sqrt(correction(optimizer.beta_2)) / correction(optimizer.beta_1)
    keras_internals.torch_adam(weights, gradients, m, v, rate, optimizer)
