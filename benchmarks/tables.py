"""Tables with missing cells: VAEs with a `Mixed` likelihood beside a Gaussian mixture and scikit-learn's imputers.

    python benchmarks/tables.py                # breast cancer, diabetes, wine and statistics of digits: five splits
    python benchmarks/tables.py wine --short   # one split and few epochs, in seconds

Of each table, 64% of the rows train, 16% are for validation and 20% for the test. Of all of them, 20% of the cells are
missing completely at random, a category as a whole. Numbers are means ± standard errors over the splits:

- log p: nats per row of what was observed of the test rows. Of the VAE, by importance sampling with 1,000 samples. Of
  the mixture, exact: the components of a Gaussian mixture with full covariances that scikit-learn fits to the real
  columns of the training rows, whose gaps an IterativeImputer fills, each multiplied by the frequencies of categories
  and binary columns, and the Poisson mean of counts, that its share of the training rows has. Its number of components,
  from 1 to 6, is that of the lowest BIC; what is added to the variances is chosen on the validation rows.
- NRMSE: the root of the mean square error of missing reals and counts, in standard deviations of their columns.
- errors: the share of missing categories and binary cells that are filled in with another value.

A VAE has one of the `SETTINGS`, by its bound on the validation rows, on which its training also stops. scikit-learn's
imputers see one-hot vectors, and counts on the scale of the reals; the largest number is the category.
"""

import argparse
from pathlib import Path

import kvae
from kvae.distributions import Mixed, Observed

import keras
import numpy as np
from scipy import special, stats
from sklearn import datasets
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.mixture import GaussianMixture

from few_labels import mean_and_error
from papers import arguments_of, kept, markdown

TABLES = ("breast_cancer", "diabetes", "wine", "digits")
MISSING = 0.2
SETTINGS = [  # latent dimensions and hidden units
    {"latent": 2, "hidden": [32]},
    {"latent": 5, "hidden": [32]},
    {"latent": 8, "hidden": [64, 64]},
]
VARIANCES = (1e-6, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)  # added to those of the mixture
IMPUTERS = {
    "IterativeImputer": lambda: IterativeImputer(max_iter=20, random_state=0),
    "KNNImputer": KNNImputer,
    "mean, commonest": SimpleImputer,
}


def table(name):
    """Names and kinds of the columns, as for `Mixed`, and the rows."""
    if name == "digits":
        return _digits()
    data = getattr(datasets, f"load_{name}")()
    columns = dict.fromkeys(map(str, data.feature_names), "gaussian")
    x = data.data.astype("float64")
    if name == "diabetes":  # columns are scaled there; that of the sex has two values
        columns["sex"] = "bernoulli"
        x[:, 1] = x[:, 1] > 0
    return columns, x


def _digits():
    """Ink, centre, spread, and dark pixels of digits, whether they are symmetric, and their class."""
    digits = datasets.load_digits()
    images = digits.images / 16
    ink = images.sum(axis=(1, 2))
    places = np.arange(8)
    column, row = (np.sum(images.sum(axis=axis) * places, axis=1) / ink for axis in (1, 2))
    offsets = (places - row[:, None])[:, :, None] ** 2 + (places - column[:, None])[:, None, :] ** 2
    spread = np.sqrt(np.sum(images * offsets, axis=(1, 2)) / ink)
    unlike = np.abs(images - images[:, :, ::-1]).sum(axis=(1, 2)) / ink
    columns = {
        **dict.fromkeys(("ink", "column", "row", "spread"), "gaussian"),
        "symmetric": "bernoulli",
        "class": 10,
        "dark": "poisson",
        "blank": "poisson",
    }
    counts = [(images > 0.5).sum(axis=(1, 2)), (images == 0).sum(axis=(1, 2))]
    kinds = [unlike < np.median(unlike), np.eye(10)[digits.target]]
    return columns, np.column_stack([ink, column, row, spread, *kinds, *counts])


