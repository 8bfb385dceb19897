"""Calls of ``AgentMemory`` cancelled at random moments: each changed all of it or nothing.

What was acknowledged is there, nothing is stuck, and stopping gives back every thread and file.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from chrysalis_memory import AgentMemory, MemoryStorage
from embedders.hashing import HashingEmbedder
from tests.faults.audit import audit
from tests.faults.runs import Run

STUCK_SECONDS = 30.0
_CALLS = 12
"""Calls that go on at the same time, of which most are cancelled."""
_CALLS_PER_FILE = 240
"""After so many calls the memory is stopped and a new file begun."""
_KINDS = (
    "learn", "learn", "learn_many", "update", "update", "forget", "recall", "recall", "sync",
    "import", "reindex",
)  # fmt: skip


class Call(NamedTuple):
    """A call, and how to see what it did."""

    kind: str
    start: Callable[[], Awaitable[Any]]
    done: Callable[[dict[str, str]], bool | None]
    """Whether what is stored shows it whole (True) or nothing of it (False); ``None``: half."""


def _all_or_none(ids: list[str], held: dict[str, str]) -> bool | None:
    found = sum(one in held for one in ids)
    return None if 0 < found < len(ids) else found > 0


class Calls:
    """Makes calls on one memory, each on memories of its own, so that its effect can be told."""

    def __init__(self, memory: AgentMemory, folder: Path, chance: random.Random) -> None:
        self._memory = memory
        self._folder = folder
        self._chance = chance
        self._number = 0
        self.known: list[str] = []
        """Memories that may be changed or forgotten, each once."""

    async def begin(self, count: int) -> None:
        """Learn what calls are to change."""
        texts = [f"known {number} of rivers" for number in range(count)]
        self.known = await self._memory.learn_many(texts)

    def one(self) -> Call:
        """Return the next call."""
        self._number += 1
        kind = self._chance.choice(_KINDS)
        if kind in ("update", "forget") and not self.known:
            kind = "learn"
        return getattr(self, f"_{kind}")(self._number)

    def _learn(self, n: int) -> Call:
        work = lambda: self._memory.learn(f"learned {n}", id=f"l{n}", tags=["t"])  # noqa: E731
        return Call("learn", work, lambda held: _all_or_none([f"l{n}"], held))

    def _learn_many(self, n: int) -> Call:
        # One batch is one transaction; what is in several may be stored up to one of them.
        ids = [f"b{n}-{part}" for part in range(5)]
        batch = [{"content": f"learned {one}", "id": one} for one in ids]
        return Call(
            "learn_many",
            lambda: self._memory.learn_many(batch),
            lambda held: _all_or_none(ids, held),
        )

    def _update(self, n: int) -> Call:
        memory_id, text = self.known.pop(), f"updated {n}"
        return Call(
            "update",
            lambda: self._memory.update(memory_id, content=text),
            lambda held: held.get(memory_id) == text,
        )

    def _forget(self, _: int) -> Call:
        memory_id = self.known.pop()
        return Call(
            "forget", lambda: self._memory.forget(memory_id), lambda held: memory_id not in held
        )

    def _recall(self, n: int) -> Call:
        return Call("recall", lambda: self._memory.recall(f"learned {n}", k=3), lambda _: True)

    def _sync(self, n: int) -> Call:
        peer = self._folder / "peer.db"
        with MemoryStorage(peer, "peer", synchronous="NORMAL") as storage:
            storage.run(lambda t: t.put(t.new_document(f"p{n}", f"of the peer {n}", None)))
        return Call(
            "sync", lambda: self._memory.sync(peer), lambda held: _all_or_none([f"p{n}"], held)
        )

    def _import(self, n: int) -> Call:
        path, ids = self._folder / f"import-{n}.jsonl", [f"i{n}-{part}" for part in range(4)]
        with MemoryStorage(":memory:", "elsewhere") as storage, path.open("w") as file:
            for one in ids:
                storage.run(lambda t, one=one: t.put(t.new_document(one, f"imported {one}", None)))
            for document in storage.states():
                file.write(document.to_json() + "\n")
        return Call(
            "import", lambda: self._memory.import_(path), lambda held: _all_or_none(ids, held)
        )

    def _reindex(self, n: int) -> Call:
        embedder = None if n % 2 else HashingEmbedder(self._chance.choice((16, 24, 32)))
        return Call("reindex", lambda: self._memory.reindex(embedder), lambda _: True)


async def _cancelled(call: Call, chance: random.Random, trouble: list[str]) -> tuple[Call, bool]:
    """Make a call, cancel it after a random number of turns of the loop; tell whether it ended."""
    task = asyncio.ensure_future(call.start())
    if chance.random() < 0.8:
        for _ in range(chance.choice((0, 1, 2, 3, 5, 8, 13, 40, 150))):
            await asyncio.sleep(0)
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return call, False
    except Exception as error:  # noqa: BLE001 - told with the seed
        trouble.append(f"{call.kind} raised {error!r}")
        return call, False
    return call, True


async def _play_file(calls: int, seed: int, folder: Path, seen: Counter[str]) -> None:
    chance = random.Random(seed)
    path = folder / "memory.db"
    memory = AgentMemory(
        "ada", path=path, embedder=HashingEmbedder(16), synchronous="NORMAL",
        on_embedder_change="reindex", access_flush_seconds=0.05, embedding_batch=8,
    )  # fmt: skip
    await memory.start()
    acknowledged: list[Call] = []
    try:
        making = Calls(memory, folder, chance)
        await making.begin(calls)
        left = calls
        while left:
            some = [making.one() for _ in range(min(left, _CALLS))]
            left -= len(some)
            trouble: list[str] = []
            outcomes = await asyncio.gather(*(_cancelled(one, chance, trouble) for one in some))
            assert trouble == []
            await _ended(memory)
            held = {one.id: one.content for one in memory.storage.all()}
            for call, is_acknowledged in outcomes:
                did = call.done(held)
                seen[f"{call.kind} {'done' if is_acknowledged else 'cancelled'}"] += 1
                assert did is not None, f"a {call.kind} that was cancelled is half done"
                assert did or not is_acknowledged, f"an acknowledged {call.kind} is lost"
                if is_acknowledged:
                    acknowledged.append(call)
    finally:
        async with asyncio.timeout(STUCK_SECONDS):
            await memory.stop()
    assert not path.with_name(path.name + "-wal").exists(), "a connection is still open"
    with MemoryStorage(path) as storage:
        held = {one.id: one.content for one in storage.all()}
        audit(storage)
    assert all(call.done(held) for call in acknowledged), "something acknowledged is lost"


async def _ended(memory: AgentMemory) -> None:
    """Wait until work that a cancelled call has begun on a thread is done."""
    running: Any = memory._running
    readers = running._readers
    async with asyncio.timeout(STUCK_SECONDS):
        for _ in range(len(readers._threads)):
            await readers._turn.acquire()
        for _ in range(len(readers._threads)):
            readers._turn.release()
        await running.write(lambda _: None)


def _open_files() -> list[str]:
    found: list[str] = []
    for one in list(Path("/proc/self/fd").iterdir()):
        try:
            found.append(str(one.readlink()))
        except FileNotFoundError:
            continue  # the one that lists them
    return sorted(one for one in found if one.startswith("/") and not one.startswith("/dev"))


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("chrysalis")}


def _play(rounds: int, seed: int, folder: Path) -> str:
    seen: Counter[str] = Counter()
    for number, start in enumerate(range(0, rounds, _CALLS_PER_FILE)):
        place = folder / str(number)
        place.mkdir()
        files, threads = _open_files(), _threads()
        try:
            calls = min(_CALLS_PER_FILE, rounds - start)
            asyncio.run(_play_file(calls, seed + number, place, seen))
            for thread in _threads() - threads:
                thread.join(STUCK_SECONDS)
                assert not thread.is_alive(), f"the thread {thread.name!r} is stuck"
            assert _open_files() == files, "files are still open"
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(
                f"seed {seed + number}, {_CALLS_PER_FILE} rounds: {error or repr(error)}"
            ) from error
    return "0 lost, 0 half done, 0 stuck; " + ", ".join(
        f"{count:,} {name}" for name, count in sorted(seen.items())
    )


RUNS = (Run("cancel", 500, 20_000, _play),)
