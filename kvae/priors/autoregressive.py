"""An autoregressive prior over grids of discrete codes, made of convolutions that see only what comes before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import keras
import numpy as np
from keras import layers, ops

from kvae import checks
from kvae.priors.base import Prior
from kvae.priors.learning import maximum_likelihood
from kvae.types import ArrayLike, Seed, Shape, Tensor

Model = TypeVar("Model", bound=keras.Model)

ROWS = 256  # grids at a time in `sample`
FLOAT = {"dtype": "float32"}  # whatever the policy of the networks
FLOAT_LAST = {"data_format": "channels_last", **FLOAT}
MOST = 64  # blocks and quantizers, each a part of the graph
REACH = 3  # rows above, and columns to the left, that a convolution sees


@keras.saving.register_keras_serializable(package="kvae")
class Autoregressive(Prior):
    """p(c) = Π_i p(c_i | c_1, …, c_{i−1}) over the codes of a grid, in the order of reading.

    A gated PixelCNN (van den Oord et al. 2016, section 2, https://arxiv.org/abs/1606.05328): one stack of convolutions
    sees the rows above, another the places to the left as well, so that there is no blind spot. At a place, the indices
    of several quantizers follow each other, each given those before it. A row of codes is a grid of one row.

    A density takes one pass of the network. A draw takes one for each place and quantizer, over the whole grid: 49 for
    7×7 codes; nothing is cached.

    Args:
        code_shape: shape of one example's indices, `(*places, num_quantizers)`, with at most two axes of places.
        num_codes: number of values of an index.
        hidden: filters.
        num_blocks: gated blocks after the first.

    Raises:
        ValueError: if an argument is not a positive integer, or there are more axes of places.
    """

    def __init__(
        self, code_shape: Sequence[int], num_codes: int, hidden: int = 64, num_blocks: int = 4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.code_shape = tuple(checks.positive_integer(size, "code_shape") for size in code_shape)
        if not 1 <= len(self.code_shape) <= 3:
            raise ValueError(
                "`code_shape` must be (rows, columns, num_quantizers), (places, num_quantizers) or (num_quantizers,). "
                f"Received: {self.code_shape}"
            )
        self.num_codes = checks.positive_integer(num_codes, "num_codes")
        self.hidden = checks.positive_integer(hidden, "hidden")
        self.num_blocks = checks.positive_integer(num_blocks, "num_blocks")
        *places, num_quantizers = self.code_shape
        if max(self.num_blocks, num_quantizers) > MOST:
            raise ValueError(
                f"`num_blocks` and the number of quantizers must be at most {MOST}. Received: {num_blocks} and "
                f"{num_quantizers}"
            )
        self.grid = (*[1] * (2 - len(places)), *places, num_quantizers)
        self.network = _network(self.grid, self.num_codes, self.hidden, self.num_blocks)
        self.built = True

    def bind(self, posterior_family: Any, latent_shape: Shape, image_shape: Shape, encode: Any) -> None:
        """Raise a `ValueError`: a `VQVAE` alone has the codes that this is a prior of."""
        raise ValueError(
            "`prior` must be of another kind: an Autoregressive is one of a VQVAE. Received: Autoregressive"
        )

    def check_codes(self, code_shape: Shape, num_codes: int) -> None:
        """Raise a `ValueError` unless this is a prior of codes of this shape out of so many."""
        if (self.code_shape, self.num_codes) != (code_shape, num_codes):
            raise ValueError(
                f"`prior` must be one of codes of shape {code_shape} out of {num_codes}. Received: one of codes of "
                f"shape {self.code_shape} out of {self.num_codes}"
            )

    def logits(self, codes: Tensor) -> Tensor:
        """Unnormalised log p(c_i | c_1, …) `(batch, *code_shape, num_codes)` given `codes` `(batch, *code_shape)`."""
        codes = ops.cast(codes, "int32")
        logits = self.network(ops.reshape(codes, (-1, *self.grid)))
        return ops.cast(ops.reshape(logits, (*ops.shape(codes), self.num_codes)), "float32")

    def log_prob(self, z: Tensor, condition: Sequence[Tensor], seed: Seed) -> Tensor:
        """log p(c) of indices `(batch, *code_shape)`: `(batch,)`, nats."""
        codes = ops.cast(z, "int32")
        each = -ops.sparse_categorical_crossentropy(codes, self.logits(codes), from_logits=True)
        return ops.sum(each, axis=tuple(range(1, len(codes.shape))))

    def sample(self, n: int, condition: Sequence[Tensor], seed: Seed, temperature: float = 1.0) -> Tensor:
        """Draw codes, place by place; arguments as in `Prior`, the temperature divides the logits.

        Returns:
            Tensor int32 `(n, *code_shape)`.
        """
        noise = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
        drawn = []
        for start in range(0, n, ROWS):
            codes = np.zeros((min(ROWS, n - start), *self.grid), "int32")
            for place in np.ndindex(self.grid):
                here = (slice(None), *place)
                logits = self.network(ops.convert_to_tensor(codes))[here]
                if temperature == 0:
                    chosen = ops.argmax(logits, axis=-1)
                else:
                    chosen = keras.random.categorical(logits / temperature, 1, seed=noise)[:, 0]
                codes[here] = ops.convert_to_numpy(chosen)
            drawn.append(codes)
        return ops.convert_to_tensor(np.concatenate(drawn).reshape(n, *self.code_shape))

    def get_config(self) -> dict[str, Any]:
        names = ("code_shape", "num_codes", "hidden", "num_blocks")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def fit_autoregressive(
    model: Model,
    x: ArrayLike,
    epochs: int = 100,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int | None = 0,
    hidden: int = 64,
    num_blocks: int = 4,
) -> Any:
    """Fit an `Autoregressive` prior to the codes of a trained `VQVAE`, by maximum likelihood.

    Args:
        model: trained `VQVAE` without a prior.
        x: training images `(n, *image_shape)`.
        epochs: passes over their codes.
        batch_size: codes per step.
        learning_rate: initial rate of Adam; it falls to zero along a cosine.
        seed: int, for the order of the codes.
        hidden: filters.
        num_blocks: gated blocks.

    Returns:
        A new `VQVAE` with copies of all weights, which generates, and whose `elbo` counts the codes.

    Raises:
        ValueError: if the model has no discrete codes, a prior already, or codes that are constant.
    """
    if not hasattr(model, "code_shape"):
        raise ValueError(f"`model` must have discrete codes, as a VQVAE has. Received: a {type(model).__name__}")
    if model.has_prior:
        raise ValueError(
            "`model` must have no prior yet: fit the model that this one was fitted from. "
            f"Received: a {type(model).__name__} with a {type(model.prior).__name__} prior"
        )
    codes = model.encode(x)
    if (codes == codes[:1]).all():
        raise ValueError(
            "`model` must have codes that differ between examples: train it longer, or with a higher learning rate. "
            f"Received: the same codes for all {len(codes)} examples"
        )
    prior = Autoregressive(model.code_shape, model.num_codes, hidden, num_blocks)
    epochs, batch_size = checks.positive_integer(epochs, "epochs"), checks.positive_integer(batch_size, "batch_size")
    rate = checks.positive_number(learning_rate, "learning_rate")
    maximum_likelihood(prior, codes, lambda codes, seed: codes, epochs, batch_size, rate, checks.seed(seed))
    return model.with_prior(prior)


def _network(grid, num_codes, hidden, num_blocks):
    """From indices `(batch, *grid)` to logits `(batch, *grid, num_codes)`, each of what comes before it alone."""
    codes = keras.Input(grid, dtype="int32", name="codes")
    each = [codes] if grid[-1] == 1 else ops.split(codes, grid[-1], axis=-1)

    def embedded():
        """One vector per place for the index of each quantizer."""
        return [
            layers.Reshape((*grid[:2], hidden), **FLOAT)(layers.Embedding(num_codes, hidden, **FLOAT)(index))
            for index in each
        ]

    first = _added(embedded())
    above, left = _gated(_above(first, hidden, itself=False)), None
    left = _gated(_added([_left(first, hidden, itself=False), layers.Conv2D(2 * hidden, 1, **FLOAT_LAST)(above)]))
    for _ in range(num_blocks):
        rows = _above(above, hidden, itself=True)
        more = _gated(_added([_left(left, hidden, itself=True), layers.Conv2D(2 * hidden, 1, **FLOAT_LAST)(rows)]))
        above = layers.Add(**FLOAT)([above, _gated(rows)])
        left = layers.Add(**FLOAT)([left, layers.Conv2D(hidden, 1, **FLOAT_LAST)(more)])
    outputs, seen = [], [left]
    for i, index in enumerate(embedded()):  # the others' indices at the same place, one after the other
        h = layers.Activation("relu", **FLOAT)(_added(seen))
        h = layers.Dense(num_codes, name=f"logits_{i}", **FLOAT)(layers.Dense(hidden, activation="relu", **FLOAT)(h))
        outputs.append(layers.Reshape((*grid[:2], 1, num_codes), **FLOAT)(h))
        seen.append(index)
    return keras.Model(
        codes, outputs[0] if len(outputs) == 1 else layers.Concatenate(axis=3, **FLOAT)(outputs), name="pixelcnn"
    )


def _added(tensors):
    return tensors[0] if len(tensors) == 1 else layers.Add(**FLOAT)(tensors)


def _above(h, hidden, itself):
    """A convolution of the `REACH` rows above, or of the row itself and those above it: twice `hidden` filters."""
    top = REACH - 1 if itself else REACH
    h = layers.ZeroPadding2D(((top, 0), (REACH // 2, REACH // 2)), **FLOAT_LAST)(h)
    h = layers.Conv2D(2 * hidden, (REACH, 2 * (REACH // 2) + 1), **FLOAT_LAST)(h)
    return h if itself else layers.Cropping2D(((0, 1), (0, 0)), **FLOAT_LAST)(h)


def _left(h, hidden, itself):
    """A convolution of the `REACH` places to the left, or of the place itself and those to its left."""
    h = layers.ZeroPadding2D(((0, 0), (REACH - 1 if itself else REACH, 0)), **FLOAT_LAST)(h)
    h = layers.Conv2D(2 * hidden, (1, REACH), **FLOAT_LAST)(h)
    return h if itself else layers.Cropping2D(((0, 0), (0, 1)), **FLOAT_LAST)(h)


def _gated(h):
    """tanh(a) σ(b) of the halves of the filters."""
    a, b = ops.split(h, 2, axis=-1)
    return layers.Multiply(**FLOAT)([layers.Activation("tanh", **FLOAT)(a), layers.Activation("sigmoid", **FLOAT)(b)])
