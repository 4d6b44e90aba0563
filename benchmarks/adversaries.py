"""VAE, GAN, VAE/GAN and Soft-IntroVAE with the same decoder: how real their images look, and how close they are.

Run `python benchmarks/adversaries.py mnist`, `digits`, or the path of an .npz file of images. Each method trains for
`--minutes`, over which its learning rates fall to 0; finished ones are skipped. The table holds the Fréchet distance of
as many samples as there are test images, by the features of a fixed classifier, and the mean squared error of
reconstructions of test images in pixels and in these features; the picture shows samples and reconstructions, a row
per method (Larsen et al. 2016, figures 3 and 4).
"""

import kvae

import keras
import numpy as np

from few_labels import Until
from papers import arguments_of, comparison, data_and_folder, kept, markdown, write_table

SETTINGS = {
    "digits": {"network": "mlp", "hidden": (512, 256), "latent_dim": 8, "gamma": 1.0, "beta": 0.02},
    "mnist": {"network": "conv", "hidden": (32, 64), "latent_dim": 20, "gamma": 1e-3, "beta": 1.0},
    "file": {"network": "conv", "hidden": (32, 64, 128), "latent_dim": 32, "gamma": 1e-3, "beta": 1.0},
}
METHODS = ("VAE", "GAN", "VAE/GAN", "Soft-IntroVAE")
ERRORS = {"pixel_error": "MSE of pixels", "feature_error": "MSE of features"}
SHOWN = 8


def build(method, shape, setting):
    """The compiled model of a method."""
    given = {"hidden": tuple(setting["hidden"])}
    pair = getattr(kvae.networks, setting["network"])(shape, setting["latent_dim"], **given)
    judge = kvae.networks.discriminator(shape, network=setting["network"], **given)
    seed, rate = setting["seed"], setting["rate"]
    if method == "VAE":
        model = kvae.VAE(*pair, seed=seed)
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
        return model
    if method == "Soft-IntroVAE":
        model = kvae.IntroVAE(*pair, seed=seed)
        model.compile(optimizer=keras.optimizers.Adam(rate), encoder_optimizer=keras.optimizers.Adam(rate))
        return model
    if method == "GAN":
        model = kvae.GAN(pair[1], judge, seed=seed)
    else:
        model = kvae.VAEGAN(*pair, judge, gamma=setting["gamma"], beta=setting["beta"], seed=seed)
    model.compile(
        optimizer=keras.optimizers.Adam(rate, beta_1=0.5),
        discriminator_optimizer=keras.optimizers.Adam(rate * setting["judge"], beta_1=0.5),
    )
    return model


def run(data, features, folder, method, minutes, **setting):
    """Train a method for some minutes: its numbers. Its images are saved beside."""
    model = build(method, data.image_shape, setting)
    real, x = features(data.x_test), data.x_test

    def samples():
        return model.generate(len(x), seed=0)

    def distance():
        return round(kvae.evaluation.frechet_distance(real, features(samples())), 3)

    stop = Until(minutes, distance, decay=True)
    model.fit(data.x_train, batch_size=setting["batch"], epochs=100_000, callbacks=[stop], verbose=0)
    result = {"frechet": distance(), "curve": stop.curve, "epochs": len(model.history.epoch)}
    images = {"samples": model.generate(SHOWN, seed=1)}
    if method != "GAN":
        x_hat = model.reconstruct(x)
        result["pixel_error"] = float(np.mean((x - x_hat) ** 2))
        result["feature_error"] = float(np.mean((real - features(x_hat)) ** 2))
        images["reconstructions"] = x_hat[:SHOWN]
    np.savez(folder / f"{method.replace('/', '_')}.npz", **images)
    return result


def panel(data, folder, methods):
    """The picture: samples on the left, reconstructions on the right, a row per method."""
    blank = np.ones((SHOWN, *data.image_shape))
    rows = [np.concatenate([data.x_train[:SHOWN], blank[:1], data.x_test[:SHOWN]])]
    for method in methods:
        with np.load(folder / f"{method.replace('/', '_')}.npz") as images:
            right = images.get("reconstructions", blank)
            rows.append(np.concatenate([images["samples"], blank[:1], right]))
    title = "Samples (left) and reconstructions of test images (right)"
    return kvae.plots.image_grid(np.stack(rows), row_labels=["data", *methods], title=title)


def main():
    """Train what is missing, print the table and draw the picture."""
    parser = comparison(__doc__, METHODS, 10.0)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the adversarial methods")
    parser.add_argument("--judge", type=float, default=0.3, help="the discriminator's rate is that times this")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--hidden", type=int, nargs="+", help="units or filters of the encoder's layers")
    parser.add_argument("--gamma", type=float, help="weight of the feature loss in VAE/GAN")
    parser.add_argument("--beta", type=float, help="weight of the KL in VAE/GAN")
    given = arguments_of(parser)
    data, folder = data_and_folder(given, "adversaries")
    setting = dict(SETTINGS.get(given.dataset, SETTINGS["file"]))
    setting |= {name: getattr(given, name) for name in ("rate", "judge", "batch", "seed")}
    setting |= {name: value for name in ("gamma", "beta", "hidden") if (value := getattr(given, name)) is not None}
    labels = data.y_train if data.num_classes else np.argmax(data.y_train, axis=1)
    features = kvae.evaluation.Features(data.x_train, labels, seed=0)
    rows = []
    for method in given.methods:
        one = {"method": method, "minutes": 0.2 if given.short else given.minutes, **setting}
        one["hidden"] = list(one["hidden"])
        path = folder / f"{method.replace('/', '_')}.json"
        rows.append({"method": method, **kept(path, one, lambda **each: run(data, features, folder, **each))})
    table = [
        [row["method"], row["frechet"], *(f"{row[key]:.4f}" if key in row else "–" for key in ERRORS), row["epochs"]]
        for row in rows
    ]
    write_table(folder, markdown(["method", "Fréchet distance", *ERRORS.values(), "epochs"], table), rows)
    kvae.plots.save(panel(data, folder, given.methods), folder / "panel.png")


if __name__ == "__main__":
    main()
