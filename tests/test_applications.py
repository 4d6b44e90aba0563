"""Applications of trained models, compared with exact posteriors, explicit formulas and simpler methods."""

import io
import zlib

import keras
import numpy as np
import pytest
import scipy.stats
from PIL import Image
from test_grid import LATENT, PIXELS, SIGMA, linear_gaussian  # noqa: F401 (a fixture)

import kvae
from kvae import applications, evaluation, plots
from kvae.applications import compression, posterior_codes
from kvae.distributions import Normal

DATA = kvae.load_data("digits")
X, Y = DATA.x_test[:40], DATA.y_test[:40]
LOWER = np.ones((8, 8, 1), bool)
LOWER[4:] = False


@pytest.fixture(scope="module")
def vae():
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim=8, hidden=(128,)), seed=0)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    model.fit(DATA.x_train, batch_size=32, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def cvae():
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((8, 8, 1), latent_dim=2, hidden=(16,), num_classes=10)
    return kvae.CVAE(*networks, num_classes=10, prior="learned", seed=0)


@pytest.fixture(scope="module")
def autoencoder():
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((8, 8, 1), latent_dim=8, hidden=(64,), posterior=None)
    model = kvae.Autoencoder(*networks, seed=0)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    model.fit(DATA.x_train, epochs=10, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def pca():
    return kvae.baselines.PCA(8).fit(DATA.x_train)


def widened(model, by=1.0):
    """The same model with a posterior whose standard deviation is e^(by/2) times too large."""
    kernel, bias = model.encoder.get_weights()
    bias[LATENT:] += by
    model.encoder.set_weights([kernel, bias])
    return model


# Log-likelihood.


def test_with_the_true_posterior_every_weight_is_the_likelihood(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    for num_samples in (1, 7):
        estimate = evaluation.log_likelihood(model, x, num_samples=num_samples, seed=0).values
        np.testing.assert_allclose(estimate, exact, atol=2e-4)


@pytest.mark.long
def test_with_another_posterior_samples_make_up_for_it(linear_gaussian):  # noqa: F811
    model, x, exact = linear_gaussian
    widened(model)

    def estimate(num_samples, seed, n=200):
        return evaluation.log_likelihood(model, x[:n], num_samples=num_samples, seed=seed).mean

    draws = np.array([estimate(2500, seed, n=5) for seed in range(10)])
    assert abs(draws.mean() - exact[:5].mean()) < 3 * draws.std(ddof=1) / np.sqrt(len(draws))
    assert estimate(1, 0) < estimate(5, 0) < estimate(50, 0) < exact.mean()
    single = np.array([estimate(1, seed) for seed in range(20)])
    assert abs(single.mean() - model.elbo(x, num_samples=500, seed=1).mean()) < 4 * single.std() / np.sqrt(20)


def test_a_conditional_likelihood_uses_the_labels_prior(cvae, without_graphs):
    weights = cvae.prior.network.get_weights()
    before = evaluation.log_likelihood(cvae, X, Y, num_samples=20, seed=0).values
    cvae.prior.network.set_weights([weights[0] + 2.0, weights[1]])
    after = evaluation.log_likelihood(cvae, X, Y, num_samples=20, seed=0).values
    cvae.prior.network.set_weights(weights)
    assert after.mean() < before.mean() - 0.5


# Posteriors of the linear model, in closed form.


def linear_posterior(model, x, known, noise):
    """Mean `(n, latent)` and covariance of p(z | known pixels), noise N(0, noise²)."""
    w, b = model.decoder.get_weights()
    w, b = w[:, known], b[known]
    covariance = np.linalg.inv(np.eye(LATENT) + w @ w.T / noise**2)
    return (x[:, known] - b) @ w.T @ covariance / noise**2, covariance


KNOWN = np.array([True, True, False, True, False, False])


@pytest.mark.long
@pytest.mark.parametrize("by", [0.0, 1.5])
def test_metropolis_samples_the_true_posterior(linear_gaussian, by):  # noqa: F811
    model, x, _ = linear_gaussian
    mean, covariance = linear_posterior(model, x[:4], KNOWN, SIGMA)
    widened(model, by)
    observation = posterior_codes.Observation(x[:4], np.broadcast_to(KNOWN, (4, PIXELS)))
    z = posterior_codes.sample_codes(model, observation, None, 1000, 100, seed=0, correct=True)
    assert z.shape == (1000, 4, LATENT)
    deviation = np.sqrt(np.diag(covariance))
    assert np.abs((z.mean(axis=0) - mean) / deviation).max() < 4 / np.sqrt(1000)
    for i in range(4):
        np.testing.assert_allclose(np.cov(z[:, i], rowvar=False), covariance, atol=0.2 * covariance.max())


@pytest.mark.long
def test_gibbs_has_the_right_mean_and_too_little_spread(linear_gaussian):  # noqa: F811
    model, x, _ = linear_gaussian
    mean, covariance = linear_posterior(model, x[:4], KNOWN, SIGMA)
    observation = posterior_codes.Observation(x[:4], np.broadcast_to(KNOWN, (4, PIXELS)))
    z = posterior_codes.sample_codes(model, observation, None, 1000, 40, seed=0, correct=False)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=4 * np.sqrt(covariance.max() / 1000))
    assert 0.3 < np.trace(np.cov(z[:, 0], rowvar=False)) / np.trace(covariance) < 1.0


@pytest.mark.long
@pytest.mark.parametrize("noise", [None, 0.8])
def test_optimising_finds_the_posteriors_mode(linear_gaussian, noise, monkeypatch):  # noqa: F811
    model, x, _ = linear_gaussian
    mean, _ = linear_posterior(model, x[:5], KNOWN, noise or SIGMA)
    observation = posterior_codes.Observation(
        x[:5], np.broadcast_to(KNOWN, (5, PIXELS)), posterior_codes.Sensor(sigma=noise)
    )
    before = [w.copy() for w in model.get_weights()]
    monkeypatch.setattr(posterior_codes, "ROWS", 9)  # three images at a time
    z = posterior_codes.optimise_codes(model, observation, None, np.zeros((3, 5, LATENT), "float32"), 250, 0.05)
    np.testing.assert_allclose(z, np.broadcast_to(mean, z.shape), atol=2e-3)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(model.trainable_variables) == 4


def test_block_means_and_their_inverse(rng):
    x = rng.random((3, 6, 8, 2))
    small = applications.downsample(x, 2)
    assert small.shape == (3, 3, 4, 2)
    assert small[1, 2, 3, 0] == pytest.approx(x[1, 4:6, 6:8, 0].mean())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(posterior_codes.block_means(x, 2)), small, rtol=1e-6)
    again = keras.ops.convert_to_numpy(posterior_codes.enlarge(small, 2))
    np.testing.assert_allclose(again[1, 4:6, 6:8, 0], np.full((2, 2), small[1, 2, 3, 0]), rtol=1e-6)


def test_filling_keeps_what_is_known_and_leaves_noise_out(rng):
    mean = rng.random((2, 4, 4, 1)).astype("float32")
    mask = rng.random(mean.shape) < 0.5
    value = rng.random(mean.shape).astype("float32")
    fill = posterior_codes.Sensor().fill(mean, value, mask.astype("float32"))
    np.testing.assert_allclose(fill, np.where(mask, value, mean), atol=1e-6)
    noisy = mean + 0.5 * np.sign(rng.normal(size=mean.shape)).astype(
        "float32"
    )  # the mean square of the residuals is 0.25
    ones = np.ones_like(mean)
    np.testing.assert_allclose(posterior_codes.Sensor(sigma=0.6).fill(mean, noisy, ones), mean, atol=1e-6)
    half = posterior_codes.Sensor(sigma=np.sqrt(0.125)).fill(mean, noisy, ones)
    np.testing.assert_allclose(half, (mean + noisy) / 2, atol=1e-5)


# Restoration.


@pytest.mark.long
@pytest.mark.parametrize("method", applications.METHODS)
def test_inpainting_beats_the_mean_image(vae, method):
    hidden = np.where(LOWER, X, np.nan)
    samples = applications.inpaint(vae, hidden, LOWER, method=method, num_samples=8, steps=40)
    assert samples.shape == (8, *X.shape)
    np.testing.assert_allclose(samples[:, :, :4], np.broadcast_to(X[:, :4], samples[:, :, :4].shape), atol=1e-6)
    error = np.mean((samples.mean(axis=0) - X)[:, 4:] ** 2)
    assert error < 0.9 * np.mean((DATA.x_train.mean(axis=0) - X)[:, 4:] ** 2)
    assert samples[:, :, 4:].std(axis=0).mean() > (0 if method == "optimise" else 0.01)
    again = applications.inpaint(vae, X, np.broadcast_to(LOWER, X.shape), method=method, num_samples=8, steps=40)
    np.testing.assert_allclose(again, samples, atol=1e-5)
    other = applications.inpaint(vae, X, LOWER, method=method, num_samples=8, steps=40, seed=1)
    assert not np.allclose(other, samples, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("method", applications.METHODS)
def test_denoising_raises_the_psnr(vae, method, rng):
    noisy = X + 0.5 * rng.standard_normal(X.shape)
    clean = applications.denoise(vae, noisy, 0.5, method=method, num_samples=8, steps=40)
    assert clean.shape == (8, *X.shape)
    assert applications.psnr(X, clean.mean(axis=0)).mean() > applications.psnr(X, noisy).mean() + 5


@pytest.mark.long
@pytest.mark.parametrize("method", applications.METHODS)
def test_super_resolution_beats_repeated_pixels(vae, method):
    small = applications.downsample(X, 2)
    large = applications.super_resolve(vae, small, 2, method=method, num_samples=8, steps=40)
    assert large.shape == (8, *X.shape)
    repeated = np.kron(small, np.ones((1, 2, 2, 1)))
    assert applications.psnr(X, large.mean(axis=0)).mean() > applications.psnr(X, repeated).mean() + 0.5
    assert np.sqrt(np.mean((applications.downsample(large.mean(axis=0), 2) - small) ** 2)) < 0.03


@pytest.mark.long
def test_labels_reach_encoder_decoder_and_prior(cvae, without_graphs):
    for method in applications.METHODS:
        first, second = (
            applications.inpaint(cvae, X, LOWER, y=y, num_samples=3, steps=3, method=method) for y in (Y, (Y + 1) % 10)
        )
        assert first.shape == (3, *X.shape)
        assert np.abs(first - second).max() > 1e-4
    with pytest.raises(ValueError, match="`labels` is missing"):
        applications.inpaint(cvae, X, LOWER)


@pytest.mark.long
def test_an_autoencoder_restores_a_little_without_a_density(autoencoder):
    mask = np.ones((8, 8, 1), bool)
    mask[4] = False
    mean_error = np.mean((DATA.x_train.mean(axis=0) - X)[:, 4] ** 2)
    for method, steps in (("gibbs", 5), ("optimise", 60)):
        samples = applications.inpaint(autoencoder, X, mask, method=method, num_samples=4, steps=steps)
        assert np.mean((samples.mean(axis=0) - X)[:, 4] ** 2) < mean_error
    with pytest.raises(ValueError, match='must be "gibbs" or "optimise" for a model without a density'):
        applications.inpaint(autoencoder, X, mask)


def test_psnr_is_the_formula(rng):
    estimate = X + 0.1
    np.testing.assert_allclose(applications.psnr(X, estimate), 20.0, atol=1e-4)


# Anomalies.


@pytest.mark.long
def test_anomaly_scores_are_what_they_are_named_after(vae, pca, autoencoder):
    np.testing.assert_allclose(
        applications.anomaly_score(vae, X, seed=3), -vae.elbo(X, num_samples=50, seed=3), rtol=1e-6
    )
    importance = applications.anomaly_score(vae, X, method="importance", num_samples=200, seed=3)
    expected = -evaluation.log_likelihood(vae, X, num_samples=200, seed=3).values
    np.testing.assert_allclose(importance, expected, rtol=1e-6)
    assert importance.mean() < applications.anomaly_score(vae, X).mean()
    for model in (pca, autoencoder, vae):
        squares = np.sum((X - model.reconstruct(X)) ** 2, axis=(1, 2, 3))
        np.testing.assert_allclose(applications.anomaly_score(model, X, method="reconstruction"), squares, rtol=1e-5)


@pytest.mark.long
def test_noise_is_stranger_than_digits(vae, rng):
    noise = rng.random(X.shape, dtype="float32")
    for method in ("elbo", "importance", "reconstruction"):
        scores, strange = (applications.anomaly_score(vae, images, method=method) for images in (X, noise))
        assert applications.auroc(scores, strange) > 0.99
    assert applications.realism(vae, noise, DATA.x_train[:300]).max() < 0.01
    real = applications.realism(vae, DATA.x_train[300:900], DATA.x_train[:300])
    assert scipy.stats.kstest(real, "uniform").statistic < 0.1
    assert real.min() >= 0
    assert real.max() <= 1


def test_auroc_counts_pairs(rng):
    normal, strange = rng.normal(size=30), rng.normal(0.5, size=20)
    assert applications.auroc(normal, strange) == pytest.approx(np.mean(strange[:, None] > normal))


# Compression.


def test_a_file_gives_the_rounded_codes_back(vae, autoencoder, pca):
    for model in (vae, autoencoder, pca):
        file = applications.compress(model, X, step=0.5)
        z = 0.5 * np.rint(model.encode(X) / 0.5)
        np.testing.assert_allclose(applications.decompress(model, file), model.decode(z), atol=1e-6)
        fine = applications.compress(model, X, step=1e-4)
        np.testing.assert_allclose(applications.decompress(model, fine), model.reconstruct(X), atol=1e-3)
        assert len(applications.compress(model, X, step=2.0)) < len(file) < len(fine)


def test_labels_travel_in_the_file(cvae):
    images = applications.decompress(cvae, applications.compress(cvae, X, 1e-4, Y))
    np.testing.assert_allclose(images, cvae.reconstruct(X, Y), atol=1e-3)
    attributes = kvae.CVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(16,), num_classes=3), seed=0)
    y = np.random.default_rng(0).random((len(X), 3), dtype="float32")
    images = applications.decompress(attributes, applications.compress(attributes, X, 1e-4, y))
    np.testing.assert_allclose(images, attributes.reconstruct(X, y), atol=1e-3)


