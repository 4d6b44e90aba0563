"""Gradient estimators: equal means, different variances, and exactly 0 at the true posterior where guaranteed."""

import keras
import numpy as np
import pytest
from cases import QUICKLY
from extensions.planar import Planar
from keras import ops

import kvae
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.distributions import Bernoulli, Normal

UNBIASED = ("reparameterized", "doubly_reparameterized", "score_function")
PIXELS, LATENT, STEPS, BATCH = 3, 1, 20, 1500
X = np.array([[0.9, -0.4, 0.2]], "float32")


def small_model(bound, num_samples, posterior="normal", beta=1.0, width=None):
    """A linear encoder and decoder far from any optimum."""
    keras.utils.set_random_seed(0)
    likelihood = Normal(sigma=1.0)
    pair = kvae.networks.mlp((PIXELS,), LATENT, hidden=(), posterior=posterior, likelihood=likelihood)
    for network, scale in zip(pair, (0.3, 0.8), strict=True):
        network.set_weights([scale * np.random.default_rng(1).normal(size=w.shape) for w in network.get_weights()])
    return kvae.VAE(
        *pair, likelihood=likelihood, posterior=posterior, bound=bound, num_samples=num_samples, beta=beta, seed=7
    )


def gradients(model, x=X, steps=STEPS, batch=BATCH):
    """Gradients `(steps, weights)` of encoder and decoder, each averaged over `batch` samples, from SGD steps.

    A batch repeats one image. The weights are reset after each step; the noise generator is not.
    """
    model.compile(optimizer=keras.optimizers.SGD(1.0), **(QUICKLY if steps < 10 else {"jit_compile": False}))
    networks, rows = [part for part in (model.encoder, model.decoder, model.posterior_family) if part.weights], []
    start = [network.get_weights() for network in networks]
    images = np.repeat(x, batch, axis=0)
    for _ in range(steps):
        model.train_on_batch(images)
        rows.append([_flat(old) - _flat(net.get_weights()) for old, net in zip(start, networks, strict=True)])
        for network, weights in zip(networks, start, strict=True):
            network.set_weights(weights)
    return tuple(np.array(part) for part in zip(*rows, strict=True))


def _flat(weights):
    return np.concatenate([np.ravel(w) for w in weights])


def with_gradient(bound, gradient):
    return type(bound)(**{**bound.get_config(), "gradient": gradient})


def assert_same_mean(a, b):
    for one, other in zip(a, b, strict=True):
        error = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / len(one))
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error + 1e-5).all()


@pytest.mark.parametrize(
    ("bound", "posterior"),
    [
        pytest.param(ELBO(kl="monte_carlo"), lambda: Planar(LATENT, depth=1), marks=pytest.mark.long),
        (ImportanceWeighted(), lambda: Normal(sigma="learned")),
        pytest.param(Renyi(0.5), lambda: Planar(LATENT, depth=1), marks=pytest.mark.long),
    ],
    ids=["elbo-planar", "iw-sigma", "renyi-planar"],
)
def test_every_estimator_is_right_for_a_posterior_with_weights_of_its_own(bound, posterior):
    plain, path, score = (
        gradients(small_model(with_gradient(bound, gradient), 3, posterior=posterior())) for gradient in UNBIASED
    )
    assert len(plain) == 3
    assert_same_mean(plain, path)
    assert_same_mean(plain, score)
    spread = plain[2].std(axis=0) / np.sqrt(len(plain[2]))
    assert (np.abs(plain[2].mean(axis=0)) > 4 * spread).any()  # the posterior's own gradient is not zero


@pytest.mark.parametrize(
    ("bound", "num_samples", "beta"),
    [
        pytest.param(ELBO(kl="monte_carlo"), 1, 1.0, marks=pytest.mark.long),
        (ELBO(kl="monte_carlo"), 3, 0.5),
        pytest.param(ImportanceWeighted(), 5, 1.0, marks=pytest.mark.long),
        pytest.param(ImportanceWeighted(), 3, 2.0, marks=pytest.mark.long),
        (ImportanceWeighted(groups=2, elbo_share=0.3), 4, 0.5),
        pytest.param(Renyi(-1.0), 3, 0.5, marks=pytest.mark.long),
        (Renyi(2.0), 3, 1.0),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, kvae.bounds.Bound) else str(value),
)
def test_every_estimator_has_the_same_mean(bound, num_samples, beta):
    plain, path, score = (
        gradients(small_model(with_gradient(bound, gradient), num_samples, beta=beta)) for gradient in UNBIASED
    )
    assert_same_mean(plain, path)
    assert_same_mean(plain, score)
    spread = plain[0].std(axis=0) / np.sqrt(STEPS)
    assert (np.abs(plain[0].mean(axis=0)) > 8 * spread).any()  # the gradient is not zero
    assert path[0].std() > 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("other", "bounds"),
    [
        (ELBO(kl="monte_carlo"), [ELBO(), ELBO(gradient="score_function")]),
        (Renyi(-np.inf), [Renyi(-np.inf, "score_function")]),
    ],
    ids=["elbo", "vr-max"],
)
def test_the_other_bounds_estimators_agree_too(other, bounds):
    """The closed-form KL compared with the sampled one, and the largest of three weights."""
    expected = gradients(small_model(other, 3))
    for bound in bounds:
        assert_same_mean(gradients(small_model(bound, 3)), expected)


