"""Invalid data are rejected with one line that says what was expected, how to fix it and what was received."""

import keras
import numpy as np
import pytest

import kvae


@pytest.fixture(scope="module")
def vae():
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,)))
    model.compile()
    return model


@pytest.fixture(scope="module")
def gaussian():
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), likelihood="gaussian"), likelihood="gaussian")
    model.compile()
    return model


@pytest.fixture(scope="module")
def cvae():
    model = kvae.CVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), num_classes=3), num_classes=3)
    model.compile()
    return model


X = np.random.default_rng(0).random((6, 8, 8, 1)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2])


def with_value(value):
    x = X.copy()
    x[2, 3, 3, 0] = value
    return x


BAD_IMAGES = {
    "integers 0..255": (
        (X * 255).astype("uint8"),
        r"\[0, 1\] for the Bernoulli.*divide by 255.*uint8 values from 0",
    ),
    "above one": (with_value(1.5), r"\[0, 1\].*Received: float32 values from .* to 1.5"),
    "negative": (with_value(-0.5), r'likelihood="gaussian".*from -0.5'),
    "nan": (with_value(np.nan), r"must be finite.*distributions.Observed.*1 of 6 examples, the first at index 2"),
    "infinity": (with_value(np.inf), r"must be finite.*1 of 6"),
    "no channel": (X[..., 0], r"shape \(n, 8, 8, 1\): add the channel axis with .*x\[..., None\].*\(6, 8, 8\)"),
    "no batch": (X[0], r"add the batch axis with .*x\[None\]"),
    "another size": (np.zeros((6, 9, 9, 1)), r"shape \(n, 8, 8, 1\). Received: shape \(6, 9, 9, 1\)"),
    "empty": (X[:0], r"at least one example"),
    "strings": (np.full((6, 8, 8, 1), "a"), r"must contain numbers"),
    "several shapes": ([*X, X[0, :5]], r"examples of one shape, \(8, 8, 1\): pad or cut them"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict", "encode", "reconstruct", "elbo", "posterior"])
def test_images(vae, verb, name):
    x, message = BAD_IMAGES[name]
    with pytest.raises(ValueError, match=message) as caught:
        getattr(vae, verb)(x)
    assert "\n" not in str(caught.value)


def test_validation_images(vae):
    with pytest.raises(ValueError, match=r"`validation x` must be finite"):
        vae.fit(X, validation_data=(with_value(np.nan),))


def test_a_gaussian_takes_any_finite_value(gaussian):
    gaussian.evaluate(with_value(-3.0), verbose=0)
    with pytest.raises(ValueError, match="must be finite"):
        gaussian.evaluate(with_value(np.nan), verbose=0)


BAD_LABELS = {
    "missing": (None, r"`labels` is missing: .*0..2"),
    "negative": (Y - 1, r"must be in 0..2 for num_classes=3. Received: values from -1 to 1"),
    "too large": (Y + 1, r"must be in 0..2.*from 1 to 3"),
    "floats": (Y.astype("float32"), r"must be integers: use .astype\(int\). Received: dtype float32"),
    "one-hot": (np.eye(3)[Y], r"one integer per example.*np.argmax.*\(6, 3\)"),
    "another length": (Y[:4], r"one entry per example: 6. Received: 4"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
@pytest.mark.parametrize("verb", ["fit", "evaluate", "encode", "reconstruct", "elbo"])
def test_labels(cvae, verb, name):
    y, message = BAD_LABELS[name]
    with pytest.raises(ValueError, match=message):
        getattr(cvae, verb)(X, y)


@pytest.mark.parametrize("name", ["missing", "negative", "too large", "floats", "one-hot"])
def test_labels_to_generate(cvae, name):
    y, message = BAD_LABELS[name]
    with pytest.raises(ValueError, match=message):
        cvae.generate(labels=y)


def test_attributes():
    model = kvae.CVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), num_classes=4))
    with pytest.raises(ValueError, match=r"needs an array of shape \(n, 4\)"):
        model.encode(X)
    with pytest.raises(ValueError, match=r"`labels` must have shape \(n, 4\)"):
        model.encode(X, np.zeros((6, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        model.encode(X, np.full((6, 4), np.nan))


@pytest.mark.parametrize("seed", [True, -1, 2**32, 0.5, "0"])
def test_seeds(vae, seed):
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(8,))
    for make in (
        lambda: kvae.VAE(*pair, seed=seed),
        lambda: vae.generate(2, seed=seed),
        lambda: vae.elbo(X, seed=seed),
        lambda: kvae.evaluation.log_likelihood(vae, X, 2, seed=seed),
        lambda: kvae.toy.moons(5, seed=seed),
        lambda: kvae.load_data("digits", binarization="static", seed=seed),
    ):
        with pytest.raises(ValueError, match=r"`seed` must be an integer from 0 to 4294967295, or None. Received: "):
            make()


def test_numpys_integers_are_integers(vae, tmp_path):
    pair = kvae.networks.mlp((8, 8, 1), np.int64(2), hidden=(np.int64(8),))
    model = kvae.VAE(*pair, beta=np.float32(4), num_samples=np.int32(2), seed=np.int64(3))
    model.save(tmp_path / "numbers.keras")
    config = kvae.load_model(tmp_path / "numbers.keras").get_config()
    assert [config[name] for name in ("beta", "num_samples", "seed")] == [4.0, 2, 3]
    np.testing.assert_array_equal(vae.generate(np.int64(2), seed=np.uint8(5)), vae.generate(2, seed=5))


@pytest.mark.parametrize("n", [0, -1, 2.5, True, None])
def test_counts(vae, n):
    with pytest.raises(ValueError, match="`n` must be an integer of at least 1"):
        vae.generate(n)


@pytest.mark.parametrize("num_samples", [0, -1, 2.5, True, None])
def test_numbers_of_samples(num_samples):
    pair = kvae.networks.mlp((8, 8, 1), 2, hidden=(8,))
    for bound in kvae.bounds.BOUNDS:
        with pytest.raises(ValueError, match=r"`num_samples` must be an integer of at least 1. Received: "):
            kvae.VAE(*pair, bound=bound, num_samples=num_samples)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("bound", "iwae", r"`bound` must be one of \['elbo', 'importance_weighted', 'renyi'\] or a kvae Bound"),
        ("bound", kvae.bounds.ELBO, "`bound` must be one of"),
        (
            "posterior",
            "cauchy",
            r"`posterior` must be one of \['categorical', 'exponential', .* or a kvae Distribution",
        ),
        ("prior", "flat", r"`prior` must be one of \['mixture', 'standard', 'vamp'\] or a kvae Prior"),
        ("beta", float("nan"), "`beta` must be a finite number of at least 0. Received: beta=nan"),
    ],
)
def test_parts_of_a_model(argument, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,)), **{argument: value})
    assert "\n" not in str(caught.value)


