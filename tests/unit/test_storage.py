"""A store of memories: what is put is merged, what is merged is kept, what fails leaves nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from chrysalis_memory import Embedding, Filter, MemoryCollection, MemoryDocument, MemoryStorage
from chrysalis_memory.errors import (
    EmbeddingSpaceMismatch,
    InvalidValue,
    MemoryForgotten,
    MemoryNotFound,
    StorageError,
    StoreBusy,
    StoreClosed,
)

Open = Callable[..., MemoryStorage]


def content_of(path: Path) -> tuple[bytes, bytes]:
    """Return the bytes of a database and of its write-ahead log."""
    wal = path.with_name(path.name + "-wal")
    return path.read_bytes(), wal.read_bytes() if wal.exists() else b""


def written(memory_id: str = "m", text: str = "text", *tags: str) -> MemoryDocument:
    document = MemoryDocument(memory_id, text, source_instance="ada")
    for tag in tags:
        document.add_tag(tag)
    return document


# Merging on the way in


def test_a_removed_tag_stays_removed_after_put_and_merge(store: MemoryStorage) -> None:
    old = written("m", "text", "kept", "removed")
    store.put(old)
    changed = store.get("m")
    changed.remove_tag("removed")
    store.put(changed)
    assert store.get("m").get_tags() == ["kept"]
    store.put(old)
    store.merge([old, changed])
    assert store.get("m").get_tags() == ["kept"]
    assert store.query_by_tag("removed") == []


def test_a_lowered_importance_stays_lowered(store: MemoryStorage) -> None:
    old = written()
    old.set_importance(0.9, "ada")
    store.put(old)
    store.update("m", lambda memory: memory.set_importance(0.2))
    store.put(old)
    assert store.get("m").get_importance() == 0.2
    assert store.query_by_importance(0.5) == []


def test_five_blind_puts_of_one_writer_keep_all_five_tags(store: MemoryStorage) -> None:
    for tag in "abcde":
        store.put(written("m", "text", tag))
    assert sorted(store.get("m").get_tags()) == list("abcde")


def test_a_blind_put_overwrites_only_what_it_says(store: MemoryStorage) -> None:
    first = MemoryDocument("m", "first", "episodic", "ada")
    first.set_importance(0.9)
    first.set_metadata({"k": 1})
    store.put(first)
    store.put(MemoryDocument("m", "second", source_instance="bob"))
    merged = store.get("m")
    assert (merged.content, merged.memory_type) == ("second", "episodic")
    assert (merged.get_importance(), merged.metadata) == (0.9, {"k": 1})
    assert merged.source_instance == "ada"


def test_what_is_put_again_unchanged_writes_nothing(store: MemoryStorage) -> None:
    document = written("m", "text", "a")
    document.record_access("r")
    store.put(document)
    before = content_of(store.path)
    store.put(document)
    store.put(store.get("m"))
    store.update("m", lambda memory: None)
    assert store.merge(list(store.states())) == 0
    assert content_of(store.path) == before


def test_a_collection_goes_in_and_comes_out(open_store: Open) -> None:
    collection = MemoryCollection("c")
    for name in ("a", "b"):
        collection.put(written(name, f"text {name}", "t"))
    collection.put(written("gone"))
    collection.forget("gone")
    first, second = open_store("1.db"), open_store("2.db")
    assert first.merge_collection(collection) == 3
    assert first.merge_collection(collection) == 0
    second.merge_collection(first.export_collection())
    assert second.export_collection() == collection
    assert [memory.id for memory in second.all()] == ["a", "b"]


def test_access_is_counted_without_rewriting_the_memory(store: MemoryStorage) -> None:
    store.put(written())
    before = store.get("m")
    store.record_access({"m": 2, "unknown": 1})
    store.record_access({"m": 1})
    after = store.get("m")
    assert after.get_access_count() == 3
    assert (after.version, after.updated_at) == (before.version, before.updated_at)


# Forgetting


def test_putting_a_forgotten_id_raises_and_changes_nothing(store: MemoryStorage) -> None:
    old = written("m", "secret", "a")
    store.put(old)
    assert store.forget("m")
    before = content_of(store.path)
    with pytest.raises(MemoryForgotten, match="'m'"):
        store.put(old)
    with pytest.raises(MemoryForgotten):
        store.put(written("m", "another"))
    with pytest.raises(MemoryForgotten):
        store.update("m", lambda memory: memory.add_tag("x"))
    assert content_of(store.path) == before
    assert (store.get("m"), store.count()) == (None, 0)


def test_merging_an_old_copy_of_a_forgotten_memory_changes_nothing(store: MemoryStorage) -> None:
    old = written("m", "secret", "a")
    store.put(old)
    store.forget("m")
    old.add_tag("later")
    before = content_of(store.path)
    assert store.merge([old]) == 0
    assert content_of(store.path) == before
    assert not store.forget("m")
    assert not store.forget("unknown")


def test_a_forgotten_text_is_nowhere_in_the_file(open_store: Open) -> None:
    storage = open_store()
    storage.put(written("m", "xylophone zeppelin quartz", "xylotag"))
    storage.put(written("other"))
    storage.forget("m")
    storage.close()
    (data, wal) = content_of(storage.path)
    assert wal == b""
    for word in (b"xylophon", b"zeppelin", b"quartz", b"xylotag"):
        assert word not in data


def test_a_revived_memory_lives_again_without_its_past(store: MemoryStorage) -> None:
    store.put(written("m", "old", "old tag"))
    store.record_access({"m": 7})
    store.forget("m")
    (tombstone,) = store.states()
    store.put(written("m", "new").revived(tombstone.state.life))
    revived = store.get("m")
    assert (revived.content, revived.get_tags(), revived.get_access_count()) == ("new", [], 0)
    store.merge([tombstone])
    assert store.get("m").content == "new"


# All or nothing


def test_a_change_that_raises_leaves_nothing(store: MemoryStorage) -> None:
    store.put(written("m", "text", "a"))
    before = content_of(store.path)

    def change(memory: MemoryDocument) -> None:
        memory.add_tag("half")
        memory.set_importance(3.0)

    with pytest.raises(InvalidValue):
        store.update("m", change)
    assert content_of(store.path) == before
    with pytest.raises(MemoryNotFound):
        store.update("unknown", lambda memory: memory.add_tag("x"))


def test_a_batch_with_one_refused_document_stores_none(store: MemoryStorage) -> None:
    store.put(written("gone"))
    store.forget("gone")
    with pytest.raises(MemoryForgotten):
        store.put_many([written("a"), written("gone"), written("b")])
    assert store.count() == 0


def test_a_vector_that_is_refused_takes_its_document_back(store: MemoryStorage) -> None:
    store.put(written("first", "text"), Embedding([1.0, 0.0], "model", "text"))
    before = list(store.states()), store.spaces()
    with pytest.raises(InvalidValue, match="dimension 3"):
        store.put(written("m", "text"), Embedding([1.0, 0.0, 0.0], "model", "text"))
    with pytest.raises(EmbeddingSpaceMismatch):
        store.put(written("m", "text"), Embedding([1.0, 0.0], "another", "text"))
    assert (list(store.states()), store.spaces()) == before


def test_an_error_of_the_vector_index_takes_the_document_back(store: MemoryStorage) -> None:
    store.put(written("first", "text"), Embedding([1.0, 0.0], "model", "text"))

    sql = "SELECT memory, vector, chunk, change, codes FROM vector_1, vector_code_1"
    before = store.read(lambda s: s.connection.execute(sql).fetchall())

    def work(transaction: Any) -> None:
        transaction.put(written("m", "new text"), Embedding([0.0, 1.0], "model", "new text"))
        transaction.session.connection.execute(
            "INSERT INTO vector_code_1 VALUES (99, 99, 'text', 'text')"
        )

    with pytest.raises(StorageError):
        store.submit(work).result()
    assert (store.get("m"), store.count()) == (None, 1)
    assert store.read(lambda s: s.connection.execute(sql).fetchall()) == before


def test_vectors_of_a_space_that_was_dropped_do_not_enter_another(store: MemoryStorage) -> None:
    store.put(written("m", "text"))
    first, stale = store.open_space("f1", "1", 2), store.open_space("f2", "2", 2)
    store.activate_space(first)
    later = store.open_space("f3", "3", 2)
    (waiting,) = store.pending(later, limit=1)
    embedding = Embedding([0.0, 1.0], "f2", "text")
    with pytest.raises(StorageError):
        store.put_vectors(stale, [(waiting.number, embedding)])
    assert [memory.id for memory in store.pending(later, limit=9)] == ["m"]


# Threads


def test_many_threads_write_and_read_at_once(store: MemoryStorage) -> None:
    store.put(written("shared"))

    def work(thread: int) -> None:
        for i in range(15):
            store.put(written(f"m{thread}-{i}", f"text {i}", f"t{thread}"))
            store.update("shared", lambda memory, i=i: memory.add_tag(f"tag {thread}-{i}"))
            assert store.get(f"m{thread}-{i}").content == f"text {i}"
            assert store.query_by_tag(f"t{thread}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert store.count() == 8 * 15 + 1
    assert len(store.get("shared").get_tags()) == 8 * 15


def test_reading_does_not_wait_for_a_write(store: MemoryStorage) -> None:
    store.put(written())
    running, release = threading.Event(), threading.Event()

    def slow(transaction: Any) -> None:
        transaction.put(written("slow"))
        running.set()
        assert release.wait(20)

    future = store.submit(slow)
    assert running.wait(20)
    assert [memory.id for memory in store.all()] == ["m"]
    release.set()
    future.result(20)
    assert store.count() == 2


def test_a_write_inside_a_write_says_so_instead_of_waiting_for_ever(store: MemoryStorage) -> None:
    with pytest.raises(StorageError, match="inside a write"):
        store.submit(lambda transaction: store.put(written())).result(20)
    assert store.count() == 0


# Opening and closing


def test_a_file_opened_again_holds_everything(open_store: Open) -> None:
    storage = open_store()
    document = written("m", "text", "a")
    document.set_metadata({"k": [1, {"x": None}]})
    storage.put(document, Embedding([3.0, 4.0], "model", "text"))
    storage.forget(storage.put(written("gone")))
    replica, states = storage.replica, list(storage.states())
    storage.close()
    again = open_store()
    assert (again.replica, list(again.states())) == (replica, states)
    assert again.statistics() == storage_statistics(again)
    assert again.spaces()[0].fingerprint == "model"


def storage_statistics(storage: MemoryStorage) -> tuple[Any, ...]:
    size = sum(len(part) for part in content_of(storage.path))
    return (1, [("a", 1)], storage.spaces()[0], 0, size, storage.replica, None)


def test_a_vector_given_with_a_text_that_is_known_is_stored(open_store: Open) -> None:
    storage = open_store()
    space = storage.open_space("model", "model", 2)
    storage.put(written("m", "text"))
    assert [waiting.id for waiting in storage.pending(space, limit=9)] == ["m"]
    storage.put(written("m", "text"), Embedding([3.0, 4.0], "model", "text"))
    assert storage.pending(space, limit=9) == []
    storage.put(written("m", "text"), Embedding([4.0, 3.0], "model", "text"))
    found = storage.read(lambda session: session.vector(space, 1))
    assert found == pytest.approx([0.8, 0.6])


def test_two_files_are_two_replicas(open_store: Open) -> None:
    assert open_store("1.db").replica != open_store("2.db").replica


def test_closing_twice_is_allowed_and_use_after_it_raises(open_store: Open) -> None:
    storage = open_store()
    storage.put(written())
    storage.close()
    storage.close()
    uses = (storage.all, lambda: storage.put(written("n")), lambda: storage.forget("m"))
    for use in (*uses, storage.statistics, lambda: list(storage.states())):
        with pytest.raises(StoreClosed, match=r"memory\.db"):
            use()


def test_closing_finishes_what_was_queued(open_store: Open) -> None:
    storage = open_store()
    futures = [storage.submit(lambda t, i=i: t.put(written(f"m{i}"))) for i in range(50)]
    storage.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert open_store().count() == 50


def test_a_temporary_store_leaves_no_file(open_store: Open) -> None:
    storage = open_store(":memory:")
    storage.put(written())
    folder = storage.path.parent
    assert storage.count() == 1
    storage.close()
    assert not folder.exists()
    assert open_store(":memory:").count() == 0


def test_a_lock_held_elsewhere_raises_within_the_timeout_and_the_store_goes_on(
    open_store: Open,
) -> None:
    storage = open_store(timeout_seconds=0.05)
    storage.put(written())
    other = apsw.Connection(str(storage.path))
    other.execute("BEGIN IMMEDIATE")
    for write in (lambda: storage.put(written("n")), lambda: storage.forget("m")):
        with pytest.raises(StoreBusy, match="another process"):
            write()
    assert [memory.id for memory in storage.all()] == ["m"]
    other.execute("ROLLBACK")
    other.close()
    storage.put(written("n"))
    assert storage.count() == 2


def test_a_write_waits_for_a_lock_that_is_given_back(open_store: Open) -> None:
    storage = open_store(timeout_seconds=20)
    other = apsw.Connection(str(storage.path))
    other.execute("BEGIN IMMEDIATE")
    future = storage.submit(lambda transaction: transaction.put(written()))
    other.execute("ROLLBACK")
    other.close()
    assert future.result(20).id == "m"


# Asking


def test_orders_and_limits(store: MemoryStorage) -> None:
    for name in ("a", "b", "c"):
        store.put(written(name))
    store.update("b", lambda memory: memory.set_importance(0.9))
    assert [memory.id for memory in store.all()] == ["a", "b", "c"]
    assert [memory.id for memory in store.recent(2)] == ["c", "b"]
    assert [memory.id for memory in store.query_by_importance(0.5)] == ["b", "a", "c"]
    assert [memory.id for memory in store.query_by_type("semantic")] == ["a", "b", "c"]
    assert store.query_by_type("working") == []
    assert store.find(Filter.of(tags_any=["x"])) == []
    assert [memory.id for memory in store.find(limit=1)] == ["a"]
    for refused in (0, -1, True, 1.5):
        with pytest.raises(InvalidValue):
            store.recent(refused)
    with pytest.raises(InvalidValue):
        store.find(limit=-1)


def test_a_document_given_out_is_a_copy(store: MemoryStorage) -> None:
    store.put(written())
    store.get("m").add_tag("never put")
    assert store.get("m").get_tags() == []


def test_a_memory_larger_than_replicas_exchange_is_refused_and_changes_nothing(
    storage: MemoryStorage,
) -> None:
    storage.put(MemoryDocument(id="m", content="text"))
    linked = MemoryDocument(id="m", content="text")
    for number in range(9_000):
        linked.add_related(f"{number:0>500}")
    with pytest.raises(InvalidValue, match="4,194,304"):
        storage.put(linked)
    stored = storage.get("m")
    assert stored is not None
    assert [] == sorted(stored.get_related())
