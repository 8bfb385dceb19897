"""The words of memories: each memory's tokens, and a GIN index over them.

Tokens are made here, by the same tokenizer as on every engine, and never by PostgreSQL. Its index
finds the memories that hold them; how often each occurs, and in a row with which, is counted in the
joined tokens. How many memories hold a token is counted when they are written: counting them in the
index would read every one of them.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from chrysalis_memory.backends.base import Term, WeightedTerm
from chrysalis_memory.backends.postgres.collected import Change
from chrysalis_memory.backends.postgres.database import Statement
from chrysalis_memory.backends.postgres.filters import Where
from chrysalis_memory.backends.postgres.schema import BUCKETS_PER_PART
from chrysalis_memory.backends.postgres.spaces import VectorSpaces
from chrysalis_memory.backends.sqlite.database import open_database
from chrysalis_memory.backends.sqlite.tokenizer import Tokenizer
from chrysalis_memory.backends.words import best_of, bm25, joined, pattern, worth_scoring
from chrysalis_memory.changes import bucket_of
from chrysalis_memory.query import Query

# A tsvector has at most 1 MiB of lexemes; beyond this the tokens themselves are looked through.
_LEXEMES_BYTES_MAX = 800_000


class Tokenizers(threading.local):
    """A tokenizer for each thread: SQLite's belongs to a connection, which threads cannot share."""

    def __init__(self) -> None:
        self._connection = open_database(":memory:")
        self.tokenizer = Tokenizer(self._connection)


class PartWords(NamedTuple):
    """What a transaction adds to the words of one part of all memories."""

    memories: Counter[int]
    tokens: Counter[int]
    counts: Counter[tuple[str, int]]
    """By lexeme and part: how many more memories hold it."""


