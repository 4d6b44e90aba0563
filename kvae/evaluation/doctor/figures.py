"""What the doctor looks at: a model's figures on some images, each computed once."""

import functools
import math

import keras
import numpy as np
from keras import ops

from kvae import priors
from kvae.distributions import Bernoulli, Normal
from kvae.evaluation.doctor import loss_scale
from kvae.evaluation.latent_usage import active_units, kl_per_dimension
from kvae.models.batches import in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH

SAMPLES = 16  # of the posterior, an example


class Patient:
    """A model with images, and the figures that several checks look at, each computed once.

    Attributes:
        likelihood_weight: what log p(x|z), summed over pixels, weighs in the loss: 1 if all is well.
        kl_weight: what the KL weighs beside β: 1 if all is well.
        support: where the likelihood's pixels lie, a key of `loss_scale.SUPPORTS`, or `None`.
        units: `ActiveUnits`.
        log_likelihood: `(n,)`, nats, E_q[log p(x|z)] as it is if nothing is averaged.
        kl: `(n,)`, nats, KL(q(z|x) ‖ p(z)).
        z: codes `(n, latent_dim)`, one draw of q(z|x) for each image.
    """

    def __init__(self, model, x, y, x_train, y_train, seed):
        self.model, self.x, self.y, self.seed = model, x, y, seed
        self.units = active_units(model, x, y)
        c, self.support = loss_scale.density_scale(model.likelihood, model.image_shape)
        self.density_scale = c or 1.0
        few = slice(200)
        score = loss_scale.score_weights(model, x[few], None if y is None else y[few], seed)
        terms = model.elbo_terms(x, y, num_samples=SAMPLES, seed=seed)
        logged = loss_scale.logged_weights(model, *(None if a is None else a[few] for a in (x, y, *terms)))
        bound = loss_scale.bound_weights(model.bound, model.latent_dim)
        self.likelihood_weight, self.kl_weight = (
            each * in_score * in_log / divided
            for each, in_score, in_log, divided in zip(bound, score, logged, (self.density_scale, 1.0), strict=True)
        )
        self._scales = score[0] / self.density_scale, score[1]  # of what `elbo_terms` gives
        self.log_likelihood, self.kl = (term / scale for term, scale in zip(terms, self._scales, strict=True))
        self.train = None if x_train is None else self._elbo(x_train, y_train)
        z, width, self.squared_residual, self.squared_noise = self._draw()
        self.z, self.width = (each.reshape(len(x), model.latent_dim) for each in (z, width))

    @property
    def elbo(self):
        """The ELBO of each image, array `(n,)`."""
        return self.log_likelihood - self.kl

    @property
    def beta(self):
        """The model's β."""
        return float(ops.convert_to_numpy(self.model.beta))

    @property
    def pixels(self):
        """How many numbers an image holds."""
        return math.prod(self.model.image_shape)

    @property
    def active(self):
        """How many latent units are active."""
        return self.units.count

    @property
    def dead_kl(self):
        """The KL of all dead units together, nats; `None` for a prior that ties dimensions together."""
        if not isinstance(self.model.prior, priors.Single):
            return None
        dead = self.units.variances <= self.units.threshold
        return float(kl_per_dimension(self.model, self.x, self.y)[dead].sum())

    def _elbo(self, x, y):
        terms = self.model.elbo_terms(x, y, num_samples=SAMPLES, seed=self.seed)
        log_likelihood, kl = (term / scale for term, scale in zip(terms, self._scales, strict=True))
        return log_likelihood - kl

    def _draw(self):
        """A code of each image, the posterior's widths, and the squares of residuals and of the likelihood's noise."""
        model, noise = self.model, keras.random.SeedGenerator(self.seed)

        def function(x, y):
            condition = model.condition(y)
            params = model.inference(x, condition)
            z, _, x_params = model.sample_and_score(x, params, condition, SAMPLES, noise)
            x_params = x_params[0]
            mean = model.likelihood.mean(x_params)
            try:
                drawn = model.likelihood.sample(x_params, 1, noise)[0]
            except NotImplementedError:  # a likelihood of somebody's own, that can only score
                drawn = mean * np.nan
            return z[0], ops.std(z, axis=0), ops.square(x - mean), ops.square(drawn - mean)

        return in_batches(function, self.x, self.y, batch_size=EVALUATION_BATCH // SAMPLES)

    @functools.cached_property
    def gap(self):
        """How much higher the ELBO is on training images, nats, and its standard error; `None` without any."""
        if self.train is None:
            return None
        error = math.sqrt(sum(elbo.var(ddof=1) / len(elbo) for elbo in (self.train, self.elbo)))
        return float(self.train.mean() - self.elbo.mean()), error

    @functools.cached_property
    def prior_share(self):
        """The share of codes whose nearest neighbour, among codes and as many draws of the prior, is a code.

        ½ where both are of one distribution (Schilling 1986, https://doi.org/10.2307/2289012); 1 where they lie apart.
        """
        from sklearn.neighbors import NearestNeighbors

        n = len(self.z)
        both = np.concatenate([self.z, self.model.sample_prior(n, self.y, self.seed).reshape(n, -1)])
        nearest = NearestNeighbors(n_neighbors=2).fit(both).kneighbors(self.z, return_distance=False)
        other = np.where(nearest[:, 0] == np.arange(n), nearest[:, 1], nearest[:, 0])  # a point is near itself
        return float(np.mean(other < n))

    @functools.cached_property
    def mean_image(self):
        """log p(x) of each image under one distribution for all, about the mean image; `None` for other families."""
        likelihood, mean = self.model.likelihood, self.x.mean(axis=0, dtype="float64")
        if isinstance(likelihood, Bernoulli):
            mean = np.clip(mean, 1e-3, 1 - 1e-3)
            params = np.log(mean) - np.log1p(-mean)
        elif isinstance(likelihood, Normal):
            params = mean
            if likelihood.sigma is None:
                params = np.concatenate([mean, np.log(np.maximum(self.x.var(axis=0), 1e-12))], axis=-1)
        else:
            return None
        x, params = ops.convert_to_tensor(self.x), ops.convert_to_tensor(params[None], "float32")
        log_prob = likelihood.elementwise_log_prob(x, params)
        log_prob = ops.convert_to_numpy(log_prob).astype("float64")
        return log_prob.reshape(len(self.x), -1).sum(axis=1) * self.density_scale
