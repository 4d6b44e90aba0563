"""Images sampled along a flow, or resized, against SciPy and finite differences; joined inputs against NumPy."""

import keras
import numpy as np
import pytest
import scipy.ndimage
from keras import ops

from kvae.layers import BilinearSampler, JoinedDense, Resize
from kvae.training.gradients import gradient


def sampled(images, flow):
    return ops.convert_to_numpy(BilinearSampler()([images, flow]))


def scipys(images, flow):
    grid = np.moveaxis(np.indices(images.shape[1:3]) + np.moveaxis(flow, -1, 1), 1, 0)  # (2, batch, height, width)
    one = [
        [scipy.ndimage.map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(image.shape[-1])]
        for image, at in zip(images, np.moveaxis(grid, 1, 0), strict=True)
    ]
    return np.moveaxis(np.array(one), 1, -1)


@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (2, 1, 7, 1), (2, 1, 1, 2)])
@pytest.mark.parametrize("scale", [0.3, 2.0, 50.0])  # mostly inside the image, in part, and nearly nowhere
def test_values_are_scipys(rng, shape, scale):
    images = rng.random(shape, dtype="float32")
    flow = (scale * rng.normal(size=(*shape[:3], 2))).astype("float32")
    np.testing.assert_allclose(sampled(images, flow), scipys(images, flow), atol=1e-5)


def test_a_flow_of_zero_is_the_identity_and_whole_steps_shift(rng):
    images = rng.random((2, 5, 6, 3), dtype="float32")
    flow = np.zeros((2, 5, 6, 2), "float32")
    np.testing.assert_array_equal(sampled(images, flow), images)
    down_and_left = flow + np.float32([1, -2])
    expected = images[:, [1, 2, 3, 4, 4]][:, :, [0, 0, 0, 1, 2, 3]]  # the border is repeated
    np.testing.assert_allclose(sampled(images, down_and_left), expected, atol=1e-6)


def test_gradients_are_finite_differences(rng):
    images, weights = rng.random((2, 2, 4, 5, 2), dtype="float32")
    # Not within a step of a whole pixel, where the slope changes; some positions are outside.
    flow = (rng.integers(-2, 3, size=(2, 4, 5, 2)) + rng.uniform(0.1, 0.9, size=(2, 4, 5, 2))).astype("float32")
    constant = ops.convert_to_tensor(weights)
    _, by_image, by_flow = gradient(lambda x, f: ops.sum(constant * BilinearSampler()([x, f])), images, flow)
    np.testing.assert_allclose(ops.convert_to_numpy(by_image), slopes(images, flow, weights, 0), atol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(by_flow), slopes(images, flow, weights, 1), atol=1e-4)


def slopes(images, flow, weights, which, step=1e-3):
    """Central differences of Σ weights · y, in SciPy's float64, by the images (0) or the flow (1)."""
    points = [images.astype("float64"), flow.astype("float64")]
    result = np.zeros(points[which].shape)
    for index in np.ndindex(result.shape):
        values = []
        for sign in (1, -1):
            moved = [point.copy() for point in points]
            moved[which][index] += sign * step
            values.append((weights * scipys(*moved)).sum())
        result[index] = (values[0] - values[1]) / (2 * step)
    return result


def test_a_flow_of_zero_has_the_same_gradient_everywhere_on_a_ramp():
    """Where training starts: slopes of 10 down and 1 to the right, on the border too."""
    ramp = (10 * np.arange(4)[:, None] + np.arange(5)).astype("float32").reshape(1, 4, 5, 1)
    flow = np.zeros((1, 4, 5, 2), "float32")
    _, slope = gradient(lambda f: ops.sum(BilinearSampler()([ramp, f])), flow)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), np.broadcast_to([10.0, 1.0], flow.shape), atol=1e-5)


@pytest.mark.long
def test_in_a_network_of_any_image_size_saved_and_loaded(rng, tmp_path):
    x = keras.Input((None, None, 1))
    flow = keras.layers.Conv2D(2, 3, padding="same", data_format="channels_last")(x)
    model = keras.Model(x, BilinearSampler(name="sampler")([x, flow]))
    model.compile("adam", "mse", jit_compile=False)
    images = rng.random((6, 5, 7, 1), dtype="float32")
    before = ops.convert_to_numpy(model.weights[0]).copy()
    model.fit(images, images[:, ::-1], verbose=0)
    assert not np.array_equal(before, ops.convert_to_numpy(model.weights[0]))  # the flow is trained
    model.save(tmp_path / "warp.keras")
    loaded = keras.saving.load_model(tmp_path / "warp.keras")
    for size in (images, rng.random((2, 4, 4, 1), dtype="float32")):
        np.testing.assert_array_equal(loaded.predict(size, verbose=0), model.predict(size, verbose=0))


