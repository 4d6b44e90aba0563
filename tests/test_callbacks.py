"""Callbacks: what they draw and log, when and under which name, and that they do not affect training."""

import csv
import functools
import sys
import threading
import warnings

import keras
import numpy as np
import pytest
from cases import CASES, QUICKLY
from sklearn.decomposition import PCA

import kvae
from kvae import callbacks, plots

DATA = kvae.load_data("digits")
X, Y = DATA.x_train[:64], DATA.y_train[:64]
X_TEST, Y_TEST = DATA.x_test[:40], DATA.y_test[:40]


def make_vae(latent_dim=2, rate=1e-3, beta=1.0, **kwargs):
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim, hidden=(8,)), beta=beta, seed=0)
    model.compile(keras.optimizers.Adam(rate), **(kwargs or QUICKLY))
    return model


def make_cvae(num_classes=10, condition=10):
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), num_classes=condition)
    model = kvae.CVAE(*networks, num_classes=num_classes, seed=0)
    model.compile(keras.optimizers.Adam(1e-3), **QUICKLY)
    return model


def fit(model, *args, epochs=1, **kwargs):
    return model.fit(*(args or (X,)), epochs=epochs, batch_size=len(X), verbose=0, **kwargs)


def names(folder):
    return sorted(path.name for path in folder.glob("*.png"))


@pytest.fixture
def figures(monkeypatch):
    """The saved figures, in order, without rendering them."""
    saved = []
    monkeypatch.setattr(plots, "save", lambda figure, path: saved.append(figure))
    return saved


