"""Observed-remove set: a remove undoes the adds it has seen, a concurrent add wins."""

from collections.abc import Iterator
from typing import Any, Self

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt import kernel
from chrysalis_memory.crdt.clock import SYSTEM_CLOCK, HybridLogicalClock, check_stamp
from chrysalis_memory.errors import InvalidValue

Elements = dict[str, kernel.Entries]
"""Element to its kernel entries; treated as immutable once shared."""


def join(mine: Elements, theirs: Elements) -> Elements:
    """Return the join of both, element by element."""
    if mine is theirs or not theirs or mine == theirs:
        return mine
    if not mine:
        return theirs
    joined = mine.copy()
    for element, entries in theirs.items():
        own = joined.get(element)
        if own is None:
            joined[element] = entries
        elif own is not entries:
            joined[element] = kernel.join(own, entries)
    return joined


def added(elements: Elements, element: str, writer: str, stamp: int) -> Elements:
    """Return the set after ``writer`` added ``element``."""
    return elements | {element: kernel.write(elements.get(element, {}), writer, stamp, 0.0)}


def removed(elements: Elements, element: str) -> Elements:
    """Return the set after the observed adds of ``element`` were undone."""
    if element not in elements:
        return elements
    return elements | {element: kernel.clear(elements[element])}


def present(elements: Elements) -> list[str]:
    """Return the elements that are in the set, earliest add first, equal stamps by name."""
    found: list[tuple[int, str]] = []
    for element, entries in elements.items():
        stamps = [stamp for stamp, _, _ in entries.values() if stamp]
        if stamps:
            found.append((min(stamps), element))
    found.sort()
    return [element for _, element in found]


def greatest_stamp(elements: Elements) -> int:
    """Return the greatest stamp anywhere in the set; 0 when there is none."""
    return max((kernel.greatest_stamp(entries) for entries in elements.values()), default=0)


def check_elements(elements: object) -> Elements:
    """Return a checked copy of decoded state.

    Raises:
        InvalidValue: another shape or a value out of range.
    """
    if not isinstance(elements, dict):
        raise InvalidValue(f"set elements map a name to entries by writer, got {shown(elements)}")
    return {
        codec.check_text(element, what="set element"): kernel.check_entries(entries)  # pyright: ignore[reportUnknownArgumentType]
        for element, entries in elements.items()  # pyright: ignore[reportUnknownVariableType]
    }


class ORSet:
    """An observed-remove set of strings, owned by one writer at a time.

    Args:
        writer: The name under which :meth:`add` writes unless another is given.
        clock: Gives the stamps of writes.

    Example:
        >>> a = ORSet("alice")
        >>> a.add("draft")
        >>> b = a.merge(ORSet("bob"))
        >>> a.remove("draft")
        >>> a.merge(b).elements()  # b holds nothing newer than what a removed
        []
    """

    __slots__ = ("_clock", "_elements", "_writer")

    def __init__(self, writer: str = "local", *, clock: HybridLogicalClock = SYSTEM_CLOCK) -> None:
        self._writer = codec.check_text(writer, what="writer")
        self._clock = clock
        self._elements: Elements = {}

    def add(self, element: str, *, writer: str | None = None, timestamp: int | None = None) -> None:
        """Add ``element``; adding again after a remove works.

        Args:
            element: What to add.
            writer: Who adds it; default: the writer of the set.
            timestamp: Microseconds; raised above every stamp in the set. Default: the clock.

        Raises:
            InvalidValue: an element or a writer that is no text, or an unusable stamp.
        """
        codec.check_text(element, what="set element")
        name = self._writer if writer is None else codec.check_text(writer, what="writer")
        above = greatest_stamp(self._elements)
        if timestamp is None:
            stamp = self._clock.now(above=above)
        else:
            stamp = check_stamp(max(check_stamp(timestamp), above + 1))
        self._elements = added(self._elements, element, name, stamp)

    def remove(self, element: str) -> None:
        """Undo the adds of ``element`` that this set has seen; an absent element stays absent."""
        self._elements = removed(self._elements, element)

    def elements(self) -> list[str]:
        """Return what is in the set, earliest add first; the same on every replica."""
        return present(self._elements)

    def merge(self, other: "ORSet") -> "ORSet":
        """Return the join of both, under this set's writer and clock; neither is changed."""
        merged = ORSet(self._writer, clock=self._clock)
        merged._elements = join(self._elements, other._elements)
        return merged

    def to_json(self) -> str:
        """Return canonical JSON of the whole state."""
        return codec.json_text(self._elements)

    @classmethod
    def from_json(cls, text: str, *, writer: str = "local") -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidDocument: not JSON.
            InvalidValue: JSON of another shape.
        """
        return cls._restored(codec.parse_json(text), writer)

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal states give equal bytes."""
        return codec.pack({e: codec.ordered(w) for e, w in sorted(self._elements.items())})

    @classmethod
    def from_bytes(cls, data: bytes, *, writer: str = "local") -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        return cls._restored(codec.unpack(data), writer)

    @classmethod
    def _restored(cls, state: object, writer: str) -> Self:
        restored = cls(writer)
        restored._elements = check_elements(state)
        return restored

    def __contains__(self, element: object) -> bool:
        entries = self._elements.get(element) if isinstance(element, str) else None
        return entries is not None and kernel.counts(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.elements())

    def __len__(self) -> int:
        return sum(kernel.counts(entries) for entries in self._elements.values())

    def __eq__(self, other: object) -> bool:
        return self._elements == other._elements if isinstance(other, ORSet) else NotImplemented

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"ORSet({self.elements()!r})"
