"""Folders whose names, and whose files' names, are still there after a power cut.

An ``fsync`` brings a file to disk; the name that leads to it needs one of its folder.
"""

import errno
import os
from pathlib import Path

# Some network file systems do not sync folders, and say so; what they promise is theirs.
_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP)


def make(folder: Path) -> None:
    """Make a folder and those above it, where they are missing, and bring their names to disk.

    Raises:
        OSError: it cannot be made, or is a file.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        settle(one.parent)


def settle(folder: Path) -> None:
    """Bring the names in a folder to disk, where the system can.

    Raises:
        OSError: the disk fails.
    """
    if os.name != "posix":  # elsewhere a folder cannot be opened, and its names are in a log
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise
    finally:
        os.close(handle)
