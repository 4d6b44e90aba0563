"""Tables of several kinds of columns: their likelihood against SciPy, and data frames in and out."""

import keras
import numpy as np
import pandas as pd
import pytest
from cases import QUICKLY
from keras import ops
from scipy import stats
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler

import kvae
from kvae.data import to_array, to_frame
from kvae.distributions import Categorical, Joint, Mixed, NegativeBinomial, Normal, Observed

N = 60
NAN = np.nan
COLUMNS = {"age": "gaussian", "height": "gaussian", "city": 3, "smoker": "bernoulli", "visits": "negative_binomial"}
PLACES = {"age": 0, "height": 1, "city": slice(2, 5), "smoker": 5, "visits": 6}
FAMILIES = {"counts": "negative_binomial"}
ROW = [0.5, -1.0, 0, 1, 0, 1, 4]


def transformer():
    return ColumnTransformer(
        [
            ("reals", StandardScaler(), ["age", "height"]),
            ("city", OneHotEncoder(), ["city"]),
            ("smoker", OrdinalEncoder(), ["smoker"]),
            ("counts", "passthrough", ["visits"]),
        ]
    )


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "city": rng.choice(["Bonn", "Kiel", "Ulm"], N),
            "age": rng.integers(18, 90, N),
            "smoker": pd.Categorical(rng.choice(["no", "yes"], N)),
            "height": rng.normal(170, 10, N),
            "visits": rng.poisson(3, N),
        }
    )


@pytest.fixture(scope="module")
def gaps(frame):
    rng = np.random.default_rng(1)
    return frame.apply(lambda column: column.mask(rng.random(N) < 0.2))


@pytest.fixture(scope="module")
def fitted(frame):
    return transformer().fit(frame)


@pytest.fixture(scope="module")
def model(gaps, fitted):
    """A model of the table, whose decoder ignores the code once its kernel is 0: p(x|z) is then known."""
    keras.utils.set_random_seed(0)
    likelihood = Observed(Mixed.from_transformer(fitted, FAMILIES))
    model = kvae.VAE(*kvae.networks.mlp((7,), 2, (8,), likelihood=likelihood), likelihood, seed=0)
    model.compile(keras.optimizers.Adam(1e-2), **QUICKLY)
    model.fit(to_array(gaps, fitted), epochs=3, verbose=0)
    kernel, bias = model.decoder.get_layer("likelihood").get_weights()
    model.decoder.get_layer("likelihood").set_weights([0 * kernel, bias])
    return model


def log_probs(model, x):
    """log p of each column of complete rows, by SciPy."""
    family = model.likelihood.family
    a = model.decoder.get_layer("likelihood").get_weights()[1].astype("float64")
    sigma = np.exp(0.5 * np.asarray(ops.convert_to_numpy(family.parts[0].log_var)))
    alpha = np.exp(float(ops.convert_to_numpy(family.parts[3].log_dispersion)[0]))
    p = np.exp(a[2:5]) / np.exp(a[2:5]).sum()
    return {
        "age": stats.norm.logpdf(x[:, 0], a[0], sigma[0]),
        "height": stats.norm.logpdf(x[:, 1], a[1], sigma[1]),
        "city": np.log(p[x[:, 2:5].argmax(axis=1)]),
        "smoker": stats.bernoulli.logpmf(x[:, 5], 1 / (1 + np.exp(-a[5]))),
        "visits": stats.nbinom.logpmf(x[:, 6], 1 / alpha, 1 / (1 + alpha * np.exp(a[6]))),
    }


