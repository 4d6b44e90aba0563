"""The comparison of a model with PCA during training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kvae import baselines, plots
from kvae.callbacks.pictures import Picture, select, spaced_rows
from kvae.evaluation import reconstruction_mse
from kvae.plots.canvas import ClassNames
from kvae.types import ArrayLike, PathLike


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
        y_test: ArrayLike | None = None,
        every: int = 1,
        tensorboard: PathLike | None = None,
        class_names: ClassNames = None,
    ) -> None:
        super().__init__(folder, every, tensorboard)
        self.class_names = class_names
        self.x_train = x_train
        self.x_test, self.y_test = select(x_test, y_test, slice(None))

    def on_train_begin(self, logs: Any = None) -> None:
        pca = fit_pca(self.model.latent_dim, self.x_train)
        self._pca_z = pca.encode(self.x_test)
        self._pca_reconstruction = pca.decode(self._pca_z)
        self._run_model()
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._run_model()
        logs["reconstruction_mse"] = reconstruction_mse(self.x_test, self._reconstruction)
        logs["pca_reconstruction_mse"] = reconstruction_mse(self.x_test, self._pca_reconstruction)
        super().on_epoch_end(epoch, logs)

    def figure(self, epoch: int) -> Figure:
        rows = spaced_rows(len(self.x_test))
        return plots.beside_pca(
            self.x_test,
            self._reconstruction,
            self._pca_reconstruction,
            self._z[rows],
            self._pca_z[rows],
            None if self.y_test is None else self.y_test[rows],
            title=f"Model and PCA after epoch {epoch}",
            class_names=self.class_names,
        )

    def _run_model(self):
        self._z = self.model.encode(self.x_test, self.y_test)
        self._reconstruction = self.model.decode(self._z, self.y_test)
