"""Erasing: forgetting that leaves no byte, what it waits for, and what a sync does of it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite import cleaning
from chrysalis_memory.crdt.clock import DRIFT_US
from chrysalis_memory.errors import ErasureIncomplete, MemoryNotFound, StoreBusy
from chrysalis_memory.replication import replicator
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import LocalTransport
from chrysalis_memory.state import tombstone

Open = Callable[..., MemoryStorage]
SECRET = b"quicksand"


def holding(path: Path) -> list[str]:
    """Return the names of the files beside a database that hold the secret."""
    files = sorted(path.parent.iterdir())
    return [file.name for file in files if SECRET in file.read_bytes()]


def written(memory_id: str = "m") -> MemoryDocument:
    return MemoryDocument(id=memory_id, content=f"quicksand {memory_id}")


def sync(one: MemoryStorage, other: MemoryStorage) -> None:
    asyncio.run(replicator.sync(Replica(one), LocalTransport(Replica(other))))


def marked(storage: MemoryStorage) -> bool:
    return storage.read(lambda session: session.meta("residue") is not None)


def test_an_erased_memory_leaves_no_byte_and_a_tombstone_of_id_and_life(tmp_path: Path) -> None:
    with MemoryStorage(tmp_path / "memory.db") as storage:
        storage.put(written())
        storage.put(MemoryDocument(id="other", content="tea"))
        before = holding(storage.path)
        assert storage.erase("m") == 1
        assert (before, holding(storage.path)) == (["memory.db-wal"], [])
        assert [("m", tombstone(2))] == [
            (document.id, document.state) for document in storage.states() if document.id == "m"
        ]
        assert ["other"] == [document.id for document in storage.all()]


def test_what_was_forgotten_before_is_erased_too(tmp_path: Path) -> None:
    with MemoryStorage(tmp_path / "memory.db") as storage:
        storage.put(written())
        storage.forget("m")
        before = holding(storage.path)
        assert storage.erase("m") == 0
        assert (before, holding(storage.path)) == (["memory.db-wal"], [])


def test_an_unknown_id_is_refused_and_nothing_is_forgotten(store: MemoryStorage) -> None:
    store.put(written())
    with pytest.raises(MemoryNotFound, match="'unknown'"):
        store.erase("m", "unknown")
    assert store.count() == 1


def test_states_of_it_that_were_kept_apart_go_and_do_not_come_back(tmp_path: Path) -> None:
    with MemoryStorage(tmp_path / "memory.db") as storage:
        ahead = HybridLogicalClock(lambda: storage.clock.wall_us() + 10 * DRIFT_US)
        early = MemoryDocument(id="m", content="quicksand ahead", clock=ahead)
        storage.put(written())
        replica = Replica(storage)
        assert (0, 1) == replica._merge([early], "peer", None)
        storage.erase("m")
        assert holding(storage.path) == []
        assert (0, 0) == replica._merge([early], "peer", None)
        assert holding(storage.path) == []


def test_a_separator_of_the_word_index_goes_with_its_word(tmp_path: Path) -> None:
    with MemoryStorage(tmp_path / "memory.db") as storage:
        for number in range(400):
            secret = MemoryDocument(id=f"s{number}", content=f"quicksand{number:06}" * 3)
            storage.put_many([secret, MemoryDocument(id=f"k{number}", content=f"tea{number:06}")])
        stale = cleaning._STALE
        storage.erase(*(f"s{number}" for number in range(400)))
        assert holding(storage.path) == []
        assert 0 == storage.read(lambda session: session.connection.execute(stale).get)
        assert storage.count() == 400


def test_while_somebody_reads_an_earlier_state_it_says_what_remains(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with (
        MemoryStorage(path, timeout_seconds=0.05) as storage,
        MemoryStorage(path) as other,
        ThreadPoolExecutor() as threads,
    ):
        storage.put(written())
        reading, go_on = threading.Event(), threading.Event()

        def read(session: object) -> None:
            session.load("m")
            reading.set()
            assert go_on.wait(20)

        answer = threads.submit(other.read, read)
        assert reading.wait(20)
        with pytest.raises(ErasureIncomplete, match="'m' is forgotten for good, but bytes") as told:
            storage.erase("m")
        assert isinstance(told.value, StoreBusy)
        assert (storage.get("m"), holding(path)) == (None, ["memory.db-wal"])
        go_on.set()
        answer.result(20)
        assert storage.erase("m") == 0
        assert holding(path) == []


def test_a_merge_that_brings_a_tombstone_leaves_no_byte(tmp_path: Path) -> None:
    with (
        MemoryStorage(tmp_path / "here" / "memory.db") as here,
        MemoryStorage(tmp_path / "there" / "memory.db") as there,
    ):
        here.put(written())
        there.merge(here.states())
        here.forget("m")
        before = holding(there.path)
        assert there.merge(here.states()) == 1
        assert (before, holding(there.path), marked(there)) == (["memory.db-wal"], [], False)


@pytest.mark.parametrize("who_asks", ["the one that erased", "the other"])
def test_a_sync_erases_on_the_other_replica(tmp_path: Path, who_asks: str) -> None:
    with (
        MemoryStorage(tmp_path / "here" / "memory.db") as here,
        MemoryStorage(tmp_path / "there" / "memory.db") as there,
    ):
        here.put(written())
        sync(here, there)
        here.erase("m")
        sync(*((there, here) if who_asks == "the other" else (here, there)))
        there.close()
        assert holding(there.path) == []


def test_a_log_in_use_fails_no_sync_and_is_truncated_when_the_store_is_closed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "there" / "memory.db"
    with MemoryStorage(tmp_path / "here" / "memory.db") as here, ThreadPoolExecutor() as threads:
        there, reader = MemoryStorage(path), MemoryStorage(path)
        here.put(written())
        sync(here, there)
        here.erase("m")
        reading, go_on = threading.Event(), threading.Event()

        def read(session: object) -> None:
            session.load("m")
            reading.set()
            assert go_on.wait(20)

        answer = threads.submit(reader.read, read)
        assert reading.wait(20)
        sync(there, here)
        assert (there.get("m"), marked(there), holding(path)) == (None, True, ["memory.db-wal"])
        go_on.set()
        answer.result(20)
        there.close()
        assert (holding(path), marked(reader)) == ([], False)
        reader.close()


def test_where_nothing_was_forgotten_nothing_is_cleaned(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[object] = []
    monkeypatch.setattr(cleaning, "clean", lambda *one, **more: cleaned.append(one))
    store.merge([written()])
    store.forget("m")
    store.merge([written("n")])
    store.tidy()
    assert cleaned == []


def test_what_a_merge_forgot_soon_after_another_waits_for_the_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[object] = []
    clean = cleaning.clean
    monkeypatch.setattr(
        cleaning, "clean", lambda *one, **more: [cleaned.append(1), clean(*one, **more)]
    )
    forgotten = []
    for number in range(3):
        forgotten.append(written(str(number)))
        forgotten[-1].forget()
    with MemoryStorage(tmp_path / "memory.db") as storage:
        storage.put_many([written(str(number)) for number in range(3)])
        storage._backend._clean_from = 0.0
        for document in forgotten:
            storage.merge([document])
            storage._backend._clean_from += 3600
        assert (len(cleaned), marked(storage)) == (1, True)
    assert len(cleaned) == 2
    assert holding(storage.path) == []
