"""Flows: inverses, log-determinants against the Jacobian, densities that integrate to one; as posteriors and priors."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

import kvae
from kvae import flows

NAMES = sorted(flows.FLOWS)


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def bound(name, size=3, context=0, depth=2):
    """Flows of a kind with weights that are not those of the start."""
    flow = flows.Chain([flows.FLOWS[name]() for _ in range(depth)])
    flow.bind(size, context)
    rng = np.random.default_rng(0)
    for weight in flow.trainable_variables:
        spread = 0.8 / np.sqrt(weight.shape[0]) if len(weight.shape) > 1 else 0.5
        weight.assign(spread * rng.normal(size=weight.shape))
    return flow


def jacobians(function, z):
    """∂f/∂z of each row, `(n, size, size)`."""
    z = ops.convert_to_tensor(z)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            value = function(z)
        return tape.batch_jacobian(value, z, experimental_use_pfor=False).numpy()  # faster to trace
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.vmap(jax.jacfwd(lambda row: function(row[None])[0]))(z))
    import torch

    rows = torch.autograd.functional.jacobian(function, z)
    return np.stack([rows[i, :, i].detach().numpy() for i in range(len(z))])


@pytest.mark.parametrize("context", [0, 2], ids=["alone", "context"])
@pytest.mark.parametrize("name", NAMES)
def test_the_inverse_and_the_log_determinant(name, context):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(10, 3)).astype("float32") * 1.5
    given = ops.convert_to_tensor(rng.normal(size=(10, context)).astype("float32")) if context else None
    flow = bound(name, 3, context)
    value, log_det = flow.forward(ops.convert_to_tensor(z), given)
    back, inverse_log_det = flow.inverse(value, given)
    np.testing.assert_allclose(array(back), z, atol=1e-4)
    np.testing.assert_allclose(array(inverse_log_det), -array(log_det), atol=1e-4)
    assert np.abs(array(value) - z).max() > 0.1  # it is not the identity

    def one_by_one(direction):
        return lambda rows: direction(rows, given)[0] if context else direction(rows)[0]

    if not context:  # under vmap a row has no context of its own
        exact = np.linalg.slogdet(jacobians(one_by_one(flow.forward), z).astype("float64"))[1]
        np.testing.assert_allclose(array(log_det), exact, atol=1e-5)
        exact = np.linalg.slogdet(jacobians(one_by_one(flow.inverse), array(value).astype("float32")))[1]
        np.testing.assert_allclose(array(inverse_log_det), exact, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_integrates_to_one(name):
    flow = bound(name, 2)
    edge, n = 9.0, 301
    line = np.linspace(-edge, edge, n)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype("float32")
    u, log_det = flow.inverse(ops.convert_to_tensor(grid))
    density = np.exp(stats.norm.logpdf(array(u)).sum(axis=1) + array(log_det))
    assert np.sum(density) * (line[1] - line[0]) ** 2 == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_flow_is_near_the_identity_and_a_context_starts_without_effect(name):
    flow = flows.FLOWS[name]()
    flow.bind(3, 2)
    z = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    one, other = (array(flow.forward(ops.convert_to_tensor(z), ops.full((5, 2), c))[0]) for c in (0.0, 3.0))
    assert np.abs(one - z).max() < 0.6
    if name in ("planar", "radial", "spline", "coupling"):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_autoregressive_functions_look_back_only():
    flow = bound("maf", 4, depth=1).flows[0]
    z = np.random.default_rng(0).normal(size=(1, 4)).astype("float32")
    shift = array(flow.shift_and_log_scale(ops.convert_to_tensor(z), None)[0])
    for i in range(4):
        changed = z.copy()
        changed[0, i] += 1.0
        moved = array(flow.shift_and_log_scale(ops.convert_to_tensor(changed), None)[0]) != shift
        assert not moved[0, : i + 1].any()
        assert moved[0, i + 1 :].any() or i == 3


# In a model


def built(**kwargs):
    posterior = kwargs.get("posterior", "normal")
    pair = kvae.networks.mlp((8, 8, 1), 3, hidden=(8,), posterior=posterior)
    return kvae.VAE(*pair, seed=0, **kwargs)


@pytest.mark.parametrize(("name", "context"), [("planar", 0), ("radial", 1), ("iaf", 1)])
def test_a_posterior_scores_its_draws(name, context):
    posterior = flows.Posterior(name, depth=2, context=context)
    model = built(posterior=posterior)
    for weight in posterior.trainable_variables:
        weight.assign(ops.convert_to_numpy(weight) + 0.1)
    params = model.inference(np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32"))
    assert params.shape == (4, 3 * (2 + context))
    z, log_q = posterior.sample_and_log_prob(params, 5, 0)
    assert z.shape == (5, 4, 3)
    np.testing.assert_allclose(array(posterior.log_prob(z, params)), array(log_q), atol=1e-4)
    np.testing.assert_allclose(array(posterior.mean(params)), array(model.code(params)))
    names = model.posterior(np.zeros((2, 8, 8, 1), "float32"))
    assert [each.shape for each in names] == [(2, 3)] * (2 + context)


@pytest.mark.parametrize("name", ["coupling", "maf", "spline"])
def test_a_prior_scores_and_draws(name):
    model = built(prior=flows.Prior(name, depth=2))
    z = model.sample_prior(2000, seed=0)
    cold = model.sample_prior(2000, seed=0, temperature=0.5)
    assert cold.std() < z.std()
    log_p = array(model.prior.log_prob(ops.convert_to_tensor(z[:50]), (), 0))
    expected = stats.norm.logpdf(z[:50]).sum(axis=1)  # the flows start at the identity
    np.testing.assert_allclose(log_p, expected, atol=1e-4)
    elbo = model.elbo(np.random.default_rng(0).random((3, 8, 8, 1), dtype="float32"), seed=0)
    assert np.isfinite(elbo).all()


def test_configs_round_trip():
    for flow in (flows.Spline((8,), bins=5, bound=3.0), flows.MaskedAutoregressive((7,)), flows.Radial()):
        again = type(flow).from_config(flow.get_config())
        assert again.get_config() == flow.get_config()
    posterior = flows.Posterior([flows.Planar(), flows.InverseAutoregressive((5,))], context=2)
    again = flows.Posterior.from_config(posterior.get_config())
    assert [type(flow) for flow in again.flow.flows] == [flows.Planar, flows.InverseAutoregressive]
    assert again.num_parameters == 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: flows.Posterior("glow"), r"must be a list of flows or one of \['coupling', 'iaf'"),
        (lambda: flows.Posterior([]), "at least one flow"),
        (lambda: flows.Prior(flows.Planar()), "must be a list"),
        (lambda: flows.Posterior(["planar"]), "flows only"),
        (lambda: flows.Posterior("iaf", context=-1), "`context`"),
        (lambda: flows.Prior("maf", depth=0), "`depth`"),
        (lambda: flows.Spline(bins=1), "`bins` must be at least 2"),
        (lambda: flows.Spline(bound=0), "`bound`"),
        (lambda: flows.Coupling().bind(1), "at least 2 dimensions"),
        (lambda: flows.Flow().forward(None), "has no forward direction, only an inverse"),
        (lambda: flows.Flow().inverse(None), "has no inverse, only a forward direction"),
        (lambda: twice(), "must be new objects for each model"),
        (lambda: spatial(), "maps vectors"),
    ],
)
def test_errors(build, message):
    with pytest.raises((ValueError, NotImplementedError), match=message) as caught:
        build()
    assert len(str(caught.value).splitlines()) == 1


def twice():
    posterior = flows.Posterior("planar")
    built(posterior=posterior)
    built(posterior=posterior)


def spatial():
    x, z = keras.Input((8, 8, 1)), keras.Input((4, 4, 2))
    encoder = keras.Model(x, keras.layers.Conv2D(4, 3, strides=2, padding="same")(x))
    decoder = keras.Model(z, keras.layers.Conv2DTranspose(1, 3, strides=2, padding="same")(z))
    kvae.VAE(encoder, decoder, prior=flows.Prior())
