"""How long erasing one memory takes beside forgetting it, and beside copying the file.

Prints seconds for files of several sizes: ``erase``, a plain ``forget``, and a copy of the file's
bytes with an fsync, all in one run.

    python benchmarks/erase.py --memories 1000 10000
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage

DIMENSION = 384


def fill(storage: MemoryStorage, count: int) -> None:
    """Store memories of 40 words with vectors."""
    chance = np.random.default_rng(0)
    words = [f"word{number}" for number in range(20_000)]
    for start in range(0, count, 500):
        vectors = chance.normal(size=(500, DIMENSION))
        texts = [" ".join(chance.choice(words, 40)) for _ in range(500)]

        def work(transaction, start=start, vectors=vectors, texts=texts) -> None:
            for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), start):
                unit = (vector / np.linalg.norm(vector)).astype(np.float32)
                transaction.put(
                    MemoryDocument(id=f"m{number}", content=text),
                    Embedding(unit.tolist(), "benchmark/384", text),
                )

        storage.run(work)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def copied(path: Path) -> None:
    target = path.with_name("copy")
    shutil.copyfile(path, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, nargs="+", default=[1000, 10_000])
    for count in parser.parse_args().memories:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "memory.db"
            with MemoryStorage(path) as storage:
                fill(storage, count)
                forget = seconds(lambda s=storage: s.forget("m0"))
                erase = seconds(lambda s=storage: s.erase("m1"))
                copy = seconds(lambda p=path: copied(p))
                print(
                    f"{count:>9,} memories, {path.stat().st_size / 1e6:7.1f} MB: forget "
                    f"{forget:.3f} s, erase {erase:.2f} s, a copy of the file {copy:.2f} s, "
                    f"ratio {erase / copy:.1f}"
                )


if __name__ == "__main__":
    main()
