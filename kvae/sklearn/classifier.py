"""A classifier of tables of which few rows are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from kvae import networks
from kvae.data.labels import UNKNOWN
from kvae.distributions import Distribution
from kvae.models import SemiSupervisedVAE
from kvae.sklearn.table_vae import TableVAE
from kvae.types import Array


class SemiSupervisedClassifier(ClassifierMixin, TableVAE):
    """Classification with few labels by a `SemiSupervisedVAE`, which also learns from rows without a label.

    As in `sklearn.semi_supervised`, −1 stands for an unknown label. Other labels may be of any type: text in arrays of
    dtype object, with −1 as a number. Columns should be standardised, as for `VAETransformer`.

    Args:
        latent_dim, hidden, likelihood, epochs, batch_size, learning_rate, random_state, verbose: as in
            `VAETransformer`, except that no value may be missing; `hidden` are those of the classifier as well.
        alpha: weight of the classification loss, as in `kvae.SemiSupervisedVAE`.

    Attributes:
        model_: the trained `kvae.SemiSupervisedVAE`.
        classes_: the known labels, sorted.
        history_, n_features_in_, feature_names_in_, seed_: as in `VAETransformer`.

    Example:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> data = load_iris()
    >>> X = StandardScaler().fit_transform(data.data)
    >>> y = kvae.data.few_labels(data.target, per_class=5)  # the others become -1
    >>> classifier = kvae.sklearn.SemiSupervisedClassifier(epochs=50, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (150, 3)
    """

    _takes_missing = False

    def __init__(
        self,
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        likelihood: str | Distribution = "gaussian",
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        alpha: float = 0.1,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        super().__init__(latent_dim, hidden, likelihood, epochs, batch_size, learning_rate, random_state, verbose)
        self.alpha = alpha

    def fit(self, X: Any, y: Any) -> SemiSupervisedClassifier:
        """Train a new model.

        Args:
            X: array-like or data frame `(n, features)`.
            y: array-like `(n,)`, −1 where the label is unknown.

        Returns:
            The classifier.

        Raises:
            ValueError: if an argument is invalid, `X` does not fit the likelihood, or fewer than two classes have a
                label.
        """
        X, y = self._validated(X, reset=True, y=y)
        if y.dtype.kind in "US" and (y == str(UNKNOWN)).any():
            raise ValueError(
                'Text in `y` must have dtype object, with -1 as a number where it is unknown: np.array(["a", -1], '
                f'object). Received: "-1" in dtype {y.dtype}'
            )
        known = y != UNKNOWN
        check_classification_targets(y[known])
        self.classes_, labels = np.unique(y[known], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "`y` must hold labels of at least 2 classes, and -1 where they are unknown. "
                f"Received: {len(self.classes_)} class{'es' * (len(self.classes_) != 1)}"
            )
        codes = np.full(len(y), UNKNOWN)
        codes[known] = labels

        def build(seed):
            num_classes = len(self.classes_)
            encoder, decoder, family = self._networks(num_classes)
            judge = networks.classifier(X.shape[1:], num_classes, self.hidden)
            return SemiSupervisedVAE(encoder, decoder, judge, num_classes, self.alpha, likelihood=family, seed=seed)

        return self._train(build, X, codes)

    def predict_proba(self, X: Any) -> Array:
        """The probabilities q(y|x) of the classes, in the order of `classes_`: float32 `(n, classes)`."""
        check_is_fitted(self)
        return self._by_row(self.model_.classify, self._validated(X))

    def predict(self, X: Any) -> Array:
        """The most probable class of each row of `X` `(n, features)`: `(n,)`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]
