"""Worksheet 2, autoencoders: reference answers and common mistakes.

The references use kvae's own tested loss and tied layer, SciPy, or another route to the same numbers.
"""

import keras
import numpy as np
from keras import layers, ops
from scipy.spatial.distance import cdist

from kvae.layers import TiedDense
from kvae.models.autoencoder import SquaredError
from kvae.worksheet.exercise import OTHER, Exercise
from kvae.worksheet.probes import compiled, weight_gradient

RNG = np.random.default_rng(2)
PIXELS = (1, 2, 3)
X = RNG.uniform(0, 1, (3, 2, 4, 1)).astype("float32")
X_HAT = RNG.uniform(0, 1, (3, 2, 4, 1)).astype("float32")
Z = RNG.normal(0, 1, (4, 2)).astype("float32")
W1, W2 = RNG.normal(0, 1, (5, 3)).astype("float32"), RNG.normal(0, 1, (3, 2)).astype("float32")
B1, B2 = np.array([0.3, -0.5, 0.8], "float32"), np.array([0.2, -0.4, 0.6, -0.8, 1.0], "float32")
Z_TRAIN = RNG.normal(0, 1, (5, 3)) * np.array([0.5, 2.0, 3.0]) + np.array([1.0, -2.0, 0.5])
NOISE = RNG.normal(0, 1, (4, 3))
CODES = RNG.normal(0, 2, (4, 3))


def _tied_arguments(codes, k, h, d):
    shapes = (codes, k), (d, h), (h, k), (h,), (d,)
    return tuple(np.random.default_rng(d).normal(0, 1, shape).astype("float32") for shape in shapes)


# Reference answers


def squared_error(x, x_hat):
    """‖x − x̂‖² of each image, `(batch,)`."""
    return ops.sum(SquaredError()(x, x_hat), axis=PIXELS)


class Autoencoder(keras.Model):
    """An encoder and a decoder with the squared error."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def call(self, x):
        """Reconstructions like `x`."""
        x_hat = self.decoder(self.encoder(x))
        for loss in self.terms(x, x_hat):
            self.add_loss(loss)
        return x_hat

    def terms(self, x, x_hat):
        """The registered losses."""
        return (ops.mean(squared_error(x, x_hat)),)


def decode_tied(z, w1, w2, b1, b2):
    """Reconstructions x̂ `(batch, pixels)`, with the encoder's kernels."""
    h = ops.relu(ops.einsum("bk,hk->bh", z, w2) + b1)
    return ops.einsum("bh,dh->bd", h, w1) + b2


def random_codes(z, noise):
    """Codes `(n, latent)` from a Gaussian with the mean and σ of the codes `z`."""
    return np.average(z, axis=0) + noise * np.sqrt(np.var(z, axis=0))


def nearest(z, z_train):
    """Distance of each code `(m,)` to the nearest of `z_train`."""
    return cdist(z, z_train).min(axis=1)


class Tied(TiedDense):
    """A dense layer that uses the transposed kernel of another layer."""

    def __init__(self, dense, activation=None):
        super().__init__(dense.kernel.shape[0], activation)
        self.tie_to(dense)


def interpolate(z_start, z_end, steps):
    """Codes `(steps, latent)` on the straight line, including both ends."""
    return np.linspace(z_start, z_end, int(steps))


# Common mistakes


def _decoder(h1=ops.relu, out=lambda a: a, turn=ops.transpose):
    return lambda z, w1, w2, b1, b2: out(ops.matmul(h1(ops.matmul(z, turn(w2)) + b1), turn(w1)) + b2)


def _reshaped(w):
    return ops.reshape(w, ops.shape(w)[::-1])


def _with_terms(terms):
    """An `Autoencoder` that registers something else."""

    class Wrong(Autoencoder):
        def terms(self, x, x_hat):
            return terms(x, x_hat)

    return Wrong


def _returning(what):
    """An `Autoencoder` that returns something else; `what` gets the model, x and x̂."""

    class Wrong(Autoencoder):
        def call(self, x):
            return what(self, x, super().call(x))

    return Wrong


class _TwiceDecoded(Autoencoder):
    def call(self, x):
        return super().call(self.decoder(self.encoder(x)))


class _WithoutSelf(Autoencoder):
    def call(self, x):
        return decoder(encoder(x))  # type: ignore[name-defined]  # noqa: F821


