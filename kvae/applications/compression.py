"""Images as codes in a file: how many bits a pixel they take, and what is lost.

A file holds the codes of n images, rounded to multiples of a step and packed by zlib. The rate is per pixel: bits of
the file (or of an ideal coder) over n · height · width, channels together.
"""

import io
import math
import struct
import zlib

import numpy as np
from keras import ops

from kvae import checks, evaluation
from kvae.distributions import Bernoulli, Normal
from kvae.models import capabilities

# Magic bytes, version; images, latent dimensions, label columns; step; dtypes of codes and labels. Little-endian.
HEADER = struct.Struct("<4sBIIId2s2s")
MAGIC, VERSION = b"KVAE", 1
CODES, LABELS = (b"i1", b"i2", b"i4"), (b"i4", b"f4")
TINY = 1e-300  # a probability below this counts 997 bits

_normal_cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))  # keeps its digits in the lower tail


def bits_back_rate(model, x, y=None, num_samples=50, seed=0):
    """The bits a pixel that bits-back coding takes without loss: −ELBO / (ln 2 · pixels).

    A sender who draws z ~ q(z|x) with earlier message bits gets log q(z|x) of them back (Townsend, Bird, Barber 2019,
    https://arxiv.org/abs/1901.04866). Only pixels that have probabilities, not densities, can be coded so.

    Args:
        model: a `VAE` or `CVAE` whose likelihood is Bernoulli.
        x: images `(n, *image_shape)` of pixels 0 and 1.
        y: labels, for a conditional model; their own bits are not counted.
        num_samples: int, posterior samples an example.
        seed: int.

    Returns:
        Array `(n,)`, bits a pixel.

    Raises:
        ValueError: if the model has no density, its likelihood is continuous, or pixels are neither 0 nor 1.

    Example:

    >>> data = kvae.load_data("digits", binarization="static")
    >>> kvae.applications.bits_back_rate(model, data.x_test).mean()
    """
    capabilities.needs(model, "density")
    if not isinstance(model.likelihood, Bernoulli):
        raise ValueError(
            "`model` must have a Bernoulli likelihood: of a continuous one a pixel has a density, no number of bits. "
            f"Received: {type(model.likelihood).__name__}"
        )
    x = model.check_images(x)
    if not np.isin(x, (0, 1)).all():
        raise ValueError("`x` must hold pixels of 0 and 1: kvae.data.binarize draws such. Received: values between")
    return -model.elbo(x, y, num_samples=num_samples, seed=seed) / (math.log(2.0) * _pixels(x.shape))


def compress(model, x, step, y=None):
    """Write images as a file of rounded codes.

    Args:
        model: a trained model, or a fitted `kvae.baselines.PCA`; the same one must read the file.
        x: images `(n, *image_shape)`.
        step: float, the codes' step: the larger, the fewer bits and the worse the image. For a VAE the width of its
            posteriors, 0.1 to 1, is a good one: finer steps than the model's own doubt buy little.
        y: labels, for a conditional model; they are written too.

    Returns:
        Bytes, for `decompress`.

    Raises:
        ValueError: if `step` is not positive or so small that a code does not fit 32 bits, or images do not fit.

    Example:

    >>> file = kvae.applications.compress(model, data.x_test, step=0.5)
    >>> 8 * len(file) / data.x_test.size  # bits a pixel
    """
    codes = _quantised(model, x, step, y)
    width = next(bits for bits in (8, 16, 32) if np.abs(codes).max() < 2 ** (bits - 1))
    codes = codes.astype(f"<i{width // 8}")
    labels = np.zeros((len(codes), 0), "<i4") if y is None else np.asarray(y).reshape(len(codes), -1)
    labels = labels.astype("<f4" if labels.dtype.kind == "f" else "<i4")
    head = HEADER.pack(
        MAGIC, VERSION, *codes.shape, labels.shape[1], step, *(a.dtype.str[1:].encode() for a in (codes, labels))
    )
    # Dimension after dimension, so that numbers of one kind stand together: zlib then fits its table to each.
    return head + zlib.compress(codes.T.tobytes() + labels.T.tobytes(), 9)


