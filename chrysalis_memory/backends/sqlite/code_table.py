"""The durable codes of one embedding space: an ordinary table of chunks.

One row holds the codes of 256 consecutive memory numbers (see :mod:`.codes`). An ordinary table
and not a vec0 bit column, because there a vector that is rewritten is deleted and inserted, which
leaves holes (6.5 times the size after six rewrites of every row), and a million codes load one row
at a time; here a rewrite changes its own 48 bytes in place, and SQLite writes only the pages that
differ.

``change`` rises with every write to the table, in the transaction of the write: the greatest tells
whether anything changed, and each chunk's tells what did. This is the whole change log; it needs no
trimming.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from chrysalis_memory.backends.base import Space
from chrysalis_memory.backends.sqlite.codes import (
    CHUNK,
    CHUNK_BITS,
    Chunk,
    Numbers,
    code_of,
    codes_of,
    words_of,
)
from chrysalis_memory.backends.sqlite.database import Database, number_array, onward
from chrysalis_memory.backends.sqlite.vector_blobs import decode
from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import StorageError

# Integers beyond this take eight bytes whatever their value, so a row never changes its length, and
# SQLite overwrites it in place.
_FIRST_CHANGE = 1 << 48
_EMPTY = (b"", b"")


class FloatChunk(NamedTuple):
    """The vectors of one chunk."""

    numbers: Numbers
    """Of shape ``(n,)``, ascending."""
    vectors: Vector
    """Of shape ``(n, dimension)``, float32."""


class CodeTable:
    """Reads and writes the codes of one space on one connection."""

    def __init__(self, connection: Database, space: Space) -> None:
        self._connection = connection
        self.space = space
        self._vectors = f"vector_{space.number}"
        self._codes = f"vector_code_{space.number}"
        self._code_bytes = words_of(space.dimension) * 8

    def drop(self) -> None:
        """Remove the table."""
        self._connection.execute(f"DROP TABLE {self._codes}")

    # Writing

    def put(self, vectors: Mapping[int, Vector | None]) -> None:
        """Store or replace the codes of memories by number; ``None`` removes one."""
        chunks: dict[int, dict[int, bytes | None]] = {}
        for number, vector in vectors.items():
            slots = chunks.setdefault(number >> CHUNK_BITS, {})
            slots[number & (CHUNK - 1)] = None if vector is None else code_of(vector)
        for chunk, slots in chunks.items():
            self._set(chunk, slots)

    def _set(self, chunk: int, slots: Mapping[int, bytes | None]) -> None:
        row = self._connection.execute(
            f"SELECT present, codes FROM {self._codes} WHERE chunk = ?", (chunk,)
        ).get
        size = self._code_bytes
        old = row or (bytes(CHUNK // 8), bytes(CHUNK * size))
        if (len(old[0]), len(old[1])) != (CHUNK // 8, CHUNK * size):
            raise StorageError(
                f"a block of codes of {self.space.fingerprint!r} is of another size: the file is "
                "damaged; mend it with: chrysalis check --repair"
            )
        bits, codes = bytearray(old[0]), bytearray(old[1])
        for slot, code in slots.items():
            mask = 1 << (slot & 7)
            bits[slot >> 3] = bits[slot >> 3] & ~mask if code is None else bits[slot >> 3] | mask
            codes[slot * size : (slot + 1) * size] = bytes(size) if code is None else code
        # A new vector may have the old one's code, and whoever holds that is to see the change.
        if (bits, codes) != old or any(code is not None for code in slots.values()):
            self._write(chunk, bytes(bits), bytes(codes), is_new=row is None)

    def _write(self, chunk: int, present: bytes, codes: bytes, *, is_new: bool) -> None:
        change = f"(SELECT coalesce(max(change), {_FIRST_CHANGE}) + 1 FROM {self._codes})"
        self._connection.execute(
            f"INSERT INTO {self._codes} (present, codes, chunk, change) VALUES (?, ?, ?, {change})"
            if is_new
            # An update and not a replacement: it leaves the pages that are equal unwritten.
            else f"UPDATE {self._codes} SET present = ?, codes = ?, change = {change} "
            "WHERE chunk = ?",
            (present, codes, chunk),
        )

    def rebuild(self, after: int, limit: int) -> int | None:
        """Make the codes of the next memories anew from their vectors.

        Args:
            after: Go on behind this memory number; -1 to begin.
            limit: How many chunks at most.

        Returns:
            Where to go on, or ``None`` when all is done.
        """
        first = (after + 1) >> CHUNK_BITS
        for _ in range(limit):
            found = self._next_chunk(first)
            if found is None:
                return None
            self._rebuild_chunk(found)
            first = found + 1
        return (first << CHUNK_BITS) - 1

    def _next_chunk(self, first: int) -> int | None:
        """Return the first chunk from ``first`` on that has vectors or codes."""
        found = self._connection.execute(
            "SELECT min(chunk) FROM ("
            f"SELECT min(memory) >> {CHUNK_BITS} AS chunk FROM {self._vectors} WHERE memory >= ? "
            f"UNION ALL SELECT min(chunk) FROM {self._codes} WHERE chunk >= ?)",
            (first << CHUNK_BITS, first),
        ).get
        return None if found is None else onward([(found,)], first - 1)[0][0]

    def _rebuild_chunk(self, chunk: int) -> None:
        made, known = self._made(chunk), self._stored(chunk)
        if known != made:
            self._write(chunk, *made, is_new=known is None)

    def _made(self, chunk: int) -> tuple[bytes, bytes]:
        """Return what the codes of a chunk are to be, by its vectors."""
        stored = self.vectors(chunk)
        slots = stored.numbers & (CHUNK - 1)
        present = np.zeros(CHUNK, np.uint8)
        present[slots] = 1
        codes = np.zeros((CHUNK, self._code_bytes // 8), "<u8")
        codes[slots] = codes_of(stored.vectors)
        return np.packbits(present, bitorder="little").tobytes(), codes.tobytes()

    def _stored(self, chunk: int) -> tuple[bytes, bytes] | None:
        return self._connection.execute(
            f"SELECT present, codes FROM {self._codes} WHERE chunk = ?", (chunk,)
        ).get

    def wrong_chunks(self) -> int:
        """Return how many chunks hold other codes than those of their vectors.

        A vector that cannot be read has none.
        """
        wrong, chunk = 0, self._next_chunk(0)
        while chunk is not None:
            try:
                wrong += self._made(chunk) != (self._stored(chunk) or _EMPTY)
            except StorageError:
                wrong += 1
            chunk = self._next_chunk(chunk + 1)
        return wrong

    # Reading

    def known_spaces(self) -> set[int]:
        """Return the numbers of all spaces of the file."""
        rows = self._connection.execute("SELECT number FROM space")
        return {number for (number,) in rows.fetchall()}

    def change(self) -> int:
        """Return the change of the whole table as this connection's snapshot sees it."""
        return self._connection.execute(f"SELECT coalesce(max(change), 0) FROM {self._codes}").get

    def changes(self) -> dict[int, int]:
        """Return the change of each chunk."""
        return dict(self._connection.execute(f"SELECT chunk, change FROM {self._codes}").fetchall())

    def size_bytes(self) -> int:
        """Return how much RAM all codes take."""
        chunks = self._connection.execute(f"SELECT count(*) FROM {self._codes}").get
        return chunks * CHUNK * self._code_bytes

    def chunks_since(self, change: int) -> Iterator[Chunk]:
        """Iterate over the chunks written after ``change``, ascending."""
        # "+": with the index, all of a million's chunks would be fetched in the order of writing.
        column = "+change" if change == 0 else "change"
        rows = self._connection.execute(
            f"SELECT chunk, change, present, codes FROM {self._codes} "
            f"WHERE {column} > ? ORDER BY chunk",
            (change,),
        )
        return map(Chunk._make, rows)

    def chunks(self, numbers: Iterable[int]) -> Iterator[Chunk]:
        """Iterate over some chunks, ascending."""
        wanted = sorted(numbers)
        if not wanted:
            return iter(())
        rows = self._connection.execute(
            "SELECT t.chunk, t.change, t.present, t.codes "
            f"FROM carray(?) AS c CROSS JOIN {self._codes} t ON t.chunk = c.value",
            (number_array(wanted),),
        )
        return map(Chunk._make, rows)

    def vectors(self, chunk: int) -> FloatChunk:
        """Return the vectors of the memories of a chunk."""
        rows: list[tuple[int, bytes]] = self._connection.execute(
            f"SELECT memory, vector FROM {self._vectors} WHERE memory BETWEEN ? AND ? "
            "ORDER BY memory",
            (chunk << CHUNK_BITS, ((chunk + 1) << CHUNK_BITS) - 1),
        ).fetchall()
        numbers = np.array([number for number, _ in rows], np.int64)
        return FloatChunk(numbers, decode([data for _, data in rows], self.space.dimension))
