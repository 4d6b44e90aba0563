"""Worksheet 1, principal component analysis: reference answers and common mistakes.

The references reach the worksheet's numbers by a different route: NumPy's covariance, kvae's `PCA`, Pythagoras.
"""

import numpy as np

from kvae.baselines import PCA
from kvae.worksheet.exercise import OTHER, Exercise, call

RNG = np.random.default_rng(1)
IMAGES = RNG.uniform(0, 1, (5, 2, 3, 1)).astype("float32")
SPREAD = RNG.normal(0, 1, (6, 4)) * np.array([4.0, 1.0, 2.5, 0.5]) @ np.linalg.qr(RNG.normal(0, 1, (4, 4)))[0]
CLOUD = SPREAD - SPREAD.mean(axis=0)
DIRECTION = np.array([1.0, -2.0, 0.5, 3.0])
ROWS = SPREAD + np.array([2.0, -1.0, 3.0, 0.5])
MEAN = np.array([1.5, -1.0, 2.0, 0.5])
W = np.linalg.qr(np.random.default_rng(2).normal(0, 1, (4, 2)))[0]
NOISE = np.random.default_rng(3).normal(0, 1, (3, 2))
VARIANCES = np.array([4.0, 0.5])
MORE_IMAGES = RNG.uniform(0, 1, (4, 3, 5, 1)).astype("float32")
MORE_ROWS = RNG.normal(0, 1, (7, 5)) * np.array([0.3, 3.0, 1.0, 2.0, 0.6]) - np.array([1.0, 2.0, -0.5, 0.2, 4.0])
MORE_MEAN = np.array([-0.5, 2.0, 1.0, -1.5, 0.3])
MORE_W = np.linalg.qr(np.random.default_rng(4).normal(0, 1, (5, 3)))[0]
MORE_NOISE = np.random.default_rng(5).normal(0, 1, (2, 3))


# Reference answers


def centred(x):
    """Matrix X `(N, D)` of images `(N, height, width, 1)`, its columns centred."""
    return _rows(x) - _rows(x).mean(axis=0)


def variance(x, w):
    """Variance of centred data `(N, D)` along the direction `w` `(D,)`."""
    return w @ np.cov(x.T, bias=True) @ w / (w @ w)


def principal_components(x, k):
    """Components W_k `(D, k)` of centred data `(N, D)`, by decreasing variance."""
    return PCA(int(k)).fit(x).components.T


def reconstruct(x, mean, w):
    """Rows `(N, D)` projected onto the plane through `mean` that the columns of `w` `(D, k)` span."""
    return mean + (x - mean) @ w @ np.linalg.pinv(w)


def energy(x, mean, w):
    """Squared distances `(N,)` to that plane."""
    return np.sum((x - mean) ** 2, axis=1) - np.sum(((x - mean) @ w) ** 2, axis=1)


def codes(x_train, x_test, k):
    """Codes `(n, k)` of `x_test` from the components of `x_train`, both `(…, D)` and uncentred."""
    return PCA(int(k)).fit(x_train).encode(x_test)


def sample(noise, mean, w, variances):
    """Rows `(n, D)` sampled from the Gaussian that PCA fits, from noise `(n, k)`."""
    return mean + noise @ np.diag(variances**0.5) @ w.T


# Common mistakes


def _rows(x):
    return x.reshape(len(x), -1)


def _svd(x):
    return np.linalg.svd(x, full_matrices=False)


def _by_rows(x, w):
    return x @ (w / np.linalg.norm(w))


def _projected(x, w, around, back):
    return (x - around) @ w @ w.T + back


def _difference(x, mean, w):
    return x - reconstruct(x, mean, w)


def _plain_codes(x_train, x_test, k):
    return x_test @ _svd(x_train)[2][:k].T


# What is compared where the sign of a direction is arbitrary


def _positive(w):
    """Columns flipped so that the entry of largest magnitude in each is positive."""
    if np.ndim(w) != 2 or 0 in np.shape(w):
        return w
    w = np.asarray(w)
    return w * np.sign(w[np.abs(w).argmax(axis=0), np.arange(w.shape[1])])


def directions(answer):
    """What an answer to 1.3 returns for six rows."""
    return _positive(call(answer, CLOUD, 2))


def three_codes(answer):
    """What an answer to 1.6 returns for three test rows."""
    return _positive(call(answer, ROWS, ROWS[:3] * 1.5 + 1, 2))


SIX = "six rows of four columns"

