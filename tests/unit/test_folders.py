"""Names that are still there after a power cut."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage, folders
from chrysalis_memory.errors import StorageError


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What was in each folder when it was synced, in the order of the syncs."""
    seen: list[set[str]] = []
    sync: Callable[[int], None] = os.fsync

    def seeing(file: int) -> None:
        sync(file)
        if Path(f"/dev/fd/{file}").is_dir():
            seen.append(set(os.listdir(file)))

    monkeypatch.setattr(os, "fsync", seeing)
    return seen


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


def test_every_folder_that_is_made_is_named_in_one_that_is_synced(
    tmp_path: Path, synced: list[set[str]]
) -> None:
    folders.make(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert [{"c"}, {"b"}, {"a"}] == synced


def test_a_folder_that_is_there_costs_no_sync(tmp_path: Path, synced: list[set[str]]) -> None:
    folders.make(tmp_path)
    with MemoryStorage(tmp_path / "memory.db") as storage:
        storage.put(MemoryDocument("m", "tea"))
    assert [] == synced


def test_a_memory_in_a_new_folder_is_found_there_after_a_power_cut(
    tmp_path: Path, synced: list[set[str]]
) -> None:
    MemoryStorage(tmp_path / "new" / "memory.db").close()
    assert [{"new"}] == synced


def test_a_copy_has_its_name_on_the_disk_when_the_call_returns(
    tmp_path: Path, synced: list[set[str]]
) -> None:
    with MemoryStorage(tmp_path / "memory.db") as storage:
        storage.backup(tmp_path / "copies" / "copy.db")
        assert "copies" in synced[0]
        assert [{"copy.db"}] == synced[1:]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_does_not_sync_folders_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, number)
    with MemoryStorage(tmp_path / "new" / "memory.db") as storage:
        assert 0 == storage.count()


def test_a_disk_that_fails_to_sync_a_folder_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, errno.EIO)
    with pytest.raises(StorageError, match=f"cannot be opened: .*{os.strerror(errno.EIO)}"):
        MemoryStorage(tmp_path / "new" / "memory.db")
