"""Learning, changing and forgetting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chrysalis_memory import hygiene, learning
from chrysalis_memory.agent.started import Started
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.hygiene import How
from chrysalis_memory.learner import LearnReport
from chrysalis_memory.learning import MemoryChange, NewMemory


class Changing(Started):
    """Writes memories."""

    async def learn(self, content: str, **options: Any) -> str:
        """Store a memory and return its id.

        The same text learned twice, here or on another replica, is one memory that gains tags,
        links and evidence. While the embedder is unavailable the memory is kept, found by its
        words, and embedded later.

        Args:
            content: The text.
            **options: The other fields of :class:`NewMemory`: ``id``, ``memory_type``,
                ``namespace``, ``tags``, ``importance``, ``confidence``, ``metadata``,
                ``episode``, ``position``, ``related``, ``parents``, ``evidence``,
                ``expires_at``, ``unique``.

        Raises:
            InvalidValue: a value that is refused; nothing was stored.
            EmbedderError: the embedder refuses the text; nothing was stored.
            StoreBusy: another process kept the file locked; nothing was stored.
        """
        return (await self.learn_many([NewMemory.of(content=content, **options)]))[0]

    async def learn_many(
        self,
        memories: Iterable[str | NewMemory | Mapping[str, Any]],
        *,
        progress: Progress | None = None,
    ) -> list[str]:
        """Store many memories and return their ids, in order.

        All are checked before the first is stored. They are embedded and stored in batches; a
        failure leaves the batches before it stored, and learning the same again joins them.

        Args:
            memories: Texts, :class:`NewMemory` values, or mappings of their fields.
            progress: Called after each batch with how many are stored and how many there are.
        """
        if isinstance(memories, str | Mapping):
            raise InvalidValue("learn_many takes a list of memories; for a single one call learn")
        new = [learning.new_memory(memory, number) for number, memory in enumerate(memories)]
        return await self._open.learner.learn_many(new, progress)

    async def learn_each(
        self,
        memories: Iterable[str | NewMemory | Mapping[str, Any]],
        *,
        progress: Progress | None = None,
    ) -> LearnReport:
        """Store many memories, each by itself, and report what became of them.

        What is refused is reported, and the others are stored all the same; :meth:`learn_many`
        raises instead. A failure of the store or of the embedder raises and leaves the batches
        before it stored.

        Args:
            memories: Texts, :class:`NewMemory` values, or mappings of their fields.
            progress: Called after each batch with how many are done and how many there are.
        """
        if isinstance(memories, str | Mapping):
            raise InvalidValue("learn_each takes a list of memories; for a single one call learn")
        return await self._open.learner.learn_each(list(memories), progress)

    async def update(self, memory_id: str, **changes: Any) -> MemoryDocument:
        """Change a memory and return it as stored.

        Args:
            memory_id: Which memory.
            **changes: The fields of :class:`MemoryChange`: ``content``, ``memory_type``,
                ``namespace``, ``add_tags``, ``remove_tags``, ``importance``, ``confidence``,
                ``metadata``, ``related``, ``parents``, ``evidence``, ``expires_at``, ``archived``.

        Raises:
            MemoryNotFound: the id is unknown.
            MemoryForgotten: it was forgotten.
            InvalidValue: a value that is refused; nothing was changed.
        """
        return await self._open.learner.update(memory_id, MemoryChange.of(**changes))

    async def forget(self, memory_id: str) -> bool:
        """Forget a memory at once, here and, by merging, everywhere; tell whether there was one."""
        return await self._open.write(lambda transaction: transaction.forget(memory_id))

    async def consolidate(self, ids: Sequence[str], *, how: How = "link") -> str:
        """Link or join memories that say the same, return the oldest's id; see :mod:`.hygiene`."""
        return await self._open.write(
            lambda transaction: hygiene.consolidate(transaction, ids, how)
        )
