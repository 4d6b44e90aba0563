"""Numerical stability: extreme parameters, shapes and data, and networks in half precision."""

import itertools
import math

import keras
import numpy as np
import pytest
from cases import CASES, QUICKLY, autoencoder, cvae, two_layers, vae
from keras import ops

import kvae
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.distributions import POSTERIORS, Normal
from kvae.models.batches import Batch
from kvae.penalties import Contractive, KLSparsity
from kvae.priors import Mixture, Vamp

# Added to an encoder's [location, log scale]; a family of one parameter uses the second.
ENCODED = [(0, -1e3), (0, 1e3), (1e4, 0), (-1e4, -1e3), (1e4, 1e3)]
DECODED = [1e4, -1e4]
BOUNDS = {
    "elbo": lambda: ELBO(),
    "iwae": lambda: ImportanceWeighted(),
    "doubly-reparameterized": lambda: ImportanceWeighted("doubly_reparameterized"),
    "score-function": lambda: ImportanceWeighted("score_function"),
    "vr-max": lambda: Renyi(-math.inf),
    "renyi": lambda: Renyi(0.9999),
}
PRIORS = {"mixture": lambda: Mixture(3), "vamp": lambda: Vamp(3), "two-layers": two_layers}


@pytest.fixture(autouse=True)
def _reset():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    return request.param


def assert_a_step_is_finite(model, x, y=None):
    """Logs and gradients of a batch: at a learning rate of 0, weights only change if a gradient is infinite or NaN."""
    if not model.compiled:
        model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    logs = model.train_on_batch(x, y, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values()), logs
    lost = [w.path for w in model.trainable_variables if not np.isfinite(ops.convert_to_numpy(w)).all()]
    assert not lost, lost


def push(model, encoded, decoded):
    """Set the biases of the output layers, so that posterior and likelihood are far from their initial values."""
    posterior, likelihood = model.encoder.get_layer("posterior"), model.decoder.get_layer("likelihood")
    bias = np.repeat(encoded[-model.posterior_family.num_parameters :], model.latent_dim)
    posterior.bias.assign(bias.astype("float32"))
    likelihood.bias.assign(np.full(likelihood.bias.shape, decoded, "float32"))


def pixels(n=4, shape=(2, 2, 1), seed=0):
    """Grey images, one black, one white."""
    x = np.random.default_rng(seed).random((n, *shape), dtype="float32")
    x[0], x[-1] = 0.0, 1.0
    return x


@pytest.mark.long
# Of the bounds that divide by the sum of the weights, those with the largest powers and gradients for all posteriors.
@pytest.mark.parametrize(
    ("posterior", "bound"),
    [
        (posterior, bound)
        for posterior, bound in itertools.product(POSTERIORS, BOUNDS)
        if posterior != "von_mises_fisher"  # in test_von_mises_fisher.py
        and (bound not in ("iwae", "vr-max") or posterior in ("normal", "log_normal"))
        and not (bound == "doubly-reparameterized" and posterior == "categorical")  # an error
    ],
)
def test_extreme_parameters_of_posterior_and_likelihood(posterior, bound):
    model = vae((2, 2, 1), hidden=(3,), posterior=posterior, bound=BOUNDS[bound](), num_samples=2)
    for encoded, decoded in zip(ENCODED, itertools.cycle(DECODED), strict=False):
        push(model, encoded, decoded)
        assert_a_step_is_finite(model, pixels())


@pytest.mark.long
@pytest.mark.parametrize("posterior", ["normal", "log_normal"])
@pytest.mark.parametrize("prior", PRIORS)
def test_extreme_parameters_under_every_prior(prior, posterior):
    model = vae((2, 2, 1), hidden=(3,), posterior=posterior, bound=ELBO(), prior=PRIORS[prior]())
    for encoded in ENCODED:
        push(model, encoded, 0.0)
        assert_a_step_is_finite(model, pixels())


