"""The tables of a memory in PostgreSQL, as numbered migrations that are only ever appended to.

``memory.state`` is the truth; every other table is derived from it in the same transaction. Every
table that has a row per memory has its ``bucket`` too, a hash of the memory's id, by which the
tables can be spread over machines: see ``docs/scaling.md``.

A row of ``memory`` whose ``life`` is 0 is no memory: somebody holds the place of an id that is
about to be saved, and its transaction removes the row if nothing was.
"""

from chrysalis_memory.backends.postgres.database import Database
from chrysalis_memory.changes import BUCKETS
from chrysalis_memory.errors import NewerSchema, NotADatabase, StorageError

PARTS = 16
"""Changes are numbered in so many rows, so that writers of different ones do not wait."""
BUCKETS_PER_PART = BUCKETS // PARTS
DIMENSION_MAX = 16_000
"""What pgvector's type holds."""

# The key of the lock under which a store is created and migrated.
_MIGRATING = 0x43485259
_SERVER_MIN = 16
_PGVECTOR_MIN = (0, 8)

# Names have at most 512 characters, 2,048 bytes; an entry of an index has at most 2,704. Where two
# of them meet in one index, it holds the beginnings only.
_M001 = f"""
CREATE TABLE meta (key text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE SEQUENCE memory_number;

CREATE TABLE memory (
    bucket smallint NOT NULL,
    number bigint NOT NULL DEFAULT nextval('memory_number'),
    id text COLLATE "C" NOT NULL,
    life bigint NOT NULL DEFAULT 0,
    state bytea NOT NULL DEFAULT '',
    digest bytea NOT NULL DEFAULT '',
    content text COLLATE "C",
    namespace text COLLATE "C" NOT NULL DEFAULT '',
    memory_type text COLLATE "C" NOT NULL DEFAULT '',
    episode text COLLATE "C",
    position bigint,
    importance double precision NOT NULL DEFAULT 0,
    confidence double precision NOT NULL DEFAULT 0,
    created_at bigint NOT NULL DEFAULT 0,
    updated_at bigint NOT NULL DEFAULT 0,
    expires_at bigint,
    archived boolean NOT NULL DEFAULT false,
    source text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (bucket, id)
) WITH (fillfactor = 85);
CREATE INDEX memory_by_number ON memory (number);
CREATE INDEX memory_by_creation ON memory (created_at, id) WHERE content IS NOT NULL;
CREATE INDEX memory_by_namespace ON memory (namespace) WHERE content IS NOT NULL;
CREATE INDEX memory_by_type ON memory (memory_type) WHERE content IS NOT NULL;
CREATE INDEX memory_by_importance ON memory (importance) WHERE content IS NOT NULL;
CREATE INDEX memory_by_episode ON memory ("left"(episode, 300), position)
    WHERE episode IS NOT NULL;
CREATE INDEX memory_by_expiry ON memory (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX memory_archived ON memory (updated_at) WHERE archived;

CREATE TABLE tag (
    bucket smallint NOT NULL,
    memory bigint NOT NULL,
    tag text COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, memory, bucket)
);
CREATE INDEX tag_by_memory ON tag (memory);

CREATE TABLE metadata (
    bucket smallint NOT NULL,
    memory bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    number numeric,
    text text COLLATE "C"
);
CREATE INDEX metadata_by_number ON metadata (key, number) WHERE number IS NOT NULL;
CREATE INDEX metadata_by_text ON metadata (key, "left"(text, 100)) WHERE text IS NOT NULL;
CREATE INDEX metadata_by_memory ON metadata (memory);

CREATE TABLE access (
    bucket smallint NOT NULL,
    memory bigint NOT NULL,
    replica text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (memory, replica, bucket)
);

CREATE TABLE space (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    model text NOT NULL,
    dimension integer NOT NULL,
    name text,
    active boolean NOT NULL
);
CREATE TABLE pending (
    bucket smallint NOT NULL,
    space bigint NOT NULL,
    memory bigint NOT NULL,
    PRIMARY KEY (space, memory, bucket)
);
CREATE TABLE token_vector (
    bucket smallint NOT NULL,
    space bigint NOT NULL,
    memory bigint NOT NULL,
    packed bytea NOT NULL,
    PRIMARY KEY (memory, space, bucket)
);

CREATE TABLE memory_word (
    bucket smallint NOT NULL,
    memory bigint NOT NULL,
    length integer NOT NULL,
    tokens text COLLATE "C" NOT NULL,
    lexemes tsvector NOT NULL,  -- empty where they are too many for one
    is_long boolean NOT NULL,
    PRIMARY KEY (memory, bucket)
);
CREATE INDEX memory_word_by_lexeme ON memory_word USING gin (lexemes) WITH (fastupdate = off);
CREATE INDEX memory_word_long ON memory_word (memory) WHERE is_long;
CREATE TABLE word_count (
    token text COLLATE "C" NOT NULL,
    part smallint NOT NULL,
    memories bigint NOT NULL,
    PRIMARY KEY (token, part)
) WITH (fillfactor = 70);

CREATE TABLE change_part (
    part smallint PRIMARY KEY,
    last bigint NOT NULL DEFAULT 0,
    memories bigint NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO change_part (part) SELECT generate_series(0, {PARTS - 1});
CREATE TABLE memory_change (  -- narrow, so that a use that is counted rewrites no memory
    bucket smallint NOT NULL,
    memory bigint NOT NULL,
    part smallint NOT NULL,
    change bigint NOT NULL,
    PRIMARY KEY (memory, bucket)
) WITH (fillfactor = 70);
CREATE INDEX memory_change_by_part ON memory_change (part, change);
CREATE TABLE digest_sum (bucket smallint PRIMARY KEY, sum numeric NOT NULL DEFAULT 0)
    WITH (fillfactor = 25);
INSERT INTO digest_sum (bucket) SELECT generate_series(0, {BUCKETS - 1});

CREATE TABLE peer (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE quarantine (
    id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    stamp bigint NOT NULL,
    state bytea NOT NULL,
    source text NOT NULL,
    PRIMARY KEY (id, digest)
);
CREATE INDEX quarantine_by_stamp ON quarantine (stamp, id);
"""

