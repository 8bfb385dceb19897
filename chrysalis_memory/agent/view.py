"""A memory restricted to a namespace: for one of several users of a store.

A view has every method of the memory. What lies outside is neither found nor named: an id of it is
unknown, a count leaves it out, and so does what a word is worth to recall. What concerns the store
as a whole, such as syncing and backups, is refused.

An id that is given in a view means the memory of the view that has it, or else one below its
namespace: ``learn(text, id="tea")`` in ``"user/alice"`` returns ``"user/alice/tea"``, which
``"tea"`` names from then on. Links and evidence are taken alike, and those that name nothing in the
view are not shown. A forgotten memory is as one that never was; learning its text brings it back.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Unpack

from chrysalis_memory import learning
from chrysalis_memory.absorbing import AbsorbReport
from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import OutOfView
from chrysalis_memory.extractors import Extractor, Message
from chrysalis_memory.integrity import IntegrityReport
from chrysalis_memory.learner import Learner, LearnReport
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.recall import Recollection
from chrysalis_memory.recaller import Recaller, RecallOptions
from chrysalis_memory.repair import RepairReport
from chrysalis_memory.running import Running
from chrysalis_memory.storage import MemoryStorage
from chrysalis_memory.syncing import PeerStatus, SyncProgress, SyncReport
from chrysalis_memory.transaction import Transaction
from chrysalis_memory.views.storage import ConfinedStorage
from chrysalis_memory.visibility import Visibility
from embedders.base import Embedder

T = TypeVar("T")


class MemoryView(AgentMemory):
    """A namespace of a memory and all below it; made by :meth:`AgentMemory.within`.

    Starting it starts the memory if that is not started yet, and then stopping it stops that.
    """

    def __init__(self, whole: AgentMemory, namespace: str, *, read_only: bool = False) -> None:
        if isinstance(whole, MemoryView):
            whole._visibility.check(namespace)
            read_only = read_only or whole.is_read_only
            whole = whole._whole
        self._whole: AgentMemory = whole
        self._visibility = Visibility(namespace, read_only)
        self._confined: _Confined | None = None
        self._has_started = False
        self.agent_id = whole.agent_id
        self.config = whole.config

    @property
    def namespace(self) -> str:
        """The root of the view."""
        return self._visibility.namespace

    @property
    def is_read_only(self) -> bool:
        """Whether every write is refused."""
        return self._visibility.is_read_only

    # Starting and stopping

    async def start(self, *, progress: Progress | None = None) -> None:
        """Start the memory that this is a view of, unless it is started; raises as that does."""
        if self._whole.loop is None:
            await self._whole.start(progress=progress)
            self._has_started = True

    async def stop(self) -> None:
        """Stop the memory if it was started by this view."""
        if self._has_started:
            self._has_started = False
            await self._whole.stop()

    @property
    def _open(self) -> Running:
        running = self._whole._open
        if self._confined is None or self._confined.whole is not running:
            self._confined = _Confined(running, self._visibility)
        self._confined.follow()
        return self._confined

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the memory was started on; ``None`` if it is stopped."""
        return self._whole.loop

    # Writing

    async def learn_many(
        self,
        memories: Iterable[str | NewMemory | Mapping[str, Any]],
        *,
        progress: Progress | None = None,
    ) -> list[str]:
        """Store many memories in the view; see :meth:`AgentMemory.learn_many`.

        Raises:
            OutOfView: one is to lie outside; nothing was stored.
        """
        if isinstance(memories, str | Mapping):
            return await super().learn_many(memories)  # pyright: ignore[reportUnknownArgumentType]
        new = [learning.new_memory(memory, number) for number, memory in enumerate(memories)]
        return await super().learn_many(map(self._placed, new), progress=progress)

    async def learn_each(
        self,
        memories: Iterable[str | NewMemory | Mapping[str, Any]],
        *,
        progress: Progress | None = None,
    ) -> LearnReport:
        """Store many memories in the view, each by itself; those that are to lie outside not."""
        if isinstance(memories, str | Mapping):
            return await super().learn_each(memories)  # pyright: ignore[reportUnknownArgumentType]
        here = [self._placed_here(memory) for memory in memories]
        return await super().learn_each(here, progress=progress)

    def _placed(self, new: NewMemory) -> NewMemory:
        return new.model_copy(update={"namespace": self._visibility.place(new.namespace)})

    def _placed_here(
        self, memory: str | NewMemory | Mapping[str, Any]
    ) -> str | NewMemory | Mapping[str, Any]:
        """Return what is learned with its namespace, if it names none; the store checks others."""
        if isinstance(memory, NewMemory):
            placed = {} if memory.namespace is not None else {"namespace": self.namespace}
            return memory.model_copy(update=placed)
        given = memory if isinstance(memory, Mapping) else {"content": memory}
        return (
            given if given.get("namespace") is not None else {**given, "namespace": self.namespace}
        )

    async def absorb(
        self,
        messages: Iterable[Message | Mapping[str, Any]],
        *,
        extractor: Extractor | None = None,
        episode: str | None = None,
        namespace: str | None = None,
        observed_at: datetime | None = None,
        keep_turns: bool = False,
        first_position: int = 1,
        source: str | None = None,
        progress: Progress | None = None,
    ) -> AbsorbReport:
        """Keep what is worth keeping of a conversation; see :meth:`AgentMemory.absorb`.

        Raises:
            OutOfView: it is to lie outside, or the view only reads.
        """
        self._check_writing()
        return await super().absorb(
            messages,
            extractor=extractor,
            episode=episode,
            namespace=self._visibility.place(namespace),
            observed_at=observed_at,
            keep_turns=keep_turns,
            first_position=first_position,
            source=source,
            progress=progress,
        )

    async def update(self, memory_id: str, **changes: Any) -> MemoryDocument:
        """Change a memory of the view; see :meth:`AgentMemory.update`.

        Raises:
            OutOfView: it is to be moved outside.
        """
        namespace = MemoryChange.of(**changes).namespace
        if namespace is not None:
            self._visibility.check(namespace)
        return await super().update(memory_id, **changes)

    def _check_import(self, document: MemoryDocument) -> None:
        if not document.is_forgotten:
            self._visibility.check(document.namespace)

    def _check_writing(self) -> None:
        if self.is_read_only:
            raise OutOfView("this view of the memory only reads; nothing was changed")

    # Reading

    async def recall_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        track: bool = True,
        **options: Unpack[RecallOptions],
    ) -> list[list[Recollection]]:
        """Answer many queries; a view that only reads counts no uses."""
        counts = track and not self.is_read_only
        return await super().recall_many(queries, k, track=counts, **options)

    async def sync_status(self) -> list[PeerStatus]:
        """Return nothing: a view has no peers."""
        return []

    # What concerns the whole store

    def embed_soon(self) -> None:
        """Refuse, as all that follows: it is for the whole store."""
        _refuse("embed_soon")

    async def embed_pending(self, *, progress: Progress | None = None) -> int:
        """Refuse; the memory embeds what waits by itself."""
        _refuse("embed_pending")

    async def reindex(
        self, embedder: Embedder | str | None = None, *, progress: Progress | None = None
    ) -> int:
        """Refuse."""
        _refuse("reindex")

    async def check(self, *, progress: Progress | None = None) -> IntegrityReport:
        """Refuse."""
        _refuse("check")

    async def repair(self, *, progress: Progress | None = None) -> RepairReport:
        """Refuse."""
        _refuse("repair")

    async def erase(self, memory_id: str, *more: str) -> int:
        """Refuse; :meth:`forget`, and whoever has the whole store leaves no byte."""
        _refuse("erase")

    async def sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        key: str | None = None,
        progress: SyncProgress | None = None,
    ) -> SyncReport:
        """Refuse; :meth:`export` writes what a view holds."""
        _refuse("sync")

    async def keep_in_sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        key: str | None = None,
        told: Callable[[PeerStatus], None] = lambda _: None,
    ) -> None:
        """Refuse."""
        _refuse("keep_in_sync")

    async def backup(self, path: str | Path) -> None:
        """Refuse; :meth:`export` writes what a view holds."""
        _refuse("backup")

    async def clone(self, path: str | Path) -> str:
        """Refuse; :meth:`export` writes what a view holds."""
        _refuse("clone")


