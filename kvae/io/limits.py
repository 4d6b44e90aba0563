"""Reading files that somebody else may have written: what they may ask for at most, checked before they are believed.

The limits of every loader stand here. Sizes are in bytes.
"""

import json
import os
import zipfile
from pathlib import Path

from kvae.io import FileError

UNPACKED = 4 * 2**30  # all members of an archive together; the environment variable KVAE_MAX_BYTES takes its place
EXPANSION = 200  # times its packed size, for a member of more than SMALL: images reach 20, deflate's best is 1,032
SMALL = 2**26
MEMBERS = 1000  # of an archive
CONFIG = 2**22  # config.json, of a run or in a .keras file
HISTORY = 2**24  # history.csv
NOTEBOOK = 2**26
REPORT = 2**20  # what a student's notebook may report
DEPTH = 100  # lists and objects of JSON in one another
CLASSES = 100_000  # classes, or values of an attribute
EXAMPLE = 2**26  # numbers of one example, of an image or a code


def read_bytes(path, most, name="path"):
    """The content of a file.

    Args:
        path: str or path.
        most: int, bytes that it may have.
        name: what to call the argument in errors.

    Returns:
        Bytes.

    Raises:
        FileError: if it cannot be read.
        ValueError: if it is larger.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # a ValueError for a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"`{name}` must be a file that can be read. Received: {path} ({reason})") from error
    if len(content) > most:
        raise ValueError(f"`{name}` must have at most {most:,} bytes. Received: {path}, which has more")
    return content


def parse_json(content):
    """The value that JSON text, as bytes, stands for.

    Raises:
        ValueError: if it is no JSON, or nested more than `DEPTH` deep.
    """
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} deep") from error
    level = [value]
    for _ in range(DEPTH):
        inside = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [each for group in inside for each in group]
        if not level:
            return value
    raise ValueError(f"nested more than {DEPTH} deep")


def archive_members(archive):
    """The members of a zip archive, none of them unpacked yet.

    Args:
        archive: an open `zipfile.ZipFile`.

    Returns:
        List of `zipfile.ZipInfo`; reading a member gives no more than its `file_size`.

    Raises:
        ValueError: if there are too many, a name is there twice or leads out of the archive, one is encrypted or packed
            in an unusual way, or they unpack to more than the limits.
    """
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(members) > MEMBERS or len(names) < len(members):
        raise ValueError(f"it must have at most {MEMBERS:,} members, each once. Received: {len(members):,}")
    for member in members:
        name, size, packed = member.filename, member.file_size, member.compress_size
        if name.startswith("/") or ".." in name.split("/") or "\\" in name or name[1:2] == ":" or "\0" in name:
            raise ValueError(f"a member's name must not lead out of the archive. Received: {name[:80]!r}")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its members must be stored or deflated, not encrypted. Received: {name[:80]!r}")
        if member.compress_type == zipfile.ZIP_STORED and size != packed:
            raise ValueError(f"the sizes of its member {name[:80]!r} must agree. Received: {size:,} and {packed:,}")
        if size > SMALL and size > EXPANSION * packed:
            raise ValueError(f"a member must unpack to at most {EXPANSION} times its size. Received: {name[:80]!r}")
    most = int(os.environ.get("KVAE_MAX_BYTES", UNPACKED))
    total = sum(member.file_size for member in members)
    if total > most:
        raise ValueError(f"it must unpack to at most {most:,} bytes (KVAE_MAX_BYTES raises that). Received: {total:,}")
    return members


def printable(text, most=500):
    """Text of unknown origin as one line for a terminal or a table: no control characters, at most `most` long."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)[:most])
