"""`benchmarks/gpu.py`: shares of the time, and parts that fail or are stopped. It is tried without a GPU."""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


@pytest.fixture
def parts(gpu):
    return importlib.import_module("gpu_parts")


def test_the_last_part_takes_what_the_others_leave(gpu):
    every = list(gpu.SHARES)
    assert sum(gpu.SHARES.values()) == pytest.approx(1)
    assert gpu.limit("contract", every, 480, 475) == pytest.approx(120)
    assert gpu.limit("speed", every, 480, 60) == 60  # no more than is left
    assert gpu.limit("burda", every, 480, 300) == 300
    assert gpu.limit("contract", ["contract", "burda"], 110, 110) == pytest.approx(50)


def test_the_papers_schedule_is_scaled_to_the_time(parts):
    assert parts.affordable(100, 0.4) == 250
    assert parts.affordable(-3, 0.4) == 1
    assert parts.affordable(1e6, 0.4) == 3280
    burda = importlib.import_module("burda")
    whole = burda.learning_rate("paper", None, 3280, 3000)
    ends = np.cumsum([3**i for i in range(8)]) * 3000  # 1, 4, 13, ... 3,280 epochs
    for i, end in enumerate(ends):
        assert float(whole(end)) == pytest.approx(1e-3 * 10 ** (-i / 7))
    tenth = burda.learning_rate("paper", None, 328, 3000)
    for step in (100, 301, 2000, 200_000, 900_000):
        assert float(tenth(step)) == float(whole(10 * step))


def test_outcomes_are_counted_as_they_come(parts):
    kept = {}
    tally = parts.Tally(lambda rows, **fields: kept.update(rows=rows, **fields))

    def report(outcome, when="call", why=None):
        crash = SimpleNamespace(reprcrash=SimpleNamespace(message=why)) if why else None
        states = {f"{state}": outcome == state for state in ("passed", "failed")}
        return SimpleNamespace(nodeid="t.py::x", when=when, outcome=outcome, longrepr=crash, **states)

    for each in (report("passed", "setup"), report("passed"), report("skipped", "setup")):
        tally.pytest_runtest_logreport(each)
    tally.pytest_runtest_logreport(report("failed", why="ModuleNotFoundError: No module named 'tensorflow'"))
    tally.pytest_runtest_logreport(report("failed", "setup", why="ValueError: two\nlines"))
    tally.report()
    assert kept["counts"] == {"passed": 1, "skipped": 1, "not run for want of TensorFlow": 1, "failed": 1}
    assert kept["failed"] == {"t.py::x": "ValueError: two"}
    assert kept["rows"][1] == ("failed", "t.py::x: ValueError: two")


def test_what_to_bring_is_listed(gpu, monkeypatch):
    requirements = [
        "keras<4,>=3.12",
        "tensorflow>=2.20",
        'pytest>=8; extra == "test"',
        'pytest-cov>=6; extra == "test"',
    ]
    requirements += ['jax>=0.4.34; extra == "jax"', 'jaxlib>=0.4.34; extra == "jax"', 'torch>=2.6; extra == "torch"']
    monkeypatch.setattr(gpu.importlib.metadata, "requires", lambda name: requirements)
    assert gpu.wheels("jax") == ["keras<4,>=3.12", "pytest>=8", "jax[cuda12]>=0.4.34"]
    assert gpu.wheels("torch") == ["keras<4,>=3.12", "pytest>=8", "torch>=2.6"]


PARTS = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
from gpu_parts import update
options = json.loads(sys.argv[1])
update(Path(options["out"]) / "gpu.json", options["part"], rows=[["so far", "1.5"]])
if options["part"] == "contract":
    raise ValueError("no luck")
if options["part"] == "bfloat16":
    time.sleep(60)
"""
MAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
import gpu
gpu.HERE, gpu.FOUND = Path({here!r}), {{"torch": "print()"}}
gpu.SHARES["bfloat16"] = 0.02
sys.exit(gpu.main())
"""


@pytest.fixture
def command(tmp_path):
    """`gpu.py` beside parts of which one fails and one takes too long."""
    names = {"benchmarks": str(BENCHMARKS), "here": str(tmp_path)}
    (tmp_path / "gpu_parts.py").write_text(PARTS.format(**names))
    (tmp_path / "main.py").write_text(MAIN.format(**names))
    return [sys.executable, str(tmp_path / "main.py"), "--backend", "torch", "--out", str(tmp_path / "out")]


def states(folder):
    return {part: found["state"] for part, found in json.loads((folder / "gpu.json").read_text())["parts"].items()}


@pytest.mark.long
def test_a_part_that_fails_or_takes_too_long_does_not_stop_the_others(command, tmp_path):
    ended = subprocess.run([*command, "--minutes", "1"], capture_output=True, text=True)
    assert ended.returncode == 1  # something failed
    assert ended.stdout.startswith("torch sees no GPU: everything runs on the CPU.\n")
    found = states(tmp_path / "out")
    assert found["contract"] == "failed with code 1: ValueError: no luck"
    assert found["bfloat16"].startswith("stopped after 1 s")
    assert found["speed"] == found["burda"] == "done"
    written = (tmp_path / "out" / "gpu.md").read_text()
    assert written.count("| so far | 1.5 |") >= 3
    assert written.strip() in ended.stdout
    assert subprocess.run([*command, "--only", "speed"], capture_output=True).returncode == 0


@pytest.mark.long
def test_what_was_measured_before_it_was_ended_stays(command, tmp_path):
    process = subprocess.Popen([*command, "--only", "speed", "bfloat16"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (tmp_path / "out" / "gpu.json").is_file() or "bfloat16" not in states(tmp_path / "out"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    assert states(tmp_path / "out") == {"speed": "done", "bfloat16": "interrupted"}
    assert "| speed | so far | 1.5 |" in (tmp_path / "out" / "gpu.md").read_text()
