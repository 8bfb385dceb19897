"""Grow-only counter: each replica counts for itself, the sum is the value (Shapiro et al. 2011)."""

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.counts import COUNT_MAX, ReplicaCounts
from chrysalis_memory.errors import InvalidValue


class GCounter(ReplicaCounts):
    """A counter that only grows; merge takes the maximum per replica, the value is the sum.

    Example:
        >>> a, b = GCounter(), GCounter()
        >>> a.increment("laptop", 2)
        2
        >>> b.increment("server", 3)
        3
        >>> a.merge(b).value
        5
    """

    __slots__ = ()

    def increment(self, replica: str, amount: int = 1) -> int:
        """Add ``amount`` to the count of ``replica`` and return that count.

        Raises:
            InvalidValue: an amount that is not a positive integer, or an unusable replica name.
        """
        codec.check_text(replica, what="replica name")
        known = self._counts.get(replica, 0)
        if type(amount) is not int or not 0 < amount < COUNT_MAX - known:
            raise InvalidValue(f"a counter grows by a positive integer, got {shown(amount)}")
        self._counts[replica] = known + amount
        return known + amount

    @property
    def value(self) -> int:
        """The sum over all replicas."""
        return sum(self._counts.values())