def test_a_damaged_file_is_refused(vae, cvae):
    file = applications.compress(vae, X, step=0.5)
    for cut in range(0, len(file), 7):
        with pytest.raises(ValueError, match="`file` must be bytes"):
            applications.decompress(vae, file[:cut])
    damaged = bytearray(file)
    damaged[-3] ^= 1
    shorter = file[: compression.HEADER.size] + zlib.compress(b"too little")
    for wrong in (b"", b"PNG and then something", bytes(damaged), shorter, file[:4] + b"\x09" + file[5:], "text"):
        with pytest.raises(ValueError, match="`file` must be bytes"):
            applications.decompress(vae, wrong)
    with pytest.raises(ValueError, match="must be written by this model, with 2 latent dimensions"):
        applications.decompress(cvae, file)


def test_rates_and_distortions(vae, pca, cvae):
    step = 0.3
    curve = applications.rate_distortion(vae, X, [step])
    file = applications.compress(vae, X, step)
    assert curve["rate"][0] == pytest.approx(8 * len(file) / X.size)
    assert curve["mse"][0] == pytest.approx(np.mean((applications.decompress(vae, file) - X) ** 2), rel=1e-5)
    codes = np.rint(vae.encode(X) / step)
    mass = scipy.stats.norm.cdf((codes + 0.5) * step) - scipy.stats.norm.cdf((codes - 0.5) * step)
    assert curve["prior_rate"][0] == pytest.approx(-np.log2(mass).sum() / X.size, rel=1e-4)
    z = 0.5 * np.rint(pca.encode(X) / 0.5)
    normal = scipy.stats.norm(z.mean(axis=0), z.std(axis=0))
    bits = -np.log2(normal.cdf(z + 0.25) - normal.cdf(z - 0.25)).sum()
    assert applications.prior_rate(pca, X, 0.5) == pytest.approx(bits / X.size, rel=1e-4)
    cvae_bits = applications.prior_rate(cvae, X, 0.5, Y)
    weights = cvae.prior.network.get_weights()
    cvae.prior.network.set_weights([weights[0] + 2.0, weights[1]])
    assert applications.prior_rate(cvae, X, 0.5, Y) != pytest.approx(cvae_bits, rel=0.01)
    cvae.prior.network.set_weights(weights)


