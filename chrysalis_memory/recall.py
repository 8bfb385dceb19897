"""Ranking: relevance from meaning and words, weighed by bounded priors, explained exactly.

``score = relevance · (1 + importance + confidence + access + recency) · trust`` where

- ``relevance = meaning + w · keyword + l · late``: a weighted sum of scores, not of ranks (convex
  combination, Bruch et al. 2023);
- ``meaning = (1 - n) · max(0, similarity) + n · around``: in an episode, ``around`` is the mean
  over the memory and those before and after it; elsewhere ``meaning = max(0, similarity)``;
- ``keyword = words / full``: ``full`` is what a full match is worth, or the best of all candidates
  where that is more;
- ``words = √(own² + before² + earlier²)``, the "or" of Salton, Fox and Wu (1983) with p = 2, where
  ``own = bm25``, but ``(1 - n / 2) · bm25`` of a memory that asks and that another follows;
  ``before = n · bm25 of the memory before``, but ``min(1, 1.5 n)`` where that asks;
  ``earlier = n² · bm25 of the one before that``;
- ``late`` is the late interaction of tokens, where it was asked for;
- ``importance = a · (2 · importance - 1)``, confidence likewise: the default 0.5 is neutral;
- ``access = b · n / (n + 10)`` for n uses: saturated, so that use cannot feed on itself;
- ``recency = c · 2^(-age / half-life)``;
- ``trust``, 0 to 1, is that in the memory's source; 1 unless it is said.

The priors multiply relevance and are small, so a memory that matches nothing is never lifted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.search import Candidate

Preset = Literal["balanced", "similar", "recent", "important"]

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
    importance: float = Field(default=0.03, ge=0, le=0.2)
    confidence: float = Field(default=0.03, ge=0, le=0.2)
    access: float = Field(default=0.1, ge=0, le=0.2)
    recency: float = Field(default=0.05, ge=0, le=0.2)
    half_life_days: float = Field(default=30.0, gt=0, le=36_500)
    """After how many days the effect of recency has halved."""
    neighbours: float = Field(default=0.6, ge=0, le=1)
    """How much the memories before and after one in its episode say of it; 0: nothing."""
    late: float = Field(default=1.5, ge=0, le=10)
    """Weight of late interaction, where it is asked for."""

    @classmethod
    def preset(cls, name: Preset) -> "Weights":
        """Return weights for a purpose.

        Args:
            name: ``"balanced"`` are the defaults; ``"similar"`` goes by relevance alone;
                ``"recent"`` and ``"important"`` let that prior reorder what is about equally
                relevant, as far as the bounds allow.

        Raises:
            InvalidValue: there is no such preset.
        """
        if name not in _PRESETS:
            names = ", ".join(repr(known) for known in get_args(Preset))
            raise InvalidValue(f"a preset of weights is one of {names}; got {shown(name)}")
        return cls(**_PRESETS[name])

    def from_before(self, answers: bool) -> float:
        """Return the share of a memory's words and tokens that counts for the next one.

        Who answers seldom repeats the words of the question, so a question passes on more.

        Args:
            answers: Whether the memory asks, so that the next one answers.
        """
        return min(1.0, 1.5 * self.neighbours) if answers else self.neighbours


_PRESETS: dict[str, dict[str, float]] = {
    "balanced": {},
    "similar": {"importance": 0, "confidence": 0, "access": 0, "recency": 0},
    "recent": {"recency": 0.2, "half_life_days": 7},
    "important": {"importance": 0.2, "confidence": 0.1},
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a memory got its score.

    Attributes:
        similarity: Cosine between query and memory, -1 to 1; ``None`` where one has no vector.
        around: Mean of ``max(0, similarity)`` over the memory and those before and after it in its
            episode; ``None`` where there are none.
        bm25: BM25 of the query's words in the memory; 0 where none occurs.
        bm25_before: The same of the memory before it in its episode.
        bm25_earlier: The same of the memory before that.
        asks: Whether it holds a question mark and another memory comes after it.
        answers: Whether the memory before it holds a question mark.
        keyword: ``bm25``, with what the two before pass on, over that of a full match, 0 to 1.
        late: Late interaction, at least 0; ``None`` where it was not asked for.
        relevance: ``meaning + weights.keyword · keyword + weights.late · late``.
        importance: The memory's importance, 0 to 1.
        confidence: The memory's confidence, 0 to 1.
        access_count: How often it was used, over all replicas.
        age_days: Days since it was last changed.
        weights: The weights used.
        score: What :meth:`recompute` gives.
        searched: How the vector index was searched: ``"exact"`` or ``"approximate"``, and how many
            vectors were compared in full; ``None`` where it was not.
        source: Where the memory comes from.
        trust: How far that source is trusted, 0 to 1; 1 unless it is said.
    """

    similarity: float | None
    around: float | None
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
    weights: Weights
    score: float
    searched: str | None = None
    source: str = ""
    trust: float = 1.0

    @property
    def meaning(self) -> float:
        """What similarity adds to relevance, that of the neighbours included."""
        return _meaning(self.similarity, self.around, self.weights)

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
        relevance = _relevance(self.meaning, self.keyword, self.late, self.weights)
        return relevance * self.factor * self.trust

    def to_dict(self) -> dict[str, Any]:
        """Return every part and effect as plain values, for tables and JSON."""
        parts = {
            name: getattr(self, name)
            for name in ("score", "similarity", "around", "meaning", "bm25", "bm25_before",
                         "bm25_earlier", "asks", "answers", "keyword", "late", "relevance",
                         "importance", "confidence", "access_count", "age_days")
        }  # fmt: skip
        effects = ("importance_effect", "confidence_effect", "access_effect", "recency_effect")
        others = (*effects, "factor", "searched", "source", "trust")
        return parts | {name: getattr(self, name) for name in others}

    def __str__(self) -> str:
        meaning = "no vector" if self.similarity is None else f"similarity {self.similarity:.3f}"
        if self.around is not None:
            meaning = f"meaning {self.meaning:.3f} ({meaning}, around {self.around:.3f})"
        words = f"{self.weights.keyword:g} × words {self.keyword:.3f}"
        if self.late is not None:
            words += f" + {self.weights.late:g} × late {self.late:.3f}"
        effects = (
            f"{self.importance_effect:+.3f} importance {self.confidence_effect:+.3f} confidence "
            f"{self.access_effect:+.3f} access {self.recency_effect:+.3f} recency"
        )
        trust = "" if self.trust == 1 else f" × {self.trust:.3f} trust in {self.source!r}"
        return f"{self.score:.3f} = ({meaning} + {words}) × (1 {effects}){trust}"


