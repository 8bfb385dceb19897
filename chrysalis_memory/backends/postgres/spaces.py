"""The embedding spaces of a store: their vectors, what waits for one, and the search in them."""

from collections.abc import Iterable, Sequence

from chrysalis_memory import codec
from chrysalis_memory.backends.base import Accuracy, MadeVector, Nearest, Pending, Space
from chrysalis_memory.backends.postgres.collected import Change, Collected
from chrysalis_memory.backends.postgres.database import Row, Statement
from chrysalis_memory.backends.postgres.filters import Where
from chrysalis_memory.backends.postgres.vector_table import VectorTable
from chrysalis_memory.embedding import Vector
from chrysalis_memory.query import Query

_SPACES = Statement(
    "SELECT number, fingerprint, model, dimension, name, active FROM space ORDER BY number"
)
_BROAD_MAX = 1_000


class Seen:
    """What a store's sessions have seen of it: it decides how they search, not what they find.

    Attributes:
        large: Spaces too large for all their vectors to be compared, by number.
        broad: Filters that too many memories pass for all of them to be compared.
    """

    def __init__(self) -> None:
        self.large: set[int] = set()
        self.broad: set[str] = set()

    def add_broad(self, known: str) -> None:
        """Note a filter; beyond a thousand, all are seen anew."""
        if len(self.broad) >= _BROAD_MAX:
            self.broad.clear()
        self.broad.add(known)


