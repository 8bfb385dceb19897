"""Waiting for a change of a store, whichever process makes it."""

import asyncio
import contextlib
import logging

from chrysalis_memory.errors import StorageError
from chrysalis_memory.readers import Readers
from chrysalis_memory.storage import MemoryStorage, Session

POLL_SECONDS = 1.0
"""How soon a change is noticed that another process makes; one of this process is at once."""

logger = logging.getLogger("chrysalis_memory")


class Changes:
    """Tells any number of tasks when a store has changed; those that wait occupy no thread.

    Args:
        storage: The store.
        readers: Run what reads it.
        poll_seconds: How often to look for changes of other processes, while anybody waits.
    """

    def __init__(
        self, storage: MemoryStorage, readers: Readers, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._storage = storage
        self._readers = readers
        self._poll_seconds = poll_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: set[_Waiter] = set()
        self._closed = False
        self._look = asyncio.Event()
        """Set when somebody begins to wait, and when this process has written."""
        self._task = asyncio.create_task(self._watch())
        storage.on_group_end(self._written)

    def head(self) -> bytes:
        """Return what is another after every change; reads the store in the calling thread."""
        return self._storage.read(_head)

    async def wait(self, head: bytes, seconds: float) -> bool:
        """Wait until the store's head is not ``head`` any more; tell whether that has come.

        Args:
            head: What :meth:`head` gave.
            seconds: How long to wait at most.
        """
        if self._closed:
            return False
        waiter = _Waiter(head)
        self._waiting.add(waiter)
        self._look.set()
        try:
            async with asyncio.timeout(seconds):
                return await waiter.moved
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiter)

    def close(self) -> None:
        """Send everybody away who waits."""
        self._closed = True
        self._task.cancel()
        for waiter in self._waiting:
            waiter.tell(moved=False)

    def _written(self) -> None:
        """Look again; called on the store's writing thread, which may outlive the loop."""
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._look.set)

    async def _watch(self) -> None:
        while True:
            # While nobody waits, nothing is read.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds if self._waiting else None):
                    await self._look.wait()
            self._look.clear()
            if self._waiting:
                await self._compare()

    async def _compare(self) -> None:
        waiting = list(self._waiting)  # those who come meanwhile may know a newer head
        try:
            head = await self._readers.run(self.head)
        except StorageError as error:
            logger.warning("whether the memory has changed is not known now: %s", error)
            return
        for waiter in waiting:
            if waiter.head != head:
                waiter.tell(moved=True)


class _Waiter:
    def __init__(self, head: bytes) -> None:
        self.head = head
        self.moved: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def tell(self, *, moved: bool) -> None:
        if not self.moved.done():
            self.moved.set_result(moved)


def _head(session: Session) -> bytes:
    return bytes.fromhex(session.meta("epoch") or "") + session.head()
