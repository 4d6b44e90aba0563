"""The tables of docs/models.md: every line of code works, every test exists, the numbers of lines are about right."""

import functools
import importlib.util
import re
from pathlib import Path

import cases
import keras
import numpy as np
import pytest

import kvae
from kvae.models import capabilities

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "models.md").read_text()
TABLES = [table.splitlines()[2:] for table in PAGE.split("\n\n") if table.startswith("| ") and "| tested in |" in table]
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for table in TABLES for line in table]
WRITTEN = [row for row in ROWS if not row[1].startswith("no: ")]
CODE = sorted({re.match(r"`(.*?)`", row[1])[1] for row in WRITTEN})
HIDDEN = {"mlp": (16,), "conv": (4, 8), "grid": (8, 8), "discriminator": (16,)}
EXAMPLES = 24  # more than two for each component of the default mixture


@pytest.fixture(scope="module")
def names():
    """What the page's block of code defines, with small networks, few images and one epoch for fitted densities."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, hidden in HIDDEN.items():
            patch.setattr(kvae.networks, name, functools.partial(getattr(kvae.networks, name), hidden=hidden))
        exec(block, names)

    def fit(model, x, prior, **settings):
        short = {"num_blocks": 1} if prior == "autoregressive" else {}
        return kvae.priors.fit(model, x, prior, epochs=1, **short, **settings)

    return {**names, "x": names["x"][:EXAMPLES], "counts": names["counts"][:EXAMPLES], "fit": fit}


@pytest.mark.long
@pytest.mark.parametrize("code", CODE)
@pytest.mark.usefixtures("without_graphs")
def test_the_line_builds_a_model_that_trains_and_generates(code, names):
    images, x = eval(code, names), names["counts" if "negative_binomial" in code else "x"]
    if not isinstance(images, np.ndarray):
        model = images
        if not code.startswith("fit("):
            cases.compiled(model, optimizer=keras.optimizers.SGD(1e-6), **cases.QUICKLY)  # others share the networks
            logs = model.train_on_batch(x, return_dict=True)
            assert np.isfinite(list(logs.values())).all(), logs
        has_prior = capabilities.has(model, "prior")
        images = model.generate(3, seed=0) if has_prior else model.reconstruct(x[:3])
    assert images.shape[1:] == x.shape[1:]
    assert np.isfinite(images).all()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.search(r"`(\w+)`", row[0])[1])
def test_a_row_names_a_test_or_a_reason(row):
    _, kvae_cell, test, _ = row
    if row not in WRITTEN:
        assert test == "–"
        assert len(kvae_cell) > 20
        return
    file, name = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", test).groups()
    assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text()


@pytest.fixture(scope="module")
def count_lines():
    spec = importlib.util.spec_from_file_location("count_lines", ROOT / "docs" / "count_lines.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lines_of_code_are_about_those_of_the_package(count_lines):
    written = {re.search(r"`(\w+)`", row[0])[1]: row[3].split(" / ")[-1] for row in ROWS if " / " in row[3]}
    assert written.keys() == count_lines.ROWS.keys()
    for name, lines in written.items():
        found = count_lines.ours(name)
        if lines == "–":
            assert found == "–", name
        else:  # a few lines more are not worth a commit
            assert int(found) == pytest.approx(int(lines), rel=0.2, abs=5), f"{name}: run docs/count_lines.py"


SOURCE = '''"""Text

text"""

x = """a

b"""  # a comment
# another
def f(
    y,
):
    "Text"
    return y
'''


def test_a_line_of_code_is_neither_blank_nor_a_comment_nor_a_docstring(count_lines):
    assert count_lines.code_lines(SOURCE) == {5, 6, 7, 9, 10, 11, 13}
