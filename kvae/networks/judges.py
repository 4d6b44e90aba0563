"""Networks that judge images: what class they are of, and whether they are real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers

from kvae import checks
from kvae.networks.convolutions import LAST, checked_filters, halved
from kvae.types import Activation, Number

LEAK = 0.2  # DCGAN's slope for negative inputs
HIDDEN = {"mlp": (512, 256), "conv": (32, 64)}  # those of the factories of pairs, which a judge is matched with


def classifier(
    image_shape: Sequence[int],
    num_classes: int,
    hidden: Sequence[int] | None = None,
    activation: Activation = "relu",
    network: Literal["mlp", "conv"] = "mlp",
    dropout: Number = 0.0,
) -> keras.Model:
    """A network from images to the logits of their classes: dense layers, or the convolutions of `conv`'s encoder.

    Args:
        image_shape: shape of one example, `(height, width, channels)`; `(features,)` for tables and codes. For "conv"
            also `(time, channels)` of series.
        num_classes: number of classes.
        hidden: units of the dense layers, or filters of the convolutions; `None` for (512, 256) or (32, 64).
        activation: of the hidden layers.
        network: "mlp" or "conv".
        dropout: probability with which a unit of a dense layer, or an activation of the last convolution, is set to 0
            in training (Srivastava et al. 2014). It helped a `SemiSupervisedVAE` on images of MNIST with 100 labels.

    Returns:
        Functional model from `(batch, *image_shape)` to logits `(batch, num_classes)`.

    Raises:
        ValueError: for sizes that are not positive integers, an unknown `network`, a `dropout` outside [0, 1), and for
            "conv" if the image shape has neither three axes nor two.

    Example:

    >>> kvae.networks.classifier((8, 8, 1), num_classes=10).output_shape
    (None, 10)
    """
    hidden = _hidden(network, hidden)
    image_shape = tuple(checks.positive_integer(side, "image_shape") for side in image_shape)
    num_classes = checks.positive_integer(num_classes, "num_classes")
    dropout = checks.number(dropout, "dropout", at_least=0, below=1)

    def dropped(h: Any) -> Any:
        return layers.Dropout(dropout)(h) if dropout else h

    x = keras.Input(image_shape, name="x")
    if network == "conv":
        h = dropped(layers.Flatten(**LAST)(halved(x, checked_filters(hidden, image_shape), activation)))
    else:
        h = layers.Flatten(**LAST)(x)
        for size in hidden:
            h = dropped(layers.Dense(size, activation=activation)(h))
    return keras.Model(x, layers.Dense(num_classes, name="logits")(h), name="classifier")


def discriminator(
    image_shape: Sequence[int], hidden: Sequence[int] | None = None, network: Literal["mlp", "conv"] = "mlp"
) -> keras.Model:
    """A discriminator in the style of DCGAN, from images to the logit that they are real.

    LeakyReLU of slope 0.2 throughout. "conv" has a strided 4×4 convolution for each entry of `hidden`, all but the
    first followed by batch normalization (Radford, Metz, Chintala 2016, section 3, https://arxiv.org/abs/1511.06434).

    The last hidden activations, one vector per example, are the output of the layer named "features":
    `discriminator.get_layer("features").output`. `VAEGAN` compares images by them.

    Args:
        image_shape: `(height, width, channels)`; for "mlp" also `(features,)` for tables and codes.
        hidden: units of the dense layers, or filters of the convolutions; `None` for (512, 256) or (32, 64).
        network: "mlp" or "conv".

    Returns:
        Functional model from `(batch, *image_shape)` to logits `(batch, 1)`.

    Raises:
        ValueError: for sizes that are not positive integers, an empty `hidden`, an unknown `network`, and for "conv" if
            the image shape does not have three axes.

    Example:

    >>> discriminator = kvae.networks.discriminator((8, 8, 1))
    >>> discriminator.output_shape, discriminator.get_layer("features").output.shape
    ((None, 1), (None, 256))
    """
    hidden = _hidden(network, hidden)
    image_shape = tuple(checks.positive_integer(side, "image_shape") for side in image_shape)
    if not hidden:
        raise ValueError("`hidden` must hold at least one layer, whose activations are the features. Received: ()")
    x = keras.Input(image_shape, name="x")
    if network == "mlp":
        h = layers.Flatten(**LAST)(x)
        for i, size in enumerate(hidden, 1):
            h = layers.Dense(size)(h)
            h = layers.LeakyReLU(LEAK, name="features" if i == len(hidden) else None)(h)
    else:
        if len(image_shape) != 3:
            raise ValueError(
                f'`image_shape` must be (height, width, channels) for network="conv". Received: {image_shape}'
            )
        h = x
        for i, filters in enumerate(hidden):
            h = layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=i == 0, **LAST)(h)
            if i:
                h = layers.BatchNormalization(momentum=0.9)(h)  # the momentum of `conv`
            h = layers.LeakyReLU(LEAK)(h)
        h = layers.Flatten(name="features", **LAST)(h)
    return keras.Model(x, layers.Dense(1, name="logit")(h), name="discriminator")


def _hidden(network, hidden):
    """The sizes of the hidden layers of a kind of network."""
    if network not in HIDDEN:
        raise ValueError(f"`network` must be one of {list(HIDDEN)}. Received: {network!r}")
    return tuple(checks.positive_integer(size, "hidden") for size in (HIDDEN[network] if hidden is None else hidden))
