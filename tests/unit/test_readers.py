"""Threads beside the event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from chrysalis_memory.readers import Readers


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
