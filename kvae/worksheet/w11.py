"""Worksheet 11, one picture and many answers: what is compared, and the exercises.

Their reference answers and common mistakes are in `w11_answers`.
"""

import numpy as np
from keras import ops

from kvae.training.gradients import gradient
from kvae.worksheet.exercise import EXTREME, OTHER, Exercise
from kvae.worksheet.probes import compiled
from kvae.worksheet.w11_answers import (
    best_and_spread,
    bottom_left,
    bound_of,
    complete,
    constant,
    cut_batch,
    cut_twice,
    drawn,
    early,
    every,
    halves_swapped,
    kl,
    kl_of,
    kl_swapped,
    kl_terms,
    late,
    log_normals,
    mask_of,
    minus_elbo,
    mixed,
    mixture_loss,
    sampled,
    scaled_by_log_var,
    scored,
    squares,
)

RNG = np.random.default_rng(11)
GRADIENT = "its gradient differs, so a network would not learn as it should: what about stop_gradient or NumPy?"
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
            (mask_of(early, early), "this is the top left: row 0 is the top of an image"),
            (mask_of(early, late), "this is the top right: late rows are at the bottom, early columns on the left"),
            (mask_of(late, every), "this is the whole bottom half: both conditions at once"),
            (mask_of(late, early, np.logical_or), "either condition makes three quadrants: both, with & instead of |"),
            (lambda h, w: ~bottom_left(h, w), "this is true in the three hidden quadrants: the known one must be true"),
            (
                lambda h, w: np.arange(h)[:, None] >= h // 2 & np.arange(w) < w // 2,
                "combine the two comparisons with &, each of them in parentheses",
            ),
            (
                lambda h, w: (np.arange(h)[:, None] >= h / 2) & (np.arange(w) <= w / 2),
                "column width // 2 is the first of the right half: < with width // 2, and >= with height // 2",
            ),
            (cut_twice, "the second bracket cuts the rows again: mask[height // 2 :, : width // 2]"),
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
            (kl_of(kl_terms, 1.0), "the factor ½ is missing"),
            (kl_of(kl_terms, -0.5), "the sign: a KL divergence is never negative"),
            (
                lambda m, v, pm, pv: kl(pm, pv, m, v),
                "this is KL(p ‖ q): it is not symmetric, and q comes first here",
            ),
            (lambda m, v, pm, pv: kl(m, v, 0 * pm, 0 * pv), "this is the KL to N(0, I): here p has μ_p and σ_p"),
            (
                kl_of(lambda m, v, pm, pv: ops.exp(v) + ops.square(m - pm) * ops.exp(-pv) + pv - v - 1),
                "σ_q² must be divided by σ_p² as well",
            ),
            (
                kl_of(lambda m, v, pm, pv: ops.exp(v - pv) + ops.square(m - pm) + pv - v - 1),
                "divide (μ_q − μ_p)² by σ_p²",
            ),
            (
                kl_of(lambda m, v, pm, pv: ops.exp(v - pv) + ops.square(m - pm) * ops.exp(-v) + pv - v - 1),
                "(μ_q − μ_p)² is divided by the variance of p, not of q",
            ),
            (
                kl_of(lambda m, v, pm, pv: kl_terms(m, v, pm, pv) - 2 * (pv - v)),
                "the sign of the logarithm: + ln σ_p² − ln σ_q²",
            ),
            (
                kl_of(lambda m, v, pm, pv: kl_terms(m, v, pm, pv) + 1),
                "the −1 is missing: the KL of two equal Gaussians must be 0",
            ),
            (
                kl_of(lambda m, v, pm, pv: v / pv + ops.square(m - pm) / pv + pv - v - 1),
                "you used log σ² as σ²: take its exp first",
            ),
            (
                kl_of(lambda m, v, pm, pv: ops.exp(v - pv) + (m - pm) * ops.exp(-pv) + pv - v - 1),
                "the difference of the means must be squared",
            ),
            (
                lambda m, v, pm, pv: kl(m, 2 * v, pm, 2 * pv),
                "the networks give log σ², not log σ: leave out the 2",
            ),
            (
                kl_of(lambda m, v, pm, pv: ops.exp(v - pv) + m**2 - pm**2 * ops.exp(-pv) + pv - v - 1),
                "(μ_q − μ_p)² is not μ_q² − μ_p²: square the difference, then divide it by σ_p²",
            ),
            (
                kl_of(lambda m, v, pm, pv: ops.exp(v - pv) + (m**2 - pm**2) * ops.exp(-pv) + pv - v - 1),
                "(μ_q − μ_p)² is not μ_q² − μ_p²: square the difference",
            ),
            (lambda *a: 0.5 * kl_terms(*a), "one number per dimension: sum over the last axis"),
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
            (bound_of(standard=True), "this is the KL to N(0, I): the prior network has no part in it"),
            (kl_swapped, "this is KL(p ‖ q): q, from the encoder, comes first"),
            (bound_of(lambda r, k: r), "the KL term is missing: nothing would train the prior"),
            (bound_of(lambda r, k: k), "the reconstruction term is missing"),
            (bound_of(lambda r, k: r - k), "you subtracted the KL: −ELBO = reconstruction + KL"),
            (bound_of(lambda r, k: -r - k), "this is the ELBO: return its negative, the loss"),
            (bound_of(lambda r, k: ops.mean(r + k)), "one number per image: the model takes the mean over the batch"),
            (bound_of(scale=1.0), "you scaled ε by the variance σ²; σ = exp(½ log σ²)"),
            (bound_of(draw="p"), "z is drawn from the prior here: in training, z ~ q(z|x, y)"),
            (bound_of(sample=scaled_by_log_var), "you scaled ε by log σ² itself; σ = exp(½ log σ²)"),
            (
                lambda e, p, *rest: minus_elbo(halves_swapped(e), halves_swapped(p), *rest),
                "the first half of a network's output is μ, the second log σ²",
            ),
            (cut_batch, "ops.split cuts the batch unless you say axis=-1"),
            (bound_of(lambda r, k: r + ops.stop_gradient(k)), GRADIENT),
            (bound_of(order=(0,)), "the encoder does not see y: the formula has q(z|x, y)"),
            (bound_of(order=(1,)), "the encoder does not see x: this q knows no more than the prior"),
            (bound_of(order=(1, 0)), "the encoder takes x first, then y: join(x, y)"),
            (bound_of(seen=lambda z, y: [z]), "the decoder does not see y: the formula has p(x|z, y)"),
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
            (scored(best=lambda e: e.mean(axis=0)), "this is the mean error of the answers: take that of the best"),
            (scored(best=lambda e: e[0]), "this is the first answer: take the smallest error of all"),
            (scored(best=lambda e: e.min()), "one number per image: the minimum over axis=0 only"),
            (
                lambda a, t: (((a - t) ** 2).min(axis=0).mean(axis=-1), a.std(axis=0).mean(axis=-1)),
                "you took the best answer for each pixel: first the mean over the pixels, then the best",
            ),
            (
                lambda a, t: (((a.mean(axis=0) - t) ** 2).mean(axis=-1), a.std(axis=0).mean(axis=-1)),
                "this is the error of the mean answer, as blurred as the regression's",
            ),
            (scored(error=lambda d: (d**2).sum(axis=-1)), "you summed over the pixels: take their mean"),
            (scored(error=lambda d: (d**2).mean(axis=-1) ** 0.5), "this is the root of the squared error: leave it"),
            (scored(spread=lambda a: a.var(axis=0).mean(axis=-1)), "the spread is the variance: take std, not var"),
            (
                scored(spread=lambda a: a.std(axis=-1).mean(axis=0)),
                "the spread is that of the pixels of one answer: std over the answers, axis=0",
            ),
            (
                scored(spread=lambda a: a.std(axis=1).mean(axis=-1)),
                "the spread is that of different images: std over the answers, axis=0",
            ),
            (
                scored(spread=lambda a: a.std(axis=(0, 2))),
                "the spread mixes the pixels: std over the answers, axis=0, then the mean over the pixels",
            ),
            (
                lambda a, t: (best_and_spread(a, t)[0], ((a - t) ** 2).mean(axis=-1).std(axis=0)),
                "the spread is that of the answers' errors: take that of the answers",
            ),
            (scored(spread=lambda a: a.std(axis=0)), "the spread is one number per pixel: take the mean over them"),
            (scored(spread=lambda a: a.std(axis=0).mean()), "the spread is one number: one per image"),
            (
                scored(spread=lambda a: a.std(axis=0, ddof=1).mean(axis=-1)),
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
                lambda e, p, d, x, y, n: drawn(e(ops.concatenate([x, y], axis=-1)), n, d, y),
                "the bug is still there: where does z come from when x is unknown?",
            ),
            (
                lambda e, p, d, x, y, n: drawn(e(ops.concatenate([0 * x, y], axis=-1)), n, d, y),
                "hidden pixels set to 0 are black, not unknown, and the encoder never saw such images: leave it out",
            ),
            (
                lambda e, p, d, x, y, n: drawn(0 * p(y), n, d, y),
                "z is drawn from N(0, I): this model has learnt a prior, p(z|y)",
            ),
            (
                lambda e, p, d, x, y, n: drawn(p(y), 0 * n, d, y),
                "the noise is missing: this is one answer, the same each time",
            ),
            (
                lambda e, p, d, x, y, n: drawn(p(y), 0 * n + 1, d, y),
                "ε is missing: this is one answer, the same each time",
            ),
            (
                lambda e, p, d, x, y, n: d(ops.concatenate([scaled_by_log_var(p(y), n), y], axis=-1)),
                "you scaled ε by log σ² itself; σ = exp(½ log σ²)",
            ),
            (
                lambda e, p, d, x, y, n: drawn(p(y), n, d, y, scale=1.0),
                "you scaled ε by the variance σ²; σ = exp(½ log σ²)",
            ),
            (
                lambda e, p, d, x, y, n: drawn(p(y), n, d, 0 * y),
                "the decoder needs y as well: the known pixels",
            ),
            (
                lambda e, p, d, x, y, n: d(ops.concatenate([y, sampled(p(y), n)], axis=-1)),
                "the decoder takes z first, then y: join(z, y)",
            ),
            (lambda e, p, d, x, y, n: sampled(p(y), n), "this is z: decode it, together with y"),
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
            (mixed(join=lambda s: ops.logsumexp(s, axis=-1)), "the sign: this is log p, and the loss is its negative"),
            (mixed(weights=lambda a: a), "the logits are not weights yet: log π = log_softmax(logits)"),
            (mixed(weights=lambda a: ops.softmax(a, axis=-1)), "add log π, not π, to the log-density"),
            (
                lambda z, a, m, s: -ops.logsumexp(ops.softmax(a, axis=-1) * log_normals(z, m, s), axis=-1),
                "π multiplies the density: add log π to its logarithm",
            ),
            (
                lambda z, a, m, s: ops.log_softmax(a, axis=-1) - ops.sum(ops.square(z - m), axis=-1),
                "z[:, None] − means compares z with the means of all components",
            ),
            (
                mixed(logs=lambda z, m, s: -0.5 * squares(z, m) / s**2 - m.shape[-1] * s * np.sqrt(2 * np.pi)),
                "the constant is a logarithm: −K log(σ √(2π))",
            ),
            (mixed(weights=lambda a: 0 * a - np.log(4.0)), "the components have equal weights here: use the logits"),
            (
                lambda z, a, m, s: -ops.sum(ops.softmax(a, axis=-1) * log_normals(z, m, s), axis=-1),
                "the log is inside the sum: log Σ, not Σ log. Such a loss makes all components alike",
            ),
            (mixed(join=lambda s: -ops.max(s, axis=-1)), "this is the best component alone: sum over all, logsumexp"),
            (mixed(join=lambda s: -ops.logsumexp(s)), "one number per image: axis=-1 only"),
            (
                mixed(logs=lambda z, m, s: -0.5 * squares(z, m) / s**2),
                "the constant of the density is missing: −(K/2) ln(2πσ²)",
            ),
            (
                mixed(logs=lambda z, m, s: -0.5 * squares(z, m) / s**2 - ops.log(s * np.sqrt(2 * np.pi))),
                "the constant occurs once per dimension: K of them",
            ),
            (
                mixed(logs=lambda z, m, s: -squares(z, m) / s**2 - constant(m, s)),
                "the factor ½ of the squared distance is missing",
            ),
            (
                mixed(logs=lambda z, m, s: -0.5 * squares(z, m) / s - constant(m, s)),
                "divide the squared distance by σ², not by σ",
            ),
            (
                mixed(logs=lambda z, m, s: 0.5 * squares(z, m) / s**2 - constant(m, s)),
                "the sign of the squared distance: far from μ the density is small",
            ),
        ],
    ),
}
