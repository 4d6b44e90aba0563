"""The ladder: its rungs, features and figure."""

import numpy as np
import pytest
import scipy.linalg

import kvae
from kvae import plots
from kvae.evaluation import Features, frechet_distance
from kvae.ladder import climb


@pytest.fixture(scope="module")
def rungs(digits):
    return list(climb(digits, latent_dim=2, epochs=20, hidden=(256, 128)))


def test_frechet_distance_is_scipys(rng):
    a, b = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(200, 5)) + 1
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, a + 3) == pytest.approx(45, rel=1e-6)
    with pytest.raises(ValueError, match="two arrays"):
        frechet_distance(a, b[:, :4])


@pytest.mark.long
def test_features_tell_noise_from_digits(digits):
    features = Features(digits.x_train, digits.y_train)
    noise = np.random.default_rng(0).random((300, 8, 8, 1))
    real = features(digits.x_test)
    assert real.shape == (360, 64)
    assert (real >= 0).all()
    assert frechet_distance(features(noise), real) > 5 * frechet_distance(features(digits.x_train), real)
    np.testing.assert_array_equal(real, Features(digits.x_train, digits.y_train)(digits.x_test))


@pytest.mark.long
def test_the_ladder_has_its_rungs_in_order(rungs):
    assert [rung.name for rung in rungs] == ["PCA", "autoencoder", "denoising autoencoder", "VAE", "CVAE"]
    for rung in rungs:
        assert rung.z.shape == (360, 2)
        assert rung.reconstructions.shape == rung.interpolation.shape == (8, 8, 8, 1)
        assert rung.random.shape == (8, 8, 8, 1)
        assert np.isfinite(list(rung.numbers().values())[1:]).all()


@pytest.mark.long
def test_the_lectures_points(rungs, digits):
    pca, autoencoder, _, vae, cvae = rungs
    expected = kvae.baselines.PCA(2).fit(digits.x_train).reconstruct(digits.x_test)
    assert pca.reconstruction_mse == pytest.approx(np.mean((expected - digits.x_test) ** 2), rel=1e-4)
    assert autoencoder.reconstruction_mse < 0.8 * pca.reconstruction_mse
    assert vae.frechet_distance < autoencoder.frechet_distance  # random codes decode to digits
    assert cvae.reconstruction_mse < vae.reconstruction_mse  # the code need not encode the class
    assert cvae.probe_accuracy < 0.5 < vae.probe_accuracy  # and it does not


@pytest.mark.long
def test_the_picture(rungs, digits):
    figure = plots.ladder(rungs, digits.x_test, digits.y_test)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["real, reconstructed", "random codes z ~ N(0, I)", "interpolation", "codes of test images"]
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {rung.name for rung in rungs} <= set(words)
    points = figure.axes[4].collections
    assert sum(len(group.get_offsets()) for group in points) == 360
    assert len(figure.legends[0].get_texts()) == 10


def test_data_without_classes_is_refused(rng):
    x = rng.random((4, 4, 4, 1))
    data = kvae.data.Dataset(x, None, x, None, None, "faces")
    with pytest.raises(ValueError, match=r"must have class labels.*Received: faces"):
        next(climb(data))
