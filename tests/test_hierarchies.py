"""Hierarchies of stochastic layers: densities, samples and KL against formulas, exact ones of a linear hierarchy."""

import itertools

import keras
import numpy as np
import pytest
from cases import hierarchical, residual, vae
from keras import layers, ops
from scipy.stats import multivariate_normal, norm

import kvae
from kvae import evaluation
from kvae.bounds import ELBO, ImportanceWeighted
from kvae.distributions import Normal
from kvae.models.batches import Batch
from kvae.networks import TopDown, ladder, top_down

SIGMA = 0.5
A = np.array([1.5, -0.8])  # p(z_1|z_2) = N(A z_2, S)
S = np.array([0.6, 0.3])
B = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 2)))[0] * [1.3, 0.7]  # p(x|z_1) = N(B z_1, σ²)

backend_independent = pytest.mark.backend_independent


def dense(x, kernel, bias):
    layer = layers.Dense(len(bias))
    outputs = layer(x)
    layer.set_weights([kernel, bias])
    return outputs


def of_likelihood(x):
    """Mean and variance of p(x|z_1) as a density of z_1; B has orthogonal columns, so that it factorises."""
    square = np.sum(B**2, axis=0)
    return x @ (B / square), SIGMA**2 / square


def of_top(x, a=A):
    """Mean and variance of p(z_2|x)."""
    b = B @ a
    precise = np.linalg.solve(B @ np.diag(S) @ B.T + SIGMA**2 * np.eye(4), b)
    variance = 1.0 / (1.0 + precise @ b)
    return variance * (x @ precise), variance


def linear(a=A, shift=0.0, **kwargs):
    """A ladder whose q(z|x) is p(z|x), or with a mean of z_2 that is off by `shift`."""
    x, z_1, z_2 = keras.Input((4,)), keras.Input((2,)), keras.Input((1,))
    features, own, prior = keras.Input((4,)), keras.Input((2,)), keras.Input((4,))
    eye = np.eye(4)
    mean_1, variance_1 = of_likelihood(eye)
    mean_2, variance_2 = of_top(eye, a)
    kernel = np.hstack([mean_1, np.zeros((4, 2)), mean_2[:, None], np.zeros((4, 1))])
    bias = np.concatenate([[0, 0], np.log(variance_1), [shift, np.log(variance_2)]])
    encoder = keras.Model(x, dense(x, kernel, bias))
    generators = [
        keras.Model(z_1, dense(z_1, B.T, np.zeros(4))),
        keras.Model(z_2, dense(z_2, np.array([[*a, 0, 0]]), np.concatenate([[0, 0], np.log(S)]))),
    ]
    posteriors = [
        keras.Model([features, prior], kvae.layers.PrecisionWeighted()([features, prior])),
        keras.Model(own, layers.Identity()(own)),
    ]
    likelihood = Normal(sigma=SIGMA)
    return kvae.HierarchicalVAE(encoder, TopDown(generators, posteriors), likelihood=likelihood, seed=0, **kwargs)


def drawn(n, a=A, seed=0):
    rng = np.random.default_rng(seed)
    z_1 = rng.normal(size=(n, 1)) * a + np.sqrt(S) * rng.normal(size=(n, 2))
    return (z_1 @ B.T + SIGMA * rng.normal(size=(n, 4))).astype("float32")


def exact(x, a=A):
    covariance = B @ (np.outer(a, a) + np.diag(S)) @ B.T + SIGMA**2 * np.eye(4)
    return multivariate_normal(np.zeros(4), covariance).logpdf(x)


def test_precision_weighting_is_the_product_of_two_normals(rng):
    one, other = rng.normal(size=(2, 5, 6)).astype("float32")
    merged = ops.convert_to_numpy(kvae.layers.PrecisionWeighted()([one, other]))
    z = np.linspace(-3, 3, 7)[:, None, None]

    def log_density(params):
        return norm(params[:, :3], np.exp(params[:, 3:] / 2)).logpdf(z)

    log_ratio = log_density(one) + log_density(other) - log_density(merged)
    np.testing.assert_allclose(log_ratio, np.broadcast_to(log_ratio[:1], log_ratio.shape), atol=1e-4)


