"""A memory file: one writing thread, and reading connections that never wait for it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar, cast

import apsw

from chrysalis_memory import folders
from chrysalis_memory.backends.base import Session
from chrysalis_memory.backends.sqlite import cleaning
from chrysalis_memory.backends.sqlite.caches import Caches
from chrysalis_memory.backends.sqlite.connection import (
    connect,
    costs_connection,
    no_text,
    raise_explained,
    translated,
    translated_errors,
    waiting,
)
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.examination import examine, is_elsewhere, is_of_values
from chrysalis_memory.backends.sqlite.fingerprint import verified_version
from chrysalis_memory.backends.sqlite.mending import MendingSession
from chrysalis_memory.backends.sqlite.place import place_of
from chrysalis_memory.backends.sqlite.schema import migrate
from chrysalis_memory.backends.sqlite.writer import GroupWriter
from chrysalis_memory.embedding import VectorStorage
from chrysalis_memory.encryption_key import EncryptionKey
from chrysalis_memory.errors import StorageError, StoreClosed

T = TypeVar("T")

_IN_RAM_BYTES_MAX = 256 << 20
"""Cleaning copies what lives of a larger file to a temporary file, and of others to RAM."""
_TIDY_SECONDS = 0.1
"""How long cleaning waits for others that was not asked for."""
_PAUSES = 99
"""What was noted to be cleaned waits so many times as long as the last cleaning took."""


class SQLiteBackend:
    """The engine behind ``MemoryStorage("memory.db")``.

    Args:
        path: The database file; missing folders are created.
        timeout_seconds: How long a write waits for another process.
        synchronous: ``FULL`` (a returned write survives a power cut) or ``NORMAL``.
        index_ram_bytes: The most RAM that the codes of a space may take.
        vector_storage: What vectors that are written are stored as.
        examines: Whether a file that is found in a new place, and so may be anybody's, is read
            through before it is used.
        key: What the file is encrypted with.

    Raises:
        NotADatabase: a directory, another application's file, or a damaged one.
        NewerSchema: the file was written by a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout_seconds: float = 5.0,
        synchronous: str = "FULL",
        index_ram_bytes: int | None = None,
        vector_storage: VectorStorage = "float32",
        examines: bool = True,
        key: EncryptionKey | None = None,
    ) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._synchronous = synchronous
        self._key = key
        self._caches = Caches(index_ram_bytes)
        self._idle: list[MendingSession] = []
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._reading: list[int] = []  # the thread of each connection that is lent
        self._closed = False
        self._vector_storage: VectorStorage = vector_storage
        self._examines = examines
        self._clean_from = 0.0
        self._writer = GroupWriter(
            self._open_writing,
            str(path),
            timeout_seconds=timeout_seconds,
            explained=self._explained,
        )

    def _open_writing(self) -> MendingSession:
        connection = self._connect()
        try:
            self._take_up(connection)
        except BaseException as error:
            connection.close()
            raise_explained(error, self._explained)
            raise
        return MendingSession(connection, self._path, vector_storage=self._vector_storage)

    def _take_up(self, connection: Database) -> None:
        """Bring the file to this version's schema; read it through first if it came from others."""
        name = str(self._path)
        is_new = verified_version(connection, name) == 0
        if self._examines and not is_new and is_elsewhere(connection, self.place()):
            examine(connection, name)
        migrate(connection, lambda one: verified_version(one, name))

    def _connect(self) -> Database:
        return connect(
            self._path,
            timeout_seconds=self._timeout_seconds,
            synchronous=self._synchronous,
            key=self._key,
        )

    def read(self, work: Callable[[Session], T], *, snapshot: bool = True) -> T:
        """Run ``work`` on a reading connection; see :class:`Backend`.

        Raises:
            StoreClosed: the store was closed.
            StorageError: SQLite failed.
        """
        session = self._borrow()
        kept: MendingSession | None = session
        try:
            return self._read(session, work, snapshot=snapshot)
        except BaseException as error:
            if costs_connection(error) or session.connection.in_transaction:
                kept = None
                session.connection.close(True)
            raise_explained(error, self._explained)
            raise
        finally:
            self._give_back(kept)

    @staticmethod
    def _read(session: MendingSession, work: Callable[[Session], T], *, snapshot: bool) -> T:
        session.begin()
        if not snapshot:
            return work(session)
        session.connection.execute("BEGIN")
        try:
            return work(session)
        finally:
            # Nothing was written, and this also ends what a damaged file has broken off.
            if session.connection.in_transaction:
                session.connection.execute("ROLLBACK")

    def _explained(self, error: BaseException) -> BaseException:
        """Return what is to be raised for an error in reading or writing the file.

        SQLite's become this package's. What our own code could not work with is raised as it is,
        unless the file proves to be damaged.
        """
        name = str(self._path)
        if not is_of_values(error):
            return translated(error, name)
        if isinstance(error, UnicodeDecodeError):
            return no_text(error, name)
        try:
            connection = self._connect()
            try:
                with translated_errors(name):
                    examine(connection, name, thoroughly=True)
            finally:
                connection.close()
        except StorageError as damage:
            damage.__cause__ = error
            return damage
        return error

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

    def on_group_end(self, listener: Callable[[], None]) -> None:
        """See :meth:`Backend.on_group_end`."""
        self._writer.listeners.append(listener)

    def place(self) -> str:
        """Return a digest of the file's device, inode, machine and path."""
        return place_of(self._path)

    def backup(self, path: Path) -> None:
        """Write a copy of the file; see :meth:`Backend.backup`."""
        if path.exists():
            raise StorageError(f"{str(path)!r} exists already; name a new file")
        partial = path.with_name(path.name + ".partial")
        try:
            folders.make(path.parent)
            partial.unlink(missing_ok=True)
            self.read(
                lambda session: cast("MendingSession", session).copy_into(partial), snapshot=False
            )
            partial.rename(path)
            folders.settle(path.parent)
        except OSError as error:
            raise StorageError(f"cannot write a copy to {str(path)!r}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)

    def check_cleanable(self) -> None:
        """See :meth:`Backend.check_cleanable`; every file can be cleaned."""

    def clean(self, *, at_once: bool, pauses: bool = True) -> bool:
        """See :meth:`Backend.clean`; with pauses it takes at most 1 % of the time."""
        if not at_once:
            is_early = pauses and time.monotonic() < self._clean_from
            if self._closed or is_early or not self.read(_has_residue, snapshot=False):
                return False
        wait_seconds = self._timeout_seconds if at_once else _TIDY_SECONDS
        begun = time.monotonic()
        try:
            self._writer.alone(lambda c: self._clean(c, wait_seconds))
        finally:
            ended = time.monotonic()
            self._clean_from = ended + _PAUSES * (ended - begun)
        return True

    def _clean(self, connection: Database, wait_seconds: float) -> None:
        with waiting(connection, wait_seconds, usually_seconds=self._timeout_seconds):
            cleaning.truncate(connection)  # who reads an earlier state is met before the work
            cleaning.clean(connection, in_ram=self._fits_in_ram())

    def _fits_in_ram(self) -> bool:
        # A temporary file is not encrypted.
        return self._key is not None or self._path.stat().st_size <= _IN_RAM_BYTES_MAX

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
            # A read that goes on after this would hold the file open or, about to open it, make
            # one anew where the caller has moved or removed it.
            self._returned.wait_for(lambda: not self._reading)
            for session in self._idle:
                session.connection.close()
            self._idle.clear()
        self._writer.release()

    def _borrow(self) -> MendingSession:
        with self._lock:
            if self._closed:
                raise StoreClosed(f"the store {str(self._path)!r} is closed; open it again")
            self._reading.append(threading.get_ident())
            if self._idle:
                return self._idle.pop()
        try:
            return MendingSession(self._connect(), self._path, self._caches)
        except BaseException:
            self._give_back(None)
            raise

    def _give_back(self, session: MendingSession | None) -> None:
        if session is not None and session.connection.txn_state("main") != apsw.SQLITE_TXN_NONE:
            # A statement that an error broke off still holds its snapshot, which others would read.
            session.connection.close()
            session = None
        with self._lock:
            if session is not None:
                self._idle.append(session)
            self._reading.remove(threading.get_ident())
            self._returned.notify_all()


def _has_residue(session: Session) -> bool:
    return cleaning.is_marked(cast("MendingSession", session).connection)
