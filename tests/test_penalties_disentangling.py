"""Penalties on the aggregate posterior, compared with NumPy loops and with Gaussians whose values are known."""

import types

import keras
import numpy as np
import pytest
from cases import QUICKLY, autoencoder, cvae, vae
from keras import ops
from scipy.stats import norm

import kvae
from kvae.bounds import ELBO
from kvae.distributions import Normal
from kvae.models.batches import Batch
from kvae.models.factor_vae import permute_dimensions
from kvae.penalties import DIP, MMD, Capacity, TotalCorrelation

CORRELATED = np.array([[1.0, 0.8, 0.0], [0.8, 1.5, 0.0], [0.0, 0.0, 0.7]])  # of codes; the third one is independent
SIGMA = 0.6


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def penalised(penalty, z, params, **model):
    model = types.SimpleNamespace(**{"posterior_family": Normal(), "prior": None, **model})
    result = penalty(
        None, ops.convert_to_tensor(z), ops.convert_to_tensor(params), model, keras.random.SeedGenerator(0)
    )
    return numpy(result[0] if isinstance(result, tuple) else result)


def posteriors(rng, n=5, d=3, num_samples=2, log_var=None):
    """Parameters of normal posteriors `(n, 2d)` and draws from them `(samples, n, d)`."""
    mean = rng.standard_normal((n, d))
    log_var = rng.normal(-1, 0.5, (n, d)) if log_var is None else log_var
    z = mean + np.exp(0.5 * log_var) * rng.standard_normal((num_samples, n, d))
    return np.concatenate([mean, log_var], axis=1).astype("float32"), z.astype("float32")


def gaussian(rng, covariance, n=2000):
    """Posteriors N(μ_i, σ² I) of n examples whose q(z) is N(0, covariance), and a draw from each."""
    d = len(covariance)
    mean = rng.multivariate_normal(np.zeros(d), covariance - SIGMA**2 * np.eye(d), n)
    # Of exactly this covariance, which leaves the estimate's own error.
    mean = (mean - mean.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(mean.T, ddof=0))).T
    mean = mean @ np.linalg.cholesky(covariance - SIGMA**2 * np.eye(d)).T
    params = np.concatenate([mean, np.full((n, d), 2 * np.log(SIGMA))], axis=1)
    return params.astype("float32"), (mean + SIGMA * rng.standard_normal((1, n, d))).astype("float32")


# Total correlation.


