"""Shapes of the networks, and mismatched pairs."""

import re

import keras
import numpy as np
import pytest
from cases import QUICKLY
from keras import layers, ops

import kvae
from kvae.distributions import NegativeBinomial, Normal, Observed, Poisson
from kvae.networks import classifier, conv, mlp

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
    assert not any("Pooling" in type(layer).__name__ for layer in encoder.layers)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert layer.strides == (2, 2)
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.momentum == 0.9  # with Keras's 0.99, evaluation uses wrong moments for hundreds of steps


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 2)])
def test_conv_can_decode_zero_to_any_image(shape):
    """A bias by filter alone would make it one value, but for the edges, as long as all places have the same."""
    _, decoder = conv(shape, 2)
    rng = np.random.default_rng(0)
    for weight in decoder.weights:
        if weight.name == "bias":
            weight.assign(rng.normal(size=weight.shape))
    inside = ops.convert_to_numpy(decoder(np.zeros((1, 2), "float32")))[0, 6:-6]
    assert inside.std() > 0.01


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 20, 3), (9, 2)])
@pytest.mark.parametrize(("network", "hidden"), [("mlp", ()), ("mlp", (8, 4)), ("conv", (4, 8))])
def test_a_classifier_is_dense_or_the_encoder_of_conv(shape, network, hidden):
    judge = classifier(shape, 7, hidden, network=network)
    assert (judge.input_shape, judge.output_shape) == ((None, *shape), (None, 7))
    assert judge.layers[-1].activation is keras.activations.linear  # logits
    if network == "conv":
        body, encoder = judge.layers[:-1], conv(shape, 2, hidden)[0].layers[:-1]
        assert [type(layer) for layer in body] == [type(layer) for layer in encoder]
        assert [layer.output.shape for layer in body] == [layer.output.shape for layer in encoder]


def differ(judge, x, **kwargs):
    one, other = (ops.convert_to_numpy(judge(x, **kwargs)) for _ in range(2))
    return not np.array_equal(one, other)


@pytest.mark.parametrize(("network", "hidden", "count"), [("mlp", (8, 4), 2), ("conv", (4, 8), 1)])
def test_a_classifier_drops_units_in_training_alone(network, hidden, count, rng):
    judge = classifier((8, 8, 1), 3, hidden, network=network, dropout=0.5)
    drops = [layer.rate for layer in judge.layers if isinstance(layer, keras.layers.Dropout)]
    assert drops == [0.5] * count
    x = rng.random((4, 8, 8, 1), dtype="float32")
    assert not differ(judge, x, training=False)
    assert differ(judge, x, training=True)


def test_bad_arguments_of_a_classifier():
    with pytest.raises(ValueError, match=r"`dropout` must be .*Received: dropout=1"):
        classifier((8, 8, 1), 3, dropout=1.0)
    with pytest.raises(ValueError, match=r"`network` must be one of \['mlp', 'conv'\]. Received: 'ladder'"):
        classifier((8, 8, 1), 3, network="ladder")
    with pytest.raises(ValueError, match=r"\(height, width, channels\)"):
        classifier((8,), 3, network="conv")
    with pytest.raises(ValueError, match=r"`hidden` must be an integer of at least 1"):
        classifier((8, 8, 1), 3, (0,))


@pytest.mark.parametrize("factory", [mlp, conv])
def test_the_condition_changes_the_output(factory, rng):
    encoder, decoder = factory((8, 8, 1), 2, hidden=(8,), num_classes=2)
    x, z = rng.random((1, 8, 8, 1)).astype("float32"), np.zeros((1, 2), "float32")
    one, two = np.eye(2, dtype="float32")[:, None]
    for network, given in ((encoder, x), (decoder, z)):
        outputs = [keras.ops.convert_to_numpy(network([given, condition])) for condition in (one, two)]
        assert not np.allclose(*outputs)


@pytest.mark.parametrize("family", [Poisson(), NegativeBinomial(None), Observed(Poisson())])
def test_a_size_is_added_to_the_log_rates_alone(family, rng):
    encoder, decoder = mlp((4, 3), 2, hidden=(8,), num_classes=2, likelihood=family, size_factor=True)
    assert [x.shape for x in encoder.inputs[1:]] == [(None, 2), (None, 1)]
    z, y, log_size = (rng.normal(size=(5, n)).astype("float32") for n in (2, 2, 1))
    params, unit = (ops.convert_to_numpy(decoder([z, y, s])) for s in (log_size, 0 * log_size))
    expected = np.zeros((5, 4, 3 * family.num_parameters))
    expected[..., :3] = log_size[:, None]
    np.testing.assert_allclose(params - unit, expected, atol=1e-6)


