"""Which engine holds a store: what its path names, and how it is opened."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from chrysalis_memory.backends.base import Backend
from chrysalis_memory.backends.sqlite import SQLiteBackend, ciphering, connection
from chrysalis_memory.database_url import DatabaseURL, named, require_file
from chrysalis_memory.embedding import VectorStorage
from chrysalis_memory.encryption_key import EncryptionKey, KeySource
from chrysalis_memory.errors import InvalidValue, StorageError

if TYPE_CHECKING:
    from chrysalis_memory.backends.postgres import PostgresBackend

Synchronous = Literal["FULL", "NORMAL"]


class Opened(NamedTuple):
    """An engine, and what it was opened by."""

    backend: Backend
    path: Path | DatabaseURL
    temporary: tempfile.TemporaryDirectory[str] | None = None
    """What to remove once the engine is closed."""


def open_backend(
    path: str | Path | DatabaseURL,
    *,
    timeout_seconds: float,
    synchronous: Synchronous,
    index_ram_bytes: int | None = None,
    vector_storage: VectorStorage = "float32",
    examines: bool = True,
    key: EncryptionKey | None = None,
) -> Opened:
    """Open the engine that ``path`` names; see :class:`~chrysalis_memory.MemoryStorage`.

    ``examines=False`` opens a file that is damaged, so that it can be checked and mended.

    Raises:
        InvalidValue: a path or an option that is not acceptable.
        StorageError: the store cannot be opened.
    """
    if synchronous not in ("FULL", "NORMAL"):
        raise InvalidValue(f"synchronous is 'FULL' or 'NORMAL', got {synchronous!r}")
    if vector_storage not in ("float32", "int8"):
        raise InvalidValue(f"vector_storage is 'float32' or 'int8', got {vector_storage!r}")
    if not 0 <= timeout_seconds < 86_400:
        raise InvalidValue(f"timeout_seconds must be from 0 to 86400, got {timeout_seconds!r}")
    place = named(path)
    if isinstance(place, DatabaseURL):
        if vector_storage != "float32":
            raise InvalidValue(
                f"{place!r} stores vectors as float32; "
                f"vector_storage={vector_storage!r} is for files"
            )
        if key is not None:
            raise InvalidValue(f"{place!r} is encrypted by its server; a key is for files")
        engine = _postgres_backend()
        opened = engine(place, timeout_seconds=timeout_seconds, synchronous=synchronous)
        return Opened(opened, place)
    file, temporary = _file(place)
    backend = SQLiteBackend(
        file,
        timeout_seconds=timeout_seconds,
        synchronous=synchronous,
        index_ram_bytes=index_ram_bytes,
        vector_storage=vector_storage,
        examines=examines,
        key=key,
    )
    return Opened(backend, file, temporary)


def is_plain(path: Path) -> bool:
    """Tell whether a file is there that is a SQLite database and not encrypted."""
    return path.is_file() and connection.is_plain(path)


def rekey(
    path: str | Path,
    key: KeySource | EncryptionKey | None,
    new_key: KeySource | EncryptionKey | None,
    *,
    timeout_seconds: float = 5.0,
) -> None:
    """Encrypt a file with another key, for the first time, or no more.

    Nobody else may have the file open. It is done whole or not at all.

    Args:
        path: The file.
        key: Its key; ``None`` if it is not encrypted.
        new_key: Its key from now on; ``None`` to have it encrypted no more.
        timeout_seconds: How long to wait for others to close it.

    Raises:
        NotADatabase: there is no such file, or it is no memory.
        WrongKey: ``key`` does not open it; nothing was changed.
        StoreBusy: somebody has it open; nothing was changed.
        StorageError: the extra ``encryption`` is missing, or the file cannot be written.
    """
    require_file(path)
    file = Path(path).expanduser()
    old, new = EncryptionKey.of(key), EncryptionKey.of(new_key)
    SQLiteBackend(file, timeout_seconds=timeout_seconds, key=old).close()  # a memory, and its key
    with connection.translated_errors(str(file)):
        ciphering.rekey(file, old, new, timeout_seconds)


def _file(path: str | Path) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    if isinstance(path, str) and path == ":memory:":
        temporary = tempfile.TemporaryDirectory(prefix="chrysalis-")
        return Path(temporary.name) / "memory.db", temporary
    if isinstance(path, str) and "://" in path:
        raise InvalidValue(
            f"{path.partition('://')[0]}:// names no store; give a file, or a database as "
            "postgresql://user:password@host/database"
        )
    if str(path) in ("", ".") or "\0" in str(path):
        raise InvalidValue(f"path {str(path)!r} names no file")
    return Path(path).expanduser(), None


def _postgres_backend() -> "type[PostgresBackend]":
    """Return the engine of databases; its drivers are imported when one is opened."""
    try:
        from chrysalis_memory.backends.postgres import PostgresBackend
    except ImportError as error:
        raise StorageError(
            "memories in PostgreSQL need psycopg: pip install 'chrysalis-memory[postgres]' "
            f"({error})"
        ) from error
    return PostgresBackend