@pytest.mark.parametrize("num_examples", [None, 50])
def test_total_correlation_is_that_of_the_weighted_posteriors(rng, num_examples):
    params, z = posteriors(rng)
    mean, sigma = params[:, :3], np.exp(0.5 * params[:, 3:])
    expected = np.zeros(5)
    for i in range(5):
        for draw in z[:, i]:
            joint, marginals = 0.0, np.zeros(3)
            for m in range(5):
                weight = 1 / 5 if num_examples is None else 1 / 50 if m == i else (49 / 50) / 4
                densities = norm.pdf(draw, mean[m], sigma[m])
                joint += weight * np.prod(densities)
                marginals += weight * densities
            expected[i] += (np.log(joint) - np.log(marginals).sum()) / 2
    got = penalised(TotalCorrelation(3.0, num_examples), z, params)
    np.testing.assert_allclose(got, 3 * expected, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("covariance", [np.diag([1.0, 2.0, 0.7]), CORRELATED], ids=["independent", "correlated"])
def test_the_kl_is_mutual_information_and_total_correlation_and_the_kl_of_each_dimension(rng, covariance):
    params, z = gaussian(rng, covariance)
    n, d = z.shape[1:]
    family, penalty = Normal(), TotalCorrelation(1.0, num_examples=n)
    z_tensor, params_tensor = ops.convert_to_tensor(z), ops.convert_to_tensor(params)
    log_joint, log_marginals = map(numpy, penalty.log_aggregate(z_tensor, params_tensor, family))
    log_posterior = numpy(family.log_prob(z_tensor, params_tensor))
    information = (log_posterior - log_joint).mean()
    total_correlation = (log_joint - log_marginals.sum(axis=-1)).mean()
    dimensions = (log_marginals.sum(axis=-1) - norm.logpdf(z).sum(axis=-1)).mean()

    variances = np.diag(covariance)
    log_determinant = np.linalg.slogdet(covariance)[1]
    assert information == pytest.approx(0.5 * log_determinant - d * np.log(SIGMA), abs=0.09)  # of 1.7 nats
    assert total_correlation == pytest.approx(0.5 * (np.log(variances).sum() - log_determinant), abs=0.03)
    assert dimensions == pytest.approx(0.5 * (variances - 1 - np.log(variances)).sum(), abs=0.06)
    kl = numpy(family.kl_divergence(params_tensor, Normal(), ops.zeros((1, 2 * d)))).mean()
    assert information + total_correlation + dimensions == pytest.approx(kl, abs=0.06)
    np.testing.assert_allclose(penalised(penalty, z, params).mean(), total_correlation, rtol=1e-4)
    if covariance is CORRELATED:
        assert total_correlation > 0.25
        batches = [slice(100 * i, 100 * (i + 1)) for i in range(n // 100)]
        stratified = [penalised(penalty, z[:, rows], params[rows]).mean() for rows in batches]
        assert np.mean(stratified) == pytest.approx(total_correlation, abs=0.1)


def test_codes_that_ignore_the_image_have_no_total_correlation(rng):
    params = np.tile(rng.standard_normal(6).astype("float32"), (20, 1))
    z = rng.standard_normal((1, 20, 3)).astype("float32")
    for num_examples in (None, 1000):
        np.testing.assert_allclose(penalised(TotalCorrelation(1.0, num_examples), z, params), 0, atol=1e-4)
    one = penalised(TotalCorrelation(1.0, 1000), z[:, :1], params[:1])  # a last batch of one example
    assert np.isfinite(one).all()


# DIP.


@pytest.mark.parametrize(("variant", "lambda_d", "used"), [("i", None, 20.0), ("i", 3.0, 3.0), ("ii", None, 2.0)])
def test_dip_compares_the_covariance_with_the_identity(rng, variant, lambda_d, used):
    params, z = posteriors(rng, n=7, d=4)
    covariance = np.cov(params[:, :4].T, ddof=0)
    if variant == "ii":
        covariance += np.diag(np.exp(params[:, 4:]).mean(axis=0))
    expected = 0.0
    for i in range(4):
        for j in range(4):
            expected += used * (covariance[i, i] - 1) ** 2 if i == j else 2.0 * covariance[i, j] ** 2
    got = penalised(DIP(2.0, lambda_d, variant), z, params)
    np.testing.assert_allclose(got, np.full(7, expected), rtol=1e-4)


def test_dip_adds_the_variance_that_all_codes_share(rng):
    mean = rng.standard_normal((6, 2)).astype("float32")
    shared = penalised(DIP(1.0, variant="ii"), mean[None], mean, posterior_family=Normal(sigma=0.5))
    each = np.concatenate([mean, np.full((6, 2), 2 * np.log(0.5), "float32")], axis=1)
    np.testing.assert_allclose(shared, penalised(DIP(1.0, variant="ii"), mean[None], each), rtol=1e-5)


# Capacity.


@pytest.mark.parametrize("arguments", [{}, {"beta": 4.0}, {"beta": 0.0}, {"prior": "mixture", "posterior": "laplace"}])
def test_the_capacity_replaces_the_kl(rng, arguments):
    model = vae(penalty=Capacity(gamma=10.0, capacity=3.0), **arguments)
    x = ops.convert_to_tensor(rng.random((6, 8, 8, 1), dtype="float32"))
    for capacity in (3.0, 0.1):
        model.capacity.assign(capacity)
        result = model.run_batch(Batch(x), training=False)
        terms = {name: numpy(term) for name, term in result.terms.items()}
        distance = 10 * abs(terms["kl_loss"].mean() - capacity)
        np.testing.assert_allclose(terms["capacity_loss"], np.full(6, distance), rtol=1e-4)
        loss = sum(map(numpy, result.losses))
        np.testing.assert_allclose(loss, terms["reconstruction_loss"] + distance, rtol=1e-5)


@pytest.mark.long
def test_the_capacity_rises_during_training_and_is_saved(rng, tmp_path):
    model = vae(penalty=Capacity(gamma=100.0, capacity=2.0))
    model.compile(optimizer=keras.optimizers.Adam(1e-2), **QUICKLY)
    x = rng.random((20, 8, 8, 1), dtype="float32")
    logs = model.fit(x, epochs=5, verbose=0, callbacks=[kvae.callbacks.CapacityWarmup(4)]).history
    np.testing.assert_allclose(logs["capacity"], [0, 0.5, 1, 1.5, 2])
    total = np.array(logs["reconstruction_loss"]) + logs["capacity_loss"]
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-5)
    with pytest.warns(UserWarning, match="CapacityWarmup: training will end at capacity=0.5, below the target 2:"):
        model.fit(x, epochs=2, verbose=0, callbacks=[kvae.callbacks.CapacityWarmup(4)])
    model.save(tmp_path / "capacity.keras")
    loaded = keras.saving.load_model(tmp_path / "capacity.keras")
    assert loaded.penalties == model.penalties
    assert float(numpy(loaded.capacity)) == 0.5


# Maximum mean discrepancy.


def kernel(name, a, b):
    ratio = np.square(a - b).sum() / (2 * len(a) * np.array([0.1, 0.2, 0.5, 1, 2, 5, 10]))
    return (1 / (1 + ratio) if name == "imq" else np.exp(-ratio)).sum()


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_mmd_is_its_unbiased_estimate(rng, name):
    a, b = rng.standard_normal((2, 5, 3)).astype("float32")
    expected = 0.0
    for i in range(5):
        for j in range(5):
            expected -= 2 * kernel(name, a[i], b[j]) / 25
            if i != j:
                expected += (kernel(name, a[i], a[j]) + kernel(name, b[i], b[j])) / 20
    penalty = MMD(1.0, name)
    assert float(numpy(penalty.estimate(ops.convert_to_tensor(a), ops.convert_to_tensor(b)))) == pytest.approx(
        expected, rel=1e-4
    )


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_mmd_is_zero_on_average_for_codes_from_the_prior(rng, name):
    codes = rng.standard_normal((300, 20, 2)).astype("float32")
    params = np.zeros((20, 4), "float32")
    same, shifted = (
        numpy(MMD(1.0, name).estimate(codes + shift, rng.standard_normal(codes.shape).astype("float32")))
        for shift in (0.0, 2.0)
    )
    assert abs(same.mean()) < 3 * same.std() / np.sqrt(len(same))
    assert (same < 0).any()
    assert shifted.min() > same.mean()
    # Drawn from N(0, I) without a prior, for an autoencoder; every example gets the mean over the samples.
    got = penalised(MMD(7.0, name), codes + np.float32(2.0), params)
    np.testing.assert_allclose(got, np.full(20, 7 * shifted.mean()), rtol=0.05)
    np.testing.assert_array_equal(penalised(MMD(1.0, name), codes[:1, :1], params[:1]), [0])


def test_mmd_draws_from_the_models_own_prior(rng):
    model = vae(prior="mixture", penalty=MMD(1.0))
    model.prior.component_weights.assign(np.tile(np.array([5.0, -5.0, -4.0, -4.0], "float32"), (50, 1)))
    z = rng.normal([5, -5], np.exp(-2), (40, 50, 2)).astype("float32")
    given = {"posterior_family": model.posterior_family, "prior": model.prior}
    near = penalised(MMD(1.0), z, np.zeros((50, 4), "float32"), **given)
    far = penalised(MMD(1.0), z, np.zeros((50, 4), "float32"))
    assert abs(near[0]) < 0.05 < 1 < far[0]


# FactorVAE.


def factor_vae(**kwargs):
    keras.utils.set_random_seed(0)
    return kvae.FactorVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(16,)), seed=0, **kwargs)