@pytest.mark.long
def test_the_density_of_each_column_is_scipys(model, frame, gaps, fitted, without_graphs):
    x = to_array(frame, fitted)
    sigma = ops.convert_to_numpy(model.likelihood.family.parts[0].log_var)
    assert sigma[0] != sigma[1]
    expected = log_probs(model, x)
    scores = kvae.applications.column_scores(model, x, num_samples=3)
    assert list(scores) == list(COLUMNS)
    for name, score in scores.items():
        np.testing.assert_allclose(score, -expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    estimate = kvae.evaluation.log_likelihood(model, x, num_samples=3, seed=0)
    reconstruction, _ = model.elbo_terms(x, seed=0)
    np.testing.assert_allclose(reconstruction, sum(expected.values()), rtol=1e-4)
    assert np.isfinite(estimate.mean + estimate.standard_error)
    missing = kvae.applications.column_scores(model, to_array(gaps, fitted), num_samples=3)
    np.testing.assert_array_equal(pd.DataFrame(missing).isna(), gaps[list(COLUMNS)].isna())
    for name, score in missing.items():
        np.testing.assert_allclose(score, np.where(gaps[name].isna(), NAN, scores[name]), rtol=1e-5, err_msg=name)


def test_columns_with_a_sigma_each_are_factor_analysis():
    """log p(x) of x = W z + b + σ_j noise is that of N(b, W Wᵀ + diag σ²)."""
    w, sigma = np.array([[1.0, -2.0, 0.5]]), np.array([0.5, 1.0, 2.0])
    likelihood = Mixed(dict.fromkeys("abc", "gaussian"))
    model = kvae.VAE(*kvae.networks.mlp((3,), 1, (), likelihood=likelihood), likelihood, seed=0)
    likelihood.parts[0].slow_log_var.assign(2 * np.log(sigma) / kvae.distributions.LEARNED_SPEED)
    model.decoder.set_weights([w, np.ones(3)])
    precision = 1 + np.sum((w / sigma) ** 2)
    gain = (w / sigma**2).T / precision
    model.encoder.set_weights([np.hstack([gain, 0 * gain]), np.array([-gain.sum(), -np.log(precision)])])
    x = np.random.default_rng(0).normal(1, 2, (20, 3))
    exact = stats.multivariate_normal.logpdf(x, np.ones(3), w.T @ w + np.diag(sigma**2))
    found = kvae.evaluation.log_likelihood(model, x, num_samples=2, seed=0)  # exact: the posterior is the true one
    np.testing.assert_allclose(found.values, exact, rtol=1e-4, atol=1e-3)


@pytest.mark.backend_independent  # the contract draws a few on each
def test_generated_rows_are_draws(model, frame, fitted):
    x = model.generate(4000, seed=0)
    np.testing.assert_array_equal(x, model.generate(4000, seed=0))
    family, a = model.likelihood.family, model.decoder.get_layer("likelihood").get_weights()[1]
    family.check(x, "x")
    p = np.exp(a[2:5]) / np.exp(a[2:5]).sum()
    np.testing.assert_allclose(x[:, 2:5].mean(axis=0), p, atol=0.035)
    sigma = np.exp(0.5 * ops.convert_to_numpy(family.parts[0].log_var))
    np.testing.assert_allclose(x[:, :2].std(axis=0), sigma, rtol=0.06)
    table = to_frame(x, fitted, frame)
    assert table.dtypes.equals(frame.dtypes)
    assert list(table) == list(frame)
    assert set(table["city"]) == {"Bonn", "Kiel", "Ulm"}
    assert not np.array_equal(model.generate(4), model.generate(4))
    means = model.decode(model.sample_prior(2, seed=0))
    assert 0 < means[0, 2] < 1


@pytest.mark.long
@pytest.mark.backend_independent
def test_every_model_generates_draws():
    likelihood = Mixed(COLUMNS)
    rows = {"num_classes": 3, "likelihood": likelihood}
    conditional = kvae.CVAE(*kvae.networks.mlp((7,), 2, (4,), **rows), **rows, seed=0)
    networks = kvae.networks.auxiliary((7,), 2, 3, hidden=(4,), skip=True, likelihood=likelihood)
    for model in (conditional, kvae.AuxiliaryVAE(*networks, **rows, seed=0)):
        x = model.generate(labels=[0, 1, 2], seed=0)
        likelihood.check(x, "x")
        np.testing.assert_array_equal(x, model.generate(labels=[0, 1, 2], seed=0))


def test_frames_come_back(frame, gaps, fitted):
    for table, tool in ((frame, fitted), (gaps, fitted), (gaps, transformer().fit(gaps))):
        x = to_array(table, tool)
        assert x.shape == (N, 7)  # without a category for missing values
        pd.testing.assert_frame_equal(to_frame(x, tool, table), table, rtol=1e-5)
    complete = to_frame(to_array(gaps, fitted), fitted, frame)  # whole numbers have no NaN in NumPy
    assert complete["age"].dtype == "float64"
    assert complete["visits"].isna().sum() == gaps["visits"].isna().sum() > 0


def test_other_dtypes_and_steps_come_back():
    table = pd.DataFrame(
        {
            "odd": ["a", "b", None, "a"],
            "member": [True, NAN, False, True],
            "whole": pd.array([3, None, 0, 7], "Int64"),
            "left out": [1, 2, 3, 4],
            "income": [1e3, 2e4, NAN, 5e5],
            "level": [2.5, 1.0, 2.5, 4.0],
            "kind": [2, 1, 1, 3],
        }
    )
    commonest, logarithm = (
        SimpleImputer(strategy="most_frequent"),
        FunctionTransformer(np.log1p, np.expm1, check_inverse=False),
    )
    tool = ColumnTransformer(
        [
            ("label", make_pipeline(commonest, OneHotEncoder()), make_column_selector("odd")),
            ("log", make_pipeline(logarithm, SimpleImputer(), StandardScaler()), [4]),
            ("power", PowerTransformer(), slice("level", "level")),
            ("dropped", "drop", ["left out"]),
            ("kind", OneHotEncoder(), [False] * 6 + [True]),
        ],
        remainder="passthrough",
        sparse_threshold=1.0,
    ).fit(table.assign(whole=[3, 2, 0, 7], odd=["a", "b", "b", "a"]))
    likelihood = Mixed.from_transformer(tool, {"remainder": "poisson", "power": "laplace"})
    assert likelihood.places == {
        "odd": slice(0, 2), "income": 2, "level": 3, "kind": slice(4, 7), "member": 7, "whole": 8,
    }  # fmt: skip
    x = to_array(table, tool)
    np.testing.assert_array_equal(np.isnan(x).sum(axis=0), [1, 1, 1, 0, 0, 0, 0, 1, 1])
    back = to_frame(x, tool, table)
    pd.testing.assert_frame_equal(back, table.drop(columns="left out"), rtol=1e-5)
    assert back["member"][0] is True


def test_arrays_come_back():
    table = np.array([[1.5, 0, 7], [2.5, 1, 0], [0.5, NAN, 3]])
    tool = ColumnTransformer(
        [("kind", OneHotEncoder(), [1]), ("visits", "passthrough", [2]), ("reals", StandardScaler(), [0])]
    ).fit(table)
    x = to_array(table, tool)
    assert Mixed.from_transformer(tool, {"visits": "poisson"}).places == {"x1": slice(0, 2), "x2": 2, "x0": 3}
    np.testing.assert_array_equal(x[:, :3], [[1, 0, 7], [0, 1, 0], [NAN, NAN, 3]])
    np.testing.assert_allclose(to_frame(x, tool, table), table, rtol=1e-6)
    whole = np.array([[1], [3]])
    tool = ColumnTransformer([("reals", StandardScaler(), [0])]).fit(whole)
    np.testing.assert_array_equal(to_frame([[NAN], [0.6]], tool, whole), [[NAN], [3]])
    assert to_frame([[0.6]], tool, whole).dtype == whole.dtype


def test_means_are_read_as_the_most_probable_row(frame, fitted):
    row = to_frame([[0.0, 0.0, 0.2, 0.35, 0.45, 0.4, 2.6]], fitted, frame).iloc[0]
    assert row[["city", "smoker", "visits", "age"]].tolist() == ["Ulm", "no", 3, round(frame["age"].mean())]
    assert row["height"] == pytest.approx(frame["height"].mean())
    cents = frame.assign(height=frame["height"].round(2))  # as many decimals as there are in the table
    assert to_frame([[0.0, 0.0, 0, 1, 0, 0, 1]], fitted, cents)["height"][0] == round(row["height"], 2)


def test_imputed_rows_are_rows_of_the_table(model, frame, gaps, fitted, without_graphs):
    filled = kvae.evaluation.impute(model, to_array(gaps, fitted), num_draws=2, num_samples=5, seed=0)
    for x in filled:
        table = to_frame(x, fitted, frame)
        assert table.dtypes.equals(frame.dtypes)
        known = gaps.notna()
        pd.testing.assert_frame_equal(table.where(known), gaps.where(known), rtol=1e-5, check_dtype=False)


def test_families_of_ones_own_are_saved():
    shared = NegativeBinomial()
    columns = {"a": Normal(0.1), "b": Normal(0.1), "c": shared, "d": shared, "e": 2, "f": 2}
    likelihood = Mixed(columns)
    assert likelihood.names == [["a"], ["b"], ["c", "d"], ["e"], ["f"]]
    again = Mixed.from_config(likelihood.get_config())
    assert again.get_config() == likelihood.get_config()
    assert again.places == likelihood.places
    assert isinstance(again.parts[0], Normal)


def changed(**cells):
    """Two rows; the second has other values in the given columns."""
    rows = np.array([ROW, ROW])
    for name, value in cells.items():
        rows[1, PLACES[name]] = value
    return rows


WRONG_ROWS = {
    "fraction": (changed(visits=0.5), r"`x\['visits'\]` must hold counts.*Received: 0.5 of example 1"),
    "negative": (changed(visits=-1), r"`x\['visits'\]` must hold counts.*Received: -1 of example 1"),
    "two": (changed(smoker=2), r"`x\['smoker'\]` must hold 0 and 1, .*Received: 2 in example 1"),
    "no category": (changed(city=0), r"`x\['city'\]` must hold one-hot vectors .*sum 0, .* in example 1"),
    "two categories": (changed(city=[1, 1, 0]), r"`x\['city'\]` must hold one-hot .*sum 2, .* in example 1"),
    "probabilities": (changed(city=[0.5, 0.5, 0]), r"`x\['city'\]` must hold one-hot .*Received: 0.5 in example 1"),
    "huge": (changed(height=1e20), r"`x\['height'\]` must hold values of magnitude at most"),
    "half a category": (changed(city=[NAN, 0, 1]), r"`x\['city'\]` must be missing as a whole.*in example 1"),
    "nothing": (changed(**dict.fromkeys(COLUMNS, NAN)), r"at least one observed value .*Received: 1 of 2 .*index 1"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_wrong_rows_are_refused_by_the_name_of_the_column(name, model):
    x, message = WRONG_ROWS[name]
    with pytest.raises(ValueError, match=f"^.*{message}"):
        model.elbo(x)
    if np.isnan(x).any():
        return
    with pytest.raises(ValueError, match=message):
        model.likelihood.family.check(x, "x")
    x[0, 1:] = NAN  # what is missing is not taken for what is wrong
    with pytest.raises(ValueError, match=message):
        model.elbo(x)


@pytest.mark.parametrize(("column", "cells"), [("height", np.inf), ("city", [0, 1, -np.inf])])
def test_infinity_is_refused_by_the_name_of_the_column(column, cells, model):
    with pytest.raises(ValueError, match=f"`x` must be finite: .*, the first at index 1, column '{column}'$"):
        model.elbo(changed(**{column: cells}))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("age", 0.3, r"`x\['age'\]` must not be constant, .*Received: 0.3 in all 8 examples"),
        ("visits", 3, r"`x\['visits'\]` must not be constant, which .*: drop it. Received: 3 in all 8 examples"),
        ("city", [0, 1, 0], r"`x\['city'\]` must not be constant, .*Received: level 1 in all 8 examples"),
        ("city", NAN, r"`x\['city'\]` must be observed in some of the examples: drop it"),
    ],
)
def test_columns_that_cannot_be_learned_are_named_by_fit(column, values, message, model):
    x = np.tile(changed(age=2, height=0, city=np.array([1, 0, 0]), smoker=0, visits=2), (4, 1))
    x[:, model.likelihood.family.places[column]] = values
    with pytest.raises(ValueError, match=message):
        model.fit(x)
    assert np.isfinite(model.elbo(np.array([ROW] * 2))).all()  # scored, but not trained on


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "at least one column"),
        (["age"], "must be a dict"),
        ({"age": "normal"}, r"`columns\['age'\]` must be one of .*'gaussian'.*Received: 'normal'"),
        ({"city": 1}, r"`columns\['city'\]` .*at least 2. Received: 1"),
        ({"city": True}, r"`columns\['city'\]` .*Received: True"),
        ({"city": Categorical()}, r"`columns\['city'\]` "),
        ({"city": Joint([Normal()], [1])}, r"`columns\['city'\]` "),
    ],
)
def test_wrong_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        Mixed(columns)


