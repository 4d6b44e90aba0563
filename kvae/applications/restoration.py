"""Image restoration: denoising, inpainting and super-resolution.

Each function returns several samples, because the lost information is ambiguous: their mean is the estimate with the
least squared error, their standard deviation shows where the model is uncertain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kvae import checks
from kvae.applications import posterior_codes
from kvae.models import capabilities
from kvae.types import Array, ArrayLike, Shape

METHODS = ("gibbs", "metropolis", "optimise")
WARM_UP = 10  # steps of the chain before optimisation


def denoise(
    model: Any,
    noisy: ArrayLike,
    sigma: float,
    y: Any = None,
    num_samples: int = 10,
    method: str = "metropolis",
    steps: int = 100,
    learning_rate: float = 0.05,
    seed: int | None = 0,
) -> Array:
    """Remove Gaussian noise from images.

    Args:
        model: a `VAE` or `CVAE` trained on clean images; or an `Autoencoder`, with "optimise" or a few steps of
            "gibbs": without a prior, nothing keeps a long chain close to the data.
        noisy: images `(n, *image_shape)` plus noise; values may be outside [0, 1].
        sigma: float, the standard deviation of the noise.
        y: labels, for a conditional model.
        num_samples: int, samples per image.
        method: "gibbs" to encode, sample and decode in turn; "metropolis" for the same with a correction, so that the
            samples come from p(z | observed); "optimise" to maximise p(z | observed) from the result of "gibbs", which
            leaves little variance. See `kvae.applications.posterior_codes`.
        steps: int, steps of the chain and of the optimisation.
        learning_rate: float, Adam's, for "optimise".
        seed: int for a reproducible chain; `None` for a random one.

    Returns:
        Array `(num_samples, n, *image_shape)` of clean images.

    Raises:
        ValueError: if the model has no decoder, or no density for "metropolis", if images do not fit it, or if `sigma`
            is not positive.

    Example:

    >>> noisy = kvae.corruption.Gaussian(0.5)(data.x_test[:10], seed=0)
    >>> clean = kvae.applications.denoise(model, noisy, sigma=0.5).mean(axis=0)
    """
    _check(model, method)
    noisy = checks.array(noisy, model.image_shape, "noisy")
    if not np.isfinite(ops.convert_to_numpy(model.likelihood.as_input(ops.convert_to_tensor(noisy)))).all():
        raise ValueError(
            f"`noisy` must have a logarithm log(1 + x), which the encoder of a {type(model.likelihood).__name__} "
            f"likelihood takes: counts do not have Gaussian noise. Received: values from {noisy.min():g}"
        )
    sensor = posterior_codes.Sensor(sigma=checks.positive_number(sigma, "sigma"))
    observation = posterior_codes.Observation(noisy, np.ones_like(noisy), sensor)
    return _restore(model, observation, y, num_samples, method, steps, learning_rate, seed)


def inpaint(
    model: Any,
    x: ArrayLike,
    mask: ArrayLike,
    y: Any = None,
    num_samples: int = 10,
    method: str = "metropolis",
    steps: int = 100,
    learning_rate: float = 0.05,
    seed: int | None = 0,
) -> Array:
    """Fill in the missing pixels of images.

    Args:
        model: as in `denoise`.
        x: images `(n, *image_shape)`; values at missing pixels, even NaN, are ignored.
        mask: bools, `True` where a pixel is known: `(n, *image_shape)`, or `image_shape` for one mask for all images.
        y: labels, for a conditional model.
        num_samples: as in `denoise`.
        method: as in `denoise`.
        steps: as in `denoise`.
        learning_rate: as in `denoise`.
        seed: as in `denoise`.

    Returns:
        Array `(num_samples, n, *image_shape)`: pixel means at missing pixels, `x` at known ones.

    Raises:
        ValueError: if the mask has a wrong shape, hides a whole image or hides nothing; else as in `denoise`.

    Example:

    >>> mask = np.ones(data.image_shape, bool)
    >>> mask[4:] = False  # the lower half is hidden
    >>> samples = kvae.applications.inpaint(model, data.x_test[:10], mask)
    >>> estimate, spread = samples.mean(axis=0), samples.std(axis=0)
    """
    _check(model, method)
    mask = check_mask(mask, np.shape(x), model.image_shape)
    x = model.check_images(np.where(mask, x, 0.0))
    observation = posterior_codes.Observation(x, mask)
    return _restore(model, observation, y, num_samples, method, steps, learning_rate, seed)


def super_resolve(
    model: Any,
    small: ArrayLike,
    factor: int,
    sigma: float = 0.02,
    y: Any = None,
    num_samples: int = 10,
    method: str = "metropolis",
    steps: int = 100,
    learning_rate: float = 0.05,
    seed: int | None = 0,
) -> Array:
    """Increase the resolution of images whose pixels are means over blocks of pixels of the model's images.

    Args:
        model: as in `denoise`, for images `(height, width, channels)`.
        small: images `(n, height / factor, width / factor, channels)`, as returned by `downsample`.
        factor: int, the ratio of the heights and of the widths.
        sigma: float, standard deviation of the difference between a pixel of `small` and the mean of its block.
        y: labels, for a conditional model.
        num_samples: as in `denoise`.
        method: as in `denoise`.
        steps: as in `denoise`.
        learning_rate: as in `denoise`.
        seed: as in `denoise`.

    Returns:
        Array `(num_samples, n, *image_shape)`.

    Raises:
        ValueError: if `factor` does not divide the image's height and width or `small` has a wrong shape; else as in
            `denoise`.

    Example:

    >>> small = kvae.applications.downsample(data.x_test[:10], factor=4)
    >>> large = kvae.applications.super_resolve(model, small, factor=4).mean(axis=0)
    """
    _check(model, method)
    small = checks.array(small, small_shape(model.image_shape, factor), "small")
    sensor = posterior_codes.Sensor(factor, checks.positive_number(sigma, "sigma"))
    observation = posterior_codes.Observation(small, np.ones_like(small), sensor)
    return _restore(model, observation, y, num_samples, method, steps, learning_rate, seed)


def downsample(x: ArrayLike, factor: int) -> Array:
    """Average images over blocks of `factor` by `factor` pixels.

    Args:
        x: images `(n, height, width, channels)`.
        factor: int of at least 2 that divides height and width.

    Returns:
        Array `(n, height / factor, width / factor, channels)`.

    Raises:
        ValueError: if `factor` does not divide height and width.
    """
    x = np.asarray(x)
    height, width, channels = small_shape(x.shape[1:], factor)
    return x.reshape(len(x), height, factor, width, factor, channels).mean(axis=(2, 4))


def psnr(x: ArrayLike, estimate: ArrayLike) -> Array:
    """Compute the peak signal-to-noise ratio of each image, with peak 1: array `(n,)`, decibels."""
    x = np.asarray(x, "float64")
    return -10.0 * np.log10(np.square(x - np.asarray(estimate)).reshape(len(x), -1).mean(axis=1))


def check_mask(mask: ArrayLike, shape: Shape, image_shape: Shape) -> Array:
    """Return `mask` as bools `(n, *image_shape)`, or raise a `ValueError`; `shape` is that of the n images."""
    mask = np.asarray(mask)
    shape, image_shape = tuple(shape), tuple(image_shape)
    if mask.shape not in (image_shape, shape):
        several = mask.shape in (image_shape[:-1], shape[:-1])  # the same for all channels
        fix = f": use np.repeat(mask[..., None], {image_shape[-1]}, axis=-1)" if several else ""
        raise ValueError(
            f"`mask` must have shape {image_shape} or that of `x`, {shape}{fix}. Received: shape {mask.shape}"
        )
    if not np.isin(mask, (0, 1)).all():
        raise ValueError(f"`mask` must contain bools, True where a pixel is known. Received: dtype {mask.dtype}")
    mask = np.broadcast_to(mask.astype(bool), (*shape[:1], *image_shape))
    known = mask.mean(axis=tuple(range(1, mask.ndim)))
    if (known == 0).any():
        raise ValueError(
            "`mask` must mark some pixels of each image as known: use generate for whole images. "
            f"Received: no known pixels in {np.sum(known == 0)} of {len(mask)} images"
        )
    if len(known) and (known == 1).all():
        raise ValueError("`mask` must mark some pixels as missing, with False. Received: True everywhere")
    return mask


def small_shape(image_shape: Shape, factor: int) -> Shape:
    """The shape of an image downsampled by `factor`; raises a `ValueError` if `factor` does not divide its sides."""
    factor = checks.positive_integer(factor, "factor")
    if len(image_shape) != 3 or any(side % factor for side in image_shape[:2]) or factor == 1:
        raise ValueError(
            "`factor` must be an integer of at least 2 that divides the height and width of images, of shape (height, "
            f"width, channels). Received: factor={factor} for images of shape {tuple(image_shape)}"
        )
    return (image_shape[0] // factor, image_shape[1] // factor, image_shape[2])


def _check(model, method):
    capabilities.needs_continuous_codes(model)
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: {method!r}")
    if method == "metropolis" and not capabilities.has(model, "density"):
        raise ValueError(
            '`method` must be "gibbs" or "optimise" for a model without a density. '
            f"Received: method={method!r} for {type(model).__name__}"
        )


def _restore(model, observation, y, num_samples, method, steps, learning_rate, seed):
    num_samples = checks.positive_integer(num_samples, "num_samples")
    steps = checks.positive_integer(steps, "steps")
    y = model.check_condition(y, len(observation.value))
    chain = min(steps, WARM_UP) if method == "optimise" else steps
    z = posterior_codes.sample_codes(model, observation, y, num_samples, chain, seed, correct=method == "metropolis")
    if method == "optimise":
        z = posterior_codes.optimise_codes(model, observation, y, z, steps, learning_rate)
    return posterior_codes.complete(model, observation, z, y)
