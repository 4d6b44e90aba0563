"""`kvae.training.gradients`: `gradient` against finite differences and formulas, and `maximise` at known maxima."""

import keras
import numpy as np
import pytest
from keras import ops

from kvae.training.gradients import gradient, maximise

numpy = ops.convert_to_numpy


@pytest.fixture
def point(rng):
    return tuple(rng.normal(size=shape).astype("float32") for shape in [(3, 2), (2,), ()])


def smooth(a, b, c):
    return ops.sum(ops.tanh(a * b) ** 2) * ops.exp(c) + ops.sum(ops.sin(b))


def finite_differences(function, arrays, step=1e-2):
    """Central differences of fourth order by every coordinate of every array; float32 leaves three to four digits."""
    slopes = []
    for i, array in enumerate(arrays):
        slope = np.zeros(array.size)
        for k in range(array.size):
            shift = np.zeros(array.size, "float32")
            shift[k] = step
            shift = shift.reshape(array.shape)
            at = lambda t, i=i, shift=shift: float(  # noqa: E731
                function(*(ops.convert_to_tensor(a + t * shift if j == i else a) for j, a in enumerate(arrays)))
            )
            slope[k] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
        slopes.append(slope.reshape(array.shape))
    return slopes


def test_gradients_of_several_arguments_match_finite_differences(point):
    value, *slopes = gradient(smooth, *point)
    np.testing.assert_allclose(numpy(value), numpy(smooth(*map(ops.convert_to_tensor, point))), rtol=1e-6)
    assert [slope.shape for slope in slopes] == [array.shape for array in point]
    for slope, expected in zip(slopes, finite_differences(smooth, point), strict=True):
        np.testing.assert_allclose(numpy(slope), expected, rtol=1e-3, atol=1e-4)


def test_gradient_of_a_quadratic_form_matches_its_formula(rng):
    """∇ ½ zᵀ A z = ½ (A + Aᵀ) z, and by A ½ z zᵀ."""
    z, a = rng.normal(size=3).astype("float32"), rng.normal(size=(3, 3)).astype("float32")
    value, by_z, by_a = gradient(lambda z, a: 0.5 * ops.sum(z * ops.matmul(a, z)), z, a)
    np.testing.assert_allclose(numpy(value), 0.5 * z @ a @ z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(by_z), 0.5 * (a + a.T) @ z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(by_a), 0.5 * np.outer(z, z), rtol=1e-5, atol=1e-6)


def test_an_argument_without_influence_has_gradient_zero(point):
    a, b, _ = point
    _, by_a, by_b = gradient(lambda a, b: ops.sum(a**2), a, b)
    np.testing.assert_allclose(numpy(by_a), 2 * a, rtol=1e-6)
    np.testing.assert_array_equal(numpy(by_b), np.zeros_like(b))
    value, slope = gradient(lambda a: 3.0, a)
    assert (float(value), slope.shape) == (3.0, a.shape)
    np.testing.assert_array_equal(numpy(slope), 0)


def test_stop_gradient_is_respected(point):
    a, *_ = point
    _, slope = gradient(lambda a: ops.sum(a * ops.stop_gradient(a)), a)
    np.testing.assert_allclose(numpy(slope), a, rtol=1e-6)


def test_second_derivatives(point):
    """d² x³ = 6x."""
    a, *_ = point
    _, second = gradient(lambda a: ops.sum(gradient(lambda a: ops.sum(a**3), a)[1]), a)
    np.testing.assert_allclose(numpy(second), 6 * a, rtol=1e-5)


def test_a_loss_of_the_gradient_trains_weights(point):
    """The slope of w x³ is 3w x², whose sum has the derivative Σ 3x² by w."""
    x, w = point[0], np.array(2.0, "float32")

    def loss(w):
        return ops.sum(gradient(lambda x: ops.sum(w * x**3), x, differentiable=True)[1])

    np.testing.assert_allclose(numpy(gradient(loss, w)[1]), np.sum(3 * x**2), rtol=1e-5)


def test_gradient_works_inside_a_compiled_function(point):
    class Slope(keras.Model):
        def call(self, a):
            return gradient(lambda a: ops.sum(a**2), a)[1]

    np.testing.assert_allclose(Slope().predict_on_batch(point[0]), 2 * point[0], rtol=1e-6)


def test_models_inside_the_function_stay_constant(point):
    dense = keras.layers.Dense(1)
    dense.build((None, 2))
    before = dense.get_weights()
    _, slope = gradient(lambda a: ops.sum(dense(a)), point[0])
    np.testing.assert_allclose(numpy(slope), np.tile(before[0].T, (3, 1)), rtol=1e-6)
    maximise(lambda a: -ops.sum(dense(a) ** 2, axis=-1), point[0], steps=2, learning_rate=0.1)
    for weight, expected in zip(dense.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_gradient_rejects_invalid_input(point):
    a, *_ = point
    with pytest.raises(ValueError, match=r"`function` must return a scalar.*Received: shape \(3,\)"):
        gradient(lambda a: ops.sum(a, axis=-1), a)
    with pytest.raises(ValueError, match=r"`arrays` must be one or more floating-point.*\['float32', 'int32'\]"):
        gradient(lambda a, n: ops.sum(a), a, np.arange(3, dtype="int32"))
    with pytest.raises(ValueError, match=r"`arrays` must be one or more floating-point arrays. Received dtypes: \[\]"):
        gradient(lambda: 1.0)


@pytest.mark.parametrize("steps", [1, 7, 130])  # within an execution, and across two
def test_maximise_takes_adams_steps(steps):
    start, target = np.array([[0.5, -2.0], [3.0, 0.0]], "float32"), np.array([1.0, -1.0], "float32")
    found = maximise(
        lambda z: -ops.sum((z - ops.convert_to_tensor(target)) ** 2, axis=-1),
        start,
        steps,
        learning_rate=0.1,
        beta_2=0.9,
    )
    z, m, v = start.astype("float64"), 0.0, 0.0
    for t in range(1, steps + 1):
        slope = 2 * (z - target)
        m, v = 0.9 * m + 0.1 * slope, 0.9 * v + 0.1 * slope**2
        z = z - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-7)
    np.testing.assert_allclose(found, z, atol=1e-4)


def test_maximise_reaches_each_examples_maximum_under_a_schedule(rng):
    target = rng.normal(size=(4, 3)).astype("float32")
    rate = keras.optimizers.schedules.CosineDecay(0.1, 300)
    objective = lambda z: -ops.sum((z - ops.convert_to_tensor(target)) ** 2, axis=-1)  # noqa: E731
    found = maximise(objective, np.zeros((4, 3), "float32"), 300, rate)
    np.testing.assert_allclose(found, target, atol=1e-3)


@pytest.mark.long
def test_maximise_draws_new_noise_at_each_step_reproducibly():
    """Gradients of one noise draw in all steps would all be equal, and Adam's steps of one size."""

    def climb(seed, steps):
        noise = keras.random.SeedGenerator(seed)
        objective = lambda z: ops.sum(z * keras.random.normal(ops.shape(z), seed=noise), axis=-1)  # noqa: E731
        return maximise(objective, np.zeros((50, 2), "float32"), steps, learning_rate=0.1, noise=noise)

    first = climb(0, 5)
    np.testing.assert_array_equal(first, climb(0, 5))
    assert np.abs(first - climb(1, 5)).max() > 0.01
    assert np.abs(first).min() < 0.3  # 5 equal steps would add up to 0.5 everywhere
