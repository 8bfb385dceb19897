"""Whether a store is whole after a fault: documents, indexes, access rows, feed and sums agree."""

from chrysalis_memory import MemoryStorage, integrity
from chrysalis_memory import state as states
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.codes import CHUNK, CHUNK_BITS, codes_of, words_of
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.session import SQLiteSession
from chrysalis_memory.changes import Header
from chrysalis_memory.storage import Session, Space

_PAGE = 500
_OF_THE_FORGOTTEN = (
    "SELECT m.id FROM memory m JOIN {} t ON t.memory = m.number WHERE m.content IS NULL"
)
_CHANGES = (
    "SELECT memory, change FROM access UNION SELECT number, change FROM memory ORDER BY change"
)


def audit(storage: MemoryStorage) -> None:
    """Check all that is derived against what it is derived from.

    Raises:
        AssertionError: something is wrong with the store.
    """
    problems = integrity.check(storage.read).problems
    assert problems == [], f"{len(problems)} problems: {problems[:5]}"
    held = sorted(
        Header(document.id, document.state.life, states.digest(document.id, document.state),
               document.state.access)
        for document in storage.states()
    )  # fmt: skip
    fed = _fed(storage)
    assert fed == held, f"the feed shows {fed}, the store holds {held}"
    storage.read(_check_tables)


def _fed(storage: MemoryStorage) -> list[Header]:
    """Return what the change feed shows from its beginning, of each memory the last."""

    def work(session: Session) -> list[Header]:
        found: dict[str, Header] = {}
        cursor, more = b"", True
        while more:
            feed = session.feed(cursor, limit=_PAGE)
            found |= {header.id: header for header in feed.headers}
            cursor, more = feed.cursor, feed.more
        assert cursor == session.head(), "the feed ends before the last change"
        return sorted(found.values())

    return storage.read(work)


def _check_tables(session: Session) -> None:
    """Check what only a file has; a database has its indexes made by the server."""
    if not isinstance(session, SQLiteSession):
        return
    for table in ("access", "token_vector", "tag", "metadata", "memory_word", "pending"):
        kept = session.connection.execute(_OF_THE_FORGOTTEN.format(table)).fetchall()
        assert kept == [], f"rows of {table} of memories that are forgotten: {kept}"
    changes = [change for _, change in session.connection.execute(_CHANGES).fetchall()]
    assert changes == sorted(set(changes)), "one change number stands for two memories"
    for space in session.spaces():
        _check_codes(session.connection, space)


def _check_codes(connection: Database, space: Space) -> None:
    """Check that each vector has its code, and that there is no other."""
    table, vectors = CodeTable(connection, space), f"vector_{space.number}"
    coded: dict[int, bytes] = {}
    size = words_of(space.dimension) * 8
    for chunk in table.chunks_since(0):
        for slot in range(CHUNK):
            if chunk.present[slot >> 3] >> (slot & 7) & 1:
                code = chunk.codes[slot * size : (slot + 1) * size]
                coded[(chunk.chunk << CHUNK_BITS) + slot] = code
    true: dict[int, bytes] = {}
    chunks = f"SELECT DISTINCT memory >> {CHUNK_BITS} FROM {vectors}"
    for (number,) in connection.execute(chunks).fetchall():
        stored = table.vectors(number)
        codes = (code.tobytes() for code in codes_of(stored.vectors))
        true |= dict(zip(stored.numbers.tolist(), codes, strict=True))
    assert coded == true, f"the codes of {space.fingerprint!r} are not those of its vectors"
