"""Worksheet 6, a VAE in Keras: reference answers and common mistakes.

The references use kvae's own distributions, which are tested against SciPy. After them come the building blocks of the
wrong answers, what is compared for a model, and the table.
"""

import keras
import numpy as np
from keras import ops

from kvae.distributions import Bernoulli, Normal
from kvae.worksheet.exercise import OTHER, Exercise
from kvae.worksheet.probes import compiled, weight_gradient

Z_MEAN = np.array([[0.5, -1.0, 2.0], [0.0, 1.0, -0.5]], "float32")
Z_LOG_VAR = np.log(np.array([[4.0, 0.25, 1.0], [0.5, 2.0, 9.0]], "float32"))
NOISE = np.array([[1.0, -2.0, 0.5], [-1.0, 1.5, 2.0]], "float32")
X = np.random.default_rng(6).integers(0, 2, (2, 3, 3, 1)).astype("float32")
Z = Z_MEAN + np.exp(0.5 * Z_LOG_VAR) * NOISE
X_LOGITS = np.random.default_rng(7).normal(0, 2, (2, 3, 3, 1)).astype("float32")
PIXELS = (1, 2, 3)
EXTREME_LOGITS = "log(sigmoid(a)) in two steps is log 0 at a = −200: compute with the logits, from_logits=True"


def sample(z_mean, z_log_var, noise):
    """z = μ + σ ⊙ ε, `(batch, latent)`."""
    return z_mean + ops.exp(0.5 * z_log_var) * noise


def kl(z_mean, z_log_var):
    """KL(q(z|x) ‖ N(0, I)), `(batch,)`."""
    normal, params = Normal(), ops.concatenate([z_mean, z_log_var], axis=-1)
    return normal.kl_divergence(params, normal, ops.zeros_like(params))


def reconstruction(x, x_logits):
    """−log p(x|z), `(batch,)`."""
    return -Bernoulli().log_prob(x, x_logits, event_ndim=len(PIXELS))


class VAE(keras.Model):
    """Encoder, decoder, and the two terms of −ELBO."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.seed_generator = keras.random.SeedGenerator(0)
        self.loss_tracker = keras.metrics.Mean(name="mean_loss")

    def call(self, x):
        """Pixel means `(batch, height, width, 1)`."""
        z_mean, z_log_var, z = self.code(x)
        x_logits = self.decoder(z)
        for loss in self.terms(x, x_logits, z_mean, z_log_var):
            self.add_loss(loss)
        return ops.sigmoid(x_logits)

    def code(self, x):
        """μ, log σ² and a sample z of q(z|x)."""
        z_mean, z_log_var = ops.split(self.encoder(x), 2, axis=-1)
        noise = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return z_mean, z_log_var, sample(z_mean, z_log_var, noise)

    def terms(self, x, x_logits, z_mean, z_log_var):
        """Reconstruction and KL, means over the batch."""
        return ops.mean(reconstruction(x, x_logits)), ops.mean(kl(z_mean, z_log_var))


class TrainableVAE(VAE):
    """A VAE with Keras's own training step."""

    def train_step(self, x):
        """One step of the optimizer on a batch."""
        return {"loss": super().train_step(x)["loss"]}


def minus_elbo(x, x_logits, z_mean, z_log_var):
    """−ELBO of each example, `(batch,)`: the broken model's loss without the bug."""
    return reconstruction(x, x_logits) + kl(z_mean, z_log_var)


def log_ratio(z, z_mean, z_log_var):
    """log q(z|x) − log p(z), `(batch,)`."""
    normal, params = Normal(), ops.concatenate([z_mean, z_log_var], axis=-1)
    return normal.log_prob(z, params) - normal.log_prob(z, ops.zeros_like(params))


def _kl_terms(z_mean, z_log_var):
    """The KL of each dimension, `(batch, latent)`."""
    return 0.5 * (ops.exp(z_log_var) + z_mean**2 - z_log_var - 1)


def _kl_with(terms):
    return lambda m, v: 0.5 * ops.sum(terms(m, v), axis=-1)


