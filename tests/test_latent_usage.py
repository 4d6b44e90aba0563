"""Latent usage on constructed codes; precision and recall compared with their definition."""

import numpy as np
import pytest
from cases import autoencoder, cvae, vae
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import norm

import kvae
from kvae import evaluation
from kvae.distributions import Normal


def linear(to_mean, log_var, **kwargs):
    """A model whose posterior is N(x @ to_mean, diag(exp(log_var))), where x has 3 features."""
    latent = len(log_var)
    likelihood = Normal(sigma=1.0)
    pair = kvae.networks.mlp((3,), latent, hidden=(), likelihood=likelihood)
    model = kvae.VAE(*pair, likelihood=likelihood, **kwargs)
    to_mean = np.asarray(to_mean, "float32")
    model.encoder.set_weights([np.hstack([to_mean, np.zeros_like(to_mean)]), np.r_[np.zeros(latent), log_var]])
    return model


WEIGHTS, LOG_VAR = np.array([[1.0, 0.02, 0.0], [0.0, 0.05, 0.0], [0.5, 0.0, 0.0]]), np.array([-1.0, 0.0, 0.5])


def test_a_unit_is_active_if_its_mean_moves(rng):
    x = rng.normal(size=(500, 3)).astype("float32")
    model = linear(WEIGHTS, LOG_VAR)
    units = evaluation.active_units(model, x)
    np.testing.assert_allclose(units.variances, (x @ WEIGHTS).var(axis=0, ddof=1), rtol=1e-4, atol=1e-10)
    assert units.count == 1  # variances about 1.25, 0.003 and 0
    assert evaluation.active_units(model, x, threshold=0.001).count == 2
    assert units.top is None


def test_the_second_layer_has_units_too(rng):
    pair = kvae.networks.mlp((3,), 2, hidden=(), likelihood=Normal())
    model = linear(WEIGHTS, LOG_VAR, prior=kvae.priors.Hierarchical(*pair))
    up = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    model.prior.encoder.set_weights([np.hstack([up, np.zeros_like(up)]), np.zeros(4)])
    x = rng.normal(size=(300, 3)).astype("float32")
    units = evaluation.active_units(model, x, num_samples=400)
    assert (units.count, units.top.count) == (1, 1)
    expected = (x @ WEIGHTS @ up).var(axis=0, ddof=1)  # E[h|x], plus Var[2z|x] / 400 of the samples
    np.testing.assert_allclose(units.top.variances, expected, rtol=0.02, atol=1e-8)


def test_kl_per_dimension_is_the_formula_and_sums_to_the_kl(rng):
    x = rng.normal(size=(50, 3)).astype("float32")
    model = linear(WEIGHTS, LOG_VAR)
    kl = evaluation.kl_per_dimension(model, x)
    np.testing.assert_allclose(
        kl, 0.5 * (np.exp(LOG_VAR) + np.mean((x @ WEIGHTS) ** 2, axis=0) - 1 - LOG_VAR), rtol=1e-4
    )
    assert kl.sum() == pytest.approx(model.elbo_terms(x, seed=0)[1].mean(), rel=1e-5)


def test_without_a_closed_form_the_kl_is_sampled(rng, monkeypatch):
    x = rng.normal(size=(200, 3)).astype("float32")
    model = linear(WEIGHTS, LOG_VAR)
    exact = evaluation.kl_per_dimension(model, x)
    monkeypatch.setattr(Normal, "elementwise_kl", lambda *args: None)
    sampled = evaluation.kl_per_dimension(model, x, num_samples=400)
    assert not np.array_equal(sampled, exact)
    np.testing.assert_allclose(sampled, exact, atol=0.02)


def test_the_kl_under_a_labels_prior_uses_the_labels(rng):
    model = cvae(prior="learned")
    x, y = rng.random((20, 8, 8, 1), dtype="float32"), rng.integers(3, size=20)
    model.prior.network.set_weights([rng.normal(size=(3, 4)), np.zeros(4)])
    kl = evaluation.kl_per_dimension(model, x, y)
    assert kl.sum() == pytest.approx(model.elbo_terms(x, y, seed=0)[1].mean(), rel=1e-5)


def densities(means, log_var, z):
    """log q(z|x_i) `(n, len(z))` in SciPy."""
    return np.stack([norm(m, np.exp(0.5 * log_var)).logpdf(z).sum(axis=1) for m in means])


