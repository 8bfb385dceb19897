"""Writes that wait together share one commit, and share nothing else."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage, integrity
from chrysalis_memory.backends.sqlite import writer
from chrysalis_memory.backends.sqlite.writer import LOG_BYTES_LONG
from chrysalis_memory.changes import BUCKETS, SUM_MODULUS, bucket_of
from chrysalis_memory.errors import StorageError, StoreBusy, StoreClosed

Open = Callable[..., MemoryStorage]


def put(memory_id: str) -> Callable[[Any], str]:
    document = MemoryDocument(memory_id, f"text of {memory_id}")
    document.add_tag("tag")
    return lambda transaction: transaction.put(document).id


@contextmanager
def held(storage: MemoryStorage) -> Iterator[None]:
    """Keep the writing thread inside one write, so that those that follow must wait."""
    running, release = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        running.set()
        assert release.wait(20)

    future = storage.submit(hold)
    assert running.wait(20)
    try:
        yield
    finally:
        release.set()
    future.result(20)


def commits_of(storage: MemoryStorage) -> list[int]:
    """Return a list that grows by one number with every commit: the pages it wrote to the log."""
    pages: list[int] = []

    def note(_: apsw.Connection, __: str, written: int) -> int:
        pages.append(written)
        return apsw.SQLITE_OK

    storage.submit(lambda t: t.session.connection.set_wal_hook(note)).result(20)
    return pages


def recomputed(storage: MemoryStorage) -> list[int]:
    """Return the sums of digests by bucket, from what is stored."""
    sums = [0] * BUCKETS
    for memory_id, digest in storage.read(
        lambda s: s.connection.execute("SELECT id, digest FROM memory").fetchall()
    ):
        sums[bucket_of(memory_id)] += int.from_bytes(digest)
    return [total % SUM_MODULUS for total in sums]


def stored(storage: MemoryStorage) -> set[str]:
    return {memory.id for memory in storage.all()}


def test_a_hundred_writes_that_wait_share_few_commits(store: MemoryStorage) -> None:
    commits = commits_of(store)
    with held(store):
        futures = [store.submit(put(f"m{i}")) for i in range(100)]
    assert [future.result(20) for future in futures] == [f"m{i}" for i in range(100)]
    assert 1 <= len(commits) <= 20
    assert store.count() == 100


def test_a_write_that_does_not_wait_for_others_is_committed_at_once(store: MemoryStorage) -> None:
    commits = commits_of(store)
    for i in range(3):
        store.submit(put(f"m{i}")).result(20)
        assert len(commits) == i + 1


def test_a_result_is_given_only_after_the_commit(open_store: Open) -> None:
    storage = open_store()
    other = apsw.Connection(str(storage.path), flags=apsw.SQLITE_OPEN_READONLY)
    seen: list[int] = []

    def look(_: Future[str]) -> None:
        seen.append(other.execute("SELECT count(*) FROM memory").get)

    with held(storage):
        futures = [storage.submit(put(f"m{i}")) for i in range(5)]
        for future in futures:
            future.add_done_callback(look)
    storage.close()
    other.close()
    assert seen == [5] * 5


def test_one_write_that_fails_does_not_hurt_those_it_shares_a_commit_with(
    store: MemoryStorage,
) -> None:
    def fail(transaction: Any) -> None:
        put("half")(transaction)
        raise RuntimeError("on purpose")

    def fail_in_sqlite(transaction: Any) -> None:
        put("quarter")(transaction)
        transaction.session.connection.execute("INSERT INTO tag VALUES ('t', 12345), (NULL, 1)")

    with held(store):
        first = store.submit(put("first"))
        failing = [store.submit(fail), store.submit(fail_in_sqlite)]
        last = store.submit(put("last"))
    assert (first.result(20), last.result(20)) == ("first", "last")
    for future in failing:
        assert future.exception(20) is not None
    assert stored(store) == {"first", "last"}
    assert store.statistics().tags == [("tag", 2)]


def test_a_write_sees_those_before_it_in_the_same_group(store: MemoryStorage) -> None:
    store.submit(put("m")).result(20)

    def add(tag: str) -> Callable[[Any], Any]:
        def work(transaction: Any) -> None:
            memory = transaction.require("m")
            memory.add_tag(tag)
            transaction.put(memory)

        return work

    with held(store):
        futures = [store.submit(add(f"t{i}")) for i in range(30)]
    for future in futures:
        future.result(20)
    assert len(store.get("m").get_tags()) == 31


def test_a_write_cancelled_while_it_waits_is_not_done(store: MemoryStorage) -> None:
    with held(store):
        futures = [store.submit(put(f"m{i}")) for i in range(10)]
        cancelled = [future.cancel() for future in futures[::2]]
    assert all(cancelled)
    for future in futures[1::2]:
        future.result(20)
    for future in futures[::2]:
        with pytest.raises(CancelledError):
            future.result(20)
    assert stored(store) == {f"m{i}" for i in range(1, 10, 2)}


def test_a_write_that_has_begun_cannot_be_cancelled_and_ends_whole(store: MemoryStorage) -> None:
    running, release = threading.Event(), threading.Event()

    def slow(transaction: Any) -> None:
        put("a")(transaction)
        running.set()
        assert release.wait(20)
        put("b")(transaction)

    future = store.submit(slow)
    assert running.wait(20)
    assert not future.cancel()
    release.set()
    future.result(20)
    assert stored(store) == {"a", "b"}


@pytest.mark.parametrize("turns", range(6))
async def test_tasks_cancelled_at_any_moment_leave_all_of_a_write_or_nothing(
    store: MemoryStorage, turns: int
) -> None:
    def pair(i: int) -> Callable[[Any], Any]:
        return lambda transaction: (put(f"{i}-a")(transaction), put(f"{i}-b")(transaction))

    async def write(i: int) -> None:
        await asyncio.wrap_future(store.submit(pair(i)))

    tasks = [asyncio.create_task(write(i)) for i in range(60)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    store.submit(lambda transaction: None).result(20)
    whole = {memory_id.split("-")[0] for memory_id in stored(store)}
    assert stored(store) == {f"{i}-{half}" for i in whole for half in "ab"}
    assert whole.issuperset(str(i) for i in range(1, 60, 2))


async def test_a_hundred_tasks_at_once_are_all_durable(open_store: Open) -> None:
    storage = open_store(synchronous="FULL")
    commits = commits_of(storage)
    writes = (asyncio.wrap_future(storage.submit(put(f"m{i}"))) for i in range(100))
    ids = await asyncio.gather(*writes)
    assert len(commits) < 100
    storage.close()
    assert stored(open_store()) == set(ids)
    assert len(ids) == 100


def test_those_that_wait_fail_together_when_the_lock_cannot_be_had(open_store: Open) -> None:
    storage = open_store(timeout_seconds=0.05)
    with held(storage):
        futures = [storage.submit(put(f"m{i}")) for i in range(5)]
    for future in futures:
        future.result(20)
    other = apsw.Connection(str(storage.path))
    other.execute("BEGIN IMMEDIATE")
    futures = [storage.submit(put(f"n{i}")) for i in range(5)]
    for future in futures:
        assert isinstance(future.exception(20), StoreBusy)
    other.execute("ROLLBACK")
    other.close()
    assert storage.submit(put("after")).result(20) == "after"
    assert stored(storage) == {"after", *(f"m{i}" for i in range(5))}


# Writes that somebody waits for


def test_who_waits_for_a_write_does_it_in_its_own_thread(store: MemoryStorage) -> None:
    assert store.run(lambda _: threading.get_ident()) == threading.get_ident()


def test_who_waits_while_another_writes_is_queued_behind_it(store: MemoryStorage) -> None:
    written: list[int] = []
    with held(store):
        thread = threading.Thread(
            target=lambda: written.append(store.run(lambda _: threading.get_ident()))
        )
        thread.start()
        assert written == []
    thread.join(20)

    assert written != [thread.ident]
    assert len(written) == 1


def test_a_write_that_others_wait_for_is_not_overtaken_for_ever(store: MemoryStorage) -> None:
    done = threading.Event()

    def write_on_and_on() -> None:
        number = 0
        while not done.is_set():
            store.run(put(f"m{number}"))
            number += 1

    threads = [threading.Thread(target=write_on_and_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    queued = [store.submit(put(f"queued{i}")) for i in range(20)]
    results = [future.result(20) for future in queued]
    done.set()
    for thread in threads:
        thread.join(20)

    assert results == [f"queued{i}" for i in range(20)]


def test_a_write_inside_a_write_is_refused_whichever_thread_it_runs_on(
    store: MemoryStorage,
) -> None:
    for outer in (store.run, lambda work: store.submit(work).result(20)):
        for inner in (store.run, store.submit):
            with pytest.raises(StorageError, match="inside a write"):
                outer(lambda _, inner=inner: inner(put("m")))
    assert store.count() == 0


def test_ctrl_c_within_a_write_leaves_nothing_of_it(store: MemoryStorage) -> None:
    def interrupted(transaction: Any) -> None:
        put("half")(transaction)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.run(interrupted)
    store.run(put("whole"))

    assert stored(store) == {"whole"}


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN IMMEDIATE"])
def test_ctrl_c_between_two_steps_of_a_write_leaves_all_or_nothing(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    writer = store._backend._writer
    connection = writer._connection

    class Interrupting:
        in_transaction = property(lambda _: connection.in_transaction)

        def execute(self, sql: str, *bindings: Any) -> Any:
            if sql == statement:
                raise KeyboardInterrupt
            return connection.execute(sql, *bindings)

    with monkeypatch.context() as patched:
        patched.setattr(writer, "_connection", Interrupting())
        with pytest.raises(KeyboardInterrupt):
            store.run(put("half"))
    store.run(put("whole"))

    assert stored(store) == {"whole"}


def test_closing_waits_for_a_write_in_another_thread(open_store: Open) -> None:
    storage = open_store()
    running, release, closed = threading.Event(), threading.Event(), threading.Event()

    def work(transaction: Any) -> None:
        running.set()
        assert release.wait(20)
        put("m")(transaction)

    writing = threading.Thread(target=lambda: storage.run(work))
    writing.start()
    assert running.wait(20)
    closing = threading.Thread(target=lambda: (storage.close(), closed.set()))
    closing.start()
    assert not closed.wait(0.2)
    release.set()
    for thread in (writing, closing):
        thread.join(20)

    assert closed.is_set()
    assert stored(open_store()) == {"m"}
    with pytest.raises(StoreClosed):
        storage.run(put("n"))


def test_what_another_process_has_written_since_is_seen_by_the_next_write(
    open_store: Open,
) -> None:
    one, other = open_store("memory.db", "one"), open_store("memory.db", "other")
    space = one.open_space("model", "model", 3)
    one.run(put("a"))
    other.run(put("b"))
    other.run(lambda t: t.session.create_space("second", "second", 4, None))
    one.run(put("c"))
    changes = one.read(
        lambda s: [n for (n,) in s.connection.execute("SELECT change FROM memory ORDER BY number")]
    )

    assert changes == [1, 2, 3]
    assert list(one.read(lambda s: s.digest_sums())) == recomputed(one)
    assert one.run(lambda t: [s.fingerprint for s in t.session.spaces()]) == ["model", "second"]
    assert [p.id for p in one.pending(space, limit=9)] == ["a", "b", "c"]


def test_after_a_write_that_failed_nothing_of_it_is_remembered(store: MemoryStorage) -> None:
    def fail(transaction: Any) -> None:
        transaction.session.create_space("model", "model", 3, None)
        put("half")(transaction)
        raise RuntimeError("on purpose")

    store.run(put("first"))
    with pytest.raises(RuntimeError, match="on purpose"):
        store.run(fail)
    store.run(put("second"))

    assert store.run(lambda t: t.session.spaces()) == []
    assert store.read(lambda s: s.changes_after(b"")) == 2
    assert list(store.read(lambda s: s.digest_sums())) == recomputed(store)


def test_sums_are_right_after_some_of_a_group_have_failed(store: MemoryStorage) -> None:
    def fail(transaction: Any) -> None:
        put("same")(transaction)
        transaction.session.digest_sums()  # which writes them
        raise RuntimeError("on purpose")

    store.run(put("before"))
    with held(store):
        futures = [store.submit(work) for work in (put("a"), fail, put("same"), fail, put("b"))]
    outcomes = [future.exception(20) is None for future in futures]
    store.run(put("after"))

    assert outcomes == [True, False, True, False, True]
    assert list(store.read(lambda s: s.digest_sums())) == recomputed(store)


# Failures of SQLite itself


@contextmanager
def memory_left(bytes_left: int) -> Iterator[None]:
    """Let SQLite have so many bytes more than it has now."""
    apsw.hard_heap_limit(apsw.memory_used() + bytes_left)
    try:
        yield
    finally:
        apsw.hard_heap_limit(0)
        apsw.soft_heap_limit(0)


def test_a_write_that_memory_is_too_short_for_does_not_keep_others_from_writing(
    open_store: Open,
) -> None:
    storage, other = open_store(), open_store(timeout_seconds=0.05)
    storage.run(put("before"))

    def starve(transaction: Any) -> None:
        put("half")(transaction)
        with memory_left(0):
            transaction.session.connection.execute("SELECT zeroblob(1000000)").fetchall()

    for write in (storage.run, lambda work: storage.submit(work).result(20)):
        with memory_left(0), pytest.raises(StorageError, match="out of memory"):
            write(starve)
        with memory_left(0), pytest.raises(StorageError, match="out of memory"):
            write(put("half"))
        other.run(put("other"))

    storage.run(put("after"))
    assert stored(storage) == stored(other) == {"before", "other", "after"}


@pytest.mark.parametrize("grouped", [False, True])
def test_an_index_is_whole_after_memory_ran_out_while_words_were_written(
    open_store: Open, grouped: bool
) -> None:
    def texts(session: Any) -> Any:
        return session.connection.execute(
            "INSERT INTO memory_text (memory_text, rank) VALUES ('integrity-check', 1)"
        )

    failed = 0
    storage = open_store(timeout_seconds=1)
    for number in range(120):
        storage.put(MemoryDocument(f"m{number}", f"number {number} of rivers and tea"))

    def starving(bytes_left: int) -> Callable[[Any], None]:
        def work(transaction: Any) -> None:
            transaction.put(MemoryDocument("new", "the ferry of a river leaves at seven"))
            with memory_left(bytes_left):
                transaction.session.write_words()

        return work

    for bytes_left in range(0, 6_000, 50):
        try:
            if grouped:
                with held(storage):
                    future = storage.submit(starving(bytes_left))
                future.result(20)
            else:
                storage.run(starving(bytes_left))
        except StorageError:
            failed += 1
        storage.forget(f"m{bytes_left // 50}")
        storage.run(lambda t: texts(t.session))
    assert failed > 10


def test_the_writing_thread_outlives_whatever_fails_between_two_writes(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError("on purpose")

    session = store.run(lambda transaction: transaction.session)
    monkeypatch.setattr(session, "mark", fail)
    running, release = threading.Event(), threading.Event()
    first = store.submit(lambda _: (running.set(), release.wait(20)))
    assert running.wait(20)
    futures = [first, *(store.submit(put(f"m{i}")) for i in range(3))]
    release.set()
    errors = [type(future.exception(20)) for future in futures]
    monkeypatch.undo()

    assert errors[:2] == [MemoryError, MemoryError]
    assert store.submit(put("after")).result(20) == "after"
    written = {f"m{i}" for i, error in enumerate(errors[1:]) if error is type(None)}
    assert stored(store) == {"after", *written}


@pytest.mark.parametrize("part", ["_commit_group", "_watch_log"])
def test_the_writing_thread_outlives_whatever_fails_outside_of_a_write(
    store: MemoryStorage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    failed = threading.Event()

    def fail(*_: Any) -> None:
        failed.set()
        raise MemoryError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(writer.GroupWriter, part, fail)
        error = store.submit(put("a")).exception(20)
        assert failed.wait(20)
    assert isinstance(error, MemoryError) == (part == "_commit_group")
    assert store.submit(put("b")).result(20) == "b"
    assert "on purpose" in caplog.text
    assert stored(store) == ({"b"} if error else {"a", "b"})


def test_a_read_that_cannot_be_ended_is_not_seen_by_the_next(store: MemoryStorage) -> None:
    store.run(put("a"))

    def interrupt_the_end(session: Any) -> None:
        session.connection.execute("SELECT count(*) FROM memory").fetchall()
        session.connection.set_progress_handler(lambda: True, 1)

    with pytest.raises(StorageError, match="interrupted"):
        store.read(interrupt_the_end)
    store.run(put("b"))

    assert stored(store) == {"a", "b"}


def test_words_are_made_anew_beside_those_of_a_write_in_the_same_commit(
    store: MemoryStorage,
) -> None:
    with held(store):
        store.submit(put("a"))
        made = store.submit(lambda transaction: transaction.session.rebuild_words())
    assert made.result(20) is None
    assert integrity.check(store.read).problems == []


def test_the_log_stays_short_though_somebody_reads_at_every_moment(open_store: Open) -> None:
    storage = open_store()
    log = storage.path.with_name(storage.path.name + "-wal")
    storage.run(put("m"))
    done = threading.Event()

    def read_on_and_on() -> None:
        connections = [apsw.Connection(str(storage.path)) for _ in range(2)]
        turn = 0
        while not done.wait(0.005):  # the next begins before the last has ended
            connections[turn % 2].execute("BEGIN; SELECT count(*) FROM memory").fetchall()
            turn += 1
            if connections[turn % 2].in_transaction:
                connections[turn % 2].execute("COMMIT")
        for connection in connections:
            connection.close()

    reading = threading.Thread(target=read_on_and_on)
    reading.start()
    sizes: list[int] = []
    for number in range(120):
        storage.run(lambda t, number=number: t.session.set_meta("long", str(number) * 200_000))
        sizes.append(log.stat().st_size)
    done.set()
    reading.join(20)

    assert max(sizes) < LOG_BYTES_LONG + (8 << 20)
    assert stored(storage) == {"m"}


def test_a_long_read_does_not_keep_writes_waiting(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LOG_BYTES_LONG", 1 << 20)
    storage = open_store()
    reader = apsw.Connection(str(storage.path))
    reader.execute("BEGIN; SELECT count(*) FROM memory").fetchall()
    begun = time.perf_counter()
    for number in range(20):
        storage.run(lambda t, number=number: t.session.set_meta("long", str(number) * 200_000))
    seconds = time.perf_counter() - begun
    assert reader.execute("SELECT count(*) FROM meta WHERE key = 'long'").get == 0
    reader.execute("COMMIT")
    reader.close()

    assert seconds < 4  # two or three tries of half a second, not one for each write
