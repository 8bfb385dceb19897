"""Changes of a group of writes that are cheaper written together, at its end."""

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Mark(NamedTuple):
    """Where collected changes stood."""

    collected: int
    written: int


class Collected(Generic[T]):
    """Changes in order; what a failed write added is given up again."""

    def __init__(self) -> None:
        self._changes: list[T] = []
        self._written = 0

    def add(self, change: T) -> None:
        """Collect a change."""
        self._changes.append(change)

    def take(self) -> list[T]:
        """Return the changes not taken yet; the caller writes them now."""
        changes = self._changes[self._written :]
        self._written = len(self._changes)
        return changes

    def mark(self) -> Mark:
        """Return where the changes stand, for :meth:`undo`."""
        return Mark(len(self._changes), self._written)

    def undo(self, mark: Mark) -> None:
        """Give up what was collected since; its savepoint was rolled back."""
        del self._changes[mark.collected :]
        self._written = mark.written

    def clear(self) -> None:
        """Give up everything: the group has ended."""
        self._changes.clear()
        self._written = 0