def test_no_labels_at_all(cvae):
    with pytest.raises(ValueError, match="at least one label"):
        cvae.generate(labels=np.array([], int))


def test_codes(vae):
    with pytest.raises(ValueError, match=r"`z` must have shape \(n, 2\)"):
        vae.decode(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`num_samples` must be an integer of at least 1"):
        vae.elbo(X, num_samples=0)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ({"x": X}, r"must give images, \(images, labels\).*Received: \(dict\)"),
        (((X, X), np.zeros(len(X))), r"must give images.*Received: \(tuple, TensorSpec\)"),
        ((X, X, X, X), r"must give images.*TensorSpec, TensorSpec, TensorSpec, TensorSpec\)"),
        ((X, np.zeros((len(X), 2, 3))), r"`labels` must have one number .* \(n,\). Received: shape \(None, 2, 3\)"),
        ((255 * X).astype("uint8"), r"\[0, 1\] for the Bernoulli.*divide by 255.*uint8 values from"),
        (X[:0], "at least one batch. Received: an empty one"),
    ],
)
def test_a_dataset_of_another_structure(cvae, vae, element, message):
    import tensorflow as tf

    model = cvae if isinstance(element, tuple) and len(element) == 2 else vae
    with pytest.raises(ValueError, match=message) as caught:
        model.fit(tf.data.Dataset.from_tensor_slices(element).batch(2))
    assert "\n" not in str(caught.value)


def test_datasets(vae, cvae):
    import tensorflow as tf

    flat = tf.data.Dataset.from_tensor_slices(X)
    with pytest.raises(
        ValueError, match=r"shape \(n, 8, 8, 1\): add .*, or batch the dataset. Received: shape \(8, 8, 1\)"
    ):
        vae.fit(flat)
    with pytest.raises(ValueError, match="`labels` is missing"):
        cvae.fit(flat.batch(2))
    with pytest.raises(ValueError, match="drop `loss`"):
        kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2)).compile(loss="mse")
    with pytest.raises(ValueError, match=r"called on \(images, labels\)"):
        cvae(X)
    with pytest.raises(ValueError, match=r"sample_weight` must have one entry per example: 6. Received: 5"):
        vae.fit(X, sample_weight=np.ones(5))


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m", "m.KERAS", "m.weights.h5"])
def test_models_are_saved_only_to_files_that_load(tmp_path, vae, name):
    with pytest.raises(ValueError, match=rf"^`filepath` must end in .keras, .*Received: .*{name}$"):
        vae.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_networks_that_share_a_layer_are_not_saved_to_a_file_that_does_not_load(tmp_path):
    shared = keras.layers.Dense(4, name="features")
    networks = []
    for shape, outputs in (((8, 8, 1), 4), ((2,), 64)):
        inputs = [keras.Input(shape), keras.Input((8, 8, 1))]
        parts = [keras.layers.Flatten()(inputs[0]), shared(keras.layers.Flatten()(inputs[1]))]
        output = keras.layers.Dense(outputs)(keras.layers.Concatenate()(parts))
        networks.append(keras.Model(inputs, keras.layers.Reshape((8, 8, 1))(output) if outputs == 64 else output))
    model = kvae.CVAE(*networks)
    with pytest.raises(ValueError, match=r"^A model whose networks share layers can't .*Received: features/kernel in "):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_model(tmp_path, vae):
    good = tmp_path / "good.keras"
    vae.save(good)
    whole = good.read_bytes()

    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    for path, message in {
        tmp_path / "absent.keras": "which does not exist",
        tmp_path: "a folder",
        file("text.keras", b"hello"): "is not a .keras file, or is truncated",
        file("cut.keras", whole[: len(whole) // 2]): "is not a .keras file, or is truncated",
        file("zeros.keras", whole[:500] + bytes(len(whole) - 1500) + whole[-1000:]): "damaged",
        file("renamed.h5", whole): "rename it to end in .keras",
        tmp_path / "other.keras": "holds a Sequential",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            kvae.load_model(path)
        assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(kvae.load_model(good).generate(2, seed=0), vae.generate(2, seed=0))
