"""Many writers merge into the same memories in PostgreSQL: no deadlock, and no update is lost."""

import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.errors import StoreBusy

IDS = [f"hot-{i:02}" for i in range(20)]
WRITERS = 16
ROUNDS = 6


def batch(name: str, turn: int) -> list[MemoryDocument]:
    """Return one writer's version of every memory, in an order of its own."""
    made: list[MemoryDocument] = []
    for number, memory_id in enumerate(IDS):
        clock = HybridLogicalClock(lambda at=1000 + turn: at)
        document = MemoryDocument(memory_id, f"text by {name}", None, name, clock=clock)
        document.add_tag(f"{name}-{turn}")
        document.set_importance((number + turn) % 10 / 10)
        document.set_metadata({f"{name}-{number}": turn})
        document.record_access(name, turn + 1)
        made.append(document)
    random.Random(f"{name}{turn}").shuffle(made)
    return made


def joined_by_hand(names: list[str]) -> dict[str, MemoryDocument]:
    """Return the join of everything that the writers wrote."""
    joined: dict[str, MemoryDocument] = {}
    for name in names:
        for turn in range(ROUNDS):
            for document in batch(name, turn):
                known = joined.get(document.id)
                joined[document.id] = document if known is None else known.merge(document)
    return joined


def expect_everything(url: str, names: list[str]) -> None:
    expected = joined_by_hand(names)
    with MemoryStorage(url) as storage:
        assert {document.id: document.state for document in storage.states()} == {
            memory_id: document.state for memory_id, document in expected.items()
        }
        tags = {f"{name}-{turn}" for name in names for turn in range(ROUNDS)}
        assert all(set(document.get_tags()) == tags for document in storage.all())
        rows = storage.read(
            lambda s: s.database.rows("SELECT memory, count(*) FROM tag GROUP BY memory")
        )
        assert [count for _, count in rows] == [len(tags)] * len(IDS)


def test_threads_of_one_store_lose_nothing(postgres_url: str) -> None:
    names = [f"w{i:02}" for i in range(WRITERS)]
    with MemoryStorage(postgres_url) as storage, ThreadPoolExecutor(WRITERS) as pool:
        for turn in range(ROUNDS):
            list(pool.map(lambda name, t=turn: storage.merge(batch(name, t)), names))
    expect_everything(postgres_url, names)


def test_stores_that_write_at_once_lose_nothing(postgres_url: str) -> None:
    names = [f"w{i:02}" for i in range(WRITERS)]
    start = threading.Barrier(WRITERS)

    def write(name: str) -> None:
        with MemoryStorage(postgres_url, name, timeout_seconds=60) as storage:
            start.wait(60)
            for turn in range(ROUNDS):
                storage.merge(batch(name, turn))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, names))
    expect_everything(postgres_url, names)


def test_two_that_wait_for_each_other_both_end_and_lose_nothing(postgres_url: str) -> None:
    runs: list[str] = []
    both_hold_one = threading.Barrier(2)

    def write(name: str, order: list[str]) -> None:
        def work(transaction: Any) -> None:
            runs.append(name)
            for memory_id in order:
                document = MemoryDocument(memory_id, "text", None, name)
                document.add_tag(name)
                transaction.merge(document)
                if memory_id == order[0] and runs.count(name) == 1:
                    both_hold_one.wait(60)

        with MemoryStorage(postgres_url, name, timeout_seconds=60) as storage:
            storage.submit(work).result()

    with MemoryStorage(postgres_url) as storage, ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("ada", "bob"), (IDS, IDS[::-1])))
        assert len(runs) == 3
        assert [set(document.get_tags()) for document in storage.all()] == [{"ada", "bob"}] * 20


SCRIPT = """
import sys
sys.path[:0] = sys.argv[3].split(":")
from chrysalis_memory import MemoryStorage
from tests.integration.test_postgres_writers import ROUNDS, batch
url, name = sys.argv[1:3]
with MemoryStorage(url, name, timeout_seconds=60) as storage:
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(ROUNDS):
        storage.merge(batch(name, turn))
"""


def test_processes_that_write_at_once_lose_nothing(postgres_url: str) -> None:
    names = [f"p{i:02}" for i in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, postgres_url, name, ":".join(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    expect_everything(postgres_url, names)


def test_a_new_store_can_be_opened_by_many_at_once(postgres_url: str) -> None:
    start = threading.Barrier(8)

    def open_one(_: int) -> tuple[str, int]:
        start.wait(60)
        with MemoryStorage(postgres_url, timeout_seconds=60) as storage:
            space = storage.open_space("model/4", "model", 4)
            return storage.replica, space.number

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(open_one, range(8)))) == 1


def test_a_writer_that_waits_too_long_says_so(postgres_url: str) -> None:
    locked, go_on = threading.Event(), threading.Event()

    def hold(transaction: Any) -> None:
        transaction.load("m")
        locked.set()
        go_on.wait(60)

    with (
        MemoryStorage(postgres_url) as holder,
        MemoryStorage(postgres_url, timeout_seconds=0.05) as other,
    ):
        holding = holder.submit(hold)
        assert locked.wait(60)
        with pytest.raises(StoreBusy, match="timeout_seconds"):
            other.put(MemoryDocument("m", "text"))
        assert other.put(MemoryDocument("n", "others go on")) == "n"
        go_on.set()
        holding.result(60)
        assert other.put(MemoryDocument("m", "text")) == "m"


def test_an_id_that_was_only_looked_for_leaves_nothing(postgres_url: str) -> None:
    with MemoryStorage(postgres_url) as storage:
        assert storage.submit(lambda t: t.load("nobody")).result() is None
        with pytest.raises(RuntimeError):
            storage.submit(lambda t: fail(t.load("nobody either"))).result()
        assert storage.read(lambda s: s.database.value("SELECT count(*) FROM memory")) == 0
        assert list(storage.states()) == []


def fail(_: object) -> None:
    raise RuntimeError("after looking")


def test_a_place_that_is_held_is_no_memory_to_its_own_transaction(postgres_url: str) -> None:
    def work(transaction: Any) -> list[object]:
        transaction.prefetch(["x", "y"])
        session = transaction.session
        return [
            session.load("x"),
            session.everything(after=0, limit=9),
            session.load_many(["x"]),
            session.feed(b"", limit=9).headers,
        ]

    with MemoryStorage(postgres_url) as storage:
        assert storage.submit(work).result() == [None, [], [], []]
