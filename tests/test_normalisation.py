"""Batch normalisation in one kernel: Keras's numbers, and Keras's files."""

import keras
import numpy as np
import pytest
from cases import vae

from kvae.training.normalisation import fuse_normalisation

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's batch normalisation", allow_module_level=True)

import tensorflow as tf

KINDS = {
    "images": ((6, 5, 4, 3), {}),
    "far from 0": ((6, 5, 4, 3), {"momentum": 0.7, "epsilon": 0.1}),
    "rows": ((7, 3), {"center": False}),
    "series": ((6, 5, 3), {"scale": False}),
    "first axis": ((6, 3, 4), {"axis": 1}),  # left to Keras
    "half precision": ((6, 5, 4, 3), {"dtype": "mixed_bfloat16"}),
    "double precision": ((6, 5, 4, 3), {"dtype": "float64"}),
}


def passed(name, fuse, compiled=True):
    """What two training passes, a pass of inference, and first and second derivatives give."""
    shape, options = KINDS[name]
    rng = np.random.default_rng(0)
    layer = keras.layers.BatchNormalization(**options)
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(1.0, 0.3, weight.shape))
    if fuse:
        fuse_normalisation(model)
        assert "call" in vars(layer)
    x = tf.constant(rng.normal(30.0 if name == "far from 0" else 1.0, 2.0, shape), layer.variable_dtype)
    towards = tf.constant(rng.normal(size=shape), x.dtype)
    weights = [weight.value for weight in layer.trainable_variables]

    def step():
        with tf.GradientTape() as outer:
            outer.watch([x])
            with tf.GradientTape() as tape:
                tape.watch([x])
                y = tf.cast(model(x, training=True), x.dtype)
                loss = tf.reduce_sum(tf.sin(y) * towards)
            gradients = tape.gradient(loss, [x, *weights])
            penalty = tf.reduce_sum(gradients[0] ** 2)
        return y, *gradients, *outer.gradient(penalty, [x, *weights], unconnected_gradients="zero")

    step = tf.function(step) if compiled else step
    step()
    found = [*step(), layer.moving_mean.value, layer.moving_variance.value, model(x, training=False)]
    return [tf.cast(each, tf.float64).numpy() for each in found]


@pytest.mark.parametrize("name", KINDS)
def test_gives_the_numbers_of_keras(name):
    tolerance = {"double precision": 1e-7, "half precision": 0.05, "far from 0": 1e-3}.get(name, 1e-4)
    for ours, theirs in zip(passed(name, True), passed(name, False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, np.abs(theirs).max()))


def test_gives_them_eagerly():
    for ours, theirs in zip(passed("images", True, compiled=False), passed("images", False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(theirs).max()))


def test_is_closer_to_double_precision_than_keras_far_from_0():
    rng = np.random.default_rng(0)
    x, towards = rng.normal(30.0, 2.0, (64, 3)), rng.normal(size=(64, 3))

    def gradient(fuse, dtype):
        layer = keras.layers.BatchNormalization(dtype=dtype)
        model = keras.Sequential([keras.Input((3,)), layer])
        if fuse:
            fuse_normalisation(model)
        with tf.GradientTape() as tape:
            given = tf.constant(x, dtype)
            tape.watch(given)
            loss = tf.reduce_sum(model(given, training=True) * tf.constant(towards, dtype))
        return tape.gradient(loss, given).numpy()

    exact = gradient(False, "float64")
    ours, theirs = (np.abs(gradient(fuse, "float32") - exact).max() for fuse in (True, False))
    assert ours <= 1.5 * theirs


@pytest.mark.long
def test_compile_fuses_the_layers_and_files_do_not_tell(tmp_path):
    x = (np.random.default_rng(0).random((4, 8, 8, 1)) > 0.7).astype("float32")
    model = vae((8, 8, 1), "conv", (2, 3))
    plain = str(model.get_config())
    model.compile("adam")
    layers = [layer for layer in model.encoder.layers if type(layer) is keras.layers.BatchNormalization]
    assert len(layers) == 2
    assert all("call" in vars(layer) for layer in layers)
    assert str(model.get_config()) == plain
    model.fit(x, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert "call" in vars(loaded.encoder.get_layer(layers[0].name))  # it is compiled, as the saved one was
