"""The order of memories in an episode: who stands before and after whom."""

from collections.abc import Sequence
from typing import Any

from chrysalis_memory.backends.base import Neighbours
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.query import Query

# Of memory n beside memory m; {0} is "<" with DESC for {1}, or ">" with ASC.
_BESIDE = (
    "n.episode = m.episode AND n.namespace = m.namespace "
    "AND (n.position, n.id) {0} (m.position, m.id) AND n.content IS NOT NULL "
    "AND (n.archived = 0 OR ?) AND (n.expires_at IS NULL OR n.expires_at > ? OR ?) "
    "ORDER BY n.position {1}, n.id {1}"
)
_BEFORE = _BESIDE.format("<", "DESC")
_AFTER = _BESIDE.format(">", "ASC")


class Episodes:
    """Finds neighbours on one connection."""

    connection: Database

    def neighbours(self, numbers: Sequence[int], query: Query) -> dict[int, Neighbours]:
        """See :meth:`Session.neighbours`."""
        if not numbers:
            return {}
        kept = _kept(query)
        rows = self.connection.execute(
            f"SELECT m.number, (SELECT n.number FROM memory n WHERE {_BEFORE} LIMIT 1), "
            f"(SELECT n.number FROM memory n WHERE {_AFTER} LIMIT 1) "
            "FROM memory m WHERE m.number IN carray(?) AND m.episode IS NOT NULL "
            "AND m.position IS NOT NULL",
            (*kept, *kept, number_array(numbers)),
        )
        return {number: Neighbours(before, after) for number, before, after in rows}

    def context(self, number: int, query: Query, *, count: int) -> list[int]:
        """See :meth:`Session.context`."""
        found: list[list[int]] = []
        for beside in (_BEFORE, _AFTER):
            rows = self.connection.execute(
                "SELECT n.number FROM memory m, memory n WHERE m.number = ? "
                f"AND m.position IS NOT NULL AND {beside} LIMIT ?",
                (number, *_kept(query), count),
            )
            found.append([other for (other,) in rows])
        return found[0][::-1] + found[1]

    def matching(self, numbers: Sequence[int], query: Query) -> list[int]:
        """See :meth:`Session.matching`."""
        if not numbers:
            return []
        where = Where(query)
        rows = self.connection.execute(
            f"SELECT m.number FROM memory m WHERE {where.sql} AND m.number IN carray(?) "
            "ORDER BY m.number",
            (*where.parameters, number_array(numbers)),
        )
        return [number for (number,) in rows]


def _kept(query: Query) -> tuple[Any, ...]:
    return query.filter.include_archived, query.now_us, query.filter.include_expired
