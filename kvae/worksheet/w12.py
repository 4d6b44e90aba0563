"""Worksheet 12, a learned similarity: reference answers and common mistakes.

The shapes are those of a Keras layer, the feature loss uses kvae's own distributions, which are tested against SciPy.
"""

from types import SimpleNamespace

import keras
import numpy as np
from keras import ops

from kvae.distributions import Normal
from kvae.worksheet.exercise import EXTREME, OTHER, Exercise, call

RNG = np.random.default_rng(12)
NETWORKS = ("encoder", "decoder", "discriminator")


# Reference answers


def convolution(height, width, channels, filters, kernel, stride):
    """Height, width and channels of a convolution's output, and the number of its parameters."""
    layer = keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", data_format="channels_last")
    layer.build((None, height, width, channels))
    return (*layer.compute_output_shape((None, height, width, channels))[1:], layer.count_params())


def discriminator_loss(real, decoded, drawn):
    """−log D(x) − log(1 − D(x̃)) − log(1 − D(x_p)) from logits, `(batch,)`."""
    return ops.softplus(-real) + ops.softplus(decoded) + ops.softplus(drawn)


def feature_loss(real, decoded):
    """−log N(D_l(x) | D_l(x̃), I), `(batch,)`."""
    return -Normal(sigma=1.0).log_prob(real, decoded, event_ndim=3)


def network_losses(kl, feature, fooling, judging, beta, gamma):
    """The losses of the encoder, the decoder and the discriminator, each `(batch,)`."""
    return beta * kl + feature, gamma * feature + fooling, judging


def updates(losses, encoder, decoder, discriminator):
    """Which loss moves which variables, a list of pairs."""
    networks = (encoder, decoder, discriminator)
    return [(loss, network.trainable_variables) for loss, network in zip(losses, networks, strict=True)]


def progression(codes, has, z, steps):
    """Codes z moved along the attribute's direction, `(n, steps, latent)`."""
    return z[:, None] + steps[:, None] * _direction(codes, has)


# Common mistakes


