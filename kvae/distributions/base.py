"""What every family of distributions offers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvae.types import Array, Seed, Shape, Tensor

UNIFORM_EDGE = 2.0**-24  # uniform draws keep this distance from 0 and 1: half a step of float32's grid


class Distribution(keras.layers.Layer):
    """Base class of all families: posteriors, likelihoods and the components of priors.

    A model asks for the density of whole events: of a code, or of an image. `log_prob`, `sample_and_log_prob` and
    `kl_divergence` therefore sum over the last `event_ndim` axes, and nothing else does. A family whose elements are
    independent implements `elementwise_log_prob` (and `elementwise_kl` where there is a closed form) and inherits
    these sums. A family that does not factorise, such as a normalising flow, overrides `log_prob` and, where a draw
    and its density are computed together, `sample_and_log_prob`.

    It is a Keras layer, so that weights of its own (one σ for all pixels, a flow) are tracked, trained and saved with
    the model that uses it.

    Attributes:
        num_parameters: how many numbers describe one element. An encoder for `latent_dim` dimensions therefore ends in
            `num_parameters * latent_dim` units, a decoder for `channels` in `num_parameters * channels`.
        parameter_names: their names in the maths, such as `("loc", "log_scale")`.
        reparameterized: whether the draws of `sample_for_gradient` are differentiable in the parameters.
        discrete: whether codes have parts with finitely many values.
        allows_missing: whether values that are NaN count as missing.
        generates_draws: whether `generate` returns draws, because means would not be examples: 0.3 of a category.
    """

    reparameterized: bool = True
    discrete: bool = False
    allows_missing: bool = False
    generates_draws: bool = False
    num_parameters: int = 1
    parameter_names: tuple[str, ...] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})  # whatever the policy of the networks
        self.built = True

    def bind(self, event_shape: Shape) -> None:
        """Create weights that depend on the shape of one event; a model calls it for its posterior. None here."""

    def num_outputs(self, size: int) -> int:
        """How many numbers on a network's last axis describe an event whose last axis has `size` elements."""
        return self.num_parameters * size

    def parameters(self, params: Tensor) -> tuple[Tensor, ...]:
        """Split `params` `(..., num_parameters * size)` into the tensors `(..., size)` of `parameter_names`."""
        return tuple(ops.split(params, self.num_parameters, axis=-1))

    def sample(self, params: Tensor, num_samples: int, seed: Seed) -> Tensor:
        """Draw `num_samples` values per element; by `sample_and_log_prob` in a family that implements only that.

        Args:
            params: tensor `(batch, ..., num_parameters * size)`.
            num_samples: number of draws.
            seed: int or `keras.random.SeedGenerator`.

        Returns:
            Tensor `(num_samples, batch, ..., size)`, differentiable in `params` if `reparameterized`.
        """
        if type(self).sample_and_log_prob is Distribution.sample_and_log_prob:
            raise NotImplementedError(f"{type(self).__name__} cannot be sampled: implement `sample`")
        return self.sample_and_log_prob(params, num_samples, seed)[0]

    def elementwise_log_prob(self, value: Tensor, params: Tensor) -> Tensor:
        """Log-density (nats) of each element of `value` `(..., size)` under `params` `(..., num_parameters * size)`."""
        raise NotImplementedError(f"{type(self).__name__} does not factorise over elements: use `log_prob`")

    def log_prob(self, value: Tensor, params: Tensor, event_ndim: int = 1) -> Tensor:
        """Log-density of whole events, in nats.

        Args:
            value: tensor `(..., *event)`.
            params: tensor `(..., *event_params)`, whose leading axes broadcast against those of `value`; its last axis
                is `num_parameters` times as long as that of `value`.
            event_ndim: number of axes of an event: 1 for a latent vector, 3 for an image.

        Returns:
            Tensor of the broadcast leading axes.
        """
        return sum_event(self.elementwise_log_prob(value, params), event_ndim)

    def sample_and_log_prob(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Draw events together with their log-densities.

        Args:
            params: tensor `(batch, *event_params)`.
            num_samples: number of draws.
            seed: int or `keras.random.SeedGenerator`.
            event_ndim: number of axes of an event.

        Returns:
            Tuple of the draws `(num_samples, batch, *event)` and their log-densities `(num_samples, batch)`.
        """
        value = self.sample(params, num_samples, seed)
        return value, self.log_prob(value, params, event_ndim)

    def sample_for_gradient(
        self, params: Tensor, num_samples: int, seed: Seed, event_ndim: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Draws for training, which a gradient follows to the parameters: exact ones, unless a family relaxes them.

        Arguments and result are those of `sample_and_log_prob`.
        """
        return self.sample_and_log_prob(params, num_samples, seed, event_ndim)

    def mean(self, params: Tensor) -> Tensor:
        """Mean `(..., size)` of the distributions described by `params` `(..., num_parameters * size)`."""
        raise NotImplementedError

    def tempered(self, value: Tensor, params: Tensor, temperature: float) -> Tensor:
        """Draws `value` `(..., size)` at `temperature` times their distance from the mean; for a normal, T·σ for σ."""
        mean = self.mean(params)
        return mean + temperature * (value - mean)

    def elementwise_kl(self, params: Tensor, prior: Distribution, prior_params: Tensor) -> Tensor | None:
        """KL(q ‖ p) of each element in closed form, in nats; `None` without one.

        Args:
            params: tensor `(..., num_parameters * size)`, of q, which is of this family.
            prior: the `Distribution` of p.
            prior_params: tensor `(..., prior.num_parameters * size)`.

        Returns:
            Tensor `(..., size)`, or `None`.
        """
        return None

    def kl_divergence(
        self, params: Tensor, prior: Distribution, prior_params: Tensor, event_ndim: int = 1
    ) -> Tensor | None:
        """KL(q ‖ p) of whole events in closed form, in nats; `None` where it has to be estimated from samples.

        Args:
            params: as in `elementwise_kl`.
            prior: as in `elementwise_kl`.
            prior_params: as in `elementwise_kl`.
            event_ndim: number of axes of an event.

        Returns:
            Tensor of the leading axes, or `None`.
        """
        kl = self.elementwise_kl(params, prior, prior_params)
        return None if kl is None else sum_event(kl, event_ndim)

    def standard_prior(self) -> Distribution:
        """The family of the prior that goes with this one as a posterior; with all parameters 0 it is standard."""
        return type(self)()

    def as_input(self, value: Tensor) -> Tensor:
        """Examples as a network should see them: as they are, unless they spread over orders of magnitude."""
        return value

    def scaled(self, params: Tensor, log_size: Tensor) -> Tensor:
        """The parameters of distributions whose means are exp(`log_size`) times as large; of counts alone.

        Args:
            params: tensor `(batch, ..., num_parameters * size)`.
            log_size: tensor that broadcasts against it.

        Raises:
            ValueError: if this family has no logarithm of a mean among its parameters.
        """
        raise ValueError(
            "`size_factor` requires a likelihood of counts, whose mean it multiplies: poisson or negative_binomial. "
            f"Received: {type(self).__name__}"
        )

    def check(self, value: Array, name: str) -> None:
        """Raise a `ValueError` if the NumPy array `value`, called `name`, lies outside the family's support."""

    def element_name(self, index: tuple[int, ...]) -> str:
        """What to call an element of an example, by its index, in errors."""
        return f"column {index[0]}" if len(index) == 1 else f"element {index}"

    def check_training(self, value: Array, name: str) -> None:
        """Raise a `ValueError` if the family cannot be fitted to all of `value`, which `check` has accepted."""


def sum_event(values: Tensor, event_ndim: int) -> Tensor:
    """Sum over the last `event_ndim` axes: from numbers per element to one number per event."""
    return ops.sum(values, axis=tuple(range(-event_ndim, 0)))


def noise_shape(num_samples: int, loc: Tensor) -> tuple[Any, ...]:
    """Shape of the noise of `num_samples` draws for each element of `loc`."""
    return (num_samples, *ops.shape(loc))


def uniform(shape: tuple[Any, ...], seed: Seed) -> Tensor:
    """Draws from U(0, 1) that are neither 0 nor 1, so that every quantile function is finite.

    In float32 whatever the model computes in: half precision would round values near 1 to 1.
    """
    return ops.clip(keras.random.uniform(shape, seed=seed, dtype="float32"), UNIFORM_EDGE, 1.0 - UNIFORM_EDGE)
