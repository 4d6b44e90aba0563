"""Densities, means, samples and KLs against SciPy and Monte Carlo."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from kvae.distributions import LEARNED_SPEED, LOG_VAR_RANGE, Bernoulli, Normal, likelihood_family, posterior_family


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def params(rng, *shape):
    """`[mean, log_var]` on the last axis."""
    return np.concatenate([rng.normal(size=shape), rng.uniform(-2, 2, size=shape)], axis=-1).astype("float32")


def test_normal_log_prob_is_scipys(rng):
    p, x = params(rng, 7, 3), rng.normal(size=(7, 3)).astype("float32")
    expected = scipy.stats.norm.logpdf(x, p[:, :3], np.exp(0.5 * p[:, 3:]))
    np.testing.assert_allclose(numpy(Normal().log_prob(x, p)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2**-0.5])
def test_normal_with_a_fixed_sigma_is_scipys(rng, sigma):
    mean, x = rng.random((5, 4)).astype("float32"), rng.random((5, 4)).astype("float32")
    log_prob = numpy(Normal(sigma=sigma).log_prob(x, mean))
    np.testing.assert_allclose(log_prob, scipy.stats.norm.logpdf(x, mean, sigma), rtol=1e-4, atol=1e-5)


def test_sigma_of_one_over_root_two_gives_the_square_error(rng):
    mean, x = rng.random(6).astype("float32"), rng.random(6).astype("float32")
    constant = 0.5 * np.log(np.pi)
    np.testing.assert_allclose(-numpy(Normal(sigma=2**-0.5).log_prob(x, mean)), (x - mean) ** 2 + constant, rtol=1e-5)


def test_a_learned_sigma_is_one_trainable_number(rng):
    normal = Normal(sigma="learned")
    assert [tuple(w.shape) for w in normal.trainable_weights] == [()]
    assert float(normal.log_var) == 0.0
    normal.slow_log_var.assign(2 * np.log(0.2) / LEARNED_SPEED)
    mean, x = rng.random(4).astype("float32"), rng.random(4).astype("float32")
    np.testing.assert_allclose(numpy(normal.log_prob(x, mean)), scipy.stats.norm.logpdf(x, mean, 0.2), rtol=1e-4)


@pytest.mark.parametrize("log_var", [-1000.0, 1000.0])
def test_an_extreme_log_variance_stays_finite(log_var):
    p = np.array([0.3, log_var], "float32")
    assert np.isfinite(numpy(Normal().log_prob(np.float32(0.5), p))).all()
    assert np.isfinite(numpy(Normal().kl_divergence(p, Normal(), np.zeros_like(p)))).all()
    low, high = np.exp(0.5 * np.array(LOG_VAR_RANGE))
    assert low == pytest.approx(1e-3, rel=0.1)
    assert high == pytest.approx(1e3, rel=0.1)


def test_bernoulli_log_prob_is_scipys(rng):
    logits, x = rng.normal(size=(5, 4)).astype("float32") * 3, rng.integers(2, size=(5, 4)).astype("float32")
    expected = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits))
    np.testing.assert_allclose(numpy(Bernoulli().log_prob(x, logits)), expected, rtol=1e-4, atol=1e-5)


def test_bernoulli_survives_huge_logits():
    logits = np.array([1e4, -1e4, 1e4, -1e4], "float32")
    log_prob = numpy(Bernoulli().log_prob(np.array([1, 0, 0, 1], "float32"), logits))
    np.testing.assert_allclose(log_prob, [0, 0, -1e4, -1e4])


def test_means(rng):
    p, logits = params(rng, 3, 2), rng.normal(size=(3, 2)).astype("float32")
    np.testing.assert_allclose(numpy(Normal().mean(p)), p[:, :2])
    np.testing.assert_allclose(numpy(Bernoulli().mean(logits)), scipy.special.expit(logits), rtol=1e-5)


def test_normal_samples_follow_the_distribution():
    p = np.array([[1.0, -2.0, np.log(0.25), np.log(4.0)]], "float32")
    z = numpy(Normal().sample(p, 20_000, seed=1))
    assert z.shape == (20_000, 1, 2)
    for dim, (mean, sigma) in enumerate([(1.0, 0.5), (-2.0, 2.0)]):
        assert scipy.stats.kstest(z[:, 0, dim], "norm", (mean, sigma)).pvalue > 1e-3


def test_bernoulli_samples_follow_the_distribution():
    x = numpy(Bernoulli().sample(np.array([[0.0, 2.0]], "float32"), 20_000, seed=1))
    assert set(np.unique(x)) == {0.0, 1.0}
    np.testing.assert_allclose(x.mean(axis=0)[0], scipy.special.expit([0.0, 2.0]), atol=0.015)


def test_kl_to_the_standard_normal_is_the_papers(rng):
    p = params(rng, 9, 3)
    mean, var = p[:, :3].astype("float64"), np.exp(p[:, 3:].astype("float64"))
    expected = 0.5 * (var + mean**2 - np.log(var) - 1)  # Kingma & Welling 2014, appendix B
    zeros = np.zeros_like(p)
    np.testing.assert_allclose(numpy(Normal().kl_divergence(p, Normal(), zeros)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numpy(Normal().kl_divergence(zeros, Normal(), zeros)), 0, atol=1e-7)


def test_kl_between_normals_meets_monte_carlo(rng):
    p, prior = params(rng, 1, 4), params(rng, 1, 4)
    z = rng.normal(p[:, :4], np.exp(0.5 * p[:, 4:]), size=(200_000, 4))
    log_ratio = scipy.stats.norm.logpdf(z, p[:, :4], np.exp(0.5 * p[:, 4:])) - scipy.stats.norm.logpdf(
        z, prior[:, :4], np.exp(0.5 * prior[:, 4:])
    )
    error = log_ratio.std(axis=0) / np.sqrt(len(z))
    difference = numpy(Normal().kl_divergence(p, Normal(), prior))[0] - log_ratio.mean(axis=0)
    assert (np.abs(difference) < 4 * error).all()


@pytest.mark.parametrize("family", [Normal(), Normal(sigma=0.5), Normal(sigma="learned"), Bernoulli()])
def test_round_trip(family):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(family))
    assert again.get_config() == family.get_config()
    assert again.num_parameters == family.num_parameters


def test_names():
    assert isinstance(posterior_family("normal"), Normal)
    assert isinstance(likelihood_family("bernoulli"), Bernoulli)
    assert likelihood_family("gaussian").sigma == "learned"
    own = Normal(sigma=0.1)
    assert likelihood_family(own) is own


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), "big", True])
def test_a_bad_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match=r"sigma.*positive number. Received"):
        Normal(sigma=sigma)
