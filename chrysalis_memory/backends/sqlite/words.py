"""The words of memories: each memory's tokens, and an FTS5 index over them.

FTS5 finds the memories that hold a term. It does not rank them: its BM25 costs about 3 µs for each
memory that holds any of a query's words, and its k1 = 1.2 and b = 0.75 are fixed and punish long
turns of a conversation too much. Those that hold the rarest terms are scored by their tokens.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from chrysalis_memory.backends.base import Term, WeightedTerm
from chrysalis_memory.backends.sqlite.collected import Collected, Mark
from chrysalis_memory.backends.sqlite.conditions import Condition
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.frequencies import FrequencyCache, Statistics
from chrysalis_memory.backends.sqlite.tokenizer import Tokenizer, joined, match, pattern

# Saturation and length normalisation, as commonly taken for passages (Anserini's default, Yang et
# al. 2017); on the open conversations and meetings they gain over 1.2 and 0.75.
_K1 = 0.9
_B = 0.4

# How many memories terms may bring in to choose from: so many, and a share of all. Beyond it, terms
# that very many memories hold choose nothing; they count where the others' choice holds them too.
_ROWS = 500
_ROWS_SHARE = 0.004
# Of these, so many times the wanted number are scored: those whose terms are worth most.
_SCORED = 2
# The same terms add up alike but for this, in whatever order.
_ROUNDING = 1e-9


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
        rows = self.connection.execute(
            "SELECT m.number, m.content, w.tokens FROM memory m "
            "LEFT JOIN memory_word w ON w.memory = m.number "
            "WHERE m.number > ? ORDER BY m.number LIMIT ?",
            (after, limit),
        ).fetchall()
        for number, text, known in rows:
            made = None if text is None else joined(self._tokenizer.of_memory(text))
            if made != known:
                self.index_words(number, text, is_known=known is not None)
        return rows[-1][0] if len(rows) == limit else None

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
        rows_max = _ROWS + _ROWS_SHARE * self.document_count()
        worth: dict[int, float] = {}
        rows = 0
        left = sum(term.idf for term in terms)
        for term in sorted(terms, key=lambda term: term.frequency):
            # As many hold what is worth all that is left: who holds only that is not among them.
            if _are_worth(worth, left, _SCORED * limit):
                break
            left -= term.idf
            rows += term.frequency
            if rows > rows_max and (
                len(worth) >= limit or not (alone or condition is not None or self._any_waits())
            ):
                break
            idf = term.idf
            for number in self._holding(term, condition):
                worth[number] = worth.get(number, 0.0) + idf
        return self._best(_worthiest(worth, _SCORED * limit, limit), terms, limit)

    def _any_waits(self) -> bool:
        """Tell whether a memory has no vector yet, and so can be found by its words only."""
        return self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM pending p JOIN space s ON s.number = p.space "
            "WHERE s.active)"
        ).get

    def _holding(self, term: WeightedTerm, condition: Condition | None) -> list[int]:
        if not term.term.tokens:
            return []
        rows: list[tuple[int]] = self.connection.execute(
            "SELECT rowid FROM memory_text WHERE memory_text MATCH ?", (match(term.term),)
        ).fetchall()
        numbers = [number for (number,) in rows]
        if condition is None:
            return numbers
        return condition.passing(np.array(numbers, np.int64)).tolist()

    def _best(
        self, numbers: Sequence[int], terms: Sequence[WeightedTerm], limit: int
    ) -> list[tuple[int, float]]:
        """Return the best by BM25, ties settled by id as on every replica."""
        ranked = sorted(self.bm25(terms, numbers).items(), key=lambda pair: -pair[1])
        last = ranked[:limit][-1][1] if ranked else 0.0
        ranked = [pair for pair in ranked if pair[1] >= last]
        if len({score for _, score in ranked}) < len(ranked):
            rows = self.connection.execute(
                "SELECT m.number, m.id "
                "FROM carray(?) AS c CROSS JOIN memory m ON m.number = c.value",
                (number_array([number for number, _ in ranked]),),
            )
            ids: dict[int, str] = dict(rows.fetchall())
            ranked.sort(key=lambda pair: (-pair[1], ids[pair[0]]))
        return ranked[:limit]

    def bm25(self, terms: Sequence[WeightedTerm], numbers: Sequence[int]) -> dict[int, float]:
        """See :meth:`Session.bm25`."""
        if not terms or not numbers:
            return {}
        statistics = self._statistics()
        mean_length = statistics.tokens / max(statistics.memories, 1)
        wanted = [(pattern(one.term), one.idf * (_K1 + 1)) for one in terms if one.term.tokens]
        found: dict[int, float] = {}
        for number, length, tokens in self.connection.execute(
            "SELECT w.memory, w.length, w.tokens "
            "FROM carray(?) AS c CROSS JOIN memory_word w ON w.memory = c.value",
            (number_array(numbers),),
        ):
            norm = _K1 * (1 - _B + _B * length / mean_length) if length else 0.0
            score = 0.0
            for tokens_in_row, worth in wanted:
                count = tokens.count(tokens_in_row)
                if count:
                    score += worth * count / (count + norm)
            if score:
                found[number] = score
        return found


def _are_worth(worth: Mapping[int, float], least: float, count: int) -> bool:
    """Tell whether at least ``count`` memories are worth ``least``."""
    return len(worth) >= count and sum(one >= least for one in worth.values()) >= count


def _worthiest(worth: Mapping[int, float], n: int, at_least: int) -> list[int]:
    """Return about ``n`` memories of most worth, ascending; those that tie come in or stay out.

    They stay out where the others are ``at_least`` so many: many may hold but one same term.

    Args:
        worth: The sum of the inverse document frequencies of the terms each memory holds.
        n: How many.
        at_least: How many are enough.
    """
    if len(worth) <= n:
        return sorted(worth)
    last = np.partition(np.fromiter(worth.values(), float, len(worth)), -n)[-n]
    better = sorted(number for number, one in worth.items() if one > last + _ROUNDING)
    if len(better) >= at_least:
        return better
    return sorted(number for number, one in worth.items() if one >= last - _ROUNDING)
