"""The agent's way of writing texts: embed them, then store both in one transaction."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from chrysalis_memory import learning
from chrysalis_memory.config import AgentMemoryConfig
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import EmbeddingQueue, Progress
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.transaction import Transaction

T = TypeVar("T")


class Write(Protocol):
    """A way to run one transaction beside the event loop."""

    def __call__(self, work: Callable[[Transaction], T], /) -> Awaitable[T]:
        """Run ``work`` as one transaction."""
        ...


class Learner:
    """Stores texts with their vectors, and without them while the embedder is unavailable.

    Args:
        queue: Embeds, now or later.
        write: Stores.
        config: How many are embedded at once, and whether token vectors are kept.
    """

    def __init__(self, queue: EmbeddingQueue, write: Write, config: AgentMemoryConfig) -> None:
        self._queue = queue
        self._write = write
        self._config = config

    async def learn_many(
        self, new: Sequence[NewMemory], progress: Progress | None = None
    ) -> list[str]:
        """Store memories batch by batch, and return their ids in order."""
        ids: list[str] = []
        for start in range(0, len(new), self._config.embedding_batch):
            batch = new[start : start + self._config.embedding_batch]
            ids += await self._queue.across_reindex(lambda batch=batch: self._learn(batch))
            if progress is not None:
                progress(len(ids), len(new))
        return ids

    async def _learn(self, batch: Sequence[NewMemory]) -> list[str]:
        made = await self._queue.try_embed([memory.content for memory in batch])

        def work(transaction: Transaction) -> list[str]:
            return learning.learn_many(transaction, batch, made or [None] * len(batch))

        ids = await self._write(work)
        self._wake(is_embedded=made is not None)
        return ids

    async def update(self, memory_id: str, change: MemoryChange) -> MemoryDocument:
        """Change a memory, and return it as stored."""
        return await self._queue.across_reindex(lambda: self._update(memory_id, change))

    async def _update(self, memory_id: str, change: MemoryChange) -> MemoryDocument:
        made = None
        if change.content is not None:
            made = await self._queue.try_embed([change.content])

        def work(transaction: Transaction) -> MemoryDocument:
            memory = transaction.require(memory_id)
            change.apply(memory)
            return transaction.put(memory, made[0] if made else None)

        memory = await self._write(work)
        if change.content is not None:
            self._wake(is_embedded=made is not None)
        return memory

    def _wake(self, *, is_embedded: bool) -> None:
        if not is_embedded or self._config.late_interaction:
            self._queue.wake()
