"""Hours of ordinary work: four processes on two files that sync; nothing grows, nothing slows down.

``python -m tests.faults soak --rounds 3600`` works for an hour. Each process learns, recalls,
updates, forgets and, now and then, syncs its file with the other one. Texts come from a fixed
stock, so that what is stored is bounded, and whatever grows all the same does so by a fault.
"""

import asyncio
import multiprocessing
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from chrysalis_memory import AgentMemory, MemoryStorage
from tests.faults import ram
from tests.faults.audit import audit
from tests.faults.runs import Run

FILES = ("left.db", "right.db")
PROCESSES = 4
STOCK = 2_000
"""Texts of each process; about half of them are remembered at any moment."""
PARTS = 10
"""Parts of the time that are compared; the first warms up."""
SYNC_SECONDS = 2.0
WAL_BYTES_MAX = 64 << 20
RSS_BYTES_MAX = 384 << 20
"""Of one process, however long it works."""
_SLACK_BYTES = 8 << 20
_WORDS = [
    "tea", "four", "kitchen", "garden", "train", "letter", "music", "winter", "river", "market",
]  # fmt: skip
_KINDS = ("learn", "recall", "update", "forget")
_WEIGHTS = (40, 40, 10, 10)


class Part(NamedTuple):
    """What one process saw in one part of the time."""

    medians_ms: dict[str, float]
    operations: int
    rss_bytes: int
    file_bytes: int
    wal_bytes: int


class Bounds(NamedTuple):
    """How much more the second half of the time may take than the first."""

    rss_bytes: float = 1.25
    file_bytes: float = 1.25
    slowdown: float = 2.0
    """Medians of a busy machine differ by half as it is; a leak over an hour does not stop at
    twice."""


AN_HOUR = Bounds()


def play(seconds: int, seed: int, folder: Path, bounds: Bounds = AN_HOUR) -> str:
    """Work for so many seconds, and return what was seen."""
    asyncio.run(_fill(folder, random.Random(seed)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        working = [
            pool.submit(_work, str(folder), number, seed, seconds) for number in range(PROCESSES)
        ]
        seen = [one.result() for one in working]
    asyncio.run(_settle(folder))
    return judged(seen, seed, bounds)


async def _fill(folder: Path, chance: random.Random) -> None:
    """Learn the whole stock, so that the files are large from the beginning."""
    for own, name in enumerate(FILES):
        async with AgentMemory("first", path=folder / name, embedder="hashing") as memory:
            numbers = [n for n in range(PROCESSES) if n % 2 == own]
            await memory.learn_many(
                {"id": memory_id, "content": _text(memory_id, chance)}
                for n in numbers for memory_id in (f"p{n}-{i}" for i in range(STOCK))
            )  # fmt: skip


def _text(memory_id: str, chance: random.Random) -> str:
    return f"{memory_id}: {' '.join(chance.choices(_WORDS, k=8))}"


def _work(folder: str, number: int, seed: int, seconds: int) -> list[Part]:
    return asyncio.run(_working(Path(folder), number, random.Random(f"{seed}/{number}"), seconds))


async def _working(folder: Path, number: int, chance: random.Random, seconds: int) -> list[Part]:
    own, other = FILES[number % 2], FILES[1 - number % 2]
    parts: list[Part] = []
    async with AgentMemory(f"agent{number}", path=folder / own, embedder="hashing",
                           timeout_seconds=60) as memory:  # fmt: skip
        begin = syncs_at = time.monotonic()
        for part in range(1, PARTS + 1):
            taken: dict[str, list[float]] = defaultdict(list)
            while time.monotonic() < begin + part * seconds / PARTS:
                kind = chance.choices(_KINDS, _WEIGHTS)[0]
                if number < 2 and time.monotonic() > syncs_at:
                    kind, syncs_at = "sync", time.monotonic() + SYNC_SECONDS
                begun = time.perf_counter()
                if kind == "sync":
                    await memory.sync(folder / other)
                else:
                    await _do(memory, kind, f"p{number}-{chance.randrange(STOCK)}", chance)
                taken[kind].append(time.perf_counter() - begun)
            parts.append(_part(taken, folder / own))
    return parts


async def _do(memory: AgentMemory, kind: str, memory_id: str, chance: random.Random) -> None:
    match kind:
        case "learn":
            await memory.learn(_text(memory_id, chance), id=memory_id, tags=[chance.choice(_WORDS)])
        case "recall":
            await memory.recall(" ".join(chance.choices(_WORDS, k=3)), 5)
        case "update" if await memory.get(memory_id):
            await memory.update(memory_id, importance=chance.random())
        case "forget":
            await memory.forget(memory_id)
        case _:
            pass


def _part(taken: dict[str, list[float]], path: Path) -> Part:
    wal = path.with_name(path.name + "-wal")
    return Part(
        {kind: statistics.median(times) * 1000 for kind, times in taken.items()},
        sum(map(len, taken.values())),
        ram.held_bytes(),
        path.stat().st_size,
        wal.stat().st_size if wal.exists() else 0,
    )


async def _settle(folder: Path) -> None:
    """See that both files come to the same and are whole."""
    async with AgentMemory("last", path=folder / FILES[0], embedder="hashing") as memory:
        report = await memory.sync(folder / FILES[1])
    assert report.verified, f"the files differ after the last sync: {report}"
    for name in FILES:
        with MemoryStorage(folder / name) as storage:
            audit(storage)


def judged(seen: Sequence[Sequence[Part]], seed: int, bounds: Bounds) -> str:
    """Compare the second half of the time with the first, from its second part on.

    Raises:
        AssertionError: something grew, or slowed down.
    """
    early = [part for parts in seen for part in parts[1 : PARTS // 2]]
    late = [part for parts in seen for part in parts[PARTS // 2 :]]
    wal = max(part.wal_bytes for parts in seen for part in parts)
    assert wal <= WAL_BYTES_MAX, f"seed {seed}: a log of {wal >> 20} MB"
    rss = max(part.rss_bytes for parts in seen for part in parts)
    assert rss <= RSS_BYTES_MAX, f"seed {seed}: a process of {rss >> 20} MB"
    for what in ("rss_bytes", "file_bytes"):
        before, after = (max(getattr(part, what) for part in parts) for parts in (early, late))
        told = f"seed {seed}: {what} grew from {before >> 20} to {after >> 20} MB"
        assert after <= before * getattr(bounds, what) + _SLACK_BYTES, told
    said: list[str] = []
    for kind in (*_KINDS, "sync"):
        medians = [
            [part.medians_ms[kind] for part in parts if kind in part.medians_ms]
            for parts in (early, late)
        ]
        if not all(medians):  # a short run may have too few syncs to compare
            continue
        before, after = map(statistics.median, medians)
        told = f"seed {seed}: {kind} took {before:.2f} ms and takes {after:.2f}"
        assert after <= before * bounds.slowdown, told
        said.append(f"{kind} {before:.2f} -> {after:.2f} ms")
    operations = sum(part.operations for parts in seen for part in parts)
    sizes = ", ".join(
        f"{name} {max(getattr(part, field) for part in early) >> 20} -> "
        f"{max(getattr(part, field) for part in late) >> 20} MB"
        for name, field in (("memory", "rss_bytes"), ("file", "file_bytes"))
    )
    return f"{operations:,} operations; {sizes}; log at most {wal >> 20} MB; {', '.join(said)}"


RUNS = (Run("soak", 10, 3_600, play),)