class Split:
    """The parts of a table, complete and with gaps, and the places of each kind of columns."""

    def __init__(self, name, seed, rows=None):
        self.columns, x = table(name)
        rng = np.random.default_rng(seed)
        x = x[rng.permutation(len(x))][:rows]
        first, second = int(0.64 * len(x)), int(0.8 * len(x))
        self.places = Mixed(self.columns).places
        kinds = self.columns.items()
        self.reals = [self.places[key] for key, kind in kinds if kind == "gaussian"]
        self.counts = [self.places[key] for key, kind in kinds if kind == "poisson"]
        self.binary = [self.places[key] for key, kind in kinds if kind == "bernoulli"]
        self.categories = [self.places[key] for key, kind in kinds if isinstance(kind, int)]
        x[:, self.reals] = (x[:, self.reals] - x[:first, self.reals].mean(axis=0)) / x[:first, self.reals].std(axis=0)
        with_gaps = x.copy()
        gaps = rng.random((len(x), len(self.columns))) < MISSING
        gaps[gaps.all(axis=1), 0] = False
        for gap, place in zip(gaps.T, self.places.values(), strict=True):
            with_gaps[gap, place] = np.nan
        self.complete = np.split(x, [first, second])
        self.train, self.validation, self.test = np.split(with_gaps, [first, second])

    def scaled(self, x):
        """Rows whose counts are on the scale of the reals."""
        x = x.copy()
        for place in self.counts:
            mean, std = np.nanmean(self.train[:, place]), np.nanstd(self.train[:, place])
            x[:, place] = (x[:, place] - mean) / std
        return x

    def errors(self, filled):
        """NRMSE, and the share of wrong categories, of test rows whose counts are on the scale of the reals."""
        true, gap = self.scaled(self.complete[2]), np.isnan(self.test)
        numbers = [*self.reals, *self.counts]
        squares = np.square(filled - true)[:, numbers][gap[:, numbers]]
        wrong = [((filled > 0.5) != true)[:, self.binary][gap[:, self.binary]]]
        for place in self.categories:
            of = gap[:, place.start]
            wrong.append(filled[of, place].argmax(axis=1) != true[of, place].argmax(axis=1))
        wrong = np.concatenate(wrong)
        return {
            "nrmse": float(np.sqrt(squares.mean())),
            "errors": float(wrong.mean()) if len(wrong) else None,
        }


def vae(split, setting, seed, short):
    """A trained model and its validation loss."""
    keras.utils.set_random_seed(seed)
    likelihood = Observed(Mixed(split.columns))
    size = split.train.shape[1]
    pair = kvae.networks.mlp((size,), setting["latent"], setting["hidden"], likelihood=likelihood)
    model = kvae.VAE(*pair, likelihood, bound="importance_weighted", num_samples=10, seed=seed)
    model.compile(keras.optimizers.Adam(2e-3))
    stop = keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    model.fit(
        np.tile(split.train, (5, 1)),  # five passes an epoch: tables are small
        batch_size=64,
        epochs=5 if short else 500,
        validation_data=(np.tile(split.validation, (5, 1)),),
        validation_batch_size=1000,
        callbacks=[stop],
        verbose=0,
    )
    return model, float(min(model.history.history["val_loss"]))


