"""A sum over many samples as one kernel, on TensorFlow, whose graph reads and writes all of them in each operation."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

from kvae.types import Tensor

Terms = Callable[[Tensor, Tensor], Tensor]


def fuses(x: Tensor, a: Tensor) -> bool:
    """Whether `sum_of_terms` takes `x` and `a`: on TensorFlow, `(batch, size)` and `(samples, batch, size)`.

    For a single sample it gains little, and the first step would wait for the compiler.
    """
    if keras.backend.backend() != "tensorflow" or len(a.shape) != 3 or a.shape[0] in (None, 1):
        return False
    return tuple(x.shape) == tuple(a.shape[1:]) and x.dtype == a.dtype


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
        rows = tf.reshape(a, (-1, a.shape[-1]))  # XLA is slower with two axes before the last
        x = tf.tile(x, (tf.shape(a)[0], 1))
        return tf.reshape(tf.reduce_sum(terms(x, rows), axis=-1), tf.shape(a)[:-1])

    @tf.function(jit_compile=True, autograph=False)
    def backward(x, a, upstream):
        return upstream[..., None] * by_a(x, a)

    @tf.custom_gradient
    def function(x, a):
        def gradient(upstream):
            return tf.reduce_sum(upstream[..., None] * by_x(x, a), axis=0), backward(x, a, upstream)

        return forward(x, a), gradient

    return function
