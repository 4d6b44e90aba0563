"""The scikit-learn estimators: scikit-learn's own checks, and what they compute."""

import functools
import io
import pickle
import random

import joblib
import keras
import numpy as np
import pandas as pd
import pytest
from cases import QUICKLY
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import kvae
from kvae.distributions import LEARNED_SPEED, Normal, Observed
from kvae.models.base import BaseModel
from kvae.sklearn import SemiSupervisedClassifier, VAEDensity, VAETransformer

pytestmark = [
    pytest.mark.backend_independent,
    pytest.mark.filterwarnings("ignore:Every label is known"),  # in most of scikit-learn's checks
]

TINY = {"latent_dim": 2, "hidden": (), "epochs": 1, "batch_size": 500}
NOT_ROWS = "rows are drawn into batches at random: one of weight 2 is not the same as two"
CHECKED = {
    VAETransformer(**TINY): {"check_sample_weight_equivalence_on_dense_data": NOT_ROWS},
    VAEDensity(**TINY, num_samples=4): {},  # has none of the methods that are compared for rows with weights
    SemiSupervisedClassifier(**{**TINY, "epochs": 3, "learning_rate": 0.3}): {
        "check_classifiers_classes": "-1 is one of its labels; sklearn.semi_supervised is excepted by name",
    },
}
FIRST, *OTHERS = CHECKED


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Train eagerly, except where the same seed must give the same bits: Keras shuffles eager batches by its own."""
    if "pipeline_consistency" in request.node.name:
        return
    monkeypatch.setattr(BaseModel, "compile", functools.partialmethod(BaseModel.compile, **QUICKLY))


@pytest.mark.long
@estimator_checks.parametrize_with_checks([FIRST], expected_failed_checks=CHECKED.get)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@estimator_checks.parametrize_with_checks(OTHERS, legacy=False)
def test_scikit_learns_checks_of_the_interface(estimator, check):
    check(estimator)


@pytest.mark.long
@estimator_checks.parametrize_with_checks(OTHERS, expected_failed_checks=CHECKED.get)
def test_scikit_learns_checks_of_the_others(estimator, check):
    check(estimator)


@pytest.mark.long
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_transformer_get_feature_names_out_pandas,
        estimator_checks.check_set_output_transform_pandas,
        estimator_checks.check_dataframe_column_names_consistency,
    ],
)
def test_checks_of_data_frames(check):
    check("VAETransformer", VAETransformer(**TINY))


@pytest.fixture(scope="module")
def iris():
    data = load_iris(as_frame=True)
    return StandardScaler().set_output(transform="pandas").fit_transform(data.data), data.target_names[data.target]


def of_global_seeds():
    return random.random(), np.random.rand(), keras.ops.convert_to_numpy(keras.random.normal((2,))).tolist()  # noqa: NPY002


def test_an_int_fixes_all_and_changes_no_global_seed(iris):
    keras.utils.set_random_seed(1)
    expected = of_global_seeds()
    keras.utils.set_random_seed(1)
    first = VAEDensity(**TINY, random_state=3).fit(iris[0])
    assert of_global_seeds() == expected
    again = VAEDensity(**TINY, random_state=3).fit(iris[0])
    other = VAEDensity(**TINY, random_state=4).fit(iris[0])
    np.testing.assert_allclose(first.score_samples(iris[0]), again.score_samples(iris[0]), rtol=1e-4)
    assert not np.allclose(first.score_samples(iris[0]), other.score_samples(iris[0]))
    np.testing.assert_allclose(first.sample(3, random_state=5), again.sample(3, random_state=5), atol=1e-4)
    assert not np.array_equal(first.sample(3), first.sample(3))


@pytest.mark.long
def test_a_row_has_the_same_bits_in_every_place(iris, rng):
    X, y = np.tile(iris[0], (8, 1)), np.tile(iris[1], 8)  # more rows than are computed at once
    order, few = rng.permutation(len(X)), slice(7, 20)
    transformer, density = VAETransformer(**TINY).fit(X), VAEDensity(**TINY, num_samples=4).fit(X)
    codes = transformer.transform(X)
    classifier = SemiSupervisedClassifier(**TINY).fit(X, y)
    methods = [transformer.transform, density.score_samples, classifier.predict_proba]
    for method, rows in [*((method, X) for method in methods), (transformer.inverse_transform, codes)]:
        values = method(rows)
        np.testing.assert_array_equal(method(rows[order]), values[order])
        np.testing.assert_array_equal(method(rows[few]), values[few])


@pytest.mark.long
def test_values_survive_pickle_and_joblib(iris):
    X, y = iris
    for estimator in (VAETransformer(**TINY, likelihood=Normal("per_element")), SemiSupervisedClassifier(**TINY)):
        estimator.fit(X, y)
        method = "transform" if hasattr(estimator, "transform") else "predict_proba"
        expected = getattr(estimator, method)(X)
        file = io.BytesIO()
        joblib.dump(estimator, file)
        file.seek(0)
        for copy in (pickle.loads(pickle.dumps(estimator)), joblib.load(file)):
            np.testing.assert_array_equal(getattr(copy, method)(X), expected)
            assert type(copy.model_) is type(estimator.model_)


@pytest.mark.long
def test_a_pipeline_is_searched_and_decodes_to_units(iris):
    X = load_iris(as_frame=True).data
    likelihoods = [Normal("per_element"), "laplace"]
    pipeline = make_pipeline(StandardScaler(), VAEDensity(**TINY, num_samples=4, random_state=0))
    search = GridSearchCV(pipeline, {"vaedensity__likelihood": likelihoods}, cv=2, error_score="raise").fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert not likelihoods[0].weights  # a copy was trained
    codes = make_pipeline(StandardScaler(), VAETransformer(**TINY)).set_output(transform="pandas").fit(X)
    frame = codes.transform(X)
    assert list(frame) == ["vaetransformer0", "vaetransformer1"]
    assert frame.index.equals(X.index)
    scaler, model = codes[0], codes[1].model_
    reconstruction = scaler.inverse_transform(model.reconstruct(scaler.transform(X).to_numpy()))
    np.testing.assert_allclose(codes.inverse_transform(frame), reconstruction, rtol=1e-5)


@pytest.fixture(scope="module")
def linear():
    """A density that is known: x = W z + b + σ_j noise, with the true posterior as its encoder."""
    w, b, sigma = np.array([[1.0, -2.0, 0.5]]), np.ones(3), np.array([0.5, 1.0, 2.0])
    x = np.random.default_rng(0).normal(1, 2, (20, 3))
    settings = {"latent_dim": 1, "hidden": (), "epochs": 1, "batch_size": 20, "num_samples": 3}
    estimator = VAEDensity(**settings, likelihood=Normal("per_element"), random_state=0).fit(x)
    model = estimator.model_
    model.likelihood.slow_log_var.assign(2 * np.log(sigma) / LEARNED_SPEED)
    model.decoder.set_weights([w, b])
    precision = 1 + np.sum((w / sigma) ** 2)
    gain = (w / sigma**2).T / precision
    model.encoder.set_weights([np.hstack([gain, 0 * gain]), np.array([-gain.sum(), -np.log(precision)])])
    return estimator, stats.multivariate_normal(b, w.T @ w + np.diag(sigma**2)), x


def test_a_known_density(linear):
    estimator, exact, x = linear
    np.testing.assert_allclose(estimator.score_samples(x), exact.logpdf(x), rtol=1e-4)
    assert estimator.score(x) == pytest.approx(exact.logpdf(x).mean(), rel=1e-4)


def test_samples_of_a_known_density(linear):
    estimator, exact, _ = linear
    x = estimator.sample(4000, random_state=0)
    np.testing.assert_allclose(x.mean(axis=0), exact.mean, atol=0.12)
    np.testing.assert_allclose(np.cov(x.T), exact.cov, atol=0.35)


@pytest.mark.long
def test_the_estimate_is_importance_weighted(iris):
    """With samples of a posterior that is not the true one, against the library's own estimate."""
    estimator = VAEDensity(**TINY, num_samples=2000, random_state=0).fit(iris[0])
    expected = kvae.evaluation.log_likelihood(estimator.model_, iris[0].to_numpy("float32"), num_samples=2000, seed=0)
    np.testing.assert_allclose(estimator.score(iris[0]), expected.mean, atol=0.1)
    bound = estimator.model_.elbo(iris[0].to_numpy("float32"), num_samples=100, seed=0).mean()
    assert estimator.score(iris[0]) > bound + 0.2


