"""Several families side by side: codes, or rows of a table, with normal elements first and one-hot ones behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.distributions.base import Distribution
from kvae.types import Array, Seed, Shape, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class Joint(Distribution):
    """Independent parts of several families, next to each other on the last axis of a code or of an example.

    A normal and a categorical part make the posterior of JointVAE, whose continuous dimensions describe what varies
    within the classes that the categorical ones find (Dupont 2018, https://arxiv.org/abs/1804.00104, eq. 4). An encoder
    gives the parameters of one part after the other; the KL is the sum of the parts', and exact where theirs are. In
    `posterior(x)` of a model, the parameters of all parts follow each other. As a likelihood it describes the rows of a
    table whose columns are of several kinds; `Mixed` is one whose columns have names. `generate` then returns draws.

    Args:
        parts: list of `Distribution`s, such as `[Normal(), Categorical()]`.
        sizes: number of dimensions of each; of a `Categorical`, the number of its values.

    Raises:
        ValueError: if there are no parts, something else is among them, or there is not one size for each.

    Example:

    >>> from kvae.distributions import Categorical, Joint, Normal
    >>> posterior = Joint([Normal(), Categorical()], sizes=[8, 10])
    >>> networks = kvae.networks.mlp((8, 8, 1), latent_dim=18, posterior=posterior)
    >>> model = kvae.VAE(*networks, posterior=posterior)
    >>> z_mean, z_log_var, logits = model.posterior(x)
    """

    generates_draws = True

    def __init__(self, parts: Sequence[Distribution], sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        listed = isinstance(parts, (list, tuple)) and len(parts) > 0
        if not listed or not all(isinstance(part, Distribution) for part in parts):
            raise ValueError(f"`parts` must be a list of at least one kvae Distribution. Received: {parts!r}")
        if not isinstance(sizes, (list, tuple)) or len(sizes) != len(parts):
            raise ValueError(f"`sizes` must hold one integer for each of the {len(parts)} parts. Received: {sizes!r}")
        self.parts = list(parts)
        self.sizes = [checks.positive_integer(size, "sizes") for size in sizes]
        self.num_parameters = sum(part.num_parameters for part in self.parts)
        self.reparameterized = all(part.reparameterized for part in self.parts)
        self.discrete = any(part.discrete for part in self.parts)

    def bind(self, event_shape: Shape) -> None:
        *places, size = event_shape
        self.num_outputs(size)
        for part, own in zip(self.parts, self.sizes, strict=True):
            part.bind((*places, own))

    def num_outputs(self, size: int) -> int:
        if size != sum(self.sizes):
            raise ValueError(
                f"The last axis of a code or of an example must have {sum(self.sizes)} elements, the sum of the "
                f"`sizes` of a Joint. Received: {size}"
            )
        return sum(part.num_outputs(own) for part, own in zip(self.parts, self.sizes, strict=True))

    def split_params(self, params: Tensor) -> list[Tensor]:
        """The parameters of each part."""
        return _split(params, [part.num_outputs(size) for part, size in zip(self.parts, self.sizes, strict=True)])

    def split_value(self, value: Tensor) -> list[Tensor]:
        """The part of a code `(..., size)` that belongs to each family."""
        return _split(value, self.sizes)

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        each = zip(self.parts, self.split_params(params), strict=True)
        return tuple(tensor for part, own in each for tensor in part.parameters(own))

    def sample_and_log_prob(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        return self._drawn("sample_and_log_prob", params, num_samples, seed, event_ndim)

    def sample_for_gradient(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        return self._drawn("sample_for_gradient", params, num_samples, seed, event_ndim)

    def _drawn(self, method, params, num_samples, seed, event_ndim):
        seeds = checks.seeds(seed, len(self.parts))
        drawn = [
            getattr(part, method)(own, num_samples, each, event_ndim)
            for part, own, each in zip(self.parts, self.split_params(params), seeds, strict=True)
        ]
        return ops.concatenate([z for z, _ in drawn], axis=-1), sum(log_prob for _, log_prob in drawn)

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        each = zip(self.parts, self.split_value(value), self.split_params(params), strict=True)
        return sum(part.log_prob(z, own, event_ndim) for part, z, own in each)

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        each = zip(self.parts, self.split_value(value), self.split_params(params), strict=True)
        return ops.concatenate([part.elementwise_log_prob(z, own) for part, z, own in each], axis=-1)

    def mean(self, params: Tensor) -> Tensor:
        each = zip(self.parts, self.split_params(params), strict=True)
        return ops.concatenate([part.mean(own) for part, own in each], axis=-1)

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        each = zip(self.parts, self.split_value(value), self.split_params(params), strict=True)
        return ops.concatenate([part.tempered(z, own, temperature) for part, z, own in each], axis=-1)

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        kls = self._of_parts("elementwise_kl", params, prior, prior_params)
        return None if kls is None else ops.concatenate(kls, axis=-1)

    def kl_divergence(
        self, params: Tensor, prior: Distribution, prior_params: Tensor, event_ndim: int = 1
    ) -> Tensor | None:
        kls = self.kl_of_parts(params, prior, prior_params, event_ndim)
        return None if kls is None else sum(kls)

    def kl_of_parts(
        self, params: Tensor, prior: Distribution, prior_params: Tensor, event_ndim: int = 1
    ) -> list[Tensor] | None:
        """The KL of each part in closed form, tensors of the leading axes; `None` if one has none."""
        return self._of_parts("kl_divergence", params, prior, prior_params, event_ndim)

    def _of_parts(self, method, params, prior, prior_params, *args):
        if not isinstance(prior, Joint) or prior.sizes != self.sizes:
            return None
        each = zip(self.parts, prior.parts, self.split_params(params), prior.split_params(prior_params), strict=True)
        kls = [getattr(part, method)(own, other, others, *args) for part, other, own, others in each]
        return None if any(kl is None for kl in kls) else kls

    def standard_prior(self) -> Distribution:
        return Joint([part.standard_prior() for part in self.parts], self.sizes)

    def as_input(self, value: Tensor) -> Tensor:
        each = zip(self.parts, self.split_value(value), strict=True)
        return ops.concatenate([part.as_input(own) for part, own in each], axis=-1)

    def check(self, value: Array, name: str) -> None:
        for part, place, called in self.pieces(name):
            self.check_part(part, value[..., place], called)

    def pieces(self, name: str) -> Iterator[tuple[Distribution, Any, str]]:
        """The pieces of a value `name` that are checked on their own: family, place on the last axis, and a name."""
        start = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            yield part, slice(start, start + size), f"{name}[..., {start}:{start + size}]"
            start += size

    def check_part(self, part: Distribution, value: Array, name: str) -> None:
        """Raise a `ValueError` if `value`, without missing values, lies outside the support of one of the pieces."""
        part.check(value, name)

    def get_config(self) -> dict[str, Any]:
        parts = [keras.saving.serialize_keras_object(part) for part in self.parts]
        return {**super().get_config(), "parts": parts, "sizes": self.sizes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Joint:
        parts = [keras.saving.deserialize_keras_object(part) for part in config["parts"]]
        return cls(**{**config, "parts": parts})


def _split(tensor, sizes):
    """`tensor` `(..., sum(sizes))` cut along its last axis."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return list(ops.split(tensor, ends, axis=-1)) if ends else [tensor]
