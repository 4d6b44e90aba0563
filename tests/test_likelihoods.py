"""Likelihoods of counts, grey levels and one-hot vectors: against SciPy, sums and integrals, and their draws."""

import keras
import numpy as np
import pytest
from cases import CASES
from keras import ops
from scipy import integrate, special, stats

import kvae
from kvae import distributions
from kvae.distributions.counts import _poisson_log_prob, poisson_draws
from kvae.distributions.log_gamma import log_gamma, log_rising_power

LEVELS = np.arange(256, dtype="float32")[:, None] / 255
N = 20_000


def values(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def log_prob(family, x, *params):
    """Log-densities of a vector under one set of parameters."""
    x = np.asarray(x, "float32")[:, None]
    params = np.broadcast_to(np.array(params, "float32"), (len(x), len(params)))
    return values(family.elementwise_log_prob(ops.convert_to_tensor(x), ops.convert_to_tensor(params)))[:, 0]


def draws(family, *params):
    return values(family.sample(ops.convert_to_tensor(np.array([params], "float32")), N, seed=1)).ravel()


def fits(drawn, expected):
    """The p-value of counts `(values,)` for probabilities, rare values taken together."""
    expected = expected / expected.sum()  # in float64
    rare = expected * len(drawn) < 5
    observed = np.bincount(drawn.astype(int), minlength=len(expected))[: len(expected)]
    observed = np.append(observed[~rare], len(drawn) - observed[~rare].sum())
    expected = np.append(expected[~rare], 1 - expected[~rare].sum()) * len(drawn)
    return stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue


def test_log_gamma():
    x = np.array([1e-3, 0.1, 1, 2, 7.5, 30, 1e3, 1e6], "float32")
    np.testing.assert_allclose(values(log_gamma(ops.convert_to_tensor(x))), special.gammaln(x), rtol=1e-6, atol=1e-6)
    k = np.array([0, 1, 5, 50, 1000], "float32")
    for alpha in (1e-6, 1e-3, 0.1, 1, 30, 1000):
        exact = [np.log1p(np.arange(int(n)) * float(np.float32(alpha))).sum() for n in k]
        found = values(log_rising_power(ops.convert_to_tensor(k), ops.convert_to_tensor(np.float32(alpha))))
        np.testing.assert_allclose(found, exact, rtol=3e-6, atol=1e-5)


@pytest.mark.parametrize(("mean", "alpha"), [(0.3, 2.0), (10.0, 0.05), (500.0, 1.3), (1e4, 1e-5)])
def test_counts_have_the_probabilities_of_scipy(mean, alpha):
    k = np.array([0, 1, 3, 10, 400, 9000])
    expected = stats.nbinom.logpmf(k, 1 / alpha, 1 / (1 + alpha * mean))
    found = log_prob(distributions.NegativeBinomial(None), k, np.log(mean), np.log(alpha))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    fixed = log_prob(distributions.NegativeBinomial(alpha), k, np.log(mean))
    np.testing.assert_allclose(fixed, expected, rtol=1e-4, atol=1e-3)
    poisson = log_prob(distributions.Poisson(), k, np.log(mean))
    np.testing.assert_allclose(poisson, stats.poisson.logpmf(k, mean), rtol=1e-5, atol=1e-3)


def test_a_negative_binomial_of_no_dispersion_is_a_poisson_distribution():
    k = np.arange(20)
    found = log_prob(distributions.NegativeBinomial(1e-6), k, np.log(5.0))
    np.testing.assert_allclose(found, log_prob(distributions.Poisson(), k, np.log(5.0)), atol=1e-4)


@pytest.mark.parametrize("rate", [0.1, 3.0, 9.99, 10.01, 40.0])
def test_poisson_draws(rate):
    drawn = values(poisson_draws(ops.full((N,), rate), seed=3))
    assert fits(drawn, stats.poisson.pmf(np.arange(200), rate)) > 1e-3


def test_poisson_draws_of_large_rates():
    for rate in (5e3, 1e6):
        z = (values(poisson_draws(ops.full((N,), rate), seed=0)) - rate) / np.sqrt(rate)
        assert stats.kstest(z, "norm").pvalue > 1e-3


def test_the_probabilities_that_accept_draws_do_not_cancel():
    k = np.array([15, 16, 20, 10**6 - 2000, 10**6 + 300])
    rate = np.array([12, 14, 20, 10**6, 10**6])
    found = values(_poisson_log_prob(*(ops.convert_to_tensor(each.astype("float32")) for each in (k, rate))))
    np.testing.assert_allclose(found, stats.poisson.logpmf(k, rate), atol=1e-3)


def test_negative_binomial_draws():
    drawn = draws(distributions.NegativeBinomial(0.4), np.log(6.0))
    assert fits(drawn, stats.nbinom.pmf(np.arange(400), 2.5, 1 / 3.4)) > 1e-3


def test_the_dispersion_starts_at_one():
    family = distributions.NegativeBinomial()
    family.bind((2,))
    np.testing.assert_array_equal(values(family.log_dispersion), [0, 0])


def test_tempered_counts_are_counts():
    params = ops.full((1,), np.log(4.0))
    found = [values(distributions.Poisson().tempered(ops.full((1,), k), params, t))[0] for k, t in [(10, 0.4), (0, 3)]]
    np.testing.assert_allclose(found, [6, 0])  # 4 + 0.4 · 6 = 6.4, and no count below 0


def test_networks_see_logarithms_of_counts_and_which_are_missing():
    x = ops.convert_to_tensor(np.array([[0, 3, np.nan]], "float32"))
    seen = values(distributions.Observed(distributions.Poisson()).as_input(x))
    np.testing.assert_allclose(seen, [[0, np.log(4), 0, 1, 1, 0]], rtol=1e-6)


@pytest.mark.long
def test_one_dispersion_for_each_element_is_learned():
    """Columns of dispersion 0 and 1: log α falls in the first and stays near 0 in the second."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.poisson(20, 512), rng.poisson(20 * rng.exponential(size=512))], axis=1).astype("float32")
    family = distributions.NegativeBinomial()
    family.bind((2,))
    (variable,) = family.trainable_weights
    network = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0, [3, 3])])
    inputs = keras.Input((2,))

    class Loss(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.family = family

        def call(self, x):
            self.add_loss(-ops.mean(family.log_prob(x, network(x))))
            return x

    model = keras.Model(inputs, Loss()(inputs))
    model.compile(keras.optimizers.Adam(0.05))
    model.fit(x, batch_size=512, epochs=60, verbose=0)
    low, high = values(variable)
    assert low < -2
    assert abs(high) < 0.3


@pytest.mark.parametrize("a", [-30.0, -3.0, -0.4999, -0.5001, -1e-5, 0.0, 0.2, 1.0, 8.0, 80.0])
def test_continuous_bernoulli(a):
    a = float(np.float32(a))
    edge = float(a > 0)  # where the density is largest
    log_integral = np.log(integrate.quad(lambda x: np.exp(a * (x - edge)), 0, 1)[0])
    family, x = distributions.ContinuousBernoulli(), np.array([0.0, 0.3, 1.0])
    np.testing.assert_allclose(log_prob(family, x, a), a * (x - edge) - log_integral, rtol=1e-6, atol=1e-6)
    mean = integrate.quad(lambda x: x * np.exp(a * (x - edge) - log_integral), 0, 1)[0]
    np.testing.assert_allclose(values(family.mean(ops.full((1,), a)))[0], mean, atol=2e-7)
    distribution = (lambda x: np.expm1(a * x) / np.expm1(a)) if abs(a) > 1e-9 else (lambda x: x)
    assert a == 80.0 or stats.kstest(draws(family, a), distribution).pvalue > 1e-3  # expm1(80) leaves no digits
    gradient = (log_prob(family, x, a + 1e-2) - log_prob(family, x, a - 1e-2)) / 2e-2
    np.testing.assert_allclose(gradient, x - mean, atol=1e-3)  # of an exponential family: x − E[x]


@pytest.mark.parametrize(
    ("family", "params"),
    [
        (distributions.DiscretizedLogistic(), [0.4, -3.0]),
        (distributions.DiscretizedLogistic(), [-0.01, -4.5]),
        (distributions.DiscretizedLogistic(num_components=3), [0.3, -0.2, 0.1, 0.2, 0.1, -0.3, -4.0, -2.0, -3.5]),
        (distributions.CategoricalLevels(), np.sin(np.arange(256))),
    ],
    ids=["logistic", "beyond black", "mixture", "categorical"],
)
def test_grey_levels(family, params):
    p = np.exp(log_prob(family, LEVELS[:, 0], *params))
    np.testing.assert_allclose(p.sum(), 1, atol=1e-5)
    drawn = np.rint(255 * draws(family, *params))
    assert fits(drawn, p) > 1e-3
    mean = values(family.mean(ops.convert_to_tensor(np.array([params], "float32"))))[0, 0]
    assert abs(mean - p @ LEVELS[:, 0]) < 0.5 / 255


def test_discretized_logistic_is_a_difference_of_distribution_functions():
    edges = (np.arange(257) - 0.5) / 255
    cdf = stats.logistic.cdf(edges, 0.4, np.exp(-3.0))
    cdf[0], cdf[-1] = 0, 1
    found = log_prob(distributions.DiscretizedLogistic(), LEVELS[:, 0], 0.4, -3.0)
    np.testing.assert_allclose(found, np.log(np.diff(cdf)), rtol=1e-4, atol=1e-4)


def test_the_components_of_a_mixture_start_apart():
    loc = distributions.DiscretizedLogistic(num_components=3).components(ops.zeros((1, 9)))[1]
    np.testing.assert_allclose(values(loc)[:, 0, 0], [0, 0.5, 1])


def test_far_from_the_data_the_gradient_is_finite():
    far = log_prob(distributions.DiscretizedLogistic(), LEVELS[:, 0], 50.0, -7.0)
    assert np.isfinite(far).all()
    assert (np.diff(far[1:-1]) > 0).all()


FAMILIES = {
    "poisson": (distributions.Poisson(), "counts"),
    "negative binomial": (distributions.NegativeBinomial(None), "counts"),
    "continuous Bernoulli": (distributions.ContinuousBernoulli(), "unit"),
    "discretized logistic": (distributions.DiscretizedLogistic(), "levels"),
    "categorical": (distributions.Categorical(), "one-hot"),
    "several": (distributions.Joint([distributions.Normal("learned"), distributions.Poisson()], [2, 1]), "several"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_doctor_knows_what_a_likelihood_is_for(name):
    family, support = FAMILIES[name]
    assert kvae.evaluation.doctor.loss_scale.density_scale(family, (3,)) == (1.0, support)


ROWS = np.array([[0.5, -1, 1, 0, 0, 1, 4], [1.5, 2, 0, 0, 1, 0, 0]] * 8, "float32")
KINDS = [
    distributions.Normal("learned"),
    distributions.Bernoulli(),
    distributions.Categorical(),
    distributions.Poisson(),
]


@pytest.mark.long
def test_a_table_of_several_kinds(tmp_path):
    likelihood = distributions.Joint(KINDS, [2, 1, 3, 1])
    model = kvae.VAE(*kvae.networks.mlp((7,), 2, hidden=(8,), likelihood=likelihood), likelihood, seed=0)
    model.compile("adam")
    model.fit(ROWS, epochs=1, verbose=0)
    params = values(model.decoder(ops.zeros((1, 2)))).astype("float32")
    parts = np.split(params, [2, 3, 6], axis=-1)
    expected = sum(
        values(kind.log_prob(ops.convert_to_tensor(ROWS[:1, i:j]), ops.convert_to_tensor(part)))[0]
        for kind, part, i, j in zip(likelihood.parts, parts, (0, 2, 3, 6), (2, 3, 6, 7), strict=True)
    )
    found = values(likelihood.log_prob(ops.convert_to_tensor(ROWS[:1]), ops.convert_to_tensor(params)))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    model.save(tmp_path / "table.keras")
    loaded = kvae.load_model(tmp_path / "table.keras")
    np.testing.assert_allclose(loaded.elbo(ROWS, seed=0), model.elbo(ROWS, seed=0), rtol=1e-6)


WRONG = {
    "fractions": (
        "poisson",
        np.array([[1, 2.5]]),
        r"counts, whole numbers from 0 .*Received: 2.5 in column 1 of example 0",
    ),
    "negative": ("negative_binomial", np.array([[1, 2], [3, -1]]), r"Received: -1 in column 1 of example 1"),
    "beyond float32": ("poisson", np.array([[1, 2.0**25]]), r"to 16,777,216, .*Received: 3.35544e\+07 in column 1"),
    "noise": ("discretized_logistic", np.array([[0, 0.5 / 255]]), r"hold the 256 levels k/255 .*Received: 0.00196"),
    "not one-hot": (
        "categorical",
        np.array([[1, 1]]),
        r"one-hot vectors .*Received: sum 2, smallest value 1 in example 0",
    ),
    "grey above 1": ("continuous_bernoulli", np.array([[0, 2.0]]), r"values in \[0, 1\] for the ContinuousBernoulli"),
    "bytes": ("discretized_logistic", np.array([[0, 255]]), r"values in \[0, 1\] for the DiscretizedLogistic"),
    "a gap": ("poisson", np.array([[1, np.nan]]), r"must be finite: .*distributions.Observed\(likelihood\) .*NaN"),
}


@pytest.mark.parametrize("name", WRONG)
def test_data_outside_the_support_are_refused_in_one_line(name):
    likelihood, x, message = WRONG[name]
    model = kvae.VAE(*kvae.networks.mlp((2,), 1, hidden=(2,), likelihood=likelihood), likelihood)
    with pytest.raises(ValueError, match=rf"^`x.*{message}"):
        model.elbo(x)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([[1.0], [0.0]], r"must be finite: .* in 1 of 2 examples, the first at index 1"),
        ([[-1.0], [1.0]], r"must be finite: .* in 1 of 2 examples, the first at index 0"),
        ([[np.nan], [1.0]], r"must be finite: .* in 1 of 2 examples, the first at index 0"),
        ([[1.0]], r"must have one entry per example: 2. Received: 1"),
        ([1.0, 2.0], r"must have shape \(n, 1\): add the channel axis .*Received: shape \(2,\)"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(sizes, message):
    with np.errstate(divide="ignore", invalid="ignore"):
        log_size = np.log(sizes)
    with pytest.raises(ValueError, match=rf"^`log_size` {message}"):
        CASES["cvae-counts"].build().elbo(np.ones((2, 6)), log_size)


def test_draws_are_values_and_not_means():
    encoder, decoder = kvae.networks.mlp((3,), 1, hidden=(2,), likelihood="poisson")
    decoder.set_weights([np.zeros_like(each) for each in decoder.get_weights()])
    decoder.get_layer("likelihood").bias.assign(np.log([0.5, 4.0, 100.0]))
    drawn = kvae.evaluation.draw(kvae.VAE(encoder, decoder, "poisson"), 2500, seed=0)
    statistics = kvae.evaluation.count_statistics(drawn)
    np.testing.assert_allclose(statistics["mean"], [0.5, 4, 100], rtol=0.1)
    np.testing.assert_allclose(statistics["dispersion"], 1, rtol=0.1)
    np.testing.assert_allclose(statistics["zeros"], np.exp([-0.5, -4, -100]), atol=0.03)
    assert (drawn[:1000] != drawn[1000:2000]).any(axis=0).all()  # noise of its own for each part


def test_only_models_with_a_density_are_drawn_from():
    with pytest.raises(ValueError, match=r"`model` must have densities p\(x\|z\), .*Received: GAN"):
        kvae.evaluation.draw(CASES["gan"].build(), 3)
    with pytest.raises(ValueError, match=r"`y` must hold the class of each example to draw. Received: unknown"):
        kvae.evaluation.draw(CASES["semisupervised"].build(), 3)


def test_count_statistics(rng):
    x = rng.negative_binomial(2, 0.3, size=(50, 4)).astype("float32")
    x[:, 2] = 0
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 3] = np.nan
    found = kvae.evaluation.count_statistics(x)
    for column in range(3):
        seen = x[~np.isnan(x[:, column]), column].astype("float64")
        expected = [seen.mean(), np.mean(seen == 0), np.nan if column == 2 else seen.var() / seen.mean()]
        np.testing.assert_allclose([each[column] for each in found.values()], expected, rtol=1e-6)
    assert all(np.isnan(each[3]) for each in found.values())
    for wrong in (-1, 0.5):
        with pytest.raises(ValueError, match=f"`x` must hold counts, whole numbers, .* Received: {wrong}"):
            kvae.evaluation.count_statistics([[np.nan, 3], [wrong, 2]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: distributions.NegativeBinomial("gene"), '`dispersion` must be None, "learned" or a positive number'),
        (lambda: distributions.NegativeBinomial(0), "`dispersion` must be None"),
        (lambda: distributions.DiscretizedLogistic(0), "`num_components` must be an integer of at least 1"),
        (lambda: distributions.CategoricalLevels(1), "`levels` must be an integer of at least 2"),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
