"""kvae's applications on MNIST compared with simpler methods: anomaly detection, restoration and compression.

Run `python benchmarks/applications.py [anomaly] [restore] [compress]`; without names, all three. Models are trained
here, with fixed seeds. Each line prints the target, or the competing method, next to the result.
"""

import io
import sys
import time

import kvae
from kvae import applications, baselines, evaluation

import keras
import numpy as np
import scipy.ndimage
import scipy.stats
from PIL import Image
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import KNeighborsClassifier

LATENT = 32
METHODS = applications.METHODS
COUNT = 500  # test images to restore


def trained(x, epochs, latent_dim=LATENT, batch_size=128):
    """A VAE with `networks.mlp`, trained on `x` with cosine learning rate decay."""
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp(x.shape[1:], latent_dim), seed=0)
    steps = epochs * -(-len(x) // batch_size)
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
    model.fit(kvae.data.pipeline(x, batch_size=batch_size), epochs=epochs, verbose=0)
    return model


def anomaly(data, train_size=10_000, test_size=3000, epochs=15):
    """AUROC of detecting each digit among test images, with a model trained on the other nine."""
    rows = []
    x_test, y_test = data.x_test[:test_size], data.y_test[:test_size]
    for digit in range(10):
        x = data.x_train[data.y_train != digit][:train_size]
        model, pca = trained(x, epochs), baselines.PCA(LATENT).fit(x)
        forest = IsolationForest(random_state=0).fit(x.reshape(len(x), -1))
        scores = {
            "VAE, elbo": applications.anomaly_score(model, x_test),
            "VAE, importance": applications.anomaly_score(model, x_test, method="importance"),
            "VAE, reconstruction": applications.anomaly_score(model, x_test, method="reconstruction"),
            "PCA, reconstruction": applications.anomaly_score(pca, x_test, method="reconstruction"),
            "isolation forest": -forest.score_samples(x_test.reshape(len(x_test), -1)),
        }
        strange = y_test == digit
        rows.append({name: applications.auroc(s[~strange], s[strange]) for name, s in scores.items()})
    print(f"AUROC of a held-out digit; {train_size} training images, {epochs} epochs, {LATENT} latent dimensions")
    print(f"{'':>20}  mean   " + "".join(f"{digit:>7}" for digit in range(10)))
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name:>20}  {np.mean(values):.3f}  " + "".join(f"{value:7.3f}" for value in values))


def restore(data, model):
    """Inpainting, denoising and super-resolution of the first test images."""
    x, y = data.x_test[:COUNT], data.y_test[:COUNT]
    pca = baselines.PCA(LATENT).fit(data.x_train)
    inpainting(data, model, x, y)
    rng = np.random.default_rng(0)
    noisy = (x + 0.5 * rng.standard_normal(x.shape)).astype("float32")
    methods = {
        "noisy": noisy,
        f"PCA({LATENT})": pca.reconstruct(noisy),
        "median filter 3x3": scipy.ndimage.median_filter(noisy, (1, 3, 3, 1)),
        **{f"VAE, {m}": applications.denoise(model, noisy, 0.5, method=m).mean(axis=0) for m in METHODS},
    }
    table("Denoising, sigma 0.5: PSNR, dB, of images clipped to [0, 1]", x, methods)
    for factor in (2, 4):
        small = applications.downsample(x, factor)
        zoom = (1, factor, factor, 1)
        methods = {
            "repeated pixels": scipy.ndimage.zoom(small, zoom, order=0, mode="nearest", grid_mode=True),
            "bicubic": scipy.ndimage.zoom(small, zoom, order=3, mode="nearest", grid_mode=True),
            **{f"VAE, {m}": applications.super_resolve(model, small, factor, method=m).mean(axis=0) for m in METHODS},
        }
        table(f"Super-resolution by {factor}: PSNR, dB, of images clipped to [0, 1]", x, methods)


def table(title, x, estimates):
    """Print the mean PSNR of each method's estimates."""
    print(title)
    for name, estimate in estimates.items():
        print(f"{name:>20}  {applications.psnr(x, np.clip(estimate, 0, 1)).mean():.2f}")


