"""Memories that say nearly the same: found by their vectors, linked or joined on request."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from chrysalis_memory import wire
from chrysalis_memory.codec import shown
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.learning import MemoryChange
from chrysalis_memory.query import Filter, Query
from chrysalis_memory.search import active_space
from chrysalis_memory.storage import MemoryStorage, Session
from chrysalis_memory.transaction import Transaction

How = Literal["link", "join"]
Pair = tuple[int, int, float]

_NEAREST = 10
_PAGE = 200


class Duplicates(NamedTuple):
    """Memories that are near duplicates of one another, oldest first."""

    memories: list[MemoryDocument]
    similarity: float
    """The least cosine of the pairs that connect them."""


def duplicates(
    storage: MemoryStorage,
    *,
    threshold: float,
    progress: Callable[[int, int], None] | None = None,
) -> list[Duplicates]:
    """Return groups of memories whose vectors are at least ``threshold`` alike, largest first.

    Each memory is compared with its ten nearest; groups are what such pairs connect (single
    linkage). Archived, expired and pending memories are left out.

    Args:
        storage: The store.
        threshold: Cosine from 0 to 1.
        progress: Told how many memories were looked at, and how many there are.

    Raises:
        InvalidValue: a threshold outside 0 to 1.
    """
    if not 0 <= wire.check_number(threshold, what="threshold") <= 1:
        raise InvalidValue(f"threshold must be from 0 to 1, got {shown(threshold)}")
    query = storage.query(Filter())
    total = storage.count()
    groups = _Groups()
    done = 0
    for page in _pages(storage):
        for pair in storage.read(lambda s, page=page: _alike(s, page, query, threshold)):
            groups.connect(*pair)
        done += len(page)
        if progress is not None:
            progress(min(done, total), total)
    found = [Duplicates(_loaded(storage, numbers), least) for numbers, least in groups.all()]
    whole = [group for group in found if len(group.memories) > 1]
    return sorted(whole, key=lambda group: (-len(group.memories), group.memories[0].id))


def consolidate(transaction: Transaction, ids: Sequence[str], how: How) -> str:
    """Link memories that say the same, or join them into the oldest; return its id.

    ``"link"`` relates each to each. ``"join"`` gives the oldest the tags, links, evidence and
    missing metadata of the others, the greatest importance and confidence, and names them as its
    parents; the others are archived, so that no text is lost and all can be undone.

    Raises:
        InvalidValue: fewer than two ids, or another ``how``.
        MemoryNotFound: an id is unknown; nothing was changed.
        MemoryForgotten: a memory was forgotten; nothing was changed.
    """
    if how not in ("link", "join"):
        raise InvalidValue(f"how is 'link' or 'join', got {shown(how)}")
    if len(set(ids)) < 2:
        raise InvalidValue(f"consolidating takes at least two ids, got {shown(list(ids))}")
    memories = sorted((transaction.require(i) for i in dict.fromkeys(ids)), key=_age)
    oldest, others = memories[0], memories[1:]
    for memory in memories:
        related = [other.id for other in memories if other.id != memory.id]
        if how == "link":
            MemoryChange.of(related=related).apply(memory)
        elif memory is oldest:
            _take_over(oldest, others)
        else:
            MemoryChange.of(related=[oldest.id], archived=True).apply(memory)
        transaction.put(memory)
    return oldest.id


def _take_over(oldest: MemoryDocument, others: Sequence[MemoryDocument]) -> None:
    memories = (oldest, *others)
    metadata = {k: v for other in reversed(others) for k, v in other.metadata.items()}
    MemoryChange.of(
        add_tags=[tag for other in others for tag in other.get_tags()],
        related=sorted({i for other in others for i in other.get_related()} - {oldest.id}),
        parents=[other.id for other in others],
        evidence=[item for other in others for item in other.get_evidence()],
        metadata=metadata | oldest.metadata,
        importance=max((m.get_importance() for m in memories if m.state.importance), default=None),
        confidence=max((m.get_confidence() for m in memories if m.state.confidence), default=None),
    ).apply(oldest)


def _pages(storage: MemoryStorage) -> Iterator[list[int]]:
    after = 0
    while rows := storage.read(lambda s, after=after: s.everything(after=after, limit=_PAGE)):
        yield [row.number for row in rows]
        after = rows[-1].number


def _alike(session: Session, page: Sequence[int], query: Query, threshold: float) -> list[Pair]:
    space = active_space(session)
    if space is None:
        return []
    pairs: list[Pair] = []
    for number in page:
        vector = session.vector(space, number)
        if vector is not None:
            near = session.nearest(space, vector, _NEAREST + 1, query).pairs
            pairs += [(number, n, cosine) for n, cosine in near if n != number]
    return [pair for pair in pairs if pair[2] >= threshold]


def _loaded(storage: MemoryStorage, numbers: Sequence[int]) -> list[MemoryDocument]:
    living = [memory for memory in storage.load(numbers) if not memory.is_forgotten]
    return sorted((memory for memory in living if not memory.archived), key=_age)


def _age(memory: MemoryDocument) -> tuple[tuple[int, str], str]:
    return memory.state.created, memory.id


class _Groups:
    """Numbers connected by pairs: disjoint sets with path halving (Tarjan and van Leeuwen 1984)."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._least: dict[int, float] = {}

    def connect(self, one: int, other: int, similarity: float) -> None:
        """Put two numbers into one group."""
        root, joined = sorted((self._root(one), self._root(other)))
        least = min(self._least.get(root, 1.0), self._least.get(joined, 1.0), similarity)
        self._parents[joined] = root
        self._least[root] = least

    def all(self) -> list[tuple[list[int], float]]:
        """Return the groups with the least similarity that connects each."""
        members: dict[int, list[int]] = {}
        for number in self._parents:
            members.setdefault(self._root(number), []).append(number)
        return [(numbers, self._least[root]) for root, numbers in members.items()]

    def _root(self, number: int) -> int:
        parents = self._parents
        parents.setdefault(number, number)
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number