def test_a_size_factor_needs_rates():
    with pytest.raises(ValueError, match=r"`size_factor` requires a likelihood of counts, .* Received: Bernoulli"):
        mlp((4,), 2, size_factor=True)


@pytest.mark.parametrize("shape", [(64, 2), (9, 1)])
def test_convolutions_along_time(shape, rng):
    encoder, decoder = conv(shape, 3, hidden=(4, 8), condition_shape=(shape[0], 2), num_classes=2)
    assert [x.shape[1:] for x in decoder.inputs] == [(3,), (2,), (shape[0], 2)]
    assert (encoder.output_shape, decoder.output_shape) == ((None, 6), (None, *shape))
    assert any(isinstance(layer, layers.Conv1DTranspose) for layer in decoder.layers)
    z = rng.normal(size=(1, 3)).astype("float32")
    y, series = np.zeros((1, 2), "float32"), rng.normal(size=(1, shape[0], 2)).astype("float32")
    drawn = [ops.convert_to_numpy(decoder([z, y, each])) for each in (series, -series)]
    assert not np.allclose(*drawn)
    with pytest.raises(ValueError, match=rf"`condition_shape` must be \({shape[0]}, channels\), or .* \(5, 2\)"):
        conv(shape, 3, condition_shape=(5, 2))


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
        (((8, 8, 1), 2, (4,), None, "normal", "cauchy"), r"`likelihood` must be one of \['bernoulli', 'categorical'"),
    ],
)
@pytest.mark.parametrize("factory", [mlp, conv])
def test_bad_arguments(factory, arguments, message):
    with pytest.raises(ValueError, match=message):
        factory(*arguments)


def test_conv_needs_an_image():
    with pytest.raises(ValueError, match=r"\(height, width, channels\)"):
        conv((8,), 2)
    with pytest.raises(ValueError, match=r"`hidden` must hold at least one"):
        conv((8, 8, 1), 2, hidden=())


def encoder_with(head):
    x = keras.Input((8, 8, 1))
    return keras.Model(x, head(layers.Dense(8, "relu")(layers.Flatten()(x))))


def decoder_with(head, channels=1):
    z = keras.Input((2,))
    return keras.Model(z, layers.Reshape((8, 8, channels))(head(layers.Dense(8, "relu")(z))))


def joined(mean, log_var, units=2, shape=None):
    """A head of two dense layers, with an activation each."""

    def head(h):
        parts = [layers.Dense(units, each)(h) for each in (mean, log_var)]
        return layers.Concatenate()([layers.Reshape(shape)(part) for part in parts] if shape else parts)

    return head


def ending(activation):
    return lambda h: activation(layers.Dense(64)(h))


