"""Worksheet 8, the conditional VAE: reference answers and common mistakes.

The bound uses kvae's own distributions, Bayes' rule SciPy's softmax.
"""

from typing import Any

import numpy as np
from keras import ops
from scipy.special import softmax

from kvae.distributions import Normal
from kvae.training.gradients import gradient
from kvae.worksheet.exercise import OTHER, Exercise, call
from kvae.worksheet.probes import compiled

RNG = np.random.default_rng(8)
NUM_CLASSES, SIGMA = 10, 0.2
STOPPED = "right numbers, but no gradient reaches the networks: NumPy and stop_gradient stop it. Use keras.ops"


# Reference answers


def beside(h, y):
    """[h, onehot(y)], `(batch, m + 10)`."""
    return ops.concatenate([h, ops.one_hot(y, NUM_CLASSES)], axis=-1)


def minus_elbo(encoder, decoder, x, y, noise):
    """−ELBO of each image given its label, `(batch,)`."""
    return sum(_terms(encoder, decoder, x, y, noise))


def style_by_digit(decode, z, digits):
    """Each style with each digit, `(styles, digits, d)`."""
    return np.stack([decode(z, np.full(len(z), digit)) for digit in digits], axis=1)


def style_transfer(encode, decode, x, y, digits):
    """The style of each image, encoded with its own label, with each digit, `(n, digits, d)`."""
    return style_by_digit(decode, encode(x, y), digits)


def agreement(predicted, asked):
    """Share of the images requested as k that are classified as k, `(10,)`."""
    return np.array([np.mean(predicted[asked == k] == k) for k in range(NUM_CLASSES)])


def fixed(x, y, seed):
    """Images and labels in one random order."""
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order], y[order]


def label_posterior(elbo, prior):
    """p(y|x) by Bayes' rule, `(n, 10)`."""
    return softmax(elbo + np.log(prior), axis=1)


# Common mistakes


def _numbered(h, y):
    return ops.concatenate([h, ops.cast(y, "float32")[:, None]], axis=-1)


def _terms(encoder, decoder, x, y, noise, encoded=beside, decoded=beside, scale=0.5):
    """Reconstruction and KL, each `(batch,)`; `encoded`, `decoded` append the labels, and σ = exp(scale · log σ²)."""
    params = encoder(encoded(x, y))
    z_mean, z_log_var = ops.split(params, 2, axis=-1)
    z = z_mean + ops.exp(scale * z_log_var) * noise
    normal = Normal()
    reconstruction = -Normal(sigma=SIGMA).log_prob(x, decoder(decoded(z, y)))
    return reconstruction, normal.kl_divergence(params, normal, ops.zeros_like(params))


def _alone(h, y):
    return h


def _bound(combine=lambda r, k: r + k, **changes):
    """A wrong `minus_elbo`: `combine` gets the two terms, computed with `changes`."""
    return lambda encoder, decoder, x, y, noise: combine(*_terms(encoder, decoder, x, y, noise, **changes))


def _under_targets(encode, decode, x, y, digits):
    targets = [np.full(len(x), digit) for digit in digits]
    return np.stack([decode(encode(x, target), target) for target in targets], axis=1)


def _transfer_with(encoded=None, decoded=None):
    """A wrong `style_transfer`, with other labels in the encoder or the decoder."""

    def wrong(encode, decode, x, y, digits):
        z = encode(x, y if encoded is None else encoded(y))
        return style_by_digit(decode if decoded is None else lambda z, _: decode(z, y), z, digits)

    return wrong


def _by_digit(share):
    return lambda predicted, asked: np.array([share(predicted, asked, k) for k in range(NUM_CLASSES)])


def _shuffled(x, y, seed):
    rng = np.random.default_rng(seed)
    return rng.permutation(x), rng.permutation(y)


def _with_replacement(x, y, seed):
    rows = np.random.default_rng(seed).integers(len(x), size=len(x))
    return x[rows], y[rows]


def _underflowing(elbo, prior):
    with np.errstate(invalid="ignore"):
        weights = np.exp(elbo) * prior
        return weights / weights.sum(axis=1, keepdims=True)


# What is compared


X = RNG.random((3, 6)).astype("float32")
Y = np.array([2, 0, 9])
H = RNG.normal(0, 1, (3, 4)).astype("float32")
NOISE = RNG.normal(0, 1, (3, 2)).astype("float32")
ENCODER = RNG.normal(0, 0.5, (6 + NUM_CLASSES, 4)).astype("float32")
DECODER = RNG.normal(0, 1, (2 + NUM_CLASSES, 6)).astype("float32")
DIGITS = np.array([7, 0, 4, 2])
STYLES = RNG.normal(0, 1, (3, 2))


