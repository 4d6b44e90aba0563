"""Energy networks: each objective learns a Gaussian whose energy is known, and draws follow the energy."""

import keras
import numpy as np
import pytest
from cases import QUICKLY
from keras import ops

import kvae
from kvae.objectives import ContrastiveDivergence, DenoisingScoreMatching, NoiseContrastive, SlicedScoreMatching

X = (np.random.default_rng(0).normal(size=(1000, 2)) * [1.0, 0.5]).astype("float32")
VARIANCE = np.square(X).mean(axis=0)
LOG_Z = np.log(2 * np.pi) + 0.5 * np.log(VARIANCE).sum()
STEP = 0.25


def quadratic(objective="noise_contrastive"):
    """E(x) = w₁ x₁² + w₂ x₂² + b."""
    x = keras.Input((2,))
    energy = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Multiply()([x, x]))
    return kvae.EnergyNetwork(keras.Model(x, energy), objective, seed=0)


def steady_inverse_variance(variance):
    """The λ of the Gaussian whose Langevin step x ← (1 − ½ε²λ) x + ε n keeps this variance."""
    return 2 * (1 - np.sqrt(1 - STEP**2 / variance)) / STEP**2


@pytest.mark.long
@pytest.mark.parametrize(
    ("objective", "expected", "tolerance"),
    [
        (NoiseContrastive(sigma=1.2, ratio=3), 1 / VARIANCE, 0.15),
        (ContrastiveDivergence(5, STEP), steady_inverse_variance(VARIANCE), 0.15),
        (DenoisingScoreMatching(0.5), 1 / (VARIANCE + 0.5**2), 0.1),
        (SlicedScoreMatching(), 1 / VARIANCE, 0.05),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_objective_learns_the_energy_of_a_gaussian(objective, expected, tolerance):
    model = quadratic(objective)
    rate = keras.optimizers.schedules.CosineDecay(0.2, 100)
    model.compile(keras.optimizers.Adam(rate), jit_compile="jit_compile" in QUICKLY)
    model.fit(X, batch_size=250, epochs=25, verbose=0)
    w, b = model.network.get_weights()
    np.testing.assert_allclose(2 * w[:, 0], expected, rtol=tolerance)
    if isinstance(objective, NoiseContrastive):  # it learns the normalising constant too
        assert b[0] == pytest.approx(LOG_Z, abs=0.1)
        np.testing.assert_allclose(model.energy(X), 0.5 * (X**2 / VARIANCE).sum(axis=1) + LOG_Z, atol=0.5)


def with_weights(w, b, objective):
    model = quadratic(objective)
    model.network.set_weights([np.array(w, "float32")[:, None], np.array([b], "float32")])
    return model


def losses(model, x):
    return ops.convert_to_numpy(model.objective(model, ops.convert_to_tensor(x), keras.random.SeedGenerator(0)))


def test_sliced_score_matching_is_the_gradient_less_the_curvature():
    w = np.array([0.7, 2.0])
    model = with_weights(w, 0.3, SlicedScoreMatching(num_slices=2))
    expected = 0.5 * np.square(2 * w * X).sum(axis=1) - 2 * w.sum()
    np.testing.assert_allclose(losses(model, X), expected, rtol=1e-4, atol=1e-4)


def test_denoising_score_matching_has_its_expected_value():
    """½ E‖σ ∇E(x + σε) − ε‖² with ∇E = a x: (σa − 1/σ)² σ²/2 of the noise, and σ²a²x²/2 of the data."""
    a, sigma = np.array([1.4, 4.0]), 0.5
    x = np.tile(X[:5], (4000, 1))
    found = losses(with_weights(a / 2, 0.0, DenoisingScoreMatching(sigma)), x).reshape(4000, 5).mean(axis=0)
    expected = 0.5 * ((sigma**2 * a - 1) ** 2 + sigma**2 * a**2 * X[:5] ** 2).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=0.05)


def test_noise_contrastive_estimation_of_the_noise_itself_guesses():
    """With E = −log pₙ, the logit is −log ν everywhere."""
    sigma, ratio = 1.5, 3
    model = with_weights([0.5 / sigma**2] * 2, np.log(2 * np.pi * sigma**2), NoiseContrastive(0.0, sigma, ratio))
    guess = np.log1p(ratio) + ratio * np.log1p(1 / ratio)
    np.testing.assert_allclose(losses(model, X), np.full(len(X), guess), rtol=1e-5)


def test_draws_follow_the_energy():
    model = with_weights(0.5 / VARIANCE, 0.0, "noise_contrastive")
    x = model.generate(4000, seed=0, num_steps=60, step_size=0.2)
    np.testing.assert_allclose(x.std(axis=0), np.sqrt(VARIANCE), rtol=0.06)
    np.testing.assert_array_equal(model.generate(3, seed=1, num_steps=2), model.generate(3, seed=1, num_steps=2))
    cold = model.generate(4000, seed=0, temperature=0.25, num_steps=120, step_size=0.12)
    np.testing.assert_allclose(cold.std(axis=0), 0.5 * np.sqrt(VARIANCE), rtol=0.06)
    near = model.generate(5, seed=0, start=X[:5], num_steps=1, step_size=1e-4)
    np.testing.assert_allclose(near, X[:5], atol=1e-3)


def network(activation="swish", units=1):
    layers = [keras.layers.Dense(3, activation=activation), keras.layers.Dense(units)]
    return keras.Sequential([keras.Input((2,)), *layers])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: kvae.EnergyNetwork(network(), "ratio_matching"), r"`objective` must be one of \['contrastive_diverg"),
        (lambda: kvae.EnergyNetwork(network(units=2)), r"`network` must map images of shape \(2,\).* to 1 logit"),
        (lambda: kvae.EnergyNetwork(keras.Sequential([keras.layers.Dense(1)])), "`network` must be a built Functional"),
        (lambda: kvae.EnergyNetwork(network("relu"), "sliced_score_matching"), "needs a network with curvature: use a"),
        (lambda: NoiseContrastive(sigma=0), "`sigma` must be a finite number above 0. Received: sigma=0"),
        (lambda: NoiseContrastive(mean=np.inf), "`mean` must be a finite number"),
        (lambda: NoiseContrastive(ratio=0), "`ratio` must be an integer of at least 1"),
        (lambda: ContrastiveDivergence(0), "`num_steps` must be an integer of at least 1"),
        (lambda: ContrastiveDivergence(step_size=-0.1), "`step_size` must be a finite number above 0"),
        (lambda: DenoisingScoreMatching(0.0), "`sigma` must be a finite number above 0"),
        (lambda: SlicedScoreMatching(1.5), "`num_slices` must be an integer of at least 1"),
        (lambda: quadratic().compile(metrics=["mse"]), "has no reconstructions for `metrics` to compare"),
        (lambda: quadratic().energy(np.zeros((4, 3))), r"`x` must have shape \(n, 2\)"),
        (lambda: quadratic().generate(3, start=X[:2]), "`start` must have one entry per example: 3. Received: 2"),
        (lambda: quadratic().generate(3, temperature=0.0), "`temperature` must be a finite number above 0"),
        (lambda: kvae.applications.compress(quadratic(), X, 0.5), "`model` must have an encoder and a decoder"),
        (lambda: quadratic().generate(3, step_size=40.0), "`step_size` is too large for the slope of this energy"),
        (lambda: kvae.evaluation.diagnose(quadratic(), X), "`model` must have"),
    ],
)
def test_bad_input_is_refused_in_one_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
