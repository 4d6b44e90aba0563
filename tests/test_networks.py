"""Shapes of the networks, and mismatched pairs."""

import keras
import numpy as np
import pytest

import kvae
from kvae.distributions import Normal
from kvae.networks import conv, mlp

SHAPES = [(8, 8, 1), (28, 28, 1), (28, 20, 1), (32, 32, 3), (64, 64, 3), (9, 7, 2)]


@pytest.mark.parametrize("factory", [mlp, conv])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(factory, shape):
    encoder, decoder = factory(shape, 3, hidden=(4, 8, 4))
    assert encoder.output_shape == (None, 6)
    assert decoder.output_shape == (None, *shape)


@pytest.mark.parametrize("factory", [mlp, conv])
def test_likelihood_and_condition_set_the_widths(factory):
    encoder, decoder = factory((28, 20, 3), 5, hidden=(4,), num_classes=7, likelihood=Normal())
    assert [x.shape for x in encoder.inputs] == [(None, 28, 20, 3), (None, 7)]
    assert [x.shape for x in decoder.inputs] == [(None, 5), (None, 7)]
    assert decoder.output_shape == (None, 28, 20, 6)


def test_conv_follows_dcgan():
    encoder, decoder = conv((28, 28, 1), 2)
    kinds = {type(layer).__name__ for network in (encoder, decoder) for layer in network.layers}
    assert {"Conv2D", "Conv2DTranspose", "BatchNormalization", "Activation"} <= kinds
    assert not any("Pooling" in kind for kind in kinds)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert layer.strides == (2, 2)


@pytest.mark.parametrize("factory", [mlp, conv])
def test_the_condition_changes_the_output(factory, rng):
    encoder, decoder = factory((8, 8, 1), 2, hidden=(8,), num_classes=2)
    x, z = rng.random((1, 8, 8, 1)).astype("float32"), np.zeros((1, 2), "float32")
    one, two = np.eye(2, dtype="float32")[:, None]
    assert not np.allclose(encoder([x, one]), encoder([x, two]))
    assert not np.allclose(decoder([z, one]), decoder([z, two]))


def test_an_own_pair_works():
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(6)])
    decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    assert kvae.VAE(encoder, decoder).generate(2).shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8, 8, 1), 0), r"`latent_dim` must be an integer of at least 1. Received: 0"),
        (((8, 0, 1), 2), r"`image_shape` must be an integer of at least 1. Received: 0"),
        (((8, 8, 1), 2.5), r"`latent_dim` must be an integer"),
        (((8, 8, 1), 2, (0,)), r"`hidden` must be an integer of at least 1"),
        (((8, 8, 1), 2, (4,), 0), r"`num_classes` must be an integer of at least 1"),
        (((8, 8, 1), 2, (4,), None, "normale"), r"`posterior` must be one of .*'normal'"),
        (((8, 8, 1), 2, (4,), None, "normal", "poisson"), r"`likelihood` must be one of \['bernoulli', 'gaussian'\]"),
    ],
)
@pytest.mark.parametrize("factory", [mlp, conv])
def test_bad_arguments(factory, arguments, message):
    with pytest.raises(ValueError, match=message):
        factory(*arguments)


def test_conv_needs_an_image():
    with pytest.raises(ValueError, match=r"\(height, width, channels\)"):
        conv((8, 8), 2)
    with pytest.raises(ValueError, match=r"`hidden` must hold at least one"):
        conv((8, 8, 1), 2, hidden=())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: kvae.VAE(mlp((8, 8, 1), 3)[0], mlp((8, 8, 1), 2)[1]),
            r"decoder takes codes of shape \(2,\).*\(None, 6\)",
        ),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2, likelihood=Normal())), r"2\) .*same likelihood|same likelihood"),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2), likelihood=Normal()), r"`decoder` must give \(8, 8, 2\)"),
        (lambda: kvae.VAE(mlp((8, 8, 1), 2)[0], mlp((9, 9, 1), 2)[1]), r"`decoder` must give \(8, 8, 1\)"),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2, num_classes=3)), r"1 input in this.*use CVAE"),
        (lambda: kvae.CVAE(*mlp((8, 8, 1), 2), num_classes=3), r"2 inputs or more.*num_classes="),
        (lambda: kvae.CVAE(*mlp((8, 8, 1), 2, num_classes=4), num_classes=3), r"same num_classes.*num_classes=3"),
        (
            lambda: kvae.CVAE(mlp((8, 8, 1), 2, num_classes=4)[0], mlp((8, 8, 1), 2, num_classes=3)[1]),
            r"`encoder` and `decoder` must take the same condition",
        ),
        (lambda: kvae.VAE(keras.Sequential([keras.layers.Dense(4)]), None), r"`encoder` must be a built Functional"),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2), bound="ebo"), r"`bound` must be one of \['elbo'"),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2), beta=-1), r"`beta` must be a finite number of at least 0"),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2), num_samples=0), r"`num_samples` must be an integer of at least 1"),
        (lambda: kvae.CVAE(*mlp((8, 8, 1), 2, num_classes=3), num_classes=3, prior="flat"), r"`prior` must be"),
        (
            lambda: kvae.CVAE(*mlp((8, 8, 1), 2, num_classes=3), num_classes=3, prior=mlp((3,), 3)[0]),
            r"`prior` must give parameters of shape \(4,\)",
        ),
    ],
)
def test_parts_that_do_not_fit(build, message):
    with pytest.raises(ValueError, match=message):
        build()
