"""Baselines with the models' verbs: what scikit-learn's methods do at the same code length, each with its energy."""

from typing import Any

import numpy as np
from sklearn import cluster, decomposition, mixture

from kvae import checks


class Baseline:
    """What the baselines share: arrays of images in, rows of pixels for scikit-learn, and back.

    Each is a thin cover over an estimator of scikit-learn whose rows W, the `components`, rebuild an image from a code.

    Args:
        latent_dim: int, length of the code z.
        estimator: object of scikit-learn that finds W.
    """

    image_shape: Any = None  # a tuple once fitted
    dtype: str | None = None  # in which scikit-learn computes; `None` for the data's own

    def __init__(self, latent_dim, estimator):
        self.latent_dim = checks.positive_integer(latent_dim, "latent_dim")
        self._estimator = estimator

    @property
    def components(self):
        """The rows W `(latent_dim, pixels)` that a code weighs."""
        return self._estimator.components_

    def fit(self, x):
        """Learn from `x` `(n, *image_shape)`; returns the baseline itself.

        Raises:
            ValueError: if there are fewer examples than the method needs, or values are not finite.
        """
        x = np.asarray(x)
        x = checks.array(x, x.shape[1:], "x")
        self._estimator.fit(self._flat(x))
        self.image_shape = x.shape[1:]
        return self

    def encode(self, x):
        """Codes `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        return self._estimator.transform(self._rows(x))

    def decode(self, z):
        """Images `(n, *image_shape)` of codes `z` `(n, latent_dim)`; values may leave [0, 1]."""
        self._check_fitted()
        z = checks.array(z, (self.latent_dim,), "z")
        return self._decode(z).reshape(-1, *self.image_shape)

    def _decode(self, z):
        return z @ self.components

    def reconstruct(self, x):
        """Encode `x` `(n, *image_shape)` and decode it."""
        return self.decode(self.encode(x))

    def energy(self, x):
        """The squared distance ‖x − x̂‖² of each example to its reconstruction: array `(n,)`."""
        return self._squared_error(x, self.encode(x))

    def _squared_error(self, x, z):
        return np.sum(np.square(self._rows(x) - self._decode(z), dtype="float64"), axis=1)

    def _check_fitted(self):
        if self.image_shape is None:
            name = type(self).__name__
            raise ValueError(f"`{name}` must be fitted first: call fit(x). Received: a {name} without components")

    def _rows(self, x):
        self._check_fitted()
        return self._flat(checks.array(x, self.image_shape, "x"))

    def _flat(self, x):
        return x.reshape(len(x), -1).astype(self.dtype or x.dtype, copy=False)


class PCA(Baseline):
    """Principal component analysis as an encoder and decoder: z = W(x − μ), x̂ = Wᵀz + μ.

    Its energy is E(x) = ‖WᵀWx − x‖² (with μ taken off): the squared distance to the plane of the components.

    Args:
        latent_dim: int, number of components.
        seed: int, for the randomised solver that scikit-learn takes for large data.

    Example:

    >>> data = kvae.load_data("digits")
    >>> pca = kvae.baselines.PCA(latent_dim=2).fit(data.x_train)
    >>> pca.reconstruct(data.x_test).shape
    (360, 8, 8, 1)
    """

    def __init__(self, latent_dim, seed=0):
        super().__init__(latent_dim, decomposition.PCA(latent_dim, random_state=seed))

    @property
    def components(self):
        """Orthonormal rows W, `(latent_dim, pixels)`, by falling variance."""
        return self._estimator.components_

    def _decode(self, z):
        return self._estimator.inverse_transform(z)

    def sample_prior(self, n, seed=None):
        """Coordinates `(n, latent_dim)` from N(0, Λ), Λ the components' variances: the Gaussian that PCA fits."""
        self._check_fitted()
        n = checks.positive_integer(n, "n")
        noise = np.random.default_rng(seed).standard_normal((n, self.latent_dim))
        return noise * np.sqrt(self._estimator.explained_variance_)

    def sample(self, n, seed=None):
        """Draw `n` images `(n, *image_shape)` from the Gaussian that PCA fits, decoded without pixel noise."""
        return self.decode(self.sample_prior(n, seed))


