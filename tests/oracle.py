"""A ranking of all memories by the formula of ``docs/recall.md``, for comparison with recall.

It looks at every memory, knows no index, and shares no code with recall but the meaning of filters,
which has tests of its own. Vectors have components of one size, so that their cosines are exact and
memories truly tie.
"""

import math
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory import Filter, MemoryDocument, Weights

NOW_US = 1_800_000_000_000_000
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)
DIMENSION = 256

# Every word with what the word index makes of it.
TOKENS: dict[str, tuple[str, ...]] = {
    "tea": ("tea",), "Tea": ("tea",), "walk": ("walk",), "walked": ("walk",),
    "walking": ("walk",), "pony": ("poni",), "ponies": ("poni",), "café": ("cafe",),
    "snake": ("snake",), "case": ("case",), "snake_case": ("snake", "case"), "42": ("42",),
    "the": ("the",), "who": ("who",), "Who": ("who",), "Ann": ("ann",), "Bob": ("bob",),
    "mist": ("mist",), "_": (), "zebra": ("zebra",), "tea?": ("tea",), "walked\uff1f": ("walk",),
}  # fmt: skip
STOP_WORDS = {"the", "who"}


# Meaning: a vector of signs, which texts with common words share


@cache
def word_vector(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION)


def vector_of(text: str) -> NDArray[np.float64]:
    """Return a unit vector; its components are all ±1/16."""
    return np.sign(sum(word_vector(word) for word in text.split())) / math.sqrt(DIMENSION)


class Question(NamedTuple):
    """What recall is asked."""

    words: list[str]
    mode: str
    k: int
    min_score: float | None
    weights: Weights
    conditions: dict[str, Any]
    trust: dict[str, float]


class Known(NamedTuple):
    """A living memory as the formula sees it."""

    document: MemoryDocument
    tokens: list[str]
    vector: NDArray[np.float64] | None


