"""Densities, means, samples, gradients and KLs, compared with SciPy, numerical integration and Monte Carlo."""

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from keras import ops

import kvae
from kvae.distributions import (
    LEARNED_SPEED,
    LOG_VAR_RANGE,
    POSTERIORS,
    Bernoulli,
    Categorical,
    Exponential,
    Gumbel,
    Laplace,
    Logistic,
    LogNormal,
    Normal,
    StudentT,
    VonMisesFisher,
    likelihood_family,
    posterior_family,
)
from kvae.models.autoencoder import SquaredError
from kvae.training import fused
from kvae.training.gradients import gradient

# Each posterior family, its SciPy equivalent as a function of the parameters, and the range of the second parameter.
FAMILIES = {
    "normal": (Normal(), lambda mean, log_var: scipy.stats.norm(mean, np.exp(0.5 * log_var))),
    "normal-fixed": (Normal(sigma=0.4), lambda mean: scipy.stats.norm(mean, 0.4)),
    "laplace": (Laplace(), lambda loc, log_scale: scipy.stats.laplace(loc, np.exp(log_scale))),
    "logistic": (Logistic(), lambda loc, log_scale: scipy.stats.logistic(loc, np.exp(log_scale))),
    "student_t": (StudentT(df=12.0), lambda loc, log_scale: scipy.stats.t(12.0, loc, np.exp(log_scale))),
    "gumbel": (Gumbel(), lambda loc, log_scale: scipy.stats.gumbel_r(loc, np.exp(log_scale))),
    "log_normal": (LogNormal(), lambda mean, log_var: scipy.stats.lognorm(np.exp(0.5 * log_var), scale=np.exp(mean))),
    "exponential": (Exponential(), lambda log_scale: scipy.stats.expon(scale=np.exp(log_scale))),
}


@pytest.fixture(params=FAMILIES)
def pair(request):
    return FAMILIES[request.param]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def tensor(array):
    return ops.convert_to_tensor(np.float32(array))


def params(rng, *shape):
    """Concatenate to `[mean, log_var]` on the last axis."""
    return np.concatenate([rng.normal(size=shape), rng.uniform(-2, 2, size=shape)], axis=-1).astype("float32")


def test_normal_log_prob_is_scipys(rng):
    p, x = params(rng, 7, 3), rng.normal(size=(7, 3)).astype("float32")
    expected = scipy.stats.norm.logpdf(x, p[:, :3], np.exp(0.5 * p[:, 3:]))
    np.testing.assert_allclose(
        numpy(Normal().elementwise_log_prob(tensor(x), tensor(p))), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2**-0.5])
def test_normal_with_a_fixed_sigma_is_scipys(rng, sigma):
    mean, x = rng.random((5, 4)).astype("float32"), rng.random((5, 4)).astype("float32")
    log_prob = numpy(Normal(sigma=sigma).elementwise_log_prob(x, mean))
    np.testing.assert_allclose(log_prob, scipy.stats.norm.logpdf(x, mean, sigma), rtol=1e-4, atol=1e-5)


def test_sigma_of_one_over_root_two_gives_the_square_error(rng):
    mean, x = rng.random(6).astype("float32"), rng.random(6).astype("float32")
    constant = 0.5 * np.log(np.pi)
    np.testing.assert_allclose(
        -numpy(Normal(sigma=2**-0.5).elementwise_log_prob(x, mean)), (x - mean) ** 2 + constant, rtol=1e-5
    )


def test_a_learned_sigma_is_one_trainable_number(rng):
    normal = Normal(sigma="learned")
    assert [tuple(w.shape) for w in normal.trainable_weights] == [()]
    assert float(normal.log_var) == 0.0
    normal.slow_log_var.assign(0.3)
    assert float(normal.log_var) == pytest.approx(3.0)  # another factor would change the σ of saved models
    normal.slow_log_var.assign(2 * np.log(0.2) / LEARNED_SPEED)
    mean, x = rng.random(4).astype("float32"), rng.random(4).astype("float32")
    np.testing.assert_allclose(
        numpy(normal.elementwise_log_prob(x, mean)), scipy.stats.norm.logpdf(x, mean, 0.2), rtol=1e-4
    )


