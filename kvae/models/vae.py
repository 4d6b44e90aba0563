"""The variational autoencoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvae import bounds, checks, networks, penalties, priors
from kvae.distributions import Distribution, likelihood_family, posterior_family
from kvae.models import estimators
from kvae.models.batches import Batch, BatchResult, Pass
from kvae.models.density import DensityModel
from kvae.training import strategy
from kvae.types import Network, Number, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class VAE(DensityModel):
    """Variational autoencoder, trained with `fit(x)`.

    p(x, z) = p(x|z) p(z), with p(z) = N(0, I) unless `prior` says otherwise; the decoder gives the parameters of
    p(x|z), the encoder those of q(z|x).
    The negative bound is minimised and logged as `loss`; `reconstruction_loss` = −E_q[log p(x|z)], `kl_loss` =
    KL(q(z|x) ‖ p(z)) and `elbo`, their negative sum whatever β is, are logged as well. All are in nats per example.

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

    term_names: tuple[str, ...] = ("reconstruction_loss", "kl_loss", "elbo")

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
        self.seed = checks.seed(seed)
        self.seed_generator = strategy.SeedGenerator(self.seed)
        self._check_networks()
        self.prior = self._bind(self._as_prior(prior))
        self.beta = self._variable("beta", self._initial_beta)
        self._set_penalties(penalty)
        self.built = True

    @property
    def logged_terms(self) -> tuple[str, ...]:
        penalty_terms = [name for penalty in self.penalties for name in penalty.term_names]
        penalty_terms = ["penalty_loss", *penalty_terms] if self.penalties else []
        return (*self.term_names, *self.bound.term_names, *penalty_terms)

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        condition = self.condition(batch.y)
        return self.run_inferred(batch, condition, self.inference(batch.x, condition, training), training)

    def run_inferred(self, batch: Batch, condition: tuple[Tensor, ...], params: Tensor, training: bool) -> BatchResult:
        """The rest of a pass over a batch, once q(z|x) is known.

        Args:
            batch: the `Batch`.
            condition: as `condition` gives it.
            params: as `inference` gives them.
            training: bool.
        """

        def score(z, log_posterior, params):
            return self.score(batch.x, z, params, condition, self.seed_generator, training, log_posterior)

        estimate = estimators.estimate(self, params, score, training, condition)
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

    def with_prior(self, prior: priors.Prior) -> VAE:
        """This model with another prior: a new one of the same class, with copies of all other weights.

        Args:
            prior: `Prior` bound to codes of the same shape, whose weights are copied as well; see `kvae.priors.fit`.

        Raises:
            ValueError: if models of this class have no other prior than theirs.
        """
        config = self.get_config()
        if "prior" not in config:
            raise ValueError(f"`model` must take a `prior`, as a VAE does. Received: {type(self).__name__}")
        return self._rebuilt(type(self), config, prior)

    def _check_networks(self):
        conditional = self.conditions is not None
        networks.check_pair(self.encoder, self.decoder, self.posterior_family, self.likelihood, conditional)

    def _as_prior(self, prior):
        """The `Prior` that the argument `prior` names."""
        return priors.get(prior)

    def _bind(self, prior):
        """Bind the prior to this model, after a check that posterior, bound and prior fit together."""
        if self.conditions is not None and isinstance(prior, priors.Vamp):
            raise ValueError(
                '`prior` must be "standard", "learned" or "mixture" for a model with a condition. Received: vamp'
            )
        estimators.check(self.bound, self.posterior_family, prior, self.num_samples)
        self.posterior_family.bind(self.latent_shape)
        self.likelihood.bind(self.image_shape)
        prior.bind(self.posterior_family, self.latent_shape, self.image_shape, self.inference)
        free_bits = getattr(self.bound, "free_bits", 0.0)
        if free_bits and not self._has_kl_of_parts(prior):
            raise ValueError(
                f"`bound` must not use free bits where there is no closed-form KL per dimension, as here with a "
                f"{type(prior).__name__} prior. Received: free_bits={free_bits}"
            )
        return prior

    def _has_kl_of_parts(self, prior):
        """Whether the KL to a bound prior has a closed form for each of the parts that free bits are given to."""
        params = ops.zeros((1, *self.encoder.output_shape[1:]), "float32")
        condition = () if self.conditions is None else self.conditions.zeros()
        return prior.kl(self.posterior_family, params, condition)[1] is not None

    def _parts(self):
        """The arguments of the constructor that are objects."""
        return {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "likelihood": self.likelihood,
            "posterior": self.posterior_family,
            "bound": self.bound,
            "prior": self.prior,
            "penalty": self.penalties,
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in self._parts().items()},
            "beta": self._initial_beta,
            "num_samples": self.num_samples,
            "seed": self.seed,
        }
