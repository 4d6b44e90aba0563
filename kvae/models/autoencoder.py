"""The autoencoder and its relatives: tied, denoising, sparse and contractive."""

import math

import keras
import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.corruption import Noise
from kvae.distributions import Bernoulli, Normal
from kvae.layers import tied_decoder
from kvae.models.base import BatchResult
from kvae.models.encoder_decoder import EncoderDecoder
from kvae.penalties import Penalty
from kvae.training import strategy


class Loss:
    """How far decoder outputs are from an image; `likelihood` turns outputs into pixels."""

    def __call__(self, x, x_params):
        """The loss of each element of `x`, given decoder outputs of the same shape."""
        raise NotImplementedError


class SquaredError(Loss):
    """(x − x̂)², the outputs being x̂: −log N(x | x̂, σ² = ½) without its constant."""

    def __init__(self):
        self.likelihood = Normal(sigma=math.sqrt(0.5))

    def __call__(self, x, x_params):
        return ops.square(x - x_params)


class CrossEntropy(Loss):
    """−x log π − (1 − x) log(1 − π), the outputs being the logits of π: −log p(x) of a Bernoulli, in nats."""

    def __init__(self):
        self.likelihood = Bernoulli()

    def __call__(self, x, x_params):
        return -self.likelihood.log_prob(x, x_params)


LOSSES = {"mse": SquaredError, "cross_entropy": CrossEntropy}


@keras.saving.register_keras_serializable(package="kvae")
class Autoencoder(EncoderDecoder):
    """Autoencoder, trained with `fit(x)`: an encoder z = f(x) and a decoder x̂ = g(z) that undoes it.

    What is minimised, and logged as `loss`, is `reconstruction_loss` + `penalty_loss`, both per example, the first
    summed over pixels. Linear networks learn the space of the first principal components (Bourlard & Kamp 1988;
    Baldi & Hornik 1989); deeper ones a curved one. Its relatives are arguments: denoising (`noise`), sparse and
    contractive (`penalty`), tied weights (`tied`).

    It has no prior and no density: where the codes lie is nobody's choice, so there is nothing to generate from.

    Args:
        encoder: Functional Keras model from images `(batch, *image_shape)` to codes `(batch, latent_dim)`, as
            `networks.mlp(..., posterior=None)` gives it.
        decoder: Functional Keras model from codes to `(batch, *image_shape)`.
        loss: "mse", the squared error of pixel values; or "cross_entropy", the decoder's outputs being logits.
        noise: a `kvae.corruption.Noise` on the encoder's input, in training only; the target stays clean (Vincent et
            al. 2010).
        penalty: a `kvae.penalties.Penalty` on the code, or a list of them; `None` for none.
        tied: whether the decoder's dense kernels are the encoder's transposed, W_{L−l+1} = W_lᵀ. Then `model.decoder`
            is a new network like `decoder`, without kernels of its own.
        seed: int for reproducible noise; `None` for a random one.
        **kwargs: `name`, `dtype`, `trainable`, as in `keras.Model`.

    Raises:
        ValueError: if encoder and decoder do not fit together (or, `tied`, do not mirror one another), if a name is
            unknown, or if a penalty cannot apply to the encoder's codes.

    Example:

    ```python
    data = kvae.load_data("digits")
    encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=8, posterior=None)
    model = kvae.Autoencoder(encoder, decoder, noise=kvae.corruption.Gaussian(0.3))
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(data.x_train, epochs=30, validation_data=(data.x_test,))
    model.energy(data.x_test)  # (360,)
    ```
    """

    term_names = ("reconstruction_loss", "penalty_loss")

    def __init__(self, encoder, decoder, loss="mse", noise=None, penalty=None, tied=False, seed=None, **kwargs):
        super().__init__(**kwargs)
        self._loss_name = loss
        self._reconstruction_loss = checks.lookup(loss, LOSSES, Loss, "loss")
        self.likelihood = self._reconstruction_loss.likelihood
        networks.check_pair(encoder, decoder, None, self.likelihood, self.takes_labels)
        self.encoder = encoder
        self.decoder = tied_decoder(encoder, decoder) if tied else decoder
        if not (noise is None or isinstance(noise, Noise)):
            raise ValueError(f"`noise` must be None or a kvae.corruption.Noise. Received: {noise!r}")
        self.noise = noise
        self.penalties = [] if penalty is None else list(penalty) if isinstance(penalty, (list, tuple)) else [penalty]
        for each in self.penalties:
            if not isinstance(each, Penalty):
                raise ValueError(f"`penalty` must be None, a kvae.penalties.Penalty or a list. Received: {each!r}")
            each.check(encoder)
        self.tied = bool(tied)
        self.seed = seed
        self.seed_generator = strategy.SeedGenerator(seed)
        self.built = True

    def run_batch(self, x, y, training):
        seen = x if self.noise is None or not training else self.noise(x, self.seed_generator)
        z = self._apply(self.encoder, seen, None, training)
        x_params = self._apply(self.decoder, z, None, training)
        loss = self._reconstruction_loss(x, x_params)
        reconstruction_loss = ops.sum(loss, axis=tuple(range(1, len(loss.shape))))
        penalty_loss = ops.zeros_like(reconstruction_loss)
        for penalty in self.penalties:
            penalty_loss = penalty_loss + penalty(seen, z, self.encoder, self.seed_generator)
        terms = {"reconstruction_loss": reconstruction_loss, "penalty_loss": penalty_loss}
        return BatchResult(self.likelihood.mean(x_params), tuple(terms.values()), terms)

    def energy(self, x):
        """The squared reconstruction error ‖x − x̂‖² of each example, whatever loss trains: low where data were.

        Args:
            x: images `(n, *image_shape)`.

        Returns:
            Array `(n,)`, summed over pixels.
        """
        squares = np.square(np.asarray(x, "float32") - self.reconstruct(x))
        return squares.reshape(len(squares), -1).sum(axis=1)

    def generate(self, n=1, seed=None):
        """Raise a `ValueError`: an autoencoder has no prior to draw from.

        Raises:
            ValueError: always, with what to use instead.
        """
        raise ValueError(
            "`generate` needs a prior, and an autoencoder has none: use a VAE, or decode(random_codes(n, z_train)) to "
            f"see what codes at random give. Received: {type(self).__name__}"
        )

    def random_codes(self, n, z, seed=None):
        """Codes from a Gaussian of the mean and standard deviation that training codes have in each dimension.

        It is what one may try in the place of a prior. Most of what such codes decode to is no digit: the codes of data
        fill only a part of that Gaussian, of a shape that it does not know.

        Args:
            n: int, how many.
            z: codes of training images `(m, latent_dim)`, from `encode`.
            seed: int for a reproducible draw.

        Returns:
            Array `(n, latent_dim)`.

        Raises:
            ValueError: if `n` is no positive integer or `z` are no codes of this model.
        """
        n = checks.positive_integer(n, "n")
        z = checks.array(z, (self.latent_dim,), "z")
        return np.random.default_rng(seed).normal(z.mean(axis=0), z.std(axis=0), (n, self.latent_dim)).astype("float32")

    def _check_pair(self, x, y):
        # Unlike a target, what is encoded may leave [0, 1] whatever the loss: noisy images are there to be cleaned.
        return checks.array(x, self.image_shape, "x").astype("float32"), None

    def _encode(self, x, y):
        return self._apply(self.encoder, x, None, False)

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder, "noise": self.noise, "penalty": self.penalties}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "loss": self._loss_name,
            "tied": self.tied,
            "seed": self.seed,
        }
