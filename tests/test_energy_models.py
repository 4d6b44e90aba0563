"""Square ICA, predictive sparse decomposition and the saturating autoencoder, each on a case whose answer is known."""

import keras
import numpy as np
import pytest
from cases import QUICKLY
from keras import ops
from scipy.stats import hypsecant
from sklearn.decomposition import SparseCoder

import kvae
from kvae.baselines import SquareICA
from kvae.penalties import Saturation

MIXING = np.array([[1.0, 0.6], [-0.4, 0.8]])


def mixed(n=3000, scale=(1.0, 1.0), seed=0):
    """Sources of density ½ sech(½πz), and their mixture."""
    z = 2 / np.pi * hypsecant.rvs(size=(n, 2), random_state=seed) * scale
    return z, z @ MIXING.T + [1.0, -2.0]


# Square ICA


def test_square_ica_finds_the_sources_and_their_density():
    z, x = mixed()
    ica = SquareICA().fit(x)
    assert ica.latent_dim == 2
    np.testing.assert_allclose(np.sort(np.abs(ica.components @ MIXING), axis=None), [0, 0, 1, 1], atol=0.1)
    density = np.prod(0.5 / np.cosh(0.5 * np.pi * z), axis=1) / np.linalg.det(MIXING)
    np.testing.assert_allclose(ica.energy(x), -np.log(density), atol=0.7)
    assert np.mean(ica.energy(x) + np.log(density)) == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(ica.reconstruct(x), x, atol=1e-6)


def test_the_density_of_square_ica_integrates_to_one():
    ica = SquareICA().fit(mixed(300)[1])
    side = np.linspace(-16, 16, 401)
    grid = np.stack(np.meshgrid(side + 1, side - 2), axis=-1).reshape(-1, 2)
    assert np.exp(-ica.energy(grid)).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_square_ica_finds_the_direction_in_which_the_data_are_confined():
    _, x = mixed(scale=(1.0, 1e-3))
    ica = SquareICA().fit(x)
    steepest = ica.components[np.argmax(np.linalg.norm(ica.components, axis=1))]
    normal = np.array([-MIXING[1, 0], MIXING[0, 0]])  # to the first column, along which the data vary
    assert np.abs(steepest @ normal) / np.linalg.norm(steepest) / np.linalg.norm(normal) == pytest.approx(1, abs=1e-4)
    away = x[:50] + 0.1 * normal
    assert (ica.energy(away) - ica.energy(x[:50])).min() > 50  # ½π · 0.1 |normal| in standard deviations, and more


def test_square_ica_refuses_data_in_fewer_dimensions(digits):
    with pytest.raises(
        ValueError, match=r"`x` must span all its dimensions: .* Received: \d+ independent directions of"
    ):
        SquareICA().fit(digits.x_train)
    with pytest.raises(ValueError, match="Received: 1 independent directions of 2"):
        SquareICA().fit(np.arange(20.0).reshape(-1, 1) @ [[1.0, 2.0]])
    with pytest.raises(ValueError, match="`SquareICA` must be fitted first"):
        SquareICA().energy(np.zeros((3, 2)))


# Predictive sparse decomposition


def predictive_sparse(sparsity=0.3, prediction=0.5, num_steps=200):
    encoder, _ = kvae.networks.mlp((6,), 10, hidden=(16,), posterior=None)
    return kvae.PredictiveSparseDecomposition(encoder, sparsity, prediction, num_steps, seed=0)


def test_the_sparse_code_is_that_of_scikit_learn(rng):
    """‖x − zW‖² + α‖z − f‖² is one squared distance, of (x, √α f) to z (W, √α I): sparse coding in more dimensions."""
    x = rng.normal(size=(20, 6)).astype("float32")
    model = predictive_sparse()
    w, f = ops.convert_to_numpy(model.components), model.encode(x)
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1, atol=1e-5)
    root = np.sqrt(model.prediction)
    dictionary, joined = np.hstack([w, root * np.eye(10)]), np.hstack([x, root * f])
    options = {"transform_algorithm": "lasso_cd", "transform_alpha": model.sparsity / 2, "transform_max_iter": 10_000}
    z = SparseCoder(dictionary.astype("float64"), **options).transform(joined.astype("float64"))
    np.testing.assert_allclose(model.sparse_code(x), z, atol=2e-3)
    expected = np.square(joined - z @ dictionary).sum(axis=1) + model.sparsity * np.abs(z).sum(axis=1)
    np.testing.assert_allclose(model.energy(x), expected, rtol=1e-4)
    assert 0.1 < np.mean(model.sparse_code(x) == 0) < 0.9


