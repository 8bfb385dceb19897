"""Embedding and indexing what is stored."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory import hygiene, integrity
from chrysalis_memory.agent.started import Started
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.hygiene import Duplicates
from chrysalis_memory.integrity import IntegrityReport
from chrysalis_memory.repair import RepairReport, repair
from chrysalis_memory.running import choose
from chrysalis_memory.storage import Session
from embedders.base import Embedder, InputType

T = TypeVar("T")


class Indexing(Started):
    """Keeps the indexes of memories."""

    def embed_soon(self) -> None:
        """Have what waits for a vector embedded in the background; for what came by ``storage``."""
        self._open.arrived()

    async def embed_pending(self, *, progress: Progress | None = None) -> int:
        """Embed now what waits for a vector; return how many were embedded.

        Raises:
            EmbedderError: the embedder failed; what was embedded until then is kept.
        """
        queue = self._open.queue
        return await queue.work_off(await queue.space(), progress)

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Return the vectors that the memory's embedder gives to texts; nothing is stored.

        For who searches with vectors of his own making; see :meth:`nearest`.

        Args:
            texts: The texts.
            input_type: ``"document"`` for what is like a memory, ``"query"`` for what seeks one.

        Returns:
            Array of shape ``(len(texts), dimension)`` with rows of unit length.

        Raises:
            EmbedderError: the embedder failed.
        """
        return await self._open.queue.embedder.embed(texts, input_type=input_type)

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
        try:
            return await running.queue.reindex(chosen, name, progress)
        finally:
            if running.queue.embedder is chosen:  # also where the caller was cancelled just then
                self._chosen = name, chosen

    async def check(self, *, progress: Progress | None = None) -> IntegrityReport:
        """Read the whole store and return what is not as it must be; see :mod:`.integrity`.

        Args:
            progress: Called now and then with how many memories are checked and how many there are.

        Raises:
            StorageError: the store is so damaged that it cannot be read.
        """
        storage = self._open.storage
        return await self._open.in_thread(lambda: integrity.check(storage.read, progress))

    async def repair(self, *, progress: Progress | None = None) -> RepairReport:
        """Make everything anew that is derived from the memories' states; see :mod:`.repair`.

        A state that cannot be read is kept apart, and never deleted. What lost its vector waits for
        another.

        Args:
            progress: Told how far the check afterwards is.

        Raises:
            StorageError: the store is so damaged that it cannot be read.
        """
        running = self._open
        storage = running.storage

        def run(work: Callable[[Session], T]) -> T:
            return storage.run(lambda transaction: work(transaction.session))

        done = await running.in_thread(lambda: repair(storage.read, run, progress))
        running.arrived()
        return done

    async def duplicates(
        self, threshold: float = 0.95, *, progress: Progress | None = None
    ) -> list[Duplicates]:
        """Return memories that say nearly the same, in groups; see :mod:`.hygiene`."""
        storage, check = self._open.storage, hygiene.duplicates
        return await self._open.in_thread(
            lambda: check(storage, threshold=threshold, progress=progress)
        )
