"""One writing thread per open store: writes that wait together share one commit."""

import queue
import time
from collections.abc import Iterator
from typing import Any

from chrysalis_memory.backends.jobs import Job, JobThread
from chrysalis_memory.backends.sqlite.connection import translated, translated_errors
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.session import SQLiteSession
from chrysalis_memory.errors import StorageError

GROUP_JOBS_MAX = 512
GROUP_SECONDS_MAX = 0.05
"""A group is committed after this long, so that a stream of writes cannot delay the first."""


class GroupWriter(JobThread):
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
        super().__init__(path)
        self._connection = connection
        self._session = session
        self._path = path
        self.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            goes_on = self._commit_group(job)
            for listener in self.listeners:
                listener()
            if not goes_on:
                return

    def _commit_group(self, first: Job) -> bool:
        """Run ``first`` and all that waits behind it; tell whether to go on afterwards."""
        group = _Group(self._jobs, first)
        done: list[tuple[Job, Any]] = []
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

    def _run_one(self, job: Job, done: list[tuple[Job, Any]]) -> BaseException | None:
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

    def _commit(self, done: list[tuple[Job, Any]]) -> None:
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
