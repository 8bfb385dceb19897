"""Last-writer-wins register: the greatest ``(timestamp, writer, value)`` is the value."""

from typing import Any, Self, cast

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.clock import SYSTEM_CLOCK, HybridLogicalClock, check_stamp
from chrysalis_memory.errors import InvalidValue

Register = tuple[int, str, Any]
"""``(timestamp in microseconds, writer, JSON value)``; ``None`` stands for one never written."""


def join(mine: Register | None, theirs: Register | None) -> Register | None:
    """Return the greater triple; one never written loses to any.

    Stamps settle nearly every case; then the writer; then the value by its canonical JSON, so that
    even two values written under one name at one instant are settled alike everywhere.
    """
    if mine is theirs or theirs is None:
        return mine
    if mine is None:
        return theirs
    if mine[0] != theirs[0]:
        return mine if mine[0] > theirs[0] else theirs
    if mine[1] != theirs[1]:
        return mine if mine[1] > theirs[1] else theirs
    if type(mine[2]) is str and mine[2] == theirs[2]:
        return mine
    return max(mine, theirs, key=lambda register: codec.canonical_json(register[2]))


def value_of(register: Register | None, default: Any) -> Any:
    """Return the value of a register; ``default`` for one that was never written."""
    return default if register is None else register[2]


def join_map(mine: dict[str, Register], theirs: dict[str, Register]) -> dict[str, Register]:
    """Return the join of two maps of registers, key by key."""
    if mine is theirs or not theirs:
        return mine
    if not mine:
        return theirs
    joined = mine.copy()
    for key, register in theirs.items():
        winner = join(joined.get(key), register)
        if winner is not None:
            joined[key] = winner
    return joined if joined != mine else mine


def check_register(register: object) -> Register:
    """Return ``register`` as a triple.

    Raises:
        InvalidValue: not a triple, an unusable stamp, writer or value.
    """
    if not isinstance(register, list | tuple) or len(cast("list[Any]", register)) != 3:
        raise InvalidValue(f"a register is [timestamp, writer, value], got {shown(register)}")
    stamp, writer, value = cast("list[Any]", register)
    codec.check_json(value)
    return check_stamp(stamp), codec.check_text(writer, what="writer"), value


def frozen(register: object) -> Register:
    """Return a checked register whose value is held as canonical JSON text.

    Text cannot be changed from outside, and compares without Python's ``1 == True``.

    Raises:
        InvalidValue: as :func:`check_register`.
    """
    stamp, writer, value = check_register(register)
    return stamp, writer, codec.json_text(value)


def thawed(register: Register) -> list[Any]:
    """Return ``[timestamp, writer, value]`` of a frozen register."""
    return [register[0], register[1], codec.parse_json(register[2])]


class LWWRegister:
    """One JSON value; the last write wins, ties settled by the writer and then by the value.

    A register that was never written reads as ``None`` and loses to every write.

    Example:
        >>> a, b = LWWRegister(), LWWRegister()
        >>> a.set("tea", "alice", timestamp=5)
        >>> b.set("coffee", "bob", timestamp=5)
        >>> a.merge(b).value
        'coffee'
    """

    __slots__ = ("_clock", "_register")

    def __init__(
        self,
        value: Any = None,
        writer: str = "local",
        *,
        timestamp: int | None = None,
        clock: HybridLogicalClock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._register: Register | None = None
        if value is not None:
            self.set(value, writer, timestamp=timestamp)

    def set(self, value: Any, writer: str = "local", *, timestamp: int | None = None) -> None:
        """Write ``value``.

        Args:
            value: Any JSON value.
            writer: Who writes.
            timestamp: Microseconds; raised above the register's own. Default: the clock.

        Raises:
            InvalidValue: NaN, another value JSON cannot hold, or an unusable writer or stamp.
        """
        text = codec.canonical_json(value)
        codec.check_text(writer, what="writer")
        if timestamp is None:
            stamp = self._clock.now(above=self.timestamp)
        else:
            stamp = check_stamp(max(check_stamp(timestamp), self.timestamp + 1))
        self._register = (stamp, writer, text)

    @property
    def value(self) -> Any:
        """The value, a fresh copy; ``None`` when never written."""
        return None if self._register is None else codec.parse_json(self._register[2])

    def get(self) -> Any:
        """Return :attr:`value`."""
        return self.value

    @property
    def timestamp(self) -> int:
        """When the value was written, in microseconds; 0 when never."""
        return 0 if self._register is None else self._register[0]

    @property
    def writer(self) -> str | None:
        """Who wrote the value; ``None`` when never written."""
        return None if self._register is None else self._register[1]

    def merge(self, other: "LWWRegister") -> "LWWRegister":
        """Return the register that holds the greater triple; neither is changed."""
        merged = LWWRegister(clock=self._clock)
        merged._register = join(self._register, other._register)
        return merged

    def to_json(self) -> str:
        """Return canonical JSON: ``[timestamp, writer, value]`` or ``null``."""
        return codec.json_text(None if self._register is None else thawed(self._register))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidDocument: not JSON.
            InvalidValue: JSON of another shape.
        """
        restored = cls()
        state = codec.parse_json(text)
        restored._register = None if state is None else frozen(state)
        return restored

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal registers give equal bytes."""
        return codec.pack(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        return cls.from_json(codec.check_text(codec.unpack(data), what="register"))

    def __eq__(self, other: object) -> bool:
        return (
            self.to_json() == other.to_json() if isinstance(other, LWWRegister) else NotImplemented
        )

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"LWWRegister({self.value!r}, writer={self.writer!r}, timestamp={self.timestamp})"
