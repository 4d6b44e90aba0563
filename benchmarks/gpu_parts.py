"""The parts of `gpu.py`, each in a process of its own: `python gpu_parts.py OPTIONS`, a JSON object."""

import argparse
import dataclasses
import json
import os
import re
import statistics
import sys
import time
from concurrent import futures
from pathlib import Path

import results as saved
from peers.common import Task
from results import columns, spread
from speed_cases import BOUND, CASES, KVAE_JAX, KVAE_TORCH, LOOP, SCAN, STOCK_JAX, STOCK_TORCH, Asked, shortened

BEGIN = time.monotonic()
HERE = Path(__file__).resolve().parent
PEERS = {"jax": (KVAE_JAX, STOCK_JAX, SCAN), "torch": (KVAE_TORCH, STOCK_TORCH, LOOP)}  # kvae first
SPEED = ("mlp", "conv", "iwae50", "generate", "iwae5", "cvae")
HALF = {  # the last two keep a GPU busy
    "MLP": Task(),
    "MLP, 4,096 units": Task(hidden=(4096, 4096), batch=1024),
    "convolutions, 128 and 256 filters": Task(network="conv", hidden=(128, 256), batch=512),
}
LEAST = 60_000  # images per epoch on a GPU
BATCH, TRAINED = 20, 0.7  # of the paper; the part of the time left that a row trains, before it is evaluated


def update(path, part, **fields):
    """Add to what is written about a part, and return the whole."""
    content = json.loads(path.read_text())
    content["parts"].setdefault(part, {}).update(fields)
    saved.write_json(path, content)
    return content


def affordable(seconds, per_epoch, most=3280):
    """The number of epochs, of the paper's at most, that fit into `seconds`; at least one."""
    return max(1, min(most, int(seconds / per_epoch)))


class Tally:
    """Counts the outcomes of tests as they come: a run that is stopped has no summary."""

    def __init__(self, keep):
        self.keep, self.kept = keep, 0.0
        self.counts, self.failed = {}, {}

    def pytest_runtest_logreport(self, report):
        """Count a test that was called, or failed or was skipped before."""
        if report.when == "call" or not report.passed:
            self.count(report.outcome, report)

    def pytest_collectreport(self, report):
        """Count a file that cannot be imported."""
        if report.failed:
            self.count("failed", report)

    def count(self, outcome, report):
        """Count an outcome, with the reason of a failure, and keep it all once a second."""
        if outcome == "failed":
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message.partition("\n")[0] if crash else saved.last_line(str(report.longrepr))
            if "No module named 'tensorflow'" in why:
                outcome = "not run for want of TensorFlow"
            else:
                self.failed[report.nodeid] = why
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        if time.monotonic() > self.kept + 1:
            self.report()

    def report(self):
        """Keep what was counted."""
        self.kept = time.monotonic()
        rows = [("tests", ", ".join(f"{count:,} {outcome}" for outcome, count in self.counts.items()))]
        rows += [("failed", f"{name}: {why}") for name, why in list(self.failed.items())[:5]]
        self.keep(rows, counts=self.counts, failed=self.failed)


