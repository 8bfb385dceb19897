"""Score register: a number in [0, 1] that a later write replaces and concurrent writes maximise."""

from typing import Any, Self

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt import kernel
from chrysalis_memory.crdt.clock import SYSTEM_CLOCK, HybridLogicalClock, check_stamp
from chrysalis_memory.errors import InvalidValue

DEFAULT_SCORE = 0.5
"""What a score reads as when nobody has set it; it loses to every score that was set."""


def check_score(value: object, *, what: str = "score") -> float:
    """Return ``value`` as a float.

    Raises:
        InvalidValue: not a number, NaN, or outside [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidValue(f"{what} must be a number from 0 to 1, got {shown(value)}")
    return value + 0.0


def score(entries: kernel.Entries) -> float:
    """Return the maximum of the values that count, 0.5 when there is none."""
    return max(kernel.values(entries), default=DEFAULT_SCORE) if entries else DEFAULT_SCORE


class ScoreRegister:
    """A score in [0, 1], such as importance or confidence.

    A write replaces everything its writer has seen, so a score can be lowered; among writes that
    did not know of one another the greatest counts.

    Example:
        >>> a = ScoreRegister()
        >>> a.set(0.9, "alice")
        >>> b = a.merge(ScoreRegister())
        >>> a.set(0.2, "alice")
        >>> a.merge(b).value
        0.2
    """

    __slots__ = ("_clock", "_entries")

    def __init__(self, *, clock: HybridLogicalClock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._entries: kernel.Entries = {}

    def set(self, value: float, writer: str, *, timestamp: int | None = None) -> None:
        """Write ``value``.

        Args:
            value: From 0 to 1.
            writer: Who writes.
            timestamp: Microseconds; raised above every stamp in the register. Default: the clock.

        Raises:
            InvalidValue: a value outside [0, 1], NaN, or an unusable writer or stamp.
        """
        checked = check_score(value)
        codec.check_text(writer, what="writer")
        above = kernel.greatest_stamp(self._entries)
        if timestamp is None:
            stamp = self._clock.now(above=above)
        else:
            stamp = check_stamp(max(check_stamp(timestamp), above + 1))
        self._entries = kernel.write(self._entries, writer, stamp, checked)

    @property
    def value(self) -> float:
        """The score; 0.5 when nobody has set it."""
        return score(self._entries)

    def get(self) -> float:
        """Return :attr:`value`."""
        return self.value

    def merge(self, other: "ScoreRegister") -> "ScoreRegister":
        """Return the join of both; neither is changed."""
        merged = ScoreRegister(clock=self._clock)
        merged._entries = kernel.join(self._entries, other._entries)
        return merged

    def to_json(self) -> str:
        """Return canonical JSON of the whole state."""
        return codec.json_text(self._entries)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidDocument: not JSON.
            InvalidValue: JSON of another shape.
        """
        restored = cls()
        restored._entries = kernel.check_entries(codec.parse_json(text))
        return restored

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal states give equal bytes."""
        return codec.pack(codec.ordered(self._entries))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        restored = cls()
        restored._entries = kernel.check_entries(codec.unpack(data))
        return restored

    def __eq__(self, other: object) -> bool:
        return (
            self._entries == other._entries if isinstance(other, ScoreRegister) else NotImplemented
        )

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"ScoreRegister({self.value})"
