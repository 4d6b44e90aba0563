"""Priors, compared with SciPy and with a two-layer model whose densities are known exactly."""

import keras
import numpy as np
import pytest
import scipy.stats
from cases import QUICKLY
from keras import ops
from scipy.special import logsumexp

import kvae
from kvae import priors
from kvae.bounds import ELBO, ImportanceWeighted
from kvae.distributions import Laplace, Normal
from kvae.training.gradients import gradient

LATENT = 2


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def seed(number=0):
    return keras.random.SeedGenerator(number)


def model_with(prior, posterior="normal", cls=kvae.VAE, **kwargs):
    keras.utils.set_random_seed(0)
    width = {"num_classes": 3} if cls is kvae.CVAE else {}
    return cls(
        *kvae.networks.mlp((6,), LATENT, hidden=(5,), posterior=posterior, **width),
        posterior=posterior, prior=prior, seed=0, **width, **kwargs,
    )  # fmt: skip


def mixture_of(weights, params):
    """A `Mixture` attached to a model, with the given weights and parameters `[mean, log_var]`."""
    prior = model_with(priors.Mixture(len(weights))).prior
    prior.logits.assign(np.log(weights) + 3.0)  # a constant that normalisation removes
    prior.component_weights.assign(params)
    return prior


@pytest.fixture
def mixture(rng):
    weights = np.array([0.5, 0.3, 0.2])
    means, log_vars = np.array([[-3.0, 0.0], [2.0, 1.0], [0.0, -4.0]]), rng.uniform(-2, 1, size=(3, LATENT))
    return mixture_of(weights, np.hstack([means, log_vars])), weights, means, np.exp(0.5 * log_vars)


def test_the_standard_prior_is_the_familys_standard_member(rng):
    z = rng.exponential(size=(4, 5, LATENT)).astype("float32")
    for posterior, standard in (
        ("normal", scipy.stats.norm()),
        ("laplace", scipy.stats.norm()),
        ("log_normal", scipy.stats.lognorm(1.0)),
        ("exponential", scipy.stats.expon()),
    ):
        model = model_with("standard", posterior)
        log_prob = numpy(model.prior.log_prob(ops.convert_to_tensor(z), (), None))
        np.testing.assert_allclose(log_prob, standard.logpdf(z).sum(axis=-1), rtol=1e-4)
        draws = model.sample_prior(5000, seed=1)
        assert scipy.stats.kstest(draws[:, 1], standard.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["standard", "mixture", "vamp"])
