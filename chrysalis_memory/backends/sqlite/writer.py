"""One writing thread per open store: writes that wait together share one commit."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import apsw

from chrysalis_memory.backends.base import Session
from chrysalis_memory.backends.jobs import Job, JobThread
from chrysalis_memory.backends.sqlite.connection import translated, translated_errors
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.session import SQLiteSession
from chrysalis_memory.errors import StorageError, StoreClosed

T = TypeVar("T")

GROUP_JOBS_MAX = 512
GROUP_SECONDS_MAX = 0.05
"""A group is committed after this long, so that a stream of writes cannot delay the first."""


class GroupWriter(JobThread):
    """Runs writes one after another on a thread of its own, and commits them in groups.

    Every write after the first has a savepoint: one that fails is rolled back alone. A write's
    future ends only after the commit that made it durable. SQLite has one writer anyway; sharing
    the commit means sharing the fsync (group commit, DeWitt et al. 1984).

    Who waits for a write anyway does it in its own thread while nobody else writes: waking another
    thread and being woken takes a tenth of the time of a durable write.

    Args:
        connection: The connection; only the writer uses it from now on.
        session: The session on that connection.
        path: Named in errors.
    """

    def __init__(self, connection: Database, session: SQLiteSession, path: str) -> None:
        super().__init__(path)
        self._connection = connection
        self._session = session
        self._path = path
        self._turn = threading.Lock()
        """Held by who uses the connection."""
        self._is_busy = False
        """Whether the thread has a job."""
        self._inside: int | None = None
        """The thread that writes."""
        self.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._is_busy = True
            with self._turn:
                goes_on = self._commit_group(job)
            self._is_busy = False
            self._tell()
            if not goes_on:
                return

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def run(self, work: Callable[[Session], T]) -> T:
        """See :meth:`JobThread.run`."""
        if self._is_busy or not self._jobs.empty() or not self._turn.acquire(blocking=False):
            return self.submit(work).result()
        try:
            if self._closed:
                raise StoreClosed(f"the store {self._path!r} is closed; open it again")
            result = self._commit_alone(work)
        finally:
            self._turn.release()
        self._tell()
        return result

    def _commit_alone(self, work: Callable[[Session], T]) -> T:
        # Others that begin to wait meanwhile are the thread's, or this one would wait for them.
        self._inside = threading.get_ident()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._session.begin_writing()
            result = work(self._session)
            self._session.write_collected()
            self._connection.execute("COMMIT")
            self._session.end_writing()
        except apsw.Error as error:
            raise translated(error, self._path) from error
        finally:
            self._inside = None
            if self._connection.in_transaction:  # it failed, or Ctrl-C came between two steps
                self._connection.execute("ROLLBACK")
        return result

    def alone(self, work: Callable[[Database], T]) -> T:
        """Run ``work`` on the connection outside a transaction, while no write runs.

        Raises:
            StoreClosed: the writer was closed.
            StorageError: called from inside a write, which would wait for itself; or SQLite failed.
        """
        if self.is_inside:
            raise StorageError("a file cannot be cleaned inside a write; let the write end first")
        with self._turn:
            if self._closed:
                raise StoreClosed(f"the store {self._path!r} is closed; open it again")
            with translated_errors(self._path):
                return work(self._connection)

    @property
    def is_inside(self) -> bool:
        """Whether the caller runs inside a write, where waiting for another cannot end."""
        return threading.get_ident() == self._inside

    def close(self) -> None:
        """Finish what was queued or is being written, and end the thread."""
        super().close()
        with self._turn:
            pass

    def _commit_group(self, first: Job) -> bool:
        """Run ``first`` and all that waits behind it; tell whether to go on afterwards."""
        self._inside = threading.get_ident()
        try:
            return self._commit_all(_Group(self._jobs, first))
        finally:
            self._inside = None

    def _commit_all(self, group: "_Group") -> bool:
        done: list[tuple[Job, Any]] = []
        try:
            with translated_errors(self._path):
                self._connection.execute("BEGIN IMMEDIATE")
                self._session.begin_writing()
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

    def _run_one(self, job: Job, done: list[tuple[Job, Any]]) -> BaseException | None:
        is_first = not done
        marks = None if is_first else self._session.mark()
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
                if marks is None:
                    self._connection.execute("ROLLBACK")
                else:
                    self._connection.execute("ROLLBACK TO job")
                    self._connection.execute("RELEASE job")
                    self._session.undo(marks)
            job.future.set_exception(failure)
            return failure
        done.append((job, result))
        return None

    def _commit(self, done: list[tuple[Job, Any]]) -> None:
        try:
            with translated_errors(self._path):
                self._session.write_collected()
                self._connection.execute("COMMIT")
            self._session.end_writing()
        except StorageError as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            _fail([job for job, _ in done], error)
            return
        for job, result in done:
            job.future.set_result(result)


class _Group:
    """The jobs of one commit: the first, and those that wait while it runs."""

    def __init__(self, jobs: "queue.SimpleQueue[Job | None]", first: Job) -> None:
        self._jobs = jobs
        self._first = first
        self.ended = False

    def jobs(self) -> Iterator[Job]:
        deadline = time.monotonic() + GROUP_SECONDS_MAX
        yield self._first
        for _ in range(GROUP_JOBS_MAX - 1):
            job = None if time.monotonic() > deadline else self._next()
            if job is None:
                return
            yield job

    def fail_waiting(self, error: StorageError) -> None:
        # Those that wait would each wait the whole timeout in turn; they fail with the first.
        job: Job | None = self._first
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(error)
            job = self._next()

    def _next(self) -> Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        self.ended = job is None
        return job


def _fail(jobs: list[Job], error: BaseException) -> None:
    for job in jobs:
        job.future.set_exception(error)
