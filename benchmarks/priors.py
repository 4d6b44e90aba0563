"""Better priors and posteriors for the VAE of Burda et al. 2016 (k = 1, one stochastic layer) on binarized digits.

Run `python benchmarks/priors.py mnist`. All models have the networks of `burda.py`'s row 1-vae-1 (784-200-200 tanh, 50
latent dimensions), its batches, optimizer and cosine schedule, and train for `--epochs`; finished ones are skipped. The
table holds −log p(x) of test digits in nats by importance sampling with `--samples`, how much lower it is than the
first row's, with the standard error of the paired differences, minus the ELBO, active units, and seconds of training.
"""

import time

import kvae
from kvae import evaluation, flows
from kvae.data import binarize

import keras
import numpy as np

from burda import networks
from papers import arguments_of, comparison, data_and_folder, kept, markdown, write_table

COMPONENTS = 100
METHODS = {  # arguments of the model; a posterior is one of the networks as well
    "N(0, I)": dict,
    "mixture prior": lambda: {"prior": kvae.priors.Mixture(COMPONENTS)},
    "VampPrior": lambda: {"prior": kvae.priors.Vamp(COMPONENTS)},
    "coupling prior": lambda: {"prior": flows.Prior("coupling", depth=6)},
    "MAF prior": lambda: {"prior": flows.Prior("maf", depth=4)},
    "IAF posterior": lambda: {"posterior": flows.Posterior("iaf", depth=4, context=1)},
}
BATCH, RATE = 100, 2e-3


def run(data, folder, method, epochs, samples, digits, seed):
    """Train a method: its numbers. The log-likelihoods are saved beside."""
    given = METHODS[method]()
    posterior = {"posterior": given["posterior"]} if "posterior" in given else {}
    model = kvae.VAE(*networks(data, 50, **posterior), seed=seed, **given)
    steps = -(-len(data.x_train) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(RATE, epochs * steps, alpha=0.01)
    model.compile(keras.optimizers.Adam(schedule, epsilon=1e-4), steps_per_execution=steps)
    clock = Clock()
    batches = data.batches(batch_size=BATCH, labels=False, seed=seed)
    model.fit(batches, epochs=epochs, callbacks=[clock], verbose=0)
    model.save(folder / f"{method}.keras")
    x = binarize(data.x_test[:digits], np.random.default_rng(0))
    estimate = evaluation.log_likelihood(model, x, num_samples=samples, seed=0)
    np.save(folder / f"{method}.npy", estimate.values)
    return {
        "nll": -estimate.mean,
        "error": estimate.standard_error,
        "negative_elbo": -float(model.elbo(x, num_samples=10, seed=0).mean()),
        "units": int(evaluation.active_units(model, x).count),
        "training": clock.seconds,
    }


class Clock(keras.callbacks.Callback):
    """CPU seconds of training."""

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.begin = time.process_time()

    def on_train_end(self, logs=None):
        """Stop it."""
        self.seconds = round(time.process_time() - self.begin)


def main():
    """Train what is missing, and print the table."""
    parser = comparison(__doc__, METHODS)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--digits", type=int, default=10_000, help="of the test set")
    given = arguments_of(parser)
    data, folder = data_and_folder(given, "priors", binarization="dynamic")
    one = {"epochs": given.epochs, "samples": given.samples, "digits": given.digits, "seed": given.seed}
    if given.short:
        one |= {"epochs": 2, "samples": 10, "digits": 100}
    rows = []
    for method in given.methods:
        path = folder / f"{method}.json"
        rows.append(
            {"method": method, **kept(path, {"method": method, **one}, lambda **each: run(data, folder, **each))}
        )
    values = [np.load(folder / f"{row['method']}.npy") for row in rows]
    table = []
    for row, own in zip(rows, values, strict=True):
        gain = own - values[0]
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        table.append(
            [
                row["method"],
                f"{row['nll']:.2f} ± {row['error']:.2f}",
                f"{gain.mean():.2f} ± {error:.2f}",
                f"{row['negative_elbo']:.2f}",
                row["units"],
                row["training"],
            ]
        )
    header = ["model", "−log p(x)", "lower by", "−ELBO", "active units", "training, CPU s"]
    write_table(folder, markdown(header, table), rows)


if __name__ == "__main__":
    main()
