"""A store, and the engine beneath it, as a view shows them."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import NoReturn, Self, TypeVar, cast

from chrysalis_memory.backends.base import Backend, Session
from chrysalis_memory.errors import OutOfView
from chrysalis_memory.storage import MemoryStorage
from chrysalis_memory.transaction import Transaction
from chrysalis_memory.views.session import ConfinedSession
from chrysalis_memory.views.transaction import ConfinedTransaction
from chrysalis_memory.visibility import Visibility

T = TypeVar("T")


class _ConfinedBackend:
    """Gives out confined sessions of another engine, and nothing else of it."""

    def __init__(self, backend: Backend, visibility: Visibility) -> None:
        self._whole = backend
        self._visibility = visibility

    def __getattr__(self, name: str) -> NoReturn:
        raise OutOfView(
            f"a view of a memory cannot do this ({name} is for the whole store); "
            "ask the memory that the view was made of"
        )

    def read(self, work: Callable[[Session], T], *, snapshot: bool = True) -> T:
        """See :meth:`Backend.read`; always a snapshot, for what is read is looked at twice."""
        del snapshot
        return self._whole.read(lambda session: work(self._confined(session)))

    def write(self, work: Callable[[Session], T]) -> "Future[T]":
        """See :meth:`Backend.write`."""
        self._check_writing()
        return self._whole.write(lambda session: work(self._confined(session)))

    def run(self, work: Callable[[Session], T]) -> T:
        """See :meth:`Backend.run`."""
        self._check_writing()
        return self._whole.run(lambda session: work(self._confined(session)))

    def _confined(self, session: Session) -> Session:
        return cast("Session", ConfinedSession(session, self._visibility))

    def _check_writing(self) -> None:
        if self._visibility.is_read_only:
            raise OutOfView("this view of the memory only reads; nothing was changed")


class ConfinedStorage(MemoryStorage):
    """A store of which only a view is shown; made by :meth:`of`."""

    _visibility: Visibility
    _whole: MemoryStorage

    @classmethod
    def of(cls, storage: MemoryStorage, visibility: Visibility) -> Self:
        """Return a view of an open store, which stays with whoever opened it."""
        view = object.__new__(cls)
        view._visibility = visibility
        view._whole = storage
        view._backend = cast("Backend", _ConfinedBackend(storage._backend, visibility))
        view._temporary = None
        view.path, view.clock = storage.path, storage.clock
        view.follow(storage)
        return view

    def follow(self, storage: MemoryStorage) -> None:
        """Take over the names of the store, which a sync may renew."""
        self.instance, self.replica = storage.instance, storage.replica

    def tidy(self) -> None:
        """See :meth:`MemoryStorage.tidy`; it shows nothing of the store."""
        self._whole.tidy()

    def _transaction(self, session: Session) -> Transaction:
        confined = cast("ConfinedSession", session)
        return ConfinedTransaction(confined, self._visibility, self.instance, self.clock)
