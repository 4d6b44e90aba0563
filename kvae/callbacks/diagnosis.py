"""The doctor at work in training."""

import warnings

import keras

from kvae import checks, evaluation


class Diagnosis(keras.callbacks.Callback):
    """Let `evaluation.diagnose` look at the model when training ends, and warn of what it finds.

    Problems and warnings become one `UserWarning` each; a healthy model is told of by nothing. Training is not
    disturbed: the doctor's random numbers are its own. What was found last is in `findings`.

    Args:
        x: images `(n, *image_shape)` that the model is not trained on; of more than 1,000 as many are taken.
        y: their labels, for a conditional model.
        x_train: images that it is trained on, to look for over-fitting; `None` for not looking.
        y_train: their labels.
        every: int, epochs from one look to the next, beside that at the end; `None` for the end alone. Early on a
            model may be told to be collapsed that only has not begun.
        seed: int.

    Raises:
        ValueError: if `every` is no positive integer; before training, if the model has no density.

    Example:

    >>> model.fit(x, epochs=60, callbacks=[kvae.callbacks.Diagnosis(x_test, x_train=x)])
    """

    def __init__(self, x, y=None, x_train=None, y_train=None, every=None, seed=0):
        super().__init__()
        self.data = x, y, x_train, y_train
        self.every = None if every is None else checks.positive_integer(every, "every")
        self.seed = seed
        self.findings = []

    def on_train_begin(self, logs=None):
        evaluation.needs_density(self.model)

    def on_epoch_end(self, epoch, logs=None):
        finished = epoch + 1
        if self.every is not None and finished % self.every == 0 and finished < self.params["epochs"]:
            self._look(f"after epoch {finished}")

    def on_train_end(self, logs=None):
        self._look("at the end")

    def _look(self, when):
        self.findings = evaluation.diagnose(self.model, *self.data, seed=self.seed)
        for finding in self.findings:
            if finding.severity in ("problem", "warning"):
                warnings.warn(f"Diagnosis {when}: {finding}", UserWarning, stacklevel=2)
