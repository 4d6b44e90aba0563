"""Functions with gradients of their own on TensorFlow, among them a sum over many samples as one kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from kvae.types import Tensor

Terms = Callable[[Tensor, Tensor], Tensor]
MANY = 1000  # examples of which `sum_of_terms` takes a single sample
LARGE = 2000  # terms of an example, over its samples, that it takes of a batch of any size


def with_gradient(function: Callable[..., Any], event_ndim: int = 0) -> Callable[..., Tensor]:
    """`tf.custom_gradient(function)`, without its leak.

    TensorFlow keeps the gradient that it registers wherever such a function is traced, and with it the graph of the
    model around it: 3 MB for each model that is trained or evaluated. In a graph of its own it is traced once.

    Args:
        function: from tensors to a tensor and the function that computes the gradient, as `tf.custom_gradient` takes.
        event_ndim: how many of the last axes of the last argument the result does not have.

    Returns:
        Function of the same tensors, of shapes `(..., *event)` for the last one, that gives a tensor `(...)`.
    """
    import tensorflow as tf

    traced = tf.function(tf.custom_gradient(function), autograph=False, reduce_retracing=True)

    def differentiable(*tensors):
        last = tensors[-1].shape
        return tf.ensure_shape(traced(*tensors), last[: len(last) - event_ndim])

    return differentiable


def fuses(x: Tensor, a: Tensor) -> bool:
    """Whether `sum_of_terms` takes `x` and `a`: on TensorFlow, many of `(batch, size)` and `(samples, batch, size)`.

    Otherwise it gains little, and the first step would wait up to three seconds for the compiler.
    """
    if keras.backend.backend() != "tensorflow" or len(a.shape) != 3:
        return False
    samples, batch, size = a.shape
    if samples is None or size is None:
        return False
    worthwhile = (batch or 0) >= MANY if samples == 1 else samples * size >= LARGE
    return worthwhile and tuple(x.shape) == tuple(a.shape[1:]) and x.dtype == a.dtype


@functools.cache
def sum_of_terms(terms: Terms, by_x: Terms, by_a: Terms) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of `x` and `a` that gives Σ_i f(x_i, a_i), `(samples, batch)`: one loop, and one for its gradient.

    It is compiled with XLA. With 50 samples of an image, the operations of TensorFlow's graph would take longer than
    the products of its decoder.

    Args:
        terms: the function f, of tensors of one shape.
        by_x: ∂f/∂x.
        by_a: ∂f/∂a.
    """
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def forward(x, a):
        rows = tf.reshape(a, (-1, tf.shape(a)[-1]))  # XLA is slower with two axes before the last
        x = tf.tile(x, (tf.shape(a)[0], 1))
        return tf.reshape(_sum(terms(x, rows)), tf.shape(a)[:-1])

    @tf.function(jit_compile=True, autograph=False)
    def backward(x, a, upstream):
        return upstream[..., None] * by_a(x, a)

    def with_slopes(x, a):
        def gradient(upstream):
            return tf.reduce_sum(upstream[..., None] * by_x(x, a), axis=0), backward(x, a, upstream)

        return forward(x, a), gradient

    return with_gradient(with_slopes, event_ndim=1)


def _sum(terms):
    """Σ over the last axis, for XLA.

    On a CPU, XLA computes the terms of a sum one at a time, and the factors of a product eight at a time. On a GPU, a
    product would round them.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return tf.reduce_sum(terms, axis=-1)
    return tf.linalg.matvec(terms, tf.ones(tf.shape(terms)[-1], terms.dtype))