@pytest.mark.long
def test_the_prediction_approaches_the_sparse_code(rng):
    x = (rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6))).astype("float32")
    model = predictive_sparse(num_steps=30)
    before = model.energy(x).mean()
    model.compile(keras.optimizers.Adam(1e-2), jit_compile="jit_compile" in QUICKLY)
    logs = model.fit(x, batch_size=50, epochs=25, verbose=0).history
    terms = sum(np.array(logs[name]) for name in model.term_names)
    np.testing.assert_allclose(logs["loss"], terms, rtol=1e-5)
    gap = np.square(model.encode(x) - model.sparse_code(x)).sum(axis=1).mean()
    assert gap < 0.15 * np.square(model.sparse_code(x)).sum(axis=1).mean()
    assert model.energy(x).mean() < 0.7 * before
    np.testing.assert_allclose(np.linalg.norm(ops.convert_to_numpy(model.components), axis=1), 1, atol=1e-4)


# The saturating autoencoder

A = np.array([[-9.0, -2.9, -0.4, 0.1, 0.9, 2.0, 5.5, 7.0]], "float32")  # pre-activations


def distances(a, flat):
    """Distance to the nearest of the intervals `flat` in which an activation is flat."""
    return np.min([np.maximum(np.maximum(low - a, a - high), 0) for low, high in flat], axis=0)


@pytest.mark.parametrize(
    ("activation", "flat"),
    [
        ("relu", [(-np.inf, 0)]),
        ("relu6", [(-np.inf, 0), (6, np.inf)]),
        ("hard_tanh", [(-np.inf, -1), (1, np.inf)]),
        ("hard_sigmoid", [(-np.inf, -3), (3, np.inf)]),
        ("soft_shrink", [(-0.5, 0.5)]),
    ],
)
def test_the_penalty_is_the_distance_from_where_the_activation_is_flat(activation, flat):
    pair = kvae.networks.mlp((8,), 8, hidden=(), posterior=None, code_activation=activation)
    model = kvae.Autoencoder(*pair, penalty=Saturation(0.5), seed=0)
    model.encoder.set_weights([np.eye(8, dtype="float32"), np.zeros(8, "float32")])
    code = model.inference(ops.convert_to_tensor(A))
    found = ops.convert_to_numpy(Saturation(0.5)(None, code[None], code, model, None))
    np.testing.assert_allclose(found, 0.5 * distances(A, flat).sum(axis=1), rtol=1e-5)


def test_a_saturating_autoencoder_is_saved(tmp_path):
    pair = kvae.networks.mlp((8,), 3, hidden=(), posterior=None, code_activation="hard_tanh")
    model = kvae.Autoencoder(*pair, penalty=Saturation(2.0), seed=0)
    model.compile(**QUICKLY)
    logs = model.evaluate(A, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["reconstruction_loss"] + logs["penalty_loss"], rel=1e-5)
    model.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    assert again.penalties == [Saturation(2.0)]
    np.testing.assert_array_equal(again.energy(A), model.energy(A))


def sigmoid():
    pair = kvae.networks.mlp((8,), 3, hidden=(), posterior=None, code_activation="sigmoid")
    return kvae.Autoencoder(*pair, penalty=Saturation(1.0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Saturation(-1), "`weight` must be a finite number of at least 0"),
        (sigmoid, "Saturation needs codes with flat regions: .* Received: activation sigmoid"),
        (lambda: predictive_sparse(sparsity=0), "`sparsity` must be a finite number above 0"),
        (lambda: predictive_sparse(prediction=-1.0), "`prediction` must be a finite number above 0"),
        (lambda: predictive_sparse(num_steps=0), "`num_steps` must be an integer of at least 1"),
        (lambda: predictive_sparse().energy(np.zeros((2, 5))), r"`x` must have shape \(n, 6\)"),
        (lambda: kvae.PredictiveSparseDecomposition(kvae.networks.grid((8, 8, 1), 4)[0]), "`encoder` must be a built"),
        (lambda: kvae.PredictiveSparseDecomposition("mlp"), "`encoder` must be a built Functional.* Received: mlp"),
    ],
)
def test_bad_input_is_refused_in_one_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
