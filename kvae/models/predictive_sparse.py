"""Predictive sparse decomposition: sparse coding with an encoder that learns to predict the code."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kvae import checks
from kvae.models.autoencoder import Autoencoder
from kvae.models.batches import Batch, BatchResult, in_batches
from kvae.models.encoder_decoder import EVALUATION_BATCH
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, Network, Number, Tensor


@keras.saving.register_keras_serializable(package="kvae")
class PredictiveSparseDecomposition(Autoencoder):
    """Sparse coding whose codes an encoder F predicts, trained with `fit(x)`.

    Its energy is E(x) = min_z ‖x − zW‖² + λ|z|₁ + α‖z − F(x)‖² (Kavukcuoglu, Ranzato, LeCun 2008,
    https://arxiv.org/abs/1010.3467). The rows of the dictionary W have norm 1, since λ|z|₁ could otherwise be undone by
    longer ones. A step finds the minimum z* for each example, by a fixed number of accelerated gradient steps with a
    soft threshold, and then moves W and F downhill with z* fixed. `loss` is the sum of `reconstruction_loss`,
    `sparsity_loss` and `prediction_loss`, the three terms at z*.

    `encode` gives the prediction F(x), in one pass, and `sparse_code` the optimum z*; `reconstruct` decodes F(x).

    Args:
        encoder: F, a Functional Keras model from images `(batch, *image_shape)` to codes `(batch, latent_dim)`, as the
            first network of `networks.mlp(..., posterior=None)`. The dictionary, `decoder`, is made to match.
        sparsity: λ, positive, in units of the pixels.
        prediction: α, positive.
        num_steps: steps towards z*.
        seed: int for the reproducible start of the dictionary; `None` for a random one.
        name, dtype, trainable: as in `keras.Model`.

    Raises:
        ValueError: if a number is out of range or the encoder does not give codes `(batch, latent_dim)`.

    Example:

    >>> encoder, _ = kvae.networks.mlp((8, 8, 1), latent_dim=100, hidden=(64,), posterior=None)
    >>> model = kvae.PredictiveSparseDecomposition(encoder, sparsity=0.5)
    >>> model.compile(optimizer=keras.optimizers.Adam(1e-3))
    >>> history = model.fit(data.x_train, epochs=10, verbose=0)
    >>> used = (model.sparse_code(data.x_test) != 0).mean()  # fraction of the dictionary that an image uses
    """

    term_names = ("reconstruction_loss", "sparsity_loss", "prediction_loss")

    def __init__(
        self,
        encoder: Network,
        sparsity: Number = 1.0,
        prediction: Number = 1.0,
        num_steps: int = 100,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        decoder = _dictionary(encoder, checks.seed(seed))
        super().__init__(encoder, decoder, seed=seed, name=name, dtype=dtype, trainable=trainable)
        self.sparsity = checks.positive_number(sparsity, "sparsity")
        self.prediction = checks.positive_number(prediction, "prediction")
        self.num_steps = checks.positive_integer(num_steps, "num_steps")

    @property
    def components(self) -> Tensor:
        """The dictionary W, `(latent_dim, pixels)`, rows of norm 1."""
        return ops.convert_to_tensor(self.decoder.layers[1].kernel)

    def run_batch(self, batch: Batch, training: bool) -> BatchResult:
        predicted = self.inference(batch.x, (), training)
        z = ops.stop_gradient(self._optimum(batch.x, predicted))
        terms = dict(zip(self.term_names, self._terms(batch.x, z, predicted), strict=True))
        reconstruction = self.generation(predicted[None])[0]
        return BatchResult(reconstruction, tuple(terms.values()), terms)

    def energy(self, x: ArrayLike) -> Array:
        """E(x) of each example at its optimal code, an array `(n,)`: squared pixels.

        Args:
            x: images `(n, *image_shape)`.
        """
        return in_batches(kept(self, _energy), self.check_images(x), batch_size=EVALUATION_BATCH)

    def sparse_code(self, x: ArrayLike) -> Array:
        """The codes z* `(n, latent_dim)` of minimal energy of images `x` `(n, *image_shape)`."""
        return in_batches(kept(self, _sparse_code), self.check_images(x), batch_size=EVALUATION_BATCH)

    def _terms(self, x, z, predicted):
        """The three terms `(batch,)` of the energy at codes `(batch, latent_dim)`."""
        residual = _flat(x - self.generation(z[None])[0])
        return (
            ops.sum(ops.square(residual), axis=-1),
            self.sparsity * ops.sum(ops.abs(z), axis=-1),
            self.prediction * ops.sum(ops.square(z - predicted), axis=-1),
        )

    def _optimum(self, x, predicted):
        """The codes z* `(batch, latent_dim)`, from the prediction onwards.

        FISTA for a strongly convex problem (Beck & Teboulle 2009; the constant momentum of Nesterov 2004, eq. 2.2.11).
        """
        w, predicted = ops.stop_gradient(self.components), ops.stop_gradient(predicted)
        gram = ops.matmul(w, ops.transpose(w)) + self.prediction * ops.eye(w.shape[0])
        target = ops.matmul(_flat(x), ops.transpose(w)) + self.prediction * predicted
        # Half of the smooth part has curvatures from α to `steepest`, a bound by Gershgorin's circles.
        steepest = ops.max(ops.sum(ops.abs(gram), axis=1))
        ratio = ops.sqrt(self.prediction / steepest)
        momentum, threshold = (1.0 - ratio) / (1.0 + ratio), 0.5 * self.sparsity / steepest

        def step(_, state):
            z, ahead = state
            down = ahead - (ops.matmul(ahead, gram) - target) / steepest
            new = ops.sign(down) * ops.relu(ops.abs(down) - threshold)
            return new, new + momentum * (new - z)

        return ops.fori_loop(0, self.num_steps, step, (predicted, predicted))[0]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for fixed in ("decoder", "loss", "noise", "penalty", "tied"):
            del config[fixed]
        own = {"sparsity": self.sparsity, "prediction": self.prediction, "num_steps": self.num_steps}
        return {**config, **own}


def _energy(model, noise, x):
    predicted = model.inference(x)
    return sum(model._terms(x, model._optimum(x, predicted), predicted))


def _sparse_code(model, noise, x):
    return model._optimum(x, model.inference(x))


def _dictionary(encoder, seed):
    """A linear decoder with rows of norm 1 for an encoder's codes."""
    inputs: Any = getattr(encoder, "inputs", None)
    codes: Any = getattr(encoder, "output_shape", ())
    if not inputs or len(codes) != 2:
        raise ValueError(
            "`encoder` must be a built Functional keras.Model from images to codes (batch, latent_dim), as "
            f"networks.mlp(..., posterior=None) builds it. Received: {encoder if not inputs else codes}"
        )
    image_shape = tuple(inputs[0].shape[1:])
    unit = keras.constraints.UnitNorm(axis=1)
    rows = keras.layers.Dense(
        math.prod(image_shape),
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(seed=seed),
        kernel_constraint=unit,
        name="dictionary",
    )
    z = keras.Input((codes[-1],), name="z")
    decoder = keras.Model(z, keras.layers.Reshape(image_shape)(rows(z)), name="decoder")
    rows.kernel.assign(unit(rows.kernel))
    return decoder


def _flat(x):
    return ops.reshape(x, (-1, math.prod(x.shape[1:])))
