"""Making anew what is derived in a file, whatever is stored there now."""

import contextlib

import apsw

from chrysalis_memory import codec
from chrysalis_memory.backends.rows import MemoryRow, Upkeep
from chrysalis_memory.backends.sqlite.feed import fill_sums
from chrysalis_memory.backends.sqlite.session import SQLiteSession
from chrysalis_memory.backends.sqlite.vector_blobs import is_unit

# What belongs to a memory, beside the vectors of each space.
_PARTS = ("tag", "metadata", "access", "pending", "token_vector", "memory_word")
_COLUMNS = MemoryRow._fields[1:16]


class MendingSession(SQLiteSession):
    """A session that can also mend; see :class:`~chrysalis_memory.backends.wholeness.Whole`."""

    def upkeep(self) -> Upkeep:
        """See :meth:`Whole.upkeep`."""
        waiting = self.connection.execute("SELECT count(*) FROM pending").get
        log = self._path.with_name(self._path.name + "-wal")
        size = log.stat().st_size if log.exists() else 0
        return Upkeep(waiting, size, self.quarantined_count())

    def settings(self, prefix: str) -> dict[str, str]:
        """See :meth:`Whole.settings`."""
        rows = self.connection.execute(
            "SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
        )
        return dict(rows.fetchall())

    def mend_indexes(self) -> None:
        """See :meth:`Whole.mend_indexes`."""
        if self.said_by_sqlite(1):
            # Two rows where there may be one: what can be done, the repair of each memory does.
            with contextlib.suppress(apsw.ConstraintError):
                self.connection.execute("REINDEX")

    def rewrite(self, number: int, row: MemoryRow) -> None:
        """See :meth:`Whole.rewrite`; readers that remember answers see it as a change."""
        change = self.last_change() + 1
        assignments = ", ".join(f"{column} = ?" for column in _COLUMNS)
        self.connection.execute(
            f"UPDATE memory SET change = ?, {assignments} WHERE number = ?",
            (change, *row[1:16], number),
        )
        self._save_parts(number, row, frozenset(), is_new=False)
        self.connection.execute("DELETE FROM memory_word WHERE memory = ?", (number,))
        if row.content is None:
            for table in ("access", "pending", "token_vector"):
                self.connection.execute(f"DELETE FROM {table} WHERE memory = ?", (number,))
        else:
            tokens = self.indexed_words(row.content)
            self.connection.execute(
                "INSERT INTO memory_word VALUES (?, ?, ?)", (number, len(tokens.split()), tokens)
            )
        self._mend_vectors(number, row.content)
        self.begin()

    def _mend_vectors(self, number: int, content: str | None) -> None:
        text_hash = None if content is None else codec.text_hash(content)
        for space in self.spaces():
            table = f"vector_{space.number}"
            stored = self.connection.execute(
                f"SELECT text_hash, vector FROM {table} WHERE memory = ?", (number,)
            ).get
            is_right = (
                stored is not None
                and stored[0] == text_hash
                and is_unit(stored[1], space.dimension)
            )
            if stored is not None and not is_right:
                self.connection.execute(f"DELETE FROM {table} WHERE memory = ?", (number,))
                self.delete_tokens(number)
            waits = content is not None and not is_right
            self._mark_pending(space, number, waits=waits)

    def remove(self, number: int) -> None:
        """See :meth:`Whole.remove`."""
        for table in (*_PARTS, *(f"vector_{space.number}" for space in self.spaces())):
            self.connection.execute(f"DELETE FROM {table} WHERE memory = ?", (number,))
        self.connection.execute("DELETE FROM memory WHERE number = ?", (number,))
        self.begin()

    def mend_rest(self) -> None:
        """See :meth:`Whole.mend_rest`."""
        spaces = self.spaces()
        for table in (*_PARTS, *(f"vector_{space.number}" for space in spaces)):
            self.connection.execute(
                f"DELETE FROM {table} WHERE memory NOT IN (SELECT number FROM memory)"
            )
        for table in ("pending", "token_vector"):
            self.connection.execute(
                f"DELETE FROM {table} WHERE space NOT IN (SELECT number FROM space) "
                "OR memory IN (SELECT number FROM memory WHERE content IS NULL)"
            )
        for space in spaces:
            self.rebuild_codes(space)
        if self.word_damage():
            self._rebuild_word_index()
        self.connection.execute("DELETE FROM digest_sum")
        fill_sums(self.connection)
        self.begin()

    def _rebuild_word_index(self) -> None:
        self.connection.execute("INSERT INTO memory_text (memory_text) VALUES ('rebuild')")
        known = self.connection.execute("SELECT max(rewritten) FROM word_statistics").get or 0
        self.connection.execute("DELETE FROM word_statistics")
        self.connection.execute(
            "INSERT INTO word_statistics SELECT count(*), coalesce(sum(length), 0), ? "
            "FROM memory_word",
            (known + 1,),
        )
