"""Densities fitted to the codes of a trained model, compared with scikit-learn and with entropies known exactly."""

import keras
import numpy as np
import pytest
import scipy.stats
from cases import QUICKLY, compiled
from keras import ops
from sklearn.mixture import GaussianMixture

import kvae
from kvae import priors
from kvae.distributions import Normal
from kvae.priors import fit as public

MEAN, CHOLESKY = np.array([30.0, -4.0]), np.array([[10.0, 0.0], [0.2, 0.1]])  # of very different scales, correlated


def identity(cls=kvae.Autoencoder, **kwargs):
    """An autoencoder of vectors of length 2, or a VAE with σ = ½ of the posterior, that encodes x as x."""
    variational = {"likelihood": Normal(sigma=1.0)} if issubclass(cls, kvae.VAE) else {}
    posterior = "normal" if variational else None
    classes = {"num_classes": kwargs["num_classes"]} if "num_classes" in kwargs else {}
    pair = kvae.networks.mlp((2,), 2, hidden=(), posterior=posterior, **variational, **classes)
    rows = np.eye(2 + kwargs.get("num_classes", 0))[:, :2]
    if variational:
        encoder = np.hstack([rows, np.zeros_like(rows)]), [0.0, 0.0, np.log(0.25), np.log(0.25)]
    else:
        encoder = rows, [0.0, 0.0]
    dense = [next(layer for layer in network.layers if isinstance(layer, keras.layers.Dense)) for network in pair]
    for layer, (kernel, bias) in zip(dense, (encoder, (rows, [0.0, 0.0])), strict=True):
        layer.set_weights([np.float32(kernel), np.float32(bias)])
    return cls(*pair, seed=0, **variational, **kwargs)


@pytest.fixture(scope="module")
def x():
    return np.float32(MEAN + np.random.default_rng(0).normal(size=(1000, 2)) @ CHOLESKY.T)


def log_prob(prior, z):
    return ops.convert_to_numpy(prior.log_prob(ops.convert_to_tensor(np.float32(z)), (), keras.random.SeedGenerator(1)))


