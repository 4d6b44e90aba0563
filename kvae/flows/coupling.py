"""Coupling flows: a part of the dimensions is mapped, by functions of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.flows.autoregressive import limited
from kvae.flows.base import Flow, hidden_sizes, joined
from kvae.types import Number, Tensor

LEAST = 1e-3  # of a bin's width and height, as a share, and of a slope
SLOPE = math.log(math.expm1(1.0 - LEAST))  # softplus(SLOPE) + LEAST = 1


class HalfByHalf(Flow):
    """Base class of the coupling flows: the second half of the dimensions is mapped elementwise.

    Args:
        hidden: units of the hidden layers of the network from the first half, and the context, to the map's parameters.
    """

    ordered, smallest = True, 2

    def __init__(self, hidden: Sequence[int] = (64, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden_sizes(hidden)

    @property
    def num_parameters(self) -> int:
        """Numbers that describe the map of one dimension."""
        raise NotImplementedError

    def make_weights(self) -> None:
        self.kept = self.size // 2
        outputs = self.num_parameters * (self.size - self.kept)
        self.conditioner = self.network(self.kept + self.context_size, self.hidden, outputs)

    def elementwise(self, z: Tensor, params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """The map, or its inverse, of each number of `z` `(..., n)`, and its log |derivative|.

        Args:
            z: tensor `(..., n)`.
            params: tensor `(..., n, num_parameters)`; zeros make the map the identity.
            inverse: whether it is the inverse.
        """
        raise NotImplementedError

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._mapped(z, context, inverse=False)

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._mapped(value, context, inverse=True)

    def _mapped(self, z, context, inverse):
        first, second = z[..., : self.kept], z[..., self.kept :]
        inputs = joined(first, context)
        params = self.conditioner(ops.reshape(inputs, (-1, inputs.shape[-1])))
        params = ops.reshape(params, (*ops.shape(second), self.num_parameters))
        second, log_slope = self.elementwise(second, params, inverse)
        return ops.concatenate([first, second], axis=-1), ops.sum(log_slope, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden": list(self.hidden)}


@keras.saving.register_keras_serializable(package="kvae")
class Coupling(HalfByHalf):
    """Affine coupling, RealNVP: the second half becomes z exp(s) + t (Dinh et al. 2017, https://arxiv.org/abs/1605.08803).

    Both directions take one pass of the network.

    Args:
        hidden: units of the hidden layers of the network from the first half to s and t.

    Example:

    >>> prior = kvae.flows.Prior([kvae.flows.Coupling() for _ in range(6)])
    """

    num_parameters = 2

    def elementwise(self, z: Tensor, params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        shift, log_scale = params[..., 0], limited(params[..., 1])
        if inverse:
            return (z - shift) * ops.exp(-log_scale), -log_scale
        return z * ops.exp(log_scale) + shift, log_scale


@keras.saving.register_keras_serializable(package="kvae")
class Spline(HalfByHalf):
    """Neural spline coupling: the second half is mapped by monotone splines of quotients of quadratic polynomials.

    Between −`bound` and `bound` a spline runs through `bins` + 1 knots, outside it is the identity (Durkan et al. 2019,
    https://arxiv.org/abs/1906.04032, section 3.1 and appendix A.1). Both directions take one pass of the network.

    Args:
        hidden: units of the hidden layers of the network from the first half to the splines.
        bins: number of bins, at least 2.
        bound: where the splines end.

    Raises:
        ValueError: for sizes that are not positive integers, a single bin, or a `bound` that is not positive.

    Example:

    >>> prior = kvae.flows.Prior([kvae.flows.Spline(bins=8) for _ in range(4)])
    """

    def __init__(self, hidden: Sequence[int] = (64, 64), bins: int = 8, bound: Number = 4.0, **kwargs: Any) -> None:
        super().__init__(hidden, **kwargs)
        self.bins = checks.positive_integer(bins, "bins")
        if self.bins < 2:
            raise ValueError(f"`bins` must be at least 2. Received: {bins}")
        self.bound = checks.positive_number(bound, "bound")

    @property
    def num_parameters(self) -> int:
        return 3 * self.bins - 1

    def elementwise(self, z: Tensor, params: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        x, y, slopes = self._knots(params)
        inside = ops.abs(z) < self.bound
        clipped = ops.clip(z, -self.bound, self.bound)
        knots = y if inverse else x
        k = ops.sum(ops.cast(clipped[..., None] >= knots[..., 1:-1], "int32"), axis=-1)[..., None]

        def at(values, offset=0):
            return ops.take_along_axis(values, k + offset, axis=-1)[..., 0]

        x_k, width, y_k, height = at(x), at(x, 1) - at(x), at(y), at(y, 1) - at(y)
        s, d, d_next = height / width, at(slopes), at(slopes, 1)
        total = d + d_next - 2.0 * s
        if inverse:  # the root of a quadratic equation, eq. 29 to 32
            rest = clipped - y_k
            a, b, c = height * (s - d) + rest * total, height * d - rest * total, -s * rest
            t = 2.0 * c / (-b - ops.sqrt(ops.maximum(ops.square(b) - 4.0 * a * c, 0.0)))
            mapped = t * width + x_k
        else:
            t = (clipped - x_k) / width
            mapped = y_k + height * (s * ops.square(t) + d * t * (1.0 - t)) / (s + total * t * (1.0 - t))
        below = s + total * t * (1.0 - t)
        above = d_next * ops.square(t) + 2.0 * s * t * (1.0 - t) + d * ops.square(1.0 - t)
        log_slope = 2.0 * ops.log(s) + ops.log(above) - 2.0 * ops.log(below)
        log_slope = ops.where(inside, -log_slope if inverse else log_slope, 0.0)
        return ops.where(inside, mapped, z), log_slope

    def _knots(self, params):
        """Knots x and y and the slopes at them, each `(..., bins + 1)`."""
        n = self.bins

        def knots(logits):
            shares = LEAST + (1.0 - LEAST * n) * ops.softmax(logits, axis=-1)
            inner = self.bound * (2.0 * ops.cumsum(shares, axis=-1)[..., :-1] - 1.0)
            end = ops.full_like(inner[..., :1], self.bound)
            return ops.concatenate([-end, inner, end], axis=-1)

        inner = LEAST + ops.softplus(params[..., 2 * n :] + SLOPE)
        one = ops.ones_like(inner[..., :1])  # the slope of the identity outside
        return knots(params[..., :n]), knots(params[..., n : 2 * n]), ops.concatenate([one, inner, one], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "bound": self.bound}
