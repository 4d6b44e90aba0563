"""Worksheet 10, half the labels: reference answers and common mistakes.

The bounds are written by SciPy's route, a KL between q(y|x) and p(y), and not by the page's, an entropy.
"""

import numpy as np
from keras import ops

from kvae.training.gradients import gradient
from kvae.worksheet.exercise import OTHER, Exercise

RNG = np.random.default_rng(10)
NUM_CLASSES = 10


# Reference answers


def labelled(table, y, prior):
    """L(x, y), a bound on −log p(x, y), `(batch,)`."""
    rows = ops.expand_dims(ops.cast(y, "int32"), axis=-1)
    return ops.take_along_axis(table - ops.log(prior), rows, axis=-1)[:, 0]


def unlabelled(table, log_q, prior):
    """U(x), a bound on −log p(x), `(batch,)`."""
    return _mixed(table, log_q) + _mixed(log_q - ops.log(prior), log_q)


def objective(known_bounds, unknown_bounds, log_q, y, alpha):
    """J: the mean of L or U, plus α times the mean of −log q(y|x) over the labelled images."""
    bounds = ops.where(y >= 0, known_bounds, unknown_bounds)
    return ops.mean(bounds) + alpha * _chosen(-log_q, y) / ops.sum(_known(y))


def accuracy(probabilities, y):
    """Share of the images with a known label whose most probable class it is."""
    known = y >= 0
    return np.mean(probabilities[known].argmax(axis=1) == y[known])


def fixed(table, logits, prior):
    """U(x) from logits, `(batch,)`, with its whole gradient."""
    return unlabelled(table, ops.log_softmax(logits, axis=-1), prior)


def gumbel_softmax(logits, uniform, temperature):
    """A soft one-hot sample of q(y|x), `(batch, classes)`."""
    return ops.softmax((logits + _gumbel(uniform)) / temperature, axis=-1)


# Common mistakes


def _mixed(values, log_q):
    return ops.sum(ops.exp(log_q) * values, axis=-1)


def _entropy(log_q):
    return -_mixed(log_q, log_q)


def _chosen(values, y):
    """The sum, over the labelled images, of the value of their class."""
    return ops.sum(ops.one_hot(y, NUM_CLASSES) * values)


def _known(y):
    return ops.cast(y >= 0, "float32")


def _total(bound=lambda own, other, k: k * own + (1 - k) * other, reduce=ops.mean, weight=lambda a, k: a / ops.sum(k)):
    """A wrong `objective`: the bound of an image, how they are combined, and the weight of −log q(y|x)."""

    def wrong(known_bounds, unknown_bounds, log_q, y, alpha):
        known = _known(y)
        return reduce(bound(known_bounds, unknown_bounds, known)) + weight(alpha, known) * _chosen(-log_q, y)

    return wrong


def _two_means(own, other, log_q, y, alpha):
    k = _known(y)
    labelled_part = (ops.sum(k * own) + alpha * _chosen(-log_q, y)) / ops.sum(k)
    return labelled_part + ops.sum((1 - k) * other) / ops.sum(1 - k)


def _all_classified(own, other, log_q, y, alpha):
    classified = -ops.mean(ops.sum(ops.one_hot(ops.where(y >= 0, y, 9), NUM_CLASSES) * log_q, axis=-1))
    return ops.mean(ops.where(y >= 0, own, other)) + alpha * classified


def _stopped(table=lambda t: t, weights=lambda q: q):
    """A wrong `fixed` with the right values, whose gradient is stopped somewhere."""

    def wrong(t, logits, prior):
        logs = ops.log_softmax(logits, axis=-1)
        return ops.sum(weights(ops.exp(logs)) * (table(t) - ops.log(prior) + logs), axis=-1)

    return wrong


def _gumbel(uniform):
    return -ops.log(-ops.log(uniform))


def _soft(noise=_gumbel, join=lambda a, g, t: (a + g) / t, axis=-1):
    """A wrong `gumbel_softmax`: its noise, and how it enters."""
    return lambda a, u, t: ops.softmax(join(a, noise(u), t), axis=axis)


# What is compared


def log_softmax(a):
    """Logarithms of probabilities, float32."""
    return (a - np.logaddexp.reduce(a, axis=-1, keepdims=True)).astype("float32")


