"""FactorVAE: the total correlation of the code by a discriminator (Kim & Mnih 2018)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvae import checks, networks
from kvae.models.batches import Batch, BatchResult, Pass
from kvae.models.vae import VAE
from kvae.training.held import held
from kvae.training.optimizers import GroupedOptimizer
from kvae.types import Network, Number, Seed, Tensor

HIDDEN = (256, 256, 256)  # of the default discriminator; the paper has six layers of 1,000, and GPUs


@keras.saving.register_keras_serializable(package="kvae")
class FactorVAE(VAE):
    """A VAE that also minimises γ · TC, the total correlation KL(q(z) ‖ Π_j q(z_j)) of its code.

    Kim & Mnih 2018, algorithm 2 (https://arxiv.org/abs/1802.05983). A discriminator D learns to tell codes of a batch
    from codes whose dimensions have each been permuted over the batch, which come from Π_j q(z_j). At its optimum, the
    logit of D is log q(z) − log Π_j q(z_j), and TC is its mean over codes. Encoder and decoder minimise the loss of the
    VAE plus γ times that mean; the discriminator minimises its cross-entropy, from the same batch.

    The logs hold, in addition to a VAE's, `total_correlation` (the logit, without γ) and `discriminator_loss`: log 2 if
    the two kinds of code cannot be told apart. `loss` is the sum of all that is minimised.

    Args:
        encoder: as in `VAE`.
        decoder: as in `VAE`.
        discriminator: Functional model from codes `(batch, *latent_shape)` to logits `(batch, 1)`; `None` for
            `networks.discriminator(latent_shape, (256, 256, 256))`.
        gamma: γ, at least 0.
        **kwargs: as in `VAE`.

    Raises:
        ValueError: as for `VAE`, if the discriminator does not fit the codes, or for a bound whose gradient is not
            "reparameterized".

    Example:

    >>> model = kvae.FactorVAE(encoder, decoder, gamma=10.0)
    >>> model.compile(optimizer=keras.optimizers.Adam(2e-3), discriminator_optimizer=keras.optimizers.Adam(1e-4))
    """

    term_names = (*VAE.term_names, "total_correlation", "discriminator_loss")
    optimizer_groups = {"discriminator": ("discriminator",)}

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        discriminator: Network | None = None,
        gamma: Number = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, **kwargs)
        self.gamma = checks.number(gamma, "gamma", at_least=0)
        if discriminator is None:
            discriminator = networks.discriminator(self.latent_shape, HIDDEN)
        self.discriminator = discriminator
        networks.check_judge(self.discriminator, "discriminator", self.latent_shape, 1, of="codes")
        if self.bound.gradient != "reparameterized":
            raise ValueError(
                'FactorVAE needs reparameterized samples: use a bound with gradient="reparameterized". '
                f"Received: gradient={self.bound.gradient!r}"
            )

    def compile(self, optimizer: Any = "adam", discriminator_optimizer: Any = None, **kwargs: Any) -> None:  # type: ignore[override]
        """Configure training as in `VAE.compile`.

        Args:
            optimizer: of encoder and decoder.
            discriminator_optimizer: of the discriminator; `None` for the paper's Adam(1e-4, beta_1=0.5, beta_2=0.9).
            **kwargs: as in `VAE.compile`.
        """
        if discriminator_optimizer is None and not isinstance(optimizer, GroupedOptimizer):
            discriminator_optimizer = keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9)
        super().compile(optimizer, discriminator_optimizer=discriminator_optimizer, **kwargs)

    def loss_terms(self, batch: Batch, forward: Pass, training: bool) -> BatchResult:
        result = super().loss_terms(batch, forward, training)
        z, permuted = forward.z, ops.stop_gradient(permute_dimensions(forward.z, self.seed_generator))
        with held(self.discriminator):  # trains encoder and decoder
            total_correlation = self._logits(z, training)
        judged = ops.stop_gradient(z)  # trains the discriminator
        judging = ops.softplus(-self._logits(judged, training)) + ops.softplus(self._logits(permuted, training))
        terms = {
            "total_correlation": ops.mean(total_correlation, axis=0),
            "discriminator_loss": 0.5 * ops.mean(judging, axis=0),
        }
        losses = (self.gamma * terms["total_correlation"], terms["discriminator_loss"])
        return result._replace(losses=(*result.losses, *losses), terms=result.terms | terms)

    def get_config(self) -> dict[str, Any]:
        discriminator = keras.saving.serialize_keras_object(self.discriminator)
        return {**super().get_config(), "discriminator": discriminator, "gamma": self.gamma}

    def _logits(self, z, training):
        """log D(z) − log(1 − D(z)), `(samples, batch)`, of codes `(samples, batch, *latent_shape)`."""
        rows = ops.reshape(z, (-1, *self.latent_shape))
        return ops.reshape(networks.apply(self.discriminator, rows, training=training), ops.shape(z)[:2])


def permute_dimensions(z: Tensor, seed: Seed) -> Tensor:
    """Permute each dimension of codes over the batch, independently of the others: draws from Π_j q(z_j).

    Args:
        z: codes `(samples, batch, *latent_shape)`.
        seed: int or `keras.random.SeedGenerator`.

    Returns:
        Tensor like `z`.
    """
    order = ops.argsort(keras.random.uniform(ops.shape(z), dtype="float32", seed=seed), axis=1)
    return ops.take_along_axis(z, order, axis=1)
