"""The von Mises-Fisher posterior, compared with SciPy, numerical integration and closed forms of its moments."""

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from cases import QUICKLY, vae
from keras import ops

import kvae
from kvae.distributions import Normal, SphericalUniform, VonMisesFisher
from kvae.distributions.von_mises_fisher import _slope_of_angle
from kvae.priors import Mixture
from kvae.training.gradients import gradient

KAPPAS = np.array([0.1, 0.5, 1.0, 3.0, 10.0, 31.0, 100.0, 400.0, 1e3, 4e3, 1e4])


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def tensor(array):
    return ops.convert_to_tensor(np.float32(array))


def params_of(mu, kappa):
    return tensor(np.concatenate([mu, np.log(np.full((*mu.shape[:-1], 1), kappa))], axis=-1))


def angles(d, kappa, points=4001):
    """Angles that hold the mass of the distribution, the density of each, and log E_U[exp(κ (cos θ − 1))]."""
    theta = np.linspace(0.0, min(np.pi, (np.sqrt(d) + 10.0) / np.sqrt(kappa)), points)
    log_density = -2.0 * kappa * np.sin(theta / 2) ** 2 + scipy.special.xlogy(d - 2, np.sin(theta))
    peak = log_density.max()
    total = scipy.integrate.simpson(np.exp(log_density - peak), x=theta)
    return theta, np.exp(log_density - peak) / total, np.log(total) + peak - scipy.special.betaln((d - 1) / 2, 0.5)


def mean_cosine(d, kappa):
    return scipy.special.ive(d / 2, kappa) / scipy.special.ive(d / 2 - 1, kappa)


@pytest.mark.long
def test_the_kl_is_the_integral():
    """κ A − log E_U[exp(κ w)] = −E[κ (1 − cos θ)] − log E_U[exp(κ (cos θ − 1))], for every d from 2 to 50."""
    for d in range(2, 51):
        expected = []
        for kappa in KAPPAS:
            theta, density, log_total = angles(d, kappa)
            gap = scipy.integrate.simpson(density * 2 * kappa * np.sin(theta / 2) ** 2, x=theta)
            expected.append(-gap - log_total)
        params = params_of(np.eye(d)[[0] * len(KAPPAS)], KAPPAS[:, None])
        kl = VonMisesFisher().kl_divergence(params, SphericalUniform(), None)
        np.testing.assert_allclose(numpy(kl), expected, atol=1e-4, rtol=0, err_msg=str(d))


