"""Why a memory was, or was not, among what a query found."""

from collections.abc import Collection
from dataclasses import dataclass

from chrysalis_memory import wire
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.query import Filter
from chrysalis_memory.recall import Explanation
from chrysalis_memory.search import SearchRequest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What recall makes of one memory for one query.

    Attributes:
        memory_id: Which memory.
        reason: Why it is returned or not, as a phrase.
        explanation: Its score and all parts; ``None`` for one that is unknown or forgotten. For a
            memory that is not returned, what its score would be.
        rank: Its place in the answer, from 1; ``None`` where it is not returned.
    """

    memory_id: str
    reason: str
    explanation: Explanation | None = None
    rank: int | None = None

    @property
    def returned(self) -> bool:
        """Whether recall returns it."""
        return self.rank is not None

    def __str__(self) -> str:
        parts = "" if self.explanation is None else f": {self.explanation}"
        return f"{self.memory_id}: {self.reason}{parts}"


def excluded_by(wanted: Filter, memory: MemoryDocument, now_us: int) -> str:
    """Name the conditions that leave a memory out; empty where all hold."""
    now = wire.moment(now_us)
    failed: list[str] = []
    if memory.archived and not wanted.include_archived:
        failed.append("it is archived")
    if memory.expires_at is not None and memory.expires_at <= now and not wanted.include_expired:
        failed.append("it has expired")
    for name in sorted(wanted.model_fields_set - {"include_archived", "include_expired"}):
        alone = Filter().model_copy(
            update={name: getattr(wanted, name), "include_archived": True, "include_expired": True}
        )
        if not alone.matches(memory, now=now):
            failed.append(f"the condition {name} does not hold")
    return " and ".join(failed)


def distrusted(explanation: Explanation) -> str:
    """Say that a memory's source is not trusted at all; empty where it is."""
    return "" if explanation.trust else f"its source {explanation.source!r} has trust 0"


def scored_below(explanation: Explanation, min_score: float | None) -> str:
    """Say that a memory scores less than asked for; empty where it does not."""
    if min_score is None or explanation.score >= min_score:
        return ""
    return f"its score {explanation.score:.3f} is below min_score {min_score:g}"


def not_found(
    explanation: Explanation, number: int, found: Collection[int], request: SearchRequest
) -> str:
    """Say that no index found a memory; empty where one did."""
    if number in found:
        return ""
    parts: list[str] = []
    if request.vector is not None:
        parts.append(
            "it has no vector yet"
            if explanation.similarity is None
            else f"it is not among the {request.depth} nearest"
        )
    if request.words:
        parts.append(
            "none of the query's words that count occurs in it"
            if explanation.bm25 == 0
            else f"it is not among the {request.depth} that hold the query's words best"
        )
    return " and ".join(parts)


def ranked_after(place: int, k: int, diversity: float) -> str:
    """Say that others were preferred."""
    if diversity > 0:
        return f"its score is the {place}. of all candidates, and {k} that differ more were chosen"
    return f"it ranks {place}. of all candidates, and k is {k}"
