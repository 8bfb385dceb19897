"""One writing thread per open store: each write is a transaction, run again if it must be."""

from collections.abc import Callable, Collection
from typing import Any

import psycopg

from chrysalis_memory.backends.jobs import Job, JobThread
from chrysalis_memory.backends.postgres.failures import may_run_again, translated, was_cut_off
from chrysalis_memory.backends.postgres.mending import MendingSession

ATTEMPTS = 8
"""How often a write is run that PostgreSQL gives up for a deadlock, the first time included."""


class Writer(JobThread):
    """Runs writes in the order in which they come, on a thread of its own.

    Each is a transaction of its own: in one shared with others, memories would stay locked for
    longer, and in an order that nobody chose. Other processes write at the same time.

    Args:
        connect: Opens a session on a new connection.
        shown: The store's URL without its password, for errors.
    """

    def __init__(self, connect: Callable[[], MendingSession], shown: str) -> None:
        super().__init__(shown)
        self._connect = connect
        self._session: MendingSession | None = None
        self.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.begins():
                self._finish(job)
            self.tell()
        self._disconnect()

    def _finish(self, job: Job) -> None:
        asked = set[str]()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                result = self._attempt(job, asked)
            except BaseException as error:  # noqa: BLE001 - handed to the caller through the future
                if attempt < ATTEMPTS and self._may_run_again(error):
                    # What it asked for one by one is locked in order when it is run again.
                    asked |= set() if self._session is None else self._session.asked
                    continue
                job.fail(translated(error, self._shown))
                return
            job.succeed(result)
            return

    def _may_run_again(self, error: BaseException) -> bool:
        # Once it was told to commit, a server that is gone may have done so.
        session = self._session
        cut_off = was_cut_off(error) and session is not None and not session.is_committing
        return may_run_again(error) or cut_off

    def _attempt(self, job: Job, asked: Collection[str]) -> Any:
        session = self._session
        if session is None or session.direct.connection.closed:
            session = self._session = self._connect()
        session.begin()
        session.direct.begin()
        try:
            session.prefetch(asked)
            result = job.work(session)
            session.commit()
        except BaseException:
            self._roll_back(session)
            raise
        return result

    def _roll_back(self, session: MendingSession) -> None:
        try:
            session.direct.rollback()
        except psycopg.Error:
            # Why the work failed is told already; a connection in doubt is not used again.
            session.direct.connection.close()

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.direct.connection.close()
            self._session = None
