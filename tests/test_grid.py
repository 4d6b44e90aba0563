"""Models compared with exact solutions."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import kvae
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.distributions import Normal
from kvae.models.batches import Batch

SIGMA, PIXELS, LATENT = 0.5, 6, 2


@pytest.fixture
def linear_gaussian(rng):
    """p(x|z) = N(Wz + b, σ²), where W has orthogonal columns, so that the posterior is diagonal and in the family."""
    w = np.linalg.qr(rng.normal(size=(PIXELS, LATENT)))[0] * [1.5, 0.7]
    b = rng.normal(size=PIXELS)
    encoder, decoder = kvae.networks.mlp((PIXELS,), LATENT, hidden=(), likelihood=Normal(sigma=SIGMA))
    model = kvae.VAE(encoder, decoder, likelihood=Normal(sigma=SIGMA), seed=0)
    decoder.set_weights([w.T, b])
    # p(z|x) = N(M⁻¹ Wᵀ (x − b), σ² M⁻¹) with M = WᵀW + σ² I (Bishop 2006, eq. 12.42)
    m = w.T @ w + SIGMA**2 * np.eye(LATENT)
    to_mean = w @ np.linalg.inv(m)
    log_var = np.log(SIGMA**2 / np.diag(m))
    encoder.set_weights([np.hstack([to_mean, np.zeros_like(to_mean)]), np.concatenate([-b @ to_mean, log_var])])
    x = (rng.normal(size=(200, LATENT)) @ w.T + b + SIGMA * rng.normal(size=(200, PIXELS))).astype("float32")
    exact = scipy.stats.multivariate_normal(b, w @ w.T + SIGMA**2 * np.eye(PIXELS)).logpdf(x)
    return model, x, exact


def widen(model):
    """Multiply the variance of the posterior by e."""
    kernel, bias = model.encoder.get_weights()
    model.encoder.set_weights([kernel, bias + np.repeat([0.0, 1.0], LATENT)])


@pytest.mark.long
def test_with_the_true_posterior_the_elbo_is_the_log_likelihood(linear_gaussian):
    model, x, exact = linear_gaussian
    draws = np.stack([model.elbo(x, num_samples=100, seed=seed) for seed in range(20)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.mean(np.abs(draws.mean(axis=0) - exact) < 3 * error) > 0.97
    mean_error = draws.mean(axis=1).std(ddof=1) / np.sqrt(len(draws))
    assert abs(draws.mean() - exact.mean()) < 3 * mean_error


@pytest.mark.long
def test_with_another_posterior_the_elbo_is_lower_by_the_kl(linear_gaussian):
    model, x, exact = linear_gaussian
    widen(model)
    gap = LATENT * 0.5 * (np.e - 1 - 1)  # KL(N(μ, eσ²) ‖ N(μ, σ²)) per dimension
    draws = np.stack([model.elbo(x, num_samples=500, seed=seed).mean() for seed in range(10)])
    assert draws.mean() == pytest.approx(exact.mean() - gap, abs=4 * draws.std() / np.sqrt(10) + 1e-4)


@pytest.mark.long
def test_evaluate_reports_the_same_bound(linear_gaussian):
    model, x, exact = linear_gaussian
    model.compile()
    losses = [model.evaluate(x, batch_size=64, verbose=0, return_dict=True)["loss"] for _ in range(30)]
    assert np.mean(losses) == pytest.approx(-exact.mean(), abs=4 * np.std(losses) / np.sqrt(30))


@pytest.mark.parametrize(
    "bound", [ELBO(kl="monte_carlo"), ImportanceWeighted(), Renyi(0.5), Renyi(2.0), Renyi(-np.inf)]
)
def test_with_the_true_posterior_every_bound_is_exact_at_every_draw(linear_gaussian, bound):
    """log p(x, z) − log q(z|x) = log p(x) for every z."""
    model, x, exact = linear_gaussian
    model.bound, model.num_samples = bound, 3
    losses = model.run_batch(Batch(keras.ops.convert_to_tensor(x)), training=False).losses
    np.testing.assert_allclose(-keras.ops.convert_to_numpy(sum(losses)), exact, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("bound", [ImportanceWeighted(), Renyi(1e-4)])
def test_with_many_samples_the_bound_meets_the_log_likelihood(linear_gaussian, bound):
    model, x, exact = linear_gaussian
    widen(model)
    model.bound, model.num_samples = bound, 2000
    model.compile()
    losses = np.array([model.evaluate(x, batch_size=100, verbose=0, return_dict=True)["loss"] for _ in range(10)])
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    assert abs(losses.mean() + exact.mean()) < 3 * error + 1e-4
    assert error < 5e-3


def test_two_layers_weights_average_to_the_likelihood(rng):
    """h ~ N(0, I), z|h and x|z linear: x is normal with a known covariance, and E[w] = p(x) for any encoders."""
    prior = kvae.priors.Hierarchical(*kvae.networks.mlp((LATENT,), 1, hidden=(), likelihood=Normal()))
    to_z, to_x = np.array([[0.8, -0.4]]), rng.normal(size=(LATENT, 3))
    prior.decoder.set_weights([np.hstack([to_z, np.zeros((1, LATENT))]), np.repeat([0.0, np.log(0.25)], LATENT)])
    prior.encoder.set_weights([np.array([[0.9, 0.0], [-0.4, 0.0]]), np.array([0.0, np.log(0.5)])])
    encoder, decoder = kvae.networks.mlp((3,), LATENT, hidden=(), likelihood=Normal(sigma=SIGMA))
    decoder.set_weights([to_x, np.zeros(3)])
    encoder.set_weights([np.hstack([0.3 * to_x.T, np.zeros((3, LATENT))]), np.repeat([0.0, np.log(0.3)], LATENT)])
    model = kvae.VAE(encoder, decoder, likelihood=Normal(sigma=SIGMA), prior=prior, seed=0)
    covariance = to_x.T @ (to_z.T @ to_z + 0.25 * np.eye(LATENT)) @ to_x + SIGMA**2 * np.eye(3)
    exact = scipy.stats.multivariate_normal(np.zeros(3), covariance)
    x = exact.rvs(3, random_state=1).astype("float32")
    images = keras.ops.convert_to_tensor(x)
    params = model.inference(images)
    z = model.posterior_family.sample(params, 100_000, model.seed_generator)
    sample, _ = model.score(images, z, params, (), model.seed_generator)
    ratio = np.exp(keras.ops.convert_to_numpy(sample.log_weights()).astype("float64") - exact.logpdf(x))
    error = ratio.std(axis=0, ddof=1) / np.sqrt(len(ratio))
    assert (np.abs(ratio.mean(axis=0) - 1) < 4 * error).all()
    assert (error < 0.1).all()
    (loss,) = ImportanceWeighted()(sample, 1.0)
    np.testing.assert_allclose(-keras.ops.convert_to_numpy(loss), exact.logpdf(x), atol=4 * error.max())


@pytest.mark.long
def test_a_linear_vae_finds_pcas_subspace(rng):
    """Lucas et al. 2019: the optimum of a linear VAE is that of probabilistic PCA (Tipping & Bishop 1999)."""
    keras.utils.set_random_seed(0)
    basis = np.linalg.qr(rng.normal(size=(PIXELS, PIXELS)))[0]
    x = (rng.normal(size=(2000, PIXELS)) * [2.0, 1.2, 0.3, 0.3, 0.3, 0.3] @ basis.T).astype("float32")
    model = kvae.VAE(
        *kvae.networks.mlp((PIXELS,), LATENT, hidden=(), likelihood="gaussian"), likelihood="gaussian", num_samples=4
    )
    steps = 60 * 16
    model.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-2, steps)))
    model.fit(x, batch_size=128, epochs=60, verbose=0)
    pca = kvae.baselines.PCA(LATENT).fit(x)
    directions = model.decoder.get_weights()[0]  # (latent, pixels)
    angles = np.degrees(scipy.linalg.subspace_angles(directions.T, pca.components.T))
    assert angles.max() < 2.0
    sigma = float(np.exp(0.5 * keras.ops.convert_to_numpy(model.likelihood.log_var)))
    assert sigma == pytest.approx(0.3, rel=0.05)  # the average of the discarded variances
