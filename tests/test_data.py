"""Data sets, files, binarization and the pipeline."""

import gzip

import numpy as np
import pytest
import scipy.stats
from conftest import SHARED_DATA
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kvae
from kvae.data import binarize, mnist_small, pipeline
from kvae.data.image_folder import fitted
from kvae.io import npz
from kvae.training.pipelines import smallest


def test_digits_are_scikit_learns(digits):
    assert digits.image_shape == (8, 8, 1)
    assert (digits.num_classes, digits.name) == (10, "digits")
    assert (digits.x_train.dtype, digits.y_train.dtype) == ("float32", "int64")
    assert len(digits.x_train) == 1437
    assert len(digits.x_test) == 360
    ours = np.sort(np.concatenate([digits.x_train, digits.x_test]).reshape(-1, 64) @ np.arange(64))
    np.testing.assert_allclose(ours, np.sort(load_digits().data / 16 @ np.arange(64)), rtol=1e-5)


def test_mnist_small_needs_no_network_and_has_equal_classes():
    data = kvae.load_data("mnist_small")
    assert (data.image_shape, data.num_classes, data.name) == ((28, 28, 1), 10, "mnist_small")
    assert (data.x_train.dtype, data.y_train.dtype) == ("float32", "int64")
    assert np.bincount(data.y_train).tolist() == [800] * 10
    assert np.bincount(data.y_test).tolist() == [200] * 10
    np.testing.assert_allclose(np.unique(data.x_test), np.arange(16) / 15, rtol=1e-6)
    assert mnist_small.FILE.stat().st_size < 1e6


@pytest.mark.long
def test_mnist_small_is_mnist_in_16_grey_levels(tmp_path):
    """The file can be made again, and its test images are test images of MNIST."""
    source = SHARED_DATA / "datasets" / "mnist.npz"
    if not source.is_file():
        pytest.skip("MNIST is not there: ../shared/data/datasets/mnist.npz")
    mnist_small.make(source, tmp_path / "again.npz")
    again, packaged = npz.read(tmp_path / "again.npz"), npz.read(mnist_small.FILE)
    assert again.keys() == packaged.keys()
    for name, array in packaged.items():
        np.testing.assert_array_equal(again[name], array)
    whole, (_, _, x_test, y_test) = npz.read(source), mnist_small.split()
    rounded = np.round(whole["x_test"] / 17).astype("uint8") * 17
    labels = {image.tobytes(): label for image, label in zip(rounded, whole["y_test"], strict=True)}
    assert [labels[image.tobytes()] for image in x_test] == y_test.tolist()


def test_the_split_is_fixed_and_stratified(digits):
    again = kvae.load_data("digits", seed=5)
    np.testing.assert_array_equal(again.x_test, digits.x_test)
    counts = np.bincount(digits.y_test) / np.bincount(digits.y_train)
    np.testing.assert_allclose(counts, 0.25, atol=0.02)


def test_the_split_is_that_of_seed_0(digits, tmp_path, rng):
    """As documented, so that results of several versions are about the same images."""
    source = load_digits()
    train, test = train_test_split(np.arange(1797), test_size=0.2, random_state=0, stratify=source.target)
    np.testing.assert_array_equal(digits.y_test, source.target[test])
    np.testing.assert_array_equal(digits.y_train, source.target[train])
    np.testing.assert_allclose(digits.x_train, source.images[train, ..., None] / 16, rtol=1e-6)
    images = rng.integers(256, size=(10, 2, 2), dtype="uint8")
    data = kvae.load_data(save(tmp_path / "own.npz", images=images))
    _, test = train_test_split(np.arange(10), test_size=0.2, random_state=0)
    np.testing.assert_allclose(data.x_test, images[test, ..., None] / 255, rtol=1e-6)


def test_static_binarization_is_drawn_once_from_the_seed(digits):
    data = kvae.load_data("digits", binarization="static", seed=1)
    assert set(np.unique(data.x_train)) == {0.0, 1.0}
    np.testing.assert_array_equal(data.x_train, kvae.load_data("digits", binarization="static", seed=1).x_train)
    assert not np.array_equal(data.x_train, kvae.load_data("digits", binarization="static", seed=2).x_train)


