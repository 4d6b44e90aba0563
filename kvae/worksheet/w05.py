"""Worksheet 5, the reparameterization trick: reference answers and common mistakes.

The references use SciPy's distributions.
"""

import numpy as np
from keras import ops
from scipy import stats

from kvae.distributions import Normal
from kvae.training.gradients import gradient
from kvae.worksheet.exercise import OTHER, Exercise
from kvae.worksheet.probes import compiled

X, NOISE, REST = 2.0, 0.5, -20.0  # the worksheet's toy model
MU, LOG_SIGMA = np.array(0.3), np.array(-0.4)
Z = np.array([1.5, -0.2, 0.6, 0.1])
EPSILON = np.array([0.7, -1.4, 0.2, 2.0], "float32")
U = np.array([0.05, 0.4, 0.9])
POSITIVE = np.array([0.3, 1.7, 4.0])
F_Z = np.array([-3.0, -10.0, -0.5, -4.2])
POINT = (0.3, -0.4)  # μ and log σ at which the gradient of a loss is taken


def f(z):
    """log p(x|z) of the toy model."""
    return -0.5 * ((X - 2.0 * z) / NOISE) ** 2 - float(np.log(NOISE * np.sqrt(2 * np.pi))) + REST


def slope(z):
    """Derivative of `f`."""
    return 2.0 * (X - 2.0 * z) / NOISE**2


# Reference answers


def score_function(mu, log_sigma, z):
    """f(z) ∇ log q(z), `(samples, 2)`."""
    unit = (z - mu) / np.exp(log_sigma)
    return f(z)[:, None] * np.stack([unit / np.exp(log_sigma), unit**2 - 1], axis=-1)


def pathwise(mu, log_sigma, noise):
    """f'(z) ∇ g(ε), `(samples, 2)`."""
    shift = np.exp(log_sigma) * noise
    return slope(mu + shift)[:, None] * np.stack([np.ones_like(shift), shift], axis=-1)


def logistic(u, mu, s):
    """Quantiles of the logistic distribution."""
    return stats.logistic.ppf(u, mu, s)


def log_normal_log_prob(z, mu, sigma):
    """Log-density of the log-normal."""
    return stats.lognorm.logpdf(z, sigma, scale=np.exp(mu))


def surrogate(mu, log_sigma, noise):
    """A loss whose gradient is minus the mean of f(z) ∇ log q(z)."""
    return _with_z(ops.stop_gradient(_sample(mu, log_sigma, noise)), mu, log_sigma)


def less_baseline(f_z):
    """f(z) minus the mean of the others, `(samples,)`."""
    return np.array([value - np.mean(np.delete(f_z, i)) for i, value in enumerate(f_z)])


# Common mistakes


def _sample(mu, log_sigma, noise):
    return mu + ops.exp(log_sigma) * noise


def log_q(z, mu, log_sigma):
    """log N(z; μ, σ²), tensors."""
    params = ops.stack([mu + 0 * z, 2 * log_sigma + 0 * z], axis=-1)
    return Normal().log_prob(z[..., None], params)


def _mean(m, z):
    return m + 0 * z


def _with_score(score, at=lambda m, z: z):
    """f times another score; `score` gets z − μ and σ and returns two columns."""
    return lambda m, t, z: f(at(m, z))[:, None] * np.stack(score(z - m, np.exp(t)), axis=-1)


def _with_path(path):
    """A gradient from `path(z, σ, ε)`, which returns two columns."""
    return lambda m, t, e: np.stack(path(m + np.exp(t) * e, np.exp(t), e), axis=-1)


def _wrong_path(m, scale, t, e):
    """The right gradient formula at another sample."""
    z = m + scale * e
    return np.stack([slope(z), slope(z) * np.exp(t) * e], axis=-1)


def _broken(mu, log_sigma, noise):
    return _with_z(_sample(mu, log_sigma, noise), mu, log_sigma)


def _with_z(z, mu, log_sigma):
    return -ops.mean(f(z) * log_q(z, mu, log_sigma))


def _stopped(mu, log_sigma, noise):
    return ops.stop_gradient(_sample(mu, log_sigma, noise))


