"""The part of a session that a check of a store reads, and that mends what the check found."""

from typing import Protocol

from chrysalis_memory.backends.rows import IndexedMemory, MemoryRow, Upkeep

UNREADABLE = "unreadable "
"""The beginning of the names of settings that hold states which could not be read, as JSON with the
memory's ``id``."""


class Whole(Protocol):
    """Reads a store with all that is derived in it, and makes that anew."""

    def indexed(self, *, after: int, limit: int) -> list[IndexedMemory]:
        """Return memories numbered above ``after``, forgotten ones too, with what is derived."""
        ...

    def damage(self) -> list[str]:
        """Return what is wrong beyond single memories, each in a sentence; as far as it shows."""
        ...

    def upkeep(self) -> Upkeep:
        """Return what is no fault of the store, and worth knowing."""
        ...

    def settings(self, prefix: str) -> dict[str, str]:
        """Return the settings of the store whose keys begin so."""
        ...

    def mend_indexes(self) -> None:
        """Make the engine's own indexes anew if they are not those of their tables."""
        ...

    def rewrite(self, number: int, row: MemoryRow) -> None:
        """Write a memory's state and all that is derived of it, whatever is stored there now.

        A vector that is none of its text is removed, and the memory waits for another.
        """
        ...

    def remove(self, number: int) -> None:
        """Remove a memory with all that belongs to it, as if it had never been here."""
        ...

    def mend_rest(self) -> None:
        """Remove what belongs to no memory, and make codes, counts of words and sums anew."""
        ...
