"""What changed, in an order that readers can follow, and sums that tell whether stores are equal.

A number drawn from a sequence is visible in the order of commits, not of numbers: who reads up to
1,000 may miss 999, whose transaction is not over. So each of sixteen parts of all memories has a
counter, and who raises it holds it until the end of the transaction: within a part, numbers become
visible in their order. A cursor is the sixteen numbers up to which a reader has read. Parts are
locked in their order, after all memories, so that none waits for another for ever.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, cast

from chrysalis_memory import codec
from chrysalis_memory.backends.postgres.collected import Change
from chrysalis_memory.backends.postgres.database import Connected, Row, Statement
from chrysalis_memory.backends.postgres.locks import Held
from chrysalis_memory.backends.postgres.schema import BUCKETS_PER_PART, PARTS
from chrysalis_memory.changes import (
    BUCKETS,
    SUM_MODULUS,
    Feed,
    Header,
    access_digest,
    bucket_of,
)
from chrysalis_memory.errors import InvalidDocument, InvalidValue

USES = (
    "ARRAY(SELECT a.replica FROM access a WHERE a.memory = m.number ORDER BY a.replica), "
    "ARRAY(SELECT a.count FROM access a WHERE a.memory = m.number ORDER BY a.replica)"
)
_AFTER = "unnest(%s::smallint[], %s::bigint[]) AS c (part, after)"
_PARTS = list(range(PARTS))
_CHANGE_MAX = 2**63 - 1


class ChangeLog(Connected):
    """Reads what changed, on one connection; see :class:`ChangeFeed`."""

    def feed(self, cursor: bytes, *, limit: int) -> Feed:
        """See :meth:`ChangeFeed.feed`; within each part, oldest change first."""
        read = _read_cursor(cursor)
        rows = self.database.rows(
            f"SELECT f.part, f.change, m.id, m.life, m.digest, {USES} FROM {_AFTER}, "
            "LATERAL (SELECT f.part, f.change, f.memory FROM memory_change f "
            "WHERE f.part = c.part AND f.change > c.after ORDER BY f.change LIMIT %s) f "
            "JOIN memory m ON m.number = f.memory ORDER BY f.part, f.change LIMIT %s",
            (_PARTS, read, limit + 1, limit + 1),
        )
        for row in rows[:limit]:
            read[row[0]] = row[1]
        headers = [_header(row[2:]) for row in rows[:limit]]
        return Feed(headers, _cursor(read), len(rows) > limit)

    def head(self) -> bytes:
        """See :meth:`ChangeFeed.head`."""
        return _cursor(self._last())

    def _last(self) -> list[int]:
        rows = self.database.rows("SELECT last FROM change_part ORDER BY part")
        return [last for (last,) in rows]

    def is_beyond(self, cursor: bytes) -> bool:
        """See :meth:`ChangeFeed.is_beyond`."""
        read = _read_cursor(cursor)
        return any(read[part] > last for part, last in enumerate(self._last()))

    def changes_after(self, cursor: bytes) -> int:
        """See :meth:`ChangeFeed.changes_after`."""
        read = _read_cursor(cursor)
        return sum(max(0, last - read[part]) for part, last in enumerate(self._last()))

    def digest_sums(self) -> Sequence[int]:
        """See :meth:`ChangeFeed.digest_sums`."""
        sums = [0] * BUCKETS
        for bucket, total in self.database.rows("SELECT bucket, sum FROM digest_sum"):
            sums[bucket] = int(total)
        return sums

    def headers_in(self, buckets: Collection[int], *, after: str, limit: int) -> list[Header]:
        """See :meth:`ChangeFeed.headers_in`."""
        rows = self.database.rows(
            f"SELECT m.id, m.life, m.digest, {USES} FROM memory m "
            "WHERE m.bucket = ANY(%s::smallint[]) AND m.id > %s AND m.life > 0 "
            "ORDER BY m.id LIMIT %s",
            (list(buckets), after, limit),
        )
        return [_header(row) for row in rows]

    def load_many(self, memory_ids: Sequence[str]) -> list[tuple[Header, bytes]]:
        """See :meth:`ChangeFeed.load_many`."""
        wanted = list(dict.fromkeys(memory_ids))
        rows = self.database.rows(
            f"SELECT m.id, m.life, m.digest, {USES}, m.state "
            "FROM unnest(%s::smallint[], %s::text[]) AS w (bucket, id) "
            "JOIN memory m ON m.bucket = w.bucket AND m.id = w.id WHERE m.life > 0",
            ([bucket_of(one) for one in wanted], wanted),
        )
        return [(_header(row), row[5]) for row in rows]


def change_statements(changes: Sequence[Change]) -> list[Statement]:
    """Return what numbers changes and brings the sums up to date; their parts are locked."""
    grown = _grown_sums(changes)
    places = [(change.held, change.held.bucket // BUCKETS_PER_PART) for change in changes]
    total = Counter(part for _, part in places)
    parts = sorted(total)
    # The last change of a part has its counter's new number, those before it have those before.
    left = Counter(total)
    behind: list[int] = []
    for _, part in places:
        left[part] -= 1
        behind.append(left[part])
    return [
        Statement(
            "UPDATE change_part c SET last = c.last + w.more "
            "FROM unnest(%s::smallint[], %s::bigint[]) AS w (part, more) WHERE c.part = w.part",
            (parts, [total[part] for part in parts]),
        ),
        Statement(
            "INSERT INTO memory_change SELECT w.bucket, w.memory, c.part, c.last - w.behind "
            "FROM unnest(%s::smallint[], %s::bigint[], %s::smallint[], %s::bigint[]) "
            "AS w (bucket, memory, part, behind) JOIN change_part c ON c.part = w.part "
            "ON CONFLICT (memory, bucket) DO UPDATE SET change = excluded.change",
            (
                [held.bucket for held, _ in places],
                [held.number for held, _ in places],
                [part for _, part in places],
                behind,
            ),
        ),
        Statement(
            "UPDATE digest_sum d SET sum = mod(d.sum + w.more, %s::numeric) "
            "FROM unnest(%s::smallint[], %s::numeric[]) AS w (bucket, more) "
            "WHERE d.bucket = w.bucket",
            (SUM_MODULUS, sorted(grown), [grown[bucket] for bucket in sorted(grown)]),
        ),
    ]


def _grown_sums(changes: Sequence[Change]) -> dict[int, int]:
    """Return by bucket what its sum grows by, and note that it is stored."""
    grown: dict[int, int] = {}
    for held in (change.held for change in changes):
        more = int.from_bytes(held.digest) - int.from_bytes(held.stored_digest) + _grown_uses(held)
        grown[held.bucket] = (grown.get(held.bucket, 0) + more) % SUM_MODULUS
        held.stored_digest, held.stored_access = held.digest, held.access
    return grown


def _grown_uses(held: Held) -> int:
    now, before = held.access, held.stored_access
    if now is before:
        return 0
    differing = {one for one in chain(now, before) if now.get(one) != before.get(one)}
    return sum(
        sign * access_digest(held.id, replica, counts[replica])
        for sign, counts in ((1, now), (-1, before))
        for replica in differing
        if replica in counts
    )


def _header(row: Row) -> Header:
    memory_id, life, digest, replicas, counts = row[:5]
    return Header(memory_id, life, digest, dict(zip(replicas, counts, strict=True)))


def _cursor(read: Sequence[int]) -> bytes:
    kept = list(read)
    while kept and kept[-1] == 0:
        kept.pop()
    return codec.pack(kept)


def _read_cursor(cursor: bytes) -> list[int]:
    if cursor == b"":
        return [0] * PARTS
    try:
        found: Any = codec.unpack(cursor)
    except InvalidDocument:
        found = None
    read = cast("tuple[Any, ...]", found) if isinstance(found, tuple) else None
    if (
        read is None
        or len(read) > PARTS
        or not all(type(one) is int and 0 <= one <= _CHANGE_MAX for one in read)
    ):
        raise InvalidValue(
            f"{codec.shown(cursor)} is no cursor of a PostgreSQL store; begin with an empty one"
        )
    return [*read, *[0] * (PARTS - len(read))]
