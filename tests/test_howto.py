"""The pages docs/howto_*.md: the Python blocks of each, one after the other, with short trainings."""

import functools
import re
from pathlib import Path

import keras
import pytest

from kvae.models.base import BaseModel

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("howto_*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
INSTALL = re.compile(r"^`pip install (.*)`", re.MULTILINE)  # packages that not everyone has
REPEATED = re.compile(r"\b(epochs|n_trials|max_trials)=\d+")

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough: on TensorFlow")


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch, without_graphs, small_pictures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(BaseModel, "compile", functools.partialmethod(BaseModel.compile, run_eagerly=True))
    keras.utils.set_random_seed(0)
    text = page.read_text(encoding="utf-8")
    for package in " ".join(INSTALL.findall(text)).split():
        pytest.importorskip(package.replace("-", "_"), reason=f"the page needs `pip install {package}`")
    names = {}
    for block in BLOCK.finditer(text):
        above = "\n" * text.count("\n", 0, block.start(1))  # for the line numbers of tracebacks
        exec(compile(above + REPEATED.sub(r"\1=2", block[1]), page, "exec"), names)
    assert names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_readme_links_to_a_page(page):
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
