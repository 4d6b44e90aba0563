"""Lossy compression of images as quantised codes: rate and distortion.

A file holds the codes of n images, rounded to multiples of a step and compressed with zlib. Rates are in bits per
pixel: the bits of the file (or of an ideal coder) divided by n · height · width; all channels count as one pixel.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import zlib
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import checks, evaluation
from kvae.baselines import PCA
from kvae.distributions import Bernoulli, Normal
from kvae.io import limits
from kvae.models import capabilities
from kvae.types import Array, ArrayLike

# Little-endian: magic bytes, version; fingerprint of the model; images, latent dimensions, label columns; step; dtypes
# of codes and labels.
HEADER = struct.Struct("<4sB8sIIId2s2s")
MAGIC, VERSION = b"KVAE", 2
FLOOR, EXPANSION = 2**28, 2**16  # bytes of the images: any file may ask for the first, or for so many per byte of it
CODES, LABELS = (b"i1", b"i2", b"i4"), (b"i4", b"f4")
TINY = 1e-300  # lower limit on probabilities, 997 bits

_normal_cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))  # accurate in the lower tail


def bits_back_rate(model: Any, x: ArrayLike, y: Any = None, num_samples: int = 50, seed: int | None = 0) -> Array:
    """Compute the rate of lossless bits-back coding, in bits per pixel: −ELBO / (ln 2 · pixels).

    A sender who uses earlier message bits to draw z ~ q(z|x) recovers −log q(z|x) of them (Townsend, Bird, Barber 2019,
    https://arxiv.org/abs/1901.04866). This requires pixels with probabilities instead of densities.

    Args:
        model: a `VAE` or `CVAE` with a Bernoulli likelihood.
        x: images `(n, *image_shape)` with pixels 0 and 1.
        y: labels, for a conditional model; their bits are not counted.
        num_samples: int, posterior samples per example.
        seed: int for reproducible noise; `None` for a random one.

    Returns:
        Array `(n,)`, bits per pixel.

    Raises:
        ValueError: if the model has no density, its likelihood is continuous, or a pixel is neither 0 nor 1.

    Example:

    >>> data = kvae.load_data("digits", binarization="static")
    >>> rate = kvae.applications.bits_back_rate(model, data.x_test).mean()
    """
    capabilities.needs(model, "density")
    if not isinstance(model.likelihood, Bernoulli):
        raise ValueError(
            "`model` must have a Bernoulli likelihood: a continuous one gives a pixel a density, not a number of bits. "
            f"Received: {type(model.likelihood).__name__}"
        )
    images = model.check_images(x)
    if not np.isin(images, (0, 1)).all():
        raise ValueError("`x` must contain only 0 and 1: use kvae.data.binarize. Received: values in between")
    return -model.elbo(images, y, num_samples=num_samples, seed=seed) / (math.log(2.0) * _pixels(images.shape))


def compress(model: Any, x: ArrayLike, step: float, y: Any = None) -> bytes:
    """Compress images to a file of rounded codes.

    Args:
        model: a trained model or a fitted `kvae.baselines.PCA`, which is also needed to read the file.
        x: images `(n, *image_shape)`.
        step: float, quantisation step of the codes: a larger step takes fewer bits and gives worse images. For a VAE
            the width of its posteriors, 0.1 to 1, is a good choice; finer steps improve little.
        y: labels, for a conditional model; they are stored too.

    Returns:
        The content of the file, for `decompress`.

    Raises:
        ValueError: if `step` is not positive or so small that a code exceeds 32 bits, images do not fit the model, or
            it has no continuous codes.

    Example:

    >>> file = kvae.applications.compress(model, data.x_test, step=0.5)
    >>> rate = 8 * len(file) / data.x_test.size  # bits per pixel
    """
    codes = _quantised(model, x, step, y)
    width = next(bits for bits in (8, 16, 32) if np.abs(codes).max() < 2 ** (bits - 1))
    codes = codes.astype(f"<i{width // 8}")
    if isinstance(y, tuple):
        raise ValueError(f"`y` must be one condition, as a file stores it. Received: {len(y)} of them")
    y = np.zeros((len(codes), 0), "<i4") if y is None else model.check_condition(y, len(codes))
    labels = y.reshape(len(codes), -1).astype("<f4" if y.dtype.kind == "f" else "<i4")
    head = HEADER.pack(
        MAGIC,
        VERSION,
        _fingerprint(model),
        *codes.shape,
        labels.shape[1],
        step,
        *(a.dtype.str[1:].encode() for a in (codes, labels)),
    )
    # Dimension by dimension, so that zlib can adapt its code table to each distribution.
    return head + zlib.compress(codes.T.tobytes() + labels.T.tobytes(), 9)


def decompress(model: Any, file: bytes | bytearray) -> Array:
    """Decode the images of a file written by `compress` with the same model.

    Args:
        model: the model that wrote the file.
        file: content of the file.

    Returns:
        Array `(n, *image_shape)`: the decoded codes.

    Raises:
        ValueError: if the file is truncated, damaged, of another format, or was written with another model or other
            weights; or if it asks for more than 256 MiB of images and more than 65,536 bytes per byte of it.

    Example:

    >>> file = kvae.applications.compress(model, data.x_test[:10], step=0.5)
    >>> kvae.applications.decompress(model, file).shape
    (10, 8, 8, 1)
    """
    wanted = "`file` must be bytes returned by kvae.applications.compress"
    if not isinstance(file, (bytes, bytearray)):
        raise ValueError(f"{wanted}: read it with open(path, 'rb'). Received: {type(file).__name__}")
    if len(file) < HEADER.size or file[:4] != MAGIC:
        raise ValueError(f"{wanted}. Received: {len(file)} bytes, truncated or of another format")
    _, version, fingerprint, n, latent_dim, columns, step, *dtypes = HEADER.unpack(file[: HEADER.size])
    if version != VERSION:
        raise ValueError(f"{wanted} in version {VERSION}. Received: version {version}")
    if latent_dim != model.latent_dim:
        raise ValueError(
            f"`file` must be written by this model, with {model.latent_dim} latent dimensions. Received: {latent_dim}"
        )
    if fingerprint != _fingerprint(model):
        raise ValueError(
            "`file` must be written with the same model and weights: load the model that compressed it. "
            f"Received: a file of the model {fingerprint.hex()}, and the model {_fingerprint(model).hex()}"
        )
    if dtypes[0] not in CODES or dtypes[1] not in LABELS:
        raise ValueError(f"{wanted}. Received: numbers of types {dtypes}")
    code_type, label_type = (np.dtype("<" + name.decode()) for name in dtypes)
    images = 4 * n * math.prod(model.image_shape)
    most = min(max(FLOOR, EXPANSION * len(file)), int(os.environ.get("KVAE_MAX_BYTES", limits.UNPACKED)))
    if images > most:
        raise ValueError(
            f"{wanted}: {n:,} images of a file of {len(file):,} bytes would take {images:,} bytes, over {most:,}. "
            "Received: a damaged header, or images without any content"
        )
    split = n * latent_dim * code_type.itemsize
    try:
        whole = split + n * columns * label_type.itemsize
        unpacker = zlib.decompressobj()  # no more than the header announces; deflate's maximum is 1,032 times
        payload = unpacker.decompress(file[HEADER.size :], min(whole, 1100 * len(file)) + 1)
        if len(payload) != whole or not unpacker.eof:
            raise ValueError(f"the codes should take {whole} bytes")
        codes = np.frombuffer(payload[:split], code_type).reshape(latent_dim, n).T
        labels = np.frombuffer(payload[split:], label_type).reshape(columns, n).T
    except (zlib.error, ValueError) as error:
        raise ValueError(f"{wanted}. Received: {len(file)} bytes, damaged or truncated ({error})") from error
    z = (codes * step).astype("float32")
    if columns == 0:
        return model.decode(z)
    return model.decode(z, _condition(model, labels))


def _condition(model: Any, values: Array) -> Array:
    """The rows of a file as class labels, or in the shape of the model's condition, which may be an image."""
    if values.dtype.kind != "f":
        return values[:, 0]
    shapes = [part.shape for part in getattr(getattr(model, "conditions", None), "parts", ())]
    fits = [math.prod(shape) for shape in shapes] == [values.shape[-1]]
    return values.reshape(-1, *shapes[0]) if fits else values


def _fingerprint(model):
    """Eight bytes that identify the weights of a model's encoder and decoder, or the components of a baseline."""
    digest = hashlib.sha256()
    if isinstance(model, keras.Model):
        parts = [model.encoder.weights, model.decoder.weights]
        # Not the states of random generators, which are integers and change with use.
        arrays = [ops.convert_to_numpy(weight) for part in parts for weight in part if "float" in weight.dtype]
    else:
        arrays = [model.components, model.decode(np.zeros((1, model.latent_dim), "float32"))]
    for array in arrays:
        digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array, "float32").tobytes())
    return digest.digest()[:8]


