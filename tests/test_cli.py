"""The command line, end to end, as a user runs it: in a separate process, in an empty folder."""

import contextlib
import csv
import dataclasses
import functools
import importlib
import io
import json
import os
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import fresh
import keras
import numpy as np
import pytest

import kvae
from kvae import callbacks, distributions, priors
from kvae.bounds import ELBO, ImportanceWeighted, Renyi
from kvae.cli import backends, build, main, parser, printing, run_folder, run_record, runs, saved_model, streams
from kvae.cli import options as run_options
from kvae.io import FileError
from kvae.models.base import BaseModel

QUICK = ("train", "--epochs", "2", "--hidden", "16", "--out", "run")


def run(*arguments, cwd, code=0):
    """Run the command in a process of its own, and return its standard output and standard error."""
    done = fresh.python(fresh.KVAE, *arguments, cwd=cwd, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("kvae")
    else:
        assert done.stderr == ""
    return done.stdout + done.stderr


def run_here(*arguments, cwd, code=0):
    """The same in this process, which saves seconds where the start of the command does not matter."""
    before, out, err = Path.cwd(), io.StringIO(), io.StringIO()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main.main([str(argument) for argument in arguments]) == code, out.getvalue() + err.getvalue()
    finally:
        os.chdir(before)
    assert len(err.getvalue().splitlines()) == bool(code), err.getvalue()
    return out.getvalue() + err.getvalue()


@pytest.fixture
def eager_models(monkeypatch):
    """Models that compile nothing: a command takes a few steps and looks once, sooner than it would compile."""
    monkeypatch.setattr(BaseModel, "compile", functools.partialmethod(BaseModel.compile, run_eagerly=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    printed = run(*QUICK, "--seed", "3", "--sigma", "learned", "--likelihood", "gaussian", cwd=folder)
    return folder, printed


def test_a_run_folder_is_complete(trained):
    place, printed = trained
    out = place / "run"
    assert {path.name for path in out.iterdir()} == set(run_folder.FILES)
    options = json.loads((out / "config.json").read_text())["options"]
    assert (options["seed"], options["likelihood"], options["hidden"]) == (3, "gaussian", [16])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["negative_elbo"] == pytest.approx(metrics["reconstruction_loss"] + metrics["kl_loss"], rel=1e-5)
    assert 0 <= metrics["label_agreement"] <= 1
    rows = list(csv.DictReader((out / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "val_elbo", "pca_reconstruction_mse", "reconstruction_mse"} <= set(rows[0])
    names = {path.name for path in (out / "pictures").iterdir()}
    assert {"sample_grid_epoch_0001.png", "sample_grid_epoch_0002.png", "latent_manifold_epoch_0002.png"} <= names
    assert "epoch 2/2" in printed
    assert "negative elbo" in printed


def test_explore_writes_a_page_of_the_runs_data(trained):
    folder, _ = trained
    said = run_here("explore", "run/model.keras", cwd=folder)
    text = (folder / "run" / "explore.html").read_text()
    assert "written to run/explore.html" in said
    assert "<h1>CVAE on digits</h1>" in text
    alone = folder / "alone.keras"
    alone.write_bytes((folder / "run" / "model.keras").read_bytes())
    assert "use --dataset" in run_here("explore", "alone.keras", "--out", "pages/one.html", cwd=folder)
    assert (folder / "pages" / "one.html").stat().st_size < len(text)


@pytest.mark.long
def test_a_report_of_the_run(trained):
    folder, _ = trained
    assert "written to page.html" in run_here("report", "run", "--out", "page.html", cwd=folder)
    text = (folder / "page.html").read_text()
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    number = f"{metrics['negative_elbo']:.2f} ± {metrics['negative_elbo_standard_error']:.2f}".replace("-", "−")
    assert "<h1>CVAE on digits: run</h1>" in text
    assert number in text
    assert text.count("<img") == 2 + len(run_record.read([folder / "run"])[0].pictures()) == 7
    assert number in run_here("compare", "run", cwd=folder)


def test_the_metrics_are_the_models(trained, digits):
    folder, _ = trained
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    model = kvae.load_model(folder / "run" / "model.keras")
    elbo = model.elbo(digits.x_test, digits.y_test, num_samples=20, seed=3)
    assert metrics["negative_elbo"] == pytest.approx(-elbo.mean(), rel=1e-5)
    assert metrics["negative_elbo_standard_error"] == pytest.approx(elbo.std(ddof=1) / np.sqrt(360), rel=1e-4)
    mse = np.mean((model.reconstruct(digits.x_test, digits.y_test) - digits.x_test) ** 2)
    assert metrics["reconstruction_mse"] == pytest.approx(mse, rel=1e-4)


@pytest.mark.long
def test_a_config_repeats_its_run(trained):
    folder, _ = trained
    run("train", "--config", "run/config.json", "--out", "again", cwd=folder)
    first, again = (json.loads((folder / name / "metrics.json").read_text()) for name in ("run", "again"))
    for name in ("negative_elbo", "kl_loss", "reconstruction_mse", "label_agreement"):
        assert again[name] == pytest.approx(first[name], rel=1e-4)


@pytest.mark.long
def test_a_run_is_not_overwritten_without_force(trained, small_pictures):
    folder, _ = trained
    before = (folder / "run" / "model.keras").read_bytes()
    assert "use --force" in run_here(*QUICK, cwd=folder, code=1)
    assert (folder / "run" / "model.keras").read_bytes() == before
    run_here(*QUICK, "--force", "--epochs", "1", "--out", "again", "--model", "vae", cwd=folder)
    assert json.loads((folder / "again" / "metrics.json").read_text())["model"] == "VAE"


def test_generate_by_label(trained):
    folder, _ = trained
    printed = run_here("generate", "run", "--label", "7", "--count", "4", cwd=folder)
    assert "4 images" in printed
    assert (folder / "run" / "generated-label-7.png").stat().st_size > 1000
    some = ("--label", "1", "2", "--count", "3", "--temperature", "0.5", "--out", "some.npz")
    run_here("generate", "run/model.keras", *some, cwd=folder)
    images = np.load(folder / "some.npz")["images"]
    model = kvae.load_model(folder / "run" / "model.keras")
    np.testing.assert_allclose(images, model.generate(labels=[1, 1, 1, 2, 2, 2], seed=0, temperature=0.5), atol=1e-6)


@pytest.mark.long
def test_evaluate_plot_and_data(trained, small_pictures):
    folder, _ = trained
    printed = run_here("evaluate", "run/model.keras", "--doctor", "--out", "numbers.json", cwd=folder)
    numbers = json.loads((folder / "numbers.json").read_text())
    assert numbers["dataset"] == "digits"
    assert "label agreement" in printed
    assert numbers["findings"]
    assert all(finding["message"] in " ".join(printed.split()) for finding in numbers["findings"])
    printed = run_here("plot", "run/model.keras", "--out", "drawn", cwd=folder)
    assert {path.stem for path in (folder / "drawn").iterdir()} == {*parser.PICTURES, "history"} - {"histograms"}
    assert run_here("data", cwd=folder).startswith("digits\nmnist_small\nshapes\nmnist\nfashion_mnist\n")
    printed = run_here("data", "digits", "--out", "digits.png", cwd=folder)
    assert "1437 training and 360 test images, 8 high, 8 wide" in printed
    assert (folder / "digits.png").is_file()


@pytest.mark.long
def test_apply_writes_a_picture_and_prints_the_number(trained, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(folder)
    printed = {}
    for task in parser.TASKS:
        assert main.main(["apply", task, "run/model.keras", "--count", "20", "--out", f"applied/{task}.png"]) == 0
        printed[task] = capsys.readouterr().out
        assert (folder / "applied" / f"{task}.png").stat().st_size > 10_000
        assert f"written to applied/{task}.png" in printed[task]
    assert "auroc" in printed["anomaly"]
    assert "PSNR of the estimate, dB" in printed["denoise"]
    assert "MSE in the lower half" in printed["inpaint"]
    file = (folder / "applied" / "compress.kvae").read_bytes()
    assert f"bytes  {len(file)}" in printed["compress"]
    model = kvae.load_model(folder / "run" / "model.keras")
    assert kvae.applications.decompress(model, file).shape == (20, 8, 8, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("colourise",), 2, "invalid choice"),
        (("super-resolve", "--factor", "3"), 1, "divides the height and width"),
        (("denoise", "--sigma", "-1"), 1, "`sigma` must be a finite number above 0"),
        (("inpaint", "--method", "magic"), 1, "`method` must be one of"),
        (("anomaly", "--method", "magic"), 1, "`method` must be"),
        (("anomaly", "--strange", "absent.npz"), 1, "existing .npz file"),
        (("compress", "--count", "0"), 1, "`count` must be an integer of at least 1"),
        (("compress", "--out", "/proc/x.png"), 1, "/proc"),
    ],
)
def test_bad_arguments_to_apply(trained, in_process, arguments, code, message):
    task, *options = arguments
    returned, error = in_process("apply", task, str(trained[0] / "run" / "model.keras"), *options)
    assert returned == code
    assert message in error
    assert len(error.splitlines()) == 1


OWN = """
import keras
import kvae

@keras.saving.register_keras_serializable(package="own")
class Louder(kvae.VAE):
    def generation(self, z, condition=(), training=False):
        return 2.0 * super().generation(z, condition, training)
"""


@pytest.mark.long
def test_a_users_own_model_loads_once_its_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    model = importlib.import_module("own_models").Louder(*kvae.networks.mlp((8, 8, 1), 2, hidden=(4,)), seed=0)
    model.save(tmp_path / "own.keras")
    monkeypatch.delitem(sys.modules, "own_models")  # as in a process that has not imported it
    monkeypatch.delitem(keras.saving.get_custom_objects(), "own>Louder")
    evaluate = ("evaluate", "own.keras", "--dataset", "digits")
    assert "own_models.Louder, which is not registered: decorate" in run_here(*evaluate, cwd=tmp_path, code=1)
    for wrong in ("absent", "absent.models", "own_models.py", "./own_models.py"):
        assert f"such as my_models for my_models.py. Received: {wrong}" in run_here(
            *evaluate, "--import", wrong, cwd=tmp_path, code=1
        )
    assert "Louder" in run(*evaluate, "--import", "own_models", cwd=tmp_path)


def test_pictures_have_the_commands_names():
    from kvae.cli import plot

    assert set(plot.PICTURES) == set(parser.PICTURES)


def test_priors_and_gradients_have_the_commands_names():
    from kvae import bounds, networks

    choices = {option.name: option.choices for option in run_options.TRAIN}
    assert {*priors.PRIORS, "learned", "flow"} == set(choices["prior"])
    assert set(choices["fit_prior"]) == {"gaussian_mixture", "flow", "two_stage", "autoregressive"}
    assert choices["gradient"] == bounds.GRADIENTS
    assert {*networks.NETWORKS, "ladder", "top_down"} == set(choices["network"])


def test_tasks_have_the_commands_names():
    from kvae.cli import apply

    assert tuple(apply.TASKS) == parser.TASKS


@pytest.mark.long
def test_other_data_and_models(tmp_path, rng, small_pictures, eager_models):
    np.savez(tmp_path / "own.npz", images=rng.random((40, 8, 6, 3)), attributes=rng.integers(2, size=(40, 3)))
    run_here(
        *QUICK, "--dataset", "own.npz", "--network", "conv", "--hidden", "4", "--prior", "learned", "--kl-warmup", "1",
        "--beta", "2", "--binarization", "static", cwd=tmp_path,
    )  # fmt: skip
    names = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"sample_grid_epoch_0002.png", "latent_manifold_epoch_0002.png"} <= names
    run_here("plot", "run/model.keras", cwd=tmp_path)
    assert (tmp_path / "run" / "plots" / "manifold.png").is_file()
    assert "negative elbo" in run_here("evaluate", "run", cwd=tmp_path)
    for task in ("anomaly", "compress"):
        run_here("apply", task, "run/model.keras", "--count", "8", cwd=tmp_path)
    vector = ("--attributes", "1", "0", "0", "1", "1", "0")
    run_here("generate", "run/model.keras", *vector, "--count", "4", "--out", "some.npz", cwd=tmp_path)
    model = kvae.load_model(tmp_path / "run" / "model.keras")
    expected = model.generate(labels=np.tile([1, 0, 0, 1, 1, 0], (4, 1)), seed=0)
    np.testing.assert_allclose(np.load(tmp_path / "some.npz")["images"], expected, atol=1e-6)
    for wrong in ((), ("--label", "1"), vector[:-1]):
        printed = run_here("generate", "run/model.keras", *wrong, cwd=tmp_path, code=1)
        assert "`attributes` must be the 6 numbers of one example" in printed
    assert "no class labels" in run_here("plot", "run/model.keras", "--label", "1", cwd=tmp_path, code=1)
    np.savez(tmp_path / "bare.npz", images=rng.random((40, 8, 6, 3)))
    for command in ("plot", "evaluate"):
        bare = (command, "run/model.keras", "--dataset", "bare.npz")
        assert "`dataset` must have labels" in run_here(*bare, cwd=tmp_path, code=1)
    run_here(*QUICK, "--model", "autoencoder", "--noise", "0.3", "--latent-dim", "3", "--out", "auto", cwd=tmp_path)
    run_here("plot", "auto/model.keras", cwd=tmp_path)
    assert "must be one of" in run_here("plot", "auto/model.keras", "--kind", "manifold", cwd=tmp_path, code=1)
    assert "needs a prior" in run_here("generate", "auto/model.keras", cwd=tmp_path, code=1)
    vae = ("--model", "vae", "--latent-dim", "3", "--binarization", "dynamic", "--out", "other")
    run_here(*QUICK, *vae, cwd=tmp_path)
    run_here("generate", "other/model.keras", "--count", "2", cwd=tmp_path)
    run_here("plot", "other/model.keras", cwd=tmp_path)
    assert not (tmp_path / "other" / "plots" / "manifold.png").exists()


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({"bound": "renyi", "alpha": -np.inf, "prior": "mixture", "posterior": "laplace"}, Renyi(-np.inf)),
        ({"bound": "renyi", "alpha": 0.0, "gradient": "score_function"}, Renyi(0.0, "score_function")),
        ({"bound": "renyi"}, Renyi(0.5)),
        (
            {"bound": "importance_weighted", "gradient": "doubly_reparameterized", "prior": "vamp", "num_samples": 3},
            ImportanceWeighted("doubly_reparameterized"),
        ),
        ({"free_bits": 0.5, "posterior": "log_normal"}, ELBO(free_bits=0.5)),
    ],
)
def test_options_become_the_model_and_come_back_from_config_json(tmp_path, digits, given, bound):
    options = run_options.complete({"model": "vae", "hidden": [8], **given})
    run_folder.write_json(tmp_path / "config.json", {"options": options})
    assert run_options.complete(run_folder.read_options(tmp_path / "config.json")) == options
    model = build.build(options, digits)
    assert model.bound == bound
    assert type(model.prior) is priors.PRIORS[options["prior"]]
    assert type(model.posterior_family) is distributions.POSTERIORS[options["posterior"]]
    assert model.num_samples == options["num_samples"]


def test_flows_and_separate_gradients_by_name(digits):
    given = {"model": "vae", "hidden": [8], "prior": "flow", "gradient": "sticking_the_landing"}
    model = build.build(run_options.complete({**given, "posterior": "iaf"}), digits)
    assert (type(model.prior), type(model.posterior_family)) == (kvae.flows.Prior, kvae.flows.Posterior)
    assert model.posterior_family.context == 1
    assert model.bound == ELBO("monte_carlo", gradient="sticking_the_landing")
    with pytest.raises(ValueError, match="reweighted_wake_sleep requires bound=importance_weighted or renyi"):
        run_options.complete({"model": "vae", "gradient": "reweighted_wake_sleep"})


@pytest.mark.backend_independent
def test_hierarchies_by_their_networks(digits):
    given = {"model": "hierarchical", "beta": 2.0, "bound": "importance_weighted", "num_samples": 2}
    sizes = {"network": "ladder", "latent_dims": [3, 2, 1], "hidden": [8, 6, 4]}
    model = build.build(run_options.complete({**given, **sizes}), digits)
    assert model.decoder.shapes == [(3,), (2,), (1,)]
    assert (model.bound, model.num_samples, float(model.beta)) == (ImportanceWeighted(), 2, 2.0)
    model = build.build(run_options.complete({"model": "hierarchical", "network": "ladder"}), digits)
    assert model.decoder.shapes == [(32,), (16,)]
    sizes = {"network": "top_down", "latent_dim": 3, "num_blocks": [0, 1], "hidden": [4, 4], "free_bits": 0.5}
    model = build.build(run_options.complete({"model": "hierarchical", "likelihood": "gaussian", **sizes}), digits)
    assert model.decoder.shapes == [(2, 2, 3)]
    assert (model.bound, model.likelihood.sigma) == (ELBO(free_bits=0.5), "learned")


def counts_data(rng, **arrays):
    x = rng.poisson(3.0, size=(40, 6)).astype("float32") + np.eye(40, 6, dtype="float32")
    whole = {"y_train": None, "y_test": None, "num_classes": None, "name": "own", **arrays}
    return kvae.data.Dataset(x[:30], x_test=x[30:], **whole)


SIZED = {"model": "cvae", "likelihood": "poisson", "hidden": [8], "size_factor": "mean"}


def test_sizes_of_counts(rng):
    options = run_options.complete(SIZED)
    labelled = counts_data(rng, y_train=np.arange(30) % 2, y_test=np.arange(10) % 2, num_classes=2)
    data = build.with_sizes(options, labelled)  # the sizes take the place of labels
    np.testing.assert_allclose(np.exp(data.y_train), labelled.x_train.mean(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(np.exp(data.y_test), labelled.x_test.mean(axis=1, keepdims=True), rtol=1e-6)
    model = build.build(options, data)
    one, other = model.decode(np.ones((2, 2)), np.log([[1.0], [3.0]]))
    np.testing.assert_allclose(other, 3 * one, rtol=1e-5)
    given = run_options.complete({**SIZED, "size_factor": "attributes"})
    sizes = rng.normal(size=(40, 1)).astype("float32")
    known = counts_data(rng, y_train=sizes[:30], y_test=sizes[30:])
    np.testing.assert_array_equal(build.with_sizes(given, known).y_test, sizes[30:])
    with pytest.raises(ValueError, match=r"floats of shape \(n, 1\): the logarithm .* Received: shape \(30,\)"):
        build.with_sizes(given, labelled)
    with pytest.raises(ValueError, match=r"floats of shape .* Received: none"):
        build.with_sizes(given, counts_data(rng))
    labelled.x_test[3] = 0
    with pytest.raises(
        ValueError, match=r"at least one of them above 0 .* Received: 1 of 40 without, the first at index 3"
    ):
        build.with_sizes(options, labelled)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ladder", "--model hierarchical --network ladder --latent-dims 3 2 --hidden 8 6 --kl-warmup 1"),
        ("top_down", "--model hierarchical --network top_down --num-blocks 1 --hidden 4 4 --free-bits 0.1"),
        ("sizes", "--model cvae --likelihood negative_binomial --size-factor mean --hidden 8"),
    ],
)
def test_commands_work_on_hierarchies_and_on_counts_with_sizes(
    tmp_path, rng, name, words, monkeypatch, small_pictures, eager_models, capsys
):
    np.savez(tmp_path / "own.npz", x=counts_data(rng).x_train if name == "sizes" else rng.random((50, 8, 8, 1)))
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "Progress", Interrupt)
        assert main.main(["train", *words.split(), "--dataset", "own.npz", "--epochs", "3", "--out", "run"]) == 1
    assert "resume with: kvae train --resume run" in capsys.readouterr().err
    printed = run_here("train", "--resume", "run", cwd=tmp_path)
    assert "epoch 3/3" in printed
    assert "negative elbo" in printed
    assert "negative elbo" in run_here("evaluate", "run/model.keras", "--doctor", cwd=tmp_path)
    condition = ["--attributes", "0.5"] if name == "sizes" else []
    run_here("generate", "run/model.keras", *condition, "--count", "3", "--out", "some.npz", cwd=tmp_path)
    assert np.load(tmp_path / "some.npz")["images"].shape[0] == 3
    run_here("plot", "run/model.keras", cwd=tmp_path)
    drawn = {path.stem for path in (tmp_path / "run" / "plots").iterdir()}
    assert {"samples", "reconstructions", "scatter", "traversal", "interpolation", "history"} <= drawn
    run_here("apply", "anomaly", "run/model.keras", "--count", "8", cwd=tmp_path)


