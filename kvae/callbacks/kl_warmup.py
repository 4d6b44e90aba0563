"""Schedules of the KL's weight β."""

import math
import warnings

import keras

from kvae import checks

SCHEDULES = ("linear", "cyclical")


class KLWarmup(keras.callbacks.Callback):
    """Let the KL's weight β rise from 0 during the first epochs, so that reconstruction comes before regularisation.

    Linear: in epoch e, counted from 0, β = target · min(1, e / epochs), after Bowman et al. 2016, section 3.1
    (https://arxiv.org/abs/1511.06349). Cyclical: the warm-up is cut into `cycles`, each of which rises from 0 to the
    target during `ratio` of its length and stays there for the rest: Fu et al. 2019, equations 6 and 7
    (https://arxiv.org/abs/1903.10145). After the warm-up β is the target. What each epoch used is logged as `beta`;
    the logged `reconstruction_loss`, `kl_loss` and `elbo` do not depend on it.

    Args:
        epochs: int, length of the warm-up.
        beta: target, at least 0; `None` for the β that the model has when the callback first meets it.
        schedule: "linear" or "cyclical".
        cycles: int, for the cyclical schedule; a cycle takes at least two epochs.
        ratio: in (0, 1], the share of a cycle in which β rises.

    Raises:
        ValueError: on arguments out of range, and before training if the model has no `beta`.

    Example:

    >>> model.fit(x, epochs=60, callbacks=[kvae.callbacks.KLWarmup(20)])
    """

    def __init__(self, epochs, beta=None, schedule="linear", cycles=4, ratio=0.5):
        super().__init__()
        self.epochs = checks.positive_integer(epochs, "epochs")
        if beta is not None and not (isinstance(beta, (int, float)) and math.isfinite(beta) and beta >= 0):
            raise ValueError(f"`beta` must be a finite number of at least 0, or None. Received: {beta!r}")
        if schedule not in SCHEDULES:
            raise ValueError(f"`schedule` must be one of {list(SCHEDULES)}. Received: {schedule!r}")
        cycles = checks.positive_integer(cycles, "cycles")
        if schedule == "cyclical" and 2 * cycles > epochs:
            raise ValueError(
                f"`cycles` must leave each cycle two epochs or more: at most {epochs // 2} in {epochs} epochs. "
                f"Received: {cycles}"
            )
        if not (isinstance(ratio, (int, float)) and 0 < ratio <= 1):
            raise ValueError(f"`ratio` must lie in (0, 1]. Received: {ratio!r}")
        self.beta = beta
        self.schedule = schedule
        self.cycles = cycles
        self.ratio = ratio
        self._target = beta
        self._target_model = None

    def value(self, epoch):
        """The share of the target, in [0, 1], that β has in `epoch`, counted from 0."""
        if epoch >= self.epochs:
            return 1.0
        if self.schedule == "linear":
            return epoch / self.epochs
        # (epoch mod length) / length with length = epochs / cycles, in integers, so that a cycle begins at exactly 0.
        position = epoch * self.cycles % self.epochs / self.epochs
        return min(1.0, position / self.ratio)

    def on_train_begin(self, logs=None):
        if not hasattr(self.model, "beta"):
            raise ValueError(
                f"KLWarmup needs a model with a variable `beta`, as VAE has. Received: {type(self.model).__name__}"
            )
        # Read once a model: a second `fit` goes on with a warm-up that may have left β below its target.
        if self.beta is None and self._target_model is not self.model:
            self._target = float(keras.ops.convert_to_numpy(self.model.beta))
            self._target_model = self.model
        last = self.params["epochs"] - 1
        if self.value(last) < 1:
            warnings.warn(
                f"KLWarmup: training ends at beta={self._target * self.value(last):.3g}, below its target "
                f"{self._target:.3g}: train for more than {self.epochs} epochs, or warm up for fewer. "
                f"Received: fit for {self.params['epochs']} epochs",
                UserWarning,
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta.assign(self._target * self.value(epoch))

    def on_epoch_end(self, epoch, logs=None):
        logs["beta"] = self._target * self.value(epoch)