def one(step, columns=("age",), **kwargs):
    return ColumnTransformer([("it", step, list(columns))], **kwargs)


WRONG_TRANSFORMERS = {
    "another": (lambda f: StandardScaler().fit(f[["age"]]), {}, "a fitted sklearn.compose.ColumnTransformer. .*Scaler"),
    "not fitted": (lambda f: one(StandardScaler()), {}, r"must be fitted: call transformer.fit\(frame\)"),
    "unsupported": (lambda f: one(PCA(), ["age", "height"]).fit(f), {}, "'it' of the columns 'age', 'height' .*: PCA"),
    "no inverse": (lambda f: one(FunctionTransformer(np.log)).fit(f), {}, "'it' .* 'age' .*without inverse_func"),
    "indicator": (
        lambda f: one(SimpleImputer(add_indicator=True)).fit(f.assign(age=f["age"].mask(f["age"] > 50))),
        {},
        "'age' .*Received: 2 outputs for 1 columns",
    ),
    "three levels": (lambda f: one(OrdinalEncoder(), ["city"]).fit(f), {}, "'city' with 3 categories"),
    "one level": (lambda f: one(OneHotEncoder(), ["city"]).fit(f.assign(city="Ulm")), {}, "'city' with 1 category"),
    "one level, ordinal": (
        lambda f: one(OrdinalEncoder(), ["city"]).fit(f.assign(city="Ulm")),
        {},
        "drop a column that never changes",
    ),
    "dropped level": (lambda f: one(OneHotEncoder(drop="first"), ["city"]).fit(f), {}, r"'city' .*drop=None"),
    "rare levels": (lambda f: one(OneHotEncoder(max_categories=2), ["city"]).fit(f), {}, r"'city' .*infrequent"),
    "twice": (
        lambda f: ColumnTransformer([("a", StandardScaler(), ["age"]), ("b", "passthrough", ["age"])]).fit(f),
        {},
        "column 'age' in 'a' and 'b'",
    ),
    "not said": (lambda f: one("passthrough").fit(f), {}, "`families` must say what the columns 'age' are"),
    "unknown": (lambda f: one(StandardScaler()).fit(f), {"that": "laplace"}, r"of \['it'\]. Received: \['that'\]"),
    "encoder": (lambda f: one(OneHotEncoder(), ["city"]).fit(f), {"it": "poisson"}, "transformers of numbers"),
}