TABLE = RNG.uniform(20, 30, (4, NUM_CLASSES)).astype("float32")
LOG_Q = log_softmax(RNG.normal(0, 1.5, (4, NUM_CLASSES)))
SURE = log_softmax(np.concatenate([RNG.normal(0, 1.5, (3, NUM_CLASSES)), np.eye(NUM_CLASSES)[[3]] * 300]))
Y, SOME = np.array([3, 0, 9, 5]), np.array([-1, 4, -1, 7, -1])
PRIOR = (np.arange(1, NUM_CLASSES + 1) / 55).astype("float32")
MORE_TABLE, MORE_LOGITS = RNG.uniform(20, 30, (5, NUM_CLASSES)).astype("float32"), RNG.normal(0, 2, (5, NUM_CLASSES))
MORE_LOG_Q, MORE_PRIOR = log_softmax(MORE_LOGITS), np.roll(PRIOR, 4)
LOGITS, ALPHA = RNG.normal(0, 1.5, (4, NUM_CLASSES)).astype("float32"), np.float32(0.7)
PROBABILITIES = np.exp(log_softmax(RNG.normal(0, 1, (12, NUM_CLASSES)) + 2 * np.eye(NUM_CLASSES)[np.arange(12) % 10]))
SEEN = np.where(np.arange(12) % 3 == 1, -1, np.arange(12) % 10)
OWN, OTHERS = (RNG.uniform(20, 30, 5).astype("float32") for _ in "LU")
UNIFORM = RNG.uniform(0.05, 0.95, (4, NUM_CLASSES)).astype("float32")


def with_gradient(answer, table=TABLE, logits=LOGITS, prior=PRIOR):
    """U(x), and the gradient of its sum with respect to the logits of q(y|x) and to the bounds."""
    values = answer(*map(ops.convert_to_tensor, (table, logits, prior)))
    if not ops.is_tensor(values):
        return values
    _, by_table, by_logits = gradient(
        lambda t, a: ops.sum(answer(t, a, ops.convert_to_tensor(prior))), np.copy(table), np.copy(logits)
    )
    return {
        "U(x)": values,
        "gradient with respect to the logits of q(y|x)": by_logits,
        "gradient with respect to the table": by_table,
    }


FOUR = "four images and ten labels"

