"""What replication costs, beside a plain copy of rows between the same files.

A first pull of many memories, a sync with nothing new, and one with a few changes on both sides:
processor time of both sides per memory, messages and bytes. The baseline copies the same rows of
``memory`` from one SQLite file to another, checks nothing and builds no index.

    python benchmarks/sync.py --count 50000
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw
from results import Results, add_option
from sentences import sentences

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.replication.protocol import Report
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.replicator import sync
from chrysalis_memory.replication.transport import LocalTransport

BATCH = 5_000
CHANGED = 100


class Counting(LocalTransport):
    """Counts frames and bytes."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.messages = self.size_bytes = 0

    async def pull(self, frame: bytes) -> bytes:
        return self._count(frame, await super().pull(frame))

    async def push(self, frame: bytes) -> bytes:
        return self._count(frame, await super().push(frame))

    def _count(self, frame: bytes, back: bytes) -> bytes:
        self.messages += 2
        self.size_bytes += len(frame) + len(back)
        return back


def document(number: int, text: str) -> MemoryDocument:
    made = MemoryDocument(f"memory-{number}", text, "episodic", "benchmark")
    made.add_tag("benchmark")
    made.set_importance(0.7, "benchmark")
    return made


def copy_of_rows(source: Path, target: Path) -> float:
    """Copy the rows to a new file in batches; return the processor seconds."""
    connection = apsw.Connection(str(target))
    connection.pragma("journal_mode", "wal")
    connection.execute("ATTACH ? AS source", (str(source),))
    (create,) = connection.execute(
        "SELECT sql FROM source.sqlite_schema WHERE name = 'memory'"
    ).fetchall()[0]
    connection.execute(create)
    start = time.process_time()
    last = connection.execute("SELECT max(number) FROM source.memory").get
    for first in range(0, last + 1, 1_000):
        rows = connection.execute(
            "SELECT * FROM source.memory WHERE number BETWEEN ? AND ?", (first, first + 999)
        ).fetchall()
        with connection:
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO memory VALUES ({marks})", rows)
    taken = time.process_time() - start
    connection.close()
    return taken


def timed(mine: Replica, peer: Replica) -> tuple[Report, Counting, float]:
    transport = Counting(peer)
    start = time.process_time()
    report = asyncio.run(sync(mine, transport))
    return report, transport, time.process_time() - start


def measure(folder: Path, count: int, results: Results) -> None:
    with (
        MemoryStorage(folder / "far.db", "far") as far,
        MemoryStorage(folder / "near.db", "near") as near,
    ):
        texts = sentences(count)
        for first in range(0, count, BATCH):
            numbered = enumerate(texts[first : first + BATCH], first)
            far.put_many([document(number, text) for number, text in numbered])
        baseline = copy_of_rows(far.path, folder / "copy.db")
        mine, peer = Replica(near), Replica(far)
        report, transport, seconds = timed(mine, peer)
        show("first pull", report, transport)
        print(
            f"{'':22} {seconds / count * 1e6:6.1f} µs of processor a memory, both sides "
            f"(at most 150), a copy of rows {baseline / count * 1e6:.1f} µs, "
            f"ratio {seconds / baseline:.1f}"
        )
        results.add(kind="sync", size=count, first_us=seconds / count * 1e6)
        report, transport, _ = timed(mine, peer)
        show("nothing new", report, transport, "at most 2 messages, 300 bytes")
        change(far, range(CHANGED), lambda memory: memory.add_tag("far"))
        later = range(CHANGED // 2, 3 * CHANGED // 2)
        change(near, later, lambda memory: memory.add_tag("near"))
        report, transport, _ = timed(mine, peer)
        show(f"{CHANGED} changed, either side", report, transport, "at most 10 messages")


def change(store: MemoryStorage, numbers: range, edit: Callable[[MemoryDocument], None]) -> None:
    for number in numbers:
        store.update(f"memory-{number}", edit)


def show(name: str, report: Report, transport: Counting, limit: str = "") -> None:
    print(
        f"{name:22} {transport.messages:5} messages  {transport.size_bytes:12,} bytes   "
        f"received {report.received:,}, sent {report.sent:,}, same afterwards: {report.verified}"
        f"{f'   ({limit})' if limit else ''}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    add_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.count, Results(arguments.json))


if __name__ == "__main__":
    main()
