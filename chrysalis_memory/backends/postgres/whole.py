"""Reading a database with all that is derived in it, to see whether it is whole."""

from collections import Counter
from typing import Any

from chrysalis_memory.backends.postgres.schema import PARTS as PARTS_OF_ALL
from chrysalis_memory.backends.postgres.words import PartWords, WordIndex, count_words
from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow
from chrysalis_memory.backends.words import joined
from chrysalis_memory.query import Scalar

_COLUMNS = ", ".join(f"m.{column}" for column in MemoryRow._fields[:16])
_PAGE = 1000
PARTS = (
    "tag", "metadata", "access", "pending", "token_vector", "memory_word", "memory_change",
)  # fmt: skip
"""Tables of what belongs to a memory, beside the vectors of each space."""
GHOST = "NOT EXISTS (SELECT 1 FROM memory m WHERE m.number = t.memory AND m.life > 0)"
UNFED = "m.life > 0 AND NOT EXISTS (SELECT 1 FROM memory_change c WHERE c.memory = m.number)"
IS_UNIT = "abs(-(vector <#> vector) - 1) <= 0.01"
_CONTENT = MemoryRow._fields.index("content")


class Whole(WordIndex):
    """What a check of a database reads, on one connection."""

    def indexed(self, *, after: int, limit: int) -> list[IndexedMemory]:
        """See :meth:`Session.indexed`."""
        rows = self.database.rows(
            f"SELECT m.number, w.tokens, tsvector_to_array(w.lexemes), {_COLUMNS} FROM memory m "
            "LEFT JOIN memory_word w ON w.memory = m.number "
            "WHERE m.number > %s AND m.life > 0 ORDER BY m.number LIMIT %s",
            (after, limit),
        )
        numbers = [row[0] for row in rows]
        tags, access = (
            self._parts("tag", numbers, "tag"),
            self._parts("access", numbers, "replica, count"),
        )
        metadata = self._parts("metadata", numbers, "key, kind, number, text")
        vectors: dict[int, dict[int, bytes]] = {}
        broken: dict[int, set[int]] = {}
        for (space,) in self.database.rows("SELECT number FROM space"):
            parts = self._parts(f"vector_{space}", numbers, f"text_hash, {IS_UNIT}")
            for number, found in parts.items():
                text_hash, is_unit = found[0]
                vectors.setdefault(number, {})[space] = text_hash
                if not is_unit:
                    broken.setdefault(number, set()).add(space)
        pending = self._parts("pending", numbers, "space")
        return [
            IndexedMemory(
                number,
                MemoryRow(
                    *columns,
                    tags=[tag for (tag,) in tags.get(number, ())],
                    metadata=[
                        (key, Scalar(kind, text if value is None else value))
                        for key, kind, value, text in metadata.get(number, ())
                    ],
                ),
                dict(access.get(number, ())),
                self._has_words(columns[_CONTENT], tokens, lexemes),
                vectors.get(number, {}),
                frozenset(space for (space,) in pending.get(number, ())),
                frozenset(broken.get(number, ())),
            )
            for number, tokens, lexemes, *columns in rows
        ]

    def _has_words(self, text: str | None, tokens: str | None, lexemes: list[str] | None) -> bool:
        if text is None or tokens is None:
            return tokens is None and text is None
        made = self.tokenizers.tokenizer.of_memory(text)
        return tokens == joined(made) and set(lexemes or ()) in (set(made), set())

    def _parts(
        self, table: str, numbers: list[int], columns: str
    ) -> dict[int, list[tuple[Any, ...]]]:
        """Return rows of a table by the memories they belong to."""
        found: dict[int, list[tuple[Any, ...]]] = {}
        for number, *row in self.database.rows(
            f"SELECT memory, {columns} FROM {table} WHERE memory = ANY(%s::bigint[])", (numbers,)
        ):
            found.setdefault(number, []).append(tuple(row))
        return found

    def damage(self) -> list[str]:
        """See :meth:`Session.damage`; the files are the server's business."""
        problems = self.word_damage()
        for table in (*PARTS, *self.vector_tables()):
            ghosts = self.database.value(f"SELECT count(*) FROM {table} t WHERE {GHOST}")
            if ghosts:
                problems.append(f"{ghosts:,} rows of {table} belong to no row of memory")
        tokens = self.database.value(
            "SELECT count(*) FROM token_vector t JOIN memory m ON m.number = t.memory "
            "WHERE m.content IS NULL"
        )
        if tokens:
            problems.append(f"{tokens:,} forgotten memories still have token vectors")
        unfed = self.database.value(f"SELECT count(*) FROM memory m WHERE {UNFED}")
        if unfed:
            problems.append(f"{unfed:,} memories have no change number: no replica is told of them")
        return problems

    def vector_tables(self) -> list[str]:
        """Return the names of the tables of all spaces."""
        rows = self.database.rows("SELECT number FROM space ORDER BY number")
        return [f"vector_{number}" for (number,) in rows]

    def word_damage(self) -> list[str]:
        """Return what is wrong with the counts of words."""
        problems: list[str] = []
        true = self.counted_words()
        kept = {
            part: (memories, tokens)
            for part, memories, tokens in self.database.rows(
                "SELECT part, memories, tokens FROM change_part"
            )
        }
        found = {part: (true.memories[part], true.tokens[part]) for part in range(PARTS_OF_ALL)}
        if kept != found:
            problems.append(
                f"the word index counts {_total(kept)} memories and words, and holds "
                f"{_total(found)}"
            )
        counts = {
            (token, part): memories
            for token, part, memories in self.database.rows(
                "SELECT token, part, memories FROM word_count"
            )
        }
        wrong = {token for token, _ in counts.items() ^ dict(true.counts).items()}
        if wrong:
            problems.append(
                f"the word index counts {len(wrong):,} words, such as {min(wrong)[0]!r}, in more "
                "or fewer memories than hold them"
            )
        return problems

    def counted_words(self) -> PartWords:
        """Count all words anew, by the parts that memories belong to."""
        counted = PartWords(Counter(), Counter(), Counter())
        after = 0
        while rows := self.database.rows(
            "SELECT memory, bucket, tokens FROM memory_word WHERE memory > %s "
            "ORDER BY memory LIMIT %s",
            (after, _PAGE),
        ):
            for _, bucket, tokens in rows:
                count_words(counted, bucket, tokens.split(), 1)
            after = rows[-1][0]
        return counted


def _total(by_part: dict[int, tuple[int, int]]) -> tuple[int, int]:
    return sum(one[0] for one in by_part.values()), sum(one[1] for one in by_part.values())
