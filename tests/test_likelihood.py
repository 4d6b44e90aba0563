"""Estimates of log p(x), compared with exact values and with one another."""

import keras
import numpy as np
import pytest
import scipy.stats
from cases import DENSITIES, autoencoder, cvae, vae
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from test_grid import LATENT, PIXELS, SIGMA, linear_gaussian  # noqa: F401

import kvae
from kvae import evaluation
from kvae.distributions import Laplace, Normal
from kvae.evaluation.chunks import chunks, even_share
from kvae.evaluation.likelihood import log_mean


def widened(model, by=1.0):
    """The same model with a posterior whose standard deviation is e^(by/2) times too large."""
    kernel, bias = model.encoder.get_weights()
    bias[LATENT:] += by
    model.encoder.set_weights([kernel, bias])
    return model


def meets(estimate, exact, num_seeds=12):
    """Assert that estimates `seed -> (n,)` are within 3 standard errors of `exact` `(n,)`, as ratios of p(x).

    The ratios are unbiased, whereas their logarithms are biased downward, by Jensen's inequality.
    """
    # Seeds far apart: on PyTorch, Keras adds a counter to the seed, so adjacent seeds repeat the noise one draw later.
    ratios = np.stack([np.exp(estimate(100_000 * seed) - exact) for seed in range(num_seeds)]).mean(axis=1)
    error = ratios.std(ddof=1) / np.sqrt(num_seeds)
    assert 0 < error < 0.02  # otherwise the test would always pass
    assert abs(ratios.mean() - 1.0) < 3 * error + 1e-4


# Every estimator agrees with the exact value.


