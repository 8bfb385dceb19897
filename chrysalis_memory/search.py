"""Candidates for recall: what the vector index and the word index find, in one snapshot."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chrysalis_memory.backends.base import (
    Accuracy,
    Nearest,
    Neighbours,
    Session,
    Space,
    WeightedTerm,
)
from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import EmbeddingSpaceMismatch
from chrysalis_memory.provenance import Trust
from chrysalis_memory.query import Query

_FULL_MATCH_WORDS = 1.5
EVERYONE = Trust()
"""All sources are trusted alike."""


class Candidate(NamedTuple):
    """A memory that may be recalled, with everything its score is made of."""

    number: int
    id: str
    similarity: float | None
    """Cosine between the query's vector and the memory's; ``None`` where either is missing."""
    bm25: float
    """BM25 of the query's words; 0 where none of them occurs."""
    importance: float
    confidence: float
    access_count: int
    updated_at: int
    """Microseconds since 1970."""
    around: float | None = None
    """Mean of ``max(0, similarity)`` over the memory and those before and after it in its episode;
    ``None`` where there are none."""
    bm25_before: float = 0.0
    """BM25 of the memory before it in its episode."""
    late: float | None = None
    """Late interaction with the query's tokens, -1 to 1; ``None`` where it was not asked for."""
    bm25_earlier: float = 0.0
    """BM25 of the memory before that."""
    asks: bool = False
    """Whether it holds a question mark and another memory comes after it in its episode."""
    answers: bool = False
    """Whether the memory before it in its episode holds a question mark."""
    source: str = ""
    trust: float = 1.0
    """How far its source is trusted, 0 to 1."""


class Found(NamedTuple):
    """The candidates for one query."""

    candidates: list[Candidate]
    full_bm25: float
    """The BM25 from which words count in full: that of 1.5 words which no other memory holds."""
    neighbours: Mapping[int, Neighbours]
    """Who stands before and after the candidates that belong to an episode."""
    searched: str | None
    """How the vector index was searched; ``None`` where it was not."""


class SearchRequest(NamedTuple):
    """What to search for."""

    vector: Vector | None
    fingerprint: str
    """The embedding space of ``vector``; not looked at without one."""
    words: Sequence[str]
    query: Query
    depth: int
    """How many candidates each index gives."""
    accuracy: Accuracy = "balanced"
    """How many of the nearest the vector index is to find."""
    neighbours: bool = True
    """Whether memories of one episode lend each other evidence."""
    also: Sequence[int] = ()
    """Memories that are candidates whatever the indexes find and whether or not they match."""
    trust: Trust = EVERYONE
    """How far sources are trusted; those that are not at all, ``query`` leaves out."""


def find_candidates(session: Session, space: Space | None, request: SearchRequest) -> Found:
    """Return the union of both indexes' best, each with both of its scores.

    Memories before and after them in their episodes are candidates too, if they match.

    Raises:
        EmbeddingSpaceMismatch: the query's vector is of another space.
    """
    if request.vector is not None and space is not None:
        check_space(space, request.fingerprint)
    terms = weigh(session, request.words)
    nearest: dict[int, float] = {}
    best: dict[int, float] = {}
    searches: list[Nearest] = []
    for query in _queries(request):
        pairs: list[tuple[int, float]] = []
        if request.vector is not None and space is not None:
            found = session.nearest(
                space, request.vector, request.depth, query, accuracy=request.accuracy
            )
            searches.append(found)
            pairs = found.pairs
        nearest.update(pairs)
        best.update(session.best_by_words(terms, query, limit=request.depth, alone=not pairs))
    numbers = list(dict.fromkeys([*nearest, *best, *request.also]))
    neighbours: dict[int, Neighbours] = {}
    if request.neighbours:
        known = session.neighbours(numbers, request.query)
        beside = _others({one: known[one] for one in numbers if one in known}, numbers)
        numbers += session.matching(beside, request.query)
        neighbours = {one: known[one] for one in numbers if one in known}
    evidence = _Evidence(session, space, request, terms)
    around = [*numbers, *_others(neighbours, numbers)]
    earlier = _unknown((one.earlier for one in neighbours.values()), around)
    evidence.read(around, nearest, best, of_words=earlier)
    return Found(
        evidence.candidates(numbers, neighbours),
        full_bm25(session.document_count()),
        neighbours,
        _told(searches),
    )


def _queries(request: SearchRequest) -> list[Query]:
    """Return what is searched for: one query for each factor of trust.

    One factor keeps the order of the memories that share it, so the best of all are among the best
    of each; in one search, the many of a source that counts little could take every place.
    """
    classes = request.trust.classes()
    return [request.query._replace(among=one) for one in classes] or [request.query]


def _told(searches: Sequence[Nearest]) -> str | None:
    if not searches:
        return None
    is_exact = all(one.exact for one in searches)
    compared = sum(one.compared for one in searches)
    return f"{'exact' if is_exact else 'approximate'}, {compared:,} compared"


