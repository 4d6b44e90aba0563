"""The variational autoencoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kvae import bounds, checks, networks, penalties, priors
from kvae.distributions import Distribution, likelihood_family, posterior_family
from kvae.models import estimators
from kvae.models.batches import Batch, BatchResult, Pass, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH, EncoderDecoder
from kvae.training import strategy
from kvae.types import Array, ArrayLike, Network, Number, Seed, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class VAE(EncoderDecoder):
    """Variational autoencoder, trained with `fit(x)`.

    p(x, z) = p(x|z) p(z), with p(z) = N(0, I) unless `prior` says otherwise; the decoder gives the parameters of
    p(x|z), the encoder those of q(z|x).
    Minimised, and logged as `loss`, is the negative bound; `reconstruction_loss` = −E_q[log p(x|z)], `kl_loss` =
    KL(q(z|x) ‖ p(z)) and `elbo`, their negative sum whatever β is, are logged as well. All in nats per example.

    Args:
        encoder: Functional Keras model from images `(batch, *image_shape)` to posterior parameters
            `(batch, parameters · latent_dim)`. Codes may have any shape: the last axis holds the parameters.
        decoder: Functional Keras model from `(batch, latent_dim)` to likelihood parameters
            `(batch, height, width, parameters · channels)`, logits for Bernoulli.
        likelihood: "bernoulli", "gaussian" or a `kvae.distributions.Distribution`.
        posterior: a key of `kvae.distributions.POSTERIORS`, such as "normal" or "laplace", or a `Distribution`.
        bound: "elbo", "importance_weighted", "renyi" (α = ½) or a `kvae.bounds.Bound`.
        beta: weight of the KL, at least 0; 1 is the bound itself. Kept in a variable, so that a callback can change it.
        num_samples: posterior samples per example in training and evaluation: L of the ELBO, K of the other bounds.
        seed: int for reproducible noise; `None` for a random one.
        prior: "standard" for N(0, I), "mixture", "vamp" or a `kvae.priors.Prior`.
        penalty: a `kvae.penalties.Penalty` added to the loss and logged as `penalty_loss`, or a list of them.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: if encoder, decoder, likelihood and posterior do not fit together, or a name is unknown.

    Example:

    ```python
    data = kvae.load_data("digits")
    model = kvae.VAE(*kvae.networks.mlp(data.image_shape, latent_dim=2))
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(data.x_train, epochs=30, validation_data=(data.x_test,))
    model.generate(16, seed=0)  # (16, 8, 8, 1)
    ```
    """

    term_names = ("reconstruction_loss", "kl_loss", "elbo")

    def __init__(
        self,
        encoder: Network,
        decoder: Network,
        likelihood: str | Distribution = "bernoulli",
        posterior: str | Distribution = "normal",
        bound: str | bounds.Bound = "elbo",
        beta: Number = 1.0,
        num_samples: int = 1,
        seed: int | None = None,
        prior: Any = "standard",
        penalty: penalties.Penalty | list[penalties.Penalty] | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood_family(likelihood)
        self.posterior_family = posterior_family(posterior)
        self.bound = bounds.get(bound)
        self.num_samples = checks.positive_integer(num_samples, "num_samples")
        self._initial_beta = checks.number(beta, "beta", at_least=0)
        self.seed = seed
        self.seed_generator = strategy.SeedGenerator(seed)
        networks.check_pair(encoder, decoder, self.posterior_family, self.likelihood, self.conditions is not None)
        self.prior = self._bind(self._as_prior(prior))
        # A variable, because a float would be compiled into the step as a constant.
        self.beta = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self._initial_beta),
            trainable=False,
            dtype="float32",
            autocast=False,
            name="beta",
        )
        self._set_penalties(penalty)
        self.built = True

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"density", "prior"}

    @property
    def logged_terms(self) -> tuple[str, ...]:
        penalty_terms = [name for penalty in self.penalties for name in penalty.term_names]
        penalty_terms = ["penalty_loss", *penalty_terms] if self.penalties else []
        return (*self.term_names, *self.bound.term_names, *penalty_terms)

    # Inference, generation, losses: tensors in, tensors out.

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        condition = self.condition(batch.y)
        params = self.inference(batch.x, condition, training)

        def score(z, log_posterior, params):
            return self.score(batch.x, z, params, condition, self.seed_generator, training, log_posterior)

        estimate = estimators.estimate(self, params, score)
        forward = Pass(condition, params, estimate.z, estimate.x_params, estimate.sample, estimate.losses)
        return self.loss_terms(batch, forward, training)

    def loss_terms(self, batch: Batch, forward: Pass, training: bool) -> BatchResult:
        """The losses of a pass over a batch, and what is logged of it.

        Args:
            batch: the `Batch`.
            forward: the `Pass`: parameters of q(z|x), codes, parameters of p(x|z), log-densities and the bound.
            training: bool.
        """
        if training:
            mean_params = forward.x_params[0]
        else:  # the clean reconstruction; where only the losses are used, a compiled graph drops it
            mean_params = self.generation(self.code(forward.params)[None], forward.condition, training)[0]
        sample = forward.sample
        reconstruction_loss, kl = -ops.mean(sample.log_likelihood, axis=0), sample.total_kl()
        losses = forward.losses
        terms = {"reconstruction_loss": reconstruction_loss, "kl_loss": kl, "elbo": -(reconstruction_loss + kl)}
        terms |= self.bound.logged_terms(sample, self.beta)
        if self.penalties:
            penalty_loss, penalty_terms = penalties.total(
                self.penalties, batch.x, forward.z, forward.params, self, self.seed_generator
            )
            losses = (*losses, penalty_loss)
            terms |= {"penalty_loss": penalty_loss, **penalty_terms}
        return BatchResult(self.likelihood.mean(mean_params), losses, terms)

    def score(
        self,
        x: Tensor,
        z: Tensor,
        params: Tensor,
        condition: Sequence[Tensor],
        seed: Seed,
        training: bool = False,
        log_posterior: Tensor | None = None,
    ) -> tuple[bounds.PosteriorSample, Tensor]:
        """The log-densities of posterior samples, of which every bound is made.

        Args:
            x: tensor `(batch, *image_shape)`.
            z: tensor `(samples, batch, *latent_shape)`, drawn from q(z|x).
            params: parameters of q(z|x) `(batch, ..., parameters · size)`.
            condition: what the networks see in addition to `x` and `z`, as `condition` gives it.
            seed: int or `keras.random.SeedGenerator`, for a prior that draws samples of its own.
            training: bool.
            log_posterior: log q(z|x) `(samples, batch)` if it is known, as from `sample_and_log_prob`.

        Returns:
            Tuple of a `PosteriorSample` and the parameters of p(x|z) `(samples, batch, ...)`.
        """
        x_params = self.generation(z, condition, training)
        if log_posterior is None:
            log_posterior = self.posterior_family.log_prob(z, params, len(self.latent_shape))
        sample = bounds.PosteriorSample(
            self.log_likelihood(x, x_params),
            self.prior.log_prob(z, condition, seed),
            log_posterior,
            *self.prior.kl(self.posterior_family, params, condition),
        )
        return sample, x_params

    def sample_and_score(
        self, x: Tensor, params: Tensor, condition: Sequence[Tensor], num_samples: int, seed: Seed
    ) -> tuple[Tensor, bounds.PosteriorSample, Tensor]:
        """Draw codes from q(z|x) and score them, outside training; arguments as in `score`.

        Returns:
            Tuple of codes `(samples, batch, *latent_shape)`, their `PosteriorSample`, and the parameters of p(x|z).
        """
        z, log_posterior = self.posterior_family.sample_and_log_prob(params, num_samples, seed, len(self.latent_shape))
        return z, *self.score(x, z, params, condition, seed, log_posterior=log_posterior)

    def log_likelihood(self, x: Tensor, x_params: Tensor) -> Tensor:
        """log p(x|z) of whole images `(samples, batch)`, from `x` `(batch, ...)` and parameters of p(x|z)."""
        return self.likelihood.log_prob(x, x_params, len(self.image_shape))

    def code(self, params: Tensor) -> Tensor:
        return self.posterior_family.mean(params)

    # Methods on arrays.

    def posterior(self, x: ArrayLike, y: Any = None) -> tuple[Array, ...]:
        """The parameters of q(z|x).

        Args:
            x: images `(n, *image_shape)`.
            y: the condition, for a conditional model.

        Returns:
            Tuple of arrays `(n, *latent_shape)`, named by `posterior_family.parameter_names`: `z_mean, z_log_var` for
            the normal.

        Example:

        >>> z_mean, z_log_var = model.posterior(data.x_test)
        """
        return in_batches(
            lambda x, y: self.posterior_family.parameters(self.inference(x, self.condition(y))),
            *self._check_pair(x, y),
            batch_size=EVALUATION_BATCH,
        )

    def generate(self, n: int = 1, seed: int | None = None) -> Array:
        """Draw latent codes from the prior and decode them.

        Args:
            n: number of images.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.

        Returns:
            Array `(n, *image_shape)` of pixel means.

        Raises:
            ValueError: if `n` is not a positive integer.

        Example:

        >>> model.generate(16, seed=0).shape
        (16, 8, 8, 1)
        """
        n = checks.positive_integer(n, "n")
        return self.decode(self.sample_prior(n, seed=seed))

    def sample_prior(self, n: int, y: Any = None, seed: int | None = None) -> Array:
        """Latent codes from the prior.

        Args:
            n: number of codes.
            y: the condition of each, for a conditional model: its prior may be p(z|y).
            seed: int for a reproducible draw; `None` for the next of the model's own stream.

        Returns:
            Array `(n, *latent_shape)`.
        """
        y = self.check_condition(y, n)
        noise = self.seed_generator if seed is None else keras.random.SeedGenerator(seed)
        condition = (
            () if self.conditions is None else self.condition(keras.tree.map_structure(ops.convert_to_tensor, y))
        )
        return ops.convert_to_numpy(self.prior.sample(n, condition, noise))

    def elbo(self, x: ArrayLike, y: Any = None, num_samples: int | None = None, seed: int | None = None) -> Array:
        """The evidence lower bound of each example, at β = 1: array `(n,)`, nats. Arguments as in `elbo_terms`.

        Example:

        >>> elbo = model.elbo(data.x_test, num_samples=10, seed=0).mean()  # nats
        """
        log_likelihood, kl = self.elbo_terms(x, y, num_samples, seed)
        return log_likelihood - kl

    def energy(self, x: ArrayLike, y: Any = None, num_samples: int | None = 16, seed: int | None = 0) -> Array:
        """−ELBO of each example, low where the model expects data: array `(n,)`, nats. Arguments as in `elbo_terms`."""
        return -self.elbo(x, y, num_samples, seed)

    def elbo_terms(
        self, x: ArrayLike, y: Any = None, num_samples: int | None = None, seed: int | None = None
    ) -> tuple[Array, Array]:
        """The two terms of the evidence lower bound.

        Args:
            x: images `(n, *image_shape)`.
            y: the condition, for a conditional model.
            num_samples: posterior samples per example; `None` for the model's own number.
            seed: int for reproducible noise; `None` for the next of the model's own stream.

        Returns:
            Tuple of arrays `(n,)`, nats: the Monte Carlo estimate of E_q[log p(x|z)], and KL(q(z|x) ‖ p(z)).
        """
        num_samples = checks.positive_integer(self.num_samples if num_samples is None else num_samples, "num_samples")
        noise = self.seed_generator if seed is None else keras.random.SeedGenerator(seed)

        def function(x, y):
            condition = self.condition(y)
            _, sample, _ = self.sample_and_score(x, self.inference(x, condition), condition, num_samples, noise)
            return ops.mean(sample.log_likelihood, axis=0), sample.total_kl()

        return in_batches(function, *self._check_pair(x, y), batch_size=max(1, EVALUATION_BATCH // num_samples))

    def _as_prior(self, prior):
        """The `Prior` that the argument `prior` names."""
        return priors.get(prior)

    def _bind(self, prior):
        """Bind the prior to this model, after a check that posterior, bound and prior fit together."""
        if self.conditions is not None and isinstance(prior, priors.Vamp):
            raise ValueError(
                '`prior` must be "standard", "learned" or "mixture" for a model with a condition. Received: vamp'
            )
        estimators.check(self.bound, self.posterior_family, prior)
        prior.bind(self.posterior_family, self.latent_shape, self.image_shape, self.inference)
        free_bits = getattr(self.bound, "free_bits", 0.0)
        if free_bits:
            params = ops.zeros((1, *self.encoder.output_shape[1:]))
            condition = () if self.conditions is None else self.conditions.zeros()
            if prior.kl(self.posterior_family, params, condition)[1] is None:
                raise ValueError(
                    f"`bound` must not use free bits where there is no closed-form KL per dimension, as here with a "
                    f"{type(prior).__name__} prior. Received: free_bits={free_bits}"
                )
        return prior

    def get_config(self) -> dict[str, Any]:
        parts = {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "likelihood": self.likelihood,
            "posterior": self.posterior_family,
            "bound": self.bound,
            "prior": self.prior,
            "penalty": self.penalties,
        }
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "beta": self._initial_beta,
            "num_samples": self.num_samples,
            "seed": self.seed,
        }
