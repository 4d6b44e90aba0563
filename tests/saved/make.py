"""Save a small model of each kind, with its outputs, to test future releases: `python tests/saved/make.py`.

Run once per release and backend (`KERAS_BACKEND`); the folder is named after both. Existing files are never
overwritten: `tests/test_old_files.py` loads all of them.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

import kvae
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.corruption import Gaussian
from kvae.distributions import Normal
from kvae.penalties import L1
from kvae.priors import Hierarchical, Mixture, Vamp

SAVED = Path(__file__).parent
SHAPE, CLASSES, EXAMPLES = (8, 8, 1), 3, 5


def pair(network="mlp", **kwargs):
    return getattr(kvae.networks, network)(SHAPE, 2, hidden=(3,), **kwargs)


def two_layers():
    return Hierarchical(*kvae.networks.mlp((2,), 2, hidden=(3,), likelihood=Normal()))


MODELS = {
    "vae": lambda: kvae.VAE(*pair(), seed=0),
    "vae-conv": lambda: kvae.VAE(*pair("conv"), seed=0, beta=4.0, bound=ELBO(free_bits=0.1)),
    "vae-laplace-mixture": lambda: kvae.VAE(
        *pair(posterior="laplace", likelihood="gaussian"),
        posterior="laplace", likelihood="gaussian", prior=Mixture(3), bound=Renyi(0.5), num_samples=2, seed=0,
    ),
    "vae-vamp": lambda: kvae.VAE(*pair(), prior=Vamp(2), bound=ImportanceWeighted(), num_samples=2, seed=0),
    "vae-two-layers": lambda: kvae.VAE(*pair(), prior=two_layers(), seed=0),
    "cvae": lambda: kvae.CVAE(*pair(num_classes=CLASSES), num_classes=CLASSES, seed=0),
    "cvae-conv-learned": lambda: kvae.CVAE(
        *pair("conv", num_classes=CLASSES), num_classes=CLASSES, prior="learned", seed=0
    ),
    "autoencoder": lambda: kvae.Autoencoder(*pair(posterior=None), tied=True, noise=Gaussian(0.1), seed=0),
    "autoencoder-conv": lambda: kvae.Autoencoder(
        *pair("conv", posterior=None), loss="cross_entropy", penalty=L1(0.1), seed=0
    ),
}  # fmt: skip
TRAINED = {"vae", "cvae-conv-learned"}  # saved with their optimizer


def build(name):
    """A model with weights, and therefore values, that no other model has."""
    keras.utils.set_random_seed(0)
    model, rng = MODELS[name](), np.random.default_rng(0)
    x, _, y = examples(model)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.5, size=variable.shape).astype("float32"))
    if name in TRAINED:
        model.compile(optimizer=keras.optimizers.Adam(1e-2))
        model.fit(x, y, epochs=2, batch_size=5, verbose=0)
    return model


def examples(model):
    """Images, codes and labels (or `None`), always the same: formulas, so that no generator can change them."""
    x = np.modf(np.arange(EXAMPLES * np.prod(SHAPE)) * 0.61803398875)[0].reshape(EXAMPLES, *SHAPE).astype("float32")
    z = np.linspace(-2, 2, 2 * EXAMPLES).reshape(EXAMPLES, 2).astype("float32")
    return x, z, np.arange(EXAMPLES) % CLASSES if model.conditions is not None else None


def values(model):
    """What is compared: codes and images are the same on every backend, an ELBO's noise is each backend's own."""
    x, z, y = examples(model)
    found = {"encode": model.encode(x, y), "decode": model.decode(z, y)}
    if hasattr(model, "elbo"):
        found["elbo"] = model.elbo(x, y, num_samples=3, seed=1)
    return found


def pack(path, target):
    """Write a `.keras` file's members deflated, a tenth of the size."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))


def main():
    folder = SAVED / kvae.__version__ / keras.backend.backend()
    if folder.exists():
        sys.exit(f"{folder} is there already: what a release has saved is kept as it is")
    folder.mkdir(parents=True)
    table = {}
    for name in MODELS:
        model = build(name)
        table |= {f"{name} {key}": value for key, value in values(model).items()}
        with tempfile.TemporaryDirectory() as scratch:
            model.save(f"{scratch}/model.keras")
            pack(f"{scratch}/model.keras", folder / f"{name}.keras")
    np.savez_compressed(folder / "values.npz", **table)
    print(f"written to {folder}: {sum(path.stat().st_size for path in folder.iterdir())} bytes")


if __name__ == "__main__":
    main()
