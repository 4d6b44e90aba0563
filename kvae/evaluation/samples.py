"""Numbers about images: errors, labels, and distances between sets of them."""

import numpy as np

from kvae import checks


def reconstruction_mse(x, reconstruction):
    """Mean squared error a pixel between images and their reconstructions, both `(n, *image_shape)`."""
    return float(np.mean(np.square(np.asarray(x, "float64") - reconstruction)))


class LabelJudge:
    """A classifier trained on real images that says whether generated ones show what was asked for.

    A support vector machine with scikit-learn's defaults (RBF kernel), trained on at most `max_examples` images.

    Args:
        x: real images `(n, *image_shape)`.
        y: their labels `(n,)`.
        max_examples: how many of them to train on, chosen by `seed`; the time of an SVC grows with the square.
        seed: int.

    Example:

    >>> judge = kvae.evaluation.LabelJudge(data.x_train, data.y_train)
    >>> judge.agreement(data.x_test, data.y_test)  # its accuracy on real digits
    0.9861111111111112
    """

    def __init__(self, x, y, max_examples=10_000, seed=0):
        from sklearn.svm import SVC

        x = np.asarray(x)
        checks.same_length(y, len(x), "y")
        if len(x) > max_examples:
            rows = np.random.default_rng(seed).choice(len(x), max_examples, replace=False)
            x, y = x[rows], np.asarray(y)[rows]
        self._classifier = SVC().fit(x.reshape(len(x), -1), y)

    def agreement(self, images, labels):
        """The fraction of `images` `(n, *image_shape)` that the judge takes for their `labels` `(n,)`."""
        images = np.asarray(images)
        return float(np.mean(self._classifier.predict(images.reshape(len(images), -1)) == np.asarray(labels)))


def label_agreement(model, judge, per_class=100, seed=0):
    """How often a conditional model's generated images show the label that was asked for.

    Args:
        model: a `CVAE` on class labels.
        judge: a `LabelJudge`.
        per_class: int, images of each class.
        seed: int, for the latent codes.

    Returns:
        Float in [0, 1].
    """
    labels = np.repeat(np.arange(model.num_classes), per_class)
    return judge.agreement(model.generate(labels=labels, seed=seed), labels)


class Features:
    """Features of a small classifier trained on real images, fixed by its seed: the space of `frechet_distance`.

    The hidden layer of scikit-learn's `MLPClassifier`. Numbers compare only within one `Features`; they are no FID,
    which is defined by one particular network trained on ImageNet.

    Args:
        x: real images `(n, *image_shape)`.
        y: their labels `(n,)`.
        units: int, how many features.
        max_examples: how many images to train on, chosen by `seed`.
        seed: int.
    """

    def __init__(self, x, y, units=64, max_examples=10_000, seed=0):
        from sklearn.neural_network import MLPClassifier

        x, y = np.asarray(x), np.asarray(y)
        checks.same_length(y, len(x), "y")
        rows = np.random.default_rng(seed).permutation(len(x))[:max_examples]
        network = MLPClassifier((units,), max_iter=60, early_stopping=True, random_state=seed)
        network.fit(x[rows].reshape(len(rows), -1), y[rows])
        self._weights, self._bias = network.coefs_[0], network.intercepts_[0]

    def __call__(self, images):
        """Features `(n, units)` of images `(n, *image_shape)`."""
        images = np.asarray(images)
        return np.maximum(images.reshape(len(images), -1) @ self._weights + self._bias, 0)


def frechet_distance(a, b):
    """Squared Fréchet distance between the Gaussians fitted to two sets of features.

    ‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½): Dowson & Landau 1982; Heusel et al. 2017, eq. 6
    (https://arxiv.org/abs/1706.08500).

    Args:
        a: array `(n, units)`.
        b: array `(m, units)`.

    Returns:
        Float of at least 0; 0 for equal means and covariances.

    Raises:
        ValueError: with fewer than two rows, or sets of different width.
    """
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"Features must be two arrays (n, units) of two rows or more. Received: {a.shape}, {b.shape}")
    cov_a, cov_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    root_a = _matrix_root(cov_a)
    # Tr (Σ_a Σ_b)^½ = Tr (Σ_a^½ Σ_b Σ_a^½)^½, and the latter is symmetric.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root_a @ cov_b @ root_a), 0, None)).sum()
    mean_term = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(max(mean_term + np.trace(cov_a) + np.trace(cov_b) - 2 * cross, 0.0))


def precision_recall(real, generated, k=3):
    """How many generated images look real, and how many real ones the generator could have made.

    Around each image lies a ball that reaches to its k-th nearest neighbour of the same set; the balls of a set make
    its manifold. Precision is the share of generated features within the real manifold, recall the share of real
    features within the generated one (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, eq. 1 and 2). The
    Fréchet distance mixes the two. Both depend on how many images there are: compare at equal numbers.

    Args:
        real: features `(n, units)`, from `Features`.
        generated: features `(m, units)`.
        k: int, below n and m.

    Returns:
        `(precision, recall)`, floats in [0, 1].

    Raises:
        ValueError: with sets of different width, or of no more than `k` rows.

    Example:

    >>> features = kvae.evaluation.Features(data.x_train, data.y_train)
    >>> kvae.evaluation.precision_recall(features(data.x_test), features(model.generate(360, seed=0)))
    """
    k = checks.positive_integer(k, "k")
    real, generated = np.asarray(real, "float64"), np.asarray(generated, "float64")
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"Features must be two arrays (n, units). Received: {real.shape}, {generated.shape}")
    if min(len(real), len(generated)) <= k:
        raise ValueError(
            f"`k` must be below the number of images in each set. Received: k={k} of {len(real)} and {len(generated)}"
        )
    return _share_within(generated, real, k), _share_within(real, generated, k)


def _share_within(points, others, k):
    """The share of `points` within a ball around one of `others`."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    radii = NearestNeighbors(n_neighbors=k).fit(others).kneighbors()[0][:, -1]  # a point is not its own neighbour
    within = [np.any(distances <= radii, axis=1) for distances in pairwise_distances_chunked(points, others)]
    return float(np.mean(np.concatenate(within)))


def _matrix_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
