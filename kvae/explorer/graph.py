"""A model's `decode` as a list of steps over flat arrays, which a page can run without Keras.

The steps are found by walking the graph of Keras operations: the decoder's layers, whatever else the model's
`generation` applies, and the likelihood's mean. `kvae/explorer/static/decode.js` runs them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kvae.explorer import steps, weights
from kvae.explorer.calls import Call, UnsupportedError
from kvae.models import capabilities

MOST_WEIGHTS = 2**21  # 4 MB in half precision, 5.6 MB in a page
MOST_PRODUCTS = 2**24  # of numbers and weights per image: about 20 ms in a browser


class TooLargeError(ValueError):
    """A decoder that a page cannot hold, or not run while somebody drags."""


@dataclasses.dataclass
class Program:
    """The steps of a decoder.

    Attributes:
        inputs: lengths of its inputs, the code and the parts of the condition, which are values 0, 1, ...
        steps: dicts with the name `op` of a step, the numbers of its `inputs` and of its `output`, its weights as
            arrays, and what else `decode.js` needs to run it.
        output: number of the value that holds the pixel means.
        weights: how many there are.
        products: multiplications of numbers and weights.
    """

    inputs: list[int]
    steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    output: int = 0
    weights: int = 0
    products: int = 0

    def add(self, op: str, inputs: Sequence[int], products: int = 0, **attributes: Any) -> int:
        """Append a step, and return the number of its output."""
        self.weights += sum(value.size for value in attributes.values() if isinstance(value, np.ndarray))
        self.spend(products)
        output = len(self.inputs) + len(self.steps)
        self.steps.append({"op": op, "inputs": list(inputs), "output": output, **attributes})
        return output

    def spend(self, products: int) -> None:
        """Count products, and raise `TooLargeError` if these or the weights are too many."""
        self.products += products
        if self.weights > MOST_WEIGHTS or self.products > MOST_PRODUCTS:
            raise TooLargeError(
                f"A page computes decoders of at most {MOST_WEIGHTS:,} weights and {MOST_PRODUCTS:,} products per image"
            )

    def used(self) -> list[dict[str, Any]]:
        """The steps that the output needs: a likelihood's mean may not look at all of its parameters."""
        needed, found = {self.output}, []
        for step in reversed(self.steps):
            if step["output"] in needed:
                needed.update(step["inputs"])
                found.append(step)
        return found[::-1]


def program(model: Any) -> Program:
    """The steps that give the pixel means of a code, as `model.decode` does.

    Args:
        model: a model with a decoder.

    Raises:
        UnsupportedError: for a layer that the page cannot compute, with its name.
        TooLargeError: for a decoder beyond `MOST_WEIGHTS` or `MOST_PRODUCTS`.
    """
    parts = () if model.conditions is None else model.conditions.parts
    shapes = [(1, *model.latent_shape), *(tuple(part.shape) for part in parts)]  # of one sample
    z, *condition = (keras.Input(batch_shape=(1, *shape), dtype="float32") for shape in shapes)
    outputs = model.likelihood.mean(keras.ops.squeeze(model.generation(z, tuple(condition)), axis=0))
    found = Program([math.prod(shape) for shape in shapes])
    values = list(range(len(shapes)))
    if capabilities.has(model, "codebook"):
        values[0] = weights.quantize(found, values[0], np.array(keras.ops.convert_to_numpy(model.quantizer.codebook)))
    (found.output,) = _walk(found, keras.Model([z, *condition], outputs), values)
    return found


class _Recorded(keras.Operation):
    """Stands for an operation in a copy of its graph, so that the walk leaves no trace in the original."""

    def __init__(self, operation: keras.Operation) -> None:
        super().__init__()
        self.operation = operation

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.operation.compute_output_spec(*args, **kwargs)


def _walk(found: Program, network: keras.Model, values: Sequence[int]) -> list[int]:
    """Append the steps of a network that takes `values`, and return the numbers of its outputs."""
    known: dict[int, int] = {}  # from the id of a tensor to the number of its value
    kept: list[Any] = []  # the tensors, whose ids would otherwise be given away again

    def remember(tensors, numbers):
        for tensor, number in zip(keras.tree.flatten(tensors), numbers, strict=True):
            known[id(tensor)] = number
            kept.append(tensor)

    def record(operation, *args, **kwargs):
        outputs = _Recorded(operation)(*args, **kwargs)
        operation = operation.operation if isinstance(operation, _Recorded) else operation
        call = Call(
            operation,
            args,
            kwargs,
            [known[id(each)] for each in _tensors((args, kwargs))],
            [_shape(each) for each in _tensors((args, kwargs))],
            [_shape(each) for each in keras.tree.flatten(outputs)],
        )
        remember(outputs, _nested(found, call) if isinstance(operation, keras.Model) else steps.translate(found, call))
        return outputs

    copies = keras.tree.map_structure(
        lambda each: keras.Input(batch_shape=(1, *each.shape[1:]), dtype=each.dtype), network.input
    )
    remember(copies, values)
    copy = keras.models.clone_model(network, copies, clone_function=lambda layer: layer, call_function=record)
    return [known[id(each)] for each in copy.outputs]


def _nested(found, call):
    """Append the steps of a network inside another."""
    network = call.operation
    if isinstance(network, keras.Sequential):  # which `clone_model` would not tell its calls
        inputs = outputs = keras.Input(batch_shape=(1, *call.input_shapes[0]))
        for layer in network.layers:
            outputs = _Recorded(layer)(outputs)
        network = keras.Model(inputs, outputs)
    if not getattr(network, "inputs", None):
        raise UnsupportedError(network, "a subclass of keras.Model, whose layers are not known")
    return _walk(found, network, call.values)


def _shape(tensor):
    return tuple(tensor.shape[1:])


def _tensors(arguments):
    return [each for each in keras.tree.flatten(arguments) if isinstance(each, keras.KerasTensor)]
