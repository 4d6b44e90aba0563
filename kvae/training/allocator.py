"""How the C library holds on to memory between two steps of a training."""

import ctypes
import os
import sys

TOP_PAD = -2  # mallopt's M_TOP_PAD
KEPT = 16 * 2**20  # bytes at the top of each of its areas; more gain nothing


def keep_freed_memory():
    """Let glibc keep 16 MB of what a step frees for the next step, in each of its areas, for the rest of the process.

    It would give them back to the system, which hands them out again page by page and cleared: 200 page faults a step
    of a small model on TensorFlow and 1,700 on PyTorch, a fifth of the time (`benchmarks/README.md`). It must be told
    before the threads that compute have areas, so `import kvae` does. Who has set MALLOC_TOP_PAD_ keeps that setting;
    with other C libraries nothing is done. See mallopt(3), M_TOP_PAD.
    """
    if sys.platform == "linux" and "MALLOC_TOP_PAD_" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(TOP_PAD, KEPT)