def _refuse(what: str) -> NoReturn:
    raise OutOfView(
        f"a view of a memory cannot do this: {what} is for the whole store; "
        "ask the memory that the view was made of"
    )


class _Confined(Running):
    """What a view holds: a confined store, and of the started memory what shows nothing of others.

    Args:
        whole: The started memory.
        visibility: What lies in the view.
    """

    storage: MemoryStorage

    def __init__(self, whole: Running, visibility: Visibility) -> None:
        self.whole = whole
        self.queue = whole.queue
        self.storage = self._view = ConfinedStorage.of(whole.storage, visibility)
        self.learner = Learner(self.queue, self.write, whole.config)
        self.recaller = Recaller(self.storage, self.queue, whole.config, self.in_thread)

    def follow(self) -> None:
        """Write under the name that the store has now."""
        self._view.follow(self.whole.storage)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on a reading thread."""
        return await self.whole.in_thread(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction on the store's writing thread."""
        return await self.whole.written(lambda: self._submitted(work))

    def _submitted(self, work: Callable[[Transaction], T]) -> "Future[T]":
        self.follow()
        return self.storage.submit(work)

    def arrived(self) -> None:
        """Go on after memories have come from elsewhere."""
        self.whole.arrived()

    def count_access(self, memories: Sequence[Recollection]) -> None:
        """Note uses, to be written together with others."""
        self.whole.count_access(memories)

    async def flush_access(self) -> None:
        """Write the noted uses."""
        await self.whole.flush_access()

    async def settle(self) -> None:
        """Write the noted uses if that is quick."""
        await self.whole.settle()
