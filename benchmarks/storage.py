"""How dear the store is beside bare SQLite with the same settings, in one run.

Prints medians in microseconds and ratios: put and get against a bare INSERT and SELECT of the same
bytes, reading 1,000 documents, and 100 tasks that write at once against one after another.

    python benchmarks/storage.py --full 100000
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from chrysalis_memory import AgentMemory, Embedding, MemoryDocument, MemoryStorage
from chrysalis_memory.changes import bucket_of
from chrysalis_memory.deliveries import Deliveries

FIRST_ROUNDS = 100
"""Each writes about 75 pages; a log is written over from 4,000 pages on."""


def document(number: int) -> MemoryDocument:
    memory = MemoryDocument(
        id=f"memory-{number}",
        content=f"In conversation {number} the user said the meeting moves to room {number % 40}",
        memory_type="semantic",
        source_instance="benchmark",
    )
    memory.add_tag("meeting")
    return memory


def open_bare(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    for name, value in (("journal_mode", "wal"), ("synchronous", "FULL"), ("foreign_keys", True),
                        ("secure_delete", True), ("mmap_size", 1 << 30)):  # fmt: skip
        connection.pragma(name, value)
    return connection


def bare(folder: Path) -> apsw.Connection:
    connection = open_bare(folder / "bare.db")
    connection.execute(
        "CREATE TABLE memory (number INTEGER PRIMARY KEY, id TEXT UNIQUE, state BLOB)"
    )
    return connection


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def compare(name: str, ours: list[float], baseline: list[float], limit: str) -> None:
    a, b = statistics.median(ours), statistics.median(baseline)
    print(f"{name:34} ours {a:9.1f} µs   bare {b:9.1f} µs   ratio {a / b:5.2f}   ({limit})")


def puts_and_gets(folder: Path, count: int) -> None:
    connection = bare(folder)
    with MemoryStorage(folder / "memory.db", "benchmark") as storage:
        documents = [document(number) for number in range(count)]
        rows = [(memory.id, memory.to_bytes()) for memory in documents]
        insert = "INSERT INTO memory (id, state) VALUES (?, ?)"
        puts, inserts, gets, selects, reads, looks = [], [], [], [], [], []
        for memory, row in zip(documents, rows, strict=True):
            puts.append(timed(lambda memory=memory: storage.put(memory)))
            inserts.append(timed(lambda row=row: connection.execute(insert, row)))
        select = "SELECT state FROM memory WHERE id = ?"
        for memory in documents:
            gets.append(timed(lambda memory=memory: storage.get(memory.id)))
            selects.append(
                timed(lambda memory=memory: connection.execute(select, (memory.id,)).get)
            )
        for _ in range(30):
            reads.append(timed(lambda: storage.find(limit=1000)))
            looks.append(timed(lambda: [memory.content for memory in storage.find(limit=1000)]))
        compare("put (durable)", puts, inserts, "at most 4")
        compare("get", gets, selects, "at most 4")
        for name, taken in (
            ("read 1,000 documents (at most 5)", reads),
            ("... and look at their contents", looks),
        ):
            print(f"{name:34} ours {statistics.median(taken) / 1e3:9.2f} ms")
    connection.close()


def in_a_full_store(folder: Path, size: int, rounds: int) -> None:
    """Single durable writes of whole memories, beside the same rows through bare apsw.

    The bare side is a copy of the file, with the same tables and indexes, and writes the very rows
    that ours wrote: memory, tag, words with their totals, full-text index, vector and its block of
    codes, and the sum of digests. The first rounds are not counted: while a log is new, each commit
    makes it longer, which takes the disk longer than writing over what is there; ours grows to four
    times the length of the bare one's.
    """
    chance = np.random.default_rng(5)

    def vector(text: str) -> Embedding:
        return Embedding(chance.standard_normal(384), "model", text)

    path = folder / "full.db"
    with MemoryStorage(path, "benchmark") as storage:
        storage.open_space("model", "model", 384)
        start = time.perf_counter()
        for first in range(0, size, 1000):
            batch = [document(number) for number in range(first, first + 1000)]
            made = [vector(memory.content) for memory in batch]
            put_all(storage, batch, made)
        print(
            f"{f'bulk put, {size:,} with vectors':34} {size / (time.perf_counter() - start):,.0f}/s"
            "   (at least 5,000)"
        )
    shutil.copy(path, folder / "bare-full.db")
    bare = open_bare(folder / "bare-full.db")
    with MemoryStorage(path, "benchmark") as storage:
        source = open_bare(path)
        new = [document(size + number) for number in range(FIRST_ROUNDS + rounds)]
        steps: dict[str, tuple[list[float], list[float]]] = {}
        for turn, memory in enumerate(new):
            for step in ("insert", "update", "delete"):
                counted = steps.setdefault(step, ([], []))
                ours, theirs = counted if turn >= FIRST_ROUNDS else ([], [])
                if step == "update":
                    memory.set_content(memory.content + " and brings the slides")
                if step == "delete":
                    ours.append(timed(lambda memory=memory: storage.forget(memory.id)))
                else:
                    made = vector(memory.content)
                    ours.append(timed(lambda memory=memory, made=made: storage.put(memory, made)))
                theirs.append(copy_rows(source, bare, memory.id, step))
        for step, (ours, theirs) in steps.items():
            compare(f"{step} among {size:,}, durable", ours, theirs, "at most 2")
        source.close()
    bare.close()


def put_all(
    storage: MemoryStorage, batch: Sequence[MemoryDocument], made: Sequence[Embedding]
) -> None:
    def work(transaction: Any) -> None:
        for memory, embedding in zip(batch, made, strict=True):
            transaction.put(memory, embedding)

    storage.submit(work).result()


def copy_rows(source: apsw.Connection, bare: apsw.Connection, memory_id: str, step: str) -> float:
    """Write a memory's rows to a copy as they are in the source; return the microseconds."""
    row = source.execute("SELECT * FROM memory WHERE id = ?", (memory_id,)).get
    number = row[0]
    parts = [
        (table, source.execute(f"SELECT * FROM {table} WHERE memory = ?", (number,)).fetchall())
        for table in ("tag", "memory_word", "vector_1")
    ]
    codes = source.execute(
        "SELECT present, codes, change, chunk FROM vector_code_1 WHERE chunk = ?", (number >> 8,)
    ).get
    totals = source.execute("SELECT * FROM word_statistics").get
    bucket = bucket_of(memory_id)
    (digests,) = source.execute("SELECT * FROM digest_sum WHERE bucket = ?", (bucket,)).fetchall()
    old = bare.execute("SELECT tokens FROM memory_word WHERE memory = ?", (number,)).get

    def write() -> None:
        bare.execute("BEGIN IMMEDIATE")
        if step != "insert":
            bare.execute(
                "INSERT INTO memory_text (memory_text, rowid, tokens) VALUES ('delete', ?, ?)",
                (number, old),
            )
        insert(bare, "memory", row, replace=step != "insert")
        for table, rows in parts:
            if step != "insert":
                bare.execute(f"DELETE FROM {table} WHERE memory = ?", (number,))
            for one in rows:
                insert(bare, table, one)
        if step != "delete":
            tokens = parts[1][1][0][2]
            bare.execute("INSERT INTO memory_text (rowid, tokens) VALUES (?, ?)", (number, tokens))
        bare.execute("UPDATE word_statistics SET memories = ?, tokens = ?, rewritten = ?", totals)
        bare.execute(
            "UPDATE vector_code_1 SET present = ?, codes = ?, change = ? WHERE chunk = ?", codes
        )
        insert(bare, "digest_sum", digests, replace=True)
        bare.execute("COMMIT")

    return timed(write)


