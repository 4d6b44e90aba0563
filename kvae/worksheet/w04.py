"""Worksheet 4, latent variable models: reference answers and common mistakes.

The references use SciPy's densities and `kvae.evaluation`.
"""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from kvae.evaluation import likelihood
from kvae.worksheet.exercise import EXTREME, OTHER, Exercise, call

RNG = np.random.default_rng(4)
X = RNG.normal(0, 1, 5)
X_MEAN = RNG.normal(0, 1, (3, 5))
S = 0.7
LOG_VALUES = np.array([-1003.0, -1000.5, -1001.2, -1004.1])  # their exponentials underflow to 0
LOG_W = np.append(LOG_VALUES, -1300.0)  # else (Σ log w)² / Σ (log w)² would be close to the number of samples
LOG_PX = np.array([-12.0, -9.5, -10.2, -14.0])
Z = RNG.normal(0, 1, (4, 3))
Q_MEAN = np.array([0.5, -1.0, 2.0])
Q_STD = np.array([0.4, 0.7, 1.6])
W = RNG.normal(0, 1, (5, 3))
B = RNG.normal(0, 1, 5)


# Reference answers


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


def fixed_elbo(log_px, q_mean, q_log_std):
    """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), a number."""
    return np.mean(log_px) - _kl(q_mean, q_log_std)


def posterior(x, w, b, s):
    """Mean `(latent,)` and covariance `(latent, latent)` of p(z|x), from the joint Gaussian of x and z."""
    gain = np.linalg.solve(w @ w.T + s**2 * np.eye(len(b)), w).T  # Cov(z, x) Cov(x)⁻¹
    return gain @ (x - b), np.eye(w.shape[1]) - gain @ w


# Common mistakes


def _log_p(z):
    return norm.logpdf(z).sum(axis=-1)


def _log_q(z, q_mean, q_std):
    return norm.logpdf(z, q_mean, q_std).sum(axis=-1)


def _kl(q_mean, q_log_std):
    """KL of diagonal Gaussians to N(0, I), written with full covariances."""
    variance = np.exp(2 * q_log_std)
    return 0.5 * (variance.sum() + q_mean @ q_mean - len(q_mean) - np.linalg.slogdet(np.diag(variance))[1])


def _terms(x, x_mean, s):
    """Squared residuals `(samples, pixels)`, before the sum."""
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
    """An ELBO with another KL, half the sum of `divergence(μ, log σ)` `(latent,)`."""
    return lambda log_px, m, log_s: np.mean(log_px) - 0.5 * np.sum(divergence(m, log_s))


def _posterior_with(precision, mean):
    """A posterior with another precision and mean; `mean` gets the covariance first."""

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
    """Mean and covariance that a `posterior` returns."""
    return _named(call(answer, X, W, B, S))


def _named(result):
    if not isinstance(result, (tuple, list)):
        return result
    if len(result) != 2:
        raise ValueError(f"two results must be returned, the mean and the covariance. Received: {len(result)}")
    return dict(zip(("mean", "covariance"), result, strict=True))


