"""Encrypted files, by SQLite3 Multiple Ciphers: a build of apsw that has its module's name."""

from pathlib import Path

import apsw

from chrysalis_memory.backends.sqlite.database import Database, open_database
from chrysalis_memory.encryption_key import EncryptionKey
from chrysalis_memory.errors import NotADatabase, StorageError, StoreBusy, WrongKey

INSTALL = (
    "pip install 'chrysalis-memory[encryption]' && "
    "pip install --force-reinstall --no-deps apsw-sqlite3mc"
)


def is_supported() -> bool:
    """Tell whether the installed apsw is the one with ciphers."""
    return hasattr(apsw, "mc_version")


def open_file(path: str, key: EncryptionKey | None) -> Database:
    """Open or create a file; with a key, its pages and its log are encrypted.

    Raises:
        StorageError: a key is given, and this apsw has no ciphers.
    """
    if key is not None:
        _check_supported(path)
    connection = open_database(path)
    if key is not None:
        try:
            connection.pragma("hexkey", key.value().hex())
        except BaseException:
            connection.close()
            raise
    return connection


def _check_supported(path: str) -> None:
    if not is_supported():
        raise StorageError(
            f"{path!r} cannot be opened with a key: the installed apsw has no ciphers; {INSTALL}"
        )


def unreadable(path: str, key: EncryptionKey | None, *, is_plain: bool) -> NotADatabase:
    """Return what to raise for a file that is not what it should be.

    Args:
        path: The file.
        key: What it was opened with.
        is_plain: Whether it begins as a SQLite database does that is not encrypted.
    """
    if key is not None and is_plain:
        return WrongKey(f"{path!r} is not encrypted; open it without a key, or encrypt it (rekey)")
    if key is not None:
        return WrongKey(f"the key does not open {path!r}, or it is no database; give the right key")
    how = "" if is_supported() else f", which needs ciphers: {INSTALL}"
    return NotADatabase(
        f"{path!r} is no SQLite database, or it is encrypted; give another path, or its key "
        f"(key=, CHRYSALIS_KEY){how}"
    )


def rekey(
    path: Path, key: EncryptionKey | None, new: EncryptionKey | None, timeout_seconds: float
) -> None:
    """Encrypt a file anew, for the first time, or no more.

    All of it is written with a rollback journal, so that it is done whole or not at all.

    Raises:
        StoreBusy: the file is open elsewhere; nothing was changed.
        WrongKey: ``key`` does not open it; nothing was changed.
        StorageError: it cannot be written; nothing was changed.
    """
    _check_supported(str(path))
    connection = open_file(str(path), key)
    try:
        connection.set_busy_timeout(int(timeout_seconds * 1000))
        connection.pragma("application_id")
        connection.pragma("temp_store", "MEMORY")
        connection.pragma("secure_delete", True)
        connection.pragma("synchronous", "EXTRA")
        # Only who has the file alone may leave the log; others would go on with the old key.
        connection.pragma("journal_mode", "delete")
        connection.pragma("hexrekey" if new else "rekey", new.value().hex() if new else "")
        connection.pragma("journal_mode", "wal")
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreBusy(
            f"{str(path)!r} is open elsewhere; nothing was changed, close it and try again"
        ) from error
    finally:
        connection.close()