@pytest.mark.long
def test_importance_sampling_meets_the_exact_value(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    widened(model)
    meets(lambda seed: evaluation.log_likelihood(model, x[:50], num_samples=2500, seed=seed).values, exact[:50])
    at_one = evaluation.log_likelihood(model, x, num_samples=1, seed=0).mean
    assert at_one < exact.mean() - 0.5  # one sample gives the ELBO


@pytest.mark.long
def test_sampling_the_prior_meets_the_exact_value(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    meets(lambda seed: evaluation.prior_log_likelihood(model, x[:50], num_samples=5000, seed=seed).values, exact[:50])


@pytest.mark.long
def test_annealing_meets_the_exact_value(rng):
    """A posterior far narrower than the prior, so that the chains must take small steps."""
    likelihood = Normal(sigma=0.3)
    model = kvae.VAE(*kvae.networks.mlp((4,), 3, hidden=(), likelihood=likelihood), likelihood=likelihood, seed=0)
    w, b = rng.normal(size=(3, 4)), rng.normal(size=4)
    model.decoder.set_weights([w, b])
    x = (rng.normal(size=(40, 3)) @ w + b + 0.3 * rng.normal(size=(40, 4))).astype("float32")
    exact = multivariate_normal(b, w.T @ w + 0.09 * np.eye(4)).logpdf(x)

    def estimate(seed, num_steps=200):
        return evaluation.annealed_log_likelihood(model, x, num_chains=100, num_steps=num_steps, seed=seed)

    meets(lambda seed: estimate(seed).values, exact, num_seeds=8)
    # Chains that reached the posterior have larger weights than samples from the prior.
    naive = evaluation.prior_log_likelihood(model, x, num_samples=100, seed=0)
    sizes = [estimate(0, steps).effective_sample_size.mean() for steps in (10, 200)]
    assert naive.effective_sample_size.mean() < sizes[0] < sizes[1] < 100
    assert sizes[1] > 30  # steps of a suitable size; 20 where they adapt in the wrong direction


def test_the_grid_is_exact(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    grid = evaluation.grid_log_likelihood(model, x[:20], points=121)
    np.testing.assert_allclose(grid.values, exact[:20], atol=1e-4)
    assert grid.accuracy.max() < 0.01
    # Its posterior is the closed form of tests/test_grid.py, N(mean, diag(var)).
    mean, log_var = model.posterior(x[:20])
    points = np.stack(np.meshgrid(grid.axis, grid.axis, indexing="ij"), axis=-1)
    expected = multivariate_normal(mean[3], np.diag(np.exp(log_var[3]))).logpdf(points)
    near = expected > -10
    np.testing.assert_allclose(grid.log_posterior[3][near], expected[near], atol=1e-3)


@pytest.mark.long
def test_grid_and_importance_sampling_agree_on_digits(digits):
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp(digits.image_shape, 2, hidden=(64,)), seed=0)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    model.fit(digits.x_train, epochs=15, verbose=0)
    x = digits.x_test[:60]
    grid = evaluation.grid_log_likelihood(model, x)
    estimate = evaluation.log_likelihood(model, x, num_samples=5000, seed=0)
    assert np.abs(estimate.values - grid.values).max() < 0.1
    assert abs(estimate.mean - grid.mean) < 0.01
    area = (grid.axis[1] - grid.axis[0]) ** 2
    np.testing.assert_allclose(np.exp(grid.log_posterior).sum(axis=(1, 2)) * area, 1.0, atol=1e-3)
    annealed = evaluation.annealed_log_likelihood(model, x, num_chains=32, num_steps=100, seed=0)
    assert abs(annealed.mean - grid.mean) < 0.1
    assert model.elbo(x, num_samples=100, seed=0).mean() < grid.mean - 0.05


def test_one_latent_dimension_has_a_grid_too(rng):
    model = kvae.VAE(*kvae.networks.mlp((3,), 1, hidden=(), likelihood="gaussian"), likelihood="gaussian", seed=0)
    w, b = np.array([[1.0, -0.5, 2.0]]), np.array([0.1, 0.2, 0.3])
    model.decoder.set_weights([w, b])
    x = rng.normal(size=(5, 3)).astype("float32")
    grid = evaluation.grid_log_likelihood(model, x)
    np.testing.assert_allclose(grid.values, multivariate_normal(b, w.T @ w + np.eye(3)).logpdf(x), atol=1e-4)
    assert grid.log_posterior.shape == (5, 301)


# Diagnostics of an estimate.


def test_the_numbers_are_numpys(rng):
    log_weights = rng.normal(scale=3, size=(40, 5)) + np.array([0, 1000, -1000, 5, 6])
    values, sizes = log_mean(log_weights)
    np.testing.assert_allclose(values, logsumexp(log_weights, axis=0) - np.log(40))
    weights = np.exp(log_weights - log_weights.max(axis=0))
    np.testing.assert_allclose(sizes, weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0))
    log_weights[:39, 2] = -np.inf  # one sample has all the weight
    values, sizes = log_mean(log_weights)
    assert values[2] == pytest.approx(log_weights[39, 2] - np.log(40))
    assert sizes[2] == pytest.approx(1.0)
    result = evaluation.LogLikelihood(values, sizes)
    assert result.mean == pytest.approx(values.mean())
    assert result.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(5))
    assert np.isnan(evaluation.LogLikelihood(values[:1], sizes[:1]).standard_error)


@pytest.mark.parametrize(("value", "words"), [(-np.inf, "all its samples have density 0"), (np.inf, "infinite or NaN")])
def test_weights_that_say_nothing_are_an_error_that_names_the_example(value, words):
    log_weights = np.zeros((4, 3))
    log_weights[:, 1:] = value  # the first of them is named
    with pytest.raises(ValueError, match=rf"{words}.*Received: x\[8\]"):
        log_mean(log_weights, first=7)
    log_weights[2, 1] = np.nan
    with pytest.raises(ValueError, match="infinite or NaN"):
        log_mean(log_weights)


