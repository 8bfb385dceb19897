"""What a memory is connected with, by its links and by likeness; and where memories lie."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import MemoryForgotten, MemoryNotFound
from chrysalis_memory.query import Filter, Query
from chrysalis_memory.search import active_space, check_space
from chrysalis_memory.storage import Accuracy, MemoryStorage, Session, StoredMemory

Link = Literal["related", "parent"]


class Related(NamedTuple):
    """A memory that another is connected with."""

    memory: MemoryDocument
    link: Link | None
    """How the other names it; ``None`` where it is only alike."""
    similarity: float | None
    """Cosine of both vectors; ``None`` where one is missing."""


def require(storage: MemoryStorage, memory_id: str) -> MemoryDocument:
    """Return one memory.

    Raises:
        MemoryNotFound: the id is unknown.
        MemoryForgotten: it was forgotten.
    """
    return storage.document(storage.read(lambda session: _known(storage, session, memory_id)))


def _known(storage: MemoryStorage, session: Session, memory_id: str) -> StoredMemory:
    stored = session.load(memory_id)
    if stored is None:
        raise MemoryNotFound(memory_id)
    if storage.document(stored).is_forgotten:
        raise MemoryForgotten(memory_id)
    return stored


def related(storage: MemoryStorage, memory_id: str, k: int, wanted: Filter) -> list[Related]:
    """Return what a memory links to, by id, and then the ``k`` others most alike.

    Args:
        storage: The store.
        memory_id: Which memory.
        k: How many that are only alike.
        wanted: What these must match.

    Raises:
        MemoryNotFound: the id is unknown.
        MemoryForgotten: it was forgotten.
    """
    query = storage.query(wanted)

    def work(session: Session) -> list[Related]:
        own = _known(storage, session, memory_id)
        memory = storage.document(own)
        links: dict[str, Link] = dict.fromkeys(memory.get_related(), "related")
        links |= dict.fromkeys(memory.get_parents(), "parent")
        loaded = [session.load(one) for one in sorted(links)]
        linked = [row for row in loaded if row is not None]
        alike, cosines = _alike(session, own, linked, k, query)
        found = [(storage.document(row), row.number) for row in (*linked, *alike)]
        return [
            Related(one, links.get(one.id), cosines.get(number))
            for one, number in found
            if not one.is_forgotten
        ]

    return storage.read(work)


def _alike(
    session: Session, own: StoredMemory, linked: Sequence[StoredMemory], k: int, query: Query
) -> tuple[list[StoredMemory], dict[int, float]]:
    """Return the ``k`` most alike that are not linked, and all known cosines by number."""
    space = active_space(session)
    vector = None if space is None else session.vector(space, own.number)
    if space is None or vector is None:
        return [], {}
    known = {own.number, *(row.number for row in linked)}
    near = session.nearest(space, vector, k + len(known), query).pairs
    others = [number for number, _ in near if number not in known][:k]
    cosines = session.similarities(space, vector, [*known, *others])
    return session.load_numbers(others), cosines


class Near(NamedTuple):
    """A memory that lies near what was asked for."""

    memory: MemoryDocument
    similarity: float
    """Cosine of both vectors."""
    vector: NDArray[np.float32] | None
    """Its vector, of unit length, where it was asked for."""


class Place(NamedTuple):
    """Where to look for what is near."""

    vector: Vector
    fingerprint: str
    """The embedding space of ``vector``."""


def nearest(
    storage: MemoryStorage,
    place: Place,
    k: int,
    wanted: Filter,
    *,
    accuracy: Accuracy,
    with_vectors: bool,
) -> list[Near]:
    """Return the ``k`` memories nearest to a place, nearest first, ties by id.

    Args:
        storage: The store.
        place: The vector to be near to.
        k: How many.
        wanted: What they must match.
        accuracy: How many of the nearest are to be found where the space is large.
        with_vectors: Whether to read their vectors, too.

    Raises:
        EmbeddingSpaceMismatch: the vector is of another space than the store's.
    """
    query = storage.query(wanted)

    def work(session: Session) -> list[Near]:
        space = active_space(session)
        if space is None:
            return []
        check_space(space, place.fingerprint)
        pairs = session.nearest(space, place.vector, k, query, accuracy=accuracy).pairs
        rows = session.load_numbers([number for number, _ in pairs])
        found = [(cosine, row) for (_, cosine), row in zip(pairs, rows, strict=True)]
        found.sort(key=lambda pair: (-pair[0], pair[1].id))
        return [
            Near(
                storage.document(row),
                cosine,
                session.vector(space, row.number) if with_vectors else None,
            )
            for cosine, row in found[:k]
        ]

    return storage.read(work)


def vectors(
    storage: MemoryStorage, wanted: Filter, limit: int
) -> tuple[list[MemoryDocument], NDArray[np.float32]]:
    """Return the newest memories that match and have a vector, with their vectors.

    Args:
        storage: The store.
        wanted: The conditions.
        limit: At most so many are looked at.

    Returns:
        ``n`` memories, newest first, and an array ``(n, dimension)`` of unit length rows;
        ``(0, 0)`` where nothing has a vector yet.
    """
    query = storage.query(wanted)

    def work(session: Session) -> tuple[list[MemoryDocument], NDArray[np.float32]]:
        space = active_space(session)
        memories: list[MemoryDocument] = []
        found: list[NDArray[np.float32]] = []
        for row in session.select(query, "recent", limit) if space else []:
            vector = session.vector(space, row.number) if space else None
            if vector is not None:
                memories.append(storage.document(row))
                found.append(vector)
        return memories, np.array(found) if found else np.empty((0, 0), dtype=np.float32)

    return storage.read(work)
