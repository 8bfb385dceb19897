"""What a write changes, collected in RAM and written together before its transaction ends.

A round trip for each row of each table would make a batch of thousands of memories tens of times
slower. Whatever searches within the write has it written first.
"""

from collections.abc import Mapping, Sequence

from chrysalis_memory import codec
from chrysalis_memory.backends.base import MadeVector
from chrysalis_memory.backends.postgres.database import Statement
from chrysalis_memory.backends.postgres.filters import parts
from chrysalis_memory.backends.postgres.locks import Held, Locks
from chrysalis_memory.backends.rows import MemoryRow, SavedRow

_COLUMNS = {
    "life": "bigint", "state": "bytea", "digest": "bytea", "content": "text", "namespace": "text",
    "memory_type": "text", "episode": "text", "position": "bigint",
    "importance": "double precision", "confidence": "double precision", "created_at": "bigint",
    "updated_at": "bigint", "expires_at": "bigint", "archived": "boolean", "source": "text",
}  # fmt: skip


class Change:
    """A memory that a transaction has changed."""

    __slots__ = ("held", "is_new", "old_content", "row", "same")

    def __init__(self, held: Held) -> None:
        self.held = held
        self.row: MemoryRow | None = None
        """``None`` where only its uses were counted."""
        self.same: frozenset[str] = frozenset()
        """Fields of ``row`` that need not be written."""
        self.old_content: str | None = None
        self.is_new = held.life == 0

    def take(self, row: MemoryRow, saved: SavedRow | None) -> None:
        """Note what is to be stored; what was to be stored before is replaced."""
        same = frozenset[str]() if saved is None else saved.same
        if self.row is None:
            self.same = same
            self.old_content = None if saved is None else saved.content
            self.row = row
            return
        # What is the same as before is not worked out, and may differ from what is stored.
        kept = {field: getattr(self.row, field) for field in ("tags", "metadata") if field in same}
        self.row = row._replace(**kept)
        self.same &= same

    @property
    def has_other_text(self) -> bool:
        """Whether its text is new, changed or gone."""
        return self.row is not None and self.row.content != self.old_content


class Collected(Locks):
    """Collects changes on one connection."""

    _made: dict[tuple[int, int], MadeVector]
    """By the numbers of space and memory: vectors that are to be stored."""

    def begin_changes(self) -> None:
        """Forget what an earlier transaction changed."""
        self._changes: dict[int, Change] = {}

    def save(self, row: MemoryRow, saved: SavedRow | None, made: MadeVector | None = None) -> int:
        """See :meth:`Session.save`."""
        held = self.held(row.id)
        change = self._changed(held)
        change.take(row, saved)
        if saved is None or row.life != saved.life:
            held.access = {}
        held.life, held.state, held.digest = row.life, row.state, row.digest
        if saved is None or row.content != saved.content:
            self._text_changed(held.number, row.content, made)
        return held.number

    def _text_changed(self, number: int, content: str | None, made: MadeVector | None) -> None:
        """Give up vectors that were to be stored for another text, and take the one given."""
        for key in [key for key in self._made if key[1] == number]:
            del self._made[key]
        if made is not None and content is not None and codec.text_hash(content) == made.text_hash:
            self._made[made.space.number, number] = made

    def _changed(self, held: Held) -> Change:
        # Taken out and put back: changes are numbered in the order in which they end.
        change = self._changes.pop(held.number, None) or Change(held)
        self._changes[held.number] = change
        return change

    def save_access(self, number: int, access: Mapping[str, int]) -> None:
        """See :meth:`Session.save_access`."""
        held = self.held_by_number(number)
        if held is None:
            return
        grown = {r: count for r, count in access.items() if count > held.access.get(r, -1)}
        if grown:
            held.access = {**held.access, **grown}
            self._changed(held)


