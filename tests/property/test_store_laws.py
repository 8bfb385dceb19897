"""The laws of merging, seen through the store: rows, indexes and recall forget the order."""

import random
from collections.abc import Callable, Iterator
from itertools import count, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from strategies import LAWS, History, clock_at, histories

from chrysalis_memory import (
    Embedding,
    Filter,
    MemoryDocument,
    MemoryStorage,
    Weights,
    recall,
    search,
)
from chrysalis_memory.query import Query
from chrysalis_memory.search import SearchRequest

ORDERS = tuple(permutations(range(3)))
NOW_US = 1_800_000_000_000_000
EVERYTHING = Query(Filter(include_archived=True, include_expired=True), NOW_US)
BATCH = 17
"""Histories to an example; 120 examples make 600 histories."""

ROWS = {
    "memory": "SELECT id, life, state, digest, content, namespace, memory_type, episode, position, "
    "importance, confidence, created_at, updated_at, expires_at, archived, source FROM memory "
    "WHERE id GLOB ? ORDER BY id",
    "tag": "SELECT id, tag FROM tag t JOIN memory m ON m.number = t.memory "
    "WHERE id GLOB ? ORDER BY id, tag",
    "metadata": "SELECT id, key, kind, value FROM metadata d JOIN memory m ON m.number = d.memory "
    "WHERE id GLOB ? ORDER BY id, key",
    "access": "SELECT id, replica, count FROM access a JOIN memory m ON m.number = a.memory "
    "WHERE id GLOB ? ORDER BY id, replica",
    "vector": "SELECT id, text_hash, vector FROM vector_1 v JOIN memory m ON m.number = v.memory "
    "WHERE id GLOB ? ORDER BY id",
    "pending": "SELECT id FROM pending p JOIN memory m ON m.number = p.memory "
    "WHERE id GLOB ? ORDER BY id",
    "words": "SELECT term, doc, cnt FROM memory_term WHERE ? IS NOT NULL ORDER BY term",
}


def vector_of(text: str, dimension: int = 4) -> np.ndarray:
    return np.random.default_rng(list(text.encode())).normal(size=dimension)


def rows(storage: MemoryStorage, prefix: str) -> dict[str, list[Any]]:
    """Return every row about the ids that begin with ``prefix``, without local numbers."""
    return storage.read(
        lambda session: {
            name: session.connection.execute(sql, (f"{prefix}*",)).fetchall()
            for name, sql in ROWS.items()
        }
    )


def recalled(
    storage: MemoryStorage, text: str, *, k: int = 10, depth: int = 1000, mode: str = "hybrid"
) -> list[Any]:
    vector = None if mode == "keyword" else Embedding(vector_of(text), "space", text).vector
    words = [] if mode == "semantic" else text.split()
    request = SearchRequest(vector, "space", words, EVERYTHING, depth)
    found = storage.read(lambda s: search.find_candidates(s, search.active_space(s), request))
    ranked = recall.rank(
        found.candidates, weights=Weights(), now_us=NOW_US, k=k, full_bm25=found.full_bm25
    )
    return [(candidate.id, explanation) for candidate, explanation in ranked]


def embed_pending(storage: MemoryStorage) -> None:
    space = storage.open_space("space", "model", 4)
    waiting = storage.pending(space, limit=1000)
    storage.put_vectors(
        space, [(p.number, Embedding(vector_of(p.content), "space", p.content)) for p in waiting]
    )


def named(document: MemoryDocument, memory_id: str) -> MemoryDocument:
    return MemoryDocument.of(memory_id, document.state)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[MemoryStorage]]:
    folder: Path = tmp_path_factory.mktemp("orders")
    opened = [MemoryStorage(folder / f"{i}.db", synchronous="NORMAL") for i in range(len(ORDERS))]
    for storage in opened:
        embed_pending(storage)
    yield opened
    for storage in opened:
        storage.close()


@pytest.fixture(scope="module")
def fresh_prefix() -> Callable[[], str]:
    numbers = count()
    return lambda: f"{next(numbers):05}-"


# Shrinking many histories in six stores takes minutes; the laws of documents show small ones.
@settings(LAWS, max_examples=120, phases=[Phase.explicit, Phase.generate])
@given(batch=st.lists(histories(), min_size=BATCH, max_size=BATCH))
def test_every_order_of_merging_gives_the_same_rows_and_the_same_recall(
    stores: list[MemoryStorage], fresh_prefix: Callable[[], str], batch: list[History]
) -> None:
    prefix = fresh_prefix()
    for storage, order in zip(stores, ORDERS, strict=True):
        for replica in order:
            latest = [history.latest[replica] for history in batch]
            storage.merge(named(document, f"{prefix}{i}") for i, document in enumerate(latest))
        embed_pending(storage)
    expected = rows(stores[0], prefix)
    assert len(expected["memory"]) == BATCH
    answer = recalled(stores[0], "tea milk")
    for storage in stores[1:]:
        assert rows(storage, prefix) == expected
        assert recalled(storage, "tea milk") == answer


@settings(LAWS, max_examples=60)
@given(history=histories())
def test_what_the_store_gives_is_the_join_of_what_it_was_given(
    stores: list[MemoryStorage], fresh_prefix: Callable[[], str], history: History
) -> None:
    memory_id, storage = f"{fresh_prefix()}x", stores[0]
    joined = named(history.latest[0], memory_id)
    for document in history.latest:
        storage.merge([named(document, memory_id)])
        joined = joined.merge(named(document, memory_id))
    stored = storage.get(memory_id)
    assert (stored is None) == joined.is_forgotten
    assert stored is None or stored == joined


@settings(LAWS, max_examples=60)
@given(history=histories())
def test_state_the_store_has_seen_changes_nothing_again(
    stores: list[MemoryStorage], fresh_prefix: Callable[[], str], history: History
) -> None:
    prefix, storage = fresh_prefix(), stores[0]

    def everything() -> Any:
        sql = "SELECT (SELECT max(change) FROM memory), (SELECT max(change) FROM access)"
        return rows(storage, prefix), storage.read(lambda s: s.connection.execute(sql).fetchall())

    for document in history.reached:
        storage.merge([named(document, f"{prefix}x")])
    before = everything()
    for document in reversed(history.reached):
        assert storage.merge([named(document, f"{prefix}x")]) == 0
    assert everything() == before


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_equally_good_memories_are_recalled_alike_whatever_order_they_came_in(
    open_store: Callable[..., MemoryStorage], mode: str
) -> None:
    text = "the same few words"
    documents = [MemoryDocument(f"m{i:03}", text, clock=clock_at(1)) for i in range(80)]
    answers: list[list[str]] = []
    for name in ("a.db", "b.db"):
        storage = open_store(name)
        embed_pending(storage)
        random.Random(name).shuffle(documents)
        storage.put_many(documents)
        embed_pending(storage)
        found = recalled(storage, text, k=5, depth=50, mode=mode)
        answers.append([memory_id for memory_id, _ in found])
    assert answers == [[f"m{i:03}" for i in range(5)]] * 2
