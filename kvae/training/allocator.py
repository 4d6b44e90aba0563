"""Make the C library keep freed memory between training steps."""

from __future__ import annotations

import ctypes
import os
import sys

TOP_PAD = -2  # mallopt's M_TOP_PAD
KEPT = 16 * 2**20  # bytes at the top of each arena; more gains nothing


def keep_freed_memory() -> None:
    """Make glibc keep 16 MB of freed memory in each of its arenas for the next step, for the rest of the process.

    By default it returns that memory to the system, which hands it out again page by page, cleared: for a small model
    200 page faults per step on TensorFlow and 1,700 on PyTorch, a fifth of the time (`benchmarks/README.md`). This
    must be set before the compute threads create their arenas, hence on `import kvae`. An existing MALLOC_TOP_PAD_ is
    respected; other C libraries are left alone. See mallopt(3), M_TOP_PAD.
    """
    if sys.platform == "linux" and "MALLOC_TOP_PAD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(TOP_PAD, KEPT)
