"""Rows of table 1 of Li & Turner 2016 (https://arxiv.org/abs/1602.02311): test log-likelihood by bound.

    python benchmarks/renyi.py frey --short          # Frey Face, ten folds in the full mode
    python benchmarks/renyi.py mnist --short         # K = 5; --k 5 50 for both
    python benchmarks/renyi.py mnist                 # Burda's 3,280 epochs with batches of 20: days on a GPU

One stochastic layer. Frey Face: 200 softplus units, 20 latent dimensions, K = 5, Adam at 5e-4, batches of 100, and a
Gaussian with a mean in (0, 1) and a σ for each pixel. The paper specifies the learning rate, K, the batch size and the
folds; units, activation, latent size and the form of the likelihood are those of the authors' code (YingzhenLi/VRbound,
`vae_numpy`). The number of epochs, on which the result depends, is not published: see EPOCHS. MNIST: Burda's networks
with dynamic binarization, as in `burda.py`. Finished runs are kept in `--out` and skipped.
"""

import argparse
import math
from pathlib import Path

import kvae
from kvae import bounds, evaluation, plots
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure, number

import keras
import numpy as np
from sklearn.model_selection import KFold

import burda
import papers

METHODS = {
    "VAE": bounds.ELBO,
    "IWAE": bounds.ImportanceWeighted,
    "α = 0.5": lambda: bounds.Renyi(alpha=0.5),
    "VR-max": lambda: bounds.Renyi(alpha=-math.inf),
}
PUBLISHED = {  # (mean, standard error over folds); α = 0.5 is from the text of the paper
    ("frey", 5): {
        "VAE": (1322.96, 10.03),
        "IWAE": (1380.30, 4.60),
        "α = 0.5": (1374.64, 5.62),
        "VR-max": (1377.40, 4.59),
    },
    ("mnist", 5): {"VAE": (-86.47, None), "IWAE": (-85.41, None), "α = 0.5": (-85.50, None), "VR-max": (-85.42, None)},
    ("mnist", 50): {"VAE": (-86.35, None), "IWAE": (-84.80, None), "α = 0.5": None, "VR-max": (-84.81, None)},
}
# Frey Face, unpublished: on images held out of the training folds, IWAE still gained 40 nats from epoch 500 to 800.
EPOCHS = {"frey": {"full": 2000, "short": 100}, "mnist": {"full": 3280, "short": 3}}
FOLDS = {"full": 10, "short": 2}


