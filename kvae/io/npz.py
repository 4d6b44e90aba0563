"""Loading untrusted `.npy` and `.npz` files: every header is checked against the file before memory is allocated."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kvae.io import FileError, limits
from kvae.types import Array, Shape

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def header(file: BinaryIO, name: str, there: int) -> tuple[Shape, bool, np.dtype]:
    """Read the header of an array, and check that the file has the numbers that it declares.

    Args:
        file: open file, at the start of the array.
        name: name of the array, for the message.
        there: int, bytes from here to the end of the array.

    Returns:
        `(shape, column_major, dtype)`; the numbers start at the file's position.

    Raises:
        ValueError: if it is not a header, has a negative length, contains Python objects, or declares more or fewer
            bytes than there are.
    """
    start = file.tell()
    try:
        shape, column_major, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except (Exception, RecursionError) as error:  # a header is a Python literal, of any kind and depth
        reason = limits.printable((str(error).splitlines() or [type(error).__name__])[0], 200)
        raise ValueError(f"{name} is not a NumPy array, or is damaged: {reason}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} contains Python objects, which are not loaded. Received: dtype {dtype}")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"{name} must have a shape of non-negative integers. Received: {str(shape)[:80]}")
    claimed, there = math.prod(shape) * dtype.itemsize, there - (file.tell() - start)
    if claimed != there:
        kind = "truncated" if claimed > there else "damaged"
        raise ValueError(
            f"{name} is {kind}: its header declares shape {str(shape)[:80]}, {claimed:,} bytes. Received: {there:,}"
        )
    return shape, column_major, dtype


def read(path: Path) -> dict[str, Array]:
    """Read the arrays of an `.npz` file, without unpickling. Those whose fields have non-ASCII names are ignored.

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
        return unpack(path)
    except ValueError as error:
        raise ValueError(f"{path} is not an .npz file of arrays, or is damaged: {error}") from error


def read_npy(path: Path) -> Array:
    """Read the array of an `.npy` file, without unpickling.

    Args:
        path: a `pathlib.Path`.

    Returns:
        The array.

    Raises:
        FileError: if there is no such file.
        ValueError: if the file is damaged or contains Python objects, or its size contradicts its header.
    """
    if not path.is_file():
        raise FileError(f"`name` must be a data set or an existing .npy file. Received: {path}")
    with path.open("rb") as file:
        header(file, str(path), path.stat().st_size)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def unpack(file: Path | BinaryIO) -> dict[str, Array]:
    """Like `read`, of a path or an open file; an error is a `ValueError` that gives only the reason."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in limits.archive_members(archive)}
            return {name: _array(archive, member) for name, member in members.items() if _is_plain(archive, member)}
    except Exception as error:  # NumPy, zipfile and zlib raise many types of errors for a damaged file
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0][:200]) from error


def _is_plain(archive, member):
    """Whether a member is an array with a header that NumPy reads publicly. Raises if it is incomplete."""
    with archive.open(member) as file:
        if file.peek(8)[6:7] == b"\x03":  # of structured arrays with Unicode field names
            return False
        header(file, member.filename, member.file_size)
        return True


def _array(archive, member):
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
