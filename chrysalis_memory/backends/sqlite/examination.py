"""Reading a whole file for what no version of this package writes, without believing any of it.

A file whose schema is right can still be damaged, or made to do harm: a tree of pages that leads
into itself, text where numbers belong, numbers beyond what arithmetic here holds. SQLite's own
check finds the first two; the conditions below find the rest. Both read the file once from its
beginning to its end, about 300 MB a second, so this is done when a file is opened in another place
than it was used in, and when a value of it could not be worked with.

What is only wrong, and does no harm, is the business of :mod:`chrysalis_memory.integrity`.
"""

import traceback

from chrysalis_memory.backends.sqlite.codes import CHUNK, words_of
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.changes import BUCKETS
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.crdt.counts import COUNT_MAX
from chrysalis_memory.errors import ChrysalisError, NotADatabase
from chrysalis_memory.shape import LIFE_MAX

_NUMBER_MAX = 1 << 40
"""Of memories: a million a second for twelve days."""
_CHANGE_MAX = 1 << 62
_DIGEST_BYTES = 16
_OURS = ("chrysalis_memory", "json", "numpy", "pydantic")
"""Packages in whose code it may show that a value is none that was written."""

# By version and table: what holds of every row.
_CONDITIONS: tuple[tuple[int, str, str], ...] = (
    (1, "memory", f"number BETWEEN 1 AND {_NUMBER_MAX} AND change BETWEEN 1 AND {_CHANGE_MAX}"),
    (1, "memory", f"life BETWEEN 1 AND {LIFE_MAX} AND length(digest) = {_DIGEST_BYTES}"),
    (1, "memory", "(content IS NULL) = (life % 2 = 0)"),
    (1, "memory", "importance BETWEEN 0 AND 1 AND confidence BETWEEN 0 AND 1"),
    (1, "memory", f"created_at BETWEEN 0 AND {STAMP_MAX} AND updated_at BETWEEN 0 AND {STAMP_MAX}"),
    (1, "memory", f"coalesce(expires_at, 0) BETWEEN 0 AND {STAMP_MAX} AND archived IN (0, 1)"),
    (1, "access", f"count BETWEEN 1 AND {COUNT_MAX} AND change BETWEEN 1 AND {_CHANGE_MAX}"),
    (1, "memory_word", "length >= 0"),
    (1, "word_statistics", f"memories BETWEEN 0 AND {_NUMBER_MAX} AND tokens >= 0"),
    (1, "word_statistics", f"rewritten BETWEEN 0 AND {_CHANGE_MAX}"),
    (1, "sqlite_schema", "(SELECT count(*) FROM word_statistics) = 1"),
    (1, "word_statistics", "tokens > 0 OR NOT EXISTS (SELECT 1 FROM memory_word WHERE length > 0)"),
    (2, "digest_sum", f"bucket BETWEEN 0 AND {BUCKETS - 1} AND length(sum) = {_DIGEST_BYTES}"),
    (2, "quarantine", f"stamp BETWEEN 1 AND {STAMP_MAX}"),
)  # fmt: skip


def is_of_values(error: BaseException) -> bool:
    """Tell whether our own code met a value that it could not work with: the file's, or a fault."""
    kinds = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
    if isinstance(error, ChrysalisError) or not isinstance(error, kinds):
        return False
    module = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in _OURS  # and not in a caller, whose work it may do


def is_elsewhere(connection: Database, place: str) -> bool:
    """Tell whether the file was used in another place last, and so may be anybody's."""
    known = connection.execute("SELECT value FROM meta WHERE key = 'place'").get
    return known != place


def examine(connection: Database, path: str, *, thoroughly: bool = False) -> None:
    """Read the whole file, whose schema was verified.

    Args:
        connection: The connection.
        path: Named in errors.
        thoroughly: Whether to compare indexes with their tables too, which takes long where the
            file does not fit into memory.

    Raises:
        NotADatabase: it is damaged, or holds what no version of this package writes.
    """
    kind = "integrity_check" if thoroughly else "quick_check"
    said = connection.execute(f"PRAGMA {kind}(1)").get
    if said != "ok":
        raise _damaged(path, f"SQLite says: {said}")
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        raise _damaged(path, f"a row of {table} belongs to no row of {parent}")
    version = connection.pragma("user_version")
    for since, table, condition in _CONDITIONS:
        if version >= since:
            _check(connection, path, table, condition)
    for number, dimension in connection.execute("SELECT number, dimension FROM space").fetchall():
        _check(
            connection, path, f"vector_{number}",
            f"memory BETWEEN 1 AND {_NUMBER_MAX} AND length(text_hash) = {_DIGEST_BYTES} "
            f"AND length(vector) IN ({dimension}, {4 * dimension})",
        )  # fmt: skip
        _check(
            connection, path, f"vector_code_{number}",
            f"chunk BETWEEN 0 AND {_NUMBER_MAX // CHUNK} AND change BETWEEN 1 AND {_CHANGE_MAX} "
            f"AND length(present) = {CHUNK // 8} "
            f"AND length(codes) = {CHUNK * words_of(dimension) * 8}",
        )  # fmt: skip


def _check(connection: Database, path: str, table: str, condition: str) -> None:
    if connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {table} WHERE ({condition}) IS NOT TRUE)"
    ).get:
        raise _damaged(path, f"a row of {table} is none that is written here")


def _damaged(path: str, what: str) -> NotADatabase:
    return NotADatabase(
        f"{path!r} is damaged and not used ({what}); if it is your own, see what is left: "
        "chrysalis check --repair"
    )