def test_the_kls_gradient_is_kappa_squared_times_the_slope_of_the_mean():
    for d in (2, 5, 50):
        log_kappa = np.float32(np.log(KAPPAS))

        def total(log_kappa, d=d):
            mu = ops.convert_to_tensor(np.eye(d, dtype="float32")[[0] * len(KAPPAS)])
            params = ops.concatenate([mu, log_kappa[:, None]], axis=-1)
            return ops.sum(VonMisesFisher().kl_divergence(params, SphericalUniform(), None))

        mean = mean_cosine(d, KAPPAS)
        expected = KAPPAS**2 * (1 - mean**2 - (d - 1) / KAPPAS * mean)  # κ dKL/dκ = κ² A'
        np.testing.assert_allclose(numpy(gradient(total, log_kappa)[1]), expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("d", [2, 3, 10, 50])
def test_log_prob_is_scipys(d, rng):
    mu = rng.normal(size=d)
    mu /= np.linalg.norm(mu)
    for kappa in (0.1, 5.0, 300.0):
        scipys = scipy.stats.vonmises_fisher(mu, kappa)
        z = scipys.rvs(5, random_state=1)
        log_prob = numpy(VonMisesFisher().log_prob(tensor(z), params_of(7.0 * mu[None], kappa)))
        np.testing.assert_allclose(log_prob, scipys.logpdf(np.float32(z)), rtol=1e-4, atol=1e-4)
    uniform = numpy(SphericalUniform().log_prob(tensor(z), ops.zeros((1, d))))
    np.testing.assert_allclose(uniform, -np.log(2 * np.pi ** (d / 2)) + scipy.special.gammaln(d / 2), rtol=1e-5)


@pytest.mark.parametrize(("d", "kappa"), [(2, 0.3), (2, 500.0), (3, 4.0), (6, 1e4), (50, 20.0)])
def test_samples_have_the_angle_and_no_other_direction(d, kappa, rng):
    mu = rng.normal(size=(1, d))
    mu /= np.linalg.norm(mu)
    z = numpy(VonMisesFisher().sample(params_of(3.0 * mu, kappa), 20_000, keras.random.SeedGenerator(1)))[:, 0]
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1.0, atol=1e-5)
    theta, density, _ = angles(d, kappa)
    cdf = scipy.integrate.cumulative_simpson(density, x=theta, initial=0)
    found = 2 * np.arcsin(np.clip(np.linalg.norm(z - mu, axis=-1) / 2, 0, 1))
    assert scipy.stats.kstest(found, lambda t: np.interp(t, theta, cdf)).pvalue > 1e-3
    across = z - (z @ mu[0])[:, None] * mu
    error = 4 * across.std(axis=0) / np.sqrt(len(z)) + 1e-6
    assert (np.abs(across.mean(axis=0)) < error).all()
    again, other = (numpy(VonMisesFisher().sample(params_of(mu, kappa), 9, seed)) for seed in (5, 6))
    np.testing.assert_array_equal(again, numpy(VonMisesFisher().sample(params_of(mu, kappa), 9, 5)))
    assert not np.isclose(again, other).all(axis=-1).any()


@pytest.mark.parametrize("d", [2, 3, 8, 50])
def test_the_slope_of_a_draw_is_the_one_of_its_quantile(d):
    for kappa in (0.5, 10.0, 2e3):
        inverse = []
        for each in (kappa * 0.999, kappa * 1.001):
            theta, density, _ = angles(d, each, 40_001)
            inverse.append((scipy.integrate.cumulative_simpson(density, x=theta, initial=0), theta))
        at = np.array([0.001, 0.1, 0.4, 0.6, 0.9, 0.999])
        low, high = (np.interp(at, *each) for each in inverse)
        angle, kappas = tensor(0.5 * (low + high))[:, None], tensor(np.full((6, 1), kappa))
        slope = numpy(_slope_of_angle(angle, kappas, d))[:, 0]
        np.testing.assert_allclose(slope, (high - low) / (0.002 * kappa), rtol=0.02)


@pytest.mark.parametrize("d", [2, 3, 12])
def test_gradients_go_through_the_samples(d):
    """E[aᵀz] = A aᵀμ and E[(aᵀz)²] = E[w²] (aᵀμ)² + (1 − E[w²]) (‖a‖² − (aᵀμ)²) / (d − 1), E[w²] = 1 − (d − 1) A/κ."""
    rng = np.random.default_rng(3)
    a, at = rng.normal(size=d), np.append(2.0 * rng.normal(size=d), np.log(4.0 * d))

    def moments(params):
        kappa, mu = np.exp(params[-1]), params[:-1] / np.linalg.norm(params[:-1])
        mean, cosine = mean_cosine(d, kappa), a @ mu
        square = 1 - (d - 1) * mean / kappa
        return np.array([mean * cosine, square * cosine**2 + (1 - square) * (a @ a - cosine**2) / (d - 1)])

    expected = np.array([(moments(at + h) - moments(at - h)) / 2e-5 for h in 1e-5 * np.eye(d + 1)])
    rows = np.tile(np.float32(at), (64, 1))
    for power in (1, 2):
        _, estimates = gradient(
            lambda p, power=power: ops.sum(
                ops.mean(ops.matmul(VonMisesFisher().sample(p, 500, 3), tensor(a)) ** power, axis=0)
            ),
            rows,
        )
        estimates = numpy(estimates)
        error = estimates.std(axis=0, ddof=1) / np.sqrt(len(rows)) + 1e-5
        assert (np.abs(estimates.mean(axis=0) - expected[:, power - 1]) < 4 * error).all()
        assert np.abs(expected[-1]).min() > 0.003


