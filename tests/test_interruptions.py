"""Ctrl-C and SIGTERM: where a library catches them, during long calls, and in the first epoch of a run."""

import signal
import sys

import fresh
import keras
import numpy as np
import pytest

from kvae import callbacks
from kvae.cli import interruptions, main, runs

pytestmark = pytest.mark.backend_independent


@pytest.fixture(autouse=True)
def interruptible():
    """Python's own handler, which a process that was started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def becomes_an_error(number=signal.SIGINT):
    """What TensorFlow does with a `KeyboardInterrupt` where it traces a function."""
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        raise RuntimeError("in user code: the call of a layer failed") from None


def disappears(number=signal.SIGINT):
    """What Python does with any error of a destructor."""

    class Leaving:
        def __del__(self):
            signal.raise_signal(number)

    unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None
    Leaving()
    sys.unraisablehook = unraisable


@pytest.mark.parametrize("number", interruptions.BOTH)
def test_a_signal_that_a_library_turns_into_an_error_is_an_interruption(number):
    before = [signal.getsignal(each) for each in interruptions.BOTH]
    with pytest.raises(KeyboardInterrupt, match="resume it"), interruptions.remembered("resume it"):
        becomes_an_error(number)
    with pytest.raises(KeyboardInterrupt, match="resume it"), interruptions.remembered("resume it"):
        signal.raise_signal(number)
    assert [signal.getsignal(each) for each in interruptions.BOTH] == before


@pytest.mark.parametrize("number", interruptions.BOTH)
def test_a_signal_that_disappears_is_found_by_the_next_check(number):
    with interruptions.remembered() as check:
        check()
        disappears(number)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(RuntimeError, match="layer"), interruptions.remembered("resume it"):
        raise RuntimeError("layer")


def test_a_signal_that_the_process_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptions.remembered() as check:
        signal.raise_signal(signal.SIGINT)
        check()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


LONG_CALL = """
import os, signal, threading, numpy as np
from kvae.cli import interruptions
matrix = np.random.default_rng(0).random((3000, 3000))  # its singular values take many seconds
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
with interruptions.remembered(), interruptions.stoppable_at_once("stopped", patience=0.2):
    np.linalg.svd(matrix)
"""


def test_a_signal_ends_even_a_long_call_into_compiled_code():
    done = fresh.python(LONG_CALL, check=False)
    assert (done.returncode, done.stderr) == (1, "stopped\n")


class CtrlC(keras.callbacks.Callback):
    """Ctrl-C before the first step, and at the end of the first epoch."""

    arrives = None

    def on_train_begin(self, logs=None):
        if self.arrives in (becomes_an_error, disappears):
            self.arrives()

    def on_epoch_end(self, epoch, logs=None):
        if self.arrives == "late":
            disappears()


@pytest.fixture
def interrupted_run(tmp_path, monkeypatch):
    def train(arrives):
        monkeypatch.setattr(callbacks, "Progress", CtrlC)
        monkeypatch.setattr(CtrlC, "arrives", staticmethod(arrives) if callable(arrives) else arrives)
        return runs.train({"epochs": 2, "hidden": [8], "model": "vae", "pictures_every": 2}, tmp_path / "run")

    return train


@pytest.mark.parametrize("arrives", [becomes_an_error, disappears])
def test_an_interruption_before_the_first_epoch_leaves_nothing(arrives, interrupted_run, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="before the first epoch was complete: nothing is saved"):
        interrupted_run(arrives)
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_an_interruption_that_disappears_keeps_the_epoch(interrupted_run, tmp_path):
    metrics, interrupted = interrupted_run("late")
    assert interrupted
    assert np.isfinite(metrics["negative_elbo"])
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 2
    with np.load(tmp_path / "run" / "checkpoint.npz") as file:
        assert '"epoch": 1' in str(file["record"])


@pytest.mark.parametrize("arrives", [becomes_an_error, signal.raise_signal])
def test_an_interruption_of_any_command_is_said_in_one_line(arrives, monkeypatch, capsys):
    monkeypatch.setitem(main.COMMANDS, "data", lambda arguments: arrives(signal.SIGINT))
    assert main.main(["data", "digits"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "kvae data: interrupted"