def _shaped(side=lambda h, k, s: -(-h // s), depth=lambda c, f: f, count=lambda c, f, k, h: (k * k * c + 1) * f):
    """A wrong `convolution`: the length of a side, the depth, and the number of parameters."""
    return lambda h, w, c, f, k, s: (side(h, k, s), side(w, k, s), depth(c, f), count(c, f, k, h))


def _counted(count):
    return _shaped(count=lambda c, f, k, h: count(c, f, k))


def _naive(real, decoded, drawn):
    d = [ops.sigmoid(each) for each in (real, decoded, drawn)]
    return -ops.log(d[0]) - ops.log(1 - d[1]) - ops.log(1 - d[2])


def _judged(a=1.0, b=1.0, c=1.0, combine=lambda loss: loss):
    """A wrong `discriminator_loss`: weights of its terms."""
    return lambda real, decoded, drawn: combine(
        a * ops.softplus(-real) + b * ops.softplus(decoded) + c * ops.softplus(drawn)
    )


def _compared(distance=ops.square, weight=0.5, constant=lambda m: 0.5 * m * np.log(2 * np.pi), axis=(1, 2, 3)):
    """A wrong `feature_loss`: weight · Σ distance(difference) + constant(number of features)."""

    def wrong(real, decoded):
        return weight * ops.sum(distance(real - decoded), axis=axis) + constant(np.prod(real.shape[1:]))

    return wrong


def _wrong(encoder=None, decoder=None, discriminator=None):
    """A wrong `network_losses`: other losses of some networks."""

    def wrong(*terms):
        changed = [each and each(*terms) for each in (encoder, decoder, discriminator)]
        right = network_losses(*terms)
        return tuple(new if new is not None else old for new, old in zip(changed, right, strict=True))

    return wrong


def _moved(*who):
    """A wrong `updates`: for each loss, the networks that it moves, as letters e, d, D."""

    def wrong(losses, encoder, decoder, discriminator):
        networks = {"e": encoder, "d": decoder, "D": discriminator}
        moved = [[v for letter in letters for v in networks[letter].trainable_variables] for letters in who]
        return list(zip(losses, moved, strict=True))

    return wrong


def _direction(codes, has):
    return codes[has].mean(axis=0) - codes[~has].mean(axis=0)


def _along(direction):
    return lambda codes, has, z, steps: z[:, None] + steps[:, None] * direction(codes, has)


# What is compared

REAL = np.array([2.0, -0.5, -120.0], "float32")  # sigmoid(−120) is 0 in float32
DECODED, DRAWN = np.array([-1.5, 0.8, -3.0], "float32"), np.array([0.3, -0.7, 1.9], "float32")
FEATURES, OTHERS = (RNG.normal(0, 1, (3, 2, 3, 4)).astype("float32") for _ in "ab")
TERMS = tuple(RNG.uniform(1, 5, 3) for _ in range(4))
CODES, HAS, START = RNG.normal(0, 1, (7, 2)), np.array([1, 0, 0, 1, 1, 0, 0], bool), RNG.normal(0, 1, (3, 2))
STEPS = np.array([-1.0, 0.0, 0.5, 2.0])
OUTPUT = ("height", "width", "channels", "number of parameters")


def parts(result, names, what):
    """A tuple of results by name; `None` and blanks as they are."""
    if not isinstance(result, (tuple, list)):
        return result
    for each in result:
        if each is None or each is Ellipsis:
            return each
    if len(result) != len(names):
        raise ValueError(f"{what} must be returned: {', '.join(names)}. Received: {len(result)}")
    return dict(zip(names, result, strict=True))


def shapes(answer, *sizes):
    """What an answer to 12.1 returns for one convolution."""
    return parts(answer(*sizes), OUTPUT, "four numbers")


def three_losses(answer, terms=TERMS, beta=0.3, gamma=0.7):
    """What an answer to 12.4 returns."""
    return parts(call(answer, *terms, beta, gamma), [f"loss of the {name}" for name in NETWORKS], "three losses")


def who_moves_whom(answer):
    """Which network's variables each loss moves, as yes or no."""
    networks = [SimpleNamespace(trainable_variables=[f"{name} kernel", f"{name} bias"]) for name in NETWORKS]
    losses = tuple(f"loss of the {name}" for name in NETWORKS)
    pairs = answer(losses, *networks)
    if pairs is None or pairs is Ellipsis:
        return pairs
    moves = {(loss, name): 0 for loss in losses for name in NETWORKS}
    for pair in pairs:
        loss, variables = pair
        if loss not in losses:
            raise ValueError("the first of each pair must be one of the three losses: for loss, network in zip(…)")
        if not isinstance(variables, (list, tuple)):
            raise ValueError("the second of each pair must be a list of variables: network.trainable_variables")
        for variable in variables:
            moves[loss, str(variable).split()[0]] = 1
    return {f"does the {loss} move the {name} (1: yes)": moves[loss, name] for loss, name in moves}


EXERCISES = {
    "12.1": Exercise(
        title="the shape of a convolution",
        reference=convolution,
        measure=lambda answer: shapes(answer, 7, 10, 3, 16, 4, 2),
        further=[(lambda answer: shapes(answer, 9, 4, 2, 5, 3, 3), OTHER)],
        at="an image of 7 × 10 pixels and 3 channels, 16 filters of 4 × 4, stride 2",
        wrong=[
            (_shaped(lambda h, k, s: h // s), 'padding="same" rounds up: −(−7 // 2) = 4'),
            (_shaped(lambda h, k, s: (h - k) // s + 1), 'this is for padding="valid": with "same" it is ⌈h / s⌉'),
            (_shaped(lambda h, k, s: h), "the stride is missing: it leaves out every other position"),
            (_shaped(lambda h, k, s: h * s), "this is a transposed convolution: a stride makes the output smaller"),
            (lambda h, w, c, f, k, s: convolution(w, h, c, f, k, s), "height and width are swapped"),
            (_shaped(depth=lambda c, f: c), "each filter gives one channel: as many channels as filters"),
            (_counted(lambda c, f, k: k * k * c * f), "the biases are missing: one per filter"),
            (_counted(lambda c, f, k: (k * k + 1) * f), "each filter has weights for every channel of its input"),
            (_counted(lambda c, f, k: (k * c + 1) * f), "a kernel is square: k² weights per channel"),
            (
                _shaped(count=lambda c, f, k, h: (k * k * c + 1) * f * h * h),
                "the same weights are used at every position: the size of the image does not matter",
            ),
        ],
    ),
    "12.2": Exercise(
        title="the discriminator's loss",
        reference=discriminator_loss,
        arguments=(REAL, DECODED, DRAWN),
        further=[((DRAWN[:2], REAL[:2] - 1, DECODED[1:]), OTHER), ((-60 * DRAWN, 90 * DECODED, REAL), EXTREME)],
        at="three images, one with a logit of −120",
        wrong=[
            (_naive, "log sigmoid(−120) is log 0 in float32: −log sigmoid(a) = softplus(−a)"),
            (_judged(combine=lambda loss: -loss), "the sign: this is a log-likelihood, and the loss is its negative"),
            (
                lambda a, b, c: ops.softplus(a) + ops.softplus(-b) + ops.softplus(-c),
                "real and fake are swapped: D(x) should become 1, D of what is decoded 0",
            ),
            (lambda a, b, c: discriminator_loss(-a, b, c), "−log D(x) is softplus(−a): this is −log(1 − D(x))"),
            (lambda a, b, c: discriminator_loss(a, -b, -c), "for decoded images it is −log(1 − D), softplus(a)"),
            (_judged(c=0.0), "the images decoded from the prior are missing"),
            (_judged(b=0.0), "the reconstructions are missing"),
            (_judged(a=0.0), "the real images are missing"),
            (_judged(b=0.5, c=0.5), "the two kinds of fakes have half their weight: the formula is a plain sum"),
            (_judged(combine=ops.mean), "one number per image: leave the mean over the batch to the model"),
            (
                lambda a, b, c: ops.square(a - 1) + ops.square(b) + ops.square(c),
                "these are squares, as in the least-squares GAN: here it is the cross-entropy",
            ),
            (
                lambda a, b, c: ops.relu(1 - a) + ops.relu(1 + b) + ops.relu(1 + c),
                "this is the hinge loss: here it is the cross-entropy",
            ),
            (lambda a, b, c: ops.sigmoid(-a) + ops.sigmoid(b) + ops.sigmoid(c), "the logarithms are missing"),
        ],
    ),
    "12.3": Exercise(
        title="likelihood of features",
        reference=feature_loss,
        arguments=(FEATURES, OTHERS),
        further=[((FEATURES[:2, :, 1:] + 1, OTHERS[1:, :, :2]), OTHER)],
        at="three images with 2 × 3 × 4 features",
        wrong=[
            (_compared(constant=lambda m: 0.0), "the constant of the density is missing: (m/2) ln 2π"),
            (_compared(constant=lambda m: 0.5 * np.log(2 * np.pi)), "the constant occurs once per feature: m of them"),
            (_compared(weight=1.0), "the factor ½ of the squared difference is missing"),
            (_compared(distance=ops.abs), "these are absolute differences: square them"),
            (_compared(weight=0.5 / 24), "you averaged the squares over the features: sum them"),
            (lambda a, b: -feature_loss(a, b), "the sign: this is the log-density, and the loss is its negative"),
            (
                _compared(weight=-0.5),
                "the sign of the squares: the further apart the features, the larger the loss",
            ),
            (
                _compared(axis=-1, constant=lambda m: 2 * np.log(2 * np.pi)),
                "sum over axis=(1, 2, 3), not only the last",
            ),
            (
                lambda a, b: -Normal(sigma=1.0).elementwise_log_prob(a, b),
                "one number per image: sum over axis=(1, 2, 3)",
            ),
            (lambda a, b: ops.mean(feature_loss(a, b)), "you averaged over the images too: axis=(1, 2, 3)"),
            (
                lambda a, b: ops.sqrt(ops.sum(ops.square(a - b), axis=(1, 2, 3))),
                "this is the distance: the density has half its square, and a constant",
            ),
        ],
    ),
    "12.4": Exercise(
        title="which gradient goes where",
        reference=network_losses,
        measure=three_losses,
        further=[(lambda answer: three_losses(answer, TERMS[::-1], 2.0, 0.1), OTHER)],
        at="three images, β = 0.3, γ = 0.7",
        points=2,
        wrong=[
            (
                _wrong(encoder=lambda k, f, o, j, b, g: b * k + f + o),
                "the encoder has no part in the GAN: it would hide in x̃ what is hard to draw",
            ),
            (_wrong(encoder=lambda k, f, o, j, b, g: f), "the encoder's KL is missing: its codes must fit the prior"),
            (
                _wrong(encoder=lambda k, f, o, j, b, g: b * k),
                "the encoder's feature loss is missing: codes say nothing",
            ),
            (_wrong(encoder=lambda k, f, o, j, b, g: k + f), "β is missing in the encoder's loss"),
            (_wrong(encoder=lambda k, f, o, j, b, g: b * k + g * f), "γ belongs to the decoder's loss only"),
            (_wrong(decoder=lambda k, f, o, j, b, g: f + o), "γ is missing in the decoder's loss"),
            (_wrong(decoder=lambda k, f, o, j, b, g: f + g * o), "γ weights the feature loss, not the GAN's"),
            (_wrong(decoder=lambda k, f, o, j, b, g: g * f), "without the GAN's term nothing makes the decoder sharp"),
            (_wrong(decoder=lambda k, f, o, j, b, g: o), "the feature loss is missing: x̃ need not resemble x"),
            (
                _wrong(decoder=lambda k, f, o, j, b, g: g * f - j),
                "−judging has hardly a gradient while D still wins: use fooling, −log D",
            ),
            (_wrong(decoder=lambda k, f, o, j, b, g: g * f + j), "this decoder helps D: its GAN term is fooling"),
            (_wrong(decoder=lambda k, f, o, j, b, g: g * f + o + b * k), "the decoder has no part in the KL"),
            (_wrong(discriminator=lambda k, f, o, j, b, g: o), "D is not to be fooled: its loss is judging"),
            (
                _wrong(discriminator=lambda k, f, o, j, b, g: j + f),
                "D must not minimise the feature loss: features that are always 0 would do",
            ),
            (lambda *terms: network_losses(*terms)[::-1], "the order is encoder, decoder, discriminator"),
            (
                lambda *terms: (sum(network_losses(*terms)),) * 3,
                "one sum for all three: then D would learn to be fooled. A loss of its own for each",
            ),
        ],
    ),
    "12.5": Exercise(
        title="the bug",
        reference=updates,
        measure=who_moves_whom,
        at="three networks",
        wrong=[
            (_moved("e", "dD", "D"), "the bug is still there: whose loss moves the discriminator?"),
            (_moved("e", "d", "dD"), "now the discriminator's loss moves the decoder, which would help it to judge"),
            (_moved("ed", "d", "D"), "the encoder's loss moves the decoder too: it has a loss of its own"),
            (_moved("eD", "d", "D"), "the encoder's loss moves the discriminator: features that are always 0 would do"),
            (_moved("e", "ed", "D"), "the decoder's loss moves the encoder too: the encoder has no part in the GAN"),
            (_moved("edD", "edD", "edD"), "every loss moves everything: that is one sum for all three"),
            (_moved("e", "d", ""), "nothing trains the discriminator now"),
            (_moved("e", "", "D"), "nothing trains the decoder now"),
            (_moved("e", "D", "d"), "decoder and discriminator have each other's loss"),
            (
                lambda losses, *networks: list(zip(losses, networks, strict=True)),
                "a network is not a list of its variables",
            ),
        ],
    ),
    "12.6": Exercise(
        title="stretch: the progression of an attribute",
        reference=progression,
        arguments=(CODES, HAS, START, STEPS),
        further=[((CODES[:5] * 2, ~HAS[:5], START[:2] - 1, STEPS[1:]), OTHER)],
        tensors=False,
        points=0,
        at="three codes, four steps",
        wrong=[
            (_along(lambda c, h: -_direction(c, h)), "the direction leads away from the attribute: with − without"),
            (_along(lambda c, h: c[h].mean(axis=0)), "this leads to the mean of those with it: subtract the others'"),
            (_along(lambda c, h: c[h].mean(axis=0) - c.mean(axis=0)), "subtract the mean of those without, not of all"),
            (_along(lambda c, h: c[h].sum(axis=0) - c[~h].sum(axis=0)), "take the means of the codes, not their sums"),
            (
                _along(lambda c, h: _direction(c, h) / np.linalg.norm(_direction(c, h))),
                "the direction has length 1 here: do not divide by its length",
            ),
            (
                lambda c, h, z, t: progression(c, h, z, t).swapaxes(0, 1),
                "rows are codes and columns steps, (n, steps, latent), not the reverse",
            ),
            (lambda c, h, z, t: progression(c, h, 0 * z, t), "z is missing: each row starts at its own code"),
            (lambda c, h, z, t: progression(c, h, z, 0 * t + 1), "the steps are missing: every column is the same"),
            (lambda c, h, z, t: (1 - t[:, None]) * z[:, None] + t[:, None] * _direction(c, h), "add to z, do not mix"),
        ],
    ),
}
