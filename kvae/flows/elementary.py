"""Planar and radial flows (Rezende & Mohamed 2015, https://arxiv.org/abs/1505.05770, section 4.1)."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from kvae.flows.base import Flow
from kvae.types import Tensor

UNMOVED = math.log(math.e - 1.0)  # softplus(UNMOVED) = 1
BISECTIONS = 40  # halvings of an interval that holds the solution, beyond float32's precision


class Elementary(Flow):
    """Base class of the flows with a few numbers, which are weights, shifted by a linear map of the context."""

    @property
    def num_weights(self) -> int:
        """How many numbers describe the flow."""
        raise NotImplementedError

    def make_weights(self) -> None:
        start = keras.initializers.RandomNormal(stddev=0.1)
        self.numbers = self.add_weight(shape=(self.num_weights,), initializer=start, name="numbers")
        if self.context_size:
            self.from_context = layers.Dense(self.num_weights, kernel_initializer="zeros", use_bias=False)
            self.from_context.build((None, self.context_size))

    def described(self, context: Tensor | None) -> Tensor:
        """The numbers that describe the flow, `(num_weights,)` or, with a context, `(..., num_weights)`."""
        numbers = ops.convert_to_tensor(self.numbers)
        return numbers if context is None else numbers + self.from_context(context)


@keras.saving.register_keras_serializable(package="kvae")
class Planar(Elementary):
    """f(z) = z + û tanh(wᵀz + b), a contraction or expansion along û around a hyperplane (eq. 10 to 12).

    û is u moved along w so that wᵀû > −1, without which f has no inverse (appendix A.1, shifted so that û = u where
    wᵀu = 0). The inverse solves one
    increasing equation in wᵀz by bisection.

    Example:

    >>> flow = kvae.flows.Planar()
    >>> flow.bind(size=2)
    >>> value, log_det = flow.forward(np.zeros((5, 2), "float32"))
    """

    @property
    def num_weights(self) -> int:
        return 2 * self.size + 1

    def _parts(self, context):
        numbers = self.described(context)
        u, w, b = numbers[..., : self.size], numbers[..., self.size : -1], numbers[..., -1]
        wu = ops.sum(u * w, axis=-1, keepdims=True)
        u = u + (ops.softplus(wu + UNMOVED) - 1.0 - wu) * w / (ops.sum(ops.square(w), axis=-1, keepdims=True) + 1e-12)
        return u, w, b, ops.sum(u * w, axis=-1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u, w, b, wu = self._parts(context)
        h = ops.tanh(ops.sum(z * w, axis=-1) + b)
        return z + u * h[..., None], ops.log(1.0 + wu * (1.0 - ops.square(h)))

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u, w, b, wu = self._parts(context)
        a = ops.sum(value * w, axis=-1)  # s = wᵀz solves s + wᵀû tanh(s + b) = a, whose left side increases with s
        low, high = a - ops.abs(wu), a + ops.abs(wu)
        for _ in range(BISECTIONS):
            s = 0.5 * (low + high)
            below = s + wu * ops.tanh(s + b) < a
            low, high = ops.where(below, s, low), ops.where(below, high, s)
        slope = ops.stop_gradient(1.0 + wu * (1.0 - ops.square(ops.tanh(s + b))))
        s = ops.stop_gradient(s)  # the gradient goes through one step of Newton's method
        h = ops.tanh(s - (s + wu * ops.tanh(s + b) - a) / slope + b)
        return value - u * h[..., None], -ops.log(1.0 + wu * (1.0 - ops.square(h)))


@keras.saving.register_keras_serializable(package="kvae")
class Radial(Elementary):
    """f(z) = z + β (z − c) / (α + |z − c|), a contraction or expansion around a point c (eq. 14).

    α > 0, and β > −α, without which f has no inverse (appendix A.2).

    Example:

    >>> flow = kvae.flows.Radial()
    >>> flow.bind(size=2)
    >>> value, log_det = flow.forward(np.zeros((5, 2), "float32"))
    """

    @property
    def num_weights(self) -> int:
        return self.size + 2

    def _parts(self, context):
        numbers = self.described(context)
        alpha = ops.softplus(numbers[..., -2])
        return numbers[..., : self.size], alpha, ops.softplus(numbers[..., -1]) - alpha

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        centre, alpha, beta = self._parts(context)
        r = _norm(z - centre)
        return z + (beta / (alpha + r))[..., None] * (z - centre), self._log_det(r, alpha, beta)

    def inverse(self, value: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        centre, alpha, beta = self._parts(context)
        far = _norm(value - centre)
        # r (1 + β / (α + r)) = far: r² + (α + β − far) r − α far = 0, with one root that is not negative.
        half = 0.5 * (alpha + beta - far)
        root = ops.sqrt(ops.square(half) + alpha * far)
        r = ops.where(half > 0, alpha * far / (root + ops.abs(half)), root - half)  # without cancellation
        z = centre + (value - centre) / (1.0 + beta / (alpha + r))[..., None]
        return z, -self._log_det(r, alpha, beta)

    def _log_det(self, r, alpha, beta):
        h = 1.0 / (alpha + r)
        return (self.size - 1) * ops.log1p(beta * h) + ops.log1p(beta * h - beta * r * ops.square(h))


def _norm(z: Any) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(z), axis=-1) + 1e-12)  # whose gradient at 0 is finite
