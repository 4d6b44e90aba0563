"""What a network's outputs can be: the range to which its last operations confine each parameter.

A decoder that ends in a sigmoid trains without an error, but its outputs are read as logits, so that no pixel mean
leaves [0.5, 0.73]. The range is measured rather than looked up by name: whatever follows the last layer with weights is
run on numbers of every size, so `Activation`, `ReLU`, a `Lambda` and `keras.ops.sigmoid` are all seen alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from kvae.distributions import Distribution
from kvae.types import Array, Network, Tensor

ROWS = 64  # examples that are run through the last operations
LOGIT = 2.0  # logits must be able to reach this magnitude: a pixel mean of 0.12 or 0.88
UNBOUNDED = 500.0  # a magnitude that confined means do not have, and others reach on numbers of up to 1,000
ROUNDING = 1e-3  # of pixels, which may leave the range by as much
LOG_SCALE = 1.0  # log σ must be able to fall to −1
# Layers that move numbers around and change none of them.
MOVERS = (
    layers.Reshape,
    layers.Flatten,
    layers.Permute,
    layers.Concatenate,
    layers.Identity,
    layers.Dropout,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
)


class Range(NamedTuple):
    """The values that a parameter takes, and the operations that confine it to them."""

    name: str
    low: float
    high: float
    operations: str = ""

    def __str__(self) -> str:
        return f"{self.name} from {self.low:.3g} to {self.high:.3g}"


def ranges(network: Network, family: Distribution) -> list[Range]:
    """The range of each named parameter of `family` in a network's output; empty if no operation confines it.

    Args:
        network: Functional model with one output, whose last axis holds the parameters.
        family: `Distribution` whose `parameter_names` are those of the parameters.

    Example:

    >>> from kvae import outputs
    >>> network = keras.Model(decoder.input, ops.sigmoid(decoder.output))
    >>> str(outputs.ranges(network, kvae.distributions.Bernoulli())[0])
    'logits from 0 to 1'
    """
    try:
        run, names = _run(network)
        values = ops.convert_to_numpy(run()) if names else None
    except Exception:  # a layer of the user's that does not take such numbers; the doctor looks at real ones
        return []
    return [] if values is None else split(values, family, ", ".join(dict.fromkeys(names)))


def split(values: Array, family: Distribution, operations: str = "") -> list[Range]:
    """The range of each named parameter of `family` in `values` `(..., num_parameters · size)`, NaN left out."""
    if len(family.parameter_names) != family.num_parameters:
        return []
    parts = np.split(np.asarray(values, "float64"), family.num_parameters, axis=-1)
    return [
        Range(name, float(np.nanmin(part)) + 0.0, float(np.nanmax(part)) + 0.0, operations)  # no −0
        for name, part in zip(family.parameter_names, parts, strict=True)
    ]


def cure(found: Range) -> str | None:
    """How to fix a network whose parameter is confined to a range that it must be able to leave; `None` if it is not.

    Logits must reach large values of both signs, and the logarithm of a scale must reach negative values. A mean may be
    confined to any range, as pixel means are by a sigmoid.
    """
    name, low, high, _ = found
    if name == "logits" and (low > -LOGIT or high < LOGIT):
        return "drop the last activation; the likelihood applies the sigmoid itself"
    edge = -2.0 * LOG_SCALE if name == "log_var" else -LOG_SCALE
    if name.startswith("log_") and low > edge:
        return f"drop the activation from the {name}, which may be any real number; 0 stands for a scale of 1"
    return None


def check(network: Network, role: str, family: Distribution) -> None:
    """Raise a `ValueError` if a network's last operations keep it from giving the parameters of `family`.

    Args:
        network: as in `ranges`.
        role: the argument's name, for the message.
        family: `Distribution` that the network parameterises.
    """
    for found in ranges(network, family):
        fix = cure(found)
        if fix is not None:
            raise ValueError(
                f"`{role}` must not bound the {found.name} of the {type(family).__name__} distribution: {fix}. "
                f"Received: {found.operations} at its end, {found}"
            )


def reach(decoder: Network, family: Distribution) -> tuple[float, float]:
    """The lowest and the highest mean that a decoder can give: infinite unless its last operations confine it.

    Args:
        decoder: as in `ranges`.
        family: `Distribution` that it parameterises.

    Example:

    >>> from kvae import outputs
    >>> network = keras.Model(decoder.input, ops.tanh(decoder.output))
    >>> outputs.reach(network, kvae.distributions.Normal(sigma=1.0))
    (-1.0, 1.0)
    """
    for found in ranges(decoder, family):
        if found.name == "mean":
            low, high = (side if abs(side) < UNBOUNDED else math.copysign(math.inf, side) for side in found[1:3])
            return low, high
    return -math.inf, math.inf


def check_reach(x: Array, name: str, reached: tuple[float, float]) -> None:
    """Raise a `ValueError` if values of `x`, called `name`, lie outside what a decoder can give, as `reach` tells."""
    low, high = float(np.min(x)), float(np.max(x))
    if low < reached[0] - ROUNDING or high > reached[1] + ROUNDING:
        raise ValueError(
            f"`{name}` must lie between {reached[0]:.3g} and {reached[1]:.3g}, the range of the decoder's last "
            "activation, or a discriminator tells real from generated images by their range alone: rescale it, or drop "
            f"that activation. Received: values from {low:.3g} to {high:.3g}"
        )


def _run(network: Network) -> tuple[Callable[[], Tensor], list[str]]:
    """A function that runs the last operations on numbers of every size, and the names of those that change numbers."""
    output = network.outputs[0]
    graph = keras.Function(network.inputs, output)
    makers = {id(each): operation for operation in graph.operations for each in keras.tree.flatten(operation.output)}
    cuts: list[Tensor] = []  # where the last operations begin
    starts: list[Callable[[], Tensor]] = []  # the numbers to begin with
    names: list[str] = []
    waiting, seen = [output], set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation: Any = makers.get(id(tensor))
        begins = operation is None or isinstance(operation, (layers.InputLayer, keras.Model))
        if begins or getattr(operation, "weights", None):
            start, more = _begin(operation, tensor)
            cuts.append(tensor)
            starts.append(start)
            names += more
        else:
            if not isinstance(operation, MOVERS):
                names.append(_name(operation))
            waiting += keras.tree.flatten(operation.input)
    if cuts[0] is output:
        return starts[0], names
    tail = keras.Function(cuts, output)
    return lambda: tail([start() for start in starts]), names


def _begin(operation: Any, tensor: Tensor) -> tuple[Callable[[], Tensor], list[str]]:
    """A function that gives numbers for a tensor made by a layer with weights, and the names of what confines them."""
    if isinstance(operation, keras.Model) and len(getattr(operation, "outputs", None) or ()) == 1:
        return _run(operation)
    operation = operation.layer if isinstance(operation, layers.Wrapper) else operation
    # A layer of somebody else's may use its `activation` anywhere, not only last.
    own = operation is not None and type(operation).call.__module__.split(".")[0] in ("keras", "kvae")
    activation = getattr(operation, "activation", None) if own else None
    if activation in (None, keras.activations.linear):
        return lambda: _numbers(tensor), []
    return lambda: activation(_numbers(tensor)), [_name(operation)]


def _numbers(tensor):
    """Numbers of either sign and of magnitudes from 1e-3 to 1e3, in the shape and type of a symbolic tensor."""
    rng = np.random.default_rng(0)
    shape = (ROWS, *(4 if side is None else side for side in tensor.shape[1:]))
    values = rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-3.0, 3.0, shape)
    return ops.cast(values, tensor.dtype)


def _name(operation):
    activation = getattr(operation, "activation", None)
    return getattr(activation, "__name__", None) or type(operation).__name__