def test_binarize_draws_bernoulli_pixels(rng):
    grey = np.full(20_000, 0.3, "float32")
    assert scipy.stats.binomtest(int(binarize(grey, rng).sum()), 20_000, 0.3).pvalue > 1e-3
    assert binarize(np.zeros(100, "float32"), rng).sum() == 0
    assert binarize(np.ones(100, "float32"), rng).sum() == 100


def collect(dataset):
    parts = [[np.asarray(part) for part in element] for element in dataset]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def test_training_batches_hold_each_image_once_in_a_new_order(digits):
    batches = digits.batches(batch_size=100)
    (x, y), (x2, _) = collect(batches), collect(batches)
    assert [len(b[0]) for b in batches][-1] == 37
    assert not np.array_equal(x, x2)  # each epoch has a different order
    order = np.lexsort(x.reshape(len(x), -1).T)
    wanted = np.lexsort(digits.x_train.reshape(len(x), -1).T)
    np.testing.assert_array_equal(x[order], digits.x_train[wanted])
    np.testing.assert_array_equal(y[order], digits.y_train[wanted])
    x_again, _ = collect(digits.batches(batch_size=100))
    np.testing.assert_array_equal(x, x_again)  # the order depends on the seed
    x_other, _ = collect(digits.batches(batch_size=100, seed=1))
    assert not np.array_equal(x, x_other)


def test_an_epoch_is_resumed_by_its_number(digits):
    one = digits.batches(batch_size=500)
    (_, second) = [collect(one)[1] for _ in range(2)]
    np.testing.assert_array_equal(collect(digits.batches(batch_size=500, first_epoch=1))[1], second)


def test_batches_without_labels_are_images_alone(digits):
    assert digits.batches(labels=False).element_spec.shape[1:] == (8, 8, 1)
    assert [spec.dtype.name for spec in digits.batches().element_spec] == ["float32", "int64"]


def test_every_batch_is_a_multiple_where_devices_need_it():
    x = np.arange(23, dtype="float32")[:, None]
    sizes = [len(batch) for batch in pipeline(x, batch_size=8, multiple=4)]
    assert sizes == [8, 8, 4]
    whole = np.concatenate([np.asarray(batch) for batch in pipeline(x, batch_size=8, multiple=4)])
    assert len(np.unique(whole)) == 20


def test_grey_values_come_back_as_they_were(rng):
    x = rng.integers(256, size=(9, 2, 2, 1)).astype("float32") / np.float32(255)  # kept as bytes
    batches = [np.asarray(batch) for batch in pipeline(x, batch_size=4, shuffle=False)]
    np.testing.assert_array_equal(np.concatenate(batches), x)


def test_test_batches_keep_their_order(digits):
    x, y = collect(digits.batches("test", batch_size=100))
    np.testing.assert_array_equal(x, digits.x_test)
    np.testing.assert_array_equal(y, digits.y_test)


def test_dynamic_binarization_is_fresh_at_each_use_and_repeats_from_the_seed():
    grey = np.full((3000, 4, 4, 1), 0.3, "float32")

    def twice(seed):
        dataset = pipeline(grey, batch_size=1000, shuffle=False, dynamic=True, seed=seed)
        return [np.concatenate([np.asarray(batch) for batch in dataset]) for _ in range(2)]

    first, second = twice(seed=0)
    assert set(np.unique(first)) == {0.0, 1.0}
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[:1000], first[1000:2000])  # nor do consecutive batches repeat
    np.testing.assert_array_equal(first, twice(seed=0)[0])
    np.testing.assert_array_equal(second, twice(seed=0)[1])
    assert not np.array_equal(first, twice(seed=1)[0])
    assert scipy.stats.binomtest(int(first.sum()), first.size, 0.3).pvalue > 1e-3


