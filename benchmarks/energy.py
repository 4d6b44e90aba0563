"""Energies of nine models on two toy data sets, after lecture 002: how well they separate the data, and figures.

Run `python benchmarks/energy.py` from the repository's root; it takes about two minutes on two cores, prints a table of
AUROCs (held-out data against points drawn uniformly from the box) and writes `assets/energy_spiral.png` and
`assets/energy_moons.png`.

Note the straight valley of PCA, the pits of K-means, the ellipses of the mixture, and the curved valley along the data
of the autoencoders and the VAE. Sparse coding cannot have one, because its energy is convex. The thin second valley of
the denoising autoencoder runs midway between the arms, perhaps because noisy points there are pulled to neither side.

The settings were chosen by looking at these figures and this table: read it as an illustration, not as a ranking.
"""

import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image  # matplotlib brings it
from sklearn.neighbors import KernelDensity

import kvae
from kvae import baselines, corruption, distributions, energy, networks, penalties, plots
from kvae.data import toy

ASSETS = Path(__file__).parents[1] / "assets"
NOISE = 0.1
EXAMPLES = 1000
STEPS = 3000
CODE = 64  # far more than the two dimensions of the data: the code alone does not keep the energy high


class OwnDensity:
    """The optimum: −log p(x) under the density of the toy data itself, a mixture of Gaussians along the curve."""

    def __init__(self, draw):
        self._density = KernelDensity(bandwidth=NOISE).fit(draw(EXAMPLES, noise=0.0, seed=2))

    def energy(self, x):
        """−log p(x), array `(n,)`, nats."""
        return -self._density.score_samples(x)


def autoencoder(code, hidden=(128,), code_activation=None, **kwargs):
    """An autoencoder of points in the plane."""
    pair = networks.mlp((2,), code, hidden, posterior=None, likelihood="gaussian", code_activation=code_activation)
    return kvae.Autoencoder(*pair, seed=0, **kwargs)


def vae():
    """A VAE of points in the plane with known noise: with a learned σ, training on the moons is far slower."""
    likelihood = distributions.Normal(sigma=NOISE)
    return kvae.VAE(*networks.mlp((2,), 2, (128, 128), likelihood=likelihood), likelihood=likelihood, seed=0)


# Name: strategy, how to build it. The lecture lists neither the plain autoencoder nor the VAE: with a one-dimensional
# code, the former is nonlinear PCA, and the latter is maximum likelihood through a bound.
MODELS = {
    "PCA": (1, lambda: baselines.PCA(1)),
    "K-means": (1, lambda: baselines.KMeans(12)),
    "Gaussian mixture": (1, lambda: baselines.GMM(8)),
    "Sparse coding": (6, lambda: baselines.SparseCoding(3, sparsity=1.0)),
    "Autoencoder": (1, lambda: autoencoder(1, (128, 128))),
    "Denoising autoencoder": (5, lambda: autoencoder(CODE, noise=corruption.Gaussian(0.25))),
    "Sparse autoencoder": (
        6,
        lambda: autoencoder(CODE, code_activation="sigmoid", penalty=penalties.KLSparsity(0.03, target=0.05)),
    ),
    "Contractive autoencoder": (
        7,
        lambda: autoencoder(CODE, code_activation="tanh", penalty=penalties.Contractive(0.02)),
    ),
    "VAE": (2, vae),
}
# Only for the table: the denoising, sparse and contractive autoencoders without the term that shapes their energy.
CONTROL = "(autoencoder, long code, no penalty)"


def fit(model, x):
    """Fit a baseline, or train a network for `STEPS` batches of 100 with cosine learning rate decay to 0."""
    if isinstance(model, keras.Model):
        rate = keras.optimizers.schedules.CosineDecay(3e-3, STEPS)
        model.compile(keras.optimizers.Adam(rate), steps_per_execution=20)
        model.fit(kvae.data.pipeline(np.tile(x, (10, 1)), batch_size=100), epochs=STEPS // 100, verbose=0)
        return model
    return model.fit(x)


def shrink(path):
    """Reduce an image to a palette of 128 colours, which looks the same at a fraction of the size."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((1350, 1350))
    image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    """Train the models, print the table and draw the figures."""
    for draw in (toy.spiral, toy.moons):
        x, x_test = draw(EXAMPLES, NOISE, seed=0), draw(EXAMPLES, NOISE, seed=1)
        limits = energy.box(x, margin=0.2)
        models, captions = {}, {}
        print(f"{draw.__name__:<38}  AUROC  seconds", flush=True)
        builders = {name: build for name, (_, build) in MODELS.items()}
        for name, build in {**builders, CONTROL: lambda: autoencoder(CODE), "(density of the data)": None}.items():
            keras.utils.set_random_seed(0)
            start = time.perf_counter()
            model = fit(build(), x) if build else OwnDensity(draw)
            seconds = time.perf_counter() - start
            auroc = energy.separation(model, x_test, limits)
            print(f"{name:<38}  {auroc:.3f}  {seconds:7.1f}", flush=True)
            if name in MODELS:
                strategy = MODELS[name][0]
                models[name] = model
                captions[name] = f"#{strategy}: {energy.STRATEGIES[strategy]}\nAUROC {auroc:.2f}"
        title = f"Energy on the {draw.__name__}: dark is low, points are data"
        path = ASSETS / f"energy_{draw.__name__}.png"
        shrink(plots.save(plots.energy_surfaces(models, x_test, captions, limits, title=title), path))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
