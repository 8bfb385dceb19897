"""Merging into what is stored: the one way in for local writes, other replicas and backups."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self, cast

from chrysalis_memory import state as states
from chrysalis_memory import wire
from chrysalis_memory.backends.base import MadeVector, Session, Space
from chrysalis_memory.backends.rows import MemoryRow, SavedRow, StoredMemory
from chrysalis_memory.codec import check_text, digest
from chrysalis_memory.crdt import counts, orset
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.crdt.lww_register import value_of
from chrysalis_memory.crdt.score_register import score
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding import Embedding
from chrysalis_memory.errors import (
    EmbeddingSpaceMismatch,
    InvalidDocument,
    InvalidValue,
    MemoryForgotten,
    MemoryNotFound,
    StorageError,
)
from chrysalis_memory.query import Scalar, scalar
from chrysalis_memory.search import check_space
from chrysalis_memory.state import REGISTERS, State


class _Known(NamedTuple):
    number: int
    state: State


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
        # The memory read or saved last: nobody else writes meanwhile, and most work reads the one
        # memory that it then saves.
        self._last: tuple[str, _Known | None] | None = None

    def _known(self, memory_id: str) -> _Known | None:
        if self._last is None or self._last[0] != memory_id:
            stored = self._load(memory_id)
            known = None if stored is None else _Known(stored.number, state_of(stored))
            self._last = (memory_id, known)
        return self._last[1]

    def _load(self, memory_id: str) -> StoredMemory | None:
        return self.session.load(memory_id)

    def _handle(self, memory_id: str, state: State) -> MemoryDocument:
        return MemoryDocument.of(memory_id, state, writer=self._writer, clock=self._clock)

    @property
    def writer(self) -> str:
        """The name under which handles given out write."""
        return self._writer

    def new_document(
        self, memory_id: str, content: str, memory_type: str | None, source: str | None = None
    ) -> MemoryDocument:
        """Return a document that is not stored yet, written by this store's writer.

        ``source`` is where it comes from; by default from the writer.
        """
        document = MemoryDocument(memory_id, content, memory_type, self._writer, clock=self._clock)
        if source is None:
            return document
        state = document.state
        return self._handle(memory_id, state._replace(created=(state.created[0], source)))

    def now(self) -> datetime:
        """Return the moment, by the store's clock."""
        return wire.moment(self._clock.wall_us())

    def new_id(self) -> str:
        """Return a random id."""
        return uuid.uuid4().hex

    def named(self, name: str) -> str:
        """Return the id that a name means: itself, but in a view of a store."""
        return name

    def free_id(self, name: str) -> str:
        """Return the id under which something is learned that is to have this one."""
        return name

    def may_take(self, memory_id: str) -> bool:
        """Tell whether something new may have an id."""
        return True

    def prefetch(self, memory_ids: Iterable[str]) -> None:
        """Get ready to load and save memories, in one go; see :meth:`Session.prefetch`."""
        self.session.prefetch(memory_ids)

    def load(self, memory_id: str) -> MemoryDocument | None:
        """Return a memory, forgotten or not; ``None`` when the id is unknown."""
        known = self._known(memory_id)
        return None if known is None else self._handle(memory_id, known.state)

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
            InvalidValue: what would be stored is larger than replicas exchange.
        """
        known = self._known(document.id)
        if known is not None and not known.state.alive and document.state.life < known.state.life:
            raise MemoryForgotten(document.id)
        made = None if embedding is None else self._made(embedding)
        self._merge(document, made, limit_bytes=wire.STATE_BYTES_MAX)
        number, state = cast("_Known", self._known(document.id))
        before = None if known is None else value_of(known.state.content, None)
        if made is not None and before == value_of(state.content, None):
            # Saving the row gives its vector to a text that is new, and to no other.
            self.session.save_vector(made.space, number, made.text_hash, made.vector)
        return self._handle(document.id, state)

    def put_many(self, batch: Sequence[MemoryDocument]) -> list[str]:
        """Do as :meth:`put` for each of a batch; return their ids."""
        self.prefetch(document.id for document in batch)
        return [self.put(document).id for document in batch]

    def merge_many(self, batch: Sequence[MemoryDocument]) -> int:
        """Do as :meth:`merge` for each of a batch; return how many that changed."""
        self.prefetch(document.id for document in batch)
        return sum(self.merge(document) for document in batch)

    def merge(self, document: MemoryDocument) -> bool:
        """Merge one document; tell whether that changed anything.

        An old copy of a forgotten memory changes nothing, and state already known writes nothing.
        """
        known = self._known(document.id)
        changed = self._merge(document, None)
        if known is not None and known.state.alive and not document.state.alive and changed:
            self.session.note_residue()
        return changed

    def _merge(
        self, document: MemoryDocument, made: MadeVector | None, *, limit_bytes: int | None = None
    ) -> bool:
        known = self._known(document.id)
        if known is None:
            joined, number = document.state, -1
        else:
            joined, number = states.join(known.state, document.state), known.number
            if joined == known.state:
                return False
        updated_at = states.greatest_stamp(joined)
        self._clock.observe(updated_at)
        before = None if known is None else known.state
        if before is None or _without_access(joined) != _without_access(before):
            saved = None if known is None else _saved_row(known, joined)
            same = frozenset[str]() if saved is None else saved.same
            row = row_of(document.id, joined, updated_at, same)
            if limit_bytes is not None and len(row.state) > limit_bytes:
                raise InvalidValue(
                    f"memory {document.id!r} would take {len(row.state):,} bytes, the limit is "
                    f"{limit_bytes:,}; give it fewer tags, links or metadata, or split it"
                )
            number = self.session.save(row, saved, made)
            if joined.life > 1 and (before is None or before.life < joined.life):
                self._drop_void(document.id, joined)
        known_access = before.access if before is not None and before.life == joined.life else {}
        if joined.access != known_access:
            self.session.save_access(number, joined.access)
        self._last = (document.id, _Known(number, joined))
        return True

    def forget(self, memory_id: str) -> bool:
        """Forget one memory with its vectors, words and tags; tell whether there was one."""
        document = self.load(memory_id)
        if document is None or document.is_forgotten:
            return False
        document.forget()
        return self._merge(document, None)

    def _drop_void(self, memory_id: str, state: State) -> None:
        """Drop states that are kept apart of an earlier life: merging them would change nothing.

        Of what could not be read nobody can tell the life; it goes when the memory is forgotten.
        """
        for one in self.session.quarantined_of(memory_id):
            if states.decode(one.state)[1].life < state.life:
                self.session.release(one)
        if not state.alive:
            self.session.drop_unread(memory_id)

    def count_access(self, counts: Mapping[str, int]) -> None:
        """Count uses under the store's replica; memories forgotten meanwhile are passed over.

        Raises:
            InvalidValue: an id that is no text.
        """
        for memory_id in counts:
            check_text(memory_id, what="memory id")
        self.prefetch(counts)
        replica = self.session.meta("replica") or self._writer
        for memory_id, count in counts.items():
            known = self._known(memory_id)
            if known is not None and known.state.alive:
                total = known.state.access.get(replica, 0) + count
                self.session.save_access(known.number, {replica: total})
        self._last = None

    def _made(self, embedding: Embedding) -> MadeVector:
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
        return MadeVector(space, embedding.text_hash, embedding.vector)

    def space(self, fingerprint: str) -> Space | None:
        """Return the embedding space with this fingerprint."""
        return next((s for s in self.session.spaces() if s.fingerprint == fingerprint), None)

    def require_space(self, space: Space) -> None:
        """Make sure that an embedding space is still there.

        Raises:
            EmbeddingSpaceMismatch: it was dropped meanwhile.
        """
        known = self.space(space.fingerprint)
        if known is None or known.number != space.number:
            raise EmbeddingSpaceMismatch(
                f"the space {space.fingerprint!r} was replaced meanwhile; "
                "open the store again with its new embedder"
            )

    def activate_space(self, space: Space) -> None:
        """Make recall search ``space``, and drop the others.

        Raises:
            EmbeddingSpaceMismatch: it was dropped meanwhile; nothing is dropped for it.
        """
        self.require_space(space)
        self.session.activate_space(space)


def _without_access(state: State) -> tuple[object, ...]:
    return (*state[:_ACCESS], state.extra)


_ACCESS = State._fields.index("access")


def _saved_row(known: _Known, joined: State) -> SavedRow:
    before = known.state
    # A join keeps the very objects of parts that did not change.
    same = frozenset([field for field, part in _DERIVED if before[part] is joined[part]])
    content = None if before.content is None else before.content[2]
    return SavedRow(known.number, before.life, content, same)


# Columns and rows, and the part of the state they are derived from.
_DERIVED = tuple(
    (field, State._fields.index(part))
    for field, part in (
        *((name, name) for name in REGISTERS),
        *((name, name) for name in ("importance", "confidence", "tags", "metadata")),
        ("created_at", "created"),
        ("source", "created"),
    )
)


def state_of(stored: StoredMemory) -> State:
    """Return the state of what a backend stores; access counts are joined in.

    Raises:
        StorageError: the stored bytes are no state of this memory; the store is damaged.
    """
    try:
        memory_id, state = states.decode(stored.state)
    except InvalidDocument as error:
        raise _unreadable(stored, str(error)) from error
    if memory_id != stored.id:
        raise _unreadable(stored, f"they are those of {memory_id!r}")
    if stored.access:
        state = state._replace(access=counts.join(state.access, dict(stored.access)))
    return state


def _unreadable(stored: StoredMemory, why: str) -> StorageError:
    return StorageError(
        f"the stored bytes of memory {stored.id!r} cannot be read ({why}): the store is damaged; "
        "see what is: chrysalis check, and mend what can be: chrysalis check --repair"
    )


class _StoredDocument(MemoryDocument):
    """A handle that decodes its state when that is first looked at."""

    __slots__ = ("_stored",)

    _stored: StoredMemory

    @classmethod
    def on(cls, stored: StoredMemory, writer: str, clock: HybridLogicalClock) -> Self:
        """Return a handle on what is stored; changes are written as ``writer``."""
        document = object.__new__(cls)
        document.id = stored.id
        document._writer = writer
        document._clock = clock
        document._stored = stored
        return document

    def __getattr__(self, name: str) -> Any:
        # Called only for what is not there: ``_state``, once.
        if name != "_state":
            raise AttributeError(f"'MemoryDocument' object has no attribute {name!r}", name=name)
        self._state = state_of(self._stored)
        return self._state


def document_of(stored: StoredMemory, writer: str, clock: HybridLogicalClock) -> MemoryDocument:
    """Return a handle on what a backend stores; its state is decoded when first looked at."""
    return _StoredDocument.on(stored, writer, clock)


def row_of(
    memory_id: str, state: State, updated_at: int, same: frozenset[str] = frozenset()
) -> MemoryRow:
    """Return the row of a state: canonical bytes and the columns derived from them.

    Args:
        memory_id: The memory's id.
        state: Its state.
        updated_at: The greatest stamp of ``state``.
        same: Fields that will not be written; its tags and metadata are not worked out.
    """
    data = states.encode(memory_id, state, access=False)
    return MemoryRow(
        id=memory_id,
        life=state.life,
        state=data,
        digest=digest(data),
        content=value_of(state.content, None),
        namespace=value_of(state.namespace, ""),
        memory_type=value_of(state.memory_type, wire.DEFAULT_MEMORY_TYPE),
        episode=value_of(state.episode, None),
        position=value_of(state.position, None),
        importance=score(state.importance),
        confidence=score(state.confidence),
        created_at=state.created[0],
        updated_at=updated_at,
        expires_at=value_of(state.expires_at, None),
        archived=value_of(state.archived, False),
        source=state.created[1],
        tags=() if "tags" in same else orset.present(state.tags),
        metadata=() if "metadata" in same else _metadata_rows(memory_id, state),
    )


def _metadata_rows(memory_id: str, state: State) -> list[tuple[str, Scalar]]:
    if not state.metadata:
        return []
    metadata = MemoryDocument.of(memory_id, state).metadata
    return [(key, scalar(value)) for key, value in metadata.items()]