@pytest.mark.parametrize("log_var", [-1000.0, 1000.0])
def test_an_extreme_log_variance_stays_finite(log_var):
    p = np.array([0.3, log_var], "float32")
    assert np.isfinite(numpy(Normal().elementwise_log_prob(np.float32(0.5), p))).all()
    assert np.isfinite(numpy(Normal().elementwise_kl(p, Normal(), np.zeros_like(p)))).all()
    low, high = np.exp(0.5 * np.array(LOG_VAR_RANGE))
    assert low == pytest.approx(1e-3, rel=0.1)
    assert high == pytest.approx(1e3, rel=0.1)


def test_bernoulli_log_prob_is_scipys(rng):
    logits, x = rng.normal(size=(5, 4)).astype("float32") * 3, rng.integers(2, size=(5, 4)).astype("float32")
    expected = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits))
    np.testing.assert_allclose(
        numpy(Bernoulli().elementwise_log_prob(tensor(x), tensor(logits))), expected, rtol=1e-4, atol=1e-5
    )


def test_bernoulli_survives_huge_logits():
    logits = np.array([1e4, -1e4, 1e4, -1e4], "float32")
    log_prob = numpy(Bernoulli().elementwise_log_prob(tensor([1, 0, 0, 1]), tensor(logits)))
    np.testing.assert_allclose(log_prob, [0, 0, -1e4, -1e4])


def test_a_subclass_of_the_bernoulli_may_look_at_the_axes_of_an_image(rng):
    """An own formula sees images as they are, although the Bernoulli's own joins their axes for speed."""

    class UpperHalf(Bernoulli):
        def elementwise_log_prob(self, value, params):
            return super().elementwise_log_prob(value, params)[..., :2, :, :]

    logits, x = rng.normal(size=(5, 4, 3, 1)).astype("float32"), rng.integers(2, size=(5, 4, 3, 1)).astype("float32")
    each = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits))
    for family, rows in ((UpperHalf(), 2), (Bernoulli(), 4)):
        log_prob = family.log_prob(tensor(x), tensor(logits), event_ndim=3)
        np.testing.assert_allclose(numpy(log_prob), each[:, :rows].sum(axis=(1, 2, 3)), rtol=1e-4)


def test_whole_events_are_summed_over_all_their_axes(rng):
    family, p, prior_params = Normal(), params(rng, 5, 2, 3), params(rng, 5, 2, 3)
    kl = family.kl_divergence(tensor(p), Normal(), tensor(prior_params), event_ndim=2)
    each = numpy(family.elementwise_kl(tensor(p), Normal(), tensor(prior_params)))
    np.testing.assert_allclose(numpy(kl), each.sum(axis=(1, 2)), rtol=1e-5)
    z, log_prob = family.sample_and_log_prob(tensor(p), 4, keras.random.SeedGenerator(0), event_ndim=2)
    expected = scipy.stats.norm.logpdf(numpy(z), p[..., :3], np.exp(0.5 * p[..., 3:])).sum(axis=(2, 3))
    np.testing.assert_allclose(numpy(log_prob), expected, rtol=1e-4)


def test_the_square_error_of_an_autoencoder_is_a_normal_without_its_constant(rng):
    mean, x = rng.random((2, 6)).astype("float32")
    loss = SquaredError()
    expected = -numpy(loss.likelihood.elementwise_log_prob(tensor(x), tensor(mean))) - 0.5 * np.log(np.pi)
    np.testing.assert_allclose(numpy(loss(tensor(x), tensor(mean))), expected, rtol=1e-4, atol=1e-6)


