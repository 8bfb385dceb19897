"""Grow-only counter: each replica counts for itself, the sum is the value (Shapiro et al. 2011)."""

from collections.abc import Mapping
from typing import Any, Self

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.vector_clock import COUNT_MAX, Counts, check_counts, join
from chrysalis_memory.errors import InvalidValue


class GCounter:
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

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts: Counts = check_counts({} if counts is None else counts)

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

    def merge(self, other: "GCounter") -> "GCounter":
        """Return the counter with the maximum per replica; neither is changed."""
        merged = GCounter()
        merged._counts = join(self._counts, other._counts).copy()
        return merged

    def to_dict(self) -> Counts:
        """Return a copy of the counts by replica."""
        return dict(self._counts)

    def to_json(self) -> str:
        """Return canonical JSON."""
        return codec.json_text(self._counts)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidDocument: not JSON.
            InvalidValue: JSON of another shape.
        """
        return cls(check_counts(codec.parse_json(text)))

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal counters give equal bytes."""
        return codec.pack(codec.ordered(self._counts))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        return cls(check_counts(codec.unpack(data)))

    def __eq__(self, other: object) -> bool:
        return self._counts == other._counts if isinstance(other, GCounter) else NotImplemented

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"GCounter({codec.ordered(self._counts)!r})"
