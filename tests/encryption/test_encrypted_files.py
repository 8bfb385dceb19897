"""Encrypted files, with the apsw that has ciphers: make test-encryption."""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from chrysalis_memory import (
    AgentMemory,
    AgentMemoryConfig,
    Embedding,
    MemoryDocument,
    MemoryStorage,
)
from chrysalis_memory.errors import InvalidValue, NotADatabase, StorageError, StoreBusy, WrongKey

KEY = "correct horse"
PLAIN = b"SQLite format 3\0"
TEXT = "quicksand engulfs the lighthouse"


def filled(path: Path, key: object = KEY) -> Path:
    with MemoryStorage(path, key=key) as storage:
        storage.put(MemoryDocument(id="m", content=TEXT), Embedding([0.6, 0.8], "two/2", TEXT))
    return path


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def text_of(path: Path, key: object) -> str:
    with MemoryStorage(path, key=key) as storage:
        return storage.get("m").content


def command(path: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "chrysalis_memory.cli", *words],
        env={**os.environ, "CHRYSALIS_PATH": str(path), "CHRYSALIS_CONFIG": ""} | environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_neither_the_file_nor_its_log_shows_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with MemoryStorage(path, key=KEY) as storage:
        storage.put(MemoryDocument(id="m", content=TEXT))
        data = [file.read_bytes() for file in sorted(tmp_path.iterdir())]
        assert [] == [one for one in data if b"quicksand" in one or b"memory_word" in one]
        assert len(data) == 3
    assert path.read_bytes()[:16] != PLAIN


async def test_an_agent_learns_recalls_and_syncs_as_ever(tmp_path: Path) -> None:
    async with AgentMemory("ada", path=tmp_path / "a.db", embedder="hashing", key=KEY) as memory:
        first = await memory.learn("The user prefers tea", tags=["drinks"])
        await memory.learn("The tower has nine floors")
        assert first == (await memory.recall("what tea does the user prefer", k=1))[0].id
        assert first == (await memory.recall("tea", mode="keyword"))[0].id
        await memory.reindex()
        assert (await memory.check()).problems == []
        report = await memory.sync(tmp_path / "b.db")
        assert (report.sent, report.verified) == (2, True)
        await memory.erase(first)
        await memory.sync(tmp_path / "b.db")
    with MemoryStorage(tmp_path / "b.db", key=KEY) as other:
        assert ["The tower has nine floors"] == [document.content for document in other.all()]


@pytest.mark.parametrize(
    ("key", "error", "said"),
    [
        (None, NotADatabase, "or it is encrypted; give another path, or its key"),
        ("wrong", WrongKey, "the key does not open"),
        (b"correct hors", WrongKey, "the key does not open"),
        ("", InvalidValue, "1 to 4096 bytes"),
        (7, InvalidValue, "a string or bytes, got int"),
    ],
)
def test_without_the_right_key_it_is_refused_and_nothing_is_changed(
    tmp_path: Path, key: object, error: type[Exception], said: str
) -> None:
    path = filled(tmp_path / "memory.db")
    before = hashes(tmp_path)
    with pytest.raises(error, match=said) as told:
        MemoryStorage(path, key=key)
    assert type(told.value) is error
    assert hashes(tmp_path) == before


def test_a_key_for_a_file_that_is_not_encrypted_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db", None)
    before = hashes(tmp_path)
    with pytest.raises(WrongKey, match="is not encrypted; open it without a key"):
        MemoryStorage(path, key=KEY)
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("key", [KEY, KEY.encode(), lambda: KEY, lambda: KEY.encode()])
def test_a_key_is_text_bytes_or_what_returns_them(tmp_path: Path, key: object) -> None:
    assert TEXT == text_of(filled(tmp_path / "memory.db"), key)


def test_copies_are_encrypted_with_the_same_key(tmp_path: Path) -> None:
    filled(tmp_path / "memory.db")
    with MemoryStorage(tmp_path / "memory.db", key=KEY) as storage:
        storage.backup(tmp_path / "backup.db")
        storage.clone(tmp_path / "clone.db")
    for name in ("backup.db", "clone.db"):
        assert (tmp_path / name).read_bytes()[:16] != PLAIN
        assert TEXT == text_of(tmp_path / name, KEY)


