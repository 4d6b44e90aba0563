"""Several devices and machines: validation of TF_CONFIG, and training equal to that on one device."""

import importlib
import json
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import fresh
import keras
import pytest

import kvae
from kvae.cli import parser, run_folder, runs
from kvae.models import base
from kvae.training import cluster, descriptions, pipelines, strategy
from kvae.training.cluster import Cluster

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TWO = {"worker": ["a:1", "b:2"]}
FIRST = {"type": "worker", "index": 0}
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts its own TensorFlow")


@pytest.fixture
def two_workers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("two_workers")


def config(cluster=TWO, task=FIRST):
    return json.dumps({"cluster": cluster, "task": task})


# TF_CONFIG


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "be set for multiworker"),
        ("", "be set for multiworker"),
        ("{cluster}", "be a JSON object"),
        ("[]", "be a JSON object"),
        ("{}", "have a `cluster`"),
        (config(cluster={}), "have a `cluster`"),
        (json.dumps({"cluster": TWO}), "have a `task`"),
        (config({"worker": ["a:1"], "ps": ["b:2"]}), "only chief and worker.*'ps'"),
        (config({"worker": []}), "host:port"),
        (config({"worker": "a:1"}), "host:port"),
        (config({"worker": ["a"]}), "host:port"),
        (config({"worker": ["a:99999"]}), "host:port"),
        (config({"worker": [":1"]}), "host:port"),
        (config({"chief": ["a:1"], "worker": ["a:1"]}), "each address once"),
        (config(task={"type": "evaluator", "index": 0}), "`type` among .*'evaluator'"),
        (config(task={"index": 0}), "`type` among .*None"),
        (config(task={"type": ["worker"], "index": 0}), r"`type` among .*\['worker'\]"),
        (config(task={"type": "worker", "index": 2}), "`index` from 0 to 1.*2"),
        (config(task={"type": "worker", "index": "0"}), "`index` from 0 to 1.*'0'"),
        (config(task={"type": "worker", "index": True}), "`index` from 0 to 1.*True"),
        (config(task={"type": "worker"}), "`index` from 0 to 1.*None"),
    ],
)
def test_a_wrong_tf_config_is_told_of_with_a_right_one(text, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=f"^TF_CONFIG must .*{message}") as caught:
        cluster.read_cluster(text)
    assert cluster.EXAMPLE in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_example_is_a_right_one():
    assert cluster.read_cluster(cluster.EXAMPLE) == Cluster(("10.0.0.1:2222", "10.0.0.2:2222"), 0)


def test_the_chief_comes_first(monkeypatch):
    workers = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    for kind, index, position in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        monkeypatch.setenv("TF_CONFIG", config(workers, {"type": kind, "index": index}))
        assert cluster.read_cluster() == Cluster(("c:3", "a:1", "b:2"), position)
        assert strategy.is_chief("multiworker") == (position == 0)
    monkeypatch.delenv("TF_CONFIG")
    assert strategy.is_chief("mirrored")


# The other workers


def addresses(two_workers, count=2):
    return tuple(f"127.0.0.1:{port}" for port in two_workers.free_ports(count))


def test_a_worker_that_does_not_answer_is_named(two_workers):
    here, there = addresses(two_workers)
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"start the one at {there}.*no answer within 0\.3 seconds"):
        cluster.wait_for_others(Cluster((here, there), 0), 0.3)
    assert time.monotonic() - start < 3


def test_a_host_that_is_unknown_is_named(two_workers):
    (here,) = addresses(two_workers, 1)
    with pytest.raises(ValueError, match=r"start the one at no\.such\.host\.invalid:1"):
        cluster.wait_for_others(Cluster((here, "no.such.host.invalid:1"), 0), 0.3)


def test_a_port_that_is_taken_is_named(two_workers):
    here, there = addresses(two_workers)
    with (
        socket.create_server(("127.0.0.1", int(here.rpartition(":")[2]))),
        pytest.raises(ValueError, match=f"a port that is free.*{here}"),
    ):
        cluster.wait_for_others(Cluster((here, there), 0), 0.3)


