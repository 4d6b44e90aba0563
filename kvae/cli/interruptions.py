"""Ctrl-C and SIGTERM: an interruption that no library loses, and that no long call delays."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

BOTH = signal.SIGINT, signal.SIGTERM


@contextlib.contextmanager
def remembered(message: str = "", signals: Sequence[signal.Signals] = BOTH) -> Iterator[Callable[[], None]]:
    """Raise a `KeyboardInterrupt` on Ctrl-C and SIGTERM, also where a library loses it.

    TensorFlow, Keras and Matplotlib call Python functions from compiled code, from destructors and inside `try` blocks
    of their own, where a `KeyboardInterrupt` becomes another error, or disappears. Hence any error that leaves the
    block after a signal leaves it as a `KeyboardInterrupt`, and a block that takes long calls what it was given now
    and then. A signal that the process ignores, as the shell's `&` can arrange, stays ignored.

    Args:
        message: str, the message of the `KeyboardInterrupt`.
        signals: sequence of `signal.Signals`.

    Yields:
        Function without arguments or result, which raises a `KeyboardInterrupt` that was lost.
    """
    received: list[int] = []

    def interrupt(number, frame):
        received.append(number)
        raise KeyboardInterrupt

    def check():
        if received:
            raise KeyboardInterrupt

    may_handle = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in signals if may_handle}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield check
    except KeyboardInterrupt as interruption:
        raise (KeyboardInterrupt(message) if message else interruption) from None
    except Exception as error:
        if received:
            raise KeyboardInterrupt(message) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stoppable_at_once(message: str, patience: float = 1.0) -> Iterator[None]:
    """End the process on Ctrl-C or SIGTERM even during a long call into compiled code, which delays Python's handlers.

    For code that writes nothing except through `replacing`. If the signal has not ended it after `patience`, `message`
    is printed to standard error and the process exits with code 1, without clean-up.

    Args:
        message: str.
        patience: seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left = threading.Event()

    def watch():
        # Python's C handler writes each signal's number at once, whatever the main thread is doing.
        while (number := os.read(reader, 1)) and number[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        if number and not left.wait(patience):
            with contextlib.suppress(Exception):  # nobody may be reading any more
                print(message, file=sys.stderr, flush=True)
            os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)