class Oracle:
    """Ranks all memories of a store for one question."""

    def __init__(self, known: list[Known], question: Question) -> None:
        self.known, self.question, self.weights = known, question, question.weights
        self.wanted = Filter.of(**question.conditions)
        self.phrases = [] if question.mode == "semantic" else self._phrases()
        self.asked = None if question.mode == "keyword" else vector_of(self._without_names())
        self.mean_length = sum(len(one.tokens) for one in known) / len(known)
        self.bm25 = {one.document.id: self._bm25(one) for one in known}
        self.beside = {one.document.id: self._beside(one) for one in known}

    def ranking(self) -> list[tuple[str, float]]:
        """Return ids with scores, best first, ties by id."""
        found = [one for one in self.known if self._is_candidate(one)]
        full = max([1.5 * self._idf(0), *(self._words(one) for one in found)])
        scored = [(one.document.id, self._score(one, full)) for one in found]
        least = -math.inf if self.question.min_score is None else self.question.min_score
        ranked = sorted(scored, key=lambda pair: (-pair[1], pair[0]))
        return [pair for pair in ranked if pair[1] >= least]

    def _is_candidate(self, one: Known) -> bool:
        if not self._matches(one):
            return False
        beside = self.beside[one.document.id] if self.weights.neighbours else []
        return any(
            self._matches(other)
            and (
                (self.asked is not None and other.vector is not None)
                or self.bm25[other.document.id] > 0
            )
            for other in (one, *beside)
        )

    def _matches(self, one: Known) -> bool:
        return self.wanted.matches(one.document, now=NOW) and self._trust(one) > 0

    def _trust(self, one: Known) -> float:
        """Return how far the source is trusted: its own factor, or that of its longest prefix."""
        source, trust = one.document.source_instance, self.question.trust
        if source in trust:
            return trust[source]
        beginnings = [source[:length] + "*" for length in range(len(source), -1, -1)]
        return next((trust[one] for one in beginnings if one in trust), 1.0)

    # What the question says

    def _phrases(self) -> list[tuple[str, ...]]:
        """Return what is looked for: no stop words, none that most memories hold, no stem twice."""
        words = self.question.words
        telling = [word for word in words if word.lower() not in STOP_WORDS] or words
        stems = [stem for stem in {TOKENS[word] for word in telling} if self._frequency(stem)]
        return [s for s in stems if 2 * self._frequency(s) <= len(self.known)] or stems

    def _without_names(self) -> str:
        words = self.question.words
        names = {word for word in words[1:] if word[0].isupper() and word.lower() not in STOP_WORDS}
        common = {n for n in names if 10 * self._frequency(TOKENS[n]) > len(self.known)}
        left = [word for word in words if word not in common]
        telling = any(word.lower() not in STOP_WORDS for word in left)
        return " ".join(left if telling else words)

    # Words

    def _frequency(self, phrase: tuple[str, ...]) -> int:
        """Return how many memories hold a word; one that is split is as rare as its rarest part."""
        holding = (sum(token in one.tokens for one in self.known) for token in phrase)
        return min(holding, default=0)

    def _idf(self, frequency: int) -> float:
        return math.log(1 + (len(self.known) - frequency + 0.5) / (frequency + 0.5))

    def _bm25(self, one: Known) -> float:
        score = 0.0
        for phrase in self.phrases:
            starts = range(len(one.tokens)) if phrase else ()
            times = sum(tuple(one.tokens[at : at + len(phrase)]) == phrase for at in starts)
            if times:
                length = 1 - 0.4 + 0.4 * len(one.tokens) / self.mean_length
                score += self._idf(self._frequency(phrase)) * times * 1.9 / (times + 0.9 * length)
        return score

    def _words(self, one: Known) -> float:
        before, after = self._turns(one)
        share, own = self.weights.neighbours, self.bm25[one.document.id]
        if _asks(one) and after:
            own *= 1 - share / 2
        passed_on = [self.bm25[other.document.id] for other in before[-2:]]
        if before:
            passed_on[-1] *= min(1, 1.5 * share) if _asks(before[-1]) else share
        if len(before) > 1:
            passed_on[0] *= share**2
        return math.hypot(own, *passed_on)

    # Meaning

    def _similarity(self, one: Known) -> float:
        """Return the cosine, at least 0."""
        if self.asked is None or one.vector is None:
            return 0.0
        return max(0.0, float(self.asked @ one.vector))

    def _meaning(self, one: Known) -> float:
        own, beside = round(self._similarity(one), 6), self.beside[one.document.id]
        if self.asked is None or not beside:
            return own
        group = [self._similarity(other) for other in (one, *beside)]
        share = self.weights.neighbours
        return (1 - share) * own + share * round(sum(group) / len(group), 6)

    # Episodes

    def _beside(self, one: Known) -> list[Known]:
        """Return who stands before and after a memory."""
        before, after = self._turns(one)
        return [*before[-1:], *after[:1]]

    def _turns(self, one: Known) -> tuple[list[Known], list[Known]]:
        """Return the episode before a memory and after it; what is not asked for is passed over."""
        mine = one.document
        if mine.episode is None or mine.position is None:
            return [], []
        wanted = self.wanted
        turns = [
            other
            for other in self.known
            if (other.document.namespace, other.document.episode) == (mine.namespace, mine.episode)
            and other.document.position is not None
            and (wanted.include_archived or not other.document.archived)
            and (wanted.include_expired or not _has_expired(other.document))
        ]
        turns.sort(key=_place)
        before = [other for other in turns if _place(other) < _place(one)]
        return before, [other for other in turns if _place(other) > _place(one)]

    # The score

    def _score(self, one: Known, full: float) -> float:
        weights, document = self.weights, one.document
        keyword = round(self._words(one) / full, 6)
        uses = document.get_access_count()
        age_days = max(0.0, (NOW - document.updated_at) / timedelta(days=1))
        factor = (
            1
            + weights.importance * (2 * document.get_importance() - 1)
            + weights.confidence * (2 * document.get_confidence() - 1)
            + weights.access * uses / (uses + 10)
            + weights.recency * 2 ** (-age_days / weights.half_life_days)
        )
        return (self._meaning(one) + weights.keyword * keyword) * factor * self._trust(one)


def _place(one: Known) -> tuple[int, str]:
    return one.document.position or 0, one.document.id


def _asks(one: Known) -> bool:
    return "?" in one.document.content or "\uff1f" in one.document.content


def _has_expired(document: MemoryDocument) -> bool:
    return document.expires_at is not None and document.expires_at <= NOW
