"""What the estimators share: their arguments, and how they are trained."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from kvae import checks, networks
from kvae.distributions import Distribution, likelihood_family

BLOCK = 32  # rows, a multiple of what processors take at once
AT_ONCE = 30 * BLOCK  # rows, fewer than a model's methods take, which would divide them elsewhere

_initializing = threading.Lock()


class TableVAE(BaseEstimator):
    """What the estimators share: their arguments, and how they are trained."""

    _takes_missing = True

    def __init__(
        self,
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        likelihood: str | Distribution = "gaussian",
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allows_missing()
        return tags

    def _allows_missing(self):
        family = self.likelihood  # no name stands for one with missing values
        return self._takes_missing and isinstance(family, Distribution) and family.allows_missing

    def _validated(self, X, reset=False, **kwargs):
        finite = "allow-nan" if self._allows_missing() else True
        return validate_data(self, X, dtype=np.float32, reset=reset, ensure_all_finite=finite, **kwargs)

    def _by_row(self, function, X):
        """`function` of rows of an array `(n, ...)`, so that the result of a row does not depend on its place.

        Products of matrices take several rows at once, and what remains after whole blocks by other instructions, which
        round differently. With whole blocks alone, other rows and another order change no bit.
        """
        filled = np.concatenate([X, np.repeat(X[-1:], -len(X) % BLOCK, axis=0)])
        parts = [function(filled[start : start + AT_ONCE]) for start in range(0, len(filled), AT_ONCE)]
        return np.concatenate(parts)[: len(X)]

    def _networks(self, num_classes=None):
        """Encoder and decoder, and the likelihood: a new one, because its weights are trained."""
        family = likelihood_family(self.likelihood)
        if family is self.likelihood:
            family = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(family))
        shape = (self.n_features_in_,)
        encoder, decoder = networks.mlp(shape, self.latent_dim, self.hidden, num_classes, likelihood=family)
        return encoder, decoder, family

    def _train(self, build, X, y=None, sample_weight=None):
        """Train the model that `build(seed)` returns, reproducibly if `random_state` is an int."""
        weights, seed = check_random_state(self.random_state).randint(2**31 - 1, size=2).tolist()
        rate = checks.positive_number(self.learning_rate, "learning_rate")
        epochs = checks.positive_integer(self.epochs, "epochs")
        batch_size = min(checks.positive_integer(self.batch_size, "batch_size"), len(X))
        with _initialized_by(weights):
            model = build(seed)
        model.compile(keras.optimizers.Adam(rate))
        history = model.fit(
            X, y, sample_weight=sample_weight, epochs=epochs, batch_size=batch_size, verbose=self.verbose
        )
        self.model_, self.history_, self.seed_ = model, history.history, seed
        return self


@contextlib.contextmanager
def _initialized_by(seed: int) -> Iterator[None]:
    """Seed the initial weights of networks: Keras draws them by Python's generator, whose state is restored."""
    with _initializing:
        state = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