def insert(bare: apsw.Connection, table: str, row: Sequence[Any], *, replace: bool = False) -> None:
    marks = ", ".join("?" * len(row))
    bare.execute(f"{'REPLACE' if replace else 'INSERT'} INTO {table} VALUES ({marks})", row)


async def group_commit(folder: Path, rounds: int) -> None:
    """Tasks that put documents: one after another, and a hundred at once."""
    with MemoryStorage(folder / "group.db", "benchmark") as storage:
        deliveries = Deliveries(asyncio.get_running_loop())
        storage.on_group_end(deliveries.deliver)

        async def put(memory: MemoryDocument) -> None:
            await deliveries.wrap(storage.submit(lambda transaction: transaction.put(memory)))

        singly, together = [], []
        for number in range(rounds):
            documents = [document(200 * number + index) for index in range(200)]
            start = time.perf_counter()
            for memory in documents[:100]:
                await put(memory)
            middle = time.perf_counter()
            await asyncio.gather(*(put(memory) for memory in documents[100:]))
            singly.append(middle - start)
            together.append(time.perf_counter() - middle)
        report_group("100 tasks put, durable", singly, together)


async def group_updates(folder: Path, rounds: int) -> None:
    """The same through an agent, whose calls cost more of the interpreter."""
    async with AgentMemory("benchmark", path=folder / "agent.db", embedder="hashing:8") as memory:
        ids = await memory.learn_many([document(number).content for number in range(100)])
        singly, together = [], []
        for number in range(rounds):
            start = time.perf_counter()
            for memory_id in ids:
                await memory.update(memory_id, importance=number / rounds)
            middle = time.perf_counter()
            await asyncio.gather(
                *(memory.update(memory_id, confidence=number / rounds) for memory_id in ids)
            )
            singly.append(middle - start)
            together.append(time.perf_counter() - middle)
        report_group("100 agent updates, durable", singly, together)


def report_group(name: str, singly: list[float], together: list[float]) -> None:
    ratios = [alone / shared for alone, shared in zip(singly, together, strict=True)]
    print(
        f"{name:34} at once {100 / statistics.median(together):8,.0f}/s   "
        f"one at a time {100 / statistics.median(singly):8,.0f}/s   "
        f"ratio {statistics.median(ratios):5.2f}   (at least 5 for the store)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--full", type=int, default=0, help="also write into a store of so many")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        puts_and_gets(Path(folder), arguments.count)
        if arguments.full:
            in_a_full_store(Path(folder), arguments.full, 400)
        asyncio.run(group_commit(Path(folder), arguments.rounds))
        asyncio.run(group_updates(Path(folder), arguments.rounds))


if __name__ == "__main__":
    main()
