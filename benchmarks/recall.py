"""How long a recall takes, without the embedding of the query, beside the bare vector query.

The memories are sentences of real documentation; their vectors are real and, beyond 10,000, made
with the real ones' spectrum (see ``ann_data.py``). The queries are words in a row of such
sentences, and then some of the commonest words. Hybrid recall with explanations, ten results,
beside a bare flat vec0 query over the same vectors. Prints medians and ratios.

    python benchmarks/recall.py --sizes 1000 10000 100000 1000000
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
import sqlite_vec
from ann_data import REAL, enlarged, real
from results import Results, add_option
from sentences import queries, sentences

from chrysalis_memory import AgentMemory
from chrysalis_memory.query_text import words
from embedders.base import InputType

LIMITS_MS = {10_000: 2, 100_000: 5, 1_000_000: 25}
BATCH = 10_000


class Given:
    """Gives the texts of the benchmark their vectors, at once; what is measured is the search."""

    model = "given"
    max_tokens = None
    fingerprint = "given/384"

    def __init__(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        self.dimension = vectors.shape[1]
        self._number = {text: number for number, text in enumerate(texts)}
        self._vectors = vectors

    async def prepare(self) -> None:
        return None

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> np.ndarray:
        # Queries without their names keep a vector: any will do, and it need not be theirs.
        return self._vectors[[self._number.get(text, len(text)) for text in texts]]

    async def close(self) -> None:
        return None


def common(texts: Sequence[str], count: int) -> list[str]:
    """Return queries of three of the thirty commonest words."""
    uses = Counter(word for text in texts[:BATCH] for word in {w.lower() for w in words(text)})
    commonest = [word for word, _ in uses.most_common(30)]
    chance = random.Random(9)
    return [" ".join(chance.sample(commonest, 3)) for _ in range(count)]


async def timed(memory: AgentMemory, embedder: Given, asked: Sequence[str]) -> list[float]:
    """Return the milliseconds of each recall, less what the stand-in for an embedder takes."""
    taken: list[float] = []
    for query in asked:
        start = time.perf_counter()
        await embedder.embed([query])
        middle = time.perf_counter()
        await memory.recall(query, 10, track=False)
        taken.append((time.perf_counter() - middle - (middle - start)) * 1e3)
    return taken


async def measure(size: int, rounds: int, cache: Path, results: Results) -> None:
    texts = sentences(size)
    vectors, asked = real(cache)
    asked_texts = queries(sentences(REAL), len(asked))[:rounds]
    everything = enlarged(vectors, size)
    embedder = Given([*texts, *asked_texts], np.vstack([everything, asked[:rounds]]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.db"
        async with AgentMemory(
            "benchmark", path=path, embedder=embedder, embedding_batch=1000
        ) as memory:
            start = time.perf_counter()
            for at in range(0, size, BATCH):
                await memory.learn_many(texts[at : at + BATCH])
            learned = size / (time.perf_counter() - start)
            await timed(memory, embedder, asked_texts[:3])
            ours = await timed(memory, embedder, asked_texts)
            bare = bare_vec0(everything, asked[: max(10, min(rounds, 2_000_000 // size))])
            of_common_words = await timed(memory, embedder, common(texts, rounds // 2))
    p50, p95 = statistics.median(ours), sorted(ours)[int(0.95 * len(ours))]
    print(
        f"{size:9,} memories   recall p50 {p50:6.2f} ms (at most {LIMITS_MS.get(size, '–')}), "
        f"p95 {p95:6.2f}   bare vec0 {bare:7.2f} ms, ratio {p50 / bare:5.2f}   common words p50 "
        f"{statistics.median(of_common_words):6.2f} ms   learned {learned:7,.0f}/s",
        flush=True,
    )
    results.add(
        kind="recall", size=size, p50=p50, p95=p95, bare=bare,
        common=statistics.median(of_common_words),
    )  # fmt: skip


def bare_vec0(vectors: np.ndarray, asked: np.ndarray) -> float:
    """Return the median milliseconds of a flat vec0 index over the same vectors."""
    with tempfile.TemporaryDirectory() as folder:
        connection = apsw.Connection(str(Path(folder) / "bare.db"))
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.pragma("mmap_size", 2 << 30)
        connection.execute(
            f"CREATE VIRTUAL TABLE bare USING vec0 (embedding FLOAT[{vectors.shape[1]}])"
        )
        with connection:
            connection.executemany(
                "INSERT INTO bare (rowid, embedding) VALUES (?, ?)",
                ((number, vector.tobytes()) for number, vector in enumerate(vectors)),
            )
        taken = []
        for vector in asked:
            start = time.perf_counter()
            connection.execute(
                "SELECT rowid FROM bare WHERE embedding MATCH ? AND k = 10", (vector.tobytes(),)
            ).fetchall()
            taken.append((time.perf_counter() - start) * 1e3)
        connection.close()
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=200, help="queries, 300 at most")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()))
    add_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    for size in arguments.sizes:
        asyncio.run(measure(size, min(arguments.rounds, 300), arguments.cache, results))


if __name__ == "__main__":
    main()