@pytest.mark.parametrize("dtype", [object, "category"])
def test_text_labels_of_which_few_are_known(iris, dtype):
    X, y = iris
    few = pd.Series(np.full(len(y), -1, object)).where(np.arange(len(y)) % 10 > 0, y).astype(dtype)
    settings = {**TINY, "epochs": 4, "learning_rate": 0.3, "alpha": 100.0, "random_state": 0}
    estimator = SemiSupervisedClassifier(**settings).fit(X, few)
    np.testing.assert_array_equal(estimator.classes_, np.unique(y))
    assert estimator.score(X, y) > 0.8
    assert estimator.predict_proba(X).shape == (len(X), 3)


def test_rows_without_a_label_are_learned_from(iris):
    X, y = iris[0], np.where(np.arange(150) % 10 > 0, -1, np.arange(150) // 50)
    settings = {**TINY, "random_state": 0}
    model = SemiSupervisedClassifier(**settings).fit(X, y).model_
    only_labelled = SemiSupervisedClassifier(**settings).fit(X[y >= 0], y[y >= 0]).model_
    one, other = (keras.ops.convert_to_numpy(each.encoder.weights[0]) for each in (model, only_labelled))
    assert not np.allclose(one, other)


def test_missing_values(iris):
    X = iris[0].mask(np.random.default_rng(0).random(iris[0].shape) < 0.2).dropna(how="all")
    likelihood = Observed(Normal("learned"))
    for estimator in (VAETransformer(**TINY, likelihood=likelihood), VAEDensity(**TINY, likelihood=likelihood)):
        fitted = clone(estimator).fit(X)
        values = fitted.transform(X) if hasattr(fitted, "transform") else fitted.score_samples(X)
        assert np.isfinite(values).all()
    with pytest.raises(ValueError, match="contains NaN"):
        VAETransformer(**TINY).fit(X)
    with pytest.raises(ValueError, match="contains NaN"):
        SemiSupervisedClassifier(**TINY, likelihood=likelihood).fit(X, np.arange(len(X)) % 2)


def test_weights_multiply(iris):
    loss, one, other = (
        VAETransformer(**TINY, random_state=0).fit(iris[0], sample_weight=weights).history_["loss"][0]
        for weights in (None, np.repeat([1, 0], 75), np.repeat([0, 1], 75))
    )
    assert one + other == pytest.approx(loss, rel=1e-4)
    assert min(one, other) > 0


@pytest.mark.parametrize(
    ("estimator", "y", "message"),
    [
        (VAETransformer(epochs=0), None, "`epochs` must be an integer of at least 1"),
        (VAETransformer(batch_size=0), None, "`batch_size` must be"),
        (VAETransformer(learning_rate=-1), None, "`learning_rate` must be"),
        (VAETransformer(likelihood="gauss"), None, "`likelihood` must be one of"),
        (VAETransformer(likelihood="bernoulli"), None, r"\[0, 1\]"),
        (SemiSupervisedClassifier(), np.full(150, -1), "at least 2 classes.* Received: 0 classes"),
        (SemiSupervisedClassifier(), np.repeat(["a", "b", "-1"], 50), "must have dtype object"),
    ],
)
def test_errors_say_what_is_wrong(iris, estimator, y, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(iris[0], y)
    assert not hasattr(estimator, "model_")
