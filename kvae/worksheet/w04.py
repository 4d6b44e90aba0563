"""Worksheet 4, latent variable models: what is right, and what is usually wrong.

The right answers lean on SciPy's densities and on `kvae.evaluation`.
"""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from kvae.evaluation import likelihood
from kvae.worksheet.exercise import Exercise

RNG = np.random.default_rng(4)
X = RNG.normal(0, 1, 5)
X_MEAN = RNG.normal(0, 1, (3, 5))
S = 0.4
LOG_VALUES = np.array([-1003.0, -1000.5, -1001.2, -1004.1])  # exp of these is 0 in the computer
LOG_W = np.append(LOG_VALUES, -1300.0)  # far off: else the squares of the logarithms give the number of samples
LOG_PX = np.array([-12.0, -9.5, -10.2, -14.0])
Z = RNG.normal(0, 1, (4, 3))
Q_MEAN = np.array([0.5, -1.0, 2.0])
Q_STD = np.array([0.4, 0.7, 1.6])
W = RNG.normal(0, 1, (5, 3))
B = RNG.normal(0, 1, 5)


# The right answers


def log_likelihood(x, x_mean, s):
    """log N(x; x_mean, s²I), `(samples,)`."""
    return norm.logpdf(x, x_mean, s).sum(axis=-1)


def log_mean(log_values):
    """Log of the mean of the exponentials, a number."""
    return logsumexp(log_values) - np.log(len(log_values))


def log_weights(log_px, z, q_mean, q_std):
    """log p(x|z) + log p(z) − log q(z|x), `(samples,)`."""
    return log_px + _log_p(z) - _log_q(z, q_mean, q_std)


def effective_sample_size(log_w):
    """(Σ w)² / Σ w², a number."""
    return likelihood.log_mean(log_w)[1]


def elbo(log_w):
    """E_q[log w], a number."""
    return np.mean(log_w)


def mended_elbo(log_px, q_mean, q_log_std):
    """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), a number."""
    return np.mean(log_px) - _kl(q_mean, q_log_std)


def posterior(x, w, b, s):
    """Mean `(latent,)` and covariance `(latent, latent)` of p(z|x), conditioned out of the joint of x and z."""
    gain = np.linalg.solve(w @ w.T + s**2 * np.eye(len(b)), w).T  # Cov(z, x) Cov(x)⁻¹
    return gain @ (x - b), np.eye(w.shape[1]) - gain @ w


# The wrong ones


def _log_p(z):
    return norm.logpdf(z).sum(axis=-1)


def _log_q(z, q_mean, q_std):
    return norm.logpdf(z, q_mean, q_std).sum(axis=-1)


def _kl(q_mean, q_log_std):
    """KL of diagonal Gaussians to N(0, I), in full covariances."""
    variance = np.exp(2 * q_log_std)
    return 0.5 * (variance.sum() + q_mean @ q_mean - len(q_mean) - np.linalg.slogdet(np.diag(variance))[1])


def _terms(x, x_mean, s):
    """The squares `(samples, pixels)`, before they are summed."""
    return (x - x_mean) ** 2 / s**2


def _naive(log_values):
    with np.errstate(divide="ignore"):
        return np.log(np.mean(np.exp(log_values)))


def _unscaled_size(log_w):
    with np.errstate(invalid="ignore"):
        return np.sum(np.exp(log_w)) ** 2 / np.sum(np.exp(2 * log_w))


def _weights(log_w):
    return np.exp(log_w - np.max(log_w))


def _with_kl(divergence):
    """An ELBO with another KL, ½ the sum of `divergence(μ, log σ)` `(latent,)`."""
    return lambda log_px, m, log_s: np.mean(log_px) - 0.5 * np.sum(divergence(m, log_s))


def _posterior_with(precision, mean):
    """A posterior from another precision and mean; `mean` gets the covariance first."""

    def wrong(x, w, b, s):
        covariance = np.linalg.inv(precision(w, s))
        return mean(covariance, x, w, b, s), covariance

    return wrong


def _precision(w, s):
    return np.eye(w.shape[1]) + w.T @ w / s**2


def _mean(covariance, x, w, b, s):
    return covariance @ w.T @ (x - b) / s**2


def _precision_returned(x, w, b, s):
    return posterior(x, w, b, s)[0], _precision(w, s)


def moments(answer):
    """Mean and covariance that a `posterior` gives."""
    result = answer(X, W, B, S)
    return dict(zip(("mean", "covariance"), result, strict=True)) if isinstance(result, tuple) else result


