"""Masked and inverse autoregressive flows, on masked networks (Germain et al. 2015, https://arxiv.org/abs/1502.03509)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae.flows.base import Flow, hidden_sizes, joined
from kvae.types import Tensor

MOST = 3.0  # |log scale| of one masked autoregressive or coupling flow: e³, which a few in a chain multiply
OPEN = 2.0  # what an inverse autoregressive flow's gate starts at: σ(2) = 0.88, near the identity


class MaskedNetwork(keras.layers.Layer):
    """A multilayer perceptron whose i-th outputs depend on the inputs before the i-th only, and on a context.

    Args:
        size: number of inputs.
        hidden: units of the hidden layers.
        outputs: numbers for each input.
        context_size: numbers in a context.
    """

    def __init__(self, size: int, hidden: Sequence[int], outputs: int, context_size: int = 0) -> None:
        super().__init__(dtype="float32")
        self.outputs = outputs
        degrees = [np.concatenate([np.arange(1, size + 1), np.zeros(context_size, int)])]
        # Every degree from 0, of units that see the context alone, to size − 1, of which the last input is no part.
        degrees += [np.arange(units) % size for units in hidden]
        self.masks, self.kernels, self.biases = [], [], []
        for i, units in enumerate((*hidden, size * outputs)):
            last = i == len(hidden)
            after = np.tile(np.arange(1, size + 1), outputs) - 1 if last else degrees[i + 1]
            self.masks.append((degrees[i][:, None] <= after).astype("float32"))
            start = "zeros" if last else "glorot_uniform"
            self.kernels.append(self.add_weight(shape=self.masks[-1].shape, initializer=start, name=f"kernel_{i}"))
            self.biases.append(self.add_weight(shape=(units,), initializer="zeros", name=f"bias_{i}"))
        self.built = True

    def call(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs, each `(..., size)`, of inputs `(..., size + context_size)`."""
        h = inputs
        for i, (mask, kernel, bias) in enumerate(zip(self.masks, self.kernels, self.biases, strict=True)):
            h = ops.matmul(h if i == 0 else ops.relu(h), kernel * mask) + bias
        return tuple(ops.split(h, self.outputs, axis=-1))


class Autoregressive(Flow):
    """Base class of the flows that scale and shift each dimension by functions of those before it.

    Args:
        hidden: units of the hidden layers of the masked network.
    """

    ordered = True

    def __init__(self, hidden: Sequence[int] = (64, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden_sizes(hidden)

    def make_weights(self) -> None:
        self.masked = MaskedNetwork(self.size, self.hidden, 2, self.context_size)

    def shift_and_log_scale(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Functions of vectors `(..., size)`, the i-th of the dimensions before the i-th only."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": list(self.hidden)}


@keras.saving.register_keras_serializable(package="kvae")
class MaskedAutoregressive(Autoregressive):
    """f(z)_i = z_i exp(α_i) + μ_i with functions μ, α of f(z)_1, …, f(z)_{i−1} (Papamakarios et al. 2017).

    Densities, which need the inverse, take one pass of the network; a draw takes as many as there are dimensions. Hence
    for priors (https://arxiv.org/abs/1705.07057, section 3.1).

    Args:
        hidden: units of the hidden layers of the masked network.

    Example:

    >>> flow = kvae.flows.MaskedAutoregressive(hidden=(32,))
    >>> flow.bind(size=3)
    >>> z, log_det = flow.inverse(np.zeros((5, 3), "float32"))
    """

    def shift_and_log_scale(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self.masked(joined(z, context))
        return shift, limited(log_scale)

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self.shift_and_log_scale(value, context)
        return (value - shift) * ops.exp(-log_scale), -ops.sum(log_scale, axis=-1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        value = ops.zeros_like(z)
        for _ in range(self.size):  # each pass gets one more dimension right
            shift, log_scale = self.shift_and_log_scale(value, context)
            value = z * ops.exp(log_scale) + shift
        return value, ops.sum(log_scale, axis=-1)


@keras.saving.register_keras_serializable(package="kvae")
class InverseAutoregressive(Autoregressive):
    """f(z)_i = σ_i z_i + (1 − σ_i) m_i with functions m, σ of z_1, …, z_{i−1} (Kingma et al. 2016).

    σ is a gate in (0, 1). A draw with its density takes one pass of the network, the inverse as many as there are
    dimensions. Hence for posteriors (https://arxiv.org/abs/1606.04934, algorithm 1).

    Args:
        hidden: units of the hidden layers of the masked network.

    Example:

    >>> posterior = kvae.flows.Posterior([kvae.flows.InverseAutoregressive(hidden=(32,))], context=1)
    """

    def shift_and_log_scale(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        m, gate = self.masked(joined(z, context))
        return ops.sigmoid(-gate - OPEN) * m, -ops.softplus(-gate - OPEN)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self.shift_and_log_scale(z, context)
        return z * ops.exp(log_scale) + shift, ops.sum(log_scale, axis=-1)

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = ops.zeros_like(value)
        for _ in range(self.size):
            shift, log_scale = self.shift_and_log_scale(z, context)
            z = (value - shift) * ops.exp(-log_scale)
        return z, -ops.sum(log_scale, axis=-1)


def limited(log_scale: Tensor) -> Tensor:
    """A log scale of magnitude at most `MOST`, so that no scale overflows."""
    return MOST * ops.tanh(log_scale / MOST)
