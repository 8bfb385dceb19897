"""The codes of a file's spaces in RAM, shared by all reading connections of a store.

A reader asks for the codes *as its snapshot sees them*. What is held is reused where nothing
changed since; where something did, by this process or another, only the chunks that differ are
read, from the reader's own snapshot. So a search never misses a vector that its snapshot has, and
rolled back writes never show: they were never in a snapshot. The writing connection does not take
part, since what it has not committed yet must not be seen by others.
"""

import threading

from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.codes import CodeView
from chrysalis_memory.backends.sqlite.held_vectors import HeldVectors

CODES_BYTES_MAX = 256 << 20
"""RAM for codes: five million vectors of 384 dimensions; a larger space is read from the file."""


class CodeCache:
    """Holds the latest seen codes of each space, and the vectors of small spaces.

    Args:
        size_bytes_max: The most RAM that a space's codes may take; ``CODES_BYTES_MAX`` by default.
    """

    def __init__(self, size_bytes_max: int | None = None) -> None:
        self.size_bytes_max = CODES_BYTES_MAX if size_bytes_max is None else size_bytes_max
        self._lock = threading.Lock()
        self._views: dict[int, CodeView] = {}
        self._held: dict[int, HeldVectors] = {}

    def view(self, table: CodeTable) -> CodeView | None:
        """Return the codes as the table's connection sees them, ``None`` if they may not be held.

        Two threads whose snapshots differ get two views, which share what is equal.
        """
        change = table.change()
        space = table.space.number
        known = self._views.get(space)
        if known is not None and known.change == change:
            return known
        # Under the lock, so that threads that start together read the codes once.
        with self._lock:
            known = self._views.get(space)
            if known is None or known.change < change:
                if table.size_bytes() > self.size_bytes_max:
                    self._views.pop(space, None)
                    return None
                if known is None:
                    self._keep_only(table.known_spaces())
                since = CodeView({}, 0) if known is None else known
                if since.change < change:
                    since = since.updated(table.chunks_since(since.change), change)
                self._views[space] = since
                return since
        return known if known.change == change else _earlier(known, table, change)

    def vectors(self, table: CodeTable, view: CodeView) -> HeldVectors:
        """Return the vectors of every chunk; for spaces small enough for it."""
        space = table.space
        known = self._held.get(space.number)
        if known is not None and known.view is view:
            return known
        with self._lock:
            known = self._held.get(space.number)
            if known is not None and known.view is view:
                return known
            held = HeldVectors.of(view, space.dimension, known, table.vectors)
            if known is None or known.view.change < view.change:
                self._held[space.number] = held
            return held

    def drop_vectors(self, table: CodeTable) -> None:
        """Give back the vectors of a space that has grown too large for them."""
        self._held.pop(table.space.number, None)

    def _keep_only(self, spaces: set[int]) -> None:
        """Give back what is held of spaces that are no more."""
        for held in (self._views, self._held):
            for space in set(held) - spaces:
                held.pop(space, None)


def _earlier(later: CodeView, table: CodeTable, change: int) -> CodeView:
    """Return the codes of a snapshot older than what is held; only its own search keeps them."""
    seen = table.changes()
    same = later.within(set(seen))
    held = same.changes()
    differing = sorted(chunk for chunk, at in seen.items() if held.get(chunk) != at)
    return same.updated(table.chunks(differing), change)
