"""The lecture's ladder of methods, PCA → autoencoder → denoising autoencoder → VAE → CVAE, compared.

All five have the same latent size and training budget. Each step shows its benefit: an autoencoder reconstructs better
than PCA, but random codes do not decode to digits; a VAE gives up some reconstruction quality for a latent space that
can be sampled.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kvae import baselines, evaluation, networks
from kvae.applications import interpolate
from kvae.applications.classifier import linear_probe
from kvae.corruption import Gaussian
from kvae.data import Dataset
from kvae.models import CVAE, VAE, Autoencoder, capabilities
from kvae.types import Array

RANDOM_CODES = 1000  # images for the Fréchet distance
PROBE_EXAMPLES = 10_000
STEPS = 8  # images in an interpolation, and in the other samples that are kept


@dataclasses.dataclass(frozen=True)
class Rung:
    """Results of one method of the ladder.

    Attributes:
        name: the method.
        reconstruction_mse: mean squared error per pixel on test images.
        frechet_distance: Fréchet distance, in the features of a small classifier, between test images and decoded
            random codes z ~ N(0, I), the prior of the VAE.
        frechet_distance_fitted: the same for codes from a diagonal Gaussian with the mean and standard deviation of the
            training codes, the best simple prior for an autoencoder.
        probe_accuracy: accuracy of a logistic regression on the codes of test images.
        seconds: training time.
        reconstructions: `(n, *image_shape)`, of the first test images.
        random: `(n, *image_shape)`, decoded codes z ~ N(0, I).
        interpolation: `(steps, *image_shape)`, from the first test image to one of another class.
        z: `(n, latent_dim)`, codes of test images.
    """

    name: str
    reconstruction_mse: float
    frechet_distance: float
    frechet_distance_fitted: float
    probe_accuracy: float
    seconds: float
    reconstructions: Array
    random: Array
    interpolation: Array
    z: Array

    def numbers(self) -> dict[str, str | float]:
        """Return the results without the arrays, for a table or a JSON file."""
        return {name: value for name, value in dataclasses.asdict(self).items() if not isinstance(value, np.ndarray)}


def climb(
    data: Dataset,
    latent_dim: int = 2,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    noise: float = 0.5,
    hidden: Sequence[int] | None = None,
    seed: int = 0,
) -> Iterator[Rung]:
    """Train the five methods in turn, and evaluate each in the same way.

    Args:
        data: a labelled `kvae.data.Dataset` of images.
        latent_dim: int, number of components or latent dimensions of all five methods.
        epochs: int, training epochs of each network.
        batch_size: int.
        learning_rate: initial learning rate of Adam, which decays to zero along a cosine.
        noise: standard deviation of the denoising autoencoder's input noise.
        hidden: units of the encoder's hidden layers; `None` for the default of `networks.mlp`.
        seed: int.

    Yields:
        A `Rung` for each method, once it is trained.

    Raises:
        ValueError: if the data have no class labels, or are not images.

    Example:

    >>> rungs = list(kvae.ladder.climb(data, epochs=20))
    >>> errors = {rung.name: rung.reconstruction_mse for rung in rungs}
    """
    if data.num_classes is None or data.y_train is None or data.y_test is None:
        raise ValueError(f"`data` must have class labels: the ladder ends in a CVAE. Received: {data.name}")
    if len(data.image_shape) != 3:
        raise ValueError(
            "`data` must be images in [0, 1], which the ladder's Bernoulli likelihoods need. "
            f"Received: {data.name}, with examples of shape {data.image_shape}"
        )
    features = evaluation.Features(data.x_train, data.y_train, seed=seed)
    sizes: dict[str, Any] = {} if hidden is None else {"hidden": tuple(hidden)}
    end = int(np.argmax(data.y_test != data.y_test[0]))  # end of the interpolation

    def pair(**kwargs: Any) -> tuple[keras.Model, keras.Model]:
        return networks.mlp(data.image_shape, latent_dim, **sizes, **kwargs)

    models = {
        "PCA": lambda: baselines.PCA(latent_dim, seed=seed),
        "autoencoder": lambda: Autoencoder(*pair(posterior=None), loss="cross_entropy", seed=seed),
        "denoising autoencoder": lambda: Autoencoder(
            *pair(posterior=None), loss="cross_entropy", noise=Gaussian(noise), seed=seed
        ),
        "VAE": lambda: VAE(*pair(), seed=seed),
        "CVAE": lambda: CVAE(*pair(num_classes=data.num_classes), num_classes=data.num_classes, seed=seed),
    }
    for name, make in models.items():
        keras.utils.set_random_seed(seed)
        model = make()
        start = time.perf_counter()
        if isinstance(model, baselines.PCA):
            model.fit(data.x_train)
        else:
            _fit(model, data, epochs, batch_size, learning_rate, seed)
        yield _measure(name, model, data, features, end, time.perf_counter() - start, seed)


def _fit(model, data, epochs, batch_size, learning_rate, seed):
    steps = epochs * -(-len(data.x_train) // batch_size)
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)))
    conditional = capabilities.has(model, "condition")
    model.fit(data.batches(batch_size=batch_size, labels=conditional, seed=seed), epochs=epochs, verbose=0)


def _measure(name, model, data, features, end, seconds, seed):
    conditional = capabilities.has(model, "condition")
    train_rows = np.random.default_rng(seed).permutation(len(data.x_train))[:PROBE_EXAMPLES]

    def labels(y):
        return (y,) if conditional else ()

    z_train = model.encode(data.x_train[train_rows], *labels(data.y_train[train_rows]))
    z = model.encode(data.x_test, *labels(data.y_test))
    reconstruction = model.decode(z, *labels(data.y_test))
    rng = np.random.default_rng(seed)  # the same codes for each rung; the choice of rows above does not affect them
    noise = rng.standard_normal((RANDOM_CODES, z.shape[1]))
    some = labels(rng.integers(data.num_classes, size=RANDOM_CODES))
    random, fitted = (
        model.decode(codes, *some) for codes in (noise, z_train.mean(axis=0) + z_train.std(axis=0) * noise)
    )
    ends = data.y_test[[0, end]] if conditional else (None, None)
    way = interpolate(model, data.x_test[0], data.x_test[end], ends[0], ends[1], steps=STEPS)
    return Rung(
        name=name,
        reconstruction_mse=evaluation.reconstruction_mse(data.x_test, reconstruction),
        frechet_distance=evaluation.frechet_distance(features(random), features(data.x_test)),
        frechet_distance_fitted=evaluation.frechet_distance(features(fitted), features(data.x_test)),
        probe_accuracy=linear_probe(z_train, data.y_train[train_rows], z, data.y_test),
        seconds=seconds,
        reconstructions=reconstruction[:STEPS],
        random=random[:STEPS],
        interpolation=way,
        z=z[:2000],
    )
