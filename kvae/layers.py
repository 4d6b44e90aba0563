"""Layers for networks of your own: joined inputs, tied weights, sampled and resized images, a product of Gaussians."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.distributions import Normal
from kvae.types import Activation, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class JoinedDense(keras.layers.Dense):
    """A dense layer of several inputs side by side, as after `Concatenate`: y = activation(Σ_i x_i W_i + b).

    The first input may have fewer rows than the others: each of its rows then meets as many of theirs, in a row, and is
    multiplied only once. `SemiSupervisedVAE`, which encodes every image with every class, uses this where the encoder
    sees the image through this layer alone.

    Inputs: a list of tensors `(rows, size_i)`, of which the first may be `(rows / times, size_0)`.

    Args:
        units, **kwargs: as in `keras.layers.Dense`.

    Raises:
        ValueError: for inputs that are not a list of two tensors or more, or whose rows do not match.

    Example:

    >>> x, y = ops.ones((2, 5)), ops.ones((6, 3))  # three rows of y for each row of x
    >>> tuple(kvae.layers.JoinedDense(4)([x, y]).shape)
    (6, 4)
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.input_spec = None  # that of one input

    def build(self, input_shape: Sequence[Shape]) -> None:
        if len(input_shape) < 2 or not all(isinstance(shape, (tuple, list)) for shape in input_shape):
            raise ValueError(
                f"Layer {self.name!r} must be called on a list of two tensors or more: use Dense for one. "
                f"Received: shape {input_shape}"
            )
        self._sizes = [shape[-1] for shape in input_shape]
        super().build((None, sum(self._sizes)))
        self.input_spec = None

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> Tensor:
        rows = [each.shape[0] for each in inputs]
        if None not in rows and (len(set(rows[1:])) > 1 or rows[0] == 0 or rows[1] % rows[0]):
            raise ValueError(
                f"Layer {self.name!r} must be given as many rows of each input, or as many for each row of the first. "
                f"Received: {rows} rows"
            )
        ends = list(itertools.accumulate(self._sizes))
        first, *others = map(ops.matmul, inputs, ops.split(self.kernel, ends[:-1]))
        outputs = sum(others[1:], others[0])
        times = ops.shape(outputs)[0] // ops.shape(first)[0]
        outputs = outputs + ops.reshape(ops.repeat(first[:, None], times, axis=1), (-1, self.units))
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return (input_shape[-1][0], self.units)


