"""Counts with a known dispersion: VAEs with negative binomial and Poisson likelihoods, and PCA's Gaussian.

Run `python benchmarks/counts.py`. Counts of 60 columns come from a factor model, log μ = 1 + W z with 3 factors, and
a negative binomial distribution with a dispersion α for each column. The table holds, over `--seeds` draws of factors,
weights and counts, the held-out log p(x) per example in nats (by importance sampling; of probabilistic PCA exact, a
density of the counts, whose unit intervals make it comparable), the ratio of learned and true α, their correlation over
the columns, and for generated counts the share of zeros and the ratio of variance and mean beside those of the data.

A second table is of Poisson counts whose examples have sizes, such as the numbers of molecules caught in cells, that
differ by a factor of 10 (log-uniform): μ = size · exp(1 + W z). Models know the sizes not at all, as a condition of
both networks, or as a size factor, the true ones or those estimated by the total of an example. It holds the held-out
log p(x | size), and how much of log size the codes still tell (R² of a linear regression). A total is a function of the
counts: log p(x | total) is no bound on log p(x), and only the other rows are comparable.
"""

import argparse

import kvae

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from few_labels import mean_and_error
from papers import markdown

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


def counts_of_sizes(seed):
    """Training and test counts whose examples have sizes that differ by a factor of 10, and the logarithms of these."""
    rng = np.random.default_rng(seed)
    z, weights = rng.normal(size=(EXAMPLES + TEST, FACTORS)), rng.normal(scale=0.5, size=(FACTORS, COLUMNS))
    log_size = np.log(10.0) * rng.uniform(-0.5, 0.5, size=(EXAMPLES + TEST, 1))
    x = rng.poisson(np.exp(log_size + 1.0 + z @ weights)).astype("float32")
    return x[:EXAMPLES], x[EXAMPLES:], log_size[:EXAMPLES], log_size[EXAMPLES:]


def train(x, likelihood, seed, epochs, y=None, **kwargs):
    """A VAE of counts, or a CVAE under conditions `y`."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((COLUMNS,), FACTORS, hidden=(64,), likelihood=likelihood, **kwargs)
    model = (kvae.CVAE if kwargs else kvae.VAE)(*networks, likelihood=likelihood, seed=seed)
    steps = epochs * -(-len(x) // 64)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)))
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model


def sizes_table(seeds, epochs):
    """Print the table of what models know of sizes."""
    factor = {"size_factor": True}
    knowing = {
        "nothing": (None, {}),
        "the true size, a condition": ("true", {"num_classes": 1}),
        "the true size, a factor": ("true", factor),
        "the total, a factor": ("total", factor),
    }
    scores, told = ({name: [] for name in knowing} for _ in range(2))
    for seed in range(seeds):
        x, x_test, log_size, log_size_test = counts_of_sizes(seed)
        mean = x.sum(axis=1).mean()
        totals = (np.log(np.maximum(each.sum(axis=1, keepdims=True), 1) / mean) for each in (x, x_test))
        sizes = {None: (None, None), "true": (log_size, log_size_test), "total": tuple(totals)}
        for name, (kind, kwargs) in knowing.items():
            y, y_test = sizes[kind]
            model = train(x, "poisson", seed, epochs, y, **kwargs)
            estimate = kvae.evaluation.log_likelihood(model, x_test, y_test, num_samples=500, seed=0)
            scores[name].append(float(estimate.mean))
            regression = LinearRegression().fit(model.encode(x, y), log_size)
            told[name].append(float(regression.score(model.encode(x_test, y_test), log_size_test)))
    gain = {name: np.array(scores[name]) - np.array(scores["nothing"]) for name in knowing}
    rows = [[name, *(mean_and_error(each[name]) for each in (scores, gain, told))] for name in knowing]
    print(*markdown(["known of the size", "log p(x), nats", "gain", "size told by codes, R²"], rows), sep="\n")


def summary(x):
    """The share of zeros, and the median over the columns of variance by mean."""
    statistics = kvae.evaluation.count_statistics(x)
    return float(np.mean(statistics["zeros"])), float(np.median(statistics["dispersion"]))


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
            shapes[name].append(summary(kvae.evaluation.draw(model, len(x_test), seed=seed)))
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
    print(f"dispersion, learned / true {mean_and_error(ratios)}, correlation {mean_and_error(correlations)}\n")
    sizes_table(given.seeds, given.epochs)


if __name__ == "__main__":
    main()