MIGRATIONS = (_M001,)
SCHEMA_VERSION = len(MIGRATIONS)


class Place:
    """Where in its database a memory lies.

    Attributes:
        path: The value of ``search_path`` for its connections.
        vector_oid: The number of pgvector's type.
    """

    def __init__(self, path: str, vector_oid: int) -> None:
        self.path = path
        self.vector_oid = vector_oid


def migrate(database: Database, shown: str) -> Place:
    """Bring the tables of the schema to this version, and return where they lie.

    The schema is the first one of ``search_path``; it and the extension are created where they are
    missing.

    Raises:
        NotADatabase: the schema holds tables of another application.
        NewerSchema: a newer version wrote it.
        StorageError: the server is too old or lacks pgvector.
    """
    _check_server(database, shown)
    database.begin()
    try:
        database.run("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
        _make_extension(database, shown)
        place = _make_schema(database)
        set_path(database, place)
        for step in range(_schema_version(database, shown), SCHEMA_VERSION):
            # Without parameters, so that several statements may come at once.
            database.connection.execute(MIGRATIONS[step].encode())
        database.run(
            "INSERT INTO meta VALUES ('schema', %s) ON CONFLICT (key) "
            "DO UPDATE SET value = excluded.value WHERE meta.value <> excluded.value",
            (str(SCHEMA_VERSION),),
        )
        database.commit()
    finally:
        database.rollback()
    return place


def set_path(database: Database, place: Place) -> None:
    """Make a connection look for tables where the memory lies."""
    database.run("SELECT set_config('search_path', %s, false)", (place.path,))


def _check_server(database: Database, shown: str) -> None:
    version, encoding = database.rows(
        "SELECT current_setting('server_version_num')::int / 10000, "
        "current_setting('server_encoding')"
    )[0]
    if version < _SERVER_MIN:
        raise StorageError(
            f"{shown!r} is PostgreSQL {version}; version {_SERVER_MIN} or newer is needed"
        )
    if encoding != "UTF8":
        raise StorageError(
            f"the database of {shown!r} is encoded as {encoding}; "
            "create one with: CREATE DATABASE memory ENCODING 'UTF8' TEMPLATE template0"
        )


def _make_extension(database: Database, shown: str) -> None:
    installed = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    version: str | None = database.value(installed)
    if version is None:
        available = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
        if database.value(available) is None:
            raise StorageError(
                f"the server of {shown!r} has no pgvector; install it there: "
                "https://github.com/pgvector/pgvector#installation"
            )
        # In a schema that every memory of the database can see, whatever the search path is.
        database.run("CREATE EXTENSION vector SCHEMA public")
        version = str(database.value(installed))
    if tuple(map(int, version.split(".")[:2])) < _PGVECTOR_MIN:
        raise StorageError(
            f"{shown!r} has pgvector {version}; 0.8 or newer is needed: install it on the server, "
            "then ALTER EXTENSION vector UPDATE"
        )


def _make_schema(database: Database) -> Place:
    first = "trim(both '\"' from trim(split_part(current_setting('search_path'), ',', 1)))"
    given: str = database.value(f"SELECT {first}")
    if given in ("", "$user"):
        schema = database.value("SELECT quote_ident(current_schema())")
    else:
        schema = database.value("SELECT quote_ident(%s)", (given,))
        known = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
        if database.value(known, (given,)) is None:
            database.run(f"CREATE SCHEMA {schema}")
    oid, extension = database.rows(
        "SELECT t.oid::bigint, quote_ident(n.nspname) FROM pg_extension e "
        "JOIN pg_namespace n ON n.oid = e.extnamespace "
        "JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector' "
        "WHERE e.extname = 'vector'"
    )[0]
    return Place(f"{schema}, {extension}", oid)


def _schema_version(database: Database, shown: str) -> int:
    """Return the schema's version, 0 where it holds no memory yet."""
    tables: list[str] = [
        name
        for (name,) in database.rows(
            "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p') "
            "AND c.relnamespace = current_schema()::regnamespace"
        )
    ]
    if "change_part" not in tables:
        taken = {"meta", "memory", "tag", "metadata", "access", "space"}.intersection(tables)
        if taken:
            raise NotADatabase(
                f"the schema that {shown!r} names holds tables of another application, such as "
                f"{min(taken)!r}; name another schema with ?options=-csearch_path%3DNAME"
            )
        return 0
    version = int(database.value("SELECT value FROM meta WHERE key = 'schema'"))
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{shown!r} has schema {version}, this version reads up to {SCHEMA_VERSION}; "
            "upgrade with: pip install --upgrade chrysalis-memory"
        )
    return version
