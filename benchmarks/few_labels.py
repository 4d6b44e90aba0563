"""Few labels: the test error of M1, M2, M1+M2 and ADGM beside a supervised network's (Kingma et al. 2014, table 1).

Run `python benchmarks/few_labels.py mnist` (100 labels, five draws of them) or `digits` (5 labels a class, ten draws).
Each run stops after `--minutes` of training, over which its learning rate falls to 0, and keeps its error after each
of 20 stretches of it, the curve of error against minutes. M1, with one of three classifiers of its codes, sees no
label, so all draws share one, trained for `--m1-minutes`, by default a quarter of `--minutes`; M1+M2 takes the rest.
Finished runs are skipped; `--short` is one draw of a minute.
"""

import argparse
import math
import time
from pathlib import Path

import kvae
from kvae.data import few_labels
from kvae.distributions import Normal

import keras
import numpy as np
from keras import layers
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from papers import NAMES, arguments_of, kept, load

# %, MNIST, 100 labels; of M1 with a TSVM; of ADGM by Maaløe et al. 2016, table 1.
PUBLISHED = {
    "M1 SVM": "11.82",
    "M1 spreading": "11.82",
    "M2": "11.97 ± 1.71",
    "M1+M2": "3.33 ± 0.14",
    "ADGM": "0.96 ± 0.02",
}
SETTINGS = {
    "mnist": {
        "per_class": 10,
        "draws": 5,
        "minutes": 45.0,
        "hidden": 200,
        "latent_dim": 5,
        "batch": 100,
        "alpha": 300.0,
    },
    "digits": {
        "per_class": 5,
        "draws": 10,
        "minutes": 1.0,
        "hidden": 128,
        "latent_dim": 8,
        "batch": 64,
        "alpha": 300.0,
    },
}
OWN = {"M1+M2": {"hidden": 300, "latent_dim": 8}, "ADGM": {"hidden": 250, "latent_dim": 10, "alpha": 50.0}}
# With the paper's α = 0.1 the error of M2 rises in the first draw. A share puts labels in each step.
LABELS = {"num_classes": 10, "labelled_share": 1 / 6}
FILTERS, UNITS, AUXILIARY_DIM = (16, 32), 200, 10
CLASSIFIERS = {
    "M1": lambda: LogisticRegression(max_iter=1000),
    "M1 SVM": lambda: SVC(C=10.0),
    "M1 spreading": lambda: LabelSpreading("knn", n_neighbors=10, max_iter=100),  # sees all codes, as a TSVM does
}


class Until(keras.callbacks.Callback):
    """Stop after some minutes of processor time, which other programs change little, in one call of `fit` or several.

    The test error is kept now and then. With `decay`, all learning rates fall to 0 along a cosine of the share of the
    minutes that is over.
    """

    hears_executions = True  # many steps may run between two looks at the clock

    def __init__(self, minutes, error=None, decay=False):
        super().__init__()
        self.seconds, self.error, self.curve, self.decay = 60 * minutes, error, [], decay
        self.spent, self.begin = 0.0, None

    @property
    def now(self):
        """Seconds of training so far, summed over all cores."""
        return self.spent + time.process_time() - self.begin

    @property
    def is_over(self):
        """Whether the minutes have passed."""
        return self.spent >= self.seconds

    def on_train_begin(self, logs=None):
        """Start the clock, once."""
        if self.begin is None:
            self.begin = time.process_time()
            several = getattr(self.model.optimizer, "members", None)  # those of a model with an adversary
            self.optimizers = several() if several else [self.model.optimizer]
            self.rates = [float(each.learning_rate) for each in self.optimizers] if self.decay else []

    def on_epoch_begin(self, epoch, logs=None):
        """Lower the learning rate: on JAX, what is set within an epoch is lost."""
        self.on_train_batch_end(0)

    def on_train_batch_end(self, batch, logs=None):
        """Lower the learning rate."""
        if self.decay:
            over = min(1.0, self.now / self.seconds)
            for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
                optimizer.learning_rate = rate * 0.5 * (1.0 + math.cos(math.pi * over))

    def on_epoch_end(self, epoch, logs=None):
        """Look at the clock, which stands still while the error is computed."""
        self.spent = self.now
        self.model.stop_training = self.is_over
        if self.error and (self.is_over or self.spent >= self.seconds * len(self.curve) / 20):
            self.curve.append((round(self.spent / 60, 2), self.error()))
        self.begin = time.process_time()  # the time of training alone


