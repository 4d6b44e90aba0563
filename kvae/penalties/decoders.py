"""Regularised autoencoders: penalties on the size of codes and on the decoder (Ghosh et al. 2020)."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from kvae import checks, networks
from kvae.penalties.base import Penalty
from kvae.penalties.codes import check_precision, jacobian_norm_estimate
from kvae.types import Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class CodeNorm(Penalty):
    """Small codes: weight · ½ ‖z‖², the part of a VAE's KL that depends on the mean.

    Together with `DecoderDecay` or `DecoderGradient`, without which the decoder would undo it by growing, it makes the
    regularised autoencoder of Ghosh et al. 2020, eq. 11 (https://arxiv.org/abs/1903.12436). `kvae.priors.fit` then fits
    a density to the codes, from which to generate.

    Args:
        weight: at least 0.

    Raises:
        ValueError: if `weight` is not a finite number of at least 0.

    Example:

    >>> from kvae.penalties import CodeNorm, DecoderDecay
    >>> pair = kvae.networks.mlp((8, 8, 1), latent_dim=8, posterior=None)
    >>> model = kvae.Autoencoder(*pair, penalty=[CodeNorm(1e-2), DecoderDecay(1e-4)])
    """

    weight: float

    def __post_init__(self) -> None:
        self._check_number("weight")

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        squares = ops.sum(ops.square(z), axis=tuple(range(2, len(z.shape))))
        return 0.5 * self.weight * ops.mean(squares, axis=0)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class DecoderDecay(Penalty):
    """Weight decay of the decoder: weight · ½ Σ θ² over its trainable weights; RAE-L2 of Ghosh et al. 2020.

    Every example of a batch gets the same penalty.

    Args:
        weight: at least 0.

    Raises:
        ValueError: if `weight` is not a finite number of at least 0.

    Example:

    >>> pair = kvae.networks.mlp((8, 8, 1), latent_dim=8, posterior=None)
    >>> model = kvae.Autoencoder(*pair, penalty=kvae.penalties.DecoderDecay(1e-4))
    """

    weight: float

    def __post_init__(self) -> None:
        self._check_number("weight")

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        weights = model.decoder.trainable_weights
        total = sum(ops.sum(ops.square(ops.cast(ops.convert_to_tensor(each), "float32"))) for each in weights)
        return 0.5 * self.weight * total * ops.ones(ops.shape(params)[:1], "float32")


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class DecoderGradient(Penalty):
    """Smooth decoder: weight · ½ ‖∂x̂/∂z‖_F² at each code, x̂ the pixel means; RAE-GP of Ghosh et al. 2020, eq. 13.

    The norm is estimated as by `Contractive`: ‖J‖_F² = E ‖Jv‖², v ~ N(0, I), with Jv from forward differences.

    Args:
        weight: at least 0.
        num_samples: vectors v per example in the estimate.

    Raises:
        ValueError: if `weight` is negative or `num_samples` is not a positive integer; in a model, if its decoder takes
            a condition, or computes in half precision, whose rounding exceeds the differences.

    Example:

    >>> from kvae.penalties import CodeNorm, DecoderGradient
    >>> pair = kvae.networks.mlp((8, 8, 1), latent_dim=8, posterior=None)
    >>> model = kvae.Autoencoder(*pair, penalty=[CodeNorm(1e-2), DecoderGradient(1e-2)])
    """

    weight: float
    num_samples: int = 1

    def __post_init__(self) -> None:
        self._check_number("weight")
        checks.positive_integer(self.num_samples, "num_samples")

    def check(self, model: Any) -> None:
        if model.conditions is not None:
            raise ValueError(
                "`penalty` DecoderGradient needs a decoder of codes alone: use a VAE or an Autoencoder. "
                f"Received: {type(model).__name__}"
            )
        check_precision(self, model.decoder, "a decoder")

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        def images(z):
            return model.likelihood.mean(networks.apply(model.decoder, z, training=False))

        rows = ops.reshape(z, (-1, *z.shape[2:]))
        norms = jacobian_norm_estimate(images, rows, self.num_samples, seed)
        return 0.5 * self.weight * ops.mean(ops.reshape(norms, ops.shape(z)[:2]), axis=0)
