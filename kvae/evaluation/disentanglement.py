"""Scores of disentanglement: does each dimension of a code stand for one known factor of the data?

The definitions are those of the papers; sample sizes are smaller than in disentanglement_lib (Locatello et al. 2019,
https://github.com/google-research/disentanglement_lib), which draws new images for each score, where here the codes and
factors of a data set are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae import checks
from kvae.types import Array, ArrayLike

BINS = 20  # of a code in the estimates of mutual information, as in disentanglement_lib
MIN_ROWS = 100  # fewer would leave less than two examples for many values of a factor
MAX_ROWS = 5000  # for trees, whose scores change by about 0.01 with more
TEST_SHARE = 0.25  # of these, held out for the accuracies
TREES = 10  # per factor: importances average over the examples, so that more trees change them by less than 0.01
POINTS = 2000  # to train, and as many to test, the classifiers of a factor: a standard error of at most 0.011
PAIRS = 64  # examples per point, as in Kim & Mnih 2018 and in disentanglement_lib
ACTIVE = 1e-3  # share of the largest variance; the model does not use a dimension with less


def disentanglement(codes: ArrayLike, factors: ArrayLike, seed: int = 0) -> dict[str, float]:
    """Score how well the dimensions of a code separate known factors. All scores are between 0 and 1, the best.

    - `mig`, mutual information gap (Chen et al. 2018, eq. 6, https://arxiv.org/abs/1802.04942): the mean over factors v
      of (I(z_j; v) − I(z_k; v)) / H(v), for the two dimensions that know most of it, z_j and z_k. Codes are divided
      into 20 bins of equal width, so that a factor with more values stays below 1.
    - `beta_vae` (Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl): accuracy of a linear classifier that
      tells which factor two examples share, from |z − z'| averaged over 64 pairs.
    - `factor_vae` (Kim & Mnih 2018, https://arxiv.org/abs/1802.05983): accuracy of a majority vote on which factor 64
      examples share, from the dimension whose variance, relative to that over all examples, is lowest. Dimensions with
      less than 1/1000 of the largest variance are left out.
    - `dci` (Eastwood & Williams 2018, https://openreview.net/forum?id=By-7dz-AZ): disentanglement, 1 minus the entropy
      (to the base of the number of factors) of the factors that a dimension is important for in random forests,
      weighted by its importance. `dci_completeness` swaps dimensions and factors: is a factor in one dimension alone?
      `dci_informativeness` is the forests' accuracy on held-out examples.
    - `sap` (Kumar et al. 2018, https://arxiv.org/abs/1711.00848): the mean over factors of the gap between the two best
      dimensions' balanced accuracy, when thresholds on a dimension alone tell the factor's values apart. With V values,
      the gap cannot exceed about 1 − 1/V.
    - `modularity` (Ridgeway & Mozer 2018, https://arxiv.org/abs/1802.05312): the mean over dimensions of 1 minus the
      squared information on all factors but the best one, relative to that on the best and the number of others.
      Dimensions without information count 0. It says nothing of how much a code knows.

    What codes without any information reach depends on the score: `beta_vae` and `factor_vae` reach one in the number
    of factors, `dci_informativeness` the accuracy of guessing, and `modularity`, from the noise in the estimates, often
    more than one half.

    Args:
        codes: array `(n, d)`, such as `model.encode(data.x_train)`, with d at least 2 and n at least 100.
        factors: integers `(n, k)`, such as `data.factors`, with k at least 2.
        seed: int, of the draws of examples and of the forests; `None` for a random one.

    Returns:
        Dict from the names above to floats.

    Raises:
        ValueError: if the codes are not finite or have one dimension, if the factors are not integers, of another
            length, or constant, or if there are too few examples.

    Example:

    >>> factors = np.indices((4, 4, 20)).reshape(3, -1).T
    >>> codes = factors + 0.1 * np.random.default_rng(0).standard_normal((320, 3))
    >>> scores = kvae.evaluation.disentanglement(codes, factors)
    >>> round(scores["factor_vae"], 2), list(scores)
    (1.0, ['mig', 'beta_vae', 'factor_vae', 'dci', 'dci_completeness', 'dci_informativeness', 'sap', 'modularity'])
    """
    codes, factors = _checked(codes, factors)
    rng = np.random.default_rng(checks.seed(seed))
    information, entropies = _mutual_information(codes, factors)
    rows = rng.permutation(len(codes))[:MAX_ROWS]
    held_out = int(TEST_SHARE * len(rows))
    test, train = (factors[part] for part in (rows[:held_out], rows[held_out:]))
    split = codes[rows[held_out:]], train, codes[rows[:held_out]], test
    return {
        "mig": float(np.mean(_gaps(information) / entropies)),
        "beta_vae": _beta_vae(codes, factors, rng),
        "factor_vae": _factor_vae(codes, factors, rng),
        **_dci(*split, int(rng.integers(2**31))),
        "sap": float(np.mean(_gaps(_threshold_accuracy(*split)))),
        "modularity": _modularity(information),
    }


def _checked(codes: ArrayLike, factors: ArrayLike) -> tuple[Array, Array]:
    """Codes as float64 `(n, d)`, and factors as the indices of their values, `(n, k)` from 0 without gaps."""
    codes, factors = np.asarray(codes), np.asarray(factors)
    for values, name in ((codes, "codes"), (factors, "factors")):
        if values.ndim != 2 or values.shape[1] < 2:
            raise ValueError(
                f"`{name}` must have shape (n, {name[0]}) with at least two columns, because the scores compare them. "
                f"Received: shape {values.shape}"
            )
    codes = checks.array(codes, codes.shape[1:], "codes").astype("float64")
    checks.same_length(factors, len(codes), "factors")
    if factors.dtype.kind not in "iu":
        raise ValueError(
            f"`factors` must be integers, the index of each factor's value. Received: dtype {factors.dtype}"
        )
    if len(codes) < MIN_ROWS:
        raise ValueError(f"`codes` must contain at least {MIN_ROWS} examples. Received: {len(codes)}")
    constant = ", ".join(map(str, np.flatnonzero(np.ptp(factors, axis=0) == 0)))
    if constant:
        raise ValueError(
            f"`factors` must vary: drop the constant columns. Received: a single value in column {constant}"
        )
    return codes, np.column_stack([np.unique(column, return_inverse=True)[1] for column in factors.T])


def _mutual_information(codes, factors):
    """I(z_j; v_k) `(d, k)` of binned codes, and H(v_k) `(k,)`, nats."""
    from sklearn.metrics import mutual_info_score

    binned = [np.digitize(code, np.histogram_bin_edges(code, BINS)[1:-1]) for code in codes.T]
    information = np.array([[mutual_info_score(code, factor) for factor in factors.T] for code in binned])
    return information, np.array([mutual_info_score(factor, factor) for factor in factors.T])


def _gaps(scores):
    """Of each column of `scores` `(d, k)`, the largest value less the second largest, `(k,)`."""
    second, first = np.sort(scores, axis=0)[-2:]
    return first - second


def _modularity(information):
    squares = np.square(information)
    best = squares.max(axis=1)
    others = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    known = best > 0
    return float(np.mean(np.where(known, 1 - others / np.where(known, best, 1), 0)))


class _Groups:
    """The examples of each value of a factor `(n,)`."""

    def __init__(self, factor: Array) -> None:
        self.order = np.argsort(factor, kind="stable")
        self.counts = np.bincount(factor)
        self.starts = np.cumsum(self.counts) - self.counts

    def draw(self, values: Array, rng: np.random.Generator) -> Array:
        """Rows of examples with the given values of the factor, an array of the shape of `values`."""
        return self.order[self.starts[values] + (rng.random(values.shape) * self.counts[values]).astype(int)]


def _beta_vae(codes: Array, factors: Array, rng: np.random.Generator) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def draw() -> tuple[Array, Array]:
        shared = rng.integers(factors.shape[1], size=POINTS)
        distances = np.empty((POINTS, codes.shape[1]))
        for k, factor in enumerate(factors.T):
            first = rng.integers(len(codes), size=(np.sum(shared == k), PAIRS))
            second = _Groups(factor).draw(factor[first], rng)
            distances[shared == k] = np.abs(codes[first] - codes[second]).mean(axis=1)
        return distances, shared

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(*draw()).score(*draw()))


def _factor_vae(codes: Array, factors: Array, rng: np.random.Generator) -> float:
    variances = codes.var(axis=0, ddof=1)
    active = variances > ACTIVE * variances.max()
    if not active.any():
        return 0.0
    codes = codes[:, active] / np.sqrt(variances[active])

    def votes() -> Array:
        """How often each dimension varies least when each factor is shared, `(d, k)`."""
        table = np.zeros((codes.shape[1], factors.shape[1]))
        shared = rng.integers(factors.shape[1], size=POINTS)
        for k, factor in enumerate(factors.T):
            groups = _Groups(factor)
            value = rng.integers(len(groups.counts), size=(np.sum(shared == k), 1))
            drawn = codes[groups.draw(np.repeat(value, PAIRS, axis=1), rng)]
            table[:, k] = np.bincount(drawn.var(axis=1).argmin(axis=1), minlength=len(table))
        return table

    majority = votes().argmax(axis=1)
    test = votes()
    return float(test[np.arange(len(test)), majority].sum() / test.sum())


def _dci(x_train: Array, y_train: Array, x_test: Array, y_test: Array, seed: int) -> dict[str, float]:
    from sklearn.ensemble import RandomForestClassifier

    importances, accuracies = [], []
    for train, test in zip(y_train.T, y_test.T, strict=True):
        # Every split may use every dimension: with a random subset, a split without the right one uses a wrong one.
        forest = RandomForestClassifier(TREES, max_features=None, min_samples_leaf=3, random_state=seed)
        forest.fit(x_train, train)
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(x_test, test))
    matrix = np.array(importances).T  # (d, k)
    return {
        "dci": _concentration(matrix),
        "dci_completeness": _concentration(matrix.T),
        "dci_informativeness": float(np.mean(accuracies)),
    }


def _concentration(matrix):
    """1 minus the normalised entropy of each row of `matrix`, weighted by the sum of the row."""
    sums = matrix.sum(axis=1, keepdims=True)
    if not sums.any():
        return 0.0
    shares = matrix / np.where(sums, sums, 1)
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1)), axis=1) / np.log(matrix.shape[1])
    return float(np.average(1 - entropy, weights=sums[:, 0]))


def _threshold_accuracy(x_train: Array, y_train: Array, x_test: Array, y_test: Array) -> Any:
    """Balanced accuracy of thresholds on each dimension for each factor, `(d, k)`, on held-out examples."""
    from sklearn.tree import DecisionTreeClassifier

    def accuracy(code: Array, values: Array, test_code: Array, test_values: Array) -> float:
        # A tree on one dimension is a set of thresholds: one fewer than leaves, of which there is one per value.
        tree = DecisionTreeClassifier(max_leaf_nodes=values.max() + 1, class_weight="balanced", random_state=0)
        right = tree.fit(code[:, None], values).predict(test_code[:, None]) == test_values
        counts = np.bincount(test_values)
        return float(np.mean((np.bincount(test_values, right) / np.maximum(counts, 1))[counts > 0]))

    return np.array(
        [
            [accuracy(code, values, test_code, test) for values, test in zip(y_train.T, y_test.T, strict=True)]
            for code, test_code in zip(x_train.T, x_test.T, strict=True)
        ]
    )
