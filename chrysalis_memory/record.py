"""A memory as plain values: a document without the state that merging needs.

For JSON, HTTP and notebooks. A record can be read by anything and merged by nothing; what is to be
merged travels as :meth:`MemoryDocument.to_json`.
"""

from datetime import datetime
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict

from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.provenance import sources_of, writers_of


class MemoryRecord(BaseModel):
    """What a memory says, at one moment.

    Example:
        >>> memory = MemoryDocument(id="m", content="Tea is at four", source_instance="ada")
        >>> record = MemoryRecord.of(memory)
        >>> record.content, record.importance, record.source
        ('Tea is at four', 0.5, 'ada')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    content: str
    memory_type: str
    namespace: str
    tags: tuple[str, ...]
    importance: float
    confidence: float
    metadata: dict[str, Any]
    episode: str | None
    position: int | None
    related: tuple[str, ...]
    parents: tuple[str, ...]
    evidence: tuple[str, ...]
    access_count: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    archived: bool
    source: str
    """Where it comes from: what ``learn`` was told, or who wrote it first."""
    sources: tuple[str, ...]
    """Who taught it, its source first."""
    writers: tuple[str, ...]
    """Who has written anything of it, by name."""
    version: int
    """How many writes it knows."""

    @classmethod
    def of(cls, document: MemoryDocument) -> "MemoryRecord":
        """Return the record of a document.

        Raises:
            InvalidValue: the memory was forgotten, so nothing is left to record.
        """
        return MemoryRecord(**_values(document))


class Explained(Protocol):
    """Why a memory got its score: what :class:`~chrysalis_memory.recall.Explanation` offers."""

    def to_dict(self) -> dict[str, Any]:
        """Return every part and effect by name, the score among them."""
        ...


class ExplanationRecord(BaseModel):
    """The parts of a score, and what each effect adds to its factor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float
    similarity: float | None
    around: float | None
    meaning: float
    bm25: float
    bm25_before: float
    bm25_earlier: float
    asks: bool
    answers: bool
    keyword: float
    late: float | None
    relevance: float
    importance: float
    confidence: float
    access_count: int
    age_days: float
    importance_effect: float
    confidence_effect: float
    access_effect: float
    recency_effect: float
    factor: float
    searched: str | None
    source: str
    trust: float


class RecalledRecord(MemoryRecord):
    """A memory that was recalled, with its score and why it got it."""

    score: float
    explanation: ExplanationRecord

    @classmethod
    def recalled(cls, document: MemoryDocument, explanation: Explained) -> Self:
        """Return the record of a recollection.

        Args:
            document: What was recalled.
            explanation: Why it got its score.

        Raises:
            InvalidValue: the memory was forgotten, so nothing is left to record.
        """
        parts = ExplanationRecord(**explanation.to_dict())
        return cls(**_values(document), score=parts.score, explanation=parts)


def _values(document: MemoryDocument) -> dict[str, Any]:
    if document.is_forgotten:
        raise InvalidValue(f"memory {document.id!r} was forgotten; nothing is left to record")
    return {
        "id": document.id,
        "content": document.content,
        "memory_type": document.memory_type,
        "namespace": document.namespace,
        "tags": tuple(document.get_tags()),
        "importance": document.get_importance(),
        "confidence": document.get_confidence(),
        "metadata": document.metadata,
        "episode": document.episode,
        "position": document.position,
        "related": tuple(document.get_related()),
        "parents": tuple(document.get_parents()),
        "evidence": tuple(document.get_evidence()),
        "access_count": document.get_access_count(),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
        "expires_at": document.expires_at,
        "archived": document.archived,
        "source": document.source_instance,
        "sources": sources_of(document),
        "writers": writers_of(document),
        "version": document.version,
    }
