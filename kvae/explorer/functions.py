"""Functions of each number, or of the numbers along the last axis, as steps."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from kvae.explorer.calls import Call, UnsupportedError

if TYPE_CHECKING:
    from kvae.explorer.graph import Program

FUNCTIONS = {  # names of operations, and of the functions in `decode.js`
    "Absolute": "abs",
    "Clip": "clip",
    "Elu": "elu",
    "Exp": "exp",
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "LeakyRelu": "leaky_relu",
    "Log": "log",
    "LogSoftmax": "log_softmax",
    "Negative": "negative",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Square": "square",
    "Tanh": "tanh",
}
PARAMETERS = {  # attributes of operations, in the order in which the functions take them
    "clip": ("x_min", "x_max"),
    "elu": ("alpha",),
    "gelu": ("approximate",),
    "leaky_relu": ("negative_slope",),
}


def function(found: Program, call: Call, name: str, source: Any) -> int:
    """A function of each number, or of the last axis, whose parameters are attributes of `source`."""
    if name in ("softmax", "log_softmax") and source.axis not in (-1, len(call.input_shapes[0])):
        raise UnsupportedError(call.operation, f"over axis {source.axis}, which is not the last one")
    parameters = [float(getattr(source, each)) for each in PARAMETERS.get(name, ())]
    return found.add("apply", call.values[:1], function=name, parameters=parameters, width=call.input_shapes[0][-1])


def activated(found: Program, call: Call, value: int) -> int:
    """`value` after the activation of a layer, one of Keras's functions with its default parameters."""
    given = call.operation.activation
    name = getattr(given, "__name__", "")
    if given in (None, keras.activations.linear):
        return value
    own = [getattr(module, name, None) for module in (keras.activations, ops)]
    name = {"exponential": "exp"}.get(name, name)
    if not any(given is each for each in own) or name not in FUNCTIONS.values():
        raise UnsupportedError(call.operation, f"with the activation {name or given!r}")
    defaults = inspect.signature(given).parameters
    parameters = [float(defaults[each].default) for each in PARAMETERS.get(name, ())]
    width = call.output_shapes[0][-1]
    return found.add("apply", [value], function=name, parameters=parameters, width=width)