BOUNDED = {  # a decoder's last layers, none of which can give every logit
    "sigmoid": lambda h: layers.Dense(64, "sigmoid")(h),
    "softmax": lambda h: layers.Dense(64, "softmax")(h),
    "tanh": lambda h: layers.Dense(64, "tanh")(h),
    "relu": lambda h: layers.Dense(64, "relu")(h),
    "softplus": lambda h: layers.Dense(64, "softplus")(h),
    "elu": lambda h: layers.Dense(64, "elu")(h),
    "log_sigmoid": lambda h: layers.Dense(64, "log_sigmoid")(h),
    "Activation": ending(layers.Activation("sigmoid")),
    "ReLU": ending(layers.ReLU()),
    "Softmax": ending(layers.Softmax()),
    "ops": ending(ops.sigmoid),
    "clip": ending(lambda h: ops.clip(h, 0.0, 1.0)),
    "rescaled": ending(lambda h: 0.9 * ops.sigmoid(h) + 0.05),
    "Lambda": ending(layers.Lambda(lambda h: ops.sigmoid(h))),
    "nested": lambda h: keras.Sequential([keras.Input((8,)), layers.Dense(64, "sigmoid")])(h),
    "conv": lambda h: layers.Conv2D(1, 3, padding="same", activation="sigmoid")(
        layers.Reshape((8, 8, 1))(layers.Dense(64)(h))
    ),
    "wrapper": lambda h: layers.TimeDistributed(layers.Dense(1, "sigmoid"))(
        layers.Reshape((64, 1))(layers.Dense(64)(h))
    ),
}
UNBOUNDED = {
    "leaky": ending(layers.LeakyReLU()),
    "wide tanh": ending(lambda h: 10.0 * ops.tanh(h)),
    "rescaled": lambda h: layers.Rescaling(20.0, -10.0)(layers.Dense(64, "sigmoid")(h)),
    "sum": lambda h: layers.Add()([layers.Dense(64, "relu")(h), layers.Dense(64)(h)]),
    "normalised": lambda h: layers.BatchNormalization()(layers.Dense(64, "relu")(h)),
    "learned": ending(layers.PReLU()),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_decoder_whose_last_activation_bounds_the_logits_is_refused(name):
    encoder, _ = mlp((8, 8, 1), 2, hidden=(4,))
    with pytest.raises(ValueError, match=r"`decoder` must not bound the logits .*drop the last activation"):
        kvae.VAE(encoder, decoder_with(BOUNDED[name]))


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_decoder_that_can_give_every_logit_is_accepted(name):
    kvae.VAE(mlp((8, 8, 1), 2, hidden=(4,))[0], decoder_with(UNBOUNDED[name]))


def test_an_activation_may_bound_means_but_no_logarithm_of_a_scale():
    encoder, decoder = mlp((8, 8, 1), 2, hidden=(4,))
    code = encoder_with(ending(ops.relu)), decoder_with(BOUNDED["sigmoid"])
    fine = joined("sigmoid", None, 64, (8, 8, 1))
    kvae.VAE(encoder, decoder_with(BOUNDED["sigmoid"]), likelihood="gaussian")
    kvae.VAE(encoder, decoder_with(fine, 2), likelihood=Normal())
    kvae.VAE(encoder_with(joined("tanh", None)), decoder)
    kvae.Autoencoder(encoder_with(lambda h: layers.Dense(2, "relu")(h)), code[1])
    both = decoder_with(lambda h: layers.Dense(128, "sigmoid")(h), 2)
    conditional = mlp((8, 8, 1), 2, hidden=(4,), num_classes=3)
    scale = keras.Sequential([keras.Input((3,)), layers.Dense(4, "softplus")])
    top = keras.Sequential([keras.Input((2,)), layers.Dense(4, "softplus")]), mlp((2,), 2, likelihood=Normal())[1]
    for build, message in (
        (lambda: kvae.VAE(encoder, both, likelihood=Normal()), "`decoder` must not bound the log_var .*sigmoid"),
        (lambda: kvae.VAE(encoder_with(joined(None, "softplus")), decoder), "`encoder` .*log_var.*Received: softplus"),
        (lambda: kvae.VAE(encoder_with(lambda h: layers.Dense(4, "tanh")(h)), decoder), "log_var from -1 to 1"),
        (lambda: kvae.VAE(encoder_with(joined(None, "relu")), decoder, posterior="laplace"), "log_scale"),
        (lambda: kvae.Autoencoder(*code, loss="cross_entropy"), "codes of shape|logits"),
        (lambda: kvae.CVAE(*conditional, num_classes=3, prior=scale), "`prior` must not bound the log_var"),
        (lambda: kvae.VAE(*mlp((8, 8, 1), 2), prior=kvae.priors.Hierarchical(*top)), "`prior` must not bound"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


def test_what_cannot_be_read_is_accepted():
    """A subclassed layer may do anything with its `activation`; its outputs are the doctor's to look at."""

    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.activation, self.dense = keras.activations.sigmoid, layers.Dense(64)

        def call(self, x):
            return self.dense(self.activation(x))

        def compute_output_shape(self, shape):
            return (*shape[:-1], 64)

    kvae.VAE(mlp((8, 8, 1), 2, hidden=(4,))[0], decoder_with(lambda h: Own()(h)))


def test_networks_with_several_outputs_and_the_cure(rng):
    x = keras.Input((8, 8, 1))
    z_mean, z_log_var = (layers.Dense(2)(layers.Flatten()(x)) for _ in range(2))
    encoder = keras.Model(x, [z_mean, z_log_var, z_mean + z_log_var])  # as keras.io's example
    _, decoder = mlp((8, 8, 1), 2, hidden=(4,))
    with pytest.raises(ValueError, match=r"`encoder` must have one output.*Received: 3 outputs") as caught:
        kvae.VAE(encoder, decoder)
    code = re.search(r"encoder = (.*)\. Received", str(caught.value))[1]
    z = eval(code, {"keras": keras, "encoder": encoder})
    images = rng.random((3, 8, 8, 1), dtype="float32")
    np.testing.assert_array_equal(kvae.VAE(z, decoder).posterior(images)[1], encoder(images)[1])
    with pytest.raises(ValueError, match=r"decoder = keras.Model\(decoder.input, decoder.outputs\[0\]\)"):
        kvae.VAE(z, keras.Model(decoder.input, [decoder.output, decoder.output]))


def test_networks_that_are_not_functional_and_the_line_that_wraps_them(rng):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, inputs):
            return self.dense(ops.concatenate([ops.reshape(inputs[0], (-1, 64)), inputs[1]], axis=-1))

    names = {"keras": keras, "image_shape": (8, 8, 1), "num_classes": 3}
    for network, conditional in ((keras.Sequential([layers.Flatten(), layers.Dense(4)]), False), (Own(), True)):
        _, decoder = mlp((8, 8, 1), 2, hidden=(4,), num_classes=3 if conditional else None)
        model = (lambda *pair: kvae.CVAE(*pair, num_classes=3)) if conditional else kvae.VAE
        with pytest.raises(ValueError, match="`encoder` must be a built Functional") as caught:
            model(network, decoder)
        exec(re.search(r"Model: (.*)\. Received", str(caught.value))[1], names | {"encoder": network}, found := {})
        wrapped = model(found["encoder"], decoder)
        images = rng.random((3, 8, 8, 1), dtype="float32")
        assert wrapped.encode(images, np.arange(3) if conditional else None).shape == (3, 2)


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


@pytest.mark.parametrize("factory", [mlp, conv])
def test_images_are_channels_last_whatever_keras_is_set_to(factory, rng):
    x = rng.random((2, 9, 8, 3), dtype="float32")
    keras.config.set_image_data_format("channels_first")
    try:
        networks = factory((9, 8, 3), 2, hidden=(4, 8), num_classes=2)
    finally:
        keras.config.set_image_data_format("channels_last")
    same = factory((9, 8, 3), 2, hidden=(4, 8), num_classes=2)
    z, y = np.zeros((2, 2), "float32"), np.eye(2, dtype="float32")
    for network, other, inputs in zip(networks, same, ([x, y], [z, y]), strict=True):
        other.set_weights(network.get_weights())
        one, two = (ops.convert_to_numpy(each(inputs)) for each in (network, other))
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("factory", [mlp, conv])
def test_channels_in_front_are_refused_where_they_are_plain(factory):
    for shape in ((3, 32, 32), (1, 28, 20), (4, 64, 64)):
        with pytest.raises(ValueError, match=r"use \(\d+, \d+, \d\), and images np.moveaxis"):
            factory(shape, 2)
    for shape in ((4, 4, 64), (1, 100, 8), (3, 5, 5)):  # a row of features, a series, a small image
        factory(shape, 2, hidden=(4,))


@pytest.mark.long
@pytest.mark.parametrize("floatx", ["float64", "float16"])
def test_another_float_type_of_keras(floatx, rng):
    """The networks compute in it, everything else in float32."""
    x = rng.random((8, 8, 8, 1), dtype="float32")
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)  # as in a process that has set the former before anything else
    try:
        for build in (
            lambda: kvae.VAE(*conv((8, 8, 1), 2, hidden=(4,)), seed=0),
            lambda: kvae.VAE(*mlp((8, 8, 1), 2, (4,)), prior="vamp", seed=0),
            lambda: kvae.Autoencoder(*mlp((8, 8, 1), 2, (4,), posterior=None), seed=0),
        ):
            model = build()
            model.compile(keras.optimizers.Adam(1e-3), **QUICKLY)
            history = model.fit(x, epochs=1, batch_size=4, verbose=0).history
            assert model.encoder.dtype == floatx
            assert model.reconstruct(x).dtype == "float32"
            assert np.isfinite(history["loss"]).all()
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def test_flat_features_decode_to_areas_without_a_grid():
    """Amplitude at the stride's periods, 2 and 4 pixels: weights of a transposed convolution alone draw a grid."""
    keras.utils.set_random_seed(0)
    _, decoder = conv((32, 32, 3), 4)
    dense = next(layer for layer in decoder.layers if isinstance(layer, layers.Dense))
    kernel = np.random.default_rng(0).normal(size=(4, 1, 64)) * np.ones((1, 64, 1))  # equal at each of the 8×8 places
    dense.kernel.assign(kernel.reshape(4, -1))
    z = np.random.default_rng(1).normal(size=(16, 4)).astype("float32")

    def amplitude():
        images = ops.convert_to_numpy(decoder(z))[:, 8:24, 8:24]  # away from the edges
        spectrum = np.abs(np.fft.fft2(images, axes=(1, 2))) / 256
        assert spectrum[:, 0, 0].mean() > 0.01
        periods = np.ix_([0, 4, 8, 12], [0, 4, 8, 12])
        return spectrum.transpose(1, 2, 0, 3)[periods].reshape(16, -1)[1:].max()

    assert amplitude() < 1e-5
    for layer in decoder.layers:  # the same decoder without the averages
        if isinstance(layer, layers.AveragePooling2D):
            layer.call = lambda inputs: inputs
    assert amplitude() > 0.01
