"""Warm-up of the KL weight β."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import keras

from kvae import checks

SCHEDULES = ("linear", "cyclical")


class KLWarmup(keras.callbacks.Callback):
    """Increase the KL weight β from 0 over the first epochs, so that the model learns to reconstruct first.

    The linear schedule sets β = target · min(1, e / epochs) in epoch e = 0, 1, …, as in Bowman et al. 2016, section 3.1
    (https://arxiv.org/abs/1511.06349). The cyclical schedule divides the warm-up into `cycles`, each of which rises
    from 0 to the target over a fraction `ratio` of its length and then stays there (Fu et al. 2019, equations 6 and 7,
    https://arxiv.org/abs/1903.10145). After the warm-up, β is the target. The value used in each epoch is logged as
    `beta`; the logged `reconstruction_loss`, `kl_loss` and `elbo` do not depend on it.

    Args:
        epochs: int, length of the warm-up.
        beta: target, at least 0; `None` for the model's β when training first starts with this callback.
        schedule: "linear" or "cyclical".
        cycles: int, number of cycles of the cyclical schedule; each takes at least two epochs.
        ratio: fraction of a cycle in which β rises, in (0, 1].

    Raises:
        ValueError: if an argument is out of range, or, before training, if the model has no `beta`.

    Example:

    >>> history = model.fit(data.x_train, epochs=60, callbacks=[kvae.callbacks.KLWarmup(20)])
    """

    def __init__(
        self,
        epochs: int,
        beta: float | None = None,
        schedule: Literal["linear", "cyclical"] = "linear",
        cycles: int = 4,
        ratio: float = 0.5,
    ) -> None:
        super().__init__()
        self.epochs = checks.positive_integer(epochs, "epochs")
        if beta is not None:
            beta = checks.number(beta, "beta", at_least=0)
        if schedule not in SCHEDULES:
            raise ValueError(f"`schedule` must be one of {list(SCHEDULES)}. Received: {schedule!r}")
        cycles = checks.positive_integer(cycles, "cycles")
        if schedule == "cyclical" and 2 * cycles > epochs:
            raise ValueError(
                f"`cycles` must give each cycle at least two epochs: at most {epochs // 2} cycles in {epochs} epochs. "
                f"Received: {cycles}"
            )
        self.beta = beta
        self.schedule = schedule
        self.cycles = cycles
        self.ratio = checks.number(ratio, "ratio", above=0, at_most=1)
        self._target: Any = beta  # a float once training starts
        self._target_model = None

    def value(self, epoch: int) -> float:
        """Return β in `epoch` = 0, 1, … as a fraction of its target, in [0, 1]."""
        if epoch >= self.epochs:
            return 1.0
        if self.schedule == "linear":
            return epoch / self.epochs
        # (epoch mod length) / length with length = epochs / cycles, in integer arithmetic: a cycle starts at exactly 0.
        position = epoch * self.cycles % self.epochs / self.epochs
        return min(1.0, position / self.ratio)

    def on_train_begin(self, logs: Any = None) -> None:
        if not hasattr(self.model, "beta"):
            raise ValueError(
                f"KLWarmup requires a model with a variable `beta`, such as VAE. Received: {type(self.model).__name__}"
            )
        # Read only once per model: a second `fit` may start with a β that the warm-up left below its target.
        if self.beta is None and self._target_model is not self.model:
            self._target = float(keras.ops.convert_to_numpy(self.model.beta))
            self._target_model = self.model
        last = self.params["epochs"] - 1
        if self.value(last) < 1:
            warnings.warn(
                f"KLWarmup: training will end at beta={self._target * self.value(last):.3g}, below the target "
                f"{self._target:.3g}: train for more than {self.epochs} epochs, or shorten the warm-up. "
                f"Received: fit for {self.params['epochs']} epochs",
                UserWarning,
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.beta.assign(self._target * self.value(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["beta"] = self._target * self.value(epoch)
