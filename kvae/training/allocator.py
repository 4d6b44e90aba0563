"""Make the C library keep freed memory between training steps."""

from __future__ import annotations

import ctypes
import os
import sys

# Of each number that users may set in an environment variable, the parameter of mallopt, and bytes.
NUMBERS = {
    "MALLOC_TOP_PAD_": (-2, 64 * 2**20),  # kept at the top of each arena: as much as one of its heaps
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 * 2**20),  # larger blocks are mapped on their own; the most that glibc takes
    "MALLOC_TRIM_THRESHOLD_": (-1, 64 * 2**20),  # from this much free memory on, it is returned
}


def keep_freed_memory() -> None:
    """Make glibc keep 64 MB of freed memory in each of its arenas for the next step, for the rest of the process.

    By default it returns that memory to the system, which hands it out again page by page, cleared: for a small model
    200 page faults per step on TensorFlow and 1,700 on PyTorch, a fifth of the time (`benchmarks/README.md`). This
    must be set before the compute threads create their arenas, hence on `import kvae`. Nothing is done if users have
    set one of the numbers, or with other C libraries. See mallopt(3).

    A call of mallopt also ends glibc's own adjustment of the other two numbers: with every freed block that was mapped,
    it raises the second to its size, from 128 KB to 32 MB at most, and the third to twice that. Where it would arrive
    is set here instead, because a batch of images in a convolution is larger than 128 KB: it would be mapped, cleared
    and returned in every operation.
    """
    if sys.platform == "linux" and not any(name in os.environ for name in NUMBERS):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            for parameter, size in NUMBERS.values():
                mallopt(parameter, size)
