"""Vector search: ours against exact numpy, the flat vec0 index and other engines, in one run.

Usage:
    python benchmarks/ann.py --sizes 10000 100000 1000000
    python benchmarks/ann.py --sizes 10000 100000 --peers   (those that are installed)

All engines answer the same queries in turn, one thread each; ours also from a file that stores its
vectors as int8, whose size is printed beside that of the file of float32. Sizes above 10,000 are
filled up with made vectors of the real ones' spectrum (see ``ann_data.py``).
"""

# ruff: noqa: E402 - numpy takes its number of threads when it is imported
import argparse
import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[name] = "1"

import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ann_peers
import apsw
import numpy as np
import sqlite_vec
from ann_data import enlarged, real
from results import Results, add_option

from chrysalis_memory import Filter, MemoryStorage
from chrysalis_memory.backends.sqlite.vector_blobs import encode
from chrysalis_memory.codec import text_hash
from chrysalis_memory.embedding import VectorStorage
from chrysalis_memory.query import Query

Search = Callable[[np.ndarray], list[int]]
NAMESPACES = ("rest", "tenth", "hundredth")
NOW_US = 1_800_000_000_000_000
EVERYTHING = Query(Filter(), NOW_US)


def namespace_of(number: int) -> str:
    return NAMESPACES[2] if number % 100 == 1 else NAMESPACES[int(number % 10 == 0)]


def build(path: Path, vectors: np.ndarray, kind: VectorStorage = "float32") -> float:
    """Fill a store with memories and vectors, and return the seconds its index took."""
    with MemoryStorage(path, "benchmark") as storage:
        storage.open_space("model", "model", vectors.shape[1])
    bare = apsw.Connection(str(path))
    bare.pragma("synchronous", "OFF")
    with bare:
        bare.executemany(
            "INSERT INTO memory VALUES (?, ?, 1, x'00', x'00', ?, ?, ?, 'fact', NULL, NULL, "
            "0.5, 0.5, 1, 1, NULL, 0, 'benchmark')",
            ((n, f"m{n}", n, f"text {n}", namespace_of(n)) for n in range(1, len(vectors) + 1)),
        )
        bare.executemany(
            "INSERT INTO tag VALUES (?, ?)",
            ((f"t-{namespace_of(n)}", n) for n in range(1, len(vectors) + 1)),
        )
        bare.executemany(
            "INSERT INTO vector_1 VALUES (?, ?, ?)",
            (
                (n, text_hash(f"text {n}"), encode(vector, kind))
                for n, vector in enumerate(vectors, 1)
            ),
        )
        bare.execute("DELETE FROM pending")
    bare.close()
    with MemoryStorage(path, "benchmark") as storage:
        start = time.perf_counter()
        storage.rebuild_indexes()
        return time.perf_counter() - start


def ours(storage: MemoryStorage, accuracy: Any, query: Query = EVERYTHING) -> Search:
    (space,) = storage.spaces()

    def search(vector: np.ndarray) -> list[int]:
        found = storage.read(
            lambda session: session.nearest(space, vector, 10, query, accuracy=accuracy)
        )
        return [number - 1 for number, _ in found.pairs]

    return search


def exact(vectors: np.ndarray, among: np.ndarray | None = None) -> Search:
    def search(vector: np.ndarray) -> list[int]:
        similar = vectors @ vector
        if among is not None:
            similar = np.where(among, similar, -2.0)
        best = np.argpartition(-similar, 10)[:10]
        return best[np.argsort(-similar[best])].tolist()

    return search


def flat_vec0(vectors: np.ndarray, folder: Path) -> Search:
    connection = apsw.Connection(str(folder / "vec0.db"))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.pragma("mmap_size", 2 << 30)
    connection.execute(f"CREATE VIRTUAL TABLE v USING vec0 (embedding FLOAT[{vectors.shape[1]}])")
    with connection:
        connection.executemany(
            "INSERT INTO v (rowid, embedding) VALUES (?, ?)",
            ((n, v.tobytes()) for n, v in enumerate(vectors)),
        )
    sql = "SELECT rowid FROM v WHERE embedding MATCH ? AND k = 10"
    return lambda vector: [n for (n,) in connection.execute(sql, (vector.tobytes(),))]


def race(engines: dict[str, Search], asked: np.ndarray) -> dict[str, tuple[float, list[list[int]]]]:
    """Let all engines answer each query in turn; return median milliseconds and answers.

    The order changes with each query: who follows a search of all vectors finds the processor's
    caches full of them, and who follows one of its own kind finds there what it needs.
    """
    chance = random.Random(3)
    order = list(engines.items())
    for search in engines.values():
        search(asked[0])
    times: dict[str, list[float]] = {name: [] for name in engines}
    answers: dict[str, list[list[int]]] = {name: [] for name in engines}
    for vector in asked:
        chance.shuffle(order)
        for name, search in order:
            start = time.perf_counter()
            found = search(vector)
            times[name].append(time.perf_counter() - start)
            answers[name].append(found)
    return {name: (statistics.median(times[name]) * 1e3, answers[name]) for name in engines}