class Recollection(MemoryDocument):
    """A memory that was recalled, with its score and why it got it."""

    __slots__ = ("context", "explanation", "score")

    explanation: Explanation
    score: float
    context: list[MemoryDocument]
    """The memories before and after it in its episode, in order, if ``recall`` was asked for."""

    @classmethod
    def recalled(
        cls,
        memory: MemoryDocument,
        explanation: Explanation,
        *,
        writer: str,
        clock: HybridLogicalClock,
        context: Sequence[MemoryDocument] = (),
    ) -> "Recollection":
        """Return ``memory`` with its explanation and its context."""
        recollection = cls.of(memory.id, memory.state, writer=writer, clock=clock)
        recollection.explanation = explanation
        recollection.score = explanation.score
        recollection.context = list(context)
        return recollection

    def __repr__(self) -> str:
        return (
            f"Recollection(score={self.score:.3f}, id={self.id!r}, content={self.content[:60]!r})"
        )


class _Parts(NamedTuple):
    """What a score is made of, apart from what the candidate says itself."""

    score: float
    similarity: float | None
    around: float | None
    keyword: float
    late: float | None
    relevance: float
    age_days: float


def rank(
    candidates: Sequence[Candidate],
    *,
    weights: Weights,
    now_us: int,
    k: int,
    full_bm25: float = 0.0,
    min_score: float | None = None,
    searched: str | None = None,
) -> list[tuple[Candidate, Explanation]]:
    """Return the best ``k`` candidates with their explanations, best first, ties by id.

    Args:
        candidates: What the indexes found.
        weights: How much each part counts.
        now_us: The moment ages are counted from, in microseconds since 1970.
        k: How many.
        full_bm25: The BM25 from which words count in full, unless a candidate has more.
        min_score: Leave out what scores lower.
        searched: How the vector index was searched, for the explanations.
    """
    full = full_match(candidates, weights, full_bm25)
    parts_of = _scorer(full, weights, now_us)
    scored = [(parts_of(candidate), candidate) for candidate in candidates]
    scored.sort(key=lambda pair: (-pair[0].score, pair[1].id))
    return [
        (candidate, _explain(candidate, parts, weights, searched))
        for parts, candidate in scored[:k]
        if min_score is None or parts.score >= min_score
    ]


