"""IntroVAE and Soft-IntroVAE: the encoder of a VAE is its discriminator (Huang et al. 2018; Daniel & Tamar 2021)."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kvae import checks, priors
from kvae.bounds import ELBO
from kvae.models.batches import Batch, BatchResult, Pass
from kvae.models.vae import VAE
from kvae.training.held import held
from kvae.types import Network, Number


@keras.saving.register_keras_serializable(package="kvae")
class IntroVAE(VAE):
    """A VAE whose encoder learns to tell images from generated ones by their codes, trained with `fit(x)`.

    Encoder and decoder minimise the negative ELBO of images x, and play a game over two kinds of generated image x_s:
    x_r, decoded from a draw of q(z|x), and x_p, decoded from one of the prior. With n the number of pixels, and
    E(x_s) = −E_q[log p(x_s|z)] + β_neg KL(q(z|x_s) ‖ p(z)), Soft-IntroVAE (https://arxiv.org/abs/2012.13253, eq. 8) has

    - `encoder_loss` = −ELBO(x) + n/2 · mean over s of exp(−2/n · E(x_s)), which lowers the ELBO of generated images;
    - `decoder_loss` = −E_q[log p(x|z)] + β · mean over s of KL(q(z|x_s) ‖ p(z)), which raises it. The paper's weight
      1e-8 of the reconstruction of x_s is 0 here.

    This is the paper's loss divided by its scale 1/n, in nats per example. With `soft=False` it is the IntroVAE of
    https://arxiv.org/abs/1807.06358 (eq. 11 and 12), which is less stable: the encoder's second term is
    α Σ_s [margin − KL(q(z|x_s) ‖ p(z))]⁺, the decoder's α Σ_s KL(q(z|x_s) ‖ p(z)).

    The logs of a `VAE` describe images. `fake_kl_loss` is the KL of generated images; `real_accuracy` and
    `fake_accuracy` are the shares of both kinds on the right side of the middle between the two mean values of E (of
    the KL if not soft): near 1 the encoder has won, near ½ it guesses. `loss` is the sum of all that is minimised.

    `compile` takes an `encoder_optimizer`; `optimizer` trains the decoder.

    Args:
        encoder: as in `VAE`.
        decoder: as in `VAE`.
        margin: KL, in nats, above which the encoder leaves generated images alone; for `soft=False`. It should exceed
            the KL of images.
        soft: whether to use the losses of Soft-IntroVAE.
        alpha: α, the weight of the game if not soft, at least 0.
        beta_negative: β_neg, the weight of the KL in E(x_s), at least 0.
        **kwargs: as in `VAE`. The bound must be the ELBO, the prior standard.

    Raises:
        ValueError: as for `VAE`, and for another bound or prior.

    Example:

    >>> model = kvae.IntroVAE(encoder, decoder)
    >>> model.compile(optimizer=keras.optimizers.Adam(1e-3), encoder_optimizer=keras.optimizers.Adam(1e-3))
    >>> model.generate(16, seed=0).shape  # before training by model.fit(data.x_train, epochs=60)
    (16, 8, 8, 1)
    """

    term_names = (*VAE.term_names, "encoder_loss", "decoder_loss", "fake_kl_loss", "real_accuracy", "fake_accuracy")
    optimizer_groups = {"encoder": ("encoder",)}

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        margin: Number = 20.0,
        soft: bool = True,
        alpha: Number = 0.25,
        beta_negative: Number = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, **kwargs)
        self.margin = checks.number(margin, "margin", above=0)
        self.soft = bool(soft)
        self.alpha = checks.number(alpha, "alpha", at_least=0)
        self.beta_negative = checks.number(beta_negative, "beta_negative", at_least=0)
        if type(self.bound) is not ELBO or self.bound.gradient != "reparameterized":
            raise ValueError(
                f'`bound` of an IntroVAE must be the reparameterized ELBO, "elbo". Received: {self.bound!r}'
            )
        params = ops.zeros((1, *encoder.output_shape[1:]), "float32")
        if type(self.prior) is not priors.Standard or self._kl(params) is None:
            raise ValueError(
                '`prior` of an IntroVAE must be "standard", and its posterior have a closed-form KL to it. '
                f"Received: {type(self.prior).__name__} for {type(self.posterior_family).__name__}"
            )

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"adversary"}

    def loss_terms(self, batch: Batch, forward: Pass, training: bool) -> BatchResult:
        result = super().loss_terms(batch, forward, training)
        z = ops.stop_gradient(forward.z[0])
        drawn = self.prior.sample(ops.shape(z)[0], (), self.seed_generator)
        # Trains the decoder: not the encoder through z, nor by what it makes of the images.
        fakes = self.likelihood.mean(self.generation(ops.concatenate([z, drawn])[None], (), training)[0])
        with held(self.encoder):
            decoder_kl = self._kl(self.inference(fakes, (), training))
        fakes = ops.stop_gradient(fakes)  # trains the encoder
        params = self.inference(fakes, (), training)
        fake_kl = self._kl(params)
        terms = result.terms
        if self.soft:
            with held(self.decoder, self.likelihood):
                z, _ = self.posterior_family.sample_for_gradient(params, 1, self.seed_generator)
                reconstruction = -self.log_likelihood(fakes, self.generation(z, (), training))[0]
            real_energy, fake_energy = (
                reconstruction_loss + self.beta_negative * kl
                for reconstruction_loss, kl in (
                    (terms["reconstruction_loss"], terms["kl_loss"]),
                    (reconstruction, fake_kl),
                )
            )
            pixels = math.prod(self.image_shape)
            encoder_game = ops.mean(_both(0.5 * pixels * ops.exp(-2.0 / pixels * fake_energy)), axis=0)
            decoder_game = self.beta * ops.mean(_both(decoder_kl), axis=0)
        else:
            real_energy, fake_energy = terms["kl_loss"], fake_kl
            encoder_game = self.alpha * ops.sum(_both(ops.relu(self.margin - fake_kl)), axis=0)
            decoder_game = self.alpha * ops.sum(_both(decoder_kl), axis=0)
        middle = 0.5 * (ops.mean(real_energy) + ops.mean(fake_energy))
        own = {
            "encoder_loss": sum(result.losses) + encoder_game,
            "decoder_loss": terms["reconstruction_loss"] + decoder_game,
            "fake_kl_loss": ops.mean(_both(fake_kl), axis=0),
            "real_accuracy": ops.cast(real_energy < middle, "float32"),
            "fake_accuracy": ops.mean(_both(ops.cast(fake_energy > middle, "float32")), axis=0),
        }
        return result._replace(losses=(*result.losses, encoder_game, decoder_game), terms=terms | own)

    def _kl(self, params):
        return self.prior.kl(self.posterior_family, params, ())[0]

    def get_config(self) -> dict[str, Any]:
        own = ("margin", "soft", "alpha", "beta_negative")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _both(values):
    """Values `(2 · batch,)` of x_r and x_p as a tensor `(2, batch)`."""
    return ops.reshape(values, (2, -1))
