"""The vectors of one embedding space, and the vec0 index over them.

``vector_N`` holds what is true: one unit vector per memory with the digest of its text.
``vector_index_N`` is a flat vec0 table derived from it and can be rebuilt. Distances are L2 on unit
vectors, which ranks as cosine does and is cheaper: ``cosine = 1 - distance² / 2``.
"""

from collections.abc import Iterable

import numpy as np

from chrysalis_memory.backends.base import Space
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.embedding import Vector

# vec0 refuses a larger k.
K_MAX = 4096


class VectorIndex:
    """Stores and searches the vectors of one space on one connection."""

    def __init__(self, connection: Database, space: Space) -> None:
        self._connection = connection
        self._dimension = space.dimension
        self._vectors = f"vector_{space.number}"
        self._index = f"vector_index_{space.number}"

    def create(self) -> None:
        """Create the empty tables."""
        self._connection.execute(f"""
            CREATE TABLE {self._vectors} (
                memory INTEGER PRIMARY KEY REFERENCES memory (number),
                text_hash BLOB NOT NULL,
                vector BLOB NOT NULL
            ) STRICT;
            CREATE INDEX {self._vectors}_by_text ON {self._vectors} (text_hash);
        """)
        self._create_index()

    def _create_index(self) -> None:
        self._connection.execute(
            f"CREATE VIRTUAL TABLE {self._index} USING vec0 "
            f"(memory INTEGER PRIMARY KEY, embedding FLOAT[{self._dimension}])"
        )

    def drop(self) -> None:
        """Remove the tables."""
        self._connection.execute(f"DROP TABLE {self._index}; DROP TABLE {self._vectors}")

    def rebuild(self) -> None:
        """Build the vec0 table anew from the stored vectors."""
        self._connection.execute(f"DROP TABLE {self._index}")
        self._create_index()
        self._connection.execute(
            f"INSERT INTO {self._index} (memory, embedding) "
            f"SELECT memory, vector FROM {self._vectors}"
        )

    def put(self, number: int, text_hash: bytes, vector: Vector) -> None:
        """Store or replace the vector of a memory."""
        data = vector.astype("<f4").tobytes()
        self.delete(number)
        self._connection.execute(
            f"INSERT INTO {self._vectors} VALUES (?, ?, ?)", (number, text_hash, data)
        )
        self._connection.execute(
            f"INSERT INTO {self._index} (memory, embedding) VALUES (?, ?)", (number, data)
        )

    def delete(self, number: int) -> None:
        """Remove the vector of a memory, if it has one."""
        self._connection.execute(f"DELETE FROM {self._vectors} WHERE memory = ?", (number,))
        if self._connection.changes():
            self._connection.execute(f"DELETE FROM {self._index} WHERE memory = ?", (number,))

    def text_hash(self, number: int) -> bytes | None:
        """Return the digest of the text whose vector is stored."""
        return self._connection.execute(
            f"SELECT text_hash FROM {self._vectors} WHERE memory = ?", (number,)
        ).get

    def vector(self, number: int) -> Vector | None:
        """Return the stored vector of a memory."""
        data = self._connection.execute(
            f"SELECT vector FROM {self._vectors} WHERE memory = ?", (number,)
        ).get
        return None if data is None else np.frombuffer(data, dtype="<f4")

    def vector_of_text(self, text_hash: bytes) -> Vector | None:
        """Return a vector already made of the same text for any memory."""
        data = self._connection.execute(
            f"SELECT vector FROM {self._vectors} WHERE text_hash = ? LIMIT 1", (text_hash,)
        ).get
        return None if data is None else np.frombuffer(data, dtype="<f4")

    def nearest(
        self, vector: Vector, k: int, allowed: str, parameters: list[object]
    ) -> list[tuple[int, float]]:
        """Return the ``k`` nearest as ``(number, cosine)``, and all that tie with the last.

        Args:
            vector: Unit vector, float32 of shape ``(dimension,)``.
            k: How many, at most 4096.
            allowed: SQL that selects the numbers to search among; empty for all.
            parameters: The parameters of ``allowed``.
        """
        among = f"AND memory IN ({allowed})" if allowed else ""
        # Equal texts have equal vectors; which of them the index gives depends on local numbers.
        fetched = k
        while True:
            fetched = min(fetched + 1, K_MAX)
            rows: list[tuple[int, float]] = self._connection.execute(
                f"SELECT memory, distance FROM {self._index} "
                f"WHERE embedding MATCH ? AND k = ? {among}",
                (vector.astype("<f4").tobytes(), fetched, *parameters),
            ).fetchall()
            if len(rows) <= k or rows[-1][1] > rows[k - 1][1] or fetched == K_MAX:
                break
            fetched *= 2
        last = rows[min(k, len(rows)) - 1][1] if rows else 0.0
        return [(number, 1.0 - d * d / 2.0) for number, d in rows if d <= last]

    def similarities(self, vector: Vector, numbers: Iterable[int]) -> dict[int, float]:
        """Return the cosine of each numbered memory that has a vector."""
        wanted = list(numbers)
        if not wanted:
            return {}
        rows = self._connection.execute(
            f"SELECT memory, vector FROM {self._vectors} WHERE memory IN carray(?)",
            (number_array(wanted),),
        ).fetchall()
        if not rows:
            return {}
        stored = np.frombuffer(b"".join(data for _, data in rows), dtype="<f4")
        cosines = stored.reshape(len(rows), -1) @ vector
        return {number: float(cosine) for (number, _), cosine in zip(rows, cosines, strict=True)}
