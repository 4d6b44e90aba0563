"""Limits on untrusted files, enforced before memory is allocated.

All loaders take their limits from here. Sizes are in bytes.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvae.io import FileError

if TYPE_CHECKING:
    from kvae.types import PathLike

UNPACKED = 4 * 2**30  # all members of an archive together; overridden by the environment variable KVAE_MAX_BYTES
EXPANSION = 200  # unpacked / packed size of a member above SMALL: images reach 20, deflate's maximum is 1,032
SMALL = 2**26
MEMBERS = 10_000  # per archive; a checkpoint has one per variable
CONFIG = 2**22  # config.json, of a run or in a .keras file
HISTORY = 2**24  # history.csv
NOTEBOOK = 2**26
ARCHIVE = 2**30  # a zip of submissions
REPORT = 2**20  # output of a student's notebook
DEPTH = 100  # nesting of JSON lists and objects
CLASSES = 100_000  # classes, or values of an attribute
CHUNK = 2**20  # bytes per read
EXAMPLE = 2**26  # numbers in one example, an image or a code
METRICS = 2**20  # numbers in the state of a model's metrics
STEPS = 1_000  # of the TimeDistributed layers of a model together, each of which is a loop in Python
WEIGHTS = 20  # unpacked / packed size of a model's weights: trained ones hardly shrink


def read_bytes(path: PathLike, most: int, name: str = "path") -> bytes:
    """Read a file of limited size.

    Args:
        path: str or path.
        most: int, maximum size in bytes.
        name: the argument's name, for the message.

    Returns:
        The content, as bytes.

    Raises:
        FileError: if it cannot be read.
        ValueError: if it is larger than `most`.
    """
    try:
        with Path(path).open("rb") as file:
            chunks, left = [], most + 1
            while left > 0 and (chunk := file.read(min(left, CHUNK))):  # a read allocates what it asks for at once
                chunks.append(chunk)
                left -= len(chunk)
            content = b"".join(chunks)
    except (OSError, ValueError) as error:  # a ValueError for a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"`{name}` must be a readable file. Received: {path} ({reason})") from error
    if len(content) > most:
        raise ValueError(f"`{name}` must have at most {most:,} bytes. Received: {path}, which is larger")
    return content


def parse_json(content: bytes | str) -> Any:
    """Parse JSON of limited depth.

    Raises:
        ValueError: if it is not valid JSON, or is nested more than `DEPTH` levels deep.
    """
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} levels deep") from error
    level = [value]
    for _ in range(DEPTH):
        inside = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [each for group in inside for each in group]
        if not level:
            return value
    raise ValueError(f"nested more than {DEPTH} levels deep")


def archive_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the members of a zip archive after checking them against the limits, without unpacking any.

    Args:
        archive: an open `zipfile.ZipFile`.

    Returns:
        List of `zipfile.ZipInfo`. Reading a member never yields more than its `file_size`.

    Raises:
        ValueError: if there are too many members, a name is duplicated or points outside the archive, a member is
            encrypted or uses an unsupported compression method, or the unpacked sizes exceed the limits.
    """
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(members) > MEMBERS or len(names) < len(members):
        raise ValueError(f"it must have at most {MEMBERS:,} members, with distinct names. Received: {len(members):,}")
    for member in members:
        name, size, packed = member.filename, member.file_size, member.compress_size
        if name.startswith("/") or ".." in name.split("/") or "\\" in name or name[1:2] == ":" or "\0" in name:
            raise ValueError(f"a member's name must not point outside the archive. Received: {name[:80]!r}")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its members must be stored or deflated, not encrypted. Received: {name[:80]!r}")
        if member.compress_type == zipfile.ZIP_STORED and size != packed:
            raise ValueError(f"the sizes of its member {name[:80]!r} must agree. Received: {size:,} and {packed:,}")
        if size > SMALL and size > EXPANSION * packed:
            raise ValueError(f"a member must unpack to at most {EXPANSION} times its size. Received: {name[:80]!r}")
    most = int(os.environ.get("KVAE_MAX_BYTES", UNPACKED))
    total = sum(member.file_size for member in members)
    if total > most:
        raise ValueError(
            f"it must unpack to at most {most:,} bytes (set KVAE_MAX_BYTES to raise the limit). Received: {total:,}"
        )
    return members


def printable(text: object, most: int = 500) -> str:
    """Make untrusted text safe to print: one line of at most `most` characters, without control characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)[:most])
