"""The order of memories in an episode: who stands before and after whom."""

from collections.abc import Sequence
from typing import Any

from chrysalis_memory.backends.base import Neighbours
from chrysalis_memory.backends.beside import AFTER_COUNT, BEFORE_COUNT, Run, neighbours_of
from chrysalis_memory.backends.postgres.database import Connected, Statement
from chrysalis_memory.backends.postgres.filters import Where, beginning
from chrysalis_memory.query import Query

# Whether memory {0} is not passed over; then of memory n beside memory m, where {0} is "<" with
# DESC for {1}, or ">" with ASC.
_KEPT = "(NOT {0}.archived OR %s) AND ({0}.expires_at IS NULL OR {0}.expires_at > %s OR %s)"
_BESIDE = (
    f"{beginning('n.episode', 300)} = {beginning('m.episode', 300)} AND n.episode = m.episode "
    "AND n.namespace = m.namespace "
    "AND (n.position, n.id) {0} (m.position, m.id) AND n.content IS NOT NULL "
    f"AND {_KEPT.format('n')} ORDER BY n.position {{1}}, n.id {{1}}"
)
_BEFORE = _BESIDE.format("<", "DESC")
_AFTER = _BESIDE.format(">", "ASC")
# A memory as its turn; the question marks are the Latin, the full-width and the Arabic one.
_TURN = r"{0}.number * 2 + ({0}.content ~ U&'[?\FF1F\061F]')::int"
# The nearest so many on one side, from the nearest on.
_RUN = f"ARRAY(SELECT {_TURN.format('n')} FROM memory n WHERE {{0}} LIMIT {{1}})"
_AROUND = f"{_RUN.format(_BEFORE, BEFORE_COUNT)}, {_RUN.format(_AFTER, AFTER_COUNT)}"


class Episodes(Connected):
    """Finds neighbours on one connection."""

    def neighbours(self, numbers: Sequence[int], query: Query) -> dict[int, Neighbours]:
        """See :meth:`Session.neighbours`."""
        if not numbers:
            return {}
        kept = _kept(query)
        rows = self.database.rows(
            f"SELECT {_TURN.format('m')}, {_KEPT.format('m')}, {_AROUND} "
            "FROM memory m WHERE m.number = ANY(%s::bigint[]) "
            "AND m.episode IS NOT NULL AND m.position IS NOT NULL",
            (*kept, *kept, *kept, list(numbers)),
        )
        return neighbours_of(
            Run(turn, is_kept, before[::-1], after) for turn, is_kept, before, after in rows
        )

    def context(self, number: int, query: Query, *, count: int) -> list[int]:
        """See :meth:`Session.context`."""
        before, after = self.database.together(
            *(
                Statement(
                    "SELECT n.number FROM memory m, memory n WHERE m.number = %s "
                    f"AND m.position IS NOT NULL AND {beside} LIMIT %s",
                    (number, *_kept(query), count),
                )
                for beside in (_BEFORE, _AFTER)
            )
        )
        return [other for (other,) in before[::-1] + after]

    def matching(self, numbers: Sequence[int], query: Query) -> list[int]:
        """See :meth:`Session.matching`."""
        if not numbers:
            return []
        where = Where(query)
        rows = self.database.rows(
            f"SELECT m.number FROM memory m WHERE {where.sql} AND m.number = ANY(%s::bigint[]) "
            "ORDER BY m.number",
            (*where.parameters, list(numbers)),
        )
        return [number for (number,) in rows]


def _kept(query: Query) -> tuple[Any, ...]:
    return query.filter.include_archived, query.now_us, query.filter.include_expired
