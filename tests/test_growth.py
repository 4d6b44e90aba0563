"""`benchmarks/growth.py`: curves, slopes and the model of a cluster. Speed itself is never tested."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def growth(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("growth")


@pytest.fixture
def report(growth):
    return growth.growth_report


def test_a_ring_of_machines_sends_twice_its_gradients(report, monkeypatch):
    monkeypatch.setattr(report, "LATENCY", 1e-3)
    # A million weights on 8 machines: each sends 2 · 7 eighths of 4 MB in 14 messages, 56 Mbit.
    assert report.sent(1_000_000, 8) == pytest.approx(7e6)
    assert report.communication(1_000_000, 8, 1) == pytest.approx(0.056 + 0.014)
    assert report.communication(1_000_000, 8, 10) == pytest.approx(0.0056 + 0.014)
    assert report.communication(1_000_000, 1, 1) == 0
    assert report.speed_up(70, 1e-3, 1_000_000, 8, 1) == pytest.approx(4)  # as long to compute as to send
    assert report.least_batch(1e-3, 1_000_000, 8, 1) in (70, 71)  # rounded up
    assert report.speed_up(7, 1e-3, 1_000_000, 8, 1) < 1  # a single machine would be faster
    assert report.speed_up(1e9, 1e-3, 1_000_000, 8, 1) == pytest.approx(8, rel=1e-4)


def test_rates_become_times_in_the_order_of_the_axis(growth, report):
    def record(rate):
        return {"rounds": [{"kvae TF": rate}, {"kvae TF": 2 * rate}], "left_out": {"JAX scan": "gone"}}

    records = {
        "n=1000, training": record(500),
        "n=100, training": record(100),
        "samples=50, log p(x)": record(1e6),
        "image=14, training": record(1e6),
        "workers=2": {"rounds": [{"training, batch 128": 1000}], "left_out": {}},
    }
    results = {"records": records}
    assert report.curves("n", results) == {"kvae TF, training": {100: [1, 0.5], 1000: [2, 1]}}  # seconds
    assert report.curves("samples", results) == {"kvae TF, log p(x)": {50: [50, 25]}}  # samples/s to µs per image
    assert report.curves("workers", results) == {"training, batch 128": {2: [1000]}}
    assert report.slope(report.curves("n", results)["kvae TF, training"]) == "0.30"  # twice the time for ten times
    assert report.slope({1: [8], 2: [4]}) == "−1.00"
    text = report.table("n", growth.AXES["n"], results)
    assert "| 1,000 | 1.5 (1 to 2) |" in text
    assert "| slope at the end | 0.30 |" in text
    assert "Skipped: JAX scan (gone)." in text

    (axes,) = report.picture("n", growth.AXES["n"], results).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert list(axes.lines[0].get_ydata()) == [0.75, 1.5]
    assert [text.get_text() for text in axes.texts] == ["kvae TF, training, slope 0.30"]


def test_finished_points_are_not_measured_again(growth, monkeypatch):
    measured, results = [], {"records": {"latent=2, training": {}, "workers=1": {}, "workers=2": {}}}
    options = type("Options", (), {"short": True, "rounds": 1})

    def measure(tasks, names, rounds, done):
        measured.extend(tasks)
        done(next(iter(tasks)), {"rounds": []})

    def together(command, backend, strategy, count, cwd):
        measured.append((strategy, count))
        return [{"rounds": []}] * count

    monkeypatch.setattr(growth.speed, "measure", measure)
    monkeypatch.setattr(growth.two_workers, "together", together)
    growth.run(["latent", "workers"], options, results, lambda: None)
    values = (2, 20, 200, 2000)
    wanted = [f"latent={v}, training" for v in values[1:]] + [f"latent={v}, evaluation" for v in values]
    assert measured == [*wanted, ("multiworker", 4)]
    assert {"latent=20, training", "workers=4"} <= set(results["records"])


def test_a_stream_has_the_images_asked_for(growth):
    stream = importlib.import_module("stream").synthetic(70, [0], (4, 4, 1), block=32)
    batches = [np.asarray(x) for x in stream.batches(50, shuffle=False)]
    assert [x.shape for x in batches] == [(50, 4, 4, 1), (20, 4, 4, 1)]
    assert len(np.unique(np.concatenate(batches), axis=0)) == 70


def test_the_command_keeps_prints_and_draws(growth, monkeypatch, tmp_path, capsys, small_pictures):
    def measure(tasks, names, rounds, done):
        for key in tasks:
            done(key, {"rounds": [dict.fromkeys(names, 1000.0)], "left_out": {}})

    monkeypatch.setattr(growth.speed, "measure", measure)
    monkeypatch.setattr(growth, "NETWORKS", {"small": growth.Task(side=2, hidden=(3,), latent=2)})
    monkeypatch.setattr(sys, "argv", ["growth", "--short", "--only", "latent", "cluster", "--out", str(tmp_path)])
    growth.main()
    assert len(json.loads((tmp_path / "growth.json").read_text())["records"]) == 2 * 4 + 1
    printed = capsys.readouterr().out
    assert "| small | 56 | 1000.0 | 64 | 10 | 0.00 | 6.3 | 61.0 | 63.6 | 7 |" in printed  # 126 messages of 50 µs
    assert "| 2,000 | 1,000.0 |" in printed
    assert {path.name for path in tmp_path.glob("*.png")} == {"growth_latent.png", "growth_cluster.png"}

    monkeypatch.setattr(growth.speed, "measure", None)  # nothing is left to measure
    growth.main()
    assert capsys.readouterr().out in printed