@pytest.mark.parametrize("name", WRONG_TRANSFORMERS)
def test_wrong_transformers(name, frame):
    make, families, message = WRONG_TRANSFORMERS[name]
    with pytest.raises(ValueError, match=message):
        Mixed.from_transformer(make(frame), families)


def logarithm(*columns, **cells):
    """A transformer that takes the logarithm of columns, and a table with other cells in its second row."""
    table = pd.DataFrame({name: [1.0, 2.0, 3.0] for name in columns})
    steps = make_pipeline(FunctionTransformer(np.log, np.exp, check_inverse=False), StandardScaler())
    tool = one(steps, columns).fit(table)
    return table.assign(**{name: [1.0, cell, 3.0] for name, cell in cells.items()}), tool


WRONG_TABLES = {
    "unseen": (lambda f, t: (f.assign(city="Mars"), t), r"`table\['city'\]` must hold categories .*'Mars' in row 0"),
    "unseen, ignored": (
        lambda f, t: (f.assign(city="Mars"), one(OneHotEncoder(handle_unknown="ignore"), ["city"]).fit(f)),
        r"`table\['city'\]` must hold categories .*Received: 'Mars' in row 0",
    ),
    "unseen, binary": (lambda f, t: (f.assign(smoker="now and then"), t), r"`table\['smoker'\]` must hold categories"),
    "words": (lambda f, t: (f.assign(visits="few"), t), r"`table\['visits'\]` must hold numbers: .*'few'"),
    "dates": (lambda f, t: (f.assign(age=pd.Timestamp("2020-01-01")), t), r"`table\['age'\]` .*convert dates. .*Datet"),
    "infinity": (lambda f, t: (f.assign(height=np.inf), t), r"`table\['height'\]` must be finite. .*: inf in row 0"),
    "too large": (
        lambda f, t: (f.assign(visits=1e39), t),
        r"`table\['visits'\]` must be finite after the transformer 'counts'. Received: 1e\+39 in row 0, .* inf",
    ),
    "log of 0": (
        lambda f, t: logarithm("a", "b", b=0.0),
        r"`table\['b'\]` must be finite after the transformer 'it'. Received: 0.0 in row 1, .*which becomes -inf",
    ),
    "log of a negative number": (lambda f, t: logarithm("a", a=-1.0), r"`table\['a'\]` .*: -1.0 in row 1, .* nan"),
    "absent": (lambda f, t: (f.drop(columns=["city", "age"]), t), "Received: no 'city', 'age'"),
    "twice": (lambda f, t: (pd.concat([f, f[["age"]]], axis=1), t), "each column once. Received: several 'age'"),
    "no rows": (lambda f, t: (f.head(0), t), "at least one row"),
    "an array": (lambda f, t: (f.to_numpy(), t), r"must be a pandas.DataFrame, .*Received: ndarray"),
    "another shape": (
        lambda f, t: (np.zeros((3, 1)), ColumnTransformer([("it", StandardScaler(), [0])]).fit(np.eye(2))),
        r"shape \(n, 2\), .*Received: shape \(3, 1\)",
    ),
    "unseen in an array": (
        lambda f, t: (np.array([[3], [7]]), ColumnTransformer([("it", OneHotEncoder(), [0])]).fit([[3], [4]])),
        r"`table\['x0'\]` must hold categories .*7\)? in row 1",
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WRONG_TABLES)
def test_wrong_tables_are_refused_by_the_name_of_the_column(name, frame, fitted):
    make, message = WRONG_TABLES[name]
    table, tool = make(frame, fitted)
    with pytest.raises(ValueError, match=message) as caught:
        to_array(table, tool)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"city": [0.5, 0.6, 0.2]}, r"`x\['city'\]` must hold probabilities .*: divide them by their sum. .*sum 1.3"),
        ({"city": [1.5, -0.5, 0]}, r"`x\['city'\]`"),
        ({"city": [NAN, 0, 1]}, r"`x\['city'\]` must be missing as a whole"),
        ({"smoker": 1.2}, r"`x\['smoker'\]` must hold values in \[0, 1\]"),
    ],
)
def test_wrong_rows_for_a_frame(cells, message, frame, fitted):
    with pytest.raises(ValueError, match=message):
        to_frame(changed(**cells), fitted, frame)


def test_other_models_have_no_columns():
    other = kvae.VAE(*kvae.networks.mlp((2,), 1, (2,), likelihood="gaussian"), "gaussian")
    with pytest.raises(ValueError, match=r"must have a likelihood of named columns: .*Normal"):
        kvae.applications.column_scores(other, [[0.0, 1.0]])
