"""Images that stay on disk in folders, TFRecord files and arrays: order, shards and errors."""

import itertools
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.data import sources, stream, tfrecord, write_records


def collect(dataset):
    """All images, labels (or `None`) and batch sizes."""
    parts = [batch if isinstance(batch, tuple) else (batch,) for batch in dataset]
    columns = [np.concatenate([np.asarray(part) for part in column]) for column in zip(*parts, strict=True)]
    return columns[0], columns[1] if len(columns) > 1 else None, [len(part[0]) for part in parts]


def images(n, shape=(6, 5, 1), seed=0):
    return np.random.default_rng(seed).integers(256, size=(n, *shape), dtype="uint8")


def write_image(path, image):
    path.parent.mkdir(exist_ok=True, parents=True)
    tf.io.write_file(str(path), tf.io.encode_png(image))


@pytest.fixture
def numbered(tmp_path, monkeypatch):
    """An array on disk of 50 images labelled with their index, in blocks of 4 and windows of 3 blocks."""
    monkeypatch.setattr(sources, "blocks", lambda rows, row_bytes: (np.array([4] * 12 + [2]), 3))
    x = images(50)
    np.savez(tmp_path / "n.npz", x=x, y=np.arange(50))
    return stream(tmp_path / "n.npz"), x


def every_kind(folder, x, y):
    """The same images and labels in every lossless format: functions that write and open one."""

    def classes():
        for i, (image, label) in enumerate(zip(x, y, strict=True)):
            write_image(folder / "classes" / f"class {label}" / f"{i:03}.PNG", image)
        return stream(folder / "classes")

    def flat():
        for i, image in enumerate(x):
            write_image(folder / "flat" / f"{i:03}.png", image)
        return stream(folder / "flat")

    def npz():
        np.savez(folder / "a.npz", images=x, labels=y)
        return stream(str(folder / "a.npz"))

    def arrays():
        (folder / "arrays").mkdir()
        np.save(folder / "arrays" / "x.npy", np.float32(x / 255))
        np.save(folder / "arrays" / "y.npy", y.astype("int32"))
        return stream(folder / "arrays")

    def npy():
        np.save(folder / "a.npy", x[..., 0] if x.shape[-1] == 1 else x)
        return stream(folder / "a.npy")

    def records():
        write_records(folder / "r.tfrecord", np.float32(x / np.float32(255)), y)
        return stream(folder / "r.tfrecord")

    def shards():
        write_records(folder / "shards" / "r.tfrecord", x, y, shards=3)
        return stream(folder / "shards")

    def pattern():
        examples = [{"image": tf.io.encode_png(image).numpy()} for image in x]
        write_examples(folder / "png-1.tfrecord", examples[:7])
        write_examples(folder / "png-2.tfrecord", examples[7:])
        return stream(folder / "png-*.tfrecord")

    return {each.__name__: each for each in (classes, flat, npz, arrays, npy, records, shards, pattern)}


