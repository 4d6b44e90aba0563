"""Worksheet 11, one picture and many answers: reference answers and common mistakes.

The KL, the bound and the mixture use kvae's own distributions, which are tested against SciPy.
"""

import numpy as np
from keras import ops

from kvae.distributions import MixtureDensity, Normal
from kvae.training.gradients import gradient
from kvae.worksheet.exercise import EXTREME, OTHER, Exercise
from kvae.worksheet.probes import compiled

RNG = np.random.default_rng(11)
SIGMA = 0.2
GRADIENT = "its gradient differs, so a network would not learn as it should: what about stop_gradient or NumPy?"


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
    return sum(_terms(encoder, prior, decoder, x, y, noise))


def best_and_spread(answers, truth):
    """Squared error per pixel of the best answer, and the spread of all, each `(images,)`."""
    return ((answers - truth) ** 2).mean(axis=-1).min(axis=0), answers.std(axis=0).mean(axis=-1)


def complete(encoder, prior, decoder, x, y, noise):
    """Hidden pixels `(batch, hidden)` decoded from a draw of p(z|y)."""
    return _drawn(prior(y), noise, decoder, y)


def mixture_loss(z, logits, means, sigma):
    """−log Σ_i π_i N(z | μ_i, σ² I), `(batch,)`."""
    log_vars = ops.zeros_like(means) + 2 * ops.log(sigma)
    flat = [ops.reshape(each, (-1, each.shape[1] * each.shape[2])) for each in (means, log_vars)]
    return -MixtureDensity(means.shape[1], means.shape[2]).log_prob(z, ops.concatenate([logits, *flat], axis=-1))


# Common mistakes


def _mask(vertical, horizontal, join=np.logical_and):
    """A wrong `bottom_left`: which rows and columns, by their numbers and the side."""
    return lambda height, width: join(vertical(np.arange(height), height)[:, None], horizontal(np.arange(width), width))


def _early(i, side):
    return i < side // 2


def _late(i, side):
    return i >= side // 2


def _all(i, side):
    return i >= 0


