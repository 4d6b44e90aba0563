"""Metrics on images: reconstruction error, label agreement, and distances between sets of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae import checks
from kvae.models import conditions
from kvae.types import Array, ArrayLike

ROWS = 1000  # images at a time


def reconstruction_mse(x: ArrayLike, reconstruction: ArrayLike) -> float:
    """Compute the mean squared error per pixel of reconstructions, both arrays `(n, *image_shape)`.

    Values of `x` that are NaN, missing, are left out.

    Raises:
        ValueError: if the shapes differ.

    Example:

    >>> mse = kvae.evaluation.reconstruction_mse(data.x_test, model.reconstruct(data.x_test))
    """
    x, reconstruction = np.asarray(x), np.asarray(reconstruction)
    if x.shape != reconstruction.shape:
        raise ValueError(f"`reconstruction` must have the shape of `x`, {x.shape}. Received: {reconstruction.shape}")
    return _mse(x, lambda rows: reconstruction[rows])


def mse_of_model(model: Any, x: ArrayLike, y: Any = None) -> float:
    """Compute `reconstruction_mse` of a model or baseline, without an array of all its reconstructions.

    Args:
        model: what has a method `reconstruct`.
        x: images `(n, *image_shape)`.
        y: their conditions, or `None`.
    """
    x = np.asarray(x)
    if y is None:
        return _mse(x, lambda rows: model.reconstruct(x[rows]))
    return _mse(x, lambda rows: model.reconstruct(x[rows], conditions.take(y, rows)))


def _mse(x, reconstruction):
    """The mean squared error per pixel of what a function gives for slices of rows."""
    total, number = 0.0, 0
    for start in range(0, len(x), ROWS):  # so that no copy of all images is made
        rows = slice(start, start + ROWS)
        seen = ~np.isnan(x[rows])
        total += float(np.sum(np.square(x[rows].astype("float64") - reconstruction(rows)), where=seen))
        number += int(seen.sum())
    return total / number


def mode_coverage(samples: ArrayLike, modes: ArrayLike, tolerance: float = 0.5) -> float:
    """Share of the questions with several known answers, the modes, for which samples come near every answer.

    A sample s covers a mode m if ‖s − m‖ < `tolerance` · ‖m‖. With 0.5, it is nearer to m than to zero and to −m.

    Args:
        samples: array `(samples, n, *shape)`, several answers to each of n questions.
        modes: array `(modes, n, *shape)`, the answers to be found.
        tolerance: positive number, a fraction of the norm of the mode.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: if the shapes do not fit together, or `tolerance` is not positive.

    Example:

    >>> modes = np.array([[[1.0, 1.0]], [[-1.0, -1.0]]])  # two answers to one question
    >>> kvae.evaluation.mode_coverage([[[0.9, 1.0]], [[1.0, 1.1]]], modes)
    0.0
    >>> kvae.evaluation.mode_coverage([[[0.9, 1.0]], [[-1.0, -0.8]]], modes)
    1.0
    """
    samples, modes = np.asarray(samples, "float64"), np.asarray(modes, "float64")
    tolerance = checks.positive_number(tolerance, "tolerance")
    if min(samples.ndim, modes.ndim) < 3 or samples.shape[1:] != modes.shape[1:]:
        raise ValueError(
            "`samples` and `modes` must have shapes (samples, n, *shape) and (modes, n, *shape). "
            f"Received: {samples.shape} and {modes.shape}"
        )
    axes = tuple(range(1, modes.ndim - 1))
    covered = np.ones(modes.shape[1], bool)
    for mode in modes:
        nearest = np.min([np.sum(np.square(sample - mode), axis=axes) for sample in samples], axis=0)
        covered &= nearest < tolerance**2 * np.sum(np.square(mode), axis=axes)
    return float(covered.mean())


class LabelJudge:
    """A classifier trained on real images, to check whether generated images match their labels.

    A support vector machine with scikit-learn's defaults (RBF kernel), trained on at most `max_examples` images.

    Args:
        x: real images `(n, *image_shape)`.
        y: their labels `(n,)`.
        max_examples: maximum number of training images, chosen by `seed`; the training time is quadratic in it.
        seed: int.

    Example:

    >>> digits = kvae.load_data("digits")
    >>> judge = kvae.evaluation.LabelJudge(digits.x_train, digits.y_train)
    >>> round(judge.agreement(digits.x_test, digits.y_test), 3)  # on real digits
    0.983
    """

    def __init__(self, x: ArrayLike, y: Any, max_examples: int = 10_000, seed: int = 0) -> None:
        from sklearn.svm import SVC

        x = np.asarray(x)
        checks.same_length(y, len(x), "y")
        if len(x) > max_examples:
            rows = np.random.default_rng(checks.seed(seed)).choice(len(x), max_examples, replace=False)
            x, y = x[rows], np.asarray(y)[rows]
        self._classifier = SVC().fit(x.reshape(len(x), -1), y)

    def agreement(self, images: ArrayLike, labels: Any) -> float:
        """Compute the fraction of `images` `(n, *image_shape)` that are classified as their `labels` `(n,)`."""
        images = np.asarray(images)
        return float(np.mean(self._classifier.predict(images.reshape(len(images), -1)) == np.asarray(labels)))


def label_agreement(model: Any, judge: LabelJudge, per_class: int = 100, seed: int | None = 0) -> float:
    """Measure how often the images generated by a conditional model match the requested label.

    Args:
        model: a `CVAE` with class labels.
        judge: a `LabelJudge`.
        per_class: int, images per class.
        seed: int for reproducible latent codes; `None` for random ones.

    Returns:
        Float in [0, 1].
    """
    labels = np.repeat(np.arange(model.num_classes), per_class)
    return judge.agreement(model.generate(labels=labels, seed=seed), labels)


class Features:
    """Features of a small classifier trained on real images, reproducible by its seed, for `frechet_distance`.

    The hidden layer of scikit-learn's `MLPClassifier`. Distances are comparable only within one `Features` object; they
    are not an FID, which is defined by one particular network trained on ImageNet.

    Args:
        x: real images `(n, *image_shape)`.
        y: their labels `(n,)`.
        units: int, number of features.
        max_examples: maximum number of training images, chosen by `seed`.
        seed: int.
    """

    def __init__(self, x: ArrayLike, y: Any, units: int = 64, max_examples: int = 10_000, seed: int = 0) -> None:
        from sklearn.neural_network import MLPClassifier

        x, y = np.asarray(x), np.asarray(y)
        checks.same_length(y, len(x), "y")
        rows = np.random.default_rng(checks.seed(seed)).permutation(len(x))[:max_examples]
        network = MLPClassifier((units,), max_iter=60, early_stopping=True, random_state=seed)
        network.fit(x[rows].reshape(len(rows), -1), y[rows])
        self._weights, self._bias = network.coefs_[0], network.intercepts_[0]

    def __call__(self, images: ArrayLike) -> Array:
        """Compute features `(n, units)` of images `(n, *image_shape)`."""
        images = np.asarray(images)
        return np.maximum(images.reshape(len(images), -1) @ self._weights + self._bias, 0)


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the squared Fréchet distance between Gaussians fitted to two sets of features.

    ‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½): Dowson & Landau 1982; Heusel et al. 2017, eq. 6
    (https://arxiv.org/abs/1706.08500).

    Args:
        a: array `(n, units)`.
        b: array `(m, units)`.

    Returns:
        Float of at least 0; 0 for equal means and covariances.

    Raises:
        ValueError: if a set has fewer than two rows, or their widths differ.
    """
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"Features must be two arrays (n, units) with at least two rows. Received: {a.shape}, {b.shape}"
        )
    cov_a, cov_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    root_a = _matrix_root(cov_a)
    # Tr (Σ_a Σ_b)^½ = Tr (Σ_a^½ Σ_b Σ_a^½)^½, and the latter is symmetric.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root_a @ cov_b @ root_a), 0, None)).sum()
    mean_term = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(max(mean_term + np.trace(cov_a) + np.trace(cov_b) - 2 * cross, 0.0))