class KMeans(Baseline):
    """K-means as an encoder and decoder: z is a 1-of-K code, x̂ = zW the centre that it chooses.

    Its energy is E(x) = min_z ‖x − zW‖², the squared distance to the nearest centre.

    Args:
        latent_dim: int, number of centres K.
        seed: int, for the starting centres (k-means++).

    Example:

    >>> kmeans = kvae.baselines.KMeans(latent_dim=10).fit(data.x_train)
    >>> kmeans.encode(data.x_test).sum(axis=1)  # all ones
    """

    def __init__(self, latent_dim, seed=0):
        super().__init__(latent_dim, cluster.KMeans(latent_dim, random_state=seed))

    @property
    def components(self):
        """The centres W, `(latent_dim, pixels)`."""
        return self._estimator.cluster_centers_

    def encode(self, x):
        """The 1-of-K codes `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        return np.eye(self.latent_dim, dtype="float32")[self._estimator.predict(self._rows(x))]


class GMM(Baseline):
    """Gaussian mixture model, p(x) = Σ_k π_k N(x | μ_k, Σ_k); a code holds the responsibilities p(k|x).

    Its energy is −log p(x), in nats. A reconstruction is the components' mean, weighed by their responsibilities.

    Args:
        latent_dim: int, number of components K.
        covariance: "full", "tied", "diag" or "spherical", as in scikit-learn. A full one has pixels² / 2 numbers to be
            estimated for each component: take "diag" for images unless examples abound.
        seed: int, for the start (k-means).

    Example:

    >>> gmm = kvae.baselines.GMM(latent_dim=10, covariance="diag").fit(data.x_train)
    >>> gmm.sample(4, seed=0).shape
    (4, 8, 8, 1)
    """

    dtype = "float64"

    def __init__(self, latent_dim, covariance="full", seed=0):
        super().__init__(latent_dim, mixture.GaussianMixture(latent_dim, covariance_type=covariance, random_state=seed))

    @property
    def components(self):
        """The means μ_k, `(latent_dim, pixels)`."""
        return self._estimator.means_

    def encode(self, x):
        """Responsibilities p(k|x) `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        return self._estimator.predict_proba(self._rows(x))

    def energy(self, x):
        """−log p(x) of each example: array `(n,)`, nats."""
        return -self._estimator.score_samples(self._rows(x))

    def sample(self, n, seed=None):
        """Draw `n` images `(n, *image_shape)` from the mixture; scikit-learn gives them by component."""
        self._check_fitted()
        n = checks.positive_integer(n, "n")
        return self._estimator.set_params(random_state=seed).sample(n)[0].reshape(n, *self.image_shape)


class SparseCoding(Baseline):
    """Sparse coding, as in Olshausen & Field 1996: x̂ = zW with few entries of z that are not 0, found by a search.

    Its energy is E(x) = min_z ‖x − zW‖² + λ|z|₁, the squared error and the price of the code. There is no encoder that
    learns: each code is the solution of that convex problem. So E is itself convex in x, a bowl whose contours lengthen
    towards the dictionary's rows. W and codes are scikit-learn's `MiniBatchDictionaryLearning`, whose rows have a norm
    of at most 1 and whose objective is half of this one (its `alpha` is λ/2).

    Args:
        latent_dim: int, number of rows in the dictionary; may exceed the number of pixels.
        sparsity: λ, positive; larger makes codes sparser.
        seed: int.

    Raises:
        ValueError: if `sparsity` is not positive.

    Example:

    >>> coding = kvae.baselines.SparseCoding(latent_dim=100, sparsity=0.5).fit(data.x_train)
    >>> (coding.encode(data.x_test) != 0).mean()  # the share of the dictionary that an image uses
    """

    dtype = "float64"  # in float32 coordinate descent does not reach its own tolerance

    def __init__(self, latent_dim, sparsity=1.0, seed=0):
        if not (isinstance(sparsity, (int, float)) and 0 < sparsity < np.inf):
            raise ValueError(f"`sparsity` must be a positive number. Received: sparsity={sparsity!r}")
        self.sparsity = float(sparsity)
        super().__init__(
            latent_dim,
            decomposition.MiniBatchDictionaryLearning(
                latent_dim,
                alpha=sparsity / 2,
                fit_algorithm="cd",
                transform_algorithm="lasso_cd",
                random_state=seed,
            ),
        )

    def energy(self, x):
        """E = ‖x − zW‖² + λ|z|₁ of each example at its code: array `(n,)`."""
        z = self.encode(x)
        return self._squared_error(x, z) + self.sparsity * np.abs(z).sum(axis=1)