def _only_f_stopped(mu, log_sigma, noise):
    z = _sample(mu, log_sigma, noise)
    return -ops.mean(ops.stop_gradient(f(z)) * log_q(z, mu, log_sigma))


def _f_goes_through(mu, log_sigma, noise):
    z = _sample(mu, log_sigma, noise)
    return -ops.mean(f(z) * log_q(ops.stop_gradient(z), mu, log_sigma))


def _log_q_stopped(mu, log_sigma, noise):
    z = _sample(mu, log_sigma, noise)
    return -ops.mean(f(z) * ops.stop_gradient(log_q(z, mu, log_sigma)))


def _all_stopped(mu, log_sigma, noise):
    return ops.stop_gradient(surrogate(mu, log_sigma, noise)) + 0 * (mu + log_sigma)


def _pathwise_loss(mu, log_sigma, noise):
    return -ops.mean(f(_sample(mu, log_sigma, noise)))


def _without_f(mu, log_sigma, noise):
    z = ops.stop_gradient(_sample(mu, log_sigma, noise))
    return -ops.mean(log_q(z, mu, log_sigma))


def _density(mu, log_sigma, noise):
    z = ops.stop_gradient(_sample(mu, log_sigma, noise))
    return -ops.mean(f(z) * ops.exp(log_q(z, mu, log_sigma)))


# What is compared


def downhill(loss, noise=EPSILON, where=POINT):
    """Minus the gradient of a loss, by coordinate, and whether it runs in a compiled step, as in the worksheet."""

    def at(point):
        value = loss(point[0], point[1], ops.convert_to_tensor(noise))
        if value is None or value is Ellipsis:
            raise NotImplementedError
        if np.ndim(value):
            raise ValueError(f"a loss is one number, not an array of shape {tuple(value.shape)}: take the mean")
        return value

    _, slope = gradient(at, np.array(where, "float32"))
    compiled(lambda *arguments: loss(*arguments), *np.array(where, "float32"), noise)
    by_mu, by_log_sigma = -ops.convert_to_numpy(slope)
    return {"uphill d/dμ": by_mu, "uphill d/d log σ": by_log_sigma}


