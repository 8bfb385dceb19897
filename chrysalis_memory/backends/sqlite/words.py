"""The words of memories: each memory's tokens, and an FTS5 index over them.

FTS5 finds the memories that hold a term. It does not rank them: its BM25 costs about 3 µs for each
memory that holds any of a query's words, and its k1 = 1.2 and b = 0.75 are fixed and punish long
turns of a conversation too much. Those that hold the rarest terms are scored by their tokens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chrysalis_memory.backends.base import Term, WeightedTerm
from chrysalis_memory.backends.sqlite.collected import Collected, Mark
from chrysalis_memory.backends.sqlite.conditions import Condition
from chrysalis_memory.backends.sqlite.database import Database, number_array, onward
from chrysalis_memory.backends.sqlite.frequencies import FrequencyCache, Statistics
from chrysalis_memory.backends.sqlite.tokenizer import Tokenizer, match
from chrysalis_memory.backends.words import best_of, bm25, joined, worth_scoring


class _Change(NamedTuple):
    number: int
    is_known: bool
    is_new: bool
    text: str | None


class WordIndex:
    """Keeps and searches the words on one connection.

    Changes are collected: FTS5 writes a piece of index at every savepoint it is part of, and each
    write of a group has one.
    """

    def __init__(self, connection: Database, frequencies: FrequencyCache | None) -> None:
        self.connection = connection
        self._tokenizer = Tokenizer(connection)
        self._frequencies = frequencies
        self.words_changed = Collected[_Change]()
        self._known: Statistics | None = None

    def begin_words(self) -> None:
        """Forget what an earlier snapshot showed."""
        self._known = None
        self.words_changed.clear()

    def undo_words(self, mark: Mark) -> None:
        """Forget what a write did that was rolled back."""
        self._known = None
        self.words_changed.undo(mark)

    # Writing

    def index_words(
        self, number: int, text: str | None, *, is_known: bool, is_new: bool = False
    ) -> None:
        """Replace the words of a memory, with the next :meth:`write_words`.

        Args:
            number: Which memory.
            text: Its text; ``None`` once it is forgotten.
            is_known: Whether the index holds an earlier text of it.
            is_new: Whether its number is greater than those of all other memories.
        """
        self.words_changed.add(_Change(number, is_known, is_new, text))

    def write_words(self) -> None:
        """Write what was collected; searching does so too."""
        changes = self.words_changed.take()
        if not changes:
            return
        self._known = None
        memories = tokens = rewritten = 0
        for number, is_known, is_new, text in changes:
            if is_known:
                memories -= 1
                tokens -= self._remove(number)
            if text is not None:
                memories += 1
                tokens += self._insert(number, text)
            rewritten += not is_new
        self.connection.execute(
            "UPDATE word_statistics SET memories = memories + ?, tokens = tokens + ?, "
            "rewritten = rewritten + ?",
            (memories, tokens, rewritten),
        )

    def rebuild_words(self, *, after: int = -1, limit: int = 500) -> int | None:
        """See :meth:`Session.rebuild_words`."""
        self.write_words()  # those of writes that share this commit
        rows = self.connection.execute(
            "SELECT m.number, m.content, w.tokens FROM memory m "
            "LEFT JOIN memory_word w ON w.memory = m.number "
            "WHERE m.number > ? ORDER BY m.number LIMIT ?",
            (after, limit),
        ).fetchall()
        for number, text, known in onward(rows, after):
            made = None if text is None else joined(self._tokenizer.of_memory(text))
            if made != known:
                self.index_words(number, text, is_known=known is not None)
        return rows[-1][0] if len(rows) == limit else None

    def indexed_words(self, text: str) -> str:
        """Return what the index holds of a text."""
        return joined(self._tokenizer.of_memory(text))

    def _insert(self, number: int, text: str) -> int:
        tokens = self._tokenizer.of_memory(text)
        row = (number, len(tokens), joined(tokens))
        self.connection.execute("INSERT INTO memory_word VALUES (?, ?, ?)", row)
        self.connection.execute(
            "INSERT INTO memory_text (rowid, tokens) VALUES (?, ?)", (number, row[2])
        )
        return len(tokens)

    def _remove(self, number: int) -> int:
        length, tokens = self.connection.execute(
            "DELETE FROM memory_word WHERE memory = ? RETURNING length, tokens", (number,)
        ).get
        # The index needs the old tokens to remove them.
        self.connection.execute(
            "INSERT INTO memory_text (memory_text, rowid, tokens) VALUES ('delete', ?, ?)",
            (number, tokens),
        )
        return length

    # Counting

    def term(self, word: str) -> Term:
        """See :meth:`Session.term`."""
        return self._tokenizer.term(word)

    def _statistics(self) -> Statistics:
        self.write_words()
        if self._known is None:
            row = self.connection.execute(
                "SELECT memories, tokens, rewritten, (SELECT max(memory) FROM memory_word) "
                "FROM word_statistics"
            ).get
            self._known = Statistics(row[0], row[1], row[2], row[3] or 0)
        return self._known

    def document_count(self) -> int:
        """See :meth:`Session.document_count`."""
        return self._statistics().memories

    def document_frequencies(self, terms: Sequence[Term]) -> list[int]:
        """See :meth:`Session.document_frequencies`."""
        statistics = self._statistics()
        tokens = {token for term in terms if not term.prefix for token in term.tokens}
        if self._frequencies is None:
            found = {token: self._count(token) for token in tokens}
        else:
            found = self._frequencies.look_up(tokens, statistics, self._count, self._added)
        return [
            self._count_prefix(term)
            if term.prefix
            else min((found[token] for token in term.tokens), default=0)
            for term in terms
        ]

    def _count(self, token: str) -> int:
        row = self.connection.execute("SELECT doc FROM memory_term WHERE term = ?", (token,)).get
        return row or 0

    def _count_prefix(self, term: Term) -> int:
        return self.connection.execute(
            "SELECT count(*) FROM (SELECT rowid FROM memory_text WHERE memory_text MATCH ?)",
            (match(term),),
        ).get

    def _added(self, after: int, limit: int) -> list[str]:
        rows = self.connection.execute(
            "SELECT tokens FROM memory_word WHERE memory > ? LIMIT ?", (after, limit)
        )
        return [tokens for (tokens,) in rows]

    # Searching

    def ranked_by_words(
        self,
        terms: Sequence[WeightedTerm],
        condition: Condition | None,
        *,
        limit: int,
        alone: bool,
    ) -> list[tuple[int, float]]:
        """See :meth:`Session.best_by_words`; ``condition`` is ``None`` where all match."""
        numbers = worth_scoring(
            terms,
            lambda term: self.numbers_holding(term.term, condition),
            limit=limit,
            memories=self.document_count(),
            may_leave_out=lambda: not (alone or condition is not None or self._any_waits()),
        )
        return best_of(self.bm25(terms, numbers), limit, self._ids)

    def _any_waits(self) -> bool:
        """Tell whether a memory has no vector yet, and so can be found by its words only."""
        return self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM pending p JOIN space s ON s.number = p.space "
            "WHERE s.active)"
        ).get

    def numbers_holding(self, term: Term, condition: Condition | None) -> list[int]:
        """See :meth:`Session.holding`; ``condition`` is ``None`` where all match."""
        if not term.tokens:
            return []
        self.write_words()
        rows: list[tuple[int]] = self.connection.execute(
            "SELECT rowid FROM memory_text WHERE memory_text MATCH ?", (match(term),)
        ).fetchall()
        numbers = [number for (number,) in rows]
        if condition is None:
            return numbers
        return condition.passing(np.array(numbers, np.int64)).tolist()

    def _ids(self, numbers: list[int]) -> dict[int, str]:
        rows = self.connection.execute(
            "SELECT m.number, m.id FROM carray(?) AS c CROSS JOIN memory m ON m.number = c.value",
            (number_array(numbers),),
        )
        return dict(rows.fetchall())

    def bm25(
        self,
        terms: Sequence[WeightedTerm],
        numbers: Sequence[int],
        *,
        mean_length: float | None = None,
    ) -> dict[int, float]:
        """See :meth:`Session.bm25`."""
        if not terms or not numbers:
            return {}
        if mean_length is None:
            statistics = self._statistics()
            mean_length = statistics.tokens / max(statistics.memories, 1)
        rows = self.connection.execute(
            "SELECT w.memory, w.length, w.tokens "
            "FROM carray(?) AS c CROSS JOIN memory_word w ON w.memory = c.value",
            (number_array(numbers),),
        )
        return bm25(terms, rows, mean_length)
