"""Grow-only set: elements are added and never removed; merge is the union (Shapiro et al. 2011)."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

from chrysalis_memory import codec
from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidValue

Elements = frozenset[str]
EMPTY: Elements = frozenset()

# After this many merges the order is written out, so that old sets are not kept alive for it.
_SOURCES_MAX = 8


def join(mine: Elements, theirs: Elements) -> Elements:
    """Return the union; one of the arguments itself where that is already it."""
    if mine is theirs or theirs <= mine:
        return mine
    return mine | theirs


class GSet:
    """A grow-only set of strings.

    ``elements()`` and iteration give the order in which this set came to know its elements: its
    own additions first, then what merges brought. The order is no part of the value: two sets are
    equal when they hold the same elements, and JSON and bytes are sorted.

    Example:
        >>> tags, others = GSet(["important"]), GSet(["crdt"])
        >>> tags.merge(others).elements()
        ['important', 'crdt']
    """

    __slots__ = ("_elements", "_sources")

    def __init__(self, elements: Iterable[str] = ()) -> None:
        self._elements: set[str] = set()
        # Append-only lists with the length to read: a merge notes its inputs' order in O(1)
        # and elements() pays for it, because a union is 1.5 times dearer when it keeps order.
        self._sources: list[tuple[list[str], int]] = [([], 0)]
        for element in elements:
            self.add(element)

    def add(self, element: str) -> None:
        """Add one element.

        Raises:
            InvalidValue: not a string that UTF-8 can hold.
        """
        codec.check_text(element, what="set element")
        if element not in self._elements:
            self._elements.add(element)
            order = self._flat_order()
            order.append(element)
            self._sources = [(order, len(order))]

    def elements(self) -> list[str]:
        """Return the elements, in the order this set came to know them."""
        return self._flat_order().copy()

    def merge(self, other: "GSet") -> "GSet":
        """Return the union of both; neither is changed."""
        merged = GSet.__new__(GSet)
        merged._elements = self._elements | other._elements
        merged._sources = self._sources + other._sources
        if len(merged._sources) > _SOURCES_MAX:
            merged._flat_order()
        return merged

    def _flat_order(self) -> list[str]:
        if len(self._sources) == 1:
            return self._sources[0][0]
        known = (element for order, length in self._sources for element in order[:length])
        flat = list(dict.fromkeys(known))
        self._sources = [(flat, len(flat))]
        return flat

    def to_json(self) -> str:
        """Return canonical JSON: the sorted list of elements."""
        return codec.json_text(sorted(self._elements))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidDocument: not JSON.
            InvalidValue: not a list of strings.
        """
        return cls(_checked(codec.parse_json(text)))

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal sets give equal bytes."""
        return codec.pack(sorted(self._elements))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`from_json` does."""
        return cls(_checked(codec.unpack(data)))

    def __contains__(self, element: object) -> bool:
        return element in self._elements

    def __iter__(self) -> Iterator[str]:
        return iter(self.elements())

    def __len__(self) -> int:
        return len(self._elements)

    def __eq__(self, other: object) -> bool:
        return self._elements == other._elements if isinstance(other, GSet) else NotImplemented

    __hash__: Any = None  # mutable

    def __repr__(self) -> str:
        return f"GSet({self.elements()!r})"


def _checked(elements: object) -> Iterable[str]:
    if not isinstance(elements, list | tuple):
        raise InvalidValue(f"a grow-only set is a list of strings, got {shown(elements)}")
    return elements  # pyright: ignore[reportUnknownVariableType]
