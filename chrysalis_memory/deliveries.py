"""Results of another thread, delivered to the event loop together."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Delivery(asyncio.Future[T]):
    """What a caller awaits; cancelling it cancels the write, if that has not started."""

    source: "Future[T] | None"
    """Until it is settled: what was written leads back here, and neither would be let go."""

    def cancel(self, msg: Any | None = None) -> bool:
        if self.source is not None:
            self.source.cancel()
        return super().cancel(msg)


class Deliveries:
    """Awaits futures of the writing thread, with one wake-up of the loop per group.

    ``asyncio.wrap_future`` wakes the loop once per future, and each wake-up lets both threads
    fight for the interpreter: with a hundred writes in one commit that costs more than the commit.

    The writing thread must call :meth:`deliver` after each group.

    Args:
        loop: The loop that awaits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: deque[tuple[_Delivery[Any], Future[Any]]] = deque()

    def wrap(self, source: "Future[T]") -> "asyncio.Future[T]":
        """Return an awaitable for ``source``; cancelling it cancels ``source`` if not started."""
        target: _Delivery[T] = _Delivery(loop=self._loop)
        target.source = source
        source.add_done_callback(lambda done: self._ready.append((target, done)))
        if source.done():  # its group may have ended before it was noted here
            self._loop.call_soon(self._settle)
        return target

    def deliver(self) -> None:
        """Hand what has ended to the loop; called on the writing thread."""
        if self._ready and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        while self._ready:
            target, source = self._ready.popleft()
            target.source = None
            if target.done():
                continue
            if source.cancelled():
                target.cancel()
            elif (error := source.exception()) is not None:
                target.set_exception(cast("Exception", error))
            else:
                target.set_result(source.result())
