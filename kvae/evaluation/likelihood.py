"""Estimates of log p(x)."""

import math

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.evaluation.density import needs_density
from kvae.models.base import in_batches
from kvae.models.pair import EVALUATION_BATCH


def importance_log_likelihood(model, x, y=None, num_samples=100, seed=None):
    """An estimate of log p(x) of each example, from posterior samples.

    log p(x) ≈ log (1/K) Σ_k p(x|z_k) p(z_k) / q(z_k|x) with z_k ~ q(z|x), which in the mean over draws lies below
    log p(x) and rises to it with K (Burda, Grosse, Salakhutdinov 2016, eq. 8, https://arxiv.org/abs/1509.00519); K = 1
    gives the ELBO.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model; then it is log p(x|y).
        num_samples: int, K, samples an example.
        seed: int for reproducible noise; `None` for a random one.

    Returns:
        Array `(n,)`, nats.

    Raises:
        ValueError: if the model has no density, or images or labels do not fit it.

    Example:

    >>> kvae.evaluation.importance_log_likelihood(model, data.x_test, num_samples=500, seed=0).mean()
    """
    needs_density(model)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    x = model.check_images(x)
    at_once = min(num_samples, EVALUATION_BATCH)
    noise = keras.random.SeedGenerator(seed)

    def function(x, y):
        condition = model.condition(y)
        params = model.posterior_params(x, y)
        log_weights = []
        for start in range(0, num_samples, at_once):
            z = model.posterior_family.sample(params, min(at_once, num_samples - start), noise)
            sample, _ = model.score(x, z, params, condition, noise)
            log_weights.append(sample.log_weights())
        return ops.logsumexp(ops.concatenate(log_weights), axis=0) - math.log(num_samples)

    labels = model.check_labels(y, len(x))
    return in_batches(function, np.asarray(x, "float32"), labels, batch_size=max(1, EVALUATION_BATCH // at_once))
