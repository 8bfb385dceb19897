"""Where a memory file is, by what a copy of it cannot share."""

import socket
import uuid
from pathlib import Path

from chrysalis_memory.codec import digest

_MACHINE_ID = Path("/etc/machine-id")


def place_of(path: Path) -> str:
    """Return a digest of a file's place: device, inode, machine and path."""
    status = path.stat()
    parts = (_machine(), status.st_dev, status.st_ino, str(path.resolve()))
    return digest("\n".join(map(str, parts)).encode()).hex()


def _machine() -> str:
    """Return a name of this machine that stays: its id, its network card's, or its host name."""
    if _MACHINE_ID.is_file() and (machine := _MACHINE_ID.read_text().strip()):
        return machine
    node = uuid.getnode()
    is_random = node >> 40 & 1  # what uuid makes up where it finds no card (RFC 4122, 4.5)
    return socket.gethostname() if is_random else f"{node:012x}"
