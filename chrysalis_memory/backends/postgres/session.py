"""The SQL behind a session: rows in, rows out."""

from collections.abc import Sequence

from chrysalis_memory import codec
from chrysalis_memory.backends.base import Priors
from chrysalis_memory.backends.postgres.changes import USES, ChangeLog, change_statements
from chrysalis_memory.backends.postgres.collected import row_statements
from chrysalis_memory.backends.postgres.database import Database, Row, Statement
from chrysalis_memory.backends.postgres.episodes import Episodes
from chrysalis_memory.backends.postgres.filters import Where
from chrysalis_memory.backends.postgres.peers import Peers
from chrysalis_memory.backends.postgres.schema import BUCKETS_PER_PART
from chrysalis_memory.backends.postgres.spaces import Seen
from chrysalis_memory.backends.postgres.token_vectors import TokenVectors
from chrysalis_memory.backends.postgres.whole import Whole
from chrysalis_memory.backends.postgres.words import Tokenizers, changed_texts, locking
from chrysalis_memory.backends.rows import NO_ACCESS, StoredMemory, stored_memory
from chrysalis_memory.backends.where import ORDERS
from chrysalis_memory.changes import bucket_of
from chrysalis_memory.query import Order, Query

_STORED = f"m.number, m.id, m.state, {USES}"


class PostgresSession(Whole, TokenVectors, Episodes, ChangeLog, Peers):
    """Reads and writes memory rows on one connection; see :class:`Session`.

    Args:
        database: The connection.
        tokenizers: What makes tokens.
        seen: What the store's sessions have seen of it.
        writes: Whether it may change anything; if so, what it loads is locked.
    """

    def __init__(
        self, database: Database, tokenizers: Tokenizers, seen: Seen, *, writes: bool
    ) -> None:
        self.direct = database
        self.tokenizers = tokenizers
        self.seen = seen
        self.writes = writes
        self.begin()

    def begin(self) -> None:
        """Forget what was known before this snapshot: somebody may have written since."""
        self.is_committing = False
        self.begin_locks()
        self.begin_changes()
        self.begin_words()
        self.begin_spaces()

    def commit(self) -> None:
        """Write what was collected and end the transaction."""
        database, leaving = self.database, self.leaving()
        self.is_committing = True
        database.commit(*leaving)

    def write_collected(self) -> None:
        """Write what was collected; searching does so too."""
        if not self._changes and not self._made:
            return
        changes = list(self._changes.values())
        vectors = self.vector_statements(changes)
        words = self.word_statements(changed_texts(changes))
        self._changes.clear()
        if not changes:
            self.direct.together(*vectors)
            return
        parts = sorted({change.held.bucket // BUCKETS_PER_PART for change in changes})
        self.direct.together(
            *row_statements(changes), *vectors, locking(parts), *words, *change_statements(changes)
        )

    # Settings of the store

    def meta(self, key: str) -> str | None:
        """See :meth:`Session.meta`; in a write, nobody else sets meanwhile what is not set yet."""
        asking = Statement("SELECT value FROM meta WHERE key = %s", (key,))
        rows = self.direct.together(asking)[0]
        if not rows and self.writes:
            locking_all = Statement("LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE")
            rows = self.direct.together(locking_all, asking)[1]
        return rows[0][0] if rows else None

    def set_meta(self, key: str, value: str) -> None:
        """See :meth:`Session.set_meta`."""
        self.direct.run(
            "INSERT INTO meta VALUES (%s, %s) ON CONFLICT (key) "
            "DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def size_bytes(self) -> int:
        """See :meth:`Session.size_bytes`."""
        return self.database.value(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
            "WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
        )

    # Reading memories

    def load(self, memory_id: str) -> StoredMemory | None:
        """See :meth:`Session.load`; in a write it is locked, known or not."""
        codec.check_text(memory_id, what="memory id")
        if self.writes:
            return self.held(memory_id).stored()
        rows = self.direct.rows(
            f"SELECT {_STORED} FROM memory m WHERE m.bucket = %s AND m.id = %s",
            (bucket_of(memory_id), memory_id),
        )
        return _stored(rows[0]) if rows else None

    def load_numbers(self, numbers: Sequence[int]) -> list[StoredMemory]:
        """See :meth:`Session.load_numbers`."""
        if not numbers:
            return []
        rows = self.database.rows(
            f"SELECT {_STORED} FROM memory m WHERE m.number = ANY(%s::bigint[]) AND m.life > 0",
            (list(numbers),),
        )
        found = {row[0]: _stored(row) for row in rows}
        return [found[number] for number in numbers if number in found]

    def select(
        self, query: Query, order: Order, limit: int | None, offset: int = 0
    ) -> list[StoredMemory]:
        """See :meth:`Session.select`."""
        where = Where(query)
        rows = self.database.rows(
            f"SELECT {_STORED} FROM memory m WHERE {where.sql} "
            f"ORDER BY {ORDERS[order]} LIMIT %s OFFSET %s",
            (*where.parameters, limit, offset),
        )
        return [_stored(row) for row in rows]

    def everything(self, *, after: int, limit: int) -> list[StoredMemory]:
        """See :meth:`Session.everything`."""
        rows = self.database.rows(
            f"SELECT {_STORED} FROM memory m WHERE m.number > %s AND m.life > 0 "
            "ORDER BY m.number LIMIT %s",
            (after, limit),
        )
        return [_stored(row) for row in rows]

    def count(self, query: Query) -> int:
        """See :meth:`Session.count`."""
        where = Where(query)
        return self.database.value(
            f"SELECT count(*) FROM memory m WHERE {where.sql}", where.parameters
        )

    def tag_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.tag_counts`."""
        where = Where(query)
        rows = self.database.rows(
            "SELECT t.tag, count(*) FROM tag t JOIN memory m ON m.number = t.memory "
            f"WHERE {where.sql} GROUP BY t.tag ORDER BY count(*) DESC, t.tag",
            where.parameters,
        )
        return [(tag, count) for tag, count in rows]

    def namespace_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.namespace_counts`."""
        where = Where(query)
        rows = self.database.rows(
            "SELECT m.namespace, count(*) FROM memory m "
            f'WHERE {where.sql} GROUP BY m.namespace ORDER BY m.namespace COLLATE "C"',
            where.parameters,
        )
        return [(namespace, count) for namespace, count in rows]

    def source_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.source_counts`."""
        where = Where(query)
        rows = self.database.rows(
            "SELECT m.source, count(*) FROM memory m "
            f'WHERE {where.sql} GROUP BY m.source ORDER BY count(*) DESC, m.source COLLATE "C"',
            where.parameters,
        )
        return [(source, count) for source, count in rows]

    def priors(self, numbers: Sequence[int]) -> list[Priors]:
        """See :meth:`Session.priors`."""
        if not numbers:
            return []
        rows = self.database.rows(
            "SELECT m.number, m.id, m.importance, m.confidence, (SELECT "
            "coalesce(sum(a.count), 0)::bigint FROM access a WHERE a.memory = m.number), "
            "m.updated_at, m.source FROM memory m WHERE m.number = ANY(%s::bigint[]) "
            "AND m.life > 0 ORDER BY m.number",
            (list(numbers),),
        )
        return [Priors(*row) for row in rows]


def _stored(row: Row) -> StoredMemory:
    number, memory_id, state, replicas, counts = row
    access = dict(zip(replicas, counts, strict=True)) if replicas else NO_ACCESS
    return stored_memory(StoredMemory, (number, memory_id, state, access))
