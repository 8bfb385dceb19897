"""How long a recall takes, without the embedding of the query, beside the bare vector query.

The memories are sentences put together from word lists, with random unit vectors of 384
dimensions; both sides search the same file. Prints medians and the ratio.

    python benchmarks/recall.py --sizes 1000 10000
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
import sqlite_vec

from chrysalis_memory import AgentMemory
from embedders.base import InputType

DIMENSION = 384
_SUBJECTS = [
    "user",
    "agent",
    "customer",
    "neighbour",
    "sister",
    "doctor",
    "teacher",
    "pilot",
    "cook",
    "gardener",
]
_VERBS = [
    "prefers",
    "bought",
    "forgot",
    "painted",
    "repaired",
    "booked",
    "sold",
    "planted",
    "described",
    "cancelled",
]
_OBJECTS = [
    "tea",
    "bicycle",
    "garden",
    "window",
    "concert",
    "train",
    "piano",
    "letter",
    "camera",
    "blanket",
]
_PLACES = [
    "Lisbon",
    "Oslo",
    "Kyoto",
    "Quito",
    "Dakar",
    "Perth",
    "Turin",
    "Bergen",
    "Malmö",
    "Cusco",
]


class RandomEmbedder:
    """Gives every text a random unit vector, at once; what is measured here is the search."""

    model = "random"
    dimension = DIMENSION
    max_tokens = None
    fingerprint = f"random/{DIMENSION}"

    def __init__(self) -> None:
        self._generator = np.random.default_rng(7)

    async def prepare(self) -> None:
        return None

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> np.ndarray:
        vectors = self._generator.standard_normal((len(texts), DIMENSION)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    async def close(self) -> None:
        return None


def sentence(chance: random.Random, number: int) -> str:
    words = (chance.choice(w) for w in (_SUBJECTS, _VERBS, _OBJECTS))
    return f"The {' '.join(words)} number {number} near {chance.choice(_PLACES)} in spring"


async def measure(size: int, queries: int) -> None:
    chance = random.Random(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.db"
        embedder = RandomEmbedder()
        async with AgentMemory("benchmark", path=path, embedder=embedder) as memory:
            start = time.perf_counter()
            await memory.learn_many([sentence(chance, number) for number in range(size)])
            learned = time.perf_counter() - start
            bare = open_bare(path)
            ours, baseline, embedding = [], [], []
            for _ in range(queries):
                query = f"which {chance.choice(_OBJECTS)} near {chance.choice(_PLACES)}?"
                start = time.perf_counter()
                vector = (await embedder.embed([query]))[0]
                middle = time.perf_counter()
                await memory.recall(query, 10, track=False)
                end = time.perf_counter()
                bare.execute(
                    "SELECT memory FROM vector_index_1 WHERE embedding MATCH ? AND k = 10",
                    (vector.tobytes(),),
                ).fetchall()
                baseline.append(time.perf_counter() - end)
                ours.append(end - middle)
                embedding.append(middle - start)
        a = statistics.median(ours) - statistics.median(embedding)
        b = statistics.median(baseline)
        print(
            f"{size:8,} memories   recall p50 {a * 1e3:7.2f} ms   bare vec0 {b * 1e3:7.2f} ms   "
            f"ratio {a / b:5.2f}   (at most 3)   learned {size / learned:7,.0f}/s"
        )


def open_bare(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.pragma("mmap_size", 1 << 30)
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    for size in arguments.sizes:
        asyncio.run(measure(size, arguments.queries))


if __name__ == "__main__":
    main()
