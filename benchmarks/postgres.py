"""PostgreSQL beside SQLite: merging, recall without the embedding of the query, and what it finds.

Both engines hold the same memories: sentences of real documentation, whose vectors are real and,
beyond 10,000, made with the real ones' spectrum (see ``ann_data.py``). The server is started for
the run, with ``fsync`` on, or is the one that ``CHRYSALIS_POSTGRES_URL`` names.

    python benchmarks/postgres.py --sizes 10000 100000
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ann_data import REAL, enlarged, real
from recall import Given
from sentences import queries, sentences

from chrysalis_memory import AgentMemory, Filter, MemoryDocument, MemoryStorage
from chrysalis_memory.query import Query

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.postgres_server import drop_schema, postgres_server, schema_url

BATCH = 1000
RARE = 100
"""One memory in so many is in the namespace that is asked for."""
K = 10


def merged(store: MemoryStorage, documents: Sequence[MemoryDocument]) -> float:
    """Return how many documents a second are merged, in batches."""
    start = time.perf_counter()
    for at in range(0, len(documents), BATCH):
        store.merge(documents[at : at + BATCH])
    return len(documents) / (time.perf_counter() - start)


def merging(name: str, store: MemoryStorage, count: int) -> None:
    texts = sentences(count)
    documents = [MemoryDocument(f"m{i}", text, None, "ada") for i, text in enumerate(texts)]
    new = merged(store, documents)
    for document in documents:
        document.add_tag("seen")
    changed = merged(store, documents)
    known = merged(store, documents)
    print(
        f"{count:9,} documents merged into {name:8}   new {new:7,.0f}/s   changed {changed:7,.0f}/s"
        f"   known already {known:7,.0f}/s",
        flush=True,
    )


async def recalls(memory: AgentMemory, asked: Sequence[str], **options: object) -> list[float]:
    """Return the milliseconds of each recall; the embedder answers at once."""
    taken: list[float] = []
    for query in asked:
        start = time.perf_counter()
        await memory.recall(query, K, track=False, **options)
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def found(store: MemoryStorage, asked: np.ndarray, **conditions: object) -> str:
    """Return the recall@10 of the vector search against the exact one, and how long it takes."""
    query = Query(Filter.of(**conditions), time.time_ns() // 1000)
    shares, counts, taken = [], [], []
    space = store.spaces()[0]
    for vector in asked:
        start = time.perf_counter()
        mine = store.read(lambda s, v=vector: s.nearest(space, v, K, query))
        taken.append((time.perf_counter() - start) * 1e3)
        true = store.read(lambda s, v=vector: s.nearest(space, v, K, query, accuracy="exact"))
        best = {number for number, _ in true.pairs}
        shares.append(len(best & {number for number, _ in mine.pairs[:K]}) / min(K, len(best)))
        counts.append(len(mine.pairs))
    return (
        f"recall@10 {statistics.mean(shares):.4f}   at least {min(counts)} found   "
        f"p50 {statistics.median(taken):6.2f} ms"
    )


async def recalling(
    name: str, path: str | Path, size: int, rounds: int, cache: Path
) -> tuple[float, list[str]]:
    texts = sentences(size)
    vectors, asked = real(cache)
    asked_texts = queries(sentences(REAL), len(asked))[:rounds]
    asked = asked[:rounds]
    embedder = Given([*texts, *asked_texts], np.vstack([enlarged(vectors, size), asked]))
    new = [
        {"content": text, "namespace": "rare" if i % RARE == 0 else "common"}
        for i, text in enumerate(texts)
    ]
    async with AgentMemory("bench", path=path, embedder=embedder, embedding_batch=1000) as memory:
        start = time.perf_counter()
        for at in range(0, size, 10_000):
            await memory.learn_many(new[at : at + 10_000])
        learned = size / (time.perf_counter() - start)
        print(
            f"{size:9,} memories in {name:8}   learned with vectors {learned:7,.0f}/s", flush=True
        )
        await recalls(memory, asked_texts[:5])
        plain = statistics.median(await recalls(memory, asked_texts))
        rare = await recalls(memory, asked_texts, namespace="rare")
        results = [
            f"all memories        {found(memory.storage, asked)}",
            f"1 % by namespace    {found(memory.storage, asked, namespace='rare')}",
            f"99 % by namespace   {found(memory.storage, asked, namespace='common')}",
        ]
        print(
            f"{size:9,} memories in {name:8}   recall p50 {plain:6.2f} ms   "
            f"of 1 % of them {statistics.median(rare):6.2f} ms",
            flush=True,
        )
        for line in results:
            print(f"{'':28}{line}", flush=True)
        return plain, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000])
    parser.add_argument("--merged", type=int, default=10_000, help="documents to merge")
    parser.add_argument("--rounds", type=int, default=100, help="queries, 300 at most")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    rounds = min(arguments.rounds, 300)
    with tempfile.TemporaryDirectory() as folder, postgres_server(fsync="on") as server:
        for number, size in enumerate([0, *arguments.sizes]):
            url = schema_url(server)
            paths = {"sqlite": Path(folder) / f"{number}.db", "postgres": url}
            taken: dict[str, float] = {}
            for name, path in paths.items():
                if size == 0:
                    with MemoryStorage(path, "bench") as store:
                        merging(name, store, arguments.merged)
                else:
                    measured = recalling(name, path, size, rounds, arguments.cache)
                    taken[name], _ = asyncio.run(measured)
            if taken:
                ratio = taken["postgres"] / taken["sqlite"]
                print(f"{size:9,} memories: postgres takes {ratio:.2f} times as long as sqlite")
            drop_schema(url)


if __name__ == "__main__":
    main()