def test_a_run_may_end_with_a_fitted_prior(digits):
    given = {"model": "autoencoder", "hidden": [8], "fit_prior": "gaussian_mixture"}
    options = run_options.complete(given)
    fields = dict.fromkeys(field.name for field in dataclasses.fields(runs.Run))
    model = build.build(options, digits)
    run = runs.with_fitted_prior(runs.Run(**{**fields, "options": options, "data": digits, "model": model}))
    assert run.model.generate(2, seed=0).shape == (2, 8, 8, 1)
    with pytest.raises(ValueError, match="`fit_prior` requires prior=standard"):
        run_options.complete({"model": "vae", "fit_prior": "flow", "prior": "mixture"})


def test_posterior_prior_and_bound_on_the_command_line(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(runs, "train", lambda options, *_, **__: given.append(options) or ({}, False))
    words = "--posterior laplace --prior mixture --bound renyi --alpha=-inf --gradient score_function --free-bits 0.5"
    assert main.main(["train", *words.split()]) == 0
    expected = {"posterior": "laplace", "prior": "mixture", "bound": "renyi", "alpha": -np.inf, "free_bits": 0.5}
    assert given[0] == {**expected, "gradient": "score_function"}
    run_folder.write_json(tmp_path / "config.json", {"options": given[0]})
    assert main.main(["train", "--config", str(tmp_path / "config.json"), "--alpha", "0"]) == 0
    assert given[1] == {**given[0], "alpha": 0.0}


@pytest.mark.long
def test_a_run_of_a_positive_posterior_and_a_mixture_is_drawn_and_saved(tmp_path):
    options = {"model": "vae", "posterior": "log_normal", "prior": "mixture", "bound": "renyi", "alpha": -np.inf}
    metrics, _ = runs.train({**options, "epochs": 1, "hidden": [8], "num_samples": 2}, tmp_path / "run", verbose=False)
    assert np.isfinite(metrics["negative_elbo"])
    again = run_options.complete(run_folder.read_options(tmp_path / "run" / "config.json"))
    assert {name: again[name] for name in options} == options
    model = kvae.load_model(tmp_path / "run" / "model.keras")
    assert model.bound == Renyi(-np.inf)
    assert (model.encode(np.zeros((1, 8, 8, 1))) > 0).all()


@pytest.mark.long
def test_mnist_through_keras(tmp_path, keras_home):
    command = [sys.executable, "-c", fresh.KVAE, "data", "mnist"]  # Keras looks for its home when it is imported
    environment = {**os.environ, "KERAS_HOME": str(keras_home)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "60000 training and 10000 test images" in done.stdout, done.stderr


OTHER = "jax" if keras.backend.backend() != "jax" else "tensorflow"
BAD = {
    "unknown backend": (("train", "--backend", "numpy"), 2, "invalid choice: 'numpy'"),
    "another backend in this process": (
        ("train", "--backend", OTHER),
        1,
        f"--backend must be that of this process, whose Keras has {keras.backend.backend()}. Received: {OTHER}",
    ),
    "no command": ((), 2, "required"),
    "unknown command": (("trane",), 2, "invalid choice"),
    "not a number": (("train", "--epochs", "many"), 2, "invalid int"),
    "unknown dataset": (("train", "--dataset", "cifar"), 1, "must be one of ['digits', 'mnist_small', 'shapes', "),
    "unknown likelihood": (
        ("train", "--likelihood", "cauchy"),
        1,
        "`likelihood` must be one of ['bernoulli', 'categorical'",
    ),
    "grey values as counts": (("train", "--likelihood", "poisson"), 1, "must hold counts, whole numbers from 0"),
    "a wrong count": (  # by its place in the file, whose rows are divided
        ("train", "--dataset", "counts.npz", "--model", "vae", "--likelihood", "poisson"),
        1,
        "`x` must hold counts, whole numbers from 0 to 16,777,216, for the Poisson likelihood, neither scaled nor "
        "logarithms. Received: -1 in column 2 of example 7",
    ),
    "unknown bound": (("train", "--bound", "elbow"), 1, "`bound` must be one of"),
    "unknown posterior": (("train", "--posterior", "cauchy"), 1, "`posterior` must be one of ['categorical'"),
    "unknown prior": (("train", "--prior", "flat"), 2, "invalid choice: 'flat'"),
    "a vae's prior of a cvae": (("train", "--prior", "vamp"), 1, "`prior` vamp requires model=vae. Received"),
    "a cvae's prior of a vae": (("train", "--model", "vae", "--prior", "learned"), 1, "requires model=cvae"),
    "alpha without renyi": (("train", "--alpha", "0"), 1, "`alpha` requires bound=renyi. Received: bound=elbo"),
    "alpha not a number": (("train", "--bound", "renyi", "--alpha", "nan"), 1, "`alpha` must be a finite number"),
    "free bits without elbo": (
        ("train", "--bound", "importance_weighted", "--free-bits", "1"),
        1,
        "`free_bits` requires bound=elbo. Received: bound=importance_weighted",
    ),
    "free bits without a closed form": (("train", "--prior", "mixture", "--free-bits", "1"), 1, "not use free bits"),
    "negative free bits": (("train", "--free-bits", "-1"), 1, "`free_bits` must be a finite number of at least 0"),
    "an elbo's gradient": (("train", "--gradient", "doubly_reparameterized"), 1, "bound=importance_weighted or renyi"),
    "the largest weight's gradient": (
        ("train", "--bound", "renyi", "--alpha=-inf", "--gradient", "doubly_reparameterized"),
        1,
        "`alpha` must be finite",
    ),
    "an autoencoder with a posterior": (
        ("train", "--model", "autoencoder", "--posterior", "laplace"),
        1,
        "`posterior` requires model=vae or cvae or semisupervised or auxiliary or introvae or vaegan. Received: model=",
    ),
    "no epochs": (("train", "--epochs", "0"), 1, "`epochs` must be an integer of at least 1"),
    "negative beta": (("train", "--beta", "-1"), 1, "`beta` must be a finite number"),
    "noise without autoencoder": (("train", "--noise", "0.1"), 1, "requires model=autoencoder"),
    "an autoencoder with beta": (
        ("train", "--model", "autoencoder", "--beta", "2"),
        1,
        "`beta` requires model=vae or",
    ),
    "a hierarchy without its networks": (
        ("train", "--model", "hierarchical"),
        1,
        "`model` hierarchical requires network=ladder or top_down. Received: network=mlp",
    ),
    "a ladder of a vae": (("train", "--model", "vae", "--network", "ladder"), 1, "requires model=hierarchical"),
    "one latent size of a ladder": (
        ("train", "--model", "hierarchical", "--network", "ladder", "--latent-dim", "3"),
        1,
        "`latent_dim` requires network=mlp or conv or top_down. Received: network=ladder",
    ),
    "a ladder of three and two": (
        ("train", "--model", "hierarchical", "--network", "ladder", "--latent-dims", "4", "2", "1"),
        1,
        "`hidden` must hold one size for each of `latent_dims` (4, 2, 1). Received: (256, 128)",
    ),
    "a hierarchy's posterior": (
        ("train", "--model", "hierarchical", "--network", "ladder", "--posterior", "laplace"),
        1,
        "`posterior` requires model=vae or",
    ),
    "sizes of a vae": (
        ("train", "--model", "vae", "--likelihood", "poisson", "--size-factor", "mean"),
        1,
        "`size_factor` requires model=cvae. Received: model=vae",
    ),
    "sizes of grey values": (("train", "--size-factor", "mean"), 1, "requires likelihood=poisson or negative_binomial"),
    "sigma without gaussian": (("train", "--sigma", "0.1"), 1, "likelihood=gaussian"),
    "missing file": (("train", "--dataset", "absent.npz"), 1, "existing .npz file"),
    "damaged file": (("train", "--dataset", "damaged.npz"), 1, "damaged"),
    "no labels": (("train", "--dataset", "faces.npz"), 1, "needs labels"),
    "one class": (("train", "--dataset", "one.npz"), 1, "at least two classes"),
    "out is a device": (("data", "digits", "--out", "/dev/null"), 1, "Received: /dev/null, a device"),
    "out is a file": (("train", "--out", "damaged.npz"), 1, "must be a folder"),
    "out contains other files": (("train", "--out", "."), 1, "contains other files"),
    "unwritable out": (("train", "--out", "/proc/run"), 1, "output folder must be writable"),
    "bad config": (("train", "--config", "damaged.npz"), 1, "config.json of a run"),
    "no model": (("generate", "absent.keras", "--label", "1"), 1, "does not exist"),
    "not a model": (("generate", "damaged.npz", "--label", "1"), 1, "is not a .keras file"),
}


@pytest.fixture
def in_process(tmp_path, monkeypatch, capsys):
    """Run the command in this process, which has already loaded Keras, in a folder with some invalid files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and then nothing")
    np.savez(tmp_path / "counts.npz", x=np.where(np.arange(80).reshape(20, 4) == 30, -1, 3))
    np.savez(tmp_path / "faces.npz", images=np.zeros((10, 4, 4)))
    np.savez(tmp_path / "one.npz", images=np.zeros((10, 4, 4)), labels=np.full(10, 3))

    def call(*arguments):
        code = main.main(list(arguments))
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line_and_leaves_nothing(name, in_process, tmp_path):
    arguments, expected, message = BAD[name]
    before = sorted(tmp_path.iterdir())
    code, error = in_process(*arguments)
    assert code == expected
    assert message in error
    assert len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "10"), "must be in 0..9"),
        (("--label", "-1"), "must be in 0..9"),
        ((), "`label` is missing"),
        (("--label", "1", "--count", "0"), "`count` must be an integer of at least 1"),
        (("--label", "1", "--out", "/proc/x.png"), "/proc"),
    ],
)
def test_bad_arguments_to_generate(trained, in_process, arguments, message):
    code, error = in_process("generate", str(trained[0] / "run" / "model.keras"), *arguments)
    assert code == 1
    assert message in error
    assert len(error.splitlines()) == 1


def test_debug_shows_the_traceback(in_process):
    with pytest.raises(ValueError, match="must be one of"):
        in_process("train", "--dataset", "cifar", "--debug")


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C at the end of the second epoch, or at the beginning of another one."""

    at_beginning_of = None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at_beginning_of:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.long
@pytest.mark.filterwarnings("default::UserWarning:kvae")  # of other versions
def test_an_interruption_keeps_what_was_trained(tmp_path, monkeypatch, capsys, small_pictures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callbacks, "Progress", Interrupt)
    options, out = {"epochs": 50, "hidden": [16], "model": "vae"}, tmp_path / "run"
    metrics, interrupted = runs.train(options, out)
    assert interrupted
    assert np.isfinite(metrics["negative_elbo"])
    assert len((out / "history.csv").read_text().splitlines()) == 3
    model = kvae.load_model(out / "model.keras")
    with np.load(out / "checkpoint.npz") as file:  # the weights of the last complete epoch, the first one
        assert json.loads(str(file["record"]))["epoch"] == 1
        for i, variable in enumerate(model.variables):
            if variable.trainable:
                np.testing.assert_array_equal(file[str(i)], keras.ops.convert_to_numpy(variable))

    def resume():
        code = main.main(["train", "--resume", "run"])
        lines = [line for line in capsys.readouterr().err.splitlines() if "resume" in line or code]
        assert code == 1
        return lines

    capsys.readouterr()
    kept = {path: path.read_bytes() for path in (out / "config.json", out / "history.csv")}
    config = json.loads(kept[out / "config.json"])
    for history in (b"epoch,loss\xff\n1,x\n", b"epoch,loss\n"):
        (out / "history.csv").write_bytes(history)
        (line,) = resume()
        assert line.startswith("kvae train: `path` must ")
        assert "history.csv" in line
    (out / "history.csv").write_bytes(kept[out / "history.csv"])
    run_folder.write_json(out / "config.json", {**config, "data": {**config["data"], "training_images": 9}})
    (line,) = resume()
    assert "`resume` requires the data that the run began with" in line
    assert "'training_images': 9" in line
    run_folder.write_json(out / "config.json", {**config, "versions": {**config["versions"], "keras": "2.0"}})
    warning, line = resume()  # interrupted again, at the end of its second epoch
    assert "began with other versions" in warning
    assert "'keras': '2.0'" in warning
    assert line.endswith("interrupted; what was trained so far is saved; resume with: kvae train --resume run")


@pytest.mark.long
def test_an_interrupted_evaluation_is_finished_by_a_resumption(tmp_path, monkeypatch, capsys, small_pictures):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    evaluate = saved_model.evaluate
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saved_model, "evaluate", interrupt)
    assert main.main([*QUICK, "--model", "vae", "--latent-dim", "70"]) == 1  # more than pixels: PCA takes fewer
    finish = "interrupted in the evaluation of the trained model: finish it with: kvae train --resume run"
    assert capsys.readouterr().err.strip() == f"kvae train: {finish}"
    assert (tmp_path / "run" / "model.keras").is_file()
    monkeypatch.setattr(saved_model, "evaluate", evaluate)
    assert main.main(["train", "--resume", "run"]) == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(run_folder.FILES)


@pytest.mark.long
def test_numbers_that_are_missing_or_low_come_with_a_reason(tmp_path, digits, capsys):
    """One test image gave NaN, which is not JSON; classes that training lacks were judged without a word."""
    rows = digits.y_train < 3
    few = dataclasses.replace(
        digits, x_train=digits.x_train[rows], y_train=digits.y_train[rows], x_test=digits.x_test[:1], y_test=[1]
    )
    model = kvae.CVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(4,), num_classes=10), num_classes=10, seed=0)
    metrics = saved_model.evaluate(model, few, few.x_test, np.array([1]))
    assert metrics["negative_elbo_standard_error"] is None
    assert 0 <= metrics["label_agreement"] <= 0.3
    run_folder.write_json(tmp_path / "metrics.json", {**metrics, "more": [float("nan"), {"a": float("inf")}]})
    read = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read["more"] == [None, {"a": "inf"}]
    assert "standard error needs at least two test images" in read["notes"][0]
    assert "lack classes 3, 4, 5, 6, 7, 8, 9: no judge" in read["notes"][1]
    printing.metrics(metrics)
    assert "note: A standard error" in capsys.readouterr().out
    one = dataclasses.replace(few, y_train=np.ones(rows.sum(), int))
    metrics = saved_model.evaluate(model, one, digits.x_test[:5], digits.y_test[:5])
    assert metrics["label_agreement"] is None
    assert "at least two classes" in metrics["notes"][-1]


