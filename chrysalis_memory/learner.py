"""The agent's way of writing texts: embed them, then store both in one transaction."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from chrysalis_memory import learning
from chrysalis_memory.config import AgentMemoryConfig
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import EmbeddingQueue, Progress
from chrysalis_memory.errors import InvalidValue, MemoryForgotten
from chrysalis_memory.learning import Learned, MemoryChange, NewMemory
from chrysalis_memory.transaction import Transaction
from embedders.errors import InvalidText, TextTooLong

T = TypeVar("T")


class Write(Protocol):
    """A way to run one transaction beside the event loop."""

    def __call__(self, work: Callable[[Transaction], T], /) -> Awaitable[T]:
        """Run ``work`` as one transaction."""
        ...


class Refused(NamedTuple):
    """One of many memories that was not learned."""

    number: int
    """Which of those given, counted from 0."""
    reason: str


class LearnReport(NamedTuple):
    """What became of many memories that were learned each by itself."""

    learned: list[str]
    """The ids of those that were new, or had been forgotten."""
    joined: list[str]
    """The ids of those that were known and may have gained something."""
    refused: list[Refused]


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
            ids += [one.id for one in await self._learn(batch)]
            if progress is not None:
                progress(len(ids), len(new))
        return ids

    async def learn_each(
        self,
        memories: Sequence[str | NewMemory | Mapping[str, Any]],
        progress: Progress | None = None,
    ) -> LearnReport:
        """Store memories each by itself; see :meth:`AgentMemory.learn_each`."""
        report = LearnReport([], [], [])
        size = self._config.embedding_batch
        for start in range(0, len(memories), size):
            given = memories[start : start + size]
            await self._learn_valid(_valid(given, start, report.refused), report)
            if progress is not None:
                progress(start + len(given), len(memories))
        return report._replace(refused=sorted(report.refused))

    async def _learn_valid(
        self, batch: Sequence[tuple[int, NewMemory]], report: LearnReport
    ) -> None:
        """Store a batch at once, or if something of it is refused, one by one."""
        if not batch:
            return
        try:
            outcomes = await self._learn([memory for _, memory in batch])
        except (InvalidValue, MemoryForgotten, InvalidText, TextTooLong) as error:
            if len(batch) == 1:
                report.refused.append(Refused(batch[0][0], str(error)))
                return
            for one in batch:
                await self._learn_valid([one], report)
            return
        for outcome in outcomes:
            (report.learned if outcome.is_new else report.joined).append(outcome.id)

    async def _learn(self, batch: Sequence[NewMemory]) -> list[Learned]:
        return await self._queue.across_reindex(lambda: self._embed_and_store(batch))

    async def _embed_and_store(self, batch: Sequence[NewMemory]) -> list[Learned]:
        made = await self._queue.try_embed([memory.content for memory in batch])

        def work(transaction: Transaction) -> list[Learned]:
            return learning.learn_many(transaction, batch, made or [None] * len(batch))

        learned = await self._write(work)
        self._wake(is_embedded=made is not None)
        return learned

    async def update(self, memory_id: str, change: MemoryChange) -> MemoryDocument:
        """Change a memory, and return it as stored."""
        return await self._queue.across_reindex(lambda: self._update(memory_id, change))

    async def _update(self, memory_id: str, change: MemoryChange) -> MemoryDocument:
        made = None
        if change.content is not None:
            made = await self._queue.try_embed([change.content])

        def work(transaction: Transaction) -> MemoryDocument:
            memory = transaction.require(memory_id)
            learning.apply(transaction, change, memory)
            return transaction.put(memory, made[0] if made else None)

        memory = await self._write(work)
        if change.content is not None:
            self._wake(is_embedded=made is not None)
        return memory

    def _wake(self, *, is_embedded: bool) -> None:
        if not is_embedded or self._config.late_interaction:
            self._queue.wake()


def _valid(
    given: Sequence[str | NewMemory | Mapping[str, Any]], start: int, refused: list[Refused]
) -> list[tuple[int, NewMemory]]:
    """Return what may be learned, with its number; note what may not."""
    valid: list[tuple[int, NewMemory]] = []
    for number, memory in enumerate(given, start):
        try:
            valid.append((number, learning.new_memory(memory, number)))
        except InvalidValue as error:
            refused.append(Refused(number, str(error)))
    return valid
