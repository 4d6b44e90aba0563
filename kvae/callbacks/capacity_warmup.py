"""Warm-up of the capacity of a code."""

from __future__ import annotations

from kvae.callbacks.kl_warmup import Warmup
from kvae.penalties import Capacity


class CapacityWarmup(Warmup):
    """Raise the capacity C of `penalties.Capacity` from 0 over the first epochs (Burgess et al. 2018, section 5).

    C = capacity · min(1, e / epochs) in epoch e = 0, 1, …, which is logged as `capacity`.
    https://arxiv.org/abs/1804.03599

    Args:
        epochs: int, length of the warm-up.

    Raises:
        ValueError: if `epochs` is not a positive integer, or, before training, if the model has no `Capacity`.

    Example:

    >>> model = kvae.VAE(encoder, decoder, penalty=kvae.penalties.Capacity(gamma=100.0, capacity=10.0))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(x, epochs=60, callbacks=[kvae.callbacks.CapacityWarmup(40)])
    """

    variable = "capacity"

    def target(self) -> float:
        for penalty in getattr(self.model, "penalties", ()):
            if isinstance(penalty, Capacity):
                return float(penalty.capacity)
        raise ValueError(
            "CapacityWarmup requires a model with penalty=kvae.penalties.Capacity(...). "
            f"Received: a {type(self.model).__name__} without it"
        )
