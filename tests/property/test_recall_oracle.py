"""Recall returns what a ranking of all memories by the documented formula returns."""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle import DIMENSION, NOW, NOW_US, TOKENS, Known, Oracle, Question, vector_of
from strategies import LAWS, clock_at

from chrysalis_memory import AgentMemory, Embedding, MemoryDocument, Weights
from chrysalis_memory.transaction import Transaction
from embedders.base import InputType
from embedders.errors import EmbedderUnavailable

DAY_US = 86_400_000_000
COUNT = 40
"""Fewer than each index gives, so that what is found does not depend on the indexes' own orders."""
WAITING = "mist"
"""Texts with this word have no vector yet."""


class Signs:
    """Embeds queries; for memories it is away, so that those without a vector stay so."""

    model, fingerprint, dimension, max_tokens = "signs", "signs", DIMENSION, None

    async def prepare(self) -> None:
        pass

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        if input_type == "document":
            raise EmbedderUnavailable("memories are embedded by the test")
        return np.array([vector_of(text) for text in texts], np.float32)

    async def close(self) -> None:
        pass


# What is drawn


class Drawn(NamedTuple):
    """A memory to put into the store."""

    words: list[str]
    days: float
    tags: set[str]
    namespace: str
    memory_type: str
    importance: float
    confidence: float
    uses: int
    metadata: dict[str, int]
    place: tuple[str, int | None] | None
    fate: str
    source: str


class Choices:
    """Choices made by bytes, the first by zeros: many choices are then quick to draw and shrink."""

    def __init__(self, drawn: bytes) -> None:
        self._left = iter(drawn)

    def one(self, *options: Any) -> Any:
        return options[next(self._left) % len(options)]

    def words(self, *, most: int, of: Sequence[str]) -> list[str]:
        return [self.one(*of) for _ in range(self.one(*range(1, most + 1)))]


SCORES = (0.5, 0.0, 0.3, 1.0)
WORDS = ("tea", *TOKENS, "tea", "tea", "Ann", "snake", "snake_case")
MEMORY_WORDS = tuple(word for word in WORDS if word != "zebra")
QUERY_WORDS = (*(word for word in WORDS if word[-1] not in "?\uff1f"), "Bob", "Bob", "Bob")


def memory_of(drawn: bytes) -> Drawn:
    choices = Choices(drawn)
    places = [("talk", position) for position in (1, 2, 2, 3, 4)]
    fates = ("kept",) * 9 + ("archived", "expired", "forgotten", "expires")
    return Drawn(
        words=choices.words(most=7, of=MEMORY_WORDS),
        days=choices.one(0, -1, 1, 30, 400),
        tags=choices.one(set(), {"red"}, {"blue"}, {"red", "blue"}),
        namespace=choices.one("", "", "user", "user/ann"),
        memory_type=choices.one("semantic", "episodic"),
        importance=choices.one(*SCORES),
        confidence=choices.one(*SCORES),
        uses=choices.one(0, 0, 1, 10, 10_000),
        metadata=choices.one({}, {"n": 1}, {"n": 2}),
        place=choices.one(None, ("talk", None), ("log", 1), *places),
        fate=choices.one(*fates),
        source=choices.one("user", "web:a", "web:b", "ada@r1"),
    )


def crowds(least: int, most: int) -> st.SearchStrategy[list[Drawn]]:
    drawn = st.binary(min_size=19, max_size=19)
    return st.lists(drawn.map(memory_of), min_size=least, max_size=most)


CONDITIONS: tuple[dict[str, Any], ...] = (
    {"namespace": ""}, {"namespace": "user"}, {"namespace_prefix": "user"},
    {"memory_type": "episodic"}, {"memory_type": ["episodic", "semantic"]},
    {"tags_all": ["red", "blue"]}, {"tags_any": ["red", "blue"]}, {"tags_none": "red"},
    {"minimum_importance": 0.5}, {"minimum_confidence": 0.3}, {"metadata": {"n": {"$gte": 2}}},
    {"metadata": {"n": None}}, {"episode": "talk"}, {"created_before": NOW},
    {"updated_from": NOW - timedelta(days=2)}, {"include_archived": True},
    {"include_expired": True}, {"sources": "web:*"}, {"sources_none": ["web:a", "user"]},
)  # fmt: skip
TRUSTS: tuple[dict[str, float], ...] = (
    {"web:*": 0.3}, {"web:*": 0, "web:b": 1}, {"*": 0.1, "user": 1, "web:*": 0.5},
    {"user": 0.9, "web:a": 0}, {"*": 0}, {"web:a*": 0.2, "web:": 0.4, "ada@r1": 0.2},
)  # fmt: skip


