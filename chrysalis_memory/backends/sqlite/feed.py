"""The change feed of a file, the sums of what it holds, its peers and what it keeps apart.

One thread writes at a time, so one rising number orders all changes of a file: a cursor is the
number of the last change that was seen.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from chrysalis_memory.backends.sqlite import cleaning
from chrysalis_memory.backends.sqlite.collected import Collected, Mark
from chrysalis_memory.backends.sqlite.database import Database, number_array, onward
from chrysalis_memory.backends.wholeness import UNREADABLE
from chrysalis_memory.changes import (
    BUCKETS,
    SUM_MODULUS,
    Feed,
    Header,
    Quarantined,
    access_digest,
    bucket_of,
)
from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidValue

_CURSOR_BYTES = 8
_SUM_BYTES = 16
_CHANGED = (
    "SELECT number AS memory, change FROM memory WHERE change > ?1 "
    "UNION ALL SELECT memory, change FROM access WHERE change > ?1"
)


class _Delta(NamedTuple):
    bucket: int
    added: int


class SQLiteChangeFeed:
    """Implements :class:`ChangeFeed` on one connection."""

    connection: Database

    def __init__(self) -> None:
        self.sums_changed = Collected[_Delta]()
        self._written_sums: dict[int, int] = {}
        """By bucket, as this connection wrote them; nobody else has written since."""

    # Sums

    def begin_sums(self) -> None:
        """Forget what an earlier snapshot showed."""
        self.sums_changed.clear()
        self._written_sums.clear()

    def undo_sums(self, mark: Mark) -> None:
        """Forget what a write did that was rolled back."""
        self.sums_changed.undo(mark)
        self._written_sums.clear()

    def count_digests(self, memory_id: str, *, old: Iterable[int], new: Iterable[int]) -> None:
        """Have digests of a memory replaced in its bucket's sum, by :meth:`write_sums`."""
        self.sums_changed.add(_Delta(bucket_of(memory_id), sum(new) - sum(old)))

    def write_sums(self) -> None:
        """Write what was collected; reading the sums does so too."""
        deltas: dict[int, int] = {}
        for bucket, added in self.sums_changed.take():
            deltas[bucket] = deltas.get(bucket, 0) + added
        for bucket, added in deltas.items():
            known = self._written_sums.get(bucket)
            if known is None:
                stored = self.connection.execute(
                    "SELECT sum FROM digest_sum WHERE bucket = ?", (bucket,)
                ).get
                known = int.from_bytes(stored or b"")
            total = self._written_sums[bucket] = (known + added) % SUM_MODULUS
            self.connection.execute(
                "INSERT INTO digest_sum VALUES (?, ?) ON CONFLICT DO UPDATE SET sum = excluded.sum",
                (bucket, total.to_bytes(_SUM_BYTES)),
            )

    def digest_sums(self) -> Sequence[int]:
        """See :meth:`ChangeFeed.digest_sums`."""
        self.write_sums()
        sums = [0] * BUCKETS
        for bucket, total in self.connection.execute("SELECT bucket, sum FROM digest_sum"):
            sums[bucket] = int.from_bytes(total)
        return sums

    # The feed

    def feed(self, cursor: bytes, *, limit: int) -> Feed:
        """See :meth:`ChangeFeed.feed`."""
        after = _change_of(cursor)
        rows: list[tuple[int, int]] = self.connection.execute(
            f"{_CHANGED} ORDER BY change LIMIT ?2", (after, limit + 1)
        ).fetchall()
        page = onward(rows[:limit], after, by=1)
        headers = self._headers(list(dict.fromkeys(memory for memory, _ in page)))
        last = page[-1][1] if page else after
        return Feed(headers, _cursor_of(last), len(rows) > limit)

    def head(self) -> bytes:
        """See :meth:`ChangeFeed.head`."""
        return _cursor_of(self.last_change())

    def is_beyond(self, cursor: bytes) -> bool:
        """See :meth:`ChangeFeed.is_beyond`."""
        return _change_of(cursor) > self.last_change()

    def changes_after(self, cursor: bytes) -> int:
        """See :meth:`ChangeFeed.changes_after`."""
        return max(0, self.last_change() - _change_of(cursor))

    def last_change(self) -> int:
        """Return the number of the last change."""
        return self.connection.execute(
            "SELECT max(coalesce((SELECT max(change) FROM memory), 0), "
            "coalesce((SELECT max(change) FROM access), 0))"
        ).get

    def headers_in(self, buckets: Collection[int], *, after: str, limit: int) -> list[Header]:
        """See :meth:`ChangeFeed.headers_in`."""
        # Read through: an index by bucket would cost every write, for what is seldom asked.
        rows = self.connection.execute(
            "SELECT number, id FROM memory WHERE id > ? ORDER BY id", (after,)
        )
        held = (
            (memory_id, number) for number, memory_id in rows if bucket_of(memory_id) in buckets
        )
        page = onward(list(islice(held, limit)), after)
        return self._headers([number for _, number in page])

    def load_many(self, memory_ids: Sequence[str]) -> list[tuple[Header, bytes]]:
        """See :meth:`ChangeFeed.load_many`."""
        marks = ", ".join("?" * len(memory_ids))
        rows = self.connection.execute(
            f"SELECT number, id, life, digest, state FROM memory WHERE id IN ({marks})",
            tuple(memory_ids),
        ).fetchall()
        access = self._access_of([row[0] for row in rows])
        return [
            (Header(memory_id, life, digest, access.get(number, {})), state)
            for number, memory_id, life, digest, state in rows
        ]

    def prefetch(self, memory_ids: Iterable[str]) -> None:
        """See :meth:`ChangeFeed.prefetch`; a file has one writer, and nothing to lock."""

    def prefetch_numbers(self, numbers: Iterable[int]) -> None:
        """See :meth:`ChangeFeed.prefetch_numbers`."""

    def _headers(self, numbers: Sequence[int]) -> list[Header]:
        if not numbers:
            return []
        access = self._access_of(numbers)
        rows = self.connection.execute(
            "SELECT m.number, m.id, m.life, m.digest "
            "FROM carray(?) AS c CROSS JOIN memory m ON m.number = c.value",
            (number_array(numbers),),
        )
        return [
            Header(memory_id, life, digest, access.get(number, {}))
            for number, memory_id, life, digest in rows
        ]

    def _access_of(self, numbers: Sequence[int]) -> dict[int, Mapping[str, int]]:
        found: dict[int, dict[str, int]] = {}
        if numbers and self.connection.execute("SELECT EXISTS (SELECT 1 FROM access)").get:
            for memory, replica, count in self.connection.execute(
                "SELECT a.memory, a.replica, a.count "
                "FROM carray(?) AS c CROSS JOIN access a ON a.memory = c.value",
                (number_array(numbers),),
            ):
                found.setdefault(memory, {})[replica] = count
        return dict(found)

    # Peers, and what is kept apart

    def peer(self, name: str) -> str | None:
        """See :meth:`ChangeFeed.peer`."""
        return self.connection.execute("SELECT value FROM peer WHERE name = ?", (name,)).get

    def set_peer(self, name: str, value: str) -> None:
        """See :meth:`ChangeFeed.set_peer`."""
        self.connection.execute(
            "INSERT INTO peer VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def peers(self) -> list[tuple[str, str]]:
        """See :meth:`ChangeFeed.peers`."""
        return self.connection.execute("SELECT name, value FROM peer ORDER BY name").fetchall()

    def quarantine(self, quarantined: Quarantined) -> None:
        """See :meth:`ChangeFeed.quarantine`."""
        self.connection.execute(
            "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", quarantined
        )

    def quarantined(self, *, before: int | None = None, limit: int = 1000) -> list[Quarantined]:
        """See :meth:`ChangeFeed.quarantined`."""
        rows = self.connection.execute(
            "SELECT id, digest, stamp, state, source FROM quarantine "
            "WHERE ?1 IS NULL OR stamp < ?1 ORDER BY stamp, id, digest LIMIT ?2",
            (before, limit),
        )
        return [Quarantined(*row) for row in rows]

    def quarantined_count(self) -> int:
        """See :meth:`ChangeFeed.quarantined_count`."""
        return self.connection.execute("SELECT count(*) FROM quarantine").get

    def quarantined_among(self, memory_ids: Sequence[str]) -> set[tuple[str, bytes]]:
        """See :meth:`ChangeFeed.quarantined_among`."""
        if not self.quarantined_count():
            return set()
        marks = ", ".join("?" * len(memory_ids))
        return set(
            self.connection.execute(
                f"SELECT id, digest FROM quarantine WHERE id IN ({marks})", tuple(memory_ids)
            ).fetchall()
        )

    def release(self, quarantined: Quarantined) -> None:
        """See :meth:`ChangeFeed.release`."""
        self.connection.execute(
            "DELETE FROM quarantine WHERE id = ? AND digest = ?",
            (quarantined.id, quarantined.digest),
        )

    def quarantined_of(self, memory_id: str) -> list[Quarantined]:
        """See :meth:`ChangeFeed.quarantined_of`."""
        rows = self.connection.execute(
            "SELECT id, digest, stamp, state, source FROM quarantine WHERE id = ?", (memory_id,)
        )
        return [Quarantined(*row) for row in rows]

    def drop_unread(self, memory_id: str) -> int:
        """See :meth:`ChangeFeed.drop_unread`."""
        # No other setting need be JSON.
        self.connection.execute(
            "DELETE FROM meta WHERE CASE WHEN substr(key, 1, ?) = ? THEN value ->> 'id' = ? END",
            (len(UNREADABLE), UNREADABLE, memory_id),
        )
        return self.connection.changes()

    def note_residue(self) -> None:
        """See :meth:`ChangeFeed.note_residue`."""
        cleaning.mark(self.connection)


def fill_sums(connection: Database) -> None:
    """Sum up what a file holds that was written before there were sums."""
    sums = [0] * BUCKETS
    for memory_id, digest in connection.execute("SELECT id, digest FROM memory"):
        sums[bucket_of(memory_id)] += int.from_bytes(digest)
    for memory_id, replica, count in connection.execute(
        "SELECT m.id, a.replica, a.count FROM access a JOIN memory m ON m.number = a.memory"
    ):
        sums[bucket_of(memory_id)] += access_digest(memory_id, replica, count)
    connection.executemany(
        "INSERT INTO digest_sum VALUES (?, ?)",
        [
            (bucket, (total % SUM_MODULUS).to_bytes(_SUM_BYTES))
            for bucket, total in enumerate(sums)
            if total
        ],
    )


def _cursor_of(change: int) -> bytes:
    return change.to_bytes(_CURSOR_BYTES) if change else b""


def _change_of(cursor: bytes) -> int:
    if len(cursor) not in (0, _CURSOR_BYTES):
        raise InvalidValue(f"{shown(cursor)} is no cursor of a memory file")
    return min(int.from_bytes(cursor), 2**63 - 1)
