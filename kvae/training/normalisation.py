"""Batch normalisation on TensorFlow in one kernel, where Keras composes it of many operations."""

from __future__ import annotations

import types
from typing import Any

import keras
from keras import ops

from kvae.training import keras_internals
from kvae.types import Tensor


def fuse_normalisation(model: keras.Model) -> None:
    """Make Keras's batch normalisation layers train with fewer operations, on TensorFlow and a CPU.

    Outputs, gradients and moving averages are Keras's up to rounding, and so is what a file says of the layers (Ioffe &
    Szegedy 2015, https://arxiv.org/abs/1502.03167).

    Args:
        model: a model with networks inside. Layers of other classes, and those with `renorm` or `synchronized`, are
            left as they are.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    for layer in keras_internals.layers_of(model):
        if type(layer) is keras.layers.BatchNormalization and not (layer.renorm or layer.synchronized):
            layer.call = types.MethodType(_call, layer)


def _call(layer: Any, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
    """Like Keras's `call`."""
    last = layer.axis in (-1, len(inputs.shape) - 1)
    dtype = keras.backend.result_type(inputs.dtype, "float32")
    if not (training and layer.trainable and last and mask is None and dtype == "float32"):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    x = ops.cast(inputs, dtype)
    channels = x.shape[-1]
    gamma = ops.cast(layer.gamma, dtype) if layer.scale else ops.ones(channels, dtype)
    beta = ops.cast(layer.beta, dtype) if layer.center else ops.zeros(channels, dtype)
    rows = tf.reshape(x, (1, 1, -1, channels))  # the kernel takes images; all but the channels are averaged over
    outputs, mean, variance, *_ = tf.compat.v1.nn.fused_batch_norm(rows, gamma, beta, epsilon=layer.epsilon)
    n = tf.cast(tf.shape(rows)[2], dtype)
    variance *= (n - 1.0) / n  # the kernel's is the unbiased one
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        value = ops.stop_gradient(value)
        average.assign(ops.cast(average, dtype) * layer.momentum + value * (1.0 - layer.momentum))
    return ops.cast(tf.reshape(outputs, tf.shape(x)), layer.compute_dtype)