def drawn(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


# Time and location of the figures


@pytest.mark.parametrize(
    ("every", "epochs", "drawn_epochs"), [(1, 2, [1, 2]), (2, 3, [2, 3]), (2, 4, [2, 4]), (9, 2, [2])]
)
def test_pictures_are_named_by_epoch_and_include_the_last_once(tmp_path, monkeypatch, every, epochs, drawn_epochs):
    saved = []
    monkeypatch.setattr(plots, "save", lambda figure, path: saved.append(path))
    fit(make_vae(), epochs=epochs, callbacks=[callbacks.SampleGrid(tmp_path, every=every)])
    assert saved == [tmp_path / f"sample_grid_epoch_{epoch:04d}.png" for epoch in drawn_epochs]


def test_resumed_training_goes_on_counting_and_a_callback_serves_twice(tmp_path):
    model, callback = make_vae(), callbacks.SampleGrid(tmp_path / "new" / "folder", every=2)
    fit(model, epochs=2, callbacks=[callback])
    fit(model, epochs=3, initial_epoch=2, callbacks=[callback])
    assert names(tmp_path / "new" / "folder") == ["sample_grid_epoch_0002.png", "sample_grid_epoch_0003.png"]


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_every_must_be_a_positive_integer(tmp_path, every):
    with pytest.raises(ValueError, match="`every` must be an integer of at least 1"):
        callbacks.SampleGrid(tmp_path, every=every)


def before_training(model, callback, message, error=ValueError, data=(X,)):
    epochs = []
    counter = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    with pytest.raises(error, match=message):
        fit(model, *data, callbacks=[counter, callback])
    assert not epochs


def test_a_folder_that_cannot_be_made_stops_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    before_training(make_vae(), callbacks.SampleGrid(tmp_path / "file" / "runs"), "file/runs", OSError)


def test_what_does_not_fit_stops_before_training(tmp_path):
    before_training(make_vae(3), callbacks.LatentManifold(tmp_path), "latent_dim=2")
    before_training(make_vae(), callbacks.ReconstructionGrid(tmp_path, X_TEST[..., 0]), r"x\[..., None\]")
    before_training(make_vae(), callbacks.LatentScatter(tmp_path, X_TEST[:, :4]), "must have shape")
    before_training(make_vae(), callbacks.PCABaseline(tmp_path, X, X_TEST[:, :4]), "must have shape")
    before_training(make_cvae(), callbacks.LatentScatter(tmp_path, X_TEST), "labels", data=(X, Y))
    attributes = np.eye(3)[Y % 3]
    before_training(make_cvae(None, 3), callbacks.SampleGrid(tmp_path), "array of shape", data=(X, attributes))
    assert not names(tmp_path)


def test_labels_must_be_as_many_as_images(tmp_path):
    for make in (callbacks.ReconstructionGrid, callbacks.LatentScatter):
        with pytest.raises(ValueError, match="one entry per example: 40"):
            make(tmp_path, X_TEST, Y)
    with pytest.raises(ValueError, match="one entry per example: 40"):
        callbacks.PCABaseline(tmp_path, X, X_TEST, y_test=Y)


@pytest.mark.long
def test_training_does_not_notice_the_pictures(tmp_path, figures):
    def weights(*pictures):
        model = make_vae(jit_compile="auto")
        fit(model, epochs=2, callbacks=list(pictures))
        return model.get_weights()

    pictures = (
        callbacks.SampleGrid(tmp_path),
        callbacks.ReconstructionGrid(tmp_path, X_TEST),
        callbacks.LatentScatter(tmp_path, X_TEST, Y_TEST),
        callbacks.LatentManifold(tmp_path, n=3),
        callbacks.PCABaseline(tmp_path, X, X_TEST),
    )
    for with_pictures, without in zip(weights(*pictures), weights(), strict=True):
        np.testing.assert_array_equal(with_pictures, without)
    assert len(figures) == 2 * len(pictures)


# Contents of the figures


def test_samples_come_from_the_same_noise_each_epoch(tmp_path, figures):
    fit(make_vae(rate=0.0), epochs=2, callbacks=[callbacks.SampleGrid(tmp_path, seed=3)])
    fit(make_vae(rate=0.0), callbacks=[callbacks.SampleGrid(tmp_path, seed=4)])
    np.testing.assert_array_equal(drawn(figures[0]), drawn(figures[1]))
    assert not np.array_equal(drawn(figures[0]), drawn(figures[2]))
    assert figures[1].get_suptitle() == "Samples after epoch 2"


def test_samples_of_a_vae_are_a_square(tmp_path, figures):
    model = make_vae()
    fit(model, callbacks=[callbacks.SampleGrid(tmp_path, columns=3, seed=1)])
    np.testing.assert_allclose(drawn(figures[0]), drawn(plots.sample_grid(model.generate(9, seed=1))))


def test_samples_of_a_cvae_have_a_row_a_class(tmp_path, figures):
    model = make_cvae()
    fit(model, X, Y, callbacks=[callbacks.SampleGrid(tmp_path, columns=4)])
    assert drawn(figures[0]).shape == (10 * 9 - 1, 4 * 9 - 1)
    labels = np.repeat(np.arange(10), 4)
    row = plots.image_grid(model.generate(labels=labels, seed=0)[None, 28:32])
    np.testing.assert_allclose(drawn(figures[0])[63:71], drawn(row))
    assert [label.get_text() for label in figures[0].axes[0].get_yticklabels()] == [str(k) for k in range(10)]


def test_samples_of_attributes_are_those_asked_for(tmp_path, figures):
    model, labels = make_cvae(None, 3), np.eye(3)[[0, 1, 2, 0]]
    fit(model, X, np.eye(3)[Y % 3], callbacks=[callbacks.SampleGrid(tmp_path, labels=labels)])
    np.testing.assert_allclose(drawn(figures[0]), drawn(plots.sample_grid(model.generate(labels=labels, seed=0))))


def test_reconstructions_are_the_models(tmp_path, figures):
    model = make_cvae()
    fit(model, X, Y, callbacks=[callbacks.ReconstructionGrid(tmp_path, X_TEST, Y_TEST, count=3)])
    expected = plots.reconstruction_grid(X_TEST[:3], model.reconstruct(X_TEST[:3], Y_TEST[:3]))
    np.testing.assert_allclose(drawn(figures[0]), drawn(expected))


def test_scatter_holds_the_codes_by_class(tmp_path, figures):
    model = make_vae()
    fit(model, callbacks=[callbacks.LatentScatter(tmp_path, X_TEST, Y_TEST)])
    points = figures[0].axes[0].collections[4].get_offsets()
    np.testing.assert_allclose(points, model.encode(X_TEST[Y_TEST == 4]), atol=1e-6)


def test_scatter_of_many_images_draws_2000_spread_over_all(tmp_path):
    x = np.arange(5000, dtype="float32").reshape(-1, 1, 1, 1) / 5000
    callback = callbacks.LatentScatter(tmp_path, x, np.arange(5000))
    assert len(callback.x) == len(set(callback.y)) == 2000
    assert callback.y[[0, -1]].tolist() == [0, 4999]
    np.testing.assert_array_equal(callback.x[:, 0, 0, 0], x[callback.y, 0, 0, 0])


def test_manifold_is_of_the_label_asked_for(tmp_path, figures):
    model = make_cvae()
    fit(model, X, Y, callbacks=[callbacks.LatentManifold(tmp_path, label=7, n=3)])
    np.testing.assert_allclose(drawn(figures[0]), drawn(plots.latent_manifold(model, 3, 7)))


@pytest.mark.long
def test_pca_baseline_logs_both_errors(tmp_path):
    model = make_vae()
    baseline = callbacks.PCABaseline(tmp_path / "runs", X, X_TEST, y_test=Y_TEST, every=2)
    log = tmp_path / "log.csv"
    history = fit(model, epochs=2, callbacks=[baseline, keras.callbacks.CSVLogger(str(log))]).history
    flat = X_TEST.reshape(40, -1)
    pca = PCA(2).fit(X.reshape(64, -1))
    expected = np.mean((pca.inverse_transform(pca.transform(flat)) - flat) ** 2)
    np.testing.assert_allclose(history["pca_reconstruction_mse"], [expected, expected], rtol=1e-4)
    last = np.mean((model.reconstruct(X_TEST) - X_TEST) ** 2)
    np.testing.assert_allclose(history["reconstruction_mse"][1], last, rtol=1e-5)
    assert history["reconstruction_mse"][0] != history["reconstruction_mse"][1]
    assert float(list(csv.DictReader(log.open()))[1]["reconstruction_mse"]) == history["reconstruction_mse"][1]
    assert names(tmp_path / "runs") == ["pca_baseline_epoch_0002.png"]


def test_pca_baseline_draws_both_codes_and_errors(tmp_path, figures):
    model = make_cvae()
    baseline = callbacks.PCABaseline(tmp_path, X, X_TEST, y_test=Y_TEST)
    logs = fit(model, X, Y, callbacks=[baseline]).history
    row_names = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    errors = [logs["reconstruction_mse"][0], logs["pca_reconstruction_mse"][0]]
    assert row_names == ["real", f"model\nMSE {errors[0]:.4f}", f"PCA\nMSE {errors[1]:.4f}"]
    z = model.encode(X_TEST, Y_TEST)
    np.testing.assert_allclose(figures[0].axes[1].collections[2].get_offsets(), z[Y_TEST == 2], atol=1e-6)


# TensorBoard


def test_tensorboard_gets_the_png(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    fit(make_vae(), epochs=2, callbacks=[callbacks.SampleGrid(tmp_path, every=2, tensorboard=tmp_path / "board")])
    (path,) = (tmp_path / "board").iterdir()
    events = [event for event in loader.LegacyEventFileLoader(str(path)).Load() if event.summary.value]
    (event,) = events
    (value,) = event.summary.value
    assert (event.step, value.tag) == (2, "sample_grid")
    assert value.image.encoded_image_string == (tmp_path / "sample_grid_epoch_0002.png").read_bytes()
    assert "_AsyncWriterThread" not in {type(thread).__name__ for thread in threading.enumerate()}  # closed


def test_tensorboard_missing_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        callbacks.SampleGrid(tmp_path, tensorboard=tmp_path / "board")
    callbacks.SampleGrid(tmp_path)  # not required unless requested


# KL warm-up


def test_linear_warmup_rises_from_0_and_stays():
    logs = fit(make_vae(), epochs=6, callbacks=[callbacks.KLWarmup(4, beta=2.0)]).history
    np.testing.assert_allclose(logs["beta"], [0, 0.5, 1, 1.5, 2, 2])


def test_warmup_weighs_the_loss_that_is_minimised():
    logs = fit(make_vae(jit_compile="auto"), epochs=4, callbacks=[callbacks.KLWarmup(3, beta=6.0)]).history
    expected = np.array(logs["reconstruction_loss"]) + np.array([0, 2, 4, 6]) * logs["kl_loss"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((8, 1.0, "cyclical", 2, 0.5), [0, 0.5, 1, 1, 0, 0.5, 1, 1, 1, 1]),
        ((8, 3.0, "cyclical", 2, 1.0), [0, 0.75, 1.5, 2.25, 0, 0.75, 1.5, 2.25, 3, 3]),
        ((10, 1.0, "cyclical", 4, 0.8), [0, 0.5, 1, 0.25, 0.75, 0, 0.5, 1, 0.25, 0.75, 1]),
    ],
)
def test_cyclical_warmup_rises_in_every_cycle(arguments, expected):
    warmup = callbacks.KLWarmup(*arguments)  # the tests of the linear one train
    values = [warmup.beta * warmup.value(epoch) for epoch in range(len(expected))]
    np.testing.assert_allclose(values, expected, atol=1e-7)


def test_warmup_aims_at_the_models_own_beta_over_two_fits():
    model, warmup = make_vae(beta=4.0), callbacks.KLWarmup(4)
    with pytest.warns(UserWarning, match="beta=1, below the target 4"):
        fit(model, epochs=2, callbacks=[warmup])
    logs = fit(model, epochs=6, initial_epoch=2, callbacks=[warmup]).history
    np.testing.assert_allclose(logs["beta"], [2, 3, 4, 4])
    assert float(keras.ops.convert_to_numpy(model.beta)) == 4


def test_warmup_that_outlasts_training_warns_where_beta_ends():
    with pytest.warns(UserWarning, match="training will end at beta=0.5, below the target 2.* more than 4 epochs"):
        fit(make_vae(), epochs=2, callbacks=[callbacks.KLWarmup(4, beta=2.0)])


@pytest.mark.parametrize("warmup", [(1,), (2,), (3, 0.0, "cyclical", 1)])
def test_warmup_that_arrives_does_not_warn(warmup):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(make_vae(), epochs=3, callbacks=[callbacks.KLWarmup(*warmup)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs`"),
        ({"epochs": 2.5}, "`epochs`"),
        ({"epochs": 5, "beta": -1}, "`beta`"),
        ({"epochs": 5, "beta": float("nan")}, "`beta`"),
        ({"epochs": 5, "schedule": "cosine"}, "'linear', 'cyclical'.*Received: 'cosine'"),
        ({"epochs": 7, "schedule": "cyclical", "cycles": 4}, "at most 3 cycles in 7 epochs. Received: 4"),
        ({"epochs": 5, "cycles": 0}, "`cycles`"),
        ({"epochs": 5, "ratio": 0}, "`ratio`"),
        ({"epochs": 5, "ratio": 1.1}, "`ratio`"),
    ],
)
def test_warmup_refuses_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        callbacks.KLWarmup(**arguments)


def test_warmup_needs_a_model_with_beta():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"variable `beta`.*Sequential"):
        model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0, callbacks=[callbacks.KLWarmup(2)])


def test_many_classes_and_their_names_are_legible():
    """300 classes gave a figure of 300 rows, and a legend of 300 entries."""
    many = make_cvae(300, 300)
    grid = callbacks.SampleGrid("unused", columns=2, class_names=[f"class {k}" for k in range(300)])
    scatter = callbacks.LatentScatter("unused", DATA.x_train[:300], np.arange(300))
    for callback in (grid, scatter):
        callback.set_model(many)
    names = [label.get_text() for label in grid.figure(1).axes[0].get_yticklabels()]
    assert names[0] == "class 0"
    assert names[-1] == "class 299"
    assert len(names) == 20
    legend = [text.get_text() for text in scatter.figure(1).legends[0].get_texts()]
    assert len(legend) == 20
    assert legend[0] == "0"
    points = sum(len(each.get_offsets()) for each in scatter.figure(1).axes[0].collections)
    assert points == 300  # the others are grey


def test_what_wraps_keras_fit_may_append_a_callback(monkeypatch):
    """As MLflow's autologging does."""
    seen, fit = [], keras.Model.fit

    @functools.wraps(fit)
    def wrapped(model, *args, callbacks, **kwargs):
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["elbo"])))
        return fit(model, *args, callbacks=callbacks, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", wrapped)
    model = CASES["vae"].build()
    model.compile(**QUICKLY)
    model.fit(CASES["vae"].arrays(8)[0], verbose=0)
    assert len(seen) == 1