@pytest.mark.long
@pytest.mark.parametrize("prior", ["standard", "mixture", "vamp"])
def test_a_model_stays_finite_and_on_the_sphere(prior):
    model = vae(posterior="von_mises_fisher", prior=Mixture(3) if prior == "mixture" else prior, num_samples=2)
    model.compile(optimizer=keras.optimizers.SGD(0.0), **QUICKLY)
    x, kernel = np.random.default_rng(0).random((6, 8, 8, 1), dtype="float32"), model.encoder.layers[-1]
    weights = kernel.get_weights()
    for bias in ([0, 0, 1e3], [1e20, 0, -1e3], [0, 0, 0], [-1e4, 1e4, 1e5]):
        zeroed = np.zeros_like(weights[0]) if bias == [0, 0, 0] else weights[0]
        kernel.set_weights([zeroed, np.float32(bias)])
        assert np.isfinite(model.train_on_batch(x, return_dict=True)["loss"])
        assert all(np.isfinite(numpy(weight)).all() for weight in model.weights)
        np.testing.assert_allclose(np.linalg.norm(model.encode(x), axis=-1), 1.0, atol=1e-5)
    kernel.set_weights(weights)
    np.testing.assert_allclose(np.linalg.norm(model.sample_prior(50, seed=0), axis=-1), 1.0, atol=1e-5)
    still = model.sample_prior(50, seed=0, temperature=0.5)
    np.testing.assert_allclose(np.linalg.norm(still, axis=-1), 1.0, atol=1e-5)
    assert model.elbo(x).shape == (6,)


def test_a_fixed_concentration_and_points_on_several_spheres():
    family = VonMisesFisher(concentration=30)
    assert (family.num_outputs(4), VonMisesFisher().num_outputs(4), SphericalUniform().num_outputs(4)) == (4, 5, 4)
    directions = tensor(np.random.default_rng(0).normal(size=(3, 2, 4)))  # two spheres for each of three examples
    z, log_prob = family.sample_and_log_prob(directions, 5, keras.random.SeedGenerator(0), event_ndim=2)
    each = family.log_prob(z, directions)
    np.testing.assert_allclose(numpy(log_prob), numpy(each).sum(axis=-1), rtol=1e-4)
    kl = numpy(family.kl_divergence(directions, SphericalUniform(), None, event_ndim=2))
    np.testing.assert_allclose(
        kl, 2 * numpy(family.kl_divergence(directions[:, 0], SphericalUniform(), None)), rtol=1e-5
    )
    assert family.kl_divergence(directions, Normal(), None) is None
    for each in (family, VonMisesFisher(), SphericalUniform()):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(each))
        assert again.get_config() == each.get_config()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VonMisesFisher(concentration=1e9), "`concentration` must be a finite number from 0.001 to 1e.06"),
        (lambda: VonMisesFisher(concentration=np.inf), "`concentration` must be a finite number"),
        (lambda: vae_of(1), "`latent_dim` must be at least 2 for codes on a sphere"),
        (lambda: vae_of(2, bound=kvae.bounds.ELBO(free_bits=0.1)), "no closed-form KL per dimension"),
        (lambda: kvae.priors.fit(vae_of(2), np.zeros((3, 6))), "Received: a VonMisesFisher posterior"),
    ],
)
def test_bad_input_is_refused_in_one_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


def vae_of(latent_dim, **kwargs):
    pair = kvae.networks.mlp((6,), latent_dim, hidden=(), posterior="von_mises_fisher")
    return kvae.VAE(*pair, posterior="von_mises_fisher", **kwargs)
