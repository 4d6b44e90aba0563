"""The figures that the doctor looks at: of a model on some images, each computed once."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions import Bernoulli, Categorical, Joint, Normal, Observed
from kvae.distributions.counts import Counts
from kvae.evaluation.doctor import loss_scale
from kvae.evaluation.doctor.bounded import bounded
from kvae.evaluation.doctor.finding import words
from kvae.evaluation.latent_usage import active_units, factorises, kl_per_dimension, kl_per_layer
from kvae.models import VAE, HierarchicalVAE, conditions
from kvae.models.batches import in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH
from kvae.outputs import Range
from kvae.types import Array

SAMPLES = 16  # of the posterior, per example
STREAMS = ("score", "elbo", "train", "codes", "prior", "probes")  # of random numbers, each with a seed of its own


class Figures:
    """A model on some images, with the figures that several checks look at, each computed once.

    Attributes:
        likelihood_weight: the weight of log p(x|z), summed over pixels, in the loss; should be 1.
        kl_weight: the weight of the KL apart from β; should be 1.
        support: the support of the likelihood, a key of `loss_scale.SUPPORTS`, or `None`.
        words: what an example and the numbers in it are called.
        units: `ActiveUnits`.
        log_likelihood: `(n,)`, nats, E_q[log p(x|z)] as it would be if nothing were averaged.
        kl: `(n,)`, nats, KL(q(z|x) ‖ p(z)).
        z: codes `(n, latent_dim)`, one draw of q(z|x) per image.
    """

    def __init__(
        self,
        model: VAE,
        x: Array,
        y: Any,
        x_train: Array | None,
        y_train: Any,
        scale_and_support: tuple[float | None, str | None],
        seed: int,
    ) -> None:
        self.model, self.x, self.y = model, x, y
        self.words = words(model.image_shape)
        self._seeds = dict(zip(STREAMS, checks.seeds(seed, len(STREAMS)), strict=True))
        self.units = active_units(model, x, y)
        c, self.support = scale_and_support
        self.density_scale = c or 1.0
        few = slice(200)
        score = loss_scale.score_weights(model, x[few], conditions.take(y, few), self._seeds["score"])
        terms = model.elbo_terms(x, y, num_samples=SAMPLES, seed=self._seeds["elbo"])
        logged = loss_scale.logged_weights(model, *(conditions.take(a, few) for a in (x, y, *terms)))
        bound = loss_scale.bound_weights(model.bound, model.latent_dim)
        self.likelihood_weight, self.kl_weight = (
            each * in_score * in_log / divided
            for each, in_score, in_log, divided in zip(bound, score, logged, (self.density_scale, 1.0), strict=True)
        )
        self._scales = score[0] / self.density_scale, score[1]  # of the terms of `elbo_terms`
        self.log_likelihood, self.kl = (term / scale for term, scale in zip(terms, self._scales, strict=True))
        self.train = None if x_train is None else self._elbo(x_train, y_train)
        z, width, self.squared_residual, self.squared_noise = self._draw()
        self.z, self.width = (each.reshape(len(x), model.latent_dim) for each in (z, width))

    @functools.cached_property
    def observed(self) -> Array:
        """All pixels or features that are not missing, `(values,)`."""
        return self.x[~np.isnan(self.x)]

    @property
    def elbo(self) -> Array:
        """The ELBO of each image, array `(n,)`."""
        return self.log_likelihood - self.kl

    @property
    def beta(self) -> float:
        """The model's β."""
        return float(ops.convert_to_numpy(self.model.beta))

    @property
    def pixels(self) -> int:
        """Number of pixels, channels included."""
        return math.prod(self.model.image_shape)

    @property
    def active(self) -> int:
        """Number of active latent units."""
        return self.units.count

    @property
    def dead_kl(self) -> float | None:
        """The KL of all dead units together, nats; `None` where dimensions are not independent."""
        if not factorises(self.model):
            return None
        dead = self.units.variances <= self.units.threshold
        return float(kl_per_dimension(self.model, self.x, self.y)[dead].sum())

    @functools.cached_property
    def layer_kl(self) -> Array | None:
        """The KL of each stochastic layer of a hierarchy, `(layers,)`, nats; `None` for other models."""
        return kl_per_layer(self.model, self.x, SAMPLES) if isinstance(self.model, HierarchicalVAE) else None

    def _elbo(self, x, y):
        terms = self.model.elbo_terms(x, y, num_samples=SAMPLES, seed=self._seeds["train"])
        log_likelihood, kl = (term / scale for term, scale in zip(terms, self._scales, strict=True))
        return log_likelihood - kl

    def _draw(self):
        """A code per image, the posterior's widths, and the squares of the residuals and of the likelihood's noise."""
        model, noise = self.model, keras.random.SeedGenerator(self._seeds["codes"])

        def function(x, y):
            condition = model.condition(y)
            params = model.inference(x, condition)
            z, _, x_params = model.sample_and_score(x, params, condition, SAMPLES, noise)
            x_params = x_params[0]
            mean = model.likelihood.mean(x_params)
            try:
                drawn = model.likelihood.sample(x_params, 1, noise)[0]
            except NotImplementedError:  # a user's likelihood that only scores
                drawn = mean * np.nan
            return z[0], ops.std(z, axis=0), ops.square(x - mean), ops.square(drawn - mean)

        return in_batches(function, self.x, self.y, batch_size=EVALUATION_BATCH // SAMPLES)

    @functools.cached_property
    def gap(self) -> tuple[float, float] | None:
        """By how many nats the ELBO is higher on training images, and its standard error; `None` without these."""
        if self.train is None:
            return None
        error = math.sqrt(sum(elbo.var(ddof=1) / len(elbo) for elbo in (self.train, self.elbo)))
        return float(self.train.mean() - self.elbo.mean()), error

    @functools.cached_property
    def bounded(self) -> list[tuple[str, Range]]:
        """The parameters that a network's last activation seems to bound: see `bounded.bounded`."""
        return bounded(self.model, self.x, self.y, self._seeds["probes"])

    @functools.cached_property
    def prior_share(self) -> float:
        """The share of codes whose nearest neighbour, among all codes and as many draws of the prior, is a code.

        ½ if both have one distribution (Schilling 1986, https://doi.org/10.2307/2289012); 1 if they do not overlap.
        """
        from sklearn.neighbors import NearestNeighbors

        n = len(self.z)
        both = np.concatenate([self.z, self.model.sample_prior(n, self.y, self._seeds["prior"]).reshape(n, -1)])
        nearest = NearestNeighbors(n_neighbors=2).fit(both).kneighbors(self.z, return_distance=False)
        other = np.where(
            nearest[:, 0] == np.arange(n), nearest[:, 1], nearest[:, 0]
        )  # a point is its own nearest neighbour
        return float(np.mean(other < n))

    @functools.cached_property
    def mean_image(self) -> Array | None:
        """log p(x) of each image under a single distribution around the mean image; `None` for other families."""
        likelihood = self.model.likelihood
        params = _shared_params(likelihood, self.x)
        if params is None:
            return None
        x, params = ops.convert_to_tensor(self.x), ops.convert_to_tensor(params[None], "float32")
        log_prob = likelihood.elementwise_log_prob(x, params)
        log_prob = ops.convert_to_numpy(log_prob).astype("float64")
        return log_prob.reshape(len(self.x), -1).sum(axis=1) * self.density_scale


def _shared_params(family, x):
    """Parameters, for all examples `(n, *shape)`, of the member of a family with their mean; `None` where unknown."""
    if isinstance(family, Observed):
        return _shared_params(family.family, x)
    if isinstance(family, Joint):
        pieces = np.split(x, np.cumsum(family.sizes)[:-1], axis=-1)
        each = [_shared_params(part, piece) for part, piece in zip(family.parts, pieces, strict=True)]
        return None if any(params is None for params in each) else np.concatenate(each, axis=-1)
    mean = np.nanmean(x, axis=0, dtype="float64")
    if isinstance(family, Bernoulli):
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        return np.log(mean) - np.log1p(-mean)
    if isinstance(family, Normal):
        if family.sigma is not None:
            return mean
        return np.concatenate([mean, np.log(np.maximum(np.nanvar(x, axis=0), 1e-12))], axis=-1)
    if isinstance(family, (Categorical, Counts)):
        mean = np.maximum(mean, 1e-3)
        if family.num_parameters == 1:
            return np.log(mean)
        dispersion = (np.nanvar(x, axis=0) - mean) / mean**2  # of a negative binomial, by its moments
        return np.log(np.concatenate([mean, np.maximum(dispersion, 1e-6)], axis=-1))
    return None