def full_match(candidates: Sequence[Candidate], weights: Weights, full_bm25: float) -> float:
    """Return the BM25 from which words count in full: the best candidate's, or ``full_bm25``."""
    return max([full_bm25, *(_words(candidate, weights) for candidate in candidates)])


def _explain(
    candidate: Candidate, parts: _Parts, weights: Weights, searched: str | None
) -> Explanation:
    score, similarity, around, keyword, late, relevance, age_days = parts
    return Explanation(
        similarity=similarity,
        around=around,
        bm25=round(candidate.bm25, _DIGITS),
        bm25_before=round(candidate.bm25_before, _DIGITS),
        bm25_earlier=round(candidate.bm25_earlier, _DIGITS),
        asks=candidate.asks,
        answers=candidate.answers,
        keyword=keyword,
        late=late,
        relevance=relevance,
        importance=candidate.importance,
        confidence=candidate.confidence,
        access_count=candidate.access_count,
        age_days=age_days,
        weights=weights,
        score=score,
        searched=searched,
        source=candidate.source,
        trust=candidate.trust,
    )


def _words(candidate: Candidate, weights: Weights) -> float:
    if not (candidate.asks or candidate.bm25_before or candidate.bm25_earlier):
        return candidate.bm25  # as most do
    share = weights.neighbours
    # What is asked is told by who answers, so a question keeps less of its words.
    own = (1 - share / 2) * candidate.bm25 if candidate.asks else candidate.bm25
    before = weights.from_before(candidate.answers) * candidate.bm25_before
    earlier = share * share * candidate.bm25_earlier
    return math.sqrt(own * own + before * before + earlier * earlier)


def _meaning(similarity: float | None, around: float | None, weights: Weights) -> float:
    own = max(0.0, similarity or 0.0)
    if around is None:
        return own
    return (1 - weights.neighbours) * own + weights.neighbours * around


def _relevance(meaning: float, keyword: float, late: float | None, weights: Weights) -> float:
    relevance = meaning + weights.keyword * keyword
    return relevance if late is None else relevance + weights.late * late


def _scorer(full_bm25: float, weights: Weights, now_us: int) -> Callable[[Candidate], _Parts]:
    """Return what scores one candidate: the arithmetic of :class:`Explanation`, in its order.

    Written out, for the many that are scored and not explained.
    """
    for_keyword, for_late, for_access = weights.keyword, weights.late, weights.access
    for_importance, for_confidence = weights.importance, weights.confidence
    for_recency, half_life = weights.recency, weights.half_life_days
    lent = weights.neighbours

    def parts_of(candidate: Candidate) -> _Parts:
        (_, _, similarity, _, importance, confidence, uses, updated_at, around, _, late,
         *_, trust) = candidate  # fmt: skip
        meaning = 0.0
        if similarity is not None:
            similarity = round(similarity, _DIGITS)
            meaning = max(0.0, similarity)
        if around is not None:
            around = round(around, _DIGITS)
            meaning = (1 - lent) * meaning + lent * around
        keyword = round(_words(candidate, weights) / full_bm25, _DIGITS) if full_bm25 > 0 else 0.0
        relevance = meaning + for_keyword * keyword
        if late is not None:
            late = round(max(0.0, late), _DIGITS)
            relevance += for_late * late
        age_days = max(0, now_us - updated_at) / _DAY_US
        effects = for_importance * (2 * importance - 1) + for_confidence * (2 * confidence - 1)
        access = for_access * uses / (uses + _ACCESS_HALF)
        factor = 1 + effects + access + for_recency * 2.0 ** (-age_days / half_life)
        score = relevance * factor * trust
        return _Parts(score, similarity, around, keyword, late, relevance, age_days)

    return parts_of
