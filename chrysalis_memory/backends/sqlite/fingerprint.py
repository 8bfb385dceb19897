"""Whether a file has exactly the schema that this package gives it, and nothing beside it.

A file may come from anybody. What its schema holds is run by SQLite as soon as a table is used:
triggers, views, generated columns, functions in indexes. So the rows of ``sqlite_schema`` are read,
and only read, before anything else is: each must be what the migrations up to the file's version
make, or a table of one of its embedding spaces. A virtual table is not connected by that, and no
expression is evaluated.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from chrysalis_memory.backends.sqlite.database import Database, open_database
from chrysalis_memory.backends.sqlite.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    SCHEMA_VERSION,
    space_tables,
)
from chrysalis_memory.errors import NewerSchema, NotADatabase

DIMENSION_MAX = 1 << 16
_ENCODING = "UTF-8"
_ROWS = "SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema"
# What SQLite's parser takes for nothing, beside what it takes as it is: strings and quoted names.
_INSIGNIFICANT = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])|(?:--[^\n]*|/\*.*?\*/|\s)+""", re.DOTALL
)


class _Entry(NamedTuple):
    """A row of the schema apart from its name."""

    type: str
    table: str
    is_virtual: bool
    """Whether it has no place of its own in the file."""
    sql: str | None


def verified_version(connection: Database, path: str) -> int:
    """Return the version of the file's schema, 0 for an empty file; runs nothing of the file.

    Raises:
        NotADatabase: the file belongs to another application, or its schema is not that of its
            version, whatever was added, changed or left out.
        NewerSchema: a newer version wrote it.
    """
    connection.execute("SAVEPOINT version")  # one snapshot: another process may be migrating
    try:
        application = connection.pragma("application_id")
        version = connection.pragma("user_version")
        rows = connection.execute(_ROWS).fetchall()
        if application != APPLICATION_ID:
            if application or version or rows:
                raise NotADatabase(
                    f"{path!r} is a SQLite database of another application; give another path"
                )
            return 0
        if version > SCHEMA_VERSION:
            raise NewerSchema(
                f"{path!r} has schema {version}, this version reads up to {SCHEMA_VERSION}; "
                "upgrade with: pip install --upgrade chrysalis-memory"
            )
        _verify(connection, path, version, rows)
    finally:
        connection.execute("RELEASE version")
    return version


def _verify(connection: Database, path: str, version: int, rows: list[tuple[Any, ...]]) -> None:
    if version < 0 or connection.pragma("encoding") != _ENCODING:
        raise NotADatabase(f"{path!r} is no memory: no version of this package writes such a file")
    found: dict[str, _Entry] = {}
    roots = {1}  # where the schema itself lies
    for kind, name, table, sql, root in rows:
        if not all(isinstance(one, str) for one in (kind, name, table)) or name in found:
            raise _foreign(path, version, f"an entry named {name!r} that SQLite would not write")
        if not isinstance(root, int) or root in roots:
            raise _foreign(path, version, f"{name!r} in a place that cannot be its own")
        roots |= {root} - {0}
        found[name] = _Entry(kind, table, root == 0, sql)
    expected = dict(_of_version(version))
    _compare(path, version, {n: e for n, e in found.items() if n in expected}, expected)
    # From here on the tables of the version are what they must be, and can be read.
    spaces = _spaces(connection, path) if version else []
    for number in spaces:
        expected |= _of_space(number)
    _compare(path, version, found, expected)


def _compare(
    path: str, version: int, found: dict[str, _Entry], expected: dict[str, _Entry]
) -> None:
    for name in sorted(expected.keys() - found.keys()):
        raise _foreign(path, version, f"no {expected[name].type} {name!r}")
    for name, entry in found.items():
        known = expected.get(name)
        if known is None:
            raise _foreign(path, version, f"a {entry.type} {name!r} of {entry.table!r}")
        if entry != known and (entry[:3] != known[:3] or _normal(entry.sql) != _normal(known.sql)):
            raise _foreign(path, version, f"a {entry.type} {name!r} that is another")


def _foreign(path: str, version: int, what: str) -> NotADatabase:
    return NotADatabase(
        f"{path!r} is not used: it has {what}, which a memory of schema {version} has not; nothing "
        "of it was run. Open a file that only this package has changed"
    )


def _spaces(connection: Database, path: str) -> list[int]:
    rows = connection.execute("SELECT number, dimension FROM space").fetchall()
    for number, dimension in rows:
        if not isinstance(dimension, int) or not 0 < dimension <= DIMENSION_MAX or number < 1:
            raise NotADatabase(
                f"{path!r} is damaged: it has an embedding space {number!r} of the dimension "
                f"{dimension!r}"
            )
    return [number for number, _ in rows]


def _normal(sql: object) -> object:
    if not isinstance(sql, str):
        return sql
    return _INSIGNIFICANT.sub(lambda found: found[1] or " ", sql).strip()


@lru_cache
def _of_version(version: int) -> dict[str, _Entry]:
    return _made_by(*MIGRATIONS[:version])


@lru_cache
def _of_space(number: int) -> dict[str, _Entry]:
    return _made_by(lambda connection: space_tables(connection, number))


def _made_by(*steps: Callable[[Database], None]) -> dict[str, _Entry]:
    connection = open_database(":memory:")
    try:
        for step in steps:
            step(connection)
        rows = connection.execute(_ROWS).fetchall()
    finally:
        connection.close()
    return {name: _Entry(kind, table, root == 0, sql) for kind, name, table, sql, root in rows}
