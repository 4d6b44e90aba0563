"""Keras without TensorFlow's start-up messages."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


def quiet() -> None:
    """Import Keras and use it once, without the messages that TensorFlow writes when it starts.

    TensorFlow's later warnings are hidden too: checks compile several models in a row, which it takes for a mistake.

    Example:

    >>> kvae.worksheet.quiet()  # then: import keras
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with no_messages():
        import keras

        keras.ops.zeros(1)  # the first operation looks for devices, and says what it finds
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # last: TensorFlow sets a level when it starts


@contextlib.contextmanager
def no_messages() -> Iterator[None]:
    """Discard what is written to the process's standard error, by libraries in C++ too."""
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
