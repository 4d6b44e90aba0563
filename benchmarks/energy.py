"""Energies of sixteen models on two toy data sets: how well they separate the data, figures with a row per strategy.

The strategies are the seven of lecture 002. Run `python benchmarks/energy.py` from the repository's root; it takes
several minutes on two cores, prints a table of AUROCs (held-out data against points drawn uniformly from the box) and
writes `assets/energy_spiral.png` and `assets/energy_moons.png`.

Note the straight valley of PCA, the pits of K-means, the ellipses of the mixture, the rounded square of ICA, and the
curved valley along the data of the autoencoders, the VAE and the energy networks. Sparse coding cannot have one: its
energy is convex, and predicting its codes changes that little. The thin second valley of the denoising autoencoder runs
midway between the arms, perhaps because noisy points there are pulled to neither side. The steps of contrastive
divergence must be shorter than the noise of the data: if as long, they leave no valley at all (AUROC 0.62).

The settings were chosen by looking at these figures and this table: read it as an illustration, not as a ranking.
"""

import time
from pathlib import Path

import kvae
from kvae import baselines, corruption, distributions, energy, networks, objectives, penalties, plots
from kvae.data import toy

import keras
import numpy as np
from PIL import Image  # matplotlib brings it
from sklearn.neighbors import KernelDensity

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


def energy_network(objective):
    """A smooth energy network of points in the plane."""
    hidden = [keras.layers.Dense(128, activation="swish") for _ in range(2)]
    network = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    return kvae.EnergyNetwork(network, objective, seed=0)


def predictive_sparse():
    """Sparse coding with a predicted code."""
    encoder, _ = networks.mlp((2,), CODE, (128,), posterior=None)
    return kvae.PredictiveSparseDecomposition(encoder, sparsity=0.5, prediction=1.0, num_steps=30, seed=0)


# Name: strategy, how to build it. The lecture lists neither the plain autoencoder nor the VAE: with a one-dimensional
# code, the former is nonlinear PCA, and the latter is maximum likelihood through a bound.
MODELS = {
    "PCA": (1, lambda: baselines.PCA(1)),
    "K-means": (1, lambda: baselines.KMeans(12)),
    "Gaussian mixture": (1, lambda: baselines.GMM(8)),
    "Square ICA": (1, baselines.SquareICA),
    "Autoencoder": (1, lambda: autoencoder(1, (128, 128))),
    "VAE": (2, vae),
    "Noise contrast (NCE)": (3, lambda: energy_network(objectives.NoiseContrastive(sigma=1.5, ratio=4))),
    "Contrastive divergence": (3, lambda: energy_network(objectives.ContrastiveDivergence(20, 0.5 * NOISE))),
    "Denoising score matching": (4, lambda: energy_network(objectives.DenoisingScoreMatching(0.15))),
    "Sliced score matching": (4, lambda: energy_network("sliced_score_matching")),
    "Denoising autoencoder": (5, lambda: autoencoder(CODE, noise=corruption.Gaussian(0.25))),
    "Sparse coding": (6, lambda: baselines.SparseCoding(3, sparsity=1.0)),
    "Sparse autoencoder": (
        6,
        lambda: autoencoder(CODE, code_activation="sigmoid", penalty=penalties.KLSparsity(0.03, target=0.05)),
    ),
    "Predictive sparse (PSD)": (6, predictive_sparse),
    "Contractive autoencoder": (
        7,
        lambda: autoencoder(CODE, code_activation="tanh", penalty=penalties.Contractive(0.02)),
    ),
    "Saturating autoencoder": (
        7,
        lambda: autoencoder(CODE, code_activation="hard_tanh", penalty=penalties.Saturation(0.02)),
    ),
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
    image.thumbnail((1600, 2400))
    image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    """Train the models, print the table and draw the figures."""
    rows = {
        f"#{number}: {strategy}": [name for name, (shaped_by, _) in MODELS.items() if shaped_by == number]
        for number, strategy in energy.STRATEGIES.items()
    }
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
                models[name] = model
                captions[name] = f"AUROC {auroc:.2f}"
        title = f"Energy on the {draw.__name__}, a row per strategy: dark is low, points are data"
        path = ASSETS / f"energy_{draw.__name__}.png"
        shrink(plots.save(plots.energy_surfaces(models, x_test, captions, limits, title=title, rows=rows), path))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
