"""Hierarchies of stochastic layers: ladder VAEs and top-down residual VAEs, which differ in their networks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kvae import bounds, checks, networks
from kvae.distributions import Distribution, Normal
from kvae.models.batches import Batch, BatchResult, Pass
from kvae.models.vae import VAE
from kvae.priors import Prior
from kvae.types import Network, Number, Seed, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class HierarchicalVAE(VAE):
    """VAE with L layers of codes, each generated from those above it and inferred in the same order.

    p(x, z) = p(x|z) p(z_L) Π_l p(z_l|z_>l) and q(z|x) = q(z_L|x) Π_l q(z_l|z_>l, x), with all factors normal. The
    encoder goes from the image up; then both q and p go from the top layer L down to layer 1, through networks that
    they share. With `kvae.networks.ladder` it is the ladder VAE (Sønderby et al. 2016,
    https://arxiv.org/abs/1602.02282), with `kvae.networks.top_down` a small version of the very deep VAE (Child 2021,
    https://arxiv.org/abs/2011.10650).

    The KL is Σ_l E[KL(q(z_l|z_>l, x) ‖ p(z_l|z_>l))], in closed form given the samples above a layer; each layer's part
    is logged as `kl_1`, that next to the image, to `kl_L`. A layer whose part is near 0 is not in use: raise β from 0
    by `callbacks.KLWarmup`, or use `bounds.ELBO(free_bits=λ)`, whose λ nats each layer has here, not each dimension.

    Codes `(n, latent_dim)` are those of all layers, layer 1 first; `encode` gives the mean of each layer's posterior
    given the means above. `posterior` gives the encoder's features, of which posteriors are made on the way down. The
    temperature of `generate` multiplies the standard deviation of each layer's prior.

    Args:
        encoder: Functional Keras model from images `(batch, *image_shape)` to the features of all layers,
            `(batch, features)`.
        decoder: `kvae.networks.TopDown`.
        likelihood: "bernoulli", "gaussian" or a `kvae.distributions.Distribution`.
        bound: "elbo", "importance_weighted", "renyi" or a `kvae.bounds.Bound`, with its gradient reparameterized.
        beta: weight of the KL, in a variable.
        num_samples: posterior samples per example.
        seed: int for reproducible noise; `None` for a random one.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: if encoder, decoder and likelihood do not fit together, or for another gradient of the bound.

    Example:

    ```python
    data = kvae.load_data("digits")
    model = kvae.HierarchicalVAE(*kvae.networks.ladder(data.image_shape, latent_dims=(16, 4), hidden=(64, 32)))
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    model.fit(data.x_train, epochs=30, callbacks=[kvae.callbacks.KLWarmup(10)])
    kvae.evaluation.kl_per_layer(model, data.x_test)  # nats, (2,)
    ```
    """

    decoder: networks.TopDown

    def __init__(
        self,
        encoder: Network,
        decoder: networks.TopDown,
        likelihood: str | Distribution = "bernoulli",
        bound: str | bounds.Bound = "elbo",
        beta: Number = 1.0,
        num_samples: int = 1,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        if not isinstance(decoder, networks.TopDown):
            raise ValueError(
                "`decoder` must be a kvae.networks.TopDown, as networks.ladder and networks.top_down make it. "
                f"Received: {decoder!r}"
            )
        bound = bounds.get(bound)
        if bound.gradient != "reparameterized" or bound.for_encoder() is not None:
            raise ValueError(
                '`bound` must have gradient="reparameterized" and train all networks here, since encoder and decoder '
                f"share a hierarchy's posterior. Received: {bound.get_config()}"
            )
        posterior, prior = TopDownPosterior(decoder), TopDownPrior(decoder)
        super().__init__(
            encoder, decoder, likelihood, posterior, bound, beta, num_samples, seed, prior, None, name, dtype, trainable
        )

    @property
    def latent_shape(self) -> Shape:
        """Shape of one code, `(latent_dim,)`: the codes of all layers."""
        return (self.decoder.latent_dim,)

    @property
    def logged_terms(self) -> tuple[str, ...]:
        return (*super().logged_terms, *(f"kl_{i + 1}" for i in range(self.decoder.num_layers)))

    # Methods on tensors.

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        params = self.inference(batch.x, (), training)
        z, sample, x_params = self.sample_and_score(
            batch.x, params, (), self.num_samples, self.seed_generator, training
        )
        forward = Pass((), params, z, x_params, sample, self.bound(sample, self.beta))
        return self.loss_terms(batch, forward, training)

    def loss_terms(self, batch: Batch, forward: Pass, training: bool) -> BatchResult:
        result = super().loss_terms(batch, forward, training)
        kl = forward.sample.kl_per_dimension
        return result._replace(terms=result.terms | {f"kl_{i + 1}": kl[:, i] for i in range(kl.shape[-1])})

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
        """As in `VAE`, with the KL of each layer in place of that of each dimension."""
        codes = self.decoder.split(ops.reshape(z, (-1, self.latent_dim)))
        _, sample, x_params = self._descended(x, params, z.shape[0], lambda i, *_: codes[i], training)
        return sample, x_params

    def sample_and_score(
        self,
        x: Tensor,
        params: Tensor,
        condition: Sequence[Tensor],
        num_samples: int,
        seed: Seed,
        training: bool = False,
    ) -> tuple[Tensor, bounds.PosteriorSample, Tensor]:
        return self._descended(x, params, num_samples, drawing(self.decoder, seed), training)

    def _descended(self, x, params, num_samples, choose, training):
        """Codes, their `PosteriorSample` and the parameters of p(x|z) from one pass down the layers."""
        (features,) = networks.tile((params,), num_samples)
        z, priors, posteriors, x_params = self.decoder.descend(choose, features, training)

        def by_sample(rows):
            return ops.reshape(rows, (num_samples, -1, *rows.shape[1:]))

        x_params = by_sample(x_params)
        kl = ops.mean(by_sample(self.decoder.kl(posteriors, priors)), axis=0)
        sample = bounds.PosteriorSample(
            self.log_likelihood(x, x_params),
            by_sample(self.decoder.log_prob(z, priors)),
            by_sample(self.decoder.log_prob(z, posteriors)),
            ops.sum(kl, axis=-1),
            kl,
        )
        return by_sample(self.decoder.join(z)), sample, x_params

    # How the model plugs into Keras.

    def _check_networks(self):
        networks.check_top_down(self.encoder, self.decoder, self.likelihood)

    def _has_kl_of_parts(self, prior):
        return True

    def _parts(self):
        return {name: getattr(self, name) for name in ("encoder", "decoder", "likelihood", "bound")}


def drawing(decoder: networks.TopDown, seed: Seed) -> Any:
    """What `TopDown.descend` takes to draw the codes of each layer from its posterior."""
    seeds = checks.seeds(seed, decoder.num_layers)
    return lambda i, prior, posterior: decoder.family.sample(posterior, 1, seeds[i])[0]


class TopDownPosterior(Distribution):
    """q(z|x) of all layers, whose parameters are the encoder's features.

    Args:
        decoder: `kvae.networks.TopDown`, whose weights stay its own.
    """

    parameter_names = ("features",)

    def __init__(self, decoder: networks.TopDown) -> None:
        super().__init__()
        self._hidden = lambda: decoder  # from Keras, which would save its weights once more

    def sample_and_log_prob(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        decoder = self._hidden()
        (features,) = networks.tile((params,), num_samples)
        z, _, posteriors, _ = decoder.descend(drawing(decoder, seed), features)
        log_prob = decoder.log_prob(z, posteriors)
        return (
            ops.reshape(decoder.join(z), (num_samples, -1, decoder.latent_dim)),
            ops.reshape(log_prob, (num_samples, -1)),
        )

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        decoder = self._hidden()
        value = value + ops.zeros_like(params[..., :1])  # with the leading axes of both
        params = params + ops.zeros_like(value[..., :1])
        codes = decoder.split(ops.reshape(value, (-1, value.shape[-1])))
        features = ops.reshape(params, (-1, params.shape[-1]))
        posteriors = decoder.descend(lambda i, *_: codes[i], features).posteriors
        return ops.reshape(decoder.log_prob(codes, posteriors), ops.shape(value)[:-1])

    def mean(self, params: Tensor) -> Tensor:
        """The mean of each layer's posterior given those above: `(batch, latent_dim)` of `(batch, features)`."""
        decoder = self._hidden()
        z = decoder.descend(lambda i, prior, posterior: decoder.family.mean(posterior), params).z
        return decoder.join(z)

    def standard_prior(self) -> Distribution:
        return Normal()


class TopDownPrior(Prior):
    """p(z) of all layers.

    Args:
        decoder: as in `TopDownPosterior`.
    """

    def __init__(self, decoder: networks.TopDown) -> None:
        super().__init__()
        self._hidden = lambda: decoder

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        decoder = self._hidden()
        codes = decoder.split(ops.reshape(z, (-1, z.shape[-1])))
        priors = decoder.descend(lambda i, *_: codes[i]).priors
        return ops.reshape(decoder.log_prob(codes, priors), ops.shape(z)[:-1])

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        decoder = self._hidden()
        seeds = checks.seeds(seed, decoder.num_layers)

        def choose(i, prior, posterior):
            prior = ops.broadcast_to(prior, (n, *prior.shape[1:]))
            return self.draw(decoder.family, prior, seeds[i], temperature)

        return decoder.join(decoder.descend(choose).z)
