"""Malicious files are rejected with a one-line error, before memory is allocated or code is run."""

import concurrent.futures
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import fuzz_mutations
import h5py
import keras
import numpy as np
import pytest

import kvae
from kvae import applications
from kvae.cli import options as run_options
from kvae.cli import plot, run_folder
from kvae.io import keras_archive, limits
from kvae.training.keras_internals import OPERATION_MODULES
from kvae.worksheet import grade_table, grading, notebooks

SEED = Path(__file__).parent / "saved" / "0.1.0" / "tensorflow" / "vae.keras"


@pytest.fixture
def keras_file(tmp_path):
    """A function that writes an altered copy of a saved model: `config` and `weights` modify those, `more` is added."""

    def write(config=None, weights=None, more=(), packing=zipfile.ZIP_STORED, seed=SEED):
        with zipfile.ZipFile(seed) as old:
            members = {name: old.read(name) for name in old.namelist()}
        content = json.loads(members["config.json"])
        if config:
            config(content)
        members["config.json"] = json.dumps(content).encode()
        if weights:
            file = io.BytesIO(members["model.weights.h5"])
            with h5py.File(file, "a") as opened:
                weights(opened)
            members["model.weights.h5"] = file.getvalue()
        with zipfile.ZipFile(tmp_path / "bad.keras", "w", packing) as new:
            for name, member in [*members.items(), *more]:
                new.writestr(name, member)
        return tmp_path / "bad.keras"

    return write


def layers(config, network="encoder"):
    return config["config"][network]["config"]["layers"]


def asks_for(class_name, **changes):
    return lambda config: layers(config)[2].update(class_name=class_name, **changes)


def dense_of(units):
    def change(config):
        layers(config)[2]["config"]["units"] = units
        layers(config)[3]["build_config"] = {"input_shape": [None, units]}

    return change


def wide_image(config):
    layers(config)[0]["config"]["batch_shape"] = [None, 10**9]


def of_billions(**build):
    module = {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "name": "more"}
    return {**module, "config": {"name": "more", "units": 10**9}, **build}


BUILT = {"build_config": {"input_shape": [None, 4]}}


def beside_the_network(config):
    """A layer that no output depends on."""
    history = {"shape": [None, 4], "dtype": "float32", "keras_history": ["posterior", 0, 0]}
    node = {"args": [{"class_name": "__keras_tensor__", "config": history}], "kwargs": {}}
    layers(config).append({**of_billions(), "inbound_nodes": [node]})


def many_components(config):
    config["config"]["prior"] = {
        "module": "kvae.priors", "class_name": "Mixture", "registered_name": "kvae>Mixture",
        "config": {"num_components": 10**9},
    }  # fmt: skip


def metric(name, **settings):
    """A change that compiles the model with a metric."""
    asked = {"module": "keras.metrics", "class_name": name, "config": settings, "registered_name": None}
    return lambda config: config["compile_config"].update(metrics=[asked])


def constant(value, dtype, **labels):
    """A change of an initializer to one of a constant array."""
    array = {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}, **labels}
    asked = {"module": "keras.initializers", "class_name": "Constant", "config": {"value": array}}
    return lambda config: layers(config)[2]["config"].update(bias_initializer={**asked, "registered_name": None})


def in_compiling(value):
    return lambda config: config["compile_config"].update(loss_weights=value)


LAMBDA = {"class_name": "__lambda__", "module": "kvae.models.vae", "registered_name": "kvae>VAE",
          "config": {"value": ["x", None, None]}}  # fmt: skip
FUNCTION = {"class_name": "function", "module": "builtins", "registered_name": "function", "config": "relu"}


def built_with(value):
    return lambda config: layers(config)[2].update(build_config={"input_shape": value})


def operation_on(*arguments):
    """A change that appends a call of `ops.tile`, whose result would have 10⁹ numbers."""
    tile = {"module": OPERATION_MODULES[0], "class_name": "Tile", "config": {"repeats": [10**9]},
            "registered_name": "Tile", "name": "tile"}  # fmt: skip
    return lambda config: layers(config).append({**tile, "inbound_nodes": [{"args": list(arguments), "kwargs": {}}]})


