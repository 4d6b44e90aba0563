"""The comparison of a model with PCA during training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kvae import baselines, checks
from kvae.callbacks.pictures import Picture, select, spaced_rows
from kvae.evaluation.samples import mse_of_model
from kvae.models import conditions
from kvae.plots.canvas import ClassNames
from kvae.plots.examples import grids_of
from kvae.types import ArrayLike, PathLike

COLUMNS = 10  # images in the figure


def fit_pca(latent_dim: int, x: ArrayLike) -> baselines.PCA:
    """Fit PCA with `latent_dim` components, or with as many as images and pixels of `x` `(n, *image_shape)` allow."""
    x = np.asarray(x)
    pca = baselines.PCA(min(latent_dim, len(x), math.prod(x.shape[1:])))
    pca.fit(x)
    return pca


class PCABaseline(Picture):
    """Compare the model with PCA of the same latent size in a figure, and log both reconstruction errors.

    PCA is fitted once, before training, with fewer components if there are fewer pixels or images. The mean squared
    errors per pixel over `x_test` are added to the logs of each epoch as `reconstruction_mse` and
    `pca_reconstruction_mse`, so that `History`, and a `CSVLogger` later in the list of callbacks, record them.

    Args:
        folder: str or path.
        x_train: images `(n, *image_shape)` to which PCA is fitted.
        x_test: images `(m, *image_shape)` that both methods reconstruct.
        y_test: labels of `x_test`, which set the colours; a CVAE also conditions on them.
        every: int, number of epochs between figures.
        tensorboard: log directory, or `None`.
        class_names: one string per class, indexed by the label; `None` for the class numbers.

    Raises:
        ValueError: as for `Picture`; also, before training starts, if images or labels do not match the model.

    Example:

    >>> baseline = kvae.callbacks.PCABaseline("runs/first", data.x_train, data.x_test, data.y_test)
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[baseline])
    >>> better = history.history["reconstruction_mse"][-1] < history.history["pca_reconstruction_mse"][-1]
    """

    name = "pca_baseline"

    def __init__(
        self,
        folder: PathLike,
        x_train: ArrayLike,
        x_test: ArrayLike,
        y_test: Any = None,
        every: int = 1,
        tensorboard: PathLike | None = None,
        class_names: ClassNames = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.class_names = class_names
        self.x_train = x_train
        self.x_test, self.y_test = select(x_test, y_test, slice(None))

    def on_train_begin(self, logs: Any = None) -> None:
        checks.array(self.x_test, self.model.image_shape, "x_test")
        pca = fit_pca(self.model.latent_dim, self.x_train)
        self._first = select(self.x_test, self.y_test, slice(COLUMNS))
        self._points = select(self.x_test, self.y_test, spaced_rows(len(self.x_test)))
        self._pca_first, self._pca_z = pca.reconstruct(self._first[0]), pca.encode(self._points[0])
        self._pca_error = mse_of_model(pca, self.x_test)
        self._error = mse_of_model(self.model, self.x_test, self.y_test)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._error = mse_of_model(self.model, self.x_test, self.y_test)
        logs["reconstruction_mse"], logs["pca_reconstruction_mse"] = self._error, self._pca_error
        super().on_epoch_end(epoch, logs)

    def figure(self, epoch: int) -> Figure:
        return grids_of(self.model.image_shape).beside_pca(
            self._first[0],
            self.model.reconstruct(*self._first),
            self._pca_first,
            self.model.encode(*self._points),
            self._pca_z,
            conditions.class_part(self._points[1]),
            title=f"Model and PCA after epoch {epoch}",
            columns=COLUMNS,
            class_names=self.class_names,
            errors=(self._error, self._pca_error),
        )