def test_it_computes_in_float32_whatever_the_policy(rng):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = BilinearSampler()
        image = np.arange(400, dtype="float32").reshape(1, 1, 400, 1)  # bfloat16 has no 299.5
        y = layer([image, np.full((1, 1, 400, 2), [0, 0.5], "float32")])
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert float(y[0, 0, 299, 0]) == 299.5
    assert BilinearSampler.from_config(layer.get_config()).get_config() == layer.get_config()


def test_not_a_number_in_the_flow_is_not_a_number_in_the_image(rng):
    flow = np.zeros((1, 3, 3, 2), "float32")
    flow[0, 1, 1, 0] = np.nan
    assert (np.isnan(sampled(np.ones((1, 3, 3, 1), "float32"), flow)[0, :, :, 0]) == np.isnan(flow[0, ..., 0])).all()


@pytest.mark.parametrize("flow", [(2, 3, 4, 1), (2, 4, 3, 2), (1, 3, 4, 2), (2, 3, 4)])
def test_shapes_that_do_not_fit_are_refused_in_one_line(flow):
    wanted = r"BilinearSampler takes \[images, flow\] of shapes .*Received: shapes \(2, 3, 4, 1\), "
    with pytest.raises(ValueError, match=wanted):
        BilinearSampler().compute_output_shape([(2, 3, 4, 1), flow])
    with pytest.raises(ValueError, match=wanted):
        BilinearSampler()([np.zeros((2, 3, 4, 1), "float32"), np.zeros(flow, "float32")])


def test_one_input_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"BilinearSampler takes \[images, flow\] of shapes .*Received"):
        BilinearSampler()(np.zeros((2, 3, 4, 1), "float32"))


@pytest.mark.parametrize("size", [(9, 12), (2, 3)])
def test_resize_is_bilinear_and_leaves_batch_normalisation_in_inference_mode(rng, size):
    x = keras.Input((4, 6, 2))
    h = Resize(*size)(x)
    model = keras.Model(x, [h, keras.layers.BatchNormalization()(h)])
    images = rng.random((3, 4, 6, 2), dtype="float32")
    resized, normalised = (ops.convert_to_numpy(each) for each in model(images))
    rows, columns = (np.clip((np.arange(n) + 0.5) * s / n - 0.5, 0, s - 1) for n, s in zip(size, (4, 6), strict=True))
    if size == (2, 3):
        assert resized.mean() == pytest.approx(images.mean(), rel=0.05)  # an average of neighbours, not every other one
    else:
        at = np.meshgrid(rows, columns, indexing="ij")
        expected = scipy.ndimage.map_coordinates(images[0, ..., 0], at, order=1, mode="nearest")
        np.testing.assert_allclose(resized[0, ..., 0], expected, atol=1e-5)
    np.testing.assert_allclose(normalised, resized / np.sqrt(1 + 1e-3), rtol=1e-4)
    again = Resize.from_config(model.layers[1].get_config())
    np.testing.assert_array_equal(ops.convert_to_numpy(again(images)), resized)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_joined_dense_layer_is_a_dense_one_of_its_inputs_side_by_side(rng, times, use_bias):
    x, y, a = (
        rng.normal(size=(rows, size)).astype("float32") for rows, size in ((4, 5), (4 * times, 3), (4 * times, 2))
    )
    layer = JoinedDense(6, activation="tanh", use_bias=use_bias, bias_initializer="ones")
    outputs = ops.convert_to_numpy(layer([x, y, a]))
    rows = np.concatenate([np.repeat(x, times, axis=0), y, a], axis=1)
    expected = np.tanh(rows @ ops.convert_to_numpy(layer.kernel) + (1.0 if use_bias else 0.0))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert layer.compute_output_shape([each.shape for each in (x, y, a)]) == outputs.shape
    again = JoinedDense.from_config(layer.get_config())
    again.build([each.shape for each in (x, y, a)])
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(again([x, y, a])), outputs)


@pytest.mark.parametrize("rows", [(4, 6), (4, 1), (4, 8, 4)])
def test_a_joined_dense_layer_refuses_rows_that_do_not_match(rows):
    with pytest.raises(
        ValueError, match=rf"as many rows of each input.*Received: \[{', '.join(map(str, rows))}\] rows"
    ):
        JoinedDense(2)([np.ones((n, 3), "float32") for n in rows])


def test_a_joined_dense_layer_refuses_a_single_input():
    for inputs in (np.ones((4, 3), "float32"), [np.ones((4, 3), "float32")]):
        with pytest.raises(ValueError, match="must be called on a list of two tensors or more: use Dense for one"):
            JoinedDense(2)(inputs)
