"""The order of memories in an episode: who stands before and after whom."""

from collections.abc import Sequence
from typing import Any

from chrysalis_memory.backends.base import Neighbours
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
# A memory as its number, doubled, plus one if it holds a question mark: Latin, full-width, Arabic.
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
_NOBODY = 0


class Episodes:
    """Finds neighbours on one connection."""

    connection: Database

    def neighbours(self, numbers: Sequence[int], query: Query) -> dict[int, Neighbours]:
        """See :meth:`Session.neighbours`."""
        if not numbers:
            return {}
        kept = _kept(query)
        rows = self.connection.execute(
            f"SELECT {_TURN.format('m')}, {_KEPT.format('m')}, {_RUN.format(_BEFORE, 3)}, "
            f"{_RUN.format(_AFTER, 2)} FROM carray(?) AS c "
            "CROSS JOIN memory m ON m.number = c.value "
            "WHERE m.episode IS NOT NULL AND m.position IS NOT NULL",
            (*kept, *kept, *kept, number_array(numbers)),
        )
        found: dict[int, Neighbours] = {}
        for turn, is_kept, before, after in rows:
            first = [int(one) for one in (before or "").split()]
            last = [int(one) for one in (after or "").split()]
            first = [_NOBODY] * (3 - len(first)) + first
            last += [_NOBODY] * (2 - len(last))
            run = [*first, turn, *last]
            found[turn // 2] = _placed(run, 3)
            # Those beside a memory that is passed over do not see it.
            seen, beside = (run, (2, 4)) if is_kept else ([*first, *last], (2, 3))
            found |= {seen[at] // 2: _placed(seen, at) for at in beside if seen[at]}
        return found

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


def _placed(run: Sequence[int], at: int) -> Neighbours:
    before, after = run[at - 1], run[at + 1]
    asks = run[at] % 2 == 1 and after != _NOBODY
    return Neighbours(
        before // 2 or None, after // 2 or None, run[at - 2] // 2 or None, asks, before % 2 == 1
    )
