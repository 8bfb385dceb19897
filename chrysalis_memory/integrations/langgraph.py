"""A memory as LangGraph's long-term store (extra ``langgraph``).

Items are memories: they merge between replicas, are forgotten everywhere, and show in recall, in
the explorer and on the command line. See ``docs/integrations.md``.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.codec import shown
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import (
    ChrysalisError,
    InvalidValue,
    MemoryForgotten,
    MemoryNotFound,
    StorageError,
)
from chrysalis_memory.integrations import items
from chrysalis_memory.integrations.anywhere import Anywhere, MemoryOrPath, memory_at
from chrysalis_memory.integrations.items import ITEM, PART, RECORD, TTL_MINUTES, Address, Record
from chrysalis_memory.query import Conditions

try:
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        IndexConfig,
        InvalidNamespaceError,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
        ensure_embeddings,
        get_text_at_path,
        validate_op_namespace,
    )
except ImportError as error:
    raise ChrysalisError(
        f"the LangGraph store needs the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[langgraph]'"
    ) from error

from chrysalis_memory.integrations.langchain_embeddings import LangChainEmbedder

__all__ = ["ChrysalisStore", "InvalidNamespaceError"]

_EXISTS = {"$exists": True}
_IDS_MAX = 500
_GROWTH = 8
"""How much more is read where a filter leaves out some, and again when it left too little."""

logger = logging.getLogger("chrysalis_memory")


class _Found(NamedTuple):
    memory: MemoryDocument
    record: Record
    score: float | None


class ChrysalisStore(BaseStore):
    """LangGraph's store on an agent's memory, for sync and async graphs.

    Items are found by meaning whether or not ``index`` is given: without it, by the memory's own
    embedder, over the whole value.

    Args:
        memory: A memory, or the file or database to open one on; ``":memory:"`` is a private
            temporary file. A memory that is started stays with whoever started it; any other is
            stopped by :meth:`close`.
        agent_id: Who writes, where ``memory`` is a path.
        index: LangGraph's index configuration: ``fields``, the paths whose texts get vectors,
            by default ``["$"]``, the whole value; ``embed`` and ``dims``, an embedder in place of
            the memory's, which only a path leaves room for.
        ttl: LangGraph's TTL configuration. With ``sweep_interval_minutes`` expired items are
            deleted that often, for as long as the store is open.

    Raises:
        InvalidValue: ``embed`` beside a memory, which has an embedder already.
        ChrysalisError: what :meth:`AgentMemory.start` raises.
    """

    supports_ttl = True

    def __init__(
        self,
        memory: MemoryOrPath,
        *,
        agent_id: str = "langgraph",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        self.index_config = index
        self.ttl_config = ttl
        given = (index or {}).get("embed")
        if given is not None and isinstance(memory, AgentMemory):
            raise InvalidValue(
                "index['embed'] is for a store on a path; this memory has an embedder already"
            )
        self.embeddings = None if given is None else ensure_embeddings(given)
        embedder = None
        if self.embeddings is not None:
            embedder = LangChainEmbedder(self.embeddings, dimension=(index or {}).get("dims"))
        self._fields: Sequence[str] = (index or {}).get("fields") or ["$"]
        self._anywhere = Anywhere(memory_at(memory, agent_id=agent_id, embedder=embedder))
        self._memory = self._anywhere.memory
        self._omits_expired = bool((ttl or {}).get("omit_expired"))
        self._sweeping: Future[None] | None = None
        if interval := (ttl or {}).get("sweep_interval_minutes"):
            # Not a method: the task must not keep a store alive that nobody holds any more.
            self._sweeping = asyncio.run_coroutine_threadsafe(
                _keep_sweeping(self._memory, interval), self._anywhere.loop
            )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations; reads see what was stored before the batch's writes.

        Raises:
            InvalidNamespaceError: a label is empty, not text, or has a period; nothing was done.
            InvalidValue: a value, a filter or a path that is refused.
            asyncio.InvalidStateError: called on the event loop that the memory was started on.
        """
        checked = _checked(ops)
        return self._anywhere.run(lambda: self._batch(checked))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations from any event loop; as :meth:`batch`."""
        checked = _checked(ops)
        return await self._anywhere.arun(lambda: self._batch(checked))

    def sweep_ttl(self) -> int:
        """Delete the items that have expired, here and, by merging, everywhere; return how many."""
        return self._anywhere.run(lambda: _sweep(self._memory))

    async def asweep_ttl(self) -> int:
        """Do as :meth:`sweep_ttl`."""
        return await self._anywhere.arun(lambda: _sweep(self._memory))

    def close(self) -> None:
        """Stop sweeping, and the memory if the store started it; closing twice is allowed."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._anywhere.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # Where the memory lives

    async def _batch(self, ops: Sequence[Op]) -> list[Result]:
        results = await asyncio.gather(*map(self._read, ops))
        puts = {Address(tuple(op.namespace), op.key): op for op in ops if isinstance(op, PutOp)}
        if puts:
            await self._put(puts)
        return results

    async def _read(self, op: Op) -> Result:
        match op:
            case GetOp():
                return await self._get(op)
            case SearchOp():
                return await self._search(op)
            case ListNamespacesOp():
                return await self._list_namespaces(op)
            case PutOp():
                return None
            case _:
                raise InvalidValue(f"a store has no operation {shown(op)}")

    async def _get(self, op: GetOp) -> Item | None:
        found = await self._load([Address(tuple(op.namespace), op.key).id])
        if op.refresh_ttl:
            await self._refresh(found)
        record = items.record_of(found[0]) if found else None
        return None if record is None else _item(record)

    async def _load(self, ids: Iterable[str]) -> list[MemoryDocument]:
        """Return the items that are there, by id."""
        found = await asyncio.gather(*map(self._memory.get, ids))
        now = datetime.now(UTC)
        return [
            memory
            for memory in found
            if memory is not None and not (self._omits_expired and (memory.expires_at or now) < now)
        ]

    async def _list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        counted = await self._memory.namespaces(**self._where(RECORD))
        found = {items.labels_of(namespace) for namespace, _ in counted}
        for condition in op.match_conditions or ():
            found = {labels for labels in found if _is_match(labels, condition)}
        cut = sorted({labels[: op.max_depth] for labels in found})
        return cut[op.offset : op.offset + op.limit]

    # Searching

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        wanted = op.offset + op.limit
        found: dict[str, _Found] = {}
        if op.query and op.query.strip() and wanted:
            found |= await self._nearest(op, op.query, wanted)
        if len(found) < wanted:
            await self._add_newest(op, wanted, found)
        chosen = list(found.values())[op.offset : wanted]
        if op.refresh_ttl:
            await self._refresh([one.memory for one in chosen])
        return [_search_item(one.record, one.score) for one in chosen]

    def _where(self, key: str, below: Sequence[str] = ()) -> Conditions:
        """Return the conditions of memories whose metadata have a key, in or below a namespace."""
        where: Conditions = {
            "metadata": {key: _EXISTS},
            "include_archived": True,
            "include_expired": not self._omits_expired,
        }
        if below:
            where["namespace_prefix"] = items.namespace_of(below)
        return where

    async def _nearest(self, op: SearchOp, query: str, wanted: int) -> dict[str, _Found]:
        """Return the items that match and have a vector, each by its best text, best first."""
        where, k = self._where(PART, op.namespace_prefix), _at_first(op)
        while True:
            near = await self._memory.nearest(query, k, **where)
            texts = [(items.item_id(one.memory), one) for one in near]
            known = {item: one.memory for item, one in texts if items.entry(one.memory, RECORD)}
            missing = {item for item, _ in texts} - known.keys()
            known |= {items.item_id(memory): memory for memory in await self._load(missing)}
            found: dict[str, _Found] = {}
            for item, one in texts:
                record = None if item not in known else items.record_of(known[item])
                # What an earlier value left behind on another replica says nothing of this one.
                if record and items.entry(one.memory, PART) < record.texts and _fits(record, op):
                    found.setdefault(item, _Found(known[item], record, one.similarity))
            if len(found) >= wanted or len(near) < k:
                return found
            k *= _GROWTH

    async def _add_newest(self, op: SearchOp, wanted: int, found: dict[str, _Found]) -> None:
        """Add the newest items that match and are not among those found, without a score."""
        where, size, offset = self._where(RECORD, op.namespace_prefix), _at_first(op), 0
        while len(found) < wanted:
            page = await self._memory.find(order="recent", limit=size, offset=offset, **where)
            for memory in page:
                record = items.record_of(memory)
                if record and _fits(record, op):
                    found.setdefault(items.item_id(memory), _Found(memory, record, None))
            if len(page) < size:
                return
            offset, size = offset + size, size * _GROWTH

    # Writing

    async def _put(self, puts: Mapping[Address, PutOp]) -> None:
        new: list[dict[str, Any]] = []
        for address, op in puts.items():
            if op.value is not None:
                new += self._memories(address, op, op.value)
        before = await self._beneath([address.id for address in puts])
        after = dict(zip(await self._memory.learn_many(new), new, strict=True))
        # Learning joins, so what an earlier value has and this one has not is taken back here.
        lasting = [
            memory.id
            for memory in before
            if memory.expires_at is not None
            and memory.id in after
            and after[memory.id]["expires_at"] is None
        ]
        gone = [memory.id for memory in before if memory.id not in after]
        await asyncio.gather(
            *(self._expire(one, None) for one in lasting), *map(self._memory.forget, gone)
        )

    def _memories(
        self, address: Address, op: PutOp, value: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        kept = items.plain(address, value)
        paths = self._fields if op.index is None else op.index or []
        texts = [text for path in paths for text in get_text_at_path(kept, path)]
        whole = get_text_at_path(kept, "$")[0]
        return items.memories(address, kept, texts, text=whole, ttl=op.ttl)

    async def _beneath(self, ids: Sequence[str]) -> list[MemoryDocument]:
        """Return the memories of items: their own, and those of their further texts."""
        found: list[MemoryDocument] = []
        for start in range(0, len(ids), _IDS_MAX):
            among = {ITEM: {"$in": ids[start : start + _IDS_MAX]}}
            found += await self._memory.find(
                metadata=among, include_archived=True, include_expired=True
            )
        return found

    async def _refresh(self, found: Sequence[MemoryDocument]) -> None:
        """Move the expiry of items that were used."""
        used = [items.item_id(one) for one in found if items.entry(one, TTL_MINUTES) is not None]
        beneath = await self._beneath(used)
        await asyncio.gather(
            *(self._expire(one.id, items.entry(one, TTL_MINUTES)) for one in beneath)
        )

    async def _expire(self, memory_id: str, ttl_minutes: float | None) -> None:
        moment = None if ttl_minutes is None else items.expiry(ttl_minutes)
        try:
            await self._memory.update(memory_id, expires_at=moment)
        except (MemoryForgotten, MemoryNotFound):
            logger.debug("%s was deleted while it was being used", memory_id)


async def _sweep(memory: AgentMemory) -> int:
    mortal = await memory.find(
        metadata={TTL_MINUTES: _EXISTS}, include_archived=True, include_expired=True
    )
    now = datetime.now(UTC)
    expired = [one for one in mortal if one.expires_at is not None and one.expires_at <= now]
    await asyncio.gather(*(memory.forget(one.id) for one in expired))
    return sum(RECORD in one.state.metadata for one in expired)


async def _keep_sweeping(memory: AgentMemory, interval_minutes: float) -> None:
    while True:
        await asyncio.sleep(60 * interval_minutes)
        try:
            await _sweep(memory)
        except StorageError as error:
            logger.warning("expired items stay until the next sweep: %s", error)


def _checked(ops: Iterable[Op]) -> list[Op]:
    checked = list(ops)
    for op in checked:
        validate_op_namespace(op)
        if isinstance(op, SearchOp):
            items.check_filter(op.filter or {})
            if op.limit < 0 or op.offset < 0:
                raise InvalidValue(
                    f"limit and offset are 0 or more, got {op.limit} and {op.offset}"
                )
    return checked


def _fits(record: Record, op: SearchOp) -> bool:
    return not op.filter or items.matches(record.value, op.filter)


def _is_match(labels: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(labels) < len(path):
        return False
    part = labels[: len(path)] if condition.match_type == "prefix" else labels[-len(path) :]
    return not path or all(wanted in ("*", label) for label, wanted in zip(part, path, strict=True))


def _at_first(op: SearchOp) -> int:
    return (op.offset + op.limit) * (_GROWTH if op.filter else 1)


def _item(record: Record) -> Item:
    return Item(
        namespace=record.labels,
        key=record.key,
        value=record.value,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _search_item(record: Record, score: float | None) -> SearchItem:
    return SearchItem(
        namespace=record.labels,
        key=record.key,
        value=record.value,
        created_at=record.created_at,
        updated_at=record.updated_at,
        score=score,
    )
