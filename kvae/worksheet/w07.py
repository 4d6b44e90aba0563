"""Worksheet 7, tighter bounds and collapse: reference answers and common mistakes.

The references use kvae's bounds and distributions, which are tested against SciPy.
"""

import keras
import numpy as np
from keras import ops

from kvae import bounds
from kvae.distributions import Normal
from kvae.models import VAE
from kvae.worksheet.exercise import EXTREME, OTHER, Exercise

Z_MEAN = np.array([[0.5, -1.0, 2.0], [0.3, 1.0, -0.5], [1.2, 0.1, -0.3], [-0.7, 0.4, 0.9]], "float32")
Z_LOG_VAR = np.log(np.array([[4.0, 0.25, 1.2], [0.5, 2.0, 9.0], [0.8, 0.3, 1.7], [0.1, 0.6, 2.5]], "float32"))
LOG_W = np.array([[-103.0, -4.0], [-100.5, -7.5], [-101.2, -2.0]], "float32")  # exp(−103) underflows in float32
KL = np.array([[0.1, 0.9, 0.0], [0.5, 2.1, 0.2]], "float32")  # the means of two dimensions are below 0.4 nats
MORE_LOG_W = np.array(
    [[-2, -3, 1, 0.5], [-1, 2, -4, -6.5], [0.3, -2.5, 3, 1.2], [-8, 0.7, -1, 2], [-3, 1, 4, -1.5]], "float32"
)
ALPHA, NATS = np.float32(0.3), np.float32(0.4)
EPOCHS, TARGET = 4, 2.0


# Reference answers


def warmup(epoch, epochs, target):
    """β in an epoch."""
    return target * min(1.0, epoch / epochs)


def kl_per_dimension(z_mean, z_log_var):
    """KL of each dimension, `(latent,)`."""
    return ops.mean(_kl(z_mean, z_log_var), axis=0)


def importance_weighted(log_w):
    """Log of the mean weight, `(batch,)`."""
    return bounds.log_mean_exp(log_w)


def renyi(log_w, alpha):
    """The Rényi bound, `(batch,)`."""
    return bounds.log_mean_exp((1 - alpha) * log_w) / (1 - alpha)


class Warmup(keras.callbacks.Callback):
    """Raises the model's β to `target` within `epochs` epochs."""

    def __init__(self, epochs, target):
        super().__init__()
        self.epochs = epochs
        self.target = target

    def on_epoch_begin(self, epoch, logs=None):
        """Set the model's β."""
        self.model.beta.assign(warmup(epoch, self.epochs, self.target))


def free_bits(kl, nats):
    """Sum over the dimensions of max(λ, mean KL), a number."""
    return ops.sum(ops.maximum(ops.mean(kl, axis=0), nats))


# Common mistakes


def _kl(z_mean, z_log_var):
    """The KL of each image and dimension, `(batch, latent)`."""
    normal, params = Normal(), ops.concatenate([z_mean, z_log_var], axis=-1)
    return normal.elementwise_kl(params, normal, ops.zeros_like(params))


def _kl_with(terms):
    return lambda m, v: 0.5 * ops.mean(terms(m, v), axis=0)


def _naive(log_w):
    return ops.log(ops.mean(ops.exp(log_w), axis=0))


