"""Diverse colorization: one grey image has several colourings (Deshpande et al. 2017, arXiv:1612.01958).

What to see: a regressor answers with the mean of all colourings, which is grey. Here a VAE learns a short code z of
colour fields, and a mixture density network (MDN) the codes that go with a grey image: a component for each colouring.

Data: 1,296 sprites from `sprites64.npz` in the folder `--data`, or digits without it. A colour field C has two chroma
values per pixel, blue and red, scaled to about 1; the grey image G is the luma. So that there are two truths, a sprite
has its own or the complementary colours (C → −C), with equal probability; of a digit, strokes and background turn
independently. Noise of 0.1 is added to C. All models are densities of C given G, with Gaussians of C:

    regressor    N(C | μ(G), σ(G)²), with a σ for every pixel, which favours it
    CVAE         ∫ N(C | μ(z, G), σ²) N(z | 0, I) dz, with one learned σ
    VAE + MDN    ∫ N(C | μ(z), σ²) p(z|G) dz: a VAE of C, held while σ and p(z|G), 8 components, are fitted.

That VAE is trained with a loss in place of −log p(C|z), L = (L_hist + 0.1 L_mah + L_grad) / 2σ² with σ = ½. With e the
error of the decoded field, L_hist = Σ w e², w large for rare colours; L_mah = Σ_k (P_k e)² / λ_k over 20 principal
components, variances λ_k in units of their mean; L_grad sums the squared differences of e between neighbouring pixels
(in the paper times 0.001). Table, mean ± standard error over seeds: −log p(C|G) of test fields in nats, by importance
sampling but for the regressor; the share of images with all colourings covered: one of 20 samples has less than half of
the error of grey. Pictures: colourings; effects of the terms of L on codes of two dimensions, with the saturation in %.

    python workshops/examples/colorization.py [--short] [--out DIR] [--epochs N] [--seed N] [--data DIR]
"""

import argparse
import functools
import pathlib

import kvae

import keras
import numpy as np
from keras import ops

NOISE, SAMPLES, LATENT_DIM, BINS, AXES = 0.1, 20, 16, 20, (-3, -2, -1)
LUMA, SCALE = np.array([0.299, 0.587, 0.114]), np.array([0.35, 0.28])  # blue − luma and red − luma per unit of chroma
LOSSES = {"L2 only": (0, 0, 0), "+ hist": (1, 0, 0), "+ mah": (1, 0.1, 0), "+ grad": (1, 0.1, 1)}
mlp = functools.partial(kvae.networks.mlp, hidden=(128, 128), likelihood="gaussian", activation="gelu")  # ReLUs may die
GAUSSIAN, coverage = kvae.distributions.Normal(), kvae.evaluation.mode_coverage


def drawings(file):
    """Grey images `(n, h, w, 1)` and all their colour fields `(colourings, n, h, w, 2)`."""
    if file.exists():
        sprites = np.load(file)
        walking = np.all(sprites["attributes"][:, 4:] == [1, 0], axis=1)  # and seen from the front
        images = sprites["images"][walking, 12:60, 14:50].reshape(-1, 24, 2, 18, 2, 3).mean(axis=(2, 4)) / 255
        grey = images @ LUMA[:, None]
        return grey, np.stack([images[..., ::-2] - grey, grey - images[..., ::-2]]) / SCALE
    ink = np.kron(print(f"Using digits, without {file}") or kvae.load_data("digits").x_train, np.ones((1, 2, 2, 1)))
    return 0.35 + 0.3 * ink, np.stack([i * ink * [-1, 1.2] + j * (ink - 1) for i in (1, -1) for j in (1, -1)])


def rgb(grey, fields):
    """Colour images of luma `(..., h, w, 1)` and chroma `(..., h, w, 2)`."""
    blue, red = np.split(grey + SCALE * fields, 2, axis=-1)
    return np.clip(np.concatenate([red, (grey - LUMA[0] * red - LUMA[2] * blue) / LUMA[1], blue], axis=-1), 0, 1)


class ColourLoss(kvae.distributions.Normal):
    """The lecture's loss in the place of −log p(C|z), with statistics of the training fields `x`."""

    def __init__(self, x, hist, mah, grad):
        super().__init__(sigma=0.5)
        counts = np.histogramdd(x.reshape(-1, 2), BINS, [(-2.5, 2.5)] * 2)[0].ravel()
        rarity = 1 / (counts / counts.sum() + 1 / counts.size)
        self.rarity = (1 + hist * (rarity / np.average(rarity, weights=counts) - 1)).astype("float32")
        pca = kvae.baselines.PCA(20).fit(x)
        variances = pca.encode(x).var(axis=0)
        components = pca.components.T * np.sqrt(mah * variances.mean() / variances)
        self.components, self.grad = components.reshape(*x.shape[1:], -1).astype("float32"), grad

    def log_prob(self, x, params, event_ndim=3):
        """−L of fields `(batch, h, w, 2)` and decoded ones `(samples, batch, h, w, 2)`."""
        e = x - params
        bins = ops.cast(ops.clip((x / 5 + 0.5) * BINS, 0, BINS - 1), "int32")
        loss = ops.sum(ops.take(self.rarity, bins[..., :1] * BINS + bins[..., 1:]) * e**2, axis=AXES)
        loss += ops.sum(ops.tensordot(e, self.components, axes=3) ** 2, axis=-1)
        for slopes in (e[..., 1:, :, :] - e[..., :-1, :, :], e[..., 1:, :] - e[..., :-1, :]):
            loss += self.grad * ops.sum(slopes**2, axis=AXES)
        return -loss / (2 * self.sigma**2)


