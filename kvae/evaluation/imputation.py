"""Missing values filled in by a model of what was observed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.evaluation.chunks import chunks, even_share
from kvae.evaluation.likelihood import check_data, encoded, stream
from kvae.training.kept import as_array, kept
from kvae.types import Array, ArrayLike


def impute(
    model: Any,
    x: ArrayLike,
    y: Any = None,
    num_draws: int | None = None,
    num_samples: int = 1000,
    batch_size: int = 5000,
    seed: int | None = None,
    verbose: bool = False,
) -> Array:
    """Fill in the missing values of examples, which are NaN, given those that were observed.

    With z_k ~ q(z|x_observed) and self-normalised weights w_k ∝ p(x_observed|z_k) p(z_k) / q(z_k|x_observed), the mean
    of a missing value is Σ_k w_k E[x|z_k], and a draw is one from p(x|z_k) with k drawn by the weights (Mattei &
    Frellsen 2019, eq. 10 to 13, https://arxiv.org/abs/1812.02633). Several draws show how uncertain a value is: compute
    with each, and combine the results (multiple imputation).

    Args:
        model: a `VAE` or `CVAE` whose likelihood is a `kvae.distributions.Observed`.
        x: examples `(n, *image_shape)` with NaN for what is missing.
        y: the condition, for a conditional model.
        num_draws: how many draws to return; `None` for the mean.
        num_samples: K, posterior samples per example.
        batch_size: rows per decoder call, which bounds the memory.
        seed: int for reproducible noise; `None` for a random one.
        verbose: whether to print progress in runs of more than two seconds.

    Returns:
        Array `(n, *image_shape)` in which observed values are those of `x`; `(num_draws, n, *image_shape)` of draws.

    Raises:
        ValueError: if the model's likelihood is not for missing values, or the examples do not fit it.

    Example:

    >>> x = kvae.toy.moons(200, seed=0)
    >>> x[:50, 0] = np.nan
    >>> likelihood = kvae.distributions.Observed(kvae.distributions.Normal(sigma="learned"))
    >>> networks = kvae.networks.mlp((2,), latent_dim=1, hidden=(16,), likelihood=likelihood)
    >>> model = kvae.VAE(*networks, likelihood=likelihood)
    >>> kvae.evaluation.impute(model, x, num_draws=3, num_samples=50, seed=0).shape
    (3, 200, 2)
    """
    if not model.likelihood.allows_missing:
        raise ValueError(
            "`model` must have a likelihood of examples with missing values: kvae.distributions.Observed(...). "
            f"Received: {type(model.likelihood).__name__}"
        )
    x, y = check_data(model, x, y)
    num_samples = checks.positive_integer(num_samples, "num_samples")
    draws = 0 if num_draws is None else checks.positive_integer(num_draws, "num_draws")
    function, noise = kept(model, _imputed, num_samples, draws), stream(seed)
    params = encoded(model, x, y)
    filled = np.empty((draws or 1, *x.shape), "float32")
    size = even_share(len(x), max(1, batch_size // num_samples))
    for rows, parts in chunks((x, params, y), size, verbose, "imputation"):
        filled[:, rows] = as_array(function(*parts, noise=noise))[:, : rows.stop - rows.start]
    filled = np.where(np.isnan(x), filled, x)
    return filled if draws else filled[0]


def _imputed(model, num_samples, draws, noise, x, params, y):
    """Draws `(draws, batch, *image_shape)` of p(x_missing|x_observed), or with `draws` 0 its mean `(1, batch, ...)`."""
    condition, event_ndim = model.condition(y), len(model.image_shape)
    _, sample, x_params = model.sample_and_score(x, params, condition, num_samples, noise)
    log_weights = ops.log_softmax(sample.log_weights(), axis=0)  # (K, batch)
    if not draws:
        weights = ops.reshape(ops.exp(log_weights), (*ops.shape(log_weights), *[1] * event_ndim))
        return ops.sum(weights * model.likelihood.mean(x_params), axis=0)[None]
    chosen = keras.random.categorical(ops.transpose(log_weights), draws, seed=noise)  # (batch, draws)
    rows = ops.reshape(ops.transpose(chosen), (draws, -1, *[1] * event_ndim))
    return model.likelihood.sample(ops.take_along_axis(x_params, rows, axis=0), 1, noise)[0]
