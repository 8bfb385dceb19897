"""The front door: an agent's memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from chrysalis_memory import hygiene, learning, transfer, wire
from chrysalis_memory.config import AgentMemoryConfig, default_path
from chrysalis_memory.database_url import DatabaseURL
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import InvalidValue, StoreClosed
from chrysalis_memory.hygiene import Duplicates, How
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.query import Conditions, Filter
from chrysalis_memory.recall import Recollection
from chrysalis_memory.recaller import RecallOptions
from chrysalis_memory.running import Running, choose
from chrysalis_memory.storage import MemoryStorage, StoreStatistics
from chrysalis_memory.syncing import PeerStatus, SyncProgress, SyncReport
from chrysalis_memory.verdict import Verdict
from embedders.base import Embedder


class AgentMemory:
    """Semantic memory of one agent, in one file, offline.

    Args:
        agent_id: Any name; it decides the default file, and who writes.
        path: The database file; default: one per agent in the user's data directory.
            ``":memory:"`` is a private temporary file, ``"postgresql://..."`` a database.
        embedder: A name such as ``"minilm"`` or ``"ollama:nomic-embed-text"``, or an
            :class:`embedders.Embedder`. By default the one the file was made with, and ``"minilm"``
            for a new file.
        embedding_fn: Any function from a text to a list of floats, sync or async, in place of
            ``embedder``.
        must_exist: Whether :meth:`start` raises where there is no file yet, instead of making one.
        config: Settings; by default read from the environment.
        settings: Single settings of :class:`AgentMemoryConfig`, which win over the environment.

    Raises:
        InvalidValue: an argument that is not acceptable.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AgentMemory("ada", path=":memory:", embedder="hashing") as memory:
        ...         await memory.learn("The user prefers Python", tags=["preference"])
        ...         return [m.content for m in await memory.recall("python")]
        >>> asyncio.run(main())
        ['The user prefers Python']
    """

    def __init__(
        self,
        agent_id: str,
        *,
        path: str | Path | DatabaseURL | None = None,
        embedder: Embedder | str | None = None,
        embedding_fn: Callable[[str], Any] | None = None,
        must_exist: bool = False,
        config: AgentMemoryConfig | None = None,
        **settings: Any,
    ) -> None:
        self.agent_id = wire.check_name(agent_id, what="agent_id")
        if embedder is not None and embedding_fn is not None:
            raise InvalidValue("give embedder= or embedding_fn=, not both")
        if config is not None and settings:
            raise InvalidValue(f"give config= or single settings, not both: {sorted(settings)}")
        self.config = AgentMemoryConfig.of(**settings) if config is None else config
        self._must_exist = must_exist
        given = path if path is not None else self.config.path
        self._path = default_path(agent_id) if given is None else given
        chosen = embedding_fn if embedding_fn is not None else embedder
        self._chosen = choose(self.config.embedder if chosen is None else chosen)
        self._running: Running | None = None

    # Starting and stopping

    async def start(self, *, progress: Progress | None = None) -> None:
        """Open the file; starting twice is allowed.

        Args:
            progress: Told how far re-embedding is, if ``on_embedder_change="reindex"`` needs it.

        Raises:
            EmbeddingSpaceMismatch: another embedder made the file's vectors.
            NotADatabase: the path is no memory file, or there is none where one must be.
            NewerSchema: a newer version wrote it.
        """
        if self._running is not None:
            return
        running = Running(self.config, self.agent_id, must_exist=self._must_exist)
        try:
            await running.open(self._path, self._chosen, progress)
        except BaseException:
            await running.close()
            raise
        self._running = running

    async def stop(self) -> None:
        """Write what is outstanding and close the file; stopping twice is allowed."""
        running, self._running = self._running, None
        if running is not None:
            await running.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _open(self) -> Running:
        if self._running is None:
            raise StoreClosed(
                "the memory is not started; use 'async with AgentMemory(...)' or start()"
            )
        return self._running

    @property
    def storage(self) -> MemoryStorage:
        """The store beneath, for synchronous work."""
        return self._open.storage

    # Learning and changing

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

    # Finding

    async def recall(
        self, query: str, k: int = 5, *, track: bool = True, **options: Unpack[RecallOptions]
    ) -> list[Recollection]:
        """Find memories by meaning and by words, best first, each with an explanation.

        Args:
            query: A question or any text.
            k: How many, from 1 to 1000.
            track: Whether to count this as a use of the memories returned.
            **options: ``mode``: ``"hybrid"`` both, ``"semantic"`` meaning only, ``"keyword"`` words
                only, which needs no embedder. ``min_score`` leaves out what scores lower.
                ``weights``: how each part counts. ``rerank="late"`` compares token by token, if the
                memory was opened with ``late_interaction=True``. ``diversity``, 0 to 1, prefers
                memories unlike each other. ``context``: how many memories on either side in its
                episode come with each. ``accuracy`` of the vector search in a large memory:
                ``"fast"``, ``"balanced"``, ``"exact"``. And the fields of :class:`Filter`.

        Raises:
            InvalidValue: an empty query, a ``k``, an option or a condition that is refused.
            EmbedderUnavailable: the query cannot be embedded now and ``mode="semantic"`` asks for
                meaning alone.

        Warns:
            DegradedRecall: the query cannot be embedded now; what is returned was found by its
                words alone, and its explanation has no similarity.
        """
        return (await self.recall_many([query], k, track=track, **options))[0]

    async def recall_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        track: bool = True,
        **options: Unpack[RecallOptions],
    ) -> list[list[Recollection]]:
        """Answer many queries, which are embedded together; the rest as :meth:`recall`."""
        if isinstance(queries, str):
            raise InvalidValue("recall_many takes a list of queries; for a single one call recall")
        running = self._open
        found = await running.recaller.recall_many(queries, k, options)
        if track:
            for memories in found:
                running.count_access(memories)
        return found

    async def explain(
        self, query: str, memory_id: str, k: int = 5, **options: Unpack[RecallOptions]
    ) -> Verdict:
        """Say why ``recall`` with the same arguments returns a memory, or does not.

        Raises:
            InvalidValue: what :meth:`recall` refuses.
        """
        return await self._open.recaller.explain(query, memory_id, k, options)

    async def get(self, memory_id: str) -> MemoryDocument | None:
        """Return one memory; ``None`` when unknown or forgotten."""
        running = await self._settled()
        return await running.in_thread(lambda: running.storage.get(memory_id))

    async def recent(
        self, limit: int = 10, **conditions: Unpack[Conditions]
    ) -> list[MemoryDocument]:
        """Return the newest memories that match, newest first.

        Raises:
            InvalidValue: a limit below 1 or a condition that is refused.
        """
        wire.check_limit(limit, what="limit")
        wanted = Filter.of(**conditions)
        running = await self._settled()
        return await running.in_thread(
            lambda: running.storage.find(wanted, order="recent", limit=limit)
        )

    async def count(self, **conditions: Unpack[Conditions]) -> int:
        """Return how many memories match."""
        wanted = Filter.of(**conditions)
        running = self._open
        return await running.in_thread(lambda: running.storage.count(wanted))

    async def statistics(self, *, measure_index: bool = False) -> StoreStatistics:
        """Return what the file holds; see :meth:`MemoryStorage.statistics`."""
        running = await self._settled()
        read = running.storage.statistics
        return await running.in_thread(lambda: read(measure_index=measure_index))

    # Moving

    async def export(self, path: str | Path) -> int:
        """Write the whole state of every memory as JSON lines; return how many lines."""
        running = self._open
        await running.flush_access()
        return await running.in_thread(lambda: transfer.export(running.storage, Path(path)))

    async def import_(self, path: str | Path, *, progress: Progress | None = None) -> int:
        """Merge exported memories; return how many changed. Vectors are made in the background.

        Raises:
            InvalidDocument: a line that is no memory; nothing was imported.
            InvalidValue: no such file.
        """
        running, read = self._open, transfer.import_
        changed = await running.in_thread(lambda: read(running.storage, Path(path), progress))
        running.queue.wake()
        return changed

    async def merge(self, other: "AgentMemory | MemoryStorage") -> int:
        """Merge every memory of another open store into this one; return how many changed."""
        running = self._open
        if isinstance(other, AgentMemory):
            await other._open.flush_access()
        source = other.storage if isinstance(other, AgentMemory) else other
        changed = await running.in_thread(lambda: running.storage.merge(source.states()))
        running.queue.wake()
        return changed

    # Syncing

    async def sync(
        self, peer: str | Path, *, token: str | None = None, progress: SyncProgress | None = None
    ) -> SyncReport:
        """Make this memory and a peer hold the same, and return what that took.

        It may be interrupted at any moment: what was merged stays merged, and the next sync goes
        on from there. Vectors of what arrived are made in the background.

        Args:
            peer: A path or a URL, as :func:`.replication.peers.open_transport` takes it.
            token: What a served memory asks for; by default the setting ``token``.
            progress: Called after every page with the report so far.

        Raises:
            PeerUnavailable: the peer cannot be reached now.
            PeerRefused: it asks for another token.
            ReplicationError: it does not keep to the protocol, or is of another version.
            StorageError: one of the two files cannot be read or written.
        """
        return await self._open.syncing.sync(peer, token=token, progress=progress)

    async def keep_in_sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        told: Callable[[PeerStatus], None] = lambda _: None,
    ) -> None:
        """Sync with a peer now and every ``sync_seconds``, until cancelled; failures are retried.

        A memory opened with ``sync_with=[...]`` does this by itself.

        Args:
            peer: As for :meth:`sync`.
            token: As for :meth:`sync`.
            told: Called after each try with what came of it.
        """
        await self._open.syncing.keep_in_sync(peer, token=token, told=told)

    async def sync_status(self) -> list[PeerStatus]:
        """Return, for each peer, what the last sync with it came to, whoever ran it."""
        return await self._open.syncing.statuses()

    async def embed_pending(self, *, progress: Progress | None = None) -> int:
        """Embed now what waits for a vector; return how many were embedded.

        Raises:
            EmbedderError: the embedder failed; what was embedded until then is kept.
        """
        queue = self._open.queue
        return await queue.work_off(await queue.space(), progress)

    async def reindex(
        self, embedder: Embedder | str | None = None, *, progress: Progress | None = None
    ) -> int:
        """Rebuild the indexes, or embed every memory with another embedder; return how many.

        The old vectors answer until the new ones are complete. After a failure, calling again goes
        on where it stopped.
        """
        running = self._open
        name, chosen = choose(embedder)
        if chosen is None:
            await running.in_thread(lambda: running.storage.rebuild_indexes(progress))
            return await self.embed_pending(progress=progress)
        done = await running.queue.reindex(chosen, name, progress)
        self._chosen = name, chosen
        return done

    async def duplicates(
        self, threshold: float = 0.95, *, progress: Progress | None = None
    ) -> list[Duplicates]:
        """Return memories that say nearly the same, in groups; see :mod:`.hygiene`."""
        storage, check = self._open.storage, hygiene.duplicates
        return await self._open.in_thread(
            lambda: check(storage, threshold=threshold, progress=progress)
        )

    async def consolidate(self, ids: Sequence[str], *, how: How = "link") -> str:
        """Link or join memories that say the same, return the oldest's id; see :mod:`.hygiene`."""
        return await self._open.write(
            lambda transaction: hygiene.consolidate(transaction, ids, how)
        )

    async def _settled(self) -> Running:
        running = self._open
        await running.settle()
        return running
