"""What an agent's memory holds while it is started: store, threads, embedder, background work."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from chrysalis_memory.config import AgentMemoryConfig
from chrysalis_memory.database_url import DatabaseURL, require_file
from chrysalis_memory.deliveries import Deliveries
from chrysalis_memory.embedding_queue import EmbeddingQueue, Progress
from chrysalis_memory.errors import (
    EmbeddingSpaceMismatch,
    StorageError,
)
from chrysalis_memory.learner import Learner
from chrysalis_memory.readers import Readers, open_in_thread
from chrysalis_memory.recall import Recollection
from chrysalis_memory.recaller import Recaller
from chrysalis_memory.search import active_space
from chrysalis_memory.storage import MemoryStorage
from chrysalis_memory.syncing import Syncing
from chrysalis_memory.transaction import Transaction
from embedders.base import Embedder
from embedders.errors import EmbedderUnavailable
from embedders.resolve import as_embedder

T = TypeVar("T")
DEFAULT_EMBEDDER = "minilm"

Chosen = tuple[str | None, Embedder | None]
"""An embedder's name, where it has one, and the embedder; without one the file's own is used."""

_READERS = 4
_SETTLE_SECONDS = 0.2

logger = logging.getLogger("chrysalis_memory")


def choose(embedder: Embedder | Callable[[str], Any] | str | None) -> Chosen:
    """Return an embedder with the name it was chosen by."""
    name = embedder if isinstance(embedder, str) else None
    return name, None if embedder is None else as_embedder(embedder)


class Running:
    """The parts of a started memory; one per :meth:`AgentMemory.start`."""

    storage: MemoryStorage
    queue: EmbeddingQueue
    learner: Learner
    recaller: Recaller
    syncing: Syncing

    def __init__(self, config: AgentMemoryConfig, agent_id: str, *, must_exist: bool) -> None:
        self.config = config
        self._agent_id = agent_id
        self._must_exist = must_exist
        self._readers = Readers(_READERS)
        self._storage: MemoryStorage | None = None
        self._queue: EmbeddingQueue | None = None
        self._deliveries = Deliveries(asyncio.get_running_loop())
        self._tasks: list[asyncio.Task[None]] = []
        self._uses: Counter[str] = Counter()

    async def open(
        self,
        path: str | Path | DatabaseURL,
        chosen: Chosen,
        progress: Progress | None,
    ) -> None:
        """Open the store, make sure of its embedding space, and start background work.

        Raises:
            EmbeddingSpaceMismatch: another embedder made the file's vectors.
            StorageError: the file cannot be opened.
        """
        config = self.config
        self._storage = self.storage = await open_in_thread(
            self.in_thread,
            lambda: self._open_storage(path),
            lambda storage: self.in_thread(storage.close),
        )
        self.storage.on_group_end(self._deliveries.deliver)
        self._name_writer()
        name, embedder = chosen
        if embedder is None:
            space = await self.in_thread(lambda: self.storage.read(active_space))
            name = (space.name if space is not None else None) or DEFAULT_EMBEDDER
            embedder = as_embedder(name)
        self._queue = self.queue = EmbeddingQueue(
            self.storage,
            embedder,
            name=name,
            batch=config.embedding_batch,
            in_thread=self.in_thread,
            tokens=config.late_interaction,
        )
        self.learner = Learner(self.queue, self.write, config)
        self.recaller = Recaller(self.storage, self.queue, config, self.in_thread)
        self.syncing = Syncing(
            self.storage,
            config,
            in_thread=self.in_thread,
            before=self.flush_access,
            arrived=self.arrived,
        )
        try:
            await self.queue.space()
        except EmbedderUnavailable as error:
            logger.warning(
                "memories are found by their words until the embedder answers: %s", error
            )
        except EmbeddingSpaceMismatch:
            if config.on_embedder_change == "refuse":
                raise
            await self.queue.reindex(embedder, name, progress)
        await self.syncing.release()
        background = (self.queue.run(), self._flush(), *self.syncing.work())
        self._tasks = [asyncio.create_task(work) for work in background]

    def _open_storage(self, path: str | Path | DatabaseURL) -> MemoryStorage:
        if self._must_exist:
            require_file(path)
        return MemoryStorage(
            path,
            self._agent_id,
            timeout_seconds=self.config.timeout_seconds,
            synchronous=self.config.synchronous,
            index_ram_bytes=self.config.index_ram_bytes,
            vector_storage=self.config.vector_storage,
            key=self.config.key,
        )

    async def close(self) -> None:
        """Write what is outstanding and release everything."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                logger.error("background work had failed", exc_info=outcome)
        if self._storage is not None:
            try:
                await self.flush_access()
            finally:
                await self.in_thread(self._storage.close)
        if self._queue is not None and self._queue.name is not None:
            # An embedder given as an object belongs to the caller, who may share it.
            await self._queue.embedder.close()
        self._readers.close()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on a reading thread."""
        return await self._readers.run(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction on the store's writing thread."""
        return await self.written(lambda: self.storage.submit(work))

    async def written(self, submit: Callable[[], "Future[T]"]) -> T:
        """Submit a write under the name of who writes, and wait for it."""
        self._name_writer()
        return await self._deliveries.wrap(submit())

    def _name_writer(self) -> None:
        """Write as the agent on this replica, whose id a sync may renew."""
        self.storage.instance = f"{self._agent_id}@{self.storage.replica}"

    def arrived(self) -> None:
        """Go on after memories have come from elsewhere."""
        self._name_writer()
        self.queue.wake()

    # Use counts

    def count_access(self, memories: Sequence[Recollection]) -> None:
        """Note uses, to be written together with others."""
        self._uses.update(memory.id for memory in memories)

    async def flush_access(self) -> None:
        """Write the noted uses; what cannot be written now stays noted.

        Raises:
            StorageError: the store could not write.
        """
        if not self._uses:
            return
        uses, self._uses = self._uses, Counter()
        written = self._deliveries.wrap(
            self.storage.submit(lambda transaction: transaction.count_access(uses))
        )
        written.add_done_callback(lambda done: self._keep_unwritten(done, uses))
        await asyncio.shield(written)  # cancelling the caller does not drop the counts

    def _keep_unwritten(self, written: "asyncio.Future[None]", uses: Counter[str]) -> None:
        if written.cancelled() or written.exception() is not None:
            self._uses.update(uses)

    async def settle(self) -> None:
        """Write the noted uses if that is quick, so that what is read next shows them.

        Reading never waits for another process that writes; then the counts show up later.
        """
        flush = asyncio.ensure_future(self._try_flush())
        await asyncio.wait([flush], timeout=_SETTLE_SECONDS)

    async def _try_flush(self) -> None:
        try:
            await self.flush_access()
        except StorageError as error:
            logger.warning("use counts will be written later: %s", error)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(self.config.access_flush_seconds)
            await self._try_flush()
