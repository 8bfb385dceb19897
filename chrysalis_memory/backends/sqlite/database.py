"""The part of apsw's connection that is used here, with types.

apsw describes its values with ``collections.abc.Buffer``, which Python 3.11 does not have, so a
type checker there knows nothing of its rows. Rows are typed by the code that selects them.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import apsw
import numpy as np
from numpy.typing import NDArray

R = TypeVar("R", bound=Sequence[Any])


class Cursor(Protocol):
    """The rows of one statement."""

    @property
    def get(self) -> Any:
        """The first row, or its only column; ``None`` without rows."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """An open SQLite connection."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: Sequence[object] = (), /) -> Cursor:
        """Run statements; parameters are bound, never pasted in."""
        ...

    def executemany(self, statements: str, bindings: Iterable[Sequence[object]], /) -> Cursor:
        """Run a statement once per row of parameters."""
        ...

    def pragma(self, name: str, value: object = None) -> Any:
        """Read or write a setting."""
        ...

    def config(self, option: int, *values: int) -> int:
        """Switch a setting of the connection."""
        ...

    def limit(self, number: int, most: int = -1, /) -> int:
        """Set a limit of the connection, and return what it was."""
        ...

    def txn_state(self, schema: str, /) -> int:
        """Return which kind of transaction is open, a broken off statement's snapshot too."""
        ...

    def set_busy_timeout(self, milliseconds: int, /) -> None:
        """Say how long a statement waits for a lock, if SQLite is to decide when to look again."""
        ...

    def set_busy_handler(self, wait: Callable[[int], bool], /) -> None:
        """Have ``wait``, told how often it was called for a lock, say whether to try again."""
        ...

    def enable_load_extension(self, enable: bool, /) -> None:
        """Allow or forbid loading extensions."""
        ...

    def load_extension(self, filename: str, /) -> None:
        """Load an extension."""
        ...

    def fts5_tokenizer(self, name: str, args: list[str], /) -> Callable[..., list[str]]:
        """Return a tokenizer of the full-text index."""
        ...

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        ...

    def last_insert_rowid(self) -> int:
        """Return the number of the row inserted last."""
        ...

    def close(self, force: bool = False, /) -> None:
        """Close the connection; with ``force``, whatever fails meanwhile."""
        ...


def onward(rows: list[R], after: Any, *, by: int = 0) -> list[R]:
    """Return a page of rows if whoever reads on behind its last gets ahead.

    Where pages of a damaged file have changed places, a row behind ``after`` may come from before
    it, and reading page by page would never end.

    Args:
        rows: In the order of one of their values, those behind ``after`` alone.
        after: The value of the last row of the page before.
        by: Which value.

    Raises:
        apsw.CorruptError: the last row does not lie behind ``after``.
    """
    if rows and not rows[-1][by] > after:
        raise apsw.CorruptError("rows are not in their order")
    return rows


@contextmanager
def attaching(connection: Database) -> Generator[None]:
    """Let SQLite attach one database, as it does to write a whole one anew; else none may be."""
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 1)
    try:
        yield
    finally:
        connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)


def open_database(path: str) -> Database:
    """Open or create a SQLite file."""
    return cast("Database", apsw.Connection(path))


def number_array(numbers: Iterable[int] | NDArray[np.int64]) -> object:
    """Return integers as one parameter for ``carray(?)``; there must be at least one.

    Fetch the rows of numbers by ``FROM carray(?) AS c CROSS JOIN t ON t.number = c.value``: with
    ``WHERE number IN carray(?)``, SQLite builds an index of the numbers first, which takes longer
    than fetching the rows. A number that is given twice gives its row twice.
    """
    carray = cast("Callable[[object], object]", apsw.carray)  # pyright: ignore[reportUnknownMemberType]
    if isinstance(numbers, np.ndarray):
        return carray(cast("NDArray[np.int64]", numbers))
    return carray(np.fromiter(numbers, dtype=np.int64))
