"""The vector-quantized VAE (van den Oord, Vinyals, Kavukcuoglu 2017, https://arxiv.org/abs/1711.00937)."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kvae import checks, networks
from kvae.distributions import Distribution, likelihood_family
from kvae.models.batches import Batch, BatchResult, Pass, in_batches
from kvae.models.density import PriorModel
from kvae.models.encoder_decoder import EVALUATION_BATCH, read
from kvae.priors.autoregressive import Autoregressive
from kvae.quantization import Quantized, Quantizer
from kvae.training import strategy
from kvae.training.held import freeze
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Number, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class VQVAE(PriorModel):
    """Autoencoder whose code is a grid of entries of a codebook, trained with `fit(x)`.

    The encoder gives a vector z_e at each place, and the nearest code e takes its place. The loss is −log p(x|e) +
    ‖sg[z_e] − e‖² + β ‖z_e − sg[e]‖², summed over pixels and places, in which sg stops the gradient (eq. 3); the
    decoder's gradient passes from e to z_e unchanged. Logged are `loss`, `reconstruction_loss` = −log p(x|e),
    `quantization_loss`, the other terms, in nats per example; and `perplexity`, exp of the entropy of the codes' shares
    in a batch, which is `num_codes` if all are chosen equally often.

    The encoder is deterministic and there is no p(z) in training, hence no ELBO. The model that `kvae.priors.fit(model,
    x, "autoregressive")` returns has a prior p(c) over codes c: it generates, and its `elbo` is log p(c) + log p(x|c)
    for the codes of x, a lower bound on log p(x) = log Σ_c p(c) p(x|c).

    Args:
        encoder: Functional Keras model from images `(batch, *image_shape)` to vectors `(batch, *places, size)`: a grid,
            as from `kvae.networks.grid`, a row or a single vector.
        decoder: Functional Keras model from `(batch, *places, size)` to likelihood parameters.
        num_codes: codes in a codebook, at least 2.
        num_quantizers: codebooks, each for what the ones before it leave over: residual quantization, RQ-VAE.
        codebook: how codes are learned: "gradient", of the loss above, or "moving_average", of the vectors that chose
            them (appendix A.1); the loss then has no second term.
        commitment: β, at least 0.
        decay: decay of the moving averages per step, for codebook="moving_average".
        restart: codes chosen less often than this fraction of 1 / num_codes become random vectors of the batch; 0 for
            never after the first step, in which all do. `kvae.quantization.Quantizer` says how.
        likelihood: "bernoulli", "gaussian" or a `kvae.distributions.Distribution`.
        prior: `kvae.priors.Autoregressive`, as `kvae.priors.fit` gives it to a trained model; `None` without one.
        seed: int for reproducible restarts; `None` for random ones.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: if encoder, decoder, likelihood and prior do not fit together, or an argument is out of range.

    Example:

    >>> model = kvae.VQVAE(*kvae.networks.grid((8, 8, 1), latent_dim=8, hidden=(16,)), num_codes=32)
    >>> model.compile(optimizer=keras.optimizers.Adam(1e-3))  # before training by model.fit(data.x_train, epochs=30)
    >>> model.encode(x[:5]).shape
    (5, 4, 4, 1)
    """

    term_names: tuple[str, ...] = ("reconstruction_loss", "quantization_loss", "perplexity")
    exported = ("reconstruct",)  # the codes of the other methods are indices

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        num_codes: int = 512,
        num_quantizers: int = 1,
        codebook: Literal["gradient", "moving_average"] = "gradient",
        commitment: Number = 0.25,
        decay: Number = 0.99,
        restart: Number = 0.1,
        likelihood: str | Distribution = "bernoulli",
        prior: Autoregressive | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.likelihood = likelihood_family(likelihood)
        networks.check_pair(encoder, decoder, None, self.likelihood)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood.bind(self.image_shape)
        self.quantizer = Quantizer(num_codes, self.latent_shape[-1], num_quantizers, codebook, decay, restart)
        self.commitment = checks.number(commitment, "commitment", at_least=0)
        self.seed = checks.seed(seed)
        self.seed_generator = strategy.SeedGenerator(self.seed)
        if prior is not None:
            if not isinstance(prior, Autoregressive):
                raise ValueError(
                    "`prior` must be None or a kvae.priors.Autoregressive, as kvae.priors.fit gives it. "
                    f"Received: {prior!r}"
                )
            prior.check_codes(self.code_shape, num_codes)
            self.prior = prior
            freeze(self.prior)
        self.built = True

    @property
    def capabilities(self) -> frozenset[str]:
        fitted = {"prior", "elbo"} if self.has_prior else set()
        return (super().capabilities - {"prior"}) | {"codebook"} | fitted

    @property
    def has_prior(self) -> bool:
        """Whether there is a prior over the codes."""
        return hasattr(self, "prior")

    @property
    def num_codes(self) -> int:
        """Codes in a codebook."""
        return self.quantizer.num_codes

    @property
    def code_shape(self) -> Shape:
        """Shape of the indices of one example, `(*places, num_quantizers)`."""
        return (*self.latent_shape[:-1], self.quantizer.num_quantizers)

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        z = self.inference(batch.x, (), training)
        quantized = self.quantizer(z, training=training, seed=self.seed_generator)
        vectors = quantized.vectors[None]
        return self.loss_terms(batch, Pass((), z, vectors, self.generation(vectors, (), training)), quantized)

    def loss_terms(self, batch: Batch, forward: Pass, quantized: Quantized) -> BatchResult:
        """The losses of a pass over a batch, and what is logged of it.

        Args:
            batch: the `Batch`.
            forward: the `Pass`: the encoder's vectors, what the decoder saw, parameters of p(x|z).
            quantized: `kvae.quantization.Quantized` vectors.
        """
        x_params = forward.x_params[0]
        reconstruction_loss = -self.likelihood.log_prob(batch.x, x_params, len(self.image_shape))
        quantization_loss = self.commitment * quantized.commitment_loss
        if self.quantizer.codebook_kind == "gradient":
            quantization_loss = quantization_loss + quantized.codebook_loss
        terms = {
            "reconstruction_loss": reconstruction_loss,
            "quantization_loss": quantization_loss,
            "perplexity": quantized.perplexity * ops.ones_like(reconstruction_loss),
        }
        return BatchResult(self.likelihood.mean(x_params), (reconstruction_loss, quantization_loss), terms)

    def code(self, params: Tensor) -> Tensor:
        return self.quantizer(params).vectors

    # Methods on arrays.

    def encode(self, x: ArrayLike, y: Any = None) -> Array:
        """The indices of the codes of images.

        Args:
            x: images `(n, *image_shape)`.
            y: `None`; there is no condition.

        Returns:
            Array int32 `(n, *places, num_quantizers)`.
        """
        return self._map(_indices, x)

    def code_vectors(self, x: ArrayLike) -> Array:
        """The sums of codes of images `(n, *image_shape)`, which the decoder sees: array `(n, *places, size)`."""
        return self._map(_vectors, x)

    def decode(self, z: ArrayLike, y: Any = None) -> Array:
        """Pixel means of codes.

        Args:
            z: their indices `(n, *places, num_quantizers)`, integers in 0..num_codes − 1.
            y: `None`; there is no condition.

        Returns:
            Array `(n, *image_shape)`.

        Raises:
            ValueError: if they have another shape, or are not such integers.
        """
        return super().decode(z, y)

    def _decoded(self, z, y, noise=None):
        z = self.quantizer.check_indices(checks.array(z, self.code_shape, "z"), "z")
        return in_batches(kept(self, _decoded), z, batch_size=EVALUATION_BATCH, noise=noise)

    def code_usage(self, x: ArrayLike) -> Array:
        """How often each code is chosen: array `(num_quantizers, num_codes)` of shares, whose rows sum to 1.

        Args:
            x: images `(n, *image_shape)`.

        Example:

        >>> networks = kvae.networks.grid((8, 8, 1), latent_dim=4, hidden=(8,))
        >>> usage = kvae.VQVAE(*networks, num_codes=16).code_usage(x)
        >>> perplexity = np.exp(-np.sum(usage * np.log(usage + 1e-12), axis=-1))  # 16 if all are used alike
        """
        rows = self.encode(x).reshape(-1, self.quantizer.num_quantizers)
        return np.stack([np.bincount(column, minlength=self.num_codes) / len(column) for column in rows.T])

    def energy(self, x: ArrayLike) -> Array:
        """−log p(x|c) of each example's codes c, and with a prior −log p(x|c) − log p(c): array `(n,)`, nats."""
        return -self.elbo(x) if self.has_prior else -self._map(_log_likelihood, x)

    def elbo(self, x: ArrayLike, y: Any = None, num_samples: int | None = None, seed: int | None = None) -> Array:
        """log p(c) + log p(x|c) for the codes c of each example, a lower bound on log p(x): array `(n,)`, nats.

        Args:
            x: images `(n, *image_shape)`.
            y: `None`; there is no condition.
            num_samples, seed: ignored, since codes are not random.

        Raises:
            ValueError: without a prior over the codes.
        """
        log_likelihood, kl = self.elbo_terms(x, y, num_samples, seed)
        return log_likelihood - kl

    def elbo_terms(
        self, x: ArrayLike, y: Any = None, num_samples: int | None = None, seed: int | None = None
    ) -> tuple[Array, Array]:
        """log p(x|c) and −log p(c), the KL from q(c|x), which is certain, to p(c): two arrays `(n,)`, nats.

        Arguments and errors are those of `elbo`.
        """
        self._need_prior("elbo")
        return self._map(_elbo_terms, x)

    def sample_prior(self, n: int, y: Any = None, seed: int | None = None, temperature: float = 1.0) -> Array:
        """Indices of codes from the prior, which takes one pass of its network for each place and quantizer.

        Args:
            n: number of codes.
            y: `None`; there is no condition.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.
            temperature: what the logits are divided by; 0 for the most probable index at each place.

        Returns:
            Array int32 `(n, *places, num_quantizers)`.

        Raises:
            ValueError: without a prior over the codes.
        """
        self._need_prior("generate")
        return super().sample_prior(n, y, seed, temperature)

    def with_prior(self, prior: Autoregressive) -> VQVAE:
        """A new model with copies of this one's weights and of a prior over its codes; see `kvae.priors.fit`."""
        return self._rebuilt(type(self), self.get_config(), prior)

    def _map(self, function, x):
        return in_batches(kept(self, function), self.check_images(x), batch_size=EVALUATION_BATCH)

    def _need_prior(self, method):
        if not self.has_prior:
            raise ValueError(
                f"`{method}` needs a prior over the codes: use the model that kvae.priors.fit(model, x_train, "
                f'"autoregressive") returns. Received: a {type(self).__name__} without a prior'
            )

    def get_config(self) -> dict[str, Any]:
        quantizer = self.quantizer.get_config()
        names = ("num_codes", "num_quantizers", "codebook", "decay", "restart")
        parts = {"encoder": self.encoder, "decoder": self.decoder, "likelihood": self.likelihood}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            **{name: quantizer[name] for name in names},
            "commitment": self.commitment,
            "prior": keras.saving.serialize_keras_object(self.prior) if self.has_prior else None,
            "seed": self.seed,
        }


# For `kvae.training.kept`.


def _indices(model, noise, x):
    return model.quantizer(model.inference(x)).indices


def _vectors(model, noise, x):
    return model.code(model.inference(x))


def _decoded(model, noise, indices):
    vectors = model.quantizer.vectors(ops.cast(indices, "int32"))
    return read(model, noise, model.generation(vectors[None])[0])


def _scored(model, x):
    """log p(x|c) `(batch,)` of images, and the indices c."""
    quantized = model.quantizer(model.inference(x))
    x_params = model.generation(quantized.vectors[None])[0]
    return model.likelihood.log_prob(x, x_params, len(model.image_shape)), quantized.indices


def _log_likelihood(model, noise, x):
    return _scored(model, x)[0]


def _elbo_terms(model, noise, x):
    log_likelihood, indices = _scored(model, x)
    return log_likelihood, -model.prior.log_prob(indices, (), None)
