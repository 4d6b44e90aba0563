"""Pairs of networks whose codes are grids of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import layers

from kvae import checks
from kvae.distributions import Distribution, likelihood_family
from kvae.networks.convolutions import LAST, doubled
from kvae.networks.pairs import checked_shape
from kvae.types import Activation


def grid(
    image_shape: Sequence[int],
    latent_dim: int,
    hidden: Sequence[int] = (64, 64),
    num_blocks: int = 2,
    likelihood: str | Distribution = "bernoulli",
    activation: Activation = "relu",
) -> tuple[keras.Model, keras.Model]:
    """A convolutional pair whose code is a grid of vectors, for a `VQVAE`.

    Each entry of `hidden` halves height and width in the encoder (rounding up) and doubles them in the decoder;
    residual blocks of a 3×3 and a 1×1 convolution follow in the encoder and precede in the decoder (van den Oord et al.
    2017, section 4.1, https://arxiv.org/abs/1711.00937). There is no batch normalisation, whose moments would change
    which code is the nearest.

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: int, numbers in each vector.
        hidden: filters of the encoder's strided convolutions, starting at the image; reversed in the decoder.
        num_blocks: residual blocks of each network.
        likelihood: name or `Distribution`; sets the number of outputs per pixel and channel.
        activation: of the hidden layers.

    Returns:
        `(encoder, decoder)`, Functional models. Encoder: `(batch, *image_shape)` to `(batch, rows, columns,
        latent_dim)`, with ⌈height / 2ᴸ⌉ rows for L entries of `hidden`. Decoder: from there to `(batch, height, width,
        parameters · channels)`.

    Raises:
        ValueError: for sizes that are not positive integers, or an image shape that does not have three axes.

    Example:

    >>> encoder, decoder = kvae.networks.grid((28, 28, 1), latent_dim=16)
    >>> encoder.output_shape
    (None, 7, 7, 16)
    """
    image_shape = checked_shape(image_shape, "image_shape")
    if len(image_shape) != 3:
        raise ValueError(f"`image_shape` must be (height, width, channels) for `grid`. Received: {image_shape}")
    latent_dim = checks.positive_integer(latent_dim, "latent_dim")
    hidden = tuple(checks.positive_integer(size, "hidden") for size in hidden)
    if not hidden:
        raise ValueError(f"`hidden` must hold at least one number of filters. Received: {hidden}")
    num_blocks = num_blocks if num_blocks == 0 else checks.positive_integer(num_blocks, "num_blocks")
    family = likelihood_family(likelihood)
    outputs = family.num_outputs(image_shape[-1])

    def active(h):
        return layers.Activation(activation)(h)

    def blocks(h):
        filters = h.shape[-1]
        for _ in range(num_blocks):
            more = layers.Conv2D(math.ceil(filters / 2), 3, padding="same", **LAST)(active(h))
            h = layers.Add()([h, layers.Conv2D(filters, 1, **LAST)(active(more))])
        return active(h)

    sizes = [image_shape[:2]]  # height and width before each halving
    x = keras.Input(image_shape, name="x")
    h = family.as_input(x)
    for filters in hidden:
        h = active(layers.Conv2D(filters, 4, strides=2, padding="same", **LAST)(h))
        sizes.append(tuple(h.shape[1:3]))
    h = layers.Conv2D(hidden[-1], 3, padding="same", **LAST)(h)
    encoder = keras.Model(x, layers.Conv2D(latent_dim, 1, name="codes", **LAST)(blocks(h)), name="encoder")

    z = keras.Input((*sizes[-1], latent_dim), name="z")
    h = blocks(layers.Conv2D(hidden[-1], 3, padding="same", **LAST)(z))
    for filters, size in zip(hidden[-2::-1], sizes[-2:0:-1], strict=True):
        h = active(doubled(h, filters, size))
    decoder = keras.Model(z, doubled(h, outputs, image_shape[:2], name="likelihood"), name="decoder")
    return encoder, decoder
