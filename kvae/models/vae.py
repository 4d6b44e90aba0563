"""The variational autoencoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114)."""

import keras
from keras import ops

from kvae import bounds, checks, networks, priors
from kvae.distributions import likelihood_family, posterior_family
from kvae.models.base import BatchResult, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH, EncoderDecoder
from kvae.training import strategy


@keras.saving.register_keras_serializable(package="kvae")
class VAE(EncoderDecoder):
    """Variational autoencoder, trained with `fit(x)`.

    p(x, z) = p(x|z) p(z), with p(z) = N(0, I) unless `prior` says otherwise; the decoder gives the parameters of
    p(x|z), the encoder those of q(z|x).
    What is minimised, and logged as `loss`, is the negative bound; `reconstruction_loss` = −E_q[log p(x|z)],
    `kl_loss` = KL(q(z|x) ‖ p(z)) and `elbo`, their negative sum whatever β is, are logged beside it. All are in nats
    per example.

    Args:
        encoder: Functional Keras model from images `(batch, *image_shape)` to posterior parameters
            `(batch, parameters · latent_dim)`.
        decoder: Functional Keras model from `(batch, latent_dim)` to likelihood parameters
            `(batch, height, width, parameters · channels)`, logits for Bernoulli.
        likelihood: "bernoulli", "gaussian" or a `kvae.distributions.Distribution`.
        posterior: a key of `kvae.distributions.POSTERIORS`, such as "normal" or "laplace", or a `Distribution`.
        bound: "elbo", "importance_weighted", "renyi" (α = ½) or a `kvae.bounds.Bound`.
        beta: weight of the KL, at least 0; 1 is the bound itself. Kept in a variable, so a callback can change it.
        num_samples: posterior samples an example in training and evaluation: L of the ELBO, K of the other bounds.
        seed: int for reproducible noise; `None` for a random one.
        prior: "standard" for N(0, I), "mixture", "vamp" or a `kvae.priors.Prior`.
        **kwargs: `name`, `dtype`, `trainable`, as in `keras.Model`.

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
        encoder,
        decoder,
        likelihood="bernoulli",
        posterior="normal",
        bound="elbo",
        beta=1.0,
        num_samples=1,
        seed=None,
        prior="standard",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood_family(likelihood)
        self.posterior_family = posterior_family(posterior)
        self.bound = bounds.get(bound)
        self.num_samples = checks.positive_integer(num_samples, "num_samples")
        if not (isinstance(beta, (int, float)) and 0 <= beta <= checks.LARGEST):
            raise ValueError(f"`beta` must be a finite number of at least 0. Received: beta={beta!r}")
        self._initial_beta = float(beta)
        self.seed = seed
        self.seed_generator = strategy.SeedGenerator(seed)
        networks.check_pair(encoder, decoder, self.posterior_family, self.likelihood, self.takes_labels)
        self.prior = self._bind(self._as_prior(prior))
        # A variable, not a float: a float would freeze into the compiled step.
        self.beta = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(beta),
            trainable=False,
            dtype="float32",
            autocast=False,
            name="beta",
        )
        self.built = True

    # Inference, generation, loss: tensors in, tensors out.

    def run_batch(self, x, y, training):
        condition = self.condition(y)
        params = self._apply(self.encoder, x, condition, training)
        z = self.posterior_family.sample(params, self.num_samples, self.seed_generator)
        losses, sample, x_params = bounds.estimate(
            self.bound,
            lambda z, params: self.score(x, z, params, condition, self.seed_generator, training),
            z,
            params,
            self.beta,
        )
        if training:
            mean_params = x_params[0]
        else:  # the clean reconstruction; where only the losses are used, a compiled graph drops it
            z_mean = self.posterior_family.mean(params)
            mean_params = self._apply(self.decoder, z_mean, condition, training)
        reconstruction_loss, kl = -ops.mean(sample.log_likelihood, axis=0), sample.total_kl()
        terms = {"reconstruction_loss": reconstruction_loss, "kl_loss": kl, "elbo": -(reconstruction_loss + kl)}
        return BatchResult(self.likelihood.mean(mean_params), losses, terms)

    def posterior_params(self, x, y):
        """Parameters of q(z|x) `(batch, parameters · latent_dim)`, of tensors."""
        return self._apply(self.encoder, x, self.condition(y), False)

    def score(self, x, z, params, condition, seed, training=False):
        """The log-densities of posterior samples, from which every bound is made.

        Args:
            x: tensor `(batch, *image_shape)`.
            z: tensor `(samples, batch, latent_dim)`, drawn from q(z|x).
            params: parameters of q(z|x) `(batch, parameters · latent_dim)`.
            condition: tensor `(batch, condition_dim)` or `None`.
            seed: int or `keras.random.SeedGenerator`, for a prior that draws samples of its own.
            training: bool.

        Returns:
            `(PosteriorSample, x_params)`: summed over pixels and latent dimensions, and the likelihood's parameters
            `(samples, batch, ...)`.
        """
        x_params = self._decode(z, condition, training)
        sample = bounds.PosteriorSample(
            self.log_likelihood(x, x_params),
            self.prior.log_prob(z, condition, seed),
            ops.sum(self.posterior_family.log_prob(z, params), axis=-1),
            self.prior.kl(self.posterior_family, params, condition),
        )
        return sample, x_params

    def log_likelihood(self, x, x_params):
        """log p(x|z), summed over pixels, `(samples, batch)`, of tensors `x` and likelihood parameters `x_params`."""
        return self.likelihood.sum_log_prob(x, x_params)

    def _decode(self, z, condition, training):
        """Likelihood parameters `(samples, batch, ...)` of `z` `(samples, batch, latent)`, in one pass."""
        num_samples, batch, latent = z.shape[0], ops.shape(z)[1], z.shape[2]
        if condition is not None:
            condition = ops.tile(condition, (num_samples, 1))
        params = self._apply(self.decoder, ops.reshape(z, (-1, latent)), condition, training)
        return ops.reshape(params, (num_samples, batch, *params.shape[1:]))

    # Verbs: NumPy in, NumPy out.

    def posterior(self, x, y=None):
        """The parameters of q(z|x).

        Args:
            x: images `(n, *image_shape)`.
            y: labels, for a conditional model.

        Returns:
            Tuple of arrays `(n, latent_dim)`, `posterior_family.parameter_names`: `z_mean, z_log_var` for the normal.
        """
        return in_batches(
            lambda *args: self.posterior_family.parameters(self.posterior_params(*args)),
            *self._check_pair(x, y),
            batch_size=EVALUATION_BATCH,
        )

    def generate(self, n=1, seed=None):
        """Draw latent codes from the prior and decode them.

        Args:
            n: int, how many images.
            seed: int for a reproducible draw; `None` for the next of the model's own stream.

        Returns:
            Array `(n, *image_shape)` of pixel means.

        Raises:
            ValueError: if `n` is no positive integer.
        """
        n = checks.positive_integer(n, "n")
        return self.decode(self.sample_prior(n, seed=seed))

    def sample_prior(self, n, y=None, seed=None):
        """Latent codes from the prior.

        Args:
            n: int, how many.
            y: labels of the n codes, for a conditional model: its prior may be p(z|y).
            seed: int for a reproducible draw; `None` for the next of the model's own stream.

        Returns:
            Array `(n, latent_dim)`.
        """
        condition = None
        if self.takes_labels:
            condition = self.condition(ops.convert_to_tensor(self.check_labels(y, n)))
        z = self.prior.sample(n, condition, self.seed_generator if seed is None else keras.random.SeedGenerator(seed))
        return ops.convert_to_numpy(z)

    def elbo(self, x, y=None, num_samples=None, seed=None):
        """The evidence lower bound of each example, at β = 1: array `(n,)`, nats. Arguments as in `elbo_terms`."""
        log_likelihood, kl = self.elbo_terms(x, y, num_samples, seed)
        return log_likelihood - kl

    def energy(self, x, y=None, num_samples=16, seed=0):
        """−ELBO of each example, low where the model expects data: array `(n,)`, nats. Arguments as in `elbo_terms`."""
        return -self.elbo(x, y, num_samples, seed)

    def elbo_terms(self, x, y=None, num_samples=None, seed=None):
        """The two terms of the evidence lower bound.

        Args:
            x: images `(n, *image_shape)`.
            y: labels, for a conditional model.
            num_samples: posterior samples an example; `None` for the model's own.
            seed: int for reproducible noise; `None` for the next of the model's own stream.

        Returns:
            Tuple of arrays `(n,)`, nats: the Monte Carlo estimate of E_q[log p(x|z)], and KL(q(z|x) ‖ p(z)).
        """
        num_samples = checks.positive_integer(self.num_samples if num_samples is None else num_samples, "num_samples")
        noise = self.seed_generator if seed is None else keras.random.SeedGenerator(seed)

        def function(x, y):
            condition = self.condition(y)
            params = self.posterior_params(x, y)
            z = self.posterior_family.sample(params, num_samples, noise)
            sample, _ = self.score(x, z, params, condition, noise)
            return ops.mean(sample.log_likelihood, axis=0), sample.total_kl()

        return in_batches(function, *self._check_pair(x, y), batch_size=max(1, EVALUATION_BATCH // num_samples))

    def _encode(self, x, y):
        return self.posterior_family.mean(self.posterior_params(x, y))

    def _as_prior(self, prior):
        """The `Prior` that the argument `prior` names."""
        return priors.get(prior)

    def _bind(self, prior):
        """Tie the prior to this model."""
        if self.takes_labels and isinstance(prior, priors.Vamp):
            raise ValueError(
                '`prior` must be another for a model with labels: "standard", "learned" or "mixture". Received: vamp'
            )
        if prior.stochastic and self.bound.gradient == "doubly_reparameterized":
            raise ValueError(
                f"`bound` must use another gradient with a {type(prior).__name__} prior, which draws samples of its "
                f"own. Received: gradient={self.bound.gradient!r}"
            )
        if not self.posterior_family.reparameterized and self.bound.gradient != "score_function":
            raise ValueError(
                f'`bound` must use gradient="score_function" with a {type(self.posterior_family).__name__} posterior, '
                f"whose samples have no derivative. Received: gradient={self.bound.gradient!r}"
            )
        prior.bind(
            self.posterior_family,
            self.latent_dim,
            self.image_shape,
            lambda images: self._apply(self.encoder, images, None, False),
        )
        if getattr(self.bound, "free_bits", 0.0):
            params = ops.zeros((1, self.encoder.output_shape[-1]))
            condition = ops.zeros((1, self.encoder.inputs[1].shape[-1])) if self.takes_labels else None
            if prior.kl(self.posterior_family, params, condition) is None:
                raise ValueError(
                    f"`bound` must go without free bits where the KL has no closed form, as here with a "
                    f"{type(prior).__name__} prior. Received: free_bits={self.bound.free_bits}"
                )
        return prior

    def get_config(self):
        parts = {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "likelihood": self.likelihood,
            "posterior": self.posterior_family,
            "bound": self.bound,
            "prior": self.prior,
        }
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "beta": self._initial_beta,
            "num_samples": self.num_samples,
            "seed": self.seed,
        }