def prior_rate(model: Any, x: ArrayLike, step: float, y: Any = None) -> float:
    """Compute the rate of an ideal coder that assumes the prior, in bits per pixel: −log₂ P(rounded code).

    P is the prior's mass within half a step of the code; for a model without a prior, that of a Gaussian with the mean
    and variance of each code dimension. A VAE's file may be smaller: posterior means vary less than samples from the
    prior, whose variance includes that of the posteriors, and zlib exploits it.

    Args:
        model: as in `compress`.
        x: images `(n, *image_shape)`.
        step: float.
        y: labels, for a conditional model; their bits are not counted.

    Returns:
        Float, bits per pixel.

    Raises:
        ValueError: as in `compress`.
    """
    z = step * _quantised(model, x, step, y)
    mean, deviation = _code_distribution(model, z, y)
    distance = -np.abs(z - mean)  # in the lower tail, where differences of Φ are accurate
    mass = _normal_cdf((distance + step / 2) / deviation) - _normal_cdf((distance - step / 2) / deviation)
    return float(-np.log2(np.maximum(mass, TINY)).sum() / _pixels(np.shape(x)) / len(z))


def png_rate(x: ArrayLike) -> float:
    """Compute the rate of PNG in bits per pixel, with all images stacked in one file of 8-bit pixels.

    Args:
        x: images `(n, height, width, channels)` in [0, 1].

    Returns:
        Float.

    Raises:
        ValueError: if `x` does not contain greyscale or colour images.
    """
    from PIL import Image

    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not len(x):
        raise ValueError(f"`x` must have shape (n, height, width, 1 or 3 channels). Received: shape {x.shape}")
    picture = np.rint(255 * np.clip(x, 0, 1)).astype("uint8").reshape(-1, *x.shape[2:])
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if x.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
    return 8 * len(file.getvalue()) / (len(x) * _pixels(x.shape))


