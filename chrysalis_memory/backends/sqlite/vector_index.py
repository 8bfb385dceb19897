"""The vectors of one embedding space, and the search among them.

``vector_N`` holds what is true: one vector per memory with the digest of its text. The codes
in ``vector_code_N`` are derived from it and can be rebuilt. A small space is searched exactly, its
vectors held in RAM. In a larger one the codes give candidates, which are then ranked by the cosines
of their true vectors; how many candidates there are decides how many of the nearest are found. The
vectors of a space between the two are held in RAM as well, which saves reading those candidates.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.backends.base import Accuracy, Nearest, Space
from chrysalis_memory.backends.nearest import best_of, cosines
from chrysalis_memory.backends.sqlite.code_cache import CodeCache
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.codes import (
    CodeRanking,
    CodeView,
    CosineRanking,
    Numbers,
    Segment,
    codes_of,
    in_segments,
)
from chrysalis_memory.backends.sqlite.conditions import Condition, intersection
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.held_vectors import HeldVectors
from chrysalis_memory.backends.sqlite.schema import space_tables
from chrysalis_memory.backends.sqlite.vector_blobs import FLOAT_BYTES, decode, encode
from chrysalis_memory.embedding import Vector, VectorStorage
from chrysalis_memory.errors import InvalidValue


class Limits(NamedTuple):
    """Where the search changes its way; tests lower them to see every way on few vectors."""

    exact_below: int = 5_000
    """Spaces of fewer vectors are searched exactly; there it is as fast, and holds 7.7 MB."""
    held_bytes: int = 32 << 20
    """Larger spaces have their vectors in RAM, too, if as float32 they take no more than this."""
    rows_exact: int = 400
    """A filter that fewer memories pass is answered by the vectors of them all."""
    asked_max: int = 20
    """How many times the wanted candidates are shown to a filter before it is asked for all."""


LIMITS = Limits()


class _Candidates(NamedTuple):
    numbers: Numbers
    exact: bool = False
    """Whether the nearest are among them for certain."""


# Measured on sentences at 100,000 vectors of 384 dimensions: recall@10 .995 from these alone.
_CANDIDATES = 100
_CANDIDATES_PER_RESULT = 3
# So many times the candidates are taken by bits, of which the best by components are scored.
_OVERSAMPLED = 4
# How often twice as many are compared: on sentences once for every tenth query, while vectors
# without any structure need it each time.
_ROUNDS = 4
# So many of the nearest must be in the best share by code.
_SETTLED_BY = 10
_SETTLED_SHARE = 4
_GROWS_FROM = 100_000
# Ranks by code err by a share of all vectors, so larger spaces need more candidates.
_GROWTH = 0.45
# Shorter codes tell less: twice as many candidates for half the bits.
_MEASURED_DIMENSION = 384
# So many times as many of the best are shown to a filter as should hold enough that pass.
_MARGIN = 1.5
# Float distances of equal ranks may differ by their rounding.
_ROUNDING = 1e-5
# Vectors read from the file at once: few enough that what is made of them stays in the cache.
_SLICE = 256


class VectorIndex:
    """Stores and searches the vectors of one space on one connection, in one snapshot.

    Args:
        connection: The connection.
        space: Which space.
        cache: Codes held in RAM for all reading connections; without it, they are read from the
            file at each search, which is right inside a transaction that writes.
        limits: Where the search changes its way.
        storage: What vectors that are put are stored as; those of either kind can be read.
    """

    def __init__(
        self,
        connection: Database,
        space: Space,
        cache: CodeCache | None = None,
        limits: Limits | None = None,
        storage: VectorStorage = "float32",
    ) -> None:
        self._connection = connection
        self._vectors = f"vector_{space.number}"
        self._codes = CodeTable(connection, space)
        self._cache = cache
        self._limits = LIMITS if limits is None else limits
        self._dimension = space.dimension
        self._storage: VectorStorage = storage
        self._held: HeldVectors | None = None

    def create(self) -> None:
        """Create the empty tables."""
        space_tables(self._connection, self._codes.space.number)

    def drop(self) -> None:
        """Remove the tables."""
        self._codes.drop()
        self._connection.execute(f"DROP TABLE {self._vectors}")

    def rebuild(self, after: int, limit: int) -> int | None:
        """Make a slice of the codes anew; see :meth:`CodeTable.rebuild`."""
        return self._codes.rebuild(after, limit)

    def put(self, number: int, text_hash: bytes, vector: Vector) -> Vector:
        """Store or replace the vector of a memory, and return what was stored of it.

        Its code, by :meth:`put_codes`, is to be that of what was stored.

        Raises:
            InvalidValue: a vector of another length than those of the space.
        """
        if vector.shape != (self._dimension,):
            raise InvalidValue(
                f"a vector of the shape {vector.shape} does not belong to a space of dimension "
                f"{self._dimension}"
            )
        data = encode(vector, self._storage)
        self._connection.execute(
            f"INSERT INTO {self._vectors} VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET text_hash = excluded.text_hash, vector = excluded.vector",
            (number, text_hash, data),
        )
        # Of float32 that is the vector itself.
        return vector if self._storage == "float32" else decode([data], self._dimension)[0]

    def delete(self, number: int) -> bool:
        """Remove the vector of a memory; tell whether there was one, whose code is to follow."""
        self._connection.execute(f"DELETE FROM {self._vectors} WHERE memory = ?", (number,))
        return self._connection.changes() > 0

    def put_codes(self, vectors: Mapping[int, Vector | None]) -> None:
        """Store the codes of vectors by memory number; ``None`` for one that was removed."""
        self._codes.put(vectors)

    def vector(self, number: int) -> Vector | None:
        """Return the stored vector of a memory."""
        data = self._connection.execute(
            f"SELECT vector FROM {self._vectors} WHERE memory = ?", (number,)
        ).get
        return None if data is None else decode([data], self._dimension)[0]

    def sample(self, count: int) -> list[int]:
        """Return the numbers of up to ``count`` memories with a vector, spread evenly."""
        last = self._connection.execute(f"SELECT max(memory) FROM {self._vectors}").get or 0
        next_one = f"SELECT min(memory) FROM {self._vectors} WHERE memory >= ?"
        found = (
            self._connection.execute(next_one, (last * at // count,)).get for at in range(count)
        )
        return list(dict.fromkeys(number for number in found if number is not None))

    def vector_of_text(self, text_hash: bytes) -> Vector | None:
        """Return a vector already made of the same text for any memory."""
        data = self._connection.execute(
            f"SELECT vector FROM {self._vectors} WHERE text_hash = ? LIMIT 1", (text_hash,)
        ).get
        return None if data is None else decode([data], self._dimension)[0]

    def nearest(
        self, vector: Vector, k: int, condition: Condition | None, accuracy: Accuracy
    ) -> Nearest:
        """Return the ``k`` nearest, and all that tie with the last.

        Args:
            vector: Unit vector, float32 of shape ``(dimension,)``.
            k: How many.
            condition: What they must match; ``None`` for all.
            accuracy: How many of the true nearest are to be found.
        """
        ranking = self._ranking(vector, accuracy)
        if isinstance(ranking, CodeRanking):
            return self._by_code(ranking, vector, k, condition, accuracy)
        if ranking is None:
            numbers, compared = self._exactly(vector, k, condition)
        else:
            numbers, compared = self._best(ranking, k, condition).numbers, ranking.count
        return Nearest(best_of(*self._compare(numbers, vector), k), True, compared)

    def _ranking(self, vector: Vector, accuracy: Accuracy) -> CodeRanking | CosineRanking | None:
        """Rank all vectors by what is held in RAM; ``None`` where they are to be read instead."""
        cache = self._cache
        view = None if cache is None else cache.view(self._codes)
        self._held = None if cache is None or view is None else self._hold(cache, view)
        if self._held is not None and (
            self._held.view.count < self._limits.exact_below or accuracy == "exact"
        ):
            return self._held.ranking(vector)
        if accuracy == "exact":
            return None
        segments = self._read_segments() if view is None else view.segments()
        ranking = CodeRanking.of(segments, codes_of(vector.reshape(1, -1))[0])
        return None if ranking.count < self._limits.exact_below else ranking

    def _hold(self, cache: CodeCache, view: CodeView) -> HeldVectors | None:
        """Return all vectors if so many may be held in RAM."""
        most = min(self._limits.held_bytes, cache.size_bytes_max)
        size_bytes = view.count * self._dimension * FLOAT_BYTES
        if view.count < self._limits.exact_below or size_bytes <= most:
            return cache.vectors(self._codes, view)
        cache.drop_vectors(self._codes)
        return None

    def _by_code(
        self,
        ranking: CodeRanking,
        vector: Vector,
        k: int,
        condition: Condition | None,
        accuracy: Accuracy,
    ) -> Nearest:
        """Compare the best by code in full, then twice as many while that may find better ones.

        If the ten nearest are among the best quarter by code, hardly any lies beyond the others.
        """
        wanted = self._wanted(ranking.count, k)
        numbers, similarities = np.empty(0, np.int64), np.empty(0, np.float32)
        exact = False
        for _ in range(1 if accuracy == "fast" else _ROUNDS):
            best = self._best(ranking, wanted, condition, _OVERSAMPLED)
            exact = best.exact
            by_code = (
                best.numbers if exact else self._by_rank(ranking, best.numbers, vector, wanted)
            )
            new = by_code[~np.isin(by_code, numbers)] if len(numbers) else by_code
            more = self._compare(new, vector)
            numbers = np.concatenate([numbers, more[0]])
            similarities = np.concatenate([similarities, more[1]])
            nearest = {number for number, _ in best_of(numbers, similarities, min(k, _SETTLED_BY))}
            if (
                exact
                or len(by_code) < wanted
                or nearest.issubset(by_code[: len(by_code) // _SETTLED_SHARE].tolist())
            ):
                break
            wanted *= 2
        return Nearest(best_of(numbers, similarities, k), exact, len(numbers))

    def _wanted(self, count: int, k: int) -> int:
        """Return how many of so many vectors are compared at first."""
        growth = max(1.0, (count / _GROWS_FROM) ** _GROWTH)
        growth *= max(1.0, _MEASURED_DIMENSION / self._dimension)
        return math.ceil(max(_CANDIDATES, k * _CANDIDATES_PER_RESULT) * growth)

    def _by_rank(
        self, ranking: CodeRanking, numbers: Numbers, vector: Vector, wanted: int
    ) -> Numbers:
        """Return those to compare, best first; choosing costs more than comparing what is held."""
        if self._held is not None:
            return ranking.ordered(numbers)
        return ranking.refined(numbers, vector, wanted)

    def _read_segments(self) -> Iterable[Segment]:
        """Read the codes from the file, a segment at a time."""
        return (Segment.of(rows) for _, rows in in_segments(self._codes.chunks_since(0)))

    def _best(
        self,
        ranking: CodeRanking | CosineRanking,
        wanted: int,
        condition: Condition | None,
        oversampled: int = 1,
    ) -> _Candidates:
        """Return the ``wanted`` best that match, and all that tie with the last.

        Where that is cheap, ``oversampled`` times as many, for the caller to choose from.
        A filter is shown the best only, ever more of them while few pass; one that very few pass,
        or that few passed when it was asked before, is answered for all memories.
        """
        if condition is None:
            return _Candidates(ranking.top(wanted * oversampled))
        allowed = condition.remembered()
        passing: Numbers | None = None
        if allowed is None:
            passing = self._passing(ranking, wanted, condition.among, condition.remember)
        else:
            wanted *= oversampled
            # So many of the best would be looked through, or else all that match.
            if len(allowed) ** 2 > _MARGIN * wanted * ranking.count:
                passing = self._passing(ranking, wanted, partial(intersection, allowed))
        if passing is not None:
            return _Candidates(passing)
        if allowed is None:
            allowed = condition.all()
        if isinstance(ranking, CodeRanking) and len(allowed) <= self._limits.rows_exact:
            return _Candidates(allowed, exact=True)
        return _Candidates(ranking.top_of(allowed, wanted))

    def _passing(
        self,
        ranking: CodeRanking | CosineRanking,
        wanted: int,
        among: Callable[[Numbers], Numbers],
        few_pass: Callable[[], None] = lambda: None,
    ) -> Numbers | None:
        """Return the ``wanted`` best that match, or ``None`` if too few of the best do.

        Calls ``few_pass`` if not enough of the first that were asked about do.
        """
        asked = wanted
        while asked <= wanted * self._limits.asked_max:
            best = ranking.top(asked)
            passing = among(best)
            if len(passing) >= wanted or len(best) >= ranking.count:
                return passing
            few_pass()
            asked = math.ceil(_MARGIN * wanted * len(best) / max(len(passing), 1))
        return None

    def _exactly(self, vector: Vector, k: int, condition: Condition | None) -> tuple[Numbers, int]:
        """Return the ``k`` nearest, all that tie and maybe more, and how many were compared.

        Reads every vector that matches: those of float32 in SQL, where other threads go on
        meanwhile. Distances are L2, which ranks unit vectors as cosine does.
        """
        source, allowed = self._vectors, []
        if condition is not None:
            source = f"carray(?) AS c CROSS JOIN {self._vectors} ON memory = c.value"
            allowed = [condition.all()]
            if not len(allowed[0]):
                return allowed[0], 0
        rows = self._connection.execute(
            "WITH measured AS MATERIALIZED (SELECT memory, "
            "CASE length(vector) WHEN ? THEN vec_distance_L2(vector, ?) END AS d "
            f"FROM {source}) "
            "SELECT memory, d IS NULL FROM measured WHERE d IS NULL OR d * d <= ? + "
            "(SELECT max(d * d) FROM (SELECT d FROM measured WHERE d NOT NULL ORDER BY d LIMIT ?))",
            (
                FLOAT_BYTES * self._dimension,
                vector.astype("<f4").tobytes(),
                *map(number_array, allowed),
                _ROUNDING,
                k,
            ),
        ).fetchall()
        near = np.array([number for number, is_other in rows if not is_other], np.int64)
        others = [number for number, is_other in rows if is_other]
        compared = len(allowed[0]) if allowed else self._count()
        return np.concatenate([near, self._by_reading(others, vector).top(k)]), compared

    def _by_reading(self, numbers: Sequence[int], vector: Vector) -> CosineRanking:
        """Rank vectors that SQL cannot compare, a slice at a time."""
        parts = [
            self._compare(np.array(numbers[start : start + _SLICE], np.int64), vector)
            for start in range(0, max(len(numbers), 1), _SLICE)
        ]
        return CosineRanking(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _count(self) -> int:
        return self._connection.execute(f"SELECT count(*) FROM {self._vectors}").get

    def similarities(self, vector: Vector, numbers: Iterable[int]) -> dict[int, float]:
        """Return the cosine of each numbered memory that has a vector, in the numbers' order."""
        found, cosines_of = self._compare(np.fromiter(numbers, np.int64), vector)
        return dict(zip(found.tolist(), cosines_of.tolist(), strict=True))

    def _compare(self, numbers: Numbers, vector: Vector) -> tuple[Numbers, NDArray[np.float32]]:
        """Return those that have a vector, in their order, and the cosines of these."""
        wanted = np.sort(numbers)
        if self._held is not None:
            return self._held.similarities(wanted, vector)
        rows: list[tuple[int, bytes]] = []
        if len(wanted):
            rows = self._connection.execute(
                "SELECT v.memory, v.vector "
                f"FROM carray(?) AS c CROSS JOIN {self._vectors} v ON v.memory = c.value",
                (number_array(wanted),),
            ).fetchall()
        known = np.array([number for number, _ in rows], np.int64)
        return known, cosines(decode([data for _, data in rows], self._dimension), vector)