@pytest.mark.parametrize("likelihood", ["gaussian", Normal(), Normal(sigma=1e-3)], ids=["learned", "pixel", "fixed"])
def test_extreme_parameters_of_a_gaussian_likelihood(likelihood):
    model = vae((2, 2, 1), hidden=(3,), likelihood=likelihood)
    for encoded, decoded in itertools.product(ENCODED[:3], DECODED):
        push(model, encoded, decoded)
        assert_a_step_is_finite(model, pixels())


@pytest.mark.long
@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize(("shape", "n"), [((1, 1, 1), 4), ((1, 1, 1), 1), ((3, 2, 1), 1)], ids=str)
def test_one_pixel_and_one_example(network, shape, n):
    for model in (
        vae(shape, network, (3,)),
        vae(shape, network, (3,), likelihood="gaussian"),
        autoencoder(shape, network, (3,), loss="cross_entropy"),
    ):
        assert_a_step_is_finite(model, pixels(n, shape))
        assert np.isfinite(model.energy(pixels(n, shape))).all()


@pytest.mark.long
@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_a_constant_data_set(value):
    x = np.full((6, 3, 3, 1), value, "float32")
    for model in (
        vae((3, 3, 1), "conv", (3,)),
        vae((3, 3, 1), likelihood=Normal()),
        autoencoder((3, 3, 1), code_activation="sigmoid", penalty=[KLSparsity(1.0), Contractive(1.0)]),
    ):
        model.compile(optimizer=keras.optimizers.Adam(0.1), run_eagerly=True)
        logs = model.fit(x, epochs=3, batch_size=6, verbose=0).history
        assert all(np.isfinite(values).all() for values in logs.values())
        assert all(np.isfinite(ops.convert_to_numpy(w)).all() for w in model.weights)


@pytest.mark.parametrize("latent_dim", [1, 512])
def test_latent_sizes(latent_dim):
    model = kvae.VAE(*kvae.networks.mlp((2, 2, 1), latent_dim, hidden=(3,)), bound=BOUNDS["iwae"](), num_samples=3)
    assert_a_step_is_finite(model, pixels())
    assert np.isfinite(kvae.evaluation.log_likelihood(model, pixels(), num_samples=5).mean)


def test_ten_thousand_classes(rng):
    model = cvae((2, 2, 1), hidden=(3,), width=10_000, num_classes=10_000, prior="learned")
    y = np.array([0, 9_999, 5, 5])
    assert_a_step_is_finite(model, pixels(), y)
    assert np.isfinite(model.generate(labels=y, seed=0)).all()


@pytest.mark.parametrize("model", [lambda: vae((2, 2, 1), likelihood="gaussian"), lambda: autoencoder((2, 2, 1))])
def test_pixels_whose_squares_overflow_are_refused(model):
    with pytest.raises(ValueError, match=r"`x` must hold values of magnitude at most 1e\+15.* rescale"):
        model().compile() or model().fit(np.full((4, 2, 2, 1), -1e20))


# Precision.


@pytest.mark.long
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"], indirect=True)
@pytest.mark.parametrize("name", ["vae-importance-weighted", "vae-learned-sigma", "cvae-mixture", "autoencoder-conv"])
def test_terms_are_float32_and_near_float32_s_under_every_policy(name, policy):
    case = CASES[name]
    model = case.build()
    keras.config.set_dtype_policy("float32")
    usual = case.build()
    usual.set_weights(model.get_weights())
    x, y = map(ops.convert_to_tensor, case.arrays(9)) if case.y else (ops.convert_to_tensor(case.arrays(9)[0]), None)
    result, expected = (
        model.run_batch(Batch(x, y), True),
        usual.run_batch(Batch(x, y), True),
    )  # the same seed gives the same noise
    compute_dtype = policy.removeprefix("mixed_")
    assert any(layer.compute_dtype == compute_dtype for layer in model.encoder.layers)
    tolerance = 5 * 2.0 ** -(7 if compute_dtype == "bfloat16" else 10)  # bits of bfloat16's and float16's fractions
    for name, term in result.terms.items():
        assert keras.backend.standardize_dtype(term.dtype) == "float32"
        value, wanted = ops.convert_to_numpy(term), ops.convert_to_numpy(expected.terms[name])
        np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance)
    assert keras.backend.standardize_dtype(result.reconstruction.dtype) == "float32"


