"""Ranking: relevance from meaning and words, weighed by bounded priors, explained exactly.

``score = relevance · (1 + importance + confidence + access + recency)`` where

- ``relevance = max(0, similarity) + w · bm25 / max(bm25)``: a weighted sum of scores, not of ranks
  (convex combination, Bruch et al. 2023); the maximum is taken over the candidates;
- ``importance = a · (2 · importance - 1)``, confidence likewise: the default 0.5 is neutral;
- ``access = b · n / (n + 10)`` for n uses: saturated, so that use cannot feed on itself;
- ``recency = c · 2^(-age / half-life)``.

The priors multiply relevance and are small, so a memory that matches nothing is never lifted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.search import Candidate

_DAY_US = 86_400_000_000
_ACCESS_HALF = 10
_DIGITS = 6
"""Similarities are rounded to this, below the noise of float32 and of different processors."""


class Weights(BaseModel):
    """How much each part of the score counts; all from 0 to the bound stated.

    The priors are bounded so that they reorder what is about equally relevant and nothing more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keyword: float = Field(default=0.4, ge=0, le=10)
    """Weight of words against meaning."""
    importance: float = Field(default=0.05, ge=0, le=0.2)
    confidence: float = Field(default=0.05, ge=0, le=0.2)
    access: float = Field(default=0.1, ge=0, le=0.2)
    recency: float = Field(default=0.05, ge=0, le=0.2)
    half_life_days: float = Field(default=30.0, gt=0, le=36_500)
    """After how many days the effect of recency has halved."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a memory got its score.

    Attributes:
        similarity: Cosine between query and memory, -1 to 1; ``None`` where one has no vector.
        bm25: BM25 of the query's words in the memory; 0 where none occurs.
        keyword: ``bm25`` over the best of all candidates, 0 to 1.
        relevance: ``max(0, similarity) + weights.keyword · keyword``.
        importance: The memory's importance, 0 to 1.
        confidence: The memory's confidence, 0 to 1.
        access_count: How often it was used, over all replicas.
        age_days: Days since it was last changed.
        weights: The weights used.
        score: What :meth:`recompute` gives.
    """

    similarity: float | None
    bm25: float
    keyword: float
    relevance: float
    importance: float
    confidence: float
    access_count: int
    age_days: float
    weights: Weights
    score: float

    @property
    def importance_effect(self) -> float:
        """What importance adds to the factor; 0 at the default importance."""
        return self.weights.importance * (2 * self.importance - 1)

    @property
    def confidence_effect(self) -> float:
        """What confidence adds to the factor; 0 at the default confidence."""
        return self.weights.confidence * (2 * self.confidence - 1)

    @property
    def access_effect(self) -> float:
        """What earlier use adds to the factor."""
        return self.weights.access * self.access_count / (self.access_count + _ACCESS_HALF)

    @property
    def recency_effect(self) -> float:
        """What being recent adds to the factor."""
        return self.weights.recency * 2.0 ** (-self.age_days / self.weights.half_life_days)

    @property
    def factor(self) -> float:
        """What relevance is multiplied by."""
        effects = self.importance_effect + self.confidence_effect
        return 1 + effects + self.access_effect + self.recency_effect

    def recompute(self) -> float:
        """Compute the score from the parts; equals :attr:`score` exactly."""
        return _relevance(self.similarity, self.keyword, self.weights) * self.factor

    def to_dict(self) -> dict[str, Any]:
        """Return every part and effect as plain values, for tables and JSON."""
        parts = {
            name: getattr(self, name)
            for name in ("score", "similarity", "bm25", "keyword", "relevance", "importance",
                         "confidence", "access_count", "age_days")
        }  # fmt: skip
        effects = ("importance_effect", "confidence_effect", "access_effect", "recency_effect")
        return parts | {name: getattr(self, name) for name in (*effects, "factor")}

    def __str__(self) -> str:
        meaning = "no vector" if self.similarity is None else f"similarity {self.similarity:.3f}"
        words = f"{self.weights.keyword:g} × words {self.keyword:.3f}"
        effects = (
            f"{self.importance_effect:+.3f} importance {self.confidence_effect:+.3f} confidence "
            f"{self.access_effect:+.3f} access {self.recency_effect:+.3f} recency"
        )
        return f"{self.score:.3f} = ({meaning} + {words}) × (1 {effects})"


