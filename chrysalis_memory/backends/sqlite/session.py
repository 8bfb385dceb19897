"""The SQL behind a session: rows in, rows out."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from chrysalis_memory import codec
from chrysalis_memory.backends.base import MadeVector, Priors, Term, WeightedTerm
from chrysalis_memory.backends.rows import (
    NO_ACCESS,
    MemoryRow,
    SavedRow,
    StoredMemory,
    stored_memory,
)
from chrysalis_memory.backends.sqlite.caches import Caches
from chrysalis_memory.backends.sqlite.collected import Mark
from chrysalis_memory.backends.sqlite.database import Database, attaching, number_array, onward
from chrysalis_memory.backends.sqlite.episodes import Episodes
from chrysalis_memory.backends.sqlite.feed import SQLiteChangeFeed
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.backends.sqlite.spaces import VectorSpaces
from chrysalis_memory.backends.sqlite.whole import Whole
from chrysalis_memory.backends.where import ORDERS
from chrysalis_memory.changes import access_digest
from chrysalis_memory.embedding import VectorStorage
from chrysalis_memory.query import Order, Query

_COLUMNS = MemoryRow._fields[1:16]
_INSERT = f"INSERT INTO memory VALUES (NULL, {', '.join('?' * (len(_COLUMNS) + 2))})"


class SQLiteSession(Whole, VectorSpaces, Episodes, SQLiteChangeFeed):
    """Reads and writes memory rows on one connection; see :class:`Session`."""

    def __init__(
        self,
        connection: Database,
        path: Path,
        caches: Caches | None = None,
        *,
        vector_storage: VectorStorage = "float32",
    ) -> None:
        Whole.__init__(self, connection, None if caches is None else caches.frequencies)
        VectorSpaces.__init__(self, connection, caches, vector_storage)
        SQLiteChangeFeed.__init__(self)
        self._path = path
        self._change = 0
        self._version: int | None = None
        self._kept_version: int | None = None

    def begin(self) -> None:
        """Forget what was known before this snapshot: somebody may have written since."""
        self._change = 0
        self.begin_words()
        self.begin_spaces()
        self.begin_sums()

    def begin_writing(self) -> bool:
        """Do as :meth:`begin`, inside a transaction; keep what nobody else has changed.

        Tells whether somebody else has written since the last write.
        """
        kept, self._kept_version = self._kept_version, None
        self._version = self.connection.execute("PRAGMA data_version").get
        if self._version == kept:
            return False
        self.begin()
        return kept is not None

    def end_writing(self) -> None:
        """Keep what is known: the transaction that was begun is committed."""
        self.words_changed.clear()
        self.codes_changed.clear()
        self.sums_changed.clear()
        self._kept_version = self._version

    def mark(self) -> tuple[Mark, Mark, Mark]:
        """Return where collected changes stand before a write, for :meth:`undo`."""
        return self.words_changed.mark(), self.codes_changed.mark(), self.sums_changed.mark()

    def undo(self, marks: tuple[Mark, Mark, Mark]) -> None:
        """Forget what a write did that was rolled back."""
        self.undo_words(marks[0])
        self.undo_spaces(marks[1])
        self.undo_sums(marks[2])

    def write_collected(self) -> None:
        """Write what the writes of the group left to be written together."""
        self.write_words()
        self.write_codes()
        self.write_sums()

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

    def copy_into(self, path: Path) -> None:
        """Write all that this snapshot holds to a new file, and have it on the disk."""
        with attaching(self.connection):
            self.connection.execute("VACUUM INTO ?", (str(path),))
        with path.open("rb") as file:
            os.fsync(file.fileno())  # SQLite leaves that to the caller

    # Reading memories

    def load(self, memory_id: str) -> StoredMemory | None:
        """See :meth:`Session.load`."""
        codec.check_text(memory_id, what="memory id")
        row = self.connection.execute(
            "SELECT number, state, EXISTS (SELECT 1 FROM access a WHERE a.memory = m.number) "
            "FROM memory m WHERE m.id = ?",
            (memory_id,),
        ).get
        if row is None:
            return None
        number, state, used = row
        access = self._access(number) if used else NO_ACCESS
        return StoredMemory(number, memory_id, state, access)

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
            "SELECT m.number, m.id, m.state "
            "FROM carray(?) AS c CROSS JOIN memory m ON m.number = c.value",
            (number_array(numbers),),
        )
        found = {stored.number: stored for stored in self._with_access(rows.fetchall())}
        return [found[number] for number in numbers if number in found]

    def select(
        self, query: Query, order: Order, limit: int | None, offset: int = 0
    ) -> list[StoredMemory]:
        """See :meth:`Session.select`."""
        where = Where(query)
        rows = self.connection.execute(
            f"SELECT m.number, m.id, m.state FROM memory m WHERE {where.sql} "
            f"ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?",
            (*where.parameters, -1 if limit is None else limit, offset),
        )
        return self._with_access(rows.fetchall())

    def everything(self, *, after: int, limit: int) -> list[StoredMemory]:
        """See :meth:`Session.everything`."""
        rows = self.connection.execute(
            "SELECT number, id, state FROM memory WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return self._with_access(onward(rows.fetchall(), after))

    def _with_access(self, rows: list[tuple[int, str, bytes]]) -> list[StoredMemory]:
        access = self._access_of([number for number, *_ in rows])
        return [
            stored_memory(StoredMemory, (number, memory_id, state, access.get(number, NO_ACCESS)))
            for number, memory_id, state in rows
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

    def namespace_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.namespace_counts`."""
        where = Where(query)
        return self.connection.execute(
            "SELECT m.namespace, count(*) FROM memory m "
            f"WHERE {where.sql} GROUP BY m.namespace ORDER BY m.namespace",
            where.parameters,
        ).fetchall()

    def source_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.source_counts`."""
        where = Where(query)
        return self.connection.execute(
            "SELECT m.source, count(*) AS memories FROM memory m "
            f"WHERE {where.sql} GROUP BY m.source ORDER BY memories DESC, m.source",
            where.parameters,
        ).fetchall()

    def priors(self, numbers: Sequence[int]) -> list[Priors]:
        """See :meth:`Session.priors`."""
        if not numbers:
            return []
        rows = self.connection.execute(
            "SELECT m.number, m.id, m.importance, m.confidence, coalesce("
            "(SELECT sum(a.count) FROM access a WHERE a.memory = m.number), 0), m.updated_at, "
            "m.source FROM carray(?) AS c CROSS JOIN memory m ON m.number = c.value",
            (number_array(numbers),),
        )
        return list(map(Priors._make, rows))

    # Writing memories

    def save(self, row: MemoryRow, saved: SavedRow | None, made: MadeVector | None = None) -> int:
        """See :meth:`Session.save`."""
        change = self._next_change()
        is_new = saved is None
        old = [] if saved is None else self._digests(saved, keeps_access=row.life == saved.life)
        self.count_digests(row.id, old=old, new=[int.from_bytes(row.digest)])
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
            self.index_words(
                saved.number, row.content, is_known=saved.content is not None, is_new=is_new
            )
            self.text_changed(saved.number, saved.content, row.content, made)
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

    def _digests(self, saved: SavedRow, *, keeps_access: bool) -> list[int]:
        """Return the digests that go when a row is replaced: its own, and those of its counts."""
        memory_id, digest = self.connection.execute(
            "SELECT id, digest FROM memory WHERE number = ?", (saved.number,)
        ).fetchall()[0]
        access = NO_ACCESS if keeps_access else self._access(saved.number)
        counts = [access_digest(memory_id, replica, n) for replica, n in access.items()]
        return [int.from_bytes(digest), *counts]

    def _next_change(self) -> int:
        if self._change == 0:
            self._change = self.last_change()
        self._change += 1
        return self._change

    def save_access(self, number: int, access: Mapping[str, int]) -> None:
        """See :meth:`Session.save_access`."""
        known = self._access(number)
        grown = {one: count for one, count in access.items() if count > known.get(one, 0)}
        if not grown:
            return
        change = self._next_change()
        self.connection.executemany(
            "INSERT INTO access VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET count = excluded.count, change = excluded.change",
            [(number, replica, count, change) for replica, count in grown.items()],
        )
        memory_id = self.connection.execute("SELECT id FROM memory WHERE number = ?", (number,)).get
        self.count_digests(
            memory_id,
            old=[access_digest(memory_id, one, known[one]) for one in grown if one in known],
            new=[access_digest(memory_id, one, count) for one, count in grown.items()],
        )

    # Searching

    def best_by_words(
        self, terms: Sequence[WeightedTerm], query: Query, *, limit: int, alone: bool = True
    ) -> list[tuple[int, float]]:
        """See :meth:`Session.best_by_words`."""
        if not terms:
            return []
        condition = self.condition(query)
        return self.ranked_by_words(terms, condition, limit=limit, alone=alone)

    def holding(self, term: Term, query: Query) -> list[int]:
        """See :meth:`Session.holding`."""
        return self.numbers_holding(term, self.condition(query))

    def word_totals(self, query: Query) -> tuple[int, int]:
        """See :meth:`Session.word_totals`."""
        self.write_words()
        where = Where(query)
        memories, tokens = self.connection.execute(
            "SELECT count(*), coalesce(sum(w.length), 0) FROM memory m "
            f"JOIN memory_word w ON w.memory = m.number WHERE {where.sql}",
            where.parameters,
        ).get
        return memories, tokens