def _per_pixel(x, x_logits):
    return -Bernoulli().elementwise_log_prob(x, x_logits)


def _weighted(a, b):
    return lambda x, x_logits, m, v: a * reconstruction(x, x_logits) + b * kl(m, v)


def _log_normal(z, z_mean, z_log_var):
    return Normal().elementwise_log_prob(z, ops.concatenate([z_mean, z_log_var], axis=-1))


class _MeanDecoded(VAE):
    def code(self, x):
        z_mean, z_log_var, _ = super().code(x)
        return z_mean, z_log_var, z_mean


class _NoiseDecoded(VAE):
    def code(self, x):
        z_mean, z_log_var, _ = super().code(x)
        return z_mean, z_log_var, keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)


class _PerExample(VAE):
    def terms(self, x, x_logits, z_mean, z_log_var):
        return reconstruction(x, x_logits), kl(z_mean, z_log_var)


class _SigmoidBefore(VAE):
    def terms(self, x, x_logits, z_mean, z_log_var):
        return super().terms(x, ops.sigmoid(x_logits), z_mean, z_log_var)


class _VarianceForLogVariance(VAE):
    def terms(self, x, x_logits, z_mean, z_log_var):
        return super().terms(x, x_logits, z_mean, ops.exp(z_log_var))


def _with_terms(terms):
    """A `VAE` that registers other losses; `terms` gets the two right ones."""

    class Wrong(VAE):
        def terms(self, *arguments):
            return terms(*super().terms(*arguments))

    return Wrong


def _with_objective(objective):
    """A `TrainableVAE` that minimises something else; `objective` gets the losses."""

    class Wrong(TrainableVAE):
        def compute_loss(self, *args, **kwargs):
            return objective(self.losses)

    return Wrong


class _NoUpdate(TrainableVAE):
    def train_step(self, x):
        return self.test_step(x)


class _ByHand(TrainableVAE):
    def compile(self, optimizer, **kwargs):
        super().compile(keras.optimizers.SGD(optimizer.learning_rate), **kwargs)


class _HalfLogged(TrainableVAE):
    def train_step(self, x):
        return {"loss": super().train_step(x)["loss"] / 2}


class _Swapped(TrainableVAE):
    def train_step(self, x):
        self.optimizer.apply(self.trainable_variables, [ops.zeros(v.shape) for v in self.trainable_variables])


class _OutsideTheTape(TrainableVAE):
    def train_step(self, x):
        variables = self.trainable_variables
        self.optimizer.apply([None] * len(variables), variables)  # the gradients of a tape that has not seen the loss


class _DecoderOnly(TrainableVAE):
    @property
    def trainable_weights(self):  # the weights that Keras's own step updates
        return self.decoder.trainable_weights


def networks():
    """An encoder and a decoder for eight pixels, without hidden layers and with fixed weights."""
    weights = np.random.default_rng(0)

    def linear(inputs, outputs, *more):
        network = keras.Sequential([keras.Input(inputs), keras.layers.Flatten(), keras.layers.Dense(outputs), *more])
        network.set_weights([weights.normal(0, 0.5, w.shape) for w in network.get_weights()])
        return network

    return linear((2, 4, 1), 4), linear((2,), 8, keras.layers.Reshape((2, 4, 1)))


IMAGES = np.random.default_rng(1).integers(0, 2, (2, 2, 4, 1)).astype("float32")


def losses(model_class, images=None):
    """What a class's `call` registers with `add_loss`, with a decoder that ignores z and with one that does not."""
    encoder, decoder = networks()
    model = model_class(encoder, decoder)
    x = ops.convert_to_tensor(IMAGES if images is None else images)
    kernel, bias = decoder.get_weights()
    decoder.set_weights([0 * kernel, bias])  # so that the noise has no effect
    model(x)
    fixed = sum(model.losses)
    slope = weight_gradient(lambda: (model(x), sum(model.losses))[1], encoder.weights[-1])
    decoder.set_weights([kernel, bias])
    calls = []
    for _ in range(2):
        model(x)
        calls.append(float(sum(model.losses)))
    compiled(model, IMAGES)
    to_code, offset = encoder.get_weights()
    certain = np.array([True, True, False, False])  # log σ² is −60 for every image, so that z is μ
    encoder.set_weights([to_code * certain, np.where(certain, offset, -60.0)])
    with_code = (model(x), sum(model.losses))[1]
    decoder.set_weights([0 * kernel, bias])
    return {
        "sum of the losses": fixed,
        "what z = μ adds to the losses": with_code - (model(x), sum(model.losses))[1],  # the KL cancels
        "does the loss change with the noise (1: yes)": float(calls[0] != calls[1]),
        "gradient of the loss with respect to the encoder's bias": slope,
    }


