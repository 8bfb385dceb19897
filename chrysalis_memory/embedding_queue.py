"""The agent's side of an embedding space: embeds what is learned, and what still waits for it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chrysalis_memory import codec
from chrysalis_memory.embedding import Embedding, Vector
from chrysalis_memory.errors import ChrysalisError, EmbeddingSpaceMismatch, StoreBusy
from chrysalis_memory.readers import InThread, finish
from chrysalis_memory.rerank import pack, token_embedder
from chrysalis_memory.search import active_space, check_space
from chrysalis_memory.storage import MemoryStorage, Pending, Space
from embedders.base import Embedder
from embedders.errors import EmbedderUnavailable, NotPrepared

T = TypeVar("T")


Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

_RETRY_SECONDS_MIN = 1.0
_RETRY_SECONDS_MAX = 60.0

logger = logging.getLogger("chrysalis_memory")


class EmbeddingQueue:
    """Embeds texts into the store's space.

    A text that cannot be embedded now is stored all the same and waits: the store marks it
    pending, recall finds it by its words, and :meth:`run` embeds it once the embedder answers.

    Args:
        storage: The store.
        embedder: Makes the vectors.
        name: What resolves to the embedder; kept with the space.
        batch: How many texts are embedded at once.
        in_thread: Runs blocking work without blocking the event loop.
        tokens: Whether the vectors of tokens are kept too.

    Raises:
        InvalidValue: the embedder has no token vectors to keep.
    """

    def __init__(
        self,
        storage: MemoryStorage,
        embedder: Embedder,
        *,
        name: str | None,
        batch: int,
        in_thread: InThread,
        tokens: bool = False,
    ) -> None:
        if tokens:
            token_embedder(embedder)  # refuses one that has no token vectors
        self._tokens = tokens
        self._storage = storage
        self.embedder = embedder
        self.name = name
        self._batch = batch
        self._in_thread = in_thread
        self._space: Space | None = None
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._switching = asyncio.Lock()
        # Two at once would embed the same texts twice.
        self._working = asyncio.Lock()

    async def space(self) -> Space:
        """Return the embedder's space in this store, once the embedder can be asked.

        Raises:
            EmbedderUnavailable: it cannot be asked now.
            EmbeddingSpaceMismatch: the store's vectors were made by another embedder.
        """
        if self._space is None:
            fingerprint = await known_fingerprint(self.embedder)
            self._space = await self._in_thread(lambda: self._open_space(fingerprint))
        return self._space

    def _open_space(self, fingerprint: str) -> Space:
        check_space(self._storage.read(active_space), fingerprint)
        return self._storage.open_space(
            fingerprint, self.embedder.model, self.embedder.dimension, name=self.name
        )

    async def try_embed(self, texts: Sequence[str]) -> list[Embedding] | None:
        """Embed texts to be stored; ``None`` where the embedder is unavailable and they must wait.

        Call :meth:`wake` once they are stored: before that there is nothing to be seen.
        """
        try:
            return await self.embed(texts)
        except EmbedderUnavailable as error:
            logger.warning("texts kept without a vector for now: %d; %s", len(texts), error)
            return None

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed texts to be stored.

        Raises:
            EmbedderError: the embedder failed.
            EmbeddingSpaceMismatch: the store's vectors were made by another embedder.
        """
        async with self._switching:
            space, embedder = await self.space(), self.embedder
        vectors = await embedder.embed(texts, input_type="document")
        self._answered.set()
        return [
            Embedding(vector, space.fingerprint, text)
            for vector, text in zip(vectors, texts, strict=True)
        ]

    async def embed_queries(self, texts: Sequence[str]) -> tuple[Sequence[Vector], str]:
        """Return the vectors of what is looked for, and their space's fingerprint.

        Raises:
            EmbedderError: the embedder failed.
            EmbeddingSpaceMismatch: the store's vectors were made by another embedder.
        """
        async with self._switching:
            space, embedder = await self.space(), self.embedder
        vectors = await embedder.embed(texts, input_type="query")
        self._answered.set()
        return list(vectors), space.fingerprint

    async def across_reindex(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run ``attempt``, once more if :meth:`reindex` changed the embedder beneath it."""
        embedder = self.embedder
        try:
            return await attempt()
        except EmbeddingSpaceMismatch:
            async with self._switching:
                if self.embedder is embedder:
                    raise
            return await attempt()

    async def work_off(self, space: Space, progress: Progress | None = None) -> int:
        """Embed everything that waits in ``space``; return how many vectors were stored.

        Raises:
            EmbedderError: the embedder failed; what was embedded until then is kept.
        """
        async with self._working:
            done = await self._work_off(space, progress)
            if self._tokens:
                await self._work_off_tokens(space)
            return done

    async def _work_off_tokens(self, space: Space) -> None:
        embedder = token_embedder(self.embedder)
        while True:
            waiting = await self._in_thread(
                lambda: self._storage.read(lambda s: s.without_tokens(space, limit=self._batch))
            )
            if not waiting:
                return
            found = await embedder.embed_tokens([memory.content for memory in waiting])
            made = [
                (memory.number, codec.text_hash(memory.content), pack(one.vectors))
                for memory, one in zip(waiting, found, strict=True)
            ]
            await self._in_thread(lambda made=made: self._storage.put_tokens(space, made))

    async def _work_off(self, space: Space, progress: Progress | None) -> int:
        total = await self._in_thread(lambda: self._storage.read(lambda s: s.pending_count(space)))
        done = 0
        while True:
            waiting = await self._in_thread(lambda: self._storage.pending(space, limit=self._batch))
            if not waiting:
                return done
            done += await self._embed_waiting(space, waiting)
            if progress is not None:
                progress(min(done, total), total)

    async def _embed_waiting(self, space: Space, waiting: Sequence[Pending]) -> int:
        vectors = await self.embedder.embed([memory.content for memory in waiting])
        made = [
            (memory.number, Embedding(vector, space.fingerprint, memory.content))
            for memory, vector in zip(waiting, vectors, strict=True)
        ]
        return await self._in_thread(lambda: self._storage.put_vectors(space, made))

    async def reindex(
        self, embedder: Embedder, name: str | None, progress: Progress | None = None
    ) -> int:
        """Embed every memory with ``embedder``; the old space answers until the new is complete.

        Raises:
            EmbedderError: the embedder failed; what was embedded until then is kept, and calling
                again goes on from there.
        """
        fingerprint = await known_fingerprint(embedder)
        space = await self._in_thread(
            lambda: self._storage.open_space(
                fingerprint, embedder.model, embedder.dimension, name=name
            )
        )
        queue = EmbeddingQueue(
            self._storage,
            embedder,
            name=name,
            batch=self._batch,
            in_thread=self._in_thread,
            tokens=self._tokens,
        )
        done = await queue.work_off(space, progress)
        async with self._switching:
            await finish(self._switch(embedder, name, space))  # here and in the store, or neither
        self.wake()
        return done

    async def _switch(self, embedder: Embedder, name: str | None, space: Space) -> None:
        await self._in_thread(lambda: self._storage.activate_space(space))
        self.embedder, self.name, self._space = embedder, name, space

    def wake(self) -> None:
        """Tell :meth:`run` that memories have come which may wait for a vector."""
        self._wake.set()

    async def run(self) -> None:
        """Embed what waits, for as long as the agent runs; pauses longer after each failure."""
        pause = _RETRY_SECONDS_MIN
        while True:
            try:
                await self.work_off(await self.space())
            except (EmbedderUnavailable, StoreBusy):
                await self._pause(pause)
                pause = min(2 * pause, _RETRY_SECONDS_MAX)
                continue
            except ChrysalisError:
                logger.exception("memories stay without a vector until the embedder is mended")
            pause = _RETRY_SECONDS_MIN
            await self._wake.wait()
            self._wake.clear()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not on when the embedder has answered somebody else meanwhile."""
        self._answered.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._answered.wait()


async def known_fingerprint(embedder: Embedder) -> str:
    """Return the embedder's fingerprint, asking the model only where it is not known without.

    Raises:
        EmbedderUnavailable: the model cannot be asked now.
    """
    try:
        return embedder.fingerprint
    except NotPrepared:
        await embedder.prepare()
        return embedder.fingerprint
