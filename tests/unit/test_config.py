"""Settings: arguments win over the environment, and every agent has a file of its own."""

import json
import sys
from pathlib import Path

import pytest

from chrysalis_memory import AgentMemory, AgentMemoryConfig, Weights
from chrysalis_memory.config import default_path
from chrysalis_memory.errors import EmbeddingSpaceMismatch, InvalidValue, NotADatabase
from chrysalis_memory.replication.signing import new_secret
from embedders.errors import UnknownEmbedder

HOSTILE = (
    "../x", "..", ".", "/etc/passwd", "a/b", "a\\b", "CON", "con", "NUL", "lpt1", "C:\\x", "~root",
    "Ünïcode", "ünïcode", "日本", "🦋", " ada", "ada ", "ada.", "Ada", "ada", "ADA", "a" * 512,
    "a" * 511 + "b", "-rf", "*", "a\nb", "a\tb", "a:b", "<>|", "con.db", ".hidden", "%2e%2e",
)  # fmt: skip


def test_every_agent_has_a_file_of_its_own_inside_the_data_folder(tmp_path: Path) -> None:
    folder = default_path("plain").parent
    names = [default_path(agent_id).name.lower() for agent_id in HOSTILE]
    assert len(set(names)) == len(HOSTILE)
    for agent_id in HOSTILE:
        path = default_path(agent_id)
        assert path.resolve().parent == folder.resolve()
        assert len(path.name) < 100
        assert path.name.isascii()
    if sys.platform == "linux":
        assert folder == tmp_path / "user-data" / "chrysalis-memory"


def test_no_agent_can_be_named_into_anothers_file() -> None:
    for agent_id in HOSTILE:
        path = default_path(agent_id)
        assert path.stem == agent_id or default_path(path.stem) != path


@pytest.mark.parametrize("agent_id", ["con", "CON", "prn", "aux", "nul", "com1", "lpt9"])
def test_no_file_has_a_name_that_windows_reserves(agent_id: str) -> None:
    assert default_path(agent_id).stem.lower() != agent_id.lower()


def test_a_plain_id_is_its_own_file_name() -> None:
    assert default_path("my-agent_2").name == "my-agent_2.db"


@pytest.mark.parametrize("agent_id", ["", "a\0b", "\ud800", "x" * 513, 5])
def test_an_id_that_names_nothing_is_refused(agent_id: str) -> None:
    with pytest.raises(InvalidValue):
        AgentMemory(agent_id, embedder="hashing")


def test_the_environment_sets_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRYSALIS_EMBEDDER", "hashing:512")
    monkeypatch.setenv("CHRYSALIS_CANDIDATES", "7")
    monkeypatch.setenv("CHRYSALIS_PATH", "/somewhere/memory.db")
    monkeypatch.setenv("CHRYSALIS_WEIGHTS__KEYWORD", "0.9")
    config = AgentMemoryConfig()
    assert (config.embedder, config.candidates) == ("hashing:512", 7)
    assert config.path == Path("/somewhere/memory.db")
    assert config.weights == Weights(keyword=0.9)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRYSALIS_CANDIDATES", "7")
    monkeypatch.setenv("CHRYSALIS_TIMEOUT_SECONDS", "9")
    config = AgentMemoryConfig.of(candidates=8, weights=None)
    assert (config.candidates, config.timeout_seconds, config.weights) == (8, 9, Weights())
    assert AgentMemory("ada", embedder="hashing", candidates=6).config.candidates == 6


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://hub:8420", ("https://hub:8420",)),
        ("/mnt/shared, really", ("/mnt/shared, really",)),
        ('["https://hub", "b.db"]', ("https://hub", "b.db")),
    ],
)
def test_the_environment_names_one_peer_or_several(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CHRYSALIS_SYNC_WITH", given)
    monkeypatch.setenv("CHRYSALIS_SYNC_SECONDS", "5")
    config = AgentMemoryConfig()
    assert (config.sync_with, config.sync_seconds) == (expected, 5)


def test_peers_are_given_as_paths_and_urls() -> None:
    config = AgentMemoryConfig.of(sync_with=[Path("b.db"), "https://hub"])
    assert config.sync_with == ("b.db", "https://hub")
    assert AgentMemoryConfig.of(sync_with=Path("b.db")).sync_with == ("b.db",)


def test_settings_that_are_shown_do_not_tell_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRYSALIS_TOKEN", "hush")
    config = AgentMemoryConfig()
    assert config.token.get_secret_value() == "hush"
    assert "hush" not in repr(config)


async def test_an_explicit_path_and_embedder_win_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHRYSALIS_PATH", str(tmp_path / "environment.db"))
    monkeypatch.setenv("CHRYSALIS_EMBEDDER", "hashing:64")
    async with AgentMemory("ada", path=tmp_path / "given.db", embedder="hashing:32") as memory:
        assert memory.storage.path == tmp_path / "given.db"
        assert (await memory.statistics()).space.dimension == 32
    async with AgentMemory("ada") as memory:
        assert memory.storage.path == tmp_path / "environment.db"
        assert (await memory.statistics()).space.dimension == 64


async def test_without_a_path_the_agent_uses_the_data_folder() -> None:
    async with AgentMemory("my-agent", embedder="hashing") as memory:
        assert memory.storage.path == default_path("my-agent")
        assert memory.storage.path.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("candidates", 0),
        ("candidates", "many"),
        ("timeout_seconds", -1),
        ("timeout_seconds", float("nan")),
        ("synchronous", "OFF"),
        ("vector_storage", "float16"),
        ("on_embedder_change", "ignore"),
        ("embedding_batch", 0),
        ("access_flush_seconds", 0),
        ("common_name_share", 1.5),
        ("sync_seconds", 0),
        ("sync_with", 5),
        ("sync_with", "[no json"),
        ("weights", {"importance": 5}),
        ("colour", "red"),
    ],
)
def test_a_setting_that_is_unknown_or_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidValue, match=name):
        AgentMemory("ada", embedder="hashing", **{name: value})