def decompress(model, file):
    """Read the images of a file that `compress` wrote with the same model.

    Args:
        model: the model that wrote it.
        file: bytes.

    Returns:
        Array `(n, *image_shape)`: the decoded codes.

    Raises:
        ValueError: if the file is cut short, damaged, of another program, or of a model of another latent size.

    Example:

    >>> images = kvae.applications.decompress(model, file)
    """
    wanted = "`file` must be the bytes that kvae's compress gave"
    if not isinstance(file, (bytes, bytearray)):
        raise ValueError(f"{wanted}: read it with open(path, 'rb'). Received: {type(file).__name__}")
    if len(file) < HEADER.size or file[:4] != MAGIC:
        raise ValueError(f"{wanted}. Received: {len(file)} bytes of another kind, or cut short")
    _, version, n, latent_dim, columns, step, *dtypes = HEADER.unpack(file[: HEADER.size])
    if version != VERSION:
        raise ValueError(f"{wanted} in version {VERSION}. Received: version {version}")
    if latent_dim != model.latent_dim:
        raise ValueError(
            f"`file` must come from this model, with {model.latent_dim} latent dimensions. Received: {latent_dim}"
        )
    if dtypes[0] not in CODES or dtypes[1] not in LABELS:
        raise ValueError(f"{wanted}. Received: numbers of the kinds {dtypes}")
    code_type, label_type = (np.dtype("<" + name.decode()) for name in dtypes)
    split = n * latent_dim * code_type.itemsize
    try:
        whole = split + n * columns * label_type.itemsize
        unpacker = zlib.decompressobj()  # of what the header promises and no more; deflate's best is 1,032 times
        payload = unpacker.decompress(file[HEADER.size :], min(whole, 1100 * len(file)) + 1)
        if len(payload) != whole or not unpacker.eof:
            raise ValueError(f"the codes should take {whole} bytes")
        codes = np.frombuffer(payload[:split], code_type).reshape(latent_dim, n).T
        labels = np.frombuffer(payload[split:], label_type).reshape(columns, n).T
    except (zlib.error, ValueError) as error:
        raise ValueError(f"{wanted}. Received: {len(file)} bytes, damaged or cut short ({error})") from error
    z = (codes * step).astype("float32")
    if columns == 0:
        return model.decode(z)
    return model.decode(z, labels if label_type.kind == "f" else labels[:, 0])


def prior_rate(model, x, step, y=None):
    """The bits a pixel of an ideal coder whose table is the prior's: −log₂ P(rounded code).

    P is the prior's mass within half a step; for a model without a prior, that of the Gaussian with each code
    dimension's own mean and variance. A VAE's file may be the smaller one: posterior means lie closer together than the
    prior's draws, whose width counts the posteriors' too, and zlib sees that.

    Args:
        model: as in `compress`.
        x: images `(n, *image_shape)`.
        step: float.
        y: labels, for a conditional model; their own bits are not counted.

    Returns:
        Float, bits a pixel.

    Raises:
        ValueError: as `compress`.
    """
    z = step * _quantised(model, x, step, y)
    mean, deviation = _code_distribution(model, z, y)
    distance = -np.abs(z - mean)  # the lower tail, where differences of Φ keep their digits
    mass = _normal_cdf((distance + step / 2) / deviation) - _normal_cdf((distance - step / 2) / deviation)
    return float(-np.log2(np.maximum(mass, TINY)).sum() / _pixels(np.shape(x)) / len(z))


def png_rate(x):
    """The bits a pixel that images take as PNG, all in one tall picture of 8-bit pixels.

    Args:
        x: images `(n, height, width, channels)` in [0, 1].

    Returns:
        Float.

    Raises:
        ValueError: if `x` holds no grey or colour images.
    """
    from PIL import Image

    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not len(x):
        raise ValueError(f"`x` must have shape (n, height, width, 1 or 3 channels). Received: shape {x.shape}")
    picture = np.rint(255 * np.clip(x, 0, 1)).astype("uint8").reshape(-1, *x.shape[2:])
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if x.shape[-1] == 1 else picture).save(file, "PNG", optimize=True)
    return 8 * len(file.getvalue()) / (len(x) * _pixels(x.shape))


def rate_distortion(model, x, steps, y=None):
    """What files of several steps cost and lose.

    Args:
        model: as in `compress`.
        x: images `(n, *image_shape)`.
        steps: floats `(m,)`.
        y: labels, for a conditional model.

    Returns:
        Dict of arrays `(m,)`: "step"; "rate", bits a pixel of the file; "prior_rate", those of `prior_rate`; "mse",
        the mean squared error a pixel of what comes back.

    Raises:
        ValueError: if there are no steps; else as `compress`.

    Example:

    >>> curves = {"VAE": kvae.applications.rate_distortion(model, data.x_test, [0.25, 0.5, 1, 2])}
    >>> figure = kvae.plots.rate_distortion(curves, png=kvae.applications.png_rate(data.x_test))
    """
    steps = checks.array(steps, (), "steps")
    files = [compress(model, x, step, y) for step in steps]
    return {
        "step": steps,
        "rate": np.array([8 * len(file) / (len(x) * _pixels(np.shape(x))) for file in files]),
        "prior_rate": np.array([prior_rate(model, x, step, y) for step in steps]),
        "mse": np.array([evaluation.reconstruction_mse(x, decompress(model, file)) for file in files]),
    }


def _quantised(model, x, step, y):
    """Codes `(n, latent_dim)` in steps, whole numbers."""
    step = checks.positive_number(step, "step")
    z = model.encode(x) if y is None else model.encode(x, y)
    codes = np.rint(z.astype("float64") / step)
    if np.abs(codes).max() >= 2**31:
        raise ValueError(
            f"`step` must be larger: codes up to {np.abs(z).max():g} do not fit 32 bits. Received: {step!r}"
        )
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
    """Pixels of one image of an array of `shape` `(n, height, width, channels)` (or `(n, features)`)."""
    return math.prod(shape[1:3])
