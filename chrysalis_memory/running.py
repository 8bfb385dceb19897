"""What an agent's memory holds while it is started: store, threads, embedder, background work."""

import asyncio
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from chrysalis_memory import query_text, recall
from chrysalis_memory.config import AgentMemoryConfig
from chrysalis_memory.deliveries import Deliveries
from chrysalis_memory.embedding import Vector
from chrysalis_memory.embedding_queue import EmbeddingQueue, Progress
from chrysalis_memory.errors import (
    DegradedRecall,
    EmbeddingSpaceMismatch,
    NotADatabase,
    StorageError,
)
from chrysalis_memory.recall import Explanation, Recollection, Weights
from chrysalis_memory.search import Candidate, SearchRequest, active_space
from chrysalis_memory.storage import MemoryStorage, Session
from chrysalis_memory.transaction import Transaction
from embedders.base import Embedder
from embedders.errors import EmbedderUnavailable
from embedders.resolve import as_embedder

T = TypeVar("T")
DEFAULT_EMBEDDER = "minilm"

Chosen = tuple[str | None, Embedder | None]
"""An embedder's name, where it has one, and the embedder; without one the file's own is used."""

Mode = Literal["hybrid", "semantic", "keyword"]

_READERS = 4
_SETTLE_SECONDS = 0.2

logger = logging.getLogger("chrysalis_memory")


class Running:
    """The parts of a started memory; one per :meth:`AgentMemory.start`."""

    storage: MemoryStorage
    queue: EmbeddingQueue

    def __init__(self, config: AgentMemoryConfig, *, must_exist: bool) -> None:
        self._config = config
        self._must_exist = must_exist
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="chrysalis-reader")
        self._storage: MemoryStorage | None = None
        self._queue: EmbeddingQueue | None = None
        self._deliveries = Deliveries(asyncio.get_running_loop())
        self._tasks: list[asyncio.Task[None]] = []
        self._uses: Counter[str] = Counter()

    async def open(
        self,
        path: str | Path,
        agent_id: str,
        chosen: Chosen,
        progress: Progress | None,
    ) -> None:
        """Open the store, make sure of its embedding space, and start background work.

        Raises:
            EmbeddingSpaceMismatch: another embedder made the file's vectors.
            StorageError: the file cannot be opened.
        """
        config = self._config
        self._storage = self.storage = await self.in_thread(
            lambda: self._open_storage(path, agent_id)
        )
        self.storage.on_group_end(self._deliveries.deliver)
        self.storage.instance = f"{agent_id}@{self.storage.replica}"
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
        self._tasks = [asyncio.create_task(self.queue.run()), asyncio.create_task(self._flush())]

    def _open_storage(self, path: str | Path, agent_id: str) -> MemoryStorage:
        if self._must_exist and not Path(path).expanduser().exists():
            raise NotADatabase(f"there is no memory at {str(path)!r}; learning something makes one")
        return MemoryStorage(
            path,
            agent_id,
            timeout_seconds=self._config.timeout_seconds,
            synchronous=self._config.synchronous,
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
        self._threads.shutdown(wait=False)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on a reading thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction on the store's writing thread."""
        return await self._deliveries.wrap(self.storage.submit(work))

    # Recall

    async def query_vector(self, text: str, mode: Mode) -> tuple[Vector | None, str]:
        """Embed a query as ``mode`` asks, and name its space.

        The text is embedded without names that are common: a name that is everywhere says nothing,
        but draws a small sentence model towards every memory that holds it. The word index still
        looks for it.
        """
        if mode == "keyword":
            return None, ""
        names = query_text.names(text)
        if names:
            text = query_text.without(text, await self.in_thread(lambda: self._common(names)))
        try:
            return await self.queue.embed_query(text)
        except EmbedderUnavailable as error:
            if mode == "semantic":
                raise EmbedderUnavailable(
                    f"{error}; recall(..., mode='keyword') finds memories by their words meanwhile"
                ) from error
            message = f"recall goes by words alone, the query cannot be embedded now: {error}"
            logger.warning(message)
            warnings.warn(message, DegradedRecall, stacklevel=2)
            return None, ""

    def _common(self, names: Sequence[str]) -> list[str]:
        def work(session: Session) -> list[str]:
            limit = self._config.common_name_share * session.document_count()
            return [
                name
                for name in names
                if any(session.document_frequency(token) > limit for token in session.tokens(name))
            ]

        return self.storage.read(work)

    async def search(
        self, request: SearchRequest, *, weights: Weights, k: int, min_score: float | None
    ) -> list[Recollection]:
        """Find, rank and load the best ``k`` memories."""

        def work() -> list[Recollection]:
            chosen: dict[str, Explanation] = {}

            def choose(candidates: list[Candidate]) -> list[int]:
                ranked = recall.rank(
                    candidates,
                    weights=weights,
                    now_us=request.query.now_us,
                    k=k,
                    min_score=min_score,
                )
                chosen.update((candidate.id, explanation) for candidate, explanation in ranked)
                return [candidate.number for candidate, _ in ranked]

            return [
                Recollection.recalled(
                    memory,
                    chosen[memory.id],
                    writer=self.storage.instance,
                    clock=self.storage.clock,
                )
                for memory in self.storage.search(request, choose)
            ]

        return await self.in_thread(work)

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
        replica = self.storage.replica
        written = self._deliveries.wrap(
            self.storage.submit(lambda transaction: transaction.count_access(uses, replica))
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
            await asyncio.sleep(self._config.access_flush_seconds)
            await self._try_flush()
