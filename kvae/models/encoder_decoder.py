"""What all models with an encoder and a decoder share: their methods, on tensors and on arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks, networks, penalties
from kvae.models import capabilities, exporting
from kvae.models.base import BaseModel
from kvae.models.batches import in_batches
from kvae.training.fit_on_arrays import convolutions
from kvae.training.kept import kept
from kvae.types import Array, ArrayLike, PathLike, Shape, Tensor

EVALUATION_BATCH = 1000  # rows at a time in the methods that take arrays
# Products of 1,000 rows leave cores idle on TensorFlow. Dense decoders take up to 5,000, if their outputs fill 16 MB at
# most; the hidden layers of convolutional ones would fill much more.
LARGEST_BATCH, MOST_OUTPUTS = 5000, 4_000_000


class EncoderDecoder(BaseModel):
    """Base class of the models with an `encoder`, a `decoder` and a `likelihood` that reads the decoder's outputs.

    A pass over a batch calls three methods, each of which a subclass may override on its own: `inference`, from images
    to the encoder's outputs; `generation`, from codes to the decoder's; and `loss_terms`, from both to a `BatchResult`.
    """

    penalties: list[penalties.Penalty]
    exported: tuple[str, ...] = ("reconstruct", "encode", "decode")  # methods that `export` takes

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"networks"}

    @property
    def image_shape(self) -> Shape:
        """Shape of one example, `(height, width, channels)`."""
        return tuple(self.encoder.inputs[0].shape[1:])

    @property
    def latent_shape(self) -> Shape:
        """Shape of one code, `(latent_dim,)` for a vector."""
        return tuple(self.decoder.inputs[0].shape[1:])

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions."""
        return math.prod(self.latent_shape)

    # Methods on tensors.

    def condition(self, y: Any) -> tuple[Tensor, ...]:
        """What both networks see of `y`, next to their input: tensors `(batch, ...)`, none without a condition."""
        return () if self.conditions is None else self.conditions.encode(y)

    def inference(self, x: Tensor, condition: Sequence[Tensor] = (), training: bool = False) -> Tensor:
        """The encoder's outputs: parameters of q(z|x), or an autoencoder's codes.

        Args:
            x: tensor `(batch, *image_shape)`.
            condition: as `condition` gives it.
            training: bool.

        Returns:
            Tensor `(batch, ..., parameters · size)`.
        """
        return networks.apply(self.encoder, x, condition, training)

    def generation(self, z: Tensor, condition: Sequence[Tensor] = (), training: bool = False) -> Tensor:
        """The decoder's outputs: parameters of p(x|z), in one pass over all samples.

        Args:
            z: codes `(samples, batch, *latent_shape)`.
            condition: as `condition` gives it, for the batch.
            training: bool.

        Returns:
            Tensor `(samples, batch, ...)`.
        """
        num_samples, batch = z.shape[0], ops.shape(z)[1]
        rows = ops.reshape(z, (-1, *z.shape[2:]))
        params = networks.apply(self.decoder, rows, networks.tile(condition, num_samples), training)
        return ops.reshape(params, (num_samples, batch, *params.shape[1:]))

    def code(self, params: Tensor) -> Tensor:
        """The code `(batch, *latent_shape)` that `inference`'s outputs stand for: a mean, or the code itself."""
        raise NotImplementedError

    # Methods on arrays.

    def encode(self, x: ArrayLike, y: Any = None) -> Array:
        """Latent codes: a variational model's posterior means, an autoencoder's codes.

        Args:
            x: images `(n, *image_shape)`.
            y: the condition, for a conditional model.

        Returns:
            Array `(n, *latent_shape)`.

        Example:

        >>> model.encode(data.x_test[:5]).shape
        (5, 2)
        """
        return in_batches(kept(self, codes), *self._check_pair(x, y), batch_size=EVALUATION_BATCH)

    def decode(self, z: ArrayLike, y: Any = None) -> Array:
        """Pixel means of latent codes.

        Args:
            z: array `(n, *latent_shape)`.
            y: the condition, for a conditional model.

        Returns:
            Array `(n, *image_shape)`.

        Example:

        >>> model.decode(np.zeros((1, 2))).shape
        (1, 8, 8, 1)
        """
        return self._decoded(z, y)

    def reconstruct(self, x: ArrayLike, y: Any = None) -> Array:
        """Decode the codes of `x` `(n, *image_shape)`: an array of the same shape.

        Example:

        >>> error = np.mean((data.x_test - model.reconstruct(data.x_test)) ** 2)
        """
        return self.decode(self.encode(x, y), y)

    def check_images(self, x: ArrayLike, name: str = "x") -> Array:
        may_be_missing = self.likelihood.allows_missing
        fix = "drop or repair the examples that are not"
        if not may_be_missing and capabilities.has(self, "density"):
            fix += ", or give networks and model distributions.Observed(likelihood) for missing values"
        x = checks.array(x, self.image_shape, name, may_be_missing, fix, self.likelihood.element_name)
        self.likelihood.check(x, name)
        return x

    def check_training(self, x: Any) -> None:
        if isinstance(x, np.ndarray):
            self.likelihood.check_training(x, "x")

    def export(
        self, filepath: PathLike, format: str = "tf_saved_model", method: str = "reconstruct", **kwargs: Any
    ) -> None:
        """Export what one of the methods computes, as `keras.Model.export` does: without losses or sampling.

        By default that is what `predict` computes: the exported function maps images `(batch, *image_shape)` to pixel
        means. The one of "encode" maps them to codes, and that of "decode", the part that generates, codes drawn from
        the prior to pixel means. For a model with a condition they take `[x, y]` or `[z, y]`, named `x`, `z` and `y`,
        with int32 class labels `(batch,)`.

        Args:
            filepath: path of a new folder for a SavedModel, of a file for the other formats.
            format: "tf_saved_model", "onnx", "litert" (TFLite), "openvino" or "torch"; Keras's documentation says
                which packages and backends each needs.
            method: "reconstruct", "encode" or "decode"; of a `VQVAE`, whose codes are indices, the first alone.
            **kwargs: as in `keras.Model.export`.

        Raises:
            ValueError: for an unknown method or format, or a format that the backend does not have.

        Example:

        >>> model.export("vae", verbose=False)  # a SavedModel: loaded = tf.saved_model.load("vae"); loaded.serve(x)
        """
        if method not in self.exported:
            raise ValueError(f"`method` must be one of {list(self.exported)}. Received: {method!r}")
        network = exporting.function(self, method)
        network.export(filepath, format=format, **{"input_signature": [network.input], **kwargs})

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> EncoderDecoder:
        parts = {
            name: keras.saving.deserialize_keras_object(value, custom_objects)
            if isinstance(value, (dict, list))
            else value
            for name, value in config.items()
        }
        return cls(**parts)

    def _decoded(self, z, y, noise=None):
        """The means of p(x|z) of codes `z`, an array `(n, *latent_shape)`; with `noise`, draws."""
        z = checks.array(z, self.latent_shape, "z")
        y = self.check_condition(y, len(z))
        return in_batches(kept(self, decoded), z, y, batch_size=self._rows_to_decode(), noise=noise)

    def _rows_to_decode(self):
        """How many codes `decode` takes at a time."""
        if convolutions(self):
            return EVALUATION_BATCH
        *places, channels = self.image_shape
        outputs = math.prod(places) * self.likelihood.num_outputs(channels)
        return max(EVALUATION_BATCH, min(LARGEST_BATCH, MOST_OUTPUTS // outputs))

    def _check_pair(self, x, y):
        """Checked images and conditions, for `in_batches`."""
        x = self.check_images(x)
        return x, self.check_condition(y, len(x))

    def _variable(self, name, value):
        """A number as a variable, because a float would be compiled into the step as a constant."""
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(value),
            trainable=False,
            dtype="float32",
            autocast=False,
            name=name,
        )

    def _rebuilt(self, cls, config, prior):
        """A model of class `cls` with copies of this one's weights and of a bound `Prior`, compiled as this one is."""
        new = cls.from_config({**config, "prior": keras.saving.serialize_keras_object(prior)})
        gone = [name for name in self.optimizer_groups if name not in new.optimizer_groups]
        parts = [getattr(self, part) for name in gone for part in self.optimizer_groups[name]]
        for old, copy in zip(_without_prior(self, parts), _without_prior(new), strict=True):
            copy.assign(np.array(ops.convert_to_numpy(old)))  # on JAX, a step gives the memory of shared values away
        new.prior.set_weights(prior.get_weights())
        compiled = self.get_compile_config() if self.compiled else None
        if compiled is not None:
            if gone:
                compiled["optimizer"] = keras.saving.serialize_keras_object(self.optimizer.main)
            new.compile_from_config(compiled)
        return new

    def _set_penalties(self, penalty):
        """Keep the argument `penalty` as a list, once the networks are set."""
        self.penalties = penalties.as_list(penalty)
        for each in self.penalties:
            each.check(self)
            each.bind(self)


def encoded(model: Any, noise: Any, x: Tensor, y: Any) -> Tensor:
    """The encoder's outputs for images and their conditions: a function for `kvae.training.kept`."""
    return model.inference(x, model.condition(y))


def codes(model: Any, noise: Any, x: Tensor, y: Any) -> Tensor:
    """The codes of images, as `encoded` gives the encoder's outputs."""
    return model.code(encoded(model, noise, x, y))


def decoded(model: Any, noise: Any, z: Tensor, y: Any) -> Tensor:
    """The means of p(x|z), or with noise draws, of codes and their conditions."""
    return read(model, noise, model.generation(z[None], model.condition(y))[0])


def read(model: Any, noise: Any, x_params: Tensor) -> Tensor:
    """The means of parameters `(batch, ...)` of p(x|z), or with noise draws."""
    return model.likelihood.mean(x_params) if noise is None else model.likelihood.sample(x_params, 1, noise)[0]


def _without_prior(model, parts=()):
    """The weights of a model other than those of its prior, and of `parts`."""
    parts = [*parts, model.prior] if hasattr(model, "prior") else parts
    own = {id(weight) for part in parts for weight in part.weights}
    return [weight for weight in model.weights if id(weight) not in own]