def test_permuted_dimensions_keep_their_values_and_lose_their_dependence(rng):
    z = np.tile(rng.standard_normal((2, 400, 1)), (1, 1, 3)).astype("float32")
    permuted = numpy(permute_dimensions(ops.convert_to_tensor(z), keras.random.SeedGenerator(0)))
    np.testing.assert_array_equal(np.sort(permuted, axis=1), np.sort(z, axis=1))
    correlations = [np.corrcoef(sample.T)[np.triu_indices(3, 1)] for sample in permuted]
    assert np.abs(correlations).max() < 0.2


@pytest.mark.long
def test_the_discriminator_and_the_vae_train_on_their_own_losses(rng):
    x = rng.random((8, 8, 8, 1), dtype="float32")

    def weights_after(gamma):
        model = factor_vae(gamma=gamma)
        model.compile(keras.optimizers.SGD(1e-2), discriminator_optimizer=keras.optimizers.SGD(1.0), **QUICKLY)
        logs = model.fit(x, batch_size=8, verbose=0).history
        terms = logs["reconstruction_loss"][0] + logs["kl_loss"][0] + gamma * logs["total_correlation"][0]
        assert logs["loss"][0] == pytest.approx(terms + logs["discriminator_loss"][0], rel=1e-5)
        assert logs["discriminator_loss"][0] == pytest.approx(np.log(2), abs=0.2)
        return model.encoder.get_weights(), model.discriminator.get_weights()

    still, plain = factor_vae().discriminator.get_weights(), factor_vae()
    plain = kvae.VAE(plain.encoder, plain.decoder, seed=0)
    plain.compile(keras.optimizers.SGD(1e-2), **QUICKLY)
    plain.fit(x, batch_size=8, verbose=0)
    (encoder, judge), (pulled, other_judge) = map(weights_after, (0.0, 100.0))
    for a, b in zip(encoder, plain.encoder.get_weights(), strict=True):  # whatever the discriminator minimises
        np.testing.assert_allclose(a, b, atol=1e-7)
    for a, b in zip(judge, other_judge, strict=True):  # whatever γ
        np.testing.assert_allclose(a, b, atol=1e-7)
    assert np.abs(judge[0] - still[0]).max() > 1e-4
    assert np.abs(encoder[0] - pulled[0]).max() > 1e-5


