"""The order of memories in an episode: who stands before and after whom."""

from collections.abc import Sequence
from typing import Any

from chrysalis_memory.backends.base import Neighbours
from chrysalis_memory.backends.beside import AFTER_COUNT, BEFORE_COUNT, Run, neighbours_of
from chrysalis_memory.backends.sqlite.database import Database, number_array
from chrysalis_memory.backends.sqlite.filters import Where
from chrysalis_memory.query import Query

# Whether memory {0} is not passed over; then of memory n beside memory m, where {0} is "<" with
# DESC for {1}, or ">" with ASC.
_KEPT = "({0}.archived = 0 OR ?) AND ({0}.expires_at IS NULL OR {0}.expires_at > ? OR ?)"
_BESIDE = (
    "n.episode = m.episode AND n.namespace = m.namespace "
    "AND (n.position, n.id) {0} (m.position, m.id) AND n.content IS NOT NULL "
    f"AND {_KEPT.format('n')} ORDER BY n.position {{1}}, n.id {{1}}"
)
_BEFORE = _BESIDE.format("<", "DESC")
_AFTER = _BESIDE.format(">", "ASC")
# A memory as its turn; the question marks are the Latin, the full-width and the Arabic one.
_TURN = (
    "{0}.number * 2 + (instr({0}.content, '?') OR instr({0}.content, char(0xFF1F)) "
    "OR instr({0}.content, char(0x061F)))"
)
# The nearest so many on one side, in order. One search for each memory; one for each of its
# neighbours too would take twice as long.
_RUN = (
    "(SELECT group_concat(turn, ' ' ORDER BY position, id) FROM "
    f"(SELECT {_TURN.format('n')} AS turn, n.position, n.id FROM memory n WHERE {{0}} LIMIT {{1}}))"
)
_AROUND = f"{_RUN.format(_BEFORE, BEFORE_COUNT)}, {_RUN.format(_AFTER, AFTER_COUNT)}"


class Episodes:
    """Finds neighbours on one connection."""

    connection: Database

    def neighbours(self, numbers: Sequence[int], query: Query) -> dict[int, Neighbours]:
        """See :meth:`Session.neighbours`."""
        if not numbers:
            return {}
        kept = _kept(query)
        rows = self.connection.execute(
            f"SELECT {_TURN.format('m')}, {_KEPT.format('m')}, {_AROUND} "
            "FROM carray(?) AS c "
            "CROSS JOIN memory m ON m.number = c.value "
            "WHERE m.episode IS NOT NULL AND m.position IS NOT NULL",
            (*kept, *kept, *kept, number_array(numbers)),
        )
        return neighbours_of(
            Run(turn, is_kept, _turns(before), _turns(after))
            for turn, is_kept, before, after in rows
        )

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
            "SELECT m.number FROM carray(?) AS c CROSS JOIN memory m ON m.number = c.value "
            f"WHERE {where.sql}",
            (number_array(sorted(numbers)), *where.parameters),
        )
        return [number for (number,) in rows]


def _kept(query: Query) -> tuple[Any, ...]:
    return query.filter.include_archived, query.now_us, query.filter.include_expired


def _turns(joined: str | None) -> list[int]:
    return [int(one) for one in (joined or "").split()]