def trained(model, minutes, *data, error=None, **arguments):
    """Train for some minutes: the curve of errors."""
    stop = Until(minutes, error, decay=True)
    model.fit(*data, epochs=100_000, callbacks=[stop], verbose=0, **arguments)
    return stop.curve


def trained_on_draws(model, minutes, z_mean, z_log_var, y, error, batch):
    """Train on codes of M1, drawn from q(z|x) anew for each epoch: the curve of errors."""
    stop, rng = Until(minutes, error, decay=True), np.random.default_rng(0)
    while not stop.is_over:
        z = z_mean + np.exp(0.5 * z_log_var) * rng.standard_normal(z_mean.shape, np.float32)
        model.fit(z, y, epochs=1, batch_size=batch, callbacks=[stop], verbose=0)
    return stop.curve


def is_small(shape):
    """Whether strided convolutions would leave little of the examples: codes, and the 8×8 pixels of `digits`."""
    return min(shape[:2]) < 16 or len(shape) < 3


def judge(shape, setting):
    """A classifier: convolutions with dropout, or one dense layer, as for what is small."""
    if setting["classifier"] == "mlp" or is_small(shape):
        return kvae.networks.classifier(shape, 10, (setting["hidden"],))
    return kvae.networks.classifier(shape, 10, FILTERS, network="conv", dropout=0.5)


def m2(shape, setting, likelihood="bernoulli"):
    """The compiled model M2, with one hidden layer in encoder and decoder."""
    hidden = (setting["hidden"],)
    pair = kvae.networks.mlp(shape, setting["latent_dim"], hidden, num_classes=10, likelihood=likelihood)
    classifier = judge(shape, setting)
    given = {"alpha": setting["alpha"], "seed": setting["seed"], **LABELS}
    model = kvae.SemiSupervisedVAE(*pair, classifier, likelihood=likelihood, **given)
    model.compile(optimizer=keras.optimizers.Adam(setting["rate"]))
    return model


def judge_of_both(shape, setting):
    """A classifier of an image and the auxiliary variable, which joins the last layer of features of `judge`."""
    alone, a = judge(shape, setting), keras.Input((AUXILIARY_DIM,))
    features = layers.Concatenate()([alone.layers[-2].output, a])
    h = layers.Dense(UNITS, activation="relu")(features)
    return keras.Model([alone.input, a], layers.Dense(10)(h))


def adgm(shape, setting):
    """The compiled ADGM, with one hidden layer in each network but the classifier."""
    hidden = (setting["hidden"],)
    *pair, _, encoder, decoder = kvae.networks.auxiliary(shape, setting["latent_dim"], 10, hidden, AUXILIARY_DIM)
    given = {"alpha": setting["alpha"], "seed": setting["seed"], **LABELS}
    model = kvae.AuxiliaryVAE(*pair, judge_of_both(shape, setting), encoder, decoder, **given)
    model.compile(optimizer=keras.optimizers.Adam(setting["rate"]))
    return model


def m1(data, minutes, path):
    """A VAE that sees no label, from the file `path` if it is there."""

    def train(latent_dim, **setting):
        # Few labels tell more of the codes of convolutions.
        if is_small(data.image_shape):
            pair = kvae.networks.mlp(data.image_shape, latent_dim)
        else:
            pair = kvae.networks.conv(data.image_shape, latent_dim, FILTERS)
        model = kvae.VAE(*pair, seed=setting["seed"])
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
        trained(model, minutes, data.x_train, batch_size=200)
        model.save(path)
        active = kvae.evaluation.active_units(model, data.x_test).count
        return {"negative_elbo": float(-model.elbo(data.x_test, seed=0).mean()), "active_units": active}

    kept(path.with_suffix(".json"), {"latent_dim": 50, "minutes": minutes, "seed": 0}, train)
    return kvae.load_model(path)


def agreement(model, data):
    """The share, in %, of generated images that a classifier trained on real ones gives the label asked for."""
    judge = kvae.evaluation.LabelJudge(data.x_train, data.y_train, seed=0)
    return 100 * kvae.evaluation.label_agreement(model, judge, seed=0)


