"""Input noise for denoising autoencoders, which map corrupted images to clean ones.

Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, Stacked Denoising Autoencoders, section 3.3
(https://jmlr.org/papers/v11/vincent10a.html), after Vincent et al. 2008.
"""

from __future__ import annotations

import dataclasses

import keras
from keras import ops

from kvae.settings import Settings
from kvae.types import Seed, Tensor


class Noise(Settings):
    """Base class of the corruptions."""

    def __call__(self, x: Tensor, seed: Seed = None) -> Tensor:
        """Corrupt images.

        Args:
            x: tensor or array of floats `(batch, *image_shape)`.
            seed: int or `keras.random.SeedGenerator`; `None` for different noise each time.

        Returns:
            Tensor with the shape of `x`.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Gaussian(Noise):
    """Additive Gaussian noise, x + σε with ε ~ N(0, I); the result is not clipped to [0, 1].

    Args:
        sigma: standard deviation σ, at least 0, in units of the pixels.

    Raises:
        ValueError: if `sigma` is negative or not a finite number.

    Example:

    >>> data = kvae.load_data("digits")
    >>> noisy = kvae.corruption.Gaussian(0.5)(data.x_test, seed=0)
    """

    sigma: float

    def __post_init__(self) -> None:
        self._check_number("sigma")

    def __call__(self, x: Tensor, seed: Seed = None) -> Tensor:
        x = ops.convert_to_tensor(x)
        return x + self.sigma * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=seed)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class Masking(Noise):
    """Masking noise: each pixel is set to 0 with probability `fraction`, independently in each channel.

    Args:
        fraction: float in [0, 1].

    Raises:
        ValueError: if `fraction` is outside [0, 1].

    Example:

    >>> encoder, decoder = kvae.networks.mlp((8, 8, 1), latent_dim=2, posterior=None)
    >>> model = kvae.Autoencoder(encoder, decoder, noise=kvae.corruption.Masking(0.3))
    """

    fraction: float

    def __post_init__(self) -> None:
        self._check_number("fraction", high=1.0)

    def __call__(self, x: Tensor, seed: Seed = None) -> Tensor:
        x = ops.convert_to_tensor(x)
        hidden = keras.random.uniform(ops.shape(x), dtype="float32", seed=seed) < self.fraction
        return ops.where(hidden, ops.zeros_like(x), x)


@keras.saving.register_keras_serializable(package="kvae")
@dataclasses.dataclass(frozen=True)
class SaltAndPepper(Noise):
    """Salt-and-pepper noise: with probability `fraction`, each pixel is set to 0 or 1 with equal probability.

    Args:
        fraction: float in [0, 1].

    Raises:
        ValueError: if `fraction` is outside [0, 1].

    Example:

    >>> encoder, decoder = kvae.networks.mlp((8, 8, 1), latent_dim=2, posterior=None)
    >>> model = kvae.Autoencoder(encoder, decoder, noise=kvae.corruption.SaltAndPepper(0.2))
    """

    fraction: float

    def __post_init__(self) -> None:
        self._check_number("fraction", high=1.0)

    def __call__(self, x: Tensor, seed: Seed = None) -> Tensor:
        x = ops.convert_to_tensor(x)
        u = keras.random.uniform(ops.shape(x), dtype="float32", seed=seed)
        # pepper below fraction / 2, salt from there to fraction
        return ops.where(u < self.fraction, ops.cast(u >= 0.5 * self.fraction, x.dtype), x)
