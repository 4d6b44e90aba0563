"""Layers with weights as steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from kvae.explorer.calls import Call, UnsupportedError, as_array, need_channels_last
from kvae.explorer.functions import activated
from kvae.types import Array

if TYPE_CHECKING:
    from kvae.explorer.graph import Program


def dense(found: Program, call: Call) -> int:
    """x W + b along the last axis."""
    layer = call.operation
    kernel, bias = as_array(layer.kernel), as_array(layer.bias) if layer.use_bias else None
    places = math.prod(call.input_shapes[0]) // len(kernel)
    value = found.add("dense", call.values, places * kernel.size, kernel=kernel, bias=bias, size=kernel.shape)
    return activated(found, call, value)


def convolution(found: Program, call: Call) -> int:
    """A convolution or a transposed one, of images or series."""
    layer, transposed = call.operation, isinstance(call.operation, (layers.Conv1DTranspose, layers.Conv2DTranspose))
    need_channels_last(layer)
    if getattr(layer, "groups", 1) != 1 or set(layer.dilation_rate) != {1} or layer.padding not in ("same", "valid"):
        raise UnsupportedError(layer, "with groups, dilation or causal padding")
    if getattr(layer, "output_padding", None) is not None:
        raise UnsupportedError(layer, "with output_padding")
    kernel, source, target = as_array(layer.kernel), call.input_shapes[0], call.output_shapes[0]
    strides = tuple(layer.strides)
    if len(source) == 2:  # a series is an image of one row
        kernel, source, target, strides = kernel[None], (1, *source), (1, *target), (1, *strides)
    if transposed:
        kernel = kernel.swapaxes(2, 3)  # input channels before filters, as in a convolution
    larger, smaller = (target, source) if transposed else (source, target)
    before = [  # what padding adds before the first row and column of the larger side
        max((few - 1) * stride + size - many, 0) // 2 if layer.padding == "same" else 0
        for many, few, stride, size in zip(larger, smaller, strides, kernel.shape[:2], strict=False)
    ]
    value = found.add(
        "convTranspose" if transposed else "conv",
        call.values,
        smaller[0] * smaller[1] * kernel.size,
        kernel=kernel,
        bias=as_array(layer.bias) if layer.use_bias else None,
        size=kernel.shape[:2],
        source=source,
        target=target,
        strides=strides,
        before=before,
    )
    return activated(found, call, value)


def batch_normalization(found: Program, call: Call) -> int:
    """a x + b with the moving moments folded into a and b."""
    layer = call.operation
    if layer.axis not in (-1, len(call.input_shapes[0])):
        raise UnsupportedError(layer, f"over axis {layer.axis}, which is not the last one")
    if call.kwargs.get("training"):
        raise UnsupportedError(layer, "called with training=True")
    scale = 1.0 / np.sqrt(as_array(layer.moving_variance) + layer.epsilon)
    scale = scale * as_array(layer.gamma) if layer.scale else scale
    shift = -as_array(layer.moving_mean) * scale
    shift = shift + as_array(layer.beta) if layer.center else shift
    return found.add("affine", call.values, scale=scale, shift=shift)


def quantize(found: Program, value: int, codebook: Array) -> int:
    """Append a step that replaces vectors by the nearest codes, as `kvae.quantization.Quantizer` does.

    Args:
        found: the program.
        value: number of the value that holds the vectors.
        codebook: codes `(num_quantizers, num_codes, size)`.
    """
    quantizers, codes, size = codebook.shape
    products = found.inputs[value] * quantizers * codes
    return found.add("quantize", [value], products, codebook=codebook, quantizers=quantizers, codes=codes, size=size)
