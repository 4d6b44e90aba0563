"""Networks of hierarchies of stochastic layers: ladders, and convolutional top-down residual ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kvae import checks
from kvae.distributions import Distribution, likelihood_family
from kvae.layers import PrecisionWeighted
from kvae.networks.convolutions import LAST, checked_filters, cropped, grown, halved, halvings, normalised, spread
from kvae.networks.descent import TopDown
from kvae.networks.pairs import checked_shape
from kvae.types import Activation


def ladder(
    image_shape: Sequence[int],
    latent_dims: Sequence[int] = (32, 16),
    hidden: Sequence[int | Sequence[int]] = (256, 128),
    likelihood: str | Distribution = "bernoulli",
    activation: Activation = "relu",
) -> tuple[keras.Model, TopDown]:
    """Networks of a ladder VAE (Sønderby et al. 2016, https://arxiv.org/abs/1602.02282, section 2).

    Between the image, the first layer of codes and the next ones are two dense layers in each direction, or, next to
    the image, the convolutions of `conv`. The encoder gives a mean and a variance for each layer of codes, and
    q(z_l|z_>l, x) is their product with the prior that descends from the layers above, in which each side counts by its
    precision. Dense layers are not normalized, which the paper needed for five layers.

    Args:
        image_shape: shape of one example, `(height, width, channels)`; `(features,)` for tables.
        latent_dims: latent dimensions of each stochastic layer, starting at the image.
        hidden: units of the dense layers below each, starting at the image. A tuple as the first, `((32, 64), 128)`,
            holds the filters of convolutions, as `hidden` of `conv` does.
        likelihood: name or `Distribution`; sets the number of outputs per pixel and channel.
        activation: of the hidden layers.

    Returns:
        `(encoder, decoder)` for a `HierarchicalVAE`: a Functional model and a `TopDown`.

    Raises:
        ValueError: for sizes that are not positive integers, another number of `hidden` than of `latent_dims`, or
            convolutions of an image shape that has neither three axes nor two, or of codes.

    Example:

    >>> model = kvae.HierarchicalVAE(*kvae.networks.ladder((8, 8, 1), latent_dims=(8, 4, 2), hidden=(32, 16, 8)))
    >>> model.decoder.shapes
    [(8,), (4,), (2,)]
    """
    image_shape = checked_shape(image_shape, "image_shape")
    sizes = checked_shape(latent_dims, "latent_dims")
    if len(hidden) != len(sizes):
        raise ValueError(f"`hidden` must hold one size for each of `latent_dims` {sizes}. Received: {hidden}")
    stages: list[Any] = [  # the units of dense layers, or a tuple of filters
        checked_filters(stage, image_shape)
        if i == 0 and isinstance(stage, Sequence)
        else checks.positive_integer(stage, "hidden")
        for i, stage in enumerate(hidden)
    ]
    family = likelihood_family(likelihood)
    outputs = family.num_outputs(image_shape[-1])

    def dense(h, size):
        for _ in range(2):
            h = layers.Dense(size, activation=activation)(h)
        return h

    x = keras.Input(image_shape, name="x")
    h = family.as_input(x)
    h = layers.Flatten(**LAST)(halved(h, stages[0], activation) if isinstance(stages[0], tuple) else h)
    features, generators, posteriors = [], [], []
    below = (*image_shape[:-1], outputs)  # shape of the numbers that describe what is below a layer
    for i, (size, stage) in enumerate(zip(sizes, stages, strict=True)):
        convolves = isinstance(stage, tuple)
        h = h if convolves else dense(h, stage)
        features.append(layers.Dense(2 * size)(h))
        z = keras.Input((size,), name="z")
        if convolves:
            sides = below[:-1]
            described = spread(z, stage[-1], halvings(sides, stage)[-1], activation)
            described = grown(described, stage, sides, outputs, activation)
        else:
            described = layers.Dense(math.prod(below))(dense(z, stage))
            described = described if i else layers.Reshape(below)(described)
        generators.append(keras.Model(z, described))
        own, prior = keras.Input((2 * size,), name="features"), keras.Input((2 * size,), name="prior")
        is_top = i == len(sizes) - 1
        posteriors.append(
            keras.Model(own, layers.Identity()(own))
            if is_top
            else keras.Model([own, prior], PrecisionWeighted()([own, prior]))
        )
        below = (2 * size,)
    encoder = keras.Model(x, features[0] if len(features) == 1 else layers.Concatenate()(features), name="encoder")
    return encoder, TopDown(generators, posteriors, name="decoder")


def top_down(
    image_shape: Sequence[int],
    latent_dim: int = 4,
    hidden: Sequence[int] = (32, 64),
    num_blocks: int | Sequence[int] = 2,
    likelihood: str | Distribution = "bernoulli",
    activation: Activation = "gelu",
) -> tuple[keras.Model, TopDown]:
    """Residual convolutions whose codes are grids, at laptop size (Child 2021, https://arxiv.org/abs/2011.10650).

    Each entry of `hidden` halves height and width (rounding up), as in `conv`; at each of these resolutions there are
    `num_blocks` stochastic layers. A state descends from the top: the prior of a layer is a function of it, the
    posterior of it and of the encoder's features, and z is added to it through a convolution, followed by a residual
    block. As in its authors' code, the last convolutions of residual blocks and those of z start 1/√L as large in a
    hierarchy of L layers, those of priors at 0, and the state is enlarged by repeating it, which keeps its size. A
    posterior is given by its difference from the prior in mean and log-variance (Vahdat & Kautz 2020,
    https://arxiv.org/abs/2007.03898, section 3.2). The strided convolutions, and those below the last layer, are the
    normalized ones of `conv`.

    Enough entries of `hidden` for a grid of one place let the upper layers hold what concerns the whole image; without
    `bounds.ELBO(free_bits=...)` they are likely to remain unused. Layers of few places cost little time, but with many
    of them a lower one may remain unused as well: begin with few.

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: numbers at each place of a code.
        hidden: filters at each resolution, starting at the image.
        num_blocks: stochastic layers at each resolution; a tuple has a number for each entry of `hidden`, of which all
            but the last, that of the top, may be 0.
        likelihood: name or `Distribution`; sets the number of outputs per pixel and channel.
        activation: of the hidden layers.

    Returns:
        `(encoder, decoder)` for a `HierarchicalVAE`: a Functional model and a `TopDown`.

    Raises:
        ValueError: for sizes that are not positive integers, another number of `num_blocks` than of `hidden`, or an
            image shape that does not have three axes.

    Example:

    >>> networks = kvae.networks.top_down((8, 8, 1), latent_dim=2, hidden=(8, 8, 8), num_blocks=(0, 1, 2))
    >>> model = kvae.HierarchicalVAE(*networks, bound=kvae.bounds.ELBO(free_bits=1.0))
    >>> model.decoder.shapes
    [(2, 2, 2), (1, 1, 2), (1, 1, 2)]
    """
    image_shape = checked_shape(image_shape, "image_shape")
    if len(image_shape) != 3:
        raise ValueError(f"`image_shape` must be (height, width, channels) for `top_down`. Received: {image_shape}")
    latent_dim = checks.positive_integer(latent_dim, "latent_dim")
    hidden = checked_filters(hidden, image_shape)
    blocks = _blocks(num_blocks, hidden)
    family = likelihood_family(likelihood)
    num_layers = sum(blocks)

    def small(scale=1.0):  # a new one each time, because one of them draws the same numbers again
        return keras.initializers.VarianceScaling(scale / num_layers, "fan_avg", "uniform")

    def active(h):
        return layers.Activation(activation)(h)

    def conv(h, filters, size=1, **kwargs):
        return layers.Conv2D(filters, size, padding="same", **kwargs, **LAST)(h)

    def block(h, filters, last):
        """Convolutions through half as many filters, the last of which starts as `last` says."""
        middle = -(-h.shape[-1] // 2)
        h = conv(active(conv(active(h), middle)), middle, 3)
        return conv(active(h), filters, kernel_initializer=last)

    def residual(h):
        return layers.Add()([h, block(h, h.shape[-1], small())])

    def enlarged(h, filters, size):
        """Each place repeated in 2×2, plus what tells these four apart."""
        same = h if h.shape[-1] == filters else conv(h, filters)
        four = small(4.0)  # a kernel of 2×2 has four times the fan, of which each pixel sees one
        detail = layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer=four, **LAST)(active(h))
        return cropped(layers.Add()([layers.UpSampling2D(2, **LAST)(same), detail]), size)

    x = keras.Input(image_shape, name="x")
    h = family.as_input(x)
    sizes = halvings(image_shape[:2], hidden)[1:]  # height and width at each resolution
    features, resolutions = [], []  # of each stochastic layer
    for resolution, (filters, count) in enumerate(zip(hidden, blocks, strict=True)):
        h = halved(h, (filters,), activation)
        for _ in range(count):
            h = residual(h)
            features.append(conv(active(h), -(-filters // 2)))
            resolutions.append(resolution)
    flat = [layers.Flatten(**LAST)(each) for each in features]
    encoder = keras.Model(x, flat[0] if len(flat) == 1 else layers.Concatenate()(flat), name="encoder")

    generators, posteriors = [], []
    for i, (seen, resolution) in enumerate(zip(features, resolutions, strict=True)):
        is_top = i == num_layers - 1
        filters, places = hidden[resolution], sizes[resolution]
        z = keras.Input((*places, latent_dim), name="z")
        state, prior = (
            keras.Input((*places, filters), name="state"),
            keras.Input((*places, 2 * latent_dim), name="prior"),
        )
        own = keras.Input(seen.shape[1:], name="features")
        if is_top:
            posteriors.append(keras.Model(own, block(own, 2 * latent_dim, "glorot_uniform")))
        else:
            difference = block(layers.Concatenate()([own, state]), 2 * latent_dim, "glorot_uniform")
            posteriors.append(keras.Model([own, prior, state], layers.Add()([prior, difference])))
        h = conv(z, filters, kernel_initializer=small())
        h = residual(h if is_top else layers.Add()([state, h]))
        if i == 0:
            outputs = family.num_outputs(image_shape[-1])
            given = grown(normalised(h, activation), hidden[: resolution + 1], image_shape[:2], outputs, activation)
        else:
            for above in range(resolution, resolutions[i - 1], -1):
                h = enlarged(h, hidden[above - 1], sizes[above - 1])
            given = [block(h, 2 * latent_dim, "zeros"), h]
        generators.append(keras.Model(z if is_top else [z, state], given))
    return encoder, TopDown(generators, posteriors, name="decoder")


def _blocks(num_blocks, hidden):
    """The number of stochastic layers at each resolution, or raise a `ValueError`."""
    if not isinstance(num_blocks, Sequence):
        return (checks.positive_integer(num_blocks, "num_blocks"),) * len(hidden)
    if len(num_blocks) != len(hidden):
        raise ValueError(f"`num_blocks` must hold one number for each of `hidden` {hidden}. Received: {num_blocks}")
    *lower, top = num_blocks
    return (
        *(0 if type(each) is int and each == 0 else checks.positive_integer(each, "num_blocks") for each in lower),
        checks.positive_integer(top, "num_blocks"),
    )
