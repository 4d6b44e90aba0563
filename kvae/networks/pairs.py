"""Encoder and decoder factories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from kvae import checks
from kvae.distributions import Distribution, likelihood_family, posterior_family
from kvae.layers import JoinedDense, Resize
from kvae.networks.contract import LOG_SIZE, outputs_of
from kvae.networks.convolutions import LAST, checked_filters, grown, halved, halvings, spread
from kvae.types import Activation, Shape


def mlp(
    image_shape: Sequence[int],
    latent_dim: int | Sequence[int],
    hidden: Sequence[int] = (512, 256),
    num_classes: int | None = None,
    posterior: str | Distribution | None = "normal",
    likelihood: str | Distribution = "bernoulli",
    activation: Activation = "relu",
    code_activation: Activation = None,
    condition_shape: Sequence[int] | None = None,
    size_factor: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """A multilayer perceptron in each direction; the decoder mirrors the encoder.

    Args:
        image_shape: shape of one example, `(height, width, channels)`; `(features,)` for tables.
        latent_dim: int, latent dimensions; or the shape of a code, such as (20, 10) for 20 categorical variables of 10
            values, whose last axis the parameters of a posterior extend.
        hidden: units of the encoder's hidden layers, starting at the image; reversed in the decoder.
        num_classes: length of the condition `y` (one-hot label or attribute vector) for a CVAE; `None` otherwise.
        posterior: name or `Distribution`; sets the number of outputs per latent dimension. `None` for the plain code of
            an `Autoencoder`: one.
        likelihood: name or `Distribution`; sets the number of outputs per pixel and channel. Of counts, the encoder
            takes the logarithms log(1 + x).
        activation: of the hidden layers.
        code_activation: of a plain code, "sigmoid" for one in [0, 1]; `None` for a linear one, as a posterior's.
        condition_shape: shape of a condition that is an image or another array, which is flattened; `None` otherwise.
            Together with `num_classes`, `y` is a tuple (label or vector, image).
        size_factor: whether the last condition is the logarithm of each example's size, `(n, 1)`: the total of a cell's
            molecules, the length of a text, or the time that events were counted for. The decoder adds it to the
            logarithm of its rates, which are therefore those at a size of 1, exactly proportional to the size; the
            encoder sees it. Divide sizes by a typical one, so that most are near 1. For likelihoods of counts.

    Returns:
        `(encoder, decoder)`, Functional models. Encoder: `(batch, *image_shape)` to `(batch, parameters · latent_dim)`.
        Decoder: `(batch, latent_dim)` to `(batch, height, width, parameters · channels)`.

    Raises:
        ValueError: for sizes that are not positive integers, an image shape with its channels in front, unknown names,
            a `code_activation` together with a posterior, or a `size_factor` with a likelihood that has no rates.

    Example:

    >>> encoder, decoder = kvae.networks.mlp((8, 8, 1), latent_dim=2)
    >>> encoder.output_shape, decoder.output_shape
    ((None, 4), (None, 8, 8, 1))

    Counts of 50 genes, in cells of which more or fewer molecules were caught:

    >>> networks = kvae.networks.mlp((50,), latent_dim=10, likelihood="negative_binomial", size_factor=True)
    >>> model = kvae.CVAE(*networks, likelihood="negative_binomial")
    >>> model.generate(labels=np.log([[0.5], [2.0]]), seed=0).shape  # a small and a large cell
    (2, 50)
    """
    image_shape, latent_shape, hidden, encoded, outputs = _check(
        image_shape, latent_dim, hidden, posterior, likelihood, code_activation
    )
    conditions = _conditions(num_classes, condition_shape, size_factor)

    def dense_stack(h, sizes):
        for size in sizes:
            h = dense(h, size, activation=activation)
        return h

    inputs = _inputs("x", image_shape, conditions)
    seen = [likelihood_family(likelihood).as_input(inputs[0]), *inputs[1:]]
    h = dense_stack([_flat(each) for each in seen], hidden)
    h = dense(h, math.prod(encoded), activation=code_activation, name="posterior")
    h = h if len(encoded) == 1 else layers.Reshape(encoded)(h)
    encoder = _functional(inputs, h, "encoder")

    inputs = _inputs("z", latent_shape, conditions)
    output_shape = (*image_shape[:-1], outputs)
    seen = inputs[:-1] if size_factor else inputs
    h = dense_stack(_join(*map(_flat, seen)), reversed(hidden))
    h = layers.Reshape(output_shape)(layers.Dense(math.prod(output_shape), name="likelihood")(h))
    if size_factor:
        log_size = layers.Reshape((1,) * len(output_shape))(inputs[-1])
        h = likelihood_family(likelihood).scaled(h, log_size)
    decoder = _functional(inputs, h, "decoder")
    return encoder, decoder


def conv(
    image_shape: Sequence[int],
    latent_dim: int | Sequence[int],
    hidden: Sequence[int] = (32, 64),
    num_classes: int | None = None,
    posterior: str | Distribution | None = "normal",
    likelihood: str | Distribution = "bernoulli",
    activation: Activation = "relu",
    code_activation: Activation = None,
    condition_shape: Sequence[int] | None = None,
) -> tuple[keras.Model, keras.Model]:
    """A convolutional pair in the style of DCGAN: strided convolutions, batch normalisation, ReLU.

    Each entry of `hidden` halves height and width in the encoder (rounding up) and doubles them in the decoder, which
    crops what rounding added, so any image size works. A 2×2 average follows each doubling, without which the stride
    shows as a grid on areas of one colour. See Radford, Metz, Chintala 2016, section 3
    (https://arxiv.org/abs/1511.06434). The convolutions of series run along time.

    Args:
        image_shape: `(height, width, channels)`, or `(time, channels)` of series.
        latent_dim: as in `mlp`.
        hidden: filters of the encoder's convolutions, starting at the image; reversed in the decoder.
        num_classes: length of the condition `y` for a CVAE, which enters the encoder as one more image channel and the
            decoder together with `z`; `None` if unconditional.
        posterior: name or `Distribution`; `None` for a plain code.
        likelihood: name or `Distribution`.
        activation: of the hidden layers.
        code_activation: of a plain code, as in `mlp`.
        condition_shape: as in `mlp`; here `(height, width, channels)` of an image, or `(time, channels)` of a series as
            long as `x`. An image is scaled to the size of `x`. It enters the encoder as more channels; the decoder
            joins what convolutions make of it to the features of `z`.

    Returns:
        `(encoder, decoder)`, with the shapes that `mlp` describes.

    Raises:
        ValueError: as for `mlp`, and for an image shape that has neither three axes nor two.
    """
    image_shape, latent_shape, hidden, encoded, outputs = _check(
        image_shape, latent_dim, hidden, posterior, likelihood, code_activation
    )
    conditions = _conditions(num_classes, condition_shape)
    sides = tuple(image_shape[:-1])
    hidden = checked_filters(hidden, image_shape)
    for shape in conditions.values():
        if len(shape) not in (1, len(image_shape)) or (len(shape) == 2 and shape[:1] != sides):
            wanted = "(height, width, channels)" if len(sides) == 2 else f"({sides[0]}, channels)"
            raise ValueError(
                f"`condition_shape` must be {wanted}, or (length,) of a vector, for `conv`. Received: {shape}"
            )

    inputs = _inputs("x", image_shape, conditions)
    vectors, images = _vectors_and_images(inputs[1:], sides)
    if vectors:
        plane = layers.Dense(math.prod(sides), use_bias=False)(_join(*vectors))
        images = [layers.Reshape((*sides, 1))(plane), *images]
    h = layers.Flatten(**LAST)(
        halved(_join(likelihood_family(likelihood).as_input(inputs[0]), *images), hidden, activation)
    )
    h = layers.Dense(math.prod(encoded), activation=code_activation, name="posterior")(h)
    h = h if len(encoded) == 1 else layers.Reshape(encoded)(h)
    encoder = _functional(inputs, h, "encoder")

    inputs = _inputs("z", latent_shape, conditions)
    vectors, images = _vectors_and_images(inputs[1:], sides)
    h = spread(_join(_flat(inputs[0]), *vectors), hidden[-1], halvings(sides, hidden)[-1], activation)
    if images:
        h = _join(h, halved(_join(*images), hidden, activation))
    h = grown(h, hidden, sides, outputs, activation)
    decoder = _functional(inputs, h, "decoder")
    return encoder, decoder


def _check(image_shape, latent_dim, hidden, posterior, likelihood, code_activation):
    """Return the sizes as tuples, the shape of the encoder's output, and the length of the decoder's last axis."""
    image_shape = checked_shape(image_shape, "image_shape")
    several = isinstance(latent_dim, (tuple, list)) and len(latent_dim) > 0
    sizes = latent_dim if several else (latent_dim,)
    latent_shape = tuple(checks.positive_integer(size, "latent_dim") for size in sizes)
    hidden = tuple(checks.positive_integer(size, "hidden") for size in hidden)
    if code_activation is not None and posterior is not None:
        raise ValueError(
            "`code_activation` requires a plain code, posterior=None: a posterior's parameters are not bounded. "
            f"Received: code_activation={code_activation!r}, posterior={posterior!r}"
        )
    posterior = None if posterior is None else posterior_family(posterior)
    encoded = (*latent_shape[:-1], outputs_of(posterior, latent_shape[-1]))
    return image_shape, latent_shape, hidden, encoded, likelihood_family(likelihood).num_outputs(image_shape[-1])


def checked_shape(shape: Any, name: str) -> Shape:
    """Return the shape of an example as a tuple, or raise a `ValueError`; `name` is the argument's."""
    if not np.ndim(shape) or not len(shape):
        raise ValueError(f"`{name}` must be a tuple of integers, such as (28, 28, 1). Received: {shape!r}")
    shape = tuple(checks.positive_integer(side, name) for side in shape)
    channels, *sides = shape
    if len(sides) == 2 and channels in (1, 3, 4) and min(sides) >= 8 and max(sides) <= 2 * min(sides):
        raise ValueError(  # plainly channels first
            f"`{name}` must be (height, width, channels): use {(*sides, channels)}, and images "
            f"np.moveaxis(x, 1, -1). Received: {shape}"
        )
    return shape


def _conditions(num_classes, condition_shape, size_factor=False):
    """The conditions' shapes by the names of their inputs: a vector and an image, or one or neither; last a size."""
    shapes: list[Shape] = [] if num_classes is None else [(checks.positive_integer(num_classes, "num_classes"),)]
    if condition_shape is not None:
        shapes.append(checked_shape(condition_shape, "condition_shape"))
    return dict(zip(("y", "y_image"), shapes, strict=False)) | ({LOG_SIZE: (1,)} if size_factor else {})


def _inputs(name, shape, conditions):
    return [keras.Input(each, name=name) for name, each in {name: shape, **conditions}.items()]


def _vectors_and_images(inputs, size):
    """The inputs that are vectors, and those that are images, scaled to a size, or series."""
    images = [each for each in inputs if len(each.shape) > 2]
    scaled = [each if each.shape[1:-1] == size else Resize(*size)(each) for each in images]
    return [each for each in inputs if len(each.shape) == 2], scaled


def dense(h: Any, size: int, **kwargs: Any) -> Any:
    """A dense layer of a tensor, or of a list of them side by side."""
    if isinstance(h, list) and len(h) > 1:
        return JoinedDense(size, **kwargs)(h)
    return layers.Dense(size, **kwargs)(h[0] if isinstance(h, list) else h)


def _flat(h):
    return h if len(h.shape) == 2 else layers.Flatten(**LAST)(h)


def _join(*tensors):
    return tensors[0] if len(tensors) == 1 else layers.Concatenate()(list(tensors))


def _functional(inputs, outputs, name):
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=name)
