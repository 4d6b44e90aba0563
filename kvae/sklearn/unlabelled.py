"""Estimators of tables without labels: codes and densities."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.base import ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from kvae import bounds, checks
from kvae.distributions import Distribution
from kvae.models import VAE
from kvae.models.batches import in_batches
from kvae.sklearn.table_vae import BLOCK, TableVAE
from kvae.types import Array, ArrayLike

SCORED_AT_ONCE = 2**24  # numbers in the widest layer for the samples of a batch of `score_samples`: 64 MiB


class _UnlabelledVAE(TableVAE):
    """What the estimators that train a `VAE` share."""

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Any:
        """Train a new model.

        Args:
            X: array-like or data frame `(n, features)`.
            y: ignored.
            sample_weight: array-like `(n,)`, what each row's terms of the loss are multiplied by; `None` for 1.

        Returns:
            The estimator.

        Raises:
            ValueError: if an argument is invalid, or `X` does not fit the likelihood.
        """
        X = self._validated(X, reset=True)
        if sample_weight is not None:
            sample_weight = checks.sample_weight(np.asarray(sample_weight), len(X))
            if not sample_weight.any():
                raise ValueError("`sample_weight` must not be zero for every row. Received: all zeros")

        def build(seed):
            encoder, decoder, family = self._networks()
            return VAE(encoder, decoder, family, seed=seed)

        return self._train(build, X, sample_weight=sample_weight)


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _UnlabelledVAE):
    """Dimension reduction by a VAE: rows of a table to posterior means of their codes, and back.

    Standardise real-valued columns, as with `StandardScaler` in a `Pipeline`: the networks and the one σ of "gaussian"
    expect columns of the same scale. Dimensions that the model does not use have codes near 0.

    Args:
        latent_dim: length of a code.
        hidden: units of the encoder's hidden layers; reversed in the decoder.
        likelihood: of a row: a key of `kvae.distributions.LIKELIHOODS`, such as "gaussian" (with one learned σ),
            "bernoulli" for columns in [0, 1] or "negative_binomial" for counts; or a `Distribution`, such as
            `Normal(sigma="per_element")`, of which `fit` trains a copy. With an `Observed` one, missing values are NaN.
        epochs: passes over the rows.
        batch_size: rows per step; all rows if there are fewer.
        learning_rate: of Adam.
        random_state: int, for the same result in every `fit`, `RandomState` or `None`, as in scikit-learn. The seeds of
            Keras and of Python are left alone.
        verbose: as in `keras.Model.fit`.

    Attributes:
        model_: the trained `kvae.VAE`.
        history_: dict of the logs of each epoch, in nats per row.
        n_features_in_: number of columns.
        feature_names_in_: their names, if `fit` was given a data frame.
        seed_: int, the seed of the model's noise.

    Example:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = load_iris(as_frame=True).data
    >>> codes = make_pipeline(StandardScaler(), kvae.sklearn.VAETransformer(latent_dim=2, epochs=50, random_state=0))
    >>> codes.set_output(transform="pandas").fit_transform(X).columns.tolist()
    ['vaetransformer0', 'vaetransformer1']
    >>> codes.inverse_transform(np.zeros((1, 2))).shape  # in the units of X
    (1, 4)
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def transform(self, X: Any) -> Any:
        """Posterior means of the codes of `X` `(n, features)`: float32 `(n, latent_dim)`."""
        check_is_fitted(self)
        return self._by_row(self.model_.encode, self._validated(X))

    def inverse_transform(self, X: ArrayLike) -> Array:
        """Means of the rows p(x|z) of codes `X` `(n, latent_dim)`: float32 `(n, features)`."""
        check_is_fitted(self)
        return self._by_row(self.model_.decode, check_array(X, dtype=np.float32))

    @property
    def _n_features_out(self):
        return self.model_.latent_dim


class VAEDensity(DensityMixin, _UnlabelledVAE):
    """Density estimation by a VAE: log p(x) of rows of a table, and new rows.

    Columns should be standardised, as for `VAETransformer`; the density is then one of the standardised columns.

    Args:
        latent_dim, hidden, likelihood, epochs, batch_size, learning_rate, random_state, verbose: as in
            `VAETransformer`.
        num_samples: importance samples per row of `score_samples`.

    Attributes:
        model_, history_, n_features_in_, feature_names_in_, seed_: as in `VAETransformer`.

    Example:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = StandardScaler().fit_transform(load_iris().data)
    >>> density = kvae.sklearn.VAEDensity(latent_dim=2, epochs=50, random_state=0).fit(X)
    >>> density.score_samples(X).shape  # log p(x) in nats
    (150,)
    >>> density.sample(3, random_state=0).shape
    (3, 4)
    """

    def __init__(
        self,
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        likelihood: str | Distribution = "gaussian",
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        num_samples: int = 500,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        super().__init__(latent_dim, hidden, likelihood, epochs, batch_size, learning_rate, random_state, verbose)
        self.num_samples = num_samples

    def score_samples(self, X: Any) -> Array:
        """Estimates of log p(x) by importance sampling, log (1/K) Σ_k p(x|z_k) p(z_k) / q(z_k|x).

        As in `kvae.evaluation.log_likelihood`, they are lower bounds on average, which K = `num_samples` tightens.
        All rows share the noise of the z_k, which `seed_` fixes: the estimate of a row does not depend on the others.
        At least 32 rows are computed at a time, which takes memory for 32 · K times the widest layer.

        Args:
            X: array-like or data frame `(n, features)`.

        Returns:
            Array float32 `(n,)`, nats.
        """
        check_is_fitted(self)
        x = self.model_.check_images(self._validated(X))
        num_samples = checks.positive_integer(self.num_samples, "num_samples")
        noise = keras.random.normal((num_samples, 1, *self.model_.latent_shape), seed=self.seed_)

        def estimate(x):
            params = self.model_.inference(x)
            z_mean, z_log_var = self.model_.posterior_family.parameters(params)
            sample, _ = self.model_.score(x, z_mean + ops.exp(0.5 * z_log_var) * noise, params, (), self.seed_)
            return bounds.log_mean_exp(sample.log_weights())

        widest = max(self.n_features_in_, self.latent_dim, *self.hidden)
        at_once = max(1, SCORED_AT_ONCE // (num_samples * widest * BLOCK)) * BLOCK
        return self._by_row(functools.partial(in_batches, estimate, batch_size=at_once), x)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples(X)`, in nats per row; `y` is ignored."""
        return float(np.mean(self.score_samples(X), dtype="float64"))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw rows from p(x): a code from the prior, and from p(x|z) a row.

        Args:
            n_samples: number of rows.
            random_state: int for a reproducible draw, `RandomState` or `None`.

        Returns:
            Array float32 `(n_samples, features)`.
        """
        check_is_fitted(self)
        of_codes, of_rows = check_random_state(random_state).randint(2**31 - 1, size=2).tolist()
        z = self.model_.sample_prior(checks.positive_integer(n_samples, "n_samples"), seed=of_codes)
        return self.model_.draw(z, seed=of_rows)