def test_with_the_true_posterior_all_samples_count(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    for batch_size in (3, 5000):  # 3 does not divide 7
        estimate = evaluation.log_likelihood(model, x[:30], num_samples=7, batch_size=batch_size, seed=0)
        np.testing.assert_allclose(estimate.values, exact[:30], atol=2e-4)
        np.testing.assert_allclose(estimate.effective_sample_size, 7.0, rtol=1e-3)


@pytest.mark.long
def test_a_seed_repeats_an_estimate_and_batches_change_only_its_noise(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    widened(model)

    def estimate(batch_size, seed=0, n=13):
        return evaluation.log_likelihood(model, x[:n], num_samples=1500, batch_size=batch_size, seed=seed).values

    np.testing.assert_array_equal(estimate(1000), estimate(1000))
    assert not np.array_equal(estimate(1000), estimate(1000, seed=1))
    for batch_size, n in ((7, 2), (400, 13), (100_000, 13)):  # less than an example, some of them, all at once
        # The standard deviation of the weights is 0.8: ±0.02 per example.
        np.testing.assert_allclose(estimate(batch_size, n=n), exact[:n], atol=0.12)
    # Chunks must have independent noise: otherwise the effective sample would be as small as one chunk.
    sizes = [evaluation.log_likelihood(model, x[:2], num_samples=k, batch_size=100, seed=0) for k in (100, 10_000)]
    spread = [np.abs(s.values - exact[:2]).max() for s in sizes]
    assert spread[1] < 0.03


@pytest.mark.parametrize(("num_samples", "batch_size"), [(50, 12), (7, 60), (10, 3), (5, 1), (3, 1000)])
def test_the_decoder_sees_no_more_rows_than_it_may(num_samples, batch_size):
    seen = []

    class Probe(keras.layers.Layer):
        def call(self, inputs):
            seen.append(inputs.shape[0])
            return inputs

    z = keras.Input((2,))
    decoder = keras.Model(z, keras.layers.Dense(6)(Probe()(z)))
    encoder = keras.models.clone_model(vae((6,)).encoder)
    model = kvae.VAE(encoder, decoder)
    x = np.random.default_rng(0).random((11, 6), dtype="float32")
    seen.clear()
    evaluation.log_likelihood(model, x, num_samples=num_samples, batch_size=batch_size, seed=0)
    rows = [n for n in seen if n is not None]
    assert rows
    assert max(rows) <= batch_size
    if num_samples * 11 >= batch_size:
        assert max(rows) > batch_size // 2  # and as many as possible


@pytest.mark.long
def test_a_model_is_left_as_it_was(digits, without_graphs):
    model = vae()
    before = [v.numpy() if hasattr(v, "numpy") else np.array(v) for v in model.variables]
    count = len(model.variables)
    evaluation.log_likelihood(model, digits.x_test[:5], num_samples=20, seed=0)
    evaluation.annealed_log_likelihood(model, digits.x_test[:5], num_chains=2, num_steps=3, seed=0)
    evaluation.inference_gap(model, digits.x_test[:5], num_samples=10, steps=2, seed=0)
    assert len(model.variables) == count
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))
    model.decoder.set_weights([w + 1.0 for w in model.decoder.get_weights()])  # a new estimate uses the current weights
    after = evaluation.log_likelihood(model, digits.x_test[:5], num_samples=20, seed=0)
    assert np.isfinite(after.values).all()


@pytest.mark.long
@pytest.mark.parametrize("name", DENSITIES)
def test_every_model_with_a_density_has_an_estimate(name, request):
    if name not in ("vae", "semisupervised"):
        request.getfixturevalue("without_graphs")
    case = DENSITIES[name]
    model = case.build()
    x, y = case.arrays(3)
    elbo = model.elbo(x, y, num_samples=200, seed=0)
    estimate = evaluation.log_likelihood(model, x, y, num_samples=300, batch_size=200, seed=0)
    assert estimate.values.shape == (3,)
    assert estimate.mean > elbo.mean() - 0.05
    assert (estimate.effective_sample_size >= 1 - 1e-6).all()
    assert (estimate.effective_sample_size <= 300 + 1e-3).all()


def test_a_conditional_model_gives_log_p_of_x_under_y(rng):
    """The label shifts the decoder's mean, so p(x|y) is normal for each label."""
    x_input, y_input, z_input = keras.Input((3,)), keras.Input((2,)), keras.Input((1,))
    join = keras.layers.Concatenate()
    encoder = keras.Model(
        [x_input, y_input], keras.layers.Dense(2, kernel_initializer="zeros")(join([x_input, y_input]))
    )
    decoder = keras.Model([z_input, y_input], keras.layers.Dense(3)(join([z_input, y_input])))
    w, shift, b = rng.normal(size=(1, 3)), rng.normal(size=(2, 3)), rng.normal(size=3)
    decoder.set_weights([np.vstack([w, shift]), b])
    model = kvae.CVAE(encoder, decoder, num_classes=2, likelihood=Normal(sigma=1.0))
    x, y = rng.normal(size=(8, 3)).astype("float32"), np.array([0, 1] * 4)
    exact = [multivariate_normal(b + shift[k], w.T @ w + np.eye(3)).logpdf(row) for row, k in zip(x, y, strict=True)]
    np.testing.assert_allclose(evaluation.grid_log_likelihood(model, x, y).values, exact, atol=1e-4)
    for estimate in (evaluation.log_likelihood, evaluation.prior_log_likelihood):
        np.testing.assert_allclose(estimate(model, x, y, num_samples=20_000, seed=0).values, exact, atol=0.06)
    annealed = evaluation.annealed_log_likelihood(model, x, y, num_chains=200, num_steps=30, seed=0)
    np.testing.assert_allclose(annealed.values, exact, atol=0.15)