def write_examples(path, examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for features in examples:
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                if isinstance(value, bytes)
                else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                for name, value in features.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


@pytest.mark.parametrize("shape", [(6, 5, 1), (4, 7, 3)])
@pytest.mark.parametrize("kind", ["classes", "flat", "npz", "arrays", "npy", "records", "shards", "pattern"])
def test_every_source_gives_the_same_images_and_labels(tmp_path, kind, shape):
    x, y = images(19, shape), np.sort(np.arange(19) % 3)
    found = every_kind(tmp_path, x, y)[kind]()
    labelled = kind not in ("flat", "npy", "pattern")
    assert (found.image_shape, found.num_examples) == (shape, 19)
    assert found.num_classes == (3 if kind in ("classes", "npz", "arrays") else None)
    dataset = found.batches(8, shuffle=False)
    assert int(dataset.cardinality()) == 3
    given, labels, lengths = collect(dataset)
    assert (given.dtype, lengths) == ("float32", [8, 8, 3])
    np.testing.assert_allclose(given, x / 255, rtol=1e-6)
    if labelled:
        assert labels.dtype == "int64"
        np.testing.assert_array_equal(labels, y)
    assert labelled == (labels is not None)
    assert collect(found.batches(8, labels=False))[1] is None


def test_an_epoch_holds_each_image_once_in_an_order_of_its_own(numbered):
    found, x = numbered
    (first, order, lengths), (_, again, _) = (collect(found.batches(7)) for _ in range(2))
    assert lengths == [7] * 7 + [1]
    np.testing.assert_array_equal(np.sort(order), np.arange(50))
    np.testing.assert_allclose(first, x[order] / 255, rtol=1e-6)
    np.testing.assert_array_equal(order, again)
    two = found.batches(7)
    np.testing.assert_array_equal(collect(two)[1], order)
    second = collect(two)[1]
    assert not np.array_equal(second, order)
    np.testing.assert_array_equal(collect(found.batches(7, first_epoch=1))[1], second)
    assert not np.array_equal(collect(found.batches(7, seed=1))[1], order)


def test_neighbours_on_disk_are_mixed_within_a_window_and_windows_all_over(numbered):
    block = collect(numbered[0].batches(4))[1] // 4
    assert len(set(block[:12])) == 3  # rows that are in memory together
    assert sum(a == b for a, b in itertools.pairwise(block)) < 25  # 37 within whole blocks
    assert block[:12].max() - block[:12].min() > 3  # blocks in random order


def test_workers_share_all_blocks_and_get_as_many_batches(numbered):
    found, _ = numbered
    shares = [collect(found.batches(5, shard=(i, 3))) for i in range(3)]
    assert [lengths for _, _, lengths in shares] == [[5, 5, 5, 1]] * 3
    rows = np.concatenate([y for _, y, _ in shares])
    assert len(set(rows)) == 48  # of 50: worker 0 has 18 rows, but all workers yield 16
    policy = found.batches(5, shard=(0, 3)).options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.OFF
    in_order = collect(found.batches(5, shard=(1, 3), shuffle=False))[1]
    np.testing.assert_array_equal(in_order // 4, np.repeat([1, 4, 7, 10], 4))


def test_binary_pixels_are_fresh_each_time_and_repeat_from_the_seed(tmp_path):
    np.save(tmp_path / "grey.npy", np.full((600, 4, 4), 0.3, "float32"))
    found = stream(tmp_path / "grey.npy")
    dataset = found.batches(300, binarization="dynamic")
    (x, _, _), (second, _, _) = collect(dataset), collect(dataset)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert abs(x.mean() - 0.3) < 5 * np.sqrt(0.21 / x.size)
    assert not np.array_equal(x, second)
    assert not np.array_equal(x[:300], x[300:])
    np.testing.assert_array_equal(x, collect(found.batches(300, binarization="dynamic"))[0])
    share = [collect(found.batches(300, shard=(i, 2), binarization="dynamic"))[0] for i in range(2)]
    assert not np.array_equal(*share)


def test_images_of_other_sizes_and_kinds_are_fitted(tmp_path):
    colour = np.zeros((8, 8, 3), "uint8")
    colour[..., 0] = 200
    write_image(tmp_path / "0.png", colour)
    tf.io.write_file(str(tmp_path / "1.jpeg"), tf.io.encode_jpeg(np.full((16, 12, 3), 100, "uint8"), quality=95))
    write_image(tmp_path / "2.png", np.full((4, 4, 1), 50, "uint8"))
    write_image(tmp_path / "3.png", np.full((8, 8, 4), 25, "uint8"))  # with alpha
    (tmp_path / "notes.txt").write_text("no image")
    x = collect(stream(tmp_path).batches(4, shuffle=False))[0] * 255
    assert x.shape == (4, 8, 8, 3)
    np.testing.assert_allclose(x[0, 3, 3], [200, 0, 0])
    np.testing.assert_allclose(x.mean(axis=(1, 2))[1:], [[100] * 3, [50] * 3, [25] * 3], atol=2)
    grey = stream(tmp_path, image_size=(2, 3), channels=1)
    assert grey.image_shape == (2, 3, 1)
    np.testing.assert_allclose(collect(grey.batches(4, shuffle=False))[0][0] * 255, 60, atol=0.01)  # 0.299 of 200


def small_model(shape=(6, 5, 1)):
    model = kvae.VAE(*kvae.networks.mlp(shape, 2, hidden=(4,)), seed=0)
    model.compile()
    return model


@pytest.mark.long
def test_a_stream_trains_and_an_unreadable_image_is_named_by_fit(tmp_path):
    for i, image in enumerate(images(12)):
        write_image(tmp_path / f"{i:02}.png", image)
    model = small_model()
    history = model.fit(stream(tmp_path).batches(5), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for name, content in (("04", b"no image"), ("07", (tmp_path / "07.png").read_bytes()[:60]), ("09", b"")):
        (tmp_path / f"{name}.png").write_bytes(content)
    line = rf"^{re.escape(str(tmp_path))}/04.png must be a readable image: [^\n]*Received: [^\n]*$"
    batches = stream(tmp_path).batches(5, shuffle=False)
    for use in ("fit", "evaluate"):  # a new model each time: on JAX, Keras leaves a failed one without weights
        with pytest.raises(kvae.io.FileError, match=line):
            getattr(small_model(), use)(batches, verbose=0)
    with pytest.raises(tf.errors.OpError, match=r"04.png must be a readable image"):
        collect(batches)
    left = stream(tmp_path, unreadable="skip").batches(5, shuffle=False)
    with pytest.warns(UserWarning, match=r"Skipped 3 unreadable image\(s\) of .*, such as .*04.png"):
        x, _, lengths = collect(left)
    assert lengths == [4, 3, 2]
    assert int(left.cardinality()) == 3
    np.testing.assert_allclose(x, images(12)[[0, 1, 2, 3, 5, 6, 8, 10, 11]] / 255, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collect(left)  # warned only once


def test_where_a_whole_batch_is_unreadable_steps_stay_in_step(tmp_path):
    for i, image in enumerate(images(6)):
        write_image(tmp_path / f"{i}.png", image)
    for i in (2, 3):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="2 unreadable"):
        x, _, lengths = collect(stream(tmp_path, unreadable="skip").batches(2, shuffle=False))
    assert lengths == [2, 2, 2]
    np.testing.assert_array_equal(x[2:4], x[:2])
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(kvae.io.FileError, match=r"0.png must be a readable image"):
        stream(tmp_path)
    assert stream(tmp_path, unreadable="skip").image_shape == (6, 5, 1)


@pytest.mark.long
def test_a_damaged_record_is_named(tmp_path):
    whole = write_records(tmp_path / "r.tfrecord", images(20))[0].read_bytes()
    for content in (whole[:-3], b"", whole[:100], b"hello, this is text and no record"):
        (tmp_path / "r.tfrecord").write_bytes(content)
        with pytest.raises(ValueError, match=r"r.tfrecord must be a TFRecord file, neither empty, compressed nor"):
            stream(tmp_path / "r.tfrecord")
    good = {"image": tf.io.encode_png(images(1)[0]).numpy(), "label": [1]}
    for bad, message in (
        ({"label": [1]}, "must have the bytes feature `image`"),
        ({"image": good["image"]}, "none must have the integer feature `label`"),
        ({"image": bytes(5), "shape": [6, 5, 1], "label": [1]}, "must be a readable image"),
        ({"image": b"hello", "label": [1]}, "must be a readable image"),
    ):
        write_examples(tmp_path / "r.tfrecord", [good] * 3 + [bad])
        with pytest.raises(kvae.io.FileError, match=rf"r.tfrecord.*{message}"):
            small_model().fit(stream(tmp_path / "r.tfrecord").batches(2, labels=True), verbose=0)
    with tf.io.TFRecordWriter(str(tmp_path / "r.tfrecord")) as writer:
        writer.write(b"\xff\xff\xff")
    with pytest.raises(kvae.io.FileError, match=r"r.tfrecord must contain tf.train.Example records"):
        stream(tmp_path / "r.tfrecord")


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_checksums_of_records_are_compared(tmp_path):
    x = images(20)
    path = write_records(tmp_path / "r.tfrecord", x, np.arange(20))[0]
    whole, size = path.read_bytes(), path.stat().st_size // 20
    for at in (0, 8, size * 7 + 3):  # a length or its checksum
        path.write_bytes(flipped(whole, at))
        with pytest.raises(ValueError, match=r"must be a TFRecord file.*nor damaged"):
            stream(path)
    for row in (0, 7):  # a pixel, and a checksum
        path.write_bytes(flipped(flipped(whole, size * row + 30), size * 13 + size - 1))
        left = stream(path, unreadable="skip").batches(20, shuffle=False)
        with pytest.warns(UserWarning, match=r"Skipped 1 unreadable image\(s\) of r, such as An image in .*r.tfrecord"):
            given, labels, _ = collect(left)
        kept = np.delete(np.arange(20), [row, 13])
        np.testing.assert_array_equal(labels, kept)
        np.testing.assert_allclose(given, x[kept] / 255, rtol=1e-6)
        with pytest.raises((kvae.io.FileError, tf.errors.OpError), match=r"must be a readable image.*another checksum"):
            collect(stream(path).batches(20, shuffle=False))


def test_checksums_are_tensorflows(tmp_path):
    contents = [bytes(images(1, (n,)).tobytes()) for n in (0, 1, 1000)]
    with tf.io.TFRecordWriter(str(tmp_path / "r.tfrecord")) as writer:
        for content in contents:
            writer.write(content)
    file, at, wanted = (tmp_path / "r.tfrecord").read_bytes(), 0, []
    for content in contents:
        at += 12 + len(content)
        wanted.append(int.from_bytes(file[at : at + 4], "little"))
        at += 4
    assert [tfrecord.masked_crc(content) for content in contents] == wanted


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ([6, 5, 5], 150, "1 channels are needed, there are 5"),
        ([0, 5, 1], 0, "must have pixels, not shape"),
        ([30], 30, "must be (height, width)"),
        ([1, 6, 5, 1], 30, "must be (height, width)"),
        ([-1, -1, 1], 30, "readable image"),
        ([2**40, 2**40, 1], 30, "readable image"),
    ],
)
def test_raw_records_of_another_shape(tmp_path, shape, size, message):
    good = {"image": bytes(30), "shape": [6, 5, 1]}
    write_examples(tmp_path / "r.tfrecord", [good, {"image": bytes(size), "shape": shape}])
    with pytest.raises((kvae.io.FileError, tf.errors.OpError), match=re.escape(message)):
        collect(stream(tmp_path / "r.tfrecord").batches(2, shuffle=False))
    with pytest.warns(UserWarning, match="Skipped 1 unreadable"):
        assert len(collect(stream(tmp_path / "r.tfrecord", unreadable="skip").batches(2, shuffle=False))[0]) == 1


def npy(path, x):
    np.save(path, x)
    return path


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((5, 4)), r"must have shape \(n, height, width\).*\(5, 4\)"),
        (np.zeros((0, 4, 4)), r"not be empty.*\(0, 4, 4\)"),
        (np.zeros((5, 4, 4), "int32"), r"must be uint8, floats in \[0, 1\] or bool. Received: dtype int32"),
        (np.ones((5, 4, 4), "uint8"), r"must be bool if its pixels are binary"),
        (np.asfortranarray(np.zeros((5, 4, 4))), r"must be in C order.*ascontiguousarray"),
        (np.array([[[None, 1]]]), r"contains Python objects, which are not loaded"),
    ],
)
def test_a_bad_array(tmp_path, x, message):
    with pytest.raises(ValueError, match=message):
        stream(npy(tmp_path / "a.npy", x))