def rate_distortion(model: Any, x: ArrayLike, steps: ArrayLike, y: Any = None) -> dict[str, Array]:
    """Compute rate and distortion for several quantisation steps.

    Args:
        model: as in `compress`.
        x: images `(n, *image_shape)`.
        steps: floats `(m,)`.
        y: labels, for a conditional model.

    Returns:
        Dict of arrays `(m,)`: "step"; "rate", bits per pixel of the file; "prior_rate", that of `prior_rate`; "mse",
        the mean squared error per pixel of the decoded images.

    Raises:
        ValueError: if `steps` is empty; else as in `compress`.

    Example:

    >>> curves = {"VAE": kvae.applications.rate_distortion(model, data.x_test, [0.25, 0.5, 1, 2])}
    >>> figure = kvae.plots.rate_distortion(curves, png=kvae.applications.png_rate(data.x_test))
    """
    x, steps = np.asarray(x), checks.array(steps, (), "steps")
    files = [compress(model, x, step, y) for step in steps]
    return {
        "step": steps,
        "rate": np.array([8 * len(file) / (len(x) * _pixels(np.shape(x))) for file in files]),
        "prior_rate": np.array([prior_rate(model, x, step, y) for step in steps]),
        "mse": np.array([evaluation.reconstruction_mse(x, decompress(model, file)) for file in files]),
    }


def _quantised(model, x, step, y):
    """Codes `(n, latent_dim)` as integer multiples of `step`."""
    if not isinstance(model, PCA):
        capabilities.needs_continuous_codes(model)
    step = checks.positive_number(step, "step")
    z = model.encode(x) if y is None else model.encode(x, y)
    codes = np.rint(z.astype("float64") / step)
    if np.abs(codes).max() >= 2**31:
        raise ValueError(f"`step` must be larger: codes up to {np.abs(z).max():g} exceed 32 bits. Received: {step!r}")
    return codes


def _code_distribution(model, z, y):
    """Mean and standard deviation of each code, broadcastable to `z`: the prior's, or those of `z` itself."""
    condition = None if y is None else model.condition(ops.convert_to_tensor(y))
    params = model.prior.params(condition) if capabilities.has(model, "density") else None
    if params is None or not isinstance(model.prior.family, Normal):
        return z.mean(axis=0), np.maximum(z.std(axis=0), 1e-6)
    mean, log_var = map(ops.convert_to_numpy, model.prior.family.mean_and_log_var(params))
    return mean, np.exp(0.5 * log_var)


def _pixels(shape):
    """Number of pixels per image in an array of `shape` `(n, height, width, channels)` or `(n, features)`."""
    return math.prod(shape[1:3])
