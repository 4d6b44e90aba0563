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
    monkeypatch.delenv("MALLOC_TOP_PAD_", raising=False)
    return calls


def test_freed_memory_is_kept(told):
    allocator.keep_freed_memory()
    assert told == [(-2, 16 * 1024 * 1024)]


@pytest.mark.parametrize("other", ["setting of the user", "system", "library"])
def test_elsewhere_nothing_is_done(told, monkeypatch, other):
    if other == "setting of the user":
        monkeypatch.setenv("MALLOC_TOP_PAD_", "0")
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
    assert mallopt(allocator.TOP_PAD, allocator.KEPT) == MALLOPT_DONE


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


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_importing_kvae_keeps_it():
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_TOP_PAD_"}
    command = [sys.executable, "-c", IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == str([(allocator.TOP_PAD, allocator.KEPT)])