@backend_independent
def test_the_true_posterior_makes_every_weight_p_of_x(without_graphs):
    model, x = linear(), drawn(6)
    estimate = evaluation.log_likelihood(model, x, num_samples=3, seed=0)
    np.testing.assert_allclose(estimate.values, exact(x), atol=1e-4)
    np.testing.assert_allclose(estimate.effective_sample_size, 3, rtol=1e-4)
    np.testing.assert_allclose(model.elbo(x, num_samples=4000, seed=0), exact(x), atol=0.1)


@pytest.mark.long
@backend_independent
def test_another_posterior_gives_a_lower_bound_and_many_samples_the_likelihood(without_graphs):
    model, x = linear(shift=0.4), drawn(6)
    below = 0.4**2 / (2 * of_top(x)[1])  # KL(q ‖ p(z|x)), all of it in the top layer
    np.testing.assert_allclose(model.elbo(x, num_samples=8000, seed=0), exact(x) - below, atol=0.1)
    estimate = evaluation.log_likelihood(model, x, num_samples=10_000, seed=0)
    np.testing.assert_allclose(estimate.values, exact(x), atol=0.05)
    naive = evaluation.prior_log_likelihood(model, x, num_samples=20_000, seed=0)
    np.testing.assert_allclose(naive.values, exact(x), atol=0.3)


def test_the_kl_of_each_layer_is_exact_and_that_of_its_samples(without_graphs):
    model, x = linear(), drawn(5)
    mean, variance = of_top(x)
    of_2 = 0.5 * (variance + mean**2 - np.log(variance) - 1)
    # q(z_1|z_2, x) has precision 1/S + 1/v, and its mean is (V/v) (m − A z_2) away from the prior's.
    m, v = of_likelihood(x)
    ratio = v / (v + S)  # V/S
    square = ((1 - ratio) ** 2) * ((m - mean[:, None] * A) ** 2 + A**2 * variance)
    of_1 = 0.5 * np.sum(ratio + square / S - np.log(ratio) - 1, axis=1)
    found = evaluation.kl_per_layer(model, x, num_samples=4000)
    np.testing.assert_allclose(found, [of_1.mean(), of_2.mean()], rtol=0.02)
    params = model.inference(ops.convert_to_tensor(x))
    _, sample, _ = model.sample_and_score(ops.convert_to_tensor(x), params, (), 4000, 1)
    np.testing.assert_allclose(ops.convert_to_numpy(sample.sampled_kl()), of_1 + of_2, rtol=0.05)
    np.testing.assert_allclose(ops.convert_to_numpy(sample.total_kl()), of_1 + of_2, rtol=0.02)


@backend_independent
def test_free_bits_belong_to_layers():
    model, x = linear(bound=ELBO(free_bits=0.7), beta=2.0), ops.convert_to_tensor(drawn(50))
    _, sample, _ = model.sample_and_score(x, model.inference(x), (), 1, 1)
    kl = ops.convert_to_numpy(sample.kl_per_dimension).mean(axis=0)
    assert kl[1] < 0.7 < kl[0]
    _, weighted = model.bound(sample, 2.0)
    assert float(ops.mean(weighted)) == pytest.approx(2 * (kl[0] + 0.7), rel=1e-5)


@backend_independent
def test_the_kl_of_each_layer_is_logged():
    model, x = linear(), ops.convert_to_tensor(drawn(50))
    terms = {name: ops.convert_to_numpy(term) for name, term in model.run_batch(Batch(x), False).terms.items()}
    assert set(terms) == set(model.logged_terms) == {"reconstruction_loss", "kl_loss", "elbo", "kl_1", "kl_2"}
    np.testing.assert_allclose(terms["kl_1"] + terms["kl_2"], terms["kl_loss"], rtol=1e-5)
    mean, variance = of_top(ops.convert_to_numpy(x))
    np.testing.assert_allclose(terms["kl_2"], 0.5 * (variance + mean**2 - np.log(variance) - 1), rtol=1e-4)