def test_the_seed_of_a_draw_sets_component_and_noise(name):
    apart = model_with(priors.Mixture(50) if name == "mixture" else name)
    first, again, other = (numpy(apart.prior.sample(30, (), seed(number))) for number in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min() > 1e-6
    if name != "standard":  # which of two components, far apart and narrow
        two = model_with(priors.Mixture(2)).prior
        two.component_weights.assign([[5.0, 5.0, -14.0, -14.0], [-5.0, -5.0, -14.0, -14.0]])
        first, other = (numpy(two.sample(30, (), seed(number)))[:, 0] > 0 for number in (1, 2))
        assert first.any() and not first.all() and (first != other).any()  # noqa: PT018


def test_a_temperature_multiplies_the_spread():
    model = model_with("standard")
    z, half, none = (model.sample_prior(50, seed=0, temperature=t) for t in (1, 0.5, 0))
    np.testing.assert_array_equal(z, model.sample_prior(50, seed=0))
    np.testing.assert_allclose(half, z / 2, rtol=1e-6)
    np.testing.assert_array_equal(none, 0)
    np.testing.assert_allclose(model.generate(50, seed=0, temperature=0.5), model.decode(half), atol=1e-6)
    for wrong in (-1, True, np.nan):
        with pytest.raises(ValueError, match="`temperature` must be a finite number of at least 0"):
            model.generate(2, temperature=wrong)
    mixture = model_with(priors.Mixture(2)).prior  # each component keeps its mean
    mixture.component_weights.assign([[5.0, 5.0, 0.0, 0.0], [-5.0, -5.0, 0.0, 0.0]])
    z, half = (numpy(mixture.sample(500, (), seed(3), t)) for t in (1.0, 0.5))
    np.testing.assert_allclose(half - 5 * np.sign(z), (z - 5 * np.sign(z)) / 2, atol=1e-5)
    for posterior in ("log_normal", "exponential"):
        positive = model_with("standard", posterior)
        z, half, hot = (positive.sample_prior(500, seed=0, temperature=t) for t in (1, 0.5, 2))
        np.testing.assert_allclose(half**2, z, rtol=1e-4)  # the standard member has mean or median 1
        assert hot.min() > 0


@pytest.mark.parametrize("prior", [priors.Standard, lambda: priors.Mixture(3)], ids=["standard", "mixture"])
def test_codes_of_any_shape_have_one_density_each(prior, rng):
    prior, z = prior(), rng.normal(size=(4, 5, 2, 3)).astype("float32")
    prior.bind(Normal(), (2, 3), (6,), None)
    log_prob = numpy(prior.log_prob(ops.convert_to_tensor(z), (), None))
    params = np.zeros((1, 2, 6)) if isinstance(prior, priors.Standard) else numpy(prior.component_weights)
    parts = scipy.stats.norm.logpdf(z[:, :, None], params[..., :3], np.exp(0.5 * params[..., 3:])).sum(axis=(-1, -2))
    np.testing.assert_allclose(log_prob, logsumexp(parts, axis=-1) - np.log(len(params)), rtol=1e-4)
    kl, per_dimension = prior.kl(Normal(), ops.zeros((5, 2, 6)) + 0.3, ())
    if isinstance(prior, priors.Standard):
        assert tuple(per_dimension.shape) == (5, 2, 3)
        np.testing.assert_allclose(numpy(kl), 6 * 0.5 * (np.exp(0.3) + 0.09 - 0.3 - 1), rtol=1e-5)


# Mixtures


def test_a_mixtures_density_is_scipys(mixture, rng):
    prior, weights, means, sigmas = mixture
    z = rng.normal(scale=3, size=(4, 5, LATENT)).astype("float32")
    parts = scipy.stats.norm.logpdf(z[..., None, :], means, sigmas).sum(axis=-1)
    np.testing.assert_allclose(
        numpy(prior.log_prob(z, (), None)), logsumexp(parts, axis=-1, b=weights), rtol=1e-4, atol=1e-4
    )
    assert prior.kl(Normal(), np.zeros((1, 4), "float32"), ()) == (None, None)


def test_a_mixtures_samples_follow_it(mixture):
    prior, weights, means, sigmas = mixture
    z = numpy(prior.sample(20_000, (), seed()))
    for dim in range(LATENT):
        cdf = lambda x, dim=dim: scipy.stats.norm.cdf(x[:, None], means[:, dim], sigmas[:, dim]) @ weights  # noqa: E731
        assert scipy.stats.kstest(z[:, dim], cdf).pvalue > 1e-3
    nearest = np.argmin(((z[:, None] - means) ** 2 / sigmas**2 + 2 * np.log(sigmas)).sum(axis=-1), axis=1)
    share = np.bincount(nearest, minlength=3) / len(z)
    np.testing.assert_allclose(share, weights, atol=0.03)


def test_a_mixtures_components_start_apart_and_all_learn():
    model = model_with(priors.Mixture(5))
    start = numpy(model.prior.component_weights)
    assert np.abs(start[:, None] - start[None]).sum(axis=-1)[np.triu_indices(5, 1)].min() > 0.1
    np.testing.assert_allclose(numpy(ops.exp(model.prior.log_mixing())), 0.2, rtol=1e-6)
    again = model_with(priors.Mixture(5)).prior
    np.testing.assert_array_equal(start, numpy(again.component_weights))
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **QUICKLY)
    model.fit(np.random.default_rng(0).random((64, 6)).astype("float32"), epochs=2, verbose=0)
    assert (np.abs(numpy(model.prior.component_weights) - start).max(axis=1) > 1e-3).all()
    assert np.abs(numpy(model.prior.logits)).max() > 1e-4


# VampPrior


@pytest.mark.parametrize(("posterior", "q"), [("normal", scipy.stats.norm), ("laplace", scipy.stats.laplace)])
def test_a_vamps_density_is_the_mean_of_posteriors_of_its_pseudo_inputs(rng, posterior, q):
    model = model_with(priors.Vamp(3), posterior)
    u = 1 / (1 + np.exp(-numpy(model.prior.pseudo_logits)))
    np.testing.assert_allclose(numpy(model.prior.pseudo_inputs()), u, rtol=1e-5)
    loc, log = np.split(numpy(model.encoder(u)), 2, axis=-1)
    scale = np.exp(0.5 * log) if posterior == "normal" else np.exp(log)
    z = rng.normal(size=(4, 5, LATENT)).astype("float32")
    expected = logsumexp(q.logpdf(z[..., None, :], loc, scale).sum(axis=-1), axis=-1) - np.log(3)
    np.testing.assert_allclose(numpy(model.prior.log_prob(z, (), None)), expected, rtol=1e-4)
    draws = model.sample_prior(5000, seed=0)
    cdf = lambda x: q.cdf(x[:, None], loc[:, 0], scale[:, 0]).mean(axis=1)  # noqa: E731
    assert scipy.stats.kstest(draws[:, 0], cdf).pvalue > 1e-3


