"""What a file from anybody may hold: exactly the tables of its version, and rows that were written.

Anything else is refused before it is run, and nothing is written to the file.
"""

from pathlib import Path

import apsw
import numpy as np
import pytest

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite.connection import connect
from chrysalis_memory.backends.sqlite.schema import APPLICATION_ID, m001_tables
from chrysalis_memory.errors import NotADatabase, StorageError
from chrysalis_memory.query import Filter

MEMORIES = 3
PLACE = "(SELECT rootpage FROM sqlite_schema WHERE name = 'peer')"
OTHER = "'CREATE VIRTUAL TABLE memory_term USING fts5vocab (''memory_text'', ''col'')'"


def vector_of(number: int) -> np.ndarray:
    return np.eye(8, dtype=np.float32)[number % 8]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "memory.db"
    with MemoryStorage(path, "ada", synchronous="NORMAL") as storage:
        for number in range(MEMORIES):
            memory = MemoryDocument(id=f"m{number}", content=f"Tea number {number} is at four")
            memory.add_tag("tea")
            storage.put(memory, Embedding(vector_of(number), "toy", memory.content))
        storage.record_access({"m1": 2})
    return path


def change(path: Path, sql: str) -> bytes:
    """Change a file as anybody can, and return its bytes."""
    outside = apsw.Connection(str(path))
    outside.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
    outside.execute(sql)
    outside.pragma("wal_checkpoint(truncate)")
    outside.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        (
            "CREATE TRIGGER evil AFTER INSERT ON tag BEGIN DELETE FROM memory; END",
            "'evil' of 'tag'",
        ),
        ("CREATE VIEW evil AS SELECT load_extension('evil')", "a view 'evil'"),
        ("CREATE TABLE evil (x)", "a table 'evil'"),
        ("CREATE VIRTUAL TABLE evil USING fts5 (x)", "a table 'evil"),
        ("CREATE INDEX evil ON memory (lower(content))", "a index 'evil'"),
        ("ALTER TABLE tag ADD COLUMN evil TEXT AS (lower(tag))", "a table 'tag' that is another"),
        ("DROP INDEX memory_archived", "no index 'memory_archived'"),
        ("DROP TABLE quarantine", "no table 'quarantine'"),
        ("DROP TABLE vector_1", "no table 'vector_1'"),
        ("CREATE TABLE vector_2 (memory INTEGER PRIMARY KEY)", "a table 'vector_2'"),
        ("DELETE FROM space", "a table 'vector_1'"),
        ("ANALYZE", "a table 'sqlite_stat"),
        ("PRAGMA user_version = 1", "a table 'digest_sum'"),
        ("PRAGMA user_version = 0", "a table 'meta'"),
        (
            "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'access'",
            "a table 'access' that is another",
        ),
        (f"UPDATE sqlite_schema SET rootpage = {PLACE} WHERE name = 'tag'", "cannot be its own"),
        (
            "UPDATE sqlite_schema SET rootpage = 1 WHERE name = 'memory_by_type'",
            "cannot be its own",
        ),
        ("UPDATE sqlite_schema SET rootpage = 0 WHERE name = 'tag'", "'tag' that is another"),
        (f"UPDATE sqlite_schema SET sql = {OTHER} WHERE name = 'memory_term'", "that is another"),
    ],
)
def test_a_schema_that_is_not_exactly_ours_is_refused_and_named(file: Path, sql: str, named: str):
    before = change(file, sql)

    with pytest.raises(NotADatabase, match="is not used: it has") as refused:
        MemoryStorage(file, "ada")
    assert named in str(refused.value)
    assert before == file.read_bytes()


def test_a_schema_that_differs_in_its_spaces_and_comments_only_is_ours(file: Path):
    change(
        file,
        "UPDATE sqlite_schema SET sql = replace(sql, ' ', ' /* one */ -- two' || char(10)) "
        "WHERE name IN ('memory', 'vector_1')",
    )

    with MemoryStorage(file, "ada") as storage:
        assert storage.count() == MEMORIES