def inpainting(data, model, x, y):
    """Inpaint the lower half: mean squared errors, and whether samples vary where the digit is ambiguous."""
    mask = np.ones(data.image_shape, bool)
    mask[14:] = False
    means = np.stack([data.x_train[data.y_train == digit].mean(axis=0) for digit in range(10)])
    known = mask.ravel()
    flat, centre = x.reshape(len(x), -1), data.x_train.mean(axis=0).ravel()
    components = baselines.PCA(LATENT).fit(data.x_train).components

    def fitted(size):
        """Fit the first PCA coefficients to the upper half by least squares, and return the lower half."""
        upper, lower = components[:size, known], components[:size, ~known]
        return np.linalg.lstsq(upper.T, (flat - centre)[:, known].T, rcond=None)[0].T @ lower + centre[~known]

    covariance = np.cov(data.x_train.reshape(len(data.x_train), -1), rowvar=False)
    gain = np.linalg.solve(covariance[np.ix_(known, known)] + 1e-3 * np.eye(known.sum()), covariance[known][:, ~known])
    gaussian = centre[~known] + (flat - centre)[:, known] @ gain
    start = time.perf_counter()
    samples = {m: applications.inpaint(model, x, mask, method=m, num_samples=20) for m in METHODS}
    seconds = time.perf_counter() - start
    estimates = {
        "mean of the true digit's class": means[y][:, ~mask],
        **{f"PCA({size}), least squares on the upper half": fitted(size) for size in (4, 8, 16, LATENT)},
        "Gaussian of all pixels, E[lower | upper]": gaussian,
        **{f"VAE, {m}, mean of 20 samples": s.mean(axis=0)[:, ~mask] for m, s in samples.items()},
        **{f"VAE, {m}, one sample": s[0][:, ~mask] for m, s in samples.items()},
    }
    truth = x[:, ~mask]
    print(f"Inpainting the lower half of {len(x)} test digits: mean squared error per hidden pixel ({seconds:.0f} s)")
    for name, estimate in estimates.items():
        print(f"{name:>45}  {evaluation.reconstruction_mse(truth, estimate):.4f}")
    # Ambiguity of an upper half, independent of the model: the labels of its 50 nearest training digits.
    upper = data.x_train[:20_000].reshape(20_000, -1)[:, known]
    judge = KNeighborsClassifier(50).fit(upper, data.y_train[:20_000])
    ambiguity = scipy.stats.entropy(judge.predict_proba(flat[:, known]), axis=1)
    spread = samples["metropolis"].std(axis=0)[:, ~mask].mean(axis=1)
    error = np.square(samples["metropolis"].mean(axis=0) - x)[:, ~mask].mean(axis=1)
    low, high = ambiguity == 0, ambiguity >= np.quantile(ambiguity, 0.75)
    print("Spread of the samples (metropolis) in the hidden half")
    print(
        f"  digits whose 50 neighbours agree {spread[low].mean():.4f}, most ambiguous quarter {spread[high].mean():.4f}"
    )
    for name, other in (("ambiguity", ambiguity), ("squared error", error)):
        result = scipy.stats.spearmanr(spread, other)
        print(f"  rank correlation with {name}: {result.statistic:.3f} (p = {result.pvalue:.1g})")


def compress(data, model):
    """Compressed files compared with PCA and PNG, and the rate of bits-back coding for binarized digits."""
    x = data.x_test
    print(f"Files of {len(x)} test digits: bits per pixel and mean squared error")
    print(f"{'PNG (lossless)':>12}  {applications.png_rate(x):.4f}")
    for name, coder in (("VAE", model), (f"PCA({LATENT})", baselines.PCA(LATENT).fit(data.x_train))):
        steps = coder.encode(x).std() * np.array([0.1, 0.25, 0.5, 1.0, 2.0, 4.0])
        curve = applications.rate_distortion(coder, x, steps)
        for step, rate, prior_rate, mse in zip(*curve.values(), strict=True):
            print(f"{name:>12}  step {step:6.3f}  file {rate:.4f}  under the prior {prior_rate:.4f}  MSE {mse:.4f}")
    rng = np.random.default_rng(0)
    binary = trained(kvae.data.binarize(data.x_train, rng), 10)
    x = kvae.data.binarize(data.x_test, rng)
    print("Binarized digits, lossless: bits per pixel")
    print(f"  bits back (-ELBO) {applications.bits_back_rate(binary, x).mean():.4f}", end="")
    file = io.BytesIO()
    Image.fromarray(x.reshape(-1, x.shape[2]) > 0).save(file, "PNG", optimize=True)
    print(f", PNG with 1-bit pixels {8 * len(file.getvalue()) / x.size:.4f}, bare bits 1")


def main(names):
    """Print the results of the parts in `names`, or of all parts if it is empty."""
    data = kvae.load_data("mnist")
    start = time.perf_counter()
    if not names or "anomaly" in names:
        anomaly(data)
    if not names or {"restore", "compress"} & set(names):
        model = trained(data.x_train, 10)
        for name, part in (("restore", restore), ("compress", compress)):
            if not names or name in names:
                part(data, model)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
