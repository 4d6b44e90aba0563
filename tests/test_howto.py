"""The pages of docs/: the Python blocks of each, one after the other, with short trainings on few images."""

import dataclasses
import functools
import re
from pathlib import Path

import keras
import pytest

import kvae
from kvae.models.base import BaseModel

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
INSTALL = re.compile(r"^`pip install (.*)`", re.MULTILINE)  # packages that not everyone has
SHORT = {"epochs": 1, "steps": 2, "n_trials": 2, "max_trials": 2}  # in place of what a page says
REPEATED = re.compile(rf"\b({'|'.join(SHORT)})=\d+")
ELSEWHERE = {"models.md"}  # tests/test_peer_models.py
PAGES = [
    path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if path.name not in ELSEWHERE and path.parent.name != "generated" and BLOCK.search(path.read_text(encoding="utf-8"))
]
HOWTOS = sorted((ROOT / "docs").glob("howto_*.md"))
EXAMPLES = 128  # of each part of a data set: a batch has 32

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough: on TensorFlow")


@functools.cache
def few_examples(name):
    data = kvae.data.load_data(name)
    parts = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    arrays = {key: part[:EXAMPLES].copy() for key, part in parts.items() if hasattr(part, "dtype")}
    return dataclasses.replace(data, **arrays)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:(Diagnosis|KLWarmup|CapacityWarmup)")  # one epoch is little
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch, without_graphs, small_pictures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(BaseModel, "compile", functools.partialmethod(BaseModel.compile, run_eagerly=True))
    monkeypatch.setattr(kvae, "load_data", few_examples, raising=False)
    keras.utils.set_random_seed(0)
    text = page.read_text(encoding="utf-8")
    for package in " ".join(INSTALL.findall(text)).split():
        pytest.importorskip(package.replace("-", "_"), reason=f"the page needs `pip install {package}`")
    names = {}
    try:
        for block in BLOCK.finditer(text):
            above = "\n" * text.count("\n", 0, block.start(1))  # for the line numbers of tracebacks
            short = REPEATED.sub(lambda found: f"{found[1]}={SHORT[found[1]]}", block[1])
            exec(compile(above + short, page, "exec"), names)
    finally:
        if "mlflow" in names:  # which would log the trainings of all tests to come
            names["mlflow"].keras.autolog(disable=True)
    assert names


@pytest.mark.parametrize("page", HOWTOS, ids=lambda page: page.stem)
def test_the_readme_links_to_a_page(page):
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
