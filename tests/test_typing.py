"""What `mypy --strict` says to a user of kvae: nothing about `typing/user.py`, all mistakes of `typing/wrong.py`."""

import re
from pathlib import Path

import pytest
from mypy import api

FILES = Path(__file__).parent / "typing"
# Keras ships no types. The errors inside kvae are silenced, as they are for every installed package.
SETTINGS = "[mypy]\nfollow_imports = silent\n[mypy-keras.*]\nignore_missing_imports = true\n"


@pytest.mark.long
def test_mypy_accepts_the_user_and_rejects_each_mistake(tmp_path):
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    options = ["--strict", "--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")]
    report, failure, _ = api.run([*options, str(FILES / "user.py"), str(FILES / "wrong.py")])
    found = re.findall(r"(\w+\.py):(\d+): error", report)
    lines = (FILES / "wrong.py").read_text().splitlines()
    wrong = {("wrong.py", str(number)) for number, line in enumerate(lines, start=1) if line.endswith("# error")}
    assert set(found) == wrong, failure + report