def test_bytes_are_evaluated_in_bits_per_dimension(rng):
    x = (rng.integers(256, size=(6, 2, 2, 3)) / 255).astype("float32")
    data = kvae.data.Dataset(x, None, x, None, None, "bytes")
    networks = kvae.networks.mlp(x.shape[1:], 2, hidden=(4,), likelihood="discretized_logistic")
    metrics = saved_model.evaluate(kvae.VAE(*networks, "discretized_logistic", seed=0), data, x, None)
    assert metrics["bits_per_dimension"] == pytest.approx(metrics["negative_elbo"] / (12 * np.log(2)))


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


@pytest.mark.parametrize(
    "error",
    [
        ResourceExhaustedError("OOM when allocating tensor with shape[1000000,1000000]"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4000000000000 bytes."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
        np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("float32")),
    ],
    ids=["tensorflow", "jax", "torch", "numpy"],
)
def test_out_of_memory_is_one_line_that_names_the_batch_size(in_process, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(runs, "train", fail)
    code, printed = in_process("train")
    assert code == 1
    assert printed.startswith("kvae train: out of memory: use a smaller --batch-size")
    assert len(printed.splitlines()) == 1


# Streams and environment


SHELL = f'kvae() {{ {sys.executable} -c "{fresh.KVAE}" "$@"; }}; '


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("kvae workshop list >&-", 0, "", ""),
        ("kvae workshop list 2>&-", 0, "minutes", ""),
        ("kvae workshop copy 99 2>&-", 1, "kvae workshop: `N` must be one of", ""),
        ("kvae workshop list <&- >&- 2>&-", 0, "", ""),
        ("kvae workshop list | head -1; exit ${PIPESTATUS[0]}", 0, "minutes", ""),
        ("kvae workshop list > /dev/full", 1, "", "kvae workshop: The output could not be written. Received: No space"),
        ("PYTHONIOENCODING=ascii PYTHONWARNINGS=error kvae workshop list", 0, "minutes", ""),
        ("KERAS_BACKEND=numpy kvae data digits", 1, "", "must name one of .*, which can train. Received: numpy"),
        ("KERAS_BACKEND=nothing kvae data digits", 1, "", "must name one of .* Received: nothing"),
        ("KERAS_BACKEND= KERAS_HOME=numpy kvae data digits", 1, "", "must name one of .* Received: .*(numpy|jax)"),
        ("KERAS_BACKEND= KERAS_HOME=other kvae data digits", 1, "", "must name one of .* Received: .*other"),
        (
            "PYTHONPATH=without:$PYTHONPATH KERAS_BACKEND=tensorflow kvae train --backend jax",
            1,
            "",
            "--backend, KERAS_BACKEND or keras.json must name .* installed; try: pip install jax",
        ),
        ("KERAS_HOME=bfloat16 kvae data digits", 1, "", "keras.json must contain .*floatx=bfloat16"),
    ],
)
def test_unusual_streams_and_environments(tmp_path, line, code, out, err):
    environment = {**os.environ, "PYTHONPATH": str(Path(kvae.__file__).parents[1])}
    for backend in ("numpy", "other"):
        (tmp_path / backend).mkdir()
        (tmp_path / backend / "keras.json").write_text(json.dumps({"backend": backend}))
    (tmp_path / "bfloat16").mkdir()
    (tmp_path / "bfloat16" / "keras.json").write_text('{"floatx": "bfloat16"}')
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "jax.py").write_text("raise ModuleNotFoundError(\"No module named 'jax'\", name='jax')")
    done = subprocess.run(
        ["bash", "-c", SHELL + line], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == code, done
    for text, expected in ((done.stdout, out), (done.stderr, err)):
        assert len(text.splitlines()) <= (1 if code or "head" in line else 20)
        assert bool(text) == bool(expected)
        assert re.search(expected, text)


@pytest.mark.backend_independent
def test_the_flag_wins_and_a_run_goes_on_with_its_own_backend(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in {"jax": '{"backend": "jax"}', "none": "{}", "odd": '{"backend": ["jax"]}', "bad": "{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    nothing = [f"--resume {name}" for name in ("none", "odd", "bad", "absent")]
    nothing += [f"--config {name}/config.json" for name in ("none", "odd", "bad", "absent")]
    for line, variable, backend in [
        ("train", "", None),
        ("train", "torch", "torch"),
        ("train --backend tensorflow", "torch", "tensorflow"),
        ("train --resume jax", "", "jax"),
        ("train --resume jax", "torch", "jax"),
        ("train --resume jax --backend tensorflow", "torch", "tensorflow"),  # which is refused later
        ("train --config jax/config.json", "", "jax"),
        ("train --config jax/config.json", "torch", "torch"),
        ("train --config jax/config.json --backend tensorflow", "torch", "tensorflow"),
        *((f"train {each}", "", None) for each in nothing),
        ("demo", "torch", "torch"),
        ("data", "torch", "torch"),
    ]:
        monkeypatch.setenv("KERAS_BACKEND", variable)
        arguments = parser.parser(main.COMMANDS).parse_args(line.split())
        assert (backends.chosen(arguments) or None) == backend, (line, variable)


def test_a_run_is_not_resumed_on_another_backend(tmp_path):
    (tmp_path / "config.json").write_text('{"backend": "jax"}')
    with pytest.raises(ValueError, match="use --backend jax\\. Received: torch"):
        run_folder.options_to_resume(tmp_path, "torch")


@pytest.mark.backend_independent
def test_a_faster_backend_is_named_where_one_is_known(digits, monkeypatch):
    dense, conv = (kvae.VAE(*make((8, 8, 1), 2, hidden=(8,))) for make in (kvae.networks.mlp, kvae.networks.conv))
    binarized = dataclasses.replace(digits, binarization="dynamic")
    cpu, gpu = "/job:localhost/replica:0/task:0/device:CPU:0", "cuda:0"
    jax, long = ["jax"], {"model": "vae", "epochs": 100, "batch_size": 128, "num_samples": 1}
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: types.SimpleNamespace(device=device))
    monkeypatch.setattr(keras.backend, "backend", lambda: now)
    for now, model, expected, device, installed, steps, data, changes in [
        ("tensorflow", dense, "jax", cpu, jax, 400, digits, {}),
        ("tensorflow", dense, "jax", cpu, jax, 400, digits, {"model": "cvae"}),
        ("torch", dense, None, "cpu", jax, 400, digits, {}),
        ("jax", dense, None, "TFRT_CPU_0", jax, 400, digits, {}),
        ("tensorflow", dense, None, gpu, jax, 400, digits, {}),
        ("tensorflow", dense, None, cpu, [], 400, digits, {}),
        ("tensorflow", dense, None, cpu, jax, 99, digits, {"epochs": 1000}),
        ("tensorflow", dense, None, cpu, jax, 400, binarized, {}),
        ("tensorflow", dense, None, cpu, jax, 400, digits, {"epochs": 99}),
        ("tensorflow", dense, None, cpu, jax, 400, digits, {"model": "gan"}),
        ("tensorflow", dense, None, cpu, jax, 400, digits, {"batch_size": 200_000}),
        ("tensorflow", dense, None, cpu, jax, 400, digits, {"num_samples": 5}),
        ("tensorflow", conv, None, cpu, jax, 400, digits, {}),
        ("torch", conv, None, "cpu", jax, 400, digits, {}),
        ("jax", conv, "tensorflow", "TFRT_CPU_0", jax, 10, digits, {"batch_size": 400_000}),
        ("jax", conv, None, "TFRT_CPU_0", jax, 10, digits, {}),
        ("jax", conv, None, "TFRT_CPU_0", jax, 10, digits, {"batch_size": 400_000, "epochs": 99}),
        ("jax", conv, None, gpu, jax, 400, digits, {"batch_size": 400_000}),
    ]:
        run = types.SimpleNamespace(options={**long, **changes}, model=model, steps=steps, data=data)
        assert backends.faster(run) == expected, (now, device, installed, steps, changes)


@pytest.mark.backend_independent
def test_the_faster_backend_is_one_line_before_training(tmp_path, monkeypatch, capsys):
    def stop(run, verbose):
        raise ValueError("far enough")

    monkeypatch.setattr(runs, "fit", stop)
    monkeypatch.setattr(backends, "faster", lambda run: "jax")
    for verbose, expected in ((True, ["kvae train … --backend jax"]), (False, [])):
        with pytest.raises(ValueError, match="far enough"):
            runs.train({"model": "vae", "hidden": [4]}, tmp_path / "run", verbose=verbose)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(expected)
        assert all(part in line for part, line in zip(expected, lines, strict=True))


@pytest.mark.parametrize("floatx", ["float16", "float32", "float64"])
def test_a_floatx_that_cannot_be_used_is_refused(floatx):
    """In float16, the second step gave NaN; JAX warned dozens of times that it uses float32 instead of float64."""
    wrong = {"float16": r"NaN: set .* in keras\.json.*mixed_float16.*floatx=float16"}
    if keras.backend.backend() == "jax":
        wrong["float64"] = r"set JAX_ENABLE_X64=1, or .*keras\.json"
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        with pytest.raises(ValueError, match=wrong[floatx]) if floatx in wrong else contextlib.nullcontext():
            backends.check_floatx(trains=True)
        if floatx != "float64":
            backends.check_floatx(trains=False)  # a trained model has a dtype of its own
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_letters_that_a_terminal_lacks_are_written_in_ascii(monkeypatch, encoding):
    bytes_ = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, encoding))
    with streams.open_streams():
        print("−ELBO 1 ± 2, σ² → 鋒")
    expected = {"ascii": "-ELBO 1 +- 2, sigma2 -> ?", "cp1252": "-ELBO 1 ± 2, sigma² -> ?"}
    assert bytes_.getvalue().decode(encoding).strip() == expected.get(encoding, "−ELBO 1 ± 2, σ² → 鋒")


