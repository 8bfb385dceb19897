"""Recalling and reading."""

from collections.abc import Sequence
from typing import Any, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory import relations, wire
from chrysalis_memory.agent.started import Started
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import Conditions, Filter, Order
from chrysalis_memory.recall import Recollection
from chrysalis_memory.recaller import RecallOptions
from chrysalis_memory.relations import Near, Place, Related
from chrysalis_memory.storage import Accuracy, StoreStatistics
from chrysalis_memory.verdict import Verdict
from embedders.base import unit_rows


class Finding(Started):
    """Reads memories."""

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
                ``"fast"``, ``"balanced"``, ``"exact"``. ``trust``: how far sources are trusted, 0
                (never recalled) to 1, by name or by a prefix that ends in ``*``; default: the
                setting. And the fields of :class:`Filter`.

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
        with self._traced("search_memory") as span:
            span.query(queries)
            found = await running.recaller.recall_many(queries, k, options)
            span.found([memory for memories in found for memory in memories])
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

    async def require(self, memory_id: str) -> MemoryDocument:
        """Return one memory, or say why there is none.

        Raises:
            MemoryNotFound: the id is unknown.
            MemoryForgotten: it was forgotten.
        """
        running = await self._settled()
        return await running.in_thread(lambda: relations.require(running.storage, memory_id))

    async def find(
        self,
        *,
        order: Order = "created",
        limit: int | None = None,
        offset: int = 0,
        **conditions: Unpack[Conditions],
    ) -> list[MemoryDocument]:
        """Return the memories that match, without searching by meaning or words.

        Args:
            order: ``"created"`` oldest first, ``"recent"`` newest first, ``"importance"``.
            limit: At most so many; by default all.
            offset: How many to pass over before the first.
            **conditions: The fields of :class:`Filter`.

        Raises:
            InvalidValue: an order, a limit, an offset or a condition that is refused.
        """
        wanted = Filter.of(**conditions)
        running = await self._settled()
        read = running.storage.find
        return await running.in_thread(
            lambda: read(wanted, order=order, limit=limit, offset=offset)
        )

    async def recent(
        self, limit: int = 10, **conditions: Unpack[Conditions]
    ) -> list[MemoryDocument]:
        """Return the newest memories that match, newest first.

        Raises:
            InvalidValue: a limit below 1 or a condition that is refused.
        """
        return await self.find(order="recent", limit=limit, **conditions)

    async def related(
        self, memory_id: str, k: int = 5, **conditions: Unpack[Conditions]
    ) -> list[Related]:
        """Return what a memory links to, and then the ``k`` others that are most alike.

        Those that are linked are returned whatever the conditions.

        Raises:
            MemoryNotFound: the id is unknown.
            MemoryForgotten: it was forgotten.
            InvalidValue: a ``k`` below 1 or a condition that is refused.
        """
        wire.check_limit(k, what="k")
        wanted = Filter.of(**conditions)
        running = self._open
        return await running.in_thread(
            lambda: relations.related(running.storage, memory_id, k, wanted)
        )

    async def nearest(
        self,
        query: str | Sequence[float] | NDArray[np.floating[Any]],
        k: int = 5,
        *,
        accuracy: Accuracy | None = None,
        with_vectors: bool = False,
        **conditions: Unpack[Conditions],
    ) -> list[Near]:
        """Return the ``k`` memories nearest in meaning, by cosine alone, nearest first.

        For who ranks himself: no words, no priors, no episodes, and no use is counted.
        :meth:`recall` finds more of what a person asks for.

        Args:
            query: A text, or a vector of the memory's space, of any length but 0.
            k: How many; fewer are returned only where no more match and have a vector.
            accuracy: As for :meth:`recall`.
            with_vectors: Whether to return the memories' vectors, too.
            **conditions: The fields of :class:`Filter`.

        Raises:
            InvalidValue: an empty text, a ``k`` below 1 or a condition that is refused.
            EmbedderError: the text cannot be embedded, or the vector is not of this space.
        """
        wire.check_limit(k, what="k")
        wanted = Filter.of(**conditions)
        running, how = self._open, accuracy or self.config.accuracy

        async def attempt() -> list[Near]:
            place = await self._place(query)
            return await running.in_thread(
                lambda: relations.nearest(
                    running.storage, place, k, wanted, accuracy=how, with_vectors=with_vectors
                )
            )

        with self._traced("search_memory") as span:
            span.query([query] if isinstance(query, str) else [])
            found = await running.queue.across_reindex(attempt)
            span.found([near.memory for near in found])
        return found

    async def _place(self, query: str | Sequence[float] | NDArray[np.floating[Any]]) -> Place:
        queue = self._open.queue
        if isinstance(query, str):
            vectors, fingerprint = await queue.embed_queries([wire.check_content(query)])
            return Place(vectors[0], fingerprint)
        space = await queue.space()
        given = cast("Any", [query])
        rows = unit_rows(given, count=1, dimension=space.dimension, source="the caller")
        return Place(rows[0], space.fingerprint)

    async def vectors(
        self, limit: int = 2000, **conditions: Unpack[Conditions]
    ) -> tuple[list[MemoryDocument], NDArray[np.float32]]:
        """Return the newest memories that match, with their vectors, to draw or to cluster.

        Returns:
            ``n`` memories, newest first, and an array ``(n, dimension)`` with a unit vector for
            each. Memories that wait for a vector are left out.

        Raises:
            InvalidValue: a limit below 1 or a condition that is refused.
        """
        wire.check_limit(limit, what="limit")
        wanted = Filter.of(**conditions)
        running = self._open
        return await running.in_thread(lambda: relations.vectors(running.storage, wanted, limit))

    async def tags(self, **conditions: Unpack[Conditions]) -> list[tuple[str, int]]:
        """Return the tags of memories that match, each with how many carry it, commonest first."""
        running = self._open
        query = running.storage.query(Filter.of(**conditions))
        return await running.in_thread(lambda: running.storage.read(lambda s: s.tag_counts(query)))

    async def sources(self, **conditions: Unpack[Conditions]) -> list[tuple[str, int]]:
        """Return the sources of memories that match, each with how many, commonest first."""
        running = self._open
        query = running.storage.query(Filter.of(**conditions))
        return await running.in_thread(
            lambda: running.storage.read(lambda s: s.source_counts(query))
        )

    async def namespaces(self, **conditions: Unpack[Conditions]) -> list[tuple[str, int]]:
        """Return the namespaces of memories that match, by name, each with how many it holds."""
        running = self._open
        query = running.storage.query(Filter.of(**conditions))
        return await running.in_thread(
            lambda: running.storage.read(lambda s: s.namespace_counts(query))
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