@pytest.mark.long
def test_annealing_and_the_naive_estimate_start_at_the_prior_of_the_label():
    model = cvae(prior="learned")
    kernel, bias = model.prior.network.get_weights()
    model.prior.network.set_weights([kernel + np.random.default_rng(0).normal(size=kernel.shape), bias])
    x = np.random.default_rng(1).random((4, 8, 8, 1), dtype="float32")
    y = np.array([0, 1, 2, 0])
    exact = evaluation.grid_log_likelihood(model, x, y).values
    annealed = evaluation.annealed_log_likelihood(model, x, y, num_chains=100, num_steps=50, seed=0)
    np.testing.assert_allclose(annealed.values, exact, atol=0.2)
    naive = evaluation.prior_log_likelihood(model, x, y, num_samples=2000, batch_size=4000, seed=0)
    np.testing.assert_allclose(naive.values, exact, atol=0.1)


def test_two_stochastic_layers_draw_their_own_samples(digits, without_graphs):
    pair = kvae.networks.mlp((2,), 2, hidden=(4,), likelihood=Normal())
    model = vae(prior=kvae.priors.Hierarchical(*pair))
    few, many = (evaluation.log_likelihood(model, digits.x_test[:50], num_samples=k, seed=0).mean for k in (1, 500))
    assert few < many


@pytest.mark.long
def test_the_noise_of_two_stochastic_layers_is_independent(rng):
    """Both layers have 2 dimensions: with the same noise in both, the weights would not average to p(x)."""
    prior = kvae.priors.Hierarchical(*kvae.networks.mlp((2,), 2, hidden=(), likelihood=Normal()))
    to_z, to_x, s2 = np.array([[0.9, -0.3], [0.2, 0.8]]), rng.normal(size=(2, 3)), 0.5
    prior.decoder.set_weights([np.hstack([to_z, np.zeros((2, 2))]), np.repeat([0.0, np.log(s2)], 2)])
    covariance_h = np.linalg.inv(np.eye(2) + to_z @ to_z.T / s2)  # of p(h|z), whose mean is linear in z
    to_h = to_z.T @ covariance_h / s2
    spread = np.log(1.5 * np.diag(covariance_h))
    prior.encoder.set_weights([np.hstack([to_h, np.zeros((2, 2))]), np.concatenate([np.zeros(2), spread])])
    likelihood = Normal(sigma=SIGMA)
    encoder, decoder = kvae.networks.mlp((3,), 2, hidden=(), likelihood=likelihood)
    decoder.set_weights([to_x, np.zeros(3)])
    precision = np.linalg.inv(to_z.T @ to_z + s2 * np.eye(2)) + to_x @ to_x.T / SIGMA**2
    to_mean, spread = to_x.T @ np.linalg.inv(precision) / SIGMA**2, np.log(1.5 * np.diag(np.linalg.inv(precision)))
    encoder.set_weights([np.hstack([to_mean, np.zeros((3, 2))]), np.concatenate([np.zeros(2), spread])])
    model = kvae.VAE(encoder, decoder, likelihood=likelihood, prior=prior, seed=0)
    exact = multivariate_normal(np.zeros(3), to_x.T @ (to_z.T @ to_z + s2 * np.eye(2)) @ to_x + SIGMA**2 * np.eye(3))
    x = exact.rvs(20, random_state=1).astype("float32")
    meets(lambda seed: evaluation.log_likelihood(model, x, num_samples=2500, seed=seed).values, exact.logpdf(x))


