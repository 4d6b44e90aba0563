"""Baselines with the models' verbs: what a linear method does at the same latent size."""

import numpy as np
from sklearn.decomposition import PCA as _PCA

from kvae import checks


class PCA:
    """Principal component analysis as an encoder and decoder: z = W(x − μ), x̂ = Wᵀz + μ.

    A thin cover over `sklearn.decomposition.PCA` that keeps image shapes.

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
        self.latent_dim = checks.positive_integer(latent_dim, "latent_dim")
        self._pca = _PCA(n_components=latent_dim, random_state=seed)

    @property
    def components(self):
        """Orthonormal rows W, `(latent_dim, pixels)`, by falling variance."""
        return self._pca.components_

    def fit(self, x):
        """Find the components of `x` `(n, *image_shape)`; returns the baseline itself.

        Raises:
            ValueError: if there are fewer examples or pixels than components, or values are not finite.
        """
        x = np.asarray(x)
        x = checks.array(x, x.shape[1:], "x")
        self.image_shape = x.shape[1:]
        self._pca.fit(x.reshape(len(x), -1))
        return self

    def encode(self, x):
        """Coordinates `(n, latent_dim)` of `x` `(n, *image_shape)`."""
        x = checks.array(x, self.image_shape, "x")
        return self._pca.transform(x.reshape(len(x), -1))

    def decode(self, z):
        """Images `(n, *image_shape)` of coordinates `z` `(n, latent_dim)`; values may leave [0, 1]."""
        z = checks.array(z, (self.latent_dim,), "z")
        return self._pca.inverse_transform(z).reshape(-1, *self.image_shape)

    def reconstruct(self, x):
        """Project `x` `(n, *image_shape)` onto the components and back."""
        return self.decode(self.encode(x))

    def sample_prior(self, n, seed=None):
        """Coordinates `(n, latent_dim)` from N(0, Λ), Λ the components' variances: the Gaussian that PCA fits."""
        n = checks.positive_integer(n, "n")
        noise = np.random.default_rng(seed).standard_normal((n, self.latent_dim))
        return noise * np.sqrt(self._pca.explained_variance_)

    def sample(self, n, seed=None):
        """Draw `n` images `(n, *image_shape)` from the Gaussian that PCA fits, decoded without pixel noise."""
        return self.decode(self.sample_prior(n, seed))