def test_means(rng):
    p, logits = params(rng, 3, 2), rng.normal(size=(3, 2)).astype("float32")
    np.testing.assert_allclose(numpy(Normal().mean(p)), p[:, :2])
    np.testing.assert_allclose(numpy(Bernoulli().mean(logits)), scipy.special.expit(logits), rtol=1e-5)


def test_normal_samples_follow_the_distribution():
    p = np.array([[1.0, -2.0, np.log(0.25), np.log(4.0)]], "float32")
    z = numpy(Normal().sample(p, 20_000, seed=1))
    assert z.shape == (20_000, 1, 2)
    for dim, (mean, sigma) in enumerate([(1.0, 0.5), (-2.0, 2.0)]):
        assert scipy.stats.kstest(z[:, 0, dim], scipy.stats.norm(mean, sigma).cdf).pvalue > 1e-3


def test_bernoulli_samples_follow_the_distribution():
    x = numpy(Bernoulli().sample(np.array([[0.0, 2.0]], "float32"), 20_000, seed=1))
    assert set(np.unique(x)) == {0.0, 1.0}
    np.testing.assert_allclose(x.mean(axis=0)[0], scipy.special.expit([0.0, 2.0]), atol=0.015)


def test_kl_to_the_standard_normal_is_the_papers(rng):
    p = params(rng, 9, 3)
    mean, var = p[:, :3].astype("float64"), np.exp(p[:, 3:].astype("float64"))
    expected = 0.5 * (var + mean**2 - np.log(var) - 1)  # Kingma & Welling 2014, appendix B
    zeros = np.zeros_like(p)
    np.testing.assert_allclose(numpy(Normal().elementwise_kl(p, Normal(), zeros)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numpy(Normal().elementwise_kl(zeros, Normal(), zeros)), 0, atol=1e-7)


def test_kl_between_normals_meets_monte_carlo(rng):
    p, prior = params(rng, 1, 4), params(rng, 1, 4)
    z = rng.normal(p[:, :4], np.exp(0.5 * p[:, 4:]), size=(200_000, 4))
    log_ratio = scipy.stats.norm.logpdf(z, p[:, :4], np.exp(0.5 * p[:, 4:])) - scipy.stats.norm.logpdf(
        z, prior[:, :4], np.exp(0.5 * prior[:, 4:])
    )
    error = log_ratio.std(axis=0) / np.sqrt(len(z))
    difference = numpy(Normal().elementwise_kl(p, Normal(), prior))[0] - log_ratio.mean(axis=0)
    assert (np.abs(difference) < 4 * error).all()


# All posterior families


def params_of(family, rng, rows, size):
    """Random parameters `(rows, parameters · size)`: locations around 0, log scales around −½."""
    columns = [rng.uniform(-1.0, high, size=(rows, size)) for high in (1.0, 0.0)[: family.num_parameters]]
    return np.concatenate(columns, axis=-1).astype("float32")


def split(family, p):
    return np.split(p.astype("float64"), family.num_parameters, axis=-1)


def test_every_named_posterior_is_tested():
    others = {Categorical, VonMisesFisher}  # in test_categorical.py and test_von_mises_fisher.py
    assert {type(family) for family, _ in FAMILIES.values()} == set(POSTERIORS.values()) - others


def test_log_prob_and_mean_are_scipys(pair, rng):
    family, scipys = pair
    p = params_of(family, rng, 6, 3)
    expected = scipys(*split(family, p))
    value = expected.ppf(rng.uniform(0.001, 0.999, size=(9, 6, 3)))
    log_prob = numpy(family.elementwise_log_prob(tensor(value), tensor(p)))
    np.testing.assert_allclose(log_prob, expected.logpdf(value.astype("float32")), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numpy(family.mean(tensor(p))), expected.mean(), rtol=1e-5)


def test_samples_follow_scipys(pair, rng):
    family, scipys = pair
    p = params_of(family, rng, 1, 3)
    z = numpy(family.sample(tensor(p), 20_000, keras.random.SeedGenerator(2)))
    assert z.shape == (20_000, 1, 3)
    for dim in range(3):
        expected = scipys(*[column[0, dim] for column in split(family, p)])
        assert scipy.stats.kstest(z[:, 0, dim], expected.cdf).pvalue > 1e-3
        assert abs(z[:, 0, dim].mean() - expected.mean()) < 4 * expected.std() / np.sqrt(len(z))
        assert z[:, 0, dim].std() == pytest.approx(expected.std(), rel=0.1)
    assert np.abs(np.corrcoef(z[:, 0].T)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(len(z))
    assert abs(np.corrcoef(z[1:, 0, 0], z[:-1, 0, 0])[0, 1]) < 4 / np.sqrt(len(z))


def test_an_int_seeds_the_samples(pair):
    family, scipys = pair
    p = np.zeros((2, 2 * family.num_parameters), "float32")
    first, again, other = (numpy(family.sample(tensor(p), 3, seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()
    assert len(np.unique(first)) == first.size
    many = numpy(family.sample(tensor(p[:1]), 5000, 2))[:, 0, 0]
    assert scipy.stats.kstest(many, scipys(*[0.0] * family.num_parameters).cdf).pvalue > 1e-3


def prior_of(family):
    """A non-standard prior of the family that matches `family`, and its SciPy equivalent."""
    prior = family.standard_prior()
    prior_params = np.array([0.3, 0.4][: prior.num_parameters], "float32")
    return prior, prior_params, next(scipys for known, scipys in FAMILIES.values() if type(known) is type(prior))


def test_the_kl_is_the_integral(pair, rng):
    family, scipys = pair
    prior, prior_params, priors_scipys = prior_of(family)
    p = params_of(family, rng, 1, 4)
    kl = numpy(family.elementwise_kl(tensor(p), prior, tensor(np.repeat(prior_params, 4)[None])))[0]
    t = np.linspace(-7, 7, 4001)  # E_q[f(z)] = ∫ φ(t) f(Q(Φ(t))) dt, where Q is the quantile function
    for dim in range(4):
        q = scipys(*[column[0, dim] for column in split(family, p)])
        z = q.ppf(scipy.stats.norm.cdf(t))
        log_ratio = q.logpdf(z) - priors_scipys(*prior_params).logpdf(z)
        expected = scipy.integrate.simpson(scipy.stats.norm.pdf(t) * log_ratio, x=t)
        assert kl[dim] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_kl_is_the_mean_of_its_samples(pair, rng):
    """The KL estimate that the bound uses without a closed form, from the samples and densities of the family."""
    family, _ = pair
    prior, prior_params, _ = prior_of(family)
    p, prior_params = tensor(params_of(family, rng, 1, 4)), tensor(np.repeat(prior_params, 4)[None])
    z = family.sample(p, 20_000, keras.random.SeedGenerator(2))
    log_ratio = numpy(family.elementwise_log_prob(z, p) - prior.elementwise_log_prob(z, prior_params))[:, 0]
    difference = numpy(family.elementwise_kl(p, prior, prior_params))[0] - log_ratio.mean(axis=0)
    assert (np.abs(difference) < 4 * log_ratio.std(axis=0) / np.sqrt(len(log_ratio)) + 1e-6).all()


def test_the_kl_to_another_kind_of_prior_must_be_sampled(pair):
    family, _ = pair
    p = np.zeros((1, family.num_parameters), "float32")
    assert family.elementwise_kl(p, Bernoulli(), p) is None
    other = Normal() if type(family.standard_prior()) is not Normal else Exponential()
    assert family.elementwise_kl(p, other, np.zeros((1, other.num_parameters), "float32")) is None


def test_the_standard_prior_is_standard(pair):
    family, _ = pair
    prior = family.standard_prior()
    assert prior is not family  # a layer of its own
    expected = next(scipys for known, scipys in FAMILIES.values() if type(known) is type(prior))
    value = np.array([[0.1, 0.7, 2.0]], "float32")
    zeros = np.zeros((1, 3 * prior.num_parameters), "float32")
    standard = expected(*[0.0] * prior.num_parameters)
    np.testing.assert_allclose(
        numpy(prior.elementwise_log_prob(tensor(value), tensor(zeros))), standard.logpdf(value), rtol=1e-5
    )


def test_gradients_go_through_the_samples(pair):
    """Gradients of E[z] and E[z²] through the samples match the derivatives of SciPy's moments."""
    family, scipys = pair
    at = np.array([0.4, -0.6][: family.num_parameters])
    rows = np.tile(at.astype("float32"), (64, 1))  # the rows are independent estimates, which gives a standard error
    step = 1e-5 * np.eye(len(at))
    for power in (1, 2):
        _, estimates = gradient(
            lambda p, power=power: ops.sum(
                ops.mean(family.sample(p, 1000, keras.random.SeedGenerator(3)) ** power, axis=0)
            ),
            rows,
        )
        estimates = numpy(estimates)
        moment = lambda p, power=power: scipys(*p).moment(power)  # noqa: E731
        expected = [(moment(at + h) - moment(at - h)) / 2e-5 for h in step]
        error = estimates.std(axis=0, ddof=1) / np.sqrt(len(rows)) + 1e-5
        assert (np.abs(estimates.mean(axis=0) - expected) < 4 * error).all()
        assert np.abs(expected).max() > 0.3


@pytest.mark.parametrize("extreme", [-1e3, 1e3])
def test_extreme_parameters_stay_finite(pair, extreme):
    family, _ = pair
    prior = family.standard_prior()
    p = tensor(np.eye(family.num_parameters).repeat(50, axis=0) * extreme)
    z = family.sample(p, 100, keras.random.SeedGenerator(0))
    for value in (z, family.elementwise_log_prob(z, p), family.mean(p)):
        assert np.isfinite(numpy(value)).all()
    kl = family.elementwise_kl(p, prior, tensor(np.zeros((1, prior.num_parameters))))
    assert np.isfinite(numpy(kl)).all()


@pytest.mark.parametrize("edge", [0.0, np.nextafter(np.float32(1), np.float32(0)), 1.0])
def test_an_unlucky_draw_stays_finite(pair, edge, monkeypatch):
    family, _ = pair
    monkeypatch.setattr(keras.random, "uniform", lambda shape, **_: ops.full(shape, edge, dtype="float32"))
    p = tensor(np.zeros((1, 2 * family.num_parameters)))
    z = family.sample(p, 3, keras.random.SeedGenerator(0))
    for value in (z, family.elementwise_log_prob(z, p)):
        assert np.isfinite(numpy(value)).all()


@pytest.mark.parametrize("name", [name for name in POSTERIORS if name != "von_mises_fisher"])
def test_half_precision_keeps_the_tails(name):
    family = posterior_family(name)
    p = ops.cast(tensor(np.zeros((1, family.num_parameters))), "bfloat16")
    z = ops.cast(family.sample(p, 50_000, keras.random.SeedGenerator(0)), "float32")
    assert np.isfinite(numpy(z)).all()


def test_an_encoder_of_another_family_is_refused():
    for name, family in POSTERIORS.items():
        each = family().num_parameters
        if name == "von_mises_fisher":
            continue  # it has one concentration for all dimensions
        wrong = "exponential" if each == 2 else "laplace"
        encoder, decoder = kvae.networks.mlp((6,), 3, hidden=(), posterior=wrong)
        message = (
            rf"the encoder must give \({3 * each},\) per example, {each} parameter\(s\) per latent dimension. Received"
        )
        with pytest.raises(ValueError, match=message):
            kvae.VAE(encoder, decoder, posterior=name)


@pytest.mark.parametrize("family", [*(family for family, _ in FAMILIES.values()), Normal(sigma="learned"), Bernoulli()])
def test_round_trip(family):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(family))
    assert again.get_config() == family.get_config()
    assert again.num_parameters == family.num_parameters


def test_names():
    assert {name: type(posterior_family(name)) for name in POSTERIORS} == POSTERIORS
    with pytest.raises(ValueError, match=r"`posterior` must be one of \['categorical', .*Received: 'cauchy'"):
        posterior_family("cauchy")
    assert isinstance(likelihood_family("bernoulli"), Bernoulli)
    assert likelihood_family("gaussian").sigma == "learned"
    own = Normal(sigma=0.1)
    assert likelihood_family(own) is own


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), "big", True])
def test_a_bad_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match=r"sigma.*positive number. Received"):
        Normal(sigma=sigma)