def step(model_class, images=None):
    """What one `train_step` logs, and how far it moves the two networks."""
    encoder, decoder = parts = networks()
    model = model_class(encoder, decoder)
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.5, nesterov=True))
    before = [network.get_weights()[1] for network in parts]
    logs = model.train_step(ops.convert_to_tensor(IMAGES if images is None else images))
    if not isinstance(logs, dict):
        return None
    moved = [network.get_weights()[1] - bias for network, bias in zip(parts, before, strict=True)]
    return {"loss in the logs": logs.get("loss"), "change of the decoder": moved[1], "change of the encoder": moved[0]}


CODES = "two codes of three dimensions"
PICTURES = "two images of nine pixels"

EXERCISES = {
    "6.1": Exercise(
        title="a sample of q(z|x)",
        reference=sample,
        further=[((Z_MEAN[:1, :2] - 1, Z_LOG_VAR[:1, 1:] / 2, NOISE[:1, :2] + 0.3), OTHER)],
        arguments=(Z_MEAN, Z_LOG_VAR, NOISE),
        at="μ = 0.5, σ² = 4, ε = 1",
        wrong=[
            (lambda m, v, e: m + ops.exp(v) * e, "you scaled ε by the variance σ²; σ = exp(½ log σ²)"),
            (lambda m, v, e: m + v * e, "you scaled ε by log σ² itself; σ = exp(½ log σ²)"),
            (lambda m, v, e: m + 0.5 * v * e, "½ log σ² is log σ, not yet σ: take its exp"),
            (
                lambda m, v, e: m + ops.sqrt(v) * e,
                "the encoder returns log σ²: σ is exp(½ log σ²), not a root",
            ),
            (lambda m, v, e: m + ops.exp(-0.5 * v) * e, "the sign of the exponent: exp(−½ log σ²) is 1/σ"),
            (
                lambda m, v, e: m + ops.softplus(v) * e,
                "softplus belongs to another encoder: ours returns log σ²",
            ),
            (lambda m, v, e: m, "the noise is missing: this is the mean, the same code every time"),
            (lambda m, v, e: ops.exp(0.5 * v) * e, "the mean μ is missing"),
            (lambda m, v, e: m + e, "σ is missing: the noise must be as wide as the posterior"),
        ],
    ),
    "6.2": Exercise(
        title="KL(q(z|x) ‖ p(z))",
        reference=kl,
        further=[((Z_MEAN[:1, 1:] * 3, Z_LOG_VAR[:1, :2] - 1), OTHER)],
        arguments=(Z_MEAN, Z_LOG_VAR),
        at=CODES,
        wrong=[
            (lambda m, v: 2 * kl(m, v), "the factor ½ is missing"),
            (lambda m, v: -kl(m, v), "the sign: a KL divergence is never negative"),
            (lambda m, v: kl(m, v) / 3, "you averaged over the latent dimensions: independent dimensions need a sum"),
            (_kl_terms, "one number per dimension: sum over the last axis, axis=-1"),
            (lambda m, v: ops.sum(kl(m, v)), "you summed over the batch too: one number per example, axis=-1"),
            (lambda m, v: ops.mean(kl(m, v)), "you averaged over the batch too: one number per example, axis=-1"),
            (lambda m, v: ops.sum(_kl_terms(m, v), axis=0), "you summed over the batch, not the dimensions: axis=-1"),
            (
                lambda m, v: ops.sum(0.5 * ops.exp(v) + m**2 - v - 1, axis=-1),
                "the ½ is a factor of the whole bracket, not only of σ²",
            ),
            (_kl_with(lambda m, v: v + m**2 - v - 1), "you used log σ² as σ²: take exp(z_log_var) first"),
            (_kl_with(lambda m, v: ops.exp(0.5 * v) + m**2 - v - 1), "exp(½ log σ²) is σ; the formula has σ²"),
            (_kl_with(lambda m, v: ops.exp(v) + m - v - 1), "μ must be squared"),
            (_kl_with(lambda m, v: ops.exp(v) + m**2 - v), "the −1 is missing: at μ = 0, σ = 1 the KL must be 0"),
            (_kl_with(lambda m, v: ops.exp(v) + m**2 + v - 1), "the sign of log σ²: subtract it"),
        ],
    ),
    "6.3": Exercise(
        title="−log p(x|z), Bernoulli",
        reference=reconstruction,
        further=[((1 - X[:1, :2, :1], X_LOGITS[:1, 1:, 2:] - 1), OTHER), ((X, 100 * X_LOGITS), EXTREME_LOGITS)],
        arguments=(X, X_LOGITS),
        at=PICTURES,
        wrong=[
            (lambda x, a: -reconstruction(x, a), "the sign: this is log p(x|z), and the loss is its negative"),
            (lambda x, a: reconstruction(x, a) / 9, "you averaged over the pixels: log p(x|z) is their sum"),
            (_per_pixel, "one number per pixel: sum over axis=(1, 2, 3)"),
            (lambda x, a: ops.sum(reconstruction(x, a)), "you summed over the batch too: sum over axis=(1, 2, 3)"),
            (lambda x, a: ops.mean(reconstruction(x, a)), "you averaged over the batch too: sum over axis=(1, 2, 3)"),
            (
                lambda x, a: ops.mean(_per_pixel(x, a)),
                "this is a mean over pixels and images: sum over axis=(1, 2, 3), and keep the batch",
            ),
            (lambda x, a: ops.sum(ops.binary_crossentropy(x, a), axis=PIXELS), "these are logits: from_logits=True"),
            (lambda x, a: keras.losses.binary_crossentropy(x, a, from_logits=True), "keras.losses average: use ops"),
            (
                lambda x, a: reconstruction(x, ops.sigmoid(a)),
                "sigmoid applied twice: from_logits=True takes logits",
            ),
            (
                lambda x, a: ops.sum(x * ops.softplus(-a), axis=PIXELS),
                "(1 − x) log(1 − π) is missing: the black pixels",
            ),
            (lambda x, a: ops.sum((1 - x) * ops.softplus(a), axis=PIXELS), "x log π is missing: the white pixels"),
            (
                lambda x, a: ops.sum((x - ops.sigmoid(a)) ** 2, axis=PIXELS),
                "this is for a Gaussian likelihood with real-valued pixels",
            ),
        ],
    ),
    "6.4": Exercise(
        title="call, with add_loss",
        reference=VAE,
        further=[(lambda answer: losses(answer, IMAGES[:1]), OTHER)],
        measure=losses,
        points=2,
        wrong=[
            (_with_terms(lambda r, k: ()), "no loss is registered: call self.add_loss on each term"),
            (_with_terms(lambda r, k: (r,)), "the KL term is missing"),
            (_with_terms(lambda r, k: (k,)), "the reconstruction term is missing"),
            (_with_terms(lambda r, k: (r, -k)), "you subtracted the KL: −ELBO = reconstruction + KL"),
            (_with_terms(lambda r, k: (-r, -k)), "this is the ELBO; Keras minimises, so register its negative"),
            (_with_terms(lambda r, k: (r, k, k)), "the KL is registered twice"),
            (_with_terms(lambda r, k: (2 * r, 2 * k)), "you summed over the batch: take the mean"),
            (_MeanDecoded, "z does not change with the noise: decode a sample of q(z|x), not its mean"),
            (_NoiseDecoded, "z does not come from the encoder: z = sample(z_mean, z_log_var, noise)"),
            (_PerExample, "a loss is one number: take the mean over the batch, ops.mean(…)"),
            (_SigmoidBefore, "reconstruction takes logits: leave out the sigmoid before it"),
            (_VarianceForLogVariance, "kl takes log σ², as the encoder returns it: leave out exp"),
        ],
    ),
    "6.5": Exercise(
        title="train_step",
        reference=TrainableVAE,
        further=[(lambda answer: step(answer, 1 - IMAGES[1:]), OTHER)],
        measure=step,
        points=2,
        wrong=[
            (_NoUpdate, "nothing moved: pass the gradients to self.optimizer.apply"),
            (_ByHand, "leave the step to the optimizer, which may do more than subtract: self.optimizer.apply"),
            (_HalfLogged, "loss must be the sum of the two losses, a number: sum(self.losses)"),
            (_Swapped, "apply takes the gradients first, then the variables"),
            (_OutsideTheTape, "call the model and sum its losses inside the `with` block of the tape"),
            (_DecoderOnly, "the encoder did not move: take the gradients of all self.trainable_variables"),
            (
                _with_objective(lambda losses: -sum(losses)),
                "the loss increases: minimise sum(self.losses), without a minus",
            ),
            (_with_objective(lambda losses: losses[0]), "one term only: the loss is sum(self.losses)"),
            (
                _with_objective(lambda losses: sum(losses) / 2),
                "the mean of the two losses is half of −ELBO: take their sum",
            ),
        ],
    ),
    "6.6": Exercise(
        title="the bug",
        reference=minus_elbo,
        further=[
            ((1 - X[:1, :2, :1], X_LOGITS[:1, 1:, 2:] - 1, Z_MEAN[1:, :2], Z_LOG_VAR[:1, 1:]), OTHER),
            ((X, 100 * X_LOGITS, Z_MEAN, Z_LOG_VAR), EXTREME_LOGITS),
        ],
        arguments=(X, X_LOGITS, Z_MEAN, Z_LOG_VAR),
        at=PICTURES,
        wrong=[
            (_weighted(1 / 9, 1), "the bug is still there: how are the pixels combined, and how the dimensions?"),
            (_weighted(1 / 9, 1 / 9), "both terms are in nats per pixel now: use sums in both instead"),
            (
                lambda x, a, m, v: 784 * ops.mean(_per_pixel(x, a), axis=PIXELS) + kl(m, v),
                "not every image has 784 pixels: a sum in place of 784 · mean",
            ),
            (_weighted(1, 1 / 3), "the pixels are right now, but the KL was right before: a sum, not a mean"),
            (_weighted(1, 0), "without the KL it is an autoencoder: random codes decode to anything"),
            (_weighted(1, -1), "add the KL: −ELBO = reconstruction + KL"),
        ],
    ),
    "6.7": Exercise(
        title="stretch: log q(z|x) − log p(z)",
        reference=log_ratio,
        further=[((Z[:1, :2] + 1, Z_MEAN[:1, 1:], Z_LOG_VAR[1:, :2]), OTHER)],
        arguments=(Z, Z_MEAN, Z_LOG_VAR),
        points=0,
        at=CODES,
        wrong=[
            (lambda z, m, v: -log_ratio(z, m, v), "the sign: log q comes first"),
            (lambda z, m, v: log_ratio(z, m, v) + 0.5 * ops.sum(v, axis=-1), "the term −½ log σ² of log q is missing"),
            (lambda z, m, v: ops.sum(_log_normal(z, m, v), axis=-1), "the prior is missing: subtract log p(z)"),
            (lambda z, m, v: 0.5 * ops.sum(z**2 - (z - m) ** 2 - v, axis=-1), "divide (z − μ)² by the variance σ²"),
            (lambda z, m, v: kl(m, v), "this is exercise 6.2's closed form: evaluate both densities at z"),
            (lambda z, m, v: _log_normal(z, m, v) - _log_normal(z, 0 * m, 0 * v), "sum over the dimensions, axis=-1"),
        ],
    ),
}
