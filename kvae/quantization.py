"""Vector quantization: vectors are replaced by the nearest of a codebook's codes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from kvae import checks
from kvae.types import Array, Number, Seed, Tensor

CODEBOOKS = ("gradient", "moving_average")
MOST = 64  # quantizers, each a part of the graph
CHOICES = 3  # per code: the number of recent choices over which the shares of the codes are averaged


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
    chose them (van den Oord et al. 2017, appendix A.1). In the first step of training all codes become random vectors
    of the batch, whatever their scale. Later, only those that are hardly chosen do (Dhariwal et al. 2020, section 3.1,
    https://arxiv.org/abs/2005.00341). Early in training, a step of the encoder moves its vectors further than codes
    move: as soon as all vectors lie beyond one code, no other is ever the nearest again. Unused codes are therefore
    restarted within a few steps, and a restarted one again in the next step unless enough vectors of its own batch
    choose it. Sample weights do not affect averages and restarts. On several replicas, these see the vectors of the
    first.

    Args:
        num_codes: codes of each codebook, at least 2.
        size: numbers in a vector.
        num_quantizers: number of codebooks.
        codebook: "gradient" or "moving_average".
        decay: decay of the moving averages per step, for "moving_average", at least 0 and below 1.
        restart: a code is restarted if its share of the last 3 · num_codes choices, an exponential average, is below
            this fraction of 1 / num_codes; 0 restarts none after the first step.

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
        self.usage = self._state("usage", shape[:2], keras.initializers.Constant(-1.0))  # below any limit at first
        if codebook == "gradient":
            self.moved = self.add_weight(shape=shape, initializer="zeros", name="moved", dtype="float32")
        else:  # a code is `sums` / `counts`
            self.counts = self._state("counts", shape[:2], "zeros")
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

    def check_indices(self, indices: Array, name: str) -> Array:
        """Return an array of `indices`, or raise a `ValueError` if it holds other numbers than those of codes."""
        low, high, whole = float(np.min(indices)), float(np.max(indices)), not np.any(np.mod(indices, 1))
        if low < 0 or high >= self.num_codes or not whole:
            raise ValueError(
                f"`{name}` must hold indices of codes, integers in 0..{self.num_codes - 1}, as `encode` gives them. "
                f"Received: {'' if whole else 'other numbers, '}values from {low:g} to {high:g}"
            )
        return indices

    def vectors(self, indices: Tensor) -> Tensor:
        """The sums `(..., size)` of the codes that `indices` `(..., num_quantizers)` name."""
        codebook = self.codebook
        return sum(ops.take(codebook[i], indices[..., i], axis=0) for i in range(self.num_quantizers))

    def call(self, z: Tensor, training: bool = False, seed: Seed = None) -> Quantized:
        """Quantize vectors.

        Args:
            z: tensor `(batch, ..., size)`.
            training: whether averages move and dead codes are restarted.
            seed: int or `keras.random.SeedGenerator`, for the restarts; compiled training on JAX needs one.
        """
        z = ops.convert_to_tensor(z)
        residual = ops.reshape(z, (-1, self.size))
        moved = ops.convert_to_tensor(self.moved) if self.codebook_kind == "gradient" else 0.0 * self.codebook
        states, indices, losses, perplexities, total = [], [], [], [], 0.0
        for i in range(self.num_quantizers):
            vectors = ops.stop_gradient(residual)
            state = {name: ops.convert_to_tensor(variable)[i] for name, variable in self._states.items()}
            if training:
                state = self._restarted(state, vectors, ops.stop_gradient(moved[i]), seed)
            codes = state["origin"] + moved[i]
            chosen, one_hot = _nearest(vectors, ops.stop_gradient(codes))
            share = ops.mean(one_hot, axis=0)
            if training:
                states.append(self._averaged(state, vectors, one_hot, share))
            code = ops.take(codes, chosen, axis=0)
            losses.append((ops.square(vectors - code), ops.square(residual - ops.stop_gradient(code))))
            perplexities.append(ops.exp(-ops.sum(share * ops.log(ops.maximum(share, 1e-30)))))
            indices.append(chosen)
            total = total + ops.stop_gradient(code)
            residual = residual - ops.stop_gradient(code)
        if training:
            for name, variable in self._states.items():
                variable.assign(ops.stop_gradient(ops.stack([state[name] for state in states])))
        shape = ops.shape(z)
        codebook_loss, commitment_loss = (
            ops.sum(ops.reshape(sum(each), (shape[0], -1)), axis=-1) for each in zip(*losses, strict=True)
        )
        vectors = z + ops.stop_gradient(ops.reshape(total, shape) - z)
        rows = ops.reshape(ops.stack(indices, axis=-1), (*shape[:-1], self.num_quantizers))
        perplexity = sum(perplexities) / self.num_quantizers
        return Quantized(vectors, ops.cast(rows, "int32"), codebook_loss, commitment_loss, perplexity)

    @property
    def _states(self):
        """What a step of training assigns to, by name."""
        names = ("origin", "usage") if self.codebook_kind == "gradient" else ("origin", "usage", "counts", "sums")
        return {name: getattr(self, name) for name in names}

    def _restarted(self, state, vectors, moved, seed):
        """The state of a codebook after random `vectors` took the places of codes that were hardly chosen."""
        enough = self.restart / self.num_codes
        dead = state["usage"] < enough
        drawn = ops.take(vectors, _random_rows(self.num_codes, ops.shape(vectors)[0], seed), axis=0)
        count = (1.0 - self.decay) / self.num_codes  # of a single step, so that a new code follows its vectors at once
        new = {"origin": drawn - moved, "usage": enough, "counts": count, "sums": count * drawn}
        return {
            name: ops.where(dead if len(old.shape) == 1 else dead[:, None], new[name], old)
            for name, old in state.items()
        }

    def _averaged(self, state, vectors, one_hot, share):
        """The state of a codebook after a step in which the vectors chose the codes of `one_hot` `(n, num_codes)`."""

        def averaged(old, new, decay):
            return decay * old + (1.0 - decay) * new

        # By choices rather than steps: few vectors in a batch tell little about a large codebook.
        steps = ops.cast(ops.shape(vectors)[0], "float32") / (CHOICES * self.num_codes)
        state = {**state, "usage": averaged(state["usage"], share, ops.exp(-steps))}
        if self.codebook_kind == "moving_average":
            mean = ops.matmul(ops.transpose(one_hot), vectors) / ops.cast(ops.shape(vectors)[0], "float32")
            sums, counts = averaged(state["sums"], mean, self.decay), averaged(state["counts"], share, self.decay)
            seen = counts[:, None] > 1e-20
            origin = ops.where(seen, sums / ops.maximum(counts, 1e-20)[:, None], state["origin"])
            state |= {"sums": sums, "counts": counts, "origin": origin}
        return state

    def get_config(self) -> dict[str, Any]:
        names = ("num_codes", "size", "num_quantizers", "decay", "restart")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "codebook": self.codebook_kind,
        }


def _random_rows(count, length, seed):
    """`count` different row numbers below `length`, in random order; if there are fewer, each about as often."""
    rows = keras.random.shuffle(ops.arange(length), seed=seed)
    return ops.take(rows, ops.arange(count) % length, axis=0)


def _nearest(vectors, codes):
    """The nearest of `codes` `(num_codes, size)` to each vector `(n, size)`: `(n,)`, and one-hot `(n, num_codes)`."""
    # ‖v − e‖² without ‖v‖², which is the same for all codes.
    distances = ops.sum(ops.square(codes), axis=-1) - 2.0 * ops.matmul(vectors, ops.transpose(codes))
    chosen = ops.argmin(distances, axis=-1)
    return chosen, ops.one_hot(chosen, codes.shape[0], dtype="float32")
