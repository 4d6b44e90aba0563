"""Diagnosis of a model during training."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from kvae import checks, evaluation
from kvae.evaluation.doctor.diagnose import check_model
from kvae.types import ArrayLike


class Diagnosis(keras.callbacks.Callback):
    """Run `evaluation.diagnose` at the end of training, and warn about its findings.

    Each problem or warning is raised as one `UserWarning`; nothing is reported for a healthy model. The diagnosis has
    its own random numbers and does not affect training. The latest findings are in `findings`.

    Args:
        x: images `(n, *image_shape)` that are not used for training; at most 1,000 are used.
        y: their labels, for a conditional model.
        x_train: training images, to check for overfitting; `None` to skip that check.
        y_train: their labels.
        every: int, number of epochs between additional diagnoses; `None` for the end of training only. In the first
            epochs, a model that has not learned much yet may be reported as collapsed.
        seed: int.

    Raises:
        ValueError: if `every` is not a positive integer, or, before training, if the model has neither density nor
            adversary.

    Example:

    >>> diagnosis = kvae.callbacks.Diagnosis(data.x_test, x_train=data.x_train)
    >>> history = model.fit(data.x_train, epochs=60, callbacks=[diagnosis])
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        x_train: ArrayLike | None = None,
        y_train: ArrayLike | None = None,
        every: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.data = x, y, x_train, y_train
        self.every = None if every is None else checks.positive_integer(every, "every")
        self.seed = seed
        self.findings: list[evaluation.Finding] = []

    def on_train_begin(self, logs: Any = None) -> None:
        check_model(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        finished = epoch + 1
        if self.every is not None and finished % self.every == 0 and finished < self.params["epochs"]:
            self._look(f"after epoch {finished}")

    def on_train_end(self, logs: Any = None) -> None:
        self._look("at the end")

    def _look(self, when):
        self.findings = evaluation.diagnose(self.model, *self.data, seed=self.seed)
        for finding in self.findings:
            if finding.severity in ("problem", "warning"):
                warnings.warn(f"Diagnosis {when}: {finding}", UserWarning, stacklevel=2)
