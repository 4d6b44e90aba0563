"""Worksheet 5, the reparameterization trick: what is right, and what is usually wrong.

The right answers lean on SciPy's distributions. What a loss's gradient is, Keras itself says: a step of its optimizer.
"""

import keras
import numpy as np
from keras import ops
from scipy import stats

from kvae.distributions import Normal
from kvae.worksheet.exercise import Exercise

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
    """Its derivative."""
    return 2.0 * (X - 2.0 * z) / NOISE**2


# The right answers


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
    z = ops.stop_gradient(_sample(mu, log_sigma, noise))
    return -ops.mean(f(z) * log_q(z, mu, log_sigma))


def less_baseline(f_z):
    """f(z) less the mean of the others, `(samples,)`."""
    return np.array([value - np.mean(np.delete(f_z, i)) for i, value in enumerate(f_z)])


# The wrong ones


def _sample(mu, log_sigma, noise):
    return mu + ops.exp(log_sigma) * noise


def log_q(z, mu, log_sigma):
    """log N(z; μ, σ²), tensors."""
    params = ops.stack([mu + 0 * z, 2 * log_sigma + 0 * z], axis=-1)
    return Normal().log_prob(z[..., None], params)[..., 0]


def _with_score(score):
    """f(z) times another score; `score` gets z − μ and σ, and gives two columns."""
    return lambda m, t, z: f(z)[:, None] * np.stack(score(z - m, np.exp(t)), axis=-1)


def _with_path(path):
    """A gradient from `path(z, σ, ε)`, which gives two columns."""
    return lambda m, t, e: np.stack(path(m + np.exp(t) * e, np.exp(t), e), axis=-1)


def _wrong_path(m, scale, t, e):
    """The right gradient at another sample."""
    z = m + scale * e
    return np.stack([slope(z), slope(z) * np.exp(t) * e], axis=-1)


def _broken(mu, log_sigma, noise):
    z = _sample(mu, log_sigma, noise)
    return -ops.mean(f(z) * log_q(z, mu, log_sigma))


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


# What is measured


class _Loss(keras.Model):
    """(μ, log σ) as the weights of a model, because Keras gives gradients, on every backend, to `fit` alone."""

    def __init__(self, loss):
        super().__init__()
        self.loss_function = loss
        self.point = self.add_weight(shape=(2,), initializer="zeros", name="point")
        self.point.assign(POINT)

    def call(self, inputs):
        point = ops.convert_to_tensor(self.point)
        loss = self.loss_function(point[0], point[1], ops.convert_to_tensor(EPSILON))
        if loss is None or loss is Ellipsis:
            raise NotImplementedError
        self.add_loss(loss)
        return inputs


def downhill(loss):
    """Where a step of size 1 down a loss leads: minus its gradient, `(2,)`, by name."""
    model = _Loss(loss)
    model.compile(optimizer=keras.optimizers.SGD(1.0), run_eagerly=True)
    model.fit(np.zeros((1, 1), "float32"), verbose=0)
    step = ops.convert_to_numpy(model.point) - np.array(POINT, "float32")
    return {"uphill d/dμ": step[0], "uphill d/d log σ": step[1]}


