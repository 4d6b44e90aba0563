"""Use of the latent code: active units, nats per dimension, and the match of aggregate posterior and prior."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from keras import ops

from kvae import checks, priors
from kvae.distributions import Distribution
from kvae.evaluation.chunks import chunks, in_chunks
from kvae.evaluation.likelihood import check_data, encoded, stream
from kvae.models import HierarchicalVAE
from kvae.models.batches import in_batches
from kvae.training.kept import as_array, kept
from kvae.types import Array, ArrayLike

ROWS = 1000  # examples at a time
PAIRS = 10_000_000  # numbers at a time in densities of every sample under every posterior: bounds the memory


@dataclasses.dataclass(frozen=True)
class ActiveUnits:
    """How much the posterior mean of each latent dimension varies over the data.

    Attributes:
        variances: array `(latent_dim,)`, Var_x(E[z|x]).
        threshold: float, above which a unit counts as active.
        top: the same for the second stochastic layer, if there is one; else `None`.
    """

    variances: Array
    threshold: float
    top: ActiveUnits | None = None

    @property
    def count(self) -> int:
        """Number of active units."""
        return int(np.sum(self.variances > self.threshold))


def active_units(
    model: Any, x: ArrayLike, y: Any = None, threshold: float = 0.01, num_samples: int = 50, seed: int | None = 0
) -> ActiveUnits:
    """Find the latent dimensions in use: those whose posterior mean varies over the data.

    A unit u is active if Var_x(E_{q(u|x)}[u]) > 0.01 (Burda, Grosse, Salakhutdinov 2016, section 5.2,
    https://arxiv.org/abs/1509.00519).

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`, n at least 2.
        y: labels, for a conditional model.
        threshold: float.
        num_samples: int, posterior samples per example for the second layer of a `kvae.priors.Hierarchical` prior,
            whose E[h|x] = E_{q(z|x)}[E[h|z]] has no closed form.
        seed: int for reproducible samples; `None` for random ones.

    Returns:
        An `ActiveUnits`.

    Raises:
        ValueError: if the model has no density, or images or labels do not fit it.

    Example:

    >>> count = kvae.evaluation.active_units(model, data.x_test).count
    """
    x, y = check_data(model, x, y)
    threshold = checks.positive_number(threshold, "threshold")
    num_samples = checks.positive_integer(num_samples, "num_samples")
    if len(x) < 2:
        raise ValueError(f"`x` must contain at least two examples to compute a variance. Received: {len(x)}")
    params = encoded(model, x, y)
    top = None
    if isinstance(model.prior, priors.Hierarchical):
        top = ActiveUnits(_top_means(model, params, num_samples, seed).var(axis=0, ddof=1), threshold)
    means = in_batches(kept(model, _code), params, batch_size=ROWS).reshape(len(x), model.latent_dim)
    return ActiveUnits(means.var(axis=0, ddof=1, dtype="float64"), threshold, top)


def factorises(model: Any) -> bool:
    """Whether the dimensions of both q(z|x) and p(z) are independent, so that each has a KL of its own."""
    posterior, prior = (getattr(model, name, None) for name in ("posterior_family", "prior"))
    if posterior is None or not isinstance(prior, priors.Single):
        return False
    families = (posterior, prior.family)
    return all(type(each).elementwise_log_prob is not Distribution.elementwise_log_prob for each in families)


def kl_per_dimension(model: Any, x: ArrayLike, y: Any = None, num_samples: int = 50, seed: int | None = 0) -> Array:
    """Compute KL(q(z_j|x) ‖ p(z_j)) of each latent dimension, averaged over examples.

    Args:
        model: a `VAE` or `CVAE` whose prior has independent dimensions.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model.
        num_samples: int, posterior samples per example, used if the KL has no closed form.
        seed: int for reproducible samples; `None` for random ones.

    Returns:
        Array `(latent_dim,)`, nats; its sum is the mean KL.

    Raises:
        ValueError: if the model has no density, if the dimensions of its prior are dependent, as in a mixture, or if
            images or labels do not fit it.

    Example:

    >>> kl_loss = kvae.evaluation.kl_per_dimension(model, data.x_test).sum()
    """
    x, y = check_data(model, x, y)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    if not factorises(model):
        raise ValueError(
            "`model` must have a posterior and a prior of independent dimensions for a KL per dimension: use "
            f"elbo_terms for the total KL. Received: a {type(model.posterior_family).__name__} posterior and a "
            f"{type(model.prior).__name__} prior"
        )
    function = kept(model, _kl_per_dimension, num_samples)
    (kl,) = in_chunks(function, encoded(model, x, y), y, size=ROWS, noise=stream(seed))
    return kl.reshape(len(x), model.latent_dim).mean(axis=0, dtype="float64")


def kl_per_layer(model: Any, x: ArrayLike, num_samples: int = 50, seed: int | None = 0) -> Array:
    """Estimate the part of the KL that each stochastic layer of a hierarchy has, averaged over examples.

    E_q[KL(q(z_l|z_>l, x) ‖ p(z_l|z_>l))], from posterior samples of the layers above. A layer whose part is near 0 has
    collapsed: what is generated hardly depends on it.

    Args:
        model: a `HierarchicalVAE`.
        x: images `(n, *image_shape)`.
        num_samples: int, posterior samples per example.
        seed: int for reproducible samples; `None` for random ones.

    Returns:
        Array `(layers,)`, nats, the layer next to the image first; its sum is the mean KL.

    Raises:
        ValueError: for another model, or if images do not fit it.

    Example:

    >>> model = kvae.HierarchicalVAE(*kvae.networks.ladder((8, 8, 1), latent_dims=(8, 4), hidden=(16, 8)))
    >>> kvae.evaluation.kl_per_layer(model, x).shape
    (2,)
    """
    if not isinstance(model, HierarchicalVAE):
        raise ValueError(
            f"`model` must be a HierarchicalVAE: use kl_per_dimension for others. Received: {type(model).__name__}"
        )
    x, _ = check_data(model, x, None)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    function, size = kept(model, _kl_per_layer, num_samples), max(1, ROWS // num_samples)
    (kl,) = in_chunks(function, x, encoded(model, x, None), size=size, noise=stream(seed))
    return kl.mean(axis=0, dtype="float64")


def mutual_information(model: Any, x: ArrayLike, y: Any = None, num_samples: int = 10, seed: int | None = 0) -> float:
    """Estimate the mutual information I_q(x; z) of examples and codes: how well a code identifies its example.

    The mean of KL(q(z|x_i) ‖ q(z)) from posterior samples, where q(z) = 1/n Σ_j q(z|x_j) is the aggregate posterior of
    the n examples (Hoffman & Johnson 2016, "ELBO surgery"). It is at most log n: a value close to log n only means that
    n is too small.

    Args:
        model: a `VAE` or `CVAE`.
        x: images `(n, *image_shape)`. The cost grows with n².
        y: labels, for a conditional model.
        num_samples: int, posterior samples per example.
        seed: int for reproducible samples; `None` for random ones.

    Returns:
        Float, nats.

    Raises:
        ValueError: if the model has no density, or images or labels do not fit it.

    Example:

    >>> nats = kvae.evaluation.mutual_information(model, data.x_test)
    """
    log_posterior, log_aggregate, _ = _log_densities(model, x, y, num_samples, seed)
    return float(np.mean(log_posterior - log_aggregate))


def aggregate_mismatch(model: Any, x: ArrayLike, y: Any = None, num_samples: int = 10, seed: int | None = 0) -> float:
    """Estimate KL(q(z) ‖ p(z)) of the aggregate posterior from the prior, which `generate` draws from.

    Together with `mutual_information` it makes up the mean KL of the ELBO: E_x KL(q(z|x) ‖ p(z)) = I_q(x; z) +
    KL(q(z) ‖ p(z)) (Hoffman & Johnson 2016). If it is large, samples from the prior are far from the codes of examples.

    Args:
        model: a `VAE`, or a `CVAE` whose prior does not depend on the labels.
        x: as in `mutual_information`.
        y: as in `mutual_information`.
        num_samples: as in `mutual_information`.
        seed: as in `mutual_information`.

    Returns:
        Float, nats.

    Raises:
        ValueError: as in `mutual_information`, and for a prior p(z|y).

    Example:

    >>> nats = kvae.evaluation.aggregate_mismatch(model, data.x_test)
    """
    if isinstance(getattr(model, "prior", None), priors.Conditional):
        raise ValueError(
            f"`model` must have the same prior p(z) for all labels. Received: a {type(model.prior).__name__} prior"
        )
    _, log_aggregate, log_prior = _log_densities(model, x, y, num_samples, seed)
    return float(np.mean(log_aggregate - log_prior))


def _log_densities(model, x, y, num_samples, seed):
    """log q(z|x), log q(z) and log p(z), each `(n · samples,)`, at posterior samples of every example."""
    x, y = check_data(model, x, y)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    params = encoded(model, x, y)
    # All posteriors come before the rows, in one tensor that every chunk uses.
    function = functools.partial(kept(model, _log_densities_of_rows), ops.convert_to_tensor(params))
    noise, size = stream(seed), max(1, PAIRS // (len(x) * model.latent_dim))
    draws = [in_chunks(function, params, y, size=size, noise=noise) for _ in range(num_samples)]
    columns = (np.concatenate(column).astype("float64") for column in zip(*draws, strict=True))
    log_posterior, log_sum, log_prior = columns
    return log_posterior, log_sum - math.log(len(x)), log_prior


def _top_means(model, params, num_samples, seed):
    """E[h|x] of the second stochastic layer `(n, top_dim)`, from samples of q(z|x)."""
    function, noise = kept(model, _top_mean), stream(seed)
    means = []
    for rows, part in chunks((params,), ROWS):
        draws = [as_array(function(*part, noise=noise)) for _ in range(num_samples)]
        means.append(np.mean(draws, axis=0, dtype="float64")[: rows.stop - rows.start])
    return np.concatenate(means)


# For `kvae.training.kept`.


def _code(model, noise, params):
    return model.code(params)


def _kl_per_dimension(model, num_samples, noise, params, y):
    family, prior, condition = model.posterior_family, model.prior, model.condition(y)
    _, kl = prior.kl(family, params, condition)
    if kl is None:
        z = family.sample(params, num_samples, noise)
        log_prior = prior.family.elementwise_log_prob(z, prior.params(condition))
        kl = ops.mean(family.elementwise_log_prob(z, params) - log_prior, axis=0)
    return (kl,)


def _kl_per_layer(model, num_samples, noise, x, params):
    _, sample, _ = model.sample_and_score(x, params, (), num_samples, noise)
    return (sample.kl_per_dimension,)


def _log_densities_of_rows(model, noise, every, params, y):
    family, event_ndim = model.posterior_family, len(model.latent_shape)
    z = family.sample(params, 1, noise)[0]
    log_each = family.log_prob(z[:, None], every, event_ndim)  # (rows, n)
    return (
        family.log_prob(z, params, event_ndim),
        ops.logsumexp(log_each, axis=-1),
        model.prior.log_prob(z, model.condition(y), noise),
    )


def _top_mean(model, noise, params):
    z = model.posterior_family.sample(params, 1, noise)[0]
    return model.prior.top_family.mean(model.prior.top_params(z))