def nested(config):
    for _ in range(200):
        config["config"] = {"config": config["config"]}


CONFIGS = {
    "a layer that runs code": (asks_for("Lambda"), "asks for keras.layers.Lambda, which is not loaded from files"),
    "a layer that reads files": (asks_for("StringLookup"), "asks for keras.layers.StringLookup"),
    "a layer that unpickles": (asks_for("TorchModuleWrapper"), "asks for keras.layers.TorchModuleWrapper"),
    "a function": (asks_for("function", module="builtins"), "asks for builtins.function"),
    "an array type": (asks_for("__numpy__"), "asks for keras.layers.__numpy__"),
    "a tensor called a model": (asks_for("__tensor__", registered_name="kvae>VAE"), "asks for keras.layers.__tensor__"),
    "a Keras class under another name": (
        asks_for("Dense", registered_name="mine>Dense"),
        "asks for keras.layers.Dense",
    ),
    "a registered name of kvae": (asks_for("Dense", registered_name="kvae>TiedDense"), "asks for keras.layers.Dense"),
    "a class of a module that is not imported": (asks_for("Mine", module="my_layers"), "is not registered: decorate"),
    "a utility of Keras": (asks_for("get_file", module="keras.utils"), "asks for keras.utils.get_file"),
    "a gigantic layer": (dense_of(10**7), r"model of at least \d{3},\d{3},\d{3} numbers, and its weights have"),
    "a gigantic image": (wide_image, r"`batch_shape` \[None, 1000000000\] has more than"),
    "a gigantic prior": (many_components, "model of at least"),
    "a gigantic layer beside the network": (beside_the_network, "model of at least 5,000,000,"),
    "a gigantic layer without a call": (
        lambda config: layers(config).append({**of_billions(**BUILT), "inbound_nodes": []}),
        "at least 5,000,000,",
    ),
    "a gigantic layer as an initializer": (
        lambda config: layers(config)[2]["config"].update(bias_initializer=of_billions(**BUILT)),
        "could not be deserialized",
    ),
    "a gigantic layer in compile_config": (in_compiling(of_billions(**BUILT)), "compile_config has a layer, Dense"),
    "nesting": (nested, "nested more than 100 levels deep"),
    "an array of padded text": (constant(["x"], "S2000000000"), "asks for None.__numpy__"),
    "an array of numbers with a name": (constant([1.0], "float32", registered_name="kvae>VAE"), "__numpy__"),
    "text as numbers": (constant(["1"], "float32"), "asks for None.__numpy__"),
    "an array in compile_config": (in_compiling({"class_name": "__numpy__", "config": {}}), "asks for None.__numpy__"),
    "a lambda in compile_config": (in_compiling(LAMBDA), "asks for kvae.models.vae.__lambda__"),
    "a lambda in build_config": (built_with(LAMBDA), "asks for kvae.models.vae.__lambda__"),
    "a function in compile_config": (in_compiling([FUNCTION]), "asks for builtins.function"),
    "a function in build_config": (built_with({"a": [FUNCTION]}), "asks for builtins.function"),
    "a metric of functions": (metric("MeanMetricWrapper", fn=FUNCTION), "asks for builtins.function"),
    "a hundred million thresholds": (metric("AUC", num_thresholds=10**8), "metrics hold at least 1,048,577 numbers"),
    "thresholds without end": (metric("AUC", num_thresholds=float("inf")), "metrics hold at least"),
    "thresholds for each label": (
        metric("AUC", num_thresholds=1100, num_labels=1100),
        "metrics hold at least 1,210,000",
    ),
    "a confusion matrix": (metric("MeanIoU", num_classes=30_000), "metrics hold at least 900,000,000 numbers"),
    "an operation on numbers": (operation_on([1.0]), "calls a layer on numbers"),
    "an operation on nothing": (operation_on(), "calls a layer on numbers"),
    "an unrolled layer": (lambda config: layers(config)[2]["config"].update(unroll=True), "save it with unroll=False"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations(keras_file, name):
    change, message = CONFIGS[name]
    with pytest.raises(ValueError, match=message) as caught:
        kvae.load_model(keras_file(change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("nested", [False, True])
def test_a_loop_without_end_is_refused_before_it_starts(nested):
    distributed = keras.layers.TimeDistributed(keras.layers.Identity())
    z = keras.Input((2,))
    outputs = keras.layers.RepeatVector(77)(keras.layers.Dense(3)(z))
    if nested:
        outputs, distributed = keras.layers.Reshape((77, 3, 1))(outputs), keras.layers.TimeDistributed(distributed)
    network = {"decoder": json.loads(keras.Model(z, distributed(outputs)).to_json())}
    config = {"class_name": "VAE", "registered_name": "kvae>VAE", "config": network}
    message = "inside another one"
    if not nested:
        config, message = json.loads(json.dumps(config).replace("77", str(2**24))), "take 16,777,216 steps, more than"
    with pytest.raises(ValueError, match=message):
        keras_archive.check_size(config, 10**6)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (constant([1.0, 2, True], "float32"), 0),
        (metric("AUC", num_thresholds=200, num_labels=None), 200),
        (metric("MeanIoU", num_classes=9), 81),
    ],
)
def test_constants_and_metrics_of_ordinary_size_load(keras_file, change, state):
    with zipfile.ZipFile(keras_file(change)) as file:
        assert keras_archive.check_config(json.loads(file.read("config.json"))) == state


def test_constants_that_keras_writes_are_accepted(tmp_path):
    images = keras.Input((8, 8, 1))
    shifted = keras.ops.add(keras.ops.multiply(images, 2.0), np.full((8, 8, 1), -1.0))
    encoder = keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(shifted)))
    kvae.VAE(encoder, kvae.networks.mlp((8, 8, 1), 2, hidden=(3,))[1]).save(tmp_path / "m.keras")
    keras_archive.check(tmp_path / "m.keras")