@pytest.mark.long
def test_arrays_that_are_cut_short_compressed_or_out_of_range(tmp_path):
    path = npy(tmp_path / "a.npy", images(9))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a.npy is truncated: its header declares .*270 bytes. Received: 269"):
        stream(path)
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"a.npy is not a NumPy array, or is damaged"):
        stream(path)
    np.savez_compressed(tmp_path / "c.npz", x=images(9))
    with pytest.raises(ValueError, match=r"x.npy in .*c.npz is compressed: save it with np.savez, or unpack it"):
        stream(tmp_path / "c.npz")
    (tmp_path / "c.npz").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"c.npz is not an .npz file"):
        stream(tmp_path / "c.npz")
    for value in (1.5, -0.1, np.nan):
        path = npy(tmp_path / "a.npy", np.full((9, 6, 5), value, "float32"))
        with pytest.raises(kvae.io.FileError, match=r"^\S*a.npy must contain uint8 or floats in \[0, 1\]"):
            small_model().fit(stream(path).batches(3), verbose=0)
    np.savez(tmp_path / "n.npz", faces=images(4), y=np.arange(4), short=np.arange(3), minus=np.arange(4) - 1)
    with pytest.raises(ValueError, match=r"must contain an array named one of.*'faces'"):
        stream(tmp_path / "n.npz")
    assert stream(tmp_path / "n.npz", arrays=("faces", None)).num_classes is None
    for arrays, message in (
        (("faces", "short"), r"one entry per example: 4. Received: 3"),
        (("faces", "minus"), r"must not contain negative labels. Received: -1"),
        (("faces", "faces"), r"must be integers of shape \(n,\)"),
        (("x", None), r"`arrays` must name arrays in"),
        ("faces", r"`arrays` must be two names"),
    ):
        with pytest.raises(ValueError, match=message):
            stream(tmp_path / "n.npz", arrays=arrays)