def _tied(output):
    """A tied layer with another `output` of inputs, kernel, bias, activation and the kernel at creation."""

    class Wrong(Tied):
        def __init__(self, dense, activation=None):
            super().__init__(dense, activation)
            self.first = ops.convert_to_numpy(dense.kernel)
            self.kernel_now = lambda: dense.kernel

        def call(self, h):
            return output(h, self.kernel_now(), self.bias, self.activation, self.first)

    return Wrong


# What is compared for a class


def model_outputs(model_class):
    """What a class's `call` returns and registers, for fixed linear networks of eight pixels."""
    weights = np.random.default_rng(0)

    def linear(inputs, outputs, *more):
        network = keras.Sequential([keras.Input(inputs), layers.Flatten(), layers.Dense(outputs), *more])
        network.set_weights([weights.normal(0, 0.5, w.shape) for w in network.get_weights()])
        return network

    model = model_class(linear((2, 4, 1), 2), linear((2,), 8, layers.Reshape((2, 4, 1))))
    result = {"what call returns": model(ops.convert_to_tensor(X)), "sum of the losses": sum(model.losses)}
    result["gradient of the loss with respect to the encoder's bias"] = weight_gradient(
        lambda: (model(ops.convert_to_tensor(X)), sum(model.losses))[1], model.encoder.weights[-1]
    )
    compiled(model, X)
    return result


def layer_outputs(layer_class):
    """Output of a tied layer for four codes, before and after a change of the encoder's kernel."""
    weights = np.random.default_rng(4)
    dense = layers.Dense(2)
    dense.build((None, 3))
    dense.set_weights([weights.normal(0, 1, (3, 2)), np.array([5.0, 7.0])])
    layer, h = layer_class(dense, "relu"), ops.convert_to_tensor(Z)
    layer(h)
    layer.bias.assign(np.array([0.5, -0.5, 1.0]))
    before = layer(h)
    dense.kernel.assign(weights.normal(0, 1, (3, 2)))
    return {
        "output": before,
        "output after the encoder has learnt": layer(h),
        "gradient with respect to the encoder's kernel": weight_gradient(lambda: ops.sum(layer(h)), dense.kernel),
    }


PICTURES = "three images of eight pixels"

