"""log p(x) by annealed importance sampling: slower than importance sampling, but independent of the encoder."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from keras import ops, random

from kvae import checks, priors
from kvae.distributions import Normal
from kvae.evaluation.chunks import chunks
from kvae.evaluation.likelihood import LogLikelihood, check_data, log_mean, stream
from kvae.training.kept import as_array, kept
from kvae.types import ArrayLike

SHARPNESS = 4.0  # of the sigmoidal schedule, which has half of its steps at β < ½ and is dense at both ends
PILOT = 100  # steps of the pilot run that tunes the step sizes
ACCEPTED = 0.25  # its target acceptance rate, near the optimum for a random walk in many dimensions
GAIN = 0.5  # its adaptation rate for the logarithm of a step size


def annealed_log_likelihood(
    model: Any,
    x: ArrayLike,
    y: Any = None,
    num_chains: int = 16,
    num_steps: int = 1000,
    batch_size: int = 5000,
    seed: int | None = None,
    verbose: bool = False,
) -> LogLikelihood:
    """Estimate log p(x) of each example by annealed importance sampling, as a check of the other estimates.

    Chains start at the prior and move through the densities f_β(z) = p(z) p(x|z)^β, with β rising from 0 to 1 in
    `num_steps` steps: log w = Σ_t (β_t − β_{t−1}) log p(x|z_{t−1}), where z_t is drawn from a transition that leaves
    f_{β_t} invariant. The mean of w is an unbiased estimate of p(x), so its logarithm is below log p(x) on average and
    approaches it with more steps and chains (Neal 2001; Wu et al. 2017, https://arxiv.org/abs/1611.04273, algorithm 1).
    The encoder is not used.

    The transitions need no gradient: the proposal z' = √(1 − ρ²) z + ρ ε, which leaves a standard normal prior
    invariant, is accepted with probability min(1, (p(x|z') / p(x|z))^β) (Neal 1999; Cotter et al. 2013,
    https://arxiv.org/abs/1202.0709). A short separate run tunes ρ for each example and β, so the estimate stays
    unbiased. In many dimensions the chains mix slowly: if more steps still raise the estimate, it is too low.

    Args:
        model: a `VAE` or `CVAE` with a single normal distribution as its prior.
        x: images `(n, *image_shape)`.
        y: labels, for a conditional model; the estimate is then of log p(x|y).
        num_chains: int, chains per example.
        num_steps: int, temperatures per chain.
        batch_size: int, rows per decoder call.
        seed: int for reproducible noise; `None` for a random one.
        verbose: whether to print progress in runs of more than two seconds.

    Returns:
        A `LogLikelihood`, with the chains as samples.

    Raises:
        ValueError: if the model has no density or another kind of prior, or images or labels do not fit it.

    Example:

    >>> estimate = kvae.evaluation.annealed_log_likelihood(model, data.x_test[:10], num_steps=300, seed=0)
    >>> print(f"log p(x) = {estimate.mean:.2f} ± {estimate.standard_error:.2f} nats")
    log p(x) = ... ± ... nats
    """
    x, y = check_data(model, x, y)
    num_chains = checks.positive_integer(num_chains, "num_chains")
    num_steps = checks.positive_integer(num_steps, "num_steps")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    if num_chains > batch_size:
        raise ValueError(f"`batch_size` must be at least the number of chains, {num_chains}. Received: {batch_size}")
    if not (isinstance(model.prior, priors.Single) and isinstance(model.prior.family, Normal)):
        raise ValueError(
            "`model` must have a single normal distribution as its prior: use log_likelihood for others. "
            f"Received: a {type(model.prior).__name__} prior"
        )
    step = functools.partial(kept(model, _step, num_chains), noise=stream(seed))
    values, sizes = np.empty(len(x)), np.empty(len(x))
    shape = (num_chains, *model.latent_shape)
    for rows, parts in chunks((x, y), batch_size // num_chains, verbose, "annealing"):
        betas, pilot_betas = _schedule(num_steps), _schedule(PILOT)
        _, found = _anneal(step, parts, shape, pilot_betas)
        log_rhos = np.stack([np.interp(betas[:-1], pilot_betas[:-1], column) for column in found.T], axis=1)
        log_weights, _ = _anneal(step, parts, shape, betas, log_rhos)
        values[rows], sizes[rows] = log_mean(log_weights[:, : rows.stop - rows.start], rows.start)
    return LogLikelihood(values, sizes)


def _step(model, num_chains, noise, x, y, u, log_px, beta, rho):
    """One transition of every chain from u `(chains, batch, *latent_shape)`, z standardised by the prior."""
    place = [1] * len(model.latent_shape)
    rho = ops.reshape(rho, (-1, *place))
    moved = ops.sqrt(1.0 - ops.square(rho)) * u
    moved = moved + rho * random.normal(ops.shape(u), dtype=u.dtype, seed=noise)
    condition = model.condition(y)
    mean, log_var = model.prior.family.mean_and_log_var(model.prior.params(condition))
    z = ops.reshape(mean + ops.exp(0.5 * log_var) * moved, (num_chains, -1, *model.latent_shape))
    moved_px = model.log_likelihood(x, model.generation(z, condition))
    log_ratio = beta * (moved_px - log_px)
    refused = ops.log(random.uniform(ops.shape(log_px), dtype=u.dtype, seed=noise)) >= log_ratio
    return (
        ops.where(ops.reshape(refused, (*ops.shape(refused), *place)), u, moved),
        ops.where(refused, log_px, moved_px),
        ops.mean(ops.cast(refused, u.dtype), axis=0),
    )


def _schedule(num_steps):
    """β_0 = 0 to β_T = 1 along a sigmoid (Wu et al. 2017, section 4)."""
    betas = 1.0 / (1.0 + np.exp(-SHARPNESS * np.linspace(-1.0, 1.0, num_steps + 1)))
    return (betas - betas[0]) / (betas[-1] - betas[0])


def _anneal(step, parts, shape, betas, log_rhos=None):
    """Run the chains through all temperatures.

    Args:
        step: the compiled transition.
        parts: arrays `x` and `y` of a batch.
        shape: `(chains, *latent_shape)`.
        betas: array `(steps + 1,)`.
        log_rhos: logarithms of the step sizes `(steps, batch)`; `None` to adapt them during the run.

    Returns:
        The log-weights `(chains, batch)`, and the `log_rhos` used.
    """
    x, y = parts
    num_chains, *latent_shape = shape
    u = np.zeros((num_chains, len(x), *latent_shape), "float32")
    log_px = np.zeros((num_chains, len(x)), "float32")
    log_weights = np.zeros((num_chains, len(x)))
    log_rho, used = np.zeros(len(x)), []  # with β = 0 and ρ = 1 the first step draws from the prior
    for t, (beta, rise) in enumerate(zip(betas[:-1], np.diff(betas), strict=True)):
        if log_rhos is not None:
            log_rho = log_rhos[t]
        used.append(log_rho)
        setting = np.full(len(x), beta, "float32"), np.exp(log_rho).astype("float32")
        u, log_px, refused = step(x, y, u, log_px, *setting)
        log_weights += rise * as_array(log_px).astype("float64")
        log_rho = np.minimum(log_rho + GAIN * (1.0 - as_array(refused) - ACCEPTED), 0.0)
    return log_weights, np.stack(used)