def bounds(answer, given=None):
    """`minus_elbo` with linear networks, which also accept vectors without the label."""
    x, y, noise = (X, Y, NOISE) if given is None else given
    networks: list[Any] = [
        lambda h, w=w: ops.matmul(h, w[: h.shape[-1]]) for w in map(ops.convert_to_tensor, (ENCODER, DECODER))
    ]
    result = answer(*networks, *map(ops.convert_to_tensor, (x, y, noise)))
    if not ops.is_tensor(result):
        return result

    def total(weight):
        networks[0] = lambda h: weight * ops.matmul(h, ops.convert_to_tensor(ENCODER)[: h.shape[-1]])
        return ops.sum(answer(*networks, *map(ops.convert_to_tensor, (x, y, noise))))

    slope = gradient(total, np.float32(1))[1]
    compiled(lambda *arguments: answer(*networks, *arguments), x, y, noise)
    return {"−ELBO": result, "gradient of their sum with respect to a weight of the encoder": slope}


def encode(x, y):
    """Linear codes `(n, 2)` of images and labels."""
    _demand(x, y, 6, "pixels per image")
    return np.asarray(x) @ ENCODER[:6, :2] + ENCODER[6:, :2][y]


def decode(z, y):
    """Linear images `(n, 6)` of codes and labels."""
    _demand(z, y, 2, "numbers per code")
    return np.asarray(z) @ DECODER[:2] + DECODER[2:][y]


def _demand(h, y, width, what):
    if np.ndim(h) != 2 or np.shape(h)[1] != width:
        raise ValueError(f"expected {width} {what}, an array (n, {width}). Received: shape {np.shape(h)}")
    if np.shape(y) != (len(h),):
        raise ValueError(f"expected one label for each of the {len(h)} rows. Received: labels of shape {np.shape(y)}")


def order(answer, count=50, seeds=(0, 1)):
    """What a shuffle keeps and what it changes, as yes or no, since any random order is right."""
    y = np.arange(count)
    x = np.stack([y, y], axis=1)
    shuffled = [call(answer, x, y, seed) for seed in (*seeds, seeds[0])]
    if shuffled[0] is None or shuffled[0] is Ellipsis:
        return shuffled[0]
    if not isinstance(shuffled[0], (tuple, list)) or len(shuffled[0]) != 2:
        raise ValueError("two arrays must be returned, the images and the labels: return …, …")
    (images, labels), (other, _), (again, _) = [[np.asarray(part) for part in each] for each in shuffled]
    if images.shape != x.shape or labels.shape != y.shape:
        raise ValueError(f"images {x.shape} and labels {y.shape} were returned as {images.shape} and {labels.shape}")
    yes = {
        "does each image still have its label (1: yes)": (images[:, 0] == labels).all(),
        "are the images in a new order (1: yes)": (images != x).any(),
        "are the labels in a new order (1: yes)": (labels != y).any(),
        "are all images still present (1: yes)": np.array_equal(np.sort(images[:, 0]), y),
        "does another seed give another order (1: yes)": (images != other).any(),
        "does the same seed give the same order (1: yes)": np.array_equal(images, again),
        "are neighbours separated (1: yes)": np.mean(np.abs(np.diff(images[:, 0])) == 1) < 0.5,
    }
    return {name: int(value) for name, value in yes.items()}


ASKED = np.repeat(np.arange(NUM_CLASSES), [2, 3, 4, 5, 4, 3, 2, 3, 4, 5])
PREDICTED = np.where(RNG.random(len(ASKED)) < 0.7, ASKED, (ASKED + 3) % NUM_CLASSES)
ELBO = np.concatenate([RNG.normal(-20, 1, (3, NUM_CLASSES)), RNG.normal(-900, 1, (1, NUM_CLASSES))])
PRIOR = np.arange(1, NUM_CLASSES + 1) / 55