def test_workers_find_one_another_in_any_order(two_workers):
    three = addresses(two_workers, 3)
    failed, done = [], threading.Barrier(3)

    def worker(position):
        try:
            cluster.wait_for_others(Cluster(three, position), 20)
            port = int(three[position].rpartition(":")[2])
            with socket.create_server(("127.0.0.1", port)):  # TensorFlow's next step
                done.wait(20)
        except (ValueError, threading.BrokenBarrierError) as error:
            failed.append(error)
            done.abort()

    threads = [threading.Thread(target=worker, args=(position,)) for position in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (([0, 1], 0), ([1, 0], 0), "list the same workers in the same order"),
        (([0, 1, 2], 0), ([0, 1], 1), "list the same workers in the same order"),
        (([0, 1], 0), ([0, 1], 1), "same versions"),
    ],
    ids=["order swapped", "a third one", "other versions"],
)
def test_workers_that_disagree_fail_at_once(two_workers, monkeypatch, first, second, message):
    """They waited for each other in TensorFlow, in silence."""
    three, failed = addresses(two_workers, 3), []
    if "versions" in message:
        number = iter(["1", "1", "2", "2"])  # of kvae and Keras, on the first worker and on the second
        monkeypatch.setattr(cluster.importlib, "import_module", lambda _: SimpleNamespace(__version__=next(number)))

    def worker(order, position):
        try:
            cluster.wait_for_others(Cluster(tuple(three[i] for i in order), position), 20)
        except ValueError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=worker, args=described) for described in (first, second)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < 10
    assert len(failed) == 2
    assert all(message in each and "on another worker" in each for each in failed)


def test_what_answers_but_is_not_a_worker_is_said(two_workers):
    here, there = addresses(two_workers)
    with socket.create_server(("127.0.0.1", int(there.rpartition(":")[2]))) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400\n"), daemon=True).start()
        with pytest.raises(ValueError, match=f"start the one at {there}"):
            cluster.wait_for_others(Cluster((here, there), 0), 0.5)


# What all workers must share


def on_two_workers(monkeypatch, function, first, second):
    """The messages with which `function` ends on each of two workers, for which threads stand."""
    said, both, messages = {}, threading.Barrier(2), [None, None]

    def exchange(content):
        said[threading.current_thread().name] = content
        both.wait(5)
        contents = said["0"], said["1"]
        both.wait(5)
        return contents

    monkeypatch.setattr(strategy, "several_workers", lambda: True)
    monkeypatch.setattr(strategy, "from_chief", lambda content: exchange(content)[0])
    monkeypatch.setattr(
        strategy, "_summed", lambda numbers: [sum(each) for each in zip(*exchange(numbers), strict=True)]
    )

    def worker(position, content):
        try:
            function(content)
        except ValueError as error:
            messages[position] = str(error)

    threads = [threading.Thread(target=worker, args=each, name=str(each[0])) for each in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return messages


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"images": 9, "checksum": "b"}, "checksum 'b' here; checksum 'a' on the first"),
        ({"images": 8, "checksum": "a"}, "images 8 here; images 9 on the first"),
        (
            {"images": 9, "checksum": "a", "y": 1},
            "others ['checksum', 'images', 'y'] here; others ['checksum', 'images']",
        ),
    ],
)
def test_workers_name_what_differs(second, named, monkeypatch):
    first = {"images": 9, "checksum": "a"}
    on_first, on_second = on_two_workers(monkeypatch, lambda each: strategy.check_same(each, "data set"), first, second)
    assert on_first.endswith("here; other values on another worker")
    assert named in on_second
    assert all(each.startswith("All workers must have the same data set.") for each in (on_first, on_second))
    assert on_two_workers(monkeypatch, lambda each: strategy.check_same(each, ""), first, dict(first)) == [None, None]


