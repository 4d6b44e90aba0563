"""Models whose discriminator judges images, and the first of them: the GAN (Goodfellow et al. 2014)."""

from __future__ import annotations

from typing import Any, NoReturn

import keras
from keras import ops

from kvae import checks, networks, outputs, priors
from kvae.distributions import Distribution, Normal, likelihood_family
from kvae.models.batches import Batch, BatchResult, in_batches
from kvae.models.density import PriorModel
from kvae.models.encoder_decoder import EVALUATION_BATCH
from kvae.training import strategy
from kvae.training.held import freeze, held
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Shape, Tensor


class ImageJudge(PriorModel):
    """Base class of the models with a discriminator of images, which is trained by an optimizer of its own.

    The discriminator sees pixel means. A likelihood does nothing but turn the decoder's outputs into these: "bernoulli"
    by a sigmoid, "gaussian" as they are. What a decoder cannot generate, a discriminator recognises at once, so images
    must lie in the range to which the decoder's last activation confines its own: [−1, 1] if it ends in a tanh.
    """

    optimizer_groups = {"discriminator": ("discriminator",)}

    def _set_networks(self, decoder, discriminator, likelihood, posterior, seed):
        """Check and keep the networks, and bind p(z) = N(0, I)."""
        self.likelihood = likelihood_family(likelihood)
        freeze(self.likelihood)  # no density of pixels is trained, so nothing teaches a σ
        inputs = getattr(discriminator, "inputs", None)
        image_shape = tuple(inputs[0].shape[1:]) if inputs else ()
        networks.check_judge(discriminator, "discriminator", image_shape, 1)
        networks.check_decoder(decoder, self.likelihood, image_shape)
        self.decoder = decoder
        self.discriminator = discriminator
        self.pixel_range = outputs.reach(decoder, self.likelihood)
        self.prior = priors.Standard()
        self.prior.bind(posterior, self.latent_shape, image_shape, lambda x: x)
        self.seed = checks.seed(seed)
        self.seed_generator = strategy.SeedGenerator(self.seed)
        self.built = True

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"adversary"}

    @property
    def image_shape(self) -> Shape:
        return tuple(self.discriminator.inputs[0].shape[1:])

    def images(self, z: Tensor, training: bool = False) -> Tensor:
        """Pixel means `(batch, *image_shape)` of codes `(batch, *latent_shape)`."""
        return self.likelihood.mean(networks.apply(self.decoder, z, training=training))

    def logits(self, x: Tensor, training: bool = False) -> Tensor:
        """The discriminator's logits `(batch,)` that images `(batch, *image_shape)` are real."""
        return networks.apply(self.discriminator, x, training=training)[:, 0]

    def check_images(self, x: ArrayLike, name: str = "x") -> Array:
        x = super().check_images(x, name)
        outputs.check_reach(x, name, self.pixel_range)
        return x

    def _config(self, **parts):
        """The configuration with the networks and other parts of a model, serialized."""
        parts |= {"decoder": self.decoder, "discriminator": self.discriminator, "likelihood": self.likelihood}
        serialized = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **serialized, "seed": self.seed}


