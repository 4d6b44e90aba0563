"""Loading an untrusted `.npz` file: every header is checked against the file before memory is allocated."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from kvae.io import FileError, limits
from kvae.types import Array

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(path: Path) -> dict[str, Array]:
    """Read the numeric arrays of an `.npz` file, without unpickling. Other arrays, such as strings, are ignored.

    Args:
        path: a `pathlib.Path`.

    Returns:
        Dict from names to arrays.

    Raises:
        FileError: if there is no such file.
        ValueError: if the file is damaged or contains Python objects, or the size of a member contradicts its header.

    Example:

    >>> from pathlib import Path
    >>> from kvae.io import npz
    >>> np.savez("mine.npz", images=np.zeros((5, 8, 8)), labels=np.arange(5))
    >>> sorted(npz.read(Path("mine.npz")))
    ['images', 'labels']
    """
    if not path.is_file():
        raise FileError(f"`name` must be a data set or an existing .npz file. Received: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in limits.archive_members(archive)}
            return {name: _array(archive, member) for name, member in members.items() if _is_numeric(archive, member)}
    except Exception as error:  # NumPy, zipfile and zlib raise many types of errors for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} is not an .npz file of numeric arrays, or is damaged: {reason}") from error


def _is_numeric(archive, member):
    """Whether a member is a numeric array. Raises if it is incomplete."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:  # version 3.0 is for structured arrays with Unicode field names
            return False
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} contains Python objects, which are not loaded")
        claimed, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
    if claimed != there:
        raise ValueError(f"{member.filename} claims {claimed:,} bytes, shape {shape}, but has {there:,}")
    return dtype.kind in "fiub"


def _array(archive, member):
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