@pytest.mark.parametrize(("old", "new"), [(KEY, "new"), (None, KEY), (KEY, None), (KEY, b"\0\1")])
def test_a_file_takes_another_key_its_first_or_none(
    tmp_path: Path, old: object, new: object
) -> None:
    path = filled(tmp_path / "memory.db", old)
    MemoryStorage.rekey(path, old, new)
    assert TEXT == text_of(path, new)
    assert (path.read_bytes()[:16] == PLAIN, b"quicksand" in path.read_bytes()) == (
        (True, True) if new is None else (False, False)
    )
    with pytest.raises(NotADatabase):
        MemoryStorage(path, key=old)
    assert [path] == list(tmp_path.iterdir())


def test_a_file_that_somebody_has_open_keeps_its_key(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    with MemoryStorage(path, key=KEY) as storage:
        with pytest.raises(StoreBusy, match="is open elsewhere; nothing was changed"):
            MemoryStorage.rekey(path, KEY, "new", timeout_seconds=0.05)
        assert storage.get("m").content == TEXT
    assert TEXT == text_of(path, KEY)


def test_with_a_wrong_old_key_a_file_keeps_its_own(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    before = hashes(tmp_path)
    with pytest.raises(WrongKey):
        MemoryStorage.rekey(path, "wrong", "new")
    assert hashes(tmp_path) == before


def test_a_key_is_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    filled(tmp_path / "memory.db")
    config = AgentMemoryConfig(key=KEY)
    with MemoryStorage(tmp_path / "memory.db", key=KEY) as storage:
        shown = [repr(config), str(config), config.model_dump_json(fallback=repr), repr(storage)]
    with pytest.raises(WrongKey) as told:
        MemoryStorage(tmp_path / "memory.db", key="wronghorse")
    shown += [str(told.value), repr(told.value.__cause__), caplog.text]
    assert [] == [one for one in shown if re.search(f"horse|{KEY.encode().hex()}", one)]


def test_the_commands_take_the_key_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    learned = command(path, "--embedder", "hashing", "learn", TEXT, "--id", "m", CHRYSALIS_KEY=KEY)
    found = command(path, "list", "--json", CHRYSALIS_KEY=KEY)
    refused = command(path, "list")
    copied = command(path, "backup", str(path), str(tmp_path / "b.db"), CHRYSALIS_KEY=KEY)
    assert (learned.returncode, learned.stdout) == (0, "m\n")
    assert TEXT == json.loads(found.stdout)["content"]
    assert (refused.returncode, "or it is encrypted" in refused.stderr) == (1, True)
    assert copied.returncode == 0
    assert TEXT == text_of(tmp_path / "b.db", KEY)


def test_the_command_rekey_asks_the_environment_for_both_keys(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    keys = {"CHRYSALIS_KEY": KEY, "CHRYSALIS_NEW_KEY": "new"}
    done = command(path, "rekey", str(path), **keys)
    again = command(path, "rekey", str(path), **keys)
    plain = command(path, "rekey", str(path), "--decrypt", CHRYSALIS_KEY="new")
    assert (done.returncode, done.stdout) == (0, f"{path} has its new key\n"), done.stderr
    assert (again.returncode, "the key does not open" in again.stderr) == (1, True)
    assert (plain.returncode, plain.stdout) == (0, f"{path} is encrypted no more\n"), plain.stderr
    assert TEXT == text_of(path, None)


def test_two_processes_share_an_encrypted_file(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.db")
    with MemoryStorage(path, key=KEY) as storage:
        assert storage.get("m").content == TEXT
        copied = command(path, "clone", str(path), str(tmp_path / "b.db"), CHRYSALIS_KEY=KEY)
        assert copied.returncode == 0, copied.stderr
        storage.update("m", lambda document: document.add_tag("seen"))
    with MemoryStorage(path, key=KEY) as storage:
        assert storage.get("m").get_tags() == ["seen"]


def test_with_the_other_apsw_a_key_is_refused_with_the_commands_that_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "memory.db")
    monkeypatch.delattr(apsw, "mc_version")
    with pytest.raises(StorageError, match=r"chrysalis-memory\[encryption\]"):
        MemoryStorage(path, key=KEY)
    with pytest.raises(NotADatabase, match=r"or it is encrypted; .*chrysalis-memory\[encryption"):
        MemoryStorage(path)


def test_the_page_runs_as_printed(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "encryption.md"
    (code,) = re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1\n", "")
