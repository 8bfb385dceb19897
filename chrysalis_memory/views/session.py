"""A session of a store that shows what lies in a view, and nothing else.

All reading and writing of a store happens in sessions, so this is the one place where a view is
enforced. What is not written here, a view cannot do: a method that sessions gain is refused until
somebody has decided what it shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from chrysalis_memory import state as states
from chrysalis_memory.backends.base import (
    Accuracy,
    MadeVector,
    Nearest,
    Neighbours,
    Priors,
    Session,
    Space,
    Term,
    WeightedTerm,
)
from chrysalis_memory.backends.rows import MemoryRow, SavedRow, StoredMemory
from chrysalis_memory.backends.words import best_of, worth_scoring
from chrysalis_memory.changes import Quarantined
from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import OutOfView
from chrysalis_memory.provenance import names_source
from chrysalis_memory.query import Filter, Order, Query
from chrysalis_memory.state import State
from chrysalis_memory.visibility import Visibility

_EVERYTHING = Filter(include_archived=True, include_expired=True)
_META = frozenset({"replica"})


class ConfinedSession:
    """Shows of another session what lies in a view.

    Numbers of memories are not checked where nothing but a session gives them: whoever works in
    this one knows no others than those of the view.

    Args:
        session: The session of the whole store.
        visibility: What lies in the view.
    """

    def __init__(self, session: Session, visibility: Visibility) -> None:
        self._whole = session
        self._visibility = visibility
        self._held: dict[Term, list[int]] = {}
        self._totals: tuple[int, int] | None = None

    def __getattr__(self, name: str) -> NoReturn:
        raise OutOfView(
            f"a view of a memory cannot do this ({name} is for the whole store); "
            "ask the memory that the view was made of"
        )

    # What the whole view goes by

    def load_whole(self, memory_id: str) -> StoredMemory | None:
        """Return what is to be merged with: as stored, forgotten or not, if not outside."""
        stored = self._whole.load(memory_id)
        if stored is None:
            return None
        state = _state(stored)
        return stored if not state.alive or self._visibility.sees_state(state) else None

    def is_outside(self, memory_id: str) -> bool:
        """Tell whether a living memory outside of the view has an id."""
        stored = self._whole.load(memory_id)
        state = None if stored is None else _state(stored)
        return state is not None and state.alive and not self._visibility.sees_state(state)

    def is_seen(self, memory_id: str) -> bool:
        """Tell whether a memory in the view has an id."""
        return self._found(memory_id) is not None

    def _found(self, memory_id: str) -> StoredMemory | None:
        stored = self._whole.load(memory_id)
        seen = stored is not None and self._visibility.sees_state(_state(stored))
        return stored if seen else None

    def named(self, name: str) -> str:
        """Return the id that a name means in the view: its own, or one below the namespace."""
        return name if self.is_seen(name) else self._visibility.own(name)

    def shown(self, state: State) -> State:
        """Return a state without the links and evidence that name nothing in the view.

        One that is unknown is left out like one outside: nobody learns what ids there are.
        """
        if not (state.related or state.parents or state.evidence):
            return state
        seen = {one for one in state.related | state.parents | state.evidence if self.is_seen(one)}
        own = {one for one in state.evidence if self._visibility.is_own(one) or names_source(one)}
        return state._replace(
            related=frozenset(state.related & seen),
            parents=frozenset(state.parents & seen),
            evidence=frozenset(state.evidence & (seen | own)),
        )

    def _shown(self, stored: StoredMemory) -> StoredMemory:
        state = _state(stored)
        shown = self.shown(state)
        if shown is state:
            return stored
        return stored._replace(state=states.encode(stored.id, shown))

    def _visible(self, rows: Iterable[StoredMemory]) -> list[StoredMemory]:
        return [self._shown(row) for row in rows if self._visibility.sees_state(_state(row))]

    def _confined(self, query: Query) -> Query:
        return query._replace(filter=self._visibility.confine(query.filter))

    def _everywhere(self) -> Query:
        return self._confined(Query(_EVERYTHING, 0))

    # Reading memories

    def meta(self, key: str) -> str | None:
        """See :meth:`Session.meta`; the name of the replica is no secret."""
        return self._whole.meta(key) if key in _META else self.__getattr__("meta")

    def load(self, memory_id: str) -> StoredMemory | None:
        """See :meth:`Session.load`, by a name in the view; what was forgotten is not shown."""
        stored = self._found(memory_id) or self._found(self._visibility.own(memory_id))
        return None if stored is None else self._shown(stored)

    def load_numbers(self, numbers: Sequence[int]) -> list[StoredMemory]:
        """See :meth:`Session.load_numbers`."""
        return self._visible(self._whole.load_numbers(numbers))

    def select(
        self, query: Query, order: Order, limit: int | None, offset: int = 0
    ) -> list[StoredMemory]:
        """See :meth:`Session.select`."""
        return self._visible(self._whole.select(self._confined(query), order, limit, offset))

    def everything(self, *, after: int, limit: int) -> list[StoredMemory]:
        """See :meth:`Session.everything`; forgotten ones are not shown."""
        found: list[StoredMemory] = []
        while len(found) < limit:
            page = self._whole.everything(after=after, limit=limit)
            found += self._visible(page)
            if len(page) < limit:
                break
            after = page[-1].number
        return found[:limit]

    def count(self, query: Query) -> int:
        """See :meth:`Session.count`."""
        return self._whole.count(self._confined(query))

    def tag_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.tag_counts`."""
        return self._whole.tag_counts(self._confined(query))

    def source_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.source_counts`."""
        return self._whole.source_counts(self._confined(query))

    def namespace_counts(self, query: Query) -> list[tuple[str, int]]:
        """See :meth:`Session.namespace_counts`."""
        return self._whole.namespace_counts(self._confined(query))

    def matching(self, numbers: Sequence[int], query: Query) -> list[int]:
        """See :meth:`Session.matching`."""
        return self._whole.matching(numbers, self._confined(query))

    def neighbours(self, numbers: Sequence[int], query: Query) -> dict[int, Neighbours]:
        """See :meth:`Session.neighbours`; an episode is that of one namespace."""
        return self._whole.neighbours(numbers, query)

    def context(self, number: int, query: Query, *, count: int) -> list[int]:
        """See :meth:`Session.context`; an episode is that of one namespace."""
        return self._whole.context(number, query, count=count)

    def priors(self, numbers: Sequence[int]) -> list[Priors]:
        """See :meth:`Session.priors`."""
        return self._whole.priors(numbers)

    def size_bytes(self) -> int:
        """Return the size of the states of the view's memories, not that of the store."""
        rows = self.select(self._everywhere(), "created", None)
        return sum(len(row.state) for row in rows)

    def quarantined(self, *, before: int | None = None, limit: int = 1000) -> list[Quarantined]:
        """See :meth:`ChangeFeed.quarantined`."""
        most = max(limit, self._whole.quarantined_count())
        kept = self._whole.quarantined(before=before, limit=most)
        seen = (one for one in kept if self._visibility.sees_state(states.decode(one.state)[1]))
        return [one for one in seen if not self.is_outside(one.id)][:limit]

    def quarantined_count(self) -> int:
        """See :meth:`ChangeFeed.quarantined_count`."""
        return len(self.quarantined(limit=self._whole.quarantined_count()))

    # Searching by vectors

    def spaces(self) -> list[Space]:
        """See :meth:`Session.spaces`; who makes the vectors is the same for all views."""
        return self._whole.spaces()

    def pending_count(self, space: Space) -> int:
        """See :meth:`Session.pending_count`."""
        waiting = self._whole.pending(space, limit=self._whole.pending_count(space) or 1)
        return len(self._whole.matching([one.number for one in waiting], self._everywhere()))

    def vector(self, space: Space, number: int) -> Vector | None:
        """See :meth:`Session.vector`."""
        return self._whole.vector(space, number)

    def tokens_of(self, space: Space, numbers: Sequence[int]) -> dict[int, bytes]:
        """See :meth:`Session.tokens_of`."""
        return self._whole.tokens_of(space, numbers)

    def similarities(
        self, space: Space, vector: Vector, numbers: Iterable[int]
    ) -> dict[int, float]:
        """See :meth:`Session.similarities`."""
        return self._whole.similarities(space, vector, numbers)

    def nearest(
        self,
        space: Space,
        vector: Vector,
        k: int,
        query: Query,
        *,
        accuracy: Accuracy = "balanced",
    ) -> Nearest:
        """See :meth:`Session.nearest`; how many vectors were compared is not told."""
        found = self._whole.nearest(space, vector, k, self._confined(query), accuracy=accuracy)
        return found._replace(compared=None)

    # Searching by words: what a word is worth is worked out from the view's memories alone, or
    # scores would tell how many others hold it.

    def term(self, word: str) -> Term:
        """See :meth:`Session.term`."""
        return self._whole.term(word)

    def document_count(self) -> int:
        """See :meth:`Session.document_count`."""
        return self._word_totals()[0]

    def document_frequencies(self, terms: Sequence[Term]) -> list[int]:
        """See :meth:`Session.document_frequencies`; in a view always the true numbers."""
        return [len(self._holding(term)) for term in terms]

    def best_by_words(
        self, terms: Sequence[WeightedTerm], query: Query, *, limit: int, alone: bool = True
    ) -> list[tuple[int, float]]:
        """See :meth:`Session.best_by_words`; every term brings in candidates, ``alone`` or not."""
        if not terms:
            return []
        confined = self._confined(query)
        numbers = worth_scoring(
            terms,
            lambda term: self._whole.holding(term.term, confined),
            limit=limit,
            memories=self.document_count(),
            may_leave_out=lambda: False,
        )
        return best_of(self.bm25(terms, numbers), limit, self._ids)

    def bm25(self, terms: Sequence[WeightedTerm], numbers: Sequence[int]) -> dict[int, float]:
        """See :meth:`Session.bm25`."""
        memories, tokens = self._word_totals()
        return self._whole.bm25(terms, numbers, mean_length=tokens / max(memories, 1))

    def _word_totals(self) -> tuple[int, int]:
        if self._totals is None:
            self._totals = self._whole.word_totals(self._everywhere())
        return self._totals

    def _holding(self, term: Term) -> list[int]:
        if term not in self._held:
            self._held[term] = self._whole.holding(term, self._everywhere())
        return self._held[term]

    def _ids(self, numbers: list[int]) -> dict[int, str]:
        return {one.number: one.id for one in self._whole.priors(numbers)}

    # Writing

    def prefetch(self, memory_ids: Iterable[str]) -> None:
        """See :meth:`ChangeFeed.prefetch`; it shows nothing."""
        self._whole.prefetch(memory_ids)

    def quarantined_of(self, memory_id: str) -> list[Quarantined]:
        """See :meth:`Session.quarantined_of`; asked for what has just been forgotten in a view."""
        return self._whole.quarantined_of(memory_id)

    def release(self, quarantined: Quarantined) -> None:
        """See :meth:`Session.release`; asked for what has just been forgotten in this view."""
        self._whole.release(quarantined)

    def drop_unread(self, memory_id: str) -> int:
        """See :meth:`Session.drop_unread`; asked for what has just been forgotten in this view."""
        return self._whole.drop_unread(memory_id)

    def save(self, row: MemoryRow, saved: SavedRow | None, made: MadeVector | None = None) -> int:
        """See :meth:`Session.save`.

        Raises:
            OutOfView: the memory would lie outside, or lies there.
        """
        if row.content is not None:
            self._visibility.check(row.namespace)
        if self.is_outside(row.id):
            raise OutOfView("this id cannot be used in this view of the memory; take another")
        self._totals, self._held = None, {}
        return self._whole.save(row, saved, made)

    def save_access(self, number: int, access: Mapping[str, int]) -> None:
        """See :meth:`Session.save_access`."""
        self._whole.save_access(number, access)

    def save_vector(self, space: Space, number: int, text_hash: bytes, vector: Vector) -> bool:
        """See :meth:`Session.save_vector`."""
        return self._whole.save_vector(space, number, text_hash, vector)


def _state(stored: StoredMemory) -> State:
    return states.decode(stored.state)[1]