def test_bits_back_is_the_elbo_in_bits(vae):
    binary = kvae.data.binarize(X, np.random.default_rng(0))
    expected = -vae.elbo(binary, num_samples=50, seed=0) / np.log(2) / 64
    np.testing.assert_allclose(applications.bits_back_rate(vae, binary), expected, rtol=1e-6)


def test_png_counts_the_bytes_of_a_png(rng):
    noise = rng.random((5, 8, 8, 3))
    file = io.BytesIO()
    Image.fromarray(np.rint(255 * noise).astype("uint8").reshape(40, 8, 3)).save(file, "PNG", optimize=True)
    assert applications.png_rate(noise) == 8 * len(file.getvalue()) / (5 * 64)
    assert applications.png_rate(X[:1]) > applications.png_rate(X)  # the header is shared


# Invalid input.

GAUSSIAN = kvae.VAE(
    *kvae.networks.mlp((6,), 2, hidden=(4,), likelihood=Normal(sigma=0.5)), likelihood=Normal(sigma=0.5)
)
TABLE = np.zeros((2, 6), "float32")
SMALL = applications.downsample(X, 2)

BAD = {
    "mask of another shape": (lambda m, p: applications.inpaint(m, X, LOWER[0]), "`mask` must have shape"),
    "mask without channels": (
        lambda m, p: applications.inpaint(m, X, LOWER[..., 0]),
        r"`mask` must have shape .*: use np.repeat\(mask\[..., None\], 1, axis=-1\)",
    ),
    "mask of another number": (
        lambda m, p: applications.inpaint(m, X, np.ones((3, 8, 8, 1))),
        "`mask` must have shape",
    ),
    "mask of other values": (lambda m, p: applications.inpaint(m, X, 0.5 * LOWER), "`mask` must contain bools"),
    "all hidden": (lambda m, p: applications.inpaint(m, X, ~np.ones_like(LOWER)), "no known pixels in 40 of 40 images"),
    "all visible": (lambda m, p: applications.inpaint(m, X, np.ones_like(LOWER)), "True everywhere"),
    "no images to fill": (lambda m, p: applications.inpaint(m, X[:0], LOWER), "at least one example"),
    "NaN in sight": (lambda m, p: applications.inpaint(m, np.full(X.shape, np.nan), LOWER), "must be finite"),
    "unknown method": (lambda m, p: applications.inpaint(m, X, LOWER, method="magic"), "`method` must be one of"),
    "no samples": (lambda m, p: applications.inpaint(m, X, LOWER, num_samples=0), "`num_samples` must be"),
    "no steps": (lambda m, p: applications.inpaint(m, X, LOWER, steps=0), "`steps` must be"),
    "no decoder": (
        lambda m, p: applications.inpaint(p, X, LOWER),
        "must have an encoder and a decoder network. Received: PCA",
    ),
    "no noise": (lambda m, p: applications.denoise(m, X, 0.0), "`sigma` must be a finite number above 0"),
    "noisy images of another shape": (lambda m, p: applications.denoise(m, X[:, :4], 0.5), "`noisy` must have shape"),
    "factor that does not divide": (lambda m, p: applications.super_resolve(m, SMALL, 3), "divides the height"),
    "factor of one": (lambda m, p: applications.super_resolve(m, X, 1), "at least 2"),
    "small images of another size": (lambda m, p: applications.super_resolve(m, SMALL, 4), r"shape \(n, 2, 2, 1\)"),
    "a table enlarged": (lambda m, p: applications.super_resolve(GAUSSIAN, TABLE, 2), "divides the height"),
    "downsampling by 3": (lambda m, p: applications.downsample(X, 3), "divides the height"),
    "unknown score": (lambda m, p: applications.anomaly_score(m, X, method="odd"), "`method` must be"),
    "no images to score": (lambda m, p: applications.anomaly_score(m, X[:0]), "at least one example"),
    "a density of PCA": (lambda m, p: applications.anomaly_score(p, X), "must have densities"),
    "importance of PCA": (lambda m, p: applications.anomaly_score(p, X, method="importance"), "must have densities"),
    "no scores": (lambda m, p: applications.auroc([], [1.0]), "`normal` must contain at least one score"),
    "no strange scores": (lambda m, p: applications.auroc([1.0], []), "`strange` must contain at least one score"),
    "bits of grey pixels": (lambda m, p: applications.bits_back_rate(m, X), "must contain only 0 and 1"),
    "bits of a density": (
        lambda m, p: applications.bits_back_rate(GAUSSIAN, TABLE),
        "must have a Bernoulli likelihood",
    ),
    "bits of PCA": (lambda m, p: applications.bits_back_rate(p, X), "must have densities"),
    "no step": (lambda m, p: applications.compress(m, X, 0), "`step` must be a finite number above 0"),
    "a step too small": (lambda m, p: applications.compress(m, X, 1e-12), "`step` must be larger"),
    "no steps of compression": (lambda m, p: applications.rate_distortion(m, X, []), "must contain at least one"),
    "png of a table": (lambda m, p: applications.png_rate(TABLE), "must have shape"),
    "samples of another shape": (lambda m, p: plots.inpainting(X, LOWER, X), "`samples` must have shape"),
    "no curves": (lambda m, p: plots.rate_distortion({}), "at least one method"),
    "scores of another number": (lambda m, p: plots.anomalies(X, [1.0]), "`scores` must have one entry per example"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name, vae, pca):
    function, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        function(vae, pca)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


def test_a_density_asked_of_an_autoencoder_is_refused(autoencoder):
    for method in ("elbo", "importance"):
        with pytest.raises(ValueError, match="must have densities"):
            applications.anomaly_score(autoencoder, X, method=method)


# Pictures.


def test_restored_images_are_drawn_with_mean_and_spread(rng):
    samples = rng.random((5, *X.shape))
    pixels = {
        "inpainting": np.where(LOWER, X, 0.5),
        "denoising": 1 - X,
        "super_resolution": np.kron(SMALL, np.ones((1, 2, 2, 1))),
    }
    figures = {
        "inpainting": plots.inpainting(X, LOWER, samples, rows=3),
        "denoising": plots.denoising(X, 1 - X, samples, rows=3),
        "super_resolution": plots.super_resolution(X, SMALL, samples, rows=3),
    }
    for name, figure in figures.items():
        columns = [pixels[name], *samples[:3], samples.mean(axis=0), 2 * samples.std(axis=0), X]
        expected = plots.mosaic(np.stack(columns, axis=1)[:3])
        np.testing.assert_allclose(figure.axes[0].images[0].get_array(), expected, atol=1e-6)
        labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
        assert labels[1:] == ["sample 1", "sample 2", "sample 3", "mean", "2 × spread", "truth"]


def test_anomalies_are_drawn_by_score(rng):
    scores = rng.permutation(len(X)).astype(float)
    figure = plots.anomalies(X, scores, scores + 100, columns=4)
    order = np.argsort(scores)
    expected = plots.mosaic(np.stack([X[order[:4]], X[order[:-5:-1]]]))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), expected, atol=1e-6)
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["normal", "strange"]
    heights = [patch.get_height() for patch in figure.axes[1].patches]
    assert sum(h > 0 for h in heights) >= 2


