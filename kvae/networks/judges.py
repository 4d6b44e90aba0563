"""Networks that judge images: what class they are of, and whether they are real."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from kvae import checks
from kvae.types import Activation


def classifier(
    image_shape: Sequence[int], num_classes: int, hidden: Sequence[int] = (512, 256), activation: Activation = "relu"
) -> keras.Model:
    """A multilayer perceptron from images to the logits of their classes.

    Args:
        image_shape: shape of one example, `(height, width, channels)`; `(features,)` for tables and codes.
        num_classes: number of classes.
        hidden: units of the hidden layers.
        activation: of the hidden layers.

    Returns:
        Functional model from `(batch, *image_shape)` to logits `(batch, num_classes)`.

    Raises:
        ValueError: for sizes that are not positive integers.

    Example:

    >>> kvae.networks.classifier((8, 8, 1), num_classes=10).output_shape
    (None, 10)
    """
    image_shape = tuple(checks.positive_integer(side, "image_shape") for side in image_shape)
    num_classes = checks.positive_integer(num_classes, "num_classes")
    x = keras.Input(image_shape, name="x")
    h = layers.Flatten(data_format="channels_last")(x)
    for size in hidden:
        h = layers.Dense(checks.positive_integer(size, "hidden"), activation=activation)(h)
    return keras.Model(x, layers.Dense(num_classes, name="logits")(h), name="classifier")
