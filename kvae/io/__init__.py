"""Reading untrusted files within limits, and writing files atomically."""


class FileError(OSError, ValueError):
    """A file or folder that is missing, in use or not writable."""
