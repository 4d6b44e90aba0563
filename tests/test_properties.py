"""Properties of densities, samples, bounds and weighted sums that hold for all families, shapes and seeds.

By default, a few fixed examples of each; `KVAE_THOROUGH=1000 pytest tests/test_properties.py` tries 1,000 new ones.
"""

import itertools
import math
import os

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import ops
from scipy import special

import kvae
from kvae import bounds, networks
from kvae.distributions import POSTERIORS, Bernoulli, Normal
from kvae.models.batches import Batch
from kvae.training.gradients import gradient

THOROUGH = int(os.environ.get("KVAE_THOROUGH", "0"))
FACTORISED = [name for name in POSTERIORS if name != "von_mises_fisher"]
QUIETLY = [HealthCheck.too_slow, HealthCheck.data_too_large]
some = settings(max_examples=THOROUGH or 25, derandomize=not THOROUGH, suppress_health_check=QUIETLY)
fewer = settings(some, max_examples=max(THOROUGH // 10, 6))

seeds = st.integers(0, 2**31 - 1)
# Parameters as an untrained or diverged encoder or decoder may produce them.
numbers = st.sampled_from([0.0, 1.0, -1.0, 20.0, -20.0, 1e3, -1e3, 1e4, -1e4]) | st.floats(
    -50.0, 50.0, width=32, allow_subnormal=False
)


def of_shape(*shape):
    return arrays.arrays("float32", shape, elements=numbers)


@st.composite
def parameters(draw, family):
    batch, size = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(of_shape(batch, family.num_parameters * size))


@st.composite
def log_weights(draw):
    """Log-weights (samples, batch), with the spread of log-densities of large images."""
    samples, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(seeds))
    scale, shift = draw(st.sampled_from([0.0, 1e-3, 1.0, 100.0, 1e4])), draw(st.sampled_from([0.0, -700.0, 5e4]))
    return (shift + scale * rng.standard_normal((samples, batch))).astype("float32")


def as_array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


@pytest.mark.long
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0, width=32, allow_subnormal=False), numbers),
        min_size=1,
        max_size=9,
    )
)
@some
def test_bernoulli_log_prob_is_scipy_s(pairs):
    x, logits = np.array([*pairs, (0.3, 0.0), (1.0, 1e4), (0.0, 1e4), (1.0, -1e4), (0.0, -1e4)], "float32").T
    log_prob = as_array(Bernoulli().elementwise_log_prob(ops.convert_to_tensor(x), ops.convert_to_tensor(logits)))
    x, logits = x.astype("float64"), logits.astype("float64")
    expected = x * special.log_expit(logits) + (1 - x) * special.log_expit(-logits)
    assert np.all(np.abs(log_prob - expected) <= 3e-7 * (1.0 + np.abs(logits)))