@keras.saving.register_keras_serializable(package="kvae")
class TiedDense(keras.layers.Layer):
    """A dense layer that shares the transposed kernel of another: y = activation(x Wᵀ + b), with its own bias b.

    The configuration does not identify the layer that owns W. A deserialized layer must therefore be tied again with
    `tie_to`, as `kvae.Autoencoder(..., tied=True)` does.

    Args:
        units: int, number of outputs.
        activation: as in `keras.layers.Dense`.
        use_bias: bool.
        **kwargs: as in `keras.layers.Layer`.
    """

    def __init__(self, units: int, activation: Activation = None, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self._tied_kernel: Callable[[], Tensor] | None = None

    def build(self, input_shape: Shape) -> None:
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias") if self.use_bias else None

    def tie_to(self, dense: keras.layers.Dense) -> TiedDense:
        """Use the kernel of `dense`, a built `keras.layers.Dense`. Returns the layer itself."""
        # A function hides the layer from Keras, which would otherwise track and save its weights as part of this one.
        self._tied_kernel = lambda: dense.kernel
        return self

    @property
    def kernel(self) -> Tensor:
        """The transposed kernel of the other layer, `(inputs, units)`."""
        if self._tied_kernel is None:
            raise ValueError(
                f"Layer {self.name!r} must be tied to another: call its tie_to, or load the whole model. "
                "Received: a layer without a kernel"
            )
        return ops.transpose(self._tied_kernel())

    def call(self, inputs: Tensor) -> Tensor:
        outputs = ops.matmul(inputs, self.kernel)
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


def tied_decoder(encoder: keras.Model, decoder: keras.Model) -> keras.Model:
    """Tie a decoder to an encoder, W_{L−l+1} = W_lᵀ: it uses the transposed dense kernels in reverse order.

    Args:
        encoder: Functional Keras model in which only `Dense` layers have weights.
        decoder: Functional Keras model that mirrors the encoder: as many dense layers, in reverse order and with
            inputs and outputs swapped. Its biases stay its own.

    Returns:
        A new Functional model like `decoder`, with `TiedDense` in place of `Dense`.

    Raises:
        ValueError: if other layers have weights, or the dense layers do not mirror one another.
    """
    sources, targets = _dense_layers(encoder, "encoder")[::-1], _dense_layers(decoder, "decoder")
    shapes = [tuple(layer.kernel.shape[::-1]) for layer in sources]
    wanted = [(layer.input.shape[-1], layer.units) for layer in targets]
    if shapes != wanted:
        raise ValueError(
            "`tied` weights require a decoder that mirrors the encoder, with dense layers of (inputs, outputs) "
            f"{shapes}, such as that of networks.mlp(..., posterior=None). Received: {wanted}"
        )
    source_of = {target.name: source for target, source in zip(targets, sources, strict=True)}

    def clone(layer):
        if layer.name not in source_of:
            return layer.__class__.from_config(layer.get_config())
        tied = TiedDense(layer.units, layer.activation, layer.use_bias, name=layer.name, dtype=layer.dtype_policy)
        return tied.tie_to(source_of[layer.name])

    tied = keras.models.clone_model(decoder, clone_function=clone)
    for layer in targets:
        if layer.use_bias:
            tied.get_layer(layer.name).bias.assign(layer.bias)
    return tied


def _dense_layers(network, role):
    layers = [layer for layer in network.layers if layer.weights]
    for layer in layers:
        if not isinstance(layer, (keras.layers.Dense, TiedDense)):
            raise ValueError(
                "`tied` weights require networks of Dense layers only: use networks.mlp, or tied=False. "
                f"Received: {role} with a {type(layer).__name__}"
            )
    return layers


@keras.saving.register_keras_serializable(package="kvae")
class BilinearSampler(keras.layers.Layer):
    """Sample images at positions displaced by a flow, by bilinear interpolation.

    y[i, j] = x[i + flow[i, j, 0], j + flow[i, j, 1]], interpolated between the four pixels around that position.
    Positions outside the image are moved to its border, as by `scipy.ndimage.map_coordinates(order=1, mode="nearest")`.
    A flow of 0 is the identity. The outputs are differentiable in both inputs. Outside the image the gradient in the
    flow is 0; exactly on a pixel it is the slope to the next one, in the last row and column that from the one before.
    See Jaderberg et al. 2015, section 3.3 (https://arxiv.org/abs/1506.02025).

    Inputs: a list of `images` `(batch, height, width, channels)` and `flow` `(batch, height, width, 2)`, which holds
    the displacements (down, right) in pixels. Outputs: float32 `(batch, height, width, channels)`, whatever the policy:
    half precision would round the positions in wide images to whole pixels.

    Args:
        **kwargs: as in `keras.layers.Layer`.

    Raises:
        ValueError: if the shapes of images and flow do not fit together.

    Example:

    >>> image = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    >>> half_right = np.broadcast_to(np.float32([0, 0.5]), (1, 3, 3, 2))
    >>> ops.convert_to_numpy(kvae.layers.BilinearSampler()([image, half_right]))[0, :, :, 0]
    array([[0.5, 1.5, 2. ],
           [3.5, 4.5, 5. ],
           [6.5, 7.5, 8. ]], dtype=float32)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        _check_shapes([checks.static_shape(each) for each in inputs])
        images, flow = (ops.cast(each, "float32") for each in inputs)
        batch, height, width, channels = ops.shape(images)
        top, bottom, down = _neighbours(flow[..., 0], ops.expand_dims(ops.arange(height), 1), height)
        left, right, across = _neighbours(flow[..., 1], ops.arange(width), width)
        pixels = ops.reshape(images, (-1, channels))
        first = ops.reshape(ops.arange(batch) * height * width, (-1, 1, 1))  # of each image, in `pixels`

        def row(i):
            here, there = (ops.take(pixels, first + i * width + j, axis=0) for j in (left, right))
            return here + across * (there - here)

        above, below = row(top), row(bottom)
        return above + down * (below - above)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        _check_shapes(input_shape)
        return input_shape[0]


@keras.saving.register_keras_serializable(package="kvae")
class Resize(keras.layers.Layer):
    """Resize images `(batch, height, width, channels)` by bilinear interpolation, with antialiasing where they shrink.

    In a network with batch normalisation `keras.layers.Resizing` is no substitute: all layers after it would run in
    training mode in Keras 3.15, also in `predict`, because its own default is `training=True`.

    Args:
        height: int, of the result.
        width: int, of the result.
        **kwargs: as in `keras.layers.Layer`.

    Example:

    >>> tuple(kvae.layers.Resize(14, 14)(np.zeros((1, 28, 20, 3))).shape)
    (1, 14, 14, 3)
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height = checks.positive_integer(height, "height")
        self.width = checks.positive_integer(width, "width")
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        size = (self.height, self.width)
        images = ops.image.resize(inputs, size, antialias=True, data_format="channels_last")
        return ops.cast(images, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.height, self.width, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


@keras.saving.register_keras_serializable(package="kvae")
class PrecisionWeighted(keras.layers.Layer):
    """The normalised product of two normal densities, with which a ladder merges what image and prior say of a code.

    Precisions add up, 1/σ² = 1/σ₁² + 1/σ₂², and the mean is weighted by them, μ = σ² (μ₁/σ₁² + μ₂/σ₂²) (Sønderby et al.
    2016, https://arxiv.org/abs/1602.02282, section 2).

    Inputs: a list of two tensors `(..., 2 · size)`, `[mean, log_var]` on the last axis. Outputs: the same for the
    product, in float32.

    Args:
        **kwargs: as in `keras.layers.Layer`.

    Example:

    >>> one, other = np.float32([[0.0, 0.0]]), np.float32([[4.0, np.log(3.0)]])  # N(0, 1) and N(4, 3)
    >>> mean, log_var = ops.convert_to_numpy(kvae.layers.PrecisionWeighted()([one, other]))[0]
    >>> round(float(mean), 4), round(float(np.exp(log_var)), 4)
    (1.0, 0.75)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.family = Normal()
        self.built = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        (one, log_var), (other, other_log_var) = map(self.family.mean_and_log_var, inputs)
        weight = ops.sigmoid(other_log_var - log_var)  # of the first: σ₂² / (σ₁² + σ₂²)
        mean = weight * one + (1.0 - weight) * other
        return ops.concatenate([mean, -ops.logaddexp(-log_var, -other_log_var)], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return input_shape[0]


def _check_shapes(shapes):
    images, flow = shapes if len(shapes) == 2 else ((), ())
    four_axes = len(images or ()) == len(flow or ()) == 4
    if not four_axes or not all(a == b or None in (a, b) for a, b in zip((*images[:3], 2), flow, strict=True)):
        raise ValueError(
            "BilinearSampler takes [images, flow] of shapes (batch, height, width, channels) and "
            f"(batch, height, width, 2). Received: shapes {', '.join(map(str, shapes))}"
        )


def _neighbours(displacement, index, length):
    """The pixels before and after each position along one axis, and how far it is from the first to the second."""
    last = ops.cast(length - 1, "float32")
    position = ops.cast(index, "float32") + displacement
    # Not `ops.clip`: backends differ in its gradient on the border itself, where a flow of 0 puts the outermost pixels.
    position = ops.where(position < 0.0, 0.0, ops.where(position > last, last, position))
    # A position that is not a number leaves the pixels inside the image, and the result not a number.
    before = ops.clip(ops.cast(ops.floor(position), "int32"), 0, ops.maximum(length - 2, 0))
    after = ops.minimum(before + 1, length - 1)
    return before, after, ops.expand_dims(position - ops.cast(before, "float32"), -1)
