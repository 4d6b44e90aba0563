"""Short versions of the crash, fault and soak tests; each script documents its full run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvae

HERE = Path(__file__).parent


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="they look at /proc")
@pytest.mark.parametrize(
    ("script", "arguments", "last_line"),
    [
        ("crash.py", ("--kills", "2", "--seed", "3"), "runs, 0 differences"),
        ("soak.py", ("--epochs", "40"), "40 epochs: memory grew by"),
        (
            "faults.py",
            ("SIGTERM in epoch 3", "disk full in epoch 3", "two processes, one folder"),
            "3 faults, 0 not met",
        ),
    ],
)
def test_a_short_form_of(script, arguments, last_line):
    environment = {**os.environ, "PYTHONPATH": str(Path(kvae.__file__).parents[1])}
    command = [sys.executable, HERE / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert last_line in done.stdout.splitlines()[-1]