class VectorSpaces(Collected):
    """Keeps and searches the vectors on one connection."""

    seen: Seen

    def begin_spaces(self) -> None:
        """Forget what an earlier snapshot showed."""
        self._spaces: list[Space] | None = None
        self._left_out: Row | None = None
        self._made: dict[tuple[int, int], MadeVector] = {}

    def spaces(self) -> list[Space]:
        """See :meth:`Session.spaces`."""
        if self._spaces is None:
            self._spaces = [Space(*row) for row in self.direct.together(_SPACES)[0]]
        return self._spaces

    def create_space(self, fingerprint: str, model: str, dimension: int, name: str | None) -> Space:
        """See :meth:`Session.create_space`; one that somebody else has just created is taken."""
        # Nobody may save a text meanwhile without knowing that it waits for a vector here, too.
        self.direct.run("LOCK TABLE space IN EXCLUSIVE MODE")
        self._spaces = None
        known = next((one for one in self.spaces() if one.fingerprint == fingerprint), None)
        if known is not None:
            return known
        active = not self.spaces()
        number: int = self.database.value(
            "INSERT INTO space (fingerprint, model, dimension, name, active) "
            "VALUES (%s, %s, %s, %s, %s) RETURNING number",
            (fingerprint, model, dimension, name, active),
        )
        self._spaces = None
        space = Space(number, fingerprint, model, dimension, name, active)
        VectorTable(self.direct, space).create()
        self.direct.run(
            "INSERT INTO pending SELECT bucket, %s, number FROM memory WHERE content IS NOT NULL",
            (number,),
        )
        return space

    def activate_space(self, space: Space) -> None:
        """See :meth:`Session.activate_space`."""
        for other in self.spaces():
            if other.number != space.number:
                self.drop_space(other)
        self.direct.run("UPDATE space SET active = true WHERE number = %s", (space.number,))
        self._spaces = None

    def drop_space(self, space: Space) -> None:
        """See :meth:`Session.drop_space`."""
        self.database.together(
            Statement("LOCK TABLE space IN EXCLUSIVE MODE"),
            Statement("DELETE FROM pending WHERE space = %s", (space.number,)),
            Statement("DELETE FROM token_vector WHERE space = %s", (space.number,)),
            Statement("DELETE FROM space WHERE number = %s", (space.number,)),
        )
        VectorTable(self.direct, space).drop()
        self._spaces = None

    def rebuild_index(self, space: Space, *, after: int = -1, limit: int = 4) -> int | None:
        """See :meth:`Session.rebuild_index`; all of it at once, whatever ``limit`` says."""
        del after, limit
        self.direct.run("DELETE FROM token_vector WHERE space = %s", (space.number,))
        VectorTable(self.database, space).rebuild()
        return None

    # Writing

    def vector_statements(self, changes: Sequence[Change]) -> list[Statement]:
        """Return what gives changed texts their vectors, or has them wait, and stores the others.

        Args:
            changes: Memories that were saved.
        """
        texts = [change for change in changes if change.has_other_text]
        if not texts and not self._made:
            return []
        # Until the end of the transaction nobody creates a space that this one knows nothing of.
        locking = Statement("LOCK TABLE space IN ROW SHARE MODE")
        self._spaces = [Space(*row) for row in self.direct.together(locking, _SPACES)[1]]
        statements: list[Statement] = []
        gone = [change.held.number for change in texts if change.old_content is not None]
        for table in ("token_vector", "pending"):
            if gone:
                sql = f"DELETE FROM {table} WHERE memory = ANY(%s::bigint[])"
                statements.append(Statement(sql, (gone,)))
        for space in self.spaces():
            table = VectorTable(self.direct, space)
            if gone:
                statements.append(table.deleting(gone))
            statements += self._storing(space, table)
            statements += _waiting(space, table, texts)
        self._made.clear()
        return statements

    def _storing(self, space: Space, table: VectorTable) -> list[Statement]:
        made = {number: one for (of, number), one in self._made.items() if of == space.number}
        statements = [
            table.putting(self._held_by_number[number].bucket, number, one.text_hash, one.vector)
            for number, one in made.items()
        ]
        if made:
            sql = "DELETE FROM pending WHERE space = %s AND memory = ANY(%s::bigint[])"
            statements.append(Statement(sql, (space.number, list(made))))
        return statements

    def save_vector(self, space: Space, number: int, text_hash: bytes, vector: Vector) -> bool:
        """See :meth:`Session.save_vector`."""
        VectorTable(self.direct, space).check(vector)
        if not self._has_text(number, text_hash):
            return False
        self._made[space.number, number] = MadeVector(space, text_hash, vector)
        return True

    def _has_text(self, number: int, text_hash: bytes) -> bool:
        """Tell whether a memory, locked from now on, has the text with this digest."""
        if self.held_by_number(number) is None:
            return False
        change = self._changes.get(number)
        content: str | None = (
            self.direct.value("SELECT content FROM memory WHERE number = %s", (number,))
            if change is None or change.row is None
            else change.row.content
        )
        return content is not None and codec.text_hash(content) == text_hash

    # Reading

    def pending(self, space: Space, *, limit: int) -> list[Pending]:
        """See :meth:`Session.pending`."""
        rows = self.database.rows(
            "SELECT m.number, m.id, m.content FROM pending p JOIN memory m ON m.number = p.memory "
            "WHERE p.space = %s ORDER BY p.memory LIMIT %s",
            (space.number, limit),
        )
        return [Pending(*row) for row in rows]

    def pending_count(self, space: Space) -> int:
        """See :meth:`Session.pending_count`."""
        return self.database.value("SELECT count(*) FROM pending WHERE space = %s", (space.number,))

    def sample(self, space: Space, count: int) -> list[int]:
        """See :meth:`Session.sample`."""
        return VectorTable(self.database, space).sample(count)

    def vector(self, space: Space, number: int) -> Vector | None:
        """See :meth:`Session.vector`."""
        return VectorTable(self.database, space).vector(number)

    def nearest(
        self,
        space: Space,
        vector: Vector,
        k: int,
        query: Query,
        *,
        accuracy: Accuracy = "balanced",
    ) -> Nearest:
        """See :meth:`Session.nearest`."""
        table = VectorTable(self.database, space)
        where = self.condition(query)
        is_large = accuracy != "exact" and table.has_index and self._is_large(space, table)
        known = query.filter.model_dump_json()
        if where is not None and not (is_large and known in self.seen.broad):
            few = table.few(where)
            if few is not None:
                return table.exactly(vector, k, few)
            self.seen.add_broad(known)
        if not is_large:
            return table.exactly(vector, k, where)
        with self.direct.within_transaction():
            found = table.by_index(vector, k, where, accuracy)
        if found.exact:
            self.seen.broad.discard(known)
        return found

    def _is_large(self, space: Space, table: VectorTable) -> bool:
        # Counting takes as long as comparing does while a space is small; once it is large it
        # hardly shrinks again, and the index would find the right ones there, too.
        if space.number not in self.seen.large and table.is_large():
            self.seen.large.add(space.number)
        return space.number in self.seen.large

    def similarities(
        self, space: Space, vector: Vector, numbers: Iterable[int]
    ) -> dict[int, float]:
        """See :meth:`Session.similarities`."""
        return VectorTable(self.database, space).similarities(vector, numbers)

    def condition(self, query: Query) -> Where | None:
        """Return what memories must match; ``None`` where every living one does."""
        if query.is_empty and not self._leaves_out(query.now_us):
            return None
        return Where(query)

    def _leaves_out(self, now_us: int) -> bool:
        """Tell whether any memory is archived or has expired."""
        database = self.database
        if self._left_out is None:
            # The least of an index, which no plan finds by reading every memory.
            self._left_out = database.rows(
                "SELECT (SELECT min(updated_at) FROM memory WHERE archived), "
                "(SELECT min(expires_at) FROM memory WHERE expires_at IS NOT NULL)"
            )[0]
        archived, expires_at = self._left_out
        return archived is not None or (expires_at is not None and expires_at <= now_us)


def _waiting(space: Space, table: VectorTable, texts: Sequence[Change]) -> list[Statement]:
    """Return what gives texts the vectors already known of them, or has them wait for theirs."""
    living = [
        (change.held, row.content)
        for change in texts
        if (row := change.row) is not None and row.content is not None
    ]
    if not living:
        return []
    buckets = [held.bucket for held, _ in living]
    numbers = [held.number for held, _ in living]
    waiting = (
        "INSERT INTO pending SELECT w.bucket, %s, w.memory "
        "FROM unnest(%s::smallint[], %s::bigint[]) AS w (bucket, memory) "
        f"WHERE NOT EXISTS (SELECT FROM vector_{space.number} v WHERE v.memory = w.memory) "
        "ON CONFLICT DO NOTHING"
    )
    return [
        table.taking(buckets, numbers, [codec.text_hash(content) for _, content in living]),
        Statement(waiting, (space.number, buckets, numbers)),
    ]
