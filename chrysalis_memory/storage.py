"""A store of memories: documents in, merged; documents out, found."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self, TypeVar

from chrysalis_memory import erasing, identity, wire
from chrysalis_memory.backends.base import Accuracy, Pending, Session, Space
from chrysalis_memory.backends.rows import StoredMemory
from chrysalis_memory.collection import MemoryCollection
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.database_url import DatabaseURL
from chrysalis_memory.document import UNKNOWN_SOURCE, MemoryDocument
from chrysalis_memory.embedding import Embedding, VectorStorage
from chrysalis_memory.encryption_key import EncryptionKey, KeySource
from chrysalis_memory.identity import Identity
from chrysalis_memory.opening import Synchronous, is_plain, open_backend, rekey
from chrysalis_memory.query import Filter, Order, Query, check_page
from chrysalis_memory.rebuild import rebuild
from chrysalis_memory.statistics import StoreStatistics, gather
from chrysalis_memory.stored_vectors import StoredVectors
from chrysalis_memory.transaction import Transaction, document_of

__all__ = [
    "Accuracy", "MemoryStorage", "Pending", "Session", "Space", "StoreStatistics", "StoredMemory",
    "is_plain",
]  # fmt: skip

T = TypeVar("T")

_PAGE = 1000
_ANY = Filter()


class MemoryStorage(StoredVectors):
    """Memories in one file or in a PostgreSQL database, merged on the way in.

    Safe for any number of threads, and several processes may share the store. Every change is one
    transaction and is durable when the call returns.

    Args:
        path: The database file; missing folders are created. ``":memory:"`` is a private temporary
            file that is removed on :meth:`close`. ``"postgresql://..."`` is a database, where
            ``?options=-csearch_path%3Dname`` names a schema, so that several memories share it.
        instance: Who writes; the default writer of documents this store gives out.
        timeout_seconds: How long a write waits for another process before :class:`StoreBusy`.
        synchronous: ``"FULL"``: a returned write survives a power cut. ``"NORMAL"``: the last ones
            may be lost in a power cut, never the file's integrity.
        clock: Gives the stamps.
        index_ram_bytes: The most RAM for the vector index of a space, 256 MiB by default: five
            million vectors of 384 dimensions. A larger one is read from the file at every search.
            A database holds its index itself.
        vector_storage: What vectors are stored as from now on: ``"float32"``, or ``"int8"`` in a
            quarter of the bytes. A file may hold both; a database holds float32.
        key: Encrypts the file (extra ``encryption``): a passphrase, bytes, or what returns them.

    Raises:
        InvalidValue: a path or an option that is not acceptable.
        NotADatabase: a directory, a damaged file, or another application's.
        WrongKey: the key does not open the file, or the file is not encrypted.
        NewerSchema: the store was written by a newer version.
        StorageError: a database that cannot be used, or the extra ``postgres`` is missing.

    Example:
        >>> with MemoryStorage(":memory:", "agent-001") as storage:
        ...     _ = storage.put(MemoryDocument(id="m", content="Tea is at four"))
        ...     storage.count()
        1
    """

    def __init__(
        self,
        path: str | Path | DatabaseURL,
        instance: str = UNKNOWN_SOURCE,
        *,
        timeout_seconds: float = 5.0,
        synchronous: Synchronous = "FULL",
        clock: HybridLogicalClock | None = None,
        index_ram_bytes: int | None = None,
        vector_storage: VectorStorage = "float32",
        key: KeySource | EncryptionKey | None = None,
    ) -> None:
        self.instance = wire.check_name(instance, what="instance")
        self.clock = HybridLogicalClock() if clock is None else clock
        self._key = EncryptionKey.of(key)
        opened = open_backend(
            path,
            timeout_seconds=timeout_seconds,
            synchronous=synchronous,
            index_ram_bytes=index_ram_bytes,
            vector_storage=vector_storage,
            key=self._key,
        )
        self._backend, self._temporary = opened.backend, opened.temporary
        self.path: Path | DatabaseURL = opened.path
        """The file, or the URL of the database, which as text has no password."""
        try:
            self.replica = self._identify().replica
        except BaseException:
            self.close()
            raise

    def _identify(self) -> Identity:
        place = self._backend.place()

        def own(session: Session) -> Identity | None:
            known = identity.known(session)
            return known if known is not None and known.place == place else None

        return self.read(own) or self.run(
            lambda t: own(t.session) or identity.renew(t.session, place)
        )

    def renew_identity(self) -> None:
        """Take a new replica id and a new epoch; for a file that is found to be a copy."""
        place = self._backend.place()
        self.replica = self.run(lambda t: identity.renew(t.session, place)).replica

    # Writing

    def submit(self, work: Callable[[Transaction], T]) -> "Future[T]":
        """Queue ``work`` as one transaction; the future ends when it is durable.

        Writes that wait at the same time share one fsync. If ``work`` raises, nothing it did
        remains; cancelling the future leaves the write undone or lets it end whole.
        """
        return self._backend.write(lambda session: work(self._transaction(session)))

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as one transaction, and return what it returns once it is durable."""
        return self._backend.run(lambda session: work(self._transaction(session)))

    def _transaction(self, session: Session) -> Transaction:
        return Transaction(session, self.instance, self.clock)

    def on_group_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on whichever thread wrote, whenever a group of writes has ended."""
        self._backend.on_group_end(listener)

    def put(self, document: MemoryDocument, embedding: Embedding | None = None) -> str:
        """Merge a document into the store and return its id.

        Args:
            document: A new memory, a changed one, or one written blindly under a known id.
            embedding: The vector of its text. The first embedding decides the store's space.

        Raises:
            MemoryForgotten: the id was forgotten.
            InvalidValue: the embedding's dimension is not that of its space.
            StoreBusy: another process kept the file locked.
        """
        return self.run(lambda transaction: transaction.put(document, embedding)).id

    def put_many(self, documents: Iterable[MemoryDocument]) -> list[str]:
        """Merge documents in one transaction, all or none, and return their ids."""
        batch = list(documents)
        return self.run(lambda transaction: transaction.put_many(batch))

    def update(self, memory_id: str, change: Callable[[MemoryDocument], None]) -> MemoryDocument:
        """Read, change and save one memory in one transaction.

        Args:
            memory_id: Which memory.
            change: Changes the handle it is given; what it raises is raised here, and then
                nothing was changed.

        Raises:
            MemoryNotFound: the id is unknown.
            MemoryForgotten: it was forgotten.
        """

        def work(transaction: Transaction) -> MemoryDocument:
            document = transaction.require(memory_id)
            change(document)
            return transaction.put(document)

        return self.run(work)

    def forget(self, memory_id: str) -> bool:
        """Forget one memory with its vectors, words and tags; tell whether there was one."""
        return self.run(lambda transaction: transaction.forget(memory_id))

    def erase(self, memory_id: str, *more: str) -> int:
        """Forget memories so that no byte of them is left; return how many were not forgotten yet.

        It takes ten times as long as copying the file, however many are erased;
        docs/erasing.md says what it cannot reach.

        Raises:
            MemoryNotFound: an id is unknown; nothing was changed.
            ErasureIncomplete: they are forgotten, but the log is in use; may be retried.
            StorageError: a database, which only its administrator can clean.
        """
        return erasing.erase(self._backend, self.run, (memory_id, *more))

    def tidy(self) -> None:
        """Leave no byte of what merges have forgotten, if that is possible now; never fails.

        Merges, syncs and :meth:`close` do so; but for closing, at most 1 % of the time.
        """
        erasing.tidy(self._backend)

    def record_access(self, counts: Mapping[str, int]) -> None:
        """Count uses by id, under this store's replica."""
        self.run(lambda t: t.count_access(counts))

    def merge_collection(self, collection: MemoryCollection) -> int:
        """Merge a collection in one transaction; return how many memories that changed."""
        return self.merge(collection.states())

    def merge(self, documents: Iterable[MemoryDocument]) -> int:
        """Merge documents from elsewhere in one transaction; return how many that changed."""
        batch = list(documents)
        changed = self.run(lambda transaction: transaction.merge_many(batch))
        self.tidy()
        return changed

    # Reading

    def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` on one consistent snapshot, in the calling thread."""
        return self._backend.read(work)

    def get(self, memory_id: str) -> MemoryDocument | None:
        """Return one memory; ``None`` when unknown or forgotten."""
        stored = self._backend.read(lambda session: session.load(memory_id), snapshot=False)
        if stored is None:
            return None
        document = document_of(stored, self.instance, self.clock)
        return None if document.is_forgotten else document

    def load(self, numbers: Sequence[int]) -> list[MemoryDocument]:
        """Return documents by local row number, forgotten ones too."""
        rows = self.read(lambda session: session.load_numbers(numbers))
        return [document_of(stored, self.instance, self.clock) for stored in rows]

    def find(
        self,
        wanted: Filter = _ANY,
        *,
        order: Order = "created",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[MemoryDocument]:
        """Return the memories that match.

        Args:
            wanted: The conditions; by default everything neither archived nor expired.
            order: ``"created"`` oldest first, ``"recent"`` newest first, ``"importance"``.
            limit: At most so many; 1 or more.
            offset: How many to pass over before the first.

        Raises:
            InvalidValue: a limit below 1, a negative offset, an order that is unknown.
        """
        check_page(order, limit, offset)
        query = self.query(wanted)
        rows = self.read(lambda session: session.select(query, order, limit, offset))
        return [document_of(stored, self.instance, self.clock) for stored in rows]

    def query(self, wanted: Filter) -> Query:
        """Return the filter as of now."""
        return Query(wanted, self.clock.wall_us())

    def all(self) -> list[MemoryDocument]:
        """Return every memory that is neither archived nor expired, oldest first."""
        return self.find()

    def recent(self, limit: int = 10) -> list[MemoryDocument]:
        """Return the newest memories, newest first."""
        return self.find(order="recent", limit=limit)

    def query_by_type(self, memory_type: str) -> list[MemoryDocument]:
        """Return the memories of one type, oldest first."""
        return self.find(Filter.of(memory_type=memory_type))

    def query_by_importance(self, minimum: float) -> list[MemoryDocument]:
        """Return the memories of at least this importance, most important first."""
        return self.find(Filter.of(minimum_importance=minimum), order="importance")

    def query_by_tag(self, tag: str) -> list[MemoryDocument]:
        """Return the memories that carry a tag, oldest first."""
        return self.find(Filter.of(tags_all=tag))

    def count(self, wanted: Filter = _ANY) -> int:
        """Return how many memories match; by default all neither archived nor expired."""
        query = self.query(wanted)
        return self.read(lambda session: session.count(query))

    def states(self) -> Iterator[MemoryDocument]:
        """Iterate over every document, forgotten ones too, a page at a time."""
        after = 0
        while True:
            page = self.read(lambda s, after=after: s.everything(after=after, limit=_PAGE))
            for stored in page:
                yield document_of(stored, self.instance, self.clock)
            if len(page) < _PAGE:
                return
            after = page[-1].number

    def export_collection(self) -> MemoryCollection:
        """Return everything as a collection, forgotten memories included as id and life."""
        collection = MemoryCollection(self.instance)
        for document in self.states():
            collection.merge_memory(document)
        return collection

    def statistics(self, *, measure_index: bool = False) -> StoreStatistics:
        """Return what the store holds.

        Args:
            measure_index: Whether to measure how much the vector index finds of what it should,
                which reads every vector 20 times.
        """
        query = self.query(Filter(include_archived=True, include_expired=True))
        return self.read(lambda s: gather(s, query, self.replica, measure=measure_index))

    def document(self, stored: StoredMemory) -> MemoryDocument:
        """Return a handle on what a session has loaded."""
        return document_of(stored, self.instance, self.clock)

    def rebuild_indexes(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Build the indexes anew from texts and stored vectors, in short transactions.

        Readers and other writers go on meanwhile, and an interruption leaves a valid index.

        Args:
            progress: Called after each with how much is done and how much there is.
        """
        memories = self.count(Filter(include_archived=True, include_expired=True))
        rebuild(self.run, self.spaces(), memories, progress)

    def backup(self, path: str | Path) -> None:
        """Write a copy of the store to a new file, as of one moment, while others go on.

        Opened anywhere, the copy is a replica of its own.

        Raises:
            StorageError: there is a file already, or it cannot be written; then there is none.
        """
        self._backend.backup(Path(path).expanduser())

    def clone(self, path: str | Path) -> str:
        """Write a copy, as :meth:`backup`, that is a replica already; return its replica id."""
        self.backup(path)
        # Found in a new place, it takes new names.
        with MemoryStorage(path, self.instance, key=self._key) as copy:
            return copy.replica

    rekey = staticmethod(rekey)

    def close(self) -> None:
        """Finish queued writes and running reads, close the file; closing twice is allowed."""
        erasing.tidy(self._backend, pauses=False)
        self._backend.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MemoryStorage({str(self.path)!r}, {self.instance!r})"
