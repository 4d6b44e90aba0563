"""A trained encoder, as the backbone of a classifier and with a linear probe."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import kvae
from kvae.applications.classifier import from_encoder, linear_probe


@pytest.fixture
def encoder():
    keras.utils.set_random_seed(0)
    return kvae.networks.mlp((8, 8, 1), 2, hidden=(16, 12), posterior=None)[0]


def fitted(model, digits, epochs=3):
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(digits.x_train, digits.y_train, epochs=epochs, verbose=0)
    return model


@pytest.mark.parametrize(("features", "width"), [("hidden", 12), ("code", 2)])
def test_it_starts_from_the_encoders_features(encoder, digits, features, width):
    model = from_encoder(encoder, 10, hidden=(7,), features=features)
    assert [layer.units for layer in model.layers[-2:]] == [7, 10]
    body = model.get_layer("features")
    assert body.output_shape == (None, width)
    x = digits.x_test[:4]
    source = encoder if features == "code" else keras.Model(encoder.inputs, encoder.layers[-1].input)
    np.testing.assert_allclose(body.predict(x, verbose=0), source.predict(x, verbose=0), atol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.long
def test_fine_tuning_leaves_the_autoencoders_own_encoder(encoder, digits):
    before = encoder.get_weights()
    model = fitted(from_encoder(encoder, 10), digits, epochs=1)
    assert all(np.any(a != b) for a, b in zip(before, model.get_layer("features").get_weights(), strict=False))
    assert all(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights(), strict=True))


@pytest.mark.long
def test_a_frozen_encoder_does_not_move_and_its_head_learns(encoder, digits):
    model = from_encoder(encoder, 10, frozen=True)
    assert sum(np.prod(w.shape) for w in model.trainable_variables) == 12 * 10 + 10
    untrained = fitted(model, digits, epochs=0).evaluate(digits.x_test, digits.y_test, verbose=0)[1]
    fitted(model, digits, epochs=5)
    for a, b in zip(encoder.get_weights(), model.get_layer("features").get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)
    assert model.evaluate(digits.x_test, digits.y_test, verbose=0)[1] > untrained + 0.1


def test_a_frozen_convolutional_encoder_keeps_its_moments(digits):
    encoder, _ = kvae.networks.conv((8, 8, 1), 2, hidden=(4,))
    model = fitted(from_encoder(encoder, 10, frozen=True), digits, epochs=1)
    for a, b in zip(encoder.get_weights(), model.get_layer("features").get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)


def test_it_is_saved_as_any_keras_model(encoder, digits, tmp_path):
    model = from_encoder(encoder, 10)
    model.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(
        loaded.predict(digits.x_test[:5], verbose=0), model.predict(digits.x_test[:5], verbose=0)
    )


@pytest.mark.long
def test_what_an_autoencoder_has_learned_helps_a_classifier(digits):
    keras.utils.set_random_seed(0)
    pair = kvae.networks.mlp((8, 8, 1), 4, hidden=(32,), posterior=None)
    accuracy = []
    for epochs in (0, 15):
        autoencoder = kvae.Autoencoder(*pair)
        autoencoder.compile(optimizer=keras.optimizers.Adam(3e-3))
        autoencoder.fit(digits.batches(batch_size=64, labels=False), epochs=epochs, verbose=0)
        model = fitted(from_encoder(autoencoder.encoder, 10, frozen=True, features="code"), digits, epochs=10)
        accuracy.append(model.evaluate(digits.x_test, digits.y_test, verbose=0)[1])
    assert accuracy[1] > accuracy[0] + 0.1


def test_the_linear_probe_is_a_logistic_regression_on_scaled_codes(digits):
    pca = kvae.baselines.PCA(5).fit(digits.x_train)
    z_train, z_test = (pca.encode(x) * [1, 10, 100, 1, 1] for x in (digits.x_train, digits.x_test))
    mean, std = z_train.mean(axis=0), z_train.std(axis=0)
    expected = LogisticRegression(max_iter=1000).fit((z_train - mean) / std, digits.y_train)
    accuracy = linear_probe(z_train, digits.y_train, z_test, digits.y_test)
    assert accuracy == pytest.approx(expected.score((z_test - mean) / std, digits.y_test))
    assert 0.5 < accuracy < 1
    shuffled = np.random.default_rng(0).permutation(digits.y_train)
    assert linear_probe(z_train, shuffled, z_test, digits.y_test) < 0.25


def test_bad_input_is_refused(encoder):
    conditional, _ = kvae.networks.mlp((8, 8, 1), 2, num_classes=3)
    shallow, _ = kvae.networks.mlp((8, 8, 1), 2, hidden=(), posterior=None)
    for call, message in [
        (
            lambda: from_encoder(conditional, 3),
            r"`encoder` must be a Functional keras.Model with images as its only input",
        ),
        (lambda: from_encoder("encoder", 3), r"`encoder` must be a Functional keras.Model"),
        (lambda: from_encoder(shallow, 3), r'`features` must be "code" for an encoder without a hidden layer'),
        (lambda: from_encoder(encoder, 3, features="logits"), r"`features` must be one of \['code', 'hidden'\]"),
        (lambda: from_encoder(encoder, 0), r"`num_classes` must be an integer of at least 1"),
        (lambda: from_encoder(encoder, 3, hidden=(-1,)), r"`hidden` must be an integer of at least 1"),
        (lambda: linear_probe(np.zeros((4, 2)), [0, 1, 0], np.zeros((4, 2)), [0] * 4), r"`y_train` must have one"),
        (lambda: linear_probe(np.zeros((4, 2)), [0] * 4, np.zeros((4, 3)), [0] * 4), r"`z_test` must have shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
