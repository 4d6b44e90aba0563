"""Categorical codes against enumeration and NumPy: densities, KLs, draws, the relaxation and its gradient; JointVAE."""

import itertools
import types

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from cases import QUICKLY
from keras import ops

import kvae
from kvae import callbacks, evaluation
from kvae.distributions import Categorical, Joint, Normal
from kvae.evaluation.doctor import findings
from kvae.models.batches import Batch
from kvae.training.gradients import gradient

VARIABLES, VALUES = 3, 4


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture
def logits(rng):
    return rng.normal(size=(2, VARIABLES, VALUES)).astype("float32") * 2


def every_code(variables, values):
    """All one-hot codes `(values ** variables, variables, values)`."""
    return np.eye(values, dtype="float32")[list(itertools.product(range(values), repeat=variables))]


def test_log_prob_is_scipys_and_sums_to_one_over_all_codes(logits):
    codes = every_code(VARIABLES, VALUES)
    log_prob = numpy(Categorical().log_prob(codes[:, None], logits, event_ndim=2))
    probs = scipy.special.softmax(logits.astype("float64"), axis=-1)
    expected = [
        [sum(scipy.stats.multinomial.logpmf(z, 1, p) for z, p in zip(code, row, strict=True)) for row in probs]
        for code in codes
    ]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.exp(log_prob.astype("float64")).sum(axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(numpy(Categorical().mean(logits)), probs, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.5])
def test_the_kl_is_the_sum_over_all_codes(logits, rng, scale):
    family = Categorical()
    prior = scale * rng.normal(size=(1, VARIABLES, VALUES)).astype("float32")
    codes = every_code(VARIABLES, VALUES)[:, None]
    log_q, log_p = (numpy(family.log_prob(codes, each, 2)).astype("float64") for each in (logits, prior))
    expected = np.sum(np.exp(log_q) * (log_q - log_p), axis=0)
    np.testing.assert_allclose(numpy(family.kl_divergence(logits, family, prior, 2)), expected, rtol=1e-4)
    per_value = numpy(family.elementwise_kl(logits, family, prior))
    assert np.ptp(per_value, axis=-1).max() < 1e-6  # a variable's, divided equally
    assert family.kl_divergence(logits, Normal(), np.zeros((1, VARIABLES, 2 * VALUES)), 2) is None


def test_draws_have_their_frequencies(logits):
    z = numpy(Categorical().sample(logits[:1], 20_000, keras.random.SeedGenerator(1)))[:, 0]
    assert set(np.unique(z)) == {0.0, 1.0}
    np.testing.assert_array_equal(z.sum(axis=-1), 1.0)
    probs = scipy.special.softmax(logits[0].astype("float64"), axis=-1)
    for variable in range(VARIABLES):
        assert scipy.stats.chisquare(z[:, variable].sum(axis=0), 20_000 * probs[variable]).pvalue > 1e-3
    assert abs(np.corrcoef(z[:, 0, 0], z[:, 1, 0])[0, 1]) < 0.03


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_the_relaxation_is_the_softmax_of_noisy_logits_and_its_gradient_that_of_finite_differences(rng, temperature):
    logits, weights = rng.normal(size=(2, 5)), rng.normal(size=(1, 2, 5))
    uniform = np.clip(numpy(keras.random.uniform((1, 2, 5), seed=3)), 2.0**-24, 1 - 2.0**-24).astype("float64")

    def relaxed(logits):
        return scipy.special.softmax((logits - np.log(-np.log(uniform))) / temperature, axis=-1)

    def total(logits):
        return np.sum(weights * relaxed(logits))

    exact, soft = Categorical(temperature, straight_through=True), Categorical(temperature)
    at = logits.astype("float32")
    np.testing.assert_allclose(numpy(soft.relaxed_sample(at, 1, 3)), relaxed(logits), atol=1e-4)
    one_hot = numpy(exact.relaxed_sample(at, 1, 3))
    np.testing.assert_allclose(one_hot, numpy(exact.sample(at, 1, 3)), atol=1e-6)
    np.testing.assert_array_equal(one_hot.argmax(axis=-1), relaxed(logits).argmax(axis=-1))
    steps = np.eye(10).reshape(10, 2, 5) * 1e-5
    expected = np.array([total(logits + h) - total(logits - h) for h in steps]).reshape(2, 5) / 2e-5
    scaled = weights.astype("float32")
    for family in (soft, exact):
        _, found = gradient(lambda p, family=family: ops.sum(ops.multiply(scaled, family.relaxed_sample(p, 1, 3))), at)
        np.testing.assert_allclose(numpy(found), expected, rtol=1e-3, atol=1e-4)
    _, found = gradient(lambda p: ops.sum(ops.multiply(scaled, soft.sample(p, 1, 3))) + 0.0 * ops.sum(p), at)
    np.testing.assert_array_equal(numpy(found), 0.0)


