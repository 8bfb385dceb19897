"""Reading a file of secrets: TOML that nobody but its owner may read."""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from chrysalis_memory.errors import InvalidValue

_BYTES_MAX = 4 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PLACE = re.compile(r" \(at (?:line \d+, column \d+|end of document)\)$")


def read_tables(path: Path, *, what: str) -> dict[str, Any]:
    """Read such a file.

    Args:
        path: The file.
        what: What it holds, in plural, for errors.

    Raises:
        InvalidValue: it cannot be read, others can read it, or it is no TOML; no message shows
            anything of it.
    """
    try:
        with path.open("rb") as file:
            # Of the file that is open, not of what its path leads to a moment later.
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & _OTHERS:
                raise InvalidValue(
                    f"{path} holds {what} and other users may read or write it "
                    f"(mode {stat.S_IMODE(mode):o}); run: chmod 600 {path}"
                )
            content = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidValue(f"the {what} in {path} cannot be read: {error.strerror}") from error
    if len(content) > _BYTES_MAX:
        raise InvalidValue(f"{path} is over {_BYTES_MAX:,} bytes; is it a file of {what}?")
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        # What TOML and UTF-8 complain of may be a piece of a secret; where it stands is not.
        place = _PLACE.search(str(error))
        told = place[0] if place else ""
        raise InvalidValue(f"{path} is not TOML in UTF-8{told}") from None
