"""Every row of ``docs/bad-input.md``: the error it names, nothing changed, and all goes on."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

import chrysalis_memory.errors
import embedders.errors
from chrysalis_memory import AgentMemory, Embedding, MemoryDocument, MemoryStorage

DOCUMENT = Path(__file__).parents[2] / "docs" / "bad-input.md"
ROW = re.compile(r"^\| (?P<case>[^|]+) \| (?P<result>[^|]+) \|$", re.MULTILINE)
TABLE = {row["case"]: row["result"] for row in ROW.finditer(DOCUMENT.read_text("utf-8"))}
TABLE.pop("Case")
Start = Callable[..., Awaitable[AgentMemory]]
Do = Callable[[AgentMemory], Any]


def error_of(case: str) -> type[Exception]:
    name = re.match(r"`(\w+)`", TABLE[case])[1]
    return getattr(chrysalis_memory.errors, name, None) or getattr(embedders.errors, name)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def put(agent: AgentMemory, vector: Any) -> str:
    return agent.storage.put(MemoryDocument("new", "x"), Embedding(vector, FINGERPRINT, "x"))


def linked(links: int) -> MemoryDocument:
    document = MemoryDocument("new", "x")
    for number in range(links):
        document.add_related(f"{number:0>500}")
    return document


FINGERPRINT = "switched/64"
TEN_MB = "ten bytes " * (1 << 20)
NAIVE = datetime(2030, 1, 1)

VALUES: dict[str, Do] = {
    "text is empty": lambda m: m.learn(""),
    "text is white space only": lambda m: m.learn(" \n\t\u2003"),
    "text is no string": lambda m: m.learn(b"bytes"),
    "text of 10 MB": lambda m: m.learn(TEN_MB),
    "text holds a NUL character": lambda m: m.learn("a\0b"),
    "text holds a lone surrogate": lambda m: m.learn("a\ud800b"),
    "importance is NaN": lambda m: m.learn("x", importance=float("nan")),
    "importance is 2": lambda m: m.update("known", importance=2),
    "importance is True": lambda m: m.learn("x", importance=True),
    "memory type is unknown": lambda m: m.learn("x", memory_type="emotional"),
    "tag is empty": lambda m: m.learn("x", tags=["good", ""]),
    "namespace has an empty segment": lambda m: m.learn("x", namespace="a//b"),
    "expires_at has no time zone": lambda m: m.update("known", expires_at=NAIVE),
    "metadata is not JSON": lambda m: m.learn("x", metadata={"k": {1, 2}}),
    "metadata holds NaN": lambda m: m.learn("x", metadata={"k": [float("nan")]}),
    "metadata over 64 KiB": lambda m: m.update("known", metadata={"k": "x" * 70_000}),
    "metadata nested 1,000 deep": lambda m: m.learn("x", metadata={"k": nested(1000)}),
    "unknown field in learn": lambda m: m.learn("x", colour="red"),
    "unknown field in update": lambda m: m.update("known", tags=["red"]),
    "one bad memory in learn_many": lambda m: m.learn_many(["x", {"content": ""}]),
    "learn_many gets one string": lambda m: m.learn_many("abc"),
    "learn_many gets numbers": lambda m: m.learn_many([1, 2]),
    "source ends in `*`": lambda m: m.learn("x", source="web:*"),
    "another source's text under a known id": lambda m: m.learn("x", id="known", source="web:a"),
    "purge of no source": lambda m: m.purge([]),
    "update of an unknown id": lambda m: m.update("unknown", importance=1),
    "update of a forgotten memory": lambda m: m.update("forgotten", importance=1),
    "put of a forgotten memory": lambda m: m.storage.put(MemoryDocument("forgotten", "x")),
    "put of a memory with links of over 4 MiB": lambda m: m.storage.put(linked(9_000)),
    "vector of the wrong dimension": lambda m: put(m, [1.0, 2.0]),
    "vector that holds NaN": lambda m: put(m, [float("nan")] * 64),
    "vector that is all zero": lambda m: put(m, [0.0] * 64),
}
QUESTIONS: dict[str, Do] = {
    "question is empty": lambda m: m.recall(""),
    "question of 10 MB": lambda m: m.recall(TEN_MB),
    "k is 0": lambda m: m.recall("tea", k=0),
    'k is "3"': lambda m: m.recall("tea", k="3"),
    "k is 1,001": lambda m: m.recall("tea", k=1001),
    "mode is unknown": lambda m: m.recall("tea", mode="psychic"),
    "min_score is NaN": lambda m: m.recall("tea", min_score=float("nan")),
    "min_score is no number": lambda m: m.recall("tea", min_score="high"),
    "weights are no Weights": lambda m: m.recall("tea", weights={"keyword": 1}),
    "trust above 1": lambda m: m.recall("tea", trust={"web:*": 1.5}),
    "trust is no mapping": lambda m: m.recall("tea", trust=["web:*"]),
    "limit of recent is 0": lambda m: m.recent(0),
    "unknown filter": lambda m: m.recall("tea", colour="red"),
    "unknown metadata operator": lambda m: m.count(metadata={"k": {"$like": "x"}}),
    "filter compares with a truth value": lambda m: m.recent(metadata={"k": {"$gt": True}}),
    "filter time has no time zone": lambda m: m.recall("tea", created_from=NAIVE),
}


def line(memory_id: str) -> bytes:
    return MemoryDocument(memory_id, "x").to_json().encode() + b"\n"


IMPORTS: dict[str, Callable[[Path], object]] = {
    "import of a missing file": lambda path: None,
    "import of a directory": lambda path: path.mkdir(),
    "import with a bad last line": lambda path: path.write_bytes(line("a") * 600 + b"{}\n"),
    "import of JSON that is no memory": lambda path: path.write_bytes(b'[{"id": 1}]'),
    "import of bytes that are no text": lambda path: path.write_bytes(bytes(range(256)) * 9),
}


def other_application(path: Path) -> None:
    database = apsw.Connection(str(path))
    database.execute("CREATE TABLE customers (name); INSERT INTO customers VALUES ('Ada')")
    database.close()


def newer_schema(path: Path) -> None:
    MemoryStorage(path).close()
    database = apsw.Connection(str(path))
    database.pragma("user_version", 1_000_000)
    database.close()


FILES: dict[str, tuple[Callable[[Path], object], Callable[[Path], Any]]] = {
    "path is a directory": (lambda path: path.mkdir(), lambda path: path),
    "path lies below a file": (lambda path: path.write_text("x"), lambda path: path / "memory.db"),
    "path holds a NUL character": (lambda path: None, lambda path: f"{path}\0.db"),
    "path is empty": (lambda path: None, lambda path: ""),
    "path is a URL": (lambda path: None, lambda path: "mysql://localhost/memories"),
    "file is no database": (lambda path: path.write_text("Dear diary, " * 99), lambda path: path),
    "file of one byte": (lambda path: path.write_bytes(b"x"), lambda path: path),
    "database of another application": (other_application, lambda path: path),
    "database with a newer schema": (newer_schema, lambda path: path),
}
SETTINGS: dict[str, Callable[[], object]] = {
    "agent id is empty": lambda: AgentMemory(""),
    "unknown setting": lambda: AgentMemory("ada", colour="red"),
    "setting out of range": lambda: AgentMemory("ada", candidates=0),
    "unknown embedder": lambda: AgentMemory("ada", embedder="oracle"),
    "truncated to more components than there are": lambda: AgentMemory(
        "ada", embedder="truncate:300:hashing"
    ),
}
ELSEWHERE = {
    "export into a missing folder",
    "use before start",
    "use after stop",
    "another embedder than the file's",
    "embedder answers with the wrong dimension",
    "embedder answers with NaN",
    "embedder answers with a zero vector",
    "embedder is away in recall",
    "embedder is away in semantic recall",
    "embedder is away in learn",
    "another process keeps the file locked",
}


def test_every_row_of_the_table_is_checked() -> None:
    checked = {*VALUES, *QUESTIONS, *IMPORTS, *FILES, *SETTINGS} | ELSEWHERE
    assert set(TABLE) == checked


def holding(storage: MemoryStorage) -> Any:
    wal = storage.path.with_name(storage.path.name + "-wal")
    bytes_on_disk = storage.path.read_bytes(), wal.read_bytes() if wal.exists() else b""
    states = {document.id: document.state for document in storage.states()}
    return states, storage.spaces(), bytes_on_disk


@pytest.fixture
async def known(start_agent: Start, embedder: Any) -> AgentMemory:
    """An agent that knows one memory and has forgotten another."""
    agent = await start_agent(embedder=embedder)
    await agent.learn("green tea", id="known")
    await agent.forget(await agent.learn("forgotten", id="forgotten"))
    return agent


async def done(do: Do, agent: AgentMemory) -> None:
    result = do(agent)
    if isinstance(result, Awaitable):
        await result


async def refuses(agent: AgentMemory, case: str, do: Do, *, disk: bool = True) -> str:
    """Check that ``do`` raises the error the table names and changes nothing."""
    before = holding(agent.storage)
    with pytest.raises(error_of(case)) as raised:
        await done(do, agent)
    assert holding(agent.storage)[: 3 if disk else 2] == before[: 3 if disk else 2]
    assert [memory.id for memory in await agent.recall("tea", track=False)] == ["known"]
    assert len(str(raised.value)) < 1000
    return str(raised.value)


@pytest.mark.parametrize("case", [*VALUES, *QUESTIONS])
async def test_a_refused_value_changes_nothing(known: AgentMemory, case: str) -> None:
    # A write that is rolled back may rewrite pages of the log with what they held before.
    message = await refuses(known, case, (VALUES | QUESTIONS)[case], disk="vector" not in case)
    assert message


@pytest.mark.parametrize("case", IMPORTS)
async def test_a_bad_import_imports_nothing(known: AgentMemory, case: str, tmp_path: Path) -> None:
    path = tmp_path / "import.jsonl"
    IMPORTS[case](path)
    message = await refuses(known, case, lambda m: m.import_(path))
    assert "import.jsonl" in message
    if "last line" in case:
        assert "601" in message


async def open_storage(path: Any) -> None:
    MemoryStorage(path)


async def start_an_agent(path: Any) -> None:
    await AgentMemory("ada", path=path, embedder="hashing").start()


FRONTS = {"storage": open_storage, "agent": start_an_agent}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("front", FRONTS)
async def test_a_file_that_cannot_be_used_is_left_as_it_is(
    case: str, front: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    prepare, path_of = FILES[case]
    prepare(folder / "thing")
    before = {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}
    given = path_of(folder / "thing")
    with pytest.raises(error_of(case)):
        await FRONTS[front](given)
    assert {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")} == before


@pytest.mark.parametrize("case", SETTINGS)
def test_a_refused_setting_opens_nothing(case: str, tmp_path: Path) -> None:
    with pytest.raises(error_of(case)):
        SETTINGS[case]()
    assert not (tmp_path / "user-data").exists()


async def test_an_export_into_a_missing_folder_writes_nothing(
    known: AgentMemory, tmp_path: Path
) -> None:
    path = tmp_path / "missing" / "export.jsonl"
    await refuses(known, "export into a missing folder", lambda m: m.export(path))
    assert not path.parent.exists()


async def test_use_before_start_and_after_stop_says_so(tmp_path: Path) -> None:
    agent = AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing")

    async def refuse_all(case: str) -> None:
        uses = (agent.learn("x"), agent.recall("x"), agent.get("x"), agent.recent(), agent.count())
        for use in (*uses, agent.update("x"), agent.forget("x"), agent.export(tmp_path / "e")):
            with pytest.raises(error_of(case), match="not started"):
                await use

    await refuse_all("use before start")
    assert not (tmp_path / "memory.db").exists()
    await agent.start()
    await agent.stop()
    await refuse_all("use after stop")


async def test_another_embedder_than_the_files_opens_nothing(
    known: AgentMemory, start_agent: Start
) -> None:
    before = holding(known.storage)
    with pytest.raises(error_of("another embedder than the file's"), match="reindex"):
        await start_agent(embedder="hashing:64")
    assert holding(known.storage) == before


@pytest.mark.parametrize(
    ("case", "bad"),
    [
        ("embedder answers with the wrong dimension", [1.0, 2.0, 3.0]),
        ("embedder answers with NaN", [float("nan"), 1.0]),
        ("embedder answers with a zero vector", [0.0, 0.0]),
    ],
)
async def test_an_answer_that_is_no_vector_stores_nothing(
    start_agent: Start, case: str, bad: list[float]
) -> None:
    agent = await start_agent(embedding_fn=lambda text: bad if "bad" in text else [1.0, 0.5])
    await agent.learn("green tea", id="known")
    await refuses(agent, case, lambda m: m.learn("a bad one"))
    await refuses(agent, case, lambda m: m.update("known", content="a bad one"))
    await refuses(agent, case, lambda m: m.learn_many(["good", "a bad one"]))


async def test_an_embedder_that_is_away_leaves_recall_the_words_and_stops_no_learning(
    known: AgentMemory, embedder: Any
) -> None:
    embedder.up = False
    assert "`DegradedRecall`" in TABLE["embedder is away in recall"]
    with pytest.warns(chrysalis_memory.errors.DegradedRecall):
        (found,) = await known.recall("tea")
    assert (found.id, found.explanation.similarity) == ("known", None)
    with pytest.raises(error_of("embedder is away in semantic recall"), match="mode='keyword'"):
        await known.recall("tea", mode="semantic")
    assert TABLE["embedder is away in learn"].startswith("kept without a vector")
    memory_id = await known.learn("black tea")
    by_words = {memory.id for memory in await known.recall("tea", mode="keyword")}
    assert by_words == {"known", memory_id}
    assert (await known.statistics()).pending == 1
    embedder.up = True
    await known.embed_pending()
    assert {memory.id for memory in await known.recall("tea", mode="semantic")} == by_words


async def test_a_locked_file_is_left_to_the_other_process(start_agent: Start) -> None:
    agent = await start_agent(timeout_seconds=0.05)
    await agent.learn("green tea", id="known")
    other = apsw.Connection(str(agent.storage.path))
    other.execute("BEGIN IMMEDIATE")
    await refuses(agent, "another process keeps the file locked", lambda m: m.learn("x"))
    other.execute("ROLLBACK")
    other.close()
    assert await agent.learn("x")