@pytest.mark.parametrize("build", [hierarchical, residual])
def test_one_descent_or_several_score_alike(build):
    model = build()
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # priors start at N(0, I)
        variable.assign(rng.normal(scale=0.3, size=variable.shape).astype("float32"))
    x = ops.convert_to_tensor(rng.random((3, *model.image_shape), dtype="float32"))
    params = model.inference(x)
    z, sample, x_params = model.sample_and_score(x, params, (), 4, 1)
    again, same = model.score(x, z, params, (), 1)
    close = {"rtol": 1e-4, "atol": 1e-3}
    for one, other in zip((*sample, x_params), (*again, same), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), **close)
    prior, posterior = model.prior.log_prob(z, (), 1), model.posterior_family.log_prob(z, params)
    np.testing.assert_allclose(ops.convert_to_numpy(sample.log_prior), ops.convert_to_numpy(prior), **close)
    np.testing.assert_allclose(ops.convert_to_numpy(sample.log_posterior), ops.convert_to_numpy(posterior), **close)
    assert np.abs(ops.convert_to_numpy(prior - posterior)).max() > 0.1
    np.testing.assert_allclose(ops.convert_to_numpy(model.generation(z)), ops.convert_to_numpy(x_params), **close)
    every = ops.convert_to_numpy(model.posterior_family.log_prob(z[0][:, None], params))  # under each other's posterior
    np.testing.assert_allclose(np.diag(every), ops.convert_to_numpy(posterior[0]), **close)
    assert every.shape == (3, 3)


@backend_independent
def test_codes_have_the_moments_of_the_prior(without_graphs):
    model = linear()
    z = model.sample_prior(20_000, seed=0)
    covariance = np.block([[np.outer(A, A) + np.diag(S), A[:, None]], [A[None], np.ones((1, 1))]])
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.08)
    cool = model.sample_prior(20_000, seed=0, temperature=0.5)
    np.testing.assert_allclose(np.cov(cool.T), covariance / 4, atol=0.02)  # σ of every layer is half as large
    np.testing.assert_array_equal(model.sample_prior(3, seed=1, temperature=0.0), np.zeros((3, 3)))


def test_layers_draw_noise_of_their_own():
    model = hierarchical((4,), sizes={"latent_dims": (2, 2), "hidden": (3, 3)})
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    x = np.zeros((400, 4), "float32")
    posterior, _ = model.posterior_family.sample_and_log_prob(model.inference(ops.convert_to_tensor(x)), 1, 0)
    for z in (model.sample_prior(400, seed=0), ops.convert_to_numpy(posterior[0])):
        correlation = np.corrcoef(z.T)
        np.testing.assert_allclose(correlation, np.eye(4), atol=0.2)


@backend_independent
def test_a_code_is_the_mean_of_each_layer_given_those_above():
    model, x = linear(), drawn(4)
    z_2, _ = of_top(x)
    m, v = of_likelihood(x)
    z_1 = (m / v + z_2[:, None] * A / S) / (1 / v + 1 / S)
    np.testing.assert_allclose(model.encode(x), np.hstack([z_1, z_2[:, None]]), rtol=1e-4, atol=1e-5)


@pytest.mark.long
@backend_independent
def test_a_collapsed_layer_is_reported(without_graphs):
    x = drawn(100)
    assert "collapsed_layers" not in {finding.name for finding in evaluation.diagnose(linear(), x)}
    a = np.zeros(2)
    found = {finding.name: finding for finding in evaluation.diagnose(linear(a), drawn(100, a))}
    assert found["collapsed_layers"].value == 1
    assert "collapsed: 2 of 2" in found["collapsed_layers"].message
    assert found["dead_units"].advice.startswith("fewer latent dimensions in a layer")
    units = evaluation.active_units(linear(a), x)
    assert (units.variances[:2] > 0.1).all()
    assert units.variances[2] < 1e-6


