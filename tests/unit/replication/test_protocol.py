"""Two replicas and the steps between them."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.errors import InvalidFrame, ReplicationError, StorageError
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import (
    AskSums,
    Item,
    Items,
    Offer,
    Page,
    Request,
    Sender,
    Since,
    Wanted,
)
from chrysalis_memory.replication.protocol import (
    PAGE,
    Ask,
    Look,
    Merge,
    Record,
    Report,
    synchronise,
)
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import answer

NOW_US = 1_800_000_000_000_000
MINUTE_US = 60_000_000
Open = Callable[..., Replica]
Peer = Callable[[Request], Any]


@pytest.fixture
def open_replica(tmp_path: Path, request: pytest.FixtureRequest) -> Open:
    def open_one(name: str, *, wall_us: Callable[[], int] = lambda: NOW_US) -> Replica:
        store = MemoryStorage(
            tmp_path / f"{name}.db", name, clock=HybridLogicalClock(wall_us), synchronous="NORMAL"
        )
        request.addfinalizer(store.close)
        return Replica(store)

    return open_one


@pytest.fixture
def ada(open_replica: Open) -> Replica:
    return open_replica("ada")


@pytest.fixture
def ben(open_replica: Open) -> Replica:
    return open_replica("ben")


class Traffic:
    """Carries requests to a replica, and counts."""

    def __init__(self, peer: Replica) -> None:
        self.peer = peer
        self.requests: list[Request] = []
        self.size_bytes = 0

    def __call__(self, request: Request) -> Any:
        frame = frames.encode(request)
        back = answer(self.peer, frame)
        self.requests.append(request)
        self.size_bytes += len(frame) + len(back)
        return frames.answer(back)


def sync(mine: Replica, peer: Peer | Replica, *, steps: int = 1_000_000) -> Report:
    """Synchronise with a peer, or begin to: only the first ``steps`` are done."""
    carry = Traffic(peer) if isinstance(peer, Replica) else peer
    mine.release()
    report = Report()
    going = synchronise(mine.record("peer"), report)
    come: Any = None
    for _ in range(steps):
        try:
            step = going.send(come)
        except StopIteration:
            return report
        come = carry(step.request) if isinstance(step, Ask) else mine.do(step, "peer")
    going.close()
    return report


def put(replica: Replica, *ids: str, text: str = "text of") -> None:
    for memory_id in ids:
        clock = replica.storage.clock
        replica.storage.put(
            MemoryDocument(memory_id, f"{text} {memory_id}", None, "x", clock=clock)
        )


def states(replica: Replica) -> dict[str, tuple[bytes, dict[str, int]]]:
    return {
        document.id: (document.to_bytes(), dict(document.state.access))
        for document in replica.storage.states()
    }


def the_same(*replicas: Replica) -> bool:
    first, *others = map(states, replicas)
    return all(first == other for other in others)


def test_both_sides_hold_everything_afterwards_and_know_it(ada: Replica, ben: Replica) -> None:
    put(ada, "a", "both")
    put(ben, "b", "both")
    report = sync(ada, ben)
    assert the_same(ada, ben)
    assert {"a", "b", "both"} == states(ada).keys()
    assert True is report.verified
    assert (1, 1) == (report.sent, report.merged)


def test_when_nothing_is_new_two_messages_of_less_than_300_bytes_say_so(
    ada: Replica, ben: Replica
) -> None:
    put(ada, *(f"a{i}" for i in range(100)))
    put(ben, *(f"b{i}" for i in range(100)))
    sync(ada, ben)
    traffic = Traffic(ben)
    report = sync(ada, traffic)
    assert 2 == report.messages
    assert [Since] == [type(request) for request in traffic.requests]
    assert traffic.size_bytes <= 300
    assert True is report.verified


def test_a_hundred_changes_on_either_side_take_at_most_ten_messages(
    ada: Replica, ben: Replica
) -> None:
    put(ada, *(f"m{i}" for i in range(1_500)))
    sync(ada, ben)
    put(ada, *(f"m{i}" for i in range(100)), text="Ada's")
    put(ben, *(f"m{i}" for i in range(50, 150)), text="Ben's")
    report = sync(ada, ben)
    assert the_same(ada, ben)
    assert report.messages <= 10


def test_more_than_a_page_is_pulled_and_pushed_page_by_page(ada: Replica, ben: Replica) -> None:
    put(ada, *(f"a{i}" for i in range(PAGE + 1)))
    put(ben, *(f"b{i}" for i in range(2 * PAGE)))
    seen: list[int] = []
    report = Report()
    going = synchronise(Record(), report, lambda so_far: seen.append(so_far.behind))
    come: Any = None
    traffic = Traffic(ben)
    while True:
        try:
            step = going.send(come)
        except StopIteration:
            break
        come = traffic(step.request) if isinstance(step, Ask) else ada.do(step, "peer")
    assert the_same(ada, ben)
    assert (PAGE + 1, 2 * PAGE) == (report.sent, report.merged)
    assert PAGE == seen[0]
    assert 0 == report.behind


def test_a_sync_that_is_cut_after_any_step_loses_nothing_and_the_next_one_ends_it(
    open_replica: Open,
) -> None:
    steps = 0
    while True:
        ada, ben = open_replica(f"ada{steps}"), open_replica(f"ben{steps}")
        put(ada, "a", "both")
        put(ben, "b", "both", text="Ben's")
        ada.storage.record_access({"both": 2})
        ben.storage.record_access({"both": 3})
        cut = sync(ada, ben, steps=steps)
        sync(ada, ben)
        assert the_same(ada, ben)
        assert {"a", "b", "both"} == states(ada).keys()
        both = ada.storage.get("both")
        assert both is not None
        assert 5 == both.get_access_count()
        if cut.verified is not None:
            break
        steps += 1
    assert steps > 10


def test_every_request_may_arrive_twice(ada: Replica, ben: Replica) -> None:
    put(ada, "a", "both")
    put(ben, "b", "both", text="Ben's")
    traffic = Traffic(ben)
    report = sync(ada, lambda request: (traffic(request), traffic(request))[1])
    assert the_same(ada, ben)
    assert True is report.verified


def test_uses_counted_apart_add_up_without_sending_the_memory_again(
    ada: Replica, ben: Replica
) -> None:
    put(ada, "m")
    sync(ada, ben)
    ada.storage.record_access({"m": 2})
    ben.storage.record_access({"m": 3})
    report = sync(ada, ben)
    counts = [r.storage.get("m").get_access_count() for r in (ada, ben)]  # type: ignore[union-attr]
    assert [5, 5] == counts
    assert 0 == report.received == report.sent


def test_forgetting_travels_and_beats_an_edit_that_knew_nothing_of_it(
    ada: Replica, ben: Replica
) -> None:
    put(ada, "m")
    sync(ada, ben)
    ada.storage.forget("m")
    put(ben, "m", text="edited")
    sync(ben, ada)
    assert the_same(ada, ben)
    assert (None, None) == (ada.storage.get("m"), ben.storage.get("m"))


# Sums


def skip(replica: Replica, peer: Replica) -> None:
    """Have a replica believe that it pulled and pushed what it did not."""

    def work(transaction: Any) -> None:
        theirs, mine = (
            bytes.fromhex(session.meta("epoch")) + session.head()
            for session in (peer.storage.submit(lambda t: t.session).result(), transaction.session)
        )
        transaction.session.set_peer("peer peer", json.dumps([theirs.hex(), mine.hex()]))

    replica.storage.submit(work).result()


def test_what_cursors_have_passed_over_is_found_by_the_sums_and_repaired(
    ada: Replica, ben: Replica
) -> None:
    put(ada, *(f"m{i}" for i in range(300)))
    sync(ada, ben)
    put(ada, "only-ada", "m7", text="Ada's")
    put(ben, "only-ben", "m9", text="Ben's")
    skip(ada, ben)
    report = sync(ada, ben)
    assert the_same(ada, ben)
    assert {"only-ada", "only-ben"} < states(ben).keys()
    assert True is report.verified
    assert 1 <= report.repaired <= 4


def test_a_lost_use_count_is_found_by_the_sums(ada: Replica, ben: Replica) -> None:
    put(ada, "m")
    sync(ada, ben)
    ben.storage.record_access({"m": 1})
    skip(ada, ben)
    assert True is sync(ada, ben).verified
    assert the_same(ada, ben)


# Identity


def test_a_copied_file_is_a_replica_of_its_own(
    open_replica: Open, tmp_path: Path, ben: Replica
) -> None:
    ada = open_replica("ada")
    put(ada, "m")
    ada.storage.record_access({"m": 1})
    sync(ada, ben)
    ada.storage.close()
    shutil.copy(tmp_path / "ada.db", tmp_path / "copy.db")
    ada, copy = open_replica("ada"), open_replica("copy")
    assert ada.storage.replica != copy.storage.replica
    put(ada, "of-ada")
    put(copy, "of-copy")
    for one in (ada, copy):
        one.storage.record_access({"m": 2})
    sync(ada, ben)
    sync(copy, ben)
    sync(ada, ben)
    assert the_same(ada, ben, copy)
    assert {"m", "of-ada", "of-copy"} == states(ben).keys()
    assert 5 == ben.storage.get("m").get_access_count()  # type: ignore[union-attr]


def test_a_clone_holds_the_same_under_a_name_of_its_own(
    open_replica: Open, ada: Replica, tmp_path: Path
) -> None:
    put(ada, "m")
    name = ada.storage.clone(tmp_path / "clone.db")
    clone = open_replica("clone")
    assert the_same(ada, clone)
    assert name == clone.storage.replica != ada.storage.replica


def test_a_file_that_is_opened_again_where_it_was_keeps_its_identity(open_replica: Open) -> None:
    first = open_replica("ada")
    replica = first.storage.replica
    first.storage.close()
    assert replica == open_replica("ada").storage.replica


def test_a_backup_put_back_in_place_is_told_by_its_peer_and_takes_a_new_name(
    open_replica: Open, tmp_path: Path, ben: Replica
) -> None:
    ada = open_replica("ada")
    put(ada, "old")
    sync(ada, ben)
    ada.storage.backup(tmp_path / "backup.db")
    put(ada, "lost-here", "lost-too")
    sync(ada, ben)
    name = ada.storage.replica
    ada.storage.close()
    (tmp_path / "ada.db").write_bytes((tmp_path / "backup.db").read_bytes())  # the same inode
    restored = open_replica("ada")
    assert name == restored.storage.replica
    put(restored, "new")
    report = sync(restored, ben)
    assert name != restored.storage.replica
    assert the_same(restored, ben)
    assert {"old", "lost-here", "lost-too", "new"} == states(ben).keys()
    assert True is report.verified


def test_a_peer_that_was_restored_takes_a_new_epoch_when_it_is_asked_for_what_it_lost(
    open_replica: Open, tmp_path: Path, ben: Replica
) -> None:
    ada = open_replica("ada")
    put(ada, "old")
    ada.storage.backup(tmp_path / "backup.db")
    put(ada, "lost-here", "lost-too")
    sync(ben, ada)
    name = ada.storage.replica
    ada.storage.close()
    (tmp_path / "ada.db").write_bytes((tmp_path / "backup.db").read_bytes())
    restored = open_replica("ada")
    put(restored, "new")
    sync(ben, restored)
    assert name != restored.storage.replica
    assert the_same(restored, ben)
    assert {"old", "lost-here", "lost-too", "new"} == states(restored).keys()


def test_another_store_at_the_same_address_is_given_everything(
    open_replica: Open, ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    put(ben, "b")
    sync(ada, ben)
    other = open_replica("other")
    put(other, "o")
    sync(ada, other)
    assert the_same(ada, other)
    assert {"a", "b", "o"} == states(other).keys()


# Quarantine


def test_a_stamp_from_the_future_is_kept_apart_and_merged_by_itself_once_it_is_valid(
    open_replica: Open,
) -> None:
    now = [NOW_US]
    ahead = open_replica("ahead", wall_us=lambda: NOW_US + 60 * MINUTE_US)
    right = open_replica("right", wall_us=lambda: now[0])
    put(right, "now")
    put(ahead, "later", "now")
    report = sync(right, ahead)
    # "now" comes twice: as it was there, and joined with what was pushed.
    assert (3, 0) == (report.quarantined, report.merged)
    assert report.verified is None
    assert None is right.storage.get("later")
    kept = right.storage.read(lambda session: session.quarantined())
    assert {"later", "now"} == {one.id for one in kept}
    again = sync(right, ahead)
    assert 0 == again.received
    now[0] += 56 * MINUTE_US
    assert 3 == right.release()
    assert the_same(right, ahead)
    assert [] == right.storage.read(lambda session: session.quarantined())
    assert True is sync(right, ahead).verified


def test_what_a_damaged_file_cannot_let_go_is_told_and_not_tried_for_ever(
    open_replica: Open, tmp_path: Path
) -> None:
    now = [NOW_US]
    ahead = open_replica("ahead", wall_us=lambda: NOW_US + 60 * MINUTE_US)
    right = open_replica("right", wall_us=lambda: now[0])
    put(ahead, "later")
    sync(right, ahead)
    right.storage.close()
    index = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_quarantine_1'"
    with closing(apsw.Connection(str(tmp_path / "right.db"))) as outside:
        first_byte = (outside.execute(index).get - 1) * outside.pragma("page_size")
    data = bytearray((tmp_path / "right.db").read_bytes())
    at = data.index(b"later", first_byte)
    data[at : at + 5] = b"other"
    (tmp_path / "right.db").write_bytes(data)
    now[0] += 56 * MINUTE_US
    with pytest.raises(StorageError, match=r"memory 'later' .*check --repair"):
        open_replica("right", wall_us=lambda: now[0]).release()


def test_uses_of_a_memory_that_is_kept_apart_are_kept_with_it(open_replica: Open) -> None:
    now = [NOW_US]
    ahead = open_replica("ahead", wall_us=lambda: NOW_US + 60 * MINUTE_US)
    right = open_replica("right", wall_us=lambda: now[0])
    put(ahead, "later")
    sync(right, ahead)
    ahead.storage.record_access({"later": 2})
    sync(right, ahead)
    assert 0 == sync(right, ahead).received
    now[0] += 56 * MINUTE_US
    right.release()
    assert {"later": 2} == {one.id: one.get_access_count() for one in right.storage.all()}
    report = sync(right, ahead)
    assert (0, True) == (report.repaired, report.verified)


def test_what_is_pushed_from_the_future_is_kept_apart_by_the_peer(open_replica: Open) -> None:
    ahead = open_replica("ahead", wall_us=lambda: NOW_US + 60 * MINUTE_US)
    right = open_replica("right")
    put(ahead, "later")
    report = sync(ahead, right)
    assert (1, 1) == (report.sent, report.refused)
    assert None is right.storage.get("later")
    assert 1 == right.storage.read(lambda session: session.quarantined_count())


# Peers that do not keep to the protocol


def test_a_peer_that_does_not_send_what_it_offers_is_an_error_and_the_cursor_stays(
    ada: Replica, ben: Replica
) -> None:
    put(ben, "b")
    traffic = Traffic(ben)

    def silent(request: Request) -> Any:
        come = traffic(request)
        return Items([]) if isinstance(come, Items) else come

    with pytest.raises(ReplicationError, match="'b'"):
        sync(ada, silent)
    assert Record() == ada.record("peer")
    sync(ada, ben)
    assert the_same(ada, ben)


def test_an_answer_of_another_kind_is_an_error(ada: Replica) -> None:
    with pytest.raises(ReplicationError, match="Wanted"):
        sync(ada, lambda _: Wanted([], behind=False))


def test_a_peer_that_always_says_it_has_seen_more_does_not_make_a_sync_endless(
    ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    traffic = Traffic(ben)

    def jealous(request: Request) -> Any:
        come = traffic(request)
        return Wanted([], behind=True) if isinstance(come, Wanted) else come

    with pytest.raises(ReplicationError, match="new name"):
        sync(ada, jealous)


@pytest.mark.parametrize("kind", [Since, Offer])
def test_a_replica_that_another_sync_has_overtaken_keeps_its_name(
    ada: Replica, ben: Replica, kind: type[Request]
) -> None:
    put(ada, "a")
    name, traffic = ada.storage.replica, Traffic(ben)

    def overtaken(request: Request) -> Any:
        if isinstance(request, kind) and "meanwhile" not in states(ada):
            put(ada, "meanwhile")
            sync(ada, ben)
        return traffic(request)

    sync(ada, overtaken)
    assert name == ada.storage.replica
    assert {"a", "meanwhile"} == states(ben).keys()


def test_a_replica_that_is_behind_takes_a_new_name_although_it_is_written_all_the_time(
    ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    name, traffic, written = ada.storage.replica, Traffic(ben), 0
    said = ada.do(Look(), "peer").sender
    seen = json.dumps([said.epoch.hex(), 1_000_000])
    ben.storage.submit(lambda t: t.session.set_peer(f"seen {said.replica}", seen)).result()

    def busy(request: Request) -> Any:
        nonlocal written
        written += 1
        put(ada, f"w{written}")
        return traffic(request)

    sync(ada, busy)
    assert name != ada.storage.replica
    sync(ada, ben)
    assert the_same(ada, ben)


def test_a_memory_that_is_none_is_refused_whole_and_changes_nothing(
    ada: Replica, ben: Replica
) -> None:
    put(ben, "b")
    good = Item(MemoryDocument(id="b", content="text").to_bytes(), {})
    traffic = Traffic(ben)

    def bad(request: Request) -> Any:
        come = traffic(request)
        return Items([good, Item(b"\x93\x01\xa1x\x00", {})]) if isinstance(come, Items) else come

    with pytest.raises(InvalidFrame, match="refused"):
        sync(ada, bad)
    assert {} == states(ada)


def test_a_step_for_the_network_is_none_for_a_store(ada: Replica) -> None:
    with pytest.raises(ValueError, match="Ask"):
        ada.do(Ask(AskSums()), "peer")


def test_a_page_of_whole_memories_needs_no_second_question(ada: Replica) -> None:
    item = Item(MemoryDocument(id="i", content="inline").to_bytes(), {"r": 2})
    page = Page("medium", [], [item], b"mediumxx1", False, b"", 0, 0, False, ("x: not whole",))
    answers = {Since: page, type(None): None}
    merged: list[Merge] = []
    report = Report()
    going = synchronise(Record(), report)
    come: Any = None
    while True:
        try:
            step = going.send(come)
        except StopIteration:
            break
        if isinstance(step, Merge):
            merged.append(step)
        come = (
            answers.get(type(step.request), Wanted([], behind=False))
            if isinstance(step, Ask)
            else ada.do(step, "medium")
        )
    memory = ada.storage.get("i")
    assert memory is not None
    assert 2 == memory.get_access_count()
    assert page.cursor == ada.record("medium").pulled
    assert ("x: not whole",) == report.waiting
    assert report.verified is None


def test_a_forgotten_memory_takes_no_use_counts_from_a_header(store: MemoryStorage):
    store.put(MemoryDocument(id="m", content="Tea is at four"))
    store.forget("m")
    ((header, _),) = store.read(lambda session: session.load_many(["m"]))
    request = Offer(Sender("other", bytes(8), 0), [header._replace(access={"other": 5})])
    answer = Replica(store).answer(request)

    assert answer == Wanted([], behind=False)
    assert store.read(lambda session: session.load_many(["m"]))[0][0] == header
