"""A time limit for untrusted functions."""

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class TimeUpError(BaseException):
    """Time is up. Not an `Exception`, so that `except Exception` inside the function does not catch it."""


def within(seconds: float, function: Callable[[], Result]) -> Result:
    """Return `function()`, or give up after `seconds`.

    On the main thread of a Unix process, a signal stops the function as soon as it returns to Python code. Elsewhere
    the function runs in a thread, which cannot be stopped: it is abandoned.

    Args:
        seconds: the time limit.
        function: callable without arguments.

    Returns:
        The function's result.

    Raises:
        TimeUpError: if the function takes longer.

    Example:

    >>> from kvae.worksheet.resources import within
    >>> within(1.0, lambda: 2 + 2)
    4
    """
    if hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread():
        return _on_main_thread(seconds, function)
    return _on_another_thread(seconds, function)


def _on_main_thread(seconds: float, function: Callable[[], Result]) -> Result:
    def stop(*_):
        raise TimeUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(
        signal.ITIMER_REAL, seconds, 1.0
    )  # repeated each second, because a bare `except` may catch the first
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _on_another_thread(seconds: float, function: Callable[[], Result]) -> Result:
    outcome: list = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as error:  # raised again below, in the caller's thread
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeUpError
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
