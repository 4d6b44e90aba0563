"""Mixture density networks, against SciPy."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops

from kvae.distributions import MixtureDensity
from kvae.training.gradients import gradient

K, SIZE = 3, 2
SIGMAS = [None, "shared", 0.3]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def described(mixture, rng, n):
    """Parameters of n mixtures, as the network gives them and as weights, means and σ."""
    params = rng.normal(size=(n, mixture.num_outputs)).astype("float32")
    weights = scipy.special.softmax(params[:, :K], axis=1)
    means = params[:, K : K + K * SIZE].reshape(n, K, SIZE)
    if mixture.sigma == 0.3:
        sigmas = np.full_like(means, 0.3)
    else:
        sigmas = np.broadcast_to(np.exp(0.5 * params[:, K + K * SIZE :].reshape(n, -1, SIZE)), means.shape)
    return params, weights, means, sigmas


@pytest.mark.parametrize("sigma", SIGMAS)
def test_log_prob_is_scipys(rng, sigma):
    mixture = MixtureDensity(K, SIZE, sigma)
    assert mixture.num_outputs == {None: 15, "shared": 11, 0.3: 9}[sigma]
    params, weights, means, sigmas = described(mixture, rng, 5)
    z = rng.normal(size=(4, 5, SIZE)).astype("float32")  # several draws of each example
    each = scipy.stats.norm.logpdf(z[:, :, None], means, sigmas).sum(axis=-1)
    expected = scipy.special.logsumexp(each + np.log(weights), axis=-1)
    np.testing.assert_allclose(numpy(mixture.log_prob(z, params)), expected, rtol=1e-4, atol=1e-5)
    assert float(mixture(z[0], params)) == pytest.approx(-expected[0].mean(), rel=1e-4)  # as Keras calls a loss
    some = keras.ops.convert_to_tensor(np.float32([1, 0, 0, 2, 0]))
    assert float(mixture(z[0], params, some)) == pytest.approx(-(expected[0, 0] + 2 * expected[0, 3]) / 5, rel=1e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_draws_have_the_mixtures_moments(rng, sigma):
    mixture = MixtureDensity(K, SIZE, sigma)
    params, weights, means, sigmas = described(mixture, rng, 2)
    z = numpy(mixture.sample(params, 20_000, seed=0))
    assert z.shape == (20_000, 2, SIZE)
    mean = (weights[..., None] * means).sum(axis=1)
    var = (weights[..., None] * (sigmas**2 + means**2)).sum(axis=1) - mean**2
    np.testing.assert_allclose(numpy(mixture.mean(params)), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(z.var(axis=0), var, rtol=0.1)
    np.testing.assert_array_equal(z[:9], numpy(mixture.sample(params, 20_000, seed=0))[:9])


def test_modes_start_at_the_heaviest_component(rng):
    mixture = MixtureDensity(K, SIZE)
    params, weights, means, _ = described(mixture, rng, 5)
    modes, sorted_weights = (numpy(each) for each in mixture.modes(params))
    order = np.argsort(-weights, axis=1)
    np.testing.assert_allclose(sorted_weights, np.take_along_axis(weights, order, axis=1), rtol=1e-5)
    np.testing.assert_allclose(modes, np.take_along_axis(means, order[..., None], axis=1), rtol=1e-5)


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_value_and_gradient_stay_finite(rng, extreme):
    """One component takes all the weight, is far away, or has a variance at the end of its range."""
    mixture = MixtureDensity(K, SIZE)
    for first in (0, K, K + K * SIZE):
        params = rng.normal(size=(1, mixture.num_outputs)).astype("float32")
        params[0, first] = extreme
        z = np.zeros((1, SIZE), "float32")
        for each in gradient(lambda z, params: ops.sum(mixture.log_prob(z, params)), z, params):
            assert np.isfinite(numpy(each)).all()


@pytest.mark.long
def test_a_network_learns_two_modes_and_is_saved_with_its_mixture(rng, tmp_path):
    """z = ±y with equal probability: the mean of a regression would be 0."""
    mixture = MixtureDensity(2, 1, sigma="shared")
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(mixture.num_outputs, kernel_initializer="zeros")])
    network.layers[-1].bias.assign([0, 0, -0.5, 0.5, 0])  # equal components would stay equal
    network.compile(keras.optimizers.Adam(0.05), loss=mixture, jit_compile=False)
    y = rng.uniform(1, 2, size=(512, 1)).astype("float32")
    z = y * rng.choice([-1, 1], size=(512, 1)) + 0.05 * rng.normal(size=(512, 1)).astype("float32")
    network.fit(y, z, epochs=12, batch_size=64, verbose=0)
    network.save(tmp_path / "mdn.keras")
    loaded = keras.saving.load_model(tmp_path / "mdn.keras")
    assert loaded.loss.get_config() == mixture.get_config()
    params = loaded.predict(y[:4], verbose=0)
    np.testing.assert_array_equal(params, network.predict(y[:4], verbose=0))
    modes = np.sort(numpy(loaded.loss.modes(params)[0])[..., 0], axis=1)
    np.testing.assert_allclose(modes, np.concatenate([-y[:4], y[:4]], axis=1), atol=0.3)
    expected = -numpy(mixture.log_prob(z, network.predict(y, verbose=0))).mean()
    assert loaded.evaluate(y, z, verbose=0) == pytest.approx(expected, rel=1e-3)


def test_it_computes_in_float32_under_mixed_precision(rng):
    mixture = MixtureDensity(K, SIZE)
    params = ops.cast(rng.normal(size=(2, mixture.num_outputs)), "bfloat16")
    for value in (mixture(np.zeros((2, SIZE)), params), mixture.mean(params), mixture.sample(params, 1, seed=0)):
        assert keras.backend.standardize_dtype(value.dtype) == "float32"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixtureDensity(0, 2), "`num_components` must be an integer of at least 1"),
        (lambda: MixtureDensity(2, 1.5), "`size` must be an integer of at least 1"),
        (lambda: MixtureDensity(2, 2, sigma=-1), '`sigma` must be None, "shared" or a positive number'),
        (lambda: MixtureDensity(2, 2, sigma="learned"), '`sigma` must be None, "shared" or a positive number'),
        (
            lambda: MixtureDensity(2, 2).log_prob(np.zeros((4, 2)), np.zeros((4, 9))),
            r"`params` must have 10 values per example for a MixtureDensity of K=2, size=2, sigma=None. .*\(4, 9\)",
        ),
        (lambda: MixtureDensity(2, 2).log_prob(np.zeros((4, 1)), np.zeros((4, 10))), "`z` must have 2 values"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