def test_bits_per_dimension():
    assert evaluation.bits_per_dimension(-np.log(2.0) * 12, (2, 3, 1)) == pytest.approx(2.0)
    np.testing.assert_allclose(evaluation.bits_per_dimension(np.array([-6.0, 0.0]) * np.log(2), (3,)), [2.0, 0.0])
    assert evaluation.bits_per_dimension(-np.log(2.0) * 12, (2, 1, 3)) == pytest.approx(2.0)  # channels count
    rng, sigma = np.random.default_rng(0), 30.0  # of grey levels: as a density of them, and of pixels in [0, 1]
    k = rng.normal(128, sigma, (9, 12))
    nats = scipy.stats.norm.logpdf(k, 128, sigma).sum(axis=1)
    scaled = scipy.stats.norm.logpdf(k / 256, 0.5, sigma / 256).sum(axis=1)
    expected = evaluation.bits_per_dimension(nats, (2, 2, 3))
    np.testing.assert_allclose(evaluation.bits_per_dimension(scaled, (2, 2, 3), levels=256), expected)
    with pytest.raises(ValueError, match=r"`log_likelihood` must be numbers: its mean or its values. Received: a LogL"):
        evaluation.bits_per_dimension(evaluation.LogLikelihood(nats, nats), (2, 2, 3))


# The gap.


