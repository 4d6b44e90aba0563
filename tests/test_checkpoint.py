"""Resuming from a checkpoint is bit-identical to uninterrupted training, on the current backend."""

import contextlib
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import kvae
from kvae.callbacks import Checkpoint, HistoryFile, KLWarmup, logs
from kvae.cli import options, run_folder, runs
from kvae.io import FileError, atomic


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Simulates the end of the process in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            raise Killed


def model(data):
    encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=2, hidden=(16,), num_classes=10)
    inputs = [keras.Input(data.image_shape), keras.Input((10,))]
    noisy = keras.layers.Dropout(0.2, seed=5)(inputs[0])  # with a random stream of its own
    encoder = keras.Model(inputs, encoder([noisy, inputs[1]]))
    built = kvae.CVAE(encoder, decoder, num_classes=10, seed=3)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, 60)
    built.compile(optimizer=keras.optimizers.Adam(schedule))
    return built


def train(data, folder, kills=()):
    """Weights, variables and history after five epochs, interrupted at the given epochs and resumed in new objects."""
    for kill in [*kills, None]:
        keras.utils.set_random_seed(0)
        trained = model(data)
        hooks = [KLWarmup(3), HistoryFile(folder / "history.csv"), Checkpoint(folder / "checkpoint.npz")]
        if kill is not None:
            hooks.append(Kill(kill))
        x, y = data.x_train[:300], data.y_train[:300]
        validation = data.x_test[:50], data.y_test[:50]
        try:
            history = trained.fit(x, y, batch_size=32, epochs=5, validation_data=validation, callbacks=hooks, verbose=0)
        except Killed:
            continue
    variables = [*trained.variables, *trained.optimizer.variables]
    return [keras.ops.convert_to_numpy(v) for v in variables], history, (folder / "history.csv").read_text()


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    """The folder of a training, and what `train` returns."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, *train(digits, folder)


@pytest.mark.long
def test_a_training_that_was_killed_ends_as_one_that_was_not(digits, tmp_path, uninterrupted):
    _, whole, history, lines = uninterrupted
    parts, again, lines_again = train(digits, tmp_path, kills=(1, 3))
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert again.history == history.history
    assert again.epoch == history.epoch == [0, 1, 2, 3, 4]
    assert lines == lines_again


@pytest.mark.long
def test_other_seeds_give_other_weights(digits, uninterrupted):
    _, first, *_ = uninterrupted
    keras.utils.set_random_seed(0)
    changed = model(digits)
    changed.seed_generator.state.assign([4, 0])
    x, y = digits.x_train[:300], digits.y_train[:300]
    changed.fit(x, y, batch_size=32, epochs=5, callbacks=[KLWarmup(3)], verbose=0)
    for variable, other in zip(changed.variables, first, strict=False):
        assert not variable.trainable or not np.array_equal(keras.ops.convert_to_numpy(variable), other)


def test_dynamic_pixels_go_on_too(tmp_path):
    x = np.random.default_rng(0).random((40, 4, 4, 1), dtype="float32")

    def epochs(first, number):
        batches = kvae.data.pipeline(x, batch_size=16, dynamic=True, seed=1, first_epoch=first)
        return [np.concatenate([batch.numpy() for batch in batches]) for _ in range(number)]

    whole, rest = epochs(0, 3), epochs(1, 2)
    assert np.array_equal(whole[1:], rest)
    assert not np.array_equal(whole[0], whole[1])
    assert set(np.unique(whole)) == {0.0, 1.0}


def test_a_finished_training_is_not_trained_again(digits, tmp_path, uninterrupted):
    folder, before, *_ = uninterrupted
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    after, history, _ = train(digits, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert len(history.history["loss"]) == 5


@pytest.mark.parametrize("damage", ["cut", "text", "other model", "a pickle", "format"])
def test_a_bad_checkpoint_is_named_and_changes_nothing(digits, tmp_path, damage, uninterrupted):
    path = Path(shutil.copy(uninterrupted[0] / "checkpoint.npz", tmp_path))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("no zip")
    elif damage == "a pickle":
        np.savez(path, record=np.array([{}], dtype=object))
    elif damage == "format":
        np.savez(path, record=np.array('{"format": 99, "epoch": 1, "history": {}, "variables": 0}'))
    other = kvae.VAE(*kvae.networks.mlp(digits.image_shape, latent_dim=3, hidden=(8,)), seed=0)
    other.compile()
    weights = other.get_weights()
    with pytest.raises(ValueError, match="`path` must be a checkpoint"):
        other.fit(digits.x_train[:64], epochs=1, callbacks=[Checkpoint(path)], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(weights, other.get_weights(), strict=True))


@pytest.mark.long
def test_a_full_disk_ends_in_one_line_and_keeps_the_last_good_one(digits, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    trained = model(digits)
    trained.fit(digits.x_train[:64], digits.y_train[:64], epochs=1, callbacks=[Checkpoint(path)], verbose=0)
    good = path.read_bytes()

    def savez(file, **arrays):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(FileError, match=r"checkpoint\.npz could not be written.*No space left"):
        trained.fit(digits.x_train[:64], digits.y_train[:64], epochs=2, callbacks=[Checkpoint(path)], verbose=0)
    assert path.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_a_folder_is_one_writers(tmp_path):
    with atomic.locked(tmp_path), pytest.raises(FileError, match="another process"), atomic.locked(tmp_path):
        pass
    with atomic.locked(tmp_path):
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"epoch,loss\n1",
        b"epoch,loss\n1,2\n2,2\n3,2.12",
        b"epoch,loss\n1,x\n",
        b"\xff\xfe",
        b'epoch,"loss\n',
        b"epoch,loss\n",
        b"1,2\n" * 3,
    ],
)
def test_a_history_that_is_none_is_said_to_be_so_before_it_is_needed(tmp_path, content):
    """It ended in a traceback at the end of the first resumed epoch."""
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"`path` must (be the history.csv of a run|contain the 3 epochs so far)"):
        HistoryFile(tmp_path / "history.csv").on_epoch_begin(3)


def test_a_history_keeps_its_bits_and_columns_that_some_epochs_lack(tmp_path):
    path, values = tmp_path / "history.csv", np.random.default_rng(0).random(3)
    first = HistoryFile(path)
    first.on_epoch_end(0, {"loss": values[0]})
    first.on_epoch_end(1, {"loss": values[1], "val_loss": np.nan})
    again = HistoryFile(path)
    again.on_epoch_begin(2)
    again.on_epoch_end(2, {"loss": values[2], "val_loss": 1.0})
    columns = logs.read_history(path)
    assert columns["loss"] == list(values)
    np.testing.assert_array_equal(columns["val_loss"], [np.nan, np.nan, 1.0])


def test_only_regular_files_are_replaced(tmp_path):
    """A device or a link was replaced by a file; as root, even /dev/null."""
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    kinds = {"link": "a symbolic link", "dangling": "a symbolic link", "pipe": "a pipe", "folder": "a folder"}
    for name, kind in {**kinds, "/dev/null": "a device"}.items():
        with pytest.raises(FileError, match=f"new or regular file.*, {kind}$"), atomic.replacing(tmp_path / name):
            pytest.fail("it was written to")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "target").read_text() == "kept"
    (tmp_path / "pictures").symlink_to("folder")
    (tmp_path / "folder" / "mine.png").write_text("kept")
    run_folder.clear(tmp_path)  # of a link in a run's folder, only the link is removed
    assert (tmp_path / "folder" / "mine.png").is_file()
    assert not (tmp_path / "pictures").is_symlink()


def test_what_waits_under_a_temporary_name_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: "0")
    (tmp_path / ".a.0.half.json").symlink_to(tmp_path / "victim")
    with pytest.raises(FileError, match="File exists"), atomic.replacing(tmp_path / "a.json") as aside:
        aside.write_text("x")
    assert not (tmp_path / "victim").exists()


def test_what_a_killed_process_left_half_written_is_swept(tmp_path):
    pictures, config = tmp_path / "pictures", tmp_path / ".config.1.half.json"
    pictures.mkdir()
    with atomic.replacing(pictures / "digits.png") as picture:
        picture.write_bytes(b"whole")
    picture.write_bytes(b"half")  # as if it had never been removed
    config.write_bytes(b"half")
    assert atomic.halves(tmp_path) == [config]
    run_folder.sweep(tmp_path)
    assert list(tmp_path.rglob("*")) == [pictures, pictures / "digits.png"]
    (pictures / "digits.png").unlink()
    pictures.rmdir()
    config.write_bytes(b"half")
    run_folder.check(tmp_path, force=False)  # a new run can start there


@pytest.mark.long
def test_a_run_of_the_command_resumes_to_the_bit(tmp_path, monkeypatch):
    """JAX and PyTorch get its data as arrays, TensorFlow as a dataset that counts its epochs."""
    given = options.complete({"model": "vae", "hidden": [8], "epochs": 2, "batch_size": 500})

    def weights(out, *kills):
        for kill in (*kills, None):
            monkeypatch.setattr(runs, "progress", lambda run, verbose, kill=kill: [Kill(kill)])
            resume = out.exists()
            with contextlib.ExitStack() as folder, contextlib.suppress(Killed):
                run = runs.prepare(given, out, resume, "none", folder)
                assert runs.takes_arrays(run) == (keras.backend.backend() != "tensorflow")
                runs.fit(run, verbose=False)
        assert run.checkpoint.resumed_at == max(kills, default=0)
        return [keras.ops.convert_to_numpy(v) for v in run.model.variables]

    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed", 1)
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