@pytest.mark.long
@backend_independent
def test_top_down_networks_start_small():
    encoder, decoder = top_down((13, 10, 1), latent_dim=3, hidden=(8, 6), num_blocks=2)
    assert decoder.shapes == [(7, 5, 3)] * 2 + [(4, 3, 3)] * 2
    assert decoder.latent_dim == 2 * 105 + 2 * 36
    assert encoder.output_shape == (None, 2 * 35 * 4 + 2 * 12 * 3)
    z = np.random.default_rng(0).normal(size=(2, decoder.latent_dim)).astype("float32")
    codes = decoder.split(ops.convert_to_tensor(z))
    np.testing.assert_array_equal(ops.convert_to_numpy(decoder.join(codes)), z)
    for prior in decoder.descend(lambda i, *_: codes[i]).priors:
        np.testing.assert_array_equal(ops.convert_to_numpy(prior), 0.0)
    assert decoder(z).shape == (2, 13, 10, 1)
    for network in (*decoder.generators[1:], decoder.posteriors[0]):
        network.set_weights([0.1 * (network is not decoder.posteriors[0]) + 0 * each for each in network.get_weights()])
    features = encoder(np.ones((2, 13, 10, 1), "float32"))
    descent = decoder.descend(lambda i, *_: codes[i], features)
    posterior, prior = map(ops.convert_to_numpy, (descent.posteriors[0], descent.priors[0]))
    np.testing.assert_array_equal(posterior, prior)  # from which it is a difference
    assert np.abs(prior).min() > 0.05

    def widest(num_blocks):
        _, decoder = top_down((8, 8, 1), latent_dim=16, hidden=(32,), num_blocks=num_blocks)
        kernel = next(each for each in decoder.generators[0].layers if isinstance(each, layers.Conv2D)).kernel
        return np.abs(ops.convert_to_numpy(kernel)).max()

    assert widest(1) / widest(4) == pytest.approx(2, rel=0.1)  # 1/√L


def test_top_down_networks_may_have_layers_at_some_resolutions_alone():
    _, decoder = top_down((13, 10, 1), latent_dim=2, hidden=(4, 8, 8, 6), num_blocks=(0, 2, 0, 1))
    assert decoder.shapes == [(4, 3, 2)] * 2 + [(1, 1, 2)]
    assert [network.output_shape for network in decoder.generators[1:]] == [
        [(None, 4, 3, 4), (None, 4, 3, 8)],  # the prior of the layer below, and its state
        [(None, 4, 3, 4), (None, 4, 3, 8)],
    ]
    assert decoder(np.zeros((2, decoder.latent_dim), "float32")).shape == (2, 13, 10, 1)


@backend_independent
def test_the_state_of_a_top_down_network_is_enlarged_by_repeating_it():
    _, decoder = top_down((16, 16, 1), latent_dim=2, hidden=(6, 6, 6), num_blocks=(1, 0, 1))
    top = decoder.generators[1]
    for layer in top.layers:
        if isinstance(layer, layers.Conv2DTranspose):
            layer.set_weights([0 * each for each in layer.get_weights()])
    z = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype("float32")
    add = next(each for each in top.layers if isinstance(each, layers.Add))
    small, (_, state) = (keras.Model(top.inputs, outputs)([z]) for outputs in (add.output, top.outputs))
    small, state = map(ops.convert_to_numpy, (small, state))
    np.testing.assert_allclose(state, small.repeat(4, 1).repeat(4, 2), rtol=1e-6)


def test_a_ladder_has_convolutions_next_to_the_image():
    shape, latent_dims, hidden = (9, 7, 1), (3, 2), ((4, 5), 6)
    model = hierarchical(shape, sizes={"latent_dims": latent_dims, "hidden": hidden})
    _, decoder = kvae.networks.conv(shape, latent_dims[0], hidden[0])
    lowest = model.decoder.generators[0]
    assert [each.shape for each in lowest.weights] == [each.shape for each in decoder.weights]
    assert not [each for each in model.decoder.generators[1].layers if isinstance(each, layers.BatchNormalization)]
    normalization = next(each for each in lowest.layers if isinstance(each, layers.BatchNormalization))
    means = [ops.convert_to_numpy(normalization.moving_mean)]
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    x = np.random.default_rng(0).random((8, *shape)).round()
    for run in (model.test_on_batch, model.train_on_batch, model.elbo):
        run(x)
        means.append(ops.convert_to_numpy(normalization.moving_mean))
    changed = [not np.array_equal(old, new) for old, new in itertools.pairwise(means)]
    assert changed == [False, True, False]  # in training alone
    assert ladder((10, 2), latent_dims, hidden)[1](np.zeros((1, 5), "float32")).shape == (1, 10, 2)  # a series


