"""What every model of an encoder and a decoder shares: their verbs, run in batches, and their way into a file."""

import keras
import numpy as np

from kvae import checks, networks
from kvae.models.base import BaseModel, in_batches

EVALUATION_BATCH = 1000  # rows at a time in the NumPy verbs


class EncoderDecoder(BaseModel):
    """Base of the models with an `encoder`, a `decoder` and a `likelihood` that reads the decoder's outputs."""

    @property
    def image_shape(self):
        """Shape of one example, `(height, width, channels)`."""
        return tuple(self.encoder.inputs[0].shape[1:])

    @property
    def latent_dim(self):
        """Number of latent dimensions."""
        return self.decoder.inputs[0].shape[-1]

    def condition(self, y):
        """The vector `(batch, condition_dim)` that both networks see beside their input; `None` without labels."""
        return None

    def encode(self, x, y=None):
        """Latent codes: a variational model's posterior means, an autoencoder's codes.

        Args:
            x: images `(n, *image_shape)`.
            y: labels, for a conditional model.

        Returns:
            Array `(n, latent_dim)`.
        """
        return in_batches(self._encode, *self._check_pair(x, y), batch_size=EVALUATION_BATCH)

    def decode(self, z, y=None):
        """Pixel means of latent codes.

        Args:
            z: array `(n, latent_dim)`.
            y: labels, for a conditional model.

        Returns:
            Array `(n, *image_shape)`.
        """
        z = checks.array(z, (self.latent_dim,), "z").astype("float32")
        return in_batches(
            lambda z, y: self.likelihood.mean(self._apply(self.decoder, z, self.condition(y), False)),
            z,
            self.check_labels(y, len(z)),
            batch_size=EVALUATION_BATCH,
        )

    def reconstruct(self, x, y=None):
        """Decode the codes of `x` `(n, *image_shape)`: an array of the same shape."""
        return self.decode(self.encode(x, y), y)

    def check_images(self, x, name="x"):
        x = super().check_images(x, name)
        self.likelihood.check(x, name)
        return x

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(value, custom_objects)
            if isinstance(value, (dict, list))
            else value
            for name, value in config.items()
        }
        return cls(**parts)

    def _encode(self, x, y):
        """Latent codes `(batch, latent_dim)` of a batch, as a tensor."""
        raise NotImplementedError

    _apply = staticmethod(networks.apply)

    def _check_pair(self, x, y):
        x = self.check_images(x)
        return np.asarray(x, "float32"), self.check_labels(y, len(x))