def run(data, folder, method, minutes, m1_minutes=None, **setting):
    """One draw of the labels: the test error, and its curve over the minutes."""
    y = few_labels(data.y_train, setting["per_class"], setting["seed"])
    known = y >= 0

    def error(model, x):
        return lambda: float(100 * np.mean(np.argmax(model.classify(x), axis=1) != data.y_test))

    if method == "supervised":
        network = judge(data.image_shape, setting)
        network.compile(
            optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )
        network.fit(data.x_train[known], y[known], epochs=200, batch_size=min(setting["batch"], known.sum()), verbose=0)
        return {"error": 100 * (1 - network.evaluate(data.x_test, data.y_test, verbose=0)[1])}
    if method in ("M2", "ADGM"):
        model = {"M2": m2, "ADGM": adgm}[method](data.image_shape, setting)
        curve = trained(model, minutes, data.x_train, y, error=error(model, data.x_test), batch_size=setting["batch"])
        return {"error": curve[-1][1], "curve": curve, "agreement": agreement(model, data)}
    below = m1(data, m1_minutes, folder / "m1.keras")
    if method in CLASSIFIERS:
        fitted = kvae.classifier.on_codes(below, data.x_train, y, CLASSIFIERS[method]())
        return {"error": float(100 * (1 - fitted.score(data.x_test, data.y_test)))}
    units = kvae.evaluation.active_units(below, data.x_train[:10_000])
    used = units.variances > units.threshold  # the other dimensions are noise
    codes, z_test = (each[:, used] for each in below.posterior(data.x_train)), below.encode(data.x_test)[:, used]
    model = m2(z_test.shape[1:], setting, Normal())
    curve = trained_on_draws(model, minutes - m1_minutes, *codes, y, error(model, z_test), setting["batch"])
    return {"error": curve[-1][1], "curve": curve}


def mean_and_error(values):
    """Mean ± standard error; a single value has none."""
    spread = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def main():
    """Print a row per method, as soon as its draws are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=SETTINGS)
    parser.add_argument("--minutes", type=float, help="of training, a draw and method")
    parser.add_argument("--m1-minutes", type=float, help="of these, of the M1 that all draws share")
    parser.add_argument("--draws", type=int)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--classifier", choices=("mlp", "conv"), default="conv", help="of images that are not small")
    parser.add_argument("--methods", nargs="+", default=["supervised", *CLASSIFIERS, "M2", "M1+M2"])
    given = arguments_of(parser)
    data, setting = load(given.dataset, given.data), dict(SETTINGS[given.dataset])
    draws, minutes = given.draws or setting.pop("draws"), given.minutes or setting.pop("minutes")
    draws, minutes = (1, 1.0) if given.short else (draws, minutes)
    m1_minutes = given.m1_minutes if given.m1_minutes and not given.short else minutes / 4
    setting = {name: value for name, value in setting.items() if name not in ("draws", "minutes")}
    setting |= {"rate": given.rate, "classifier": given.classifier}
    out = given.out or Path("runs") / f"few_labels_{given.dataset}"
    out.mkdir(parents=True, exist_ok=True)
    print(f"{NAMES[given.dataset]}, {setting['per_class']} labels a class, {draws} draws, {minutes:g} minutes each")
    for method in given.methods:
        errors, curves, agreements = [], [], []
        for draw in range(draws):
            one = {"method": method, "minutes": minutes, **setting, **OWN.get(method, {}), "seed": given.seed + draw}
            one |= {"m1_minutes": m1_minutes} if "M1" in method else {}
            result = kept(out / f"{method}_{draw}.json", one, lambda **setting: run(data, out, **setting))
            errors.append(result["error"])
            curves.append(result.get("curve"))
            agreements += [result["agreement"]] if "agreement" in result else []
        published = f"   published {PUBLISHED.get(method, '–')}" if given.dataset == "mnist" else ""
        agreed = f"   label agreement of samples {mean_and_error(agreements)} %" if agreements else ""
        print(f"{method:<12} error {mean_and_error(errors)} %{agreed}{published}", flush=True)
        if curves[0]:
            print("  first draw, minutes: error  " + ", ".join(f"{m:.1f}: {e:.1f}" for m, e in curves[0]), flush=True)


if __name__ == "__main__":
    main()