@backend_independent
def test_what_does_not_fit_is_refused():
    encoder, decoder = ladder((8, 8, 1), (3, 2), (8, 6))
    z, state = keras.Input((2,)), keras.Input((4,))
    cases = [
        (lambda: ladder((8, 8, 1), (3, 2), (8,)), r"`hidden` must hold one size for each of `latent_dims` \(3, 2\)"),
        (lambda: ladder((8, 8, 1), (3, 2), ((4,),)), r"`hidden` must hold one size for each of .* \(\(4,\),\)"),
        (lambda: ladder((8, 8, 1), (3, 2), ((), 8)), r"`hidden` must hold at least one number of filters"),
        (lambda: ladder((6,), (3, 2), ((4,), 8)), r"`image_shape` must be .* for convolutions. Received: \(6,\)"),
        (lambda: ladder((8, 8, 1), (3, 2), (8, (4,))), r"`hidden` must be an integer of at least 1"),
        (lambda: ladder((8, 8, 1), 3), r"`latent_dims` must be a tuple of integers"),
        (lambda: ladder((8, 8, 1), (3, 0), (8, 8)), r"`latent_dims` must be an integer of at least 1. Received: 0"),
        (lambda: top_down((6,)), r"`image_shape` must be \(height, width, channels\) for `top_down`"),
        (lambda: top_down((8, 8, 1), num_blocks=0), r"`num_blocks` must be an integer of at least 1"),
        (lambda: top_down((8, 8, 1), num_blocks=(1, 0)), r"`num_blocks` must be an integer of at least 1. Received: 0"),
        (lambda: top_down((8, 8, 1), num_blocks=(1.0, 1)), r"`num_blocks` must be an integer .* Received: 1.0"),
        (lambda: top_down((8, 8, 1), num_blocks=(0.0, 1)), r"`num_blocks` must be an integer .* Received: 0.0"),
        (lambda: top_down((8, 8, 1), num_blocks=(False, 1)), r"`num_blocks` must be an integer .* Received: False"),
        (
            lambda: top_down((8, 8, 1), num_blocks=(1,)),
            r"`num_blocks` must hold one number for each of `hidden` \(32, 64\)",
        ),
        (lambda: top_down((8, 8, 1), hidden=()), r"`hidden` must hold at least one"),
        (lambda: kvae.HierarchicalVAE(*kvae.networks.mlp((8, 8, 1), 2)), r"`decoder` must be a kvae.networks.TopDown"),
        (lambda: kvae.HierarchicalVAE(encoder, decoder, likelihood=Normal()), r"`decoder` must give \(8, 8, 2\)"),
        (
            lambda: kvae.HierarchicalVAE(kvae.networks.mlp((8, 8, 1), 2)[0], decoder),
            r"`encoder` must give \(10,\) per example, the features",
        ),
        (
            lambda: kvae.HierarchicalVAE(encoder, decoder, bound=ImportanceWeighted("doubly_reparameterized")),
            r'`bound` must have gradient="reparameterized"',
        ),
        (
            lambda: kvae.HierarchicalVAE(
                encoder, decoder, bound=ImportanceWeighted(groups=2, decoder_groups=1), num_samples=2
            ),
            r"`bound` must .* train all networks",
        ),
        (lambda: TopDown(decoder.generators, decoder.posteriors[:1]), r"one network each .* Received: 2 and 1"),
        (lambda: TopDown([], []), r"one network each .* Received: 0 and 0"),
        (lambda: TopDown([None], [None]), r"`generators\[0\]` must be a built Functional"),
        (
            lambda: TopDown([decoder.generators[0], keras.Model(z, layers.Dense(5)(z))], decoder.posteriors),
            r"`generators\[1\]` must give mean and log-variance of the layer below first, \(6,\)",
        ),
        (
            lambda: TopDown(decoder.generators, [decoder.posteriors[1], decoder.posteriors[1]]),
            r"`posteriors\[0\]` must take features and all from above, \[\(6,\)\]",
        ),
        (
            lambda: TopDown([decoder.generators[0], keras.Model([z, state], layers.Dense(6)(z))], decoder.posteriors),
            r"`generators\[1\]` must take z and the state from above, \[\]",
        ),
        (
            lambda: TopDown(decoder.generators[:1], [keras.Model(z, layers.Dense(5)(z))]),
            r"`posteriors\[0\]` must give a mean and a log-variance, \[\(6,\)\] per example. Received: \[\(5,\)\]",
        ),
        (lambda: evaluation.kl_per_layer(vae(), np.zeros((2, 8, 8, 1))), r"`model` must be a HierarchicalVAE"),
        (lambda: hierarchical().with_prior(None), r"`model` must take a `prior`"),
    ]
    for make, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            make()
        assert len(str(error.value).splitlines()) == 1