@pytest.mark.parametrize("changed", ["x", "y", "validation_data", "batch_size", "batches", "seed"])
def test_workers_that_fit_other_data_say_so(changed, digits, monkeypatch):
    model, x, y = tiny(digits), digits.x_train[:64], digits.y_train[:64]
    other = digits.x_train[1:65]
    if changed in ("batches", "seed"):
        first, same = ({"x": pipelines.pipeline(x, y, batch_size=32, seed=3)} for _ in range(2))
        second = {"x": pipelines.pipeline(*((other, y) if changed == "batches" else (x, y)), batch_size=32)}
        changed = "x"
    else:
        first = {"x": x, "y": y, "validation_data": (x, y), "batch_size": 32, "callbacks": []}
        same = {**first, "x": x.copy(), "callbacks": None}
        second = first | {changed: {"x": other, "y": y[:63], "validation_data": (x, 1 - y), "batch_size": 16}[changed]}

    def compare(arguments):
        descriptions.check_same_data(model, arguments)

    assert on_two_workers(monkeypatch, compare, first, same) == [None, None]
    messages = on_two_workers(monkeypatch, compare, first, second)
    assert all(f"Received: {changed} " in message and "\n" not in message for message in messages)


def test_fit_compares_its_data_first(digits, monkeypatch):
    def refuse(model, arguments):
        raise ValueError(f"compared {sorted(arguments)}")

    monkeypatch.setattr(base, "check_same_data", refuse)
    with pytest.raises(ValueError, match=r"compared \['batch_size', 'callbacks', 'x', 'y'\]"):
        tiny(digits).fit(digits.x_train, batch_size=7)


def test_workers_share_options_but_not_the_path_of_the_data(monkeypatch):
    options = {"dataset": "/here/a.npz", "epochs": 1, "hidden": (8,)}
    found = {}

    def share(given):
        given, resume = given
        found[threading.current_thread().name] = runs.shared_options(given, resume)

    there = options | {"dataset": "/there/a.npz"}
    assert on_two_workers(monkeypatch, share, (options, True), (there, False)) == [None, None]
    assert [found[name]["dataset"] for name in "01"] == ["/here/a.npz", "/there/a.npz"]
    assert on_two_workers(monkeypatch, share, (options, True), ({"dataset": "digits"}, True)) == [None, None]
    assert found["1"] == found["0"]
    messages = on_two_workers(monkeypatch, share, (options, False), (there | {"epochs": 2}, False))
    assert all("same options: start all with the same command. Received: epochs" in message for message in messages)


# Limitations of the backends


def test_an_unknown_strategy_lists_the_known_ones():
    assert parser.STRATEGIES == strategy.STRATEGIES
    with (
        pytest.raises(ValueError, match=r"must be one of .*'multiworker'.*Received: 'horovod'"),
        strategy.scope("horovod"),
    ):
        pass


