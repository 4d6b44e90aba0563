"""Worksheet 9, using a trained model: reference answers and common mistakes.

The references use kvae's applications, NumPy and SciPy.
"""

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

from kvae import applications
from kvae.worksheet.exercise import EXTREME, OTHER, Exercise, call

RNG = np.random.default_rng(9)


# Reference answers


def strangeness(log_likelihood, kl):
    """−ELBO of each image, `(n,)`."""
    return kl - log_likelihood


def log_likelihood(observed, means, tau):
    """log N(observed | means, τ²) of each code without its constant, `(codes,)`."""
    return fixed_likelihood(observed, 1.0, means, tau)


def posterior_mean(logs, means):
    """Mean of the decoded codes with weights softmax(logs), `(d,)`."""
    return softmax(logs) @ means


def fixed_likelihood(x, known, means, tau):
    """log p(known pixels|z) of each code without its constant, `(codes,)`."""
    return -0.5 * np.sum(known * np.square(x - means), axis=1) / tau**2


def bits(z, step):
    """−log₂ of the prior's mass within half a step of the rounded code, summed over dimensions, `(n,)`."""
    return _bits(_mass(_rounded(z, step), step))


def super_resolve(small, means, tau, factor):
    """Posterior mean given the means of blocks of factor × factor pixels, `(d,)`."""
    return _enlarged(small, means, tau, applications.downsample(means, factor))


# Common mistakes


def _pairs(share):
    """A comparison of every anomalous score with every normal one."""
    return lambda normal, strange: float(np.mean(share(strange[:, None], normal[None, :])))


def _underflowing(logs, means):
    with np.errstate(invalid="ignore"):
        weights = np.exp(logs)
        return (weights / weights.sum()) @ means


def _unnormalised(logs, means):
    return np.exp(logs - logs.max()) @ means


def _gauss(square=np.square, power=2, factor=-0.5, collect=np.sum):
    """A wrong `log_likelihood`, with another square, power of τ, factor or sum."""
    return lambda x, means, tau: factor * collect(square(x - means), axis=1) / tau**power


def _rounded(z, step):
    return step * np.rint(z / step)


def _mass(z, step):
    return norm.cdf(z + step / 2) - norm.cdf(z - step / 2)


def _bits(mass):
    return -np.log2(mass).sum(axis=1)


def _enlarged(small, means, tau, views):
    """The posterior mean of images if `views` of them are compared with `small`."""
    logs = log_likelihood(small, views.reshape(len(means), -1), tau)
    return posterior_mean(logs, means.reshape(len(means), -1))


