"""The autoencoder and its relatives: tied, denoising, sparse and contractive."""

from __future__ import annotations

import math
from typing import Any, Literal, NoReturn

import keras
import numpy as np
from keras import ops

from kvae import checks, networks, penalties
from kvae.corruption import Noise
from kvae.distributions import Bernoulli, Distribution, Normal
from kvae.distributions.base import sum_event
from kvae.layers import tied_decoder
from kvae.models.batches import Batch, BatchResult, Pass, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH, EncoderDecoder, decoded, encoded
from kvae.training import strategy
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Tensor


class Loss:
    """How far decoder outputs are from an image; `likelihood` turns outputs into pixels."""

    likelihood: Distribution

    def __call__(self, x: Tensor, x_params: Tensor) -> Tensor:
        """The loss of each element of `x`, given decoder outputs of the same shape."""
        raise NotImplementedError


class SquaredError(Loss):
    """(x − x̂)², the outputs being x̂: −log N(x | x̂, σ² = ½) without its constant."""

    def __init__(self) -> None:
        self.likelihood = Normal(sigma=math.sqrt(0.5))

    def __call__(self, x: Tensor, x_params: Tensor) -> Tensor:
        return ops.square(x - x_params)


class CrossEntropy(Loss):
    """−x log π − (1 − x) log(1 − π), the outputs being the logits of π: −log p(x) of a Bernoulli, in nats."""

    def __init__(self) -> None:
        self.likelihood = Bernoulli()

    def __call__(self, x: Tensor, x_params: Tensor) -> Tensor:
        return -self.likelihood.elementwise_log_prob(x, x_params)


LOSSES = {"mse": SquaredError, "cross_entropy": CrossEntropy}


