"""What every model with a prior offers, codes and images drawn, and every model with densities: their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kvae import bounds, checks
from kvae.distributions import Distribution
from kvae.models.batches import in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH, EncoderDecoder, encoded
from kvae.priors import Prior
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Seed, Tensor


class PriorModel(EncoderDecoder):
    """Base class of the models with a prior p(z), from which codes and images are drawn.

    Attributes:
        prior: `Prior` p(z), bound to the model.
        seed_generator: the model's own random stream.
    """

    prior: Prior
    seed_generator: keras.random.SeedGenerator

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"prior"}

    def generate(self, n: int = 1, seed: int | None = None, temperature: float = 1.0) -> Array:
        """Draw latent codes from the prior and decode them.

        Args:
            n: number of images.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.
            temperature: as in `sample_prior`.

        Returns:
            Array `(n, *image_shape)` of pixel means; of draws for a `distributions.Joint`, whose means are no rows.

        Raises:
            ValueError: if `n` is not a positive integer.

        Example:

        >>> model.generate(16, seed=0).shape
        (16, 8, 8, 1)
        """
        n = checks.positive_integer(n, "n")
        return self._examples(self.sample_prior(n, seed=seed, temperature=temperature), None, seed)

    def sample_prior(self, n: int, y: Any = None, seed: int | None = None, temperature: float = 1.0) -> Array:
        """Latent codes from the prior.

        Args:
            n: number of codes.
            y: the condition of each, for a conditional model: its prior may be p(z|y).
            seed: int for a reproducible draw; `None` for the next of the model's own stream.
            temperature: what the prior's standard deviation, or that of a mixture's components, is multiplied by, at
                least 0. Below 1, images are more typical and less varied.

        Returns:
            Array `(n, *latent_shape)`.
        """
        temperature = checks.number(temperature, "temperature", at_least=0)
        y = self.check_condition(y, n)
        noise = self._noise(seed)
        condition = (
            () if self.conditions is None else self.condition(keras.tree.map_structure(ops.convert_to_tensor, y))
        )
        return ops.convert_to_numpy(self.prior.sample(n, condition, noise, temperature))

    def draw(self, z: ArrayLike, y: Any = None, seed: int | None = None) -> Array:
        """Values drawn from p(x|z) of codes, where `decode` gives their means.

        Args:
            z: codes `(n, *latent_shape)`.
            y: the condition of each, for a conditional model.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.

        Returns:
            Array `(n, *image_shape)`.
        """
        return self._decoded(z, y, self._noise(seed))

    def _noise(self, seed):
        """What a method draws from: a stream of its own for an int, the next of the model's for `None`."""
        return self.seed_generator if seed is None else keras.random.SeedGenerator(checks.seed(seed))

    def _examples(self, z, y, seed):
        """What `generate` makes of codes: pixel means, or draws of a likelihood whose means would not be examples."""
        if not self.likelihood.generates_draws:
            return self.decode(z, y)
        return self.draw(z, y, None if seed is None else checks.seeds(seed, 2)[1])


class DensityModel(PriorModel):
    """Base class of the models with densities p(x|z), p(z) and q(z|x).

    Attributes:
        posterior_family: `Distribution` of q(z|x).
        num_samples: posterior samples per example in training.
    """

    posterior_family: Distribution
    num_samples: int

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"density", "elbo"}

    # Methods on tensors.

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
        one, other = checks.seeds(seed, 2)  # the second for a prior that draws samples of its own
        z, log_posterior = self.posterior_family.sample_and_log_prob(params, num_samples, one, len(self.latent_shape))
        return z, *self.score(x, z, params, condition, other, log_posterior=log_posterior)

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
        return in_batches(kept(self, _posterior), *self._check_pair(x, y), batch_size=EVALUATION_BATCH)

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
        function, batch_size = kept(self, _elbo_terms, num_samples), max(1, EVALUATION_BATCH // num_samples)
        return in_batches(function, *self._check_pair(x, y), batch_size=batch_size, noise=self._noise(seed))


# For `kvae.training.kept`.


def _posterior(model, noise, x, y):
    return tuple(model.posterior_family.parameters(encoded(model, noise, x, y)))


def _elbo_terms(model, num_samples, noise, x, y):
    condition = model.condition(y)
    params = model.inference(x, condition)
    _, sample, _ = model.sample_and_score(x, params, condition, num_samples, noise)
    return ops.mean(sample.log_likelihood, axis=0), sample.total_kl()