@pytest.mark.long
def test_the_gap_of_a_wrong_encoder_is_amortisation_and_equals_its_kl(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    widened(model)
    kl = LATENT * 0.5 * (np.e - 1 - 1)  # KL(N(μ, eσ²) ‖ N(μ, σ²)); the true posterior is in the family
    gap = evaluation.inference_gap(model, x[:30], num_samples=2000, steps=200, learning_rate=0.05, seed=0)
    assert gap.amortisation.mean() == pytest.approx(kl, abs=0.03)
    assert (gap.amortisation >= 0).all()
    assert gap.approximation.mean() == pytest.approx(0.0, abs=0.03)
    np.testing.assert_allclose(gap.log_likelihood, exact[:30], atol=0.05)
    np.testing.assert_allclose(gap.approximation + gap.amortisation, gap.total)


@pytest.mark.long
def test_log_p_of_x_comes_from_the_optimised_posterior_and_no_gap_is_negative(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    widened(model, 2.0)
    gap = evaluation.inference_gap(model, x[:20], num_samples=10, steps=200, learning_rate=0.05, seed=0)
    np.testing.assert_allclose(gap.log_likelihood, exact[:20], atol=0.15)
    assert np.abs(evaluation.log_likelihood(model, x[:20], num_samples=10, seed=0).values - exact[:20]).max() > 0.5
    worse = evaluation.inference_gap(model, x[:20], num_samples=10, steps=2, learning_rate=20.0, seed=0)
    np.testing.assert_array_equal(worse.amortisation, 0.0)  # the encoder's own q is the best that was found


@pytest.mark.long
def test_the_gap_of_a_wrong_family_is_approximation(rng):
    """A Laplace q for a normal posterior, with an untrained encoder."""
    keras.utils.set_random_seed(0)
    likelihood = Normal(sigma=1.0)
    encoder, decoder = kvae.networks.mlp((2,), 1, hidden=(), posterior="laplace", likelihood=likelihood)
    model = kvae.VAE(encoder, decoder, posterior=Laplace(), likelihood=likelihood, seed=0)
    w = np.array([[1.0, 2.0]])
    decoder.set_weights([w, np.zeros(2)])
    x = rng.normal(size=(10, 2)).astype("float32")
    # KL(Laplace(μ, b) ‖ N(μ, s²)) = ½ log 2πs² + b²/s² − 1 − log 2b, least at b² = s²/2: ½ log π − ½.
    gap = evaluation.inference_gap(model, x, num_samples=4000, steps=300, learning_rate=0.05, seed=0)
    assert gap.approximation.mean() == pytest.approx(0.5 * np.log(np.pi) - 0.5, abs=0.02)
    exact = multivariate_normal(np.zeros(2), w.T @ w + np.eye(2)).logpdf(x)
    np.testing.assert_allclose(gap.log_likelihood, exact, atol=0.05)


# Execution.


def test_chunks_are_equal_and_cover_all(rng):
    assert (even_share(10, 4), even_share(5000, 5000), even_share(5001, 5000), even_share(3, 7)) == (4, 5000, 2501, 3)
    x = rng.normal(size=(10, 2))
    parts = list(chunks((x, None), 4))
    assert {len(part) for _, (part, _) in parts} == {4}
    assert all(nothing is None for _, (_, nothing) in parts)
    np.testing.assert_array_equal(np.concatenate([part[: r.stop - r.start] for r, (part, _) in parts]), x)


def test_nothing_is_printed_unless_asked_for_and_slow(capsys, monkeypatch):
    x = np.zeros((30, 1))
    for _ in chunks((x,), 1, verbose=True, label="counting"):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("kvae.evaluation.chunks.QUIET", 0.0)
    for _ in chunks((x,), 1, verbose=False):
        pass
    assert capsys.readouterr().out == ""
    for _ in chunks((x,), 1, verbose=True, label="counting"):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "counting: 3 of 30 examples"
    assert lines[-1] == "counting: 30 of 30 examples"


# Invalid input.


@pytest.mark.parametrize("name", ["num_samples", "batch_size"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True])
def test_sizes_must_be_positive_integers(name, value):
    x = np.zeros((2, 8, 8, 1), "float32")
    for function in (evaluation.log_likelihood, evaluation.prior_log_likelihood, evaluation.inference_gap):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1"):
            function(vae(), x, **{name: value})


def test_data_that_the_likelihood_cannot_score_are_refused():
    x = np.full((2, 8, 8, 1), 255.0, "float32")
    for function in (
        evaluation.log_likelihood,
        evaluation.prior_log_likelihood,
        evaluation.annealed_log_likelihood,
        evaluation.grid_log_likelihood,
        evaluation.inference_gap,
    ):
        with pytest.raises(ValueError, match=r"pixels in \[0, 1\] for the Bernoulli likelihood: divide by 255"):
            function(vae(), x)
        with pytest.raises(ValueError, match="`labels` is missing"):
            function(cvae(), x / 255)
        with pytest.raises(ValueError, match="`model` must have densities"):
            function(autoencoder(), x)


def test_a_model_that_overflows_gives_an_error_and_no_nan(without_graphs):
    model = vae(likelihood=Normal(sigma=1e-5))
    x = np.zeros((3, 8, 8, 1), "float32")
    x[1] = 1e15  # (x / σ)² overflows float32
    for batch_size in (5, 5000):  # one example at a time, or all
        with pytest.raises(ValueError, match=r"all its samples have density 0.*Received: x\[1\]"):
            evaluation.log_likelihood(model, x, num_samples=5, batch_size=batch_size, seed=0)
    model.decoder.set_weights([w * np.nan for w in model.decoder.get_weights()])
    with pytest.raises(ValueError, match=r"infinite or NaN.*Received: x\[0\]"):
        evaluation.log_likelihood(model, x[:1], num_samples=5, seed=0)


def test_what_the_checks_cannot_do_they_refuse():
    x = np.zeros((2, 8, 8, 1), "float32")
    with pytest.raises(ValueError, match=r"a single normal distribution as its prior.*Received: a Mixture prior"):
        evaluation.annealed_log_likelihood(vae(prior="mixture"), x)
    with pytest.raises(ValueError, match="`batch_size` must be at least the number of chains, 16"):
        evaluation.annealed_log_likelihood(vae(), x, batch_size=15)
    deep = kvae.VAE(*kvae.networks.mlp((8, 8, 1), 3, hidden=()))
    with pytest.raises(ValueError, match=r"1 or 2 latent dimensions for a grid: use log_likelihood for others.*: 3"):
        evaluation.grid_log_likelihood(deep, x)
    two_layers = vae(prior=kvae.priors.Hierarchical(*kvae.networks.mlp((2,), 2, hidden=(4,), likelihood=Normal())))
    with pytest.raises(ValueError, match="whose density can be evaluated"):
        evaluation.grid_log_likelihood(two_layers, x)
    with pytest.raises(ValueError, match="`points` must be at least 3"):
        evaluation.grid_log_likelihood(vae(), x, points=2)


def test_a_grid_too_coarse_or_too_small_is_refused(linear_gaussian):  # noqa: F811
    model, x, _ = linear_gaussian
    with pytest.raises(ValueError, match=r"`points` must be larger: the posterior of x\[0\] is narrow"):
        evaluation.grid_log_likelihood(model, x, points=15)
    with pytest.raises(ValueError, match=r"`limit` must be larger"):
        evaluation.grid_log_likelihood(model, x, limit=0.4, points=41)
