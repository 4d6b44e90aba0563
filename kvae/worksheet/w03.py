"""Worksheet 3, shaping the energy: reference answers and common mistakes.

The references use SciPy, scikit-learn, and kvae's own tested loss and slopes.
"""

import keras
import numpy as np
from keras import ops
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from kvae.models.autoencoder import SquaredError
from kvae.penalties import SLOPES
from kvae.training.gradients import gradient
from kvae.worksheet.exercise import OTHER, Exercise, as_tensor, call

RNG = np.random.default_rng(3)
POINTS = RNG.normal(0, 2, (6, 2))
CENTRES = RNG.normal(0, 2, (3, 2))
ENERGIES = np.array([0.1, 0.4, 0.2, 3.0, 1.5])
ELSEWHERE = np.array([0.3, 2.0, 5.0, 0.45, 0.9, 9.0, 0.15])
X, NOISE = RNG.normal(0, 1, (3, 2)).astype("float32"), RNG.normal(0, 1, (3, 2)).astype("float32")
H = RNG.uniform(0.1, 0.9, (2, 4)).astype("float32")
KERNEL = RNG.normal(0, 1, (3, 4)).astype("float32")
IMAGES, ATOMS = RNG.normal(0, 1, (3, 5)), RNG.normal(0, 1, (4, 5))
SPARSE = np.array([[0.0, -1.5, 0.0, 0.5], [2.0, 0.0, 0.0, 0.0], [0.0, 0.7, -0.4, 0.3]])
ONE_OF_K = np.eye(3)[[0, 2, 0, 1, 2, 0]]
TURN = np.array([[0.6, 0.8, 0.3], [-0.8, 0.6, 0.1]])


# Reference answers


def kmeans_energy(x, w):
    """min_z ‖x − zW‖² of each point, `(n,)`."""
    return cdist(x, w, "sqeuclidean").min(axis=1)


def auroc(data, elsewhere):
    """Probability that a point of the data has a lower energy than one from elsewhere."""
    return roc_auc_score(np.arange(len(data) + len(elsewhere)) >= len(data), np.concatenate([data, elsewhere]))


def denoising_loss(reconstruct, x, noise):
    """‖x − G(x + noise)‖² of each point, `(batch,)`."""
    return ops.sum(SquaredError()(x, reconstruct(x + noise)), axis=-1)


def contraction(h, w):
    """‖∂h/∂x‖_F² of each example, `(batch,)`, for h = sigmoid(x W + b)."""
    slope = SLOPES[keras.activations.sigmoid](h)
    return ops.sum(ops.square(ops.expand_dims(slope, 1) * w), axis=(1, 2))


def sparse_energy(x, z, w, weight):
    """‖x − zW‖² + λ|z|₁ of each example, `(n,)`."""
    return np.linalg.norm(x - z @ w, axis=1) ** 2 + weight * np.linalg.norm(z, ord=1, axis=1)


def centres(x, z):
    """Mean of the points of each cluster, `(K, D)`."""
    return np.stack([np.average(x, axis=0, weights=column) for column in z.T])


def follow(reconstruct, x, steps):
    """`x` after `steps` steps x ← G(x)."""
    return x if steps == 0 else follow(reconstruct, reconstruct(x), steps - 1)


# Common mistakes


def _half(x):
    """A reconstruction for the checks: moves half-way to the point (1, 1)."""
    return 0.5 * x + 0.5


def _loss(target, seen):
    """Another denoising loss; both functions get x and the noise."""
    return lambda g, x, e: ops.sum(ops.square(target(x, e) - g(seen(x, e))), axis=-1)


def _contraction(slope, kernel):
    """Another contraction: the sum over the units of `slope(h)` times `kernel(w)`."""
    return lambda h, w: ops.sum(slope(h) * kernel(w), axis=-1)


def _slope(h):
    return h * (1 - h)


def _squares(w):
    return ops.sum(ops.square(w), axis=0)


def _price(weight):
    """Another cost of the code; `weight` gets the code and λ."""
    return lambda x, z, w, c: np.sum((x - z @ w) ** 2, axis=1) + weight(z, c)