def row_statements(changes: Sequence[Change]) -> list[Statement]:
    """Return what writes the rows of memories, their tags, metadata and uses."""
    saved = [(change, change.row) for change in changes if change.row is not None]
    statements: list[Statement] = []
    for with_text in (True, False):
        # A long text that is written again is compressed again.
        rows = [
            (change.held.number, row)
            for change, row in saved
            if (change.is_new or change.has_other_text) == with_text
        ]
        if rows:
            statements.append(_updating(rows, with_text=with_text))
    statements += _tag_statements(saved)
    statements += _metadata_statements(saved)
    statements += _access_statements(changes)
    return statements


def _updating(rows: Sequence[tuple[int, MemoryRow]], *, with_text: bool) -> Statement:
    columns = [column for column in _COLUMNS if with_text or column != "content"]
    # Bytes as they are: as text they would take twice the room.
    arrays = ", ".join(
        f"{'%b' if _COLUMNS[column] == 'bytea' else '%s'}::{_COLUMNS[column]}[]"
        for column in columns
    )
    values = [[getattr(row, column) for _, row in rows] for column in columns]
    return Statement(
        f"UPDATE memory m SET {', '.join(f'{column} = w.{column}' for column in columns)} "
        f"FROM unnest(%s::bigint[], {arrays}) AS w (number, {', '.join(columns)}) "
        "WHERE m.number = w.number",
        ([number for number, _ in rows], *values),
    )


def _tag_statements(saved: Sequence[tuple[Change, MemoryRow]]) -> list[Statement]:
    written = [(change, row) for change, row in saved if "tags" not in change.same]
    rows = [(change.held, tag) for change, row in written for tag in row.tags]
    statements = _deleting("tag", [change for change, _ in written])
    if rows:
        statements.append(Statement(
            "INSERT INTO tag SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::text[])",
            (
                [held.bucket for held, _ in rows],
                [held.number for held, _ in rows],
                [tag for _, tag in rows],
            ),
        ))  # fmt: skip
    return statements


def _metadata_statements(saved: Sequence[tuple[Change, MemoryRow]]) -> list[Statement]:
    written = [(change, row) for change, row in saved if "metadata" not in change.same]
    rows = [
        (change.held, key, value.kind, *parts(value))
        for change, row in written
        for key, value in row.metadata
    ]
    statements = _deleting("metadata", [change for change, _ in written])
    if rows:
        statements.append(Statement(
            "INSERT INTO metadata SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::text[], "
            "%s::text[], %s::numeric[], %s::text[])",
            (
                [row[0].bucket for row in rows],
                [row[0].number for row in rows],
                *([row[column] for row in rows] for column in range(1, 5)),
            ),
        ))  # fmt: skip
    return statements


def _deleting(table: str, changes: Sequence[Change]) -> list[Statement]:
    known = [change.held.number for change in changes if not change.is_new]
    return (
        [Statement(f"DELETE FROM {table} WHERE memory = ANY(%s::bigint[])", (known,))]
        if known
        else []
    )


def _access_statements(changes: Sequence[Change]) -> list[Statement]:
    gone: list[tuple[int, str]] = []
    grown: list[tuple[int, int, str, int]] = []
    for held in (change.held for change in changes):
        if held.access is held.stored_access:
            continue
        gone += [(held.number, one) for one in held.stored_access if one not in held.access]
        grown += [
            (held.bucket, held.number, replica, count)
            for replica, count in held.access.items()
            if held.stored_access.get(replica) != count
        ]
    statements: list[Statement] = []
    if gone:
        statements.append(Statement(
            "DELETE FROM access a USING unnest(%s::bigint[], %s::text[]) AS w (memory, replica) "
            "WHERE a.memory = w.memory AND a.replica = w.replica",
            ([number for number, _ in gone], [replica for _, replica in gone]),
        ))  # fmt: skip
    if grown:
        statements.append(Statement(
            "INSERT INTO access SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::text[], "
            "%s::bigint[]) ON CONFLICT (memory, replica, bucket) DO UPDATE "
            "SET count = excluded.count",
            tuple([row[column] for row in grown] for column in range(4)),
        ))  # fmt: skip
    return statements