def test_bad_folders_and_arguments(tmp_path, numbered):
    for path, message in (
        (tmp_path / "absent", r"must be an existing file or folder, or a pattern that matches files"),
        (npy(tmp_path / "b.npy", images(1)).rename(tmp_path / "b.dat"), r"ends in .tfrecord, .npy or .npz"),
        (tmp_path / "*.dat", r"must match only TFRecord files.*b.dat"),
    ):
        with pytest.raises(kvae.io.FileError, match=message):
            stream(path)
    folder = tmp_path / "folder"
    (folder / "cats").mkdir(parents=True)
    with pytest.raises(kvae.io.FileError, match=r"folder must contain images .* Received: none"):
        stream(folder)
    write_image(folder / "dogs" / "1.png", images(1)[0])
    with pytest.raises(
        kvae.io.FileError, match=r"folder/cats must contain images .*: fill or remove this class folder"
    ):
        stream(folder)
    write_image(folder / "stray.png", images(1)[0])
    with pytest.raises(kvae.io.FileError, match=r"either images or class folders.*stray.png and dogs/"):
        stream(folder)
    for arguments in ({"unreadable": "ignore"}, {"channels": 2}, {"image_size": 64}, {"arrays": ("x", None)}):
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must"):
            stream(folder / "dogs", **arguments)
    with pytest.raises(ValueError, match=r"must be omitted for arrays"):
        stream(npy(tmp_path / "b.npy", images(1)), channels=1)
    found, _ = numbered
    for arguments, message in (
        ({"batch_size": 0}, r"`batch_size` must be an integer of at least 1"),
        ({"batch_size": 51}, r"`batch_size` must be at most the number of images, 50"),
        ({"batch_size": 20, "shard": (0, 3)}, r"at most the number of images per worker, 16"),
        ({"shard": (2, 2)}, r"`shard` must be \(index, count\)"),
        ({"shard": 3}, r"`shard` must be \(index, count\)"),
        ({"shard": (0, 20)}, r"at most as many workers as there are blocks of images, 13"),
        ({"binarization": "static"}, r'must be None or "dynamic"'),
    ):
        with pytest.raises(ValueError, match=message):
            found.batches(**arguments)


def test_write_records_refuses_what_it_could_not_keep(tmp_path):
    for arguments, message in (
        ({"x": np.full((3, 4, 4), 0.3)}, r"multiples of 1/255: use np.rint"),
        ({"x": images(3), "y": [0.0, 1.0, 2.0]}, r"`y` must be integers"),
        ({"x": images(3), "shards": 4}, r"`shards` must be at most the number of images, 3"),
        ({"x": np.zeros((3, 4))}, r"`x` must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            write_records(tmp_path / "r.tfrecord", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_memory_map_is_written_in_shards(tmp_path):
    np.save(tmp_path / "m.npy", images(30))
    paths = write_records(tmp_path / "r.tfrecord", np.load(tmp_path / "m.npy", mmap_mode="r"), shards=2)
    assert [path.name for path in paths] == ["r-00000-of-00002.tfrecord", "r-00001-of-00002.tfrecord"]
    x = collect(stream(tmp_path / "r-*.tfrecord").batches(30, shuffle=False))[0]
    np.testing.assert_allclose(x, images(30) / 255, rtol=1e-6)
