"""Bounds, compared with NumPy in float64, and the identities between them."""

import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import ops
from scipy.special import logsumexp

import kvae
from kvae import bounds
from kvae.bounds import ELBO, ImportanceWeighted, PosteriorSample, Renyi
from kvae.models.batches import Batch

LOG_WEIGHTS = arrays.arrays("float32", (5, 3), elements=st.floats(-200, 50, width=32, allow_subnormal=False))
ALPHAS = [-math.inf, -1e6, -1.0, 0.0, 0.5, 0.99, 0.9989, 0.9991, 0.999999, 1.0, 1.000001, 1.0005, 1.01, 2.0, 10.0]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def renyi(log_weights, alpha):
    """Li & Turner 2016, eq. 13, in float64."""
    log_weights = log_weights.astype("float64")
    if alpha == -math.inf:
        return log_weights.max(axis=0)
    if alpha == 1.0:
        return log_weights.mean(axis=0)
    return (logsumexp((1 - alpha) * log_weights, axis=0) - math.log(len(log_weights))) / (1 - alpha)


def value(alpha, log_weights):
    return numpy(Renyi(alpha).from_log_weights(ops.convert_to_tensor(np.float32(log_weights))))


def sample_of(log_weights):
    """A `PosteriorSample` with the given log-weights."""
    zeros = np.zeros_like(log_weights)
    return PosteriorSample(*(ops.convert_to_tensor(np.float32(part)) for part in (log_weights, zeros, zeros)))


@pytest.fixture
def sample(rng):
    """Densities of 4 samples of 5 examples with 2 latent dimensions, as arrays."""
    densities = [rng.normal(mean, 3, size=(4, 5)).astype("float32") for mean in (-80, -3, 2)]
    kl = rng.random((5, 2)).astype("float32")
    return PosteriorSample(*densities, kl.sum(axis=-1), kl)


def tensors(sample):
    return PosteriorSample(*(None if part is None else ops.convert_to_tensor(part) for part in sample))


# The evidence lower bound


