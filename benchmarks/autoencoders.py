"""The autoencoder family on MNIST, with the target of each number.

Run `python benchmarks/autoencoders.py [linear] [nonlinear] [denoising] [labels]`; without names, all four.
"""

import sys
import time

import kvae

import keras
import numpy as np
from scipy.linalg import subspace_angles
from scipy.ndimage import median_filter

BATCH = 250
SIGMA = 0.5
SEEDS = 5


def train(model, data, epochs, learning_rate=1e-3, seed=0):
    """Fit `model` with Adam and cosine learning rate decay to zero."""
    steps = epochs * len(data.x_train) // BATCH
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)))
    model.fit(data.batches(batch_size=BATCH, labels=False, seed=seed), epochs=epochs, verbose=0)
    return model


def line(what, got, asked):
    """Print a number, its target, and whether it is met."""
    print(f"  {what:<62} {got:>22}   asked: {asked}", flush=True)


def linear(data, latent_dim=10):
    """A linear autoencoder compared with PCA: error and subspace."""
    keras.utils.set_random_seed(0)
    model = kvae.Autoencoder(*kvae.networks.mlp(data.image_shape, latent_dim, hidden=(), posterior=None))
    train(model, data, epochs=30, learning_rate=3e-3)
    pca = kvae.baselines.PCA(latent_dim).fit(data.x_train)
    ours, pcas = (kvae.evaluation.reconstruction_mse(data.x_train, m.reconstruct(data.x_train)) for m in (model, pca))
    kernel = model.decoder.layers[1].get_weights()[0]
    angle = np.rad2deg(subspace_angles(kernel.T, pca.components.T)).max()
    line(f"linear AE's MSE / PCA's, latent {latent_dim}, training images", f"{ours / pcas:.4f}", "<= 1.01")
    line("largest angle between decoder and components", f"{angle:.2f} degrees", "<= 2")


def nonlinear(data, latent_dim=32):
    """A 512-256 autoencoder compared with PCA at the same latent size."""
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(data.image_shape, latent_dim, posterior=None)
    # Logits and cross-entropy: the sigmoid keeps pixels in [0, 1], whereas linear outputs must learn every black pixel.
    model = train(kvae.Autoencoder(*networks, loss="cross_entropy"), data, epochs=20)
    pca = kvae.baselines.PCA(latent_dim).fit(data.x_train)
    ours, pcas = (kvae.evaluation.reconstruction_mse(data.x_test, m.reconstruct(data.x_test)) for m in (model, pca))
    line(f"AE's test MSE {ours:.5f} / PCA's {pcas:.5f}, latent {latent_dim}", f"{ours / pcas:.3f}", "<= 0.5")


def psnr(x, estimate):
    """Peak signal-to-noise ratio in dB for pixels in [0, 1], of the mean squared error over all images."""
    return -10 * np.log10(kvae.evaluation.reconstruction_mse(x, np.clip(estimate, 0, 1)))


def denoising(data):
    """Denoise test images with σ = 0.5 in three ways; the baselines are tuned on 5,000 training images."""
    clean = data.x_train[-5000:]
    noise = kvae.corruption.Gaussian(SIGMA)
    noisy, noisy_test = (np.asarray(keras.ops.convert_to_numpy(noise(x, seed=1))) for x in (clean, data.x_test))

    def median(x, size):
        return median_filter(x, size=(1, size, size, 1))

    size = max((1, 2, 3, 4, 5, 7), key=lambda size: psnr(clean, median(noisy, size)))
    # PCA is fitted to clean images without those 5,000, and refitted to all once its size is chosen.
    pcas = {k: kvae.baselines.PCA(k).fit(data.x_train[:-5000]) for k in (8, 12, 16, 20, 24, 32, 40, 50, 75, 100)}
    k = max(pcas, key=lambda k: psnr(clean, pcas[k].reconstruct(noisy)))
    rivals = {
        f"median, {size} x {size}": psnr(data.x_test, median(noisy_test, size)),
        f"PCA, {k} components": psnr(data.x_test, kvae.baselines.PCA(k).fit(data.x_train).reconstruct(noisy_test)),
    }
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(data.image_shape, 64, posterior=None)
    model = train(kvae.Autoencoder(*networks, "cross_entropy", noise=noise, seed=0), data, epochs=20)
    got = psnr(data.x_test, model.reconstruct(noisy_test))
    best = ", ".join(f"{name}: {value:.2f}" for name, value in rivals.items())
    line(f"noisy {psnr(data.x_test, noisy_test):.2f} dB; denoising AE", f"{got:.2f} dB", f"above {best}")


def few_labels(data, hidden=(512, 256, 128), noise=0.75, pretraining=10, epochs=100):
    """Test errors (%) with 10 labels per class, over seeds: fine-tuned from an encoder, frozen, and from scratch."""
    errors = {"from scratch": [], "fine-tuned encoder": [], "frozen encoder": []}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        rows = np.concatenate([rng.permutation(np.flatnonzero(data.y_train == c))[:10] for c in range(10)])
        x, y = data.x_train[rows], data.y_train[rows]

        def error(encoder, frozen, seed=seed, x=x, y=y):
            keras.utils.set_random_seed(seed)
            model = kvae.classifier.from_encoder(encoder, 10, frozen=frozen)
            rate = 1e-2 if frozen else 1e-3  # a single softmax layer trains slowly at this rate
            schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * 10)
            loss = "sparse_categorical_crossentropy"
            model.compile(optimizer=keras.optimizers.Adam(schedule), loss=loss, metrics=["accuracy"])
            model.fit(x, y, batch_size=10, epochs=epochs, verbose=0)
            assert model.evaluate(x, y, verbose=0)[1] > 0.99, "the classifier has not converged"
            return 100 * (1 - model.evaluate(data.x_test, data.y_test, batch_size=1000, verbose=0)[1])

        keras.utils.set_random_seed(seed)
        pair = kvae.networks.mlp(data.image_shape, 64, hidden, posterior=None, activation="gelu")
        errors["from scratch"].append(error(pair[0], False))
        autoencoder = kvae.Autoencoder(*pair, "cross_entropy", noise=kvae.corruption.Masking(noise), seed=seed)
        train(autoencoder, data, pretraining, seed=seed)
        errors["fine-tuned encoder"].append(error(autoencoder.encoder, False))
        errors["frozen encoder"].append(error(autoencoder.encoder, True))
        print("   ", {name: round(values[-1], 2) for name, values in errors.items()}, flush=True)
    return errors


def labels(data):
    """The same network with 100 labels, from a denoising autoencoder's encoder and from scratch."""
    errors = {name: np.array(values) for name, values in few_labels(data).items()}

    def summary(values):
        return f"{values.mean():.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"

    for name, values in errors.items():
        line(f"100 labels, {name}: test error over {SEEDS} seeds", f"{summary(values)} %", "–")
    for name in ("fine-tuned encoder", "frozen encoder"):
        gain = errors["from scratch"] - errors[name]
        wanted = 2 * gain.std(ddof=1) / np.sqrt(len(gain))
        line(f"{name}: paired gain over scratch", f"{summary(gain)} points", f"> two standard errors, {wanted:.2f}")


PARTS = {"linear": linear, "nonlinear": nonlinear, "denoising": denoising, "labels": labels}


def main(names):
    """Run the parts called `names`."""
    data = kvae.load_data("mnist")
    for name in names:
        start = time.perf_counter()
        print(name, flush=True)
        PARTS[name](data)
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
