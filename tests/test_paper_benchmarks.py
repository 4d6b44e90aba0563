"""The commands that repeat a paper's experiment, at their smallest; wake-sleep and Monte Carlo EM on an exact case."""

import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kvae
from kvae.distributions import Normal

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIGMA, PIXELS, LATENT = 0.5, 6, 2

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="these benchmarks use TensorFlow")


@pytest.fixture
def wake_sleep(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("wake_sleep")


@pytest.fixture
def linear(rng):
    """p(x|z) = N(Wz + b, σ²) with orthogonal columns, and its true posterior N(A (x − b), diag(v))."""
    w = np.linalg.qr(rng.normal(size=(PIXELS, LATENT)))[0] * [1.5, 0.7]
    b = rng.normal(size=PIXELS)
    m = w.T @ w + SIGMA**2 * np.eye(LATENT)  # Bishop 2006, eq. 12.42
    return w, b, np.linalg.inv(m) @ w.T, SIGMA**2 / np.diag(m)


def make(kind, linear, mean_shift=0.0):
    """A model of `linear` with its true posterior, the mean moved by `mean_shift`."""
    w, b, a, v = linear
    encoder, decoder = kvae.networks.mlp((PIXELS,), LATENT, hidden=(), likelihood=Normal(sigma=SIGMA))
    decoder.set_weights([w.T, b])
    encoder.set_weights([np.hstack([a.T, np.zeros_like(a.T)]), np.concatenate([mean_shift - a @ b, np.log(v)])])
    return kind(encoder, decoder, likelihood=Normal(sigma=SIGMA), seed=0)


def gradients(model, x, repeats=1):
    """Gradients of the loss by name, `encoder/bias` and so on, the mean over `repeats` passes."""
    import tensorflow as tf

    weights = model.trainable_variables
    total = [0.0] * len(weights)
    for _ in range(repeats):
        with tf.GradientTape() as tape:
            model(x, training=True)
            loss = sum(model.losses)
        total = [
            t + g.numpy() / repeats for t, g in zip(total, tape.gradient(loss, [w.value for w in weights]), strict=True)
        ]
    names = [f"{'encoder' if any(w is e for e in model.encoder.weights) else 'decoder'}/{w.name}" for w in weights]
    return dict(zip(names, total, strict=True))


def test_wake_sleep_gradients_are_the_exact_ones(wake_sleep, linear, rng):
    w, b, a, v = linear
    shift = np.array([0.3, -0.2])
    model = make(wake_sleep.WakeSleep, linear, shift)
    x = (b + rng.normal(size=(5000, PIXELS))).astype("float32")  # not from the model: wake must look at the data
    got = gradients(model, x, repeats=10)
    # Wake: −∇_b log p(x|z) = −(x − b − Wz) / σ², with z ~ q of mean A (x − b) + shift.
    mean_z = (x.mean(axis=0) - b) @ a.T + shift
    wake = -(x.mean(axis=0) - b - w @ mean_z) / SIGMA**2
    np.testing.assert_allclose(got["decoder/bias"], wake, atol=0.05)
    # Sleep: −∇ log q(z|x) = (μ(x) − z) / v for the mean, on dreams, where μ(x) − z has mean `shift` and variance v;
    # ½ (1 − E[(μ − z)²] / v) = −½ shift² / v for the log-variance.
    np.testing.assert_allclose(got["encoder/bias"][:LATENT], shift / v, atol=0.05)
    np.testing.assert_allclose(got["encoder/bias"][LATENT:], -0.5 * shift**2 / v, atol=0.05)


def test_a_vae_has_other_gradients_there(linear, wake_sleep, rng):
    """At the true posterior the ELBO's gradient for the encoder vanishes on any data; so does sleep's, on dreams."""
    x = (linear[1] + 3.0 * rng.normal(size=(5000, PIXELS))).astype("float32")
    for kind in (kvae.VAE, wake_sleep.WakeSleep):
        got = gradients(make(kind, linear), x, repeats=10)
        assert np.abs(got["encoder/bias"]).max() < 0.05
    shift = np.array([0.3, -0.2])
    elbo = gradients(make(kvae.VAE, linear, shift), x, repeats=10)["encoder/bias"]
    sleep = gradients(make(wake_sleep.WakeSleep, linear, shift), x, repeats=10)["encoder/bias"]
    np.testing.assert_allclose(elbo[:LATENT], shift / linear[3], atol=0.05)  # the KL between equal variances
    assert np.all(np.abs(elbo[LATENT:]) < 0.05)
    assert np.all(sleep[LATENT:] < -0.05)  # KL(p ‖ q) asks a wrong mean for a wider q, KL(q ‖ p) does not


def test_wake_sleep_logs_the_bound(wake_sleep, linear, rng):
    x = (linear[1] + rng.normal(size=(2000, PIXELS))).astype("float32")
    model = make(wake_sleep.WakeSleep, linear)
    model.compile(keras.optimizers.SGD(0.0))
    logged = model.fit(x, batch_size=500, verbose=0).history["elbo"][0]
    assert logged == pytest.approx(model.elbo(x, num_samples=100, seed=0).mean(), abs=0.1)
    assert model.evaluate(x, verbose=0, return_dict=True)["loss"] == pytest.approx(-logged, abs=0.2)


def test_the_chains_reach_the_true_posterior(wake_sleep, linear):
    w, b, a, v = linear
    model = make(kvae.VAE, linear, mean_shift=5.0)  # the encoder, which is wrong, has no part in the chains
    model.compile(keras.optimizers.SGD(0.0))
    x = np.repeat((b + w @ [1.0, -1.0])[None], 4000, axis=0).astype("float32")
    chains = wake_sleep.MonteCarloEM(model, x, seed=0)
    for _ in range(40):
        chains.visit(np.arange(4000, dtype="int32"))
    z = chains.z.numpy()
    error = np.sqrt(v / len(z))
    assert np.all(np.abs(z.mean(axis=0) - a @ (x[0] - b)) < 4 * error)
    np.testing.assert_allclose(z.var(axis=0), v, rtol=4 * np.sqrt(2 / len(z)))
    assert abs(np.corrcoef(z.T)[0, 1]) < 4 / np.sqrt(len(z))


def test_hmc_accepts_less_with_longer_steps_and_never_goes_astray(wake_sleep):
    import tensorflow as tf

    def log_prob(z):
        return -0.5 * tf.reduce_sum(z**2 / tf.constant([1.0, 0.01]), axis=-1)

    z, seed = tf.zeros((500, 2)), keras.random.SeedGenerator(0)
    short, long = (float(wake_sleep.hmc(log_prob, z, size, 10, seed)[1]) for size in (0.01, 0.15))  # 0.2 is unstable
    assert short > 0.99
    assert 0.5 < long < 0.9
    far, acceptance = wake_sleep.hmc(log_prob, z, 1e6, 10, seed)
    assert float(acceptance) == 0.0
    assert np.all(far.numpy() == 0.0)


def test_the_m_step_climbs_the_joint_density(wake_sleep, linear, rng):
    import tensorflow as tf

    w, b, a, v = linear
    model = make(kvae.VAE, linear)
    model.compile(keras.optimizers.SGD(0.0))
    x, z = rng.normal(size=(50, PIXELS)).astype("float32"), rng.normal(size=(50, LATENT)).astype("float32")
    chains = wake_sleep.MonteCarloEM(model, x, seed=0)
    with tf.GradientTape() as tape:
        loss = chains.loss(tf.constant(x), tf.constant(z))
    decoder, encoder = tape.gradient(loss, [network.weights[1].value for network in (model.decoder, model.encoder)])
    np.testing.assert_allclose(decoder, -np.mean(x - b - z @ w.T, axis=0) / SIGMA**2, rtol=1e-4)
    np.testing.assert_allclose(encoder[:LATENT], np.mean((x - b) @ a.T - z, axis=0) / v, rtol=1e-3)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in this process, as if from the shell; all output goes to `tmp_path`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def call(program, *arguments):
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments), "--out", str(tmp_path)])
        importlib.import_module(program).main()

    return call


