"""Warm-up of the KL weight β, and what all warm-ups share."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import keras

from kvae import checks

SCHEDULES = ("linear", "cyclical")


class Warmup(keras.callbacks.Callback):
    """Base class of the callbacks that raise a variable of the model from 0 to a target over the first epochs.

    A subclass names the `variable`, under which the value of each epoch is also logged, and gives its `target`.

    Args:
        epochs: int, length of the warm-up.
    """

    variable: str

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = checks.positive_integer(epochs, "epochs")
        self._target = 0.0  # set once training starts

    def target(self) -> float:
        """Return the value after the warm-up, or raise a `ValueError` if the model has no such variable."""
        raise NotImplementedError

    def value(self, epoch: int) -> float:
        """Return the variable in `epoch` = 0, 1, … as a fraction of its target, in [0, 1]."""
        return min(1.0, epoch / self.epochs)

    def on_train_begin(self, logs: Any = None) -> None:
        self._target = self.target()
        last = self.params["epochs"] - 1
        if self.value(last) < 1:
            warnings.warn(
                f"{type(self).__name__}: training will end at {self.variable}={self._target * self.value(last):.3g}, "
                f"below the target {self._target:.3g}: train for more than {self.epochs} epochs, or shorten the "
                f"warm-up. Received: fit for {self.params['epochs']} epochs",
                UserWarning,
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        getattr(self.model, self.variable).assign(self._target * self.value(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs[self.variable] = self._target * self.value(epoch)


class KLWarmup(Warmup):
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

    variable = "beta"

    def __init__(
        self,
        epochs: int,
        beta: float | None = None,
        schedule: Literal["linear", "cyclical"] = "linear",
        cycles: int = 4,
        ratio: float = 0.5,
    ) -> None:
        super().__init__(epochs)
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
        self._target_model = None

    def value(self, epoch: int) -> float:
        if epoch >= self.epochs or self.schedule == "linear":
            return super().value(epoch)
        # (epoch mod length) / length with length = epochs / cycles, in integer arithmetic: a cycle starts at exactly 0.
        position = epoch * self.cycles % self.epochs / self.epochs
        return min(1.0, position / self.ratio)

    def target(self) -> float:
        if not hasattr(self.model, "beta"):
            raise ValueError(
                f"KLWarmup requires a model with a variable `beta`, such as VAE. Received: {type(self.model).__name__}"
            )
        if self.beta is not None:
            return self.beta
        # Read only once per model: a second `fit` may start with a β that the warm-up left below its target.
        if self._target_model is not self.model:
            self._target_model = self.model
            return float(keras.ops.convert_to_numpy(self.model.beta))
        return self._target