@pytest.mark.parametrize("df", [2, 0, -1.0, float("nan"), float("inf"), "many", True])
def test_bad_degrees_of_freedom_are_refused(df):
    with pytest.raises(ValueError, match=r"`df` must be a finite number above 2. Received"):
        StudentT(df=df)


def test_the_bernoullis_derivatives_are_those_of_its_formula():
    logits = np.array([-800, -30, -2, 0, 1e-3, 5, 30, 800], "float32")
    pixels = np.linspace(0, 1, len(logits), dtype="float32")
    log_prob = lambda a, x: ops.sum(Bernoulli().elementwise_log_prob(x, a))  # noqa: E731
    _, first, by_pixels = map(numpy, gradient(log_prob, logits, pixels))
    _, second = gradient(lambda a: ops.sum(gradient(log_prob, a, pixels)[1]), logits)
    probs = scipy.special.expit(logits.astype("float64"))
    np.testing.assert_allclose(first, pixels - probs, atol=1e-7)
    np.testing.assert_array_equal(by_pixels, logits)
    # At 0, PyTorch sets the second derivative of |a| in the formula to 0.
    smooth = logits != 0 if keras.backend.backend() == "torch" else slice(None)
    np.testing.assert_allclose(numpy(second)[smooth], (-probs * (1 - probs))[smooth], atol=1e-7)


