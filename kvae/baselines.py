"""Baselines from scikit-learn with the interface of the models, including their energy, at the same code length."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn import cluster, decomposition, mixture

from kvae import checks
from kvae.types import Array, ArrayLike, Shape


class Baseline:
    """Base class of the baselines: flattens images for a scikit-learn estimator and restores their shape.

    Each is a thin wrapper around an estimator whose rows W, the `components`, map a code back to an image.

    Args:
        latent_dim: int, length of the code z.
        estimator: scikit-learn estimator that learns W.
    """

    image_shape: Shape | None = None  # set by `fit`
    dtype: str | None = None  # dtype that scikit-learn computes in; `None`: float64 for data in float64, else float32
    overwrites = False  # whether fitting overwrites the data, and must be given a copy

    def __init__(self, latent_dim: int, estimator: Any) -> None:
        self.latent_dim = checks.positive_integer(latent_dim, "latent_dim")
        self._estimator = estimator

    @property
    def components(self) -> Array:
        """The rows W `(latent_dim, pixels)` that a code combines linearly."""
        return self._estimator.components_

    def fit(self, x: ArrayLike) -> Baseline:
        """Fit the baseline to `x` `(n, *image_shape)`, and return it.

        Raises:
            ValueError: if there are fewer examples than the method needs, or a value is not finite.
        """
        x = np.asarray(x)
        x = checks.array(x, x.shape[1:], "x")
        self._estimator.fit(self._flat(x, copy=self.overwrites))
        self.image_shape = x.shape[1:]
        return self

    def encode(self, x: ArrayLike) -> Array:
        """Return the codes `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        return self._estimator.transform(self._rows(x))

    def decode(self, z: ArrayLike) -> Array:
        """Return the images `(n, *image_shape)` of codes `z` `(n, latent_dim)`; values may be outside [0, 1]."""
        shape = self._fitted_shape()
        z = checks.array(z, (self.latent_dim,), "z")
        return self._decode(z).reshape(-1, *shape)

    def _decode(self, z):
        return z @ self.components

    def reconstruct(self, x: ArrayLike) -> Array:
        """Encode `x` `(n, *image_shape)` and decode the codes."""
        return self.decode(self.encode(x))

    def energy(self, x: ArrayLike) -> Array:
        """Return the squared distance ‖x − x̂‖² of each example to its reconstruction, as an array `(n,)`."""
        return self._squared_error(x, self.encode(x))

    def _squared_error(self, x, z):
        return np.sum(np.square(self._rows(x) - self._decode(z), dtype="float64"), axis=1)

    def _fitted_shape(self):
        if self.image_shape is None:
            name = type(self).__name__
            raise ValueError(f"`{name}` must be fitted first: call fit(x). Received: an unfitted {name}")
        return self.image_shape

    def _rows(self, x):
        return self._flat(checks.array(x, self._fitted_shape(), "x"))

    def _flat(self, x, copy=False):
        # scikit-learn itself would turn bytes into float64, eight times their size.
        dtype = self.dtype or ("float64" if x.dtype == "float64" else "float32")
        return x.reshape(len(x), -1).astype(dtype, copy=copy)


class PCA(Baseline):
    """Principal component analysis as an encoder and decoder: z = W(x − μ), x̂ = Wᵀz + μ.

    Its energy is E(x) = ‖WᵀWx − x‖² for centred x: the squared distance to the subspace of the components.

    Args:
        latent_dim: int, number of components.
        seed: int, seed of the randomised solver that scikit-learn uses for large data.

    Example:

    >>> data = kvae.load_data("digits")
    >>> pca = kvae.baselines.PCA(latent_dim=2).fit(data.x_train)
    >>> pca.reconstruct(data.x_test).shape
    (360, 8, 8, 1)
    """

    overwrites = True

    def __init__(self, latent_dim: int, seed: int = 0) -> None:
        super().__init__(latent_dim, decomposition.PCA(latent_dim, copy=False, random_state=seed))

    @property
    def components(self) -> Array:
        """Orthonormal rows W, `(latent_dim, pixels)`, in order of decreasing variance."""
        return self._estimator.components_

    def _decode(self, z):
        return self._estimator.inverse_transform(z)

    def sample_prior(self, n: int, seed: int | None = None) -> Array:
        """Sample codes `(n, latent_dim)` from N(0, Λ), the Gaussian of PCA, with the components' variances Λ."""
        self._fitted_shape()
        n = checks.positive_integer(n, "n")
        noise = np.random.default_rng(checks.seed(seed)).standard_normal((n, self.latent_dim))
        return noise * np.sqrt(self._estimator.explained_variance_)

    def sample(self, n: int, seed: int | None = None) -> Array:
        """Sample `n` images `(n, *image_shape)` from the Gaussian of PCA, without pixel noise."""
        return self.decode(self.sample_prior(n, seed))


class SquareICA(Baseline):
    """Square independent component analysis: z = W(x − μ), with as many independent sources z as pixels.

    Its energy is −log p(x) = −log|det W| − Σ_j log p(z_j), in nats, for sources of the density p(z) = ½ sech(½πz), of
    mean 0 and variance 1 with exponential tails. The determinant keeps the volume of low energy constant: W cannot
    lower all energies (Bell & Sejnowski 1995; as an energy, Teh, Welling, Osindero, Hinton 2003, section 2,
    https://www.jmlr.org/papers/v4/teh03a.html). W is from scikit-learn's `FastICA` with the contrast log cosh, which is
    that of this density. Sources with lighter tails are found too, but the energy is then only a bowl around them.

    `latent_dim` is set by `fit`: the number of pixels.

    Args:
        seed: int, seed of the initial W.

    Raises:
        ValueError: from `fit`, if the data do not span all their dimensions, as with pixels that never change.

    Example:

    >>> x = kvae.toy.moons(500, seed=0)
    >>> ica = kvae.baselines.SquareICA().fit(x)
    >>> ica.encode(x).shape, ica.energy(x).shape
    ((500, 2), (500,))
    """

    dtype = "float64"

    def __init__(self, seed: int = 0) -> None:
        super().__init__(1, decomposition.FastICA(whiten="unit-variance", max_iter=1000, random_state=seed))

    def fit(self, x: ArrayLike) -> SquareICA:
        x = np.asarray(x)
        flat = self._flat(checks.array(x, x.shape[1:], "x"))
        rank, pixels = int(np.linalg.matrix_rank(flat - flat.mean(axis=0))), flat.shape[1]
        if rank < pixels:
            raise ValueError(
                "`x` must span all its dimensions: drop those that never change, or encode it by PCA first. "
                f"Received: {rank} independent directions of {pixels}"
            )
        self.latent_dim = pixels
        super().fit(x)
        return self

    def _decode(self, z):
        return self._estimator.inverse_transform(z)

    def energy(self, x: ArrayLike) -> Array:
        """Return −log p(x) of each example in nats, as an array `(n,)`."""
        half = 0.5 * np.pi * self.encode(x)
        _, log_determinant = np.linalg.slogdet(self.components)
        return np.logaddexp(half, -half).sum(axis=1) - log_determinant  # −log ½ sech(h) = log(eʰ + e⁻ʰ)


class KMeans(Baseline):
    """K-means as an encoder and decoder: z is a 1-of-K code, and x̂ = zW the centre that it selects.

    Its energy is E(x) = min_z ‖x − zW‖², the squared distance to the nearest centre.

    Args:
        latent_dim: int, number of centres K.
        seed: int, seed of the initial centres (k-means++).

    Example:

    >>> data = kvae.load_data("digits")
    >>> kmeans = kvae.baselines.KMeans(latent_dim=10).fit(data.x_train)
    >>> kmeans.encode(data.x_test).shape
    (360, 10)
    """

    def __init__(self, latent_dim: int, seed: int = 0) -> None:
        super().__init__(latent_dim, cluster.KMeans(latent_dim, random_state=seed))

    @property
    def components(self) -> Array:
        """The centres W, `(latent_dim, pixels)`."""
        return self._estimator.cluster_centers_

    def encode(self, x: ArrayLike) -> Array:
        """Return the 1-of-K codes `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        return np.eye(self.latent_dim, dtype="float32")[self._estimator.predict(self._rows(x))]


