"""What every penalty offers, and the sum of a model's penalties."""

from __future__ import annotations

from typing import Any

from keras import ops

from kvae import priors
from kvae.settings import Settings
from kvae.types import Seed, Tensor


class Penalty(Settings):
    """Base class of the penalties; each carries its own weight.

    A penalty may log terms of its own: it names them in `term_names` and returns them with the penalty.
    """

    term_names: tuple[str, ...] = ()

    def check(self, model: Any) -> None:
        """Raise a `ValueError` if the penalty cannot apply to `model`."""

    def bind(self, model: Any) -> None:
        """Create in `model` the variables that the penalty needs, of which callbacks may change some; none here."""

    def __call__(
        self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The weighted penalty of each example.

        Args:
            x: images as the encoder saw them, `(batch, *image_shape)`.
            z: their codes `(samples, batch, *latent_shape)`: draws of q(z|x), or an autoencoder's code as one sample.
            params: the encoder's outputs: parameters of q(z|x) `(batch, ...)`, or an autoencoder's codes.
            model: the `VAE` or `Autoencoder`, with its `encoder`, `posterior_family`, `prior`, ...
            seed: `keras.random.SeedGenerator`.

        Returns:
            Tensor `(batch,)`; or a tuple of it and a dict from `term_names` to tensors `(batch,)` to be logged.
        """
        raise NotImplementedError


def as_list(penalty: Penalty | list[Penalty] | tuple[Penalty, ...] | None) -> list[Penalty]:
    """The argument `penalty` of a model as a list, or a `ValueError`."""
    penalties = [] if penalty is None else list(penalty) if isinstance(penalty, (list, tuple)) else [penalty]
    for each in penalties:
        if not isinstance(each, Penalty):
            raise ValueError(f"`penalty` must be None, a kvae.penalties.Penalty or a list of them. Received: {each!r}")
    return penalties


def total(
    penalties: list[Penalty], x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of penalties `(batch,)`, and the terms that they log; arguments as in `Penalty.__call__`."""
    terms: dict[str, Tensor] = {}
    penalty_loss = ops.zeros(ops.shape(params)[:1], "float32")
    for penalty in penalties:
        result = penalty(x, z, params, model, seed)
        loss, logged = result if isinstance(result, tuple) else (result, {})
        penalty_loss = penalty_loss + loss
        terms |= logged
    return penalty_loss, terms


def check_density(penalty: Penalty, model: Any, sampled: bool = False, prior: bool = False) -> None:
    """Raise a `ValueError` unless `model` has what a penalty on its densities needs.

    Args:
        penalty: the `Penalty`, for the message.
        model: the model.
        sampled: whether the penalty is differentiated through the samples z of q(z|x).
        prior: whether it needs one p(z) for all examples.
    """
    name = type(penalty).__name__
    if not hasattr(model, "posterior_family"):
        raise ValueError(f"`penalty` {name} needs a posterior q(z|x): use a VAE. Received: {type(model).__name__}")
    if sampled and model.bound.gradient != "reparameterized":
        raise ValueError(
            f'`penalty` {name} needs reparameterized samples: use a bound with gradient="reparameterized". '
            f"Received: gradient={model.bound.gradient!r}"
        )
    if prior and isinstance(model.prior, priors.Conditional):
        raise ValueError(
            f"`penalty` {name} needs the same prior p(z) for all examples. Received: a "
            f"{type(model.prior).__name__} prior"
        )
