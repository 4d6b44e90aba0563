"""The distance between the aggregate posterior and the prior, by a kernel."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import keras
from keras import ops

from kvae.penalties.base import Penalty, check_density
from kvae.types import Seed, Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # Tolstikhin et al. 2018, in their published code


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class MMD(Penalty):
    """weight · MMD²(q(z), p(z)): the maximum mean discrepancy between codes of examples and draws from the prior.

    MMD² = E k(z, z') + E k(u, u') − 2 E k(z, u) with z, z' ~ q(z) = E_x[q(z|x)] and u, u' ~ p(z); it is 0 only if the
    two are equal. Its unbiased estimate leaves out the pairs of a code with itself (Gretton et al. 2012, lemma 6,
    https://jmlr.org/papers/v13/gretton12a.html) and may be negative. Unlike the KL of each q(z|x), MMD does not pull
    the codes of different examples towards each other.

    - InfoVAE (Zhao, Song, Ermon 2017, eq. 6, https://arxiv.org/abs/1706.02262): the model's `beta` is their 1 − α, and
      `weight` their α + λ − 1.
    - WAE-MMD (Tolstikhin et al. 2018, algorithm 2, https://arxiv.org/abs/1711.01558): `beta=0`, or an `Autoencoder`,
      which is compared with N(0, I).

    Kernels of d-dimensional codes are summed over the scales s = 0.1, …, 10, with C = 2 d s, the mean squared distance
    between two draws from N(0, I) at s = 1: k(a, b) = Σ_s C / (C + ‖a − b‖²), the inverse multiquadric, or
    Σ_s exp(−‖a − b‖² / C), "rbf". Every example of a batch gets the same penalty; it is logged as `mmd`, without the
    weight.

    Args:
        weight: at least 0.
        kernel: "imq" or "rbf".

    Raises:
        ValueError: if an argument is out of range; in a model, if its prior depends on a condition or its bound's
            gradient is not "reparameterized".

    Example:

    >>> model = kvae.VAE(encoder, decoder, beta=0.0, penalty=kvae.penalties.MMD(10.0))
    """

    weight: float
    kernel: Literal["imq", "rbf"] = "imq"

    term_names = ("mmd",)

    def __post_init__(self) -> None:
        self._check_number("weight")
        if self.kernel not in ("imq", "rbf"):
            raise ValueError(f'`kernel` must be "imq" or "rbf". Received: {self.kernel!r}')

    def check(self, model: Any) -> None:
        if hasattr(model, "posterior_family"):
            check_density(self, model, sampled=True, prior=True)

    def __call__(
        self, x: Tensor, z: Tensor, params: Tensor, model: Any, seed: Seed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        num_samples, batch = z.shape[0], ops.shape(z)[1]
        shape = (num_samples, batch, math.prod(z.shape[2:]))
        prior = getattr(model, "prior", None)
        if prior is None:
            drawn = keras.random.normal(shape, dtype="float32", seed=seed)
        else:
            drawn = ops.reshape(prior.sample(num_samples * batch, (), seed), shape)
        mmd = ops.mean(self.estimate(ops.reshape(z, shape), drawn)) * ops.ones(ops.shape(params)[:1], "float32")
        return self.weight * mmd, {"mmd": mmd}

    def estimate(self, a: Tensor, b: Tensor) -> Tensor:
        """The unbiased estimate of MMD² `(...)` from two samples `(..., n, d)`; 0 for n = 1, where there is none."""
        n = ops.cast(ops.shape(a)[-2], "float32")
        pairs = ops.maximum(n * (n - 1.0), 1.0)
        own = self.similarity(0.0, a.shape[-1])  # of a code with itself
        within = sum(ops.sum(self.similarity(_distances(c, c), a.shape[-1]), axis=(-2, -1)) - n * own for c in (a, b))
        across = ops.mean(self.similarity(_distances(a, b), a.shape[-1]), axis=(-2, -1))
        return ops.where(n > 1.0, within / pairs - 2.0 * across, ops.zeros_like(across))

    def similarity(self, squared_distance: Any, d: int) -> Any:
        """k(a, b) of codes of `d` dimensions, as a function of ‖a − b‖²."""
        total = 0.0
        for scale in SCALES:
            ratio = squared_distance / (2.0 * d * scale)
            total = total + (1.0 / (1.0 + ratio) if self.kernel == "imq" else ops.exp(-ratio))
        return total


def _distances(a, b):
    """‖a_i − b_j‖² `(..., n, n)` of codes `(..., n, d)`, without their n² differences."""
    squares = [ops.sum(ops.square(each), axis=-1) for each in (a, b)]
    products = ops.matmul(a, ops.swapaxes(b, -1, -2))
    return ops.maximum(squares[0][..., :, None] + squares[1][..., None, :] - 2.0 * products, 0.0)
