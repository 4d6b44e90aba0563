"""Bits per dimension of 8-bit images: likelihoods of a plain VAE, and hierarchies of stochastic layers beside it.

Run `python benchmarks/hierarchies.py mnist`, or the path of an .npz file of images. Each method trains for `--minutes`,
over which the learning rate falls to 0; finished ones are skipped. The table holds minus the ELBO of test images in
bits per dimension, the part of the KL, an estimate of −log₂ p(x) by importance sampling for the first `--estimated`,
and the KL of each stochastic layer, that next to the image first. In the literature a Gaussian is worst, then come one
logistic and a mixture, and hierarchies are best. β of a ladder rises over the first epochs (Sønderby et al. 2016,
section 2): without it, its posterior takes the prior's side before the decoder has learned what the codes are good for,
and stays there. In the residual hierarchy the layer next to the image would meanwhile learn to do without the others;
it has no warm-up. Both are trained with free bits, so that their networks learn to use each layer; the bounds in the
table have none.

The logistic distributions and their mixtures are masses over 256 levels (17 of digits). A Gaussian, with one σ per
pixel, is a density, which no number of bits belongs to: it is trained and tested on pixels with uniform noise of one
level added, (k + u) / 256, and its density in units of levels. This bounds the mass that it assigns to level k (Theis,
van den Oord, Bethge 2016, section 3.1), so that the numbers compare.
"""

import math

import kvae
from kvae import evaluation
from kvae.distributions import DiscretizedLogistic, Normal

import keras
import numpy as np

from codes import bits
from few_labels import Until
from papers import arguments_of, comparison, data_and_folder, kept, markdown, write_table

METHODS = ("VAE, Gaussian", "VAE, logistic", "VAE, mixture", "ladder, mixture", "residual, mixture")
SETTINGS = {
    "hidden": [32, 64],
    "latent_dim": 32,
    "ladder": {"latent_dims": [32, 16], "hidden": [[32, 64], 128]},  # its convolutions are those of the VAE
    "residual": {
        "latent_dim": 4,
        "hidden": [32, 64, 64, 64, 64],  # down to one place
        "num_blocks": [0, 1, 0, 0, 1],
        "activation": "relu",
    },
    "warmup": 3,  # epochs, of a ladder
    "free_bits": 4.0,  # nats for each layer of a hierarchy, in training
    "components": 3,
    "batch": 128,
    "rate": 1e-3,
    "residual_rate": 3e-3,
}
LARGE = {  # for images of more than 32 rows
    "hidden": [32, 64, 64],
    "ladder": {"latent_dims": [32, 16], "hidden": [[32, 64, 64], 128]},
    "residual": {
        **SETTINGS["residual"],
        "latent_dim": 8,
        "hidden": [32, 64, 64, 64, 64, 64],
        "num_blocks": [0, 0, 0, 1, 0, 1],
    },
}
SHORT = {
    "hidden": [8, 8],
    "latent_dim": 4,
    "ladder": {"latent_dims": [4, 2], "hidden": [[8, 8], 8]},
    "residual": {"latent_dim": 2, "hidden": [8, 8], "num_blocks": [0, 1]},
}
SAMPLES = 100  # of the importance-weighted estimate
ROWS = 1000  # codes at a time, of the largest images


def dequantized(x, levels, seed):
    """Pixels (k + u) / levels of images of levels k / (levels − 1), with u uniform in [0, 1)."""
    noise = np.random.default_rng(seed).random(x.shape, dtype="float32")
    return (np.rint(x * (levels - 1)) + noise).astype("float32") / levels


def built(method, shape, setting):
    """The model of a method, untrained."""
    name, kind = method.split(", ")
    components = setting["components"] if kind == "mixture" else 1

    def likelihood():
        return Normal() if kind == "Gaussian" else DiscretizedLogistic(components, setting["levels"])

    given = {"likelihood": likelihood(), "seed": setting["seed"]}
    if name == "VAE":
        pair = kvae.networks.conv(shape, setting["latent_dim"], setting["hidden"], likelihood=likelihood())
        return kvae.VAE(*pair, **given)
    factory = kvae.networks.ladder if name == "ladder" else kvae.networks.top_down
    pair = factory(shape, **setting[name], likelihood=likelihood())
    return kvae.HierarchicalVAE(*pair, bound=kvae.bounds.ELBO(free_bits=setting["free_bits"]), **given)


def trained(model, x, minutes, setting, *callbacks):
    """The number of epochs of `minutes` of training."""
    model.compile(optimizer=keras.optimizers.Adam(setting["rate"]))
    stop = Until(minutes, decay=True)
    model.fit(x, batch_size=setting["batch"], epochs=100_000, verbose=0, callbacks=[stop, *callbacks])
    return len(model.history.epoch)


def run(data, method, minutes, estimated, **setting):
    """Train a method: its numbers."""
    shape, seed, levels = data.image_shape, setting["seed"], setting["levels"]
    x, x_test = data.x_train, data.x_test
    is_density = "Gaussian" in method
    if is_density:
        x, x_test = dequantized(x, levels, seed), dequantized(x_test, levels, seed + 1)
    name = method.split(", ")[0]
    warmup = [kvae.callbacks.KLWarmup(setting["warmup"])] if name == "ladder" else []
    rate = setting["residual_rate" if name == "residual" else "rate"]
    model = built(method, shape, setting)
    epochs = trained(model, x, minutes, {**setting, "rate": rate}, *warmup)
    shift = math.log2(levels) if is_density else 0.0  # of a density in units of the whole range to one of levels
    log_likelihood, kl = model.elbo_terms(x_test, num_samples=10, seed=seed)
    estimate = evaluation.log_likelihood(model, x_test[:estimated], num_samples=SAMPLES, batch_size=ROWS, seed=seed)
    return {
        "bits": bits(log_likelihood - kl, shape) + shift,
        "code_bits": float(kl.mean()) / math.log(2.0) / math.prod(shape),
        "estimate": bits(estimate.values, shape) + shift,
        "layers": evaluation.kl_per_layer(model, x_test[:estimated]).tolist() if name != "VAE" else [float(kl.mean())],
        "weights": model.count_params(),
        "epochs": epochs,
    }


def main():
    """Train what is missing, and print the table."""
    parser = comparison(__doc__, METHODS, 20.0)
    parser.add_argument("--estimated", type=int, default=1000, help="test images of the importance-weighted estimate")
    given = arguments_of(parser)
    data, folder = data_and_folder(given, "hierarchies")
    large = LARGE if data.image_shape[0] > 32 else {}
    setting = {**SETTINGS, **large, **(SHORT if given.short else {}), "seed": given.seed}
    setting["levels"] = 17 if given.dataset == "digits" else 256
    minutes, estimated = (0.05, 30) if given.short else (given.minutes, given.estimated)
    rows = []
    for method in given.methods:
        path = folder / f"{method.replace(', ', '_')}.json"
        one = {"method": method, "minutes": minutes, "estimated": estimated, **setting}
        rows.append({"method": method, **kept(path, one, lambda **each: run(data, **each))})
    table = [
        [
            row["method"],
            f"{row['bits']:.4f}",
            f"{row['code_bits']:.4f}",
            f"{row['estimate']:.4f}",
            " + ".join(f"{nats:.1f}" for nats in row["layers"]),
            f"{row['weights']:,}",
            row["epochs"],
        ]
        for row in rows
    ]
    header = ["method", "bits/dim (bound)", "of these, codes", f"bits/dim, {SAMPLES} samples", "KL per layer, nats"]
    write_table(folder, markdown([*header, "weights", "epochs"], table), rows)


if __name__ == "__main__":
    main()
