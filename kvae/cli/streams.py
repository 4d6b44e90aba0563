"""The standard streams of the `kvae` command: closed ones, broken pipes, and terminals without Unicode."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

PLAIN = {
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "±": "+-",
    "·": "*",
    "×": "x",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "α": "alpha",
    "β": "beta",
    "μ": "mu",
    "σ": "sigma",
    "²": "2",
    "ö": "oe",
    "ä": "ae",
    "ü": "ue",
    "é": "e",
    "’": "'",
    "“": '"',
    "”": '"',
}


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """Provide standard streams that can always be written to.

    A closed stream writes nowhere, standard error to standard output if that is open. Once the reader of a pipe is gone
    (`kvae data | head -1`), the rest is discarded, and the command goes on: training should not end with its printout.
    Letters that a terminal's encoding does not have are written in ASCII.
    """
    _open_descriptors()
    out, err = sys.stdout, sys.stderr
    nowhere = open(os.devnull, "w") if out is None else None  # noqa: SIM115
    sys.stdout = _Stream(nowhere if out is None else out)
    sys.stderr = sys.stdout if err is None else _Stream(err)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        sys.stdout, sys.stderr = out, err
        if nowhere is not None:
            nowhere.close()


def disarm_warnings() -> None:
    """Show the warnings that PYTHONWARNINGS=error, or `python -W error`, would raise inside of Keras and its kin."""
    if any(option.startswith("error") for option in sys.warnoptions):
        warnings.filters = [each for each in warnings.filters if each[0] != "error"]
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)  # as without the option


class _Stream:
    """A text stream that falls silent when its pipe breaks, and replaces letters that it cannot encode."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="kvae")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._unbroken():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._unbroken():
            self._stream.flush()

    @contextlib.contextmanager
    def _unbroken(self):
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is still buffered goes there at the end of the process
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise OSError(f"The output could not be written. Received: {error.strerror}") from error


def _open_descriptors():
    """Open those of the descriptors 0, 1 and 2 that are closed: files opened later would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number


def _in_ascii(error):
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error("kvae", _in_ascii)
