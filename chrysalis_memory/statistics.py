"""What a store holds, and how well its vector index finds it."""

from typing import NamedTuple

from chrysalis_memory.backends.base import Session, Space
from chrysalis_memory.query import Query
from chrysalis_memory.search import active_space

_SAMPLE = 20
_K = 10


class StoreStatistics(NamedTuple):
    """What a store holds."""

    memories: int
    tags: list[tuple[str, int]]
    """Tags with the number of memories that carry them, most frequent first."""
    space: Space | None
    pending: int
    """Memories that wait for their vector."""
    size_bytes: int
    replica: str
    index_recall: float | None
    """See :func:`index_recall`; ``None`` where it was not measured."""


def gather(session: Session, query: Query, replica: str, *, measure: bool) -> StoreStatistics:
    """Return what the store of a session holds.

    Args:
        session: One snapshot of it.
        query: What counts as a memory of it.
        replica: Its name.
        measure: Whether to measure the index, which reads every vector 20 times.
    """
    space = active_space(session)
    return StoreStatistics(
        memories=session.count(query),
        tags=session.tag_counts(query),
        space=space,
        pending=0 if space is None else session.pending_count(space),
        size_bytes=session.size_bytes(),
        replica=replica,
        index_recall=index_recall(session, space, query) if measure and space else None,
    )


def index_recall(session: Session, space: Space, query: Query) -> float | None:
    """Return the recall@10 of the vector index on a sample of its own vectors.

    The share of the true ten nearest of each that the default search finds, itself left out; 20
    memories spread evenly over the store. ``None`` for a space with fewer than two vectors.
    """
    shares: list[float] = []
    for number in session.sample(space, _SAMPLE):
        vector = session.vector(space, number)
        if vector is None:
            continue
        found, true = (
            {n for n, _ in session.nearest(space, vector, _K + 1, query, accuracy=accuracy).pairs}
            for accuracy in ("balanced", "exact")
        )
        others = true - {number}
        if others:
            shares.append(len(found & others) / len(others))
    return sum(shares) / len(shares) if shares else None
