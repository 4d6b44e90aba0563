"""Worksheet 9, using a trained model: what is right, and what is usually wrong.

The right answers lean on kvae's applications, NumPy and SciPy.
"""

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

from kvae import applications
from kvae.worksheet.exercise import Exercise

RNG = np.random.default_rng(9)


# The right answers


def strangeness(log_likelihood, kl):
    """−ELBO of each image, `(n,)`."""
    return kl - log_likelihood


def log_likelihood(observed, means, tau):
    """log N(observed | means, τ²) of each code without its constant, `(codes,)`."""
    return mended_likelihood(observed, 1.0, means, tau)


def posterior_mean(logs, means):
    """The mean of the decoded codes under the weights softmax(logs), `(d,)`."""
    return softmax(logs) @ means


def mended_likelihood(x, known, means, tau):
    """log p(known pixels|z) of each code without its constant, `(codes,)`."""
    return -0.5 * np.sum(known * np.square(x - means), axis=1) / tau**2


def bits(z, step):
    """−log₂ of the prior's mass within half a step of the rounded code, summed over dimensions, `(n,)`."""
    return _bits(_mass(_rounded(z, step), step))


def super_resolve(small, means, tau):
    """The posterior mean, given the means over blocks of 2×2 pixels, `(d,)`."""
    return _enlarged(small, means, tau, applications.downsample(means, 2))


# The wrong ones


def _pairs(share):
    """A comparison of each strange score with each normal one."""
    return lambda normal, strange: float(np.mean(share(strange[:, None], normal[None, :])))


def _underflowing(logs, means):
    with np.errstate(invalid="ignore"):
        weights = np.exp(logs)
        return (weights / weights.sum()) @ means


def _unnormalised(logs, means):
    return np.exp(logs - logs.max()) @ means


def _gauss(square=np.square, power=2, factor=-0.5, collect=np.sum):
    """A wrong `log_likelihood`, made with another square, power of τ, factor or sum."""
    return lambda x, means, tau: factor * collect(square(x - means), axis=1) / tau**power


def _rounded(z, step):
    return step * np.rint(z / step)


def _mass(z, step):
    return norm.cdf(z + step / 2) - norm.cdf(z - step / 2)


def _bits(mass):
    return -np.log2(mass).sum(axis=1)


def _enlarged(small, means, tau, views):
    """The posterior mean of images, given that `views` of them were seen as `small`."""
    logs = log_likelihood(small, views.reshape(len(means), -1), tau)
    return posterior_mean(logs, means.reshape(len(means), -1))


def _as_blocks(small, means, tau):
    side = means.shape[1] // 2
    return _enlarged(np.kron(small.reshape(side, side), np.ones((2, 2))).reshape(-1), means, tau, means)


def _blocks_of_the_answer(small, means, tau):
    blocks = applications.downsample(means, 2).reshape(len(means), -1)
    return posterior_mean(log_likelihood(small, blocks, tau), blocks)


# What is measured


def differences(*arguments):
    """A measure of log-likelihoods: each less the first code's, so that a constant does not matter."""

    def measure(answer):
        result = answer(*map(np.copy, arguments))
        if np.ndim(result) != 1 or np.asarray(result).dtype.kind != "f":
            return result  # a blank, `None`, another shape: as it is
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
IMAGES = RNG.random((5, 4, 4, 1))
SMALL = applications.downsample(IMAGES, 2)[1].reshape(-1) + 0.05
CODE = "four codes of six pixels; what counts is the difference to the first"