class WordIndex(VectorSpaces):
    """Keeps and searches the words on one connection."""

    tokenizers: Tokenizers

    def begin_words(self) -> None:
        """Forget what an earlier snapshot showed."""
        self._statistics: tuple[int, int] | None = None

    # Writing

    def word_statements(
        self, texts: Sequence[tuple[int, str, str | None, bool]]
    ) -> list[Statement]:
        """Return what replaces the words of memories.

        Args:
            texts: Each as number, id, text (``None`` once it is forgotten), and whether the index
                holds words of it.
        """
        if not texts:
            return []
        self._statistics = None
        added = PartWords(Counter(), Counter(), Counter())
        known = [number for number, _, _, is_known in texts if is_known]
        old = self._tokens_of(known)
        rows: list[tuple[int, int, int, str, str, bool]] = []
        for number, memory_id, text, _ in texts:
            bucket = bucket_of(memory_id)
            if number in old:
                _count(added, bucket, old[number].split(), -1)
            if text is not None:
                tokens = self.tokenizers.tokenizer.of_memory(text)
                lexemes = _count(added, bucket, tokens, 1)
                is_long = sum(map(len, map(str.encode, lexemes))) > _LEXEMES_BYTES_MAX
                held = "" if is_long else " ".join(lexemes)
                rows.append((bucket, number, len(tokens), joined(tokens), held, is_long))
        statements: list[Statement] = []
        if known:
            sql = "DELETE FROM memory_word WHERE memory = ANY(%s::bigint[])"
            statements.append(Statement(sql, (known,)))
        if rows:
            statements.append(Statement(
                "INSERT INTO memory_word SELECT w.bucket, w.memory, w.length, w.tokens, "
                "array_to_tsvector(string_to_array(w.lexemes, ' ')), w.is_long "
                "FROM unnest(%s::smallint[], %s::bigint[], %s::int[], %s::text[], %s::text[], "
                "%s::boolean[]) AS w (bucket, memory, length, tokens, lexemes, is_long)",
                tuple([row[column] for row in rows] for column in range(6)),
            ))  # fmt: skip
        return statements + _counting(added)

    def _tokens_of(self, numbers: Sequence[int]) -> dict[int, str]:
        if not numbers:
            return {}
        rows = self.direct.rows(
            "SELECT memory, tokens FROM memory_word WHERE memory = ANY(%s::bigint[])",
            (list(numbers),),
        )
        return dict(rows)

    def rebuild_words(self, *, after: int = -1, limit: int = 500) -> int | None:
        """See :meth:`Session.rebuild_words`."""
        numbers = [
            number
            for (number,) in self.database.rows(
                "SELECT number FROM memory WHERE number > %s AND life > 0 ORDER BY number LIMIT %s",
                (after, limit),
            )
        ]
        if not numbers:
            return None
        self.prefetch_numbers(numbers)
        rows = self.direct.rows(
            "SELECT m.number, m.id, m.content, w.tokens FROM memory m "
            "LEFT JOIN memory_word w ON w.memory = m.number WHERE m.number = ANY(%s::bigint[])",
            (numbers,),
        )
        differing: list[tuple[int, str, str | None, bool]] = []
        for number, memory_id, text, known in rows:
            made = None if text is None else joined(self.tokenizers.tokenizer.of_memory(text))
            if made != known:
                differing.append((number, memory_id, text, known is not None))
        if differing:
            parts = sorted({bucket_of(row[1]) // BUCKETS_PER_PART for row in differing})
            self.direct.together(locking(parts), *self.word_statements(differing))
        return numbers[-1] if len(numbers) == limit else None

    # Counting

    def term(self, word: str) -> Term:
        """See :meth:`Session.term`."""
        return self.tokenizers.tokenizer.term(word)

    def _totals(self) -> tuple[int, int]:
        """Return how many living memories there are, and how many tokens they have together."""
        database = self.database
        if self._statistics is None:
            memories, tokens = database.rows(
                "SELECT sum(memories)::bigint, sum(tokens)::bigint FROM change_part"
            )[0]
            self._statistics = memories, tokens
        return self._statistics

    def document_count(self) -> int:
        """See :meth:`Session.document_count`."""
        return self._totals()[0]

    def document_frequencies(self, terms: Sequence[Term]) -> list[int]:
        """See :meth:`Session.document_frequencies`."""
        tokens = {token for term in terms if not term.prefix for token in term.tokens}
        rows = self.database.rows(
            "SELECT token, sum(memories)::bigint FROM word_count WHERE token = ANY(%s::text[]) "
            "GROUP BY token",
            (sorted(tokens),),
        )
        found: dict[str, int] = dict(rows)
        return [
            self._count_prefix(term)
            if term.prefix
            else min((found.get(token, 0) for token in term.tokens), default=0)
            for term in terms
        ]

    def _count_prefix(self, term: Term) -> int:
        sql, parameters = _holding(term)
        return self.database.value(f"SELECT count(*) FROM memory_word w WHERE {sql}", parameters)

    # Searching

    def best_by_words(
        self, terms: Sequence[WeightedTerm], query: Query, *, limit: int, alone: bool = True
    ) -> list[tuple[int, float]]:
        """See :meth:`Session.best_by_words`."""
        if not terms:
            return []
        where = self.condition(query)
        numbers = worth_scoring(
            terms,
            lambda term: self._numbers(term.term, where),
            limit=limit,
            memories=self.document_count(),
            may_leave_out=lambda: not (alone or where is not None or self._any_waits()),
        )
        return best_of(self.bm25(terms, numbers), limit, self._ids)

    def _numbers(self, term: Term, where: Where | None) -> list[int]:
        if not term.tokens:
            return []
        holding, parameters = _holding(term)
        matching = (
            f"WHERE {holding}"
            if where is None
            else f"JOIN memory m ON m.number = w.memory WHERE {holding} AND {where.sql}"
        )
        rows = self.database.rows(
            f"SELECT w.memory FROM memory_word w {matching} ORDER BY w.memory",
            (*parameters, *(() if where is None else where.parameters)),
        )
        return [number for (number,) in rows]

    def _any_waits(self) -> bool:
        """Tell whether a memory has no vector yet, and so can be found by its words only."""
        return self.database.value(
            "SELECT EXISTS (SELECT 1 FROM pending p JOIN space s ON s.number = p.space "
            "WHERE s.active)"
        )

    def _ids(self, numbers: list[int]) -> dict[int, str]:
        rows = self.database.rows(
            "SELECT number, id FROM memory WHERE number = ANY(%s::bigint[])", (numbers,)
        )
        return dict(rows)

    def bm25(self, terms: Sequence[WeightedTerm], numbers: Sequence[int]) -> dict[int, float]:
        """See :meth:`Session.bm25`."""
        if not terms or not numbers:
            return {}
        memories, tokens = self._totals()
        rows = self.database.rows(
            "SELECT memory, length, tokens FROM memory_word WHERE memory = ANY(%s::bigint[])",
            (list(numbers),),
        )
        return bm25(terms, ((row[0], row[1], row[2]) for row in rows), tokens / max(memories, 1))


def changed_texts(changes: Sequence[Change]) -> list[tuple[int, str, str | None, bool]]:
    """Return the texts that differ from what is stored, for :meth:`WordIndex.word_statements`."""
    return [
        (change.held.number, row.id, row.content, change.old_content is not None)
        for change in changes
        if (row := change.row) is not None and change.has_other_text
    ]


def locking(parts: Sequence[int]) -> Statement:
    """Return what locks parts of all memories, in order: their words, changes and digests."""
    return Statement(
        "SELECT FROM change_part WHERE part = ANY(%s::smallint[]) ORDER BY part FOR UPDATE",
        (list(parts),),
    )


def _count(added: PartWords, bucket: int, tokens: Sequence[str], sign: int) -> list[str]:
    """Count a memory in or out, and return its lexemes."""
    part = bucket // BUCKETS_PER_PART
    added.memories[part] += sign
    added.tokens[part] += sign * len(tokens)
    lexemes = list(dict.fromkeys(tokens))
    for one in lexemes:
        added.counts[one, part] += sign
    return lexemes


def _counting(added: PartWords) -> list[Statement]:
    parts = sorted(added.memories)
    statements: list[Statement] = [Statement(
        "UPDATE change_part c SET memories = c.memories + w.memories, tokens = c.tokens + w.tokens "
        "FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) AS w (part, memories, tokens) "
        "WHERE c.part = w.part",
        (parts, [added.memories[one] for one in parts], [added.tokens[one] for one in parts]),
    )]  # fmt: skip
    counts = sorted((key, count) for key, count in added.counts.items() if count)
    if counts:
        statements.append(Statement(
            "INSERT INTO word_count SELECT * FROM unnest(%s::text[], %s::smallint[], %s::bigint[]) "
            "ON CONFLICT (token, part) DO UPDATE "
            "SET memories = word_count.memories + excluded.memories",
            (
                [token for (token, _), _ in counts],
                [part for (_, part), _ in counts],
                [count for _, count in counts],
            ),
        ))  # fmt: skip
    fewer = [key for key, count in counts if count < 0]
    if fewer:
        # What nobody holds any more may be what was to be forgotten.
        statements.append(Statement(
            "DELETE FROM word_count c USING unnest(%s::text[], %s::smallint[]) AS w (token, part) "
            "WHERE c.token = w.token AND c.part = w.part AND c.memories = 0",
            ([token for token, _ in fewer], [part for _, part in fewer]),
        ))  # fmt: skip
    return statements


def _holding(term: Term) -> tuple[str, list[object]]:
    """Return the condition that a row of ``memory_word AS w`` holds a term, which has tokens."""
    *first, last = term.tokens
    lexemes = [*map(_quoted, first), _quoted(last) + (":*" if term.prefix else "")]
    in_row = pattern(term)
    sql, parameters = "w.lexemes @@ %s::tsquery", [" & ".join(lexemes)]
    if first:
        sql += " AND strpos(w.tokens, %s) > 0"
        parameters.append(in_row)
    return f"(({sql}) OR (w.is_long AND strpos(w.tokens, %s) > 0))", [*parameters, in_row]


def _quoted(token: str) -> str:
    doubled = token.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"
