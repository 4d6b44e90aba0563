"""Change one line of kvae at a time and see whether the tests notice: `python tests/mutants.py [--only PATTERN]`.

`mutation_table.py` lists the changes and the tests that should notice each. A test that passes on a wrong program
proves nothing: run the mutants of a file after changing its formulas or their tests. Every survivor needs a better
test, or an argument in the table that the change makes no difference.

Keras, its backends and pytest are imported once; each mutant runs in a child of that process, which imports only kvae.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The empty expression for -m includes the tests marked as long.
PYTEST = ("-q", "-x", "-n", "0", "-m", "", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=line", "--durations=0")


def copy(folder: Path) -> None:
    """Copy package and tests into `folder`."""
    for name in ("kvae", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def command(tests: str) -> list[str]:
    """The arguments of pytest for "bounds:renyi and formula models": files, each with an expression for -k."""
    file, _, expression = tests.partition(":")
    return [f"tests/test_{file}.py", *(["-k", expression] if expression else []), *PYTEST]


def child(folder: Path, tests: str, log: Path) -> None:
    """Run the tests on the package in `folder` and end the process with pytest's exit status."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(folder), str(folder / "tests")]
    import pytest

    status = pytest.main(command(tests))
    assert Path(sys.modules["kvae"].__file__).is_relative_to(folder)
    sys.stdout.flush()
    os._exit(int(status))


class Job:
    """A child that runs the tests of one mutant, in a copy of the package that is its own."""

    def __init__(self, folder: Path, mutant, limit: float) -> None:
        self.folder, self.mutant, self.limit, self.start = folder, mutant, limit, time.monotonic()
        self.path = folder / "kvae" / mutant.file if mutant.file else None
        self.text = self.path.read_text() if self.path else None
        if self.path:
            self.path.write_text(self.text.replace(mutant.old, mutant.new))
        self.log = folder / "log.txt"
        sys.stdout.flush()
        self.process = os.fork()
        if not self.process:
            try:
                child(folder, mutant.tests, self.log)
            finally:
                os._exit(3)

    def poll(self) -> str | None:
        """The result, once there is one; the package is then as it was."""
        done, status = os.waitpid(self.process, os.WNOHANG)
        late = not done and time.monotonic() - self.start > self.limit
        if not done and not late:
            return None
        if late:
            os.killpg(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        if self.path:
            self.path.write_text(self.text)
        code = os.waitstatus_to_exitcode(status) if done else None
        return {0: "survived", 1: "killed", None: "killed by the time limit"}.get(code, f"broken, pytest gave {code}")

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def why(self) -> str:
        """The test that noticed, or the last lines of the output."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return failed[0][:150] if failed else " | ".join(lines[-3:])[:150]


def results(mutants, jobs: int, limit: float):
    """Yield `(mutant, result, seconds, why)` as they come."""
    with tempfile.TemporaryDirectory(prefix="mutants") as scratch:
        free = [Path(scratch) / str(i) / "kvae" for i in range(jobs)]
        for folder in free:
            copy(folder)
        waiting, running = list(reversed(mutants)), []
        while waiting or running:
            while waiting and free:
                running.append(Job(free.pop(), waiting.pop(), limit))
            time.sleep(0.1)
            for job in list(running):
                result = job.poll()
                if result:
                    running.remove(job)
                    free.append(job.folder)
                    yield job.mutant, result, job.seconds(), job.why()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="regular expression on the file and the change")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds per mutant")
    parser.add_argument("--baseline", action="store_true", help="run each selection of tests on the package as it is")
    parser.add_argument("--backend", default="jax", help="run the mutants that matter there: by default, most of them")
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = given.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    from mutation_table import Mutant, mutants

    chosen = [m for m in mutants() if m.backend == given.backend and re.search(given.only, str(m))]
    if given.baseline:
        chosen = [Mutant("", "", "", tests) for tests in dict.fromkeys(m.tests for m in chosen)]
    outdated = [m for m in chosen if m.file and (ROOT / "kvae" / m.file).read_text().count(m.old) != 1]
    for mutant in outdated:
        print(f"outdated: the file must contain the old text once\n{'':20}{mutant}")
    # Imported once for all children, without making a tensor: threads of a backend do not survive a fork.
    import hypothesis  # noqa: F401
    import keras  # noqa: F401
    import matplotlib  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.model_selection  # noqa: F401
    import tensorflow  # noqa: F401

    assert "kvae" not in sys.modules
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for mutant, result, seconds, why in results([m for m in chosen if m not in outdated], given.jobs, given.limit):
        equivalent = result == "survived" and mutant.equivalent
        result = "equivalent" if equivalent else result
        counts[mutant.area][result] += 1
        print(f"{result:10} {seconds:5.0f} s  {mutant}\n{'':20}{mutant.equivalent if equivalent else why}", flush=True)
    for area, counter in counts.items():
        print(f"{area:14} " + ", ".join(f"{number} {result}" for result, number in sorted(counter.items())))


if __name__ == "__main__":
    main()
