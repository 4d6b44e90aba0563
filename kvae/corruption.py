"""Noise that a denoising autoencoder is trained to undo: corrupted images in, the clean ones as the target.

Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, Stacked Denoising Autoencoders, section 3.3
(https://jmlr.org/papers/v11/vincent10a.html), after Vincent et al. 2008.
"""

import dataclasses

import keras
from keras import ops

from kvae.settings import Settings


class Noise(Settings):
    """Base of the kinds of noise."""

    def __call__(self, x, seed=None):
        """Corrupt images.

        Args:
            x: tensor or array of floats `(batch, *image_shape)`.
            seed: int or `keras.random.SeedGenerator`; `None` for another draw each time.

        Returns:
            Tensor of the shape of `x`.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Gaussian(Noise):
    """Additive Gaussian noise, x + σε with ε ~ N(0, I); values may leave [0, 1].

    Args:
        sigma: its standard deviation σ, at least 0, in units of the pixels.

    Raises:
        ValueError: if `sigma` is negative or no finite number.

    Example:

    >>> noisy = kvae.corruption.Gaussian(0.5)(data.x_test, seed=0)
    """

    sigma: float

    def __post_init__(self):
        self._check_number("sigma")

    def __call__(self, x, seed=None):
        x = ops.convert_to_tensor(x)
        return x + self.sigma * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=seed)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Masking(Noise):
    """Masking noise: each pixel is set to 0 with probability `fraction`, each channel on its own.

    Args:
        fraction: from 0 to 1.

    Raises:
        ValueError: if `fraction` lies outside [0, 1].

    Example:

    >>> kvae.Autoencoder(encoder, decoder, noise=kvae.corruption.Masking(0.3))
    """

    fraction: float

    def __post_init__(self):
        self._check_number("fraction", high=1.0)

    def __call__(self, x, seed=None):
        x = ops.convert_to_tensor(x)
        hidden = keras.random.uniform(ops.shape(x), seed=seed) < self.fraction
        return ops.where(hidden, ops.zeros_like(x), x)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class SaltAndPepper(Noise):
    """Salt-and-pepper noise: each pixel is set, with probability `fraction`, to 0 or to 1 by the toss of a coin.

    Args:
        fraction: from 0 to 1.

    Raises:
        ValueError: if `fraction` lies outside [0, 1].

    Example:

    >>> kvae.Autoencoder(encoder, decoder, noise=kvae.corruption.SaltAndPepper(0.2))
    """

    fraction: float

    def __post_init__(self):
        self._check_number("fraction", high=1.0)

    def __call__(self, x, seed=None):
        x = ops.convert_to_tensor(x)
        u = keras.random.uniform(
            ops.shape(x), seed=seed
        )  # one draw serves both: below ½ fraction pepper, above it salt
        return ops.where(u < self.fraction, ops.cast(u >= 0.5 * self.fraction, x.dtype), x)