class _Frozen(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta = warmup(epoch, self.epochs, self.target)


class _Late(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        self.model.beta.assign(warmup(epoch, self.epochs, self.target))


class _OneAhead(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(warmup(epoch + 1, self.epochs, self.target))


class _Own(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.beta = warmup(epoch, self.epochs, self.target)


class _Added(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(self.model.beta + warmup(epoch, self.epochs, self.target))


class _AtOnce(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(self.target)


class _NoEnd(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(self.target * epoch / self.epochs)


class _Swapped(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(warmup(epoch, self.target, self.epochs))


class _NoTarget(Warmup):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(warmup(epoch, self.epochs, 1.0))


# What is compared


def schedule(answer, epochs=EPOCHS, target=TARGET):
    """β in some epochs of a warm-up."""
    when = {"epoch 0": 0, "epoch 1": 1, "epoch 3": 3, "an epoch after it": epochs + 2}
    values = {f"β in {name}": answer(epoch, epochs, target) for name, epoch in when.items()}
    unusual = [value for value in values.values() if value is None or value is Ellipsis]
    return unusual[0] if unusual else values


def beta_in_effect(callback_class):
    """β in each epoch, computed from the loss of a small VAE, with a warm-up of 3 epochs to ½."""
    weights = np.random.default_rng(0)

    def linear(inputs, outputs, *more):
        network = keras.Sequential([keras.Input(inputs), keras.layers.Flatten(), keras.layers.Dense(outputs), *more])
        network.set_weights([weights.normal(0, 0.5, w.shape) for w in network.get_weights()])
        return keras.Model(network.inputs, network.outputs)

    model = VAE(linear((2, 2, 1), 4), linear((2,), 4, keras.layers.Reshape((2, 2, 1))), seed=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    x = weights.integers(0, 2, (4, 2, 2, 1)).astype("float32")
    curves = model.fit(x, epochs=5, verbose=0, callbacks=[callback_class(3, 0.5)]).history
    rows = zip(curves["loss"], curves["reconstruction_loss"], curves["kl_loss"], strict=True)
    return {f"β in effect in epoch {e}": np.float32((loss - rec) / kl) for e, (loss, rec, kl) in enumerate(rows)}


EXERCISES = {
    "7.1": Exercise(
        title="warm-up",
        reference=warmup,
        further=[(lambda answer: schedule(answer, 7, 0.3), OTHER)],
        measure=schedule,
        at="a warm-up of 4 epochs to 2",
        wrong=[
            (lambda e, n, b: b * e / n, "it must stop at the target: min(1, …)"),
            (lambda e, n, b: b * min(1, (e + 1) / n), "epochs are counted from 0: the first one has β = 0"),
            (lambda e, n, b: min(1, e / n), "it rises to 1: multiply by the target"),
            (
                lambda e, n, b: min(b, e / n),
                "it stops at the target, but its slope is that of a target of 1: multiply by the target instead",
            ),
            (lambda e, n, b: b * min(1, e // n), "// rounds down, so β jumps: divide with /"),
            (lambda e, n, b: b * max(1, e / n), "max instead of min: this is never below the target"),
            (lambda e, n, b: b * (1 - min(1, e / n)), "this falls: β must rise from 0"),
            (lambda e, n, b: b, "this is β without a warm-up"),
            (lambda e, n, b: b * min(1, e), "the number of epochs is missing: e / E"),
        ],
    ),
    "7.2": Exercise(
        title="KL of each dimension",
        reference=kl_per_dimension,
        further=[((Z_MEAN[:3, :2] - 1, Z_LOG_VAR[1:, 1:]), OTHER)],
        arguments=(Z_MEAN, Z_LOG_VAR),
        at="four images, three dimensions",
        wrong=[
            (lambda m, v: 2 * kl_per_dimension(m, v), "the factor ½ is missing"),
            (
                lambda m, v: ops.sum(_kl(m, v), axis=-1),
                "you summed over the dimensions, as in worksheet 6: average over the images, axis=0",
            ),
            (
                lambda m, v: ops.mean(_kl(m, v), axis=-1),
                "you averaged over the dimensions: average over the images, axis=0",
            ),
            (lambda m, v: ops.sum(_kl(m, v), axis=0), "you summed over the images: take their mean"),
            (lambda m, v: ops.mean(_kl(m, v)), "you averaged over everything: one number per dimension, axis=0"),
            (lambda m, v: ops.sum(_kl(m, v)) / 4, "this is the total KL: one number per dimension"),
            (_kl, "one number per image and dimension: take the mean over the images, axis=0"),
            (_kl_with(lambda m, v: v + m**2 - v - 1), "you used log σ² as σ²: take exp(z_log_var) first"),
            (_kl_with(lambda m, v: ops.exp(0.5 * v) + m**2 - v - 1), "exp(½ log σ²) is σ; the formula has σ²"),
            (_kl_with(lambda m, v: ops.exp(v) + m - v - 1), "μ must be squared"),
            (_kl_with(lambda m, v: ops.exp(v) + m**2 - v), "the −1 is missing: a collapsed dimension must have 0"),
            (_kl_with(lambda m, v: ops.exp(v) + m**2 + v - 1), "the sign of log σ²: subtract it"),
            (
                lambda m, v: ops.var(m, axis=0),
                "this is the variance of the means, another measure of whether a dimension is used: compute the KL",
            ),
        ],
    ),
    "7.3": Exercise(
        title="the importance-weighted bound",
        reference=importance_weighted,
        further=[((MORE_LOG_W,), OTHER), ((30 * MORE_LOG_W - 900,), EXTREME)],
        arguments=(LOG_W,),
        at="three samples, two images",
        wrong=[
            (lambda w: ops.mean(w, axis=0), "this is the ELBO: take the log after the mean, not before it"),
            (
                lambda w: ops.logsumexp(w, axis=0),
                "this is the log of the sum, which rises without limit: subtract log S for the mean",
            ),
            (lambda w: ops.logsumexp(w, axis=0) / 3, "1/S is inside the log: subtract log S"),
            (lambda w: ops.logsumexp(w, axis=0) + np.log(3.0), "the sign of log S: 1/S gives −log S"),
            (
                lambda w: ops.logsumexp(w, axis=0) - np.log(2.0),
                "S is the number of samples, log_w.shape[0]: you used the batch size",
            ),
            (lambda w: ops.logsumexp(w, axis=0) - 3.0, "subtract log S, not S"),
            (_naive, "exp(−103) underflows in float32: use ops.logsumexp"),
            (
                lambda w: ops.logsumexp(w, axis=-1) - np.log(2.0),
                "you averaged over the images: the samples are axis=0",
            ),
            (
                lambda w: ops.mean(importance_weighted(w)),
                "one number per image: leave the mean over the batch to the model",
            ),
            (lambda w: ops.logsumexp(w) - np.log(6.0), "one number per image: axis=0 only"),
            (lambda w: ops.max(w, axis=0), "this is only the largest weight (α = −∞): use all of them"),
            (lambda w: -importance_weighted(w), "the sign: return the bound itself, not the loss"),
        ],
    ),
    "7.4": Exercise(
        title="the Rényi bound",
        reference=renyi,
        further=[((MORE_LOG_W, np.float32(-2.0)), OTHER), ((30 * MORE_LOG_W - 900, np.float32(0.6)), EXTREME)],
        arguments=(LOG_W, ALPHA),
        at="three samples, two images, α = 0.3",
        wrong=[
            (lambda w, a: importance_weighted(w), "α has no effect: this is the case α = 0"),
            (lambda w, a: importance_weighted((1 - a) * w), "divide by 1 − α at the end"),
            (lambda w, a: importance_weighted(w) / (1 - a), "the exponent is missing: (1 − α) log w, before the mean"),
            (lambda w, a: importance_weighted(a * w) / a, "the exponent is 1 − α, not α"),
            (lambda w, a: importance_weighted((1 - a) * w) / a, "the exponent is right: divide by 1 − α, not by α"),
            (lambda w, a: importance_weighted(a * w) / (1 - a), "the division is right: the exponent is 1 − α, not α"),
            (lambda w, a: importance_weighted((1 - a) * w) * (1 - a), "you multiplied by 1 − α: divide by it"),
            (lambda w, a: ops.mean(w, axis=0), "this is the ELBO, the limit α → 1"),
            (
                lambda w, a: ops.logsumexp((1 - a) * w, axis=0) / (1 - a),
                "a sum instead of a mean: subtract log S before you divide",
            ),
            (
                lambda w, a: ops.logsumexp((1 - a) * w, axis=0) / (1 - a) - np.log(3.0),
                "log S must be divided by 1 − α too: first the log of the mean, then divide",
            ),
            (lambda w, a: -renyi(w, a), "the sign: divide by 1 − α, not by α − 1"),
            (lambda w, a: renyi(w, -a), "the sign of α: the exponent is 1 − α, not 1 + α"),
            (lambda w, a: ops.mean(renyi(w, a)), "one number per image: do not average over the batch"),
        ],
    ),
    "7.5": Exercise(
        title="the bug",
        reference=Warmup,
        measure=beta_in_effect,
        at="a warm-up of 3 epochs to ½",
        points=2,
        seconds=60.0,
        wrong=[
            (
                _Frozen,
                "still frozen: you replace model.beta, but the compiled step keeps the first value. Assign to it",
            ),
            (_Own, "this sets the callback's own beta: set self.model.beta"),
            (_Late, "one epoch late: set β before the epoch, in on_epoch_begin"),
            (_OneAhead, "one epoch early: epochs are already counted from 0"),
            (_Added, "you added to the previous β: assign the new value"),
            (_AtOnce, "no warm-up: β is at its target from the start"),
            (_NoEnd, "β rises beyond its target: use your warmup"),
            (_NoTarget, "it rises to 1: pass self.target to warmup"),
            (_Swapped, "epochs and target are swapped: warmup(epoch, self.epochs, self.target)"),
        ],
    ),
    "7.6": Exercise(
        title="stretch: free bits",
        reference=free_bits,
        further=[((MORE_LOG_W**2, np.float32(7.0)), OTHER)],
        arguments=(KL, NATS),
        at="two images, three dimensions, λ = 0.4",
        points=0,
        wrong=[
            (
                lambda k, n: ops.mean(ops.sum(ops.maximum(k, n), axis=-1)),
                "first the mean over the images, then the max",
            ),
            (
                lambda k, n: ops.maximum(ops.sum(ops.mean(k, axis=0)), n),
                "no nats are free, this is the plain KL: take the max per dimension, before the sum",
            ),
            (lambda k, n: ops.sum(ops.minimum(ops.mean(k, axis=0), n)), "min instead of max: this caps the cost"),
            (
                lambda k, n: ops.sum(ops.maximum(ops.mean(k, axis=0) - n, 0.0)),
                "the gradient is right, the value is not: max(λ, KL), not max(0, KL − λ)",
            ),
            (lambda k, n: ops.mean(ops.maximum(ops.mean(k, axis=0), n)), "sum over the dimensions, do not average"),
            (lambda k, n: ops.maximum(ops.mean(k, axis=0), n), "one number per dimension: sum them"),
            (lambda k, n: ops.sum(ops.maximum(ops.sum(k, axis=0), n)), "take the mean over the images, not their sum"),
            (
                lambda k, n: ops.sum(ops.maximum(ops.mean(k, axis=-1), n)),
                "you averaged over axis=-1: the images are axis=0",
            ),
        ],
    ),
}