@given(of_shape(5), st.lists(st.sampled_from([0.0, 1.0, 0.25]), min_size=8, max_size=8))
@fewer
def test_bernoulli_gradient_is_pixel_minus_mean(logits, x):
    logits, x = np.append(logits, [0.0, 1e4, -1e4]).astype("float32"), np.array(x, "float32")
    pixels = ops.convert_to_tensor(x)
    # at an offset of 0 from the logits, where the gradient is not affected by their rounding
    _, found = gradient(
        lambda change: ops.sum(Bernoulli().elementwise_log_prob(pixels, ops.add(logits, change))),
        np.zeros(8, "float32"),
    )
    np.testing.assert_allclose(as_array(found), x - special.expit(logits.astype("float64")), atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", FACTORISED)
@given(st.data())
@some
def test_a_posterior_stays_finite(name, data):
    family = POSTERIORS[name]()
    params = ops.convert_to_tensor(data.draw(parameters(family)))
    samples = data.draw(st.integers(1, 4))
    z = family.sample(params, samples, data.draw(seeds))
    shape = (params.shape[0], params.shape[1] // family.num_parameters)
    prior = family.standard_prior()
    kl = family.elementwise_kl(params, prior, ops.zeros((1, prior.num_parameters * shape[1])))
    assert z.shape == (samples, *shape)
    assert family.elementwise_log_prob(z, params).shape == (samples, *shape)
    assert family.mean(params).shape == kl.shape == shape
    for tensor in (
        z,
        family.elementwise_log_prob(z, params),
        prior.elementwise_log_prob(z, ops.zeros((1, prior.num_parameters * shape[1]))),
    ):
        assert np.isfinite(as_array(tensor)).all()
    assert np.isfinite(as_array(family.mean(params))).all()
    assert (as_array(kl) >= -1e-5 * (1.0 + np.abs(as_array(params)).max())).all()
    assert np.isfinite(as_array(kl)).all()


@pytest.mark.long
@pytest.mark.parametrize("name", FACTORISED)
@given(st.data())
@fewer
def test_a_posterior_has_finite_gradients(name, data):
    family = POSTERIORS[name]()
    params, seed = data.draw(parameters(family)), data.draw(seeds)
    prior = family.standard_prior()
    prior_params = np.zeros((1, prior.num_parameters * params.shape[1] // family.num_parameters), "float32")

    def total(change):
        moved = ops.add(params, change)
        z = family.sample(moved, 2, seed)
        kl = family.elementwise_kl(moved, prior, prior_params)
        return (
            ops.sum(family.elementwise_log_prob(z, moved))
            + ops.sum(prior.elementwise_log_prob(z, prior_params))
            + ops.sum(kl)
        )

    assert np.isfinite(as_array(gradient(total, np.zeros_like(params))[1])).all()


@given(parameters(Normal()), seeds)
@some
def test_a_normal_likelihood_is_scipy_s_inside_its_range(params, seed):
    params = np.clip(params, -13.0, 13.0)
    mean, log_var = np.split(params.astype("float64"), 2, axis=-1)
    x = np.random.default_rng(seed).normal(size=mean.shape).astype("float32")
    expected = -0.5 * (math.log(2 * math.pi) + log_var + (x - mean) ** 2 * np.exp(-log_var))
    np.testing.assert_allclose(
        as_array(Normal().elementwise_log_prob(ops.convert_to_tensor(x), ops.convert_to_tensor(params))),
        expected,
        rtol=1e-4,
        atol=1e-4,
    )


@given(log_weights(), st.sampled_from([-3.0, 0.0, 0.5, 0.999, 0.99999, 1.0, 1.00001, 1.5, 4.0]))
@some
def test_a_bound_is_its_formula_and_falls_with_alpha(weights, alpha):
    tensor = ops.convert_to_tensor(weights)
    bound = as_array(bounds.Renyi(alpha).from_log_weights(tensor))
    exact, power = weights.astype("float64"), 1.0 - alpha
    mean = expected = exact.mean(axis=0)
    if power:
        expected = mean + (special.logsumexp(power * (exact - mean), axis=0) - math.log(len(exact))) / power
    tolerance = 1e-5 * (1.0 + np.abs(exact).max(axis=0))
    assert np.all(np.abs(bound - expected) <= tolerance)
    order = [as_array(bounds.Renyi(a).from_log_weights(tensor)) for a in (-math.inf, -1.0, 0.0, 0.5, 1.0, 2.0)]
    for above, below in itertools.pairwise(order):
        assert np.all(above >= below - tolerance)
    assert np.all(order[0] <= exact.max(axis=0) + tolerance)


@given(log_weights(), st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 0.9999, 1.0, 2.0]), st.booleans())
@fewer
def test_a_bound_has_gradients_that_sum_to_one(weights, alpha, lost):
    bound = bounds.Renyi(alpha)
    if lost:  # a sample with zero weight
        weights = np.concatenate([weights, weights[:1] - 1e6])
    _, found = gradient(
        lambda change: ops.sum(bound.from_log_weights(ops.convert_to_tensor(weights) + change)), np.zeros_like(weights)
    )
    np.testing.assert_allclose(as_array(found).sum(axis=0), 1.0, atol=1e-4)
    factors = as_array(
        bounds.Renyi(0.0 if alpha == -math.inf else alpha).path_weights(ops.convert_to_tensor(weights), 1.0)
    )
    assert np.isfinite(factors).all()


@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), seeds, st.sampled_from([0.0, 1.0]) | st.floats(1e-6, 5.0)
)
@some
def test_bounds_weigh_and_sum_as_numpy_does(samples, batch, latent, seed, beta):
    rng = np.random.default_rng(seed)
    likelihood, prior, posterior = rng.normal(-80, 20, (3, samples, batch)).astype("float32")
    kl = rng.exponential(2.0, (batch, latent)).astype("float32")
    densities = (likelihood, prior, posterior, kl.sum(axis=1), kl)
    sample = bounds.PosteriorSample(*map(ops.convert_to_tensor, densities))
    reconstruction, weighted = bounds.ELBO()(sample, beta)
    np.testing.assert_allclose(as_array(reconstruction), -likelihood.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(as_array(weighted), beta * kl.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(as_array(sample.total_kl()), kl.sum(axis=1), rtol=1e-5)
    log_weights = likelihood.astype("float64") + beta * (prior.astype("float64") - posterior)
    np.testing.assert_allclose(as_array(sample.log_weights(beta)), log_weights, rtol=1e-5, atol=1e-4)
    (loss,) = bounds.ImportanceWeighted()(sample, beta)
    np.testing.assert_allclose(
        as_array(loss), math.log(samples) - special.logsumexp(log_weights, axis=0), rtol=1e-5, atol=1e-3
    )


@pytest.mark.long
@given(
    shape=st.sampled_from([(1, 1, 1), (2, 3, 1), (3, 2, 2), (4,)]),
    latent=st.integers(1, 4),
    samples=st.integers(1, 3),
    batch=st.integers(1, 4),
    likelihood=st.sampled_from(["bernoulli", "gaussian"]),
    posterior=st.sampled_from(sorted(FACTORISED)),
    bound=st.sampled_from(sorted(bounds.BOUNDS)),
    policy=st.sampled_from(["float32", "mixed_bfloat16", "mixed_float16", "bfloat16"]),
    seed=seeds,
)
@some
def test_a_model_s_loss_is_the_weighted_mean_of_float32_terms(
    shape, latent, samples, batch, likelihood, posterior, bound, policy, seed
):
    rng = np.random.default_rng(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        pair = networks.mlp(shape, latent, hidden=(3,), likelihood=likelihood, posterior=posterior)
        model = kvae.VAE(*pair, likelihood=likelihood, posterior=posterior, bound=bound, num_samples=samples, seed=seed)
    finally:
        keras.config.set_dtype_policy(before)
    x = rng.random((batch, *shape), dtype="float32")
    weight = rng.random(batch, dtype="float32")
    result = model(Batch(ops.convert_to_tensor(x), None, ops.convert_to_tensor(weight)), training=True)
    for tensor in (result.reconstruction, *result.losses, *result.terms.values(), *model.losses):
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
        assert np.isfinite(as_array(tensor)).all()
    each = sum(as_array(loss) for loss in result.losses)
    np.testing.assert_allclose(sum(map(as_array, model.losses)), np.mean(weight * each), rtol=1e-5)
    terms = {name: as_array(value) for name, value in result.terms.items()}
    np.testing.assert_allclose(terms["elbo"], -(terms["reconstruction_loss"] + terms["kl_loss"]), rtol=1e-5)
    assert result.reconstruction.shape == x.shape
