"""What is kept of other stores: how far one has read, and states that cannot be merged yet."""

from collections.abc import Sequence

from chrysalis_memory.backends.postgres.database import Connected
from chrysalis_memory.backends.wholeness import UNREADABLE
from chrysalis_memory.changes import Quarantined

_STAMP_MAX = 2**63 - 1


class Peers(Connected):
    """Keeps what replication needs to know, on one connection; see :class:`ChangeFeed`."""

    def peer(self, name: str) -> str | None:
        """See :meth:`ChangeFeed.peer`."""
        return self.database.value("SELECT value FROM peer WHERE name = %s", (name,))

    def set_peer(self, name: str, value: str) -> None:
        """See :meth:`ChangeFeed.set_peer`."""
        self.database.run(
            "INSERT INTO peer VALUES (%s, %s) ON CONFLICT (name) "
            "DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def peers(self) -> list[tuple[str, str]]:
        """See :meth:`ChangeFeed.peers`."""
        rows = self.database.rows("SELECT name, value FROM peer ORDER BY name")
        return [(name, value) for name, value in rows]

    def quarantine(self, quarantined: Quarantined) -> None:
        """See :meth:`ChangeFeed.quarantine`."""
        self.database.run(
            "INSERT INTO quarantine VALUES (%s, %b, %s, %b, %s) ON CONFLICT DO NOTHING",
            quarantined,
        )

    def quarantined(self, *, before: int | None = None, limit: int = 1000) -> list[Quarantined]:
        """See :meth:`ChangeFeed.quarantined`."""
        rows = self.database.rows(
            "SELECT id, digest, stamp, state, source FROM quarantine "
            "WHERE stamp < %s ORDER BY stamp, id, digest LIMIT %s",
            (_STAMP_MAX if before is None else before, limit),
        )
        return [Quarantined(*row) for row in rows]

    def quarantined_count(self) -> int:
        """See :meth:`ChangeFeed.quarantined_count`."""
        return self.database.value("SELECT count(*) FROM quarantine")

    def quarantined_among(self, memory_ids: Sequence[str]) -> set[tuple[str, bytes]]:
        """See :meth:`ChangeFeed.quarantined_among`."""
        rows = self.database.rows(
            "SELECT id, digest FROM quarantine WHERE id = ANY(%s::text[])", (list(memory_ids),)
        )
        return {(memory_id, digest) for memory_id, digest in rows}

    def release(self, quarantined: Quarantined) -> None:
        """See :meth:`ChangeFeed.release`."""
        self.database.run(
            "DELETE FROM quarantine WHERE id = %s AND digest = %b",
            (quarantined.id, quarantined.digest),
        )

    def quarantined_of(self, memory_id: str) -> list[Quarantined]:
        """See :meth:`ChangeFeed.quarantined_of`."""
        rows = self.database.rows(
            "SELECT id, digest, stamp, state, source FROM quarantine WHERE id = %s", (memory_id,)
        )
        return [Quarantined(*row) for row in rows]

    def drop_unread(self, memory_id: str) -> int:
        """See :meth:`ChangeFeed.drop_unread`."""
        # No other setting need be JSON.
        sql = (
            "DELETE FROM meta WHERE "
            "CASE WHEN starts_with(key, %s) THEN value::json ->> 'id' = %s END RETURNING 1"
        )
        return len(self.database.rows(sql, (UNREADABLE, memory_id)))

    def note_residue(self) -> None:
        """See :meth:`ChangeFeed.note_residue`; a database is cleaned by its administrator."""
