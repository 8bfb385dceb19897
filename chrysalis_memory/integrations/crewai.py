"""CrewAI's memory kept in an agent's memory: a ``StorageBackend`` (extra ``crewai``)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from chrysalis_memory import wire
from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import ChrysalisError, InvalidValue
from chrysalis_memory.integrations.anywhere import Anywhere
from chrysalis_memory.learning import NewMemory
from chrysalis_memory.query import Conditions

try:
    from crewai.memory.storage.backend import EmbeddingDimensionMismatchError
    from crewai.memory.types import MemoryRecord, ScopeInfo
except ImportError as error:
    raise ChrysalisError(
        f"CrewAI's memory needs the module {error.name or 'crewai'!r}, which is not installed: "
        "pip install 'chrysalis-memory[crewai]'"
    ) from error

__all__ = ["ChrysalisStorage"]

_KEY = "crewai"
"""The metadata key of what CrewAI keeps of a record and a memory has no field for."""

_ACCESSED = "crewai_last_accessed"
"""Apart from the rest, since every recall writes it."""

_SAME_COSINE = 0.99


class ChrysalisStorage:
    """A ``StorageBackend`` of CrewAI on an agent's memory.

    CrewAI makes the vectors it searches with, so it must use the memory's embedder::

        storage = ChrysalisStorage(AgentMemory("crew"))
        memory = Memory(storage=storage, embedder=storage.embed)

    A record is a memory: its scope is the namespace, below ``namespace``, its categories are tags.
    What else lies there is a record as well. Scores are cosines.

    Args:
        memory: Where records are kept; started here if it is not yet, and then stopped by
            :meth:`close`, which CrewAI's ``Memory.close`` calls.
        namespace: Where in it.

    Raises:
        InvalidValue: the namespace is refused.
    """

    def __init__(self, memory: AgentMemory, *, namespace: str = "crewai") -> None:
        if not wire.check_namespace(namespace):
            raise InvalidValue("records need a namespace of their own, such as 'crewai', got ''")
        self._memory = memory
        self._root = namespace
        self._anywhere = Anywhere(memory)
        self._dimension: int | None = None
        self._is_compared = False

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts: what CrewAI's ``Memory`` takes as its ``embedder``."""
        return self._anywhere.run(lambda: self._memory.embed(texts)).tolist()

    def close(self) -> None:
        """Stop the memory if it was started here; closing twice is allowed."""
        self._anywhere.close()

    # Writing

    def save(self, records: list[MemoryRecord]) -> None:
        """Store records; one whose id is known is replaced.

        Raises:
            EmbeddingDimensionMismatchError: CrewAI uses another embedder than the memory.
            InvalidValue: the same, or a value that is refused.
        """
        self._anywhere.run(lambda: self._save(records))

    async def asave(self, records: list[MemoryRecord]) -> None:
        """Do as :meth:`save`."""
        await self._anywhere.arun(lambda: self._save(records))

    def update(self, record: MemoryRecord) -> None:
        """Replace a record, or store it where it is not known; raises as :meth:`save`."""
        self._anywhere.run(lambda: self._save([record]))

    def touch_records(self, record_ids: list[str]) -> None:
        """Count a use of each, and note when it was."""
        self._anywhere.run(lambda: self._touch(record_ids))

    async def _touch(self, record_ids: Sequence[str]) -> None:
        found = [await self._memory.get(one) for one in record_ids]
        ours = [one.id for one in found if one is not None and self._is_ours(one)]
        used = {_ACCESSED: datetime.now(UTC).replace(tzinfo=None).isoformat()}
        await asyncio.gather(*(self._memory.update(one, metadata=used) for one in ours))
        await asyncio.to_thread(self._memory.storage.record_access, dict.fromkeys(ours, 1))

    async def _save(self, records: Sequence[MemoryRecord]) -> None:
        await self._check_vectors(records)
        new: list[NewMemory] = []
        for record in records:
            known = await self._memory.get(record.id)
            fields = self._fields_of(record)
            if known is None:
                new.append(NewMemory.of(id=record.id, tags=record.categories, **fields))
            elif self._is_ours(known):
                tags = set(known.get_tags())
                fields["metadata"] = dict.fromkeys(known.metadata) | fields["metadata"]
                await self._memory.update(
                    known.id,
                    add_tags=record.categories,
                    remove_tags=sorted(tags.difference(record.categories)),
                    **fields,
                )
            else:
                raise InvalidValue(
                    f"the id {record.id!r} belongs to a memory in {known.namespace!r}, outside "
                    f"{self._root!r}; give the record another id"
                )
        await self._memory.learn_many(new)

    async def _check_vectors(self, records: Sequence[MemoryRecord]) -> None:
        """Refuse vectors that are not of the memory's embedder; one is compared, once."""
        for record in records:
            if not record.embedding or not record.content.strip():
                continue
            await self._check_dimension(record.embedding)
            if self._is_compared:
                continue
            own = (await self._memory.embed([record.content]))[0]
            given = np.asarray(record.embedding)
            if float(own @ given) < _SAME_COSINE * float(np.linalg.norm(given)):
                raise InvalidValue(
                    "CrewAI and the memory embed with different models, so nothing would be "
                    "found; build it as Memory(storage=storage, embedder=storage.embed)"
                )
            self._is_compared = True

    async def _check_dimension(self, vector: Sequence[float]) -> None:
        if self._dimension is None:
            self._dimension = len((await self._memory.embed(["dimension"]))[0])
        if len(vector) != self._dimension:
            raise EmbeddingDimensionMismatchError(self._dimension, len(vector))

    def _fields_of(self, record: MemoryRecord) -> dict[str, Any]:
        if taken := {_KEY, _ACCESSED}.intersection(record.metadata):
            raise InvalidValue(f"metadata keys are taken: {sorted(taken)}; call them otherwise")
        own = {
            "source": record.source,
            "private": record.private,
            "created_at": record.created_at.isoformat(),
        }
        accessed = record.last_accessed.isoformat()
        return {
            "content": record.content,
            "namespace": self._namespace(record.scope),
            "importance": record.importance,
            "metadata": record.metadata | {_KEY: own, _ACCESSED: accessed},
        }

    # Deleting

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Forget the records for which all holds that is given; return how many."""
        return self._anywhere.run(
            lambda: self._delete(scope_prefix, categories, record_ids, older_than, metadata_filter)
        )

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Do as :meth:`delete`."""
        return await self._anywhere.arun(
            lambda: self._delete(scope_prefix, categories, record_ids, older_than, metadata_filter)
        )

    def reset(self, scope_prefix: str | None = None) -> None:
        """Forget every record of a scope and below it; by default all."""
        self.delete(scope_prefix)

    async def _delete(
        self,
        scope: str | None,
        categories: list[str] | None,
        record_ids: list[str] | None,
        older_than: datetime | None,
        metadata: dict[str, Any] | None,
    ) -> int:
        found = await self._memory.find(**self._conditions(scope, categories, metadata))
        named = await asyncio.gather(*map(self._memory.get, record_ids or ()))
        wanted = None if record_ids is None else {one.id for one in named if one is not None}
        gone = [
            memory.id
            for memory in found
            if (wanted is None or memory.id in wanted)
            and (older_than is None or self._is_older(memory, older_than))
        ]
        forgotten = await asyncio.gather(*(self._memory.forget(one) for one in gone))
        return sum(forgotten)

    # Reading

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the records nearest to a vector, nearest first, each with its cosine.

        Raises:
            EmbeddingDimensionMismatchError: CrewAI uses another embedder than the memory.
        """
        conditions = self._conditions(scope_prefix, categories, metadata_filter)
        return self._anywhere.run(
            lambda: self._search(query_embedding, limit, min_score, conditions)
        )

    async def asearch(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Do as :meth:`search`."""
        conditions = self._conditions(scope_prefix, categories, metadata_filter)
        return await self._anywhere.arun(
            lambda: self._search(query_embedding, limit, min_score, conditions)
        )

    async def _search(
        self, vector: Sequence[float], limit: int, min_score: float, conditions: Conditions
    ) -> list[tuple[MemoryRecord, float]]:
        await self._check_dimension(vector)
        found = await self._memory.nearest(vector, limit, **conditions)
        return [
            (self._record_of(near.memory), near.similarity)
            for near in found
            if near.similarity >= min_score
        ]

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """Return a record; ``None`` where the id is unknown."""
        found = self._anywhere.run(lambda: self._memory.get(record_id))
        return None if found is None or not self._is_ours(found) else self._record_of(found)

    def list_records(
        self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0
    ) -> list[MemoryRecord]:
        """Return the records of a scope and below it, the one created last first."""
        if limit <= 0 or offset < 0:
            return []
        records = self._records(scope_prefix)
        records.sort(key=lambda record: _utc(record.created_at), reverse=True)
        return records[offset : offset + limit]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """Return what a scope holds, with all below it."""
        records = self._records(scope)
        times = sorted((record.created_at for record in records), key=_utc)
        return ScopeInfo(
            path=f"/{scope.strip('/')}",
            record_count=len(records),
            categories=sorted({one for record in records for one in record.categories}),
            oldest_record=times[0] if times else None,
            newest_record=times[-1] if times else None,
            child_scopes=self.list_scopes(scope),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """Return the scopes directly below one."""
        conditions = self._conditions(parent)
        counted = self._anywhere.run(lambda: self._memory.namespaces(**conditions))
        above = self._namespace(parent)
        below = {name[len(above) + 1 :].split("/")[0] for name, _ in counted if name != above}
        return [f"{parent.rstrip('/')}/{name}" for name in sorted(below)]

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """Return the categories of a scope and below it, each with how many records it has."""
        conditions = self._conditions(scope_prefix)
        return dict(self._anywhere.run(lambda: self._memory.tags(**conditions)))

    def count(self, scope_prefix: str | None = None) -> int:
        """Return how many records a scope holds, with all below it."""
        conditions = self._conditions(scope_prefix)
        return self._anywhere.run(lambda: self._memory.count(**conditions))

    def _records(self, scope: str | None) -> list[MemoryRecord]:
        conditions = self._conditions(scope)
        found = self._anywhere.run(lambda: self._memory.find(**conditions))
        return [self._record_of(memory) for memory in found]

    def _conditions(
        self,
        scope: str | None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Conditions:
        return {
            "namespace_prefix": self._namespace(scope),
            "tags_any": categories or (),
            "metadata": {key: {"$eq": value} for key, value in (metadata or {}).items()},
        }

    def _namespace(self, scope: str | None) -> str:
        return "/".join([self._root, *(name for name in (scope or "").split("/") if name)])

    def _is_older(self, memory: MemoryDocument, than: datetime) -> bool:
        return _utc(self._record_of(memory).created_at) < _utc(than)

    def _is_ours(self, memory: MemoryDocument) -> bool:
        return f"{memory.namespace}/".startswith(f"{self._root}/")

    def _record_of(self, memory: MemoryDocument) -> MemoryRecord:
        metadata = memory.metadata
        own = metadata.pop(_KEY, {})
        accessed = metadata.pop(_ACCESSED, None)
        # CrewAI reckons with moments in UTC that do not say so.
        created_at = None if memory.created_at is None else memory.created_at.replace(tzinfo=None)
        return MemoryRecord.model_validate(
            {
                "id": memory.id,
                "content": memory.content,
                "scope": memory.namespace.removeprefix(self._root) or "/",
                "categories": memory.get_tags(),
                "metadata": metadata,
                "importance": memory.get_importance(),
                "created_at": created_at,
                "last_accessed": created_at if accessed is None else accessed,
                **own,
            }
        )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
