"""Missing values: the likelihood of what was observed, and imputation, beside a Gaussian whose answers are known."""

import keras
import numpy as np
import pytest
from keras import ops

import kvae
from kvae import distributions
from kvae.distributions import Bernoulli, Categorical, Joint, Normal, Observed, Poisson

SIGMA = 0.5
WEIGHTS = np.array([[1.0, -2.0, 0.5]], "float32")


def linear(family):
    """The model x = W z + σ noise of one code, with the exact posterior of complete examples as its encoder."""
    x = keras.Input((3,), name="x")
    code = keras.layers.Dense(2, name="posterior")
    encoder = keras.Model(x, code(family.as_input(x)))
    z = keras.Input((1,), name="z")
    mean = keras.layers.Dense(3, use_bias=False, name="likelihood")
    decoder = keras.Model(z, mean(z))
    precision = 1 + float(np.sum(WEIGHTS**2)) / SIGMA**2
    mean.set_weights([WEIGHTS])
    kernel = np.zeros((code.kernel.shape[0], 2), "float32")
    kernel[:3, 0] = WEIGHTS[0] / SIGMA**2 / precision
    code.set_weights([kernel, np.array([0, 0], "float32")])  # wide, so that importance sampling covers all
    return kvae.VAE(encoder, decoder, likelihood=family, seed=0)


@pytest.fixture(scope="module")
def model():
    return linear(Observed(Normal(SIGMA)))


@pytest.fixture(scope="module")
def gaps():
    z = np.random.default_rng(0).normal(size=(40, 1))
    x = (z @ WEIGHTS + SIGMA * np.random.default_rng(1).normal(size=(40, 3))).astype("float32")
    x[:20, 1] = np.nan
    x[10:20, 0] = np.nan
    return x


def exact(x):
    """log p of what was observed of a row, and the mean and variance of all of its values."""
    known = ~np.isnan(x)
    cov = WEIGHTS.T @ WEIGHTS + SIGMA**2 * np.eye(3)
    inverse = np.linalg.inv(cov[np.ix_(known, known)])
    quadratic = x[known] @ inverse @ x[known]
    log_p = -0.5 * (quadratic - np.linalg.slogdet(inverse)[1] + known.sum() * np.log(2 * np.pi))
    gain = cov[:, known] @ inverse
    return log_p, gain @ x[known], np.diag(cov - gain @ cov[known])


def test_log_likelihood_is_that_of_what_was_observed(model, gaps):
    estimate = kvae.evaluation.log_likelihood(model, gaps, num_samples=2000, seed=0)
    np.testing.assert_allclose(estimate.values, [exact(x)[0] for x in gaps], atol=0.1)


def test_imputed_means_and_draws(model, gaps):
    missing = np.isnan(gaps)
    found = kvae.evaluation.impute(model, gaps, num_samples=2000, seed=0)
    np.testing.assert_array_equal(found[~missing], gaps[~missing])
    means, variances = (np.array([exact(x)[i] for x in gaps])[missing] for i in (1, 2))
    np.testing.assert_allclose(found[missing], means, atol=0.15)
    draws = kvae.evaluation.impute(model, gaps, num_draws=200, num_samples=1000, seed=0)[:, missing]
    errors = (draws.mean(axis=0) - means) / np.sqrt(variances)
    assert np.abs(errors.mean()) < 0.05
    np.testing.assert_allclose((draws.var(axis=0) / variances).mean(), 1, atol=0.1)


def test_the_doctor_leaves_out_what_is_missing(model, gaps):
    names = {finding.name for finding in kvae.evaluation.diagnose(model, np.tile(gaps, (3, 1)))}
    assert names.isdisjoint({"not_finite", "not_normalised", "columns", "likelihood_weight"})


def test_complete_examples_have_the_usual_bound(model, gaps):
    complete = gaps[20:]
    x = ops.convert_to_tensor(complete)
    params = ops.zeros_like(x)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.likelihood.log_prob(x, params)),
        ops.convert_to_numpy(Normal(SIGMA).log_prob(x, params)),
        rtol=1e-6,
    )


@pytest.mark.long
def test_training_with_gaps(tmp_path):
    """A table of several kinds, a third of whose cells are missing; the gradient of every weight is finite."""
    rng = np.random.default_rng(0)
    kinds = Joint([Normal("learned"), Bernoulli(), Categorical(), Poisson()], [1, 1, 3, 1])
    x = np.column_stack(
        [rng.normal(size=64), rng.integers(0, 2, 64), np.eye(3)[rng.integers(0, 3, 64)], rng.poisson(3, 64)]
    ).astype("float32")
    for columns in ([0], [1], [2, 3, 4]):
        x[np.ix_(rng.random(64) < 0.3, columns)] = np.nan
    likelihood = Observed(kinds)
    model = kvae.VAE(*kvae.networks.mlp((6,), 2, (8,), likelihood=likelihood), likelihood, num_samples=3, seed=0)
    model.compile(keras.optimizers.Adam(1e-2))
    loss = model.fit(x, epochs=4, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    model.save(tmp_path / "gaps.keras")
    loaded = kvae.load_model(tmp_path / "gaps.keras")
    np.testing.assert_allclose(loaded.elbo(x, seed=0), model.elbo(x, seed=0), rtol=1e-6)
    rows = kvae.evaluation.impute(model, x, num_draws=1, num_samples=10, seed=0)[0]
    np.testing.assert_allclose(rows[:, 2:5].sum(axis=1), 1)
    assert np.isin(rows[:, 1], [0, 1]).all()
    assert (rows[:, 5] == np.rint(rows[:, 5])).all()


NAN = np.nan
WRONG = {
    "nothing": ([[0.0, 1, 2], [NAN, NAN, NAN]], r"at least one observed value .*Received: 1 of 2 without, .* index 1"),
    "infinity": ([[0.0, 1, np.inf]], r"`x` must be finite: .*Received: infinity in 1 of 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gaps_are_refused(model, name):
    x, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        model.elbo(x)


def test_half_a_categorical_variable(model):
    likelihood = Observed(Joint([Normal("learned"), Categorical()], [1, 2]))
    with pytest.raises(ValueError, match=r"`x\[..., 1:3\]` must be missing as a whole, .* in example 0"):
        likelihood.check(np.array([[0.0, NAN, 1.0]]), "x")
    with pytest.raises(ValueError, match=r"one-hot vectors .*Received: sum 2"):
        likelihood.check(np.array([[NAN, 1.0, 1.0], [0.0, NAN, NAN]]), "x")


def test_other_likelihoods_have_no_gaps(gaps):
    family = distributions.Normal(SIGMA)
    other = kvae.VAE(*kvae.networks.mlp((3,), 1, (4,), likelihood=family), family)
    with pytest.raises(ValueError, match="NaN or infinity in 20 of 40"):
        other.elbo(gaps)
    with pytest.raises(ValueError, match=r"`model` must have a likelihood of examples with missing values: .* Normal"):
        kvae.evaluation.impute(other, gaps)
    with pytest.raises(ValueError, match="`family` must be a kvae Distribution of complete examples"):
        Observed(Observed(family))
