"""A shared folder, and what tools that copy files do to it."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.errors import InvalidFrame, PeerUnavailable
from chrysalis_memory.replication import frames, segments
from chrysalis_memory.replication.folder import FolderMedium, FolderTransport
from chrysalis_memory.replication.medium import MediumTransport
from chrysalis_memory.replication.messages import (
    AskSums,
    Item,
    Offer,
    Push,
    Sender,
    Since,
    Wanted,
)
from chrysalis_memory.replication.protocol import PAGE, Report
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.replicator import sync
from chrysalis_memory.replication.segments import Segment
from chrysalis_memory.replication.transport import exchange

Open = Callable[..., Replica]
NAME = "0123456789abcdef"
PATH = f"{NAME}-{NAME}/00000001.chrysalis"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def open_replica(open_store: Callable[..., MemoryStorage]) -> Open:
    return lambda name: Replica(open_store(f"{name}.db", name))


@pytest.fixture
def ada(open_replica: Open) -> Replica:
    return open_replica("ada")


@pytest.fixture
def ben(open_replica: Open) -> Replica:
    return open_replica("ben")


async def meet(folder: Path, *replicas: Replica) -> Report:
    """Synchronise with the folder, one after the other; return the last report."""
    report = Report()
    for replica in replicas:
        report = await sync(replica, FolderTransport(folder))
    return report


def put(replica: Replica, *ids: str, text: str = "text of") -> None:
    writer = replica.storage.instance
    replica.storage.put_many([MemoryDocument(one, f"{text} {one}", None, writer) for one in ids])


def ids(replica: Replica) -> set[str]:
    return {document.id for document in replica.storage.states()}


def segments_of(folder: Path, replica: Replica) -> list[Path]:
    return sorted(folder.glob(f"{replica.storage.replica}-*/*.chrysalis"))


# What is written


async def test_each_replica_writes_numbered_segments_into_a_folder_of_its_own(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    put(ben, "b")
    await meet(folder, ada, ben)
    put(ada, "a2")
    await meet(folder, ada)
    assert ["00000001.chrysalis", "00000002.chrysalis"] == [
        path.name for path in segments_of(folder, ada)
    ]
    assert ["00000001.chrysalis"] == [path.name for path in segments_of(folder, ben)]
    assert 3 == len([path for path in folder.rglob("*") if path.is_file()])


async def test_what_others_wrote_is_not_written_again(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    report = await meet(folder, ada, ben)
    assert (1, 0) == (report.received, report.sent)
    assert [] == segments_of(folder, ben)


async def test_uses_counted_since_are_written_though_the_memory_is_the_same(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    put(ada, "a", "b")
    await meet(folder, ada, ben)
    ben.storage.record_access({"a": 2})
    report = await meet(folder, ben)
    assert 1 == report.sent
    await meet(folder, ada)
    memory = ada.storage.get("a")
    assert memory is not None
    assert 2 == memory.get_access_count()


async def test_uses_that_two_others_wrote_apart_are_not_written_together_again(
    folder: Path, tmp_path: Path, ada: Replica, ben: Replica, open_replica: Open
) -> None:
    put(ada, "m")
    await meet(folder, ada, ben)
    ada.storage.record_access({"m": 2})
    ben.storage.record_access({"m": 3})
    await meet(folder, ada)
    last = segments_of(folder, ada)[-1].rename(tmp_path / "on-its-way")
    await meet(folder, ben)
    last.rename(segments_of(folder, ada)[-1].with_name("00000002.chrysalis"))
    report = await meet(folder, open_replica("cy"))
    assert (3, 0) == (report.received, report.sent)


async def test_a_first_sync_of_many_memories_writes_a_segment_for_every_thousand(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    put(ada, *(f"m{i}" for i in range(3 * PAGE)))
    await meet(folder, ada)
    assert 3 == len(segments_of(folder, ada))
    report = await meet(folder, ben)
    assert 3 * PAGE == report.merged


async def test_a_long_pull_tells_how_much_is_left(folder: Path, ada: Replica, ben: Replica) -> None:
    put(ada, *(f"m{i}" for i in range(3 * PAGE)))
    await meet(folder, ada)
    left: list[int] = []
    await sync(ben, FolderTransport(folder), progress=lambda report: left.append(report.behind))
    assert [2 * PAGE, PAGE, 0] == left[:3]


async def test_many_small_segments_are_read_in_one_page(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    for turn in range(10):
        put(ada, f"a{turn}")
        await meet(folder, ada)
    report = await meet(folder, ben)
    assert (10, 10) == (report.received, report.merged)
    # Two pages and one offer: what was merged is offered, and not wanted.
    assert 6 == report.messages


async def test_large_memories_are_shared_out_over_segments_and_pages(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    for turn in range(20):  # more than a frame holds
        put(ada, f"large{turn}", text="x" * 1_000_000)
    await meet(folder, ada)
    assert 5 == len(segments_of(folder, ada))
    assert all(path.stat().st_size < 5 << 20 for path in segments_of(folder, ada))
    await meet(folder, ben)
    assert ids(ada) == ids(ben)


async def test_own_segments_are_not_read_back(folder: Path, ada: Replica) -> None:
    put(ada, "a")
    first = await meet(folder, ada)
    second = await meet(folder, ada)
    assert (1, 0, 0) == (first.sent, first.received, second.received)


async def test_a_push_that_comes_twice_is_written_once(folder: Path) -> None:
    transport = FolderTransport(folder)
    sender = Sender(NAME, bytes.fromhex(NAME), 1)
    item = Item(MemoryDocument(id="m", content="text").to_bytes(), {})
    await exchange(transport, Since(sender, b"", PAGE))
    await exchange(transport, Offer(sender, []))
    for _ in range(2):
        await exchange(transport, Push(NAME, [item]))
    assert [PATH] == [str(path.relative_to(folder)) for path in folder.glob("*/*")]


async def test_a_segment_tells_how_far_its_replica_had_come_when_it_offered(folder: Path) -> None:
    transport = FolderTransport(folder)
    sender = Sender(NAME, bytes.fromhex(NAME), 1)
    item = Item(MemoryDocument(id="m", content="text").to_bytes(), {})
    await exchange(transport, Since(sender, b"", PAGE))
    await exchange(transport, Offer(sender._replace(changes=5), []))
    await exchange(transport, Push(NAME, [item]))
    frame = (folder / PATH).read_bytes()
    assert 5 == segments.decode(Segment(f"{NAME}-{NAME}", 1), frame).changes


async def test_two_processes_that_sync_one_memory_leave_each_other_their_numbers(
    folder: Path, ben: Replica
) -> None:
    sender = Sender(NAME, bytes.fromhex(NAME), 1)
    both = [FolderTransport(folder), FolderTransport(folder)]
    for transport in both:
        await exchange(transport, Since(sender, b"", PAGE))
    for number, transport in enumerate(both):
        item = Item(MemoryDocument(id=f"m{number}", content="text").to_bytes(), {})
        await exchange(transport, Push(NAME, [item]))
    await meet(folder, ben)
    assert {"m0", "m1"} == ids(ben)


# What arrives incomplete


async def arrived(folder: Path, ada: Replica) -> list[Path]:
    """Have three segments lie in the folder, each with one memory."""
    for memory_id in ("one", "two", "three"):
        put(ada, memory_id)
        await meet(folder, ada)
    return segments_of(folder, ada)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap(path: Path) -> None:
    path.write_bytes(path.with_name("00000003.chrysalis").read_bytes())


def bloat(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(17 << 20))


def newer(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4] += 1
    path.write_bytes(data)


def folded(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, empty, swap, bloat, newer, folded])
async def test_a_segment_that_is_not_whole_holds_up_its_feed_alone_and_is_named(
    folder: Path, ada: Replica, ben: Replica, open_replica: Open, damage: Callable[[Path], None]
) -> None:
    cy = open_replica("cy")
    put(cy, "of-cy")
    await meet(folder, cy)
    middle = (await arrived(folder, ada))[1]
    whole = middle.read_bytes()
    damage(middle)
    report = await meet(folder, ben)
    assert {"of-cy", "one"} == ids(ben)
    name = str(middle.relative_to(folder))
    assert [name] == [reason.partition(":")[0] for reason in report.waiting]
    assert report.waiting == (await meet(folder, ben)).waiting
    if middle.is_dir():
        middle.rmdir()
    middle.write_bytes(whole)
    report = await meet(folder, ben)
    assert {"of-cy", "one", "two", "three"} == ids(ben)
    assert () == report.waiting


async def test_a_later_segment_that_arrived_first_waits_for_the_earlier_one(
    folder: Path, tmp_path: Path, ada: Replica, ben: Replica
) -> None:
    middle = (await arrived(folder, ada))[1]
    middle.rename(tmp_path / "on-its-way")
    report = await meet(folder, ben)
    assert {"one"} == ids(ben)
    name = str(middle.relative_to(folder))
    assert (f"{name}: has not arrived, but later ones have",) == report.waiting
    (tmp_path / "on-its-way").rename(middle)
    report = await meet(folder, ben)
    assert {"one", "two", "three"} == ids(ben)
    assert () == report.waiting


async def test_a_copy_that_a_tool_made_of_a_segment_is_named_and_not_read(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    first, *_ = await arrived(folder, ada)
    copy = first.with_name("00000001 (conflicted copy).chrysalis")
    shutil.copy(first, copy)
    for _ in range(2):
        report = await meet(folder, ben)
        assert {"one", "two", "three"} == ids(ben)
        assert [str(copy.relative_to(folder))] == [one.partition(":")[0] for one in report.waiting]


async def test_files_that_belong_to_others_are_passed_over(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    first, *_ = await arrived(folder, ada)
    (folder / "read me.txt").write_text("mine")
    (folder / "photos").mkdir()
    (folder / "photos" / "00000001.chrysalis").write_text("mine")
    for name in (".syncthing.00000004.chrysalis.tmp", ".00000004.chrysalis.ab.partial", "notes"):
        first.with_name(name).write_text("mine")
    report = await meet(folder, ben)
    assert {"one", "two", "three"} == ids(ben)
    assert () == report.waiting


class PulledOut(FolderTransport):
    """The answer to whatever is given does not arrive."""

    async def push(self, frame: bytes) -> bytes:
        back = await super().push(frame)
        if isinstance(frames.decode(frame), Push):
            raise PeerUnavailable("pulled out")
        return back


async def test_a_sync_that_was_cut_before_it_ended_reads_its_own_segments_again(
    folder: Path, ada: Replica
) -> None:
    put(ada, "a")
    name = ada.storage.replica
    with pytest.raises(PeerUnavailable, match="pulled out"):
        await sync(ada, PulledOut(folder))
    report = await meet(folder, ada)
    assert (1, 0, 0) == (report.received, report.merged, report.sent)
    assert name == ada.storage.replica
    assert 1 == len(segments_of(folder, ada))


# Folders that lost what they held


async def test_a_folder_that_was_emptied_is_filled_again_by_whoever_holds_the_memories(
    folder: Path, ada: Replica, ben: Replica, open_replica: Open
) -> None:
    put(ada, "a")
    put(ben, "b")
    await meet(folder, ada, ben, ada)
    for path in list(folder.iterdir()):
        shutil.rmtree(path)
    name = ada.storage.replica
    await meet(folder, ada)
    assert name != ada.storage.replica
    await meet(folder, cy := open_replica("cy"))
    assert {"a", "b"} == ids(cy)


async def test_what_a_lost_replica_had_written_is_written_by_those_who_read_it(
    folder: Path, ada: Replica, ben: Replica, open_replica: Open
) -> None:
    put(ada, "a")
    await meet(folder, ada, ben)
    shutil.rmtree(segments_of(folder, ada)[0].parent)
    name = ben.storage.replica
    await meet(folder, ben)
    assert name == ben.storage.replica
    await meet(folder, cy := open_replica("cy"))
    assert {"a"} == ids(cy)


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "new"])
async def test_of_a_folder_that_lost_something_only_that_is_written_again(
    folder: Path, ada: Replica, ben: Replica, is_kept: bool
) -> None:
    put(ada, "a")
    put(ben, "b")
    transport = FolderTransport(folder)
    await sync(ada, transport)
    await meet(folder, ben)
    await sync(ada, transport)
    shutil.rmtree(segments_of(folder, ben)[0].parent)
    report = await sync(ada, transport if is_kept else FolderTransport(folder))
    assert 1 == report.sent
    assert 2 == len(segments_of(folder, ada))


async def test_numbers_are_never_used_twice_by_a_replica_whose_segments_are_gone(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    await meet(folder, ada, ben)
    lost = segments_of(folder, ada)[0]
    shutil.rmtree(lost.parent)
    put(ada, "a2")
    await meet(folder, ada)
    assert not lost.exists()
    await meet(folder, ben)
    assert {"a", "a2"} == ids(ben)


async def test_a_transport_that_is_kept_notices_too_that_a_folder_was_emptied(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    put(ada, "a")
    transport = FolderTransport(folder)
    await sync(ada, transport)
    shutil.rmtree(segments_of(folder, ada)[0].parent)
    await sync(ada, transport)
    await meet(folder, ben)
    assert {"a"} == ids(ben)


async def test_a_folder_that_moves_is_read_from_the_beginning_and_nothing_written_twice(
    folder: Path, tmp_path: Path, ada: Replica
) -> None:
    put(ada, "a")
    await meet(folder, ada)
    name = ada.storage.replica
    moved = folder.rename(tmp_path / "moved")
    report = await meet(moved, ada)
    assert (1, 0) == (report.received, report.sent)
    assert name == ada.storage.replica
    put(ada, "a2")
    await meet(moved, ada)
    assert 2 == len(segments_of(moved, ada))


# Waiting for news


async def test_a_sync_that_may_wait_ends_as_soon_as_something_arrives(
    folder: Path, ada: Replica, ben: Replica
) -> None:
    loop, looked = asyncio.get_running_loop(), asyncio.Event()

    class Watched(FolderMedium):
        def folders(self) -> list[str]:
            found = super().folders()
            loop.call_soon_threadsafe(looked.set)
            return found

    transport = MediumTransport(Watched(folder), poll_seconds=0.001)
    await sync(ben, transport)
    looked.clear()
    waiting = asyncio.create_task(sync(ben, transport, wait_seconds=300))
    await looked.wait()
    put(ada, "a")
    await meet(folder, ada)
    await asyncio.wait_for(waiting, 20)
    assert {"a"} == ids(ben)


async def test_a_sync_that_may_wait_ends_without_news_when_its_time_is_over(
    folder: Path, ben: Replica
) -> None:
    transport = FolderTransport(folder, poll_seconds=60)
    await sync(ben, transport)
    report = await asyncio.wait_for(sync(ben, transport, wait_seconds=0.01), 20)
    assert 0 == report.received


# Folders that cannot be used


async def test_a_folder_that_is_not_there_is_an_error_that_names_it(
    tmp_path: Path, ada: Replica
) -> None:
    with pytest.raises(PeerUnavailable, match=r"'.*/nowhere' is not there; create it"):
        await meet(tmp_path / "nowhere", ada)
    assert not (tmp_path / "nowhere").exists()


async def test_a_file_in_the_place_of_a_folder_is_an_error_that_names_it(
    tmp_path: Path, ada: Replica
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PeerUnavailable, match=r"'.*/file' is not there"):
        await meet(tmp_path / "file", ada)


async def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(
    folder: Path, ada: Replica
) -> None:
    put(ada, "a")
    epoch = ada.storage.read(lambda session: session.meta("epoch"))
    # A file where its own folder would be stops root too, whom permissions do not.
    (folder / f"{ada.storage.replica}-{epoch}").touch()
    with pytest.raises(PeerUnavailable, match=r"'.*/shared' cannot be used"):
        await meet(folder, ada)


def test_a_folder_is_known_by_one_name_however_it_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    ways = [folder, tmp_path / "link", "shared", "shared/", "./shared/../shared", "~/shared"]
    assert {str(folder.resolve())} == {FolderTransport(way).name for way in ways}


# Files


def test_a_file_is_created_once_and_never_overwritten(folder: Path) -> None:
    medium = FolderMedium(folder)
    assert [True, False] == [medium.create(PATH, data) for data in (b"first", b"second")]
    assert b"first" == medium.read(PATH)
    assert ["00000001.chrysalis"] == [path.name for path in folder.glob("*/*")]


def test_where_there_are_no_hard_links_files_are_created_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    medium = FolderMedium(folder)
    assert [True, False] == [medium.create(PATH, data) for data in (b"first", b"second")]
    assert b"first" == medium.read(PATH)
    assert ["00000001.chrysalis"] == [path.name for path in folder.glob("*/*")]


def test_what_a_killed_sync_left_half_written_is_removed_after_an_hour(folder: Path) -> None:
    medium = FolderMedium(folder)
    medium.create(PATH, b"first")
    old, young = ((folder / PATH).with_name(f".0000000{n}.chrysalis.ab.partial") for n in (2, 3))
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    medium.create(PATH.replace("1.", "2."), b"second")
    assert (False, True) == (old.exists(), young.exists())


# Requests that do not belong


async def test_a_folder_answers_no_question_about_sums(folder: Path) -> None:
    with pytest.raises(InvalidFrame, match="AskSums"):
        await exchange(FolderTransport(folder), AskSums())


async def test_an_offer_by_one_who_has_not_asked_is_refused(folder: Path) -> None:
    transport = FolderTransport(folder)
    with pytest.raises(InvalidFrame, match="asked first"):
        await exchange(transport, Offer(Sender(NAME, bytes(8), 1), []))
    await exchange(transport, Since(Sender(NAME[::-1], bytes(8), 1), b"", PAGE))
    with pytest.raises(InvalidFrame, match="asked first"):
        await exchange(transport, Offer(Sender(NAME, bytes(8), 1), []))
    with pytest.raises(InvalidFrame, match="not offered"):
        await exchange(transport, Push(NAME, []))
    with pytest.raises(InvalidFrame, match="answer"):
        await transport.push(frames.encode(Wanted([], behind=False)))
