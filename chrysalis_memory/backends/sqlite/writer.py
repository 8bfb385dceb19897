"""One writing thread per open store: writes that wait together share one commit."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from chrysalis_memory.backends.base import Session
from chrysalis_memory.backends.sqlite.connection import translated, translated_errors
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.session import SQLiteSession
from chrysalis_memory.errors import StorageError, StoreClosed

T = TypeVar("T")

GROUP_JOBS_MAX = 512
GROUP_SECONDS_MAX = 0.05
"""A group is committed after this long, so that a stream of writes cannot delay the first."""


class _Job(NamedTuple):
    work: Callable[[Session], Any]
    future: Future[Any]


class GroupWriter:
    """Runs writes one after another on a thread of its own, and commits them in groups.

    Every write after the first has a savepoint: one that fails is rolled back alone. A write's
    future ends only after the commit that made it durable. SQLite has one writer anyway; sharing
    the commit means sharing the fsync (group commit, DeWitt et al. 1984).

    Args:
        connection: The connection; only the thread uses it from now on.
        session: The session on that connection.
        path: Named in errors.
    """

    def __init__(self, connection: Database, session: SQLiteSession, path: str) -> None:
        self._connection = connection
        self._session = session
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self.listeners: list[Callable[[], None]] = []
        self._thread = threading.Thread(
            target=self._run, name=f"chrysalis-writer {path}", daemon=True
        )
        self._thread.start()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Queue a write.

        Raises:
            StoreClosed: the writer was closed.
        """
        job = _Job(work, Future())
        with self._lock:
            if self._closed:
                raise StoreClosed(f"the store {self._path!r} is closed; open it again")
            self._jobs.put(job)
        return job.future

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs on the writing thread, where waiting for a write cannot end."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Finish what was queued and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            goes_on = self._commit_group(job)
            for listener in self.listeners:
                listener()
            if not goes_on:
                return

    def _commit_group(self, first: _Job) -> bool:
        """Run ``first`` and all that waits behind it; tell whether to go on afterwards."""
        group = _Group(self._jobs, first)
        done: list[tuple[_Job, Any]] = []
        try:
            with translated_errors(self._path):
                self._connection.execute("BEGIN IMMEDIATE")
                self._session.begin()
        except StorageError as error:
            group.fail_waiting(error)
            return not group.ended
        for job in group.jobs():
            if not job.future.set_running_or_notify_cancel():
                continue
            failure = self._run_one(job, done)
            if failure is not None and not self._connection.in_transaction:
                # Rolled back as a whole: by us, before anything was done, or by SQLite, which gives
                # up a transaction when the disk is full or fails. Nothing of it holds.
                _fail([earlier for earlier, _ in done], failure)
                return not group.ended
        self._commit(done)
        return not group.ended

    def _run_one(self, job: _Job, done: list[tuple[_Job, Any]]) -> BaseException | None:
        marks = self._session.mark()
        is_first = not done
        try:
            # The transaction is all that the first needs: there is nothing before it to keep.
            if not is_first:
                self._connection.execute("SAVEPOINT job")
            result = job.work(self._session)
            if not is_first:
                self._connection.execute("RELEASE job")
        except BaseException as error:  # noqa: BLE001 - handed to the caller through the future
            failure = translated(error, self._path)
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK" if is_first else "ROLLBACK TO job")
                if not is_first:
                    self._connection.execute("RELEASE job")
                self._session.undo(marks)
            job.future.set_exception(failure)
            return failure
        done.append((job, result))
        return None

    def _commit(self, done: list[tuple[_Job, Any]]) -> None:
        try:
            with translated_errors(self._path):
                self._session.write_collected()
                self._connection.execute("COMMIT")
        except StorageError as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            _fail([job for job, _ in done], error)
            return
        for job, result in done:
            job.future.set_result(result)


class _Group:
    """The jobs of one commit: the first, and those that wait while it runs."""

    def __init__(self, jobs: "queue.SimpleQueue[_Job | None]", first: _Job) -> None:
        self._jobs = jobs
        self._first = first
        self.ended = False

    def jobs(self) -> Iterator[_Job]:
        deadline = time.monotonic() + GROUP_SECONDS_MAX
        yield self._first
        for _ in range(GROUP_JOBS_MAX - 1):
            job = None if time.monotonic() > deadline else self._next()
            if job is None:
                return
            yield job

    def fail_waiting(self, error: StorageError) -> None:
        # Those that wait would each wait the whole timeout in turn; they fail with the first.
        job: _Job | None = self._first
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(error)
            job = self._next()

    def _next(self) -> _Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        self.ended = job is None
        return job


def _fail(jobs: list[_Job], error: BaseException) -> None:
    for job in jobs:
        job.future.set_exception(error)
