"""Starting and stopping an agent's memory."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from chrysalis_memory import telemetry, wire
from chrysalis_memory.config import AgentMemoryConfig, default_path
from chrysalis_memory.database_url import DatabaseURL
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import InvalidValue, StoreClosed
from chrysalis_memory.readers import finish
from chrysalis_memory.running import Running, choose
from chrysalis_memory.storage import MemoryStorage
from embedders.base import Embedder


class Started:
    """What every part of the front door works on: a memory that can be started and stopped."""

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
        self._starting = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

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
        async with self._starting:
            if self._running is not None:
                return
            running = Running(self.config, self.agent_id, must_exist=self._must_exist)
            try:
                await running.open(self._path, self._chosen, progress)
            except BaseException:
                await finish(running.close())
                raise
            self._running, self._loop = running, asyncio.get_running_loop()

    async def stop(self) -> None:
        """Write what is outstanding and close the file; stopping twice is allowed."""
        running, self._running, self._loop = self._running, None, None
        if running is not None:
            await finish(running.close())

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
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop it was started on, which all calls must come from; ``None`` if stopped."""
        return self._loop

    @property
    def path(self) -> str | Path | DatabaseURL:
        """The file or the database that is meant, started or not."""
        return self._path

    @property
    def storage(self) -> MemoryStorage:
        """The store beneath, for synchronous work."""
        return self._open.storage

    def _traced(
        self, operation: str, memory_id: str | None = None
    ) -> AbstractContextManager[telemetry.Span]:
        store, contents = self._open.storage.replica, self.config.telemetry_contents
        return telemetry.memory_span(operation, store, contents=contents, memory_id=memory_id)

    async def _settled(self) -> Running:
        running = self._open
        await running.settle()
        return running