@pytest.mark.long
@pytest.mark.parametrize(("figure", "runs", "columns"), [("figure2", 4, 6), ("figure3", 5, 7)])
def test_a_figure_of_aevb_runs_and_is_taken_up_again(figure, runs, columns, run, tmp_path, capsys):
    command = ("aevb", figure, "--dataset", "digits", "--short", "--samples")
    run(*command, 2000)
    folder = tmp_path / f"aevb-{figure}-digits-short"
    kept = sorted(path for path in folder.glob("*.json") if path.name != "table.json")
    assert len(kept) == runs
    assert (folder / f"{figure}.png").stat().st_size > 10_000
    table = (folder / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert max(line.count("|") for line in table.splitlines()) == columns + 1
    points = json.loads(kept[0].read_text())["result"]["points"]
    assert [point["samples"] for point in points] == sorted({point["samples"] for point in points})
    assert points[-1]["samples"] >= 2000
    assert points[-1]["test"] > points[0]["test"]

    kept[0].unlink()  # interrupted before this run was finished
    untouched = [path.stat().st_mtime_ns for path in kept[1:]]
    run(*command, 2000)
    assert kept[0].is_file()
    assert json.loads(kept[0].read_text())["result"]["points"] == points  # seeded
    assert [path.stat().st_mtime_ns for path in kept[1:]] == untouched
    with pytest.raises(SystemExit, match="choose another --out"):
        run(*command, 3000)


@pytest.mark.long
def test_renyi_runs_on_small_faces(run, tmp_path, rng, capsys, monkeypatch):
    """Frey Face's command, on other images of its shape, one fold."""
    x = np.clip(rng.normal(0.5, 0.1, (60, 28, 20)), 0, 1).astype("float32")
    np.savez(tmp_path / "faces.npz", images=x)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setitem(importlib.import_module("renyi").FOLDS, "short", 1)
    run("renyi", "frey", "--short", "--epochs", 3, "--data", tmp_path / "faces.npz")
    rows = json.loads((tmp_path / "renyi-frey-short" / "table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["VAE", "IWAE", "α = 0.5", "VR-max"]
    assert all(len(row["folds"]) == 1 and np.isfinite(row["mean"]) for row in rows)
    assert len({row["mean"] for row in rows}) == 4  # four bounds, not one four times
    assert "1322.96 ± 10.03" in capsys.readouterr().out


def test_the_folds_are_averaged_and_the_findings_read(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    renyi = importlib.import_module("renyi")
    likelihoods = {"VAE": (10.0, 14.0), "IWAE": (20.0, 22.0), "α = 0.5": (15.0, 13.0), "VR-max": (19.0, 21.0)}
    results = {
        (5, method): [{"log_likelihood": v, "elbo": v, "ess": 1.0, "seconds": 1.0} for v in values]
        for method, values in likelihoods.items()
    }
    rows = renyi.averaged(results, "frey")
    assert [(row["mean"], row["error"]) for row in rows] == [(12.0, 2.0), (21.0, 1.0), (14.0, 1.0), (20.0, 1.0)]
    better, apart = renyi.compare({row["method"]: row for row in rows}, 5)
    assert better[1].startswith("does not hold")  # α = 0.5 is below the VAE on the second fold
    assert apart[1].startswith("holds: -1.00")


def test_a_missing_file_is_named_in_one_line(run, tmp_path):
    with pytest.raises(SystemExit, match=r"frey_faces\.npz") as error:
        run("renyi", "frey", "--data", tmp_path / "none.npz")
    assert len(str(error.value).splitlines()) == 1
