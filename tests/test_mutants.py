"""The table of mutants is that of today's code; `python tests/mutants.py` runs them."""

import re
from pathlib import Path

from mutation_table import mutants

import kvae

PACKAGE, TESTS = Path(kvae.__file__).parent, Path(__file__).parent


def test_every_mutant_changes_one_place():
    sources = {name: (PACKAGE / name).read_text(encoding="utf-8") for name in {mutant.file for mutant in mutants()}}
    assert [str(mutant) for mutant in mutants() if sources[mutant.file].count(mutant.old) != 1] == []


def test_every_mutant_names_tests_that_there_are():
    """Words of the expressions for -k, in the file's text; parts of an id such as `3-0.5` are built by pytest."""
    for mutant in mutants():
        file, _, expression = mutant.tests.partition(":")
        text = "".join((TESTS / name).read_text(encoding="utf-8") for name in (f"test_{file}.py", "cases.py"))
        words = {word for word in re.findall(r"[a-z_]{5,}", expression) if "_" in word}
        assert [word for word in words if word not in text] == [], str(mutant)
