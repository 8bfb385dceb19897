"""The vectors of a small space in RAM, in one array, so that any of them are compared at once.

Rows are only ever added to the array, behind those that are there, so that searches at different
snapshots share it. What a change replaced stays until the array is full; another is begun then with
what is still there.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.backends.nearest import checked, cosines
from chrysalis_memory.backends.sqlite.code_table import FloatChunk
from chrysalis_memory.backends.sqlite.codes import CodeView, CosineRanking, Numbers
from chrysalis_memory.embedding import Vector

_ROOM = 1.25
"""An array is made for so many times what it is to hold."""


class _Rows:
    """An array that vectors are added to."""

    def __init__(self, capacity: int, dimension: int) -> None:
        self.vectors = np.empty((capacity, dimension), np.float32)
        self.used = 0

    def has_room(self, count: int) -> bool:
        return self.used + count <= len(self.vectors)

    def add(self, vectors: Vector) -> int:
        """Add vectors and return the row of the first."""
        first = self.used
        self.used += len(vectors)
        self.vectors[first : self.used] = vectors
        return first


class _Part(NamedTuple):
    """Where the vectors of a chunk lie: one after the other."""

    numbers: Numbers
    first: int

    @property
    def end(self) -> int:
        return self.first + len(self.numbers)

    def copied(self, source: _Rows, target: _Rows) -> "_Part":
        return _Part(self.numbers, target.add(source.vectors[self.first : self.end]))


class HeldVectors:
    """All vectors of a small space as of one view; immutable."""

    __slots__ = ("_array", "_end", "_numbers", "_parts", "_rows", "view")

    def __init__(self, view: CodeView, array: _Rows, parts: dict[tuple[int, int], _Part]) -> None:
        self.view = view
        self._array = array
        self._end = array.used
        self._parts = parts
        none = [np.empty(0, np.int64)]
        self._numbers = np.concatenate([part.numbers for part in parts.values()] or none)
        self._rows = np.concatenate(
            [np.arange(part.first, part.end) for part in parts.values()] or none
        )

    @classmethod
    def of(
        cls,
        view: CodeView,
        dimension: int,
        known: "HeldVectors | None",
        read: Callable[[int], FloatChunk],
    ) -> "HeldVectors":
        """Return the vectors of every chunk of a view; one caller at a time.

        A chunk's number and change name its content, whatever snapshot it is seen in.

        Args:
            view: The codes of the space.
            dimension: Of its vectors.
            known: What is held of it as of another view.
            read: Reads a chunk, as of ``view``.
        """
        keys = view.changes().items()
        held = {} if known is None else known._parts
        parts = {key: held[key] for key in keys if key in held}
        chunks = {key: read(key[0]) for key in keys if key not in held}
        added = sum(len(chunk.numbers) for chunk in chunks.values())
        if known is not None and known._array.has_room(added):
            array = known._array
        else:
            kept = sum(len(part.numbers) for part in parts.values())
            array = _Rows(math.ceil((kept + added) * _ROOM), dimension)
            if known is not None:
                parts = {key: part.copied(known._array, array) for key, part in parts.items()}
        for key, chunk in chunks.items():
            parts[key] = _Part(chunk.numbers, array.add(chunk.vectors))
        return cls(view, array, {key: parts[key] for key in keys})

    def similarities(self, numbers: Numbers, vector: Vector) -> tuple[Numbers, NDArray[np.float32]]:
        """Return which of the memories have a vector, and the cosine of each with ``vector``."""
        if not len(self._numbers):
            return numbers[:0], np.empty(0, np.float32)
        places = np.searchsorted(self._numbers, numbers)
        known = self._numbers.take(places, mode="clip") == numbers
        if not known.all():
            numbers, places = numbers[known], places[known]
        rows = self._rows.take(places)
        return numbers, cosines(self._array.vectors.take(rows, axis=0), vector)

    def ranking(self, vector: Vector) -> CosineRanking:
        """Rank all of the vectors."""
        found = np.vecdot(self._array.vectors[: self._end], vector)
        return CosineRanking(self._numbers, checked(found.take(self._rows)))
