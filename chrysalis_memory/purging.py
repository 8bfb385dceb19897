"""Forgetting everything that one source wrote."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from chrysalis_memory import wire
from chrysalis_memory.codec import shown
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.learner import Write
from chrysalis_memory.provenance import any_covers, sources_of, writers_of
from chrysalis_memory.query import Filter
from chrysalis_memory.readers import InThread
from chrysalis_memory.storage import MemoryStorage
from chrysalis_memory.transaction import Transaction

_BATCH = 200
_EVERYTHING = Filter(include_archived=True, include_expired=True)


class Purged(NamedTuple):
    """What became of the memories of a source."""

    forgotten: int
    """How many were forgotten; with ``dry_run``, would be."""
    kept: list[str]
    """The ids of those that another source taught, too, and that stay."""
    linking: int
    """How many memories that stay link to one that was forgotten; they keep its id."""
    written_into: int
    """How many memories of other sources it wrote something into, which stays."""


class Purger:
    """Forgets the memories of some sources.

    Args:
        storage: Where they are.
        write: Runs one transaction.
        in_thread: Runs blocking work beside the event loop.
        sources: Names, or prefixes that end in ``*``; one or several.

    Raises:
        InvalidValue: no source, or a name that is refused.
    """

    def __init__(
        self,
        storage: MemoryStorage,
        write: Write,
        in_thread: InThread,
        sources: str | Sequence[str],
    ) -> None:
        given = (sources,) if isinstance(sources, str) else tuple(sources)
        self._patterns = tuple(wire.check_name(one, what="source") for one in given)
        if not self._patterns:
            raise InvalidValue(f"purge takes at least one source, got {shown(sources)}")
        self._storage = storage
        self._write = write
        self._in_thread = in_thread
        self._forgotten: set[str] = set()
        self._kept: list[str] = []
        self._linking = self._written_into = 0

    async def purge(self, *, dry_run: bool, progress: Progress | None) -> Purged:
        """Forget in batches, each a transaction; an interruption leaves those before it done."""
        total = await self._in_thread(lambda: self._storage.count(_EVERYTHING))
        done = 0
        pages = self._pages()
        while page := await self._in_thread(lambda: next(pages, None)):
            theirs = await self._in_thread(lambda page=page: self._sorted_out(page))
            if theirs and not dry_run:
                theirs = await self._write(lambda t, ids=theirs: self._forget(t, ids))
            self._forgotten.update(theirs)
            done += len(page)
            if progress is not None:
                progress(min(done, total), total)
        if self._forgotten:
            await self._in_thread(self._count_links)
        return Purged(
            len(self._forgotten), sorted(set(self._kept)), self._linking, self._written_into
        )

    def _pages(self) -> Iterator[list[MemoryDocument]]:
        page: list[MemoryDocument] = []
        for memory in self._storage.states():
            if not memory.is_forgotten:
                page.append(memory)
            if len(page) == _BATCH:
                yield page
                page = []
        if page:
            yield page

    def _sorted_out(self, page: Sequence[MemoryDocument]) -> list[str]:
        """Return the ids of those that are to be forgotten; note what is to be said of others."""
        theirs: list[str] = []
        for memory in page:
            if not any_covers(self._patterns, memory.source_instance):
                self._written_into += any(
                    any_covers(self._patterns, writer) for writer in writers_of(memory)
                )
            elif self._is_theirs(memory):
                theirs.append(memory.id)
            else:
                self._kept.append(memory.id)
        return theirs

    def _is_theirs(self, memory: MemoryDocument) -> bool:
        return all(any_covers(self._patterns, source) for source in sources_of(memory))

    def _forget(self, transaction: Transaction, ids: Sequence[str]) -> list[str]:
        """Forget those that are still to be forgotten, and return them."""
        transaction.prefetch(ids)
        gone: list[str] = []
        for memory_id in ids:
            memory = transaction.load(memory_id)
            if memory is None or memory.is_forgotten:
                continue  # somebody else forgot it meanwhile
            if self._is_theirs(memory):
                transaction.forget(memory_id)
                gone.append(memory_id)
            else:
                self._kept.append(memory_id)
        return gone

    def _count_links(self) -> None:
        is_gone: Callable[[str], bool] = self._forgotten.__contains__
        for memory in self._storage.states():
            if not memory.is_forgotten and memory.id not in self._forgotten:
                state = memory.state
                links = state.related | state.parents | state.evidence
                self._linking += any(map(is_gone, links))
