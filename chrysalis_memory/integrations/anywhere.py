"""An agent's memory for code that blocks, and for code on other event loops."""

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TypeVar

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.database_url import DatabaseURL
from chrysalis_memory.errors import ChrysalisError, StoreClosed
from embedders.base import Embedder

T = TypeVar("T")

MemoryOrPath = AgentMemory | str | Path | DatabaseURL
"""A memory, or the file or database to open one on."""

logger = logging.getLogger("chrysalis_memory")


def memory_at(place: MemoryOrPath, *, agent_id: str, embedder: Embedder | None) -> AgentMemory:
    """Return the memory that is meant.

    Args:
        place: A memory, which is returned as it is, or where to open one.
        agent_id: Who writes, where ``place`` is no memory.
        embedder: What embeds, where ``place`` is no memory; ``None``: as :class:`AgentMemory`.
    """
    if isinstance(place, AgentMemory):
        return place
    return AgentMemory(agent_id, path=place, embedder=embedder)


class LoopThread:
    """An event loop that runs on a thread of its own."""

    ending: Future[None]
    """What ends it, held here so that it is not collected meanwhile."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._thread = Thread(target=self._run, name="chrysalis-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._runner:  # cancels what is left when the loop stops
            self.loop.run_forever()

    def stop_soon(self) -> None:
        """Let the loop end, without waiting for that."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)

    def close(self) -> None:
        """End the loop and wait for its thread; closing twice is allowed."""
        if not self.loop.is_closed():
            self.stop_soon()
            self._thread.join()


def run_on(loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on ``loop`` from another thread, and wait for it.

    Raises:
        asyncio.InvalidStateError: called from ``loop`` itself, which would wait for ever.
        StoreClosed: the loop has ended.
    """
    if loop is _current_loop():
        raise asyncio.InvalidStateError(
            "this memory runs on the event loop that calls it, which must not block; "
            "await the async method of the same name with an 'a' before it"
        )
    future = _submitted(loop, work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def await_on(loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` on ``loop`` from whatever loop, and await it.

    Raises:
        StoreClosed: the loop has ended.
    """
    if loop is _current_loop():
        return await work()
    return await asyncio.wrap_future(_submitted(loop, work))


class Anywhere:
    """A memory that any thread and any event loop may use.

    A memory that is started stays on its loop, and with whoever started it. One that is not is
    started here, on a loop of its own, and stopped by :meth:`close`.

    Raises:
        ChrysalisError: what :meth:`AgentMemory.start` raises.
    """

    def __init__(self, memory: AgentMemory) -> None:
        self.memory = memory
        self._thread: LoopThread | None = None
        if memory.loop is not None:
            self.loop = memory.loop
            return
        self._thread = thread = LoopThread()
        self.loop = thread.loop
        try:
            run_on(thread.loop, memory.start)
        except BaseException:
            thread.close()
            raise
        # When nobody holds this any more its file need not stay open. At the interpreter's end
        # other threads are gone, and what was written is in the file anyway.
        self._forsaken = weakref.finalize(self, _wind_down, memory, thread)
        self._forsaken.atexit = False

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` where the memory lives, and wait for it; raises as :func:`run_on`."""
        return run_on(self.loop, work)

    async def arun(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` where the memory lives, and await it; raises as :func:`await_on`."""
        return await await_on(self.loop, work)

    def close(self) -> None:
        """Stop the memory if it was started here; closing twice is allowed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._forsaken.detach()
            try:
                run_on(thread.loop, self.memory.stop)
            finally:
                thread.close()


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _submitted(loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[T]]) -> Future[T]:
    async def awaited() -> T:
        return await work()

    if loop.is_closed():
        raise StoreClosed("the memory was closed, or the event loop it was started on has ended")
    return asyncio.run_coroutine_threadsafe(awaited(), loop)


def _wind_down(memory: AgentMemory, thread: LoopThread) -> None:
    async def stop() -> None:
        try:
            await memory.stop()
        except ChrysalisError:
            logger.exception("a memory that nobody holds any more could not be stopped")
        finally:
            thread.stop_soon()

    # The collector runs on any thread, perhaps on this very loop's, so nothing may wait here.
    thread.ending = asyncio.run_coroutine_threadsafe(stop(), thread.loop)
