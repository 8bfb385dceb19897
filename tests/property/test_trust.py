"""However many memories a distrusted source has, recall finds what the formula ranks best."""

import asyncio
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import LAWS

from chrysalis_memory import AgentMemory, Embedding, MemoryDocument, MemoryStorage, Weights
from embedders.base import InputType
from embedders.function import FunctionEmbedder
from tests.postgres_server import drop_schema, schema_url

DIMENSION = 32
COUNT = 600
"""Ten times as many as recall takes as candidates."""
SOURCES = ("web:a", "web:a", "web:a", "web:b", "web:b", "mail", "user")
FACTORS = (0.0, 0.05, 0.3, 0.9, 1.0)
PATTERNS = ("web:*", "web:a", "web:b", "mail", "user", "*")
SIMILAR = Weights.preset("similar")
CROWDING = 3.0
"""How much nearer to every query the memories of ``web:a`` are."""


def unit(seed: int, *, towards: float = 0.0) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    vector[0] += towards * np.sqrt(DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@functools.cache
def crowd() -> list[tuple[MemoryDocument, NDArray[np.float32]]]:
    made: list[tuple[MemoryDocument, NDArray[np.float32]]] = []
    for number in range(COUNT):
        source = SOURCES[number % len(SOURCES)]
        document = MemoryDocument(f"m{number * 7 % COUNT:03}", f"text {number}", None, source)
        made.append((document, unit(number, towards=CROWDING * (source == "web:a"))))
    return made


class Asked:
    """Embeds queries, which are numbers, near the memories that crowd."""

    model, fingerprint, dimension, max_tokens = "asked", "asked", DIMENSION, None

    async def prepare(self) -> None:
        pass

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        return np.array([unit(10_000 + int(text), towards=CROWDING) for text in texts])

    async def close(self) -> None:
        pass


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str | Path]:
    is_file = request.param == "sqlite"
    path = tmp_path_factory.mktemp("trust") / "memory.db"
    url = None if is_file else schema_url(request.getfixturevalue("postgres_server_url"))
    with MemoryStorage(url or path, synchronous="NORMAL") as storage:
        storage.run(
            lambda transaction: [
                transaction.put(document, Embedding(vector, "asked", document.content))
                for document, vector in crowd()
            ]
        )
    yield url or path
    if url is not None:
        drop_schema(url)


def factor_of(source: str, trust: dict[str, float]) -> float:
    beginnings = [source, *(source[:length] + "*" for length in range(len(source), -1, -1))]
    return next((trust[one] for one in beginnings if one in trust), 1.0)


def best(query: int, k: int, trust: dict[str, float]) -> list[tuple[str, float]]:
    """Rank all memories: cosine, at least 0 and to six digits, times trust; ties by id."""
    asked = unit(10_000 + query, towards=CROWDING)
    scores = {
        document.id: max(0.0, round(float(asked @ vector), 6)) * factor
        for document, vector in crowd()
        if (factor := factor_of(document.source_instance, trust)) > 0
    }
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


async def recalled(
    place: str | Path, asked: list[tuple[int, int, dict[str, float]]]
) -> list[list[Any]]:
    async with AgentMemory("ada", path=place, embedder=Asked()) as memory:
        return [
            await memory.recall(
                str(query), k, mode="semantic", weights=SIMILAR, trust=trust, track=False
            )
            for query, k, trust in asked
        ]


trusts = st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from(FACTORS), max_size=4)
questions = st.tuples(st.integers(0, 50), st.sampled_from((1, 5, 10, 40, 500)), trusts)


@settings(LAWS, max_examples=25)
@given(asked=st.lists(questions, min_size=10, max_size=10))
def test_no_source_crowds_out_what_ranks_before_it(
    place: str | Path, asked: list[tuple[int, int, dict[str, float]]]
) -> None:
    for (query, k, trust), found in zip(asked, asyncio.run(recalled(place, asked)), strict=True):
        expected = best(query, k, trust)
        assert len(found) == len(expected)
        assert [one.score for one in found] == pytest.approx([s for _, s in expected], abs=2e-6)
        scores = dict(expected)
        # Cosines of float32 differ in their last digit from machine to machine.
        misplaced = [
            (one.id, wanted)
            for one, (wanted, score) in zip(found, expected, strict=True)
            if one.id != wanted and abs(scores.get(one.id, score) - score) > 2e-6
        ]
        assert misplaced == []
        assert [one.explanation.recompute() for one in found] == [one.score for one in found]


def test_the_crowd_would_take_every_place_if_it_were_searched_at_once() -> None:
    nearest = [memory_id for memory_id, _ in best(0, 80, {})]
    crowding = {document.id for document, _ in crowd() if document.source_instance == "web:a"}
    assert crowding.issuperset(nearest)


def test_a_crowd_does_not_take_the_places_of_words(tmp_path: Path) -> None:
    async def ask() -> list[Any]:
        embedder = FunctionEmbedder(lambda text: [1.0, float(len(text) % 2)])
        path = tmp_path / "memory.db"
        async with AgentMemory("ada", path=path, embedder=embedder) as memory:
            await memory.learn_many(
                {"content": f"tea tea {number}", "source": "web:a"} for number in range(300)
            )
            await memory.learn_many(
                {"content": f"Tea is served at {number} in the old house"} for number in range(7)
            )
            return await memory.recall("tea", 5, mode="keyword", trust={"web:*": 0.1})

    found = asyncio.run(ask())
    assert {one.source_instance.split("@")[0] for one in found} == {"ada"}
    assert [one.explanation.trust for one in found] == [1.0] * 5