@pytest.mark.long
def test_a_trained_discriminator_gives_the_total_correlation(rng):
    """Of codes from a Gaussian with correlation 0.8, by training the discriminator alone on the terms of the model."""
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    model = factor_vae()
    draws = rng.multivariate_normal([0, 0], covariance, 20_000).astype("float32")
    permuted = numpy(permute_dimensions(ops.convert_to_tensor(draws[None]), keras.random.SeedGenerator(0)))[0]
    judge = model.discriminator
    rate = keras.optimizers.schedules.CosineDecay(2e-3, 240)
    judge.compile(keras.optimizers.Adam(rate), keras.losses.BinaryCrossentropy(from_logits=True))
    labels = np.repeat([[1.0], [0.0]], len(draws), axis=0)
    judge.fit(np.concatenate([draws, permuted]), labels, batch_size=500, epochs=3, verbose=0)
    got = numpy(model._logits(ops.convert_to_tensor(draws[None]), False)).mean()
    assert got == pytest.approx(-0.5 * np.linalg.slogdet(covariance)[1], abs=0.06)


# Configurations and invalid input.


@pytest.mark.parametrize(
    "penalty",
    [TotalCorrelation(5.0), TotalCorrelation(1.0, 1000), DIP(1.0, 2.0, "ii"), Capacity(10.0, 3.0), MMD(2.0, "rbf")],
    ids=repr,
)
def test_penalties_are_their_configuration(penalty):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(penalty))
    assert again == penalty
    assert type(again) is type(penalty)


