"""Lowering the temperature of relaxed categorical codes."""

from __future__ import annotations

from typing import Any

import keras

from kvae import checks
from kvae.distributions import Categorical, Joint
from kvae.types import Number


class TemperatureAnnealing(keras.callbacks.Callback):
    """Lower the temperature τ of a categorical posterior's relaxed draws over the first epochs.

    τ = start · (end / start)^min(1, e / epochs) in epoch e = 0, 1, …, which is logged as `temperature`: at first
    gradients have little noise, later the draws are close to one-hot vectors, as those that `generate` decodes (Jang,
    Gu, Poole 2017, section 2.2, https://arxiv.org/abs/1611.01144).

    Args:
        epochs: int, length of the schedule.
        end: τ from then on, above 0.
        start: τ in the first epoch; `None` for the one that the posterior was given.

    Raises:
        ValueError: if an argument is out of range, or, before training, if the posterior has no temperature.

    Example:

    >>> networks = kvae.networks.mlp((8, 8, 1), latent_dim=(20, 10), posterior="categorical")
    >>> model = kvae.VAE(*networks, posterior="categorical")
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(x, epochs=30, callbacks=[kvae.callbacks.TemperatureAnnealing(20, end=0.5)])
    """

    def __init__(self, epochs: int, end: Number = 0.5, start: Number | None = None) -> None:
        super().__init__()
        self.epochs = checks.positive_integer(epochs, "epochs")
        self.end = checks.positive_number(end, "end")
        self.start = None if start is None else checks.positive_number(start, "start")
        self._families: list[Categorical] = []

    def on_train_begin(self, logs: Any = None) -> None:
        family = getattr(self.model, "posterior_family", None)
        parts = family.parts if isinstance(family, Joint) else [family]
        self._families = [part for part in parts if isinstance(part, Categorical)]
        if not self._families:
            raise ValueError(
                "TemperatureAnnealing requires a model with a categorical posterior. "
                f"Received: a {type(self.model).__name__} with a {type(family).__name__} posterior"
            )

    def value(self, epoch: int) -> float:
        """The temperature τ in `epoch` = 0, 1, and so on."""
        start = self._families[0].initial_temperature if self.start is None else self.start
        return start * (self.end / start) ** min(1.0, epoch / self.epochs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for family in self._families:
            family.temperature.assign(self.value(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["temperature"] = self.value(epoch)
