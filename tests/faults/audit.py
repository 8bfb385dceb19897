"""Whether a store is whole after a fault: documents, indexes, access rows, feed and sums agree."""

from chrysalis_memory import MemoryStorage, integrity
from chrysalis_memory.storage import Session

_PAGE = 500


def audit(storage: MemoryStorage) -> None:
    """Check all that is derived against what it is derived from.

    Raises:
        AssertionError: something is wrong with the store.
    """
    problems = integrity.check(storage.read).problems
    assert problems == [], problems[:5]
    assert _fed(storage) == sorted(document.id for document in storage.states())


def _fed(storage: MemoryStorage) -> list[str]:
    """Return the ids that the change feed shows from its beginning, each once."""

    def work(session: Session) -> list[str]:
        found: set[str] = set()
        cursor, more = b"", True
        while more:
            feed = session.feed(cursor, limit=_PAGE)
            found |= {header.id for header in feed.headers}
            cursor, more = feed.cursor, feed.more
        return sorted(found)

    return storage.read(work)
