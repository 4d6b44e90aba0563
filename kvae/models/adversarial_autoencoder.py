"""The adversarial autoencoder, whose codes follow a prior (Makhzani et al. 2016)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvae import checks, networks, priors
from kvae.distributions import Normal
from kvae.models.adversarial import is_right
from kvae.models.autoencoder import Autoencoder
from kvae.models.batches import Batch, BatchResult, Pass
from kvae.models.density import PriorModel
from kvae.training.held import held
from kvae.types import Network, Number, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class AdversarialAutoencoder(PriorModel, Autoencoder):  # type: ignore[misc]  # it has a prior to generate from
    """An autoencoder whose codes a discriminator D cannot tell from draws of N(0, I), trained with `fit(x)`.

    In the place of a VAE's KL, D pulls the distribution of all codes towards the prior, so that images can be generated
    (https://arxiv.org/abs/1511.05644, section 2). With z the code of an image and z_p a draw of the prior,

    - encoder and decoder minimise `reconstruction_loss` + `penalty_loss`, and the encoder γ times `fooling_loss` =
      −log D(z) as well;
    - the discriminator minimises `discriminator_loss` = −log D(z_p) − log(1 − D(z)).

    All are in nats per example. `real_accuracy` and `fake_accuracy` are the shares of prior draws and of codes that D
    gets right: near 1 it has won, near ½ it guesses.

    Args:
        encoder: as in `Autoencoder`.
        decoder: as in `Autoencoder`.
        discriminator: Functional Keras model from codes `(batch, *latent_shape)` to logits `(batch, 1)`, such as
            `kvae.networks.discriminator((latent_dim,))`.
        gamma: γ, at least 0.
        **kwargs: as in `Autoencoder`.

    Raises:
        ValueError: as for `Autoencoder`, and if the discriminator does not fit the codes.

    Example:

    >>> encoder, decoder = kvae.networks.mlp(x.shape[1:], latent_dim=2, posterior=None)
    >>> discriminator = kvae.networks.discriminator((2,), hidden=(64,))
    >>> model = kvae.AdversarialAutoencoder(encoder, decoder, discriminator, loss="cross_entropy")
    >>> model.compile(optimizer=keras.optimizers.Adam(1e-3), discriminator_optimizer=keras.optimizers.Adam(1e-3))
    >>> model.generate(16, seed=0).shape  # before training by model.fit(data.x_train, epochs=100)
    (16, 8, 8, 1)
    """

    term_names = (
        *Autoencoder.term_names,
        "fooling_loss",
        "discriminator_loss",
        "real_accuracy",
        "fake_accuracy",
    )
    optimizer_groups = {"discriminator": ("discriminator",)}

    def __init__(
        self, encoder: Network, decoder: Network, discriminator: Network, gamma: Number = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(encoder, decoder, **kwargs)
        networks.check_judge(discriminator, "discriminator", self.latent_shape, 1, of="codes")
        self.discriminator = discriminator
        self.gamma = checks.number(gamma, "gamma", at_least=0)
        self.prior = priors.Standard()
        self.prior.bind(Normal(), self.latent_shape, self.image_shape, self.inference)

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"adversary"}

    def logits(self, z: Tensor) -> Tensor:
        """The discriminator's logits `(batch,)` that codes `(batch, *latent_shape)` are draws of the prior."""
        return networks.apply(self.discriminator, z)[:, 0]

    def loss_terms(self, batch: Batch, target: Tensor, forward: Pass) -> BatchResult:
        result = super().loss_terms(batch, target, forward)
        z = forward.z[0]
        with held(self.discriminator):  # trains the encoder
            fooling_loss = ops.softplus(-self.logits(z))
        drawn = self.prior.sample(ops.shape(z)[0], (), self.seed_generator)
        real, fake = self.logits(drawn), self.logits(ops.stop_gradient(z))
        terms = {
            "fooling_loss": fooling_loss,
            "discriminator_loss": ops.softplus(-real) + ops.softplus(fake),
            "real_accuracy": is_right(real),
            "fake_accuracy": is_right(-fake),
        }
        losses = (*result.losses, self.gamma * fooling_loss, terms["discriminator_loss"])
        return result._replace(losses=losses, terms=result.terms | terms)

    def get_config(self) -> dict[str, Any]:
        discriminator = keras.saving.serialize_keras_object(self.discriminator)
        return {**super().get_config(), "discriminator": discriminator, "gamma": self.gamma}