class Recollection(MemoryDocument):
    """A memory that was recalled, with its score and why it got it."""

    __slots__ = ("explanation", "score")

    explanation: Explanation
    score: float

    @classmethod
    def recalled(
        cls,
        memory: MemoryDocument,
        explanation: Explanation,
        *,
        writer: str,
        clock: HybridLogicalClock,
    ) -> "Recollection":
        """Return ``memory`` with its explanation."""
        recollection = cls.of(memory.id, memory.state, writer=writer, clock=clock)
        recollection.explanation = explanation
        recollection.score = explanation.score
        return recollection

    def __repr__(self) -> str:
        return (
            f"Recollection(score={self.score:.3f}, id={self.id!r}, content={self.content[:60]!r})"
        )


def rank(
    candidates: Sequence[Candidate],
    *,
    weights: Weights,
    now_us: int,
    k: int,
    min_score: float | None = None,
) -> list[tuple[Candidate, Explanation]]:
    """Return the best ``k`` candidates with their explanations, best first, ties by id.

    Args:
        candidates: What the indexes found.
        weights: How much each part counts.
        now_us: The moment ages are counted from, in microseconds since 1970.
        k: How many.
        min_score: Leave out what scores lower.
    """
    best_bm25 = max((candidate.bm25 for candidate in candidates), default=0.0)
    scored = [(_score(c, best_bm25, weights, now_us), c) for c in candidates]
    scored.sort(key=lambda pair: (-pair[0], pair[1].id))
    return [
        (candidate, explain(candidate, best_bm25, weights, now_us))
        for score, candidate in scored[:k]
        if min_score is None or score >= min_score
    ]


def explain(candidate: Candidate, best_bm25: float, weights: Weights, now_us: int) -> Explanation:
    """Score one candidate and say how.

    Args:
        candidate: What is known of it.
        best_bm25: The greatest BM25 among all candidates.
        weights: How much each part counts.
        now_us: The moment ages are counted from, in microseconds since 1970.
    """
    similarity, keyword = _normalised(candidate, best_bm25)
    return Explanation(
        similarity=similarity,
        bm25=round(candidate.bm25, _DIGITS),
        keyword=keyword,
        relevance=_relevance(similarity, keyword, weights),
        importance=candidate.importance,
        confidence=candidate.confidence,
        access_count=candidate.access_count,
        age_days=_age_days(candidate, now_us),
        weights=weights,
        score=_score(candidate, best_bm25, weights, now_us),
    )


def _normalised(candidate: Candidate, best_bm25: float) -> tuple[float | None, float]:
    similarity = None if candidate.similarity is None else round(candidate.similarity, _DIGITS)
    return similarity, round(candidate.bm25 / best_bm25, _DIGITS) if best_bm25 > 0 else 0.0


def _relevance(similarity: float | None, keyword: float, weights: Weights) -> float:
    return max(0.0, similarity or 0.0) + weights.keyword * keyword


def _age_days(candidate: Candidate, now_us: int) -> float:
    return max(0, now_us - candidate.updated_at) / _DAY_US


def _score(candidate: Candidate, best_bm25: float, weights: Weights, now_us: int) -> float:
    # The arithmetic of Explanation.factor, in its order, for the many that are not explained.
    similarity, keyword = _normalised(candidate, best_bm25)
    uses = candidate.access_count
    effects = weights.importance * (2 * candidate.importance - 1) + weights.confidence * (
        2 * candidate.confidence - 1
    )
    access = weights.access * uses / (uses + _ACCESS_HALF)
    recency = weights.recency * 2.0 ** (-_age_days(candidate, now_us) / weights.half_life_days)
    return _relevance(similarity, keyword, weights) * (1 + effects + access + recency)
