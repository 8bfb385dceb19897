"""What is said of keys and encrypted files where the apsw that is installed has no ciphers."""

import random
from pathlib import Path

import pytest

from chrysalis_memory import AgentMemory, AgentMemoryConfig, MemoryStorage
from chrysalis_memory.errors import InvalidValue, NotADatabase, StorageError

HELP = r"pip install 'chrysalis-memory\[encryption\]' && pip install --force-reinstall .*sqlite3mc"


def test_a_key_is_refused_with_the_commands_that_install_ciphers(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot be opened with a key: .*{HELP}"):
        MemoryStorage(tmp_path / "memory.db", key="secret")
    with pytest.raises(StorageError, match=HELP):
        MemoryStorage.rekey(MemoryStorage(tmp_path / "plain.db").path, None, "secret")
    assert not (tmp_path / "memory.db").exists()


def test_what_may_be_an_encrypted_file_is_refused_with_the_same_commands(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(random.Random(0).randbytes(8192))
    with pytest.raises(NotADatabase, match=f"no SQLite database, or it is encrypted; .*{HELP}"):
        MemoryStorage(path)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["", b"", 7, "x" * 5000])
def test_what_is_no_key_is_refused(key: object) -> None:
    with pytest.raises(InvalidValue, match="key"):
        MemoryStorage(":memory:", key=key)
    with pytest.raises(InvalidValue, match="key"):
        AgentMemory("ada", key=key)


def test_the_environment_gives_the_key_and_nothing_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHRYSALIS_KEY", "hush")
    config = AgentMemoryConfig()
    assert config.key.value() == b"hush"
    assert "hush" not in repr(config) + str(config.key) + repr(config.model_dump())
    assert "EncryptionKey('**********')" == repr(config.key)


def test_a_callback_is_asked_when_the_key_is_needed() -> None:
    asked: list[int] = []
    config = AgentMemoryConfig(key=lambda: asked.append(1) or b"hush")
    assert asked == []
    assert (config.key.value(), asked) == (b"hush", [1])


def test_a_database_takes_no_key() -> None:
    with pytest.raises(InvalidValue, match="a key is for files"):
        MemoryStorage("postgresql://nowhere/none", key="secret")
