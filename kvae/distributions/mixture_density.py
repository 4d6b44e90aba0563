"""Mixture density networks (Bishop 1994): a network gives the parameters of a mixture of normals."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
from keras import ops

from kvae import checks
from kvae.distributions.normal import LOG_VAR_RANGE, Normal
from kvae.types import ArrayLike, Number, Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class MixtureDensity(keras.losses.Loss):
    """The density p(z|y) = Σ_k π_k(y) N(z | μ_k(y), σ_k²(y)) of vectors z, whose parameters a network computes from y.

    The network ends in a linear layer of `num_outputs` units: K logits of the weights π, then K means of `size` values,
    then log σ². The mixture itself is the loss −log p(z|y) to compile the network with, in nats per example, and after
    `keras.saving.load_model` it is the model's `loss`. Components start equal, up to the network's random weights. See
    Bishop 1994 (https://publications.aston.ac.uk/id/eprint/373/); for codes of images, with a fixed σ, Deshpande et al.
    2017 (https://arxiv.org/abs/1612.01958).

    Args:
        num_components: K.
        size: length of z.
        sigma: where σ comes from. `None`: from the network, one per component and dimension. "shared": from the
            network, one per dimension for all components. A float: fixed at that value.
        name, reduction, dtype: as in `keras.losses.Loss`.

    Attributes:
        num_outputs: how many numbers the network gives per example.

    Raises:
        ValueError: if a size is not a positive integer, or `sigma` is anything else.

    Example:

    ```python
    mixture = kvae.distributions.MixtureDensity(num_components=8, size=2)
    outputs = keras.layers.Dense(mixture.num_outputs)
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), outputs])
    network.compile(optimizer="adam", loss=mixture)
    network.fit(x, model.encode(x), epochs=20)
    modes, weights = mixture.modes(network.predict(x))  # (n, 8, 2), (n, 8), the heaviest component first
    model.decode(modes[:, 0])
    ```
    """

    def __init__(
        self,
        num_components: int,
        size: int,
        sigma: Number | Literal["shared"] | None = None,
        name: str = "mixture_density",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.num_components = checks.positive_integer(num_components, "num_components")
        self.size = checks.positive_integer(size, "size")
        self.sigma = checks.positive_number_or("shared", sigma, "sigma")
        self._num_variances = 1 if sigma == "shared" else self.num_components if sigma is None else 0
        self.num_outputs = self.num_components + (self.num_components + self._num_variances) * self.size
        self._normal = Normal()

    def components(self, params: ArrayLike | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split the network's outputs.

        Args:
            params: tensor `(..., num_outputs)`.

        Returns:
            Tuple of log π `(..., K)`, the means `(..., K, size)` and log σ² of the same shape, float32.

        Raises:
            ValueError: if the last axis does not have `num_outputs` entries.
        """
        params = self._with_last_axis(params, self.num_outputs, "params")
        k, d = self.num_components, self.size
        logits, means, log_vars = ops.split(params, [k, k + k * d], axis=-1)
        *batch, _ = ops.shape(params)
        means = ops.reshape(means, (*batch, k, d))
        if isinstance(self.sigma, float):
            log_vars = ops.full_like(means, 2.0 * math.log(self.sigma))
        else:
            log_vars = ops.reshape(ops.clip(log_vars, *LOG_VAR_RANGE), (*batch, self._num_variances, d))
            log_vars = ops.broadcast_to(log_vars, ops.shape(means))
        return ops.log_softmax(logits), means, log_vars

    def log_prob(self, z: ArrayLike | Tensor, params: ArrayLike | Tensor) -> Tensor:
        """log p(z|y), in nats.

        Args:
            z: tensor `(..., size)`.
            params: tensor `(..., num_outputs)`, whose leading axes broadcast against those of `z`.

        Returns:
            Tensor of the broadcast leading axes, float32.

        Raises:
            ValueError: if a last axis has another length.
        """
        z = ops.expand_dims(self._with_last_axis(z, self.size, "z"), -2)  # against the components
        log_weights, means, log_vars = self.components(params)
        log_prob = self._normal.log_prob(z, ops.concatenate([means, log_vars], axis=-1))
        return ops.logsumexp(log_weights + log_prob, axis=-1)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return -self.log_prob(y_true, y_pred)

    def sample(
        self, params: ArrayLike | Tensor, num_samples: int, seed: Seed = None, temperature: float = 1.0
    ) -> Tensor:
        """Draw vectors.

        Args:
            params: tensor `(batch, num_outputs)`.
            num_samples: number of draws per example.
            seed: int or `keras.random.SeedGenerator`.
            temperature: what σ is multiplied by.

        Returns:
            Tensor `(num_samples, batch, size)`. It is not differentiable in the weights.
        """
        log_weights, means, log_vars = self.components(params)
        one, other = checks.seeds(seed, 2)
        k = ops.transpose(keras.random.categorical(log_weights, num_samples, seed=one))  # (samples, batch)
        chosen = ops.expand_dims(ops.one_hot(k, self.num_components, dtype="float32"), -1)
        mean, log_var = (ops.sum(chosen * each, axis=-2) for each in (means, log_vars))
        noise = keras.random.normal(ops.shape(mean), dtype="float32", seed=other)
        return mean + temperature * ops.exp(0.5 * log_var) * noise

    def mean(self, params: ArrayLike | Tensor) -> Tensor:
        """E[z|y] = Σ_k π_k μ_k: `(..., size)` of `params` `(..., num_outputs)`."""
        log_weights, means, _ = self.components(params)
        return ops.sum(ops.expand_dims(ops.exp(log_weights), -1) * means, axis=-2)

    def modes(self, params: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
        """The components' means, the heaviest component first: the modes of p(z|y) where components do not overlap.

        Args:
            params: tensor `(..., num_outputs)`.

        Returns:
            Tuple of the means `(..., K, size)` and their weights `(..., K)`, which sum to 1.
        """
        log_weights, means, _ = self.components(params)
        order = ops.argsort(-log_weights, axis=-1)
        weights = ops.take_along_axis(ops.exp(log_weights), order, axis=-1)
        return ops.take_along_axis(means, ops.expand_dims(order, -1), axis=-2), weights

    def _with_last_axis(self, values, length, name):
        values = ops.cast(ops.convert_to_tensor(values), "float32")
        if not len(values.shape) or values.shape[-1] not in (None, length):
            of = f"K={self.num_components}, size={self.size}, sigma={self.sigma!r}"
            raise ValueError(
                f"`{name}` must have {length} values per example for a MixtureDensity of {of}. "
                f"Received: shape {tuple(values.shape)}"
            )
        return values

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "size": self.size,
            "sigma": self.sigma,
            "dtype": self.dtype,
        }
