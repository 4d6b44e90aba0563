"""A second stochastic layer as the prior of the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks, networks, outputs
from kvae.distributions import Normal
from kvae.priors.base import Prior
from kvae.types import Network, Seed, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class Hierarchical(Prior):
    """A second stochastic layer: p(z) = ∫ p(z|h) p(h) dh with h ~ N(0, I), inferred by q(h|z).

    `log_prob` draws h ~ q(h|z) and gives log p(z|h) + log p(h) − log q(h|z). Its exponential is an unbiased estimate of
    p(z), so every importance-weighted quantity stays exact in expectation. A VAE with this prior is the two-layer
    model of Burda, Grosse, Salakhutdinov 2016, eq. 3 and 4, with z the layer next to the image.

    Args:
        encoder: Functional model from z `(batch, *latent_shape)` to the parameters of q(h|z), `[mean, log_var]`.
        decoder: Functional model from h to the parameters of p(z|h), `[mean, log_var]`. `kvae.networks.mlp` makes the
            pair: `mlp((latent_dim,), top_dim, hidden=(100, 100), likelihood=kvae.distributions.Normal())`.

    Example:

    >>> encoder, decoder = kvae.networks.mlp((28, 28, 1), latent_dim=100)
    >>> pair = kvae.networks.mlp((100,), 50, hidden=(100, 100), likelihood=kvae.distributions.Normal())
    >>> model = kvae.VAE(encoder, decoder, prior=kvae.priors.Hierarchical(*pair))
    """

    stochastic = True

    def __init__(self, encoder: Network, decoder: Network, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.top_family = Normal()

    @property
    def top_dim(self) -> int:
        """Number of dimensions of h."""
        return self.decoder.inputs[0].shape[-1]

    def make_weights(self, image_shape: Shape, encode: Callable[[Tensor], Tensor]) -> None:
        shapes = tuple(
            tuple(shape[1:])
            for shape in (self.encoder.inputs[0].shape, self.encoder.output_shape, self.decoder.output_shape)
        )
        expected = (self.latent_shape, (2 * self.top_dim,), self.params_shape)
        if shapes != expected:
            raise ValueError(
                f"`prior` must have an encoder from {expected[0]} to {expected[1]} and a decoder to {expected[2]}: use "
                f"networks.mlp({self.latent_shape}, top_dim, likelihood=Normal()). Received: {shapes}"
            )
        outputs.check(self.encoder, "prior", self.top_family)
        outputs.check(self.decoder, "prior", self.family)

    def top_params(self, z: Tensor) -> Tensor:
        """Parameters of q(h|z), `(rows, 2 · top_dim)`, of codes `(rows, *latent_shape)`."""
        return networks.apply(self.encoder, z)

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        rows = ops.reshape(z, (-1, *self.latent_shape))
        h, log_q = self.top_family.sample_and_log_prob(self.top_params(rows), 1, seed)
        log_prob = (
            self.family.log_prob(rows, networks.apply(self.decoder, h[0]), self.event_ndim)
            + self.top_family.log_prob(h[0], ops.zeros((1, 2 * self.top_dim), "float32"))
            - log_q[0]
        )
        return ops.reshape(log_prob, ops.shape(z)[: -self.event_ndim])

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        one, other = checks.seeds(seed, 2)
        h = self.draw(self.top_family, ops.zeros((n, 2 * self.top_dim), "float32"), one, temperature)
        return self.draw(self.family, networks.apply(self.decoder, h), other, temperature)

    def get_config(self) -> dict[str, Any]:
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Hierarchical:
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**{**config, **parts})
