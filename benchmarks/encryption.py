"""What encryption costs: the same work on a plain and on an encrypted file, in one run.

Prints medians and ratios: opening, a durable put, a batch of 500, and the 20 nearest and best by
words among many memories, with a fresh store and a warm one. Needs the extra ``encryption``.

    .venv-encryption/bin/python benchmarks/encryption.py --memories 10000
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chrysalis_memory import Embedding, Filter, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.base import WeightedTerm
from chrysalis_memory.transaction import Transaction

DIMENSION = 384
BATCH = 500
KEY = "a key for a benchmark"


def documents(count: int) -> list[tuple[MemoryDocument, Embedding]]:
    """Return memories of 40 words with vectors."""
    chance = np.random.default_rng(0)
    words = [f"word{number}" for number in range(20_000)]
    found = []
    for number in range(count):
        text = " ".join(chance.choice(words, 40))
        vector = chance.normal(size=DIMENSION)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        made = Embedding(vector.tolist(), "benchmark/384", text)
        found.append((MemoryDocument(id=f"m{number}", content=text), made))
    return found


def milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def put_all(batch: list[tuple[MemoryDocument, Embedding]]) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        for one, embedding in batch:
            transaction.put(one, embedding)

    return work


def search(storage: MemoryStorage, number: int) -> None:
    """Do what a recall asks of the store: nearest vectors, and best words."""
    (space,) = storage.spaces()
    query = storage.query(Filter())
    vector = np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)
    vector /= np.linalg.norm(vector)

    def work(session) -> None:
        nearest = session.nearest(space, vector, 20, query).pairs
        terms = [WeightedTerm(session.term(f"word{number * 7 + n}"), 1.0) for n in range(5)]
        best = session.best_by_words(terms, query, limit=20)
        session.load_numbers([number for number, _ in [*nearest, *best]][:10])

    storage.read(work)


def measured(path: Path, given: list[tuple[MemoryDocument, Embedding]], key: str | None) -> dict:
    """Return milliseconds by what was done."""
    with MemoryStorage(path, key=key) as storage:
        batches = [
            milliseconds(lambda at=at: storage.run(put_all(given[at : at + BATCH])))
            for at in range(0, len(given) - BATCH, BATCH)
        ]
        single = [milliseconds(lambda one=one: storage.put(*one)) for one in given[-BATCH:]]
    opened: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        storage = MemoryStorage(path, key=key)
        opened.append(1000 * (time.perf_counter() - begun))
        storage.close()
    with MemoryStorage(path, key=key) as storage:
        first = [milliseconds(lambda: search(storage, 0))]
        warm = [milliseconds(lambda n=n: search(storage, n)) for n in range(1, 200)]
    return {
        "open": opened,
        "put, durable": single,
        f"put of {BATCH} in one": batches,
        "first search after opening": first,
        "search": warm,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=10_000)
    given = documents(parser.parse_args().memories)
    with tempfile.TemporaryDirectory() as folder:
        plain = measured(Path(folder) / "plain.db", given, None)
        encrypted = measured(Path(folder) / "encrypted.db", given, KEY)
    for name in plain:
        a, b = statistics.median(plain[name]), statistics.median(encrypted[name])
        print(f"{name:28} plain {a:9.2f} ms, encrypted {b:9.2f} ms, ratio {b / a:.2f}")


if __name__ == "__main__":
    main()
