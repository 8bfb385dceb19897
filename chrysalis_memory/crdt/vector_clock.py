"""Vector clock (Fidge 1988, Mattern 1989): tells whether two versions knew of one another."""

from chrysalis_memory import codec
from chrysalis_memory.crdt.counts import ReplicaCounts, join


class VectorClock(ReplicaCounts):
    """How many events of each replica are known.

    Example:
        >>> a, b = VectorClock(), VectorClock()
        >>> _ = a.tick("laptop"), b.tick("server")
        >>> a.concurrent(b), a.happened_before(a.merge(b))
        (True, True)
    """

    __slots__ = ()

    def tick(self, replica: str) -> int:
        """Count one more event of ``replica`` and return its new count."""
        codec.check_text(replica, what="replica name")
        self._counts[replica] = self._counts.get(replica, 0) + 1
        return self._counts[replica]

    def get(self, replica: str) -> int:
        """Return how many events of ``replica`` are known; 0 for an unknown one."""
        return self._counts.get(replica, 0)

    def happened_before(self, other: "VectorClock") -> bool:
        """Tell whether ``other`` knows everything this clock knows, and more."""
        return self._counts != other._counts and join(other._counts, self._counts) == other._counts

    def concurrent(self, other: "VectorClock") -> bool:
        """Tell whether each of the two knows an event the other does not."""
        joined = join(self._counts, other._counts)
        return joined != self._counts and joined != other._counts
