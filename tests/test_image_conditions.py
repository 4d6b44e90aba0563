"""Conditions that are images, or a label and an image: networks, checks on every route, pictures and applications."""

import keras
import numpy as np
import pytest

import kvae
from kvae import applications, plots
from kvae.models import conditions

RNG = np.random.default_rng(0)
X = RNG.random((12, 8, 8, 1), dtype="float32")
MASKED = X * (np.arange(8) < 4)[:, None, None]  # the lower half is hidden
LABELS = RNG.integers(3, size=12)


def build(num_classes=None, factory=kvae.networks.mlp, **kwargs):
    pair = factory((8, 8, 1), 2, hidden=(6,), num_classes=num_classes, condition_shape=(8, 8, 1))
    classes = None if num_classes is None else (num_classes, None)
    model = kvae.CVAE(*pair, num_classes=classes, seed=0, **kwargs)
    model.compile(run_eagerly=keras.backend.backend() != "jax")
    return model


@pytest.fixture(scope="module")
def of_image():
    return build()


@pytest.fixture(scope="module")
def of_both():
    return build(num_classes=3)


@pytest.fixture(scope="module", params=["image", "label and image"])
def pair(request, of_image, of_both):
    """A model and conditions for it."""
    return (of_image, MASKED) if request.param == "image" else (of_both, (LABELS, MASKED))


@pytest.mark.parametrize("factory", [kvae.networks.mlp, kvae.networks.conv])
@pytest.mark.parametrize(
    ("num_classes", "shape", "inputs"),
    [
        (None, (8, 8, 1), [(8, 8, 1)]),
        (None, (5, 3, 2), [(5, 3, 2)]),  # as for super-resolution
        (3, (8, 8, 2), [(3,), (8, 8, 2)]),
        (3, (4,), [(3,), (4,)]),
    ],
)
def test_factories_build_networks_that_see_every_condition(factory, num_classes, shape, inputs):
    kwargs = {"num_classes": num_classes, "condition_shape": shape, "activation": "tanh"}
    pair = factory((8, 8, 1), 2, hidden=(6, 4), **kwargs)
    for network in pair:
        assert list(kvae.networks.condition_shapes(network)) == inputs
        given = [np.zeros((2, *each.shape[1:]), "float32") for each in network.inputs]
        before = keras.ops.convert_to_numpy(network(given))
        for i in range(1, len(given)):  # examples that differ in one condition
            given[i][1] = 1.0
            after = keras.ops.convert_to_numpy(network(given))
            np.testing.assert_allclose(after[0], before[0], atol=1e-6)
            assert np.abs(after[1] - after[0]).max() > 1e-3
            given[i][1] = 0.0


def test_a_convolutional_model_of_an_image_of_another_size_is_saved_and_loaded(tmp_path):
    pair = kvae.networks.conv((8, 8, 1), 2, hidden=(4, 4), num_classes=3, condition_shape=(5, 3, 2))
    model, y = (
        kvae.CVAE(*pair, num_classes=(3, None), prior="learned", seed=0),
        (LABELS, MASKED[:, :5, :3].repeat(2, -1)),
    )
    model.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.elbo(X, y, seed=0), model.elbo(X, y, seed=0))


@pytest.mark.parametrize(
    ("factory", "shape", "message"),
    [
        (kvae.networks.mlp, 8, r"`condition_shape` must be a tuple of integers, such as \(28, 28, 1\). Received: 8"),
        (kvae.networks.mlp, (), "`condition_shape` must be a tuple of integers"),
        (kvae.networks.mlp, (8, 0, 1), "`condition_shape` must be an integer of at least 1"),
        (kvae.networks.mlp, (3, 8, 8), r"`condition_shape` must be \(height, width, channels\): use \(8, 8, 3\)"),
        (kvae.networks.conv, (8, 8), r"`condition_shape` must be \(height, width, channels\), or \(length,\)"),
    ],
)
def test_shapes_that_are_none_are_refused(factory, shape, message):
    with pytest.raises(ValueError, match=message):
        factory((8, 8, 1), 2, condition_shape=shape)