def estimates(model, x, y):
    """Every number about a model that a compiled helper of `evaluation` computes."""
    e = kvae.evaluation
    gap = e.inference_gap(model, x, y, num_samples=4, steps=2, seed=0)
    return {
        "log_likelihood": e.log_likelihood(model, x, y, num_samples=4, seed=0).values,
        "prior_log_likelihood": e.prior_log_likelihood(model, x, y, num_samples=4, seed=0).values,
        "grid_log_likelihood": e.grid_log_likelihood(model, x, y, limit=6.0, points=50).values,
        "inference_gap": [gap.approximation, gap.amortisation],
        "kl_per_dimension": e.kl_per_dimension(model, x, y),
    }


@pytest.mark.long
def test_estimates_of_a_model_do_not_depend_on_the_policy_set_later(without_graphs):
    case = CASES["cvae-learned-prior"]
    model, (x, y) = case.build(), case.arrays(3)
    expected = estimates(model, x, y)
    keras.config.set_dtype_policy("float16")
    for name, value in estimates(model, x, y).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX computes in float32 unless told otherwise")
@pytest.mark.parametrize("name", ["vae-two-layers", "cvae-own-prior", "autoencoder-conv"])
def test_models_work_where_floatx_is_float64(name, tmp_path):
    keras.config.set_floatx("float64")
    case = CASES[name]
    model, (x, y) = case.build(), case.arrays(9)
    labels = () if y is None else (y,)
    model.compile(**QUICKLY)
    assert np.isfinite(model.fit(x, *labels, epochs=1, verbose=0).history["loss"]).all()
    assert np.isfinite(model.evaluate(x, *labels, verbose=0)).all()
    np.testing.assert_allclose(model.predict((x, y) if labels else x, verbose=0), model.reconstruct(x, *labels))
    if name != "autoencoder-conv":
        assert np.isfinite(model.elbo(x, *labels)).all()
        assert model.sample_prior(9, *labels).dtype == "float32"
    model.save(tmp_path / "double.keras")
    loaded = kvae.load_model(tmp_path / "double.keras")
    np.testing.assert_array_equal(loaded.reconstruct(x, *labels), model.reconstruct(x, *labels))


@pytest.mark.long
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_digits_train_as_well_in_half_precision(policy, digits, tmp_path):
    x = digits.x_train[:512]

    def trained():
        keras.utils.set_random_seed(0)
        model = vae(hidden=(32,))
        model.compile(optimizer=keras.optimizers.Adam(5e-3), jit_compile=False)
        return model, model.fit(x, batch_size=64, epochs=6, verbose=0).history["loss"]

    model, half = trained()
    keras.config.set_dtype_policy("float32")
    _, full = trained()
    assert half[-1] < half[0] - 5
    assert abs(half[-1] - full[-1]) < 0.03 * full[-1]
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    model.save(tmp_path / "half.keras")
    loaded = kvae.models.load_model(tmp_path / "half.keras")
    np.testing.assert_array_equal(loaded.reconstruct(x[:9]), model.reconstruct(x[:9]))
    assert loaded.decode(np.zeros((1, 2))).dtype == "float32"
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_what_half_precision_cannot_carry_is_refused_by_layer(policy):
    with pytest.raises(ValueError, match=r"Contractive requires an encoder in float32.*layer 'dense.*' in bfloat16"):
        autoencoder(penalty=Contractive(0.1))
    assert autoencoder(hidden=(), penalty=Contractive(0.1)).penalties  # one dense layer: exact, no differences


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_a_classifier_s_probabilities_are_float32(policy):
    model = kvae.classifier.from_encoder(autoencoder().encoder, num_classes=3)
    assert model.compute_output_spec(keras.KerasTensor((2, 8, 8, 1))).dtype == "float32"
