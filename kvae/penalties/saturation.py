"""Codes in the flat regions of their activation: the saturating autoencoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from kvae.penalties.base import Penalty
from kvae.types import Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Saturation(Penalty):
    """Saturating autoencoder: weight · Σ_j f_c(a_j), the distances of a_j from where the activation s is flat.

    Where all units of the code h = s(a) are flat, s'(a) = 0, the reconstruction is constant; the penalty keeps the
    others few and near (Goroshin & LeCun 2013, section 3, https://arxiv.org/abs/1301.3577). a_j is what the encoder's
    last activation is applied to. With "relu" and "soft_shrink", f_c is |h|, as for a sparse code; with "hard_sigmoid",
    "hard_tanh" and "relu6" codes tend to be binary.

    Args:
        weight: at least 0.

    Raises:
        ValueError: if `weight` is not a finite number of at least 0; in a model, if the encoder does not end in one of
            these activations: smooth ones like the sigmoid have no flat region.

    Example:

    >>> pair = kvae.networks.mlp((8, 8, 1), latent_dim=64, posterior=None, code_activation="hard_sigmoid")
    >>> model = kvae.Autoencoder(*pair, penalty=kvae.penalties.Saturation(0.1))
    """

    weight: float

    def __post_init__(self) -> None:
        self._check_number("weight")

    def check(self, model: Any) -> None:
        activation = getattr(model.encoder.layers[-1], "activation", None)
        if activation not in DISTANCES:
            known = [each.__name__ for each in DISTANCES]
            raise ValueError(
                "`penalty` Saturation needs codes with flat regions: end the encoder in one of "
                f"{known}, such as networks.mlp(..., posterior=None, code_activation={known[0]!r}). "
                f"Received: activation {getattr(activation, '__name__', activation)}"
            )

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        distance = DISTANCES[model.encoder.layers[-1].activation](params)
        return self.weight * ops.sum(distance, axis=tuple(range(1, len(params.shape))))


# f_c(a) as a function of h = s(a): the distance from a to the nearest point with s'(a) = 0.
DISTANCES = {
    keras.activations.hard_sigmoid: lambda h: 6.0 * ops.minimum(h, 1.0 - h),  # its slope is 1/6
    keras.activations.hard_tanh: lambda h: 1.0 - ops.abs(h),
    keras.activations.relu: lambda h: h,
    keras.activations.relu6: lambda h: ops.minimum(h, 6.0 - h),
    keras.activations.soft_shrink: ops.abs,
}