def test_errors_among_the_warnings_of_the_environment_are_disarmed(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(sys, "warnoptions", ["error"])
        streams.disarm_warnings()
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        assert not [each for each in warnings.filters if each[0] == "error"]


def test_an_interruption_anywhere_is_said(monkeypatch, capsys):
    def early(arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(main.COMMANDS, "data", early)
    assert main.main(["data", "digits"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "kvae data: interrupted"


@pytest.mark.parametrize("name", ["model.keras", "history.csv", "checkpoint.npz", "metrics.json", "pictures"])
def test_a_link_or_a_folder_in_place_of_a_run_s_file_is_refused_before_training(tmp_path, name):
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (out / "config.json").write_text("{}")
    path = out / name
    for target in (elsewhere, tmp_path / "absent"):  # a broken link as well
        path.symlink_to(target)
        with pytest.raises(FileError, match=f"{name} must be a .* Received: a link"):
            run_folder.options_to_resume(out, "jax")
        run_folder.check(out, force=True)
        path.unlink()
    if name != "pictures":
        path.mkdir()
        (path / "kept").touch()
        for refused in (lambda: run_folder.options_to_resume(out, "jax"), lambda: run_folder.check(out, force=True)):
            with pytest.raises(FileError, match=f"{name} must be a file: .* Received: a folder"):
                refused()
        assert (path / "kept").is_file()
    assert (elsewhere / "kept").is_file()
