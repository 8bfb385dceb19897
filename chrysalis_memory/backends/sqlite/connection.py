"""How a connection to a memory file is opened, and what SQLite's errors are called here."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import apsw
import sqlite_vec

from chrysalis_memory import folders
from chrysalis_memory.backends.sqlite.ciphering import open_file, unreadable
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.fingerprint import verified_version
from chrysalis_memory.encryption_key import EncryptionKey
from chrysalis_memory.errors import NotADatabase, StorageError, StoreBusy

_CACHE_KIB = 16 << 10
_WAL_LIMIT_BYTES = 64 << 20
# 16 MiB: a checkpoint costs several fsyncs, and a full group of writes fills hundreds of pages.
_CHECKPOINT_PAGES = 4_000
_SWITCH_PAUSE_SECONDS = 0.01
_LOOK_SECONDS = 0.001
_HEADER = b"SQLite format 3\0"
# No file that this package writes needs more, and no statement of it: the largest value is a state
# that was merged up to a whole frame (16 MiB), the longest statement asks for 5,000 ids.
_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: 64 << 20,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 4 << 20,
    apsw.SQLITE_LIMIT_COLUMN: 100,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
}
_SWITCHES = {
    apsw.SQLITE_DBCONFIG_DEFENSIVE: 1,
    apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER: 0,  # foreign keys go on working
    apsw.SQLITE_DBCONFIG_ENABLE_VIEW: 0,
    apsw.SQLITE_DBCONFIG_DQS_DDL: 0,
    apsw.SQLITE_DBCONFIG_DQS_DML: 0,
}


def connect(
    path: Path, *, timeout_seconds: float, synchronous: str, key: EncryptionKey | None = None
) -> Database:
    """Open the file, creating it if needed.

    Args:
        path: The database file; missing folders are created.
        timeout_seconds: How long a statement waits for another process's lock.
        synchronous: ``FULL`` survives a power cut, ``NORMAL`` may then lose the last commits.
        key: What the file is encrypted with.

    Raises:
        WrongKey: the key does not open the file.
        NotADatabase: a directory, another application's file, or no SQLite database.
        NewerSchema: the file was written by a newer version.
        StorageError: the file cannot be opened.
    """
    _check_file(path, key)
    with translated_errors(str(path)):
        connection = open_file(str(path), key)
        try:
            wait_for_locks(connection, timeout_seconds)
            _protect(connection)
            if synchronous == "FULL":
                # macOS leaves what is synced in the disk's own cache unless this asks for more.
                connection.pragma("fullfsync", True)
            try:
                # A foreign file is refused before it is used.
                verified_version(connection, str(path))
            except apsw.NotADBError as error:
                raise unreadable(str(path), key, is_plain=False) from error
            _switch_to_wal(connection, timeout_seconds)
            _configure(connection, synchronous)
        except BaseException:
            connection.close()
            raise
        return connection


def wait_for_locks(connection: Database, timeout_seconds: float) -> None:
    """Wait for another process's lock as long as is allowed, and look often.

    SQLite's own way looks every 100 ms after a while. Between the writes of others the lock is free
    for a fraction of a millisecond, and whoever looks seldom may not find it so for seconds.
    """
    end_seconds = 0.0

    def wait(looks: int) -> bool:
        nonlocal end_seconds
        now = time.monotonic()
        if looks == 0:
            end_seconds = now + timeout_seconds
        if now >= end_seconds:
            return False
        time.sleep(_LOOK_SECONDS)
        return True

    connection.set_busy_handler(wait)


@contextmanager
def waiting(connection: Database, seconds: float, *, usually_seconds: float) -> Generator[None]:
    """Wait so long for the locks of others, and afterwards as long as usually."""
    wait_for_locks(connection, seconds)
    try:
        yield
    finally:
        wait_for_locks(connection, usually_seconds)


def _check_file(path: Path, key: EncryptionKey | None) -> None:
    try:
        folders.make(path.parent)
        if path.is_dir():
            raise NotADatabase(
                f"{str(path)!r} is a directory; name a file, for example {path}/memory.db"
            )
        # SQLite takes a file shorter than its header for an empty one, and would overwrite it.
        if path.exists() and path.stat().st_size > 0:
            plain = is_plain(path)
            if plain != (key is None):
                raise unreadable(str(path), key, is_plain=plain)
    except (OSError, ValueError) as error:
        raise StorageError(f"{str(path)!r} cannot be opened: {error}") from error


def is_plain(path: Path) -> bool:
    """Tell whether a file begins as a SQLite database does that is not encrypted.

    It is read by SQLite: closing a file drops the locks that this process has on it elsewhere
    (POSIX), and SQLite knows when to wait with that.

    Raises:
        StorageError: it cannot be read.
    """
    how = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY
    with translated_errors(str(path)):
        file = apsw.VFSFile("", str(path), [how, 0])
        try:
            return file.xRead(len(_HEADER), 0) == _HEADER
        finally:
            file.xClose()


def _switch_to_wal(connection: Database, timeout_seconds: float) -> None:
    """Switch a new file to WAL; SQLite does not wait for others that do so at the same time."""
    deadline = time.monotonic() + timeout_seconds
    while connection.pragma("journal_mode") != "wal":
        try:
            connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SWITCH_PAUSE_SECONDS)


def _protect(connection: Database) -> None:
    """Have nothing that a file says be run, and no value of it be larger than ours are."""
    for switch, is_on in _SWITCHES.items():
        connection.config(switch, is_on)
    for number, most in _LIMITS.items():
        connection.limit(number, most)
    connection.pragma("cell_size_check", True)
    # Pages are read and not mapped: mapped ones are checked (cell_size_check) at every use, which
    # makes fetching a row three times as dear, and a damaged file could crash the process.
    connection.pragma("mmap_size", 0)


def _configure(connection: Database, synchronous: str) -> None:
    connection.pragma("foreign_keys", True)
    connection.pragma("secure_delete", True)
    connection.pragma("synchronous", synchronous)
    connection.pragma("journal_size_limit", _WAL_LIMIT_BYTES)
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
    connection.pragma("cache_size", -_CACHE_KIB)
    connection.pragma("temp_store", "MEMORY")
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)


@contextmanager
def translated_errors(path: str) -> Generator[None]:
    """Raise SQLite's errors as this package's, with the path and what to do.

    Raises:
        StoreBusy: another process holds the lock.
        NotADatabase: the file is damaged or no database.
        StorageError: anything else SQLite reports.
    """
    try:
        yield
    except apsw.Error as error:
        raise translated(error, path) from error
    except UnicodeDecodeError as error:
        raise no_text(error, path) from error


def no_text(error: UnicodeDecodeError, path: str) -> NotADatabase:
    """Return what is raised where a text of the file cannot be read as one."""
    return NotADatabase(f"{path!r} is damaged: a text in it is no text ({error})")


def raise_explained(
    error: BaseException, explained: Callable[[BaseException], BaseException]
) -> None:
    """Raise what explains an error, if that is another; else the caller raises it again."""
    failure = explained(error)
    try:
        if failure is not error:
            raise failure from error
    finally:
        del failure  # which refers to this frame


def translated(error: BaseException, path: str) -> BaseException:
    """Return SQLite's error as :func:`translated_errors` raises it, any other as it is."""
    if not isinstance(error, apsw.Error):
        return error
    found: StorageError
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        found = StoreBusy(
            f"another process is writing to {path!r}; nothing was changed, try again, "
            "or open the store with a longer timeout_seconds"
        )
    elif isinstance(error, apsw.NotADBError | apsw.CorruptError):
        found = NotADatabase(f"{path!r} is no usable SQLite database ({error})")
    elif isinstance(error, apsw.FullError):
        found = StorageError(f"the disk that holds {path!r} is full; nothing was changed")
    elif isinstance(error, apsw.CantOpenError):
        found = StorageError(f"{path!r} cannot be opened ({error}); check path and rights")
    else:
        found = StorageError(f"SQLite failed on {path!r}: {error}")
    found.__cause__ = error
    return found


def costs_connection(error: BaseException) -> bool:
    """Tell whether SQLite failed, and not only refused what it was asked.

    What a connection holds in RAM is then given up with it: FTS5 goes on with what it holds after
    memory ran out, and would write an index that is damaged.
    """
    refused = (apsw.BusyError, apsw.LockedError, apsw.ConstraintError, apsw.SQLError)
    return isinstance(error, apsw.Error | MemoryError) and not isinstance(error, refused)
