"""What a file from a stranger may be: damaged anywhere, made by others, or made to do harm.

Every kind changes a whole memory file in its own way, by chance that a seed decides.
"""

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import apsw
import msgpack

PAGE = 4096
APPLICATION = 0x43485259


class Files(NamedTuple):
    """What kinds are made of."""

    whole: bytes
    """A memory."""
    other: bytes
    """Another memory."""
    log: bytes
    """The write-ahead log of the other."""


class Kind(NamedTuple):
    """A way to make a file hostile."""

    make: Callable[[Path, Files, Random], None]
    """Changes the file, which is a whole memory."""
    must_be_refused: bool = False
    """Whether it may never be opened, and none of its bytes changed."""


def _rewrite(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    with path.open("r+b") as file:  # the same file: it stays in its place
        file.write(data)
        file.truncate(len(data))


def flips(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        for _ in range(rng.choice((1, 2, 8, 40))):
            data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)

    _rewrite(path, change)


def noise(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        start = rng.randrange(len(data) - 64)
        length = rng.choice((4, 64, 1000))
        data[start : start + length] = rng.randbytes(min(length, len(data) - start))

    _rewrite(path, change)


def first_page(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        for _ in range(rng.choice((1, 3, 10))):
            data[rng.randrange(0, rng.choice((112, PAGE)))] = rng.randrange(256)

    _rewrite(path, change)


def page_headers(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        for _ in range(rng.choice((1, 2, 6))):
            page = rng.randrange(1, len(data) // PAGE)
            data[page * PAGE + rng.randrange(0, 40)] = rng.choice((0, 1, 2, 5, 10, 13, 127, 255))

    _rewrite(path, change)


def truncated(path: Path, files: Files, rng: Random) -> None:
    size = rng.randrange(len(files.whole))
    _rewrite(path, lambda data: data.__delitem__(slice(size - size % rng.choice((1, PAGE)), None)))


def swapped_pages(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        for _ in range(rng.choice((1, 1, 3))):
            one, two = rng.sample(range(1, len(data) // PAGE), 2)
            first, second = slice(one * PAGE, (one + 1) * PAGE), slice(two * PAGE, (two + 1) * PAGE)
            data[first], data[second] = data[second], data[first]

    _rewrite(path, change)


def pages_of_another(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        for _ in range(rng.choice((1, 3, 10))):
            to = rng.randrange(1, len(data) // PAGE) * PAGE
            source = rng.randrange(1, len(files.other) // PAGE) * PAGE
            data[to : to + PAGE] = files.other[source : source + PAGE]

    _rewrite(path, change)


def zeroed_pages(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(1, len(data) // PAGE) * PAGE
            data[at : at + PAGE] = bytes(PAGE)

    _rewrite(path, change)


def spliced_header(path: Path, files: Files, rng: Random) -> None:
    def change(data: bytearray) -> None:
        part = rng.choice((slice(0, 100), slice(0, PAGE), slice(16, 24), slice(24, 60)))
        data[part] = files.other[part]

    _rewrite(path, change)


def random_bytes(path: Path, files: Files, rng: Random) -> None:
    begins = rng.choice((b"", b"SQLite format 3\0", files.whole[:100], files.whole[:PAGE]))
    rest = rng.randbytes(rng.choice((1, 100, 5000, 50_000)))
    _rewrite(path, lambda data: data.__setitem__(slice(None), begins + rest))


def foreign_log(path: Path, files: Files, rng: Random) -> None:
    log = bytearray(files.log)
    for _ in range(rng.choice((0, 0, 1, 10))):
        log[rng.randrange(len(log))] ^= 1 << rng.randrange(8)
    del log[rng.choice((len(log), rng.randrange(len(log)))) :]
    beside = rng.choice(("-wal", "-wal", "-journal"))
    Path(f"{path}{beside}").write_bytes(log if beside == "-wal" else rng.randbytes(5000))


def no_end(path: Path, files: Files, rng: Random) -> None:
    """Make a tree of a few pages that leads to more rows than can be counted in a lifetime."""

    root = _root_of(path, rng.choice(("memory", "memory_word", "vector_1"))) - 1

    def change(data: bytearray) -> None:
        last = len(data) // PAGE
        old = data[root * PAGE : (root + 1) * PAGE]
        for level in range(1, 11):
            data += _interior(last + level + 1)
        data += old
        data[28:32] = struct.pack(">I", len(data) // PAGE)
        data[root * PAGE : (root + 1) * PAGE] = _interior(last + 1)

    _rewrite(path, change)


def _interior(child: int) -> bytes:
    """Return an interior page of a table, all of whose children are one."""
    cells = 300
    page = bytearray(PAGE)
    page[0] = 5
    start = PAGE - cells * 5
    page[3:12] = struct.pack(">HHBI", cells, start, 0, child)
    for cell in range(cells):
        at = start + cell * 5
        page[12 + 2 * cell : 14 + 2 * cell] = struct.pack(">H", at)
        page[at : at + 5] = struct.pack(">IB", child, min(cell, 127))
    return bytes(page)


def _root_of(path: Path, table: str) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    connection.close()
    return root


# Made by SQL


def _outside(path: Path, *statements: str, writable: bool = False) -> None:
    connection = apsw.Connection(str(path))
    try:
        connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, int(writable))
        connection.pragma("ignore_check_constraints", True)
        for statement in statements:
            connection.execute(statement)
        connection.pragma("wal_checkpoint(truncate)")
    finally:
        connection.close()


_OBJECTS = (
    "CREATE TRIGGER evil AFTER INSERT ON {table} BEGIN DELETE FROM memory; END",
    "CREATE TRIGGER evil BEFORE UPDATE ON {table} BEGIN SELECT randomblob(1000000000); END",
    "CREATE VIEW evil AS SELECT randomblob(1000000000) FROM {table}",
    "CREATE VIEW evil AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT 1",
    "CREATE VIRTUAL TABLE evil USING fts5 (x)",
    "CREATE VIRTUAL TABLE evil USING rtree (a, b, c)",
    "CREATE TABLE evil (x, y AS (randomblob(1000000000)))",
    "CREATE INDEX evil ON {table} (hex(zeroblob(1000)))",
    "CREATE INDEX evil ON {table} ({column}) WHERE {column} NOT LIKE '%x'",
    "ALTER TABLE {table} ADD COLUMN evil TEXT AS (hex(zeroblob(1000)))",
    "ALTER TABLE {table} ADD COLUMN evil TEXT",
    "ALTER TABLE {table} RENAME COLUMN {column} TO evil",
    "CREATE TABLE sqlite_evil AS SELECT 1",
    "ANALYZE",
    "DROP INDEX tag_by_memory",
    "CREATE TABLE vector_7 (memory INTEGER PRIMARY KEY)",
)
_COLUMNS = {
    "tag": "tag", "access": "replica", "peer": "value", "memory": "source", "space": "model",
    "memory_word": "length", "vector_1": "text_hash", "meta": "value", "quarantine": "source",
}  # fmt: skip


def added_objects(path: Path, files: Files, rng: Random) -> None:
    table = rng.choice(list(_COLUMNS))
    statement = rng.choice(_OBJECTS).format(table=table, column=_COLUMNS[table])
    try:
        _outside(path, statement, writable=True)
    except apsw.SQLError:  # not every table can have that
        _outside(path, _OBJECTS[0].format(table=table))


def edited_schema(path: Path, files: Files, rng: Random) -> None:
    name = rng.choice(["memory_text", "memory_term", "memory_by_type", *_COLUMNS])
    text = rng.choice((
        "sql = replace(sql, 'STRICT', '')||' '||'x'", "sql = replace(sql, 'NOT NULL', '')",
        "sql = 'CREATE TABLE ' || name || ' (x)'", "sql = NULL", "sql = x'00ff'", "sql = ''",
        "sql = 'CREATE VIEW ' || name || ' AS SELECT 1'", "type = 'view'", "type = 'trigger'",
        "sql = sql || ';' || sql", "name = 'evil'", "tbl_name = 'memory'", "tbl_name = NULL",
        "rootpage = 0", "rootpage = 1", "rootpage = 4000000000", "rootpage = -1",
        "rootpage = 'two'",
        "rootpage = (SELECT max(rootpage) FROM sqlite_schema WHERE name <> 'vector_1')",
        "sql = replace(sql, 'CREATE', 'CREATE TEMP')", "sql = upper(sql)",
    ))  # fmt: skip
    _outside(path, f"UPDATE sqlite_schema SET {text} WHERE name = '{name}'", writable=True)


def wrong_numbers(path: Path, files: Files, rng: Random) -> None:
    name = rng.choice(("user_version", "application_id"))
    number = rng.choice((-1, 0, 1, 3, 1000, 2**31 - 1, -(2**31)))
    _outside(path, f"PRAGMA {name} = {number}")


def of_another_application(path: Path, files: Files, rng: Random) -> None:
    path.write_bytes(b"")
    number = rng.choice((0, 0, 1234, APPLICATION))
    _outside(
        path,
        rng.choice((
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)",
            "CREATE TABLE memory (number INTEGER PRIMARY KEY, id TEXT, state BLOB)",
            "CREATE VIRTUAL TABLE memory_text USING fts5 (tokens)",
            "CREATE VIEW memory AS SELECT 1 AS number, 'x' AS id",
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        )),
        f"PRAGMA application_id = {number}; PRAGMA user_version = {rng.choice((0, 1, 2, 9))}",
    )  # fmt: skip


_VALUES = (
    "NULL", "-1", "0", "9223372036854775807", "-9223372036854775808", "1e308", "-0.5", "'x'", "''",
    "x''", "x'ff'", "CAST(x'fffe80' AS TEXT)", "zeroblob(3)", "zeroblob(100000)", "9e999",
    "randomblob(16)", "char(0)", "'[1'", "2147483648", "CAST(x'eda080' AS TEXT)",
)  # fmt: skip
_TARGETS = {
    "memory": (
        "number", "id", "life", "state", "digest", "change", "content", "namespace", "memory_type",
        "episode", "position", "importance", "confidence", "created_at", "updated_at",
        "expires_at", "archived", "source",
    ),
    "tag": ("tag", "memory"), "metadata": ("key", "kind", "value", "memory"),
    "access": ("memory", "replica", "count", "change"),
    "space": ("number", "fingerprint", "model", "dimension", "name", "active"),
    "pending": ("space", "memory"), "memory_word": ("memory", "length", "tokens"),
    "word_statistics": ("memories", "tokens", "rewritten"), "meta": ("key", "value"),
    "digest_sum": ("bucket", "sum"), "peer": ("name", "value"),
    "quarantine": ("id", "digest", "stamp", "state", "source"),
    "vector_1": ("memory", "text_hash", "vector"),
    "vector_code_1": ("chunk", "change", "present", "codes"),
    "memory_text_data": ("id", "block"), "memory_text_idx": ("segid", "term", "pgno"),
    "memory_text_docsize": ("id", "sz"), "memory_text_config": ("k", "v"),
}  # fmt: skip


def hostile_rows(path: Path, files: Files, rng: Random) -> None:
    """Put values where they do not belong, past all that would keep them out."""
    tables = "WHERE type = 'table' AND sql LIKE '%STRICT%'"
    connection = apsw.Connection(str(path))
    kept = connection.execute(f"SELECT sql, name FROM sqlite_schema {tables}").fetchall()
    connection.close()
    relaxed = "replace(replace(replace(sql, 'STRICT, ', ''), 'STRICT', ''), 'NOT NULL', '')"
    _outside(path, f"UPDATE sqlite_schema SET sql = {relaxed} {tables}", writable=True)
    connection = apsw.Connection(str(path))
    for _ in range(rng.choice((1, 1, 2, 5))):
        table = rng.choice(list(_TARGETS))
        column, value = rng.choice(_TARGETS[table]), rng.choice(_VALUES)
        one = f"(SELECT {column} FROM {table} LIMIT 1 OFFSET {rng.randrange(60)})"
        some = rng.choice(("", f"WHERE {column} IS {one}"))
        with contextlib.suppress(apsw.ConstraintError, apsw.MismatchError):
            connection.execute(f"UPDATE OR REPLACE {table} SET {column} = {value} {some}")
    connection.close()
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
    connection.executemany("UPDATE sqlite_schema SET sql = ? WHERE name = ?", kept)
    connection.pragma("wal_checkpoint(truncate)")
    connection.close()


def bombs(path: Path, files: Files, rng: Random) -> None:
    deep = b"\x91" * rng.choice((600, 100_000)) + b"\x00"
    state = rng.choice((
        deep, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff\x00", b"\xc6\x7f\xff\xff\xff",
        b"\x93\x01\xa1m\xcf" + b"\xff" * 8, b"\x93\x01\xa1m\x01", b"\x93\x01\xa1m\x00",
        b"\x93\x01\xa1m\x02" + b"\x00" * 1000, b"\xdb\x00\x00\x00\x02\xff\xfe", b"\xc1", b"",
        msgpack.packb([1, "m3", 2**40]), msgpack.packb([1, "m3", 3, *[{}] * 18]),
        msgpack.packb([1, "m3", 1, [5, "x"], [5, "w", "text"], *[None] * 6, *[{}] * 4,
                       *[[]] * 3, {"w": -5}, {}, {}]),
        msgpack.packb([1, "m3", 1, [2**62, "x"], [2**62, "w", "text"], *[None] * 6, *[{}] * 4,
                       *[[]] * 3, {}, {}, {}]),
        msgpack.packb([1, "m3", 1, [5, "x"], [5, "w", "text"], *[None] * 6, {"k": [5, "w", "{"]},
                       *[{}] * 3, *[[]] * 3, {}, {}, {}]),
        msgpack.packb({1: 2}), msgpack.ExtType(5, b"x" * 9).data,
    ))  # fmt: skip
    where = rng.choice(("WHERE id = 'm3'", "", "WHERE number % 3 = 0"))
    connection = apsw.Connection(str(path))
    table = rng.choice(("memory", "memory", "memory", "quarantine"))
    connection.execute(
        f"UPDATE {table} SET state = ? {where if table == 'memory' else ''}", (state,)
    )
    connection.close()


KINDS: dict[str, Kind] = {
    "flips": Kind(flips),
    "noise": Kind(noise),
    "first page": Kind(first_page),
    "page headers": Kind(page_headers),
    "truncated": Kind(truncated),
    "swapped pages": Kind(swapped_pages),
    "pages of another": Kind(pages_of_another),
    "zeroed pages": Kind(zeroed_pages),
    "spliced header": Kind(spliced_header),
    "random bytes": Kind(random_bytes),
    "foreign log": Kind(foreign_log),
    "no end": Kind(no_end),
    "added objects": Kind(added_objects, must_be_refused=True),
    "edited schema": Kind(edited_schema, must_be_refused=True),
    "wrong numbers": Kind(wrong_numbers),
    "of another application": Kind(of_another_application, must_be_refused=True),
    "hostile rows": Kind(hostile_rows),
    "bombs": Kind(bombs),
}
