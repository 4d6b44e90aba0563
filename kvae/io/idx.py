"""Loading untrusted IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist, plain or compressed by gzip."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from kvae.io import limits
from kvae.types import Array

HEAD = 4  # two zeros, the type (8: unsigned bytes), the number of dimensions; then each length in 4 bytes, big-endian


def find(folder: Path, stem: str) -> Path | None:
    """Find a file by its name up to its ending and to the hyphen or dot before "idx": both spellings are in use.

    Args:
        folder: a `pathlib.Path`.
        stem: such as "train-images-idx3-ubyte".

    Returns:
        The path, or `None`.
    """
    wanted = {stem + ending for ending in ("", ".gz")}
    return next(
        (path for path in sorted(folder.iterdir()) if path.name.lower().replace(".idx", "-idx") in wanted), None
    )


def read(path: Path) -> Array:
    """Read an array of unsigned bytes.

    Args:
        path: a `pathlib.Path`; if it ends in ".gz", of a compressed file.

    Returns:
        uint8 array, read-only.

    Raises:
        ValueError: if the file is damaged, contains other types, or the header declares more or fewer bytes than there
            are. A compressed file is unpacked only as far as its header declares, and within the limits of an archive.
    """
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head = file.read(HEAD)
            if len(head) < HEAD or head[:3] != b"\0\0\x08" or head[3] not in (1, 2, 3, 4):
                raise ValueError("its header is not that of unsigned bytes")
            lengths = file.read(4 * head[3])
            shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, len(lengths), 4))
            size, packed = math.prod(shape), path.stat().st_size
            most = int(os.environ.get("KVAE_MAX_BYTES", limits.UNPACKED))
            if len(shape) < head[3] or size > most or (size > limits.SMALL and size > limits.EXPANSION * packed):
                raise ValueError(
                    f"its header declares shape {shape}, which is more than a file of {packed:,} bytes holds"
                )
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path} must be an IDX file of unsigned bytes, and is damaged: {error}") from error
    if len(content) != size:
        there = f"{len(content):,}" if len(content) < size else "more"
        raise ValueError(
            f"{path} must have the {size:,} bytes that its header declares, shape {shape}. Received: {there}"
        )
    return np.frombuffer(content, "uint8").reshape(shape)
