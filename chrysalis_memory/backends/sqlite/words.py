"""The words of memories: an FTS5 index over ``memory.content``, ranked by BM25."""

from collections.abc import Sequence

import apsw

from chrysalis_memory.backends.base import WordHit
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.backends.sqlite.schema import TOKENIZER
from chrysalis_memory.query import Query


class WordIndex:
    """Keeps and searches the word index on one connection."""

    def __init__(self, connection: Database) -> None:
        self.connection = connection
        self._tokenize = connection.fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:]))

    def index_words(self, number: int, old: str | None, new: str | None) -> None:
        """Replace the words of a memory; the index needs the old text to remove its words."""
        if old is not None:
            self.connection.execute(
                "INSERT INTO memory_text (memory_text, rowid, content) VALUES ('delete', ?, ?)",
                (number, old),
            )
        if new is not None:
            self.connection.execute(
                "INSERT INTO memory_text (rowid, content) VALUES (?, ?)", (number, new)
            )
        if (change := (new is not None) - (old is not None)) != 0:
            # Counted here because count(*) reads a whole index, and recall asks every time.
            self.connection.execute(
                "UPDATE meta SET value = CAST(value AS INTEGER) + ? WHERE key = 'living'", (change,)
            )

    def tokens(self, text: str) -> list[str]:
        """See :meth:`Session.tokens`."""
        return self._tokenize(
            text.encode(),
            apsw.FTS5_TOKENIZE_QUERY,
            None,
            include_offsets=False,
            include_colocated=False,
        )

    def document_count(self) -> int:
        """See :meth:`Session.document_count`."""
        return self.connection.execute("SELECT count(*) FROM memory WHERE content IS NOT NULL").get

    def document_frequency(self, token: str) -> int:
        """See :meth:`Session.document_frequency`."""
        return (
            self.connection.execute("SELECT doc FROM memory_term WHERE term = ?", (token,)).get or 0
        )

    def word_hits(
        self, words: Sequence[str], query: Query, *, limit: int, also: Sequence[int]
    ) -> list[WordHit]:
        """See :meth:`Session.word_hits`."""
        if not words:
            return []
        where = Where(query)
        # "+" keeps the planner from one full-text search per allowed row.
        among = (
            f"AND +rowid IN (SELECT m.number FROM memory m WHERE {where.sql})"
            if self._excludes_any(query)
            else ""
        )
        rows = self.connection.execute(
            "WITH hit AS MATERIALIZED (SELECT rowid AS number, -bm25(memory_text) AS bm25 "
            f"FROM memory_text WHERE memory_text MATCH ? {among}) "
            # Local numbers differ between replicas, so ties at the limit are settled by the id.
            "SELECT number, bm25 FROM (SELECT number, bm25 FROM hit JOIN memory USING (number) "
            "WHERE bm25 >= (SELECT min(bm25) FROM "
            "(SELECT bm25 FROM hit ORDER BY bm25 DESC LIMIT ?)) ORDER BY bm25 DESC, id LIMIT ?) "
            "UNION SELECT number, bm25 FROM hit WHERE number IN carray(?)",
            (
                match_any(words),
                *(where.parameters if among else ()),
                limit,
                limit,
                number_array([*also, -1]),
            ),
        )
        return [WordHit(number, bm25) for number, bm25 in rows]

    def _excludes_any(self, query: Query) -> bool:
        """Tell whether the query could leave out any living memory."""
        if not query.filter.is_empty:
            return True
        return bool(
            self.connection.execute(
                "SELECT EXISTS (SELECT 1 FROM memory WHERE archived = 1) OR EXISTS "
                "(SELECT 1 FROM memory WHERE expires_at IS NOT NULL AND expires_at <= ?)",
                (query.now_us,),
            ).get
        )


def match_any(words: Sequence[str]) -> str:
    """Return an FTS5 query for any of the words; each is a quoted string, never syntax."""
    return " OR ".join('"' + word.replace('"', '""') + '"' for word in words)