EXERCISES = {
    "4.1": Exercise(
        title="log p(x|z), Gaussian",
        reference=log_likelihood,
        arguments=(X, X_MEAN, S),
        at="three codes, five pixels, s = 0.4",
        tensors=False,
        wrong=[
            (lambda x, m, s: -log_likelihood(x, m, s), "the sign: this is −log p(x|z)"),
            (lambda x, m, s: 2 * log_likelihood(x, m, s), "the factor ½ is missing"),
            (lambda x, m, s: log_likelihood(x, m, s) / 5, "you averaged over the pixels: they are independent, so sum"),
            (lambda x, m, s: norm.logpdf(x, m, s), "one number a pixel: sum over axis=-1"),
            (lambda x, m, s: norm.logpdf(x, m, s).sum(), "you summed over the codes too: sum over axis=-1 only"),
            (lambda x, m, s: norm.logpdf(x, m, s).sum(axis=0), "you summed over the codes, not the pixels: axis=-1"),
            (lambda x, m, s: log_likelihood(x, m, np.sqrt(s)), "s is the standard deviation: square it"),
            (
                lambda x, m, s: -0.5 * np.sum(_terms(x, m, s) + np.log(2 * np.pi * s), axis=-1),
                "s is not squared in the logarithm",
            ),
            (
                lambda x, m, s: -0.5 * np.sum((x - m) ** 2 / s + np.log(2 * np.pi * s**2), axis=-1),
                "the squares are divided by s: the variance s² is meant",
            ),
            (
                lambda x, m, s: -0.5 * (np.sum(_terms(x, m, s), axis=-1) + np.log(2 * np.pi * s**2)),
                "log(2πs²) stands once: each pixel has it, so it belongs into the sum",
            ),
            (lambda x, m, s: -0.5 * np.sum(_terms(x, m, s), axis=-1), "log(2πs²) is missing: no density without it"),
            (lambda x, m, s: np.exp(log_likelihood(x, m, s)), "this is p(x|z): take no exp, it will be 0"),
        ],
    ),
    "4.2": Exercise(
        title="the log of a mean",
        reference=log_mean,
        arguments=(LOG_VALUES,),
        at="−1003, −1000.5, −1001.2, −1004.1",
        tensors=False,
        wrong=[
            (_naive, "exp(−1000) is 0 in the computer, and log 0 = −∞: take the largest out first"),
            (np.mean, "this is the mean of the logs: the log comes last, outside of the mean"),
            (logsumexp, "this is the log of the sum: of the mean, so divide by S inside the log"),
            (lambda a: logsumexp(a) / len(a), "the division by S belongs inside the log"),
            (lambda a: log_mean(a) - np.max(a), "you took the largest out, and did not add it back"),
            (lambda a: log_mean(a) - 2 * np.max(a), "the largest is added, not subtracted, at the end"),
            (lambda a: np.mean(np.exp(a - np.max(a))) + np.max(a), "the log of the mean is missing"),
            (np.max, "this is the largest alone"),
        ],
    ),
    "4.3": Exercise(
        title="importance weights",
        reference=log_weights,
        arguments=(LOG_PX, Z, Q_MEAN, Q_STD),
        at="four samples of three dimensions",
        tensors=False,
        wrong=[
            (lambda p, z, m, s: p, "prior and q are missing: these would do for samples of the prior"),
            (lambda p, z, m, s: p - _log_q(z, m, s), "the prior p(z) is missing"),
            (lambda p, z, m, s: p + _log_p(z), "q is missing: without it, codes that q favours count too often"),
            (lambda p, z, m, s: _log_p(z) - _log_q(z, m, s), "the likelihood is missing: it is what is averaged"),
            (
                lambda p, z, m, s: p - _log_p(z) + _log_q(z, m, s),
                "upside down: q is divided by, so its log is subtracted",
            ),
            (lambda p, z, m, s: p + _log_p(z) + _log_q(z, m, s), "q is divided by: its log is subtracted"),
            (lambda p, z, m, s: p - _log_p(z) - _log_q(z, m, s), "the prior is a factor: its log is added"),
            (lambda p, z, m, s: p + _log_p(z) - _log_q(z, m, s**2), "q's σ was squared: `log_normal` does that itself"),
            (lambda p, z, m, s: p + _log_p(z) - _log_q(z, m, np.sqrt(s)), "σ is a standard deviation already: no root"),
            (lambda p, z, m, s: p + _log_q(z, m, 1) - _log_q(z, m, s), "the prior's mean is 0, not μ"),
            (lambda p, z, m, s: np.exp(log_weights(p, z, m, s)), "these are the weights: leave them as logarithms"),
        ],
    ),
    "4.4": Exercise(
        title="effective sample size",
        reference=effective_sample_size,
        arguments=(LOG_W,),
        at="log w = −1003, −1000.5, −1001.2, −1004.1, −1300",
        tensors=False,
        wrong=[
            (_unscaled_size, "exp(−1000) is 0 in the computer, and 0/0 is NaN: take the largest out first"),
            (lambda a: 1 / effective_sample_size(a), "upside down: the square of the sum comes above"),
            (lambda a: effective_sample_size(a) / len(a), "this is a share: leave out the division by S"),
            (lambda a: np.sum(a) ** 2 / np.sum(a**2), "these are the logarithms: take exp first"),
            (lambda a: np.sum(_weights(a)), "this is Σ w / max w, a cousin: square above and below"),
            (lambda a: np.sum(_weights(a)) / np.sum(_weights(a) ** 2), "the sum above is not squared"),
            (lambda a: np.sum(_weights(a) ** 2) / np.sum(_weights(a) ** 2), "sum first, then square: (Σ w)², not Σ w²"),
            (lambda a: np.mean(_weights(a)) ** 2 / np.sum(_weights(a) ** 2), "a mean above and a sum below: two sums"),
            (len, "this counts what was drawn, not what carries the estimate"),
        ],
    ),
    "4.5": Exercise(
        title="Jensen: the ELBO",
        reference=elbo,
        arguments=(LOG_VALUES,),
        at="log w = −1003, −1000.5, −1001.2, −1004.1",
        tensors=False,
        wrong=[
            (log_mean, "the log is still outside: this is the estimate of log p(x), not its bound"),
            (_naive, "the log is still outside, and the weights are 0 in the computer: no exp is needed any more"),
            (np.sum, "an expectation is a mean, not a sum"),
            (lambda a: -np.mean(a), "the sign: this is −ELBO, what a training minimises"),
            (lambda a: np.mean(np.exp(a)), "this is the estimate of p(x), and 0 in the computer: no exp here"),
            (lambda a: np.mean(_weights(a)), "no exp here: the mean is of the logarithms"),
            (lambda a: a, "one number a sample: their mean is the estimate"),
            (np.max, "this is the largest weight alone"),
        ],
    ),
    "4.6": Exercise(
        title="the bug",
        reference=mended_elbo,
        arguments=(LOG_PX, Q_MEAN, np.log(Q_STD)),
        at="four samples of three dimensions",
        tensors=False,
        points=2,
        wrong=[
            (
                _with_kl(lambda m, t: np.exp(t) + m**2 - t - 1),
                "the bug is still there: what does the encoder give, and what does the formula ask for?",
            ),
            (_with_kl(lambda m, t: np.exp(2 * t) + m**2 - t - 1), "σ² is right now; log σ² is not log σ either"),
            (_with_kl(lambda m, t: np.exp(t) + m**2 - 2 * t - 1), "log σ² is right now; exp(log σ) is σ, not σ²"),
            (
                _with_kl(lambda m, t: np.exp(t) + m**2 - t**2 - 1),
                "log σ² is 2 log σ, not (log σ)²; and exp(log σ) is σ",
            ),
            (_with_kl(lambda m, t: np.exp(2 * t) + m**2 - t**2 - 1), "log σ² is 2 log σ, not (log σ)²"),
            (
                _with_kl(lambda m, t: np.exp(t / 2) + m**2 - t / 2 - 1),
                "the wrong way round: half of log σ² is log σ, and log σ is what you have",
            ),
            (lambda p, m, t: np.mean(p) - 2 * _kl(m, t), "the factor ½ has gone"),
            (lambda p, m, t: np.mean(p) - _kl(m, t) / 3, "the KL is a sum over the dimensions, no mean"),
            (lambda p, m, t: np.mean(p) + _kl(m, t), "the KL is subtracted from the likelihood's part"),
            (lambda p, m, t: np.mean(p), "the KL has gone: so codes cost nothing"),
            (lambda p, m, t: np.sum(p) - _kl(m, t), "the likelihood's part was right: an expectation is a mean"),
            (lambda p, m, t: log_mean(p) - _kl(m, t), "the likelihood's part was right: the mean of the logs"),
            (lambda p, m, t: _kl(m, t) - np.mean(p), "this is −ELBO: here the bound itself is wanted"),
        ],
    ),
    "4.7": Exercise(
        title="stretch: the posterior",
        reference=posterior,
        measure=moments,
        points=0,
        wrong=[
            (_posterior_with(lambda w, s: w.T @ w / s**2, _mean), "the prior's I is missing: this is least squares"),
            (_posterior_with(lambda w, s: np.eye(3) + w.T @ w, _mean), "WᵀW is divided by s²"),
            (
                _posterior_with(lambda w, s: np.eye(3) + w.T @ w / s, _mean),
                "WᵀW is divided by s: the variance s² is meant",
            ),
            (
                _posterior_with(_precision, lambda c, x, w, b, s: c @ w.T @ x / s**2),
                "the covariance is right; subtract b from x first",
            ),
            (
                _posterior_with(_precision, lambda c, x, w, b, s: c @ w.T @ (x - b)),
                "the covariance is right; the mean has 1/s² too",
            ),
            (
                _posterior_with(_precision, lambda c, x, w, b, s: w.T @ (x - b) / s**2),
                "the covariance is right; the mean has Σ in front",
            ),
            (_precision_returned, "the mean is right; what you call the covariance is its inverse"),
        ],
    ),
}
