"""Images back from what is left of them: noise taken away, holes filled in, small ones enlarged.

Each function gives several samples, for what is lost can be guessed in several ways: their mean is the estimate with
the least squared error, their standard deviation tells where the model is guessing.
"""

import numpy as np

from kvae import checks
from kvae.applications import posterior_codes
from kvae.models import capabilities

METHODS = ("gibbs", "metropolis", "optimise")
WARM_UP = 10  # steps of the chain that a climb starts from


def denoise(model, noisy, sigma, y=None, num_samples=10, method="metropolis", steps=100, learning_rate=0.05, seed=0):
    """Take Gaussian noise out of images.

    Args:
        model: a `VAE` or `CVAE` trained on clean images; or an `Autoencoder`, with "optimise" or a few steps of
            "gibbs": without a prior nothing holds a long chain near the data.
        noisy: images `(n, *image_shape)` plus noise; values may leave [0, 1].
        sigma: float, the noise's standard deviation.
        y: labels, for a conditional model.
        num_samples: int, samples an image.
        method: "gibbs" to encode, draw and decode in turn; "metropolis" for the same with a correction, so that samples
            come from p(z | observed); "optimise" to climb from "gibbs" to the likeliest code, which leaves little
            spread. See `kvae.applications.latent`.
        steps: int, of a chain, and of the climb.
        learning_rate: float, of the climb.
        seed: int.

    Returns:
        Array `(num_samples, n, *image_shape)` of clean images.

    Raises:
        ValueError: if the model has no decoder or no density, images do not fit it, or `sigma` is not positive.

    Example:

    >>> clean = kvae.applications.denoise(model, noisy, sigma=0.5).mean(axis=0)
    """
    _check(model, method)
    noisy = checks.array(noisy, model.image_shape, "noisy")
    observation = posterior_codes.Observation(noisy, np.ones_like(noisy), sigma=checks.positive_number(sigma, "sigma"))
    return _restore(model, observation, y, num_samples, method, steps, learning_rate, seed)


def inpaint(model, x, mask, y=None, num_samples=10, method="metropolis", steps=100, learning_rate=0.05, seed=0):
    """Fill in the hidden pixels of images.

    Args:
        model: as in `denoise`.
        x: images `(n, *image_shape)`; what stands at hidden pixels, NaN too, is not looked at.
        mask: bools, `True` where a pixel is known: `image_shape` for one mask for all, or `(n, *image_shape)`.
        y: labels, for a conditional model.
        num_samples: as in `denoise`.
        method: as in `denoise`.
        steps: as in `denoise`.
        learning_rate: as in `denoise`.
        seed: int.

    Returns:
        Array `(num_samples, n, *image_shape)`: pixel means at hidden pixels, `x` at known ones.

    Raises:
        ValueError: if the mask has another shape, hides all of an image or nothing at all; else as `denoise`.

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
    model, small, factor, sigma=0.02, y=None, num_samples=10, method="metropolis", steps=100, learning_rate=0.05, seed=0
):
    """Enlarge images whose pixels are means over blocks of the pixels that the model knows.

    Args:
        model: as in `denoise`, of images `(height, width, channels)`.
        small: images `(n, height / factor, width / factor, channels)`, such as `downsample` gives.
        factor: int, how many times higher and wider the result is.
        sigma: float, the standard deviation that a small pixel may differ by from the mean of its block.
        y: labels, for a conditional model.
        num_samples: as in `denoise`.
        method: as in `denoise`.
        steps: as in `denoise`.
        learning_rate: as in `denoise`.
        seed: int.

    Returns:
        Array `(num_samples, n, *image_shape)`.

    Raises:
        ValueError: if `factor` does not divide the image's sides or `small` is of another size; else as `denoise`.

    Example:

    >>> small = kvae.applications.downsample(data.x_test[:10], factor=4)
    >>> large = kvae.applications.super_resolve(model, small, factor=4).mean(axis=0)
    """
    _check(model, method)
    small = checks.array(small, small_shape(model.image_shape, factor), "small")
    observation = posterior_codes.Observation(
        small, np.ones_like(small), factor, checks.positive_number(sigma, "sigma")
    )
    return _restore(model, observation, y, num_samples, method, steps, learning_rate, seed)


def downsample(x, factor):
    """Means over blocks of `factor` by `factor` pixels.

    Args:
        x: images `(n, height, width, channels)`.
        factor: int that divides height and width.

    Returns:
        Array `(n, height / factor, width / factor, channels)`.

    Raises:
        ValueError: if `factor` does not divide the sides.
    """
    x = np.asarray(x)
    height, width, channels = small_shape(x.shape[1:], factor)
    return x.reshape(len(x), height, factor, width, factor, channels).mean(axis=(2, 4))


def psnr(x, estimate):
    """Peak signal-to-noise ratio of images with peak 1, from the mean squared error of each: array `(n,)`, decibels."""
    x = np.asarray(x, "float64")
    return -10.0 * np.log10(np.square(x - estimate).reshape(len(x), -1).mean(axis=1))


def check_mask(mask, shape, image_shape):
    """Return `mask` as bools `(n, *image_shape)`, or raise a `ValueError`; `shape` is that of the n images."""
    mask = np.asarray(mask)
    shape, image_shape = tuple(shape), tuple(image_shape)
    if mask.shape not in (image_shape, shape):
        raise ValueError(f"`mask` must have shape {image_shape} or (n, ...) as `x`: {shape}. Received: {mask.shape}")
    if not np.isin(mask, (0, 1)).all():
        raise ValueError(f"`mask` must hold bools, True where a pixel is known. Received: dtype {mask.dtype}")
    mask = np.broadcast_to(mask.astype(bool), (*shape[:1], *image_shape))
    known = mask.mean(axis=tuple(range(1, mask.ndim)))
    if (known == 0).any():
        raise ValueError(
            "`mask` must leave some pixels of each image known: use generate for a whole image. "
            f"Received: all hidden in {np.sum(known == 0)} of {len(mask)} images"
        )
    if len(known) and (known == 1).all():
        raise ValueError("`mask` must hide some pixels: True is for known ones. Received: no pixel hidden")
    return mask


def small_shape(image_shape, factor):
    """The shape of an image reduced by `factor`, or a `ValueError`."""
    factor = checks.positive_integer(factor, "factor")
    if len(image_shape) != 3 or any(side % factor for side in image_shape[:2]) or factor == 1:
        raise ValueError(
            "`factor` must be an integer of at least 2 that divides height and width of (height, width, channels). "
            f"Received: factor={factor} for images of shape {tuple(image_shape)}"
        )
    return (image_shape[0] // factor, image_shape[1] // factor, image_shape[2])


def _check(model, method):
    if not hasattr(model, "decoder"):
        raise ValueError(
            f"`model` must have an encoder and a decoder network. Received: {type(model).__name__}, without a decoder"
        )
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