def main():
    """Run what is missing, write the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("frey", "mnist"))
    parser.add_argument("--k", nargs="+", type=int, default=[5], choices=(5, 50), help="samples; 50 for mnist alone")
    parser.add_argument("--epochs", type=int, default=None, help="in place of the mode's")
    arguments = papers.arguments_of(parser)
    if any((arguments.dataset, k) not in PUBLISHED for k in arguments.k):
        parser.error("frey is for --k 5")
    mode = "short" if arguments.short else "full"
    folder = (arguments.out or Path("runs/papers")) / f"renyi-{arguments.dataset}-{mode}"
    frey = arguments.dataset == "frey"
    data = papers.load(arguments.dataset, arguments.data, binarization=None if frey else "dynamic")
    epochs = arguments.epochs or EPOCHS[arguments.dataset][mode]
    results = {}
    for k in arguments.k:
        for fold in range(FOLDS[mode] if frey else 1):
            for method in METHODS:
                setting = {"method": method, "k": k, "mode": mode, "epochs": epochs, "seed": arguments.seed}
                setting |= {"fold": fold} if frey else {}
                run = frey_fold if frey else mnist_row
                path = folder / f"{method.replace('α = ', 'alpha')}-k{k}-fold{fold}-seed{arguments.seed}.json"
                result = papers.kept(path, setting, lambda run=run, **kwargs: run(data, **kwargs))
                results.setdefault((k, method), []).append(result)
    report(results, arguments, epochs, mode, folder)


def frey_fold(data, method, k, mode, epochs, seed, fold):
    """Train on all folds but one, and return the mean log p(x) of that fold in nats."""
    x = np.concatenate([data.x_train, data.x_test])
    train, test = list(KFold(FOLDS["full"], shuffle=True, random_state=0).split(x))[fold]
    encoder, decoder, likelihood = papers.networks(data.image_shape, 20, (200,), "gaussian", "softplus")
    model = kvae.VAE(encoder, decoder, likelihood=likelihood, bound=METHODS[method](), num_samples=k, seed=seed)
    steps = math.ceil(len(train) / 100)
    model.compile(keras.optimizers.Adam(5e-4), steps_per_execution=steps)
    model.fit(kvae.data.pipeline(x[train], batch_size=100, seed=seed), epochs=epochs, verbose=0)
    return scored(model, x[test], 500 if mode == "short" else 5000)


def mnist_row(data, method, k, mode, epochs, seed):
    """Train Burda's one-layer model with another bound, and return the mean log p(x) of binary test digits in nats."""
    model = burda.build("1", "vae", "reparameterized", data)
    model.bound, model.num_samples = METHODS[method](), k
    batch_size = 20 if mode == "full" else 100
    steps = math.ceil(len(data.x_train) / batch_size)
    rate = burda.learning_rate("paper" if mode == "full" else mode, epochs, steps)
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-4), steps_per_execution=steps // 10)
    model.fit(data.batches(batch_size=batch_size, labels=False, seed=seed), epochs=epochs, verbose=0)
    x = kvae.data.binarize(data.x_test, np.random.default_rng(0))
    return scored(model, x[:500], 500) if mode == "short" else scored(model, x, 5000)


def scored(model, x, num_samples):
    """log p(x) by importance sampling, its standard error over the images, and diagnostics."""
    estimate = evaluation.log_likelihood(model, x, num_samples=num_samples, seed=0)
    return {
        "log_likelihood": estimate.mean,
        "standard_error": estimate.standard_error,
        "ess": float(np.mean(estimate.effective_sample_size)),
        "elbo": float(model.elbo(x, num_samples=10, seed=0).mean()),
        "images": len(x),
        "num_samples": num_samples,
    }


def averaged(results, dataset):
    """Table rows: means over the folds with standard errors, and the published numbers."""
    rows = []
    for (k, method), runs in results.items():
        values = [run["log_likelihood"] for run in runs]
        error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else runs[0]["standard_error"]
        row = {"k": k, "method": method, "mean": float(np.mean(values)), "error": float(error), "folds": values}
        row |= {name: float(np.mean([run[name] for run in runs])) for name in ("elbo", "ess")}
        row["seconds"] = sum(run["seconds"] for run in runs)
        rows.append({**row, "published": PUBLISHED[dataset, k][method]})
    return rows


def report(results, arguments, epochs, mode, folder):
    """Compare our results with the published numbers, in a table and a figure."""
    rows = averaged(results, arguments.dataset)
    table = papers.markdown(
        ("K", "method", "log p(x), ours", "published", "ELBO, ours", "effective samples", "seconds"),
        [
            (
                row["k"],
                row["method"],
                f"{row['mean']:.2f} ± {row['error']:.2f}",
                published(row["published"]),
                f"{row['elbo']:.2f}",
                f"{row['ess']:.0f}",
                f"{row['seconds']:.0f}",
            )
            for row in rows
        ],
    )
    (run, *_), folds = next(iter(results.values())), len(rows[0]["folds"])
    over = f"{folds} folds" if arguments.dataset == "frey" else f"{run['images']:,} test digits"
    findings = [finding for k in arguments.k for finding in compare({r["method"]: r for r in rows if r["k"] == k}, k)]
    lines = [
        f"Li & Turner 2016, {arguments.dataset}, one layer: test log p(x) in nats, ± standard error over {over}; "
        f"{run['num_samples']:,} samples per image, {epochs} epochs, seed {arguments.seed}.",
        *shortened(arguments.dataset, mode),
        "",
        *table,
        "",
        *papers.markdown(("finding of the paper", "in our run"), findings),
    ]
    papers.write_table(folder, lines, {"rows": rows, "findings": findings})
    plots.save(draw(rows, arguments, findings, mode), folder / "renyi.png")


