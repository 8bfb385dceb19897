"""What many tests share: stores and agents in temporary folders, and an embedder with a switch."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from chrysalis_memory import AgentMemory, HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.rows import SavedRow
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.state import greatest_stamp
from chrysalis_memory.transaction import document_of, row_of
from embedders.base import InputType
from embedders.errors import EmbedderUnavailable
from embedders.hashing import HashingEmbedder
from tests.postgres_server import drop_schema, postgres_server, schema_url

LONGEST_ID = 35

# A shell has what it runs in the background ignore Ctrl-C; programs started from here would, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name values that are long or binary by what they are for; keys among them are random."""
    is_long = isinstance(val, str) and len(val) > LONGEST_ID
    return argname if is_long or isinstance(val, bytes) else None


class SwitchedEmbedder:
    """Embeds by spelling while it is up, and tells a test what it was asked.

    ``gate`` holds every answer back until it is set; ``asked`` is set when a question has arrived.
    """

    max_tokens = None

    def __init__(self, dimension: int = 64, *, up: bool = True) -> None:
        self._inner = HashingEmbedder(dimension)
        self.up = up
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.documents: list[str] = []
        self.queries: list[str] = []
        self.closed = False

    @property
    def model(self) -> str:
        return "switched"

    @property
    def dimension(self) -> int:
        return self._inner.dimension

    @property
    def fingerprint(self) -> str:
        return f"switched/{self.dimension}"

    async def prepare(self) -> None:
        self._require_up()

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        self._require_up()
        (self.queries if input_type == "query" else self.documents).extend(texts)
        return await self._inner.embed(texts, input_type=input_type)

    async def close(self) -> None:
        self.closed = True

    def _require_up(self) -> None:
        if not self.up:
            raise EmbedderUnavailable("the embedder is switched off")


# Backends: a new one is one more line in BACKENDS.


class Backend(NamedTuple):
    open: Callable[[pytest.FixtureRequest, Path], MemoryStorage]
    changes: Callable[[MemoryStorage], dict[str, int]]
    """Change numbers by id."""
    derived_rows: Callable[[MemoryStorage, int], dict[str, int]]
    """How many rows of each derived kind a memory has, by its number."""


def sqlite_changes(storage: MemoryStorage) -> dict[str, int]:
    sql = "SELECT id, change FROM memory"
    return storage.read(lambda s: dict(s.connection.execute(sql).fetchall()))


def coded(session: Any, space: Any, number: int) -> int:
    """Tell whether anything of a memory's code is in the file."""
    rows = list(CodeTable(session.connection, space).chunks([number >> 8]))
    slot = number & 255
    size = len(rows[0].codes) // 256 if rows else 0
    return sum(
        bool(row.present[slot >> 3] >> (slot & 7) & 1)
        or any(row.codes[slot * size : (slot + 1) * size])
        for row in rows
    )


def sqlite_derived_rows(storage: MemoryStorage, number: int) -> dict[str, int]:
    def work(session: Any) -> dict[str, int]:
        tables = ["tag", "metadata", "access", "pending", "token_vector", "memory_word"]
        for space in session.spaces():
            tables.append(f"vector_{space.number}")
        columns = [(table, "memory") for table in tables] + [("memory_text_docsize", "id")]
        codes = {
            f"vector_code_{space.number}": coded(session, space, number)
            for space in session.spaces()
        }
        return codes | {
            table: session.connection.execute(
                f"SELECT count(*) FROM {table} WHERE {column} = ?", (number,)
            ).get
            for table, column in columns
        }

    return storage.read(work)


def postgres_changes(storage: MemoryStorage) -> dict[str, int]:
    sql = "SELECT m.id, c.change FROM memory m JOIN memory_change c ON c.memory = m.number"
    return storage.read(lambda s: dict(s.database.rows(sql)))


def postgres_derived_rows(storage: MemoryStorage, number: int) -> dict[str, int]:
    def work(session: Any) -> dict[str, int]:
        tables = ["tag", "metadata", "access", "pending", "token_vector", "memory_word"]
        tables += [f"vector_{space.number}" for space in session.spaces()]
        rows = {
            table: session.database.value(
                f"SELECT count(*) FROM {table} WHERE memory = %s", (number,)
            )
            for table in tables
        }
        words = "SELECT count(*) FROM word_count WHERE token = 'secret'"
        return rows | {"word_count": session.database.value(words)}

    return storage.read(work)


BACKENDS = {
    "sqlite-file": Backend(
        lambda _, folder: MemoryStorage(folder / "memory.db", "ada", synchronous="NORMAL"),
        sqlite_changes,
        sqlite_derived_rows,
    ),
    "sqlite-temporary": Backend(
        lambda _, __: MemoryStorage(":memory:", "ada"), sqlite_changes, sqlite_derived_rows
    ),
    "postgres": Backend(
        lambda request, _: MemoryStorage(request.getfixturevalue("postgres_url"), "ada"),
        postgres_changes,
        postgres_derived_rows,
    ),
}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def storage(
    backend: Backend, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[MemoryStorage]:
    with backend.open(request, tmp_path) as storage:
        yield storage


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A running server, started when the first test asks for it."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The URL of a schema that only this test has."""
    url = schema_url(postgres_server_url)
    yield url
    drop_schema(url)


def save_document(session: Any, document: MemoryDocument) -> int:
    """Make a document the stored one, whatever was stored; a transaction would merge them."""
    stored = session.load(document.id)
    saved = None
    if stored is not None:
        known = document_of(stored, "test", HybridLogicalClock())
        content = None if known.is_forgotten else known.content
        saved = SavedRow(stored.number, known.state.life, content, frozenset())
    row = row_of(document.id, document.state, greatest_stamp(document.state))
    return session.save(row, saved)


# Surroundings


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's memories and settings."""
    for name in [name for name in os.environ if name.startswith("CHRYSALIS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user-data"))


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., MemoryStorage]]:
    """Open stores that are closed after the test: ``open_store("memory.db", "ada")``."""
    opened: list[MemoryStorage] = []

    def open_one(name: str = "memory.db", instance: str = "ada", **options: Any) -> MemoryStorage:
        path = name if name == ":memory:" else tmp_path / name
        opened.append(MemoryStorage(path, instance, **({"synchronous": "NORMAL"} | options)))
        return opened[-1]

    yield open_one
    for storage in opened:
        storage.close()


@pytest.fixture
def store(open_store: Callable[..., MemoryStorage]) -> MemoryStorage:
    return open_store()


@pytest.fixture
async def start_agent(tmp_path: Path) -> Any:
    """Start agents that are stopped after the test: ``await start_agent("ada", embedder=...)``."""
    started: list[AgentMemory] = []

    async def start(agent_id: str = "ada", file: str = "memory.db", **options: Any) -> AgentMemory:
        defaults = {"embedder": "hashing", "synchronous": "NORMAL"}
        if "embedding_fn" in options:
            del defaults["embedder"]
        memory = AgentMemory(agent_id, path=tmp_path / file, **(defaults | options))
        await memory.start()
        started.append(memory)
        return memory

    yield start
    for memory in started:
        await memory.stop()


@pytest.fixture
async def agent(start_agent: Callable[..., Awaitable[AgentMemory]]) -> AgentMemory:
    return await start_agent()


@pytest.fixture
async def embedder() -> SwitchedEmbedder:
    return SwitchedEmbedder()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Wait until an async condition holds, at most 20 seconds."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await condition():  # noqa: ASYNC110 - the store signals nothing
                await asyncio.sleep(0.01)

    return wait
