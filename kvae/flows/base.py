"""What every flow offers: an invertible map of vectors, its inverse, and log |det| of the Jacobian of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from kvae import checks
from kvae.types import Tensor


class Flow(keras.layers.Layer):
    """Base class of the flows: a bijection f of vectors `(..., size)` with weights of its own.

    A subclass implements `make_weights`, `forward`, and `inverse` if it has one. Both may use a context, such as an
    encoder's outputs beside the parameters of q(z_0|x): a tensor `(..., context_size)` with the leading axes of the
    vectors, or `None`.

    Attributes:
        ordered: whether f treats dimensions by their order, so that a chain reverses it between two flows.
        smallest: the smallest number of dimensions that f can map.
        size: dimensions of the vectors; set by `bind`.
        context_size: numbers in a context, 0 without one; set by `bind`.
    """

    ordered: bool = False
    smallest: int = 1

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})  # whatever the policy of the networks

    def bind(self, size: int, context_size: int = 0) -> None:
        """Create the weights for vectors of a size.

        Raises:
            ValueError: if the flow already has weights, or cannot map so few dimensions.
        """
        if hasattr(self, "size"):
            raise ValueError("`flows` must be new objects for each model. Received: those of another model")
        if size < self.smallest:
            raise ValueError(
                f"{type(self).__name__} needs at least {self.smallest} dimensions: use another flow. Received: {size}"
            )
        self.size, self.context_size = size, context_size
        self.make_weights()
        self.built = True

    def make_weights(self) -> None:
        """Create the weights, of which there may be none."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return f(z) `(..., size)` and log |det ∂f/∂z| `(...)`."""
        raise NotImplementedError(f"{type(self).__name__} has no forward direction, only an inverse")

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return f⁻¹(value) `(..., size)` and log |det ∂f⁻¹/∂value| `(...)`."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse, only a forward direction")

    def network(self, inputs: int, hidden: Sequence[int], outputs: int) -> keras.Sequential:
        """A multilayer perceptron whose outputs start at zero, at which a flow is the identity."""
        dense = [layers.Dense(units, activation="relu", dtype="float32") for units in hidden]
        last = layers.Dense(outputs, kernel_initializer="zeros", dtype="float32")
        return keras.Sequential([keras.Input((inputs,)), *dense, last])


@keras.saving.register_keras_serializable(package="kvae")
class Chain(Flow):
    """Flows after one another, f = f_n ∘ … ∘ f_1, with the dimensions reversed behind each ordered one but the last.

    Args:
        flows: list of `Flow`.

    Raises:
        ValueError: if there are none, or something else is among them.
    """

    def __init__(self, flows: Sequence[Flow], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(flows, (list, tuple)) or not flows or not all(isinstance(flow, Flow) for flow in flows):
            raise ValueError(f"`flows` must be a list of at least one flow, and flows only. Received: {flows!r}")
        self.flows = list(flows)

    def make_weights(self) -> None:
        for flow in self.flows:
            flow.bind(self.size, self.context_size)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = ops.zeros_like(z[..., 0])
        for flow in self.flows:
            z, log_det = flow.forward(z, context)
            z, total = self._turned(flow, z), total + log_det
        return z, total

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = ops.zeros_like(value[..., 0])
        for flow in reversed(self.flows):
            value, log_det = flow.inverse(self._turned(flow, value), context)
            total = total + log_det
        return value, total

    def _turned(self, flow, z):
        return ops.flip(z, axis=-1) if flow.ordered and flow is not self.flows[-1] else z

    def get_config(self) -> dict[str, Any]:
        flows = [keras.saving.serialize_keras_object(flow) for flow in self.flows]
        return {**super().get_config(), "flows": flows}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Chain:
        flows = [keras.saving.deserialize_keras_object(flow) for flow in config["flows"]]
        return cls(**{**config, "flows": flows})


def joined(z: Tensor, context: Tensor | None) -> Tensor:
    """A network's input: vectors, with their context behind them if there is one."""
    return z if context is None else ops.concatenate([z, context], axis=-1)


def hidden_sizes(hidden: Any) -> tuple[int, ...]:
    """Checked units of the hidden layers of a flow's network."""
    return tuple(checks.positive_integer(units, "hidden") for units in hidden)