EXERCISES = {
    "5.1": Exercise(
        title="the score function's gradient",
        reference=score_function,
        further=[((np.array(-1.2), np.array(0.5), Z[:3] + 0.4), OTHER)],
        arguments=(MU, LOG_SIGMA, Z),
        at="four samples, μ = 0.3, log σ = −0.4",
        tensors=False,
        wrong=[
            (
                _with_score(lambda d, s: (d / s**2, (d**2 / s**2 - 1) / s)),
                "the second column is the derivative by σ: the derivative by log σ has no 1/σ",
            ),
            (_with_score(lambda d, s: (d / s**2, d**2 / s**2)), "the −1 is missing: log q has −log σ in front"),
            (_with_score(lambda d, s: (d / s, d**2 / s**2 - 1)), "divide z − μ by σ², not σ, in the first column"),
            (_with_score(lambda d, s: (d / s, d**2 / s - 1)), "divide by the variance σ² in both columns"),
            (_with_score(lambda d, s: (-d / s**2, d**2 / s**2 - 1)), "the sign of the first column: it is z − μ"),
            (_with_score(lambda d, s: (d / s**2, 1 - d**2 / s**2)), "the sign of the second column"),
            (_with_score(lambda d, s: (d**2 / s**2 - 1, d / s**2)), "the columns are swapped: μ comes first"),
            (
                lambda m, t, z: f(z)[:, None] * np.stack([(z - m) / t**2, (z - m) ** 2 / t**2 - 1], axis=-1),
                "you used log σ as σ: take exp(log_sigma) first",
            ),
            (lambda m, t, z: score_function(m, t, z) / f(z)[:, None], "f(z) is missing: this is the score alone"),
            (
                lambda m, t, z: score_function(m, t, z) * (slope(z) / f(z))[:, None],
                "multiply by f itself, not by its derivative: that is the other estimator",
            ),
            (
                lambda m, t, z: f(z) * (score_function(m, t, z) / f(z)[:, None]),
                "f(z) must be a column beside the two columns of the score: f(z)[:, None]",
            ),
            (
                lambda m, t, z: (score_function(m, t, z) + (f(z)[:, None] + 1) * np.array([0, 1])) - [0, 2],
                "f(z) multiplies the whole second column: (z − μ)²/σ² − 1 in parentheses",
            ),
            (_with_score(lambda d, s: (d / s**2, d**2 / s**2 - 1), at=_mean), "f is evaluated at μ: use the samples z"),
            (
                lambda m, t, z: score_function(-m, t, z),
                "the distance from the mean is z − μ, not z + μ, in both columns",
            ),
            (lambda m, t, z: -score_function(m, t, z), "the sign: this is downhill"),
            (lambda m, t, z: score_function(m, t, z).mean(axis=0), "do not average yet: one row per sample"),
            (lambda m, t, z: score_function(m, t, z).T, "transposed: one row per sample, stack along axis=-1"),
        ],
    ),
    "5.2": Exercise(
        title="the pathwise gradient",
        reference=pathwise,
        further=[((np.array(-1.2), np.array(0.5), EPSILON[:3] - 0.3), OTHER)],
        arguments=(MU, LOG_SIGMA, EPSILON),
        at="four samples, μ = 0.3, log σ = −0.4",
        tensors=False,
        wrong=[
            (_with_path(lambda z, s, e: (slope(z), slope(z) * e)), "this is the derivative by σ: by log σ it is σε"),
            (_with_path(lambda z, s, e: (slope(z), slope(z) * s)), "ε is missing in the second column: it is σε"),
            (_with_path(lambda z, s, e: (slope(z), slope(z))), "∂z/∂log σ is σε, not 1"),
            (_with_path(lambda z, s, e: (1 + 0 * z, s * e)), "f'(z) is missing: this is ∇g alone"),
            (_with_path(lambda z, s, e: (f(z), f(z) * s * e)), "multiply by f'(z), not by f(z)"),
            (_with_path(lambda z, s, e: (slope(z) * s * e, slope(z))), "the columns are swapped: μ comes first"),
            (_with_path(lambda z, s, e: (slope(e), slope(e) * s * e)), "f' is evaluated at ε: use z = μ + σε"),
            (
                lambda m, t, e: slope(m) * pathwise(m, t, e) / slope(m + np.exp(t) * e)[:, None],
                "f' is evaluated at μ: use z = μ + σε",
            ),
            (_with_path(lambda z, s, e: (slope(z), slope(z) * z)), "∂z/∂log σ is σε, without μ"),
            (lambda m, t, e: _wrong_path(m, t, t, e), "z = μ + σε: take exp(log_sigma) first"),
            (lambda m, t, e: _wrong_path(m, np.exp(2 * t), t, e), "you scaled ε by the variance: scale it by σ"),
            (
                lambda m, t, e: _wrong_path(m, np.exp(t / 2), t, e),
                "the parameter is log σ, not log σ²: leave out the ½",
            ),
            (
                lambda m, t, e: slope(m + np.exp(t) * e) * pathwise(m, t, e),
                "f'(z) must be a column beside the two columns of ∇g: slope(z)[:, None]",
            ),
            (lambda m, t, e: pathwise(m, t, e).mean(axis=0), "do not average yet: one row per sample"),
            (lambda m, t, e: -pathwise(m, t, e), "the sign: this is downhill"),
            (lambda m, t, e: pathwise(m, t, e).T, "transposed: one row per sample, stack along axis=-1"),
        ],
    ),
    "5.3": Exercise(
        title="the inverse CDF",
        reference=logistic,
        further=[((np.array([0.2, 0.7]), np.array(-2.0), np.array(1.7)), OTHER)],
        arguments=(U, np.array(1.0), np.array(0.8)),
        at="u = 0.05, 0.4, 0.9, μ = 1, s = 0.8",
        tensors=False,
        wrong=[
            (
                lambda u, m, s: logistic(1 - u, m, s),
                "mirrored: z must increase with u. Is the exponent's minus missing?",
            ),
            (lambda u, m, s: stats.logistic.cdf(u, m, s), "this is F itself, which returns probabilities: invert it"),
            (lambda u, m, s: m + s / (1 + np.exp(-u)), "the sigmoid is F: its inverse is log(u / (1 − u))"),
            (lambda u, m, s: logistic(u, 0, s), "the location μ is missing"),
            (lambda u, m, s: logistic(u, 0, 1) + m, "the scale s is missing"),
            (lambda u, m, s: logistic(u, 0, s) - m, "add μ: z = μ + s log(u / (1 − u))"),
            (lambda u, m, s: m + logistic(u, 0, 1) / s, "multiply by s: you solve for z, not for u"),
            (lambda u, m, s: s * (m + logistic(u, 0, 1)), "multiply only the noise by s, not μ"),
            (lambda u, m, s: m - s / np.log(u / (1 - u)), "multiply the logarithm by s: z = μ + s log(u / (1 − u))"),
            (lambda u, m, s: m + s * np.log(u), "1 − u is missing: log(u / (1 − u))"),
            (lambda u, m, s: m - s * np.log(1 - u), "this is the exponential distribution: log(u / (1 − u))"),
            (lambda u, m, s: m + s * u / (1 - u), "the logarithm is missing"),
            (
                lambda u, m, s: m + s * np.log(1 / u) - 1,
                "the logarithm is that of 1/u − 1 as a whole; and solve for z once more: which sign has it?",
            ),
            (lambda u, m, s: m - s * np.log(1 / u) - 1, "the logarithm is that of 1/u − 1 as a whole: parentheses"),
            (
                lambda u, m, s: (m + np.log(u / (1 - u))) / s,
                "(z − μ)/s is the logarithm: multiply it by s, then add μ",
            ),
            (
                lambda u, m, s: m + s * np.log(u) / np.log(1 - u),
                "log(u / (1 − u)) is a difference of logarithms, not their ratio",
            ),
            (stats.norm.ppf, "this is the Gaussian's inverse CDF"),
        ],
    ),
    "5.4": Exercise(
        title="the density of a composition",
        reference=log_normal_log_prob,
        further=[((POSITIVE[:2] + 0.4, np.array(-1.0), np.array(1.8)), OTHER)],
        arguments=(POSITIVE, np.array(0.3), np.array(0.6)),
        at="z = 0.3, 1.7, 4, μ = 0.3, σ = 0.6",
        tensors=False,
        wrong=[
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s), "the derivative dn/dz is missing: subtract log z"),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s) + np.log(z), "the sign of log z: dn/dz is 1/z, not z"),
            (
                lambda z, m, s: stats.norm.logpdf(z, m, s) - np.log(z),
                "the Gaussian is the density of n = log z, not of z",
            ),
            (lambda z, m, s: stats.norm.logpdf(z, m, s), "this is a Gaussian of z: use n = log z, and the derivative"),
            (lambda z, m, s: stats.norm.logpdf(np.exp(z), m, s) - z, "n is log z: exp maps n to z"),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s) - z, "log(1/z) is −log z, not −z"),
            (
                lambda z, m, s: stats.norm.logpdf(np.log(z), m, s) / z,
                "1/z is a factor of q: in the logarithm, subtract log z",
            ),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s**2) - np.log(z), "you squared σ: logpdf takes σ"),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, np.sqrt(s)) - np.log(z), "σ is not a variance: no root"),
            (
                lambda z, m, s: -0.5 * ((np.log(z) - m) / s) ** 2 - np.log(z),
                "the Gaussian's constant is missing: −log σ − ½ log 2π",
            ),
            (
                lambda z, m, s: stats.lognorm.logpdf(z, m, s),
                "SciPy's lognorm takes σ, then a location, and exp(μ) as its scale: use norm",
            ),
            (lambda z, m, s: np.exp(log_normal_log_prob(z, m, s)), "this is q(z): return its logarithm"),
            (lambda z, m, s: -log_normal_log_prob(z, m, s), "the sign: this is −log q(z)"),
            (lambda z, m, s: np.sum(log_normal_log_prob(z, m, s)), "you summed: one number per z"),
        ],
    ),
    "5.5": Exercise(
        title="the bug",
        reference=surrogate,
        further=[(lambda answer: downhill(answer, EPSILON[:3] - 0.2, (-0.6, 0.2)), OTHER)],
        measure=downhill,
        points=2,
        at="μ = 0.3, log σ = −0.4",
        wrong=[
            (_broken, "the bug is still there: the gradient goes through z = μ + σε"),
            (_only_f_stopped, "f is a constant now, but z in log q still moves with μ: stop the gradient at z"),
            (_f_goes_through, "log q is right now, but f(z) still moves with μ: stop the gradient at z for both"),
            (
                _log_q_stopped,
                "you stopped the wrong factor: differentiate log q, at a z whose gradient is stopped",
            ),
            (_all_stopped, "nothing has a gradient now: stop it at z only, not at μ and log σ in log q"),
            (_pathwise_loss, "this is the pathwise estimator: correct, but the exercise asks for the score function"),
            (_without_f, "f(z) has no effect on the gradient: multiply each log q by it"),
            (
                lambda m, t, e: _with_z(ops.stop_gradient(m) + ops.exp(t) * e, m, t),
                "μ is a constant in z now, but σ still moves z: stop the gradient of z as a whole",
            ),
            (
                lambda m, t, e: _with_z(m + ops.stop_gradient(ops.exp(t)) * e, m, t),
                "σ is a constant in z now, but μ still moves z: stop the gradient of z as a whole",
            ),
            (
                lambda m, t, e: _with_z(ops.stop_gradient(m + t * e), m, t),
                "z = μ + σε, with σ = exp(log σ): ε is scaled by log σ here",
            ),
            (
                lambda m, t, e: -ops.mean(f(_stopped(m, t, e))) * ops.mean(log_q(_stopped(m, t, e), m, t)),
                "take the mean of the products, not the product of the means",
            ),
            (
                lambda m, t, e: -ops.mean(slope(_stopped(m, t, e)) * log_q(_stopped(m, t, e), m, t)),
                "multiply log q by f itself, not by its derivative",
            ),
            (lambda m, t, e: _with_z(e, m, t), "ε is not a sample of q: z = μ + σε, with its gradient stopped"),
            (_density, "the logarithm is missing: for samples of q, the term is f ∇log q, not f ∇q"),
            (lambda m, t, e: -surrogate(m, t, e), "the sign: a loss is minimised, so −f log q"),
            (lambda m, t, e: 4 * surrogate(m, t, e), "you summed over the samples: take the mean"),
        ],
    ),
    "5.6": Exercise(
        title="stretch: a baseline",
        reference=less_baseline,
        further=[((F_Z[1:] + 7,), OTHER)],
        arguments=(F_Z,),
        at="f = −3, −10, −0.5, −4.2",
        tensors=False,
        points=0,
        wrong=[
            (
                lambda a: a - np.mean(a),
                "this mean includes the sample itself, which makes the estimate biased: use only the others",
            ),
            (lambda a: a - (np.sum(a) - a) / len(a), "there are S − 1 others: divide by that"),
            (lambda a: a - np.sum(a) / (len(a) - 1), "remove the sample's own f from the sum too"),
            (lambda a: (np.sum(a) - a) / (len(a) - 1), "this is the mean of the others: subtract it from f"),
            (lambda a: -less_baseline(a), "the sign: f minus the baseline"),
            (lambda a: a - (np.sum(a) - a), "divide the sum of the others by their number"),
            (lambda a: a - (np.sum(a) - a) / len(a) - 1, "S − 1 is the denominator: parentheses around it"),
            (lambda a: a - np.sum(a) - a / (len(a) - 1), "the sum minus the sample is divided: parentheses around it"),
            (lambda a: a - np.max(a), "this is the largest f: use the mean of the others"),
            (lambda a: (a - np.mean(a)) / np.std(a), "only subtract a constant: a division changes the gradient"),
            (lambda a: a - np.median(a), "this is the median: use the mean of the others"),
            (lambda a: a, "nothing has been subtracted"),
        ],
    ),
}
