"""How long a recall takes, without the embedding of the query, beside the bare vector query.

The memories are sentences of real documentation, with random unit vectors of 384 dimensions; the
queries are words in a row of such sentences; both sides search the same vectors. Prints medians and
the ratio.

    python benchmarks/recall.py --sizes 1000 10000
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
import sqlite_vec
from sentences import queries, sentences

from chrysalis_memory import AgentMemory
from embedders.base import InputType

DIMENSION = 384


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


async def measure(size: int, rounds: int) -> None:
    texts = sentences(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.db"
        embedder = RandomEmbedder()
        async with AgentMemory("benchmark", path=path, embedder=embedder) as memory:
            start = time.perf_counter()
            await memory.learn_many(texts)
            learned = time.perf_counter() - start
            bare = open_bare(path)
            ours, baseline, embedding = [], [], []
            for query in queries(texts, rounds):
                start = time.perf_counter()
                vector = (await embedder.embed([query]))[0]
                middle = time.perf_counter()
                await memory.recall(query, 10, track=False)
                end = time.perf_counter()
                bare.execute(
                    "SELECT rowid FROM bare WHERE embedding MATCH ? AND k = 10",
                    (vector.tobytes(),),
                ).fetchall()
                baseline.append(time.perf_counter() - end)
                ours.append(end - middle)
                embedding.append(middle - start)
        a = statistics.median(ours) - statistics.median(embedding)
        b = statistics.median(baseline)
        print(
            f"{size:8,} memories   recall p50 {a * 1e3:7.2f} ms   bare vec0 {b * 1e3:7.2f} ms   "
            f"ratio {a / b:5.2f}   (at most 3 at 10,000)   learned {size / learned:7,.0f}/s"
        )


def open_bare(path: Path) -> apsw.Connection:
    """Return a file with nothing but a flat vec0 index over the same vectors."""
    connection = apsw.Connection(str(path.with_name("bare.db")))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.pragma("mmap_size", 1 << 30)
    connection.execute(f"CREATE VIRTUAL TABLE bare USING vec0 (embedding FLOAT[{DIMENSION}])")
    connection.execute("ATTACH ? AS store", (str(path),))
    connection.execute("INSERT INTO bare (rowid, embedding) SELECT memory, vector FROM vector_1")
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    for size in arguments.sizes:
        asyncio.run(measure(size, arguments.rounds))


if __name__ == "__main__":
    main()
