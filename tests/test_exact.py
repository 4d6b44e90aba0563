"""Whole models against answers that are known exactly."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import kvae
from kvae.distributions import Normal

SIGMA, PIXELS, LATENT = 0.5, 6, 2


@pytest.fixture
def linear_gaussian(rng):
    """p(x|z) = N(Wz + b, σ²), W with orthogonal columns, so that the posterior is diagonal and in the family."""
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


def test_with_the_true_posterior_the_elbo_is_the_log_likelihood(linear_gaussian):
    model, x, exact = linear_gaussian
    draws = np.stack([model.elbo(x, num_samples=100, seed=seed) for seed in range(20)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.mean(np.abs(draws.mean(axis=0) - exact) < 3 * error) > 0.97
    mean_error = draws.mean(axis=1).std(ddof=1) / np.sqrt(len(draws))
    assert abs(draws.mean() - exact.mean()) < 3 * mean_error


def test_with_another_posterior_the_elbo_is_lower_by_the_kl(linear_gaussian):
    model, x, exact = linear_gaussian
    kernel, bias = model.encoder.get_weights()
    true_log_var = bias[LATENT:].copy()
    bias[LATENT:] += 1.0  # e times too wide
    model.encoder.set_weights([kernel, bias])
    gap = np.sum(0.5 * (np.e - 1 - np.ones_like(true_log_var)))  # KL(N(μ, eσ²) ‖ N(μ, σ²)) a dimension
    draws = np.stack([model.elbo(x, num_samples=500, seed=seed).mean() for seed in range(10)])
    assert draws.mean() == pytest.approx(exact.mean() - gap, abs=4 * draws.std() / np.sqrt(10) + 1e-4)


def test_evaluate_reports_the_same_bound(linear_gaussian):
    model, x, exact = linear_gaussian
    model.compile()
    losses = [model.evaluate(x, batch_size=64, verbose=0, return_dict=True)["loss"] for _ in range(30)]
    assert np.mean(losses) == pytest.approx(-exact.mean(), abs=4 * np.std(losses) / np.sqrt(30))


def test_a_linear_vae_finds_pcas_subspace(rng):
    """Lucas et al. 2019: the optimum of a linear VAE is probabilistic PCA's (Tipping & Bishop 1999)."""
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
    assert sigma == pytest.approx(0.3, rel=0.05)  # the mean of the discarded variances