def run(seed, file, losses, epochs, num_train, num_test, num_samples):
    """The table, grey test images, and the fields in the columns of both pictures, of one seed."""
    keras.utils.set_random_seed(seed)
    rng, (grey, truths) = np.random.default_rng(seed), drawings(file)
    test, others = np.split(rng.permutation(len(grey)), [num_test])
    chosen = np.concatenate([rng.choice(others, num_train), test])
    x = truths[rng.integers(len(truths), size=len(chosen)), chosen].astype("float32")
    x += NOISE * rng.standard_normal(x.shape, "float32")
    y, truths, grey = grey[chosen].reshape(len(x), -1).astype("float32"), truths[:, test].astype("float32"), grey[test]
    (x, x_test), (y, y_test) = np.split(x, [num_train]), np.split(y, [num_train])
    shape, pixels, mixture = x.shape[1:], y.shape[1], kvae.distributions.MixtureDensity(8, LATENT_DIM)

    def trained(model, x, y, rate=3e-3, **compiled):
        rate = keras.optimizers.schedules.CosineDecay(rate, epochs * -(-num_train // 64))
        model.compile(keras.optimizers.Adam(rate), **compiled)
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0 if epochs == 1 else 2)
        return model

    def vae(terms, latent_dim):
        return trained(kvae.VAE(*mlp(shape, latent_dim), ColourLoss(x, *LOSSES[terms]), seed=seed), x, None)

    regressor = trained(mlp(shape, pixels, likelihood=GAUSSIAN)[1], y, x, loss=lambda x, p: -GAUSSIAN.log_prob(x, p, 3))
    held, condition, given = vae("+ grad", LATENT_DIM), keras.Input((pixels,)), {"likelihood": "gaussian", "seed": seed}
    cvae = trained(kvae.CVAE(*mlp(shape, LATENT_DIM, num_classes=pixels), **given), x, y, rate=1e-3)  # its best rate
    effects = {"truth": x_test} | {terms: vae(terms, 2).reconstruct(x_test) for terms in losses}
    effects = {f"{name}, {np.linalg.norm(c) / np.linalg.norm(x_test):.0%}": c for name, c in effects.items()}
    held.encoder.trainable = held.decoder.trainable = False
    network = mlp((mixture.num_outputs,), pixels)[1]
    network.get_layer("likelihood").bias.assign(rng.normal(scale=0.5, size=mixture.num_outputs))  # components apart
    pair = [keras.Model([part.input, condition], part.output) for part in (held.encoder, held.decoder)]
    mdn = trained(kvae.CVAE(*pair, prior=kvae.priors.ConditionalMixture(network, mixture), **given), x, y)
    params, modes = map(ops.convert_to_numpy, (regressor(y_test), mixture.modes(network(y_test))[0]))
    answers = {"grey": 0 * x_test, "truth": x_test}
    answers |= {f"MDN {i + 1}": mdn.decode(modes[:, i], y_test) for i in range(4)}
    table = {"regressor": (-np.mean(GAUSSIAN.log_prob(x_test, params, 3)), coverage(params[None, ..., :2], truths))}
    for name, model in {"CVAE": cvae, "VAE + MDN": mdn}.items():
        samples = model.generate(np.tile(y_test, (SAMPLES, 1)), seed=seed).reshape(SAMPLES, *x_test.shape)
        estimate = kvae.evaluation.log_likelihood(model, x_test, y_test, num_samples, seed=seed)
        table[name] = -estimate.mean, coverage(samples, truths)
        answers |= {f"{name} {i + 1}": samples[i] for i in range(2) if model is cvae}
    return table, grey, answers | {"regressor": params[..., :2]}, effects


def main():
    """Train, print the table and save the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one seed, digits, one epoch: shows only that it runs")
    for name, default in {"out": "runs/colorization", "data": "../shared/data", "epochs": 64, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{default} without --short")
    args = parser.parse_args()
    epochs, seeds, *sizes = (1, 1, 256, 64, 10) if args.short else (args.epochs, 3, 3456, 144, 200)
    shown = [["+ grad"] if args.short else LOSSES] + [()] * (seeds - 1)  # in the picture, which one seed draws
    file = pathlib.Path("" if args.short else args.data) / "sprites64.npz"
    runs = [run(args.seed + i, file, shown[i], epochs, *sizes) for i in range(seeds)]
    print(f"{'':12}{'−log p, nats':>18}{'all covered, %':>20}")
    for name in runs[0][0]:
        values = np.array([table[name] for table, *_ in runs]) * [1, 100]
        errors = values.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else [np.nan] * 2
        print(f"{name:12}" + "".join(map("{:12.1f} ± {:<5.1f}".format, values.mean(axis=0), errors)))
    for name, columns in zip(("Colourings", "Effects of the loss terms on the saturation"), runs[0][2:], strict=True):
        images = np.stack([rgb(runs[0][1][:4], fields[:4]) for fields in columns.values()], axis=1)
        figure = kvae.plots.image_grid(images, None, list(columns), name)
        print(kvae.plots.save(figure, f"{args.out}/{name.split()[0].lower()}.png"))


if __name__ == "__main__":
    main()