class GMM(Baseline):
    """Gaussian mixture model, p(x) = Σ_k π_k N(x | μ_k, Σ_k); the code of x is its responsibilities p(k|x).

    Its energy is −log p(x), in nats. A reconstruction is the mean of the components weighted by the responsibilities.

    Args:
        latent_dim: int, number of components K.
        covariance: "full", "tied", "diag" or "spherical", as in scikit-learn. A full covariance has about pixels² / 2
            parameters per component: use "diag" for images unless there are very many examples.
        seed: int, seed of the initialisation (k-means).

    Example:

    >>> gmm = kvae.baselines.GMM(latent_dim=10, covariance="diag").fit(data.x_train)
    >>> gmm.sample(4, seed=0).shape
    (4, 8, 8, 1)
    """

    dtype = "float64"

    def __init__(
        self, latent_dim: int, covariance: Literal["full", "tied", "diag", "spherical"] = "full", seed: int = 0
    ) -> None:
        super().__init__(latent_dim, mixture.GaussianMixture(latent_dim, covariance_type=covariance, random_state=seed))

    @property
    def components(self) -> Array:
        """The means μ_k, `(latent_dim, pixels)`."""
        return self._estimator.means_

    def encode(self, x: ArrayLike) -> Array:
        """Return the responsibilities p(k|x) `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        return self._estimator.predict_proba(self._rows(x))

    def energy(self, x: ArrayLike) -> Array:
        """Return −log p(x) of each example in nats, as an array `(n,)`."""
        return -self._estimator.score_samples(self._rows(x))

    def sample(self, n: int, seed: int | None = None) -> Array:
        """Sample `n` images `(n, *image_shape)` from the mixture, ordered by component as in scikit-learn."""
        shape = self._fitted_shape()
        n = checks.positive_integer(n, "n")
        return self._estimator.set_params(random_state=seed).sample(n)[0].reshape(n, *shape)


class SparseCoding(Baseline):
    """Sparse coding (Olshausen & Field 1996): x̂ = zW with mostly zero entries of z, found by optimisation.

    Its energy is E(x) = min_z ‖x − zW‖² + λ|z|₁, the squared error plus a penalty on the code. There is no learned
    encoder: each code is the solution of this convex problem. E is therefore convex in x, a bowl whose contours are
    elongated along the dictionary's rows. W and the codes come from scikit-learn's `MiniBatchDictionaryLearning`, whose
    rows have norm at most 1 and whose objective is half of this one (its `alpha` is λ/2).

    Args:
        latent_dim: int, number of rows in the dictionary; may exceed the number of pixels.
        sparsity: λ, positive; larger values make the codes sparser.
        seed: int.

    Raises:
        ValueError: if `sparsity` is not positive.

    Example:

    >>> coding = kvae.baselines.SparseCoding(latent_dim=16, sparsity=0.5).fit(data.x_train)
    >>> used = (coding.encode(data.x_test) != 0).mean()  # fraction of the dictionary that an image uses
    """

    dtype = "float64"  # in float32, coordinate descent does not reach its tolerance

    def __init__(self, latent_dim: int, sparsity: float = 1.0, seed: int = 0) -> None:
        self.sparsity = checks.positive_number(sparsity, "sparsity")
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

    def energy(self, x: ArrayLike) -> Array:
        """Return E = ‖x − zW‖² + λ|z|₁ of each example at its code, as an array `(n,)`."""
        z = self.encode(x)
        return self._squared_error(x, z) + self.sparsity * np.abs(z).sum(axis=1)