def two_outputs(shape=(2,), size=2):
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(size)])


BAD = {
    "negative weight": (lambda: TotalCorrelation(-1.0), r"`weight` must be a finite number of at least 0"),
    "no examples": (lambda: TotalCorrelation(1.0, 0), r"`num_examples` must be an integer of at least 1"),
    "third variant": (lambda: DIP(1.0, variant="iii"), r'`variant` must be "i" or "ii". Received: \'iii\''),
    "negative λ_d": (lambda: DIP(1.0, -1.0), r"`lambda_d` must be a finite number"),
    "negative γ": (lambda: Capacity(-1.0), r"`gamma` must be a finite number"),
    "infinite capacity": (lambda: Capacity(1.0, np.inf), r"`capacity` must be a finite number"),
    "unknown kernel": (lambda: MMD(1.0, "linear"), r'`kernel` must be "imq" or "rbf"'),
    "no posterior": (
        lambda: autoencoder(penalty=TotalCorrelation(1.0)),
        r"TotalCorrelation needs a posterior .*: use a VAE. Received: Autoencoder",
    ),
    "samples without a derivative": (
        lambda: vae(bound=ELBO(gradient="score_function"), penalty=MMD(1.0)),
        r'MMD needs .*gradient="reparameterized". Received: gradient=\'score_function\'',
    ),
    "variances of another family": (
        lambda: vae(posterior="laplace", penalty=DIP(1.0, variant="ii")),
        r'needs the variances of a normal posterior: use variant="i". Received: Laplace',
    ),
    "a prior for each label": (
        lambda: cvae(prior="learned", penalty=Capacity()),
        r"Capacity needs the same prior p\(z\) for all examples. Received: a Conditional prior",
    ),
    "another bound": (
        lambda: vae(bound="importance_weighted", penalty=Capacity()),
        r"Capacity replaces the KL of the bound ELBO\(\).*Received: ImportanceWeighted",
    ),
    "free bits": (lambda: vae(bound=ELBO(free_bits=0.1), penalty=Capacity()), r"Capacity replaces.*'free_bits': 0.1"),
    "two capacities": (lambda: vae(penalty=[Capacity(), Capacity()]), r"one Capacity at most. Received: two"),
    "no capacity": (
        lambda: fit_with(kvae.callbacks.CapacityWarmup(1)),
        r"CapacityWarmup requires .*Capacity\(...\). Received: a VAE without it",
    ),
    "warm-up of no epochs": (lambda: kvae.callbacks.CapacityWarmup(0), r"`epochs` must be an integer of at least 1"),
    "two logits": (
        lambda: factor_vae(discriminator=two_outputs()),
        r"`discriminator` must map codes of shape \(2,\) to 1 logit.*Received: \(2,\) to \(2,\)",
    ),
    "other codes": (lambda: factor_vae(discriminator=two_outputs((3,), 1)), r"`discriminator` .*Received: \(3,\) to"),
    "FactorVAE without a derivative": (
        lambda: factor_vae(bound=ELBO(gradient="score_function")),
        r'FactorVAE needs .*gradient="reparameterized"',
    ),
    "FactorVAE's γ": (lambda: factor_vae(gamma=-1.0), r"`gamma` must be a finite number"),
}


def fit_with(callback):
    model = vae()
    model.compile()
    model.fit(np.zeros((4, 8, 8, 1)), verbose=0, callbacks=[callback])


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