def test_a_wrong_variable_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRYSALIS_CANDIDATES", "many")
    with pytest.raises(InvalidValue, match="candidates"):
        AgentMemory("ada", embedder="hashing")


def test_arguments_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(InvalidValue, match="not both"):
        AgentMemory("ada", embedder="hashing", embedding_fn=lambda text: [1.0])
    with pytest.raises(InvalidValue, match="not both"):
        AgentMemory("ada", config=AgentMemoryConfig(), candidates=5)


def test_an_empty_path_or_embedder_is_not_taken_for_none() -> None:
    with pytest.raises(UnknownEmbedder):
        AgentMemory("ada", embedder="")


async def test_an_empty_path_is_refused() -> None:
    with pytest.raises(InvalidValue, match="path"):
        await AgentMemory("ada", path="", embedder="hashing").start()


async def test_without_an_embedder_the_one_the_file_was_made_with_is_used(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with AgentMemory("ada", path=path, embedder="hashing:32") as memory:
        await memory.learn("tea")
    async with AgentMemory("ada", path=path) as memory:
        assert (await memory.statistics()).space.name == "hashing:32"
        await memory.reindex("hashing:64")
    async with AgentMemory("ada", path=path) as memory:
        assert [found.content for found in await memory.recall("tea")] == ["tea"]
        assert (await memory.statistics()).space.dimension == 64


async def test_a_truncated_embedder_is_known_again_when_its_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with AgentMemory("ada", path=path, embedder="truncate:128:hashing:256") as memory:
        await memory.learn("tea at four")
        await memory.learn("the market fell")
    async with AgentMemory("ada", path=path) as memory:
        space = (await memory.statistics()).space
        assert (space.name, space.dimension) == ("truncate:128:hashing:256", 128)
        assert [found.content for found in await memory.recall("tea", k=1)] == ["tea at four"]
    with pytest.raises(EmbeddingSpaceMismatch):
        await AgentMemory("ada", path=path, embedder="hashing:128").start()


async def test_a_file_that_must_exist_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "memory.db"
    with pytest.raises(NotADatabase, match="no memory"):
        await AgentMemory("ada", path=path, embedder="hashing", must_exist=True).start()
    assert not path.parent.exists()


# Keys to sign with


KEY = f"ada:{new_secret()}"


def test_a_key_for_every_peer_or_one_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    one = AgentMemoryConfig.of(sync_key=KEY)
    monkeypatch.setenv("CHRYSALIS_SYNC_KEY", json.dumps({"https://hub.example/": KEY}))
    several = AgentMemoryConfig.of()
    told = [config.key_for("https://hub.example") for config in (one, several)]

    assert [key.get_secret_value() for key in told if key is not None] == [KEY, KEY]
    assert several.key_for("https://other.example") is None
    assert KEY.partition(":")[2] not in repr(one) + repr(several)


def test_one_key_for_several_served_peers_is_refused() -> None:
    peers = ["http://one:8420", "other.db", "https://two"]
    with pytest.raises(InvalidValue, match="one key for 2 peers"):
        AgentMemoryConfig.of(sync_key=KEY, sync_with=peers)
    assert AgentMemoryConfig.of(sync_key=KEY, sync_with=peers[:2]).sync_with == tuple(peers[:2])


@pytest.mark.parametrize("key", ["ada", KEY[:40], KEY.partition(":")[2], {"http://hub": "x"}])
def test_what_is_no_key_is_refused_and_not_shown(key: object) -> None:
    with pytest.raises(InvalidValue, match=r"sync_key: .*key") as refusal:
        AgentMemoryConfig.of(sync_key=key)

    assert KEY[8:40] not in str(refusal.value) + repr(refusal.value.__cause__)
