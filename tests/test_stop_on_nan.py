"""StopOnNaN: what it names, what it restores, and that it does not run after each batch."""

import json
import warnings

import keras
import numpy as np
import pytest
from cases import QUICKLY, vae
from keras import ops

import kvae
from kvae import callbacks
from kvae.callbacks import Checkpoint, Progress, StopOnNaN
from kvae.cli import main, runs
from kvae.training import fit_on_arrays


class Spoil(keras.callbacks.Callback):
    """Set a layer's bias to NaN at the start of the third epoch."""

    def __init__(self, network="encoder", layer="posterior"):
        super().__init__()
        self.place = network, layer

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            network, layer = self.place
            bias = getattr(self.model, network).get_layer(layer).bias
            bias.assign(np.full(bias.shape, np.nan, "float32"))


class Kept(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.weights = self.model.get_weights()


def compiled(optimizer="sgd", **options):
    keras.utils.set_random_seed(0)
    model = vae(hidden=(4,))
    model.compile(optimizer=optimizer, **(options or {"jit_compile": False}))
    return model


def images(n=24):
    return np.random.default_rng(0).random((n, 8, 8, 1), dtype="float32")


def finite(model):
    return all(np.isfinite(ops.convert_to_numpy(v)).all() for v in [*model.weights, *model.optimizer.variables])


@pytest.mark.long
def test_it_acts_first_wherever_it_is_in_the_list(tmp_path):
    """Behind the pictures and the checkpoint it never acted: they failed on NaN codes, or saved NaN weights."""
    model, guard = compiled(keras.optimizers.Adam(1e-3), **QUICKLY), StopOnNaN()
    spoil, checkpoint = Spoil("encoder", "posterior"), Checkpoint(tmp_path / "checkpoint.npz")
    hooks = [spoil, callbacks.LatentScatter(tmp_path, images()), [callbacks.PCABaseline(tmp_path, images(), images())]]
    with pytest.warns(UserWarning, match="stopped in epoch 3: .*restored to its state after epoch 2"):
        model.fit(images(), epochs=4, batch_size=12, verbose=0, callbacks=[*hooks, checkpoint, guard])
    assert finite(model)
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name != "record")


def test_after_a_resumption_it_restores_the_checkpoint_not_the_untrained_model(tmp_path):
    model, path = compiled(keras.optimizers.Adam(1e-3), **QUICKLY), tmp_path / "checkpoint.npz"
    model.fit(images(), epochs=2, batch_size=12, verbose=0, callbacks=[Checkpoint(path)])
    trained = model.get_weights()
    again, guard = compiled(keras.optimizers.Adam(1e-3), **QUICKLY), StopOnNaN()
    hooks = [guard, Checkpoint(path), Spoil()]
    with pytest.warns(UserWarning, match="stopped in epoch 3: .*restored to its state after epoch 2"):
        again.fit(images(), epochs=4, batch_size=12, verbose=0, callbacks=hooks)
    assert guard.good_epochs == 2
    for now, then in zip(again.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.long
@pytest.mark.parametrize(("place", "first"), [
    (("encoder", "posterior"), "kl_loss"), (("decoder", "likelihood"), "reconstruction_loss")
])  # fmt: skip
def test_it_names_the_first_term_and_brings_the_last_good_state_back(place, first):
    model, guard, kept = compiled(keras.optimizers.Adam(1e-3)), StopOnNaN(), Kept()
    with pytest.warns(UserWarning, match=rf"stopped in epoch 3: the loss is nan .first to fail: .*{first}"):
        logs = model.fit(
            images(),
            epochs=6,
            batch_size=4,
            verbose=0,
            callbacks=[guard, Spoil(*place), kept],
            validation_data=(images(),),
        ).history
    assert len(logs["loss"]) == guard.stopped_epoch == 3
    assert guard.good_epochs == 2
    assert "in step 1 of the epoch" in guard.message
    assert "at its end, weights of " in guard.message
    assert "restored to its state after epoch 2. Try a learning rate well below 0.001" in guard.message
    assert set(logs) == {f"{prefix}{name}" for prefix in ("", "val_") for name in ("loss", *model.logged_terms)}
    for now, then in zip(model.get_weights(), kept.weights, strict=True):
        np.testing.assert_array_equal(now, then)
    assert finite(model)
    again = model.fit(images(), epochs=1, batch_size=4, verbose=0, callbacks=[guard])
    assert np.isfinite(again.history["loss"]).all()
    assert guard.message is None


@pytest.mark.long
def test_a_rate_that_is_far_too_large_is_caught_in_the_first_epoch():
    model, guard = compiled(keras.optimizers.SGD(1e9)), StopOnNaN()
    start = model.get_weights()
    with pytest.warns(UserWarning, match="restored to its initial state"):
        model.fit(
            images(), epochs=3, batch_size=4, verbose=0, callbacks=[guard], validation_data=(images(),)
        )  # validation resets the counter: the epoch's count must be kept
    assert guard.good_epochs == 0
    assert "in step 1 " not in guard.message  # the first step uses the initial weights
    for now, then in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.long
def test_a_sound_training_goes_on_as_without_it():
    logs = []
    for hooks in ([], [StopOnNaN()]):
        model = compiled()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            logs.append(model.fit(images(), epochs=2, batch_size=4, verbose=0, callbacks=hooks).history)
    assert logs[0] == logs[1]
    assert fit_on_arrays.steps_per_execution(60, [StopOnNaN(), Progress()], verbose=0) == 60


def test_a_loss_scale_s_own_steps_are_left_to_it():
    model, guard = compiled(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())), StopOnNaN()
    guard.set_model(model)
    guard.on_train_begin()
    guard.on_epoch_end(0, {"loss": np.inf})
    assert guard.message is None
    assert guard.good_epochs == 1


def test_it_guards_any_keras_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    model.compile(optimizer=keras.optimizers.SGD(1e30), loss="mse", jit_compile=False)
    with pytest.warns(UserWarning, match="weights of .*out were not finite"):
        model.fit(np.ones((8, 2)), np.ones(8), batch_size=1, epochs=2, verbose=0, callbacks=[StopOnNaN()])
    assert finite(model)


@pytest.mark.long
def test_a_run_ends_with_one_line_and_the_last_good_weights(tmp_path, capfd, monkeypatch, small_pictures):
    command = ["train", "--model", "vae", "--epochs", "4", "--hidden", "4", "--batch-size", "512"]
    assert main.main([*command, "--learning-rate", "1e30", "--out", str(tmp_path / "first")]) == 1
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("kvae train: Training stopped in epoch 1: ")
    assert not (tmp_path / "first").exists()

    monkeypatch.setattr(runs, "pictures", lambda *_: [Spoil()])
    assert main.main([*command, "--out", str(tmp_path / "later")]) == 1
    assert capfd.readouterr().err.count("Training stopped in epoch 3: ") == 1
    metrics = json.loads((tmp_path / "later" / "metrics.json").read_text())
    assert metrics["stopped_in_epoch"] == 3
    assert np.isfinite(metrics["negative_elbo"])
    assert "card" not in metrics
    assert finite(kvae.models.load_model(tmp_path / "later" / "model.keras"))