@pytest.mark.parametrize(("samples", "batch"), [(fused.LARGE // 8, 3), (1, fused.MANY), (5, 3)])
def test_many_samples_of_an_image_have_the_bernoullis_densities_and_derivatives(samples, batch, rng):
    pixels = rng.random((batch, 2, 4, 1), "float32")
    logits = rng.normal(0, 3, (samples, batch, 2, 4, 1)).astype("float32")
    one_kernel = fused.fuses(pixels.reshape(batch, 8), logits.reshape(samples, batch, 8))
    assert one_kernel == (keras.backend.backend() == "tensorflow" and samples != 5)
    weights = rng.normal(size=(samples, batch)).astype("float32")  # gradients from above, others for each sample
    weighted = lambda a, x: ops.sum(ops.convert_to_tensor(weights) * Bernoulli().log_prob(x, a, event_ndim=3))  # noqa: E731
    probs, each = scipy.special.expit(logits.astype("float64")), weights[..., None, None, None]
    expected = scipy.stats.bernoulli(probs).logpmf(1) * pixels + scipy.stats.bernoulli(probs).logpmf(0) * (1 - pixels)
    log_prob = numpy(Bernoulli().log_prob(pixels, ops.convert_to_tensor(logits), event_ndim=3))
    np.testing.assert_allclose(log_prob, expected.sum((2, 3, 4)), rtol=1e-5)
    _, first, by_pixels = map(numpy, gradient(weighted, logits, pixels))
    np.testing.assert_allclose(first, each * (pixels - probs), atol=1e-6)
    np.testing.assert_allclose(by_pixels, (each * logits).sum(0), atol=1e-4)  # sums of 250 numbers in float32
    _, second = gradient(lambda a: ops.sum(gradient(weighted, a, pixels)[1]), logits)
    np.testing.assert_allclose(numpy(second), -each * probs * (1 - probs), atol=1e-6)
