"""One writing thread per open store: writes that wait together share one commit."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import apsw

from chrysalis_memory.backends.base import Session
from chrysalis_memory.backends.jobs import Job, JobThread
from chrysalis_memory.backends.sqlite.cleaning import truncate
from chrysalis_memory.backends.sqlite.connection import (
    costs_connection,
    raise_explained,
    waiting,
)
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.mending import MendingSession
from chrysalis_memory.backends.sqlite.turns import Turns
from chrysalis_memory.errors import StorageError, StoreClosed

T = TypeVar("T")

logger = logging.getLogger("chrysalis_memory")

LOG_BYTES_LONG = 24 << 20
"""A log of this length is emptied; as long as that fails, again after each further 8 MiB."""
_LOG_BYTES_STEP = 8 << 20
_LOG_SECONDS_MAX = 0.5
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

    A failure of SQLite, be it of disk or memory, costs the connection: it is closed, which rolls
    back what is open however little memory there is, and the next write opens another. FTS5 goes on
    with what it holds in RAM after memory ran out, and would write an index that is damaged.

    Args:
        open_session: Opens a connection with a session, which only the writer uses.
        path: Named in errors.
        timeout_seconds: How long a write waits for another process.
        explained: Returns what is to be raised for an error.
    """

    def __init__(
        self,
        open_session: Callable[[], MendingSession],
        path: str,
        *,
        timeout_seconds: float,
        explained: Callable[[BaseException], BaseException],
    ) -> None:
        super().__init__(path)
        self._explained = explained
        self._open_session = open_session
        self._session = open_session()
        self._connection = self._session.connection
        self._is_open = True
        self._path = path
        self._log = Path(path + "-wal")
        self._log_bytes_long = LOG_BYTES_LONG
        self._timeout_seconds = timeout_seconds
        self._turns = Turns()
        self._turn = threading.Lock()
        """Held by who uses the connection."""
        self._is_busy = False
        """Whether the thread has a job."""
        self._inside: int | None = None
        """The thread that writes."""
        self.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            group: _Group | None = None
            self._is_busy = True
            # Whatever fails here, as when memory runs out, the thread is every later write's, too.
            try:
                with self._turn:
                    group = _Group(self._jobs, job)
                    self._commit_group(group)
                    self._watch_log()
            except Exception as error:
                logger.exception("the writer of %r failed outside of a write", self._path)
                (group or job).fail(error)
            self._is_busy = False
            self.tell()
            if group is not None and group.ended:
                return

    def run(self, work: Callable[[Session], T]) -> T:
        """See :meth:`JobThread.run`."""
        if self._is_busy or not self._jobs.empty() or not self._turn.acquire(blocking=False):
            return self.submit(work).result()
        try:
            if self._closed:
                raise StoreClosed(f"the store {self._path!r} is closed; open it again")
            result = self._commit_alone(work)
            self._watch_log()
        finally:
            self._turn.release()
        self.tell()
        return result

    def _commit_alone(self, work: Callable[[Session], T]) -> T:
        # Others that begin to wait meanwhile are the thread's, or this one would wait for them.
        self._inside = threading.get_ident()
        try:
            self._begin()
            result = work(self._session)
            self._end()
        except BaseException as error:
            self._give_up(error)
            raise_explained(error, self._explained)
            raise
        finally:
            self._inside = None
        return result

    def _make_ready(self) -> None:
        if not self._is_open:
            self._session = self._open_session()
            self._connection, self._is_open = self._session.connection, True
        if self._connection.in_transaction:  # Ctrl-C came before it was rolled back
            self._connection.execute("ROLLBACK")

    def _begin(self) -> None:
        self._make_ready()
        self._turns.begin()
        self._connection.execute("BEGIN IMMEDIATE")
        if self._session.begin_writing():
            self._turns.others_wrote()

    def _end(self) -> None:
        self._session.write_collected()
        self._connection.execute("COMMIT")
        self._turns.end()
        self._session.end_writing()

    def _give_up(self, error: BaseException) -> None:
        """Roll back what is open, and close the connection where SQLite has failed."""
        if not self._is_open:
            return
        if costs_connection(error) or not self._is_rolled_back():
            self._is_open = False
            self._connection.close(True)

    def _is_rolled_back(self) -> bool:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except (apsw.Error, MemoryError):
            return False  # the caller is told why the write failed, not what came of it
        return True

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
            try:
                self._make_ready()
                return work(self._connection)
            except BaseException as error:
                self._give_up(error)
                raise_explained(error, self._explained)
                raise

    def _watch_log(self) -> None:
        """Empty the log if it has grown long because others read all the time.

        SQLite begins it anew only in a moment when nobody reads from it.
        """
        try:
            size = self._log.stat().st_size
        except OSError:
            return  # there is none before the first write
        if size < self._log_bytes_long or not self._is_open:
            return
        try:
            wait_seconds = min(_LOG_SECONDS_MAX, self._timeout_seconds)
            with waiting(self._connection, wait_seconds, usually_seconds=self._timeout_seconds):
                truncate(self._connection)
        except apsw.BusyError:
            self._log_bytes_long = size + _LOG_BYTES_STEP
        except apsw.Error:
            # What was written is in the log, and durable.
            self._log_bytes_long = size + _LOG_BYTES_STEP
            logger.warning("the log of %r could not be emptied", self._path, exc_info=True)
        else:
            self._log_bytes_long = LOG_BYTES_LONG

    @property
    def is_inside(self) -> bool:
        """Whether the caller runs inside a write, where waiting for another cannot end."""
        return threading.get_ident() == self._inside

    def close(self) -> None:
        """Finish what was queued or is being written, and end the thread."""
        super().close()
        with self._turn:
            pass

    def release(self) -> None:
        """Close the connection, after :meth:`close`."""
        if self._is_open:
            self._is_open = False
            self._connection.close()

    def _commit_group(self, group: "_Group") -> None:
        """Run the jobs of a group and commit them; whatever happens, each future ends."""
        self._inside = threading.get_ident()
        try:
            self._commit_all(group)
        except BaseException as error:  # noqa: BLE001 - handed to the callers through the futures
            self._give_up(error)
            group.fail(self._explained(error))
        finally:
            self._inside = None

    def _commit_all(self, group: "_Group") -> None:
        try:
            self._begin()
        except (apsw.Error, StorageError):
            group.take_all()  # each would wait the whole timeout in turn; they fail together
            raise
        done: list[tuple[Job, Any]] = []
        for job in group.jobs():
            if job.begins():
                done += self._run_one(job, is_first=not done)
        self._end()
        for job, result in done:
            job.succeed(result)

    def _run_one(self, job: Job, *, is_first: bool) -> list[tuple[Job, Any]]:
        """Run a job; return it with its result, or nothing if it failed alone.

        Raises:
            BaseException: it failed, and nothing that was done before it holds.
        """
        connection = self._connection
        if is_first:  # the transaction is all that it needs: there is nothing before it to keep
            return [(job, job.work(self._session))]
        marks = self._session.mark()
        connection.execute("SAVEPOINT job")
        try:
            result = job.work(self._session)
            connection.execute("RELEASE job")
        except BaseException as error:
            # SQLite gives up the whole transaction when, for example, the disk is full.
            if costs_connection(error) or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            self._session.undo(marks)
            job.fail(self._explained(error))
            return []
        return [(job, result)]


class _Group:
    """The jobs of one commit: the first, and those that wait while it runs."""

    def __init__(self, jobs: "queue.SimpleQueue[Job | None]", first: Job) -> None:
        self._jobs = jobs
        self._taken = [first]
        self.ended = False

    def jobs(self) -> Iterator[Job]:
        """Iterate over the jobs, taking those that wait one by one."""
        deadline = time.monotonic() + GROUP_SECONDS_MAX
        yield self._taken[0]
        while len(self._taken) < GROUP_JOBS_MAX and time.monotonic() <= deadline:
            job = self._next()
            if job is None:
                return
            yield job

    def take_all(self) -> None:
        """Take all jobs that wait."""
        while self._next() is not None:
            pass

    def fail(self, error: BaseException) -> None:
        """End all jobs that were taken and have not ended."""
        for job in self._taken:
            job.fail(error)

    def _next(self) -> Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self.ended = True
        else:
            self._taken.append(job)
        return job
