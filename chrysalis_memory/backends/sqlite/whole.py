"""Reading a file with all that is derived in it, to see whether it is whole."""

from collections import Counter
from typing import Any

from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow
from chrysalis_memory.backends.sqlite.database import number_array
from chrysalis_memory.backends.sqlite.words import WordIndex
from chrysalis_memory.query import Scalar

_PROBLEMS_MAX = 100
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
        if not rows:
            return []
        numbers = [row[0] for row in rows]
        tags, access = (
            self._parts("tag", numbers, "t.tag"),
            self._parts("access", numbers, "t.replica, t.count"),
        )
        metadata = self._parts("metadata", numbers, "t.key, t.kind, t.value")
        vectors: dict[int, dict[int, bytes]] = {}
        for (space,) in self.connection.execute("SELECT number FROM space").fetchall():
            for number, found in self._parts(f"vector_{space}", numbers, "t.text_hash").items():
                vectors.setdefault(number, {})[space] = found[0][0]
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
        # Its check of FTS5 goes by what the connection has seen of the index, and a query makes it
        # look whether another has written since (SQLite 3.54).
        self.connection.execute("SELECT rowid FROM memory_text LIMIT 1").fetchall()
        found = self.connection.execute(f"PRAGMA integrity_check({_PROBLEMS_MAX})").fetchall()
        problems = [f"SQLite says: {said}" for (said,) in found if said != "ok"]
        for table, _, other, _ in self.connection.execute("PRAGMA foreign_key_check").fetchall():
            problems.append(f"a row of {table} belongs to no row of {other}")
        return problems + self._word_damage()

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
        kept = self.connection.execute("SELECT memories, tokens FROM word_statistics").get
        if kept != (memories, tokens.total()):
            problems.append(
                f"the word index counts {kept[0]:,} memories and {kept[1]:,} words, and holds "
                f"{memories:,} and {tokens.total():,}"
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