class NotALayer:
    pass


class OwnDense(keras.layers.Dense):
    pass


class OwnBound(kvae.bounds.Bound):
    pass


@pytest.mark.parametrize(
    ("found", "loads"), [(OwnDense, True), (OwnBound, True), (NotALayer, False), (zipfile.is_zipfile, False)]
)
def test_only_classes_of_models_and_their_parts_load_by_a_registered_name(monkeypatch, found, loads):
    name = found.__name__
    monkeypatch.setitem(keras.saving.get_custom_objects(), f"own>{name}", found)
    config = {"module": "own", "class_name": name, "registered_name": f"own>{name}", "config": {}}
    if loads:
        keras_archive.check_config(config)
    else:
        with pytest.raises(keras_archive.UnknownClassError, match=rf"asks for own\.{name}, which is not registered"):
            keras_archive.check_config(config)


def in_a_thread(function):
    """Call `function()` in a separate thread, whose Keras settings affect no other test."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"module": "kvae.models.vae", "registered_name": "kvae>VAE"},
        {"module": OPERATION_MODULES[0]},
        {"module": "keras.layers", "registered_name": "__lambda__"},
    ],
    ids=["plain", "registered as a VAE", "among operations", "registered as itself"],
)
def test_lambdas_even_where_somebody_has_switched_safe_mode_off(tmp_path, labels):
    path, canary = tmp_path / "evil.keras", tmp_path / "canary"
    path.write_bytes(fuzz_mutations.with_lambda(SEED.read_bytes(), canary, **labels))

    def unsafe(load):
        keras.config.enable_unsafe_deserialization()
        load(path).generate(1)

    with pytest.raises(ValueError, match=r"asks for .*\.__lambda__"):
        in_a_thread(lambda: unsafe(kvae.load_model))
    assert not canary.exists()
    in_a_thread(lambda: unsafe(keras.saving.load_model))
    assert canary.exists()  # the payload is effective


def of_another_shape(file):
    del file["encoder/layers/dense/vars/0"]
    file.create_dataset("encoder/layers/dense/vars/0", shape=(2**40,), dtype="f4")  # takes no memory until it is read


def packed(file):
    file.create_dataset("more", data=np.zeros(10**6, "f4"), compression="gzip")


def link_out(file):
    file["more"] = h5py.ExternalLink("/etc/passwd", "/")


def link_in(file):
    file["more"] = h5py.SoftLink("/encoder")


def same_again(file):
    file["more"] = file["encoder"]


def texts(file):
    file.create_dataset("more", data=["a text"], dtype=h5py.string_dtype())


@pytest.mark.parametrize("change", [of_another_shape, packed, link_out, link_in, same_again, texts])
def test_weights(keras_file, change):
    with pytest.raises(ValueError, match=r"its weights hold"):
        kvae.load_model(keras_file(weights=change))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../../evil", b"x"), "must not point outside the archive"),
        (("/evil", b"x"), "must not point outside the archive"),
        (("assets/vocabulary.txt", b"x"), "its members must be"),
        (("bomb", bytes(2**27)), "must unpack to at most 200 times its size"),
    ],
)
def test_members(keras_file, member, message):
    with pytest.raises(ValueError, match=message):
        kvae.load_model(keras_file(more=[member], packing=zipfile.ZIP_DEFLATED))


def test_weights_of_zeros(keras_file):
    path = keras_file(
        weights=lambda file: file.create_dataset("more", data=np.zeros(10**6)), packing=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(ValueError, match=r"its weights unpack to more than 20 times their size"):
        kvae.load_model(path)


def test_sizes_of_archives(keras_file, monkeypatch):
    path = keras_file()
    assert kvae.load_model(path).latent_dim == 2
    monkeypatch.setenv("KVAE_MAX_BYTES", "1000")
    with pytest.raises(
        ValueError, match=r"must unpack to at most 1,000 bytes \(set KVAE_MAX_BYTES to raise the limit\)"
    ):
        kvae.load_model(path)
    monkeypatch.delenv("KVAE_MAX_BYTES")
    monkeypatch.setattr(limits, "CONFIG", 1000)
    with pytest.raises(ValueError, match=r"its config.json has more than 1,000 bytes"):
        kvae.load_model(path)


def test_counting_a_model_makes_none_of_it_and_leaves_nothing_behind(monkeypatch):
    with zipfile.ZipFile(SEED) as file:
        config = json.loads(file.read("config.json"))
    size = sum(int(np.prod(variable.shape)) for variable in kvae.load_model(SEED).variables)
    keras_archive.check_size(config, size)
    with pytest.raises(ValueError, match=rf"at least {size} numbers, and its weights have {size - 1} bytes"):
        keras_archive.check_size(config, size - 1)
    with pytest.raises(ValueError, match=r"its metrics make 134,217,728 comparisons, over 67,108,864"):
        keras_archive.check_size(config, size, 2**21)
    with monkeypatch.context() as patch:  # without Keras's record of them, the variables of the model alone
        patch.setattr(keras_archive, "deferred_variables", lambda: None)
        with pytest.raises(ValueError, match=rf"at least {size} numbers"):
            keras_archive.check_size(config, size - 1)
    made = []
    monkeypatch.setattr(
        keras.initializers.VarianceScaling, "__call__", lambda self, shape, dtype=None: made.append(shape)
    )
    with keras.StatelessScope():  # on exit, Keras initialises all variables that are still deferred
        pass
    assert made == []


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def npz(path, header, content=b"", packing=zipfile.ZIP_STORED):
    """An `.npz` file with one array that has the given header."""
    text = repr(header).encode()
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content)
    return path


def test_arrays(tmp_path):
    canary = tmp_path / "canary"
    np.savez(tmp_path / "pickle.npz", images=np.array([Payload(canary)] * 4, dtype=object))
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    for path, message in {
        tmp_path / "pickle.npz": "images.npy contains Python objects, which are not loaded",
        npz(tmp_path / "claim.npz", claim): r"images.npy is truncated: .* 8,000,000,000,000 bytes. Received: 0",
        npz(tmp_path / "short.npz", {**claim, "shape": (2, 2, 2)}, bytes(63)): "64 bytes. Received: 63",
        npz(tmp_path / "bomb.npz", claim, bytes(2**27), zipfile.ZIP_DEFLATED): "at most 200 times its size",
        npz(tmp_path / "code.npz", "__import__('os')"): "is not an .npz file",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            kvae.load_data(path)
        assert "\n" not in str(caught.value)
    assert not canary.exists()


RECORD = {"format": 1, "epoch": 3, "history": {"loss": [3.0, 2.5, float("nan")]}, "variables": 2}


@pytest.mark.parametrize(
    ("record", "arrays"),
    [
        ({"format": 9}, {}),
        ({"epoch": -1}, {}),
        ({"epoch": "3"}, {}),
        ({"variables": 10**12}, {}),
        ({"variables": 1}, {}),
        ({"history": [1]}, {}),
        ({"history": {"loss": "text"}}, {}),
        ({"history": {"loss": 3}}, {}),
        ({}, {"1": np.array("text")}),
        ({}, {"2": np.zeros(1)}),
        ({}, {"1": np.array([Payload("canary")], dtype=object)}),
        ({}, {"record": np.array("[" * 10**5)}),
        ({}, {"record": np.array("[]")}),
        ({}, {"record": np.zeros(3)}),
    ],
)
def test_checkpoints(tmp_path, record, arrays):
    path = tmp_path / "checkpoint.npz"
    good = {"record": np.array(json.dumps(RECORD)), "0": np.zeros(3), "1": np.ones(1)}
    np.savez(path, **good)
    assert kvae.callbacks.Checkpoint(path).epoch == 3
    np.savez(path, **{**good, "record": np.array(json.dumps({**RECORD, **record})), **arrays})
    with pytest.raises(ValueError, match="`path` must be a checkpoint: delete it to start over") as caught:
        kvae.callbacks.Checkpoint(path)
    assert "\n" not in str(caught.value)


def test_checkpoints_that_claim_more_than_they_hold(tmp_path):
    path = npz(tmp_path / "checkpoint.npz", {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)})
    with pytest.raises(ValueError, match=r"must be a checkpoint.*8,000,000,000,000 bytes. Received: 0"):
        kvae.callbacks.Checkpoint(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 10**9, 1, 2, 0]), "must be below 100,000. Received: values up to 1000000000"),
        (np.array(3), r"must have shape \(n,\)"),
        (np.zeros((5, 2, 2), int), r"must have shape \(n,\)"),
        (np.full((5, 2), np.nan), "`attributes` must be finite"),
        (np.array([["a"]] * 5), r"Labels that are text must have shape \(n,\)"),
        (np.array(["2020-01-01"] * 5, "datetime64[D]"), r"must be integers or text. Received: dtype datetime64"),
    ],
)
def test_labels(tmp_path, labels, message):
    np.savez(tmp_path / "labels.npz", images=np.zeros((5, 4, 4)), labels=labels)
    with pytest.raises(ValueError, match=message):
        kvae.load_data(tmp_path / "labels.npz")


def test_few_bytes_of_attributes_that_ask_for_many(tmp_path):
    attributes = np.zeros((20_000, 1), "int32")
    attributes[0] = 99_999
    np.savez(tmp_path / "wide.npz", images=np.zeros((20_000, 1, 1), "uint8"), attributes=attributes)
    with pytest.raises(ValueError, match=r"must take at most .* Received: 8,000,000,000"):
        kvae.load_data(tmp_path / "wide.npz")


def test_attributes_of_which_some_are_only_in_one_half(tmp_path):
    x = np.zeros((3, 4, 4))
    np.savez(tmp_path / "halves.npz", x_train=x, x_test=x, y_train=[[0], [1], [2]], y_test=[[0], [1], [1]])
    with pytest.raises(ValueError, match=r"must have the same attributes"):
        kvae.load_data(tmp_path / "halves.npz")


@pytest.mark.parametrize(
    "options", [{"model": ["vae"]}, {"hidden": "12"}, {"hidden": [[1]]}, {"epochs": True}, {"beta": "1"}, {"seed": -1},
                {"likelihood": {}}, {"learning_rate": float("nan")}, {"pictures_every": 0}, {"sigma": [1]}]
)  # fmt: skip
def test_options(tmp_path, options):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"options": options}))
    with pytest.raises(ValueError, match=rf"`{next(iter(options))}` must "):
        run_options.complete(run_folder.read_options(path))


def test_runs_files(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    for content in (b"", b"[" * 10**5, b"[]", b'{"options": 3}', b"\xff", b'{"options": {"seed": %s}}' % (b"9" * 5000)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"must be the config.json of a run"):
            run_folder.read_options(path)
    for content in (b"", b"epoch,loss\n1\n", b"epoch,loss\n1,x\n", b"loss\n" + b"1" * 200_000, b"\xff\n", b'a\n"1'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"must be the history.csv of a run"):
            plot.read_history(path)
    monkeypatch.setattr(limits, "CONFIG", 10)
    path.write_text('{"options": {}}')
    with pytest.raises(ValueError, match=r"at most 10 bytes"):
        run_folder.read_options(path)


def test_notebooks(tmp_path):
    path = tmp_path / "a.ipynb"
    for content in (b"[" * 10**5, b'{"cells": 3}', b'{"cells": [{"cell_type": "code", "source": [1]}]}', b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"not a notebook"):
            notebooks.read(path)
    cell = {"cell_type": "code", "source": f"check('{'9' * 5000}.1', x)"}
    path.write_text(json.dumps({"cells": [cell], "metadata": {"kvae": {"worksheet": [6]}}}))
    assert grading.run(path).state == "not a worksheet: no check line in it"


def test_a_report_that_a_student_wrote_by_hand(tmp_path, monkeypatch):
    """It may earn its author points (SECURITY.md), but does not stop grading or reach a terminal or table."""
    told = tmp_path / "report"
    lines = [
        "[1]",
        "3",
        '{"exercise": ["6.1"]}',
        '{"exercise": "6.99", "state": "right"}',
        '{"exercise": "6.1", "state": 3}',
    ]
    lines += ['{"cell": 1}', json.dumps({"error": "\x1b[2J\ud800" + "x" * 10**5}), "[" * 10**5]
    told.write_text("\n".join([*lines, '{"done": true}']))
    monkeypatch.setattr(grading, "_records", lambda *_: (list(grading._parsed(told)), None))
    sheet = tmp_path / "\udcff\n.ipynb"
    sheet.write_bytes(notebooks.student_notebooks()[6].read_bytes())
    result = grading.run(sheet)
    assert result.verdicts == {}
    assert max(map(len, result.notes)) < 600
    shown = "\n".join([result.name, *grading.lines(result)])
    assert shown.encode().isascii() or "\x1b" not in shown
    grade_table.write_csv([result], tmp_path / "grades.csv")
    assert "\x1b" not in (tmp_path / "grades.csv").read_text(encoding="utf-8")


def test_compressed_images_that_ask_for_more_than_they_hold():
    model = kvae.load_model(SEED)
    file = applications.compress(model, np.zeros((3, 8, 8, 1)), 0.5)
    np.testing.assert_array_equal(applications.decompress(model, file).shape, (3, 8, 8, 1))
    head = applications.compression.HEADER
    fields = list(head.unpack(file[: head.size]))
    assert fields[3:6] == [3, 2, 0]
    for place, value in ((3, 2**32 - 1), (3, 10**7), (5, 2**32 - 1), (7, b"O8"), (8, b"V4")):
        changed = [*fields[:place], value, *fields[place + 1 :]]
        with pytest.raises(ValueError, match=r"`file` must be bytes"):
            applications.decompress(model, head.pack(*changed) + file[head.size :])
    with pytest.raises(ValueError, match=r"damaged or truncated"):
        applications.decompress(model, file[:-1])
    fields[3] = 10**7
    bomb = head.pack(*fields) + zlib.compress(bytes(2 * 10**7), 9)
    assert len(bomb) < 20_000
    with pytest.raises(ValueError, match=r"10,000,000 images of a file of .* would take 2,560,000,000 bytes"):
        applications.decompress(model, bomb)
