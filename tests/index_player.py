"""Writes and searches one memory file as one of several processes.

As a script it takes steps as JSON lines, ``["learn", 3, 1]``, and answers each with a JSON line, so
that a test can drive another process step by step.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chrysalis_memory import AgentMemory, Embedding, Filter, MemoryStorage, Weights
from chrysalis_memory.backends.sqlite import vector_index
from chrysalis_memory.codec import text_hash
from chrysalis_memory.query import Query
from chrysalis_memory.search import active_space
from chrysalis_memory.transaction import Transaction
from embedders.function import FunctionEmbedder

DIMENSION = 384  # shorter ones take so many candidates that nothing is left out
SUBJECTS = ("tea", "coffee", "ponies", "snakes", "trains", "rain")
MEMORIES = 4
TEXTS = 5
CONDITIONS: tuple[dict[str, Any], ...] = (
    {},
    {"tags_all": "few"},
    {"tags_all": "few", "namespace": "a"},
    {"episode": "log", "tags_none": "few"},
)
WEIGHTS = Weights.preset("similar")
"""Answers do not depend on the moment of asking."""
EVERYTHING = Query(Filter(), 1_800_000_000_000_000)
FEW = Query(Filter.of(tags_all="few"), 1_800_000_000_000_000)


def vector_of(text: str) -> NDArray[np.float64]:
    """Return a vector that has nothing in common with that of any other text."""
    seed = int.from_bytes(text_hash(text), "big")
    return np.random.default_rng(seed).normal(size=DIMENSION)


def vectors_of(texts: Sequence[str]) -> list[Any]:
    return [vector_of(text) for text in texts]


def text_of(number: int) -> str:
    return f"text {number} of {SUBJECTS[number % len(SUBJECTS)]}"


QUERIES = tuple(text_of(number) for number in range(TEXTS))
"""The texts that the memories have which steps change: each is nearest to one query."""
UNIT_VECTORS = [Embedding(vector_of(text), "random", text).vector for text in QUERIES[:2]]


class Player:
    """Plays steps on one file through an agent that stays open."""

    agent: AgentMemory

    def __init__(self, path: str | Path, limits: Sequence[int] | None = None) -> None:
        self._path = path
        self._runner = asyncio.Runner()
        self._patch = pytest.MonkeyPatch()
        if limits is not None:
            self._patch.setattr(vector_index, "LIMITS", vector_index.Limits(*limits))
        self._open()

    def _open(self) -> None:
        self.agent = AgentMemory(
            "ada",
            path=self._path,
            embedder=FunctionEmbedder(
                vectors_of, batch=True, model="random", dimension=DIMENSION, batch_size=4096
            ),
            synchronous="NORMAL",
            timeout_seconds=60,
            candidates=5,
        )
        self._runner.run(self.agent.start())

    def play(self, name: str, *arguments: Any) -> Any:
        return getattr(self, name)(*arguments)

    # Steps

    def learn(self, number: int, text: int) -> None:
        """Learn a memory, give it another text, or revive it."""
        options: dict[str, Any] = {"namespace": "a" if number % 3 else "b"}
        if number % 2:
            options |= {"episode": "log", "position": number}
        self._runner.run(self.agent.learn(text_of(text), id=f"m{number}", **options))

    def learn_many(self, count: int) -> None:
        """Learn the memories that steps change, and others."""
        for number in range(MEMORIES):
            self.learn(number, number)
            self.tag(number, True)
        others = [
            {"content": f"other {text_of(n)}", "id": f"other{n}", "tags": ["few"][n % 10 :]}
            for n in range(count)
        ]
        self._runner.run(self.agent.learn_many(others))

    def forget(self, number: int) -> None:
        self._runner.run(self.agent.forget(f"m{number}"))

    def tag(self, number: int, tagged: bool) -> None:
        if self._runner.run(self.agent.get(f"m{number}")) is not None:
            change = {"add_tags" if tagged else "remove_tags": ["few"]}
            self._runner.run(self.agent.update(f"m{number}", **change))

    def fail(self, number: int, text: int) -> None:
        """Change memories, and search, in a transaction that is rolled back."""

        def work(transaction: Transaction) -> None:
            session: Any = transaction.session
            space: Any = active_space(session)
            content = text_of(text)
            embedding = Embedding(vector_of(content), space.fingerprint, content)
            document = transaction.load(f"m{number}")
            if document is not None and not document.is_forgotten:
                document.set_content(content)
                document.add_tag("few")
                transaction.put(document, embedding)
            if text % 2:
                transaction.put(transaction.new_document("new", content, None), embedding)
                transaction.forget("other0")
                session.rebuild_index(space)
            self._nearest(session)
            raise RuntimeError("after the writes")

        with pytest.raises(RuntimeError):
            self.agent.storage.submit(work).result()

    def take(self, path: str | Path) -> None:
        """Take the memories of another file, and index them anew."""
        with MemoryStorage(path) as source:
            self._runner.run(self.agent.merge(source))
        self._runner.run(self.agent.embed_pending())

    def rebuild(self) -> None:
        self.agent.storage.rebuild_indexes()

    def reopen(self) -> None:
        self._runner.run(self.agent.stop())
        self._open()

    def close(self) -> None:
        self._runner.run(self.agent.stop())
        self._runner.close()
        self._patch.undo()

    # What is found

    def answers(self) -> list[Any]:
        """Return what recall finds, and what the vector index alone does, as JSON values."""
        return [*self._runner.run(self._recalled()), *self.agent.storage.read(self._nearest)]

    async def _recalled(self) -> list[Any]:
        found = [
            await self.agent.recall_many(QUERIES, 5, weights=WEIGHTS, track=False, **conditions)
            for conditions in CONDITIONS
        ]
        answers = [one for many in found for one in many]
        assert not any(memory.is_forgotten for one in answers for memory in one)
        return [[[memory.id, memory.content, memory.score] for memory in one] for one in answers]

    def _nearest(self, session: Any) -> list[Any]:
        """Return ids with cosines; which memory has which number differs between files."""
        space = active_space(session)
        found = [
            session.nearest(space, vector, k, query, accuracy=accuracy).pairs
            for vector in UNIT_VECTORS
            for query in (EVERYTHING, FEW)
            for k, accuracy in ((1, "fast"), (20, "balanced"), (5, "exact"))
        ]
        numbers = {number for one in found for number, _ in one}
        ids = {prior.number: prior.id for prior in session.priors(list(numbers))}
        return [sorted([-cosine, ids[number]] for number, cosine in one) for one in found]


def main() -> None:
    player: Any = None
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        if name == "open":
            player, answer = Player(*arguments), None
        else:
            answer = player.play(name, *arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
