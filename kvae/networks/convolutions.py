"""Convolutions that halve height and width, or the length of a series, and that double them again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import layers

from kvae import checks
from kvae.types import Activation, Shape

LAST = {"data_format": "channels_last"}  # whatever Keras's setting: images are (height, width, channels) here


def checked_filters(hidden: Sequence[int], image_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the filters of convolutions as a tuple, or raise a `ValueError`, also for what is no image or series."""
    if len(image_shape) not in (2, 3):
        raise ValueError(
            "`image_shape` must be (height, width, channels), or (time, channels) of series, for convolutions. "
            f"Received: {image_shape}"
        )
    if not len(hidden):
        raise ValueError(f"`hidden` must hold at least one number of filters. Received: {hidden}")
    return tuple(checks.positive_integer(filters, "hidden") for filters in hidden)


def halvings(sides: Shape, hidden: Sequence[int]) -> list[Shape]:
    """Height and width, or time, before and after each halving, which rounds up."""
    sizes = [tuple(sides)]
    for _ in hidden:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes


def halved(h: Any, hidden: Sequence[int], activation: Activation) -> Any:
    """Strided convolutions with batch normalization, one for each of the numbers of filters in `hidden`."""
    for filters in hidden:  # the bias is left to the normalization that follows
        convolution = _of_rank("Conv{}D", h.shape[1:-1])
        h = convolution(filters, 4, strides=2, padding="same", use_bias=False, **LAST)(h)
        h = normalised(h, activation)
    return h


def spread(h: Any, filters: int, size: Shape, activation: Activation) -> Any:
    """A dense layer from vectors to images, or series, of a size, with batch normalization.

    The normalization, of each filter, keeps its bias, of each place: z = 0 can be decoded to any image.
    """
    h = layers.Dense(math.prod(size) * filters)(h)
    return normalised(layers.Reshape((*size, filters))(h), activation)


def grown(h: Any, hidden: Sequence[int], sides: Shape, outputs: int, activation: Activation) -> Any:
    """The way back from what `halved` gives to images of height and width `sides`, or series, with `outputs`."""
    sizes = halvings(sides, hidden)
    for filters, size in zip(hidden[-2::-1], sizes[-2:0:-1], strict=True):
        h = normalised(doubled(h, filters, size, use_bias=False), activation)
    return doubled(h, outputs, sizes[0], name="likelihood")


def doubled(h: Any, filters: int, size: Shape, **kwargs: Any) -> Any:
    """A transposed convolution of stride 2, averaged over 2×2 neighbours and cut to `size`.

    The weights that make one pixel are not those that make the next, which draws a grid on flat areas (Odena, Dumoulin,
    Olah 2016, https://doi.org/10.23915/distill.00003). The average of four neighbours holds each weight once. With one
    number in `size`, all of this runs along one axis.
    """
    h = _of_rank("Conv{}DTranspose", size)(filters, 4, strides=2, padding="same", **kwargs, **LAST)(h)
    return cropped(_of_rank("AveragePooling{}D", size)(2, strides=1, padding="same", **LAST)(h), size)


def cropped(h: Any, size: Shape) -> Any:
    """Cut `h` `(batch, *sides, filters)` down to `size` at the bottom and right, or at the end."""
    extra = [(0, have - want) for have, want in zip(h.shape[1:-1], size, strict=True)]
    if not any(more for _, more in extra):
        return h
    return layers.Cropping1D(extra[0])(h) if len(extra) == 1 else layers.Cropping2D(extra, **LAST)(h)


def normalised(h: Any, activation: Activation) -> Any:
    """Batch normalization, then the activation."""
    # DCGAN's momentum: Keras's 0.99 takes hundreds of steps, and until then evaluation uses the wrong moments.
    return layers.Activation(activation)(layers.BatchNormalization(momentum=0.9)(h))


def _of_rank(name, sides):
    """The Keras layer for examples with these sides: "Conv{}D" is Conv1D for series, Conv2D for images."""
    return getattr(layers, name.format(len(sides)))