def test_a_file_of_the_first_version_is_still_brought_to_this_one(tmp_path: Path):
    old = apsw.Connection(str(tmp_path / "old.db"))
    m001_tables(old)
    old.pragma("application_id", APPLICATION_ID)
    old.pragma("user_version", 1)
    old.close()

    with MemoryStorage(tmp_path / "old.db", "ada") as storage:
        storage.put(MemoryDocument(id="m", content="Tea"))
        assert storage.count() == 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE memory SET life = 4611686018427387904",
        "UPDATE memory SET change = 9223372036854775807 WHERE number = 1",
        "UPDATE memory SET number = 9223372036854775807 WHERE number = 1",
        "UPDATE memory SET importance = 1e308",
        "UPDATE memory SET updated_at = -9223372036854775807",
        "UPDATE access SET count = -10",
        "DELETE FROM word_statistics",
        "UPDATE word_statistics SET tokens = 0",
        "UPDATE memory_word SET length = -5",
        "UPDATE digest_sum SET bucket = 99999 WHERE bucket = (SELECT min(bucket) FROM digest_sum)",
        *(f"UPDATE vector_1 SET memory = memory + 100 WHERE memory <= {n}" for n in (1, 2, 3)),
        "UPDATE vector_1 SET vector = zeroblob(7)",
        "UPDATE vector_code_1 SET codes = zeroblob(1)",
        "UPDATE vector_code_1 SET present = zeroblob(100000)",
        "UPDATE vector_code_1 SET chunk = 9223372036854775807",
        "UPDATE space SET dimension = 1099511627776",
        "UPDATE space SET dimension = 0",
    ],
)
def test_a_file_from_elsewhere_is_read_through_before_it_is_used(
    file: Path, tmp_path: Path, sql: str
):
    change(file, f"PRAGMA foreign_keys = OFF; {sql}")
    copy = tmp_path / "copy.db"
    copy.write_bytes(file.read_bytes())

    with pytest.raises(NotADatabase, match="is damaged"):
        MemoryStorage(copy, "ada")
    assert copy.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("UPDATE memory SET state = x'93010203'", StorageError),
        ("UPDATE memory SET state = (SELECT state FROM memory WHERE id = 'm0')", StorageError),
        ("UPDATE vector_1 SET vector = zeroblob(7)", StorageError),
        ("UPDATE vector_1 SET vector = x'" + "0000c07f" * 8 + "'", StorageError),
        ("UPDATE vector_code_1 SET codes = zeroblob(1)", NotADatabase),
        ("UPDATE digest_sum SET bucket = bucket + 99999", NotADatabase),
        (
            "UPDATE memory SET content = CAST(x'ff' AS TEXT), id = CAST(x'ff' || number AS TEXT)",
            NotADatabase,
        ),
    ],
)
def test_a_value_that_cannot_be_worked_with_is_told_as_damage(
    file: Path, sql: str, error: type[StorageError]
):
    change(file, sql)

    def use(storage: MemoryStorage) -> None:
        assert all(one.content for one in storage.states())
        storage.read(lambda session: session.digest_sums())
        space = storage.spaces()[0]
        storage.read(lambda s: s.nearest(space, vector_of(1), 5, storage.query(Filter())))

    with MemoryStorage(file, "ada") as storage, pytest.raises(error, match="damaged"):
        use(storage)


def test_a_fault_of_who_reads_is_not_taken_for_damage(file: Path):
    with MemoryStorage(file, "ada") as storage:
        with pytest.raises(ZeroDivisionError):
            storage.read(lambda _: 1 / 0)
        with pytest.raises(KeyError, match="of the caller"):
            storage.update("m0", lambda _: {}["of the caller"])


def test_every_connection_runs_nothing_that_a_file_says(file: Path):
    connection = connect(file, timeout_seconds=1, synchronous="FULL")

    for switch, is_on in (
        (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
    ):
        assert connection.config(switch, -1) == is_on
    assert connection.limit(apsw.SQLITE_LIMIT_ATTACHED) == 0
    assert connection.limit(apsw.SQLITE_LIMIT_LENGTH) == 64 << 20
    assert connection.pragma("cell_size_check") == 1
    connection.close()


def test_what_is_dropped_with_a_space_still_goes_without_triggers(file: Path):
    with MemoryStorage(file, "ada") as storage:
        storage.put(MemoryDocument(id="waits", content="Coffee"))
        (space,) = storage.spaces()
        assert storage.read(lambda session: session.pending_count(space)) == 1

        storage.run(lambda transaction: transaction.session.drop_space(space))
        assert storage.read(lambda session: session.pending_count(space)) == 0


def test_a_read_that_an_error_broke_off_leaves_no_old_snapshot_to_the_next(file: Path):
    change(file, "UPDATE memory SET namespace = CAST(x'ff' AS TEXT) WHERE id = 'm1'")

    with MemoryStorage(file, "ada") as storage:
        with pytest.raises(NotADatabase) as kept:
            storage.read(lambda session: session.namespace_counts(storage.query(Filter())))
        storage.put(MemoryDocument(id="new", content="Coffee"))

        assert storage.get("new") is not None
        assert "no text" in str(kept.value)
