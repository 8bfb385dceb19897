"""The JSON API: each operation is one call of ``AgentMemory``."""

import asyncio
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.history import history
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.projection import principal_components
from chrysalis_memory.record import MemoryRecord, RecalledRecord
from chrysalis_memory.servers.incoming import checked, read_json, read_query
from chrysalis_memory.servers.operations import Operation
from chrysalis_memory.servers.schemas import (
    QUERY_SEVERAL,
    QUERY_TEXTS,
    Alike,
    Forgotten,
    Learned,
    LearnedMany,
    Listed,
    Listing,
    MapOfMemories,
    Mapped,
    NewMemories,
    NoQuestion,
    Point,
    Recalled,
    Recalling,
    RelatedMany,
    RelatedRecord,
    Replicas,
    Statistics,
    Tags,
    Wanted,
    WriteRecord,
    Writes,
)
from chrysalis_memory.servers.tokens import Tokens, holder_of

Asked = TypeVar("Asked", bound=BaseModel)


class Api:
    """Answers requests from a memory.

    Args:
        memory: A started memory.
        tokens: Who asks; each is answered from their own view. ``None``: nobody in particular.
    """

    def __init__(self, memory: AgentMemory, tokens: Tokens | None = None) -> None:
        self._memory = memory
        holders = () if tokens is None else tokens.holders
        self._views = {one.name: one.view_of(memory) for one in holders}

    def _of(self, request: Request) -> AgentMemory:
        """Return what whoever asks sees of the memory."""
        holder = holder_of(request.scope)
        return self._memory if holder is None else self._views[holder.name]

    def operations(self) -> list[Operation]:
        """Return everything that can be asked; all of it is answered from the asker's view."""
        one = "/v1/memories/{id:id}"
        operations = [
            Operation(method="POST", path="/v1/memories", summary="Learn one memory, or several.",
                      answer=self.learn, takes=(NewMemory, NewMemories),
                      gives=(Learned, LearnedMany), status=201),
            Operation(method="GET", path="/v1/memories", summary="List memories that match.",
                      answer=self.find, asks=Listing, gives=(Listed,)),
            Operation(method="GET", path=one, summary="Read one memory.",
                      answer=self.get, asks=NoQuestion, gives=(MemoryRecord,), refusals=(404, 410)),
            Operation(method="PATCH", path=one, summary="Change a memory; what is left out stays.",
                      answer=self.update, takes=(MemoryChange,), gives=(MemoryRecord,),
                      refusals=(404, 410)),
            Operation(method="DELETE", path=one, summary="Forget a memory, here and everywhere.",
                      answer=self.forget, asks=NoQuestion, gives=(Forgotten,)),
            Operation(method="GET", path="/v1/history/{id:id}",
                      summary="Say who wrote what of a memory, newest first.",
                      answer=self.history, asks=NoQuestion, gives=(Writes,), refusals=(404, 410)),
            Operation(method="GET", path="/v1/related/{id:id}",
                      summary="List what a memory links to, and then what is most alike.",
                      answer=self.related, asks=Alike, gives=(RelatedMany,), refusals=(404, 410)),
            Operation(method="POST", path="/v1/recall",
                      summary="Find memories by meaning and by words, best first.",
                      answer=self.recall, takes=(Recalling,), gives=(Recalled,)),
            Operation(method="GET", path="/v1/tags", summary="Count the tags of what matches.",
                      answer=self.tags, asks=Wanted, gives=(Tags,)),
            Operation(method="GET", path="/v1/map",
                      summary="Place memories on a plane: the principal components of vectors.",
                      answer=self.map, asks=Mapped, gives=(MapOfMemories,)),
            Operation(method="GET", path="/v1/statistics", summary="Say what the store holds.",
                      answer=self.statistics, asks=NoQuestion, gives=(Statistics,)),
            Operation(method="GET", path="/v1/replicas",
                      summary="Say what syncs came to, and what is kept apart.",
                      answer=self.replicas, asks=NoQuestion, gives=(Replicas,)),
        ]  # fmt: skip
        return [replace(one, is_confined=True) for one in operations]

    async def learn(self, request: Request) -> Learned | LearnedMany:
        """Learn one memory, or several."""
        body = await read_json(request)
        if "memories" in body:
            several = checked(NewMemories, body).memories
            return LearnedMany(ids=tuple(await self._of(request).learn_many(several)))
        (learned,) = await self._of(request).learn_many([checked(NewMemory, body)])
        return Learned(id=learned)

    async def find(self, request: Request) -> Listed:
        """List memories that match, a page at a time."""
        asked = _query(request, Listing)
        wanted = asked.conditions()
        memory = self._of(request)
        found = await memory.find(
            order=asked.order, limit=asked.limit, offset=asked.offset, **wanted
        )
        total = await memory.count(**wanted)
        return Listed(memories=tuple(map(MemoryRecord.of, found)), total=total)

    async def get(self, request: Request) -> MemoryRecord:
        """Read one memory."""
        _query(request, NoQuestion)
        return MemoryRecord.of(await self._of(request).require(_id(request)))

    async def update(self, request: Request) -> MemoryRecord:
        """Change a memory."""
        body = await read_json(request)
        checked(MemoryChange, body)  # so that every key is a field
        return MemoryRecord.of(await self._of(request).update(_id(request), **body))

    async def forget(self, request: Request) -> Forgotten:
        """Forget a memory."""
        _query(request, NoQuestion)
        return Forgotten(forgotten=await self._of(request).forget(_id(request)))

    async def history(self, request: Request) -> Writes:
        """Say who wrote what of a memory."""
        _query(request, NoQuestion)
        memory = await self._of(request).require(_id(request))
        return Writes(writes=tuple(map(WriteRecord.of, history(memory))))

    async def related(self, request: Request) -> RelatedMany:
        """List what a memory is connected with."""
        asked = _query(request, Alike)
        found = await self._of(request).related(_id(request), asked.k, **asked.conditions())
        return RelatedMany(related=tuple(map(RelatedRecord.of, found)))

    async def recall(self, request: Request) -> Recalled:
        """Find memories by meaning and by words."""
        asked = checked(Recalling, await read_json(request))
        found = await self._of(request).recall(
            asked.query, asked.k, track=asked.track, **asked.options()
        )
        return Recalled(
            memories=tuple(RecalledRecord.recalled(one, one.explanation) for one in found)
        )

    async def tags(self, request: Request) -> Tags:
        """Count the tags of what matches."""
        wanted = _query(request, Wanted).conditions()
        return Tags(tags=tuple(await self._of(request).tags(**wanted)))

    async def map(self, request: Request) -> MapOfMemories:
        """Place memories on a plane."""
        asked = _query(request, Mapped)
        memories, vectors = await self._of(request).vectors(asked.limit, **asked.conditions())
        places, explained = await asyncio.to_thread(principal_components, vectors, 2)
        points = tuple(
            Point.of(MemoryRecord.of(memory), float(x), float(y))
            for memory, (x, y) in zip(memories, places, strict=True)
        )
        first, second = map(float, explained)
        return MapOfMemories(points=points, explained=(first, second))

    async def statistics(self, request: Request) -> Statistics:
        """Say what the store holds."""
        _query(request, NoQuestion)
        memory = self._of(request)
        held = await memory.statistics()
        return Statistics(
            agent=memory.agent_id,
            replica=held.replica,
            memories=held.memories,
            tags=tuple(held.tags),
            embedder=None if held.space is None else held.space.fingerprint,
            dimension=None if held.space is None else held.space.dimension,
            pending=held.pending,
            size_bytes=held.size_bytes,
        )

    async def replicas(self, request: Request) -> Replicas:
        """Say what syncs came to, and what is kept apart."""
        _query(request, NoQuestion)
        memory = self._of(request)
        return Replicas(
            replica=memory.storage.replica,
            peers=tuple(await memory.sync_status()),
            quarantined=tuple(await memory.quarantined()),
        )


def _id(request: Request) -> str:
    return request.path_params["id"]


def _query(request: Request, model: type[Asked]) -> Asked:
    return read_query(request, model, texts=QUERY_TEXTS, several=QUERY_SEVERAL)
