"""A memory in PostgreSQL: one writing thread, and reading connections from a pool."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar, cast

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from chrysalis_memory.backends.base import Session
from chrysalis_memory.backends.postgres.database import Database, Row, sends_vectors
from chrysalis_memory.backends.postgres.failures import translated_errors, was_cut_off
from chrysalis_memory.backends.postgres.mending import MendingSession
from chrysalis_memory.backends.postgres.schema import migrate, set_path
from chrysalis_memory.backends.postgres.spaces import Seen
from chrysalis_memory.backends.postgres.words import Tokenizers
from chrysalis_memory.backends.postgres.writer import Writer
from chrysalis_memory.database_url import DatabaseURL
from chrysalis_memory.errors import InvalidValue, StorageError, StoreClosed

T = TypeVar("T")
Connection = psycopg.Connection[Row]

READERS_MAX = 8
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresBackend:
    """The engine behind ``MemoryStorage("postgresql://...")``.

    Args:
        url: The server, database and role, as libpq reads it. ``?options=-csearch_path%3Dname``
            names the schema, which is created where it is missing.
        timeout_seconds: How long a write waits for others that hold the same memories.
        synchronous: ``FULL`` (a returned write survives a power cut) or ``NORMAL``.

    Raises:
        InvalidValue: a URL that cannot be read.
        NotADatabase: the schema holds tables of another application.
        NewerSchema: a newer version wrote it.
        StorageError: the server cannot be reached, is too old, or lacks pgvector.
    """

    def __init__(
        self, url: DatabaseURL, *, timeout_seconds: float = 5.0, synchronous: str = "FULL"
    ) -> None:
        self._url = url
        self._shown = str(url)
        self._timeout_seconds = timeout_seconds
        self._synchronous = synchronous
        self._tokenizers = Tokenizers()
        self._seen = Seen()
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._reading: list[int] = []  # the thread of each read
        self._closed = False
        _check_url(url)
        with translated_errors(self._shown), self._connection() as connection:
            self._place = migrate(Database(connection), self._shown)
        self._pool = ConnectionPool(
            url.whole,
            connection_class=Connection,
            min_size=0,
            max_size=READERS_MAX,
            timeout=max(timeout_seconds, 1.0),
            kwargs={"autocommit": True},
            configure=self._configure,
            open=True,
        )
        self._writer = Writer(self._connect_writer, self._shown)

    def _connection(self) -> Connection:
        try:
            return psycopg.connect(self._url.whole, autocommit=True)
        except psycopg.OperationalError as error:
            raise StorageError(
                f"{self._shown!r} cannot be reached ({' '.join(str(error).split())}); "
                "check the server, the URL and the role's rights"
            ) from error

    def _configure(self, connection: Connection) -> None:
        sends_vectors(connection, self._place.vector_oid)
        set_path(Database(connection), self._place)

    def _connect_writer(self) -> MendingSession:
        connection = self._connection()
        self._configure(connection)
        database = Database(connection)
        database.run(
            "SELECT set_config('lock_timeout', %s, false), "
            "set_config('synchronous_commit', %s, false)",
            (
                f"{max(1, round(self._timeout_seconds * 1000))}ms",
                "on" if self._synchronous == "FULL" else "off",
            ),
        )
        return MendingSession(database, self._tokenizers, self._seen, writes=True)

    def read(self, work: Callable[[Session], T], *, snapshot: bool = True) -> T:
        """Run ``work`` on a reading connection; see :class:`Backend`.

        It is run a second time if a space that it was about to search was dropped by another
        process since, for tables are not part of a snapshot, or if the connection was lost.

        Raises:
            StoreClosed: the store was closed.
            StorageError: PostgreSQL failed.
        """
        with self._lock:
            if self._closed:
                raise StoreClosed(f"the store {self._shown!r} is closed; open it again")
            self._reading.append(threading.get_ident())
        try:
            with translated_errors(self._shown):
                try:
                    return self._read(work, snapshot=snapshot)
                except (errors.UndefinedTable, psycopg.OperationalError) as error:
                    if not isinstance(error, errors.UndefinedTable) and not was_cut_off(error):
                        raise
                    self._pool.check()
                    return self._read(work, snapshot=snapshot)
        finally:
            with self._lock:
                self._reading.remove(threading.get_ident())
                self._returned.notify_all()

    def _read(self, work: Callable[[Session], T], *, snapshot: bool) -> T:
        with self._pool.connection() as connection:
            database = Database(connection)
            session = MendingSession(database, self._tokenizers, self._seen, writes=False)
            if not snapshot:
                return work(session)
            database.begin(_SNAPSHOT)
            try:
                result = work(session)
                database.commit()
            finally:
                database.rollback()
            return result

    def write(self, work: Callable[[Session], T]) -> "Future[T]":
        """Queue ``work`` as one transaction; see :class:`Backend`.

        Raises:
            StoreClosed: the store was closed.
            StorageError: called from inside another write, which would wait for itself.
        """
        return self._writer.submit(work)

    def run(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` as one transaction and wait; see :class:`Backend`.

        Raises:
            StoreClosed: the store was closed.
            StorageError: called from inside another write, which would wait for itself.
        """
        return self._writer.run(work)

    def place(self) -> str:
        """Return what names the cluster, the database and the schema."""
        return self.read(
            lambda session: cast("MendingSession", session).database.value(
                "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), "
                "(SELECT oid FROM pg_database WHERE datname = current_database()), "
                "current_schema()::regnamespace::oid)"
            ),
            snapshot=False,
        )

    def backup(self, path: Path) -> None:
        """Refuse: a database is copied by its own means.

        Raises:
            StorageError: always.
        """
        raise StorageError(
            f"{self._shown!r} is not copied to {str(path)!r}: use pg_dump --schema, "
            "or synchronise it with a new file"
        )

    def check_cleanable(self) -> None:
        """Refuse: a client cannot clean a database's pages and its log.

        Raises:
            StorageError: always.
        """
        raise StorageError(
            f"{self._shown!r} cannot be made to leave no byte from here; forget the memory, "
            "then have the administrator run VACUUM FULL on the schema's tables and remove "
            "archived write-ahead logs and copies on standbys"
        )

    def clean(self, *, at_once: bool, pauses: bool = True) -> bool:
        """Do nothing: a client cannot clean a database's pages and its log."""
        return False

    def on_group_end(self, listener: Callable[[], None]) -> None:
        """See :meth:`Backend.on_group_end`; every write is a group."""
        self._writer.listeners.append(listener)

    def close(self) -> None:
        """Finish queued writes and what is being read, then close every connection.

        Raises:
            StorageError: called from inside a read, which would wait for itself.
        """
        with self._lock:
            if self._closed:
                return
            if threading.get_ident() in self._reading:
                raise StorageError("a store cannot be closed inside a read; let the read end first")
            self._closed = True
        self._writer.close()
        with self._lock:
            self._returned.wait_for(lambda: not self._reading)
        self._pool.close()


def _check_url(url: DatabaseURL) -> None:
    # A second "@" is one of the password, the rest of which would be taken for the host.
    is_readable = url.whole.partition("?")[0].count("@") < 2
    try:
        conninfo_to_dict(url.whole)
    except psycopg.ProgrammingError:
        is_readable = False
    if not is_readable:
        # libpq says what it could not read, which may be a part of the password.
        raise InvalidValue(
            f"{url!r} is no URL that PostgreSQL reads: postgresql://user:password@host/database, "
            "with special characters of user and password percent-encoded"
        )
