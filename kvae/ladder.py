"""The lecture's ladder, PCA → autoencoder → denoising autoencoder → VAE → CVAE, at one latent size and one budget.

It shows what each step buys: an autoencoder reconstructs better than PCA, but what its random codes decode to is no
digit; a VAE pays a little reconstruction for a latent space one can draw from.
"""

import dataclasses
import time

import keras
import numpy as np

from kvae import baselines, evaluation, networks
from kvae.applications import interpolate
from kvae.applications.classifier import linear_probe
from kvae.corruption import Gaussian
from kvae.models import CVAE, VAE, Autoencoder, capabilities

RANDOM_CODES = 1000  # images for the Fréchet distance
PROBE_EXAMPLES = 10_000
STEPS = 8  # images of an interpolation, and of the other samples kept


@dataclasses.dataclass(frozen=True)
class Rung:
    """What one method of the ladder reached.

    Attributes:
        name: the method.
        reconstruction_mse: mean squared error a pixel on test images.
        frechet_distance: from real test images, in the features of a small classifier, of what random codes z ~ N(0, I)
            decode to, the VAE's prior.
        frechet_distance_fitted: the same for codes from a Gaussian with the mean and standard deviation of the training
            codes in each dimension: the best guess at a prior that an autoencoder allows.
        probe_accuracy: of a logistic regression on the codes of test images.
        seconds: wall time of training.
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
    reconstructions: np.ndarray
    random: np.ndarray
    interpolation: np.ndarray
    z: np.ndarray

    def numbers(self):
        """The rung without its arrays, for a table or a JSON file."""
        return {name: value for name, value in dataclasses.asdict(self).items() if not isinstance(value, np.ndarray)}


def climb(data, latent_dim=2, epochs=40, batch_size=32, learning_rate=2e-3, noise=0.5, hidden=None, seed=0):
    """Train the five methods in turn and measure each the same way.

    Args:
        data: a labelled `kvae.data.Dataset`.
        latent_dim: int, components or latent dimensions of all five.
        epochs: int, of each network.
        batch_size: int.
        learning_rate: Adam's at the start; it falls to zero along a cosine.
        noise: standard deviation of the denoising autoencoder's input noise.
        hidden: units of the encoder's hidden layers; `None` for `networks.mlp`'s own.
        seed: int.

    Yields:
        A `Rung` for each method, once it is trained.

    Raises:
        ValueError: for data without class labels.
    """
    if data.num_classes is None:
        raise ValueError(f"`data` must have class labels: the ladder ends in a CVAE. Received: {data.name}")
    features = evaluation.Features(data.x_train, data.y_train, seed=seed)
    sizes = {} if hidden is None else {"hidden": tuple(hidden)}
    end = int(np.argmax(data.y_test != data.y_test[0]))  # where the interpolation goes

    def pair(**kwargs) -> tuple[keras.Model, keras.Model]:
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
    model.fit(data.batches(batch_size=batch_size, labels=capabilities.has(model, "condition"), seed=seed), epochs=epochs, verbose=0)


def _measure(name, model, data, features, end, seconds, seed):
    conditional = capabilities.has(model, "condition")
    train_rows = np.random.default_rng(seed).permutation(len(data.x_train))[:PROBE_EXAMPLES]

    def labels(y):
        return (y,) if conditional else ()

    z_train = model.encode(data.x_train[train_rows], *labels(data.y_train[train_rows]))
    z = model.encode(data.x_test, *labels(data.y_test))
    reconstruction = model.decode(z, *labels(data.y_test))
    rng = np.random.default_rng(seed)
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
