"""Writes, one after another, on a thread of their own."""

import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from chrysalis_memory.backends.base import Session
from chrysalis_memory.errors import StorageError, StoreClosed

T = TypeVar("T")

logger = logging.getLogger("chrysalis_memory")


class Job:
    """Work that waits, and where its outcome goes.

    Once it has ended, it does not know its future any more: an error refers to the frames that it
    passed, and those to the job. If the job led back to the error, all that these frames held
    would stay in RAM until garbage is collected.
    """

    __slots__ = ("_future", "work")

    def __init__(self, work: Callable[[Session], Any], future: Future[Any]) -> None:
        self.work = work
        self._future: Future[Any] | None = future

    def begins(self) -> bool:
        """Tell whether it is to be run; not where whoever waited has given up."""
        return self._future is not None and self._future.set_running_or_notify_cancel()

    def succeed(self, result: Any) -> None:
        """End it with what came of it."""
        future, self._future = self._future, None
        if future is not None:
            future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """End it with an error, unless it has ended."""
        future, self._future = self._future, None
        if future is None or future.done():
            return
        if future.running() or future.set_running_or_notify_cancel():
            future.set_exception(error)


class JobThread(ABC):
    """A thread that writes; an engine says how it runs its jobs.

    Args:
        shown: Where the store is, for errors and the thread's name.
    """

    def __init__(self, shown: str) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._shown = shown
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name=f"chrysalis-writer {shown}", daemon=True
        )

    @abstractmethod
    def _run(self) -> None:
        """Run the jobs of the queue until there is ``None``; the thread's whole work."""

    def tell(self) -> None:
        """Tell the listeners that writes have ended; these hold, whatever comes of telling."""
        for listener in self.listeners:
            try:
                listener()
            except Exception:
                logger.exception("who waits for writes to %r was not told", self._shown)

    def start(self) -> None:
        """Begin to run jobs."""
        self._thread.start()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Queue a write.

        Raises:
            StoreClosed: the writer was closed.
            StorageError: called from inside another write, which would wait for itself.
        """
        if self.is_inside:
            raise StorageError(
                "a write was started inside a write; use the transaction it was given"
            )
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreClosed(f"the store {self._shown!r} is closed; open it again")
            self._jobs.put(Job(work, future))
        return future

    def run(self, work: Callable[[Session], T]) -> T:
        """Do a write and wait until it is durable.

        Raises:
            StoreClosed: the writer was closed.
            StorageError: called from inside another write, which would wait for itself.
        """
        return self.submit(work).result()

    @property
    def is_inside(self) -> bool:
        """Whether the caller runs inside a write, where waiting for another cannot end."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Finish what was queued and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()
