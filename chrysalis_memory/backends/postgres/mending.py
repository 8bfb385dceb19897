"""Making anew what is derived in a database, whatever is stored there now."""

from chrysalis_memory import codec
from chrysalis_memory.backends.postgres.collected import Change, row_statements
from chrysalis_memory.backends.postgres.database import Statement
from chrysalis_memory.backends.postgres.schema import BUCKETS_PER_PART, PARTS
from chrysalis_memory.backends.postgres.session import PostgresSession
from chrysalis_memory.backends.postgres.whole import GHOST, IS_UNIT, UNFED
from chrysalis_memory.backends.postgres.whole import PARTS as TABLES
from chrysalis_memory.backends.postgres.words import locking
from chrysalis_memory.backends.rows import MemoryRow, Upkeep
from chrysalis_memory.changes import BUCKETS, SUM_MODULUS, access_digest, bucket_of


class MendingSession(PostgresSession):
    """A session that can also mend; see :class:`~chrysalis_memory.backends.wholeness.Whole`."""

    def upkeep(self) -> Upkeep:
        """See :meth:`Whole.upkeep`."""
        waiting = self.database.value("SELECT count(*) FROM pending")
        return Upkeep(waiting, None, self.quarantined_count())

    def settings(self, prefix: str) -> dict[str, str]:
        """See :meth:`Whole.settings`."""
        rows = self.database.rows(
            "SELECT key, value FROM meta WHERE starts_with(key, %s)", (prefix,)
        )
        return dict(rows)

    def mend_indexes(self) -> None:
        """See :meth:`Whole.mend_indexes`; the server's own are the server's business."""

    def rewrite(self, number: int, row: MemoryRow) -> None:
        """See :meth:`Whole.rewrite`."""
        held = self.held_by_number(number)
        if held is None:
            return
        change = Change(held)
        change.row, change.old_content = row, ""  # so that the text is written, whatever is there
        self.direct.together(*row_statements([change]))
        known = self.direct.value("SELECT 1 FROM memory_word WHERE memory = %s", (number,))
        self.direct.together(
            locking([bucket_of(row.id) // BUCKETS_PER_PART]),
            *self.word_statements([(number, row.id, row.content, known is not None)]),
        )
        if row.content is None:
            for table in ("access", "pending", "token_vector"):
                self.direct.run(f"DELETE FROM {table} WHERE memory = %s", (number,))
        self._mend_vectors(held.bucket, number, row.content)

    def _mend_vectors(self, bucket: int, number: int, content: str | None) -> None:
        text_hash = None if content is None else codec.text_hash(content)
        for space in self.spaces():
            table = f"vector_{space.number}"
            found = self.direct.rows(
                f"SELECT text_hash, {IS_UNIT} FROM {table} WHERE memory = %s", (number,)
            )
            is_right = found == [(text_hash, True)]
            if found and not is_right:
                self.direct.run(f"DELETE FROM {table} WHERE memory = %s", (number,))
                self.direct.run("DELETE FROM token_vector WHERE memory = %s", (number,))
            if content is not None and not is_right:
                self.direct.run(
                    "INSERT INTO pending VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    (bucket, space.number, number),
                )
            else:
                self.direct.run(
                    "DELETE FROM pending WHERE space = %s AND memory = %s", (space.number, number)
                )

    def remove(self, number: int) -> None:
        """See :meth:`Whole.remove`."""
        self.prefetch_numbers([number])
        for table in (*TABLES, *self.vector_tables()):
            self.direct.run(f"DELETE FROM {table} WHERE memory = %s", (number,))
        self.direct.run("DELETE FROM memory WHERE number = %s", (number,))

    def mend_rest(self) -> None:
        """See :meth:`Whole.mend_rest`; nobody writes meanwhile."""
        self.direct.together(locking(list(range(PARTS))))
        for table in (*TABLES, *self.vector_tables()):
            self.direct.run(f"DELETE FROM {table} t WHERE {GHOST}")
        for table in ("pending", "token_vector"):
            self.direct.run(
                f"DELETE FROM {table} t WHERE space NOT IN (SELECT number FROM space) OR EXISTS "
                "(SELECT 1 FROM memory m WHERE m.number = t.memory AND m.content IS NULL)"
            )
        self._mend_feed()
        if self.word_damage():
            self._count_words()
        self._mend_sums()
        self.begin_words()

    def _mend_feed(self) -> None:
        """Give change numbers to memories without, beyond those that were given."""
        self.direct.run(
            "UPDATE change_part c SET last = greatest(c.last, coalesce((SELECT max(f.change) "
            "FROM memory_change f WHERE f.part = c.part), 0))"
        )
        part = f"(m.bucket / {BUCKETS_PER_PART})::smallint"
        self.direct.run(
            f"INSERT INTO memory_change SELECT m.bucket, m.number, {part}, c.last + row_number() "
            f"OVER (PARTITION BY {part} ORDER BY m.number) FROM memory m "
            f"JOIN change_part c ON c.part = {part} WHERE {UNFED}"
        )
        self.direct.run(
            "UPDATE change_part c SET last = greatest(c.last, coalesce((SELECT max(f.change) "
            "FROM memory_change f WHERE f.part = c.part), 0))"
        )

    def _count_words(self) -> None:
        true = self.counted_words()
        parts = list(range(PARTS))
        counts = sorted(true.counts.items())
        self.direct.together(
            Statement(
                "UPDATE change_part c SET memories = w.memories, tokens = w.tokens "
                "FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) "
                "AS w (part, memories, tokens) WHERE c.part = w.part",
                (
                    parts,
                    [true.memories[part] for part in parts],
                    [true.tokens[part] for part in parts],
                ),
            ),
            Statement("DELETE FROM word_count"),
            Statement(
                "INSERT INTO word_count "
                "SELECT * FROM unnest(%s::text[], %s::smallint[], %s::bigint[])",
                (
                    [token for (token, _), _ in counts],
                    [part for (_, part), _ in counts],
                    [count for _, count in counts],
                ),
            ),
        )

    def _mend_sums(self) -> None:
        sums = [0] * BUCKETS
        rows = self.direct.rows("SELECT id, digest FROM memory WHERE life > 0")
        for memory_id, digest in rows:
            sums[bucket_of(memory_id)] += int.from_bytes(digest)
        for memory_id, replica, count in self.direct.rows(
            "SELECT m.id, a.replica, a.count FROM access a JOIN memory m ON m.number = a.memory"
        ):
            sums[bucket_of(memory_id)] += access_digest(memory_id, replica, count)
        self.direct.run("DELETE FROM digest_sum")
        self.direct.run(
            "INSERT INTO digest_sum SELECT * FROM unnest(%s::smallint[], %s::numeric[])",
            (list(range(BUCKETS)), [one % SUM_MODULUS for one in sums]),
        )