def question_of(drawn: bytes) -> Question:
    choices = Choices(drawn)
    weights = Weights(
        keyword=choices.one(0.4, 0.0, 1.0, 10.0),
        importance=choices.one(0.05, 0.0, 0.2),
        confidence=choices.one(0.05, 0.0, 0.2),
        access=choices.one(0.1, 0.0, 0.2),
        recency=choices.one(0.05, 0.0, 0.2),
        half_life_days=choices.one(30.0, 0.5, 36_500.0),
        neighbours=choices.one(0.6, 0.0, 0.3, 1.0),
        late=choices.one(1.5, 0.0, 10.0),
    )
    return Question(
        words=choices.words(most=5, of=QUERY_WORDS),
        mode=choices.one("hybrid", "keyword", "semantic", "hybrid"),
        k=choices.one(COUNT, COUNT, 5, 1, 2, 13),
        min_score=choices.one(None, None, 0.0, 0.1, 0.31, 0.61),
        weights=weights,
        conditions=choices.one({}, *CONDITIONS) | choices.one({}, *CONDITIONS),
        trust=choices.one({}, *TRUSTS, {}),
    )


questions = st.binary(min_size=20, max_size=20).map(question_of)


def document_of(number: int, drawn: Drawn) -> MemoryDocument:
    clock = clock_at(NOW_US - int(drawn.days * DAY_US))
    # Ids are in another order than the store's own numbers.
    memory_id = f"m{number * 7 % 41:02}"
    text = " ".join(drawn.words)
    document = MemoryDocument(memory_id, text, drawn.memory_type, drawn.source, clock=clock)
    document.set_namespace(drawn.namespace)
    document.set_importance(drawn.importance)
    document.set_confidence(drawn.confidence)
    document.set_metadata(drawn.metadata)
    for tag in sorted(drawn.tags):
        document.add_tag(tag)
    if drawn.place is not None:
        document.set_episode(*drawn.place)
    if drawn.uses:
        document.record_access("laptop", drawn.uses)
        document.record_access("server", 3)
    if drawn.fate == "archived":
        document.set_archived(True)
    if drawn.fate in ("expired", "expires"):
        document.set_expires_at(NOW + timedelta(microseconds=drawn.fate == "expires"))
    return document


# The comparison


def fill(transaction: Transaction, drawn: list[Drawn]) -> list[Known]:
    """Put the memories into the store and return those that are not forgotten."""
    known: list[Known] = []
    for number, one in enumerate(drawn):
        document = document_of(number, one)
        vector = None if WAITING in one.words else vector_of(document.content)
        embedding = None if vector is None else Embedding(vector, "signs", document.content)
        transaction.put(document, embedding)
        if one.fate == "forgotten":
            transaction.forget(document.id)
        else:
            tokens = [token for word in one.words for token in TOKENS[word]]
            known.append(Known(document, tokens, vector))
    return known


def misplaced(
    actual: list[tuple[str, float]], expected: list[tuple[str, float]]
) -> list[tuple[int, str, str]]:
    """Return the places with another memory than expected, but for ties up to rounding."""
    scores = dict(expected)
    return [
        (place, found, wanted)
        for place, ((found, _), (wanted, score)) in enumerate(zip(actual, expected, strict=False))
        if found != wanted and abs(scores.get(found, math.inf) - score) > 1e-12
    ]


async def check(drawn: list[Drawn], asked: list[Question]) -> None:
    options: dict[str, Any] = {"path": ":memory:", "embedder": Signs(), "synchronous": "NORMAL"}
    async with AgentMemory("ada", **options) as agent:
        agent.storage.clock.wall_us = lambda: NOW_US
        known = agent.storage.submit(lambda transaction: fill(transaction, drawn)).result()
        for question in asked:
            words, mode, k, min_score, weighed, wanted, trust = question
            found = await agent.recall(
                " ".join(words), k, mode=mode, min_score=min_score, weights=weighed, track=False,
                trust=trust, **wanted,
            )  # fmt: skip
            note(f"for {question}")
            actual = [(memory.id, memory.score) for memory in found]
            expected = Oracle(known, question).ranking()[:k] if known else []
            assert [score for _, score in expected] == pytest.approx([s for _, s in actual], 1e-6)
            assert misplaced(actual, expected) == []
            assert sorted(actual, key=lambda pair: (-pair[1], pair[0])) == actual


@settings(LAWS, max_examples=150)
@given(
    drawn=st.one_of(crowds(1, 8), crowds(10, 10), crowds(12, COUNT)),
    asked=st.lists(questions, min_size=4, max_size=4),
)
def test_recall_ranks_as_the_documented_formula_ranks_all_memories(
    drawn: list[Drawn], asked: list[Question]
) -> None:
    asyncio.run(check(drawn, asked))