def truncated(vectors: np.ndarray, asked: np.ndarray) -> None:
    """Print how many of the ten nearest the first components alone find."""
    search = exact(vectors)
    for kept in (256, 128):
        first = vectors[:, :kept] / np.linalg.norm(vectors[:, :kept], axis=1, keepdims=True)
        short = exact(first)
        hits = [len(set(search(vector)) & set(short(vector[:kept]))) / 10 for vector in asked]
        print(f"  the first {kept} components alone find {statistics.mean(hits):.3f} of them")


def report(
    raced: dict[str, tuple[float, list[list[int]]]],
    truth: str,
    results: Results | None = None,
    size: int = 0,
) -> None:
    base, right = raced[truth]
    for name, (median, answers) in raced.items():
        hits = [len(set(a) & set(b)) / max(len(b), 1) for a, b in zip(answers, right, strict=True)]
        recall = statistics.mean(min(hit, 1.0) for hit in hits)
        print(
            f"  {name:28} p50 {median:9.3f} ms   {median / base:7.3f} × {truth}   "
            f"recall@10 {recall:.4f}"
        )
        if results is not None:
            results.add(
                kind="ann", size=size, engine=name, p50=median, ratio=median / base, recall=recall
            )


def filters(storage: MemoryStorage, vectors: np.ndarray, asked: np.ndarray) -> None:
    numbers = np.arange(1, len(vectors) + 1)
    free = race({"unfiltered": ours(storage, "balanced")}, asked)["unfiltered"][0]
    for share, place in zip(("10 %", "1 %"), NAMESPACES[1:], strict=True):
        among = np.array([namespace_of(n) == place for n in numbers])
        for kind, wanted in (
            ("namespace", Filter.of(namespace=place)),
            ("tag", Filter.of(tags_all=f"t-{place}")),
        ):
            search = ours(storage, "balanced", Query(wanted, NOW_US))
            once, twice = (timed(lambda n: search(asked[n]), n) * 1e3 for n in (0, 1))  # noqa: B023
            raced = race({"exact": exact(vectors, among), "ours": search}, asked)
            median, answers = raced["ours"]
            print(
                f"  filter {share} by {kind}: {median / free:.2f} × unfiltered; asked for the "
                f"first time {once:.1f} ms, the second {twice:.1f} ms"
            )
            assert all(len(found) >= min(10, among.sum()) for found in answers)
            report(raced, "exact")


def bare_copy(path: Path, vectors: np.ndarray) -> apsw.Connection:
    """Return a bare table of the same vectors."""
    bare = open_bare(path)
    bare.execute("CREATE TABLE v (memory INTEGER PRIMARY KEY, text_hash BLOB, vector BLOB) STRICT")
    bare.execute("CREATE INDEX v_by_text ON v (text_hash)")
    rows = [(n, text_hash(f"text {n}"), vector.tobytes()) for n, vector in enumerate(vectors, 1)]
    with bare:
        bare.executemany("INSERT INTO v VALUES (?, ?, ?)", rows)
    bare.close()
    return open_bare(path)  # neither side's pages are in its cache


def writes(storage: MemoryStorage, path: Path, vectors: np.ndarray, rounds: int) -> None:
    """Compare single durable writes of a vector with the same rows through bare apsw."""
    (space,) = storage.spaces()
    bare = bare_copy(path.with_name("bare.db"), vectors)
    chance = np.random.default_rng(3)
    chosen = chance.choice(np.arange(1, len(vectors)), rounds, replace=False).tolist()
    from chrysalis_memory.backends.sqlite.vector_index import VectorIndex

    def index(session: Any) -> VectorIndex:
        return VectorIndex(session.connection, space)

    def put(number: int, vector: np.ndarray) -> None:
        digest = text_hash(f"text {number}")

        def work(transaction: Any) -> None:
            index(transaction.session).put(number, digest, vector)
            index(transaction.session).put_codes({number: vector})

        storage.submit(work).result()

    def delete(number: int) -> None:
        def work(transaction: Any) -> None:
            if index(transaction.session).delete(number):
                index(transaction.session).put_codes({number: None})

        storage.submit(work).result()

    def bare_put(number: int, vector: np.ndarray) -> None:
        with bare:
            bare.execute(
                "INSERT OR REPLACE INTO v VALUES (?, ?, ?)",
                (number, text_hash(f"text {number}"), vector.tobytes()),
            )

    def bare_delete(number: int) -> None:
        with bare:
            bare.execute("DELETE FROM v WHERE memory = ?", (number,))

    steps: dict[str, tuple[Callable[[int], None], Callable[[int], None]]] = {
        "delete": (delete, bare_delete),
        "insert": (lambda n: put(n, vectors[n - 1]), lambda n: bare_put(n, vectors[n - 1])),
        "update": (lambda n: put(n, vectors[n]), lambda n: bare_put(n, vectors[n])),
    }
    for what, pair in steps.items():
        medians = []
        for number in chosen:
            medians.append([timed(step, number) for step in pair])
        one, other = np.median(medians, axis=0) * 1e6
        print(f"  {what}: {one:7.0f} µs   bare apsw {other:7.0f} µs   ratio {one / other:.2f}")