def denoise(answer):
    """What an answer to 3.3 returns for three points."""
    loss = answer(_half, ops.convert_to_tensor(X), ops.convert_to_tensor(NOISE))
    if not ops.is_tensor(loss):
        return loss

    def total(weight):
        return ops.sum(answer(lambda x: weight * x + 0.5, ops.convert_to_tensor(X), ops.convert_to_tensor(NOISE)))

    return {"loss": loss, "gradient with respect to a weight of G": gradient(total, np.float32(0.5))[1]}


def walk(answer):
    """What an answer to 3.7 returns for three points and three steps."""
    return call(answer, _half, X, 3)


CODES = "three images, four atoms, λ = 0.7"

EXERCISES = {
    "3.1": Exercise(
        title="the energy of K-means",
        reference=kmeans_energy,
        further=[((POINTS[:4] @ TURN, CENTRES[:2] @ TURN + 1), OTHER)],
        arguments=(POINTS, CENTRES),
        tensors=False,
        at="six points, three centres",
        wrong=[
            (lambda x, w: cdist(x, w).min(axis=1), "this is the distance; E is its square"),
            (lambda x, w: cdist(x, w, "sqeuclidean").mean(axis=1), "a mean over the centres: z chooses one, so min"),
            (lambda x, w: cdist(x, w, "sqeuclidean").sum(axis=1), "a sum over the centres: z chooses one, so min"),
            (lambda x, w: cdist(x, w, "sqeuclidean").max(axis=1), "this is the farthest centre: use min"),
            (lambda x, w: cdist(x, w, "sqeuclidean").min(axis=0), "one number per centre: take the min over those"),
            (lambda x, w: cdist(x, w, "sqeuclidean").argmin(axis=1), "this is which centre, not how far: use min"),
            (lambda x, w: cdist(x, w, "sqeuclidean"), "these are all distances: take the smallest for each point"),
            (lambda x, w: kmeans_energy(x, w) / 2, "a mean over the coordinates: ‖·‖² is the sum of their squares"),
            (lambda x, w: cdist(x, w, "cityblock").min(axis=1), "you took absolute values: ‖·‖² has squares"),
            (lambda x, w: -kmeans_energy(x, w), "the sign: the energy is 0 at a centre and positive elsewhere"),
            (lambda x, w: kmeans_energy(x, w).sum(), "you also summed over the points: one number per point"),
        ],
    ),
    "3.2": Exercise(
        title="low on the data, higher elsewhere?",
        reference=auroc,
        further=[((ELSEWHERE[:4] + 0.01, ENERGIES * 2), OTHER)],
        arguments=(ENERGIES, ELSEWHERE),
        tensors=False,
        at="five energies on the data, seven elsewhere",
        wrong=[
            (lambda a, b: 1 - auroc(a, b), "the wrong way round: the data should have the lower energy"),
            (lambda a, b: np.mean(a.mean() < b), "compare with each energy on the data, not with their mean"),
            (lambda a, b: np.mean(np.median(a) < b), "compare with each energy on the data, not with their median"),
            (lambda a, b: np.mean(a < b.mean()), "compare with each energy elsewhere, not with their mean"),
            (lambda a, b: np.mean(a < np.median(b)), "compare with each energy elsewhere, not with their median"),
            (lambda a, b: np.sum(a[:, None] < b), "this is the number of pairs, not their share: use the mean"),
            (lambda a, b: b.mean() - a.mean(), "a difference of energies depends on their unit: count pairs instead"),
            (lambda a, b: float(a.mean() < b.mean()), "you compared only the two means: compare all pairs"),
            (lambda a, b: np.mean(a[:, None] < b, axis=1), "one number per point of the data: take the mean over all"),
            (lambda a, b: np.mean(a[:, None] < b, axis=0), "one number per point elsewhere: take the mean over all"),
            (lambda a, b: np.mean(a < b), "compare all pairs, a column with a row: data[:, None] < elsewhere"),
            (lambda a, b: np.mean(a < b[: len(a)]), "each is compared with one other only: data[:, None] < elsewhere"),
        ],
    ),
    "3.3": Exercise(
        title="the denoising loss",
        reference=denoising_loss,
        further=[(lambda answer: call(answer, lambda x: 1 - 2 * x, as_tensor(H), as_tensor(1 - H)), OTHER)],
        measure=denoise,
        at="three points, G(x) = ½x + ½",
        wrong=[
            (_loss(lambda x, e: x + e, lambda x, e: x + e), "the target is noisy too: it must be the clean x"),
            (_loss(lambda x, e: x, lambda x, e: x), "the noise is missing: G must see x + ε"),
            (_loss(lambda x, e: x + e, lambda x, e: x), "the wrong way round: G sees x + ε, the target is x"),
            (_loss(lambda x, e: e, lambda x, e: x + e), "the target is the noise: it must be the clean x"),
            (_loss(lambda x, e: x, lambda x, e: e), "G sees only the noise: it must see x + ε"),
            (_loss(lambda x, e: x, lambda x, e: x * e), "you multiplied x by the noise: add it"),
            (lambda g, x, e: denoising_loss(g, x, e) / 2, "a mean over the coordinates: sum over axis=-1"),
            (
                lambda g, x, e: ops.stop_gradient(denoising_loss(g, x, e)),
                "right numbers, but no gradient reaches G: NumPy and stop_gradient stop it. Use keras.ops",
            ),
            (lambda g, x, e: ops.mean(denoising_loss(g, x, e)), "you averaged over the batch too: axis=-1 only"),
            (lambda g, x, e: ops.sum(denoising_loss(g, x, e)), "you summed over the batch too: axis=-1 only"),
            (lambda g, x, e: ops.mean(ops.square(x - g(x + e))), "one number for all: sum over axis=-1 only, no mean"),
            (lambda g, x, e: ops.square(x - g(x + e)), "one number per coordinate: sum over axis=-1"),
            (lambda g, x, e: ops.sqrt(denoising_loss(g, x, e)), "this is the distance: leave out the root"),
            (lambda g, x, e: ops.sum(ops.abs(x - g(x + e)), axis=-1), "you took absolute values: square instead"),
        ],
    ),
    "3.4": Exercise(
        title="the contractive penalty",
        reference=contraction,
        further=[((H[:1, :3] ** 2, KERNEL[:2, 1:]), OTHER)],
        arguments=(H, KERNEL),
        points=2,
        at="two codes of four units, three inputs",
        wrong=[
            (_contraction(_slope, _squares), "the slope h(1 − h) must be squared too"),
            (_contraction(ops.square, _squares), "h² is not the slope of the sigmoid: use h(1 − h)"),
            (
                _contraction(lambda h: _slope(ops.sigmoid(h)) ** 2, _squares),
                "h is the sigmoid's value already: its slope is h(1 − h)",
            ),
            (
                lambda h, w: ops.sum(_slope(h) ** 2, axis=-1) * ops.sum(ops.square(w)),
                "a product of two sums: multiply for each unit j, then sum over j",
            ),
            (
                _contraction(lambda h: (1 - h**2) ** 2, _squares),
                "1 − h² is the slope of tanh: use h(1 − h)",
            ),
            (_contraction(lambda h: _slope(h) ** 2, lambda w: ops.sum(w, axis=0)), "W must be squared"),
            (
                _contraction(lambda h: _slope(h) ** 2, lambda w: ops.square(ops.sum(w, axis=0))),
                "square each weight, then sum: not the other way round",
            ),
            (
                _contraction(lambda h: _slope(h) ** 2, lambda w: ops.sqrt(_squares(w))),
                "Σ_i W_ij² has no root",
            ),
            (
                _contraction(lambda h: _slope(h) ** 2, lambda w: ops.mean(ops.square(w), axis=0)),
                "you averaged over the inputs: the norm has a sum",
            ),
            (_contraction(lambda h: _slope(h) ** 2, lambda w: 1.0), "W is missing: it comes from the chain rule"),
            (
                _contraction(ops.ones_like, _squares),
                "the slopes are missing: this is weight decay",
            ),
            (lambda h, w: contraction(h, w) / 4, "you averaged over the units: the norm has a sum"),
            (lambda h, w: ops.sqrt(contraction(h, w)), "this is ‖J‖: leave out the root"),
            (lambda h, w: ops.sum(contraction(h, w)), "you summed over the batch too: one number per example"),
            (lambda h, w: ops.mean(contraction(h, w)), "you averaged over the batch too: one number per example"),
            (lambda h, w: _slope(h) ** 2 * _squares(w), "one number per unit: sum over axis=-1"),
            (
                lambda h, w: ops.sum(_slope(h) ** 2 * ops.sum(ops.square(w), axis=1), axis=-1),
                "W has one column per unit: sum its squares over the inputs, axis=0",
            ),
        ],
    ),
    "3.5": Exercise(
        title="the energy of sparse coding",
        reference=sparse_energy,
        further=[((IMAGES[:2, :3], SPARSE[1:, :3], ATOMS[:3, :3], np.array(1.9)), OTHER)],
        arguments=(IMAGES, SPARSE, ATOMS, np.array(0.7)),
        tensors=False,
        at=CODES,
        wrong=[
            (_price(lambda z, c: 0), "the cost of the code is missing: λ|z|₁"),
            (_price(lambda z, c: np.abs(z).sum(axis=1)), "λ is missing"),
            (_price(lambda z, c: c * z.sum(axis=1)), "negative entries must cost as much as positive ones: |z|"),
            (_price(lambda z, c: c * (z**2).sum(axis=1)), "z² makes entries small but not 0: use |z|"),
            (
                _price(lambda z, c: c * np.linalg.norm(z, axis=1)),
                "this is ‖z‖₂: |z|₁ is the sum of all |z_j|",
            ),
            (_price(lambda z, c: c * (z != 0).sum(axis=1)), "you counted the non-zero entries, |z|₀: use |z|₁"),
            (_price(lambda z, c: c * np.abs(z).mean(axis=1)), "|z|₁ is a sum, not a mean"),
            (_price(lambda z, c: -c * np.abs(z).sum(axis=1)), "the cost of the code is subtracted: add it"),
            (_price(lambda z, c: c * np.abs(z).sum()), "each image has the cost of all codes: sum over axis=1"),
            (lambda x, z, w, c: c * np.abs(z).sum(axis=1), "the squared error is missing"),
            (lambda x, z, w, c: sparse_energy(x, z, w, c).sum(), "you summed over the images too: axis=1"),
            (
                lambda x, z, w, c: np.linalg.norm(x - z @ w, axis=1) + c * np.abs(z).sum(axis=1),
                "the distance must be squared in E",
            ),
            (
                lambda x, z, w, c: np.mean((x - z @ w) ** 2, axis=1) + c * np.abs(z).sum(axis=1),
                "you averaged over the pixels: ‖·‖² is the sum of their squares",
            ),
        ],
    ),
    "3.6": Exercise(
        title="the bug",
        reference=centres,
        further=[((POINTS[:5] @ TURN, np.eye(4)[[1, 0, 2, 3, 0]]), OTHER)],
        arguments=(POINTS, ONE_OF_K),
        tensors=False,
        points=2,
        at="six points, three clusters",
        wrong=[
            (lambda x, z: z.T @ x / len(x), "the bug is still there: a centre is the mean of how many points?"),
            (lambda x, z: z.T @ x, "these are sums: divide each by its number of points"),
            (lambda x, z: z.T @ x / z.shape[1], "you divided by K: divide by the number of points of each cluster"),
            (lambda x, z: centres(x, z).T, "transposed: one row per centre"),
            (lambda x, z: np.tile(x.mean(axis=0), (3, 1)), "the mean of all points: use only those of the cluster"),
            (lambda x, z: np.stack([np.median(x[c == 1], axis=0) for c in z.T]), "medians: K-means uses the mean"),
            (lambda x, z: z.T @ x / z.sum(axis=0), "the counts are a row: make them a column, z.sum(axis=0)[:, None]"),
            (lambda x, z: z.T @ x / z.sum(axis=1)[:, None], "axis=1 counts the centres of each point: use axis=0"),
        ],
    ),
    "3.7": Exercise(
        title="stretch: the dynamics",
        reference=follow,
        further=[
            (lambda answer: call(answer, lambda x: 2 - 3 * x, POINTS, 2), OTHER),
            (lambda answer: call(answer, _half, POINTS, 0), OTHER),
        ],
        measure=walk,
        points=0,
        at="three points, three steps, G(x) = ½x + ½",
        wrong=[
            (lambda g, x, n: g(x), "one step only: put x = reconstruct(x) into a loop, and return after it"),
            (lambda g, x, n: follow(g, x, n - 1), "one step too few: range(steps)"),
            (lambda g, x, n: follow(g, x, n + 1), "one step too many: range(steps)"),
            (lambda g, x, n: x, "x has not moved: x = reconstruct(x)"),
            (lambda g, x, n: follow(lambda y: y + g(y), x, n), "G(x) is the new position, not the step to it"),
            (lambda g, x, n: follow(g, x, n) - x, "this is the displacement: return the position"),
        ],
    ),
}