BAD = {
    "another size": (MASKED[:, :7], r"`labels` must have shape \(n, 8, 8, 1\). Received: shape \(12, 7, 8, 1\)"),
    "another channel": (np.repeat(MASKED, 3, -1), r"`labels` must have shape \(n, 8, 8, 1\)"),
    "no channel": (MASKED[..., 0], r"add the channel axis with labels\[..., None\]"),
    "class labels": (LABELS, r"`labels` must have shape \(n, 8, 8, 1\). Received: shape \(12,\)"),
    "bytes as floats": (np.rint(255 * MASKED).astype("float32"), r"divide bytes by 255. .*float32, values from 0"),
    "bytes": ((255 * MASKED).astype("uint8"), r"floats, or of 0 and 1, .*divide bytes by 255. .*uint8, values from 0"),
    "strings": (np.full(X.shape, "a"), "`labels` must contain numbers. Received: dtype <U1"),
    "complex": (MASKED.astype(complex), "`labels` must contain numbers. Received: dtype complex128"),
    "not a number": (np.where(X > 0.5, np.nan, X), "`labels` must be finite"),
    "beyond float32": (1e300 * X.astype("float64"), "`labels` must be finite in float32: rescale. Received: values fr"),
    "missing": (None, r"`labels` is missing: this model needs an array of shape \(n, 8, 8, 1\)"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["fit", "elbo", "generate"])
def test_bad_images_are_refused_in_one_line(of_image, verb, name):
    y, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        of_image.generate(labels=y) if verb == "generate" else getattr(of_image, verb)(X, y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ((MASKED, LABELS), r"`labels\[0\]` must have one number per example, shape \(n,\)"),
        ((LABELS + 1, MASKED), r"`labels\[0\]` must be in 0..2"),
        ((LABELS, MASKED[:3]), r"`labels\[1\]` must have one entry per example: 12\. Received: 3"),
        (MASKED, r"must be a tuple of 2 conditions: integers \(n,\), \(n, 8, 8, 1\). Received: ndarray"),
    ],
)
def test_bad_tuples_are_refused_in_one_line(of_both, y, message):
    for call in (of_both.fit, of_both.elbo):
        with pytest.raises(ValueError, match=message):
            call(X, y)


@pytest.mark.parametrize("name", ["bytes", "strings", "complex", "beyond float32"])
@pytest.mark.parametrize("first", [True, False], ids=["in the first batch", "in the second"])
def test_bad_images_of_a_dataset_are_refused_in_one_line(of_image, name, first):
    tf = pytest.importorskip("tensorflow")
    y, message = BAD[name]
    if not first and y.dtype.kind != "U":
        y = np.where(np.arange(12)[:, None, None, None] < 6, np.zeros((), y.dtype), y)
    if name in ("strings", "complex"):
        message = "The dataset must give numbers. Received: dtypes "
    with pytest.raises(ValueError, match=message) as error:
        of_image.fit(tf.data.Dataset.from_tensor_slices((X, y)).batch(6), verbose=0)
    assert "\n" not in str(error.value)


def test_images_of_zeros_and_ones_may_be_integers(of_image):
    y = (MASKED > 0.5).astype("uint8")
    expected = of_image.elbo(X, y.astype("float32"), seed=0)
    for same in (y, y.astype(bool)):
        np.testing.assert_array_equal(of_image.elbo(X, same, seed=0), expected)


def test_callbacks_draw_every_condition(pair, tmp_path):
    model, y = pair
    first = conditions.take(y, 0)
    for picture in (
        kvae.callbacks.SampleGrid(tmp_path, labels=conditions.take(y, slice(4))),
        kvae.callbacks.ReconstructionGrid(tmp_path, X, y),
        kvae.callbacks.LatentScatter(tmp_path, X, y),
        kvae.callbacks.LatentManifold(tmp_path, first, n=2),
        kvae.callbacks.LatentTraversal(tmp_path, X, y),
        kvae.callbacks.PCABaseline(tmp_path, X, X, y),
    ):
        picture.set_model(model)
        picture.on_train_begin()
        assert picture.figure(1).axes
    with pytest.raises(ValueError, match=r"`y` must have one entry per example: 12\. Received: 3"):
        kvae.callbacks.LatentScatter(tmp_path, X, conditions.take(y, slice(3)))


def test_pictures_are_drawn_under_a_condition(pair):
    model, y = pair
    first, second = conditions.take(y, 0), conditions.take(y, 1)
    assert plots.traversal(model, y=first, values=[0]).axes
    assert plots.latent_manifold(model, n=2, label=first).axes
    for end, rows in ((first, 1), (second, 2)):
        image = plots.interpolation(model, X[0], X[1], first, end, steps=3).axes[0].images[0].get_array()
        assert round(image.shape[0] / 8) == rows


def test_the_condition_of_a_compressed_file_is_an_image(of_image, of_both):
    """At a fine step the codes are not rounded, so the file decodes to the reconstructions."""
    for y in (MASKED, (MASKED > 0.5).astype("uint8")):
        file = applications.compress(of_image, X, 1e-4, y)
        np.testing.assert_allclose(applications.decompress(of_image, file), of_image.reconstruct(X, y), atol=1e-3)
    with pytest.raises(ValueError, match=r"`y` must be one condition, as a file stores it\. Received: 2"):
        applications.compress(of_both, X, 0.1, (LABELS, MASKED))
