"""What each Keras operation becomes in a page: one or two of the steps that `static/decode.js` can run.

A value is a flat array of one example's numbers, so that reshaping it takes no step. Layers that average, repeat or cut
rows and columns are linear in each axis: their matrices are measured by running them. So are the places from which
operations that only move numbers take them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops

from kvae.explorer import weights
from kvae.explorer.calls import Call, UnsupportedError, as_array, need_channels_last
from kvae.explorer.functions import FUNCTIONS, activated, function
from kvae.layers import JoinedDense, Resize, TiedDense

if TYPE_CHECKING:
    from kvae.explorer.graph import Program


def translate(found: Program, call: Call) -> list[int]:
    """Append the steps of an operation to a program, and return the numbers of its outputs."""
    operation, name = call.operation, type(call.operation).__name__
    if isinstance(operation, layers.Layer):
        if type(operation) in PASSING:
            return call.values[:1]
        if type(operation) not in LAYERS:  # a subclass may do anything
            raise UnsupportedError(operation)
        return [LAYERS[type(operation)](found, call)]
    if not type(operation).__module__.startswith("keras."):
        raise UnsupportedError(operation)
    if name in ("Cast", "StopGradient", "Identity"):
        return call.values[:1]
    if name in FUNCTIONS:
        return [function(found, call, FUNCTIONS[name], operation)]
    if name in COMBINED:
        return [_combined(found, call, COMBINED[name])]
    if name in MOVING:
        return _moved(found, call)
    raise UnsupportedError(operation)


COMBINED = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Divide": "divide", "TrueDivide": "divide"}
MOVING = (
    "ExpandDims",
    "Flip",
    "GetItem",
    "Moveaxis",
    "Ravel",
    "Repeat",
    "Reshape",
    "Roll",
    "Split",
    "Squeeze",
    "Swapaxes",
    "Tile",
    "Transpose",
)


def _combined(found, call, function):
    """Values, or a value and a constant, joined number by number."""
    (target,) = call.output_shapes
    symbolic, numbers = iter(zip(call.values, call.input_shapes, strict=True)), []
    for each in keras.tree.flatten((call.args, call.kwargs)):
        if isinstance(each, keras.KerasTensor):
            value, shape = next(symbolic)
            index = np.arange(1, math.prod(shape) + 1).reshape(1, *shape)
            numbers.append(_gathered(found, value, np.broadcast_to(index, (1, *target)), math.prod(shape)))
        elif each is not None:
            numbers.append(found.add("constant", [], values=np.array(np.broadcast_to(as_array(each), (1, *target)))))
    total, *others = numbers
    for other in others:
        total = found.add("combine", [total, other], function=function)
    return total


def _concatenated(found, call):
    axis = call.operation.axis
    axis = axis - 1 if axis > 0 else axis  # without the batch
    lengths = [math.prod(shape[axis:]) for shape in call.input_shapes]
    return found.add("concatenate", call.values, lengths=lengths)


def _joined(found, call):
    """A dense layer of several vectors side by side."""
    lengths = [math.prod(shape) for shape in call.input_shapes]
    value = found.add("concatenate", call.values, lengths=lengths)
    return weights.dense(found, dataclasses.replace(call, values=[value], input_shapes=[(sum(lengths),)]))


def _moved_layer(found, call):
    return _moved(found, call)[0]


def _moved(found, call):
    """Where each output takes its numbers from, measured by moving their places."""
    (shape,) = call.input_shapes
    places = np.arange(1, math.prod(shape) + 1, dtype="int32").reshape(1, *shape)

    def filled(each):
        return ops.convert_to_tensor(places) if isinstance(each, keras.KerasTensor) else each

    args, kwargs = keras.tree.map_structure(filled, (call.args, call.kwargs))
    moved = keras.tree.flatten(call.operation(*args, **kwargs))
    return [_gathered(found, call.values[0], as_array(each, "int32"), places.size) for each in moved]


def _gathered(found, value, places, length):
    """A value whose numbers come from `places`, counted from 1, of another; that other where none has moved."""
    places = np.ravel(places)
    if np.array_equal(places, np.arange(1, length + 1)):
        return value
    return found.add("gather", [value], places=(places - 1).astype("int32"))


def _resampled(found, call):
    """A layer that averages, repeats, adds or cuts rows and columns: R x Cᵀ in each channel."""
    layer, (height, width, channels), (rows, columns, _) = call.operation, call.input_shapes[0], call.output_shapes[0]
    need_channels_last(layer)
    found.spend((rows * width + rows * columns) * channels)  # before the matrices of large images are measured
    across = np.broadcast_to(np.eye(width, dtype="float32")[:, None, :, None], (width, height, width, 1))
    down = np.broadcast_to(np.eye(height, dtype="float32")[:, :, None, None], (height, height, width, 1))
    matrices = []
    for images, axis in ((down, 2), (across, 1)):
        out = as_array(layer(np.ascontiguousarray(images)))[..., 0]
        inner = np.argmax(out.sum(axis=(0, 3 - axis)))  # not in a border that the layer adds
        matrices.append(_sparse(np.take(out, inner, axis).T))
    source = (height, width, channels)
    return found.add("resample", call.values, source=source, rows=matrices[0], columns=matrices[1])


def _sparse(matrix):
    """For each row of a matrix, the first place that is not 0 and the numbers from there to the last one."""
    found = []
    for row in matrix:
        (used,) = np.nonzero(row)
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        found.append([first, [round(float(each), 7) for each in row[first:last]]])
    return found


def _activation(found, call):
    return activated(found, call, call.values[0])


def _rectified(found, call):
    layer = call.operation
    if layer.max_value is not None or layer.threshold:
        raise UnsupportedError(layer, "with max_value or threshold")
    return function(found, call, "leaky_relu", layer)


PASSING: Sequence[type] = (
    layers.ActivityRegularization,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.SpatialDropout2D,
)
LAYERS: dict[type, Callable[..., int]] = {
    layers.Activation: _activation,
    layers.Add: lambda found, call: _combined(found, call, "add"),
    layers.AveragePooling2D: _resampled,
    layers.BatchNormalization: weights.batch_normalization,
    layers.Concatenate: _concatenated,
    layers.Conv1D: weights.convolution,
    layers.Conv1DTranspose: weights.convolution,
    layers.Conv2D: weights.convolution,
    layers.Conv2DTranspose: weights.convolution,
    layers.Cropping1D: _moved_layer,
    layers.Cropping2D: _resampled,
    layers.Dense: weights.dense,
    layers.ELU: lambda found, call: function(found, call, "elu", call.operation),
    layers.Flatten: _moved_layer,
    layers.LeakyReLU: lambda found, call: function(found, call, "leaky_relu", call.operation),
    layers.Multiply: lambda found, call: _combined(found, call, "multiply"),
    layers.Permute: _moved_layer,
    layers.ReLU: _rectified,
    layers.RepeatVector: _moved_layer,
    layers.Reshape: _moved_layer,
    layers.Softmax: lambda found, call: function(found, call, "softmax", call.operation),
    layers.Subtract: lambda found, call: _combined(found, call, "subtract"),
    layers.UpSampling1D: _moved_layer,
    layers.UpSampling2D: _resampled,
    layers.ZeroPadding2D: _resampled,
    JoinedDense: _joined,
    Resize: _resampled,
    TiedDense: weights.dense,
}