@pytest.mark.parametrize(
    ("backend", "name", "needed"),
    [("jax", "mirrored", "tensorflow"), ("torch", "multiworker", "tensorflow"), ("tensorflow", "dataparallel", "jax")],
)
def test_what_a_backend_cannot_do_is_said_by_name(backend, name, needed, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    message = f"{name} needs another backend: set KERAS_BACKEND={needed}.*the {backend}"
    with pytest.raises(ValueError, match=message), strategy.scope(name):
        pass


def test_jax_devices_take_equal_parts(digits, monkeypatch):
    monkeypatch.setattr(strategy, "num_devices", lambda: 8)
    with pytest.raises(ValueError, match=r"`batch_size` must be divisible by .* 8: use 96\. Received: 100"):
        digits.batches(batch_size=100)
    with pytest.raises(ValueError, match=r"`len\(x\)` must be divisible by .* 8: use 1432\. Received: 1437"):
        tiny(digits).fit(digits.x_train)
    sizes = [len(x) for x in digits.batches(labels=False, batch_size=256)]
    assert sizes == [256] * 5 + [1432 - 5 * 256]


@tensorflow_only
def test_multiworker_comes_first_in_a_process(two_workers, monkeypatch):
    keras.ops.zeros(1)
    monkeypatch.setenv("TF_CONFIG", two_workers.tf_config(addresses(two_workers, 1), 0))
    with pytest.raises(ValueError, match="must be entered before anything else"), strategy.scope("multiworker"):
        pass


def tiny(digits):
    keras.utils.set_random_seed(1)
    model = kvae.VAE(*kvae.networks.mlp(digits.image_shape, 2, hidden=(8,)), seed=1)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    return model


# Training in separate processes


def assert_equal_trainings(one, other):
    for name in ("loss", "reconstruction_loss", "val_loss"):
        assert all(type(value) is float for value in other[name])
        assert other[name] == pytest.approx(one[name], rel=1e-4)
    assert other["weights"] == pytest.approx(one["weights"], rel=1e-3)


def start(two_workers, name):
    """`two_workers.start`, in processes that need not import Keras."""
    _, kind, count = two_workers.RUNS[name]
    cluster, processes = addresses(two_workers, count), []
    for index in range(count):
        environment = {"TF_CONFIG": two_workers.tf_config(cluster, index)} if kind == "multiworker" else {}
        arguments = (two_workers.__file__, "--strategy", kind)
        processes.append(fresh.Process(fresh.SCRIPT, *arguments, **environment))
    printed = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * count, printed
    return [json.loads(out.splitlines()[-1]) for out, _ in printed]


@pytest.mark.long
@tensorflow_only
def test_two_workers_and_two_devices_train_as_one_does(two_workers):
    (one,) = start(two_workers, "one process")
    first, second = start(two_workers, "two workers")
    assert first["digest"] == second["digest"]
    assert first["loss"] == second["loss"]
    assert_equal_trainings(one, first)
    assert_equal_trainings(one, *start(two_workers, "two devices"))


@pytest.mark.long
@tensorflow_only
def test_two_jax_devices_train_as_one_does(two_workers):
    pytest.importorskip("jax")
    assert_equal_trainings(*two_workers.start("one device, JAX"), *two_workers.start("two devices, JAX"))


TWO_REPLICAS = """
import keras, tensorflow as tf
from kvae.training import strategy
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
alone = keras.random.normal((3,), seed=strategy.SeedGenerator(0))
mirrored = tf.distribute.MirroredStrategy()
with mirrored.scope():
    seed = strategy.SeedGenerator(0)
draw = tf.function(lambda: mirrored.run(lambda: keras.random.normal((3,), seed=seed)))
first, second = mirrored.experimental_local_results(draw())
print((first == alone).numpy().all(), (first == second).numpy().any())
"""


@pytest.mark.long
@tensorflow_only
def test_replicas_draw_noise_of_their_own():
    assert fresh.python(TWO_REPLICAS).stdout.split() == ["True", "False"]


def start_training(two_workers, cluster, index, place, *options):
    config = two_workers.tf_config(cluster, index)
    return fresh.Process(fresh.KVAE, "train", "--strategy", "multiworker", *options, cwd=place, TF_CONFIG=config)


@pytest.mark.long
@tensorflow_only
def test_a_worker_that_was_killed_and_started_again_goes_on_from_the_backup(two_workers, tmp_path):
    epochs = 12
    options = ("--model", "autoencoder", "--hidden", "8", "--batch-size", "512", "--epochs", str(epochs))
    folders = [tmp_path / "first", tmp_path / "second"]  # machines do not share a disk
    for place in folders:
        place.mkdir()
    cluster, run = addresses(two_workers), folders[0] / "run"

    def start(*options):
        return [start_training(two_workers, cluster, i, place, *options) for i, place in enumerate(folders)]

    processes = start("--out", "run", *options)
    try:
        deadline = time.monotonic() + 300
        while not (run / "history.csv").is_file() or len((run / "history.csv").read_text().splitlines()) < 3:
            assert time.monotonic() < deadline
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGKILL)
        _, errors = processes[0].communicate(timeout=300)
        assert processes[0].returncode == 1
        last = errors.splitlines()[-1]
        assert "Another worker was lost" in last
        assert last.endswith("restart all workers with: kvae train --resume run --strategy multiworker")
        assert "Traceback" not in errors
        before = (run / "history.csv").read_text().splitlines()
        assert 3 <= len(before) < epochs
        assert (run / run_folder.CHECKPOINT).is_file()

        processes = start("--resume", "run")
        (_, errors), _ = (process.communicate(timeout=300) for process in processes)
        assert [process.returncode for process in processes] == [0, 0], errors
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
    after = (run / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in after] == ["epoch", *map(str, range(1, epochs + 1))]
    assert after[: len(before) - 1] == before[:-1]  # it did not start over
    assert {path.name for path in run.iterdir()} == set(run_folder.FILES)
    assert not list(folders[1].iterdir())

    alone, _ = runs.train(run_folder.read_options(run / "config.json"), tmp_path / "one")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["reconstruction_mse"] == pytest.approx(alone["reconstruction_mse"], rel=1e-3)