EXERCISES = {
    "4.1": Exercise(
        title="log p(x|z), Gaussian",
        reference=log_likelihood,
        further=[((X[:4] - 1, X_MEAN[:2, :4], 1.6), OTHER)],
        arguments=(X, X_MEAN, S),
        at="three codes, five pixels, s = 0.7",
        tensors=False,
        wrong=[
            (lambda x, m, s: -log_likelihood(x, m, s), "the sign: this is −log p(x|z)"),
            (lambda x, m, s: 2 * log_likelihood(x, m, s), "the factor ½ is missing"),
            (
                lambda x, m, s: log_likelihood(x, m, s) / 5,
                "you averaged over the pixels: independent pixels need a sum",
            ),
            (lambda x, m, s: norm.logpdf(x, m, s), "one number per pixel: sum over axis=-1"),
            (lambda x, m, s: norm.logpdf(x, m, s).sum(), "you summed over the codes too: sum over axis=-1 only"),
            (lambda x, m, s: norm.logpdf(x, m, s).sum(axis=0), "you summed over the codes, not the pixels: axis=-1"),
            (lambda x, m, s: log_likelihood(x, m, np.sqrt(s)), "s is the standard deviation: square it"),
            (
                lambda x, m, s: -0.5 * np.sum(_terms(x, m, s) + np.log(2 * np.pi * s), axis=-1),
                "s must be squared in the logarithm",
            ),
            (
                lambda x, m, s: -0.5 * np.sum((x - m) ** 2 / s + np.log(2 * np.pi * s**2), axis=-1),
                "you divided the squares by s: divide by the variance s²",
            ),
            (
                lambda x, m, s: -0.5 * (np.sum(_terms(x, m, s), axis=-1) + np.log(2 * np.pi * s**2)),
                "you added log(2πs²) only once: every pixel has it, so it belongs inside the sum",
            ),
            (lambda x, m, s: -0.5 * np.sum(_terms(x, m, s), axis=-1), "log(2πs²), which normalizes, is missing"),
            (lambda x, m, s: np.exp(log_likelihood(x, m, s)), "this is p(x|z), which underflows to 0: leave out exp"),
        ],
    ),
    "4.2": Exercise(
        title="the log of a mean",
        reference=log_mean,
        further=[
            ((np.array([-700.0, -2.0, -3.5]),), OTHER),
            ((np.array([-9000.0, -9003.0, -9001.0, 5.0, 2.0]),), EXTREME),
            ((np.array([1200.0, 1203.5]),), EXTREME),
        ],
        arguments=(LOG_VALUES,),
        at="−1003, −1000.5, −1001.2, −1004.1",
        tensors=False,
        wrong=[
            (_naive, "exp(−1000) underflows to 0, and log 0 = −∞: factor out the largest first"),
            (np.mean, "this is the mean of the logs: take the log last, outside the mean"),
            (logsumexp, "this is the log of the sum: for the mean, divide by S inside the log"),
            (lambda a: logsumexp(a) / len(a), "the division by S belongs inside the log"),
            (lambda a: log_mean(a) - np.max(a), "you factored out the largest, but did not add it back"),
            (lambda a: log_mean(a) - 2 * np.max(a), "add the largest at the end, do not subtract it"),
            (lambda a: np.mean(np.exp(a - np.max(a))) + np.max(a), "the log of the mean is missing"),
            (np.max, "this is only the largest value"),
        ],
    ),
    "4.3": Exercise(
        title="importance weights",
        reference=log_weights,
        further=[((LOG_PX[:3] + 2, Z[:3, :2] * 2, Q_MEAN[1:], Q_STD[1:]), OTHER)],
        arguments=(LOG_PX, Z, Q_MEAN, Q_STD),
        at="four samples of three dimensions",
        tensors=False,
        wrong=[
            (lambda p, z, m, s: p, "the prior and q are missing: this is right only for samples of the prior"),
            (lambda p, z, m, s: p - _log_q(z, m, s), "the prior p(z) is missing"),
            (lambda p, z, m, s: p + _log_p(z), "q is missing: without it, codes that q favours count too much"),
            (lambda p, z, m, s: _log_p(z) - _log_q(z, m, s), "the likelihood is missing: it is what you average"),
            (
                lambda p, z, m, s: p - _log_p(z) + _log_q(z, m, s),
                "upside down: p(z) is in the numerator, q in the denominator",
            ),
            (lambda p, z, m, s: p + _log_p(z) + _log_q(z, m, s), "q is in the denominator: subtract its log"),
            (lambda p, z, m, s: p - _log_p(z) - _log_q(z, m, s), "the prior is in the numerator: add its log"),
            (lambda p, z, m, s: p + _log_p(z) - _log_q(z, m, s**2), "you squared q's σ: `log_normal` does that itself"),
            (lambda p, z, m, s: p + _log_p(z) - _log_q(z, m, np.sqrt(s)), "σ is already a standard deviation: no root"),
            (lambda p, z, m, s: p + _log_q(z, m, 1) - _log_q(z, m, s), "the prior's mean is 0, not μ"),
            (lambda p, z, m, s: np.exp(log_weights(p, z, m, s)), "these are the weights: return their logarithms"),
            (
                lambda p, z, m, s: p * _log_p(z) / _log_q(z, m, s),
                "these are logarithms already: a product becomes a sum, a quotient a difference",
            ),
        ],
    ),
    "4.4": Exercise(
        title="effective sample size",
        reference=effective_sample_size,
        further=[
            ((np.array([0.5, -0.2, 0.1]),), OTHER),
            ((np.array([-9000.0, -9003.0, -9001.0, 5.0, 4.0]),), EXTREME),
            ((np.array([1200.0, 1201.5]),), EXTREME),
        ],
        arguments=(LOG_W,),
        at="log w = −1003, −1000.5, −1001.2, −1004.1, −1300",
        tensors=False,
        wrong=[
            (_unscaled_size, "exp(−1000) underflows to 0, and 0/0 is NaN: factor out the largest first"),
            (lambda a: 1 / effective_sample_size(a), "upside down: the square of the sum is the numerator"),
            (lambda a: effective_sample_size(a) / len(a), "this is a share: leave out the division by S"),
            (lambda a: np.sum(a) ** 2 / np.sum(a**2), "these are the logarithms: take exp first"),
            (lambda a: np.sum(_weights(a)), "this is Σ w / max w: divide (Σ w)² by Σ w² instead"),
            (lambda a: np.sum(_weights(a)) / np.sum(_weights(a) ** 2), "the sum in the numerator must be squared"),
            (lambda a: np.sum(_weights(a) ** 2) / np.sum(_weights(a) ** 2), "sum first, then square: (Σ w)², not Σ w²"),
            (lambda a: np.mean(_weights(a)) ** 2 / np.sum(_weights(a) ** 2), "a mean over a sum: use sums in both"),
            (len, "this is the number of samples drawn, not of those that carry the estimate"),
        ],
    ),
    "4.5": Exercise(
        title="Jensen: the ELBO",
        reference=elbo,
        further=[((np.array([-3.0, 1.5, -0.5]),), OTHER)],
        arguments=(LOG_VALUES,),
        at="log w = −1003, −1000.5, −1001.2, −1004.1",
        tensors=False,
        wrong=[
            (log_mean, "the log is still outside the mean: this estimates log p(x), not its bound"),
            (_naive, "the log is still outside the mean, and exp underflows to 0: you do not need exp here"),
            (np.sum, "an expectation is a mean, not a sum"),
            (lambda a: -np.mean(a), "the sign: this is −ELBO, the loss for training"),
            (lambda a: np.mean(np.exp(a)), "this estimates p(x), and underflows to 0: leave out exp"),
            (lambda a: np.mean(_weights(a)), "leave out exp: take the mean of the logarithms"),
            (lambda a: a, "one number per sample: return their mean"),
            (np.max, "this is only the largest log-weight"),
        ],
    ),
    "4.6": Exercise(
        title="the bug",
        reference=fixed_elbo,
        further=[((LOG_PX[:3] + 5, Q_MEAN[:2] * 2, np.array([0.3, -1.1])), OTHER)],
        arguments=(LOG_PX, Q_MEAN, np.log(Q_STD)),
        at="four samples of three dimensions",
        tensors=False,
        points=2,
        wrong=[
            (
                _with_kl(lambda m, t: np.exp(t) + m**2 - t - 1),
                "the bug is still there: what does the encoder return, and what does the formula need?",
            ),
            (_with_kl(lambda m, t: np.exp(2 * t) + m**2 - t - 1), "σ² is right now, but log σ² is not log σ either"),
            (_with_kl(lambda m, t: np.exp(t) + m**2 - 2 * t - 1), "log σ² is right now, but exp(log σ) is σ, not σ²"),
            (
                _with_kl(lambda m, t: np.exp(t) + m**2 - t**2 - 1),
                "log σ² is 2 log σ, not (log σ)²; and exp(log σ) is σ",
            ),
            (_with_kl(lambda m, t: np.exp(2 * t) + m**2 - t**2 - 1), "log σ² is 2 log σ, not (log σ)²"),
            (
                _with_kl(lambda m, t: np.exp(t / 2) + m**2 - t / 2 - 1),
                "the wrong way round: log σ² is twice log σ, not half of it",
            ),
            (lambda p, m, t: np.mean(p) - 2 * _kl(m, t), "the factor ½ has been lost"),
            (lambda p, m, t: np.mean(p) - _kl(m, t) / 3, "the KL is a sum over the dimensions, not a mean"),
            (lambda p, m, t: np.mean(p) + _kl(m, t), "subtract the KL from the likelihood term"),
            (lambda p, m, t: np.mean(p), "the KL has been lost: codes would cost nothing"),
            (lambda p, m, t: np.sum(p) - _kl(m, t), "the likelihood term was right: an expectation is a mean"),
            (lambda p, m, t: log_mean(p) - _kl(m, t), "the likelihood term was right: the mean of the logs"),
            (lambda p, m, t: _kl(m, t) - np.mean(p), "this is −ELBO: return the bound itself"),
        ],
    ),
    "4.7": Exercise(
        title="stretch: the posterior",
        reference=posterior,
        further=[(lambda answer: _named(call(answer, X[:4], W[:4, :2], B[:4] - 1, 1.5)), OTHER)],
        measure=moments,
        points=0,
        wrong=[
            (_posterior_with(lambda w, s: w.T @ w / s**2, _mean), "the prior's I is missing: this is least squares"),
            (_posterior_with(lambda w, s: np.eye(3) + w.T @ w, _mean), "WᵀW must be divided by s²"),
            (
                _posterior_with(lambda w, s: np.eye(3) + w.T @ w / s, _mean),
                "you divided WᵀW by s: divide by the variance s²",
            ),
            (
                _posterior_with(lambda w, s: np.eye(3) + w.T @ w / s, lambda c, x, w, b, s: c @ w.T @ (x - b) / s),
                "s is a standard deviation: divide by the variance s² both times",
            ),
            (
                _posterior_with(_precision, lambda c, x, w, b, s: c @ w.T @ x / s**2),
                "the covariance is right; subtract b from x first",
            ),
            (
                _posterior_with(_precision, lambda c, x, w, b, s: c @ w.T @ (x - b)),
                "the covariance is right; the mean needs the factor 1/s² too",
            ),
            (
                _posterior_with(_precision, lambda c, x, w, b, s: w.T @ (x - b) / s**2),
                "the covariance is right; the mean needs the factor Σ",
            ),
            (_precision_returned, "the mean is right; what you return as the covariance is its inverse"),
        ],
    ),
}
