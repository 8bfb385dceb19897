"""The tables of a memory file, as numbered migrations that are only ever appended to.

``memory.state`` is the truth; every other table is derived from it in the same transaction and
can be rebuilt. Vectors live in one ordinary table per embedding space (``vector_N``), searched
through their binary codes (``vector_code_N``), which are derived from it.
"""

from collections.abc import Callable

from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.feed import fill_sums

APPLICATION_ID = 0x43485259  # "CHRY", in the file's header

_M001 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE memory (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    life INTEGER NOT NULL,
    state BLOB NOT NULL,
    digest BLOB NOT NULL,
    change INTEGER NOT NULL UNIQUE,
    content TEXT,
    namespace TEXT NOT NULL,
    memory_type TEXT NOT NULL,
    episode TEXT,
    position INTEGER,
    importance REAL NOT NULL,
    confidence REAL NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    archived INTEGER NOT NULL,
    source TEXT NOT NULL
) STRICT;
CREATE INDEX memory_by_creation ON memory (created_at, id) WHERE content IS NOT NULL;
CREATE INDEX memory_by_namespace ON memory (namespace) WHERE content IS NOT NULL;
CREATE INDEX memory_by_type ON memory (memory_type) WHERE content IS NOT NULL;
CREATE INDEX memory_by_importance ON memory (importance) WHERE content IS NOT NULL;
CREATE INDEX memory_by_episode ON memory (episode, position, id) WHERE episode IS NOT NULL;
CREATE INDEX memory_by_expiry ON memory (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX memory_archived ON memory (archived) WHERE archived = 1;

CREATE TABLE tag (
    tag TEXT NOT NULL,
    memory INTEGER NOT NULL REFERENCES memory (number),
    PRIMARY KEY (tag, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_memory ON tag (memory);

CREATE TABLE metadata (
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    value ANY NOT NULL,
    memory INTEGER NOT NULL REFERENCES memory (number),
    PRIMARY KEY (key, kind, value, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX metadata_by_memory ON metadata (memory, key);

CREATE TABLE access (
    memory INTEGER NOT NULL REFERENCES memory (number),
    replica TEXT NOT NULL,
    count INTEGER NOT NULL,
    change INTEGER NOT NULL,
    PRIMARY KEY (memory, replica)
) STRICT, WITHOUT ROWID;
CREATE INDEX access_by_change ON access (change);

CREATE TABLE space (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- a dropped space's number is not reused
    fingerprint TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    name TEXT,
    active INTEGER NOT NULL
) STRICT;
CREATE TABLE pending (
    space INTEGER NOT NULL REFERENCES space (number) ON DELETE CASCADE,
    memory INTEGER NOT NULL REFERENCES memory (number),
    PRIMARY KEY (space, memory)
) STRICT, WITHOUT ROWID;

CREATE TABLE token_vector (
    space INTEGER NOT NULL REFERENCES space (number) ON DELETE CASCADE,
    memory INTEGER NOT NULL REFERENCES memory (number),
    packed BLOB NOT NULL,
    PRIMARY KEY (space, memory)
) STRICT;
CREATE INDEX token_vector_by_memory ON token_vector (memory);

CREATE TABLE memory_word (
    memory INTEGER PRIMARY KEY REFERENCES memory (number),
    length INTEGER NOT NULL,
    tokens TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE memory_text USING fts5 (  -- of tokens, which "ascii" splits at spaces only
    tokens, content = 'memory_word', content_rowid = 'memory', tokenize = 'ascii'
);
INSERT INTO memory_text (memory_text, rank) VALUES ('secure-delete', 1);
CREATE VIRTUAL TABLE memory_term USING fts5vocab ('memory_text', 'row');
CREATE TABLE word_statistics (  -- one row: count(*) and sum() would read every memory
    memories INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    rewritten INTEGER NOT NULL
) STRICT;
INSERT INTO word_statistics VALUES (0, 0, 0);
"""


def m001_tables(connection: Database) -> None:
    """Create the first schema."""
    connection.execute(_M001)


_M002 = """
CREATE TABLE digest_sum (bucket INTEGER PRIMARY KEY, sum BLOB NOT NULL) STRICT;
CREATE TABLE peer (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE quarantine (
    id TEXT NOT NULL,
    digest BLOB NOT NULL,
    stamp INTEGER NOT NULL,
    state BLOB NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (id, digest)
) STRICT;
CREATE INDEX quarantine_by_stamp ON quarantine (stamp);
"""


def m002_replication(connection: Database) -> None:
    """Add what replication keeps beside the memories."""
    connection.execute(_M002)
    fill_sums(connection)


MIGRATIONS = (m001_tables, m002_replication)
SCHEMA_VERSION = len(MIGRATIONS)


def space_tables(connection: Database, number: int) -> None:
    """Create the empty tables of an embedding space."""
    connection.execute(f"""
        CREATE TABLE vector_{number} (
            memory INTEGER PRIMARY KEY REFERENCES memory (number),
            text_hash BLOB NOT NULL,
            vector BLOB NOT NULL
        ) STRICT;
        CREATE INDEX vector_{number}_by_text ON vector_{number} (text_hash);
        CREATE TABLE vector_code_{number} (
            chunk INTEGER PRIMARY KEY,
            change INTEGER NOT NULL UNIQUE,
            present BLOB NOT NULL,
            codes BLOB NOT NULL
        ) STRICT;
    """)


def migrate(connection: Database, version_of: Callable[[Database], int]) -> None:
    """Bring the file to this version's schema, in one transaction with the record of it.

    Args:
        connection: The connection.
        version_of: Verifies the file's schema and returns its version.

    Raises:
        NotADatabase: the file belongs to another application.
        NewerSchema: a newer version wrote it.
    """
    if version_of(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the lock: another process may have migrated meanwhile.
        for step in range(version_of(connection), SCHEMA_VERSION):
            MIGRATIONS[step](connection)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