def _others(neighbours: Mapping[int, Neighbours], known: Iterable[int]) -> list[int]:
    """Return the neighbours that are not among ``known``, each once."""
    beside = (number for one in neighbours.values() for number in (one.before, one.after))
    return _unknown(beside, known)


def _unknown(numbers: Iterable[int | None], known: Iterable[int]) -> list[int]:
    passed_over = set(known)
    return [n for n in dict.fromkeys(numbers) if n is not None and n not in passed_over]


class _Evidence:
    """What the query's vector and words say of memories."""

    def __init__(
        self,
        session: Session,
        space: Space | None,
        request: SearchRequest,
        terms: Sequence[WeightedTerm],
    ) -> None:
        self._session = session
        self._space = None if request.vector is None else space
        self._vector = request.vector
        self._terms = terms
        self._trust = request.trust
        self._similarities: dict[int, float] = {}
        self._bm25: dict[int, float] = {}

    def read(
        self,
        numbers: Sequence[int],
        similarities: Mapping[int, float],
        bm25: Mapping[int, float],
        *,
        of_words: Sequence[int] = (),
    ) -> None:
        """Read the scores of memories, apart from those that are given.

        Of those in ``of_words`` nothing but the words counts.
        """
        self._similarities = dict(similarities)
        if self._space is not None and self._vector is not None:
            missing = [number for number in numbers if number not in similarities]
            self._similarities |= self._session.similarities(self._space, self._vector, missing)
        missing = [number for number in (*numbers, *of_words) if number not in bm25]
        self._bm25 = dict(bm25) | self._session.bm25(self._terms, missing)

    def candidates(
        self, numbers: Sequence[int], neighbours: Mapping[int, Neighbours]
    ) -> list[Candidate]:
        """Return the numbered memories with all that their scores are made of."""
        similarity, bm25 = self._similarities.get, self._bm25.get
        found: list[Candidate] = []
        trust = self._trust.factor if self._trust.patterns else None
        for (
            number, memory_id, importance, confidence, uses, updated_at, source,
        ) in self._session.priors(numbers):  # fmt: skip
            candidate = Candidate(
                number, memory_id, similarity(number), bm25(number, 0.0),
                importance, confidence, uses, updated_at, source=source,
            )  # fmt: skip
            if trust is not None:
                candidate = candidate._replace(trust=trust(source))
            beside = neighbours.get(number)
            if beside is not None:
                candidate = candidate._replace(
                    around=self._around(number, beside),
                    bm25_before=self._words_of(beside.before),
                    bm25_earlier=self._words_of(beside.earlier),
                    asks=beside.asks,
                    answers=beside.answers,
                )
            found.append(candidate)
        return found

    def _words_of(self, number: int | None) -> float:
        return 0.0 if number is None else self._bm25.get(number, 0.0)

    def _around(self, number: int, beside: Neighbours) -> float | None:
        others = [other for other in (beside.before, beside.after) if other is not None]
        if self._vector is None or not others:
            return None
        group = (number, *others)
        return sum(max(0.0, self._similarities.get(one, 0.0)) for one in group) / len(group)


def full_bm25(memories: int) -> float:
    """Return the BM25 from which words count in full, in a store of so many memories.

    A match of one weak word is little evidence, even where nothing matches better. That 1.5 words
    which occur nowhere else make a full match was measured on conversations and on meetings.
    """
    return _FULL_MATCH_WORDS * inverse_document_frequency(0, memories)


def inverse_document_frequency(frequency: int, memories: int) -> float:
    """Return what a word is worth that ``frequency`` of so many memories hold.

    ``ln(1 + (N - n + 0.5) / (n + 0.5))``, which stays positive for words that most memories hold
    (Robertson and Zaragoza 2009; the ``1 +`` as in Lucene).
    """
    return math.log(1 + (memories - frequency + 0.5) / (frequency + 0.5))


def weigh(session: Session, words: Sequence[str]) -> list[WeightedTerm]:
    """Return the words' terms with their inverse document frequency, each once.

    Words that no memory holds are left out, and those that more than half of all memories hold,
    unless there are no others: they say next to nothing.
    """
    memories = session.document_count()
    terms = list(dict.fromkeys(session.term(word) for word in words))
    weighed = [
        WeightedTerm(
            term, inverse_document_frequency(min(frequency, memories), memories), frequency
        )
        for term, frequency in zip(terms, session.document_frequencies(terms), strict=True)
    ]
    held = [one for one in weighed if one.frequency]
    return [one for one in held if one.frequency <= memories / 2] or held


def check_space(space: Space | None, fingerprint: str) -> None:
    """Refuse vectors of one space where a store has another; a store without one takes any.

    Raises:
        EmbeddingSpaceMismatch: the fingerprints differ.
    """
    if space is not None and space.fingerprint != fingerprint:
        raise EmbeddingSpaceMismatch(
            f"this store's memories were embedded by {space.fingerprint!r}, not by "
            f"{fingerprint!r}; open it with the former, or embed all anew: "
            "chrysalis reindex --embedder NAME, or on_embedder_change='reindex'"
        )


def active_space(session: Session) -> Space | None:
    """Return the space that recall searches."""
    return next((space for space in session.spaces() if space.active), None)
