"""Where a memory file is, by what a copy of it cannot share."""

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
    """Return a name of this machine that stays: its id, or its network card's; or nothing.

    Host names, and the addresses that are given to virtual cards, change with every start of a
    container, and each would give the file a new identity.
    """
    if _MACHINE_ID.is_file() and (machine := _MACHINE_ID.read_text().strip()):
        return machine
    node = uuid.getnode()
    is_made_up = node >> 40 & 3  # not assigned by the card's maker (IEEE 802), or random
    return "" if is_made_up else f"{node:012x}"
