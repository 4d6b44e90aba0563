"""Disentangling on images drawn from known factors: VAE, β-VAE and β-TCVAE, over seeds.

Run `python benchmarks/disentangling.py`. `--seeds 1 --epochs 5` shows in minutes that it runs, not how good the codes
are. `--scores` prints all scores instead of the mutual information gap alone, `--figure PATH` draws the traversal of
each method's last model.
"""

import argparse
import time
from pathlib import Path

import kvae
from kvae.penalties import TotalCorrelation

import keras
import numpy as np

LATENT_DIM = 10
HIDDEN = (512, 256)
BATCH = 128
METHODS = {
    "VAE": {},
    "beta-VAE, beta = 4": {"beta": 4.0},
    "beta-TCVAE, beta = 6": {"penalty": TotalCorrelation(5.0)},
}


def train(data, seed, epochs, **arguments):
    """Fit a VAE of the given arguments with Adam and cosine decay of the learning rate to zero."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp(data.image_shape, LATENT_DIM, HIDDEN)
    model = kvae.VAE(*networks, seed=seed, **arguments)
    steps = epochs * -(-len(data.x_train) // BATCH)
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    model.fit(data.x_train, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def mean_and_error(values):
    """Mean ± standard error; a single value has none."""
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"


def main():
    """Print a row per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--scores", action="store_true")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    data = kvae.load_data("shapes")
    for name, arguments in METHODS.items():
        start, rows = time.perf_counter(), []
        for seed in range(given.seeds):
            model = train(data, seed, given.epochs, **arguments)
            terms = model.evaluate(data.x_test, batch_size=1000, verbose=0, return_dict=True)
            scores = kvae.evaluation.disentanglement(model.encode(data.x_test), data.factors_test, seed=seed)
            rows.append({"reconstruction": terms["reconstruction_loss"], "KL": terms["kl_loss"], **scores})
        shown = list(rows[0]) if given.scores else ["reconstruction", "KL", "mig"]
        columns = "   ".join(f"{column} {mean_and_error([row[column] for row in rows])}" for column in shown)
        print(f"{name:<22} {columns}   ({time.perf_counter() - start:.0f} s)", flush=True)
        if given.figure is not None:
            kl = kvae.evaluation.kl_per_dimension(model, data.x_test)
            figure = kvae.plots.traversal(model, model.encode(data.x_test[:1])[0], kl=kl, title=name)
            kvae.plots.save(figure, given.figure.with_stem(f"{given.figure.stem}_{name.split(',')[0]}"))


if __name__ == "__main__":
    main()
