"""Leaving no byte of what was forgotten: in the pages of a file, or in its log.

``secure_delete`` overwrites what is deleted, in tables and in freed pages. Three places remain:

- When SQLite spreads the rows of a page over its neighbours, the page keeps a copy of what moved
  in the part of it that is unused; ``secure_delete`` does not know of it. ``VACUUM`` writes
  every page anew.
- FTS5 finds its leaves by separators, beginnings of words, that stay when the words go. Building
  its index anew makes them of words that are there.
- The log holds earlier pages until it is truncated.

The cost grows with the file, not with what is erased: about ten times that of copying it.
"""

from collections.abc import Generator
from contextlib import contextmanager

import apsw

from chrysalis_memory.backends.sqlite.database import Database, attaching

_MARK = "residue"
# The first byte of a separator names the index that it belongs to. "\U0010ffff" ends no word.
_STALE = """
SELECT EXISTS (
    SELECT 1 FROM (SELECT CAST(substr(term, 2) AS TEXT) AS start FROM memory_text_idx) i
    WHERE start <> '' AND NOT EXISTS (
        SELECT 1 FROM memory_term t WHERE t.term >= i.start AND t.term < i.start || char(1114111)
    )
)
"""


def mark(connection: Database) -> None:
    """Note, in the transaction that forgets, that bytes are left in the file."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, hex(randomblob(8)))", (_MARK,))


def is_marked(connection: Database) -> bool:
    """Tell whether bytes of something that was forgotten may be left."""
    found = connection.execute("SELECT EXISTS (SELECT 1 FROM meta WHERE key = ?)", (_MARK,))
    return bool(found.get)


def clean(connection: Database, *, in_ram: bool) -> None:
    """Leave no byte of what was forgotten, in the file and in its log.

    Args:
        connection: The connection that writes, outside a transaction.
        in_ram: Whether to copy what lives to RAM on the way, and not to a temporary file.

    Raises:
        apsw.BusyError: another connection writes, or reads an earlier state, for too long.
        apsw.Error: SQLite failed, for example on a full disk; nothing is lost.
    """
    # Another process may note more while this is at work; then its mark is another one.
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (_MARK,)).get
    if connection.execute(_STALE).get:
        connection.execute("INSERT INTO memory_text (memory_text) VALUES ('rebuild')")
    with attaching(connection), _temporary(connection, in_ram=in_ram):
        connection.execute("VACUUM")
    truncate(connection)
    if found is not None:
        connection.execute("DELETE FROM meta WHERE key = ? AND value = ?", (_MARK, found))


def truncate(connection: Database) -> None:
    """Bring the log into the file and make it empty.

    It waits for those who read from the log now; who begins meanwhile reads from the file.

    Raises:
        apsw.BusyError: another connection writes, or reads an earlier state, for too long.
    """
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
    if busy:
        raise apsw.BusyError("the log is in use")


@contextmanager
def _temporary(connection: Database, *, in_ram: bool) -> Generator[None]:
    if in_ram:
        yield
        return
    connection.pragma("temp_store", "FILE")
    try:
        yield
    finally:
        connection.pragma("temp_store", "MEMORY")
