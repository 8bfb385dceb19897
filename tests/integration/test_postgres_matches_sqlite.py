"""The same memories in SQLite and in PostgreSQL: the same filters, words, vectors and recall."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chrysalis_memory import (
    AgentMemory,
    Embedding,
    Filter,
    HybridLogicalClock,
    MemoryDocument,
    MemoryStorage,
    Weights,
    search,
    wire,
)
from chrysalis_memory.query import Query
from embedders.hashing import HashingEmbedder
from tests.postgres_server import drop_schema, schema_url

NOW_US = 1_800_000_000_000_000
EMBEDDER = HashingEmbedder(64)
COUNT = 400
WORDS = (
    "tea", "Tea", "teapot", "café", "walks", "walking", "snake_case", "camelCaseName", "42", "the",
    "a", "東京都", "東京", "京", "ประเทศ", "don't", "naïve", "x" * 300, "x" * 299 + "y", "why?",
    "HTTPServer", "🦋", "foo.bar", "C++", "ponies",
)  # fmt: skip
ASKED = (
    *WORDS, "te*", "wal*", "xx*", "x" * 260 + "*", "東*", '"tea walks"', "camel", "absent", "*",
)  # fmt: skip
SOURCES = ("user", "web:a", "web:b", "web:a", "Web")
NAMESPACES = ("", "user", "user/al", "team")


def some_text(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))


def some_documents() -> list[MemoryDocument]:
    """Return memories of every kind; many share texts, times and scores, so that they tie."""
    chance = random.Random(11)
    texts = [some_text(chance) for _ in range(COUNT // 2)]
    made: list[MemoryDocument] = []
    for i in range(COUNT):
        at = NOW_US - chance.randint(0, 50) * 86_400_000_000
        clock = HybridLogicalClock(lambda at=at: at)
        source = SOURCES[i % len(SOURCES)]
        text = chance.choice(texts)
        document = MemoryDocument(f"m{i * 7919 % COUNT:03}", text, None, source, clock=clock)
        document.set_namespace(chance.choice(NAMESPACES))
        document.set_importance(chance.choice((0.2, 0.5, 0.9)))
        for tag in chance.sample(("red", "blue", "green"), chance.randint(0, 2)):
            document.add_tag(tag)
        if chance.random() < 0.3:
            document.set_metadata({"n": chance.choice((1, 1.0, 2.5, "1", True, None))})
        if chance.random() < 0.5:
            document.set_episode(chance.choice(("talk", "log")), chance.randint(0, 60))
        document.set_archived(chance.random() < 0.1)
        if chance.random() < 0.2:
            document.set_expires_at(wire.moment(NOW_US + chance.choice((-1, 0, 1))))
        document.record_access("laptop", chance.randint(1, 5))
        made.append(document)
    for document in made[::23]:
        document.forget()
    return made


class Pair(NamedTuple):
    sqlite: MemoryStorage
    postgres: MemoryStorage

    def same(self, work: Any) -> Any:
        """Run ``work`` in both, which must answer alike, and return the answer."""
        mine, theirs = self.sqlite.read(work), self.postgres.read(work)
        assert theirs == mine
        return mine


def embedded() -> dict[str, Embedding]:
    """Return the vectors of most texts; the others keep waiting for theirs."""
    texts = {one.content for one in some_documents() if not one.is_forgotten}
    chosen = [text for text in sorted(texts) if len(text) % 5]
    vectors = asyncio.run(EMBEDDER.embed(chosen))
    return {
        text: Embedding(vector, EMBEDDER.fingerprint, text)
        for text, vector in zip(chosen, vectors, strict=True)
    }


def fill(storage: MemoryStorage) -> None:
    documents, embeddings = some_documents(), embedded()

    def work(transaction: Any) -> None:
        transaction.prefetch(document.id for document in documents)
        for i, document in enumerate(documents):
            if i % 9 or document.is_forgotten:
                transaction.merge(document)
            else:
                transaction.put(document, embeddings.get(document.content))

    storage.submit(work).result()
    (space,) = storage.spaces()
    waiting = storage.pending(space, limit=COUNT)
    made = [(one.number, embeddings[one.content]) for one in waiting if one.content in embeddings]
    assert storage.put_vectors(space, made) == len(made)


@pytest.fixture(scope="module")
def paths(
    tmp_path_factory: pytest.TempPathFactory, postgres_server_url: str
) -> Iterator[list[str | Path]]:
    url = schema_url(postgres_server_url)
    yield [tmp_path_factory.mktemp("pair") / "memory.db", url]
    drop_schema(url)


@pytest.fixture(scope="module")
def pair(paths: list[str | Path]) -> Iterator[Pair]:
    with MemoryStorage(paths[0]) as sqlite, MemoryStorage(paths[1]) as postgres:
        fill(sqlite)
        fill(postgres)
        yield Pair(sqlite, postgres)


SETTINGS = settings(deadline=None, derandomize=True, max_examples=120)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "namespace": st.sampled_from(NAMESPACES),
        "namespace_prefix": st.sampled_from(NAMESPACES),
        "tags_any": st.lists(st.sampled_from(("red", "blue", "none")), max_size=2),
        "tags_none": st.sampled_from(("red", "green")),
        "sources": st.sampled_from((["web:*"], ["user", "web:b"], ["w*", "W*"])),
        "sources_none": st.sampled_from(("web:a", "*b", "Web*")),
        "minimum_importance": st.sampled_from((0.2, 0.5, 0.6)),
        "metadata": st.sampled_from(
            ({"n": 1}, {"n": {"$gt": 1}}, {"n": {"$ne": "1"}}, {"n": {"$in": [True, 2.5]}})
        ),
        "episode": st.sampled_from(("talk", "log")),
        "include_archived": st.booleans(),
        "include_expired": st.booleans(),
    },
)


def ids_of(session: Any, numbers: Any) -> list[str]:
    return [stored.id for stored in session.load_numbers(list(numbers))]


def test_they_hold_the_same_memories(pair: Pair) -> None:
    def everything(session: Any) -> Any:
        stored = session.everything(after=0, limit=COUNT + 1)
        return sorted((one.id, one.state, sorted(one.access.items())) for one in stored)

    assert len(pair.same(everything)) == COUNT
    assert pair.same(lambda session: session.pending_count(session.spaces()[0])) > 20
    pair.same(lambda session: session.document_count())


@SETTINGS
@given(drawn=conditions, order=st.sampled_from(("created", "recent", "importance")))
def test_they_find_the_same_in_the_same_order(
    pair: Pair, drawn: dict[str, Any], order: Any
) -> None:
    query = Query(Filter.of(**drawn), NOW_US)
    found = pair.same(lambda session: [one.id for one in session.select(query, order, None)])
    assert pair.same(lambda session: session.count(query)) == len(found)
    pair.same(lambda session: session.tag_counts(query))
    pair.same(lambda session: session.namespace_counts(query))
    pair.same(lambda session: session.source_counts(query))


@SETTINGS
@given(
    words=st.lists(st.sampled_from(ASKED), min_size=1, max_size=5),
    drawn=conditions,
    limit=st.sampled_from((1, 3, 20)),
    alone=st.booleans(),
)
def test_they_rank_the_same_by_words(
    pair: Pair, words: list[str], drawn: dict[str, Any], limit: int, alone: bool
) -> None:
    query = Query(Filter.of(**drawn), NOW_US)

    def work(session: Any) -> Any:
        terms = search.weigh(session, words)
        best = session.best_by_words(terms, query, limit=limit, alone=alone)
        ids = ids_of(session, [number for number, _ in best])
        return terms, list(zip(ids, [score for _, score in best], strict=True))

    pair.same(work)


@SETTINGS
@given(seed=st.integers(0, 1000), drawn=conditions, k=st.sampled_from((1, 5, 30)))
def test_they_rank_the_same_by_vectors(
    pair: Pair, seed: int, drawn: dict[str, Any], k: int
) -> None:
    query = Query(Filter.of(**drawn), NOW_US)
    vector = np.random.default_rng(seed).normal(size=64)
    asked = Embedding(vector, "asked", "asked").vector

    def work(session: Any) -> Any:
        found = session.nearest(session.spaces()[0], asked, k, query)
        ids = ids_of(session, [number for number, _ in found.pairs])
        cosines = [-cosine for _, cosine in found.pairs]
        return found.exact, sorted(zip(cosines, ids, strict=True))

    assert pair.same(work)[0]


def embed_the_rest(storage: MemoryStorage) -> None:
    """Embed what waits, which an agent would do while it is asked."""
    (space,) = storage.spaces()
    waiting = storage.pending(space, limit=COUNT)
    vectors = asyncio.run(EMBEDDER.embed([one.content for one in waiting]))
    made = [
        (one.number, Embedding(vector, EMBEDDER.fingerprint, one.content))
        for one, vector in zip(waiting, vectors, strict=True)
    ]
    assert storage.put_vectors(space, made) == len(made)


async def recalled(path: str | Path, asked: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Return what an agent recalls: ids, scores and everything that explains them."""
    async with AgentMemory("ada", path=path, embedder=HashingEmbedder(64)) as memory:
        answers: list[Any] = []
        for query, options in asked:
            found = await memory.recall(query, track=False, **options)
            # How many vectors were compared is each engine's own affair; and time passes.
            explained = [replace(one.explanation, searched=None, age_days=0) for one in found]
            answers.append([(one.id, one.score) for one in found] + explained)
        return answers


def test_they_recall_the_same_with_the_same_scores(pair: Pair, paths: list[str | Path]) -> None:
    for storage in pair:
        embed_the_rest(storage)
    chance = random.Random(5)
    # What is recent changes while one asks.
    weights = Weights(recency=0)
    asked = [
        (
            " ".join(chance.choices(WORDS, k=chance.randint(1, 5))),
            {
                "k": chance.choice((1, 5, 20)),
                "mode": chance.choice(("hybrid", "semantic", "keyword")),
                "weights": weights,
                **chance.choice(({}, {"tags_any": "red"}, {"namespace_prefix": "user"})),
                "trust": chance.choice(({}, {"web:*": 0.3, "web:b": 0}, {"*": 0.5, "user": 1})),
            },
        )
        for _ in range(80)
    ]
    mine, theirs = (asyncio.run(recalled(path, asked)) for path in paths)
    assert sum(map(len, mine)) > 200
    assert theirs == mine
