"""From what a user gives for a peer to the transport that reaches it."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from chrysalis_memory.codec import shown
from chrysalis_memory.encryption_key import EncryptionKey
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication.folder import FolderTransport
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import LocalTransport, Transport
from chrysalis_memory.storage import MemoryStorage, is_plain

FORMS = (
    "another memory file (other.db), a folder that is there or folder:PATH, s3://bucket/prefix, "
    "postgresql://host/database, or http://host:port"
)
_FOLDER = "folder:"


class OpenedTransport(LocalTransport):
    """Carries frames to a store that was opened for it, and closes that store with itself."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(Replica(storage))
        self._storage = storage

    async def close(self) -> None:
        """Close the store."""
        await asyncio.to_thread(self._storage.close)


def open_transport(
    peer: str | Path,
    *,
    token: str | None = None,
    key: str | None = None,
    timeout_seconds: float = 30.0,
    file_key: EncryptionKey | None = None,
) -> Transport:
    """Return the transport to a peer.

    Args:
        peer: A ``.db`` path or a file that is there: another memory file, created if missing. A
            folder that is there, a path that ends with ``/``, or ``folder:PATH``: a shared folder.
            ``s3://bucket/prefix`` or ``file:///folder``: an object store. ``postgresql://…``: a
            store in a database. ``http://…`` or ``https://…``: a served memory.
        token: What lets this replica in at a served memory.
        key: What it signs frames with there, ``name:secret``.
        timeout_seconds: How long a request to an object store or to a served memory may take.
        file_key: What another memory file is encrypted with, if it is, or is new.

    Raises:
        InvalidValue: nothing that can be synced with, or a token or a key for what takes none.
        ReplicationError: what is needed to reach it is not installed.
        StorageError: the other store cannot be opened.
    """
    given, scheme = str(peer), _scheme(peer)
    if takes_token(peer):
        from chrysalis_memory.replication.http import HttpTransport

        return HttpTransport(given, token=token, key=key, timeout_seconds=timeout_seconds)
    for what, given_one in (("token", token), ("key", key)):
        if given_one is not None:
            raise InvalidValue(
                f"a {what} is for peers at http:// or https://; leave it out for others"
            )
    if scheme in ("s3", "file"):
        from chrysalis_memory.replication.objects import ObjectStoreTransport

        return ObjectStoreTransport(given, timeout_seconds=timeout_seconds)
    if scheme in ("postgresql", "postgres"):
        return OpenedTransport(MemoryStorage(given))
    if scheme:
        # Not the whole: there may be a password in it.
        raise InvalidValue(f"what begins with {scheme}:// is no peer; give {FORMS}")
    return _at_path(given, file_key)


def peer_name(peer: str | Path) -> str:
    """Return what a peer is called: an absolute path, or a URL without credentials and query.

    Raises:
        InvalidValue: a URL that cannot be read.
    """
    text = str(peer)
    if "://" not in text:
        kind = _FOLDER if text.startswith(_FOLDER) else ""
        return kind + str(Path(text.removeprefix(_FOLDER)).expanduser().resolve())
    try:
        scheme, place, path, *_ = urlsplit(text)
    except ValueError as error:
        raise InvalidValue(f"the URL of a peer cannot be read: {error}") from error
    return urlunsplit((scheme, place.rpartition("@")[2], path, "", "")).rstrip("/")


def takes_token(peer: str | Path) -> bool:
    """Tell whether a peer may ask for a token: a served memory."""
    return _scheme(peer) in ("http", "https")


def _scheme(peer: str | Path) -> str:
    scheme, is_url, _ = str(peer).partition("://")
    return scheme.lower() if is_url else ""


def _at_path(given: str, key: EncryptionKey | None) -> Transport:
    if given.startswith(_FOLDER) and given != _FOLDER:
        return FolderTransport(given.removeprefix(_FOLDER))
    path = Path(given).expanduser()
    if given and (path.is_dir() or given.endswith(("/", os.sep))):
        return FolderTransport(path)
    if path.is_file() or path.suffix == ".db":
        return OpenedTransport(MemoryStorage(path, key=None if is_plain(path) else key))
    raise InvalidValue(f"{shown(given)} is no peer; give {FORMS}")