def precision_recall(real: ArrayLike, generated: ArrayLike, k: int = 3) -> tuple[float, float]:
    """Estimate which fraction of generated images look real, and which fraction of real images can be generated.

    The manifold of a set is approximated by balls around its images that reach to the k-th nearest neighbour in the
    set. Precision is the fraction of generated features within the real manifold, recall the fraction of real features
    within the generated manifold (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, eq. 1 and 2). The Fréchet
    distance mixes the two. Both depend on the number of images: compare only sets of equal size.

    Args:
        real: features `(n, units)`, from `Features`.
        generated: features `(m, units)`.
        k: int, less than n and m.

    Returns:
        `(precision, recall)`, floats in [0, 1].

    Raises:
        ValueError: if the widths of the sets differ, or a set has no more than `k` rows.

    Example:

    >>> features = kvae.evaluation.Features(data.x_train, data.y_train)
    >>> generated = model.generate(len(data.x_test), seed=0)
    >>> precision, recall = kvae.evaluation.precision_recall(features(data.x_test), features(generated))
    """
    k = checks.positive_integer(k, "k")
    real, generated = np.asarray(real, "float64"), np.asarray(generated, "float64")
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"Features must be two arrays (n, units). Received: shapes {real.shape} and {generated.shape}")
    if min(len(real), len(generated)) <= k:
        raise ValueError(
            f"`k` must be less than the number of images in each set. Received: k={k} for {len(real)} and "
            f"{len(generated)} images"
        )
    return _share_within(generated, real, k), _share_within(real, generated, k)


def _share_within(points, others, k):
    """The fraction of `points` within a ball around one of `others`."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    radii = NearestNeighbors(n_neighbors=k).fit(others).kneighbors()[0][:, -1]  # a point is not its own neighbour
    within = [np.any(distances <= radii, axis=1) for distances in pairwise_distances_chunked(points, others)]
    return float(np.mean(np.concatenate(within)))


def _matrix_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
