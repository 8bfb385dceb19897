"""Threads beside the event loop for work that blocks."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class InThread(Protocol):
    """A way to run blocking work beside the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run ``work`` on another thread."""
        ...


async def finish(work: Awaitable[T]) -> T:
    """Await ``work`` to its end; where the caller is cancelled, that is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        if cancelled is not None:
            raise cancelled from task.exception()
        return task.result()
    finally:
        del task, cancelled  # whose errors refer to this frame


async def open_in_thread(
    in_thread: InThread, open_one: Callable[[], T], close: Callable[[T], Awaitable[None]]
) -> T:
    """Open something beside the loop; where the caller is cancelled, it is closed again.

    A thread does not stop halfway: what it opened would stay open, and belong to nobody.
    """
    opening = asyncio.ensure_future(in_thread(open_one))
    try:
        return await finish(opening)
    except asyncio.CancelledError:
        if opening.exception() is None:
            await finish(close(opening.result()))
        raise


class Readers:
    """Threads that run one piece of work each; the one that ended last is taken first.

    A ``ThreadPoolExecutor`` of several threads takes the one that has waited longest. With one
    query after another each then runs on a thread, and often on a processor, whose caches hold
    nothing of it: at 10,000 memories that makes a recall a fifth slower.

    Args:
        count: How many threads.
    """

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = [
            ThreadPoolExecutor(1, thread_name_prefix="chrysalis-reader") for _ in range(count)
        ]
        self._idle = list(self._threads)
        self._turn = asyncio.Semaphore(count)

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on a thread once one is free, and return what it returns.

        Work that has begun is finished even if the caller is cancelled.
        """
        await self._turn.acquire()
        thread = self._idle.pop()
        running = thread.submit(work)
        try:
            return await asyncio.wrap_future(running)
        finally:
            if running.done():
                self._give_back(thread)
            else:
                running.add_done_callback(lambda _: self._give_back_soon(thread))
            # An error that it ended with refers to this frame, and so to what the failed work
            # held; in a circle, that would stay in RAM until garbage is collected.
            del running

    def close(self) -> None:
        """Let the threads end with the work that they have begun."""
        for thread in self._threads:
            thread.shutdown(wait=False)

    def _give_back(self, thread: ThreadPoolExecutor) -> None:
        self._idle.append(thread)
        self._turn.release()

    def _give_back_soon(self, thread: ThreadPoolExecutor) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._give_back, thread)


class QuickReads:
    """Runs one kind of read on the event loop's own thread while it is quick, otherwise beside it.

    Waking another thread and being woken costs up to a third of a recall among 10,000 memories. So
    a read is run here if the one before it took no longer than ``quick_seconds`` and nobody else
    asks at the same time; the first of all, and those that wait for one another, are run beside
    the loop, which goes on meanwhile.

    Args:
        in_thread: Runs what is not quick.
        allowed: Whether any may be run here; not where a read may wait for a network.
        quick_seconds: How long the loop may be kept.
    """

    def __init__(
        self, in_thread: InThread, *, allowed: bool = True, quick_seconds: float = 0.01
    ) -> None:
        self._in_thread = in_thread
        self._allowed = allowed
        self._quick_seconds = quick_seconds
        self._asking = 0
        self._was_quick = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` and return what it returns."""
        self._asking += 1
        try:
            if self._was_quick and self._allowed:
                await asyncio.sleep(0)  # so that those who ask at the same time are counted
                if self._asking == 1:
                    return self._timed(work)
            return await self._in_thread(lambda: self._timed(work))
        finally:
            self._asking -= 1

    def _timed(self, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._was_quick = time.perf_counter() - start <= self._quick_seconds
