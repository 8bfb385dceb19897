"""Reading a database with all that is derived in it, to see whether it is whole."""

from typing import Any

from chrysalis_memory.backends.postgres.words import WordIndex
from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow
from chrysalis_memory.backends.words import joined
from chrysalis_memory.query import Scalar

_COLUMNS = ", ".join(f"m.{column}" for column in MemoryRow._fields[:16])
_CONTENT = MemoryRow._fields.index("content")


class Whole(WordIndex):
    """What a check of a database reads, on one connection."""

    def indexed(self, *, after: int, limit: int) -> list[IndexedMemory]:
        """See :meth:`Session.indexed`."""
        rows = self.database.rows(
            f"SELECT m.number, w.tokens, {_COLUMNS} FROM memory m "
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
        for (space,) in self.database.rows("SELECT number FROM space"):
            for number, found in self._parts(f"vector_{space}", numbers, "text_hash").items():
                vectors.setdefault(number, {})[space] = found[0][0]
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
                tokens == self._indexed_words(columns[_CONTENT]),
                vectors.get(number, {}),
                frozenset(space for (space,) in pending.get(number, ())),
            )
            for number, tokens, *columns in rows
        ]

    def _indexed_words(self, text: str | None) -> str | None:
        return None if text is None else joined(self.tokenizers.tokenizer.of_memory(text))

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
        counted = self.database.rows(
            "SELECT count(*)::bigint, coalesce(sum(length), 0)::bigint FROM memory_word"
        )[0]
        kept = self.database.rows(
            "SELECT sum(memories)::bigint, sum(tokens)::bigint FROM change_part"
        )[0]
        if counted == kept:
            return []
        return [f"the word index counts {kept} memories and words, and holds {counted}"]
