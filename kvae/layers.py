"""Layers of the project's own: the dense layer whose weights are another's."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kvae")
class TiedDense(keras.layers.Layer):
    """A dense layer whose kernel is another layer's, transposed: y = activation(x Wᵀ + b). Only b is its own.

    Whose W it is no configuration can say, so a layer that comes from a file waits for `tie_to`, which
    `kvae.Autoencoder(..., tied=True)` calls.

    Args:
        units: int, outputs.
        activation: as in `keras.layers.Dense`.
        use_bias: bool.
        **kwargs: as in `keras.layers.Layer`.
    """

    def __init__(self, units, activation=None, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self._tied_kernel = None

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias") if self.use_bias else None

    def tie_to(self, dense):
        """Use the kernel of `dense`, a built `keras.layers.Dense`, from now on; returns the layer itself."""
        # In a function, because Keras would track and save an attribute with weights as this layer's own.
        self._tied_kernel = lambda: dense.kernel
        return self

    def call(self, inputs):
        if self._tied_kernel is None:
            raise ValueError(f"Layer {self.name!r} is not tied to another: call its tie_to, or load the whole model")
        outputs = ops.matmul(inputs, ops.transpose(self._tied_kernel()))
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


def tied_decoder(encoder, decoder):
    """The decoder with the encoder's weights, W_{L−l+1} = W_lᵀ: the dense kernels transposed, in reverse order.

    Args:
        encoder: Functional Keras model whose only weights are those of `Dense` layers.
        decoder: its mirror: as many dense layers, each from as many inputs to as many outputs as its partner from
            outputs to inputs. Biases are its own.

    Returns:
        A new Functional model like `decoder`, with `TiedDense` in the place of `Dense`.

    Raises:
        ValueError: if other layers have weights, or the dense layers do not mirror one another.
    """
    sources, targets = _dense_layers(encoder, "encoder")[::-1], _dense_layers(decoder, "decoder")
    shapes = [tuple(layer.kernel.shape[::-1]) for layer in sources]
    wanted = [(layer.input.shape[-1], layer.units) for layer in targets]
    if shapes != wanted:
        raise ValueError(
            "`tied` weights need a decoder that mirrors the encoder, its dense layers' (inputs, outputs) turned round: "
            f"{shapes}, as networks.mlp(..., posterior=None) gives it. Received: {wanted}"
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
                "`tied` weights are for networks of Dense layers alone: use networks.mlp, or tied=False. "
                f"Received: {role} with a {type(layer).__name__}"
            )
    return layers
