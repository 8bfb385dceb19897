"""The vectors of one embedding space, and the search among them.

``vector_N`` holds what is true: one float32 vector per memory with the digest of its text, apart
from the documents, because whatever rewrites a row writes it into HNSW anew. HNSW is built over
half precision, which halves it; what it finds is ranked by the true vectors, so cosines are those
of every other engine.

A small space, and what few memories match, is compared in full. Elsewhere HNSW goes on from one
batch of candidates to the next until enough of them match (``hnsw.iterative_scan``). If it stops
before, as it does at ``hnsw.max_scan_tuples``, all that match are compared after all.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.backends.base import Accuracy, Nearest, Space
from chrysalis_memory.backends.nearest import best_of, cosines
from chrysalis_memory.backends.postgres.database import Database, Row, Statement, received
from chrysalis_memory.backends.postgres.filters import Where
from chrysalis_memory.backends.postgres.schema import DIMENSION_MAX
from chrysalis_memory.embedding import Vector
from chrysalis_memory.errors import InvalidValue


class Limits(NamedTuple):
    """Where the search changes its way; tests lower them to see every way on few vectors."""

    exact_below: int = 5_000
    """Spaces of fewer vectors are compared in full."""
    rows_exact: int = 5_000
    """A filter that no more memories pass is answered by the vectors of them all."""


LIMITS = Limits()

HNSW_DIMENSION_MAX = 4_000
"""What pgvector indexes in half precision; above, every search is exact."""
# A row of a table has to fit into a page of 8 kB to hold its vector itself.
_INLINE_DIMENSION_MAX = 1_900
_CANDIDATES = 100
_CANDIDATES_PER_RESULT = 3
# How many places HNSW keeps open while it searches.
_OPEN: dict[Accuracy, int] = {"fast": 100, "balanced": 150, "exact": 0}
_OPEN_MAX = 1_000
# Distances are computed in another order of components here than by PostgreSQL.
_ROUNDING = 1e-5
_SEARCHING = (
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
    "set_config('hnsw.ef_search', %s, true)"
)
# With a sort at hand, the planner likes to compare all that match instead of using the index.
_BY_INDEX = Statement(
    "SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true)"
)
_AS_BEFORE = Statement(
    "SELECT set_config('enable_sort', 'on', true), set_config('enable_seqscan', 'on', true)"
)


class VectorTable:
    """Stores and searches the vectors of one space on one connection.

    Args:
        database: The connection.
        space: Which space.
        limits: Where the search changes its way.
    """

    def __init__(self, database: Database, space: Space, limits: Limits | None = None) -> None:
        self._database = database
        self._name = f"vector_{space.number}"
        self._dimension = space.dimension
        self._limits = LIMITS if limits is None else limits

    # Tables and rows

    def create(self) -> None:
        """Create the empty table with its indexes.

        Raises:
            InvalidValue: a dimension that pgvector cannot hold.
        """
        if self._dimension > DIMENSION_MAX:
            raise InvalidValue(
                f"vectors of dimension {self._dimension:,} are more than pgvector's "
                f"{DIMENSION_MAX:,}; truncate them: truncate:DIMENSION:NAME"
            )
        table = (
            f"CREATE TABLE {self._name} (bucket smallint NOT NULL, memory bigint NOT NULL, "
            f"text_hash bytea NOT NULL, vector vector({self._dimension}) NOT NULL, "
            "PRIMARY KEY (memory, bucket))"
        )
        statements = [
            table,
            f"CREATE INDEX {self._name}_by_text ON {self._name} (text_hash)",
        ]
        if self._dimension <= _INLINE_DIMENSION_MAX:
            statements.append(f"ALTER TABLE {self._name} ALTER vector SET STORAGE PLAIN")
        statements += self._making_index("nearest")
        self._database.together(*map(Statement, statements))

    def _making_index(self, name: str) -> list[str]:
        if self._dimension > HNSW_DIMENSION_MAX:
            return []
        half = f"(vector::halfvec({self._dimension}))"
        return [
            f"CREATE INDEX {self._name}_{name} ON {self._name} USING hnsw ({half} halfvec_ip_ops)"
        ]

    def drop(self) -> None:
        """Remove the table."""
        self._database.run(f"DROP TABLE {self._name}")

    def rebuild(self) -> None:
        """Build the index anew; searches go on with the old one meanwhile."""
        made = self._making_index("rebuilt")
        if made:
            made += [
                f"DROP INDEX IF EXISTS {self._name}_nearest",
                f"ALTER INDEX {self._name}_rebuilt RENAME TO {self._name}_nearest",
            ]
            self._database.together(*map(Statement, made))

    def putting(self, bucket: int, number: int, text_hash: bytes, vector: Vector) -> Statement:
        """Return what stores or replaces the vector of a memory.

        Raises:
            InvalidValue: a vector of another length than those of the space.
        """
        self.check(vector)
        return Statement(
            f"INSERT INTO {self._name} VALUES (%s, %s, %s, %s) ON CONFLICT (memory, bucket) "
            "DO UPDATE SET text_hash = excluded.text_hash, vector = excluded.vector",
            (bucket, number, text_hash, vector),
        )

    def check(self, vector: Vector) -> None:
        """Refuse what is no vector of the space.

        Raises:
            InvalidValue: a vector of another length.
        """
        if vector.shape != (self._dimension,):
            raise InvalidValue(
                f"a vector of the shape {vector.shape} does not belong to a space of dimension "
                f"{self._dimension}"
            )

    def deleting(self, numbers: Sequence[int]) -> Statement:
        """Return what removes the vectors of memories."""
        return Statement(
            f"DELETE FROM {self._name} WHERE memory = ANY(%s::bigint[])", (list(numbers),)
        )

    def taking(
        self, buckets: Sequence[int], numbers: Sequence[int], text_hashes: Sequence[bytes]
    ) -> Statement:
        """Return what gives memories the vectors already made of the same texts."""
        return Statement(
            f"INSERT INTO {self._name} SELECT w.bucket, w.memory, w.text_hash, known.vector "
            "FROM unnest(%s::smallint[], %s::bigint[], %b::bytea[]) "
            "AS w (bucket, memory, text_hash), LATERAL (SELECT v.vector "
            f"FROM {self._name} v WHERE v.text_hash = w.text_hash LIMIT 1) known "
            "ON CONFLICT DO NOTHING",
            (list(buckets), list(numbers), list(text_hashes)),
        )

    # Reading

    def vector(self, number: int) -> Vector | None:
        """Return the stored vector of a memory."""
        data = self._database.value(f"SELECT vector FROM {self._name} WHERE memory = %s", (number,))
        return None if data is None else received([data], self._dimension)[0]

    def sample(self, count: int) -> list[int]:
        """Return the numbers of up to ``count`` memories with a vector, spread evenly."""
        rows = self._database.rows(
            f"SELECT (SELECT min(v.memory) FROM {self._name} v "
            "WHERE v.memory >= last.memory * part.at / %s) "
            f"FROM (SELECT max(memory) AS memory FROM {self._name}) last, "
            "generate_series(0, %s) AS part (at) ORDER BY part.at",
            (count, count - 1),
        )
        return list(dict.fromkeys(number for (number,) in rows if number is not None))

    def similarities(self, vector: Vector, numbers: Iterable[int]) -> dict[int, float]:
        """Return the cosine of each numbered memory that has a vector."""
        wanted = list(numbers)
        if not wanted:
            return {}
        rows = self._database.rows(
            f"SELECT memory, vector FROM {self._name} WHERE memory = ANY(%s::bigint[])", (wanted,)
        )
        found, cosines_of = self._cosines(rows, vector)
        return dict(zip(found.tolist(), cosines_of.tolist(), strict=True))

    def _cosines(
        self, rows: Sequence[Row], vector: Vector
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        stored = received([row[1] for row in rows], self._dimension)
        return np.array([row[0] for row in rows], np.int64), cosines(stored, vector)

    # Searching

    def is_large(self) -> bool:
        """Tell whether the space has so many vectors that not all are compared."""
        count: int = self._database.value(
            f"SELECT count(*) FROM (SELECT FROM {self._name} LIMIT %s) few",
            (self._limits.exact_below,),
        )
        return count == self._limits.exact_below

    @property
    def has_index(self) -> bool:
        """Whether vectors of the space's dimension can be indexed."""
        return self._dimension <= HNSW_DIMENSION_MAX

    def few(self, where: Where) -> list[int] | None:
        """Return the memories that match, where they are so few that all are compared."""
        limit = self._limits.rows_exact
        return self._database.value(
            f"SELECT CASE WHEN count(*) <= {limit} THEN coalesce(array_agg(number), '{{}}') END "
            f"FROM (SELECT m.number FROM memory m WHERE {where.sql} LIMIT {limit + 1}) few",
            where.parameters,
        )

    def exactly(self, vector: Vector, k: int, among: Where | list[int] | None) -> Nearest:
        """Compare every vector, or those of memories that match or are numbered."""
        sql = f"SELECT v.memory, v.vector <#> %s AS d FROM {self._name} v"
        parameters: list[object] = [vector]
        if isinstance(among, Where):
            sql += f" JOIN memory m ON m.number = v.memory WHERE {among.sql}"
            parameters += among.parameters
        elif among is not None:
            sql += " WHERE v.memory = ANY(%s::bigint[])"
            parameters.append(among)
        rows = self._database.rows(
            f"WITH measured AS MATERIALIZED ({sql}), {_BEST} "
            f"SELECT v.memory, v.vector, (SELECT count(*) FROM measured) FROM {self._name} v "
            "WHERE v.memory = ANY(ARRAY(SELECT memory FROM best))",
            (*parameters, _ROUNDING, k),
        )
        compared = rows[0][2] if rows else 0
        return Nearest(best_of(*self._cosines(rows, vector), k), True, compared)

    def by_index(self, vector: Vector, k: int, where: Where | None, accuracy: Accuracy) -> Nearest:
        """Rank what HNSW finds by the true vectors; compare all if it stops too early."""
        wanted = max(_CANDIDATES, k * _CANDIDATES_PER_RESULT)
        condition = (
            "" if where is None else f"JOIN memory m ON m.number = v.memory WHERE {where.sql}"
        )
        half = f"halfvec({self._dimension})"
        statement = Statement(
            f"WITH near AS MATERIALIZED (SELECT v.memory, v.vector FROM {self._name} v {condition} "
            f"ORDER BY v.vector::{half} <#> %s::{half} LIMIT {wanted}), measured AS MATERIALIZED "
            f"(SELECT memory, vector, vector <#> %s AS d FROM near), {_BEST} "
            "SELECT m.memory, m.vector, (SELECT count(*) FROM measured) "
            "FROM best JOIN measured m ON m.memory = best.memory",
            (*(() if where is None else where.parameters), vector, vector, _ROUNDING, k),
        )
        ef_search = min(_OPEN_MAX, max(_OPEN[accuracy], wanted))
        searching = Statement(_SEARCHING, (str(ef_search),))
        if where is None:
            _, rows = self._database.together(searching, statement)
        else:
            _, _, rows, _ = self._database.together(searching, _BY_INDEX, statement, _AS_BEFORE)
        compared = rows[0][2] if rows else 0
        if compared < wanted:
            return self.exactly(vector, k, where)
        return Nearest(best_of(*self._cosines(rows, vector), k), False, compared)


# Of what was measured, the nearest, and all that may tie with the last of them.
_BEST = (
    "best AS (SELECT memory FROM measured WHERE d <= %s + (SELECT max(d) FROM "
    "(SELECT d FROM measured ORDER BY d LIMIT %s) nearest))"
)
