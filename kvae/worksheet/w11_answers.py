"""Reference answers and common mistakes of worksheet 11, from which `w11` builds its exercises.

The KL, the bound and the mixture use kvae's own distributions, which are tested against SciPy.
"""

import numpy as np
from keras import ops

from kvae.distributions import MixtureDensity, Normal

SIGMA = 0.2


# Reference answers


def bottom_left(height, width):
    """Mask `(height, width)`, true in the bottom left quadrant."""
    rows, columns = np.arange(height), np.arange(width)
    return np.logical_and(rows[:, None] >= height // 2, columns < width // 2)


def kl(q_mean, q_log_var, p_mean, p_log_var):
    """KL(q ‖ p) of two diagonal Gaussians, `(batch,)`."""
    normal = Normal()
    q, p = (ops.concatenate(pair, axis=-1) for pair in ((q_mean, q_log_var), (p_mean, p_log_var)))
    return normal.kl_divergence(q, normal, p)


def minus_elbo(encoder, prior, decoder, x, y, noise):
    """−ELBO of the hidden pixels of each image, given the known ones, `(batch,)`."""
    return sum(terms_of(encoder, prior, decoder, x, y, noise))


def best_and_spread(answers, truth):
    """Squared error per pixel of the best answer, and the spread of all, each `(images,)`."""
    return ((answers - truth) ** 2).mean(axis=-1).min(axis=0), answers.std(axis=0).mean(axis=-1)


def complete(encoder, prior, decoder, x, y, noise):
    """Hidden pixels `(batch, hidden)` decoded from a draw of p(z|y)."""
    return drawn(prior(y), noise, decoder, y)


def mixture_loss(z, logits, means, sigma):
    """−log Σ_i π_i N(z | μ_i, σ² I), `(batch,)`."""
    log_vars = ops.zeros_like(means) + 2 * ops.log(sigma)
    flat = [ops.reshape(each, (-1, each.shape[1] * each.shape[2])) for each in (means, log_vars)]
    return -MixtureDensity(means.shape[1], means.shape[2]).log_prob(z, ops.concatenate([logits, *flat], axis=-1))


# Common mistakes


def mask_of(vertical, horizontal, join=np.logical_and):
    """A wrong `bottom_left`: which rows and columns, by their numbers and the side."""
    return lambda height, width: join(vertical(np.arange(height), height)[:, None], horizontal(np.arange(width), width))


def early(i, side):
    """The first half of the rows or columns."""
    return i < side // 2


def late(i, side):
    """The second half of the rows or columns."""
    return i >= side // 2


def every(i, side):
    """All rows or columns."""
    return i >= 0


def cut_twice(height, width):
    """The mistake of two brackets, the second of which cuts the rows again."""
    mask = np.zeros((height, width), bool)
    mask[height // 2 :][: width // 2] = True
    return mask


def kl_of(terms, factor=0.5):
    """A wrong KL: `factor` times the sum over the dimensions of `terms`."""
    return lambda m, v, pm, pv: factor * ops.sum(terms(m, v, pm, pv), axis=-1)


def kl_terms(m, v, pm, pv):
    """Twice the KL of each dimension, `(batch, latent)`."""
    return ops.exp(v - pv) + ops.square(m - pm) * ops.exp(-pv) + pv - v - 1.0


def terms_of(
    encoder, prior, decoder, x, y, noise, order=(0, 1), seen=None, scale=0.5, standard=False, draw="q", sample=None
):
    """Reconstruction and KL, each `(batch,)`, with changes: what is fed to the networks, and where z is drawn."""
    both = (x, y)
    q = encoder(ops.concatenate([both[i] for i in order], axis=-1))
    p = ops.zeros_like(q) if standard else prior(y)
    params = q if draw == "q" else p
    z = sampled(params, noise, scale) if sample is None else sample(params, noise)
    decoded = decoder(ops.concatenate([z, y] if seen is None else seen(z, y), axis=-1))
    normal = Normal()
    return -Normal(sigma=SIGMA).log_prob(x, decoded), normal.kl_divergence(q, normal, p)


def bound_of(combine=lambda r, k: r + k, **changes):
    """A wrong `minus_elbo`: `combine` gets the two terms, computed with `changes`."""
    return lambda *arguments: combine(*terms_of(*arguments, **changes))


def halves_swapped(network):
    """A network whose outputs are taken for log σ² and μ, in this order."""
    return lambda h: ops.concatenate(ops.split(network(h), 2, axis=-1)[::-1], axis=-1)


def cut_batch(encoder, prior, decoder, x, y, noise):
    """The mistake of a split along axis=0, which raises."""
    mean, log_var = ops.split(encoder(ops.concatenate([x, y], axis=-1)), 2)
    return mean + ops.exp(0.5 * log_var) * noise


def scaled_by_log_var(params, noise):
    """The mistake of log σ² in place of σ."""
    mean, log_var = ops.split(params, 2, axis=-1)
    return mean + log_var * noise


def kl_swapped(encoder, prior, decoder, x, y, noise):
    """The mistake of KL(p ‖ q)."""
    r, _ = terms_of(encoder, prior, decoder, x, y, noise)
    normal = Normal()
    return r + normal.kl_divergence(prior(y), normal, encoder(ops.concatenate([x, y], axis=-1)))


def scored(error=lambda d: np.mean(d**2, axis=-1), best=lambda e: e.min(axis=0), spread=None):
    """A wrong `best_and_spread`: the error of an answer, which one counts, and the spread of all."""

    def wrong(answers, truth):
        width = answers.std(axis=0).mean(axis=-1) if spread is None else spread(answers)
        return best(error(answers - truth)), width

    return wrong


def sampled(params, noise, scale=0.5):
    """z = μ + σ ⊙ ε, `(batch, latent)`; σ² with `scale=1.0`."""
    mean, log_var = ops.split(params, 2, axis=-1)
    return mean + ops.exp(scale * log_var) * noise


def drawn(params, noise, decoder, y, scale=0.5):
    """What is decoded from a sample and y, `(batch, hidden)`."""
    return decoder(ops.concatenate([sampled(params, noise, scale), y], axis=-1))


def squares(z, means):
    """‖z − μ_i‖² of each component, `(batch, components)`."""
    return ops.sum(ops.square(z[:, None] - means), axis=-1)


def constant(means, sigma):
    """The normalising constant of N(z | μ_i, σ² I), K log(σ √(2π))."""
    return means.shape[-1] * ops.log(sigma * np.sqrt(2 * np.pi))


def log_normals(z, means, sigma):
    """log N(z | μ_i, σ² I) of each component, `(batch, components)`."""
    return -0.5 * squares(z, means) / sigma**2 - constant(means, sigma)


def mixed(weights=lambda a: ops.log_softmax(a, axis=-1), logs=log_normals, join=lambda s: -ops.logsumexp(s, axis=-1)):
    """A wrong `mixture_loss`: the log-weights, the log-densities, and how their sums become one number."""
    return lambda z, a, m, sigma: join(weights(a) + logs(z, m, sigma))
