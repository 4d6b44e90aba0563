"""Penalties on plain codes: sparse and contractive."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kvae import checks, networks
from kvae.penalties.base import Penalty
from kvae.types import Network, Seed, Tensor

DIFFERENCE_STEP = 1e-3  # of the input, times N(0, I); less drowns in float32's rounding, more sees the curvature


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class L1(Penalty):
    """Sparse code: weight · Σ_j |z_j|.

    The decoder can undo it by growing as the code shrinks; weight decay or tied weights prevent that.

    Args:
        weight: at least 0.

    Raises:
        ValueError: if `weight` is not a finite number of at least 0.

    Example:

    >>> pair = kvae.networks.mlp((8, 8, 1), latent_dim=64, posterior=None)
    >>> model = kvae.Autoencoder(*pair, penalty=kvae.penalties.L1(0.1))
    """

    weight: float

    def __post_init__(self) -> None:
        self._check_number("weight")

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        return self.weight * _mean_over_samples(ops.abs(z))


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class KLSparsity(Penalty):
    """Sparse code: weight · Σ_j KL(ρ ‖ ρ̂_j), ρ̂_j unit j's mean activation over the batch.

    KL(ρ ‖ ρ̂) = ρ log(ρ / ρ̂) + (1 − ρ) log((1 − ρ) / (1 − ρ̂)), as between two coins (Ng 2011, Sparse autoencoder,
    CS294A lecture notes, https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf). Every example of a batch
    gets the same penalty. The batch should be large enough to show a mean activation of ρ.

    Args:
        weight: at least 0.
        target: the wanted mean activation ρ, between 0 and 1.

    Raises:
        ValueError: if `weight` or `target` is out of range; in a model, if its codes are not confined to [0, 1].

    Example:

    >>> pair = kvae.networks.mlp((8, 8, 1), 64, hidden=(), posterior=None, code_activation="sigmoid")
    >>> model = kvae.Autoencoder(*pair, penalty=kvae.penalties.KLSparsity(3.0, target=0.05))
    """

    weight: float
    target: float = 0.05

    def __post_init__(self) -> None:
        self._check_number("weight")
        self._check_number("target", high=1.0)
        if self.target in (0, 1):
            raise ValueError(f"`target` must lie strictly between 0 and 1. Received: target={self.target!r}")

    def check(self, model: Any) -> None:
        activation = getattr(model.encoder.layers[-1], "activation", None)
        bounded = (keras.activations.sigmoid, keras.activations.hard_sigmoid, keras.activations.softmax)
        if activation not in bounded:
            raise ValueError(
                "`penalty` KLSparsity needs codes in [0, 1]: end the encoder in a sigmoid, as "
                'networks.mlp(..., posterior=None, code_activation="sigmoid") does. '
                f"Received: activation {getattr(activation, '__name__', activation)}"
            )

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        rho = self.target
        mean = ops.clip(ops.mean(z, axis=(0, 1)), 1e-6, 1.0 - 1e-6)  # ρ̂; a dead or saturated unit costs a lot, not ∞
        kl = rho * ops.log(rho / mean) + (1.0 - rho) * ops.log((1.0 - rho) / (1.0 - mean))
        return self.weight * ops.sum(kl) * ops.ones(ops.shape(params)[:1], "float32")


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Contractive(Penalty):
    """Contractive autoencoder: weight · ‖J‖_F², J = ∂z/∂x at each example.

    For an encoder of one dense layer with a sigmoid, tanh or linear code the norm is exact (Rifai, Vincent, Muller,
    Glorot, Bengio 2011, Contractive Auto-Encoders, eq. 1, 7 and their section 5.1; https://icml.cc/2011/papers/455_icmlpaper.pdf):
    ‖J‖_F² = Σ_j s'(a_j)² Σ_i W_ij². For deeper ones it is Hutchinson's estimate ‖J‖_F² = E ‖Jv‖², v ~ N(0, I), with
    the forward difference Jv ≈ (f(x + hv) − f(x)) / h, h = 1e-3, which every backend can differentiate once more. Its
    error is of order h², because v is symmetric. Dropout and batch normalisation run in inference mode here.

    Args:
        weight: at least 0.
        num_samples: vectors v per example in the estimate.

    Raises:
        ValueError: if `weight` is negative or `num_samples` is not a positive integer; in a model, if the estimate
            would pass through a layer in half precision, whose rounding exceeds the difference.

    Example:

    >>> pair = kvae.networks.mlp((8, 8, 1), latent_dim=64, posterior=None)
    >>> model = kvae.Autoencoder(*pair, penalty=kvae.penalties.Contractive(0.1))
    """

    weight: float
    num_samples: int = 1

    def __post_init__(self) -> None:
        self._check_number("weight")
        checks.positive_integer(self.num_samples, "num_samples")

    def check(self, model: Any) -> None:
        if one_dense_layer(model.encoder) is None:
            check_precision(self, model.encoder, "an encoder")

    def __call__(self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed) -> Tensor:
        dense = one_dense_layer(model.encoder)
        if dense is None:
            encode = functools.partial(networks.apply, model.encoder, training=False)
            return self.weight * jacobian_norm_estimate(encode, x, self.num_samples, seed)
        squares = ops.sum(ops.square(dense.kernel), axis=0)  # Σ_i W_ij²
        slope = SLOPES[dense.activation](params)
        return self.weight * ops.sum(ops.square(slope) * squares, axis=-1)


# s'(a) as a function of h = s(a).
SLOPES = {
    keras.activations.sigmoid: lambda h: h * (1.0 - h),
    keras.activations.tanh: lambda h: 1.0 - ops.square(h),
    keras.activations.linear: ops.ones_like,
}


def one_dense_layer(encoder: Network) -> keras.layers.Dense | None:
    """The `Dense` layer of an encoder whose only layer it is, if its slope is known; else `None`."""
    *before, last = encoder.layers
    reshapes = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape)
    exact = isinstance(last, keras.layers.Dense) and last.activation in SLOPES
    return last if exact and all(isinstance(layer, reshapes) for layer in before) else None


def _mean_over_samples(values):
    """Elementwise `values` `(samples, batch, *latent_shape)`, summed over dimensions: `(batch,)`."""
    return ops.mean(ops.sum(values, axis=tuple(range(2, len(values.shape)))), axis=0)


def check_precision(penalty: Penalty, network: Network, what: str) -> None:
    """Raise a `ValueError` if a network, called `what`, computes differences in half precision."""
    half = [layer for layer in network.layers if layer.weights and layer.compute_dtype in ("bfloat16", "float16")]
    if half:
        raise ValueError(
            f"`penalty` {type(penalty).__name__} requires {what} in float32, since half precision rounds its "
            'differences away: build it under keras.config.set_dtype_policy("float32"). '
            f"Received: layer {half[0].name!r} in {half[0].compute_dtype}"
        )


def jacobian_norm_estimate(function: Callable[[Tensor], Tensor], x: Tensor, num_samples: int, seed: Seed) -> Tensor:
    """Hutchinson's estimate of ‖J‖_F² of each example by forward differences.

    Args:
        function: from `(batch, *shape)` to `(batch, ...)`, such as a Keras model.
        x: tensor `(batch, *shape)`.
        num_samples: vectors v per example; the estimate's variance falls as 1 / num_samples.
        seed: int or `keras.random.SeedGenerator`.

    Returns:
        Tensor `(batch,)`.
    """
    start = function(x)
    v = keras.random.normal((num_samples, *ops.shape(x)), dtype=x.dtype, seed=seed)
    moved = ops.reshape(x + DIFFERENCE_STEP * v, (-1, *x.shape[1:]))
    ends = ops.reshape(function(moved), (num_samples, *ops.shape(start)))
    jv = (ends - start) / DIFFERENCE_STEP
    jv = ops.reshape(jv, (num_samples, -1, math.prod(start.shape[1:])))
    return ops.mean(ops.sum(ops.square(jv), axis=-1), axis=0)