EXERCISES = {
    "2.1": Exercise(
        title="the squared error",
        reference=squared_error,
        further=[((X[:2, :1, :3] - 0.5, X_HAT[1:, 1:, 1:] + 1), OTHER)],
        arguments=(X, X_HAT),
        at=PICTURES,
        wrong=[
            (lambda x, y: squared_error(x, y) / 8, "you averaged over the pixels: ‖·‖² is the sum of their squares"),
            (lambda x, y: ops.sqrt(squared_error(x, y)), "this is ‖x − x̂‖: leave out the root"),
            (lambda x, y: -squared_error(x, y), "the sign: the loss must be small where x and x̂ are alike"),
            (lambda x, y: ops.sum(squared_error(x, y)), "you also summed over the batch: sum over axis=(1, 2, 3)"),
            (lambda x, y: ops.mean(squared_error(x, y)), "you averaged over the batch: sum over axis=(1, 2, 3) only"),
            (lambda x, y: ops.mean(ops.square(x - y)), "you averaged over everything: sum over axis=(1, 2, 3) instead"),
            (lambda x, y: ops.square(x - y), "one number per pixel: sum over axis=(1, 2, 3)"),
            (lambda x, y: ops.sum(ops.square(x - y), axis=-1), "you summed over the channels only: axis=(1, 2, 3)"),
            (lambda x, y: ops.sum(ops.square(x - y), axis=0), "you summed over the batch, not the pixels"),
            (lambda x, y: ops.sum(ops.abs(x - y), axis=PIXELS), "you took absolute values: square the differences"),
            (lambda x, y: ops.sum(x - y, axis=PIXELS), "positive and negative differences cancel: square first"),
            (lambda x, y: ops.square(ops.sum(x - y, axis=PIXELS)), "squared after the sum: square each pixel first"),
            (
                lambda x, y: ops.sum(ops.square(x), axis=PIXELS) - ops.sum(ops.square(y), axis=PIXELS),
                "‖x‖² − ‖x̂‖² is a different number: subtract first, then square",
            ),
        ],
    ),
    "2.2": Exercise(
        title="call, with add_loss",
        reference=Autoencoder,
        measure=model_outputs,
        points=2,
        at=PICTURES,
        wrong=[
            (_with_terms(lambda x, y: ()), "no loss is registered: call self.add_loss"),
            (
                _with_terms(lambda x, y: (ops.sum(squared_error(x, y)),)),
                "you summed over the batch: take its mean, so that the batch size does not matter",
            ),
            (_with_terms(lambda x, y: (ops.mean(ops.square(x - y)),)), "also a mean over pixels: use squared_error"),
            (_with_terms(lambda x, y: (-ops.mean(squared_error(x, y)),)), "the sign: Keras minimises, so no minus"),
            (_with_terms(lambda x, y: (ops.mean(squared_error(x, y)),) * 2), "the loss is registered twice"),
            (_with_terms(lambda x, y: (ops.mean(squared_error(x, 0 * y)),)), "x̂ is not in the loss: this is ‖x‖²"),
            (_returning(lambda model, x, y: model.encoder(x)), "call returns the code z: return the reconstruction x̂"),
            (_returning(lambda model, x, y: x), "call returns x: return the reconstruction x̂"),
            (_returning(lambda model, x, y: x - y), "call returns x − x̂: return x̂"),
            (_TwiceDecoded, "x̂ was encoded and decoded again: do it once, and compare with x"),
            (_WithoutSelf, "the networks belong to the model: self.encoder and self.decoder"),
        ],
    ),
    "2.3": Exercise(
        title="a decoder with tied weights",
        reference=decode_tied,
        further=[(_tied_arguments(3, 3, 2, 4), OTHER)],
        arguments=(Z, W1, W2, B1, B2),
        at="four codes, 2 → 3 → 5",
        wrong=[
            (_decoder(h1=lambda a: a), "the relu of the hidden layer is missing: without it two layers are one"),
            (_decoder(out=ops.relu), "no relu at the end: it cuts x̂ off at 0, where its gradient is 0 too"),
            (_decoder(out=ops.sigmoid), "no sigmoid at the end: this decoder returns x̂ itself"),
            (lambda z, v, w, b, c: ops.relu(ops.matmul(z, w) + b), "w2 is `(h, k)` and z has k columns: transpose w2"),
            (
                lambda z, v, w, b, c: ops.matmul(ops.relu(ops.matmul(z, ops.transpose(w)) + b), v) + c,
                "w1 is `(d, h)` and the hidden layer has h columns: transpose w1",
            ),
            (_decoder(turn=_reshaped), "reshape gives the right shape but scrambles the weights: use ops.transpose"),
            (_decoder(turn=lambda w: np.linalg.pinv(w)), "tied means transposed, not inverted: ops.transpose"),
            (lambda z, v, w, b, c: decode_tied(z, v, w, 0 * b, c), "the bias b₁ of the hidden layer is missing"),
            (lambda z, v, w, b, c: decode_tied(z, v, w, b, 0 * c), "the bias b₂ of the output is missing"),
            (lambda z, v, w, b, c: decode_tied(z, v, w, 0 * b, 0 * c), "both biases are missing: they are not tied"),
            (
                lambda z, v, w, b, c: ops.relu(z @ ops.transpose(w)) @ ops.transpose(v) + b @ ops.transpose(v) + c,
                "add the bias b₁ before the relu",
            ),
        ],
    ),
    "2.4": Exercise(
        title="random codes",
        reference=random_codes,
        further=[((Z_TRAIN[:4, 1:] - 3, NOISE[1:, 1:]), OTHER)],
        arguments=(Z_TRAIN, NOISE),
        tensors=False,
        at="codes of three dimensions",
        wrong=[
            (lambda z, e: e, "this is N(0, I), but nothing has made the encoder put its codes there"),
            (lambda z, e: z.mean(axis=0) + z.var(axis=0) * e, "you scaled by the variance σ²: use σ, .std"),
            (lambda z, e: z.mean(axis=0) + e, "σ is missing: some dimensions are wider than others"),
            (lambda z, e: z.std(axis=0) * e, "the mean is missing: the codes need not be centred at 0"),
            (lambda z, e: z.mean() + z.std() * e, "one mean and one σ for all dimensions: axis=0 is missing"),
            (lambda z, e: z.mean(axis=0) + z.std() * e, "one σ for all dimensions: .std(axis=0)"),
            (lambda z, e: z.mean() + z.std(axis=0) * e, "one mean for all dimensions: .mean(axis=0)"),
            (lambda z, e: (z.mean(axis=0) + e) * z.std(axis=0), "scale only the noise by σ, not the mean"),
            (lambda z, e: (e - z.mean(axis=0)) / z.std(axis=0), "the wrong way round: this would standardise codes"),
        ],
    ),
    "2.5": Exercise(
        title="distance to the nearest code",
        reference=nearest,
        further=[((CODES[:3, 1:] + 1, Z_TRAIN[:4, 1:]), OTHER)],
        arguments=(CODES, Z_TRAIN),
        tensors=False,
        at="four codes, five training codes",
        wrong=[
            (lambda z, t: nearest(z, t) ** 2, "these are squared distances: take the root"),
            (lambda z, t: cdist(z, t).mean(axis=1), "you averaged over the training codes: only the nearest counts"),
            (lambda z, t: cdist(z, t).max(axis=1), "this is the farthest training code: use min"),
            (lambda z, t: cdist(z, t).min(axis=0), "one number per training code: take the minimum over those"),
            (lambda z, t: cdist(z, t).min(), "a single number: take the minimum over the training codes only"),
            (cdist, "these are all distances: take the smallest one for each code"),
            (lambda z, t: cdist(z, t).argmin(axis=1), "this says which code is nearest, not how far it is: use min"),
            (lambda z, t: cdist(z, t, "cityblock").min(axis=1), "you took absolute values: ‖·‖ has squares and a root"),
            (lambda z, t: cdist(z, t, "chebyshev").min(axis=1), "only the largest coordinate: sum all squares"),
            (
                lambda z, t: np.linalg.norm(z - t.mean(axis=0), axis=1),
                "this is the distance to the mean code: take the nearest code instead",
            ),
        ],
    ),
    "2.6": Exercise(
        title="the bug",
        reference=Tied,
        measure=layer_outputs,
        points=2,
        at="four codes",
        wrong=[
            (
                _tied(lambda h, w, b, f, first: f(h @ ops.transpose(first) + b)),
                "the bug is still there: is this the encoder's current kernel?",
            ),
            (
                _tied(lambda h, w, b, f, first: f(h @ _reshaped(w) + b)),
                "it follows the encoder now, but reshape scrambles the weights: use ops.transpose",
            ),
            (_tied(lambda h, w, b, f, first: f(ops.matmul(h, w) + b)), "transpose the kernel: ops.transpose"),
            (_tied(lambda h, w, b, f, first: f(h @ ops.transpose(w) + w[0])), "use this layer's own bias: self.bias"),
            (_tied(lambda h, w, b, f, first: f(h @ ops.transpose(w))), "it follows now; the bias is missing"),
            (
                _tied(lambda h, w, b, f, first: f(h @ ops.transpose(ops.stop_gradient(w)) + b)),
                "right numbers, but no gradient reaches the encoder: NumPy and stop_gradient stop it. Use keras.ops",
            ),
            (
                _tied(lambda h, w, b, f, first: h @ ops.transpose(w) + b),
                "it follows now; the activation is missing",
            ),
            (
                _tied(lambda h, w, b, f, first: f(h @ ops.transpose(w)) + b),
                "it follows now, but the bias belongs inside the activation",
            ),
            (
                _tied(lambda h, w, b, f, first: f((h - ops.array([5.0, 7.0])) @ ops.transpose(w) + b)),
                "it follows now, but do not subtract the encoder's bias: only the kernel is tied",
            ),
        ],
    ),
    "2.7": Exercise(
        title="stretch: from one code to another",
        reference=interpolate,
        further=[((CODES[2, :2], CODES[0, :2], np.array(7)), OTHER), ((CODES[2], CODES[0], np.array(2)), OTHER)],
        arguments=(Z_TRAIN[0], Z_TRAIN[1], np.array(4)),
        tensors=False,
        points=0,
        at="two codes, four steps",
        wrong=[
            (lambda a, b, n: interpolate(b, a, n), "the wrong way round: t = 0 is the start"),
            (lambda a, b, n: interpolate(a, b, n).T, "transposed: one row per code"),
            (
                lambda a, b, n: interpolate(a, b, n + 1)[:-1],
                "the end is missing: np.linspace(0, 1, steps) includes it",
            ),
            (lambda a, b, n: interpolate(a, b, n + 2)[1:-1], "both ends are missing: t from 0 to 1"),
            (
                lambda a, b, n: interpolate(a, a + b, n),
                "start + t · end goes past the end: (1 − t) start + t end",
            ),
            (lambda a, b, n: interpolate(0 * a, b - a, n), "these are offsets from the start: add the start"),
            (lambda a, b, n: (a + b) / 2, "only the midpoint: one code for each t"),
            (lambda a, b, n: (1 - np.linspace(0, 1, n)) * a, "make t a column, with one row per code: t[:, None]"),
        ],
    ),
}
