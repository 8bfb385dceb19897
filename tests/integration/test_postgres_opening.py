"""How a PostgreSQL store is named and opened: schemas, refusals, passwords, lost connections."""

import asyncio
import json
import sys
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from chrysalis_memory import AgentMemory, AgentMemoryConfig, MemoryDocument, MemoryStorage
from chrysalis_memory.cli import cli
from chrysalis_memory.errors import InvalidValue, NewerSchema, NotADatabase, StorageError
from chrysalis_memory.query import Filter, Query
from tests.postgres_server import drop_schema, schema_url

EVERYTHING = Query(Filter(), 1_800_000_000_000_000)


def sql(url: str, *statements: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [connection.execute(statement.encode()) for statement in statements]


def with_password(url: str, password: str) -> str:
    if "postgresql:///" not in url:
        pytest.skip("needs a server that takes any password")
    return url.replace("postgresql:///", f"postgresql://postgres:{password}@/", 1)


def test_a_schema_is_made_where_it_is_missing_and_holds_one_memory(
    postgres_server_url: str,
) -> None:
    urls = [schema_url(postgres_server_url) for _ in range(2)]
    with MemoryStorage(urls[0]) as one, MemoryStorage(urls[1]) as other:
        one.put(MemoryDocument("m", "only here"))
        assert (one.count(), other.count()) == (1, 0)
        assert one.replica != other.replica
    with MemoryStorage(urls[0].replace("postgresql://", "postgres://")) as again:
        assert [document.content for document in again.all()] == ["only here"]
    for url in urls:
        drop_schema(url)


def test_tables_of_another_application_are_left_as_they_are(postgres_url: str) -> None:
    with MemoryStorage(postgres_url):
        pass
    drop_schema(postgres_url)
    name = postgres_url.rpartition("%3D")[2]
    sql(postgres_url, f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.memory (x int)")
    with pytest.raises(NotADatabase, match="another application"):
        MemoryStorage(postgres_url)
    assert sql(postgres_url, f"SELECT count(*) FROM {name}.memory")[0] is not None
    tables = f"SELECT count(*) FROM pg_tables WHERE schemaname = '{name}'"
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(tables.encode()).fetchone() == (1,)


def test_a_newer_schema_is_refused(postgres_url: str) -> None:
    with MemoryStorage(postgres_url) as storage:
        storage.submit(lambda t: t.session.set_meta("schema", "999")).result()
    with pytest.raises(NewerSchema, match="999"):
        MemoryStorage(postgres_url)


def test_options_that_a_database_cannot_follow_are_refused(postgres_url: str) -> None:
    with pytest.raises(InvalidValue, match="float32"):
        MemoryStorage(postgres_url, vector_storage="int8")
    with pytest.raises(InvalidValue, match="timeout_seconds"):
        MemoryStorage(postgres_url, timeout_seconds=-1)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hunter2@127.0.0.1:1/memory",
        "postgresql://ada:hunter2@127.0.0.1:1/memory?password=hunter2",
        "postgresql://127.0.0.1:1/memory?user=ada&password=hunter2",
        "postgresql://ada:hun/ter2@127.0.0.1:1/memory",
        "postgresql://ada:hun?hunter2@127.0.0.1:1/memory",
        "postgresql://ada:x@hunter2@127.0.0.1:1/memory",
        "postgresql://ada:hunter2@127.0.0.1:hunter2/memory?hunter=@1",
    ],
)
def test_no_error_and_no_text_shows_a_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((StorageError, InvalidValue)) as raised:
        MemoryStorage(url)
    told = f"{raised.value}{raised.value!r}{caplog.text}{AgentMemoryConfig(path=url)!r}"
    assert "hunter2" not in told
    assert "ter2" not in told


def test_an_open_store_and_the_command_line_show_no_password(postgres_url: str) -> None:
    url = with_password(postgres_url, "hunter2")
    with MemoryStorage(url) as storage:
        assert "hunter2" not in f"{storage!r}{storage.path}{storage.path!r}"
        assert "postgres:***@" in str(storage.path)
        with pytest.raises(StorageError) as raised:
            storage.read(lambda s: s.database.rows("SELECT no_such_column FROM memory"))
        assert "hunter2" not in str(raised.value)
    runner = CliRunner()
    learned = runner.invoke(cli, ["learn", "--db", url, "--embedder", "hashing", "some text"])
    assert learned.exit_code == 0, learned.output
    shown = runner.invoke(cli, ["stats", "--db", url, "--embedder", "hashing", "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output)["memories"] == 1
    assert "hunter2" not in learned.output + shown.output


def test_without_the_drivers_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("chrysalis_memory.backends.po")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"pip install 'chrysalis-memory\[postgres\]'"):
        MemoryStorage("postgresql://localhost/memory")


def test_an_agent_learns_and_recalls_in_a_database(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHRYSALIS_PATH", postgres_url)

    async def main() -> list[str]:
        async with AgentMemory("ada", embedder="hashing") as memory:
            await memory.learn("The user prefers tea", tags=["preference"])
            await memory.learn_many(["Ponies graze", "The train is late", "Ponies graze"])
            await memory.update((await memory.recall("train"))[0].id, add_tags=["delay"])
            found = [one.content for one in await memory.recall("ponies", k=1)]
            assert await memory.count() == 3
            await memory.reindex()
            return found + [one.content for one in await memory.recall("late train", k=1)]

    assert asyncio.run(main()) == ["Ponies graze", "The train is late"]


def test_a_server_that_ended_the_connections_is_asked_again(postgres_url: str) -> None:
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND query NOT LIKE '%pg_terminate%' AND backend_type = 'client backend'"
    )
    with MemoryStorage(postgres_url) as storage:
        storage.put(MemoryDocument("m", "text"))
        assert storage.count() == 1
        sql(postgres_url, end)
        assert storage.put(MemoryDocument("n", "text")) == "n"
        sql(postgres_url, end)
        assert storage.count() == 2
        assert storage.get("n").content == "text"


def test_a_read_goes_on_when_the_space_it_would_search_is_dropped(postgres_url: str) -> None:
    with MemoryStorage(postgres_url) as storage, MemoryStorage(postgres_url) as other:
        storage.open_space("old/4", "old", 4)
        runs: list[str] = []

        def work(session: Any) -> Any:
            (space,) = session.spaces()
            runs.append(space.fingerprint)
            if len(runs) == 1:
                other.activate_space(other.open_space("new/4", "new", 4))
            return session.pending_count(space), session.sample(space, 3)

        assert storage.read(work) == (0, [])
        assert runs == ["old/4", "new/4"]


def test_erasing_is_refused_and_says_what_the_administrator_does(postgres_url: str) -> None:
    with MemoryStorage(postgres_url) as storage:
        storage.put(MemoryDocument(id="m", content="text"))
        with pytest.raises(StorageError, match=r"forget the memory, then have .* VACUUM FULL"):
            storage.erase("m")
        assert storage.count() == 1
