"""Batch normalisation on TensorFlow with the gradient in closed form, where Keras differentiates each operation."""

from __future__ import annotations

import functools
import types
from typing import Any

import keras
from keras import ops

from kvae.training import keras_internals
from kvae.types import Tensor


def fuse_normalisation(model: keras.Model) -> None:
    """Make Keras's batch normalisation layers train with fewer operations, on TensorFlow and a CPU.

    Outputs, gradients and moving averages are Keras's up to rounding, and so is what a file says of the layers. The
    equations are those of Ioffe & Szegedy 2015 (https://arxiv.org/abs/1502.03167), section 3, with the gradient
    through mean and variance summed up: with x̂ = (x − μ)/√(σ² + ε) and means over all but the channels,
    ∂L/∂x = γ/√(σ² + ε) · (∂L/∂y − mean(∂L/∂y) − x̂ · mean(∂L/∂y · x̂)). Sums over examples and pixels are products with
    a vector of ones, which take half the time of TensorFlow's sums.

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
    if not (training and layer.trainable and last and mask is None):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    dtype = keras.backend.result_type(inputs.dtype, "float32")
    x = ops.cast(inputs, dtype)
    gamma = ops.cast(layer.gamma, dtype) if layer.scale else ops.ones(x.shape[-1:], dtype)
    beta = ops.cast(layer.beta, dtype) if layer.center else ops.zeros(x.shape[-1:], dtype)
    outputs, mean, variance = _normalised(layer.epsilon)(x, gamma, beta)
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        value = ops.stop_gradient(value)
        average.assign(ops.cast(average, dtype) * layer.momentum + value * (1.0 - layer.momentum))
    return ops.cast(outputs, layer.compute_dtype)


@functools.cache
def _normalised(epsilon):
    """A function of x `(..., channels)`, γ and β `(channels,)` to y, and to mean and variance of the batch."""
    import tensorflow as tf

    @tf.custom_gradient
    def function(x, gamma, beta):
        rows = tf.reshape(x, (-1, x.shape[-1]))
        ones = tf.ones((1, tf.shape(rows)[0]), x.dtype)
        n = tf.cast(tf.shape(rows)[0], x.dtype)

        def mean_of(values):
            return tf.matmul(ones, values)[0] / n

        mean = mean_of(rows)
        variance = mean_of(tf.math.squared_difference(rows, mean))
        inverse = tf.math.rsqrt(variance + epsilon)
        scale = gamma * inverse

        def gradient(of_y, *_):
            of_rows, centred = tf.reshape(of_y, tf.shape(rows)), rows - mean
            of_beta, of_gamma = mean_of(of_rows), mean_of(of_rows * centred) * inverse
            of_x = (of_rows - of_beta) * scale - centred * (scale * inverse * of_gamma)
            return tf.reshape(of_x, tf.shape(x)), n * of_gamma, n * of_beta

        return (tf.reshape(rows * scale + (beta - mean * scale), tf.shape(x)), mean, variance), gradient

    return function
