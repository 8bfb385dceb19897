"""Reading a file with all that is derived in it, to see whether it is whole."""

import contextlib
from collections import Counter
from typing import Any

import apsw

from chrysalis_memory.backends.base import Space
from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.database import number_array, onward
from chrysalis_memory.backends.sqlite.fingerprint import verified_version
from chrysalis_memory.backends.sqlite.vector_blobs import is_unit
from chrysalis_memory.backends.sqlite.words import WordIndex
from chrysalis_memory.errors import StorageError
from chrysalis_memory.query import Scalar

_PROBLEMS_MAX = 100
_SPACES = "SELECT number, dimension FROM space"
_ALL_SPACES = "SELECT number, fingerprint, model, dimension, name, active FROM space"
_GHOST_TOKENS = (
    "SELECT count(*) FROM token_vector t JOIN memory m ON m.number = t.memory "
    "WHERE m.content IS NULL"
)
_COLUMNS = ", ".join(f"m.{column}" for column in MemoryRow._fields[:16])


class Whole(WordIndex):
    """What a check of a file reads, on one connection."""

    def indexed(self, *, after: int, limit: int) -> list[IndexedMemory]:
        """See :meth:`Session.indexed`."""
        rows = self.connection.execute(
            f"SELECT m.number, w.tokens, {_COLUMNS} FROM memory m "
            "LEFT JOIN memory_word w ON w.memory = m.number "
            "WHERE m.number > ? ORDER BY m.number LIMIT ?",
            (after, limit),
        ).fetchall()
        if not onward(rows, after):
            return []
        numbers = [row[0] for row in rows]
        tags, access = (
            self._parts("tag", numbers, "t.tag"),
            self._parts("access", numbers, "t.replica, t.count"),
        )
        metadata = self._parts("metadata", numbers, "t.key, t.kind, t.value")
        vectors: dict[int, dict[int, bytes]] = {}
        broken: dict[int, set[int]] = {}
        for space, dimension in self.connection.execute(_SPACES).fetchall():
            parts = self._parts(f"vector_{space}", numbers, "t.text_hash, t.vector")
            for number, found in parts.items():
                text_hash, vector = found[0]
                vectors.setdefault(number, {})[space] = text_hash
                if not is_unit(vector, dimension):
                    broken.setdefault(number, set()).add(space)
        pending = self._parts("pending", numbers, "t.space")
        return [
            IndexedMemory(
                number,
                MemoryRow(
                    *columns,
                    tags=[tag for (tag,) in tags.get(number, ())],
                    metadata=[(key, Scalar(*one)) for key, *one in metadata.get(number, ())],
                ),
                dict(access.get(number, ())),
                tokens == (None if columns[4] is None else self.indexed_words(columns[4])),
                vectors.get(number, {}),
                frozenset(space for (space,) in pending.get(number, ())),
                frozenset(broken.get(number, ())),
            )
            for number, tokens, *columns in rows
        ]

    def _parts(
        self, table: str, numbers: list[int], columns: str
    ) -> dict[int, list[tuple[Any, ...]]]:
        """Return rows of a table by the memories they belong to."""
        found: dict[int, list[tuple[Any, ...]]] = {}
        for number, *row in self.connection.execute(
            f"SELECT t.memory, {columns} FROM carray(?) AS c CROSS JOIN {table} t "
            "ON t.memory = c.value",
            (number_array(numbers),),
        ):
            found.setdefault(number, []).append(tuple(row))
        return found

    def damage(self) -> list[str]:
        """See :meth:`Session.damage`; SQLite's own check reads tables and indexes."""
        problems = [f"SQLite says: {said}" for said in self.said_by_sqlite(_PROBLEMS_MAX)]
        try:
            verified_version(self.connection, "the file")
        except StorageError as error:
            problems.append(str(error))
        rows = self.connection.execute("PRAGMA foreign_key_check").fetchall()
        for (table, other), count in Counter((row[0], row[2]) for row in rows).items():
            problems.append(f"{count:,} rows of {table} belong to no row of {other}")
        for space in map(Space._make, self.connection.execute(_ALL_SPACES).fetchall()):
            wrong = CodeTable(self.connection, space).wrong_chunks()
            if wrong:
                problems.append(
                    f"{wrong:,} blocks of codes of {space.fingerprint!r} are not those of their "
                    "vectors"
                )
        tokens = self.connection.execute(_GHOST_TOKENS).get
        if tokens:
            problems.append(f"{tokens:,} forgotten memories still have token vectors")
        return problems + self.word_damage()

    def said_by_sqlite(self, most: int) -> list[str]:
        """Return what SQLite's own check says is wrong, at most so much."""
        # A search has FTS5 look at what others wrote; its check alone would go by what it knew.
        with contextlib.suppress(apsw.CorruptError):
            self.connection.execute(
                "SELECT count(*) FROM memory_text WHERE memory_text MATCH 'x'"
            ).fetchall()
        found = self.connection.execute(f"PRAGMA integrity_check({most})").fetchall()
        return [said for (said,) in found if said != "ok"]

    def word_damage(self) -> list[str]:
        """Return what is wrong with the word index."""
        try:
            return self._word_damage()
        except apsw.CorruptError as error:
            return [f"the word index cannot be read ({error})"]

    def _word_damage(self) -> list[str]:
        """Count every token, which the index must have counted too."""
        memories, tokens = 0, Counter[str]()
        holding = Counter[str]()
        for (text,) in self.connection.execute("SELECT tokens FROM memory_word"):
            found = text.split()
            memories += 1
            tokens.update(found)
            holding.update(set(found))
        problems: list[str] = []
        kept = self.connection.execute("SELECT memories, tokens FROM word_statistics").fetchall()
        if kept != [(memories, tokens.total())]:
            problems.append(
                f"the word index counts {kept} memories and words, and holds "
                f"{(memories, tokens.total())}"
            )
        wrong = [
            term
            for term, has, count in self.connection.execute(
                "SELECT term, doc, cnt FROM memory_term"
            )
            if (holding.pop(term, 0), tokens[term]) != (has, count)
        ]
        if wrong or holding:
            one = min([*wrong, *holding])
            problems.append(
                f"the word index finds {len(wrong) + len(holding):,} words, such as {one!r}, in "
                "other memories than those that hold them"
            )
        return problems
