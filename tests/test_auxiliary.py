"""Auxiliary deep generative models: the bounds against NumPy, with and without the auxiliary variable in p(x|·)."""

import keras
import numpy as np
import pytest
from cases import auxiliary
from keras import ops
from scipy import special, stats

import kvae
from kvae.models.batches import Batch

X = np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32")
Y = np.array([2, -1, 0, -1])


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def normal(z, params):
    """Σ log N(z; mean, exp(log-variance))."""
    mean, log_var = np.split(params, 2, axis=-1)
    return stats.norm.logpdf(z, mean, np.exp(log_var / 2)).sum(axis=-1)


@pytest.fixture(scope="module", params=[False, True], ids=["adgm", "sdgm"])
def model(request):
    return auxiliary(skip=request.param, alpha=0.7)


def test_the_loss_is_the_papers(model):
    """The bounds of an image with each class, from the networks' outputs and the model's own draws of a and z."""
    start = ops.convert_to_numpy(model.seed_generator.state)
    result = model.run_batch(Batch(ops.convert_to_tensor(X), ops.convert_to_tensor(Y)), training=False)
    model.seed_generator.state.assign(start)
    a_params = model.auxiliary_encoder(X)
    a = array(model.auxiliary_family.sample(a_params, 1, model.seed_generator)[0])
    log_q_a = normal(a, array(a_params))
    log_q = special.log_softmax(array(model.classifier([X, a])), axis=1)

    x, y, each_a = np.repeat(X, 3, axis=0), np.tile(np.eye(3, dtype="float32"), (4, 1)), np.repeat(a, 3, axis=0)
    params = model.encoder([x, y, each_a])
    z = array(model.posterior_family.sample(params, 1, model.seed_generator)[0])
    z_mean, z_log_var = np.split(array(params), 2, axis=-1)
    kl = 0.5 * np.sum(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=1)
    logits = array(model.decoder([z, y, each_a] if model.skip else [z, y]))
    log_p_x = np.sum(x * logits - np.logaddexp(0, logits), axis=(1, 2, 3))
    log_p_a = normal(each_a, array(model.auxiliary_decoder([z, y] if model.skip else [x, y, z])))
    minus_bound = -(log_p_x - kl + log_p_a - np.repeat(log_q_a, 3)).reshape(4, 3) + np.log(3)
    unlabelled = np.sum(np.exp(log_q) * (minus_bound + log_q), axis=1)
    expected = np.where(Y >= 0, minus_bound[np.arange(4), Y], unlabelled)
    np.testing.assert_allclose(array(result.losses[0]), expected, rtol=1e-5)
    np.testing.assert_allclose(array(result.terms["elbo"]), -expected, rtol=1e-5)
    np.testing.assert_allclose(array(result.terms["unlabelled_elbo"]), -unlabelled, rtol=1e-5)
    cross_entropy = np.where(Y >= 0, -log_q[np.arange(4), Y], 0.0)
    np.testing.assert_allclose(array(result.losses[1]), 0.7 * 4 / 2 * cross_entropy, rtol=1e-5)


def test_the_elbo_of_an_unknown_label_is_its_expectation(model):
    given = np.stack([model.elbo(X, np.full(4, y), num_samples=100, seed=1) for y in range(3)], axis=1)
    unknown = model.elbo(X, num_samples=100, seed=1)
    assert (unknown <= special.logsumexp(given, axis=1) + 0.05).all()
    q = model.classify(X, num_samples=200).astype("float64")
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    expected = np.sum(q * given, axis=1) - np.sum(q * np.log(q), axis=1)  # but for the variance of q(y|a, x)
    np.testing.assert_allclose(unknown, expected, atol=0.3)


def test_draws_follow_their_seed_and_depend_on_a(model):
    first, again, other = (model.generate(labels=[0, 1], seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    assert model.generate(labels=[0, 1], seed=0, temperature=0.0).shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(model.classify(X), model.classify(X))
    z, y = model.sample_prior(2, [0, 1], seed=0), np.array([0, 1])
    if not model.skip:  # a is no part of p(x|y, z)
        np.testing.assert_array_equal(first, model.decode(z, y))
        return
    a = array(model.auxiliary_decoder([z, np.eye(3, dtype="float32")[y]]))[:, :2]
    means = special.expit(array(model.decoder([z, np.eye(3, dtype="float32")[y], a])))
    np.testing.assert_allclose(model.decode(z, y), means, atol=1e-6)


def test_it_has_no_log_likelihood(model):
    with pytest.raises(ValueError, match="must have densities"):
        kvae.evaluation.log_likelihood(model, X, Y)


def five(**kwargs):
    return list(kvae.networks.auxiliary((8, 8, 1), 2, 3, hidden=(4,), **kwargs))


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (0, r"`encoder` must take \[x, y, a\]"),
        (1, "`encoder` and `decoder` must take the same condition"),
        (2, r"`classifier` must map images of shape \(8, 8, 1\) and vectors of shape \(2,\) to 3 logit"),
        (3, r"`auxiliary_encoder` must map x, of shape \(8, 8, 1\), to the mean and log-variance of a"),
        (4, r"`auxiliary_decoder` must map \[x, y, z\]"),
    ],
)
def test_networks_that_do_not_fit_are_refused(which, message):
    networks = five()
    encoder, decoder = kvae.networks.mlp((8, 8, 1), 2, hidden=(4,), num_classes=4 if which == 1 else 3)
    wrong = [encoder, decoder, kvae.networks.classifier((8, 8, 1), 3), kvae.networks.classifier((8, 8, 1), 3), encoder]
    networks[which] = wrong[which]
    with pytest.raises(ValueError, match=message) as caught:
        kvae.AuxiliaryVAE(*networks, num_classes=3)
    assert len(str(caught.value).splitlines()) == 1


def test_free_bits_need_the_kl_of_each_dimension():
    with pytest.raises(ValueError, match="must have no free bits"):
        auxiliary(bound=kvae.bounds.ELBO(free_bits=0.1))


def test_the_networks_are_those_of_the_paper():
    shapes = [[tuple(each.shape[1:]) for each in network.inputs] for network in five(auxiliary_dim=5, skip=True)]
    x, y, z, a = (8, 8, 1), (3,), (2,), (5,)
    assert shapes == [[x, y, a], [z, y, a], [x, a], [x], [z, y]]
    assert isinstance(five()[0], keras.Model)
