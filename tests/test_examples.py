"""The complete examples in workshops/examples, run briefly as a user would run them."""

import ast
import re
from pathlib import Path

import fresh
import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "workshops" / "examples").glob("*.py"))
NUMBERS = re.compile(r"(-?\d+(?:\.\d+)?|nan) ± (\d+(?:\.\d+)?|nan)")

pytestmark = pytest.mark.long


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_prints_a_table_and_saves_its_pictures(path, tmp_path):
    ran = fresh.python(fresh.SCRIPT, path, "--short", "--out", tmp_path)
    # What TensorFlow says of the hardware in its own log format, whatever TF_CPP_MIN_LOG_LEVEL, is not the example's.
    errors = [line for line in ran.stderr.splitlines() if not re.match(r"WARNING: All log messages|[IWE]\d{4} ", line)]
    assert len(errors) <= 1, ran.stderr
    cells = [cell for line in ran.stdout.splitlines() for cell in NUMBERS.findall(line)]
    assert cells
    assert np.isfinite([float(mean) for mean, _ in cells]).all()
    pictures = [Path(line) for line in ran.stdout.splitlines() if line.endswith(".png")]
    assert pictures
    assert set(pictures) == set(tmp_path.rglob("*.png"))
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_starts_with_a_page_of_text_that_says_how_to_run_it(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert 15 <= len(text.splitlines()) <= 45
    assert f"python workshops/examples/{path.name} [--short] [--out DIR]" in text


@pytest.mark.parametrize(("quadrants", "which"), [("0", "everything"), ("4", "nothing")])
def test_a_mask_that_hides_nothing_or_everything_is_refused_in_one_line(quadrants, which, tmp_path):
    path = EXAMPLES[0].with_name("quadrants.py")
    options = ("--short", "--quadrants", quadrants, "--out", tmp_path)
    ran = fresh.python(fresh.SCRIPT, path, *options, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].endswith(f"observe 1 to 3 quadrants. Received: it hides {which}")
    assert not list(tmp_path.iterdir())
