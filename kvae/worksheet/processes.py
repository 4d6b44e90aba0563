"""A process with a time limit that counts from its start, ended with all its children."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RUNNING: set[subprocess.Popen[bytes]] = set()
STOPPED = threading.Event()  # nothing is started any more


def run(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    seconds: float,
    starting: float,
    started: Callable[[], bool],
) -> int | None:
    """Run a command without input and output.

    Args:
        command: program and arguments.
        folder: its working directory.
        environment: its environment variables.
        seconds: time limit, counted from its start.
        starting: seconds that it may take to start.
        started: whether it has started; the time before, of imports, does not count.

    Returns:
        Its exit code, or `None` if it was stopped.
    """
    if STOPPED.is_set():
        return None
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
    )
    RUNNING.add(process)
    try:
        end = time.monotonic() + starting
        while process.poll() is None and not started() and time.monotonic() < end:
            time.sleep(0.05)
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        stop(process)
        RUNNING.discard(process)


def stop_all() -> None:
    """End every process that is running, and start no other until `STOPPED` is cleared."""
    STOPPED.set()
    for process in list(RUNNING):
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError, PermissionError):  # Windows; already gone; not permitted
        with contextlib.suppress(OSError):
            process.kill()
    process.wait()
