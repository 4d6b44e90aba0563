"""A short run of the fuzzer; the full run is `python tests/fuzz_files.py --count 20000 --commands 2000`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvae

FUZZER = Path(__file__).with_name("fuzz_files.py")


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the fuzzer forks")
def test_mutated_files_and_random_commands_end_cleanly(tmp_path):
    done = subprocess.run(
        [sys.executable, FUZZER, "--count", "100", "--commands", "15", "--keep", tmp_path / "failed"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(kvae.__file__).parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 inputs, 0 failures" in done.stdout
    assert "15 inputs, 0 failures" in done.stdout
