"""Answering a query: embed it, find candidates, rank them, load the best, from one snapshot."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from chrysalis_memory import diversity, query_text, recall, rerank, search, verdict, wire
from chrysalis_memory.codec import shown
from chrysalis_memory.config import AgentMemoryConfig
from chrysalis_memory.embedding import Vector
from chrysalis_memory.embedding_queue import EmbeddingQueue
from chrysalis_memory.errors import DegradedRecall, InvalidValue
from chrysalis_memory.provenance import Trust
from chrysalis_memory.query import Conditions, Filter, Query
from chrysalis_memory.readers import InThread, QuickReads
from chrysalis_memory.recall import Explanation, Recollection, Weights
from chrysalis_memory.rerank import TokenVectors
from chrysalis_memory.search import Candidate, Found, SearchRequest
from chrysalis_memory.storage import Accuracy, MemoryStorage, Session, Space
from chrysalis_memory.verdict import Verdict
from embedders.errors import EmbedderUnavailable

Mode = Literal["hybrid", "semantic", "keyword"]
K_MAX = 1000
# Choosing among more, late interaction gains next to nothing on conversations.
_RERANKED = 50
CONTEXT_MAX = 100

Ranked = list[tuple[Candidate, Explanation]]

logger = logging.getLogger("chrysalis_memory")


class RecallOptions(Conditions, total=False):
    """What ``recall`` takes besides the query and k."""

    mode: Mode
    min_score: float | None
    weights: Weights | None
    rerank: Literal["late"] | None
    diversity: float
    context: int
    accuracy: Accuracy
    trust: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Ask:
    """How to recall; checked."""

    k: int
    mode: Mode
    min_score: float | None
    weights: Weights
    late: bool
    diversity: float
    context: int
    wanted: Filter
    depth: int
    accuracy: Accuracy
    trust: Trust

    @classmethod
    def of(cls, config: AgentMemoryConfig, k: int, options: RecallOptions) -> "Ask":
        """Check what was asked for, and take from the settings what was not.

        Raises:
            InvalidValue: an option that is refused.
        """
        given: dict[str, Any] = dict(options)
        mode, weights = given.pop("mode", "hybrid"), given.pop("weights", None)
        min_score, how = given.pop("min_score", None), given.pop("rerank", None)
        diversity, context = given.pop("diversity", 0.0), given.pop("context", 0)
        accuracy = given.pop("accuracy", config.accuracy)
        trust = given.pop("trust", None)
        if wire.check_limit(k, what="k") > K_MAX:
            raise InvalidValue(f"k is at most {K_MAX}, got {k}")
        if mode not in ("hybrid", "semantic", "keyword"):
            raise InvalidValue(f"mode is 'hybrid', 'semantic' or 'keyword', got {shown(mode)}")
        if weights is not None and not isinstance(weights, Weights):
            raise InvalidValue(f"weights must be Weights(...), got {shown(weights)}")
        if min_score is not None:
            wire.check_number(min_score, what="min_score")
        if accuracy not in get_args(Accuracy):
            names = ", ".join(map(repr, get_args(Accuracy)))
            raise InvalidValue(f"accuracy is one of {names}; got {shown(accuracy)}")
        if how not in (None, "late"):
            raise InvalidValue(f"rerank is 'late' or None, got {shown(how)}")
        if how == "late" and not config.late_interaction:
            raise InvalidValue(
                "rerank='late' needs the tokens' vectors, which this memory does not keep; "
                "open it with late_interaction=True"
            )
        if not 0 <= wire.check_number(diversity, what="diversity") <= 1:
            raise InvalidValue(f"diversity is from 0 to 1, got {shown(diversity)}")
        if context != 0 and wire.check_limit(context, what="context") > CONTEXT_MAX:
            raise InvalidValue(f"context is at most {CONTEXT_MAX}, got {context}")
        return cls(
            k, mode, min_score, weights or config.weights, how == "late" and mode != "keyword",
            diversity, context, Filter.of(**given),
            max(config.candidates, 2 * k, _RERANKED if how or diversity else 0), accuracy,
            Trust.of(config.trust if trust is None else trust),
        )  # fmt: skip


class _Asked(NamedTuple):
    """A query as it is searched for."""

    request: SearchRequest
    tokens: TokenVectors | None


class Recaller:
    """Recalls from one store with one embedder.

    Args:
        storage: The store.
        queue: Embeds the queries.
        config: Settings.
        in_thread: Runs blocking work without blocking the event loop.
    """

    def __init__(
        self,
        storage: MemoryStorage,
        queue: EmbeddingQueue,
        config: AgentMemoryConfig,
        in_thread: InThread,
    ) -> None:
        self._storage = storage
        self._queue = queue
        self._config = config
        is_file = isinstance(storage.path, Path)
        self._names = QuickReads(in_thread, allowed=is_file)
        self._answers = QuickReads(in_thread, allowed=is_file)

    async def recall_many(
        self, queries: Sequence[str], k: int, options: RecallOptions
    ) -> list[list[Recollection]]:
        """Answer queries, which are embedded together; see :meth:`AgentMemory.recall`."""
        texts = [wire.check_content(query) for query in queries]
        ask = Ask.of(self._config, k, options)

        async def attempt() -> list[list[Recollection]]:
            asked = await self._prepare(texts, ask)
            return await self._answers.run(lambda: [self._recall(one, ask) for one in asked])

        return await self._queue.across_reindex(attempt) if texts else []

    async def explain(self, query: str, memory_id: str, k: int, options: RecallOptions) -> Verdict:
        """Say why a query finds a memory or does not; see :meth:`AgentMemory.explain`."""
        text = wire.check_content(query)
        wire.check_name(memory_id, what="id")
        ask = Ask.of(self._config, k, options)

        async def attempt() -> Verdict:
            asked = (await self._prepare([text], ask))[0]
            return await self._answers.run(
                lambda: self._storage.read(lambda s: self._explain(s, asked, ask, memory_id))
            )

        return await self._queue.across_reindex(attempt)

    # What a query says

    async def _prepare(self, texts: Sequence[str], ask: Ask) -> list[_Asked]:
        query = self._storage.query(ask.wanted)._replace(among=ask.trust.trusted())
        vectors, fingerprint = await self._vectors(texts, ask.mode)
        tokens: Sequence[TokenVectors | None] = [None] * len(texts)
        if ask.late and fingerprint:
            tokens = await rerank.token_embedder(self._queue.embedder).embed_tokens(texts)
        return [
            _Asked(
                SearchRequest(
                    vector=vector,
                    fingerprint=fingerprint,
                    words=[] if ask.mode == "semantic" else query_text.words(text),
                    query=query,
                    depth=ask.depth,
                    accuracy=ask.accuracy,
                    neighbours=ask.weights.neighbours > 0,
                    trust=ask.trust,
                ),
                of_tokens,
            )
            for text, vector, of_tokens in zip(texts, vectors, tokens, strict=True)
        ]

    async def _vectors(
        self, texts: Sequence[str], mode: Mode
    ) -> tuple[Sequence[Vector | None], str]:
        """Embed queries as ``mode`` asks, and name their space.

        A text is embedded without names that are common: a name that is everywhere says nothing,
        but draws a small sentence model towards every memory that holds it. The word index still
        looks for it.
        """
        if mode == "keyword":
            return [None] * len(texts), ""
        if any(query_text.names(text) for text in texts):
            texts = await self._names.run(
                lambda: self._storage.read(lambda s: [self._without_common(s, t) for t in texts])
            )
        try:
            return await self._queue.embed_queries(texts)
        except EmbedderUnavailable as error:
            if mode == "semantic":
                raise EmbedderUnavailable(
                    f"{error}; recall(..., mode='keyword') finds memories by their words meanwhile"
                ) from error
            message = f"recall goes by words alone, the query cannot be embedded now: {error}"
            logger.warning(message)
            warnings.warn(message, DegradedRecall, stacklevel=2)
            return [None] * len(texts), ""

    def _without_common(self, session: Session, text: str) -> str:
        limit = self._config.common_name_share * session.document_count()
        names = query_text.names(text)
        held = session.document_frequencies([session.term(name) for name in names])
        common = [name for name, count in zip(names, held, strict=True) if count > limit]
        return query_text.without(text, common)

    # Finding and ranking

    def _recall(self, asked: _Asked, ask: Ask) -> list[Recollection]:
        return self._storage.read(lambda session: self._answer(session, asked, ask))

    def _answer(self, session: Session, asked: _Asked, ask: Ask) -> list[Recollection]:
        space = search.active_space(session)
        found = search.find_candidates(session, space, asked.request)
        ranked = self._rank(session, space, found, asked, ask)
        query = asked.request.query
        numbers = [candidate.number for candidate, _ in ranked]
        around = {
            number: session.context(number, query, count=ask.context) if ask.context else []
            for number in numbers
        }
        wanted = list(dict.fromkeys([*numbers, *(n for beside in around.values() for n in beside)]))
        documents = dict(
            zip(wanted, map(self._storage.document, session.load_numbers(wanted)), strict=True)
        )
        return [
            Recollection.recalled(
                documents[candidate.number],
                explanation,
                writer=self._storage.instance,
                clock=self._storage.clock,
                context=[
                    beside
                    for beside in (documents[number] for number in around[candidate.number])
                    if ask.trust.factor(beside.source_instance)
                ],
            )
            for candidate, explanation in ranked
        ]

    def _rank(
        self, session: Session, space: Space | None, found: Found, asked: _Asked, ask: Ask
    ) -> Ranked:
        """Return the best ``k`` of the candidates."""
        candidates = found.candidates
        now_us = asked.request.query.now_us
        full = found.full_bm25
        if asked.tokens is not None and space is not None:
            full = recall.full_match(candidates, ask.weights, full)  # of those left out, too
            candidates = self._late(session, space, found, asked.request, asked.tokens, ask)
        ranked = recall.rank(
            candidates,
            weights=ask.weights,
            now_us=now_us,
            k=ask.k if ask.diversity == 0 else ask.depth,
            full_bm25=full,
            min_score=ask.min_score,
            searched=found.searched,
        )
        if ask.diversity == 0 or space is None:
            return ranked[: ask.k]
        vectors = {c.number: session.vector(space, c.number) for c, _ in ranked}
        known = {number: vector for number, vector in vectors.items() if vector is not None}
        return diversity.diversify(ranked, known, diversity=ask.diversity, k=ask.k)

    def _late(
        self,
        session: Session,
        space: Space,
        found: Found,
        request: SearchRequest,
        tokens: TokenVectors,
        ask: Ask,
    ) -> list[Candidate]:
        """Return the best candidates, and those asked for, with their late interaction."""
        best = recall.rank(
            found.candidates,
            weights=ask.weights,
            now_us=request.query.now_us,
            k=ask.depth,
            full_bm25=found.full_bm25,
        )
        kept = {candidate.number: candidate for candidate, _ in best}
        kept |= {c.number: c for c in found.candidates if c.number in request.also}
        memories = session.document_count()
        weights = rerank.token_weights(tokens.tokens, lambda word: _idf(session, word, memories))
        before = {
            number: rerank.Before(beside.before, ask.weights.from_before(beside.answers))
            for number, beside in found.neighbours.items()
            if number in kept and beside.before is not None
        }
        packed = session.tokens_of(
            space, list(dict.fromkeys([*kept, *(one.number for one in before.values())]))
        )
        scores = rerank.late_scores(tokens.vectors, weights, packed, before)
        late = rerank.fill(scores, list(kept))
        return [one._replace(late=late.get(number)) for number, one in kept.items()]

    # Explaining

    def _explain(self, session: Session, asked: _Asked, ask: Ask, memory_id: str) -> Verdict:
        stored = session.load(memory_id)
        memory = None if stored is None else self._storage.document(stored)
        if stored is None or memory is None:
            return Verdict(memory_id, "no memory has this id")
        if memory.is_forgotten:
            return Verdict(memory_id, "it was forgotten")
        space = search.active_space(session)
        unforced = search.find_candidates(session, space, asked.request)
        natural = {candidate.number for candidate in unforced.candidates}
        answer = [c.number for c, _ in self._rank(session, space, unforced, asked, ask)]
        request = asked.request._replace(also=[stored.number])
        found = search.find_candidates(session, space, request)
        everything = asked._replace(request=request)
        unlimited = _without_limits(ask, len(found.candidates))
        ranked = self._rank(session, space, found, everything, unlimited)
        place, explanation = next(
            (place, explanation)
            for place, (candidate, explanation) in enumerate(ranked, 1)
            if candidate.number == stored.number
        )
        if stored.number in answer:
            rank = answer.index(stored.number) + 1
            return Verdict(memory_id, f"it is returned, at rank {rank}", explanation, rank)
        query: Query = asked.request.query
        reason = (
            verdict.excluded_by(ask.wanted, memory, query.now_us)
            or verdict.distrusted(explanation)
            or verdict.scored_below(explanation, ask.min_score)
            or verdict.not_found(explanation, stored.number, natural, asked.request)
            or verdict.ranked_after(place, ask.k, ask.diversity)
        )
        return Verdict(memory_id, reason, explanation)


def _idf(session: Session, word: str, memories: int) -> float:
    (frequency,) = session.document_frequencies([session.term(word)])
    return search.inverse_document_frequency(frequency, memories)


def _without_limits(ask: Ask, candidates: int) -> Ask:
    return replace(ask, k=max(1, candidates), min_score=None, diversity=0.0)
