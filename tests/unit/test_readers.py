"""Threads beside the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.readers import QuickReads, Readers, open_in_thread

T = TypeVar("T")


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    made = Readers(2)
    yield made
    made.close()


async def test_work_after_work_stays_on_one_thread(readers: Readers) -> None:
    threads = {await readers.run(threading.get_ident) for _ in range(10)}
    assert 1 == len(threads)
    assert threading.get_ident() not in threads


async def test_as_many_work_at_once_as_there_are_threads_and_the_others_wait(
    readers: Readers,
) -> None:
    both = threading.Barrier(2, timeout=10)
    met = await asyncio.gather(*(readers.run(lambda: both.wait() >= 0) for _ in range(6)))
    assert [True] * 6 == met


async def test_what_work_raises_is_raised_and_its_thread_goes_on(readers: Readers) -> None:
    for _ in range(4):
        with pytest.raises(ZeroDivisionError):
            await readers.run(lambda: 1 // 0)
    assert 7 == await readers.run(lambda: 7)


async def test_a_thread_whose_caller_was_cancelled_takes_nothing_else_before_it_has_ended(
    readers: Readers,
) -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(10)

    cancelled = asyncio.create_task(readers.run(work))
    await begun.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert [1, 2, 3] == [await readers.run(lambda n=n: n) for n in (1, 2, 3)]
    may_end.set()
    both = threading.Barrier(2, timeout=10)
    await asyncio.gather(*(readers.run(both.wait) for _ in range(2)))


# Reads that are quick


class Threads:
    """Runs work beside the loop, and counts how often."""

    def __init__(self, readers: Readers) -> None:
        self.runs = 0
        self._readers = readers

    async def __call__(self, work: Callable[[], T]) -> T:
        self.runs += 1
        return await self._readers.run(work)


async def test_a_read_that_was_quick_is_run_on_the_loop_s_own_thread(readers: Readers) -> None:
    threads = Threads(readers)
    quick = QuickReads(threads)
    ran_on = [await quick.run(threading.get_ident) for _ in range(5)]

    assert [one == threading.get_ident() for one in ran_on] == [False, True, True, True, True]
    assert threads.runs == 1


async def test_reads_at_the_same_time_are_all_run_beside_the_loop(readers: Readers) -> None:
    threads = Threads(readers)
    quick = QuickReads(threads)
    await quick.run(threading.get_ident)
    ran_on = await asyncio.gather(*(quick.run(threading.get_ident) for _ in range(6)))

    assert threading.get_ident() not in ran_on
    assert threads.runs == 7


async def test_after_a_slow_read_the_next_is_run_beside_the_loop(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("chrysalis_memory.readers.time.perf_counter", lambda: now)

    def slow() -> int:
        nonlocal now
        now += 1.0
        return threading.get_ident()

    quick = QuickReads(Threads(readers), quick_seconds=0.5)
    await quick.run(threading.get_ident)
    ran_on = [await quick.run(slow), await quick.run(slow), await quick.run(threading.get_ident)]
    again = await quick.run(threading.get_ident)

    assert [one == threading.get_ident() for one in ran_on] == [True, False, False]
    assert again == threading.get_ident()


async def test_where_a_network_may_be_waited_for_no_read_keeps_the_loop(readers: Readers) -> None:
    quick = QuickReads(Threads(readers), allowed=False)
    ran_on = [await quick.run(threading.get_ident) for _ in range(3)]

    assert threading.get_ident() not in ran_on


async def test_a_read_that_fails_raises_and_the_next_is_run_as_ever(readers: Readers) -> None:
    quick = QuickReads(Threads(readers))

    def fail() -> None:
        raise RuntimeError("on purpose")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="on purpose"):
            await quick.run(fail)
    assert await quick.run(threading.get_ident) == threading.get_ident()


async def test_what_was_being_opened_for_a_cancelled_caller_is_closed() -> None:
    begun, go_on = threading.Event(), threading.Event()
    closed: list[str] = []

    def open_one() -> str:
        begun.set()
        assert go_on.wait(20)
        return "opened"

    async def close(one: str) -> None:
        await asyncio.sleep(0)
        closed.append(one)

    opening = asyncio.create_task(open_in_thread(asyncio.to_thread, open_one, close))
    await asyncio.to_thread(begun.wait, 20)
    opening.cancel()
    await asyncio.sleep(0)
    opening.cancel()  # again, while it waits
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert closed == ["opened"]


async def test_what_could_not_be_opened_for_a_cancelled_caller_is_not_closed() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> str:
        begun.set()
        assert go_on.wait(20)
        raise OSError("on purpose")

    async def close(_: str) -> None:
        raise AssertionError("there is nothing to close")

    opening = asyncio.create_task(open_in_thread(asyncio.to_thread, fail, close))
    await asyncio.to_thread(begun.wait, 20)
    opening.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_a_start_that_is_cancelled_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for turns in (*range(12), 20, 50, 100, 300):
        memory = AgentMemory("ada", path=tmp_path / f"{turns}.db", embedder="hashing")
        starting = asyncio.create_task(memory.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        await memory.stop()
    left = [one for one in threading.enumerate() if one not in before]
    for thread in left:
        if "chrysalis" in thread.name:
            await asyncio.to_thread(thread.join, 20)
            assert not thread.is_alive()