def beside(storage: MemoryStorage, vectors: np.ndarray) -> None:
    """Print how long searches and writes take at most while the index is rebuilt."""
    (space,) = storage.spaces()
    search = ours(storage, "balanced")
    after_write: list[float] = []

    def write(number: int) -> None:
        digest = text_hash(f"text {number}")
        storage.submit(
            lambda t: t.session.save_vector(space, number, digest, vectors[number])
        ).result()

    def longest(goes_on: Callable[[int], bool]) -> tuple[int, float, float]:
        rounds, searching, writing = 0, 0.0, 0.0
        while goes_on(rounds):
            rounds += 1
            searching = max(searching, timed(lambda n: search(vectors[n]), rounds))
            writing = max(writing, timed(write, rounds))
        return rounds, searching * 1e3, writing * 1e3

    for number in range(1, 60):
        write(number)
        after_write.append(timed(lambda n: search(vectors[n]), number))
    rebuilding = threading.Thread(target=storage.rebuild_indexes)
    rebuilding.start()
    rounds, searching, writing = longest(lambda _: rebuilding.is_alive())
    rebuilding.join()
    _, usually_searching, usually_writing = longest(lambda done: done < rounds)
    print(
        f"  first search after a write p50 {statistics.median(after_write) * 1e3:.2f} ms; the "
        f"longest of {rounds} searches {searching:.0f} ms during a rebuild and "
        f"{usually_searching:.0f} without, of as many writes {writing:.0f} and "
        f"{usually_writing:.0f}"
    )


def open_bare(path: Path) -> apsw.Connection:
    bare = apsw.Connection(str(path))
    bare.pragma("journal_mode", "wal")
    for name, value in (
        ("synchronous", "FULL"),
        ("secure_delete", True),
        ("mmap_size", 1 << 30),
        ("cache_size", -16 << 10),
    ):
        bare.pragma(name, value)
    return bare


def timed(step: Callable[[int], object], number: int) -> float:
    start = time.perf_counter()
    step(number)
    return time.perf_counter() - start


COLD = """
import sys, time
import numpy as np
from chrysalis_memory import Filter, MemoryStorage
from chrysalis_memory.query import Query
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
vector = np.load(sys.argv[2])[0]
before, start = anonymous(), time.perf_counter()
storage = MemoryStorage(sys.argv[1], "cold")
(space,) = storage.spaces()
ask = lambda: storage.read(lambda s: s.nearest(space, vector, 10, Query(Filter(), 1)))
ask()
first = time.perf_counter() - start
for _ in range(20):
    ask()
print(f"  open to first answer {first * 1e3:.0f} ms   RAM above the interpreter's "
      f"{(anonymous() - before) / 1024:.0f} MiB")
storage.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--writes", type=int, default=200, help="0 to leave them out")
    add_option(parser)
    arguments = parser.parse_args()
    base, asked = real(arguments.cache)
    print(f"ten nearest of {len(base):,} sentences, for {len(asked)} queries")
    truncated(base, asked)
    for size in arguments.sizes:
        vectors = enlarged(base, size)
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), vectors, asked[: arguments.queries], arguments)


def measure(folder: Path, vectors: np.ndarray, asked: np.ndarray, arguments: Any) -> None:
    path, small = folder / "memory.db", folder / "int8.db"
    print(f"{len(vectors):,} vectors of {vectors.shape[1]} dimensions")
    seconds = build(path, vectors)
    build(small, vectors, "int8")
    sizes = [file.stat().st_size >> 20 for file in (path, small)]
    print(
        f"  index built from the vectors in {seconds:.2f} s   file {sizes[0]} MiB, "
        f"with int8 {sizes[1]} MiB"
    )
    np.save(folder / "asked.npy", asked)
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", COLD, str(path), str(folder / "asked.npy")], check=True)
    with MemoryStorage(path, "benchmark") as storage, MemoryStorage(small, "benchmark") as int8:
        engines = {
            "exact numpy": exact(vectors),
            "ours, fast": ours(storage, "fast"),
            "ours, balanced": ours(storage, "balanced"),
            "ours, balanced, int8": ours(int8, "balanced"),
        }
        if len(vectors) <= 100_000:
            engines["ours, exact"] = ours(storage, "exact")
            engines["ours, exact, int8"] = ours(int8, "exact")
            engines["vec0, flat"] = flat_vec0(vectors, folder)
        if arguments.peers:
            engines |= ann_peers.engines(vectors, folder)
        report(race(engines, asked), "exact numpy", Results(arguments.json), len(vectors))
        filters(storage, vectors, asked[:40])
        if arguments.writes:
            writes(storage, path, vectors, arguments.writes)
            beside(storage, vectors)


if __name__ == "__main__":
    main()
