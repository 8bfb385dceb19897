"""The words of memories: an FTS5 index over ``memory.content``, ranked by BM25.

FTS5's own BM25 chooses the candidates, because it is quick; it fixes k1 = 1.2 and b = 0.75, which
punish long turns of a conversation too much. Candidates are therefore scored once more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import apsw

from chrysalis_memory.backends.base import WeightedWord
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.backends.sqlite.schema import TOKENIZER
from chrysalis_memory.query import Query

# Saturation and length normalisation, as commonly taken for passages (Anserini's default, Yang et
# al. 2017); on the open conversations and meetings they gain over 1.2 and 0.75.
_K1 = 0.9
_B = 0.4


class WordIndex:
    """Keeps and searches the word index on one connection."""

    def __init__(self, connection: Database) -> None:
        self.connection = connection
        self._tokenize = connection.fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:]))
        # Not arguments of the function: SQLite allows a function only so many.
        self._idfs: list[float] = []
        connection.register_fts5_function("weighted_bm25", _weighted_bm25(self._idfs))

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
        return self.connection.execute(
            "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'living'"
        ).get

    def document_frequency(self, token: str) -> int:
        """See :meth:`Session.document_frequency`."""
        return (
            self.connection.execute("SELECT doc FROM memory_term WHERE term = ?", (token,)).get or 0
        )

    def best_by_words(self, words: Sequence[str], query: Query, *, limit: int) -> list[int]:
        """See :meth:`Session.best_by_words`."""
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
            "SELECT number FROM hit JOIN memory USING (number) "
            "WHERE bm25 >= (SELECT min(bm25) FROM "
            "(SELECT bm25 FROM hit ORDER BY bm25 DESC LIMIT ?)) ORDER BY bm25 DESC, id LIMIT ?",
            (match_any(words), *(where.parameters if among else ()), limit, limit),
        )
        return [number for (number,) in rows]

    def bm25(self, words: Sequence[WeightedWord], numbers: Sequence[int]) -> dict[int, float]:
        """See :meth:`Session.bm25`."""
        if not words or not numbers:
            return {}
        self._idfs[:] = [word.idf for word in words]
        rows = self.connection.execute(
            "SELECT rowid, weighted_bm25(memory_text) FROM memory_text "
            "WHERE memory_text MATCH ? AND +rowid IN carray(?)",
            (match_any([word.word for word in words]), number_array(numbers)),
        )
        return dict(rows.fetchall())

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


def _weighted_bm25(idfs: Sequence[float]) -> Callable[..., float]:
    """Return an auxiliary function of FTS5 that gives the BM25 of a row under ``idfs``."""

    def function(api: Any, *_: object) -> float:
        mean_length = api.column_total_size(0) / api.row_count
        length = _K1 * (1 - _B + _B * api.column_size(0) / mean_length)
        score = 0.0
        for phrase, idf in enumerate(idfs):
            count = len(api.phrase_column_offsets(phrase, 0))
            if count:
                score += idf * count * (_K1 + 1) / (count + length)
        return score

    return function
