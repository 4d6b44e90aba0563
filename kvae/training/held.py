"""Networks that a loss passes through without training them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kvae.training.keras_internals import TransparentScope


@contextlib.contextmanager
def held(*layers: keras.layers.Layer) -> Iterator[None]:
    """A context in which the weights of some networks are constants.

    A loss computed inside has no gradient with respect to them, but the usual one with respect to everything else: its
    inputs, and the weights of other networks. So several losses can be summed and minimized in one backward pass, each
    of them training only the networks it is meant for.

    Random streams and moving averages (dropout, batch normalization) advance inside as they do outside. Losses that
    layers add themselves when they are called, such as an `activity_regularizer`, are ignored inside.

    Args:
        *layers: built Keras layers or models.

    Example:

    ```python
    from kvae.training.held import held

    discriminator = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    z = keras.random.normal((16, 2))
    with held(discriminator):
        fooled = discriminator(decoder(z))  # trains the decoder alone
    judged = discriminator(ops.stop_gradient(decoder(z)))  # trains the discriminator alone
    ```
    """
    with _Held(variable for layer in layers for variable in layer.trainable_variables):
        yield


def freeze(layer: keras.layers.Layer) -> None:
    """Set `layer.trainable` to false, also for parts that were made after its configuration had said so.

    On TensorFlow, Keras ignores an assignment of the value that an attribute has already, which is that of a layer read
    from a file; its parts, made by the constructor, would stay trainable.
    """
    layer.trainable = True
    layer.trainable = False


class _Held(TransparentScope):
    """A scope in which the given variables have no gradient."""

    def __init__(self, variables: Any) -> None:
        super().__init__()
        self.held = {id(variable): variable for variable in variables}

    def seen(self, variable: keras.Variable, value: Any) -> Any:
        return ops.stop_gradient(value) if id(variable) in self.held else value
