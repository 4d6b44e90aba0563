"""What to draw codes from: one autoencoder sampled in several ways, beside VAE, WAE-MMD, RAE and AAE.

Run `python benchmarks/samplers.py mnist`, `digits`, or the path of an .npz file of images. All models have the same
networks and train for `--minutes`; each is then sampled from its prior, if it has one, and from densities fitted to its
codes by `kvae.priors.fit` (Ghosh et al. 2020, table 1). Finished trainings and fits are skipped. The table holds the
Fréchet distance between test images and as many samples, by the features of a fixed classifier, and the mean squared
error of the reconstructions of test images; the picture has a row of samples for each row of the table.
"""

import kvae
from kvae.penalties import MMD, CodeNorm, DecoderDecay, DecoderGradient

import keras
import numpy as np

from few_labels import Until
from papers import arguments_of, comparison, data_and_folder, kept, markdown, write_table

SETTINGS = {
    "digits": {"network": "mlp", "hidden": (256, 128), "latent_dim": 8},
    "mnist": {"network": "conv", "hidden": (32, 64), "latent_dim": 16},
    "file": {"network": "conv", "hidden": (32, 64, 128), "latent_dim": 32},
}
# Each model and what its codes are drawn from: its own prior, N(0, I) for a WAE, or a density fitted to its codes.
FITTED = ("gaussian", "gaussian_mixture", "flow", "two_stage")
METHODS = {
    "autoencoder": FITTED,
    "RAE-L2": ("gaussian", "gaussian_mixture", "flow"),
    "RAE-GP": ("gaussian", "gaussian_mixture", "flow"),
    "WAE-MMD": ("prior", "gaussian_mixture", "flow"),
    "AAE": ("prior", "gaussian_mixture"),
    "VAE": ("prior", "gaussian_mixture", "flow", "two_stage"),
}
SHOWN = 10


def build(method, shape, setting):
    """The compiled model of a method."""
    given = {"hidden": tuple(setting["hidden"]), "posterior": "normal" if method == "VAE" else None}
    pair = getattr(kvae.networks, setting["network"])(shape, setting["latent_dim"], **given)
    optimizer, seed = keras.optimizers.Adam(setting["rate"]), setting["seed"]
    if method == "VAE":
        model = kvae.VAE(*pair, seed=seed)
    elif method == "AAE":
        judge = kvae.networks.discriminator((setting["latent_dim"],), hidden=(256, 256))
        model = kvae.AdversarialAutoencoder(*pair, judge, loss="cross_entropy", gamma=setting["gamma"], seed=seed)
        model.compile(
            optimizer=keras.optimizers.Adam(setting["rate"], beta_1=0.5),
            discriminator_optimizer=keras.optimizers.Adam(setting["rate"], beta_1=0.5),
        )
        return model
    else:
        norm = CodeNorm(setting["norm"])
        penalty = {
            "autoencoder": None,
            "RAE-L2": [norm, DecoderDecay(setting["decay"])],
            "RAE-GP": [norm, DecoderGradient(setting["smooth"])],
            "WAE-MMD": MMD(setting["mmd"]),
        }[method]
        model = kvae.Autoencoder(*pair, loss="cross_entropy", penalty=penalty, seed=seed)
    model.compile(optimizer=optimizer)
    return model


def train(data, folder, method, minutes, **setting):
    """Train a method for some minutes and save it: the error of its reconstructions."""
    model = build(method, data.image_shape, setting)
    stop = Until(minutes)
    model.fit(data.x_train, batch_size=setting["batch"], epochs=100_000, callbacks=[stop], verbose=0)
    model.save(folder / f"{method}.keras")
    error = float(np.mean((data.x_test - model.reconstruct(data.x_test)) ** 2))
    return {"error": error, "epochs": len(model.history.epoch)}


def sampler(model, data, name, epochs, seed):
    """A model that generates from codes drawn as `name` says."""
    if name == "prior":
        return model if hasattr(model, "prior") else model.with_prior(kvae.priors.Standard())
    if name == "gaussian":
        return kvae.priors.fit(model, data.x_train, "gaussian_mixture", num_components=1, seed=seed)
    more = {} if name == "gaussian_mixture" else {"epochs": epochs}
    return kvae.priors.fit(model, data.x_train, name, seed=seed, **more)


def sample(data, features, folder, method, name, epochs, seed):
    """The Fréchet distance of a model's samples. Some of them are saved beside."""
    model = sampler(kvae.load_model(folder / f"{method}.keras"), data, name, epochs, seed)
    images = model.generate(len(data.x_test), seed=0)
    np.savez(folder / f"{method}_{name}.npz", samples=images[:SHOWN])
    return {"frechet": round(kvae.evaluation.frechet_distance(features(data.x_test), features(images)), 3)}


def panel(data, folder, rows):
    """The picture: a row of samples for each row of the table."""
    images = [data.x_test[:SHOWN]]
    for row in rows:
        with np.load(folder / f"{row['method']}_{row['sampler']}.npz") as saved:
            images.append(saved["samples"])
    names = ["data", *(f"{row['method']}, {row['sampler'].replace('_', ' ')}" for row in rows)]
    return kvae.plots.image_grid(np.stack(images), row_labels=names, title="Samples")


def main():
    """Train and fit what is missing, print the table and draw the picture."""
    parser = comparison(__doc__, METHODS, 10.0)
    parser.add_argument("--fit-epochs", type=int, default=50, help="of flows and second stages")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--norm", type=float, default=0.1, help="weight of the code norm of RAE")
    parser.add_argument("--decay", type=float, default=0.01, help="weight of the decoder's weight decay of RAE-L2")
    parser.add_argument("--smooth", type=float, default=0.1, help="weight of the decoder's gradient of RAE-GP")
    parser.add_argument("--mmd", type=float, default=100.0, help="weight of the MMD of WAE-MMD")
    parser.add_argument("--gamma", type=float, default=10.0, help="weight of the adversary of AAE")
    given = arguments_of(parser)
    data, folder = data_and_folder(given, "samplers")
    names = ("rate", "batch", "norm", "decay", "smooth", "mmd", "gamma", "seed")
    setting = dict(SETTINGS.get(given.dataset, SETTINGS["file"])) | {name: getattr(given, name) for name in names}
    setting["hidden"] = list(setting["hidden"])
    minutes, epochs = (0.1, 2) if given.short else (given.minutes, given.fit_epochs)
    labels = data.y_train if data.num_classes else np.argmax(data.y_train, axis=1)
    features = kvae.evaluation.Features(data.x_train, labels, seed=0)
    rows = []
    for method in given.methods:
        one = {"method": method, "minutes": minutes, **setting}
        trained = kept(folder / f"{method}.json", one, lambda **each: train(data, folder, **each))
        for name in METHODS[method]:
            fitted = {"method": method, "name": name, "epochs": epochs, "seed": given.seed}
            path = folder / f"{method}_{name}.json"
            result = kept(path, fitted, lambda **each: sample(data, features, folder, **each))
            rows.append({"method": method, "sampler": name, **trained, **result})
    header = ["model", "codes from", "Fréchet distance", "MSE of reconstructions", "epochs"]
    table = [
        [row["method"], row["sampler"].replace("_", " "), row["frechet"], f"{row['error']:.4f}", row["epochs"]]
        for row in rows
    ]
    write_table(folder, markdown(header, table), rows)
    kvae.plots.save(panel(data, folder, rows), folder / "panel.png")


if __name__ == "__main__":
    main()
