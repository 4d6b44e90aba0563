"""`load_data` and `kvae train` on what people have: folders of images, TFRecord files and arrays."""

import re

import numpy as np
import pytest
from test_cli import run_here
from test_stream import every_kind, images, write_examples, write_image

import kvae
from kvae.data import files

X, Y = images(40, (8, 8, 1)), np.sort(np.arange(40) % 3)


@pytest.mark.parametrize("kind", ["classes", "flat", "npz", "arrays", "npy", "records", "shards", "pattern"])
def test_every_source_is_split_like_an_npz(tmp_path, kind):
    found = every_kind(tmp_path, X, Y)[kind]()
    path = {"npz": "a.npz", "npy": "a.npy", "records": "r.tfrecord", "pattern": "png-*.tfrecord"}.get(kind, kind)
    data = kvae.load_data(tmp_path / path)
    labelled = kind not in ("flat", "npy", "pattern")
    x_train, y_train, x_test, y_test = files.split(X, Y if labelled else None, "images")[0]
    np.testing.assert_array_equal(data.x_train, x_train)
    np.testing.assert_array_equal(data.x_test, x_test)
    np.testing.assert_array_equal(data.y_train, y_train)
    np.testing.assert_array_equal(data.y_test, y_test)
    assert (data.name, data.num_classes) == (path.split(".")[0], 3 if labelled else None)
    names = ("class 0", "class 1", "class 2") if kind == "classes" else None
    assert (data.class_names, found.class_names) == (names, names)


def test_a_folder_divided_into_train_and_test(tmp_path):
    for part, names in (("train", "acd"), ("test", "ab")):
        for name in names:
            write_image(tmp_path / part / name / "1.png", X["abcd".index(name)])
    data = kvae.load_data(tmp_path)
    assert data.class_names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(data.y_train, [0, 2, 3])
    np.testing.assert_array_equal(data.y_test, [0, 1])
    np.testing.assert_allclose(data.x_test, X[:2] / 255, rtol=1e-6)


@pytest.mark.parametrize(("image_size", "channels", "shape"), [((4, 6), None, (4, 6, 1)), ((8, 8), 3, (8, 8, 3))])
def test_images_are_converted_on_request(tmp_path, image_size, channels, shape):
    for i, image in enumerate(X[:6]):
        write_image(tmp_path / f"{i}.png", np.repeat(image, 3, axis=-1) if channels and i % 2 else image[: 6 + i % 2])
    assert kvae.load_data(tmp_path, image_size=image_size, channels=channels).image_shape == shape


def test_black_images_are_bytes(tmp_path):
    write_image(tmp_path / "1.png", np.ones((4, 4, 1), "uint8"))
    write_image(tmp_path / "2.png", np.ones((4, 4, 1), "uint8"))
    np.testing.assert_allclose(kvae.load_data(tmp_path).x_train, 1 / 255)


IMAGE = {"image": X[0].tobytes(), "shape": [8, 8]}


def several_sizes(path):
    write_image(path / "1.png", X[0])
    write_image(path / "2.png", X[0, :6])


def several_channels(path):
    write_image(path / "1.png", X[0])
    write_image(path / "2.png", np.repeat(X[0], 3, axis=-1))


def some_in_class_folders(path):
    write_image(path / "1.png", X[0])
    write_image(path / "cat" / "2.png", X[0])


def a_class_of_one(path):
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        write_image(path / name, X[0])


def folders_beside(path):
    for part in ("train", "test", "val"):
        write_image(path / part / "1.png", X[0])


def unreadable(path):
    write_image(path / "1.png", X[0])
    (path / "2.png").write_bytes(b"not an image")


BAD = {
    "an empty folder": (lambda path: path.mkdir(), r"must contain images \(.png.*or class folders.*Received: none"),
    "several sizes": (several_sizes, r"2.png must have the shape.*`image_size`, --image-size HEIGHT.*\(6, 8, 1\)"),
    "several channels": (several_channels, r"2.png must have the shape.*`channels`, --channels 1 .*\(8, 8, 3\)"),
    "unlabelled among labelled": (some_in_class_folders, "either images or class folders"),
    "a class of one image": (a_class_of_one, "dog must contain at least 2 images: 20% are held out.*Received: 1"),
    "one image": (lambda path: write_image(path / "1.png", X[0]), "must contain at least 2 images.*Received: 1"),
    "folders beside train and test": (folders_beside, "no folders beside train and test.*Received: val"),
    "an unreadable image": (unreadable, "2.png must be a readable image.*kvae.data.stream"),
    "an .npy of text": (lambda path: np.save(path, np.array([["a"] * 3] * 3)[..., None]), "must contain numbers"),
    "an .npy of a vector": (lambda path: np.save(path, np.zeros(5)), r"\(n, height, width\).*\(5,\)"),
    "an .npy of a table, too large": (lambda path: np.save(path, np.full((5, 2), 1e300)), "must be finite"),
    "an .npy out of range": (lambda path: np.save(path, np.full((5, 8, 8), 3.0)), r"floats in \[0, 1\] or integers"),
    "records without labels first": (
        lambda path: write_examples(path, [IMAGE] * 3 + [{**IMAGE, "label": [1]}] * 3),
        "either all records or none must have the integer feature `label`",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_an_error_of_one_line(tmp_path, name):
    make, message = BAD[name]
    ending = ".npy" if "npy" in name else ".tfrecord" if "records" in name else ""
    make(tmp_path / f"own{ending}")
    with pytest.raises(ValueError, match=message) as caught:
        kvae.load_data(tmp_path / f"own{ending}")
    assert "\n" not in str(caught.value)


def test_what_is_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    every_kind(tmp_path, X, Y)["flat"]()
    monkeypatch.setenv("KVAE_MAX_BYTES", "1000")
    with pytest.raises(ValueError, match=r"at most 1,000 bytes in memory.*data.stream. Received: 10,240 bytes"):
        kvae.load_data(tmp_path / "flat")


def test_series_and_tables_keep_their_values(tmp_path, rng):
    np.save(tmp_path / "t.npy", table := rng.integers(-300, 300, size=(10, 3)))
    data = kvae.load_data(tmp_path / "t.npy")
    assert (data.image_shape, data.x_train.dtype) == ((3,), "float32")
    np.testing.assert_array_equal(np.sort(np.concatenate([data.x_train, data.x_test]), axis=0), np.sort(table, axis=0))


def test_arrays_are_not_converted():
    with pytest.raises(ValueError, match="must be omitted for arrays"):
        kvae.load_data("digits", image_size=(4, 4))


@pytest.mark.long
def test_a_run_on_class_folders_of_several_sizes(tmp_path, small_pictures):
    for i, (image, label) in enumerate(zip(X, Y, strict=True)):
        write_image(tmp_path / "own" / f"class {label}" / f"{i}.png", image[: 7 + i % 2])
    train = ("train", "--dataset", "own", "--epochs", "1", "--hidden", "8", "--out", "run")
    assert "--image-size HEIGHT WIDTH" in run_here(*train, cwd=tmp_path, code=1)
    run_here(*train, "--image-size", "8", "8", cwd=tmp_path)
    assert "negative elbo" in run_here("evaluate", "run/model.keras", cwd=tmp_path)
    run_here("generate", "run/model.keras", "--label", "1", cwd=tmp_path)
    run_here("plot", "run/model.keras", "--kind", "samples", "scatter", cwd=tmp_path)
    shown = run_here("data", "own", "--image-size", "8", "8", cwd=tmp_path)
    assert re.search("8 high, 8 wide.*class 0: 11, class 1: 10, class 2: 11", shown, re.DOTALL)
