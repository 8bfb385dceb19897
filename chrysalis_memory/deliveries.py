"""Results of another thread, delivered to the event loop together."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Deliveries:
    """Awaits futures of the writing thread, with one wake-up of the loop per group.

    ``asyncio.wrap_future`` wakes the loop once per future, and each wake-up lets both threads
    fight for the interpreter: with a hundred writes in one commit that costs more than the commit.

    Args:
        loop: The loop that awaits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._woken = False

    def wrap(self, source: "Future[T]") -> "asyncio.Future[T]":
        """Return an awaitable for ``source``; cancelling it cancels ``source`` if not started."""
        target: asyncio.Future[T] = self._loop.create_future()

        def cancel(done: "asyncio.Future[T]") -> None:
            if done.cancelled():
                source.cancel()

        target.add_done_callback(cancel)
        source.add_done_callback(lambda done: self._note(target, done))
        return target

    def _note(self, target: "asyncio.Future[Any]", source: "Future[Any]") -> None:
        self._ready.append((target, source))
        # _deliver unsets the flag before it looks, so a result appended while it was set is seen.
        if not self._woken:
            self._woken = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._ready:
            target, source = self._ready.popleft()
            if target.done():
                continue
            if source.cancelled():
                target.cancel()
            elif (error := source.exception()) is not None:
                target.set_exception(cast("Exception", error))
            else:
                target.set_result(source.result())
