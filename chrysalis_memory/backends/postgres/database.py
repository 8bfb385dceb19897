"""A connection to PostgreSQL: statements in, rows out, several of them in one round trip."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import pq
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

Row = tuple[Any, ...]


class Statement(NamedTuple):
    """What is to be run."""

    sql: str
    """With ``%s``, or ``%b`` for what is sent as bytes, for each parameter."""
    parameters: Sequence[object] = ()


# What pgvector sends and receives: the dimension, two unused bytes, big-endian components.
_HEADER = np.dtype(">u2")
_COMPONENT = np.dtype(">f4")
_HEADER_BYTES = 4


class Database:
    """Runs statements on one connection.

    A transaction begins with the first statement after :meth:`begin`, in the same round trip.

    Args:
        connection: In autocommit mode, so that transactions are what :meth:`begin` says.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self.connection = connection
        self._beginning: Statement | None = None

    def begin(self, how: str = "BEGIN") -> None:
        """Open a transaction with the next statement."""
        self._beginning = Statement(how)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open or about to be."""
        status = self.connection.info.transaction_status
        return self._beginning is not None or status != pq.TransactionStatus.IDLE

    def commit(self, *statements: Statement) -> None:
        """Run statements and end the transaction, in one round trip."""
        if self._beginning is None or statements:
            self.together(*statements, Statement("COMMIT"))
        self._beginning = None

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        self._beginning = None
        if not self.connection.closed and self.in_transaction:
            self.connection.execute(b"ROLLBACK")

    @contextmanager
    def within_transaction(self) -> Generator[None]:
        """Open a transaction for what needs one, if none is open."""
        if self.in_transaction:
            yield
            return
        self.begin()
        try:
            yield
            self.commit()
        finally:
            self.rollback()

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a statement."""
        return self.together(Statement(sql, parameters))[0]

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """Return the first column of the first row; ``None`` where there is no row."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    def run(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Run a statement for what it does."""
        self.together(Statement(sql, parameters))

    def together(self, *statements: Statement) -> list[list[Row]]:
        """Run statements in one round trip and return the rows of each."""
        asked = list(statements)
        if self._beginning is not None:
            asked.insert(0, self._beginning)
            self._beginning = None
        if not asked:
            return []
        if len(asked) == 1:
            return [self._found(self._execute(asked[0]))]
        with self.connection.pipeline():
            cursors = [self._execute(statement) for statement in asked]
        return [self._found(cursor) for cursor in cursors[len(asked) - len(statements) :]]

    def _execute(self, statement: Statement) -> psycopg.Cursor[Row]:
        cursor = self.connection.cursor(binary=True)
        # Bytes, because psycopg takes text only where it is written out; table names are ours.
        return cursor.execute(statement.sql.encode(), statement.parameters or None)

    @staticmethod
    def _found(cursor: psycopg.Cursor[Row]) -> list[Row]:
        return [] if cursor.description is None else cursor.fetchall()


class Connected:
    """Work on one connection, some of which may be collected to be written together."""

    direct: Database
    """The connection; what was collected may not be written yet."""

    def write_collected(self) -> None:
        """Write what was collected; nothing is unless a part of a session says so."""

    @property
    def database(self) -> Database:
        """The connection, with all that was collected written."""
        self.write_collected()
        return self.direct


def sends_vectors(connection: psycopg.Connection[Row], oid: int) -> None:
    """Let numpy arrays be parameters of pgvector's type ``vector``, whose number is ``oid``."""
    dumper = type("_VectorDumper", (_VectorDumper,), {"oid": oid})
    connection.adapters.register_dumper(np.ndarray, dumper)


class _VectorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: NDArray[np.float32]) -> bytes:
        header = np.array([len(obj), 0], _HEADER)
        return header.tobytes() + obj.astype(_COMPONENT).tobytes()

    def get_key(self, obj: object, format: PyFormat) -> type:  # noqa: A002 - psycopg's name
        return type(obj)


def received(vectors: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """Return vectors as pgvector sends them as float32 of shape ``(len(vectors), dimension)``."""
    stride = _HEADER_BYTES + _COMPONENT.itemsize * dimension
    raw = np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, stride)[:, _HEADER_BYTES:]
    return np.ascontiguousarray(raw).view(_COMPONENT).astype(np.float32)
