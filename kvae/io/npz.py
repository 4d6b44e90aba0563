"""Arrays from an `.npz` file of unknown origin: every header is checked against the file before memory is taken."""

import math
import zipfile

import numpy as np

from kvae.io import FileError, limits

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(path):
    """The arrays of numbers in an `.npz` file; others, such as texts, are passed over. Nothing is unpickled.

    Args:
        path: a `pathlib.Path`.

    Returns:
        Dict from names to arrays.

    Raises:
        FileError: if there is no such file.
        ValueError: if it is damaged, holds Python objects, or a member does not have the size that its header claims.

    Example:

    >>> sorted(read(Path("mine.npz")))
    ['images', 'labels']
    """
    if not path.is_file():
        raise FileError(f"`name` must be a data set or an existing .npz file. Received: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in limits.archive_members(archive)}
            return {name: _array(archive, member) for name, member in members.items() if _is_numeric(archive, member)}
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds on a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} is no .npz file of number arrays, or is damaged: {reason}") from error


def _is_numeric(archive, member):
    """Whether a member is an array of numbers, after a check that it is all there."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:  # 3.0 is for the names of fields
            return False
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which are not loaded")
        claimed, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
    if claimed != there:
        raise ValueError(f"{member.filename} claims {claimed:,} bytes, shape {shape}, and has {there:,}")
    return dtype.kind in "fiub"


def _array(archive, member):
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
