"""VAE/GAN: a VAE whose similarity between images is learned by a discriminator (Larsen et al. 2016)."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
from keras import ops

from kvae import checks, networks
from kvae.distributions import Distribution, Normal, posterior_family
from kvae.models.adversarial import ImageJudge, is_right
from kvae.models.batches import Batch, BatchResult, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH
from kvae.training.held import freeze, held
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Number, Tensor

LEARNED = ("joint", "frozen")
ODDS = math.log(2.0)  # of a decoded code against an image, among what the discriminator sees


@keras.saving.register_keras_serializable(package="kvae")
class VAEGAN(ImageJudge):
    """A VAE that compares images by the features of a discriminator D, trained with `fit(x)`.

    With D_l(x) the activations of a layer of D, x̃ decoded from a draw of q(z|x) and x_p from one of the prior, the
    three networks minimise (Larsen et al. 2016, algorithm 1, https://arxiv.org/abs/1512.09300)

    - encoder: `encoder_loss` = β KL(q(z|x) ‖ p(z)) + `feature_loss`, with `feature_loss` = −log N(D_l(x) | D_l(x̃), I);
    - decoder: `decoder_loss` = γ · `feature_loss` − log D(x̃) − log D(x_p), the GAN loss in its non-saturating form;
    - discriminator: `discriminator_loss` = −log D(x) − log(1 − D(x̃)) − log(1 − D(x_p)).

    All are in nats per example, as is `kl_loss`; none trains the other networks. `real_accuracy` and `fake_accuracy`
    are the shares of images and of decoded codes, x̃ and x_p alike, that D gets right if it takes into account that it
    has been shown two of these for each image: near 1 it has won, near ½ it guesses.

    With `learned_similarity="frozen"` it is VAE_Dis: D has been trained before, as by a `GAN`, is not trained any more,
    and encoder and decoder minimise β · `kl_loss` + `feature_loss` with a single optimizer.

    Pixels have no density here, hence there is no `elbo`: `energy` is the sum of feature loss and KL.

    Args:
        encoder: as in `VAE`.
        decoder: as in `GAN`.
        discriminator: as in `GAN`, with a layer called `feature_layer`. "frozen" sets its `trainable` to False.
        learned_similarity: "joint" or "frozen".
        gamma: γ, the weight of the feature loss in the decoder's loss, at least 0: the higher, the closer
            reconstructions are to their images, and the less realistic.
        beta: β, the weight of the KL, at least 0. In the paper it is 1, with thousands of features: with few, the KL
            outweighs the feature loss, and the codes collapse. Kept in a variable, so that a callback can change it.
        feature_layer: name of the layer of the discriminator whose activations are compared.
        likelihood: as in `GAN`.
        posterior: as in `VAE`.
        seed: int for reproducible noise; `None` for a random one.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: as for `GAN`, and if encoder and decoder do not fit together, the KL has no closed form, or the
            discriminator has no layer of that name.

    Example:

    >>> model = kvae.VAEGAN(encoder, decoder, kvae.networks.discriminator(x.shape[1:]), gamma=1.0, beta=0.05)
    >>> adam = keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5)
    >>> model.compile(optimizer=adam[0], discriminator_optimizer=adam[1])
    >>> model.energy(x).shape  # before training by model.fit(data.x_train, epochs=100)
    (32,)
    """

    term_names = (
        "kl_loss",
        "feature_loss",
        "encoder_loss",
        "decoder_loss",
        "discriminator_loss",
        "real_accuracy",
        "fake_accuracy",
    )

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        discriminator: Network,
        learned_similarity: Literal["joint", "frozen"] = "joint",
        gamma: Number = 0.1,
        beta: Number = 1.0,
        feature_layer: str = "features",
        likelihood: str | Distribution = "bernoulli",
        posterior: str | Distribution = "normal",
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        if learned_similarity not in LEARNED:
            raise ValueError(f"`learned_similarity` must be one of {list(LEARNED)}. Received: {learned_similarity!r}")
        self.learned_similarity = learned_similarity
        self.gamma = checks.number(gamma, "gamma", at_least=0)
        self._initial_beta = checks.number(beta, "beta", at_least=0)
        self.posterior_family = posterior_family(posterior)
        self._set_networks(decoder, discriminator, likelihood, self.posterior_family, seed)
        networks.check_pair(encoder, decoder, self.posterior_family, self.likelihood)
        self.encoder = encoder
        self.beta = self._variable("beta", self._initial_beta)
        if self._kl(ops.zeros((1, *encoder.output_shape[1:]))) is None:
            raise ValueError(
                f"`posterior` must have a closed-form KL to its prior. Received: {type(self.posterior_family).__name__}"
            )
        self.feature_layer = feature_layer
        self._judge = _judge(discriminator, feature_layer)
        self.feature_family = Normal(sigma=1.0)
        if self.is_frozen:
            freeze(self.discriminator)
            self.optimizer_groups = {}

    @property
    def is_frozen(self) -> bool:
        """Whether the discriminator was trained before."""
        return self.learned_similarity == "frozen"

    @property
    def logged_terms(self) -> tuple[str, ...]:
        return ("kl_loss", "feature_loss") if self.is_frozen else self.term_names

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities - ({"adversary"} if self.is_frozen else set())

    def code(self, params: Tensor) -> Tensor:
        return self.posterior_family.mean(params)

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        x, noise = batch.x, self.seed_generator
        params = self.inference(x, (), training)
        kl, z = self._kl(params), self.posterior_family.sample_for_gradient(params, 1, noise)[0][0]
        result = self._frozen(x, z, kl, training) if self.is_frozen else self._joint(x, z, kl, training)
        return result if training else result._replace(reconstruction=self.images(self.code(params)))

    def _frozen(self, x, z, kl, training):
        decoded = self.images(z, training)
        feature_loss = self.feature_loss(x, decoded, training)
        return BatchResult(decoded, (self.beta * kl, feature_loss), {"kl_loss": kl, "feature_loss": feature_loss})

    def _joint(self, x, z, kl, training):
        with held(self.decoder, self.discriminator):  # trains the encoder
            feature_loss = self.feature_loss(x, self.images(z, training), training)
        drawn = self.prior.sample(ops.shape(x)[0], (), self.seed_generator)
        # One pass over x̃ and x_p, which trains the decoder, and not the encoder through z.
        fakes = self.images(ops.concatenate([ops.stop_gradient(z), drawn]), training)
        decoded = fakes[: ops.shape(x)[0]]
        with held(self.discriminator):
            fooling = _both(ops.softplus(-self.logits(fakes, training)))
            decoder_loss = self.gamma * self.feature_loss(x, decoded, training) + fooling[0] + fooling[1]
        real, fake = self.logits(x, training), self.logits(ops.stop_gradient(fakes), training)
        judging = _both(ops.softplus(fake))
        terms = {
            "kl_loss": kl,
            "feature_loss": feature_loss,
            "encoder_loss": self.beta * kl + feature_loss,
            "decoder_loss": decoder_loss,
            "discriminator_loss": ops.softplus(-real) + judging[0] + judging[1],
            "real_accuracy": is_right(real + ODDS),
            "fake_accuracy": ops.mean(_both(is_right(-fake - ODDS)), axis=0),
        }
        losses = tuple(terms[f"{network}_loss"] for network in ("encoder", "decoder", "discriminator"))
        return BatchResult(decoded, losses, terms)

    def features(self, x: Tensor, training: bool = False) -> Tensor:
        """D_l(x) of images `(batch, *image_shape)`: tensor `(batch, features)`."""
        features = ops.cast(self._judge(x, training=training), "float32")
        return ops.reshape(features, (ops.shape(features)[0], -1))

    def feature_loss(self, x: Tensor, decoded: Tensor, training: bool = False) -> Tensor:
        """−log N(D_l(x) | D_l(x̃), I) of images and their reconstructions, both `(batch, *image_shape)`: `(batch,)`."""
        return -self.feature_family.log_prob(self.features(x, training), self.features(decoded, training))

    def energy(self, x: ArrayLike) -> Array:
        """Feature loss, at the mean of q(z|x), plus KL: array `(n,)`, nats, low where the model expects data.

        Args:
            x: images `(n, *image_shape)`.
        """
        return in_batches(kept(self, _energy), self.check_images(x), batch_size=EVALUATION_BATCH)

    def _kl(self, params):
        return self.prior.kl(self.posterior_family, params, ())[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **self._config(encoder=self.encoder, posterior=self.posterior_family),
            "learned_similarity": self.learned_similarity,
            "gamma": self.gamma,
            "beta": self._initial_beta,
            "feature_layer": self.feature_layer,
        }


def _energy(model, noise, x):
    params = model.inference(x)
    return model.feature_loss(x, model.images(model.code(params))) + model._kl(params)


def _judge(discriminator, feature_layer):
    """A function from images to the activations of a layer; as a model in an attribute, Keras would save it again."""
    layer = next((layer for layer in discriminator.layers if layer.name == feature_layer), None)
    if layer is None:
        raise ValueError(
            f"`discriminator` must have a layer called {feature_layer!r}, whose activations are compared: give "
            f"`feature_layer` one of its names. Received: {[layer.name for layer in discriminator.layers]}"
        )
    network = keras.Model(discriminator.inputs[0], layer.output)
    return lambda x, training: network(x, training=training)


def _both(values):
    """Values `(2 · batch,)` of x̃ and x_p as a tensor `(2, batch)`."""
    return ops.reshape(values, (2, -1))