def test_the_elbos_terms_are_reconstruction_and_weighted_kl(sample):
    reconstruction, weighted = ELBO()(tensors(sample), 0.5)
    np.testing.assert_allclose(reconstruction, -sample.log_likelihood.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(weighted, 0.5 * sample.kl, rtol=1e-6)


@pytest.mark.parametrize("bound", [ELBO(kl="monte_carlo"), ELBO()])
def test_the_kl_is_sampled_on_request_and_where_it_must_be(sample, bound):
    if bound.kl == "closed_form":
        sample = sample._replace(kl=None)
    reconstruction, weighted = bound(tensors(sample), 0.5)
    np.testing.assert_allclose(reconstruction, -sample.log_likelihood.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(weighted, 0.5 * (sample.log_posterior - sample.log_prior).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(tensors(sample._replace(kl=None)).total_kl(), 2 * weighted, rtol=1e-6)


def test_free_bits_are_a_floor_under_each_dimensions_mean_over_the_batch(sample):
    kl = np.array([[0.1, 2.0], [0.3, 4.0], [1.5, 0.1], [0.1, 1.0], [0.0, 0.5]], "float32")
    means = kl.mean(axis=0)  # 0.4 and 1.52
    sample = sample._replace(kl=kl.sum(axis=-1), kl_per_dimension=kl)
    for free, expected in ((0.0, means.sum()), (0.5, 0.5 + means[1]), (1.0, 1.0 + means[1]), (2.0, 4.0)):
        reconstruction, weighted = ELBO(free_bits=free)(tensors(sample), 3.0)
        assert numpy(weighted).mean() == pytest.approx(3.0 * expected, rel=1e-5)
        np.testing.assert_allclose(reconstruction, -sample.log_likelihood.mean(axis=0), rtol=1e-6)
    # The dimension above the floor keeps the KL of each example.
    np.testing.assert_allclose(ELBO(free_bits=0.5)(tensors(sample), 1.0)[1], 0.5 + kl[:, 1], rtol=1e-6)


# The Rényi and importance-weighted bounds


@pytest.mark.parametrize("alpha", ALPHAS)
def test_renyi_is_the_formula(rng, alpha):
    log_weights = rng.normal(-100, 30, size=(8, 20)).astype("float32")
    np.testing.assert_allclose(value(alpha, log_weights), renyi(log_weights, alpha), rtol=1e-5, atol=2e-3)


def test_groups_and_a_share_of_the_elbo_are_the_formulas(rng):
    log_weights = rng.normal(-100, 5, size=(6, 20)).astype("float32")
    in_groups = np.mean([renyi(log_weights[group::3], 0.0) for group in range(3)], axis=0)
    elbo, whole = renyi(log_weights, 1.0), renyi(log_weights, 0.0)
    for arguments, expected in (
        ({"groups": 3}, in_groups),
        ({"groups": 6}, elbo),
        ({"elbo_share": 0.3}, 0.3 * elbo + 0.7 * whole),
        ({"groups": 3, "elbo_share": 0.5}, 0.5 * (elbo + in_groups)),
    ):
        found = ImportanceWeighted(**arguments)(sample_of(log_weights), 1.0)[0]
        np.testing.assert_allclose(numpy(found), -expected, rtol=1e-5)
    assert (elbo <= in_groups + 1e-9).all()  # Jensen


def test_beta_weighs_the_log_ratio(sample):
    for beta in (0.0, 0.3, 4.0):
        log_weights = sample.log_likelihood + beta * (sample.log_prior - sample.log_posterior)
        for bound in (ImportanceWeighted(), Renyi(-1.0), Renyi(1.0), Renyi(-math.inf)):
            (loss,) = bound(tensors(sample), beta)
            np.testing.assert_allclose(loss, -renyi(log_weights, bound.alpha), rtol=1e-5)


@pytest.mark.long
@given(LOG_WEIGHTS)
@settings(max_examples=30)
def test_alpha_of_one_zero_and_minus_infinity_meet_their_neighbours(log_weights):
    sample = sample_of(log_weights)
    elbo = sum(ELBO(kl="monte_carlo")(sample, 1.0))
    np.testing.assert_allclose(Renyi(1.0)(sample, 1.0)[0], elbo, rtol=1e-5, atol=1e-4)
    for near in (1.0 - 1e-9, 1.0 + 1e-9):
        np.testing.assert_allclose(Renyi(near)(sample, 1.0)[0], elbo, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(Renyi(0.0)(sample, 1.0)[0], ImportanceWeighted()(sample, 1.0)[0])
    np.testing.assert_allclose(Renyi(1e-7)(sample, 1.0)[0], ImportanceWeighted()(sample, 1.0)[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(value(-math.inf, log_weights), log_weights.max(axis=0), atol=1e-6)
    largest = value(-1e4, log_weights)  # at most log(K) / (1 − α) below it
    np.testing.assert_allclose(largest, log_weights.max(axis=0), rtol=1e-5, atol=1e-3)


@given(LOG_WEIGHTS, st.tuples(st.sampled_from(ALPHAS), st.sampled_from(ALPHAS)))
@settings(max_examples=60)
def test_renyi_falls_with_alpha_between_the_extreme_weights(log_weights, alphas):
    low, high = sorted(alphas)
    above, below = value(low, log_weights), value(high, log_weights)
    slack = 1e-3 + 1e-5 * np.abs(log_weights).max()
    assert (below <= above + slack).all()
    assert (above <= log_weights.max(axis=0) + slack).all()
    assert (below >= log_weights.min(axis=0) - slack).all()


@given(LOG_WEIGHTS, st.sampled_from(ALPHAS), st.integers(1, 4))
@settings(max_examples=40)
def test_on_average_over_subsets_the_bound_grows_with_its_samples(log_weights, alpha, k):
    """Burda, Grosse, Salakhutdinov 2016, theorem 1; for α > 1 it decreases (Li & Turner, theorem 2)."""
    subsets = [value(alpha, log_weights[list(rows)]) for rows in itertools.combinations(range(5), k)]
    gain = value(alpha, log_weights) - np.mean(subsets, axis=0)
    slack = 1e-3 + 1e-5 * np.abs(log_weights).max()
    assert (gain >= -slack).all() if alpha <= 1 else (gain <= slack).all()
    if alpha == 1:
        np.testing.assert_allclose(gain, 0, atol=slack)


def test_one_sample_makes_every_bound_the_elbo(rng):
    log_weights = rng.normal(-100, 30, size=(1, 20)).astype("float32")
    elbo = numpy(sum(ELBO(kl="monte_carlo")(sample_of(log_weights), 1.0)))
    np.testing.assert_array_equal(elbo, -log_weights[0])
    np.testing.assert_array_equal(numpy(ImportanceWeighted()(sample_of(log_weights), 1.0)[0]), elbo)
    for alpha in ALPHAS:
        np.testing.assert_allclose(value(alpha, log_weights), log_weights[0], rtol=1e-6)


# Weights that are zero or overflow


@pytest.mark.parametrize("alpha", ALPHAS)
def test_zero_weights_give_minus_infinity_and_never_nan(alpha):
    nothing = np.full((4, 2), -np.inf)
    np.testing.assert_array_equal(value(alpha, nothing), -np.inf)
    some = np.array([[-np.inf, -50.0], [-60.0, -55.0], [-50.0, -60.0]])
    np.testing.assert_allclose(value(alpha, some), renyi(some, alpha), rtol=1e-4)  # −∞ for α ≥ 1


@pytest.mark.parametrize("bound", [ELBO(), ELBO(kl="monte_carlo"), ImportanceWeighted()])
def test_images_of_no_probability_cost_infinity(bound):
    sample = sample_of(np.full((3, 2), -np.inf))
    assert (numpy(sum(bound(sample, 1.0))) == np.inf).all()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("scale", [1e4, 1e6])
def test_huge_log_weights_stay_finite(alpha, scale):
    log_weights = scale * np.array([[1.0, -1.0, 1.0, 0.0], [1.0, -1.0, -1.0, 1e-6]])
    with np.errstate(over="ignore"):
        expected = renyi(log_weights, alpha)
    np.testing.assert_allclose(value(alpha, log_weights), expected, rtol=1e-4, atol=1e-4)


# In a model


def model_of(bound, **kwargs):
    keras.utils.set_random_seed(0)
    return kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,)), bound=bound, seed=1, **kwargs)


def loss_of(bound, x, **kwargs):
    """The loss of each example, with the same weights and noise for every bound."""
    return numpy(sum(model_of(bound, **kwargs).run_batch(Batch(ops.convert_to_tensor(x)), training=False).losses))


@pytest.mark.long
def test_a_models_loss_is_its_bound(rng):
    x = rng.random((7, 6)).astype("float32")
    model = model_of("elbo", num_samples=5, beta=2.0)
    params = model.inference(ops.convert_to_tensor(x))
    z = model.posterior_family.sample(params, 5, model.seed_generator)
    sample, _ = model.score(ops.convert_to_tensor(x), z, params, (), None)
    log_weights = numpy(sample.log_weights(2.0))
    for bound in (ImportanceWeighted(), Renyi(0.5), Renyi(2.0), Renyi(1.0), Renyi(-math.inf)):
        loss = loss_of(bound, x, num_samples=5, beta=2.0)
        np.testing.assert_allclose(loss, -renyi(log_weights, bound.alpha), rtol=1e-5)
    closed = -numpy(sample.log_likelihood).mean(axis=0) + 2.0 * numpy(sample.kl)
    np.testing.assert_allclose(loss_of("elbo", x, num_samples=5, beta=2.0), closed, rtol=1e-5)
    sampled = loss_of(ELBO(kl="monte_carlo"), x, num_samples=5, beta=2.0)
    np.testing.assert_allclose(sampled, -log_weights.mean(axis=0), rtol=1e-5)
    once = loss_of("importance_weighted", x, beta=2.0)
    np.testing.assert_allclose(once, loss_of(ELBO(kl="monte_carlo"), x, beta=2.0), rtol=1e-6)


def test_the_penalty_of_a_vae_is_added_and_averaged_over_its_samples(rng):
    x = rng.random((7, 6)).astype("float32")
    plain = loss_of("elbo", x, num_samples=3)
    model = model_of("elbo", num_samples=3, penalty=[kvae.penalties.L1(0.5), kvae.penalties.L1(1.0)])
    result = model.run_batch(Batch(ops.convert_to_tensor(x)), training=False)
    z = numpy(model_of("elbo").posterior_family.sample(model.inference(ops.convert_to_tensor(x)), 3, seed=noise()))
    expected = 1.5 * np.abs(z).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(numpy(result.terms["penalty_loss"]), expected, rtol=1e-5)
    np.testing.assert_allclose(numpy(sum(result.losses)), plain + expected, rtol=1e-5)


def noise():
    """A stream like that of `model_of`."""
    return model_of("elbo").seed_generator


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_network_runs_in_training_mode_in_training_alone(rng, name):
    x, inputs = (
        ops.convert_to_tensor(rng.random((7, 6)).astype("float32")),
        keras.Input((6 if name == "encoder" else 2,)),
    )
    normalised = keras.layers.BatchNormalization(momentum=0.0)(inputs)
    parts = dict(zip(("encoder", "decoder"), kvae.networks.mlp((6,), 2, hidden=()), strict=True))
    parts[name] = keras.Model(inputs, parts[name](normalised))
    model = kvae.VAE(**parts, seed=0)
    moments = lambda: numpy(parts[name].layers[1].moving_mean).copy()  # noqa: E731
    before = moments()
    model.run_batch(Batch(x), training=False)
    np.testing.assert_array_equal(moments(), before)
    model.run_batch(Batch(x), training=True)
    assert np.abs(moments() - before).min() > 1e-4


@pytest.mark.parametrize("bound", [ELBO(kl="monte_carlo"), ImportanceWeighted(), Renyi(-2.0)])
def test_the_gradients_estimator_leaves_the_loss_alone(rng, bound):
    x = rng.random((7, 6)).astype("float32")
    plain = loss_of(bound, x, num_samples=4)
    for gradient in ("doubly_reparameterized", "sticking_the_landing", "score_function"):
        other = type(bound)(**{**bound.get_config(), "gradient": gradient})
        np.testing.assert_allclose(loss_of(other, x, num_samples=4), plain, rtol=1e-5)


def test_the_importance_weighted_bound_grows_with_its_samples(rng):
    """Paired differences between the models' losses at K = 1, 5 and 50, in standard errors."""
    x = np.repeat(rng.random((1, 6)).astype("float32"), 4000, axis=0)
    losses = [loss_of("importance_weighted", x, num_samples=k) for k in (1, 5, 50)]
    for fewer, more in itertools.pairwise(losses):
        gain = fewer - more
        assert gain.mean() > 5 * gain.std() / np.sqrt(len(x))


# Bounds as objects


@pytest.mark.parametrize(
    "bound",
    [
        ELBO(),
        ELBO(kl="monte_carlo", gradient="doubly_reparameterized"),
        ELBO(free_bits=0.25),
        Renyi(0.3, gradient="score_function"),
        Renyi(-math.inf),
        ImportanceWeighted(gradient="doubly_reparameterized"),
        ImportanceWeighted(groups=2, elbo_share=0.5, decoder_groups=1),
    ],
)
def test_round_trip_equality_and_hash(bound):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(bound))
    assert again == bound
    assert again.get_config() == bound.get_config()
    assert hash(again) == hash(bound)
    assert bound != (ELBO(free_bits=0.1) if isinstance(bound, ELBO) else Renyi(0.1))


def test_names():
    bound = ELBO(free_bits=0.5)
    assert bounds.get(bound) is bound
    assert bounds.get("importance_weighted") == ImportanceWeighted() != Renyi(0.0)
    assert (bounds.get("elbo"), bounds.get("renyi")) == (ELBO(), Renyi(0.5))
    assert type("Own", (ImportanceWeighted,), {})() != ImportanceWeighted()  # another class with the same settings


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: bounds.get("elbow"), r"`bound` must be one of \['elbo', 'importance.*Received: 'elbow'"),
        (lambda: Renyi(math.nan), "`alpha` must be a finite number or -inf. Received: alpha=nan"),
        (lambda: Renyi(math.inf), "`alpha` must be a finite number or -inf. Received: alpha=inf"),
        (lambda: Renyi(True), "`alpha` must be a finite number or -inf. Received: alpha=True"),
        (lambda: Renyi("half"), "`alpha` must be a finite number or -inf. Received: alpha='half'"),
        (lambda: Renyi(-math.inf, "doubly_reparameterized"), "`alpha` must be finite with gradient="),
        (lambda: ImportanceWeighted(groups=0), "`groups`"),
        (lambda: ImportanceWeighted(elbo_share=1.0), "`elbo_share`"),
        (
            lambda: ImportanceWeighted(groups=2)(sample_of(np.zeros((3, 1))), 1.0),
            "`num_samples` must be a multiple of the bound's 2 groups. Received: 3",
        ),
        (lambda: Renyi(gradient="path"), r"`gradient` must be one of \('reparameterized', .*Received: 'path'"),
        (lambda: ELBO(kl="exact"), '`kl` must be "closed_form" or "monte_carlo". Received: \'exact\''),
        (lambda: ELBO(free_bits=-0.1), "`free_bits` must be a finite number of at least 0. Received: free_bits=-0.1"),
        (
            lambda: ELBO(free_bits=math.nan),
            "`free_bits` must be a finite number of at least 0. Received: free_bits=nan",
        ),
        (
            lambda: ELBO(free_bits=math.inf),
            "`free_bits` must be a finite number of at least 0. Received: free_bits=inf",
        ),
        (lambda: ELBO(free_bits=True), "`free_bits` must be a finite number of at least 0. Received: free_bits=True"),
        (lambda: ELBO(free_bits=1.0, kl="monte_carlo"), '`free_bits` requires kl="closed_form". Received'),
        (lambda: ELBO(gradient="doubly_reparameterized"), 'requires kl="monte_carlo". Received'),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