def small(posterior="categorical", latent_dim=(2, 3), **kwargs):
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((2, 2, 1), latent_dim, hidden=(8,), posterior=posterior)
    model = kvae.VAE(*networks, posterior=posterior, seed=0, **kwargs)
    rng = np.random.default_rng(0)
    model.decoder.set_weights([0.5 * rng.normal(size=w.shape) for w in model.decoder.get_weights()])
    return model


@pytest.fixture
def pixels(rng):
    return rng.integers(2, size=(4, 2, 2, 1)).astype("float32")


def exact_log_likelihood(model, x, codes, log_prior):
    logits = numpy(model.decoder(codes))[:, None].astype("float64")
    log_likelihood = np.sum(x * logits - np.logaddexp(0.0, logits), axis=(2, 3, 4))
    return log_prior + log_likelihood  # (codes, n)


def test_log_likelihood_and_elbo_are_the_sums_over_all_codes(pixels):
    """Of a model small enough to enumerate: with exact draws, importance sampling and the ELBO are unbiased."""
    model, codes = small(), every_code(2, 3)
    joint = exact_log_likelihood(model, pixels, codes, -2 * np.log(3))
    estimate = evaluation.log_likelihood(model, pixels, num_samples=4000, seed=0).values
    np.testing.assert_allclose(estimate, scipy.special.logsumexp(joint, axis=0), atol=0.05)
    log_q = numpy(model.posterior_family.log_prob(codes[:, None], model.posterior(pixels)[0], 2)).astype("float64")
    elbo = np.sum(np.exp(log_q) * (joint - log_q), axis=0)
    np.testing.assert_allclose(model.elbo(pixels, num_samples=8000, seed=0), elbo, atol=0.1)
    assert (elbo < scipy.special.logsumexp(joint, axis=0)).all()
    model.compile(**QUICKLY)
    logged = model.evaluate(np.repeat(pixels, 500, axis=0), batch_size=2000, verbose=0, return_dict=True)
    assert logged["elbo"] == pytest.approx(elbo.mean(), abs=0.1)  # of exact draws too
    assert evaluation.kl_per_dimension(model, pixels).sum() == pytest.approx(logged["kl_loss"], rel=1e-4)


def test_the_score_function_needs_no_relaxation_and_another_estimator_is_refused():
    model = small(bound=kvae.bounds.ImportanceWeighted("score_function"), num_samples=3)
    model.compile(**QUICKLY)
    assert np.isfinite(model.train_on_batch(np.ones((4, 2, 2, 1)))).all()
    with pytest.raises(ValueError, match=r"`bound` must use gradient=.*discrete codes, as those of a Categorical"):
        small(bound=kvae.bounds.ImportanceWeighted("doubly_reparameterized"))


def test_codes_have_the_shape_of_the_networks(pixels):
    model = small(posterior=Categorical(0.5, straight_through=True))
    z = model.sample_prior(50, seed=0, temperature=0.5)
    assert z.shape == (50, 2, 3)
    np.testing.assert_array_equal(np.sort(z, axis=-1), [[[0, 0, 1]] * 2] * 50)
    np.testing.assert_allclose(model.encode(pixels).sum(axis=-1), 1.0, rtol=1e-5)
    for network in (kvae.networks.mlp, kvae.networks.conv):
        encoder, decoder = network((8, 8, 1), (4, 3), posterior="categorical")
        assert (encoder.output_shape, decoder.input_shape) == ((None, 4, 3), (None, 4, 3))
        encoder, decoder = network((8, 8, 1), (4, 3))
        assert (encoder.output_shape, decoder.input_shape) == ((None, 4, 6), (None, 4, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Categorical(0.0), "`temperature` must be a finite number above 0. Received: temperature=0.0"),
        (lambda: Categorical(-1), "`temperature` must be a finite number above 0. Received: temperature=-1"),
        (lambda: callbacks.TemperatureAnnealing(3, end=0), "`end` must be a finite number above 0. Received: end=0"),
        (lambda: callbacks.TemperatureAnnealing(0), "`epochs` must be an integer of at least 1. Received: 0"),
        (lambda: kvae.penalties.JointCapacity(capacities=(1.0, 0)), "`capacities` must be a finite number above 0"),
        (lambda: Joint([], []), "`parts` must be a list of at least one"),
        (lambda: Joint([Normal(), "categorical"], [2, 3]), "`parts` must be a list of at least one"),
        (lambda: Joint([Normal(), Categorical()], [2]), "`sizes` must hold one integer for each of the 2 parts"),
        (lambda: Joint([Normal()], [0]), "`sizes` must be an integer of at least 1. Received: 0"),
        (
            lambda: kvae.networks.mlp((8, 8, 1), 4, posterior=Joint([Normal(), Categorical()], [2, 3])),
            "must have 5 elements, the sum of the `sizes` of a Joint. Received: 4",
        ),
        (lambda: kvae.networks.mlp((8, 8, 1), (4, 0)), "`latent_dim` must be an integer of at least 1. Received: 0"),
    ],
)
def test_bad_input_is_one_line(given, message):
    with pytest.raises(ValueError, match=message) as error:
        given()
    assert "\n" not in str(error.value)