@pytest.mark.long
def test_a_dynamic_data_set_trains(digits):
    data = kvae.load_data("digits", binarization="dynamic")
    x, _ = collect(data.batches("test"))
    assert set(np.unique(x)) == {0.0, 1.0}
    assert 0 < np.mean(data.x_test[(data.x_test > 0) & (data.x_test < 1)]) < 1  # the arrays keep their grey values
    model = kvae.VAE(*kvae.networks.mlp(data.image_shape, 2, hidden=(16,)))
    model.compile()
    history = model.fit(data.batches(labels=False), validation_data=data.batches("test", labels=False), verbose=0)
    assert np.isfinite(history.history["val_loss"]).all()


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_an_npz_in_keras_layout(tmp_path, rng):
    images, labels = rng.integers(256, size=(12, 6, 5), dtype="uint8"), np.arange(12) % 4
    path = save(tmp_path / "own.npz", x_train=images[:8], y_train=labels[:8], x_test=images[8:], y_test=labels[8:])
    data = kvae.load_data(path)
    assert (data.name, data.num_classes, data.image_shape) == ("own", 4, (6, 5, 1))
    np.testing.assert_allclose(data.x_train, images[:8, ..., None] / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y_test, labels[8:])


def test_an_npz_of_images_alone_is_split(tmp_path, rng):
    data = kvae.load_data(str(save(tmp_path / "faces.npz", images=rng.random((10, 6, 5, 3)))))
    assert (len(data.x_train), len(data.x_test)) == (8, 2)
    assert (data.y_train, data.num_classes) == (None, None)


def test_classes_of_the_test_set_alone_count(tmp_path):
    arrays = {"x_train": np.zeros((4, 2, 2)), "y_train": [0, 1, 1, 0], "x_test": np.zeros((2, 2, 2)), "y_test": [2, 0]}
    assert kvae.load_data(save(tmp_path / "c.npz", **arrays)).num_classes == 3


def test_images_are_made_smaller_without_aliasing():
    stripes = np.tile(np.uint8([255, 0, 0, 255] * 2)[:, None], (8, 1, 1))  # black where two points would be sampled
    assert fitted(stripes, (2, 2)).min() > 60


def test_binary_integers_stay_zero_and_one(tmp_path, rng):
    data = kvae.load_data(save(tmp_path / "b.npz", images=rng.integers(2, size=(10, 4, 4), dtype="uint8")))
    assert set(np.unique(data.x_train)) == {0.0, 1.0}


def test_categorical_attributes_become_one_hot_blocks(tmp_path):
    attributes = np.array([[0, 2], [1, 0], [1, 1], [0, 0], [1, 2]])
    data = kvae.load_data(save(tmp_path / "a.npz", images=np.zeros((5, 2, 2)), attributes=attributes))
    y = np.concatenate([data.y_train, data.y_test])
    assert y.shape == (5, 5)
    assert data.num_classes is None
    expected = np.concatenate([np.eye(2)[attributes[:, 0]], np.eye(3)[attributes[:, 1]]], axis=1)
    np.testing.assert_array_equal(sorted(y.tolist()), sorted(expected.tolist()))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data sets are not there")
