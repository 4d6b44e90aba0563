"""Vector quantization: vectors are replaced by the nearest of a codebook's codes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from kvae import checks
from kvae.types import Number, Seed, Tensor

CODEBOOKS = ("gradient", "moving_average")
MOST = 64  # quantizers, each a part of the graph


class Quantized(NamedTuple):
    """What a `Quantizer` gives for a batch.

    Attributes:
        vectors: sums of the chosen codes, `(batch, ..., size)`; their gradient passes to the inputs unchanged.
        indices: the codes that were chosen, int32 `(batch, ..., num_quantizers)`.
        codebook_loss: Σ ‖sg[r] − e‖² of each example `(batch,)`, which trains the codes e.
        commitment_loss: Σ ‖r − sg[e]‖² `(batch,)`, of the same value, which trains what gave the vectors r.
        perplexity: scalar, exp of the entropy of the codes' shares in the batch; the mean over the quantizers.
    """

    vectors: Tensor
    indices: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    perplexity: Tensor


@keras.saving.register_keras_serializable(package="kvae")
class Quantizer(keras.layers.Layer):
    """Replace each vector by the nearest of `num_codes` codes (van den Oord et al. 2017, eq. 1 to 3).

    https://arxiv.org/abs/1711.00937. With several quantizers, each has a codebook of its own for what the ones before
    it left over, r_{i+1} = r_i − e_i, and a vector is represented by the sum of its codes (residual quantization, Lee
    et al. 2022, section 3.1, https://arxiv.org/abs/2203.01941).

    Codes learn in training, and from nothing else: either by `codebook_loss`, or as moving averages of the vectors that
    chose them (van den Oord et al. 2017, appendix A.1). One that is hardly chosen is dead, and becomes a random vector
    of the batch; in the first step all codes do. Sample weights do not affect averages and restarts. On several
    replicas, these see the vectors of the first.

    Args:
        num_codes: codes of each codebook, at least 2.
        size: numbers in a vector.
        num_quantizers: number of codebooks.
        codebook: "gradient" or "moving_average".
        decay: of the moving averages, at least 0 and below 1.
        restart: a code is dead if its share of all choices, a moving average as well, is below this fraction of
            1 / num_codes; 0 restarts none.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> quantizer = kvae.quantization.Quantizer(num_codes=16, size=2)
    >>> quantized = quantizer(np.zeros((5, 7, 7, 2), "float32"))
    >>> tuple(quantized.vectors.shape), tuple(quantized.indices.shape)
    ((5, 7, 7, 2), (5, 7, 7, 1))
    """

    def __init__(
        self,
        num_codes: int,
        size: int,
        num_quantizers: int = 1,
        codebook: Literal["gradient", "moving_average"] = "gradient",
        decay: Number = 0.99,
        restart: Number = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})  # whatever the policy of the networks
        self.num_codes = checks.positive_integer(num_codes, "num_codes")
        if self.num_codes == 1:
            raise ValueError("`num_codes` must be at least 2: a single code carries no information. Received: 1")
        self.size = checks.positive_integer(size, "size")
        self.num_quantizers = checks.positive_integer(num_quantizers, "num_quantizers")
        if self.num_quantizers > MOST:
            raise ValueError(f"`num_quantizers` must be at most {MOST}. Received: {num_quantizers}")
        if codebook not in CODEBOOKS:
            raise ValueError(f"`codebook` must be one of {CODEBOOKS}. Received: {codebook!r}")
        self.codebook_kind = codebook
        self.decay = checks.number(decay, "decay", at_least=0, below=1)
        self.restart = checks.number(restart, "restart", at_least=0, below=1)
        shape = (self.num_quantizers, self.num_codes, self.size)
        width = 1.0 / self.num_codes
        # A code is `origin` + `moved`. An optimizer changes `moved` alone, and restarts `origin`, because on JAX a step
        # cannot assign to what its optimizer trains.
        self.origin = self._state("origin", shape, keras.initializers.RandomUniform(-width, width))
        self.usage = self._state("usage", shape[:2], "zeros")  # all dead at first
        if codebook == "gradient":
            self.moved = self.add_weight(shape=shape, initializer="zeros", name="moved", dtype="float32")
        else:
            self.sums = self._state("sums", shape, "zeros")
        self.built = True

    def _state(self, name, shape, initializer):
        given = {"dtype": "float32", "autocast": False, "aggregation": "only_first_replica"}
        return self.add_weight(shape=shape, initializer=initializer, trainable=False, name=name, **given)

    @property
    def codebook(self) -> Tensor:
        """All codes, `(num_quantizers, num_codes, size)`."""
        origin = ops.convert_to_tensor(self.origin)
        return origin + ops.convert_to_tensor(self.moved) if self.codebook_kind == "gradient" else origin

    def vectors(self, indices: Tensor) -> Tensor:
        """The sums `(..., size)` of the codes that `indices` `(..., num_quantizers)` name."""
        codebook = self.codebook
        return sum(ops.take(codebook[i], indices[..., i], axis=0) for i in range(self.num_quantizers))

    def call(self, z: Tensor, training: bool = False, seed: Seed = None) -> Quantized:
        """Quantize vectors.

        Args:
            z: tensor `(batch, ..., size)`.
            training: whether averages move and dead codes are restarted.
            seed: int or `keras.random.SeedGenerator`, for the restarts.
        """
        z = ops.convert_to_tensor(z)
        residual = ops.reshape(z, (-1, self.size))
        moved = ops.convert_to_tensor(self.moved) if self.codebook_kind == "gradient" else 0.0 * self.codebook
        origins, usages, averages = [], [], []
        indices, losses, perplexities, total = [], [], [], 0.0
        for i in range(self.num_quantizers):
            origin, usage = ops.convert_to_tensor(self.origin)[i], ops.convert_to_tensor(self.usage)[i]
            fixed = ops.stop_gradient(residual)
            dead = usage[:, None] < self.restart / self.num_codes
            if training:
                vectors = ops.take(fixed, _random_rows(self.num_codes, ops.shape(fixed)[0], seed), axis=0)
                origin = ops.where(dead, vectors - ops.stop_gradient(moved[i]), origin)
            codes = origin + moved[i]
            chosen, share = _nearest(fixed, ops.stop_gradient(codes))
            code = ops.take(codes, chosen, axis=0)
            losses.append((ops.square(fixed - code), ops.square(residual - ops.stop_gradient(code))))
            perplexities.append(ops.exp(-ops.sum(share * ops.log(ops.maximum(share, 1e-30)))))
            indices.append(chosen)
            if training:
                usage = ops.where(dead[:, 0], 1.0 / self.num_codes, usage)
                usages.append(self._averaged(usage, share))
                if self.codebook_kind == "moving_average":
                    sums = ops.where(dead, vectors / self.num_codes, ops.convert_to_tensor(self.sums)[i])
                    one_hot = ops.one_hot(chosen, self.num_codes, dtype="float32")
                    mean = ops.matmul(ops.transpose(one_hot), fixed) / ops.cast(ops.shape(fixed)[0], "float32")
                    averages.append(self._averaged(sums, mean))
                    chosen_once = usages[-1][:, None] > 1e-20
                    origin = ops.where(chosen_once, averages[-1] / ops.maximum(usages[-1], 1e-20)[:, None], origin)
                origins.append(origin)
            total = total + ops.stop_gradient(code)
            residual = residual - ops.stop_gradient(code)
        if training:
            self.origin.assign(ops.stop_gradient(ops.stack(origins)))
            self.usage.assign(ops.stack(usages))
            if averages:
                self.sums.assign(ops.stack(averages))
        shape = ops.shape(z)
        codebook_loss, commitment_loss = (
            ops.sum(ops.reshape(sum(each), (shape[0], -1)), axis=-1) for each in zip(*losses, strict=True)
        )
        vectors = z + ops.stop_gradient(ops.reshape(total, shape) - z)
        rows = ops.reshape(ops.stack(indices, axis=-1), (*shape[:-1], self.num_quantizers))
        perplexity = sum(perplexities) / self.num_quantizers
        return Quantized(vectors, ops.cast(rows, "int32"), codebook_loss, commitment_loss, perplexity)

    def _averaged(self, old, new):
        return self.decay * old + (1.0 - self.decay) * new

    def get_config(self) -> dict[str, Any]:
        names = ("num_codes", "size", "num_quantizers", "decay", "restart")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "codebook": self.codebook_kind,
        }


def _random_rows(count, length, seed):
    """`count` row numbers below `length`, int32."""
    uniform = keras.random.uniform((count,), seed=seed, dtype="float32")
    rows = ops.cast(uniform * ops.cast(length, "float32"), "int32")
    return ops.minimum(rows, length - 1)


def _nearest(vectors, codes):
    """The nearest of `codes` `(num_codes, size)` to each vector `(n, size)`: int32 `(n,)`, and each code's share."""
    # ‖v − e‖² without ‖v‖², which is the same for all codes.
    distances = ops.sum(ops.square(codes), axis=-1) - 2.0 * ops.matmul(vectors, ops.transpose(codes))
    chosen = ops.argmin(distances, axis=-1)
    return chosen, ops.mean(ops.one_hot(chosen, codes.shape[0], dtype="float32"), axis=0)
