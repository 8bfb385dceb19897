"""Merging into a store from within a view of it."""

from typing import cast

from chrysalis_memory.backends.base import MadeVector, Session
from chrysalis_memory.backends.rows import StoredMemory
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding import Embedding
from chrysalis_memory.errors import MemoryNotFound
from chrysalis_memory.provenance import names_source
from chrysalis_memory.state import State
from chrysalis_memory.transaction import Transaction
from chrysalis_memory.views.session import ConfinedSession
from chrysalis_memory.visibility import Visibility


class ConfinedTransaction(Transaction):
    """Reads and merges what lies in a view; names that are given in it lie below its namespace.

    What is handed out shows no links to the outside. Putting it back loses none: it is merged with
    what is stored.

    Args:
        session: The confined session.
        visibility: What lies in the view.
        writer: As for :class:`Transaction`.
        clock: As for :class:`Transaction`.
    """

    def __init__(
        self,
        session: ConfinedSession,
        visibility: Visibility,
        writer: str,
        clock: HybridLogicalClock,
    ) -> None:
        super().__init__(cast("Session", session), writer, clock)
        self._seen = session
        self._visibility = visibility
        self._taken: set[str] = set()

    def _load(self, memory_id: str) -> StoredMemory | None:
        return self._seen.load_whole(memory_id)

    def _handle(self, memory_id: str, state: State) -> MemoryDocument:
        return super()._handle(memory_id, self._seen.shown(state))

    # Names

    def named(self, name: str) -> str:
        """Return the id that a name means here."""
        return self._seen.named(name)

    def free_id(self, name: str) -> str:
        """Return the id under which something is learned that is to have this one."""
        memory_id = self.named(name)
        while not self.may_take(memory_id):
            memory_id += "'"
        return memory_id

    def may_take(self, memory_id: str) -> bool:
        """Tell whether something new may have an id; not if a memory outside has it."""
        if self._seen.is_outside(memory_id):
            return False
        self._taken.add(memory_id)
        return True

    def new_id(self) -> str:
        """Return a random id."""
        memory_id = super().new_id()
        self._taken.add(memory_id)
        return memory_id

    # Reading

    def load(self, memory_id: str) -> MemoryDocument | None:
        """Return a memory of the view, or what is left of a forgotten one; ``None`` if unknown."""
        return super().load(self.named(memory_id) if memory_id not in self._taken else memory_id)

    def require(self, memory_id: str) -> MemoryDocument:
        """Return a memory of the view.

        Raises:
            MemoryNotFound: the id is unknown, was forgotten, or names a memory outside.
        """
        document = self.load(memory_id)
        if document is None or document.is_forgotten:
            raise MemoryNotFound(memory_id)
        return document

    # Writing

    def put(self, document: MemoryDocument, embedding: Embedding | None = None) -> MemoryDocument:
        """Merge one document, under an id of the view; see :meth:`Transaction.put`.

        Raises:
            OutOfView: its namespace lies outside.
        """
        return super().put(self._placed(document), embedding)

    def _merge(
        self, document: MemoryDocument, made: MadeVector | None, *, limit_bytes: int | None = None
    ) -> bool:
        placed = self._placed(document)
        if placed.is_forgotten and not self._seen.is_seen(placed.id):
            return False  # what is not here need not be forgotten
        return super()._merge(placed, made, limit_bytes=limit_bytes)

    def _placed(self, document: MemoryDocument) -> MemoryDocument:
        """Return a document as it may be merged here: with its id and its links in the view."""
        if document.is_forgotten:
            memory_id, state = self._given_id(document.id), document.state
        else:
            self._visibility.check(document.namespace)
            memory_id = self._given_id(document.id)
            state = self._linked(document.state)
        if memory_id == document.id and state is document.state:
            return document
        return MemoryDocument.of(memory_id, state, writer=self._writer, clock=self._clock)

    def _given_id(self, memory_id: str) -> str:
        return memory_id if memory_id in self._taken else self.free_id(memory_id)

    def _linked_id(self, name: str) -> str:
        return name if names_source(name) else self.named(name)

    def _linked(self, state: State) -> State:
        parts = (state.related, state.parents, state.evidence)
        related, parents, evidence = (frozenset(map(self._linked_id, part)) for part in parts)
        if (related, parents, evidence) == parts:
            return state
        return state._replace(related=related, parents=parents, evidence=evidence)
