"""Examples of the README that the gate does not run."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_numbers_is_the_measured_one():
    spec = importlib.util.spec_from_file_location("make", ROOT / "assets" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    numbers = json.loads((ROOT / "assets" / "numbers.json").read_text())
    assert f"{make.BEGIN}\n{make.table(numbers)}\n{make.END}" in README


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, then = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(first.replace("epochs=60", "epochs=2, verbose=0"), names)
    exec(then.replace("num_samples=1000", "num_samples=10").split("kvae.explore")[0], names)  # which needs a notebook
    assert names["sevens"].shape == (16, 8, 8, 1)
    assert (tmp_path / "runs" / "first" / "sample_grid_epoch_0002.png").is_file()
    assert (tmp_path / "cvae.keras").is_file()


def test_the_tree_in_contributing_is_the_packages():
    import kvae

    tree = re.search(r"```\nkvae/\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    there = {path.name for path in Path(kvae.__file__).parent.iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert named == there