def contract(options, keep):
    """Run the tests of `.ci/run` that every model passes on every backend."""
    os.environ.update(NVIDIA_TF32_OVERRIDE="0", JAX_DEFAULT_MATMUL_PRECISION="highest")
    import pytest

    names = re.search(r'^contract="(.+)"', (HERE.parent / ".ci" / "run").read_text(), re.MULTILINE)[1].split()
    names = ["test_held"] if options.short else names
    files = [f"tests/{name}.py" for name in names]
    processes = 0 if options.short else min(8, max(1, len(os.sched_getaffinity(0)) // 2))
    settings = ["-n", str(processes), "--dist", "worksteal", "-m", "not backend_independent", "-p", "no:cacheprovider"]
    tally = Tally(keep)
    os.chdir(HERE.parent)
    code = pytest.main([*settings, *files], [tally])
    tally.report()
    if code not in (0, 1):
        raise RuntimeError(f"pytest ended with code {int(code)}")


def sized(task, options):
    """A task with enough images for a GPU, or with few."""
    if options.short:
        return shortened(task)
    return dataclasses.replace(task, images=max(task.images, LEAST)) if options.gpu else task


def compare(options, keep):
    """Measure kvae and its peers on this backend, in turn."""
    import speed
    from speed_report import ratios

    names, rows, records = PEERS[options.backend], [], {}

    def finished(case, record):
        records[case] = record
        kvae, *others = names
        rates, checks = columns(record), list(record["checks"].values())
        words = [f"{kvae} {spread(rates[kvae], '{:,.0f}')} {CASES[case].unit}"] if kvae in rates else []
        for other in others:
            found = ratios({"records": records}, Asked(case, kvae, other, 0))
            words += [f"{spread(found, '{:.2f}')} × {other}"] if found else []
        words += [f"{CASES[case].check} {min(checks):.3f} to {max(checks):.3f}"] if checks else []
        words += [f"{name} is skipped: {reason}" for name, reason in record["left_out"].items()]
        rows.append((CASES[case].title, "; ".join(words)))
        keep(rows, records=records)

    tasks = {name: sized(CASES[name].task, options) for name in (SPEED[:2] if options.short else SPEED)}
    speed.measure(tasks, names, 1 if options.short else 3, finished)


def half(options, keep):
    """Measure mixed precision beside single precision."""
    import speed

    name, rows, records = PEERS[options.backend][0], [], {}

    def finished(key, record):
        records[key] = record
        rates, single = (columns(each).get(name) for each in (record, records[f"{key.partition(': ')[0]}: float32"]))
        words = [f"{spread(rates, '{:,.0f}')} images/s"] if rates else []
        if rates and single and rates != single:
            words.append(f"{statistics.median(rates) / statistics.median(single):.2f} × float32")
        words += [f"{BOUND} {check:.2f}" for check in record["checks"].values()]
        words += [f"{who} is skipped: {reason}" for who, reason in record["left_out"].items()]
        rows.append((key, "; ".join(words)))
        keep(rows, records=records)

    tasks = {
        f"{network}: {policy}": dataclasses.replace(sized(task, options), policy=policy)
        for network, task in list(HALF.items())[: 1 if options.short else None]
        for policy in ("float32", "mixed_bfloat16")
    }
    speed.measure(tasks, (name,), 1 if options.short else 3, finished)


def burda_row(options, keep):
    """Train and evaluate a row of Burda et al. 2016; the pixels are drawn anew for each epoch, while another trains."""
    import kvae
    from kvae.data import binarize

    import keras
    import numpy as np

    import burda

    kept = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets" / "mnist.npz"
    data = kvae.load_data("digits" if options.short else "mnist" if kept.is_file() else "mnist_small")
    start, bound, k = options.row.split("-")
    steps, rng = -(-len(data.x_train) // BATCH), np.random.default_rng(burda.SEED)

    def compiled(epochs):
        model = burda.build(start, bound, "reparameterized", data)
        model.num_samples = int(k)
        model.compile(keras.optimizers.Adam(burda.learning_rate("paper", None, epochs, steps), epsilon=1e-4))
        return model

    def epoch(model, images):
        begin = time.monotonic()
        model.fit(images, batch_size=BATCH, epochs=1, verbose=0)
        return time.monotonic() - begin

    trial, images = compiled(2), binarize(data.x_train, rng)
    part = 1 if options.gpu else 10  # of an epoch that is tried
    first, second = (epoch(trial, images[: len(images) // part]) for _ in range(2))
    left = options.seconds - (time.monotonic() - BEGIN)
    epochs = affordable(TRAINED * left - (first - second), part * second)  # the first compiles
    model, begin = compiled(epochs), time.monotonic()
    with futures.ThreadPoolExecutor(1) as pool:
        for done in range(1, epochs + 1):
            drawn = pool.submit(binarize, data.x_train, rng)
            epoch(model, images)
            images, seconds = drawn.result(), time.monotonic() - begin
            what = f"{options.row} on {data.name}, {done:,} of {epochs:,} epochs; the paper has 3,280"
            keep([(what, f"trained for {seconds:.0f} s")], epochs=done, planned=epochs, training_seconds=seconds)
            if seconds > (1 + TRAINED) / 2 * left:  # slower than the trial
                break
    model.save(options.out / f"{options.row}.keras")
    x = binarize(data.x_test, np.random.default_rng(burda.SEED))
    x = x if options.gpu else x[: 100 if options.short else 1000]
    result = burda.evaluated(model, x, num_samples=100 if options.short else 5000)
    nll, units = burda.PUBLISHED[options.row]
    text = f"NLL {result['nll']:.2f} ± {result['standard_error']:.2f} nats (published {nll}), "
    text += f"{result['active_units']} active units (published {units}), −ELBO {result['negative_elbo']:.2f}; "
    text += f"{seconds:.0f} s training, {result['evaluation_seconds']:.0f} s evaluation"
    keep([(what, text)], result=result)


PARTS = {"contract": contract, "speed": compare, "bfloat16": half, "burda": burda_row}


def main():
    """Run a part; its options are those of `gpu.py`, with `part`, `gpu`, the name of one or "", and `seconds`."""
    options = argparse.Namespace(**json.loads(sys.argv[1]))
    options.out = Path(options.out)
    path = options.out / "gpu.json"
    PARTS[options.part](options, lambda rows, **fields: update(path, options.part, rows=rows, **fields))


if __name__ == "__main__":
    main()