def test_a_vamps_pseudo_inputs_train_with_the_encoder():
    model = model_with(priors.Vamp(3))
    start = numpy(model.prior.pseudo_logits).copy()
    assert len(np.unique(start)) == start.size
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **QUICKLY)
    x = np.random.default_rng(0).random((64, 6)).astype("float32")
    model.fit(x, epochs=2, verbose=0)
    assert (np.abs(numpy(model.prior.pseudo_logits) - start).max(axis=1) > 1e-3).all()
    with_vamp = model.prior.log_prob(model.encode(x)[None], (), None)
    model.encoder.set_weights([w + 0.5 for w in model.encoder.get_weights()])
    assert not np.allclose(numpy(with_vamp), numpy(model.prior.log_prob(model.encode(x)[None], (), None)))


# A second stochastic layer


@pytest.fixture
def two_layers(rng):
    """h ~ N(0, I₃), z|h ~ N(Ah + c, s²): then z ~ N(c, AAᵀ + s²I). q(h|z) has the right mean but is too wide."""
    a, c, s2 = rng.normal(size=(LATENT, 3)), np.array([0.5, -1.0]), 0.49
    prior = priors.Hierarchical(*kvae.networks.mlp((LATENT,), 3, hidden=(), likelihood=Normal()))
    precision = np.eye(3) + a.T @ a / s2
    to_mean = np.linalg.solve(precision, a.T / s2)  # E[h|z] = to_mean (z − c)
    log_var = np.log(1.5 * np.diag(np.linalg.inv(precision)))
    prior.encoder.set_weights([np.hstack([to_mean.T, np.zeros((LATENT, 3))]), np.concatenate([-to_mean @ c, log_var])])
    prior.decoder.set_weights(
        [np.hstack([a.T, np.zeros((3, LATENT))]), np.concatenate([c, np.full(LATENT, np.log(s2))])]
    )
    model = model_with(prior)
    return model.prior, scipy.stats.multivariate_normal(c, a @ a.T + s2 * np.eye(LATENT))


def test_a_second_layers_estimate_averages_to_the_exact_density(two_layers, rng):
    prior, exact = two_layers
    z = exact.rvs(4, random_state=0)
    draws = numpy(prior.log_prob(np.repeat(z[None], 20_000, axis=0).astype("float32"), (), seed())).astype("float64")
    ratio = np.exp(draws - exact.logpdf(z))
    error = ratio.std(axis=0, ddof=1) / np.sqrt(len(ratio))
    assert (np.abs(ratio.mean(axis=0) - 1) < 4 * error).all()
    assert (error < 0.05).all()
    gap = exact.logpdf(z) - draws.mean(
        axis=0
    )  # by Jensen's inequality, the expectation of each sample is a lower bound
    assert (gap > 5 * draws.std(axis=0) / np.sqrt(len(draws))).all()


def test_a_second_layers_samples_have_the_exact_moments(two_layers):
    prior, exact = two_layers
    z = numpy(prior.sample(40_000, (), seed()))
    sigma = np.sqrt(np.diag(exact.cov))
    assert (np.abs(z.mean(axis=0) - exact.mean) < 4 * sigma / np.sqrt(len(z))).all()
    np.testing.assert_allclose(np.cov(z.T), exact.cov, atol=4 * sigma.max() ** 2 * np.sqrt(2 / len(z)))
    whitened = np.linalg.solve(np.linalg.cholesky(exact.cov), (z - exact.mean).T)
    assert scipy.stats.kstest(whitened[0], "norm").pvalue > 1e-3


def test_each_sample_has_a_draw_of_its_own_in_the_second_layer(two_layers):
    prior, _ = two_layers
    draws = numpy(prior.log_prob(np.zeros((3, 4, LATENT), "float32"), (), seed()))
    assert len(np.unique(draws)) == 12


