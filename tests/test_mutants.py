"""The table of mutants is that of today's code; `python tests/mutants.py` runs them."""

from pathlib import Path

from mutation_table import mutants

import kvae

PACKAGE = Path(kvae.__file__).parent


def test_every_mutant_changes_one_place():
    sources = {name: (PACKAGE / name).read_text(encoding="utf-8") for name in {mutant.file for mutant in mutants()}}
    assert [str(mutant) for mutant in mutants() if sources[mutant.file].count(mutant.old) != 1] == []