EXERCISES = {
    "8.1": Exercise(
        title="appending the label",
        reference=beside,
        further=[((H[:2, :3] + 1, np.array([4, 1])), OTHER)],
        arguments=(H, Y),
        at="three vectors of four numbers, y = 2, 0, 9",
        wrong=[
            (_numbered, "as a number, a 9 counts nine times as much as a 1: use one_hot with ten entries"),
            (lambda h, y: ops.concatenate([ops.one_hot(y, 10), h], axis=-1), "append the label after the vector"),
            (lambda h, y: ops.one_hot(y, 10), "this is only the label: concatenate it with h"),
            (lambda h, y: ops.concatenate([h, ops.one_hot(y, 10)], axis=0), "beside, not below: axis=-1"),
            (lambda h, y: ops.concatenate([h, y], axis=-1), "y is one number per image: use one_hot(y, 10)"),
            (lambda h, y: h, "the label is missing"),
            (lambda h, y: ops.concatenate([h, ops.one_hot(y, 9)], axis=-1), "0 to 9 are ten labels, not nine"),
            (
                lambda h, y: ops.concatenate([h, 1 - ops.one_hot(y, 10)], axis=-1),
                "a 1 at the position of the digit, 0 elsewhere",
            ),
            (
                lambda h, y: ops.concatenate([h, ops.one_hot(y - 1, 10)], axis=-1),
                "the first position is the digit 0: labels are already counted from 0",
            ),
        ],
    ),
    "8.2": Exercise(
        title="−ELBO, given the label",
        reference=minus_elbo,
        further=[(lambda answer: bounds(answer, (X[:2] - 0.5, np.array([4, 1]), NOISE[1:] * 2)), OTHER)],
        measure=bounds,
        at="three images of six pixels",
        points=2,
        wrong=[
            (_bound(decoded=_alone), "the decoder does not see the label: you could not request a digit"),
            (_bound(encoded=_alone), "the encoder does not see the label: the formula has q(z|x, y)"),
            (_bound(encoded=_alone, decoded=_alone), "neither network sees the label: this is the plain VAE"),
            (_bound(decoded=lambda z, y: beside(z, 0 * y)), "the decoder gets the label 0 for every image"),
            (_bound(lambda r, k: r), "the KL term is missing"),
            (_bound(lambda r, k: k), "the reconstruction term is missing"),
            (_bound(lambda r, k: r - k), "you subtracted the KL: −ELBO = reconstruction + KL"),
            (_bound(lambda r, k: -r - k), "this is the ELBO: return its negative, the loss"),
            (_bound(lambda r, k: ops.mean(r + k)), "one number per image: the model takes the mean over the batch"),
            (_bound(lambda r, k: ops.stop_gradient(r + k)), STOPPED),
            (_bound(scale=1.0), "you scaled ε by the variance σ²; σ = exp(½ log σ²)"),
            (
                lambda e, d, x, y, noise: minus_elbo(e, d, x, y, 0 * noise),
                "the noise is missing: the decoder must see a sample of q(z|x, y), not its mean",
            ),
        ],
    ),
    "8.3": Exercise(
        title="styles by digits",
        reference=style_by_digit,
        further=[(lambda answer: call(answer, decode, STYLES[:2], DIGITS[:3]), OTHER)],
        measure=lambda answer: call(answer, decode, STYLES, DIGITS),
        at="three styles, digits 7, 0, 4, 2",
        wrong=[
            (
                lambda f, z, k: f(np.tile(z, (len(k), 1)), np.repeat(k, len(z))).reshape(len(z), len(k), -1),
                "tile and repeat are swapped: the styles vary along a row",
            ),
            (
                lambda f, z, k: f(np.tile(z, (len(k), 1)), np.tile(k, len(z))).reshape(len(z), len(k), -1),
                "both were tiled, so not every pair occurs: repeat the styles, tile the digits",
            ),
            (
                lambda f, z, k: f(np.repeat(z, len(k), axis=0), np.repeat(k, len(z))).reshape(len(z), len(k), -1),
                "both were repeated, so not every pair occurs: repeat the styles, tile the digits",
            ),
            (
                lambda f, z, k: style_by_digit(f, z, k).swapaxes(0, 1),
                "rows are styles and columns digits, not the reverse",
            ),
            (lambda f, z, k: style_by_digit(f, z, k).reshape(12, -1), "this is a list of images: reshape it to a grid"),
            (
                lambda f, z, k: style_by_digit(f, z, np.arange(len(k))),
                "you decoded with 0, 1, 2, …: use the given digits",
            ),
            (lambda f, z, k: style_by_digit(f, z[:1].repeat(len(z), 0), k), "all rows have the first style"),
            (lambda f, z, k: f(np.repeat(z, len(k)), np.tile(k, len(z))), "repeat whole codes: np.repeat(…, axis=0)"),
            (lambda f, z, k: style_by_digit(f, z, k[:1].repeat(len(k))), "all columns have the first digit"),
        ],
    ),
    "8.4": Exercise(
        title="style transfer",
        reference=style_transfer,
        further=[(lambda answer: call(answer, encode, decode, X[:2], Y[1:], DIGITS[1:]), OTHER)],
        measure=lambda answer: call(answer, encode, decode, X, Y, DIGITS),
        at="three images, labels 2, 0, 9, under 7, 0, 4, 2",
        wrong=[
            (
                _under_targets,
                "you encoded with the requested digit: encode with the digit that the image shows, y",
            ),
            (_transfer_with(decoded=True), "you decoded each image with its own label: that is its reconstruction"),
            (_transfer_with(encoded=lambda y: 0 * y), "you encoded each image as a 0: use its own label y"),
            (
                _transfer_with(encoded=lambda y: y[::-1]),
                "images and labels do not match: the first label belongs to the first image",
            ),
            (
                lambda e, f, x, y, k: style_transfer(e, f, x, y, k).swapaxes(0, 1),
                "rows are images and columns digits, not the reverse",
            ),
            (
                lambda e, f, x, y, k: style_by_digit(f, 0 * e(x, y), k),
                "the style is that of z = 0 for every image: encode the image",
            ),
        ],
    ),
    "8.5": Exercise(
        title="label agreement",
        reference=agreement,
        further=[((np.append(PREDICTED, ASKED[:20]), np.append(ASKED, ASKED[:20])), OTHER)],
        arguments=(PREDICTED, ASKED),
        tensors=False,
        at=f"{len(ASKED)} images",
        wrong=[
            (
                _by_digit(lambda p, a, k: np.mean(a[p == k] == k)),
                "you divided by the images that the judge classified as k: divide by those requested as k",
            ),
            (lambda p, a: np.mean(p == a), "this is one number for all digits: one per digit, where asked == k"),
            (
                _by_digit(lambda p, a, k: np.mean((p == k) & (a == k))),
                "you divided by the number of all images: divide by that of digit k",
            ),
            (
                _by_digit(lambda p, a, k: np.sum((p == k) & (a == k))),
                "these are counts: divide by the number of images of digit k",
            ),
            (_by_digit(lambda p, a, k: np.mean(p[a == k] != k)), "this is the share of failures"),
            (_by_digit(lambda p, a, k: np.mean(p == k)), "this is how often the judge says k, whatever was asked for"),
            (
                _by_digit(lambda p, a, k: np.mean((p == k) == (a == k))),
                "this also counts images that were neither requested nor classified as k",
            ),
        ],
    ),
    "8.6": Exercise(
        title="the bug",
        reference=fixed,
        further=[(lambda answer: order(answer, 37, (5, 8)), OTHER)],
        measure=order,
        wrong=[
            (_shuffled, "the bug is still there: two permutations are two orders. Draw one, use it for both"),
            (
                lambda x, y, seed: (np.random.default_rng(seed).permutation(x), y),
                "only the images have moved: their labels must move with them",
            ),
            (
                lambda x, y, seed: (x, np.random.default_rng(seed).permutation(y)),
                "only the labels have moved: their images must move with them",
            ),
            (lambda x, y, seed: (x, y), "nothing is shuffled now: the first thousand are not a random subset"),
            (_with_replacement, "some images occur twice and others never: draw a permutation"),
            (lambda x, y, seed: fixed(x, y, 5), "the order is the same for every seed"),
        ],
    ),
    "8.7": Exercise(
        title="stretch: Bayes' rule",
        reference=label_posterior,
        further=[((ELBO[:2, :4] / 3, np.array([0.4, 0.3, 0.2, 0.1])), OTHER)],
        arguments=(ELBO, PRIOR),
        tensors=False,
        points=0,
        at="bounds near −20, the last row's near −900",
        wrong=[
            (lambda elbo, prior: softmax(elbo, axis=1), "p(y) is missing"),
            (_underflowing, "e^−900 underflows to 0: subtract the largest logarithm of each row before exp"),
            (
                lambda elbo, prior: softmax(elbo + np.log(prior), axis=0),
                "you summed over the images: sum over the labels, axis=1",
            ),
            (lambda elbo, prior: softmax(elbo + np.log(prior)), "you summed over images and labels: axis=1 only"),
            (
                lambda elbo, prior: softmax(np.log(prior) - elbo, axis=1),
                "the sign of the ELBO: a higher bound means a more likely label",
            ),
            (lambda elbo, prior: softmax(elbo + prior, axis=1), "add the logarithm of p(y), not p(y)"),
            (lambda elbo, prior: np.log(label_posterior(elbo, prior)), "these are logarithms: take their exp"),
            (
                lambda elbo, prior: np.exp(elbo - elbo.max(axis=1, keepdims=True)) * prior,
                "divide by the sum over the labels: probabilities sum to 1",
            ),
        ],
    ),
}
