"""Four writers and four readers, each a process, on one file: nobody is told that it is busy."""

import json
import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from chrysalis_memory import Embedding, MemoryStorage, NewMemory, learning
from chrysalis_memory.query import Filter, Query
from tests.faults.audit import audit
from tests.faults.looking import vector_of
from tests.faults.runs import Run

WRITERS = READERS = 4
WAL_BYTES_MAX = 64 << 20
_DIMENSION = 64
_LOOK_SECONDS = 0.05
_MEMORIES_EACH = 300
"""A writer begins to forget when it has so many, so that the file stays small for ten minutes."""


class Told(NamedTuple):
    """What a process has done and seen."""

    name: str
    calls: int
    longest_seconds: float
    errors: list[str]
    held: list[str]
    """Memories that a writer has learned and not forgotten."""


class _Calls:
    """Times calls, and notes what they raise."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_seconds = 0.0
        self.errors: list[str] = []

    def make(self, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - told to the parent, which fails
            self.errors.append(repr(error))
            return None
        finally:
            self.count += 1
            self.longest_seconds = max(self.longest_seconds, time.perf_counter() - begun)


def _write(path: str, name: str, seconds: float, seed: int, pipe: Connection) -> None:
    chance, calls, held = random.Random(seed), _Calls(), list[str]()
    with MemoryStorage(path, name) as storage:
        pipe.recv()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not calls.errors:
            if len(held) > _MEMORIES_EACH or (held and chance.random() < 0.2):
                gone = held.pop(chance.randrange(len(held)))
                assert calls.make(lambda gone=gone: storage.forget(gone)) or calls.errors
                continue
            if held and chance.random() < 0.3:
                changed = chance.choice(held)
                calls.make(lambda one=changed: storage.update(one, lambda m: m.add_tag(name)))
                continue
            text = f"text {calls.count} of {name} about rivers and tea {'x' * 500}"
            new = NewMemory.of(content=text)
            made = Embedding(vector_of(text, _DIMENSION), "space", text)
            learned = calls.make(
                lambda new=new, made=made: storage.run(lambda t: learning.learn(t, new, made))
            )
            if learned is not None:
                held.append(learned.id)
    pipe.send(Told(name, calls.count, calls.longest_seconds, calls.errors, held))


def _read(path: str, name: str, seconds: float, seed: int, pipe: Connection) -> None:
    calls = _Calls()
    query = Query(Filter(), time.time_ns() // 1000)
    vector = vector_of(str(seed), _DIMENSION)

    def look(session: Any) -> None:
        (space,) = session.spaces()
        living = session.document_count()
        assert session.count(query) == living, "a half write was seen"
        pairs = session.nearest(space, vector, 5, query).pairs
        assert len(pairs) >= min(5, living), "a vector is missing"
        session.document_frequencies([session.term("rivers")])

    with MemoryStorage(path, name) as storage:
        pipe.recv()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not calls.errors:
            calls.make(lambda: storage.read(look))
            calls.make(lambda: storage.recent(5))
    pipe.send(Told(name, calls.count, calls.longest_seconds, calls.errors, []))


def _watch(path: Path, processes: list[Any], seconds: float) -> int:
    """Return the greatest size of the log until the processes end."""
    log, greatest = path.with_name(path.name + "-wal"), 0
    end = time.monotonic() + seconds + 60
    while any(process.is_alive() for process in processes):
        assert time.monotonic() < end, "a process does not end"
        if log.exists():
            greatest = max(greatest, log.stat().st_size)
        processes[0].join(_LOOK_SECONDS)
        if not processes[0].is_alive():
            for process in processes:
                process.join(_LOOK_SECONDS)
    return greatest


def _play(seconds: int, seed: int, folder: Path) -> str:
    path = folder / "memory.db"
    with MemoryStorage(path, "parent") as storage:
        storage.open_space("space", "model", _DIMENSION)
        timeout_seconds = 5.0  # the default
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    jobs = [(_write, f"writer{n}") for n in range(WRITERS)]
    jobs += [(_read, f"reader{n}") for n in range(READERS)]
    for number, (job, name) in enumerate(jobs):
        ours, theirs = context.Pipe()
        given = (str(path), name, float(seconds), seed + number, theirs)
        process = context.Process(target=job, args=given)
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.send("go")
    log_bytes = _watch(path, processes, seconds)
    told = [pipe.recv() for pipe in pipes if pipe.poll()]
    where = f"seed {seed}: "
    assert len(told) == len(jobs), where + "a process has died"
    assert [error for one in told for error in one.errors] == [], where + json.dumps(
        [one.errors for one in told]
    )
    longest = max(one.longest_seconds for one in told)
    assert longest < timeout_seconds, f"{where}a call took {longest:.1f} s"
    assert log_bytes <= WAL_BYTES_MAX, f"{where}the log had {log_bytes:,} bytes"
    assert all(one.calls for one in told), where + "a process has done nothing"
    with MemoryStorage(path, "parent") as storage:
        held = sorted(one.id for one in storage.all())
        assert held == sorted(one for each in told for one in each.held), where + "not all is kept"
        audit(storage)
    writes = sum(one.calls for one in told[:WRITERS])
    reads = sum(one.calls for one in told[WRITERS:])
    return (
        f"{writes:,} writes, {reads:,} reads, 0 busy, longest {longest:.2f} s, "
        f"log at most {log_bytes / 2**20:.1f} MB"
    )


RUNS = (Run("share-file", 8, 600, _play),)
"""A round is a second."""
