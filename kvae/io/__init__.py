"""Reading files that somebody else may have written, and writing files atomically. All of it is in this room."""


class FileError(OSError, ValueError):
    """A file or folder that is missing, taken or not writable."""
