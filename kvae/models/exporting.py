"""The functions of a model that are exported for inference: without losses and random numbers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class _Method(keras.layers.Layer):
    """What a method of a model computes, and nothing else of a pass over a batch."""

    def __init__(self, model: Any, method: str) -> None:
        super().__init__(dtype="float32", name=method)
        self.model, self.method = model, method
        self.built = True

    def call(self, inputs):
        given, *y = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
        condition = self.model.condition(None if not y else y[0] if len(y) == 1 else tuple(y))
        z = ops.cast(given, "float32")
        if self.method != "decode":
            z = self.model.code(self.model.inference(z, condition))
        if self.method == "encode":
            return z
        return self.model.likelihood.mean(self.model.generation(z[None], condition)[0])


def function(model: Any, method: str) -> keras.Model:
    """A Functional model, with the weights of `model`, that computes what one of its methods does.

    Args:
        model: a `kvae.models.encoder_decoder.EncoderDecoder`.
        method: "reconstruct", "encode" or "decode".

    Returns:
        A `keras.Model` with inputs named `x`, or `z` for "decode", and, for conditions, `y` (`y_0`, `y_1`, ... if there
        are several): int32 `(batch,)` for class labels, float32 `(batch, ...)` for arrays.
    """
    parts = () if model.conditions is None else model.conditions.parts
    name, shape = ("z", model.latent_shape) if method == "decode" else ("x", model.image_shape)
    inputs = [keras.Input(shape, name=name, dtype="float32")]
    for i, part in enumerate(parts):
        shape, dtype = (part.shape, "float32") if part.num_classes is None else ((), "int32")
        inputs.append(keras.Input(shape, name="y" if len(parts) == 1 else f"y_{i}", dtype=dtype))
    arguments = inputs if parts else inputs[0]
    return keras.Model(arguments, _Method(model, method)(arguments), name=model.name)