def _cut_twice(height, width):
    mask = np.zeros((height, width), bool)
    mask[height // 2 :][: width // 2] = True
    return mask


def _kl_with(terms, factor=0.5):
    """A wrong KL: `factor` times the sum over the dimensions of `terms`."""
    return lambda m, v, pm, pv: factor * ops.sum(terms(m, v, pm, pv), axis=-1)


def _kl_terms(m, v, pm, pv):
    return ops.exp(v - pv) + ops.square(m - pm) * ops.exp(-pv) + pv - v - 1.0


def _terms(
    encoder, prior, decoder, x, y, noise, order=(0, 1), seen=None, scale=0.5, standard=False, draw="q", sample=None
):
    """Reconstruction and KL, each `(batch,)`, with changes: what is fed to the networks, and where z is drawn."""
    both = (x, y)
    q = encoder(ops.concatenate([both[i] for i in order], axis=-1))
    p = ops.zeros_like(q) if standard else prior(y)
    params = q if draw == "q" else p
    z = _sample(params, noise, scale) if sample is None else sample(params, noise)
    decoded = decoder(ops.concatenate([z, y] if seen is None else seen(z, y), axis=-1))
    normal = Normal()
    return -Normal(sigma=SIGMA).log_prob(x, decoded), normal.kl_divergence(q, normal, p)


def _bound(combine=lambda r, k: r + k, **changes):
    """A wrong `minus_elbo`: `combine` gets the two terms, computed with `changes`."""
    return lambda *arguments: combine(*_terms(*arguments, **changes))


def _halves_swapped(network):
    """A network whose outputs are taken for log σ² and μ, in this order."""

    def swapped(h):
        return ops.flip(ops.reshape(network(h), (-1, 2, LATENT)), axis=1)

    return lambda h: ops.reshape(swapped(h), (-1, 2 * LATENT))


def _cut_batch(encoder, prior, decoder, x, y, noise):
    """The mistake of a split along axis=0, which raises."""
    mean, log_var = ops.split(encoder(ops.concatenate([x, y], axis=-1)), 2)
    return mean + ops.exp(0.5 * log_var) * noise


def _scaled_by_log_var(params, noise):
    mean, log_var = ops.split(params, 2, axis=-1)
    return mean + log_var * noise


def _kl_swapped(encoder, prior, decoder, x, y, noise):
    r, _ = _terms(encoder, prior, decoder, x, y, noise)
    normal = Normal()
    return r + normal.kl_divergence(prior(y), normal, encoder(ops.concatenate([x, y], axis=-1)))


def _scored(error=lambda d: np.mean(d**2, axis=-1), best=lambda e: e.min(axis=0), spread=None):
    """A wrong `best_and_spread`: the error of an answer, which one counts, and the spread of all."""

    def wrong(answers, truth):
        width = answers.std(axis=0).mean(axis=-1) if spread is None else spread(answers)
        return best(error(answers - truth)), width

    return wrong


def _sample(params, noise, scale=0.5):
    mean, log_var = ops.split(params, 2, axis=-1)
    return mean + ops.exp(scale * log_var) * noise


def _drawn(params, noise, decoder, y, scale=0.5):
    return decoder(ops.concatenate([_sample(params, noise, scale), y], axis=-1))


def _log_normals(z, means, sigma):
    """log N(z | μ_i, σ² I) of each component, `(batch, components)`."""
    squares = ops.sum(ops.square(z[:, None] - means), axis=-1)
    return -0.5 * squares / sigma**2 - means.shape[-1] * ops.log(sigma * np.sqrt(2 * np.pi))


def _naive_mixture(z, logits, means, sigma):
    density = ops.sum(ops.softmax(logits, axis=-1) * ops.exp(_log_normals(z, means, sigma)), axis=-1)
    return -ops.log(density)


def _mixed(weights=lambda a: ops.log_softmax(a, axis=-1), logs=_log_normals, join=lambda s: -ops.logsumexp(s, axis=-1)):
    """A wrong `mixture_loss`: the log-weights, the log-densities, and how their sums become one number."""
    return lambda z, a, m, sigma: join(weights(a) + logs(z, m, sigma))


def _squares(z, means):
    return ops.sum(ops.square(z[:, None] - means), axis=-1)


def _constant(means, sigma):
    return means.shape[-1] * ops.log(sigma * np.sqrt(2 * np.pi))


# What is compared

HIDDEN, KNOWN, LATENT = 5, 3, 2
X, Y, NOISE = (RNG.normal(0, 1, (4, size)).astype("float32") for size in (HIDDEN, KNOWN, LATENT))
WEIGHTS = [
    RNG.normal(0, 0.6, shape).astype("float32")
    for shape in ((HIDDEN + KNOWN, 2 * LATENT), (KNOWN, 2 * LATENT), (LATENT + KNOWN, HIDDEN))
]
Q_MEAN, P_MEAN = (RNG.normal(0, 1, (3, 2)).astype("float32") for _ in "qp")
Q_LOG_VAR, P_LOG_VAR = (RNG.normal(0, 0.8, (3, 2)).astype("float32") for _ in "qp")
ANSWERS, TRUTH = RNG.random((4, 3, 5)), RNG.random((3, 5))
Z, LOGITS, MEANS = (RNG.normal(0, 1, shape).astype("float32") for shape in ((2, 3), (2, 4), (2, 4, 3)))


def numbered(mask):
    """A mask as 1 and 0; anything else as it is."""
    return mask.astype(int) if isinstance(mask, np.ndarray) and mask.dtype == bool else mask


def networks(all_weights=WEIGHTS):
    """Linear encoder, prior and decoder, which refuse vectors of another length."""

    def linear(weights, what):
        def network(h):
            if h.shape[-1] not in {len(weights), *([LATENT] if what == "decoder" else [HIDDEN, KNOWN])}:
                raise ValueError(f"the {what} takes {len(weights)} numbers per image. Received: {h.shape[-1]}")
            return ops.matmul(h, ops.convert_to_tensor(weights[: h.shape[-1]]))

        return network

    return [linear(w, name) for w, name in zip(all_weights, ("encoder", "prior", "decoder"), strict=True)]


def bounds(answer, images=slice(None)):
    """`minus_elbo` with linear networks."""
    return answer(*networks(), *(ops.convert_to_tensor(each[images]) for each in (X, Y, NOISE)))


def slopes(answer):
    """The gradient of `minus_elbo` with respect to the weights of each network; it must run when compiled, too."""
    arrays = [ops.convert_to_tensor(each) for each in (X, Y, NOISE)]
    compiled(lambda *arrays: answer(*networks(), *arrays), X, Y, NOISE)
    found = gradient(lambda *weights: ops.mean(answer(*networks(weights), *arrays)), *WEIGHTS)[1:]
    return dict(zip(("encoder", "prior", "decoder"), found, strict=True))


def two_scores(answer, answers=ANSWERS, truth=TRUTH):
    """The two results of `best_and_spread`, by name."""
    result = answer(np.copy(answers), np.copy(truth))
    if not isinstance(result, (tuple, list)) or any(each is None or each is Ellipsis for each in result):
        return result if not isinstance(result, (tuple, list)) else next(e for e in result if e is None or e is ...)
    if len(result) != 2:
        raise ValueError("two arrays must be returned, the error of the best answer and the spread: return …, …")
    return {"squared error of the best answer": result[0], "spread": result[1]}


def completions(answer, images=slice(None)):
    """Completed pixels, and whether they depend on the hidden ones."""
    pixels, others = (
        answer(*networks(), *(ops.convert_to_tensor(each[images]) for each in (x, Y, NOISE))) for x in (X, 1 - X)
    )
    if not ops.is_tensor(pixels):
        return pixels
    changed = np.abs(ops.convert_to_numpy(pixels) - ops.convert_to_numpy(others)).max() > 1e-6
    return {"completed pixels": pixels, "do they depend on the hidden pixels x (1: yes)": int(changed)}


EXERCISES = {
    "11.1": Exercise(
        title="the known quadrant",
        reference=bottom_left,
        measure=lambda answer: numbered(answer(6, 4)),
        further=[(lambda answer: numbered(answer(5, 8)), OTHER)],
        at="images of 6 rows and 4 columns",
        wrong=[
            (_mask(_early, _early), "this is the top left: row 0 is the top of an image"),
            (_mask(_early, _late), "this is the top right: late rows are at the bottom, early columns on the left"),
            (_mask(_late, _all), "this is the whole bottom half: both conditions at once"),
            (_mask(_late, _early, np.logical_or), "either condition makes three quadrants: both, with & instead of |"),
            (lambda h, w: ~bottom_left(h, w), "this is true in the three hidden quadrants: the known one must be true"),
            (
                lambda h, w: np.arange(h)[:, None] >= h // 2 & np.arange(w) < w // 2,
                "combine the two comparisons with &, each of them in parentheses",
            ),
            (
                lambda h, w: (np.arange(h)[:, None] >= h / 2) & (np.arange(w) <= w / 2),
                "column width // 2 is the first of the right half: < with width // 2, and >= with height // 2",
            ),
            (_cut_twice, "the second bracket cuts the rows again: mask[height // 2 :, : width // 2]"),
            (lambda h, w: bottom_left(h, w).reshape(-1), "an array (height, width): do not flatten it yet"),
            (lambda h, w: bottom_left(w, h), "the shape is (height, width), with the rows first"),
        ],
    ),
    "11.2": Exercise(
        title="KL between two Gaussians",
        reference=kl,
        arguments=(Q_MEAN, Q_LOG_VAR, P_MEAN, P_LOG_VAR),
        further=[((P_MEAN[:2] * 2, P_LOG_VAR[1:] - 1, Q_MEAN[1:], Q_LOG_VAR[:2]), OTHER)],
        at="three images, two latent dimensions",
        wrong=[
            (_kl_with(_kl_terms, 1.0), "the factor ½ is missing"),
            (_kl_with(_kl_terms, -0.5), "the sign: a KL divergence is never negative"),
            (
                lambda m, v, pm, pv: kl(pm, pv, m, v),
                "this is KL(p ‖ q): it is not symmetric, and q comes first here",
            ),
            (lambda m, v, pm, pv: kl(m, v, 0 * pm, 0 * pv), "this is the KL to N(0, I): here p has μ_p and σ_p"),
            (
                _kl_with(lambda m, v, pm, pv: ops.exp(v) + ops.square(m - pm) * ops.exp(-pv) + pv - v - 1),
                "σ_q² must be divided by σ_p² as well",
            ),
            (
                _kl_with(lambda m, v, pm, pv: ops.exp(v - pv) + ops.square(m - pm) + pv - v - 1),
                "divide (μ_q − μ_p)² by σ_p²",
            ),
            (
                _kl_with(lambda m, v, pm, pv: ops.exp(v - pv) + ops.square(m - pm) * ops.exp(-v) + pv - v - 1),
                "(μ_q − μ_p)² is divided by the variance of p, not of q",
            ),
            (
                _kl_with(lambda m, v, pm, pv: _kl_terms(m, v, pm, pv) - 2 * (pv - v)),
                "the sign of the logarithm: + ln σ_p² − ln σ_q²",
            ),
            (
                _kl_with(lambda m, v, pm, pv: _kl_terms(m, v, pm, pv) + 1),
                "the −1 is missing: the KL of two equal Gaussians must be 0",
            ),
            (
                _kl_with(lambda m, v, pm, pv: v / pv + ops.square(m - pm) / pv + pv - v - 1),
                "you used log σ² as σ²: take its exp first",
            ),
            (
                _kl_with(lambda m, v, pm, pv: ops.exp(v - pv) + (m - pm) * ops.exp(-pv) + pv - v - 1),
                "the difference of the means must be squared",
            ),
            (
                lambda m, v, pm, pv: kl(m, 2 * v, pm, 2 * pv),
                "the networks give log σ², not log σ: leave out the 2",
            ),
            (
                _kl_with(lambda m, v, pm, pv: ops.exp(v - pv) + m**2 - pm**2 * ops.exp(-pv) + pv - v - 1),
                "(μ_q − μ_p)² is not μ_q² − μ_p²: square the difference, then divide it by σ_p²",
            ),
            (
                _kl_with(lambda m, v, pm, pv: ops.exp(v - pv) + (m**2 - pm**2) * ops.exp(-pv) + pv - v - 1),
                "(μ_q − μ_p)² is not μ_q² − μ_p²: square the difference",
            ),
            (lambda *a: 0.5 * _kl_terms(*a), "one number per dimension: sum over the last axis"),
            (lambda *a: ops.mean(kl(*a)), "you averaged over the images too: one number per image"),
        ],
    ),
    "11.3": Exercise(
        title="the bound, with a learned prior",
        reference=minus_elbo,
        measure=bounds,
        further=[(lambda answer: bounds(answer, slice(1, 3)), OTHER), (slopes, GRADIENT)],
        at="four images of three known and five hidden pixels",
        points=2,
        wrong=[
            (_bound(standard=True), "this is the KL to N(0, I): the prior network has no part in it"),
            (_kl_swapped, "this is KL(p ‖ q): q, from the encoder, comes first"),
            (_bound(lambda r, k: r), "the KL term is missing: nothing would train the prior"),
            (_bound(lambda r, k: k), "the reconstruction term is missing"),
            (_bound(lambda r, k: r - k), "you subtracted the KL: −ELBO = reconstruction + KL"),
            (_bound(lambda r, k: -r - k), "this is the ELBO: return its negative, the loss"),
            (_bound(lambda r, k: ops.mean(r + k)), "one number per image: the model takes the mean over the batch"),
            (_bound(scale=1.0), "you scaled ε by the variance σ²; σ = exp(½ log σ²)"),
            (_bound(draw="p"), "z is drawn from the prior here: in training, z ~ q(z|x, y)"),
            (_bound(sample=_scaled_by_log_var), "you scaled ε by log σ² itself; σ = exp(½ log σ²)"),
            (
                lambda e, p, *rest: minus_elbo(_halves_swapped(e), _halves_swapped(p), *rest),
                "the first half of a network's output is μ, the second log σ²",
            ),
            (_cut_batch, "ops.split cuts the batch unless you say axis=-1"),
            (_bound(lambda r, k: r + ops.stop_gradient(k)), GRADIENT),
            (_bound(order=(0,)), "the encoder does not see y: the formula has q(z|x, y)"),
            (_bound(order=(1,)), "the encoder does not see x: this q knows no more than the prior"),
            (_bound(order=(1, 0)), "the encoder takes x first, then y: join(x, y)"),
            (_bound(seen=lambda z, y: [z]), "the decoder does not see y: the formula has p(x|z, y)"),
            (
                lambda e, p, d, x, y, noise: minus_elbo(e, p, d, x, y, 0 * noise),
                "the noise is missing: the decoder must see a sample of q(z|x, y), not its mean",
            ),
        ],
    ),
    "11.4": Exercise(
        title="best of n, and spread",
        reference=best_and_spread,
        measure=two_scores,
        further=[(lambda answer: two_scores(answer, ANSWERS[:3, 1:, 2:] * 2, TRUTH[1:, 2:]), OTHER)],
        at="four answers to each of three images of five pixels",
        wrong=[
            (_scored(best=lambda e: e.mean(axis=0)), "this is the mean error of the answers: take that of the best"),
            (_scored(best=lambda e: e[0]), "this is the first answer: take the smallest error of all"),
            (_scored(best=lambda e: e.min()), "one number per image: the minimum over axis=0 only"),
            (
                lambda a, t: (((a - t) ** 2).min(axis=0).mean(axis=-1), a.std(axis=0).mean(axis=-1)),
                "you took the best answer for each pixel: first the mean over the pixels, then the best",
            ),
            (
                lambda a, t: (((a.mean(axis=0) - t) ** 2).mean(axis=-1), a.std(axis=0).mean(axis=-1)),
                "this is the error of the mean answer, as blurred as the regression's",
            ),
            (_scored(error=lambda d: (d**2).sum(axis=-1)), "you summed over the pixels: take their mean"),
            (_scored(error=lambda d: (d**2).mean(axis=-1) ** 0.5), "this is the root of the squared error: leave it"),
            (_scored(spread=lambda a: a.var(axis=0).mean(axis=-1)), "the spread is the variance: take std, not var"),
            (
                _scored(spread=lambda a: a.std(axis=-1).mean(axis=0)),
                "the spread is that of the pixels of one answer: std over the answers, axis=0",
            ),
            (
                _scored(spread=lambda a: a.std(axis=1).mean(axis=-1)),
                "the spread is that of different images: std over the answers, axis=0",
            ),
            (
                _scored(spread=lambda a: a.std(axis=(0, 2))),
                "the spread mixes the pixels: std over the answers, axis=0, then the mean over the pixels",
            ),
            (
                lambda a, t: (best_and_spread(a, t)[0], ((a - t) ** 2).mean(axis=-1).std(axis=0)),
                "the spread is that of the answers' errors: take that of the answers",
            ),
            (_scored(spread=lambda a: a.std(axis=0)), "the spread is one number per pixel: take the mean over them"),
            (_scored(spread=lambda a: a.std(axis=0).mean()), "the spread is one number: one per image"),
            (
                _scored(spread=lambda a: a.std(axis=0, ddof=1).mean(axis=-1)),
                "the spread divides by n − 1: leave out ddof",
            ),
            (lambda a, t: best_and_spread(a, t)[::-1], "the two are swapped: the error comes first"),
        ],
    ),
    "11.5": Exercise(
        title="the bug",
        reference=complete,
        measure=completions,
        further=[(lambda answer: completions(answer, slice(1, 3)), OTHER)],
        at="four images",
        wrong=[
            (
                lambda e, p, d, x, y, n: _drawn(e(ops.concatenate([x, y], axis=-1)), n, d, y),
                "the bug is still there: where does z come from when x is unknown?",
            ),
            (
                lambda e, p, d, x, y, n: _drawn(e(ops.concatenate([0 * x, y], axis=-1)), n, d, y),
                "hidden pixels set to 0 are black, not unknown, and the encoder never saw such images: leave it out",
            ),
            (
                lambda e, p, d, x, y, n: _drawn(0 * p(y), n, d, y),
                "z is drawn from N(0, I): this model has learnt a prior, p(z|y)",
            ),
            (
                lambda e, p, d, x, y, n: _drawn(p(y), 0 * n, d, y),
                "the noise is missing: this is one answer, the same each time",
            ),
            (
                lambda e, p, d, x, y, n: _drawn(p(y), 0 * n + 1, d, y),
                "ε is missing: this is one answer, the same each time",
            ),
            (
                lambda e, p, d, x, y, n: d(ops.concatenate([_scaled_by_log_var(p(y), n), y], axis=-1)),
                "you scaled ε by log σ² itself; σ = exp(½ log σ²)",
            ),
            (
                lambda e, p, d, x, y, n: _drawn(p(y), n, d, y, scale=1.0),
                "you scaled ε by the variance σ²; σ = exp(½ log σ²)",
            ),
            (
                lambda e, p, d, x, y, n: _drawn(p(y), n, d, 0 * y),
                "the decoder needs y as well: the known pixels",
            ),
            (
                lambda e, p, d, x, y, n: d(ops.concatenate([y, _sample(p(y), n)], axis=-1)),
                "the decoder takes z first, then y: join(z, y)",
            ),
            (lambda e, p, d, x, y, n: _sample(p(y), n), "this is z: decode it, together with y"),
        ],
    ),
    "11.6": Exercise(
        title="stretch: a mixture density",
        reference=mixture_loss,
        arguments=(Z, LOGITS, MEANS, np.float32(0.4)),
        further=[
            ((Z[:1, 1:] - 1, LOGITS[:1, 1:], MEANS[:1, 1:, 1:] * 2, np.float32(0.9)), OTHER),
            ((10 * Z, LOGITS, MEANS, np.float32(0.3)), EXTREME),
        ],
        points=0,
        at="two codes of three dimensions, four components",
        wrong=[
            (_mixed(join=lambda s: ops.logsumexp(s, axis=-1)), "the sign: this is log p, and the loss is its negative"),
            (_mixed(weights=lambda a: a), "the logits are not weights yet: log π = log_softmax(logits)"),
            (_mixed(weights=lambda a: ops.softmax(a, axis=-1)), "add log π, not π, to the log-density"),
            (
                lambda z, a, m, s: -ops.logsumexp(ops.softmax(a, axis=-1) * _log_normals(z, m, s), axis=-1),
                "π multiplies the density: add log π to its logarithm",
            ),
            (
                lambda z, a, m, s: ops.log_softmax(a, axis=-1) - ops.sum(ops.square(z - m), axis=-1),
                "z[:, None] − means compares z with the means of all components",
            ),
            (
                _mixed(logs=lambda z, m, s: -0.5 * _squares(z, m) / s**2 - m.shape[-1] * s * np.sqrt(2 * np.pi)),
                "the constant is a logarithm: −K log(σ √(2π))",
            ),
            (_mixed(weights=lambda a: 0 * a - np.log(4.0)), "the components have equal weights here: use the logits"),
            (
                lambda z, a, m, s: -ops.sum(ops.softmax(a, axis=-1) * _log_normals(z, m, s), axis=-1),
                "the log is inside the sum: log Σ, not Σ log. Such a loss makes all components alike",
            ),
            (_mixed(join=lambda s: -ops.max(s, axis=-1)), "this is the best component alone: sum over all, logsumexp"),
            (_mixed(join=lambda s: -ops.logsumexp(s)), "one number per image: axis=-1 only"),
            (
                _mixed(logs=lambda z, m, s: -0.5 * _squares(z, m) / s**2),
                "the constant of the density is missing: −(K/2) ln(2πσ²)",
            ),
            (
                _mixed(logs=lambda z, m, s: -0.5 * _squares(z, m) / s**2 - ops.log(s * np.sqrt(2 * np.pi))),
                "the constant occurs once per dimension: K of them",
            ),
            (
                _mixed(logs=lambda z, m, s: -_squares(z, m) / s**2 - _constant(m, s)),
                "the factor ½ of the squared distance is missing",
            ),
            (
                _mixed(logs=lambda z, m, s: -0.5 * _squares(z, m) / s - _constant(m, s)),
                "divide the squared distance by σ², not by σ",
            ),
            (
                _mixed(logs=lambda z, m, s: 0.5 * _squares(z, m) / s**2 - _constant(m, s)),
                "the sign of the squared distance: far from μ the density is small",
            ),
        ],
    ),
}
