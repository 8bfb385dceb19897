"""What every backend keeps for replication, asked through sessions, on every one of ``FEEDS``."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory import state as states
from chrysalis_memory.changes import (
    BUCKETS,
    SUM_MODULUS,
    Header,
    Quarantined,
    access_digest,
    bucket_of,
)
from chrysalis_memory.errors import InvalidValue
from tests.conftest import BACKENDS

FEEDS = ("sqlite-file", "postgres")
"""Names of :data:`tests.conftest.BACKENDS`; a new one is one more."""


@pytest.fixture(params=FEEDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryStorage]:
    with BACKENDS[request.param].open(request, tmp_path) as storage:
        yield storage


def memory(memory_id: str, *, at: int = 1000, tag: str | None = None) -> MemoryDocument:
    clock = HybridLogicalClock(lambda: at)
    document = MemoryDocument(memory_id, f"text of {memory_id}", None, "ada", clock=clock)
    if tag is not None:
        document.add_tag(tag)
    return document


def many(count: int) -> list[MemoryDocument]:
    return [memory(f"m{i:03}") for i in range(count)]


def write(storage: MemoryStorage, work: Callable[[Any], Any]) -> Any:
    return storage.submit(lambda transaction: work(transaction.session)).result(20)


def feed(storage: MemoryStorage, cursor: bytes = b"", limit: int = 1000) -> Any:
    return storage.read(lambda session: session.feed(cursor, limit=limit))


def ids(found: Any) -> list[str]:
    return [header.id for header in found.headers]


def head(storage: MemoryStorage) -> bytes:
    return storage.read(lambda session: session.head())


def use(storage: MemoryStorage, memory_id: str, **counts: int) -> None:
    number = storage.read(lambda session: session.load(memory_id)).number
    write(storage, lambda session: session.save_access(number, counts))


# The feed


def test_an_empty_store_has_an_empty_feed_and_a_short_cursor(storage: MemoryStorage) -> None:
    assert feed(storage).headers == []
    assert not feed(storage).more
    assert len(head(storage)) < 16
    assert storage.read(lambda s: s.changes_after(b"")) == 0
    assert not storage.read(lambda s: s.is_beyond(head(storage)))


def test_a_header_tells_what_is_held(storage: MemoryStorage) -> None:
    document = memory("m", tag="a")
    storage.put(document)
    use(storage, "m", laptop=2, server=3)
    digest = states.digest("m", document.state)
    assert feed(storage).headers == [Header("m", 1, digest, {"laptop": 2, "server": 3})]


def test_what_changed_since_a_cursor_comes_once_and_as_it_is_now(storage: MemoryStorage) -> None:
    storage.merge(many(30))
    cursor = feed(storage).cursor
    assert ids(feed(storage, cursor)) == []
    changed = memory("m007", at=2000, tag="new")
    storage.put(changed)
    storage.put(memory("m007", at=3000, tag="newer"))
    use(storage, "m011", laptop=1)
    storage.forget("m023")
    storage.put(memory("fresh"))
    found = feed(storage, cursor)
    assert Counter(ids(found)) == Counter(["m007", "m011", "m023", "fresh"])
    now = {one.id: states.digest(one.id, one.state) for one in storage.states()}
    assert {header.id: header.digest for header in found.headers} == {
        memory_id: now[memory_id] for memory_id in ids(found)
    }
    assert ids(feed(storage, found.cursor)) == []
    assert found.cursor == head(storage)


def test_pages_of_any_size_hold_everything_once(storage: MemoryStorage) -> None:
    storage.merge(many(60))
    for limit in (1, 7, 59, 60, 61):
        cursor, seen, more = b"", [], True
        while more:
            page = feed(storage, cursor, limit)
            assert len(page.headers) <= limit
            cursor, more = page.cursor, page.more
            seen += ids(page)
        assert sorted(seen) == [f"m{i:03}" for i in range(60)]
        assert cursor == head(storage)


def test_what_changes_between_two_pages_is_not_missed(storage: MemoryStorage) -> None:
    storage.merge(many(40))
    chance, cursor, seen = random.Random(1), b"", {}
    for turn in range(60):
        page = feed(storage, cursor, 3)
        cursor = page.cursor
        seen |= {header.id: header.digest for header in page.headers}
        if turn < 30:
            storage.put(memory(f"m{chance.randrange(50):03}", at=2000 + turn, tag=f"t{turn}"))
        elif not page.more:
            break
    assert seen == {one.id: states.digest(one.id, one.state) for one in storage.states()}


def test_what_is_known_already_does_not_enter_the_feed(storage: MemoryStorage) -> None:
    document = memory("m", tag="a")
    storage.put(document)
    use(storage, "m", laptop=2)
    cursor = head(storage)
    storage.put(document)
    use(storage, "m", laptop=1)
    assert head(storage) == cursor
    assert storage.read(lambda s: s.changes_after(cursor)) == 0


def test_a_write_that_fails_leaves_no_trace_in_feed_and_sums(storage: MemoryStorage) -> None:
    storage.put(memory("m"))
    cursor, sums = head(storage), storage.read(lambda s: list(s.digest_sums()))

    def fail(transaction: Any) -> None:
        transaction.merge(memory("m", at=5000, tag="x"))
        transaction.merge(memory("n"))
        transaction.session.head()
        raise RuntimeError("afterwards")

    with pytest.raises(RuntimeError, match="afterwards"):
        storage.submit(fail).result()
    assert head(storage) == cursor
    assert storage.read(lambda s: list(s.digest_sums())) == sums


def test_a_cursor_from_after_the_head_is_recognised(storage: MemoryStorage) -> None:
    storage.merge(many(5))
    before = head(storage)
    storage.merge([memory(f"n{i}") for i in range(100)])
    assert not storage.read(lambda s: s.is_beyond(before))
    assert not storage.read(lambda s: s.is_beyond(b""))
    assert storage.read(lambda s: s.changes_after(before)) >= 100
    assert storage.read(lambda s: s.changes_after(head(storage))) == 0


def test_changes_are_counted_and_not_memories(storage: MemoryStorage) -> None:
    storage.merge(many(5))
    before = storage.read(lambda s: s.changes_after(b""))
    for number in range(3):
        storage.update("m001", lambda one, number=number: one.set_content(f"text {number}"))

    assert storage.read(lambda s: s.changes_after(b"")) - before == 3


@pytest.mark.parametrize(
    "cursor", [b"x", b"\xc1", b"\x93\x01\x02", b"\x91\xff", b"\x91\xa1a", b"\x80"]
)
def test_what_is_no_cursor_is_refused(storage: MemoryStorage, cursor: bytes) -> None:
    for ask in (
        lambda s: s.feed(cursor, limit=1),
        lambda s: s.is_beyond(cursor),
        lambda s: s.changes_after(cursor),
    ):
        with pytest.raises(InvalidValue, match="cursor"):
            storage.read(ask)


# Sums and ranges


def expected_sums(storage: MemoryStorage) -> list[int]:
    sums = [0] * BUCKETS
    for one in storage.states():
        bucket = bucket_of(one.id)
        sums[bucket] += int.from_bytes(states.digest(one.id, one.state))
        for replica, count in one.state.access.items():
            sums[bucket] += access_digest(one.id, replica, count)
    return [one % SUM_MODULUS for one in sums]


def test_sums_follow_every_change(storage: MemoryStorage) -> None:
    assert storage.read(lambda s: list(s.digest_sums())) == [0] * BUCKETS
    storage.merge(many(50))
    for i in range(10):
        use(storage, f"m{i:03}", laptop=i, server=1)
        use(storage, f"m{i:03}", laptop=2 * i)
        storage.put(memory(f"m{i + 5:03}", at=2000 + i, tag="x"))
    for i in range(0, 20, 3):
        storage.forget(f"m{i:03}")
    sums = storage.read(lambda s: list(s.digest_sums()))
    assert sums == expected_sums(storage)
    assert len(set(sums)) > 20


def test_equal_stores_have_equal_sums_whatever_the_order(storage: MemoryStorage) -> None:
    documents = [memory(f"m{i // 2}", at=1000 + i, tag=f"t{i}") for i in range(18)]
    for document in documents:
        storage.merge([document])
    one_way = storage.read(lambda s: list(s.digest_sums()))
    with MemoryStorage(":memory:") as other:
        for document in reversed(documents):
            other.merge([document])
        assert expected_sums(other) == one_way


def test_a_bucket_is_listed_in_pages_by_id(storage: MemoryStorage) -> None:
    names = [f"{letter}{i}" for letter in ("a", "Z", "é", "日", "~") for i in range(60)]
    storage.merge(memory(name) for name in names)
    listed: list[str] = []
    for bucket in range(BUCKETS):
        after, page = "", None
        while page is None or page:
            page = storage.read(lambda s, b=bucket, a=after: s.headers_in({b}, after=a, limit=2))
            here = [header.id for header in page]
            assert here == sorted(here, key=str.encode)
            assert all(bucket_of(one) == bucket and one.encode() > after.encode() for one in here)
            listed += here
            after = here[-1] if here else after
    assert sorted(listed) == sorted(names)


def test_several_buckets_are_listed_together(storage: MemoryStorage) -> None:
    storage.merge(many(40))
    some = {bucket_of(f"m{i:03}") for i in range(0, 40, 3)}
    expected = [f"m{i:03}" for i in range(40) if bucket_of(f"m{i:03}") in some]
    listed = storage.read(lambda s: s.headers_in(some, after="", limit=100))
    assert [header.id for header in listed] == expected
    assert storage.read(lambda s: s.headers_in(set(), after="", limit=100)) == []


def test_many_are_loaded_with_their_headers_and_unknown_ones_are_left_out(
    storage: MemoryStorage,
) -> None:
    storage.merge(many(5))
    use(storage, "m001", laptop=4)
    storage.forget("m002")
    found = storage.read(lambda s: s.load_many(["m001", "m002", "nobody", "m001"]))
    by_id = {header.id: (header, state) for header, state in found}
    assert len(found) == len(by_id) == 2
    assert by_id["m001"][0].access == {"laptop": 4}
    assert by_id["m002"][0].life == 2
    assert all(states.decode(state)[0] == name for name, (_, state) in by_id.items())
    assert storage.read(lambda s: s.load_many([])) == []


def test_what_is_prefetched_is_loaded_and_saved_as_ever(storage: MemoryStorage) -> None:
    storage.merge(many(3))

    def work(transaction: Any) -> list[Any]:
        transaction.prefetch(["m002", "new", "m000", "m002"])
        transaction.merge(memory("new"))
        transaction.merge(memory("m000", at=2000, tag="x"))
        return [transaction.load(name) is not None for name in ("m000", "m001", "m002", "new")]

    assert storage.submit(work).result() == [True] * 4
    assert storage.get("m000").get_tags() == ["x"]
    assert storage.count() == 4


# Peers and quarantine


def test_what_is_kept_of_peers_is_read_as_last_written(storage: MemoryStorage) -> None:
    write(storage, lambda s: s.set_peer("b", "first"))
    write(storage, lambda s: s.set_peer("a", "other"))
    write(storage, lambda s: s.set_peer("b", "second"))
    assert storage.read(lambda s: s.peer("b")) == "second"
    assert storage.read(lambda s: s.peer("nobody")) is None
    assert storage.read(lambda s: s.peers()) == [("a", "other"), ("b", "second")]


def test_states_kept_apart_are_listed_by_stamp_until_they_are_released(
    storage: MemoryStorage,
) -> None:
    def apart(memory_id: str, stamp: int, state: bytes = b"state") -> Quarantined:
        return Quarantined(memory_id, state.ljust(16)[:16], stamp, state, "far away")

    kept = [apart("a", 300), apart("b", 100), apart("a", 200, b"\0\xff"), apart("c", 200)]
    for one in (*kept, kept[0]):
        write(storage, lambda s, one=one: s.quarantine(one))
    by_stamp = [kept[1], kept[2], kept[3], kept[0]]
    assert storage.read(lambda s: s.quarantined()) == by_stamp
    assert storage.read(lambda s: s.quarantined(before=200)) == by_stamp[:1]
    assert storage.read(lambda s: s.quarantined_count()) == 4
    among = storage.read(lambda s: s.quarantined_among(["a", "c", "nobody"]))
    assert among == {(one.id, one.digest) for one in kept if one.id != "b"}
    assert storage.read(lambda s: s.quarantined(before=201, limit=2)) == by_stamp[:2]
    write(storage, lambda s: s.release(kept[2]))
    assert storage.read(lambda s: s.quarantined()) == [kept[1], kept[3], kept[0]]
    assert feed(storage).headers == []
