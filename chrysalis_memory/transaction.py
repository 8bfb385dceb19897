"""Merging into what is stored: the one way in for local writes, other replicas and backups."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from chrysalis_memory import state as states
from chrysalis_memory import wire
from chrysalis_memory.backends.base import MemoryRow, Session, Space, StoredMemory
from chrysalis_memory.codec import digest
from chrysalis_memory.crdt import counts
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding import Embedding
from chrysalis_memory.errors import InvalidValue, MemoryForgotten, MemoryNotFound
from chrysalis_memory.query import scalar
from chrysalis_memory.search import check_space
from chrysalis_memory.state import State


class Transaction:
    """Documents read, merged and saved inside one transaction.

    Args:
        session: The backend's session; it commits or rolls back.
        writer: The name under which handles given out write.
        clock: Gives stamps, and observes those of every document that is merged.
    """

    def __init__(self, session: Session, writer: str, clock: HybridLogicalClock) -> None:
        self.session = session
        self._writer = writer
        self._clock = clock

    def document(self, stored: StoredMemory) -> MemoryDocument:
        """Return a handle on a stored memory."""
        return document_of(stored, self._writer, self._clock)

    def new_document(self, memory_id: str, content: str, memory_type: str | None) -> MemoryDocument:
        """Return a document that is not stored yet, written by this store's writer."""
        return MemoryDocument(memory_id, content, memory_type, self._writer, clock=self._clock)

    def now(self) -> datetime:
        """Return the moment, by the store's clock."""
        return wire.moment(self._clock.wall_us())

    def new_id(self) -> str:
        """Return a random id."""
        return uuid.uuid4().hex

    def load(self, memory_id: str) -> MemoryDocument | None:
        """Return a memory, forgotten or not; ``None`` when the id is unknown."""
        stored = self.session.load(memory_id)
        return None if stored is None else self.document(stored)

    def require(self, memory_id: str) -> MemoryDocument:
        """Return a memory that must be there.

        Raises:
            MemoryNotFound: the id is unknown.
            MemoryForgotten: it was forgotten.
        """
        document = self.load(memory_id)
        if document is None:
            raise MemoryNotFound(memory_id)
        if document.is_forgotten:
            raise MemoryForgotten(memory_id)
        return document

    def put(self, document: MemoryDocument, embedding: Embedding | None = None) -> MemoryDocument:
        """Merge one document and return what is stored now.

        Raises:
            MemoryForgotten: the id was forgotten and ``document`` is of an earlier life.
        """
        stored = self.session.load(document.id)
        if stored is not None:
            life = self.document(stored).state.life
            if life % 2 == 0 and document.state.life < life:
                raise MemoryForgotten(document.id)
        number, merged, _ = self._merge(document, stored)
        if embedding is not None:
            self._save_embedding(number, embedding)
        return merged

    def merge(self, document: MemoryDocument) -> bool:
        """Merge one document; tell whether that changed anything.

        An old copy of a forgotten memory changes nothing, and state already known writes nothing.
        """
        return self._merge(document, self.session.load(document.id))[2]

    def _merge(
        self, document: MemoryDocument, stored: StoredMemory | None
    ) -> tuple[int, MemoryDocument, bool]:
        self._clock.observe(states.greatest_stamp(document.state))
        known = None if stored is None else self.document(stored).state
        joined = document.state if known is None else states.join(known, document.state)
        merged = MemoryDocument.of(document.id, joined, writer=self._writer, clock=self._clock)
        if known is not None and stored is not None and joined == known:
            return stored.number, merged, False
        number = -1 if stored is None else stored.number
        if known is None or joined._replace(access=known.access) != known:
            number = self.session.save(row_of(document.id, joined))
        known_access = known.access if known is not None and known.life == joined.life else {}
        if joined.access != known_access:
            self.session.save_access(number, joined.access)
        return number, merged, True

    def forget(self, memory_id: str) -> bool:
        """Forget one memory with its vectors, words and tags; tell whether there was one."""
        document = self.load(memory_id)
        if document is None or document.is_forgotten:
            return False
        document.forget()
        return self.merge(document)

    def count_access(self, counts: Mapping[str, int], replica: str) -> None:
        """Count uses by ``replica``; memories forgotten meanwhile are passed over."""
        for memory_id, count in counts.items():
            stored = self.session.load(memory_id)
            if stored is not None and self.document(stored).state.alive:
                total = stored.access.get(replica, 0) + count
                self.session.save_access(stored.number, {replica: total})

    def _save_embedding(self, number: int, embedding: Embedding) -> None:
        space = self.space(embedding.model)
        if space is None:
            check_space(next(iter(self.session.spaces()), None), embedding.model)
            model = embedding.model
            space = self.session.create_space(model, model, embedding.dimension, None)
        if embedding.dimension != space.dimension:
            raise InvalidValue(
                f"a vector of dimension {embedding.dimension} does not belong to the space "
                f"{space.fingerprint!r} of dimension {space.dimension}; "
                "use the embedder that made it"
            )
        self.session.save_vector(space, number, embedding.text_hash, embedding.vector)

    def space(self, fingerprint: str) -> Space | None:
        """Return the embedding space with this fingerprint."""
        return next((s for s in self.session.spaces() if s.fingerprint == fingerprint), None)


def document_of(stored: StoredMemory, writer: str, clock: HybridLogicalClock) -> MemoryDocument:
    """Return a handle on what a backend stores; access counts are joined in."""
    memory_id, state = states.decode(stored.state)
    if stored.access:
        state = state._replace(access=counts.join(state.access, dict(stored.access)))
    return MemoryDocument.of(memory_id, state, writer=writer, clock=clock)


def row_of(memory_id: str, state: State) -> MemoryRow:
    """Return the row of a state: canonical bytes and the columns derived from them."""
    data = states.encode(memory_id, state, access=False)
    memory = MemoryDocument.of(memory_id, state)
    return MemoryRow(
        id=memory_id,
        life=state.life,
        state=data,
        digest=digest(data),
        content=memory.content if state.alive else None,
        namespace=memory.namespace,
        memory_type=memory.memory_type,
        episode=memory.episode,
        position=memory.position,
        importance=memory.get_importance(),
        confidence=memory.get_confidence(),
        created_at=state.created[0],
        updated_at=states.greatest_stamp(state),
        expires_at=state.expires_at[2] if state.expires_at else None,
        archived=memory.archived,
        source=state.created[1],
        tags=tuple(memory.get_tags()),
        metadata=tuple((key, scalar(value)) for key, value in memory.metadata.items()),
    )