EXERCISES = {
    "10.1": Exercise(
        title="an image with a label",
        reference=labelled,
        arguments=(TABLE, Y, PRIOR),
        further=[((MORE_TABLE, np.array([2, 2, 0, 8, 1]), MORE_PRIOR), OTHER)],
        at=f"{FOUR}, y = 3, 0, 9, 5",
        wrong=[
            (lambda t, y, p: labelled(t, y, 0 * p + 1), "−log p(y) is missing: this bounds −log p(x|y)"),
            (lambda t, y, p: labelled(t, y, 1 / p), "the sign: subtract log p(y)"),
            (lambda t, y, p: labelled(t, y, ops.exp(p)), "subtract the logarithm of p(y), not p(y)"),
            (lambda t, y, p: -labelled(t, y, p), "the sign: L is a loss, as the table is"),
            (lambda t, y, p: labelled(t, (y + 9) % 10, p), "this is the label before: labels are counted from 0"),
            (lambda t, y, p: t - ops.log(p), "one number per image: take the column of its label"),
            (lambda t, y, p: ops.min(t - ops.log(p), axis=-1), "this is the best label: take the one that is known"),
            (lambda t, y, p: ops.mean(t - ops.log(p), axis=-1), "this is the mean over all labels: take the known one"),
            (
                lambda t, y, p: ops.sum(ops.one_hot(y, 10) * t, axis=-1) - ops.sum(ops.log(p)),
                "you subtracted log p of every label: that of y alone",
            ),
            (lambda t, y, p: ops.mean(labelled(t, y, p)), "one number per image: do not average over the batch"),
        ],
    ),
    "10.2": Exercise(
        title="an image without a label",
        reference=unlabelled,
        arguments=(TABLE, SURE, PRIOR),
        further=[((MORE_TABLE, MORE_LOG_Q, MORE_PRIOR), OTHER)],
        at=f"{FOUR}, q of the last image certain",
        points=2,
        wrong=[
            (lambda t, q, p: _mixed(t - ops.log(p), q), "the entropy is missing: subtract H, that is, add Σ q log q"),
            (
                lambda t, q, p: _mixed(t - ops.log(p), q) + _entropy(q),
                "the sign of the entropy: −H = + Σ q log q. An unsure q is rewarded",
            ),
            (lambda t, q, p: _mixed(t + ops.log(p), q) - _entropy(q), "the sign of log p(y): subtract it"),
            (
                lambda t, q, p: ops.sum(ops.exp(q) * (t - ops.log(p) + ops.log(ops.exp(q))), axis=-1),
                "log(exp(−300)) is log 0, and 0 · log 0 is not a number: log_q is the logarithm already",
            ),
            (
                lambda t, q, p: ops.mean(t - ops.log(p), axis=-1) - _entropy(q),
                "the labels are weighted equally here: weights are q(y|x) = exp(log_q)",
            ),
            (
                lambda t, q, p: ops.sum(q * (t - ops.log(p) + q), axis=-1),
                "log_q is the logarithm of the weights: q = exp(log_q)",
            ),
            (
                lambda t, q, p: ops.min(t - ops.log(p), axis=-1) - _entropy(q),
                "this takes the best label for certain: the sum over all labels, with weights q",
            ),
            (
                lambda t, q, p: -ops.logsumexp(ops.log(p) - t, axis=-1),
                "this is the bound of the best q, by Bayes' rule: here q is the classifier's",
            ),
            (lambda t, q, p: _mixed(t - ops.log(p) + q, q) / 10, "this is the mean over the labels: take the sum"),
            (lambda t, q, p: -unlabelled(t, q, p), "the sign: U is a loss, as the table is"),
            (
                lambda t, q, p: ops.exp(q) * (t - ops.log(p) + q),
                "one number per image: sum over the labels, axis=-1",
            ),
            (
                lambda t, q, p: ops.sum(ops.exp(q) * (t - ops.log(p) + q), axis=0),
                "you summed over the images: the labels are axis=-1",
            ),
            (lambda t, q, p: ops.mean(unlabelled(t, q, p)), "one number per image: do not average over the batch"),
        ],
    ),
    "10.3": Exercise(
        title="the objective",
        reference=objective,
        arguments=(OWN, OTHERS, MORE_LOG_Q, SOME, ALPHA),
        further=[((OTHERS[1:] - 3, OWN[1:], LOG_Q, np.array([-1, 0, 2, 8]), np.float32(3.0)), OTHER)],
        at="five images, labels −1, 4, −1, 7, −1",
        points=2,
        wrong=[
            (_total(weight=lambda a, k: 0.0), "−log q(y|x) is missing: nothing trains q on the labels you have"),
            (_total(weight=lambda a, k: 1.0 / ops.sum(k)), "α is missing"),
            (
                _total(weight=lambda a, k: a / k.shape[0]),
                "α weights the mean over the labelled images: divide by their number, not by that of all",
            ),
            (_total(weight=lambda a, k: a), "you summed −log q(y|x): take the mean over the labelled images"),
            (
                _total(weight=lambda a, k: -a / ops.sum(k)),
                "the sign of the classification term: −log q(y|x) is to be small",
            ),
            (_all_classified, "images without a label have no −log q(y|x): −1 is not a class"),
            (_total(lambda own, other, k: k * own), "U of the images without a label is missing"),
            (_total(lambda own, other, k: (1 - k) * other), "L of the labelled images is missing"),
            (_total(lambda own, other, k: other), "U of every image: where y is known, it is L"),
            (_total(lambda own, other, k: k * own + other), "labelled images have both L and U: L only"),
            (_total(lambda own, other, k: (1 - k) * own + k * other), "L and U are swapped: L where y ≥ 0"),
            (_total(reduce=ops.sum), "you summed the bounds over the batch: take the mean"),
            (_two_means, "one mean over all images: as it is, each labelled image weighs more than another"),
            (
                _total(reduce=lambda b: ALPHA * ops.mean(b)),
                "α weights −log q(y|x) alone, not the bounds",
            ),
            (_total(reduce=lambda b: b), "one number: take the mean of the bounds over the batch"),
        ],
    ),
    "10.4": Exercise(
        title="accuracy",
        reference=accuracy,
        arguments=(PROBABILITIES, SEEN),
        further=[((np.exp(MORE_LOG_Q), np.array([-1, -1, 3, 6, 0])), OTHER)],
        tensors=False,
        at="twelve images, eight of them with labels",
        wrong=[
            (
                lambda q, y: np.mean(q.argmax(axis=1) == y),
                "images without a label count as wrong here: leave them out",
            ),
            (
                lambda q, y: np.mean((q.argmax(axis=1) == y) | (y < 0)),
                "images without a label count as right here: leave them out",
            ),
            (lambda q, y: np.sum(q.argmax(axis=1) == y), "this is a number of images: divide by that of the labelled"),
            (
                lambda q, y: np.mean(q[y >= 0].argmin(axis=1) == y[y >= 0]),
                "argmin is the least probable label: argmax",
            ),
            (
                lambda q, y: np.mean(q[y >= 0].max(axis=1)),
                "this is how certain q is: compare its most probable label with y",
            ),
            (
                lambda q, y: np.mean(q[y >= 0, y[y >= 0]]),
                "this is the mean probability of the right label: count how often it is the most probable",
            ),
            (
                lambda q, y: (q[y >= 0].argmax(axis=1) == y[y >= 0]).astype(float),
                "one entry per image: take their mean",
            ),
            (lambda q, y: np.mean(q[y > 0].argmax(axis=1) == y[y > 0]), "0 is a label too: known are y ≥ 0"),
        ],
    ),
    "10.5": Exercise(
        title="the bug",
        reference=fixed,
        measure=with_gradient,
        further=[(lambda answer: with_gradient(answer, MORE_TABLE, MORE_LOGITS.astype("float32"), MORE_PRIOR), OTHER)],
        at=FOUR,
        points=2,
        wrong=[
            (
                _stopped(weights=ops.stop_gradient),
                "the bug is still there: the values are right, but they teach the classifier nothing",
            ),
            (
                _stopped(table=ops.stop_gradient),
                "the classifier learns now, but encoder and decoder do not: the table is not a constant",
            ),
            (
                lambda t, a, p: unlabelled(t, a, p),
                "the logits are not logarithms of probabilities yet: log_softmax comes first",
            ),
            (
                lambda t, a, p: unlabelled(t, ops.log_softmax(a, axis=0), p),
                "the probabilities of an image sum to 1 over the labels: axis=-1",
            ),
            (
                lambda t, a, p: _mixed(t - ops.log(p), ops.log_softmax(a)),
                "the entropy is missing: it was right before",
            ),
            (
                lambda t, a, p: labelled(t, ops.argmax(a, axis=-1), p),
                "the most probable label for certain has no gradient either: the sum over all labels",
            ),
            (lambda t, a, p: ops.mean(fixed(t, a, p)), "one number per image: do not average over the batch"),
        ],
    ),
    "10.6": Exercise(
        title="stretch: a label drawn, with a gradient",
        reference=gumbel_softmax,
        arguments=(LOGITS, UNIFORM, np.float32(0.6)),
        further=[((MORE_LOGITS[:3].astype("float32"), UNIFORM[1:] / 2, np.float32(1.7)), OTHER)],
        points=0,
        at=f"{FOUR}, τ = 0.6",
        wrong=[
            (_soft(noise=lambda u: 0 * u), "the noise is missing: this is the same each time"),
            (_soft(noise=lambda u: -_gumbel(u)), "the sign of the noise: g = −log(−log u)"),
            (_soft(noise=lambda u: -ops.log(u)), "one logarithm is missing: g = −log(−log u)"),
            (_soft(noise=lambda u: u), "the noise is uniform here: g = −log(−log u)"),
            (_soft(join=lambda a, g, t: a + g), "the temperature is missing"),
            (_soft(join=lambda a, g, t: (a + g) * t), "divide by τ: a low temperature makes the sample hard"),
            (_soft(join=lambda a, g, t: a + g / t), "τ divides the sum, logits and noise"),
            (_soft(join=lambda a, g, t: (ops.softmax(a) + g) / t), "add the noise to the logits, not to probabilities"),
            (_soft(axis=0), "the weights of an image sum to 1 over the labels: axis=-1"),
            (
                lambda a, u, t: (a + _gumbel(u)) / t,
                "the softmax is missing: the weights must be positive and sum to 1",
            ),
            (
                lambda a, u, t: ops.one_hot(ops.argmax(a + _gumbel(u), axis=-1), NUM_CLASSES),
                "argmax draws the label but has no gradient: softmax",
            ),
        ],
    ),
}
