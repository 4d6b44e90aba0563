"""The speed comparison: ratios, tables, figures and scheduling. Speed itself is never tested."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def parts(monkeypatch):
    """The modules `speed`, `speed_cases` and `speed_report`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return tuple(importlib.import_module(name) for name in ("speed", "speed_cases", "speed_report"))


def saved():
    return importlib.import_module("results")


@pytest.fixture
def results(parts):
    """Three rounds of the MLP, the second without one contestant, and of two costs."""
    _, cases, _ = parts
    rates = [{cases.KVAE: 30, cases.STOCK: 10}, {cases.KVAE: 40}, {cases.KVAE: 25, cases.STOCK: 10}]
    first = [{cases.FIRST_STEP.format(cases.KVAE): s, cases.FIRST_STEP.format(cases.STOCK): 2.0} for s in (3, 4, 5)]
    records = {
        "mlp": {"rounds": rates, "checks": {cases.KVAE: 101.5, cases.STOCK: 99.25}, "left_out": {cases.PYTHAE: "gone"}},
        "startup": {"rounds": first, "checks": {}, "left_out": {}},
        "memory": {"rounds": [{cases.KVAE: 175.0}], "checks": {}, "left_out": {}},
    }
    return {"rounds": 3, "short": False, "machine": {"cpu": "abacus", "cores": 2}, "records": records}


def test_ratios_are_taken_within_a_round(parts, results):
    _, cases, report = parts
    found = {(a.case, a.under): report.ratios(results, a) for a in cases.ASKED if a.over != cases.KVAE_JAX}
    assert found.pop(("mlp", cases.STOCK)) == [3.0, 2.5]  # only one of them took part in the second round
    assert found.pop(("startup", cases.FIRST_STEP.format(cases.STOCK))) == [1.5, 2.0, 2.5]
    assert found.pop(("memory", 350.0)) == [0.5]
    assert not any(found.values())


def test_the_tables_give_targets_and_measurements(parts, results):
    _, _, report = parts
    text = report.tables(results)
    assert "| mlp | kvae TF / stock Keras TF | ≥ 2 | 2.75 (2.50 to 3.00) | 3.00 2.50 |" in text
    assert "| ≤ 1.1 | 2.00 (1.50 to 2.50) | 1.50 2.00 2.50 |" in text
    assert "Skipped: Pythae (gone)." in text
    assert "is between 99.250 and 101.500" in text
    assert saved().SHORT_NOTE not in text
    assert saved().SHORT_NOTE in report.tables({**results, "short": True})


def test_the_pictures_show_the_medians_and_the_line(parts, results):
    _, cases, report = parts
    asked = [a for a in cases.ASKED if report.ratios(results, a)]
    rates, costs = report.bars(asked, results).axes
    assert [patch.get_width() for patch in rates.patches] == [2.75]
    assert [patch.get_width() for patch in costs.patches] == [2.0, 0.5]
    whisker, line = rates.lines
    assert list(whisker.get_xdata()) == [2.5, 3.0]
    assert list(line.get_xdata()) == [2.0, 2.0]
    reached, missed = costs.patches[1], costs.patches[0]
    assert reached.get_facecolor() == rates.patches[0].get_facecolor() != missed.get_facecolor()


def test_contestants_take_turns_and_one_that_fails_is_left_out(parts, monkeypatch):
    speed, cases, _ = parts
    order, records = [], {}

    class Worker:
        def __init__(self, name):
            self.name, self.runs = name, 0

        def send(self, request):
            self.task = request["task"]

        def receive(self):
            return {"ready": True}

        def ask(self, request):
            order.append((self.name, request))
            self.runs += request == "run"
            if self.name == cases.STOCK and self.task["batch"] == 32 and self.runs == 2:
                raise RuntimeError("tired")
            return {"seconds": 2.0, "done": 10, "check": 7.0}

        def close(self):
            order.append((self.name, "close"))

    monkeypatch.setattr(speed, "Worker", Worker)
    monkeypatch.setattr(speed, "PAUSE", 0)
    monkeypatch.setattr(speed, "left_out", lambda names: {cases.PYTHAE: "not installed: pythae"})
    tasks = {"one": cases.Task(batch=32), "two": cases.Task()}
    speed.measure(tasks, (cases.KVAE, cases.STOCK, cases.LOOP, cases.PYTHAE), 3, records.__setitem__)

    three = [cases.KVAE, cases.STOCK, cases.LOOP]
    assert [name for name, request in order if request == "run"] == [*three * 2, *three[::2], *three * 3]
    assert records["one"]["left_out"] == {cases.PYTHAE: "not installed: pythae", cases.STOCK: "tired"}
    assert records["one"]["rounds"][0] == dict.fromkeys(three, 5.0)
    assert list(records["one"]["rounds"][1]) == three[::2]
    assert records["two"]["left_out"] == {cases.PYTHAE: "not installed: pythae"}
    assert records["two"]["checks"] == dict.fromkeys(three, 7.0)
    assert [name for name, request in order if request == "close"] == three


def test_a_missing_package_is_named(parts, monkeypatch):
    _, cases, _ = parts
    monkeypatch.setattr(cases.importlib.util, "find_spec", lambda name: None if name in ("pythae", "jax") else name)
    assert cases.left_out((cases.KVAE, cases.SCAN, cases.PYTHAE)) == {
        cases.SCAN: "not installed: jax",
        cases.PYTHAE: "not installed: pythae",
    }


@pytest.mark.long
def test_the_command_runs_keeps_and_draws(parts, tmp_path, monkeypatch, capsys):
    speed, cases, _ = parts

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["speed.py", "--only", "mlp", "--out", str(tmp_path), *options])
        speed.main()
        return capsys.readouterr().out

    first = run("--short")
    record = json.loads((tmp_path / "speed.json").read_text())["records"]["mlp"]
    assert set(record["checks"]) | set(record["left_out"]) == set(cases.CONTESTANTS)
    assert all("not installed" in reason for reason in record["left_out"].values())
    assert max(record["checks"].values()) < 1.15 * min(record["checks"].values())  # the same model, the same data
    assert set(record["rounds"][0]) == set(record["checks"])
    assert (tmp_path / "speed.png").stat().st_size > 10_000

    assert run("--short") == first.partition("\n")[2]  # without "mlp: done": kept, not measured again
    with pytest.raises(SystemExit, match=r"^2$"):
        run("--short", "--rounds", "2", "--draw", "--again")
    with pytest.raises(SystemExit, match="choose another --out"):
        run()