EXERCISES = {
    "9.1": Exercise(
        title="a score of strangeness",
        reference=strangeness,
        arguments=(np.array([-20.0, 35.0, 3.5]), np.array([7.0, 4.5, 9.0])),
        tensors=False,
        at="E_q[log p(x|z)] = −20, KL = 7",
        wrong=[
            (lambda r, k: r - k, "this is the ELBO: high for what the model expects. The stranger, the higher"),
            (lambda r, k: -r - k, "the KL has the wrong sign: −ELBO = −E_q[log p(x|z)] + KL"),
            (lambda r, k: r + k, "the first term has the wrong sign: −ELBO = −E_q[log p(x|z)] + KL"),
            (lambda r, k: -r, "the KL is missing: a code that the prior finds unlikely makes an image strange, too"),
            (lambda r, k: k, "the reconstruction is missing: subtract E_q[log p(x|z)]"),
            (lambda r, k: np.mean(k - r), "one score an image, no mean over them"),
            (lambda r, k: np.exp(k - r), "no exp: scores are in nats, and only their order counts"),
        ],
    ),
    "9.2": Exercise(
        title="AUROC",
        reference=applications.auroc,
        arguments=(NORMAL, STRANGE),
        tensors=False,
        at="normal 1, 2, 2, 4, 5, strange 2, 3, 5, 6",
        wrong=[
            (_pairs(lambda s, n: s > n), "ties count half, and here some scores are equal"),
            (_pairs(lambda s, n: s >= n), "ties count half: you counted them in full"),
            (_pairs(lambda s, n: (s < n) + 0.5 * (s == n)), "the wrong way round: the strange one scores higher"),
            (_pairs(lambda s, n: s < n), "the wrong way round, and ties count half"),
            (
                lambda n, s: float(np.sum((s[:, None] > n) + 0.5 * (s[:, None] == n))),
                "this is the number of pairs: divide by how many pairs there are",
            ),
            (
                lambda n, s: np.mean((s[:, None] > n) + 0.5 * (s[:, None] == n), axis=1),
                "one number: the mean over all pairs, not over the normal images alone",
            ),
            (
                lambda n, s: np.mean((s[:, None] > n) + 0.5 * (s[:, None] == n), axis=0),
                "one number: the mean over all pairs, not over the strange images alone",
            ),
            (lambda n, s: float(s.mean() - n.mean()), "the scores' size does not count, only which is higher"),
            (lambda n, s: float(np.mean(s > n.mean())), "compare with each normal score, not with their mean"),
        ],
    ),
    "9.3": Exercise(
        title="log p(x̃|z)",
        reference=log_likelihood,
        measure=differences(OBSERVED, MEANS, 0.5),
        at=CODE,
        wrong=[
            (_gauss(factor=0.5), "the sign: a code far from what was observed is unlikely"),
            (_gauss(factor=-1.0), "the factor ½ is missing"),
            (_gauss(power=1), "divide by the variance τ², not by τ"),
            (_gauss(power=0), "τ² is missing: without it noisy pixels count as much as exact ones"),
            (_gauss(power=-2), "divide by τ²: the noisier, the less a pixel says"),
            (_gauss(collect=np.mean), "you averaged over the pixels: they are independent, so their logarithms add up"),
            (_gauss(square=np.abs), "the difference is squared in a Gaussian"),
            (_gauss(square=lambda a: a), "the difference must be squared"),
            (lambda x, m, t: np.exp(log_likelihood(x, m, t)), "this is p without its logarithm"),
            (
                lambda x, m, t: -0.5 * np.sum((x - m) ** 2, axis=0) / t**2,
                "you summed over the codes: one number a code, axis=1",
            ),
            (lambda x, m, t: -0.5 * np.sum((x - m) ** 2) / t**2, "you summed over the codes too: axis=1"),
            (lambda x, m, t: -0.5 * (x - m) ** 2 / t**2, "one number a pixel: sum over the pixels, axis=1"),
        ],
    ),
    "9.4": Exercise(
        title="posterior mean",
        reference=posterior_mean,
        arguments=(LOGS, MEANS),
        tensors=False,
        points=2,
        at="log p(x̃|z) = −801, −800, −1200, −800.5",
        wrong=[
            (_underflowing, "e^−800 is 0 in a computer, and 0/0 is NaN: subtract the largest logarithm first"),
            (_unnormalised, "the weights must add up to 1: divide by their sum"),
            (
                lambda logs, means: _unnormalised(logs, means) / len(logs),
                "divide by the weights' sum, not by the number of codes",
            ),
            (lambda logs, means: means.mean(axis=0), "this is the mean over the prior: what was observed has no say"),
            (
                lambda logs, means: means[np.argmax(logs)],
                "this is the likeliest code alone: the mean weighs all of them",
            ),
            (lambda logs, means: logs / logs.sum() @ means, "weights are probabilities: take exp of the logarithms"),
            (lambda logs, means: softmax(-logs) @ means, "the sign: likely codes weigh more"),
            (lambda logs, means: softmax(logs), "these are the weights: take the mean of the images with them"),
        ],
    ),
    "9.5": Exercise(
        title="the bug",
        reference=mended_likelihood,
        measure=differences(OBSERVED, KNOWN, MEANS, 0.5),
        at=CODE,
        wrong=[
            (
                lambda x, k, m, t: log_likelihood(x * k, m, t),
                "the bug is still there: a hidden pixel is compared with 0, so the model believes that it saw black",
            ),
            (
                lambda x, k, m, t: log_likelihood(x, m, t),
                "now the hidden pixels are looked at: known has no say",
            ),
            (
                lambda x, k, m, t: mended_likelihood(x, 1 - k, m, t),
                "known and hidden are swapped: known is 1 where a pixel counts",
            ),
            (
                lambda x, k, m, t: mended_likelihood(x, k, m, t) / k.sum(),
                "you averaged over the known pixels: their logarithms add up",
            ),
            (
                lambda x, k, m, t: -mended_likelihood(x, k, m, t),
                "the sign: a code far from the known pixels is unlikely",
            ),
            (
                lambda x, k, m, t: log_likelihood(np.where(k, x, 0.5), m, t),
                "grey is a colour too: the model believes that it saw grey. A hidden pixel must not be compared at all",
            ),
            (
                lambda x, k, m, t: log_likelihood(np.where(k, x, m.mean(axis=0)), m, t),
                "the mean image in the hidden pixels draws all codes to it: a hidden pixel must not be compared at all",
            ),
        ],
    ),
    "9.6": Exercise(
        title="bits of a code",
        reference=bits,
        arguments=(CODES, STEP),
        tensors=False,
        at="two codes of three dimensions, Δ = 0.8",
        wrong=[
            (lambda z, d: np.log(2) * bits(z, d), "these are nats: bits come of log2"),
            (lambda z, d: -bits(z, d), "the sign: −log₂ of a probability is positive"),
            (lambda z, d: _bits(norm.pdf(_rounded(z, d))), "a density is no probability: the step is missing"),
            (
                lambda z, d: _bits(d * norm.pdf(_rounded(z, d))),
                "density times step is the mass only for small steps: take the difference of Φ",
            ),
            (lambda z, d: _bits(_mass(z, d)), "the code must be rounded first: the coder knows only whole steps"),
            (lambda z, d: _bits(_mass(np.rint(z / d), d)), "after rounding multiply by Δ: z̄ = Δ · round(z/Δ)"),
            (lambda z, d: _bits(_mass(d * np.floor(z / d), d)), "floor rounds down: round to the nearest, np.rint"),
            (
                lambda z, d: _bits(_mass(d * np.trunc(z / d), d)),
                "int cuts off towards 0: round to the nearest, np.rint",
            ),
            (lambda z, d: _bits(_mass(_rounded(z, d), 2 * d)), "half a step to each side, not a whole one"),
            (lambda z, d: bits(z, d) / 3, "you averaged over the dimensions: their bits add up"),
            (lambda z, d: bits(z, d).sum(), "you summed over the images too: one number an image, axis=1"),
            (lambda z, d: bits(z, d).mean(), "you averaged over the images: one number an image, axis=1"),
            (
                lambda z, d: -np.log2(_mass(_rounded(z, d), d)).sum(axis=0),
                "you summed over the images, not the dimensions: axis=1",
            ),
            (lambda z, d: -np.log2(_mass(_rounded(z, d), d)), "one number a dimension: sum over axis=1"),
            (
                lambda z, d: -np.log2(_mass(_rounded(z, d), d).sum(axis=1)),
                "logarithms of the masses add up, not the masses: log2 first, then the sum",
            ),
        ],
    ),
    "9.7": Exercise(
        title="stretch: super-resolution",
        reference=super_resolve,
        arguments=(SMALL, IMAGES, np.array(0.1)),
        tensors=False,
        points=0,
        at="five codes of 4×4 pixels",
        wrong=[
            (
                _as_blocks,
                "you enlarged what was seen, but only block means were observed: make the codes' images small",
            ),
            (
                lambda s, m, t: _enlarged(s, m, t, m[:, ::2, ::2]),
                "you took every other pixel: a small one is the mean of a block",
            ),
            (
                lambda s, m, t: _enlarged(s, m, t, 4 * applications.downsample(m, 2)),
                "you summed over the blocks: means",
            ),
            (_blocks_of_the_answer, "this is the small image again: average the large ones"),
            (lambda s, m, t: m.reshape(len(m), -1).mean(axis=0), "what was observed has no say: weigh the codes"),
            (lambda s, m, t: super_resolve(s, m, t**0.5), "τ is handed on as it is: no root, the variance is τ²"),
            (
                lambda s, m, t: super_resolve(s, m, t).reshape(m.shape[1:]),
                "the answer is a row of pixels, like the other observations: no reshape to height and width",
            ),
        ],
    ),
}