@pytest.mark.long
def test_the_temperature_falls_to_its_end_and_is_saved(tmp_path, pixels):
    model = small(posterior=Joint([Normal(), Categorical(2.0)], [2, 3]), latent_dim=5)
    model.compile(**QUICKLY)
    annealing = callbacks.TemperatureAnnealing(2, end=0.5)
    history = model.fit(pixels, epochs=4, verbose=0, callbacks=[annealing]).history
    np.testing.assert_allclose(history["temperature"], [2.0, 1.0, 0.5, 0.5], rtol=1e-6)
    assert model.fit(pixels, epochs=1, verbose=0, callbacks=[annealing]).history["temperature"] == [2.0]
    model.posterior_family.parts[1].temperature.assign(0.25)
    model.save(tmp_path / "model.keras")
    assert float(numpy(kvae.load_model(tmp_path / "model.keras").posterior_family.parts[1].temperature)) == 0.25
    other = kvae.VAE(*kvae.networks.mlp((2, 2, 1), 2, hidden=(3,)))
    other.compile(**QUICKLY)
    with pytest.raises(
        ValueError, match=r"requires a model with a categorical posterior\. Received: a VAE with a Normal"
    ):
        other.fit(pixels, verbose=0, callbacks=[annealing])


def test_a_joint_is_its_parts_side_by_side(rng):
    normal, categorical = Normal(), Categorical()
    family = Joint([normal, categorical], [2, 3])
    params = rng.normal(size=(6, 7)).astype("float32")
    first, second = params[:, :4], params[:, 4:]
    z, log_prob = family.sample_and_log_prob(params, 4, 0)
    expected = numpy(normal.log_prob(z[..., :2], first)) + numpy(categorical.log_prob(z[..., 2:], second))
    np.testing.assert_allclose(numpy(log_prob), expected, rtol=1e-5)
    np.testing.assert_allclose(numpy(family.log_prob(z, params)), expected, rtol=1e-5)
    mean = np.concatenate([first[:, :2], scipy.special.softmax(second, axis=-1)], axis=-1)
    np.testing.assert_allclose(numpy(family.mean(params)), mean, rtol=1e-5)
    prior = family.standard_prior()
    zeros = np.zeros((1, 7), "float32")
    parts = [
        numpy(part.kl_divergence(own, part, 0 * own[:1])) for part, own in ((normal, first), (categorical, second))
    ]
    np.testing.assert_allclose([numpy(kl) for kl in family.kl_of_parts(params, prior, zeros)], parts, rtol=1e-5)
    np.testing.assert_allclose(numpy(family.kl_divergence(params, prior, zeros)), sum(parts), rtol=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(family))
    assert again.get_config() == family.get_config()
    warm = numpy(family.tempered(z, params, 0.0))
    np.testing.assert_allclose(warm[..., :2], np.broadcast_to(first[:, :2], (4, 6, 2)))
    np.testing.assert_array_equal(warm[..., 2:], numpy(z)[..., 2:])


def test_each_part_of_a_joint_has_a_capacity(pixels):
    posterior = Joint([Normal(), Categorical()], [2, 3])
    model = small(posterior, 5, beta=2.0, penalty=kvae.penalties.JointCapacity(10.0, (4.0, 1.0)))
    params = numpy(model.inference(pixels))
    normal, categorical = params[:, :4].astype("float64"), params[:, 4:].astype("float64")
    mean, log_var = normal[:, :2], normal[:, 2:]
    log_q = scipy.special.log_softmax(categorical, axis=-1)
    kls = [
        np.sum(0.5 * (np.exp(log_var) + mean**2 - log_var - 1), axis=1),
        np.sum(np.exp(log_q) * (log_q + np.log(3)), axis=1),
    ]
    for share in (1.0, 0.2):
        model.capacity.assign(5.0 * share)
        expected = 10.0 * sum(abs(kl.mean() - share * each) for kl, each in zip(kls, (4.0, 1.0), strict=True))
        terms = model.run_batch(Batch(ops.convert_to_tensor(pixels)), training=False).terms
        np.testing.assert_allclose(numpy(terms["capacity_loss"]), expected, rtol=1e-4)
        np.testing.assert_allclose(numpy(terms["penalty_loss"]), expected - 2.0 * sum(kls), rtol=1e-4)
    model.compile(**QUICKLY)
    warmup = callbacks.CapacityWarmup(2)
    assert model.fit(pixels, epochs=3, verbose=0, callbacks=[warmup]).history["capacity"] == [0.0, 2.5, 5.0]
    (penalty,) = type(model).from_config(model.get_config()).penalties
    assert penalty == model.penalties[0]
    with pytest.raises(ValueError, match=r"JointCapacity needs a posterior .*Joint of 2 parts.* a Normal posterior"):
        kvae.VAE(*kvae.networks.mlp((4,), 2), penalty=kvae.penalties.JointCapacity())


def test_the_doctor_lets_a_categorical_posterior_be_certain():
    figures = types.SimpleNamespace(model=small(), width=np.zeros((10, 6)), prior_share=1.0)
    assert findings._pinned(figures) is findings._prior(figures) is None