def wide(spread):
    """z|h ~ N(h, σ²) with as many dimensions in both layers, and log σ² = `spread`."""
    prior = priors.Hierarchical(*kvae.networks.mlp((LATENT,), LATENT, hidden=(), likelihood=Normal()))
    for network in (prior.encoder, prior.decoder):
        network.set_weights([np.eye(LATENT, 2 * LATENT), np.repeat([0.0, spread], LATENT)])
    return model_with(prior).prior


def test_both_layers_draw_from_the_seed_and_not_the_same_numbers():
    prior = wide(0.0)
    z = numpy(prior.sample(20_000, (), seed()))
    np.testing.assert_allclose(np.cov(z.T), 2 * np.eye(LATENT), atol=0.1)  # 4 if the noise of both were equal
    narrow = wide(-14.0)  # the noise of h alone is left
    assert np.abs(numpy(narrow.sample(9, (), seed(1))) - numpy(narrow.sample(9, (), seed(2)))).min() > 1e-3
    prior.decoder.set_weights([0.0 * w for w in prior.decoder.get_weights()])  # the noise of z alone is left
    assert np.abs(numpy(prior.sample(9, (), seed(1))) - numpy(prior.sample(9, (), seed(2)))).min() > 1e-3
    zeros, prior = np.zeros((3, 4, LATENT), "float32"), wide(0.0)
    first, again, other = (numpy(prior.log_prob(zeros, (), seed(number))) for number in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()


def test_gradients_reach_both_networks_of_the_second_layer():
    prior = priors.Hierarchical(*kvae.networks.mlp((LATENT,), 3, hidden=(4,), likelihood=Normal()))
    model = model_with(prior, bound=ImportanceWeighted(), num_samples=2)
    before = [w.copy() for w in prior.get_weights()]
    assert len(before) == 8
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **QUICKLY)
    model.fit(np.random.default_rng(0).random((64, 6)).astype("float32"), epochs=1, verbose=0)
    assert all(np.any(old != new) for old, new in zip(before, prior.get_weights(), strict=True))


# In a model


@pytest.mark.parametrize(
    ("prior", "kwargs"),
    [
        ("mixture", {}),
        ("vamp", {"posterior": "laplace"}),
        (lambda: priors.Hierarchical(*kvae.networks.mlp((LATENT,), 3, hidden=(4,), likelihood=Normal())), {}),
        ("learned", {"cls": kvae.CVAE}),
    ],
    ids=["mixture", "vamp", "hierarchical", "learned"],
)
def test_a_prior_is_saved_with_its_model(tmp_path, prior, kwargs):
    model = model_with(prior() if callable(prior) else prior, **kwargs)
    for weight in model.prior.weights:
        weight.assign(numpy(weight) + 0.3)
    model.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    assert type(again.prior) is type(model.prior)
    assert len(model.prior.weights) > 0
    for old, new in zip(model.prior.weights, again.prior.weights, strict=True):
        np.testing.assert_array_equal(numpy(old), numpy(new))
    labels = [0, 1, 2, 0] if model.conditions is not None else None
    np.testing.assert_array_equal(model.sample_prior(4, labels, seed=3), again.sample_prior(4, labels, seed=3))


def test_the_bound_scores_codes_by_the_prior(rng):
    """With `log_prior` and no closed form, the KL is estimated from the sample."""
    model = model_with(priors.Mixture(3))
    x = ops.convert_to_tensor(rng.random((5, 6)).astype("float32"))
    params = model.inference(x)
    z = model.posterior_family.sample(params, 4, seed())
    sample, _ = model.score(x, z, params, (), seed())
    np.testing.assert_allclose(numpy(sample.log_prior), numpy(model.prior.log_prob(z, (), None)), rtol=1e-6)
    assert sample.kl is None


def test_a_mixtures_gradient_is_the_responsibility(mixture):
    """d log p(z) / d mean_k = r_k (z − mean_k) / σ_k²."""
    prior, weights, means, sigmas = mixture
    z = np.array([[0.5, -1.5]], "float32")
    slope = numpy(gradient(lambda z: ops.sum(prior.log_prob(z, (), None)), z)[1])
    parts = np.log(weights) + scipy.stats.norm.logpdf(z, means, sigmas).sum(axis=-1)
    responsibility = np.exp(parts - logsumexp(parts))
    np.testing.assert_allclose(slope[0], (responsibility[:, None] * (means - z) / sigmas**2).sum(axis=0), rtol=1e-4)


# Errors