def test_rate_distortion_draws_its_curves():
    curve = {"step": [1, 2], "rate": [0.2, 0.1], "prior_rate": [0.19, 0.08], "mse": [0.01, 0.02]}
    axes = plots.rate_distortion({"VAE": curve, "PCA": curve}, png=1.5).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0.2, 0.01], [0.1, 0.02]])
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[0.19, 0.01], [0.08, 0.02]])
    assert axes.lines[-1].get_xdata()[0] == 1.5
    assert len(axes.get_legend().get_texts()) == 5


def test_interpolation_is_the_decoded_line(rng):
    model = kvae.CVAE(*kvae.networks.mlp((4, 4, 1), 2, hidden=(8,), num_classes=3), num_classes=3)
    x = rng.random((2, 4, 4, 1)).astype("float32")
    z = model.encode(x, [1, 2])
    images = kvae.applications.interpolate(model, x[0], x[1], 1, 2, steps=3)
    np.testing.assert_allclose(images, model.decode([z[0], (z[0] + z[1]) / 2, z[1]], [1, 1, 1]), atol=1e-5)
    under_another = kvae.applications.interpolate(model, x[0], x[1], 1, 2, y=0, steps=3)
    np.testing.assert_allclose(under_another[2], model.decode(z[1:], [0])[0], atol=1e-5)
    with pytest.raises(ValueError, match="`steps` must be an integer of at least 1"):
        kvae.applications.interpolate(model, x[0], x[1], 1, 2, steps=0)
