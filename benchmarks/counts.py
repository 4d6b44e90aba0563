"""Counts with a known dispersion: VAEs with negative binomial and Poisson likelihoods, and PCA's Gaussian.

Run `python benchmarks/counts.py`. Counts of 60 columns come from a factor model, log μ = 1 + W z with 3 factors, and
a negative binomial distribution with a dispersion α for each column. The table holds, over `--seeds` draws of factors,
weights and counts, the held-out log p(x) per example in nats (by importance sampling; of probabilistic PCA exact, a
density of the counts, whose unit intervals make it comparable), the ratio of learned and true α, their correlation over
the columns, and for generated counts the share of zeros and the ratio of variance and mean beside those of the data.
"""

import argparse

import keras
import numpy as np
from few_labels import mean_and_error
from papers import markdown
from sklearn.decomposition import PCA

import kvae

COLUMNS, FACTORS, EXAMPLES, TEST = 60, 3, 4000, 1000
MODELS = {"negative binomial": "negative_binomial", "Poisson": "poisson"}


def counts(seed):
    """Training and test counts, and the true dispersion of each column."""
    rng = np.random.default_rng(seed)
    alpha = np.exp(rng.uniform(np.log(0.2), np.log(1.5), COLUMNS))
    z, weights = rng.normal(size=(EXAMPLES + TEST, FACTORS)), rng.normal(scale=0.5, size=(FACTORS, COLUMNS))
    mean = np.exp(1.0 + z @ weights)
    x = rng.poisson(mean * rng.gamma(1.0 / alpha, alpha, mean.shape)).astype("float32")
    return x[:EXAMPLES], x[EXAMPLES:], alpha


def train(x, likelihood, seed, epochs):
    """A VAE of counts."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((COLUMNS,), FACTORS, hidden=(64,), likelihood=likelihood)
    model = kvae.VAE(*networks, likelihood=likelihood, seed=seed)
    steps = epochs * -(-len(x) // 64)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)))
    model.fit(x, batch_size=64, epochs=epochs, verbose=0)
    return model


def drawn(model, n, seed):
    """Counts drawn from the model, not their means."""
    params = model.decoder(keras.ops.convert_to_tensor(model.sample_prior(n, seed=seed)), training=False)
    return keras.ops.convert_to_numpy(model.likelihood.sample(params, 1, seed))[0]


def summary(x):
    """The share of zeros, and the median over the columns of variance by mean."""
    return float(np.mean(x == 0)), float(np.median(x.var(axis=0) / x.mean(axis=0)))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    given = parser.parse_args()
    values = {name: [] for name in (*MODELS, "PCA, Gaussian")}
    ratios, correlations, shapes = [], [], {name: [] for name in ("data", *MODELS)}
    for seed in range(given.seeds):
        x, x_test, alpha = counts(seed)
        shapes["data"].append(summary(x_test))
        values["PCA, Gaussian"].append(float(PCA(FACTORS).fit(x).score(x_test)))
        for name, likelihood in MODELS.items():
            model = train(x, likelihood, seed, given.epochs)
            values[name].append(float(kvae.evaluation.log_likelihood(model, x_test, num_samples=500, seed=0).mean))
            shapes[name].append(summary(drawn(model, len(x_test), seed)))
            if likelihood == "negative_binomial":
                found = np.exp(keras.ops.convert_to_numpy(model.likelihood.log_dispersion))
                ratios.append(float(np.exp(np.mean(np.log(found / alpha)))))
                correlations.append(float(np.corrcoef(np.log(found), np.log(alpha))[0, 1]))
    best = np.array(values["negative binomial"])
    rows = []
    for name in ("data", *values):
        zeros, spread = (
            (mean_and_error(column) for column in zip(*shapes[name], strict=True)) if name in shapes else "––"
        )
        score = mean_and_error(values[name]) if name in values else "–"
        behind = mean_and_error(best - values[name]) if name in list(values)[1:] else "–"
        rows.append([name, score, behind, zeros, spread])
    print(*markdown(["", "log p(x), nats", "the first minus this", "zeros", "variance / mean"], rows), sep="\n")
    print(f"dispersion, learned / true {mean_and_error(ratios)}, correlation {mean_and_error(correlations)}")


if __name__ == "__main__":
    main()
