"""The memories that a transaction has locked: read once, and nobody else changes them meanwhile.

To merge into a memory is to read, join and write it back, so it is locked when it is read. An id
that is not known yet has no row to lock; a row that is no memory yet holds its place. All of a
batch are locked in the order of their buckets and ids, first the places of new ones, then those
that are known, so that two batches cannot each wait for the other: a transaction that locks rows
waits for none that only places them.
"""

from collections.abc import Iterable, Mapping

from chrysalis_memory.backends.postgres.database import Connected, Statement
from chrysalis_memory.backends.rows import StoredMemory
from chrysalis_memory.changes import bucket_of
from chrysalis_memory.errors import StorageError

_WANTED = "unnest(%s::smallint[], %s::text[]) AS w (bucket, id)"
_PLACE = (
    f"INSERT INTO memory (bucket, id) SELECT w.bucket, w.id FROM {_WANTED} "
    "WHERE NOT EXISTS (SELECT FROM memory m WHERE m.bucket = w.bucket AND m.id = w.id) "
    'ORDER BY w.bucket, w.id COLLATE "C" ON CONFLICT DO NOTHING'
)
_LOCK = (
    f"SELECT m.bucket, m.id, m.number, m.life, m.state, m.digest FROM {_WANTED} "
    "JOIN memory m ON m.bucket = w.bucket AND m.id = w.id ORDER BY m.bucket, m.id FOR UPDATE OF m"
)
_ACCESS = (
    f"SELECT m.id, a.replica, a.count FROM {_WANTED} "
    "JOIN memory m ON m.bucket = w.bucket AND m.id = w.id JOIN access a ON a.memory = m.number"
)


class Held:
    """A locked memory, as this transaction has it."""

    __slots__ = (
        "access", "bucket", "digest", "id", "life", "number", "state", "stored_access",
        "stored_digest",
    )  # fmt: skip

    def __init__(
        self, bucket: int, memory_id: str, number: int, life: int, state: bytes, digest: bytes
    ) -> None:
        self.bucket = bucket
        self.id = memory_id
        self.number = number
        self.life = life
        """0 while it is a place for one that may be saved."""
        self.state = state
        self.digest = digest
        self.access: Mapping[str, int] = {}
        self.stored_digest = digest
        """What the tables hold; empty where they hold nothing."""
        self.stored_access: Mapping[str, int] = {}

    def stored(self) -> StoredMemory | None:
        """Return what is known of it; ``None`` where nothing is."""
        if self.life == 0:
            return None
        return StoredMemory(self.number, self.id, self.state, self.access)


class Locks(Connected):
    """Locks memories on one connection, for the transaction that is open."""

    writes: bool

    def begin_locks(self) -> None:
        """Forget what an earlier transaction held."""
        self.asked: set[str] = set()
        """The ids of all that it locked or tried to lock."""
        self._held: dict[str, Held] = {}
        self._held_by_number: dict[int, Held] = {}

    def prefetch(self, memory_ids: Iterable[str]) -> None:
        """See :meth:`ChangeFeed.prefetch`.

        Raises:
            StoreBusy: another transaction kept one of them locked.
        """
        if not self.writes:
            raise StorageError("a read cannot lock memories; do it in a write")
        known = self._held
        wanted = sorted({(bucket_of(one), one) for one in memory_ids if one not in known})
        if not wanted:
            return
        self.asked.update(memory_id for _, memory_id in wanted)
        which = [bucket for bucket, _ in wanted], [memory_id for _, memory_id in wanted]
        _, rows, used = self.direct.together(
            *(Statement(sql, which) for sql in (_PLACE, _LOCK, _ACCESS))
        )
        self._hold(Held(*row) for row in rows)
        access: dict[str, dict[str, int]] = {}
        for memory_id, replica, count in used:
            access.setdefault(memory_id, {})[replica] = count
        for memory_id, counts in access.items():
            known[memory_id].access = known[memory_id].stored_access = counts

    def _hold(self, locked: Iterable[Held]) -> None:
        for held in locked:
            self._held[held.id] = held
            self._held_by_number[held.number] = held

    def prefetch_numbers(self, numbers: Iterable[int]) -> None:
        """See :meth:`ChangeFeed.prefetch_numbers`."""
        missing = [number for number in numbers if number not in self._held_by_number]
        if missing:
            ids = self.direct.rows("SELECT id FROM memory WHERE number = ANY(%s)", (missing,))
            self.prefetch([memory_id for (memory_id,) in ids])

    def held(self, memory_id: str) -> Held:
        """Return a memory, locked from now on."""
        if memory_id not in self._held:
            self.prefetch((memory_id,))
        return self._held[memory_id]

    def held_by_number(self, number: int) -> Held | None:
        """Return a memory, locked from now on; ``None`` where nobody has the number."""
        self.prefetch_numbers((number,))
        return self._held_by_number.get(number)

    def leaving(self) -> list[Statement]:
        """Return what removes the places of memories that were not saved."""
        unused = [held.number for held in self._held.values() if held.life == 0]
        return [Statement("DELETE FROM memory WHERE number = ANY(%s)", (unused,))] if unused else []
