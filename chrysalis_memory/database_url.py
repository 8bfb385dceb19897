"""The URL of a database server: what opens it, and what of it may be shown.

A URL may hold a password, and what names a store is printed in errors, logs and statistics. So
whatever comes from a URL is shown without it, even where the URL is malformed.
"""

import re
from pathlib import Path

from chrysalis_memory.errors import NotADatabase

SCHEMES = ("postgresql://", "postgres://")
_USER_PART = re.compile(r"^([a-z]+://)([^:@/?]*)(:.*)?@", re.DOTALL)
_SECRET = re.compile(r"((?:^|[?&])(?:ssl)?password=)[^&]*", re.IGNORECASE)


class DatabaseURL:
    """The URL of a database server; as text it has no password.

    Args:
        url: What libpq reads.
    """

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def whole(self) -> str:
        """The URL as it was given, for whoever connects."""
        return self._url

    def __str__(self) -> str:
        # Everything up to the last "@" counts as user and password: whoever forgot to encode a
        # character of a password must not find the rest of it in a log.
        shown = _USER_PART.sub(lambda m: f"{m[1]}{m[2]}{':***' if m[3] else ''}@", self._url)
        return _SECRET.sub(r"\1***", shown)

    def __repr__(self) -> str:
        return repr(str(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseURL) and other.whole == self._url

    def __hash__(self) -> int:
        return hash(self._url)


def named(path: str | Path | DatabaseURL) -> str | Path | DatabaseURL:
    """Return what names a store, as a :class:`DatabaseURL` where it is one."""
    if isinstance(path, str) and path.startswith(SCHEMES):
        return DatabaseURL(path)
    return path


def require_file(path: str | Path | DatabaseURL) -> None:
    """Refuse the path of a file that is not there; a database shows only once it is opened.

    Raises:
        NotADatabase: there is no such file.
    """
    place = named(path)
    if not isinstance(place, DatabaseURL) and not Path(place).expanduser().exists():
        raise NotADatabase(f"there is no memory at {str(path)!r}; learning something makes one")