def hierarchical(latent_dim=LATENT, likelihood=None, top=3):
    pair = kvae.networks.mlp((latent_dim,), top, hidden=(), likelihood=likelihood or Normal())
    return priors.Hierarchical(*pair)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: model_with("flat"), r"`prior` must be one of \['mixture', 'standard', 'vamp'\] .*Received: 'flat'"),
        (lambda: model_with("learned"), "`prior` must be one of .*Received: 'learned'"),
        (lambda: priors.Mixture(0), "`num_components` must be an integer of at least 1. Received: 0"),
        (lambda: priors.Vamp(2.5), "`num_components` must be an integer of at least 1. Received: 2.5"),
        (
            lambda: model_with("vamp", cls=kvae.CVAE),
            '`prior` must be "standard", "learned" or "mixture" for a model with a condition',
        ),
        (
            lambda: model_with(hierarchical(), bound=ImportanceWeighted("doubly_reparameterized"), num_samples=3),
            "`bound` must use another gradient with a Hierarchical prior.*Received: gradient='doubly_rep",
        ),
        (
            lambda: model_with(hierarchical(latent_dim=3)),
            r"`prior` must have an encoder from \(2,\) to \(6,\) and .*\(3,\), \(6,\), \(6,\)",
        ),
        (
            lambda: model_with(hierarchical(likelihood="bernoulli")),
            r"a decoder to \(4,\).*Received: \(\(2,\), \(6,\), \(2,\)\)",
        ),
        (
            lambda: model_with("mixture", bound=ELBO(free_bits=0.5)),
            "`bound` must not use free bits where there is no closed-form KL",
        ),
        (
            lambda: model_with("mixture", cls=kvae.CVAE, bound=ELBO(free_bits=0.5)),
            "`bound` must not use free bits .*Mixture prior. Received: free_bits=0.5",
        ),
        (
            lambda: model_with(keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]), cls=kvae.CVAE),
            r"`prior` must give parameters of shape \(4,\) per example",
        ),
        (
            lambda: model_with(keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)]), cls=kvae.CVAE),
            r"`prior` must be a network from the condition, of shape \(3,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_a_prior_belongs_to_one_model():
    prior = priors.Mixture(3)
    model_with(prior)
    with pytest.raises(ValueError, match="`prior` must be a new object for each model"):
        model_with(prior)


def test_a_laplace_posterior_keeps_its_closed_form_under_the_standard_prior():
    model = model_with("standard", Laplace(), bound=ELBO(free_bits=0.5))
    params = np.zeros((1, 2 * LATENT), "float32")
    expected = 0.5 * np.log(2 * np.pi) + 1.0 - (1 + np.log(2))  # cross-entropy with variance 2, minus the entropy
    np.testing.assert_allclose(numpy(model.prior.kl(model.posterior_family, params, ())[1]), expected, rtol=1e-5)


def mixture_network(size=LATENT, width=3):
    mixture = kvae.distributions.MixtureDensity(2, size)
    return keras.Sequential([keras.Input((width,)), keras.layers.Dense(mixture.num_outputs)]), mixture


def test_a_mixture_density_network_is_a_prior(rng, tmp_path):
    network, mixture = mixture_network()
    model = model_with(priors.ConditionalMixture(network, mixture), cls=kvae.CVAE)
    x, y, z = rng.random((4, 6), "float32"), np.array([0, 1, 2, 1]), rng.normal(size=(5, 4, LATENT))
    params = network(np.eye(3, dtype="float32")[y])
    log_prob = model.prior.log_prob(ops.convert_to_tensor(z, "float32"), model.condition(y), None)
    np.testing.assert_allclose(numpy(log_prob), numpy(mixture.log_prob(z, params)), rtol=1e-5)
    assert model.elbo(x, y, seed=0).shape == (4,)  # without a closed-form KL
    cold, modes = model.sample_prior(4, y, seed=0, temperature=0), numpy(mixture.modes(params)[0])
    assert (np.abs(cold[:, None] - modes).max(axis=-1).min(axis=1) < 1e-6).all()
    assert np.abs(model.sample_prior(4, y, seed=0) - cold).min() > 1e-6
    model.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample_prior(4, y, seed=0), model.sample_prior(4, y, seed=0))


@pytest.mark.parametrize("size", [LATENT + 1, 1])
def test_a_mixture_of_other_codes_is_refused(size):
    with pytest.raises(ValueError, match=r"end the network in Dense\(mixture.num_outputs\).*codes \(2,\)"):
        model_with(priors.ConditionalMixture(*mixture_network(size)), cls=kvae.CVAE)