EXERCISES = {
    "5.1": Exercise(
        title="the score function's gradient",
        reference=score_function,
        arguments=(MU, LOG_SIGMA, Z),
        at="four samples, μ = 0.3, log σ = −0.4",
        tensors=False,
        wrong=[
            (
                _with_score(lambda d, s: (d / s**2, (d**2 / s**2 - 1) / s)),
                "the second column is the derivative by σ; by log σ it has no 1/σ",
            ),
            (_with_score(lambda d, s: (d / s**2, d**2 / s**2)), "the −1 is missing: log q has −log σ in front"),
            (_with_score(lambda d, s: (d / s, d**2 / s**2 - 1)), "z − μ is divided by σ: by σ² in the first column"),
            (_with_score(lambda d, s: (d / s, d**2 / s - 1)), "divide by the variance σ², twice"),
            (_with_score(lambda d, s: (-d / s**2, d**2 / s**2 - 1)), "the sign of the first column: it is z − μ"),
            (_with_score(lambda d, s: (d / s**2, 1 - d**2 / s**2)), "the sign of the second column"),
            (_with_score(lambda d, s: (d**2 / s**2 - 1, d / s**2)), "the columns are swapped: μ comes first"),
            (
                lambda m, t, z: f(z)[:, None] * np.stack([(z - m) / t**2, (z - m) ** 2 / t**2 - 1], axis=-1),
                "you took log σ for σ: exp(log_sigma) comes first",
            ),
            (lambda m, t, z: score_function(m, t, z) / f(z)[:, None], "f(z) is missing: this is the score alone"),
            (
                lambda m, t, z: score_function(m, t, z) * (slope(z) / f(z))[:, None],
                "f itself belongs in front, not its derivative: that is what the other estimator takes",
            ),
            (lambda m, t, z: -score_function(m, t, z), "the sign: this is downhill"),
            (lambda m, t, z: score_function(m, t, z).mean(axis=0), "no mean yet: a row for each sample"),
            (lambda m, t, z: score_function(m, t, z).T, "one row a sample: stack along axis=-1"),
        ],
    ),
    "5.2": Exercise(
        title="the pathwise gradient",
        reference=pathwise,
        arguments=(MU, LOG_SIGMA, EPSILON),
        at="four samples, μ = 0.3, log σ = −0.4",
        tensors=False,
        wrong=[
            (_with_path(lambda z, s, e: (slope(z), slope(z) * e)), "this is the derivative by σ; by log σ it is σε"),
            (_with_path(lambda z, s, e: (slope(z), slope(z) * s)), "ε is missing in the second column: it is σε"),
            (_with_path(lambda z, s, e: (slope(z), slope(z))), "∂z/∂log σ is σε, not 1"),
            (_with_path(lambda z, s, e: (1 + 0 * z, s * e)), "f'(z) is missing: this is ∇g alone"),
            (_with_path(lambda z, s, e: (f(z), f(z) * s * e)), "f'(z) belongs in front, not f(z)"),
            (_with_path(lambda z, s, e: (slope(z) * s * e, slope(z))), "the columns are swapped: μ comes first"),
            (_with_path(lambda z, s, e: (slope(e), slope(e) * s * e)), "f' is taken at ε: at z = μ + σε"),
            (_with_path(lambda z, s, e: (slope(z), slope(z) * z)), "∂z/∂log σ is σε, without μ"),
            (lambda m, t, e: _wrong_path(m, t, t, e), "z = μ + σε: exp(log_sigma) comes first"),
            (lambda m, t, e: _wrong_path(m, np.exp(2 * t), t, e), "ε is scaled by the variance; by σ"),
            (lambda m, t, e: _wrong_path(m, np.exp(t / 2), t, e), "the parameter is log σ, not log σ²: no half"),
            (lambda m, t, e: pathwise(m, t, e).mean(axis=0), "no mean yet: a row for each sample"),
            (lambda m, t, e: -pathwise(m, t, e), "the sign: this is downhill"),
            (lambda m, t, e: pathwise(m, t, e).T, "one row a sample: stack along axis=-1"),
        ],
    ),
    "5.3": Exercise(
        title="the inverse CDF",
        reference=logistic,
        arguments=(U, np.array(1.0), np.array(0.8)),
        at="u = 0.05, 0.4, 0.9, μ = 1, s = 0.8",
        tensors=False,
        wrong=[
            (lambda u, m, s: logistic(1 - u, m, s), "mirrored: z must grow with u. Has the exponent lost its minus?"),
            (lambda u, m, s: stats.logistic.cdf(u, m, s), "this is F itself, which gives probabilities: its inverse"),
            (lambda u, m, s: m + s / (1 + np.exp(-u)), "the sigmoid is F: its inverse is log(u / (1 − u))"),
            (lambda u, m, s: logistic(u, 0, s), "the location μ is missing"),
            (lambda u, m, s: logistic(u, 0, 1) + m, "the scale s is missing"),
            (lambda u, m, s: logistic(u, 0, s) - m, "μ is added: z = μ + s log(u / (1 − u))"),
            (lambda u, m, s: m + logistic(u, 0, 1) / s, "s multiplies: it is solved for z, not for u"),
            (lambda u, m, s: s * (m + logistic(u, 0, 1)), "s multiplies the noise alone, not μ"),
            (lambda u, m, s: m + s * np.log(u), "1 − u is missing: log(u / (1 − u))"),
            (lambda u, m, s: m - s * np.log(1 - u), "this is the exponential distribution: log(u / (1 − u))"),
            (lambda u, m, s: m + s * u / (1 - u), "the logarithm is missing"),
            (stats.norm.ppf, "this is the Gaussian's inverse CDF"),
        ],
    ),
    "5.4": Exercise(
        title="the density of a composition",
        reference=log_normal_log_prob,
        arguments=(POSITIVE, np.array(0.3), np.array(0.6)),
        at="z = 0.3, 1.7, 4, μ = 0.3, σ = 0.6",
        tensors=False,
        wrong=[
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s), "the derivative dn/dz is missing: subtract log z"),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s) + np.log(z), "the sign of log z: dn/dz is 1/z, not z"),
            (lambda z, m, s: stats.norm.logpdf(z, m, s) - np.log(z), "the Gaussian is that of n = log z, not of z"),
            (lambda z, m, s: stats.norm.logpdf(z, m, s), "this is a Gaussian of z: take n = log z, and the derivative"),
            (lambda z, m, s: stats.norm.logpdf(np.exp(z), m, s) - z, "n is log z: exp leads from n to z"),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s) - z, "log(1/z) is −log z, not −z"),
            (
                lambda z, m, s: stats.norm.logpdf(np.log(z), m, s) / z,
                "1/z is a factor of q: in the logarithm, subtract",
            ),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, s**2) - np.log(z), "σ was squared: logpdf wants σ"),
            (lambda z, m, s: stats.norm.logpdf(np.log(z), m, np.sqrt(s)) - np.log(z), "σ is no variance: take no root"),
            (lambda z, m, s: np.exp(log_normal_log_prob(z, m, s)), "this is q(z): its logarithm is wanted"),
            (lambda z, m, s: -log_normal_log_prob(z, m, s), "the sign: this is −log q(z)"),
            (lambda z, m, s: np.sum(log_normal_log_prob(z, m, s)), "one number for each z: no sum"),
        ],
    ),
    "5.5": Exercise(
        title="the bug",
        reference=surrogate,
        measure=downhill,
        points=2,
        at="μ = 0.3, log σ = −0.4",
        wrong=[
            (_broken, "the bug is still there: the gradient goes through z = μ + σε"),
            (_only_f_stopped, "f is a constant now, but z in log q still moves with μ: stop z itself"),
            (_f_goes_through, "log q is right now, but f(z) still moves with μ: stop z before both"),
            (
                _log_q_stopped,
                "the wrong factor is stopped: log q is what must be differentiated, at a z that is stopped",
            ),
            (_all_stopped, "now nothing has a gradient: stop z, and leave μ and log σ of log q alone"),
            (_pathwise_loss, "this is the pathwise estimator: right, but here the score function is wanted"),
            (_without_f, "f(z) is missing: it says which samples are good"),
            (_density, "the logarithm is missing: f ∇q is a term of the integral, with samples it is f ∇log q"),
            (lambda m, t, e: -surrogate(m, t, e), "the sign: a loss is minimised, so −f log q"),
            (lambda m, t, e: 4 * surrogate(m, t, e), "a sum over the samples: their mean, however many there are"),
        ],
    ),
    "5.6": Exercise(
        title="stretch: a baseline",
        reference=less_baseline,
        arguments=(F_Z,),
        at="f = −3, −10, −0.5, −4.2",
        tensors=False,
        points=0,
        wrong=[
            (lambda a: a - np.mean(a), "the mean has the sample itself in it, which costs a bias: of the others only"),
            (lambda a: a - (np.sum(a) - a) / len(a), "there are S − 1 others: divide by that"),
            (lambda a: a - np.sum(a) / (len(a) - 1), "take your own f out of the sum, too"),
            (lambda a: (np.sum(a) - a) / (len(a) - 1), "this is the mean of the others: subtract it from f"),
            (lambda a: -less_baseline(a), "the sign: f less the baseline"),
            (lambda a: a - (np.sum(a) - a), "divide the sum of the others by their number"),
            (lambda a: a - np.median(a), "this is the median: the mean of the others is asked for"),
            (lambda a: a, "nothing was taken off"),
        ],
    ),
}
