"""Learning, changing and forgetting."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from chrysalis_memory import hygiene, learning
from chrysalis_memory.absorbing import Absorber, AbsorbReport, Wanted
from chrysalis_memory.agent.started import Started
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.extractors import Extractor, KeepTurns, Message
from chrysalis_memory.hygiene import How
from chrysalis_memory.learner import LearnReport
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.purging import Purged, Purger


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
                ``expires_at``, ``source``, ``unique``, ``only_add``.

        Raises:
            InvalidValue: a value that is refused; nothing was stored.
            MemoryForgotten: it was forgotten, and ``only_add`` does not bring it back.
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
        with self._traced("upsert_memory") as span:
            span.texts([memory.content for memory in new])
            span.count(len(new))
            ids = await self._open.learner.learn_many(new, progress)
            span.set(gen_ai__memory__record__id=ids[0] if len(ids) == 1 else None)
        return ids

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
        with self._traced("upsert_memory") as span:
            report = await self._open.learner.learn_each(list(memories), progress)
            span.count(len(report.learned) + len(report.joined))
        return report

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
        """Keep what is worth keeping of a conversation, and report what became of it.

        It adds memories, tags, links and evidence, changes nothing that is known, and brings
        nothing back that was forgotten. The same conversation again adds nothing. Where the
        extractor fails, the turns are kept as they are, and the report says so.

        Args:
            messages: Turns in their order, each with ``role``, ``content`` and perhaps ``name``
                and ``at``. Those that are refused are reported, and the others absorbed.
            extractor: Draws facts; by default every turn is kept as it was said.
            episode: Name of the conversation; by default one derived from its messages. Give one
                to a conversation that goes on.
            namespace: Where the memories go; default: the root.
            observed_at: When those messages were said that tell no ``at``; default: now.
            keep_turns: Whether to keep the turns, too; the facts then link to them.
            first_position: Place of the first message in its episode.
            source: Where the conversation comes from; by default from who writes it.
            progress: Called with how many messages are done and how many there are.

        Raises:
            InvalidValue: an option that is refused; nothing was stored.
            EmbedderError: the embedder failed otherwise than by being unavailable; what was
                stored until then stays, and absorbing the same again goes on.
            StoreBusy: another process kept the file locked; the same holds.
        """
        if isinstance(messages, str | Mapping):
            raise InvalidValue("absorb takes a list of messages; put a single one into a list")
        wanted = Wanted(
            extractor or KeepTurns(),
            namespace,
            episode,
            observed_at,
            keep_turns,
            first_position,
            source,
        )
        running = self._open
        with self._traced("upsert_memory") as span:
            absorber = Absorber(running.storage, running.learner, running.in_thread, wanted)
            report = await absorber.absorb(messages, progress)
            span.count(len(report.learned) + len(report.joined))
            span.set(gen_ai__conversation__id=report.episode)
        return report

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
        with self._traced("update_memory", memory_id) as span:
            memory = await self._open.learner.update(memory_id, MemoryChange.of(**changes))
            span.found([memory])
        return memory

    async def forget(self, memory_id: str) -> bool:
        """Forget a memory at once, here and, by merging, everywhere; tell whether there was one."""
        with self._traced("delete_memory", memory_id) as span:
            existed = await self._open.write(lambda transaction: transaction.forget(memory_id))
            span.count(int(existed))
        return existed

    async def erase(self, memory_id: str, *more: str) -> int:
        """Forget memories so that no byte is left; see :meth:`.MemoryStorage.erase`."""
        running = self._open
        with self._traced("delete_memory", memory_id) as span:
            erased = await running.in_thread(lambda: running.storage.erase(memory_id, *more))
            span.count(erased)
        return erased

    async def purge(
        self,
        source: str | Sequence[str],
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Purged:
        """Forget everything that a source taught, archived and expired memories too.

        What another source taught as well stays, as does what the source wrote into memories of
        others; the result says how much. What arrives meanwhile may stay: call again.

        Args:
            source: Its name, or a prefix that ends in ``*``; one or several.
            dry_run: Whether to forget nothing and say what would be.
            progress: Called with how many memories were looked at and how many there are.

        Raises:
            InvalidValue: no source, or a name that is refused; nothing was forgotten.
            StoreBusy: another process kept the file locked; the batches before stay forgotten.
        """
        running = self._open
        with self._traced("delete_memory") as span:
            purger = Purger(running.storage, running.write, running.in_thread, source)
            purged = await purger.purge(dry_run=dry_run, progress=progress)
            span.count(0 if dry_run else purged.forgotten)
        return purged

    async def consolidate(self, ids: Sequence[str], *, how: How = "link") -> str:
        """Link or join memories that say the same, return the oldest's id; see :mod:`.hygiene`."""
        with self._traced("update_memory") as span:
            span.count(len(ids))
            return await self._open.write(
                lambda transaction: hygiene.consolidate(transaction, ids, how)
            )
