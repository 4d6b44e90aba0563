"""The setting of the C library is applied once, and respects the user's."""

import ctypes
import os
import subprocess
import sys
import types

import pytest

from kvae.training import allocator

MALLOPT_DONE = 1


@pytest.fixture
def told(monkeypatch):
    """Recorded calls of mallopt."""
    calls = []
    library = types.SimpleNamespace(mallopt=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in allocator.NUMBERS:
        monkeypatch.delenv(name, raising=False)
    return calls


def test_freed_memory_is_kept(told):
    allocator.keep_freed_memory()
    assert told == [(-2, 64 * 1024 * 1024), (-3, 32 * 1024 * 1024), (-1, 64 * 1024 * 1024)]


@pytest.mark.parametrize("other", [*allocator.NUMBERS, "system", "library"])
def test_elsewhere_nothing_is_done(told, monkeypatch, other):
    if other in allocator.NUMBERS:
        monkeypatch.setenv(other, "0")
    elif other == "system":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace())
    allocator.keep_freed_memory()
    assert told == []


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_glibc_takes_it():
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        pytest.skip("another C library")
    assert [mallopt(*number) for number in allocator.NUMBERS.values()] == [MALLOPT_DONE] * 3


IMPORT = """
import ctypes, types
told, library = [], ctypes.CDLL
def spied(name, *arguments, **options):
    if name is None:
        return types.SimpleNamespace(mallopt=lambda *numbers: told.append(numbers))
    return library(name, *arguments, **options)
ctypes.CDLL = spied
import kvae
print(told)
"""
BLOCKS = """
import resource
import numpy as np
import kvae
faults = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**22, "float32")  # 16 MB, in 4,096 pages
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(max(faults[1:]))
"""


def without_settings(code):
    """What code prints in a process without the user's settings."""
    environment = {name: value for name, value in os.environ.items() if name not in allocator.NUMBERS}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_importing_kvae_keeps_it():
    assert without_settings(IMPORT) == str(list(allocator.NUMBERS.values()))


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_large_blocks_are_not_cleared_again():
    assert int(without_settings(BLOCKS)) < 100