@pytest.mark.parametrize(
    ("file", "shape", "count"),
    [
        ("binarized_mnist.npz", (28, 28, 1), 50_000),
        ("frey_faces.npz", (28, 20, 1), 1572),
        ("sprites64.npz", (64, 64, 3), 9331),
    ],
)
def test_the_shared_files_load(file, shape, count):
    data = kvae.load_data(SHARED_DATA / file)
    assert data.image_shape == shape
    assert len(data.x_train) == count
    assert (data.x_train.min(), data.x_train.max()) >= (0, 0)
    if file.startswith("sprites"):
        assert data.y_train.shape[1] == 6 + 6 + 6 + 6 + 3 + 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weights": np.zeros(3)}, r"must contain the arrays x_train and x_test .*, or images.*\['weights'\]"),
        ({"images": np.zeros((5, 4))}, r"must have shape \(n, height, width\).*\(5, 4\)"),
        ({"images": np.full((5, 4, 4), 2.0)}, r"floats in \[0, 1\] or integers in 0..255"),
        ({"images": np.full((5, 4, 4), 300)}, r"integers in 0..255: .* Received: values from 300 to 300"),
        ({"images": np.full((5, 4, 4), -0.5)}, r"floats in \[0, 1\] or .*Received: values from -0.5"),
        ({"images": np.full((5, 4, 4), np.nan)}, r"must be finite.*5 of 5"),
        ({"images": np.zeros((5, 4, 4)), "labels": np.zeros(4, int)}, r"one entry per example: 5. Received: 4"),
        ({"images": np.zeros((5, 4, 4)), "labels": np.zeros(5)}, r"Labels must be integers or text"),
        ({"images": np.zeros((5, 4, 4)), "labels": np.arange(5) - 1}, r"must not be negative.*from -1"),
        ({"images": np.zeros((5, 4, 4)), "labels": np.array([b"a"] * 4)}, r"one entry per example: 5. Received: 4"),
        ({"images": np.zeros((0, 4, 4))}, r"at least one example"),
        ({"images": np.zeros((1, 4, 4))}, r"with n of at least 2: 20% are held out.*\(1, 4, 4\)"),
        ({"images": np.array(3.0)}, r"must have shape \(n, height, width\).*\(\)"),
        ({"images": np.array(3.0), "labels": np.arange(5)}, r"must have shape \(n, height, width\).*\(\)"),
        ({"x_train": np.array(3.0), "x_test": np.zeros((5, 4, 4))}, r"`x_train` must have shape"),
        (
            {"x_train": np.zeros((5, 4, 4)), "x_test": np.zeros((5, 4, 4)), "y_train": np.arange(5)},
            "and y_test, or neither",
        ),
        (
            {
                "x_train": np.zeros((2, 4, 4)),
                "x_test": np.zeros((2, 4, 4)),
                "y_train": np.array(["a", "b"]),
                "y_test": np.arange(2),
            },
            "for training and for testing. Received: <U1",
        ),
        ({"images": np.array([None, 1])}, r"is not an .npz file of arrays"),
        ({"x_train": np.zeros((5, 4, 4)), "x_test": np.zeros((5, 4, 5))}, r"must have the same shape"),
    ],
)
def test_a_bad_npz(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        kvae.load_data(save(tmp_path / "bad.npz", **arrays))


def test_labels_that_are_text_become_classes(tmp_path):
    x, names = np.zeros((10, 4, 4)), np.array(["dog", "cat", "ant", "dog", "ant"] * 2)
    data = kvae.load_data(save(tmp_path / "a.NPZ.npz", images=x, labels=names))
    assert (data.num_classes, data.class_names, data.y_train.dtype) == (3, ("ant", "cat", "dog"), "int64")
    y = np.concatenate([data.y_train, data.y_test])
    np.testing.assert_array_equal(np.bincount(y), [4, 2, 4])
    data = kvae.load_data(
        save(
            tmp_path / "b.npz",
            x_train=x[:3],
            x_test=x[:2],
            y_train=names[:3].astype("S"),
            y_test=np.array([b"\xff", b"dog"]),
        )
    )
    assert data.class_names == ("ant", "cat", "dog", "\N{REPLACEMENT CHARACTER}")
    np.testing.assert_array_equal(data.y_train, [2, 1, 0])
    np.testing.assert_array_equal(data.y_test, [3, 2])


def test_few_images_of_many_classes_are_split_without_strata(tmp_path):
    data = kvae.load_data(save(tmp_path / "a.npz", images=np.zeros((8, 4, 4)), labels=np.arange(8) // 2))
    assert (len(data.x_train), len(data.x_test)) == (6, 2)  # 2 of 4 classes in the test set


def test_endings_in_capitals(tmp_path, rng):
    save(tmp_path / "a.npz", images=rng.random((10, 6, 5))).rename(tmp_path / "ok.NPZ")
    assert kvae.load_data(tmp_path / "ok.NPZ").name == "ok"
    assert kvae.data.stream(tmp_path / "ok.NPZ").num_examples == 10


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_loading_takes_no_more_than_the_images_and_the_result(tmp_path, dtype):
    import tracemalloc

    x = np.ones((500, 64, 64), dtype)
    np.savez_compressed(tmp_path / "a.npz", images=255 * x if dtype == "uint8" else x)
    tracemalloc.start()
    data = kvae.load_data(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = data.x_train.nbytes + data.x_test.nbytes
    assert peak < x.nbytes + result + 0.3 * result  # the largest part is converted from a copy


def idx_files(folder, ending="", **changes):
    """The four files of a data set in the format of MNIST, of which `changes` replace some."""
    x, y = np.arange(5 * 4 * 3, dtype="uint8").reshape(5, 4, 3), np.arange(5, dtype="uint8") % 2
    folder.mkdir(exist_ok=True)
    for part, n in (("train", 5), ("t10k", 2)):
        for kind, values in (("images-idx3", x[:n]), ("labels-idx1", y[:n])):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            content = changes.get(f"{part}_{kind[:6]}", head + values.tobytes())
            (folder / f"{part}-{kind}-ubyte{ending}").write_bytes(gzip.compress(content) if ending else content)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files(tmp_path, ending):
    data = kvae.load_data(idx_files(tmp_path / "mine", ending))
    assert (data.name, data.num_classes, data.image_shape, len(data.x_test)) == ("mine", 2, (4, 3, 1), 2)
    np.testing.assert_allclose(data.x_train.ravel(), np.arange(60) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y_test, [0, 1])


HEADER = bytes([0, 0, 8, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its header is not that of unsigned bytes"),
        (b"\0\0\x0d\3" + bytes(12), "its header is not that of unsigned bytes"),
        (HEADER + b"\0\0", "declares shape"),
        (HEADER + b"\xff" * 12, "more than a file of"),
        (HEADER + np.array([1000, 1000, 1000], ">u4").tobytes(), "more than a file of"),
        (HEADER + np.array([5, 4, 3], ">u4").tobytes() + bytes(59), "must have the 60 bytes.*Received: 59"),
        (HEADER + np.array([5, 4, 3], ">u4").tobytes() + bytes(10**6), "must have the 60 bytes.*Received: more"),
        (HEADER + np.array([4, 4, 3], ">u4").tobytes() + bytes(48), "must have one entry per example"),
        (HEADER + np.array([0, 4, 3], ">u4").tobytes(), "at least one example"),
        (None, "damaged"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_bad_idx_files(tmp_path, content, message, ending):
    folder = idx_files(tmp_path, ending, train_images=b"" if content is None else content)
    if content is None:
        (folder / f"train-images-idx3-ubyte{ending}").write_bytes(b"\x1f\x8b" + bytes(99))
    with pytest.raises(ValueError, match=message) as caught:
        kvae.load_data(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_one_of_the_idx_files(tmp_path):
    (idx_files(tmp_path) / "train-images-idx3-ubyte").unlink()
    with pytest.raises(kvae.io.FileError, match=r"must contain four, such as .*without train-images$"):
        kvae.load_data(tmp_path)


def test_a_damaged_npz(tmp_path, rng):
    path = save(tmp_path / "cut.npz", images=rng.random((50, 8, 8)))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello", whole[:200] + bytes(len(whole) - 400) + whole[-200:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cut.npz (is not an .npz file|must)"):
            kvae.load_data(path)


def test_unknown_names(tmp_path, digits):
    with pytest.raises(
        ValueError, match=r"one of \['digits', 'mnist_small', 'shapes', 'mnist', 'fashion_mnist'\] or a path"
    ):
        kvae.load_data("mnits")
    with pytest.raises(ValueError, match=r"existing .npz file"):
        kvae.load_data(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match=r"`binarization` must be one of"):
        kvae.load_data("digits", binarization="sometimes")
    with pytest.raises(ValueError, match=r'"train" or "test"'):
        digits.batches("validation")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_without_a_network_no_empty_folder_is_left(monkeypatch, tmp_path, name):
    import keras

    def no_network():
        (tmp_path / "home" / "datasets" / "fashion-mnist").mkdir(parents=True)
        raise OSError("URL fetch failure")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", no_network)
    with pytest.raises(kvae.io.FileError, match=rf"place {tmp_path}/home/datasets/"):
        kvae.load_data(name)
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_way_out_is_named(monkeypatch):
    import keras

    def no_network():
        raise OSError("URL fetch failure")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", no_network)
    with pytest.raises(ValueError, match=r'mnist.npz manually.*"mnist_small" or "digits", which need no download'):
        kvae.load_data("mnist")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [3e38, -1 / 255, 2.0, np.nan, 0.3])
def test_what_is_no_grey_value_is_kept_as_it_is(value):
    x = np.array([[0.0, 1.0], [value, 1.0]], "float32")
    np.testing.assert_array_equal(smallest(x), x)
    assert smallest(x).dtype == "float32"
    assert smallest(x[:1]).dtype == "uint8"