@pytest.mark.long
def test_with_many_samples_the_doubly_reparameterized_encoder_gradient_is_the_least_noisy():
    """Tucker et al. 2019, figure 1: far less noise than the plain estimator; the score function has the most."""
    noise = {}
    for gradient in UNBIASED:
        encoder, _ = gradients(small_model(ImportanceWeighted(gradient), 50), steps=40, batch=20)
        noise[gradient] = encoder.var(axis=0, ddof=1).sum()
    assert noise["doubly_reparameterized"] < 0.5 * noise["reparameterized"]
    assert noise["score_function"] > 4 * noise["reparameterized"]


@pytest.fixture
def true_posterior():
    """p(x|z) = N(wz, 1), with the encoder equal to p(z|x) = N(wᵀx / m, 1 / m), m = 1 + ‖w‖²."""
    w = np.array([[0.8, -0.5, 0.3]])
    m = 1.0 + np.sum(w**2)

    def build(bound):
        model = small_model(bound, 4)
        model.decoder.set_weights([w, np.zeros(PIXELS)])
        model.encoder.set_weights([np.hstack([w.T / m, np.zeros((PIXELS, 1))]), np.array([0.0, -np.log(m)])])
        return model

    return build


@pytest.mark.parametrize("bound", [ELBO(kl="monte_carlo"), ImportanceWeighted(), Renyi(0.5)])
def test_at_the_true_posterior_the_path_gradient_is_zero_for_every_draw(true_posterior, bound):
    """Roeder, Wu, Duvenaud 2017, section 3, https://arxiv.org/abs/1703.09194: log w does not depend on z there."""
    path, _ = gradients(true_posterior(with_gradient(bound, "doubly_reparameterized")), steps=5, batch=2)
    plain, _ = gradients(true_posterior(bound), steps=5, batch=2)
    np.testing.assert_allclose(path, 0, atol=2e-5)
    assert np.abs(plain).max() > 1e-2


def test_binary_codes_train_by_the_score_function():
    """Comparison with the exact gradient: a Bernoulli posterior has two values, so its ELBO is a sum of two terms."""
    bound = ELBO(gradient="score_function")
    encoder, _ = gradients(small_model(bound, 2, posterior=Bernoulli()))
    kernel, bias = small_model(bound, 2, posterior=Bernoulli()).encoder.get_weights()
    to_x, b = small_model(bound, 2, posterior=Bernoulli()).decoder.get_weights()

    def loss(kernel, bias):
        q = 1 / (1 + np.exp(-(X @ kernel + bias)[0, 0]))
        log_px = [-0.5 * np.sum((X - z * to_x - b) ** 2 + np.log(2 * np.pi)) for z in (0, 1)]
        kl = q * np.log(2 * q) + (1 - q) * np.log(2 * (1 - q))
        return kl - (1 - q) * log_px[0] - q * log_px[1]

    flat, step = _flat([kernel, bias]).astype("float64"), 1e-5
    at = lambda w: loss(w[:-1].reshape(kernel.shape), w[-1:])  # noqa: E731
    exact = [(at(flat + step * row) - at(flat - step * row)) / (2 * step) for row in np.eye(len(flat))]
    error = encoder.std(axis=0, ddof=1) / np.sqrt(len(encoder))
    assert (np.abs(encoder.mean(axis=0) - exact) < 4 * error).all()
    assert np.abs(exact).max() > 10 * error.max()
    with pytest.raises(ValueError, match='gradient="score_function" or "wake_sleep" with a Bernoulli posterior'):
        small_model("elbo", 2, posterior=Bernoulli())


def test_the_identity_that_scales_gradients():
    from kvae.models.estimators import _scale_gradient
    from kvae.training.gradients import gradient

    z, factors = np.arange(6.0, dtype="float32").reshape(2, 3), np.array([[2.0], [-1.0]], "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(_scale_gradient(ops.convert_to_tensor(z), factors)), z)
    _, slope = gradient(lambda z: ops.sum(ops.square(_scale_gradient(z, ops.convert_to_tensor(factors)))), z)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), 2 * z * factors, rtol=1e-6)
    # Its value depends on the factors: TensorFlow must not take the pass that needs them for a separate one, which may
    # then read weights that the step has already updated.
    lost = _scale_gradient(
        ops.convert_to_tensor(z), ops.convert_to_tensor(factors * np.array([[np.nan], [1]], "float32"))
    )
    np.testing.assert_array_equal(np.isnan(ops.convert_to_numpy(lost)), [[True] * 3, [False] * 3])