def test_a_mixture_is_scikit_learns(x):
    x = np.concatenate([x, -x])
    model = public(identity(), x, "gaussian_mixture", num_components=4, seed=3)
    u = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = GaussianMixture(4, covariance_type="diag", max_iter=500, random_state=3).fit(u)
    scores = expected.score_samples(u) - np.log(x.std(axis=0)).sum()
    np.testing.assert_allclose(log_prob(model.prior, x), scores, rtol=1e-3, atol=1e-3)
    images = model.generate(2000, seed=0)
    np.testing.assert_allclose(images.mean(axis=0) / x.std(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(images.std(axis=0) / x.std(axis=0), 1, atol=0.1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "settings", "gap", "tolerance"),  # a density of independent dimensions is 0.8 nats away
    [("flow", {"depth": 1}, 0.05, 0.07), ("two_stage", {"hidden": (16,), "top_dim": 1}, 0.6, 0.4)],
)
def test_a_trained_density_comes_close_to_that_of_the_codes(name, settings, gap, tolerance, x, capsys, monkeypatch):
    """The codes are normal: an affine flow has their density, and a second VAE of one dimension and noise beside it."""
    monkeypatch.setattr("kvae.priors.learning.QUIET", 0.0)
    keras.utils.set_random_seed(0)
    model = public(identity(), x, name, epochs=60, batch_size=100, learning_rate=3e-3, **settings)
    true = scipy.stats.multivariate_normal(MEAN, CHOLESKY @ CHOLESKY.T).logpdf(x)
    assert -gap < (log_prob(model.prior, x) - true).mean() < 0.03
    z = model.sample_prior(4000, seed=0)
    np.testing.assert_allclose(np.corrcoef(z.T)[0, 1], 0.2 / np.hypot(0.2, 0.1), atol=tolerance)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("prior: epoch 60 of 60, ")


@pytest.mark.long
def test_the_elbo_uses_the_fitted_prior_and_all_else_stays(x, tmp_path):
    model = identity(kvae.VAE)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    before, weights = model.elbo(x, seed=0), model.get_weights()
    fitted = public(model, x, num_components=3)
    params = ops.convert_to_tensor(np.hstack([x, np.full_like(x, np.log(0.25))]))
    z = model.posterior_family.sample(params, 40, keras.random.SeedGenerator(2))
    kl = ops.convert_to_numpy(Normal().log_prob(z, params)).mean(axis=0) - log_prob(fitted.prior, z).mean(axis=0)
    terms = fitted.elbo_terms(x, num_samples=40, seed=0)
    np.testing.assert_allclose(terms[1].mean(), kl.mean(), atol=0.05)
    assert fitted.elbo(x, seed=0).mean() > before.mean() + 100
    for old, same, copy in zip(weights, model.get_weights(), fitted.get_weights(), strict=False):
        np.testing.assert_array_equal(old, same)
        np.testing.assert_array_equal(old, copy)
    assert fitted.evaluate(x, verbose=0, return_dict=True)["elbo"] == pytest.approx(fitted.elbo(x).mean(), abs=0.3)
    assert float(ops.convert_to_numpy(fitted.optimizer.learning_rate)) == pytest.approx(0.01)
    fitted.save(tmp_path / "fitted.keras")
    loaded = kvae.load_model(tmp_path / "fitted.keras")
    np.testing.assert_array_equal(loaded.generate(5, seed=0), fitted.generate(5, seed=0))
    np.testing.assert_array_equal(loaded.elbo(x, seed=0), fitted.elbo(x, seed=0))


def test_the_parts_of_a_fitted_autoencoder(x):
    critic = kvae.networks.discriminator((2,), hidden=(3,))
    for model in (identity(), identity(kvae.AdversarialAutoencoder, discriminator=critic)):
        compiled(model, **QUICKLY)
        fitted = public(model, x, num_components=2)
        assert type(fitted) is kvae.models.SampledAutoencoder
        np.testing.assert_allclose(fitted.energy(x), 0, atol=1e-3)
        assert not fitted.prior.trainable_weights
        before = fitted.prior.get_weights()
        fitted.fit(x[:8], verbose=0)
        assert all(np.array_equal(old, new) for old, new in zip(before, fitted.prior.get_weights(), strict=True))
    model = identity(kvae.CVAE, num_classes=2)
    fitted = public(model, x, y=np.arange(len(x)) % 2, num_components=2)
    assert fitted.generate(labels=[0, 1], seed=0).shape == (2, 2)
    assert log_prob(fitted.prior, x).mean() > -6


def test_rescaled_codes_have_the_density_of_a_change_of_variables(rng):
    prior = priors.Rescaled(priors.Standard())
    prior.bind(Normal(), (2, 3), (6,), None)
    loc, scale, z = rng.normal(size=(2, 3)), rng.uniform(0.5, 3, size=(2, 3)), rng.normal(size=(5, 4, 2, 3))
    prior.rescale(loc, scale)
    each = -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(log_prob(prior, z), each.sum(axis=(-1, -2)), rtol=1e-4)
    drawn = ops.convert_to_numpy(prior.sample(4000, (), keras.random.SeedGenerator(0), 0.5))
    np.testing.assert_allclose(drawn.mean(axis=0), loc, atol=0.15)
    np.testing.assert_allclose(drawn.std(axis=0), scale / 2, rtol=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    assert again.get_config() == prior.get_config()


def constant():
    model = identity()
    model.encoder.layers[-1].set_weights([np.float32([[1, 0], [1, 0]]), np.zeros(2, "float32")])
    return model


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (
            identity,
            {"prior": "normalising"},
            r"`prior` must be one of \['autoregressive', 'flow', 'gaussian_mixture', ",
        ),
        (identity, {"prior": None}, "`prior` must be one of .* Received: None"),
        (identity, {"x": np.zeros((4, 3))}, r"`x` must have shape \(n, 2\)"),
        (identity, {"x": np.ones((1, 2)) * np.arange(9)[:, None]}, "two examples for each of the 10 components"),
        (identity, {"components": 3}, r"takes the settings \['num_components'\]. Received: \['components'\]"),
        (identity, {"prior": priors.Mixture(2), "depth": 3}, "`settings` belong to named densities"),
        (identity, {"prior": "flow", "epochs": 0}, "`epochs` must be an integer of at least 1"),
        (constant, {}, r"codes that differ between examples.*30 codes, constant in dimensions \[1\]"),
        (lambda: identity(kvae.VAE, prior="mixture"), {}, 'must have the standard prior: .* prior="standard"'),
        (lambda: identity(kvae.VAE, prior=priors.Rescaled(priors.Mixture(2))), {}, "with a Rescaled prior"),
        (lambda: kvae.baselines.PCA(2), {}, "`model` must be a VAE, a CVAE or an Autoencoder.* Received: PCA"),
        (lambda: identity(kvae.CVAE, num_classes=2), {}, "`labels` is missing"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_bad_input_is_refused_in_one_line(model, arguments, message, x):
    with pytest.raises(ValueError, match=message) as error:
        public(model(), **{"x": x[:30], **arguments})
    assert "\n" not in str(error.value)


def test_positive_codes_have_no_fitted_prior(x):
    pair = kvae.networks.mlp((2,), 2, hidden=(), posterior="log_normal")
    with pytest.raises(ValueError, match=r"codes that may be any numbers.* Received: a LogNormal posterior"):
        public(kvae.VAE(*pair, posterior="log_normal"), x)


@pytest.mark.long
def test_a_density_that_became_infinite_is_refused(x):
    with pytest.raises(ValueError, match="became NaN or infinite: lower `learning_rate`"):
        public(identity(), x[:64], "flow", epochs=2, depth=1, learning_rate=1e30)