class ComponentsOfAllKinds:
    """A Gaussian mixture of the real columns, whose components have frequencies of the others as well."""

    def __init__(self, split, filled, added):
        reals = filled[:, split.reals]
        fits = [GaussianMixture(k, reg_covar=added, n_init=3, random_state=0).fit(reals) for k in range(1, 7)]
        self.split, self.mixture = split, min(fits, key=lambda fit: fit.bic(reals))
        share = self.mixture.predict_proba(reals)  # (n, components)
        self.means = {}
        for place in split.places.values():
            if place not in split.reals:
                cells = split.train[:, np.r_[place]]
                known = ~np.isnan(cells[:, 0])
                levels = cells.shape[1]
                prior = np.nanmean(cells, axis=0)  # one row of the average, so that no frequency is 0
                sums = share[known].T @ cells[known] + prior
                self.means[place if levels == 1 else place.start] = sums / (share[known].sum(axis=0)[:, None] + 1)

    def log_prob(self, x):
        """log p of what was observed of rows `(n, size)`."""
        mixture, split = self.mixture, self.split
        log_p = np.tile(np.log(mixture.weights_), (len(x), 1))
        reals = x[:, split.reals]
        for row, own in zip(reals, log_p, strict=True):
            known = ~np.isnan(row)
            for k, (mean, cov) in enumerate(zip(mixture.means_, mixture.covariances_, strict=True)):
                if known.any():
                    own[k] += stats.multivariate_normal.logpdf(row[known], mean[known], cov[np.ix_(known, known)])
        for place in (*split.binary, *split.counts):
            value, mean = x[:, [place]], self.means[place][:, 0]
            mass = stats.bernoulli if place in split.binary else stats.poisson
            log_p += np.where(np.isnan(value), 0, mass.logpmf(np.nan_to_num(value), mean))
        for place in split.categories:
            log_p += np.nan_to_num(x[:, place]) @ np.log(self.means[place.start]).T
        return special.logsumexp(log_p, axis=1)


def run(name, seed, short):
    """All numbers of one split."""
    split = Split(name, seed, 150 if short else None)
    tried = [vae(split, setting, seed, short) for setting in (SETTINGS[:1] if short else SETTINGS)]
    best = int(np.argmin([loss for _, loss in tried]))
    model = tried[best][0]
    found = kvae.evaluation.log_likelihood(model, split.test, num_samples=50 if short else 1000, seed=0)
    filled = kvae.evaluation.impute(model, split.test, num_samples=50 if short else 1000, seed=0)
    numbers = {"VAE": {"log_p": found.mean, "error": found.standard_error, **split.errors(split.scaled(filled))}}
    complete = IMPUTERS["IterativeImputer"]().fit_transform(split.scaled(split.train))
    mixtures = [ComponentsOfAllKinds(split, complete, added) for added in (VARIANCES[2:3] if short else VARIANCES)]
    mixture = max(mixtures, key=lambda mixture: mixture.log_prob(split.validation).mean())
    numbers["mixture"] = {"log_p": float(mixture.log_prob(split.test).mean()), "nrmse": None, "errors": None}
    for imputer, make in IMPUTERS.items():
        filled = make().fit(split.scaled(split.train)).transform(split.scaled(split.test))
        numbers[imputer] = {"log_p": None, **split.errors(filled)}
    components, added = mixture.mixture.n_components, mixture.mixture.reg_covar
    chosen = {"setting": best, "losses": [loss for _, loss in tried], "components": components, "added": added}
    return {"numbers": numbers, **chosen}


def main():
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=list(TABLES))
    parser.add_argument("--splits", type=int, default=5)
    given = arguments_of(parser)
    folder = given.out or Path("runs") / f"tables{'-short' if given.short else ''}"
    rows = []
    for name in given.tables:
        seeds = range(1 if given.short else given.splits)
        settings = [{"name": name, "seed": seed, "short": given.short} for seed in seeds]
        results = [kept(folder / f"{name}-{each['seed']}.json", each, run) for each in settings]
        for method in results[0]["numbers"]:
            cells = []
            for key in ("log_p", "nrmse", "errors"):
                values = [result["numbers"][method][key] for result in results]
                cells.append("" if values[0] is None else mean_and_error(values))
            rows.append((name, method, *cells))
        chosen = ", ".join(f"{SETTINGS[r['setting']]}, {r['components']} components, {r['added']:g}" for r in results)
        print(f"{name}: chosen on the validation rows {chosen}", flush=True)
    print("\n".join(markdown(("table", "method", "log p", "NRMSE", "errors"), rows)))


if __name__ == "__main__":
    main()