@pytest.mark.long
def test_mutual_information_and_mismatch_make_up_the_kl(rng):
    """The identity of Hoffman & Johnson 2016, with each term compared with an integral on a grid."""
    to_mean, log_var = np.array([[1.0], [0.0], [0.5]]), np.array([-1.0])
    model = linear(to_mean, log_var)
    x = rng.normal(size=(40, 3)).astype("float32")
    information = evaluation.mutual_information(model, x, num_samples=400)
    mismatch = evaluation.aggregate_mismatch(model, x, num_samples=400)
    assert information + mismatch == pytest.approx(evaluation.kl_per_dimension(model, x).sum(), abs=0.02)
    z = np.linspace(-10, 10, 4001)[:, None]
    log_each = densities(x @ to_mean, log_var, z)
    log_aggregate = logsumexp(log_each, axis=0) - np.log(len(x))
    step = z[1, 0] - z[0, 0]
    assert information == pytest.approx(np.sum(np.exp(log_each) * (log_each - log_aggregate)) * step / len(x), abs=0.02)
    log_prior = norm.logpdf(z[:, 0])
    assert mismatch == pytest.approx(np.sum(np.exp(log_aggregate) * (log_aggregate - log_prior)) * step, abs=0.02)


def test_information_ends_at_the_number_of_examples_and_at_nothing(rng):
    x = rng.normal(size=(30, 3)).astype("float32")
    sharp = linear(np.eye(3), [-12.0] * 3)
    assert evaluation.mutual_information(sharp, x) == pytest.approx(np.log(30), abs=1e-3)
    collapsed = linear(np.zeros((3, 3)), [0.0] * 3)
    assert evaluation.mutual_information(collapsed, x) == pytest.approx(0.0, abs=1e-4)
    assert evaluation.aggregate_mismatch(collapsed, x) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.long
def test_chunks_do_not_change_the_information(rng, monkeypatch):
    x = rng.normal(size=(41, 3)).astype("float32")
    model = linear(WEIGHTS, LOG_VAR)
    whole = evaluation.mutual_information(model, x, num_samples=300)
    monkeypatch.setattr("kvae.evaluation.latent_usage.PAIRS", 41 * 3 * 10)
    assert evaluation.mutual_information(model, x, num_samples=300) == pytest.approx(whole, abs=0.03)


@pytest.mark.long
def test_what_has_no_such_number_is_refused(digits):
    x = digits.x_test[:5]
    for function in (
        evaluation.active_units,
        evaluation.kl_per_dimension,
        evaluation.mutual_information,
        evaluation.aggregate_mismatch,
    ):
        with pytest.raises(ValueError, match="`model` must have densities"):
            function(autoencoder(), x)
        with pytest.raises(ValueError, match="`labels` is missing"):
            function(cvae(), x)
        with pytest.raises(ValueError, match="divide by 255"):
            function(vae(), x * 255)
    with pytest.raises(ValueError, match=r"independent dimensions.*Received: a Normal posterior and a Mixture prior"):
        evaluation.kl_per_dimension(vae(prior="mixture"), x)
    with pytest.raises(ValueError, match=r"independent dimensions.*Received: a VonMisesFisher posterior"):
        evaluation.kl_per_dimension(vae(posterior="von_mises_fisher"), x)
    with pytest.raises(ValueError, match=r"the same prior p\(z\) for all labels.*Received: a Conditional prior"):
        evaluation.aggregate_mismatch(cvae(prior="learned"), x, np.zeros(5, int))
    with pytest.raises(ValueError, match="at least two examples"):
        evaluation.active_units(vae(), x[:1])
    with pytest.raises(ValueError, match="`threshold` must be a finite number above 0"):
        evaluation.active_units(vae(), x, threshold=0)
    for function in (evaluation.kl_per_dimension, evaluation.mutual_information):
        with pytest.raises(ValueError, match="`num_samples` must be an integer"):
            function(vae(), x, num_samples=0)


# Sets of images.


def manifold_share(points, others, k):
    distances = cdist(others, others)
    radii = np.sort(distances, axis=1)[:, k]  # column 0 is the point itself
    return np.mean((cdist(points, others) <= radii).any(axis=1))


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_the_formula(rng, k):
    real, generated = rng.normal(size=(80, 4)), rng.normal(size=(60, 4)) + 0.8
    expected = manifold_share(generated, real, k), manifold_share(real, generated, k)
    assert evaluation.precision_recall(real, generated, k) == pytest.approx(expected)
    assert 0.1 < expected[0] < 1


def test_precision_and_recall_tell_noise_from_a_missing_mode(rng):
    real = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 20])
    one_mode = rng.normal(size=(100, 2))
    precision, recall = evaluation.precision_recall(real, one_mode)
    assert precision > 0.9
    assert recall == pytest.approx(0.5, abs=0.05)
    scattered = rng.uniform(-40, 60, size=(200, 2))
    precision, recall = evaluation.precision_recall(real, scattered)
    assert precision < 0.1
    assert recall > 0.9
    assert evaluation.precision_recall(real, real) == (1.0, 1.0)


def test_precision_recall_refuses_what_does_not_fit(rng):
    with pytest.raises(ValueError, match="two arrays"):
        evaluation.precision_recall(rng.random((5, 2)), rng.random((5, 3)))
    with pytest.raises(ValueError, match="`k` must be less than the number of images"):
        evaluation.precision_recall(rng.random((5, 2)), rng.random((3, 2)))
    with pytest.raises(ValueError, match="`k` must be an integer"):
        evaluation.precision_recall(rng.random((5, 2)), rng.random((5, 2)), k=0)
