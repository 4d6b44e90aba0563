"""A limit on the time that somebody else's function may take."""

import signal
import threading


class TimeUpError(BaseException):
    """The time is up. No `Exception`, so that `except Exception` in the function does not swallow it."""


def within(seconds, function):
    """Return `function()`, or give up after `seconds`.

    On the main thread of a Unix process a signal stops the function, as soon as it is back in Python code. Elsewhere it
    runs in a thread of its own, which cannot be stopped: it is left behind.

    Args:
        seconds: float.
        function: callable without arguments.

    Raises:
        TimeUpError: if the time is up.
    """
    if hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread():
        return _on_main_thread(seconds, function)
    return _on_another_thread(seconds, function)


def _on_main_thread(seconds, function):
    def stop(*_):
        raise TimeUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again each second: a bare `except` may swallow the first
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _on_another_thread(seconds, function):
    outcome: list = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as error:  # raised again below, for the caller
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