@keras.saving.register_keras_serializable(package="kvae")
class Autoencoder(EncoderDecoder):
    """Autoencoder, trained with `fit(x)`: an encoder z = f(x) and a decoder x̂ = g(z) that undoes it.

    The sum `reconstruction_loss` + `penalty_loss` is minimised and logged as `loss`; both are per example, the first
    summed over pixels. Linear networks learn the space of the first principal components (Bourlard & Kamp 1988;
    Baldi & Hornik 1989); deeper ones a curved one. Its relatives are arguments: denoising (`noise`), sparse and
    contractive (`penalty`), tied weights (`tied`).

    It has no prior and no density: nothing determines where the codes lie, so there is nothing to sample from, until
    `kvae.priors.fit` has fitted a density to the codes.

    Args:
        encoder: Functional Keras model from images `(batch, *image_shape)` to codes `(batch, latent_dim)`, as
            `networks.mlp(..., posterior=None)` builds it.
        decoder: Functional Keras model from codes to `(batch, *image_shape)`.
        loss: "mse", the squared error of pixel values; or "cross_entropy", whose decoder outputs are logits.
        noise: a `kvae.corruption.Noise` on the encoder's input, in training only; the target stays clean (Vincent et
            al. 2010).
        penalty: a `kvae.penalties.Penalty` on the code, or a list of them; `None` for no penalty.
        tied: whether the decoder's dense kernels are the encoder's transposed, W_{L−l+1} = W_lᵀ. Then `model.decoder`
            is a new network like `decoder`, without kernels of its own.
        seed: int for reproducible noise; `None` for a random one.
        name, dtype, trainable: as in `keras.Model`.

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

    term_names: tuple[str, ...] = ("reconstruction_loss", "penalty_loss")

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        loss: Literal["mse", "cross_entropy"] = "mse",
        noise: Noise | None = None,
        penalty: penalties.Penalty | list[penalties.Penalty] | None = None,
        tied: bool = False,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self._loss_name = loss
        self._pixel_loss = checks.lookup(loss, LOSSES, Loss, "loss")
        self.likelihood = self._pixel_loss.likelihood
        networks.check_pair(encoder, decoder, None, self.likelihood)
        self.encoder = encoder
        self.decoder = tied_decoder(encoder, decoder) if tied else decoder
        if not (noise is None or isinstance(noise, Noise)):
            raise ValueError(f"`noise` must be None or a kvae.corruption.Noise. Received: {noise!r}")
        self.noise = noise
        self._set_penalties(penalty)
        self.tied = bool(tied)
        self.seed = checks.seed(seed)
        self.seed_generator = strategy.SeedGenerator(self.seed)
        self.built = True

    @property
    def logged_terms(self) -> tuple[str, ...]:
        return (*self.term_names, *(name for penalty in self.penalties for name in penalty.term_names))

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        x = batch.x if self.noise is None or not training else self.noise(batch.x, self.seed_generator)
        condition = self.condition(batch.y)
        code = self.inference(x, condition, training)
        z = code[None]
        forward = Pass(condition, code, z, self.generation(z, condition, training))
        return self.loss_terms(batch._replace(x=x), batch.x, forward)

    def loss_terms(self, batch: Batch, target: Tensor, forward: Pass) -> BatchResult:
        """The losses of a pass over a batch, and what is logged of it.

        Args:
            batch: what the encoder saw, noise included.
            target: the clean images `(batch, *image_shape)`.
            forward: the `Pass`, with a single sample of codes.
        """
        x_params = forward.x_params[0]
        reconstruction_loss = sum_event(self._pixel_loss(target, x_params), len(self.image_shape))
        penalty_loss, terms = penalties.total(
            self.penalties, batch.x, forward.z, forward.params, self, self.seed_generator
        )
        return BatchResult(
            self.likelihood.mean(x_params),
            (reconstruction_loss, penalty_loss),
            {"reconstruction_loss": reconstruction_loss, "penalty_loss": penalty_loss, **terms},
        )

    def code(self, params: Tensor) -> Tensor:
        return params

    def energy(self, x: ArrayLike) -> Array:
        """The squared reconstruction error ‖x − x̂‖² of each example, whatever the training loss: low near the data.

        Args:
            x: images `(n, *image_shape)`.

        Returns:
            Array `(n,)`, summed over pixels.
        """
        return in_batches(kept(self, _squared_error), *self._check_pair(x, None), batch_size=EVALUATION_BATCH)

    def generate(self, n: int = 1, seed: int | None = None, temperature: float = 1.0) -> NoReturn:
        """Raise a `ValueError`: an autoencoder has no prior to draw from.

        Raises:
            ValueError: always, with what to use instead.
        """
        raise ValueError(
            "`generate` needs a prior, and an autoencoder has none: fit one by kvae.priors.fit(model, x_train), use a "
            "VAE, or decode(random_codes(n, z_train)) to see what random codes decode to. "
            f"Received: {type(self).__name__}"
        )

    def random_codes(self, n: int, z: ArrayLike, seed: int | None = None) -> Array:
        """Codes from a Gaussian of the mean and standard deviation that training codes have in each dimension.

        This is a naive replacement for a prior. Most of these codes do not decode to a digit: the codes of data
        fill only part of that Gaussian, and their region has a different shape.

        Args:
            n: number of codes.
            z: codes of training images `(m, *latent_shape)`, from `encode`.
            seed: int for a reproducible draw.

        Returns:
            Array `(n, *latent_shape)`.

        Raises:
            ValueError: if `n` is not a positive integer or `z` does not hold codes of this model.
        """
        n = checks.positive_integer(n, "n")
        z = checks.array(z, self.latent_shape, "z")
        rng = np.random.default_rng(checks.seed(seed))
        return rng.normal(z.mean(axis=0), z.std(axis=0), (n, *self.latent_shape)).astype("float32")

    def with_prior(self, prior: Any) -> Any:
        """A `SampledAutoencoder` with copies of this model's weights, which generates from a prior.

        Args:
            prior: `kvae.priors.Prior` bound to codes of the same shape, whose weights are copied as well; see
                `kvae.priors.fit`.
        """
        from kvae.models.sampled_autoencoder import SampledAutoencoder  # a subclass of this class

        return self._rebuilt(SampledAutoencoder, Autoencoder.get_config(self), prior)

    def _check_pair(self, x, y):
        # Unlike a target, an input may leave [0, 1] whatever the loss: noisy images are encoded to be denoised.
        return checks.array(x, self.image_shape, "x"), None

    def get_config(self) -> dict[str, Any]:
        parts = {"encoder": self.encoder, "decoder": self.decoder, "noise": self.noise, "penalty": self.penalties}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "loss": self._loss_name,
            "tied": self.tied,
            "seed": self.seed,
        }


def _squared_error(model, noise, x, y):
    x_hat = decoded(model, noise, encoded(model, noise, x, y), y)
    return sum_event(ops.square(x - x_hat), len(model.image_shape))