def shortened(dataset, mode):
    """What the short mode omits, as a line of the table."""
    if mode == "full":
        return []
    cut = {
        "frey": f"{FOLDS['short']} folds of {FOLDS['full']}, {EPOCHS['frey']['short']} epochs, not "
        f"{EPOCHS['frey']['full']}; 500 samples, not 5,000",
        "mnist": f"{EPOCHS['mnist']['short']} epochs with batches of 100 and a learning rate decaying from 0.002, not "
        "3,280 with batches of 20; 500 test digits, not 10,000; 500 samples, not 5,000",
    }
    return [f"Short mode: {cut[dataset]}. The order may be right, the numbers are not."]


def compare(rows, k):
    """The findings of the paper, and whether our rows confirm them, as pairs of strings."""
    gain = {
        method: [a - b for a, b in zip(row["folds"], rows["VAE"]["folds"], strict=True)] for method, row in rows.items()
    }
    others = [method for method in rows if method != "VAE"]
    better = all(min(gain[method]) > 0 for method in others)
    apart = rows["VR-max"]["mean"] - rows["IWAE"]["mean"]
    smaller = abs(apart) < 0.5 * (rows["IWAE"]["mean"] - rows["VAE"]["mean"])
    return [
        (
            f"K = {k}: IWAE, α = 0.5 and VR-max above the VAE",
            f"{'holds' if better else 'does not hold'}: by "
            + ", ".join(f"{np.mean(gain[method]):+.2f} ({method})" for method in others),
        ),
        (
            f"K = {k}: VR-max almost indistinguishable from IWAE",
            f"{'holds' if smaller else 'does not hold'}: {apart:+.2f} nats apart",
        ),
    ]


def published(value):
    """A published mean, with its standard error if available."""
    if value is None:
        return "–"
    mean, error = value
    return f"{mean:.2f}" if error is None else f"{mean:.2f} ± {error:.2f}"


def draw(rows, arguments, findings, mode):
    """Plot one line per method: our mean and the published one, with standard errors."""
    holds = findings[0][1].startswith("holds")
    claim = "A tighter bound trains a better model" if holds else "Test likelihood by the bound"
    name = papers.NAMES[arguments.dataset] + ", short run" * (mode == "short")
    figure = new_figure(11, 2.6 + 0.75 * len(rows), f"{claim} ({name})")
    axes = figure.subplots()
    for index, (label, color, marker, offset) in enumerate(
        (("ours", COLORS[0], "o", -0.12), ("published", COLORS[2], "D", 0.12))
    ):
        points = [((row["mean"], row["error"]), row["published"])[index] for row in rows]
        at = [place + offset for place, point in enumerate(points) if point]
        means, errors = zip(*(point for point in points if point), strict=True)
        axes.errorbar(
            means,
            at,
            xerr=[error or 0.0 for error in errors],
            fmt=marker,
            color=color,
            markersize=10,
            capsize=5,
            linewidth=2.5,
            label=label + ", ± standard error" * any(errors),
        )
        for mean, place in zip(means, at, strict=True):
            axes.annotate(
                number(mean, 1),
                (mean, place),
                (0, -20 if index else 9),
                textcoords="offset points",
                ha="center",
                fontsize=TICK_SIZE,
            )
    axes.set_yticks(range(len(rows)), [f"{row['method']}, K = {row['k']}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.08)
    papers.dress(axes, "further right is better", "test log p(x), nats per image", "")
    axes.tick_params(axis="y", labelsize=LABEL_SIZE)
    figure.legend(loc="outside lower center", ncols=2, fontsize=LABEL_SIZE, frameon=False)
    return figure


if __name__ == "__main__":
    main()