def _as_blocks(small, means, tau, factor):
    blocks = small.reshape(means.shape[1] // factor, -1)
    return _enlarged(np.kron(blocks, np.ones((factor, factor))).reshape(-1), means, tau, means)


def _blocks_of_the_answer(small, means, tau, factor):
    blocks = applications.downsample(means, factor).reshape(len(means), -1)
    return posterior_mean(log_likelihood(small, blocks, tau), blocks)


# What is compared


def differences(*arguments):
    """Measure log-likelihoods relative to the first code, so that a constant does not matter."""

    def measure(answer):
        result = call(answer, *arguments)
        if np.ndim(result) != 1 or np.asarray(result).dtype.kind != "f":
            return result  # a blank, `None` or another shape: unchanged
        return np.asarray(result) - np.asarray(result)[0]

    return measure


MEANS = RNG.random((4, 6))
OBSERVED = RNG.random(6) + 0.3 * RNG.normal(size=6)
KNOWN = np.array([1.0, 1, 0, 1, 0, 0])
LOGS = np.array([-801.0, -800.0, -1200.0, -800.5])
NORMAL = np.array([1.0, 2.0, 2.0, 4.0, 5.0])
STRANGE = np.array([2.0, 3.0, 5.0, 6.0])
CODES = np.array([[0.3, -1.1, 1.9], [-0.7, 0.1, 2.6]])
STEP = np.array(0.8)
IMAGES = RNG.random((5, 6, 6, 1))
SMALL = applications.downsample(IMAGES, 3)[1].reshape(-1) + 0.05
CODE = "four codes of six pixels, relative to the first"

EXERCISES = {
    "9.1": Exercise(
        title="an anomaly score",
        reference=strangeness,
        further=[((np.array([4.0, -2.5]), np.array([0.3, 6.0])), OTHER)],
        arguments=(np.array([-20.0, 35.0, 3.5]), np.array([7.0, 4.5, 9.0])),
        tensors=False,
        at="E_q[log p(x|z)] = −20, KL = 7",
        wrong=[
            (lambda r, k: r - k, "this is the ELBO: the score must be higher for more anomalous images"),
            (lambda r, k: -r - k, "the KL has the wrong sign: −ELBO = −E_q[log p(x|z)] + KL"),
            (lambda r, k: r + k, "the first term has the wrong sign: −ELBO = −E_q[log p(x|z)] + KL"),
            (lambda r, k: -r, "the KL is missing: an image with an improbable code is anomalous too"),
            (lambda r, k: k, "the reconstruction is missing: subtract E_q[log p(x|z)]"),
            (lambda r, k: np.mean(k - r), "you averaged over the images: one score per image"),
            (lambda r, k: np.exp(k - r), "leave out exp: the score is in nats"),
        ],
    ),
    "9.2": Exercise(
        title="AUROC",
        reference=applications.auroc,
        further=[((STRANGE + 0.5, NORMAL[:3]), OTHER), ((np.array([1.0, 2.0, 2.0]), np.array([2.0, 1.0])), OTHER)],
        arguments=(NORMAL, STRANGE),
        tensors=False,
        at="normal 1, 2, 2, 4, 5, anomalous 2, 3, 5, 6",
        wrong=[
            (_pairs(lambda s, n: s > n), "ties count half, and here some scores are equal"),
            (_pairs(lambda s, n: s >= n), "ties count half: you counted them fully"),
            (_pairs(lambda s, n: (s < n) + 0.5 * (s == n)), "the wrong way round: the anomalous one scores higher"),
            (_pairs(lambda s, n: s < n), "the wrong way round, and ties count half"),
            (
                lambda n, s: float(np.sum((s[:, None] > n) + 0.5 * (s[:, None] == n))),
                "this is a number of pairs: divide by the total number of pairs",
            ),
            (
                lambda n, s: np.mean((s[:, None] > n) + 0.5 * (s[:, None] == n), axis=1),
                "one number: take the mean over all pairs, not over the normal images only",
            ),
            (
                lambda n, s: np.mean((s[:, None] > n) + 0.5 * (s[:, None] == n), axis=0),
                "one number: take the mean over all pairs, not over the anomalous images only",
            ),
            (lambda n, s: float(s.mean() - n.mean()), "only which score is higher counts, not by how much"),
            (lambda n, s: float(np.mean(s > n.mean())), "compare with each normal score, not with their mean"),
        ],
    ),
    "9.3": Exercise(
        title="log p(x̃|z)",
        reference=log_likelihood,
        further=[(differences(OBSERVED[:4] - 1, MEANS[:3, :4], 1.6), OTHER)],
        measure=differences(OBSERVED, MEANS, 0.7),
        at=CODE,
        wrong=[
            (_gauss(factor=0.5), "the sign: a code far from what was observed is unlikely"),
            (_gauss(factor=-1.0), "the factor ½ is missing"),
            (_gauss(power=1), "divide by the variance τ², not by τ"),
            (_gauss(power=0), "τ² is missing: divide by it"),
            (_gauss(power=-2), "you multiplied by τ²: the noisier a pixel, the less it says, so divide"),
            (_gauss(collect=np.mean), "you averaged over the pixels: independent pixels need a sum"),
            (_gauss(square=np.abs), "you took absolute values: a Gaussian has squares"),
            (_gauss(square=lambda a: a), "the difference must be squared"),
            (lambda x, m, t: np.exp(log_likelihood(x, m, t)), "this is p: return its logarithm"),
            (
                lambda x, m, t: -0.5 * np.sum((x - m) ** 2, axis=0) / t**2,
                "you summed over the codes: one number per code, axis=1",
            ),
            (lambda x, m, t: -0.5 * np.sum((x - m) ** 2) / t**2, "you summed over the codes too: axis=1"),
            (lambda x, m, t: -0.5 * (x - m) ** 2 / t**2, "one number per pixel: sum over the pixels, axis=1"),
        ],
    ),
    "9.4": Exercise(
        title="posterior mean",
        reference=posterior_mean,
        further=[
            ((np.array([-2.0, 0.5, -1.0]), MEANS[:3, :4]), OTHER),
            ((np.array([-9000.0, -9001.0, -2.0]), MEANS[1:]), EXTREME),
            ((np.array([1200.0, 1201.5]), MEANS[2:]), EXTREME),
        ],
        arguments=(LOGS, MEANS),
        tensors=False,
        points=2,
        at="log p(x̃|z) = −801, −800, −1200, −800.5",
        wrong=[
            (_underflowing, "e^−800 underflows to 0, and 0/0 is NaN: subtract the largest logarithm first"),
            (_unnormalised, "the weights must sum to 1: divide by their sum"),
            (
                lambda logs, means: _unnormalised(logs, means) / len(logs),
                "divide by the sum of the weights, not by the number of codes",
            ),
            (lambda logs, means: means.mean(axis=0), "this is the mean over the prior: the observation has no effect"),
            (
                lambda logs, means: means[np.argmax(logs)],
                "this is only the most likely code: the mean includes all of them",
            ),
            (lambda logs, means: logs / logs.sum() @ means, "weights are probabilities: take exp of the logarithms"),
            (lambda logs, means: softmax(-logs) @ means, "the sign: likely codes must have larger weights"),
            (lambda logs, means: softmax(logs), "these are the weights: average the images with them"),
        ],
    ),
    "9.5": Exercise(
        title="the bug",
        reference=fixed_likelihood,
        further=[(differences(OBSERVED[:4] - 1, KNOWN[2:], MEANS[:3, :4], 1.6), OTHER)],
        measure=differences(OBSERVED, KNOWN, MEANS, 0.7),
        at=CODE,
        wrong=[
            (
                lambda x, k, m, t: log_likelihood(x * k, m, t),
                "the bug is still there: you compare a hidden pixel with 0, as if black had been observed",
            ),
            (
                lambda x, k, m, t: log_likelihood(x, m, t),
                "the hidden pixels are compared now: known has no effect",
            ),
            (
                lambda x, k, m, t: fixed_likelihood(x, 1 - k, m, t),
                "known and hidden are swapped: known is 1 where a pixel counts",
            ),
            (
                lambda x, k, m, t: fixed_likelihood(x, k, m, t) / k.sum(),
                "you averaged over the known pixels: independent pixels need a sum",
            ),
            (
                lambda x, k, m, t: -fixed_likelihood(x, k, m, t),
                "the sign: a code far from the known pixels is unlikely",
            ),
            (
                lambda x, k, m, t: log_likelihood(np.where(k, x, 0.5), m, t),
                "you compare hidden pixels with grey, as if it had been observed: leave them out",
            ),
            (
                lambda x, k, m, t: log_likelihood(np.where(k, x, m.mean(axis=0)), m, t),
                "you compare hidden pixels with the mean image, which favours average codes: leave them out",
            ),
        ],
    ),
    "9.6": Exercise(
        title="bits of a code",
        reference=bits,
        further=[((CODES[:1, :2] * 1.7 + 0.2, np.array(0.3)), OTHER)],
        arguments=(CODES, STEP),
        tensors=False,
        at="two codes of three dimensions, Δ = 0.8",
        wrong=[
            (lambda z, d: np.log(2) * bits(z, d), "these are nats: bits need log2"),
            (lambda z, d: -bits(z, d), "the sign: −log₂ of a probability is positive"),
            (lambda z, d: _bits(norm.pdf(_rounded(z, d))), "a density is not a probability: integrate over a step"),
            (
                lambda z, d: _bits(d * norm.pdf(_rounded(z, d))),
                "density times step is only an approximation, for small steps: use the difference of Φ",
            ),
            (lambda z, d: _bits(_mass(z, d)), "round the code first: the coder encodes only whole steps"),
            (lambda z, d: _bits(_mass(np.rint(z / d), d)), "multiply by Δ after rounding: z̄ = Δ · round(z/Δ)"),
            (lambda z, d: _bits(_mass(d * np.floor(z / d), d)), "floor rounds down: round to the nearest, np.rint"),
            (
                lambda z, d: _bits(_mass(d * np.trunc(z / d), d)),
                "int truncates towards 0: round to the nearest, np.rint",
            ),
            (lambda z, d: _bits(_mass(_rounded(z, d), 2 * d)), "half a step to each side, not a whole one"),
            (lambda z, d: bits(z, d) / 3, "you averaged over the dimensions: their bits add up"),
            (lambda z, d: bits(z, d).sum(), "you summed over the images too: one number per image, axis=1"),
            (lambda z, d: bits(z, d).mean(), "you averaged over the images: one number per image, axis=1"),
            (
                lambda z, d: -np.log2(_mass(_rounded(z, d), d)).sum(axis=0),
                "you summed over the images, not the dimensions: axis=1",
            ),
            (lambda z, d: -np.log2(_mass(_rounded(z, d), d)), "one number per dimension: sum over axis=1"),
            (
                lambda z, d: -np.log2(_mass(_rounded(z, d), d).sum(axis=1)),
                "sum the logarithms, not the probabilities: log2 first, then the sum",
            ),
        ],
    ),
    "9.7": Exercise(
        title="stretch: super-resolution",
        reference=super_resolve,
        further=[
            (
                (applications.downsample(IMAGES[:, 2:, :2], 2)[0].reshape(-1), IMAGES[1:, 2:, :2], np.array(0.3), 2),
                OTHER,
            )
        ],
        arguments=(SMALL, IMAGES, np.array(0.1), 3),
        tensors=False,
        points=0,
        at="five codes of 6×6 pixels, blocks of 3×3",
        wrong=[
            (
                _as_blocks,
                "you enlarged the observation: downsample the decoded images instead",
            ),
            (
                lambda s, m, t, f: _enlarged(s, m, t, m[:, ::f, ::f]),
                "you took one pixel of each block: a small pixel is the mean of a block",
            ),
            (
                lambda s, m, t, f: _enlarged(s, m, t, f**2 * applications.downsample(m, f)),
                "you summed over the blocks: take means",
            ),
            (_blocks_of_the_answer, "this is a small image again: average the large ones"),
            (
                lambda s, m, t, f: m.reshape(len(m), -1).mean(axis=0),
                "the observation has no effect: weight the codes by their likelihood",
            ),
            (lambda s, m, t, f: super_resolve(s, m, t**0.5, f), "pass τ unchanged: no root, the variance is τ²"),
            (
                lambda s, m, t, f: super_resolve(s, m, t, f).reshape(m.shape[1:]),
                "return a row of pixels, like the observation: do not reshape to height and width",
            ),
        ],
    ),
}
