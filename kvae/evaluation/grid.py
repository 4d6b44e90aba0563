"""log p(x) and the true posterior on a grid: exact, for latent spaces of one or two dimensions."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from keras import ops

from kvae import checks
from kvae.distributions import Normal
from kvae.evaluation.chunks import chunks, even_share
from kvae.evaluation.likelihood import check_data
from kvae.training.kept import as_array, kept
from kvae.types import Array, ArrayLike

COARSE = 0.1  # nats: tolerated error when only every second point is used; with all points it is then below 1e-3
EDGE = 1e-3  # posterior mass tolerated at the grid's boundary


@dataclasses.dataclass(frozen=True)
class Grid:
    """log p(x) of n examples and their true posteriors on a grid.

    Attributes:
        values: array `(n,)`, log p(x), nats.
        accuracy: array `(n,)`, nats: the largest difference between `values` and the result of a grid of every second
            point. The error itself is far smaller, because such sums converge faster than any power of the spacing.
        axis: array `(points,)`, the grid along each latent dimension.
        log_posterior: array `(n, points)` or `(n, points, points)`, log p(z|x) at the grid's points, float32; the first
            latent dimension comes first.
    """

    values: Array
    accuracy: Array
    axis: Array
    log_posterior: Array

    @property
    def mean(self) -> float:
        """Mean of `values` over the examples."""
        return float(np.mean(self.values))


def grid_log_likelihood(
    model: Any,
    x: ArrayLike,
    y: Any = None,
    limit: float = 6.0,
    points: int = 301,
    batch_size: int = 5000,
    verbose: bool = False,
) -> Grid:
    """Compute log p(x) = log ∫ p(x|z) p(z) dz of each example as a sum over a grid of z, and p(z|x) on that grid.

    Args:
        model: a `VAE` or `CVAE` with one or two latent dimensions and a prior whose density can be evaluated.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model; the result is then log p(x|y).
        limit: float; the grid extends from −`limit` to `limit`. A standard normal prior has 4e-9 of its mass beyond 6.
        points: int of at least 3, points per dimension. The spacing should not exceed a posterior's standard deviation.
        batch_size: int, rows (one example at one grid point) at a time, which bounds the memory.
        verbose: whether to print progress in runs of more than two seconds.

    Returns:
        A `Grid`.

    Raises:
        ValueError: if the model has more latent dimensions, no density or a prior without one, if images or labels do
            not fit it, or if the grid is too coarse or too small for an example.

    Example:

    >>> grid = kvae.evaluation.grid_log_likelihood(model, data.x_test[:10])
    >>> density = np.exp(grid.log_posterior[0])
    >>> round(float(density.sum() * (grid.axis[1] - grid.axis[0]) ** 2), 4)
    1.0
    """
    x, y = check_data(model, x, y)
    limit = checks.positive_number(limit, "limit")
    if checks.positive_integer(points, "points") < 3:
        raise ValueError(f"`points` must be at least 3. Received: {points}")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    if model.latent_dim > 2:
        raise ValueError(
            "`model` must have 1 or 2 latent dimensions for a grid: use log_likelihood for others. "
            f"Received: {model.latent_dim}"
        )
    if model.prior.stochastic or not isinstance(model.prior.family, Normal):
        raise ValueError(
            "`model` must have a prior on real numbers whose density can be evaluated: use log_likelihood for others. "
            f"Received: a {type(model.prior).__name__} prior of the {type(model.prior.family).__name__} family"
        )
    axis = np.linspace(-limit, limit, points)
    z = np.stack(np.meshgrid(*[axis] * model.latent_dim, indexing="ij"), axis=-1).reshape(-1, model.latent_dim)
    z = z.astype("float32")
    examples = min(len(x), max(1, int(np.sqrt(batch_size))))
    tables = np.empty((len(x), len(z)), "float32")
    for rows, (images, labels) in chunks((x, y), examples, verbose, "grid"):
        size = even_share(len(z), max(1, batch_size // examples))
        for codes, (part,) in chunks((z,), size):
            table = as_array(kept(model, _log_joint, len(part))(images, part, labels))
            tables[rows, codes] = table[: codes.stop - codes.start, : rows.stop - rows.start].T
    return _sum(tables.reshape(len(x), *[points] * model.latent_dim), axis)


def _log_joint(model, points, noise, x, z, y):
    """log p(x, z) `(points, batch)` at points `(points, latent)`."""
    condition = model.condition(y)
    codes = ops.reshape(z, (points, 1, z.shape[-1]))  # without a condition, all examples share the decoder's outputs
    if condition:
        codes = ops.broadcast_to(codes, (points, ops.shape(x)[0], z.shape[-1]))
    log_px = model.log_likelihood(x, model.generation(codes, condition))
    return log_px + model.prior.log_prob(codes, condition, noise)


def _sum(log_joint, axis):
    """A `Grid` of log p(x, z) `(n, points[, points])` at the points of `axis`, which becomes its `log_posterior`."""
    dims, step = log_joint.ndim - 1, axis[1] - axis[0]
    halves = list(itertools.product((slice(0, None, 2), slice(1, None, 2)), repeat=dims))
    inner = (slice(1, -1),) * dims
    values, accuracy = np.empty(len(log_joint)), np.empty(len(log_joint))
    for i, table in enumerate(log_joint):
        values[i] = _log_sum(table) + dims * np.log(step)
        if not np.isfinite(values[i]):
            raise ValueError(
                f"`x` must be examples that the model can score. Received: x[{i}], with log p(x) = {values[i]}"
            )
        accuracy[i] = max(abs(_log_sum(table[half]) + dims * np.log(2.0 * step) - values[i]) for half in halves)
        if accuracy[i] > COARSE:
            raise ValueError(
                f"`points` must be larger: the posterior of x[{i}] is narrow for a spacing of {step:.3g}; every second "
                f"point alone gives an error of {accuracy[i]:.2g} nats. Received: {len(axis)}"
            )
        edge = -np.expm1(_log_sum(table[inner]) + dims * np.log(step) - values[i])
        if edge > EDGE:
            raise ValueError(
                f"`limit` must be larger: {edge:.2g} of the posterior of x[{i}] is at the grid's boundary. "
                f"Received: {axis[-1]:g}"
            )
        table -= values[i]
    return Grid(values, accuracy, axis, log_joint)


def _log_sum(table):
    """log Σ exp, in float64."""
    peak = np.max(table)
    return peak + np.log(np.sum(np.exp(table - peak, dtype="float64"))) if np.isfinite(peak) else peak
