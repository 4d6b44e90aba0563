"""The part of a model that is exported for inference: images to reconstructions, without losses and random numbers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class _Reconstruction(keras.layers.Layer):
    """What `predict` computes, and nothing else of a pass over a batch."""

    def __init__(self, model: Any) -> None:
        super().__init__(dtype="float32", name="reconstruction")
        self.model = model
        self.built = True

    def call(self, inputs):
        x, *y = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
        condition = self.model.condition(None if not y else y[0] if len(y) == 1 else tuple(y))
        z = self.model.code(self.model.inference(ops.cast(x, "float32"), condition))
        return self.model.likelihood.mean(self.model.generation(z[None], condition)[0])


def reconstruction(model: Any) -> keras.Model:
    """A Functional model, with the weights of `model`, from `x` (or `[x, y, ...]`) to pixel means.

    Args:
        model: a `kvae.models.encoder_decoder.EncoderDecoder`.

    Returns:
        A `keras.Model` with inputs named `x` and, for conditions, `y` (`y_0`, `y_1`, ... if there are several): int32
        `(batch,)` for class labels, float32 `(batch, ...)` for arrays.
    """
    parts = () if model.conditions is None else model.conditions.parts
    inputs = [keras.Input(model.image_shape, name="x", dtype="float32")]
    for i, part in enumerate(parts):
        shape, dtype = (part.shape, "float32") if part.num_classes is None else ((), "int32")
        inputs.append(keras.Input(shape, name="y" if len(parts) == 1 else f"y_{i}", dtype=dtype))
    arguments = inputs if parts else inputs[0]
    return keras.Model(arguments, _Reconstruction(model)(arguments), name=model.name)
