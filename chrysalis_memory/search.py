"""Candidates for recall: what the vector index and the word index find, in one snapshot."""

from collections.abc import Sequence
from typing import NamedTuple

from chrysalis_memory.backends.base import Session, Space
from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import EmbeddingSpaceMismatch
from chrysalis_memory.query import Query


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


class SearchRequest(NamedTuple):
    """What to search for."""

    vector: Vector | None
    fingerprint: str
    """The embedding space of ``vector``; not looked at without one."""
    words: Sequence[str]
    query: Query
    depth: int
    """How many candidates each index gives."""


def find_candidates(
    session: Session, space: Space | None, request: SearchRequest
) -> list[Candidate]:
    """Return the union of both indexes' best, each with both of its scores.

    Raises:
        EmbeddingSpaceMismatch: the query's vector is of another space.
    """
    similarities: dict[int, float] = {}
    if request.vector is not None and space is not None:
        check_space(space, request.fingerprint)
        found = session.nearest(space, request.vector, request.depth, request.query)
        similarities = dict(found)
    hits = session.word_hits(
        _telling(session, request.words),
        request.query,
        limit=request.depth,
        also=list(similarities),
    )
    words = {hit.number: hit.bm25 for hit in hits}
    if request.vector is not None and space is not None:
        missing = [number for number in words if number not in similarities]
        similarities |= session.similarities(space, request.vector, missing)
    return [
        Candidate(
            prior.number,
            prior.id,
            similarities.get(prior.number),
            words.get(prior.number, 0.0),
            prior.importance,
            prior.confidence,
            prior.access_count,
            prior.updated_at,
        )
        for prior in session.priors(list(similarities | words))
    ]


def _telling(session: Session, words: Sequence[str]) -> Sequence[str]:
    """Leave out words that more than half of all memories hold, unless there are no others.

    BM25 gives them no weight (their inverse document frequency is not positive), and looking for
    them would score every memory.
    """
    limit = session.document_count() / 2
    rare = [word for word in words if _frequency(session, word) <= limit]
    return rare or words


def _frequency(session: Session, word: str) -> int:
    tokens = session.tokens(word)
    return min((session.document_frequency(token) for token in tokens), default=0)


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
