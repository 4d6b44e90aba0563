"""Categorical variables as one-hot vectors, and their relaxation, by which gradients pass through a draw."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution, noise_shape, uniform
from kvae.types import Array, Number, Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class Categorical(Distribution):
    """Categorical variables from logits; the last axis of a code is the one-hot vector of one variable.

    A code of shape `(values,)` is one variable, a code `(variables, values)` several, so the networks determine both
    numbers. As a posterior it goes with the uniform prior, and the KL is exact.

    Draws are argmax_k(l_k + g_k) with logits l and Gumbel noise g, which has no derivative. In training, a bound sees
    softmax((l + g) / τ) instead: the Gumbel-softmax or concrete distribution (Jang, Gu, Poole 2017, eq. 2,
    https://arxiv.org/abs/1611.01144; Maddison, Mnih, Teh 2017, https://arxiv.org/abs/1611.00712). The lower the
    temperature τ, the closer these are to one-hot vectors, and the noisier is the gradient. Outside of training, as in
    `evaluate`, `elbo` and `evaluation.log_likelihood`, all draws are exact. With `gradient="score_function"` they are
    exact in training as well.

    Args:
        temperature: τ, above 0; a variable, which `callbacks.TemperatureAnnealing` lowers.
        straight_through: whether decoders see exact draws in training too, with the gradient of the relaxed ones.

    Attributes:
        initial_temperature: τ as given.
        temperature: τ, the variable.

    Raises:
        ValueError: if `temperature` is not a positive number.

    Example:

    >>> networks = kvae.networks.mlp((8, 8, 1), latent_dim=(20, 10), posterior="categorical")  # 20 variables
    >>> model = kvae.VAE(*networks, posterior="categorical")
    >>> model.sample_prior(3).shape
    (3, 20, 10)
    """

    parameter_names = ("logits",)
    discrete = True

    def __init__(self, temperature: Number = 1.0, straight_through: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial_temperature = checks.positive_number(temperature, "temperature")
        self.straight_through = bool(straight_through)
        self.temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
            dtype="float32",
            autocast=False,
            name="temperature",
        )

    def _noisy(self, params, num_samples, seed):
        """Logits with Gumbel noise, `(num_samples, ...)`: their largest is at a draw of the distribution."""
        return ops.cast(params, "float32") - ops.log(-ops.log(uniform(noise_shape(num_samples, params), seed)))

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        params = ops.convert_to_tensor(params)
        return _one_hot_of_largest(self._noisy(params, num_samples, seed), params.dtype)

    def relaxed_sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        """Draws of the relaxed distribution: those of `sample` for the same integer seed, as τ approaches 0.

        Args:
            params: as in `sample`.
            num_samples: as in `sample`.
            seed: as in `sample`.

        Returns:
            Tensor `(num_samples, batch, ..., size)` of probability vectors, differentiable in `params`.
        """
        params = ops.convert_to_tensor(params)
        noisy = self._noisy(params, num_samples, seed)
        relaxed = ops.cast(ops.softmax(noisy / ops.convert_to_tensor(self.temperature), axis=-1), params.dtype)
        if not self.straight_through:
            return relaxed
        return _one_hot_of_largest(noisy, params.dtype) + (relaxed - ops.stop_gradient(relaxed))

    def sample_for_gradient(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        value = self.relaxed_sample(params, num_samples, seed)
        return value, self.log_prob(value, params, event_ndim)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        """Log-probability of each variable, at the place of its value: their sum over an event is that of the event.

        For a relaxed draw this is Σ_k z_k log π_k, which is not a density; only training uses it, with bounds that need
        log q(z|x) and log p(z).
        """
        return ops.multiply(value, ops.log_softmax(params, axis=-1))

    def mean(self, params: Tensor) -> Tensor:
        return ops.softmax(params, axis=-1)

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        """The draws as they are: there is nothing between two values."""
        return value

    def check(self, value: Array, name: str) -> None:
        check_simplex(
            value,
            f"`{name}` must hold one-hot vectors on its last axis for the Categorical likelihood, not negative and "
            "with a sum of 1: keras.utils.to_categorical makes them of integers",
        )

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        """Σ_k π_k (log π_k − log p_k) of each variable, divided equally among its values."""
        if not isinstance(prior, Categorical):
            return None
        log_q, log_p = (ops.log_softmax(each, axis=-1) for each in (params, prior_params))
        kl = ops.sum(ops.exp(log_q) * (log_q - log_p), axis=-1, keepdims=True)
        return kl * ops.ones_like(log_q) / log_q.shape[-1]

    def get_config(self) -> dict[str, Any]:
        more = {"temperature": self.initial_temperature, "straight_through": self.straight_through}
        return {**super().get_config(), **more}


def _one_hot_of_largest(values, dtype):
    return ops.one_hot(ops.argmax(values, axis=-1), values.shape[-1], dtype=dtype)


def check_simplex(value: Array, expected: str) -> None:
    """Raise a `ValueError` that begins with `expected` unless `value` `(n, ..., K)` holds probabilities of K values."""
    total = value.sum(axis=-1)
    wrong = (value < 0).any(axis=-1) | (np.abs(total - 1.0) > 1e-3)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"{expected}. Received: sum {total[at]:g}, smallest value {value[at].min():g} in example {at[0]}"
        )