@keras.saving.register_keras_serializable(package="kvae")
class GAN(ImageJudge):
    """Generative adversarial network, trained with `fit(x)`: a decoder of codes from N(0, I), and a discriminator D.

    D minimises `discriminator_loss` = −log D(x) − log(1 − D(x̃)), with x̃ decoded from a draw of the prior; the decoder
    minimises `decoder_loss` = −log D(x̃), the non-saturating form (https://arxiv.org/abs/1406.2661, section 3). Both are
    in nats per example. If D can only guess, they are 2 log 2 and log 2. `real_accuracy` and `fake_accuracy` are the
    shares of images and of decoded draws that D gets right: near 1 it has won, near ½ it guesses.

    There is no encoder, so a GAN neither encodes nor reconstructs: use `VAEGAN` or `IntroVAE` for that. What `call` and
    a metric see as reconstructions are the generated images.

    Args:
        decoder: Functional Keras model from codes `(batch, latent_dim)` to the parameters of images, as the second
            network that `networks.mlp` and `networks.conv` give. The latent dimension is that of its input.
        discriminator: Functional Keras model from images `(batch, *image_shape)` to logits `(batch, 1)`, such as
            `kvae.networks.discriminator`.
        likelihood: "bernoulli" for a decoder of logits, whose images lie in [0, 1]; "gaussian" for one of pixels
            themselves; or a `kvae.distributions.Distribution`. Only its mean is used.
        seed: int for reproducible noise; `None` for a random one.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: if decoder, discriminator and likelihood do not fit together; from `fit` and other methods, if
            images lie outside the range of the decoder's last activation.

    Example:

    >>> model = kvae.GAN(decoder, kvae.networks.discriminator(x.shape[1:]))
    >>> adam = keras.optimizers.Adam(2e-4, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5)
    >>> model.compile(optimizer=adam[0], discriminator_optimizer=adam[1])
    >>> history = model.fit(x, epochs=200, verbose=0)
    >>> model.generate(16, seed=0).shape
    (16, 8, 8, 1)
    """

    term_names = ("decoder_loss", "discriminator_loss", "real_accuracy", "fake_accuracy")

    def __init__(
        self,
        decoder: Network,
        discriminator: Network,
        likelihood: str | Distribution = "bernoulli",
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self._set_networks(decoder, discriminator, likelihood, Normal(), seed)

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities - {"networks"}

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        drawn = self.images(self.prior.sample(ops.shape(batch.x)[0], (), self.seed_generator), training)
        with held(self.discriminator):  # trains the decoder
            decoder_loss = ops.softplus(-self.logits(drawn, training))
        real, fake = (self.logits(x, training) for x in (batch.x, ops.stop_gradient(drawn)))
        discriminator_loss = ops.softplus(-real) + ops.softplus(fake)
        terms = {
            "decoder_loss": decoder_loss,
            "discriminator_loss": discriminator_loss,
            "real_accuracy": is_right(real),
            "fake_accuracy": is_right(-fake),
        }
        return BatchResult(drawn, (decoder_loss, discriminator_loss), terms)

    def energy(self, x: ArrayLike) -> Array:
        """−log D(x) + log(1 − D(x)) of each image, low where the discriminator takes it for real: array `(n,)`, nats.

        At the discriminator's optimum it is log p(x) of the model minus log p(x) of the data.
        """
        return in_batches(kept(self, _energy), self.check_images(x), batch_size=EVALUATION_BATCH)

    def encode(self, x: ArrayLike, y: Any = None) -> NoReturn:
        """Raise a `ValueError`: a GAN has no encoder."""
        self._without_encoder("encode")

    def reconstruct(self, x: ArrayLike, y: Any = None) -> NoReturn:
        """Raise a `ValueError`: a GAN has no encoder."""
        self._without_encoder("reconstruct")

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a `ValueError`: a GAN has no encoder."""
        self._without_encoder("predict")

    def export(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a `ValueError`: a GAN has no encoder; `model.decoder.export` exports what generates."""
        self._without_encoder("export", "export `model.decoder`, ")

    def _without_encoder(self, name: str, other: str = "") -> NoReturn:
        raise ValueError(
            f"`{name}` needs an encoder, and a GAN has none: {other}use generate(n), or a VAEGAN or IntroVAE. "
            f"Received: {type(self).__name__}"
        )

    def get_config(self) -> dict[str, Any]:
        return self._config()


def is_right(logits: Tensor) -> Tensor:
    """1 where logits of the right answer are positive, otherwise 0: tensor of the same shape."""
    return ops.cast(logits > 0, "float32")


def _energy(model, noise, x):
    return -model.logits(x)