EXERCISES = {
    "1.1": Exercise(
        title="the matrix X",
        reference=centred,
        further=[((MORE_IMAGES,), OTHER)],
        arguments=(IMAGES,),
        tensors=False,
        at="five images of six pixels",
        wrong=[
            (_rows, "the columns are not centred: subtract the mean image, .mean(axis=0)"),
            (lambda x: _rows(x) - x.mean(), "you subtracted one grey value: each pixel has its own mean, axis=0"),
            (
                lambda x: _rows(x) - _rows(x).mean(axis=1, keepdims=True),
                "you centred each image; centre each pixel over the images instead: axis=0",
            ),
            (
                lambda x: centred(x) / _rows(x).std(axis=0),
                "you also divided by σ: PCA needs the variances as they are",
            ),
            (lambda x: _rows(x).mean(axis=0) - _rows(x), "the sign: x − μ, not μ − x"),
            (lambda x: x - x.mean(axis=0), "centred, but still images: make each image a row, .reshape(len(x), -1)"),
            (lambda x: centred(x).T, "transposed: rows are images, columns are pixels"),
        ],
    ),
    "1.2": Exercise(
        title="variance along a direction",
        reference=variance,
        further=[((MORE_ROWS - MORE_ROWS.mean(axis=0), MORE_MEAN), OTHER)],
        arguments=(CLOUD, DIRECTION),
        tensors=False,
        at=f"{SIX}, ‖w‖ = 3.77",
        wrong=[
            (lambda x, w: np.mean((x @ w) ** 2), "w does not have length 1: divide it by ‖w‖ first"),
            (lambda x, w: np.sum(_by_rows(x, w) ** 2), "this is ‖Xw‖², a sum over the rows: divide by N"),
            (lambda x, w: np.std(_by_rows(x, w)), "this is σ; the variance is σ²"),
            (lambda x, w: np.mean(_by_rows(x, w)), "the mean of Xw is 0, as X is centred: square before the mean"),
            (lambda x, w: np.var(_by_rows(x, w), ddof=1), "you divided by N − 1; the formula here has N"),
            (lambda x, w: np.mean((x @ w) ** 2) / np.linalg.norm(w), "‖Xw‖² contains w twice: divide w itself by ‖w‖"),
            (lambda x, w: np.mean((x @ w / (w @ w)) ** 2), "you divided w by ‖w‖², not by ‖w‖"),
            (lambda x, w: _by_rows(x, w) ** 2, "one number per row: take their mean"),
            (lambda x, w: np.mean(np.abs(_by_rows(x, w))), "you took absolute values: the variance needs squares"),
        ],
    ),
    "1.3": Exercise(
        title="the first k principal components",
        reference=principal_components,
        further=[(lambda answer: _positive(call(answer, MORE_ROWS - MORE_ROWS.mean(axis=0), 3)), OTHER)],
        measure=directions,
        at=SIX,
        wrong=[
            (lambda x, k: _svd(x)[2][:, :k], "NumPy's third result is Wᵀ: the components are its rows, so [:k].T"),
            (lambda x, k: _svd(x)[2][:k], "transposed: W_k has the components in its columns, (D, k)"),
            (lambda x, k: _svd(x)[0][:, :k], "this is U, with one row per image: the components are in W"),
            (lambda x, k: _svd(x)[2][-k:].T, "these have the smallest variances: take the first k, not the last"),
            (
                lambda x, k: np.linalg.eigh(x.T @ x)[1][:, :k],
                "eigh sorts in ascending order, so these have the smallest variances",
            ),
            (lambda x, k: (_svd(x)[2][:k] * _svd(x)[1][:k, None]).T, "scaled by Σ: the columns must have length 1"),
            (lambda x, k: _svd(x)[2].T, "you returned all components: keep the first k columns"),
            (lambda x, k: x @ _svd(x)[2][:k].T, "these are the codes X W_k: return W_k itself"),
        ],
    ),
    "1.4": Exercise(
        title="reconstruction from k numbers",
        reference=reconstruct,
        further=[((MORE_ROWS, MORE_MEAN, MORE_W), OTHER)],
        arguments=(ROWS, MEAN, W),
        tensors=False,
        at=f"{SIX}, k = 2",
        wrong=[
            (lambda x, m, w: _projected(x, w, m, 0), "the mean is not added back: add μ at the end"),
            (lambda x, m, w: _projected(x, w, 0, m), "the mean was not subtracted before encoding: (x − μ) W_k"),
            (lambda x, m, w: _projected(x, w, 0, 0), "the mean is missing: subtract it first, add it back last"),
            (lambda x, m, w: _projected(x, w, m, -m), "the sign of the last μ: it is added"),
            (lambda x, m, w: (x - m) @ w, "these are the codes: decode them with W_kᵀ, and add μ"),
            (lambda x, m, w: (x - m) @ w @ w + m, "the decoder is W_kᵀ: transpose the second W_k"),
            (
                lambda x, m, w: (x - m) @ w.T @ w + m,
                "swapped: encode with W_k, decode with W_kᵀ",
            ),
            (lambda x, m, w: x, "this is x itself: encode it as k numbers and decode those"),
            (lambda x, m, w: x - reconstruct(x, m, w), "this is what is lost, x − x̂; return x̂"),
        ],
    ),
    "1.5": Exercise(
        title="the energy",
        reference=energy,
        further=[((MORE_ROWS, MORE_MEAN, MORE_W), OTHER)],
        arguments=(ROWS, MEAN, W),
        tensors=False,
        at=f"{SIX}, k = 2",
        wrong=[
            (lambda x, m, w: energy(x, m, w) / 4, "you averaged over the pixels: a squared distance is their sum"),
            (lambda x, m, w: np.sqrt(energy(x, m, w)), "this is the distance; E is its square"),
            (lambda x, m, w: -energy(x, m, w), "the sign: the energy is 0 on the plane and positive elsewhere"),
            (lambda x, m, w: energy(x, m, w).sum(), "you also summed over the images: one number per image, axis=1"),
            (lambda x, m, w: energy(x, m, w).mean(), "you averaged over the images: one number per image, axis=1"),
            (lambda x, m, w: np.sum(_difference(x, m, w) ** 2, axis=0), "one number per pixel: sum over axis=1"),
            (lambda x, m, w: _difference(x, m, w) ** 2, "one number per pixel of each image: sum over axis=1"),
            (lambda x, m, w: np.sum(_difference(x, m, w), axis=1), "square the differences, or they cancel"),
            (lambda x, m, w: np.sum(np.abs(_difference(x, m, w)), axis=1), "you took absolute values: square instead"),
            (lambda x, m, w: np.sum((x - m) ** 2, axis=1), "this is the squared distance to μ: subtract x̂ instead"),
            (
                lambda x, m, w: np.sum((reconstruct(x, m, w) - m) ** 2, axis=1),
                "this is ‖z‖², how far x̂ is from μ: what is lost is x − x̂",
            ),
        ],
    ),
    "1.6": Exercise(
        title="the bug",
        reference=codes,
        further=[(lambda answer: _positive(call(answer, MORE_ROWS, MORE_ROWS[:1] - 2, 1)), OTHER)],
        measure=three_codes,
        points=2,
        at="three test rows",
        wrong=[
            (_plain_codes, "the bug is still there: what does the SVD require of the columns of X?"),
            (
                lambda a, b, k: _plain_codes(a - a.mean(axis=0), b, k),
                "the training rows are centred now, the test rows are not: subtract the same mean",
            ),
            (
                lambda a, b, k: _plain_codes(a - a.mean(axis=0), b - b.mean(axis=0), k),
                "you centred the test rows with their own mean: use that of the training rows, or an image's code "
                "depends on the other test images",
            ),
            (
                lambda a, b, k: _plain_codes(a - a.mean(axis=1)[:, None], b - b.mean(axis=1)[:, None], k),
                "you centred each image; centre each pixel over the training images instead: axis=0",
            ),
            (lambda a, b, k: _plain_codes(a - a.mean(), b - a.mean(), k), "one mean for all pixels: axis=0 is missing"),
            (
                lambda a, b, k: _plain_codes(a, b - a.mean(axis=0), k),
                "the test rows are centred now, but the components still come from uncentred rows",
            ),
        ],
    ),
    "1.7": Exercise(
        title="stretch: draw from PCA",
        reference=sample,
        further=[((MORE_NOISE, MORE_MEAN, MORE_W, np.array([0.3, 1.7, 2.5])), OTHER)],
        arguments=(NOISE, MEAN, W, VARIANCES),
        tensors=False,
        points=0,
        at="three codes, variances 4 and 0.5",
        wrong=[
            (lambda e, m, w, v: (e * v) @ w.T + m, "you scaled by the variance; the standard deviation is its root"),
            (lambda e, m, w, v: e @ w.T + m, "all directions have the same variance here: scale each code by its σ"),
            (lambda e, m, w, v: (e * np.sqrt(v)) @ w.T, "the mean image is missing"),
            (lambda e, m, w, v: (e / np.sqrt(v)) @ w.T + m, "you divided by σ, which whitens codes: multiply instead"),
            (lambda e, m, w, v: e * np.sqrt(v), "these are the codes: decode them, z W_kᵀ + μ"),
            (lambda e, m, w, v: (e + np.sqrt(v)) @ w.T + m, "you added σ; multiply the noise by it"),
        ],
    ),
}
