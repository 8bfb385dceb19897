"""Counts by replica: the state that vector clocks and grow-only counters share."""

from collections.abc import Mapping
from typing import Any, Self

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidValue

COUNT_MAX = 2**62
"""Counts stay below this, so that sums of a few replicas fit 64 bits."""

Counts = dict[str, int]
"""Replica or writer to a count above zero; treated as immutable once shared."""


def join(mine: Counts, theirs: Counts) -> Counts:
    """Return the pointwise maximum; one of the arguments itself where that is already it."""
    if mine is theirs or not theirs or mine == theirs:
        return mine
    if not mine:
        return theirs
    joined = mine.copy()
    for name, count in theirs.items():
        if count > joined.get(name, 0):
            joined[name] = count
    return joined


def check_counts(counts: object) -> Counts:
    """Return a copy of ``counts`` if it maps names to positive integers.

    Raises:
        InvalidValue: another shape or another value.
    """
    if not isinstance(counts, Mapping):
        raise InvalidValue(f"counts map a name to an integer, got {shown(counts)}")
    checked: Counts = {}
    for name, count in counts.items():  # pyright: ignore[reportUnknownVariableType]
        codec.check_text(name, what="replica name")  # pyright: ignore[reportUnknownArgumentType]
        if type(count) is not int or not 0 < count < COUNT_MAX:  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidValue(
                f"the count of {shown(name)} must be a positive integer, got {shown(count)}"
            )
        checked[name] = count
    return checked


class ReplicaCounts:
    """Counts by replica that only grow; merging takes the maximum of each."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts: Counts = check_counts({} if counts is None else counts)

    def merge(self, other: Self) -> Self:
        """Return the greater count of every replica; neither is changed."""
        merged = type(self)()
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
        """Return canonical bytes: equal values give equal bytes."""
        return codec.pack(codec.ordered(self._counts))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        return cls(check_counts(codec.unpack(data)))

    def __eq__(self, other: object) -> bool:
        return self._counts == other._counts if type(other) is type(self) else NotImplemented

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({codec.ordered(self._counts)!r})"
