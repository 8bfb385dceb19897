"""The SQL behind a session: rows in, rows out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from chrysalis_memory import codec
from chrysalis_memory.backends.base import (
    Accuracy,
    MemoryRow,
    Nearest,
    Pending,
    Priors,
    SavedRow,
    Space,
    StoredMemory,
    WeightedTerm,
)
from chrysalis_memory.backends.sqlite.caches import Caches
from chrysalis_memory.backends.sqlite.conditions import Condition
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.episodes import Episodes
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.backends.sqlite.token_vectors import TokenVectors
from chrysalis_memory.backends.sqlite.vector_index import VectorIndex
from chrysalis_memory.backends.sqlite.words import WordIndex
from chrysalis_memory.embedding import Vector
from chrysalis_memory.query import Order, Query

_ORDERS: dict[Order, str] = {
    "created": "m.created_at, m.id",
    "recent": "m.created_at DESC, m.id DESC",
    "importance": "m.importance DESC, m.created_at, m.id",
}
_COLUMNS = MemoryRow._fields[1:16]
_INSERT = f"INSERT INTO memory VALUES (NULL, {', '.join('?' * (len(_COLUMNS) + 2))})"
_NO_ACCESS: Mapping[str, int] = {}
# A fifth of what the constructor written in Python costs, for thousands of rows.
_new = cast("Callable[[type[StoredMemory], tuple[Any, ...]], StoredMemory]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]


class SQLiteSession(WordIndex, Episodes, TokenVectors):
    """Reads and writes memory rows on one connection; see :class:`Session`."""

    def __init__(self, connection: Database, path: Path, caches: Caches | None = None) -> None:
        super().__init__(connection, None if caches is None else caches.frequencies)
        self._path = path
        self._change = 0
        self._spaces: list[Space] | None = None
        self._caches = caches

    def begin(self) -> None:
        """Forget what was known before this snapshot: somebody may have written since."""
        self._change = 0
        self._spaces = None
        self.forget_words()

    def undo(self, words: tuple[int, int]) -> None:
        """Forget what a write did that was rolled back; ``words`` is where they stood before."""
        self._spaces = None
        self.undo_words(words)

    # Settings of the file

    def meta(self, key: str) -> str | None:
        """See :meth:`Session.meta`."""
        return self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

    def set_meta(self, key: str, value: str) -> None:
        """See :meth:`Session.set_meta`."""
        self.connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def size_bytes(self) -> int:
        """See :meth:`Session.size_bytes`."""
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    # Reading memories

    def load(self, memory_id: str) -> StoredMemory | None:
        """See :meth:`Session.load`."""
        row = self.connection.execute(
            "SELECT number, state, EXISTS (SELECT 1 FROM access a WHERE a.memory = m.number) "
            "FROM memory m WHERE m.id = ?",
            (memory_id,),
        ).get
        if row is None:
            return None
        number, state, used = row
        return StoredMemory(number, state, self._access(number) if used else _NO_ACCESS)

    def _access(self, number: int) -> Mapping[str, int]:
        rows = self.connection.execute(
            "SELECT replica, count FROM access WHERE memory = ?", (number,)
        )
        return dict(rows.fetchall())

    def load_numbers(self, numbers: Sequence[int]) -> list[StoredMemory]:
        """See :meth:`Session.load_numbers`."""
        if not numbers:
            return []
        rows = self.connection.execute(
            "SELECT m.number, m.state FROM memory m WHERE m.number IN carray(?)",
            (number_array(numbers),),
        )
        found = {stored.number: stored for stored in self._with_access(rows.fetchall())}
        return [found[number] for number in numbers if number in found]

    def select(self, query: Query, order: Order, limit: int | None) -> list[StoredMemory]:
        """See :meth:`Session.select`."""
        where = Where(query)
        rows = self.connection.execute(
            f"SELECT m.number, m.state FROM memory m WHERE {where.sql} "
            f"ORDER BY {_ORDERS[order]} LIMIT ?",
            (*where.parameters, -1 if limit is None else limit),
        )
        return self._with_access(rows.fetchall())

    def everything(self, *, after: int, limit: int) -> list[StoredMemory]:
        """See :meth:`Session.everything`."""
        rows = self.connection.execute(
            "SELECT number, state FROM memory WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return self._with_access(rows.fetchall())

    def _with_access(self, rows: list[tuple[int, bytes]]) -> list[StoredMemory]:
        access: dict[int, dict[str, int]] = {}
        if rows and self.connection.execute("SELECT EXISTS (SELECT 1 FROM access)").get:
            for memory, replica, count in self.connection.execute(
                "SELECT memory, replica, count FROM access WHERE memory IN carray(?)",
                (number_array([number for number, _ in rows]),),
            ):
                access.setdefault(memory, {})[replica] = count
        return [
            _new(StoredMemory, (number, state, access.get(number, _NO_ACCESS)))
            for number, state in rows
        ]

    def count(self, query: Query) -> int:
        """See :meth:`Session.count`."""
        where = Where(query)
        return self.connection.execute(
            f"SELECT count(*) FROM memory m WHERE {where.sql}", where.parameters
        ).get

    def tag_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.tag_counts`."""
        where = Where(query)
        return self.connection.execute(
            "SELECT t.tag, count(*) AS uses FROM tag t JOIN memory m ON m.number = t.memory "
            f"WHERE {where.sql} GROUP BY t.tag ORDER BY uses DESC, t.tag",
            where.parameters,
        ).fetchall()

    def priors(self, numbers: Sequence[int]) -> list[Priors]:
        """See :meth:`Session.priors`."""
        if not numbers:
            return []
        rows = self.connection.execute(
            "SELECT m.number, m.id, m.importance, m.confidence, coalesce("
            "(SELECT sum(a.count) FROM access a WHERE a.memory = m.number), 0), m.updated_at "
            "FROM memory m WHERE m.number IN carray(?)",
            (number_array(numbers),),
        )
        return [Priors(*row) for row in rows]

    # Writing memories

    def save(self, row: MemoryRow, saved: SavedRow | None) -> int:
        """See :meth:`Session.save`."""
        change = self._next_change()
        is_new = saved is None
        if saved is None:
            self.connection.execute(_INSERT, (*row[:4], change, *row[4:16]))
            saved = SavedRow(self.connection.last_insert_rowid(), row.life, None, frozenset())
        else:
            columns = [column for column in _COLUMNS if column not in saved.same]
            assignments = ", ".join(f"{column} = ?" for column in columns)
            values = [getattr(row, column) for column in columns]
            self.connection.execute(
                f"UPDATE memory SET change = ?, {assignments} WHERE number = ?",
                (change, *values, saved.number),
            )
        self._save_parts(saved.number, row, saved.same, is_new=is_new)
        if row.content != saved.content:
            self.index_words(saved.number, saved.content, row.content)
            self._text_changed(saved.number, saved.content, row.content)
        if row.life != saved.life:
            self.connection.execute("DELETE FROM access WHERE memory = ?", (saved.number,))
        return saved.number

    def _save_parts(
        self, number: int, row: MemoryRow, same: frozenset[str], *, is_new: bool
    ) -> None:
        if not is_new:
            for table, field in (("tag", "tags"), ("metadata", "metadata")):
                if field not in same:
                    self.connection.execute(f"DELETE FROM {table} WHERE memory = ?", (number,))
        if row.tags and "tags" not in same:
            self.connection.executemany(
                "INSERT INTO tag VALUES (?, ?)", [(tag, number) for tag in row.tags]
            )
        if row.metadata and "metadata" not in same:
            self.connection.executemany(
                "INSERT INTO metadata VALUES (?, ?, ?, ?)",
                [(key, kind, value, number) for key, (kind, value) in row.metadata],
            )

    def _next_change(self) -> int:
        if self._change == 0:
            self._change = self.connection.execute(
                "SELECT max(coalesce((SELECT max(change) FROM memory), 0), "
                "coalesce((SELECT max(change) FROM access), 0))"
            ).get
        self._change += 1
        return self._change

    def save_access(self, number: int, access: Mapping[str, int]) -> None:
        """See :meth:`Session.save_access`."""
        change = self._next_change()
        self.connection.executemany(
            "INSERT INTO access VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET count = excluded.count, change = excluded.change "
            "WHERE excluded.count > access.count",
            [(number, replica, count, change) for replica, count in access.items()],
        )

    # Embedding spaces

    def spaces(self) -> list[Space]:
        """See :meth:`Session.spaces`."""
        if self._spaces is None:
            rows = self.connection.execute(
                "SELECT number, fingerprint, model, dimension, name, active FROM space "
                "ORDER BY number"
            )
            self._spaces = [Space(*row[:5], active=bool(row[5])) for row in rows]
        return self._spaces

    def create_space(self, fingerprint: str, model: str, dimension: int, name: str | None) -> Space:
        """See :meth:`Session.create_space`."""
        active = not self.spaces()
        self._spaces = None
        self.connection.execute(
            "INSERT INTO space (fingerprint, model, dimension, name, active) "
            "VALUES (?, ?, ?, ?, ?)",
            (fingerprint, model, dimension, name, active),
        )
        number = self.connection.last_insert_rowid()
        space = Space(number, fingerprint, model, dimension, name, active)
        self._vectors(space).create()
        self.connection.execute(
            "INSERT INTO pending SELECT ?, number FROM memory WHERE content IS NOT NULL",
            (space.number,),
        )
        return space

    def activate_space(self, space: Space) -> None:
        """See :meth:`Session.activate_space`."""
        for other in self.spaces():
            if other.number != space.number:
                self.drop_space(other)
        self.connection.execute("UPDATE space SET active = 1 WHERE number = ?", (space.number,))
        self._spaces = None

    def drop_space(self, space: Space) -> None:
        """See :meth:`Session.drop_space`."""
        self._vectors(space).drop()
        self.connection.execute("DELETE FROM space WHERE number = ?", (space.number,))
        self._spaces = None

    def rebuild_index(self, space: Space, *, after: int = -1, limit: int = 8) -> int | None:
        """See :meth:`Session.rebuild_index`."""
        if after < 0:
            self.drop_tokens(space)
        return self._vectors(space).rebuild(after, limit)

    def _vectors(self, space: Space) -> VectorIndex:
        return VectorIndex(
            self.connection, space, None if self._caches is None else self._caches.codes
        )

    def _text_changed(self, number: int, old: str | None, content: str | None) -> None:
        if old is not None:
            self.delete_tokens(number)
        for space in self.spaces():
            index = self._vectors(space)
            known = None if content is None else index.vector_of_text(codec.text_hash(content))
            if old is not None:
                index.delete(number)
            if content is not None and known is not None:
                index.put(number, codec.text_hash(content), known)
            self._mark_pending(space, number, waits=content is not None and known is None)

    def _mark_pending(self, space: Space, number: int, *, waits: bool) -> None:
        self.connection.execute(
            "INSERT OR IGNORE INTO pending VALUES (?, ?)"
            if waits
            else "DELETE FROM pending WHERE space = ? AND memory = ?",
            (space.number, number),
        )

    def pending(self, space: Space, *, limit: int) -> list[Pending]:
        """See :meth:`Session.pending`."""
        rows = self.connection.execute(
            "SELECT m.number, m.id, m.content FROM pending p JOIN memory m ON m.number = p.memory "
            "WHERE p.space = ? ORDER BY p.memory LIMIT ?",
            (space.number, limit),
        )
        return [Pending(*row) for row in rows]

    def pending_count(self, space: Space) -> int:
        """See :meth:`Session.pending_count`."""
        return self.connection.execute(
            "SELECT count(*) FROM pending WHERE space = ?", (space.number,)
        ).get

    def save_vector(self, space: Space, number: int, text_hash: bytes, vector: Vector) -> bool:
        """See :meth:`Session.save_vector`."""
        content = self.connection.execute(
            "SELECT content FROM memory WHERE number = ?", (number,)
        ).get
        if content is None or codec.text_hash(content) != text_hash:
            return False
        self._vectors(space).put(number, text_hash, vector)
        self._mark_pending(space, number, waits=False)
        return True

    def sample(self, space: Space, count: int) -> list[int]:
        """See :meth:`Session.sample`."""
        return self._vectors(space).sample(count)

    def vector(self, space: Space, number: int) -> Vector | None:
        """See :meth:`Session.vector`."""
        return self._vectors(space).vector(number)

    def nearest(
        self,
        space: Space,
        vector: Vector,
        k: int,
        query: Query,
        *,
        accuracy: Accuracy = "balanced",
    ) -> Nearest:
        """See :meth:`Session.nearest`."""
        return self._vectors(space).nearest(vector, k, self._condition(query), accuracy)

    def best_by_words(
        self, terms: Sequence[WeightedTerm], query: Query, *, limit: int, thorough: bool = True
    ) -> list[tuple[int, float]]:
        """See :meth:`Session.best_by_words`."""
        if not terms:
            return []
        condition = self._condition(query)
        return self.ranked_by_words(terms, condition, limit=limit, thorough=thorough)

    def _condition(self, query: Query) -> Condition | None:
        """Return what memories must match; ``None`` where every living one does."""
        if query.filter.is_empty and not self._leaves_out(query.now_us):
            return None
        answers = None if self._caches is None else self._caches.answers
        return Condition(self.connection, query, answers)

    def _leaves_out(self, now_us: int) -> bool:
        """Tell whether any memory is archived or has expired."""
        return self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM memory WHERE archived = 1) OR EXISTS "
            "(SELECT 1 FROM memory WHERE expires_at IS NOT NULL AND expires_at <= ?)",
            (now_us,),
        ).get

    def similarities(
        self, space: Space, vector: Vector, numbers: Iterable[int]
    ) -> dict[int, float]:
        """See :meth:`Session.similarities`."""
        return self._vectors(space).similarities(vector, numbers)
