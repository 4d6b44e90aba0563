"""Weight tying: a dense layer that uses the transposed kernel of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kvae.types import Activation, Shape, Tensor


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

    def call(self, inputs: Tensor) -> Tensor:
        if self._tied_kernel is None:
            raise ValueError(
                f"Layer {self.name!r} must be tied to another: call its tie_to, or load the whole model. "
                "Received: a layer without a kernel"
            )
        outputs = ops.matmul(inputs, ops.transpose(self._tied_kernel()))
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
