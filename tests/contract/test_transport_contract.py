"""What every transport does. A new one is one more line in TRANSPORTS."""

import logging
import secrets
import shutil
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import MemoryStore

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from chrysalis_memory.replication.folder import FolderTransport
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.medium import MediumTransport
from chrysalis_memory.replication.objects import ObjectMedium, ObjectStoreTransport
from chrysalis_memory.replication.protocol import PAGE, Ask, Report, synchronise
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.replicator import sync
from chrysalis_memory.replication.transport import LocalTransport, Transport, exchange
from tests.served import served

NOW_US = 1_800_000_000_000_000
MINUTE_US = 60_000_000

Way = Callable[[Replica], AbstractAsyncContextManager[Transport]]
"""Gives the transport that leads to a replica, or to the medium where it leaves its segments."""


def through(make: Callable[[Replica], Transport]) -> Way:
    """Return the way of a transport that is made for one sync and closed after it."""

    @asynccontextmanager
    async def way(peer: Replica) -> AsyncGenerator[Transport, None]:
        transport = make(peer)
        yield transport
        await transport.close()

    return way


class Surroundings:
    """Where a test can put what its transport needs."""

    def __init__(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        self._tmp_path = tmp_path
        self._request = request
        self._made = 0

    def folder(self) -> Path:
        """Return a new folder."""
        self._made += 1
        folder = self._tmp_path / f"shared{self._made}"
        folder.mkdir()
        return folder

    def bucket(self) -> str:
        """Return the URL of a new place in a bucket of a local S3 server."""
        self._made += 1
        return f"{self._request.getfixturevalue('s3_bucket')}/fleet{self._made}"

    def leave(self, opened: ExitStack) -> None:
        """Close something that takes its time, while the test goes on; it is closed at its end."""
        closing = threading.Thread(target=opened.close)
        closing.start()
        self._request.addfinalizer(closing.join)


def in_memory(_: Surroundings) -> Way:
    medium = ObjectMedium(MemoryStore(), name="memory")
    return through(lambda _: MediumTransport(medium))


def in_folder(around: Surroundings) -> Way:
    folder = around.folder()
    return through(lambda _: FolderTransport(folder))


def in_objects(url: str) -> Way:
    return through(lambda _: ObjectStoreTransport(url))


def over_http(around: Surroundings) -> Way:
    @asynccontextmanager
    async def way(peer: Replica) -> AsyncGenerator[Transport, None]:
        server = ExitStack()
        transport = HttpTransport(server.enter_context(served(peer)))
        try:
            yield transport
        finally:
            await transport.close()
            around.leave(server)

    return way


TRANSPORTS: dict[str, Callable[[Surroundings], Way]] = {
    "local": lambda _: through(LocalTransport),
    "http": over_http,
    "folder": in_folder,
    "objects-memory": in_memory,
    "objects-file": lambda around: in_objects(f"file://{around.folder()}"),
    "objects-s3": lambda around: in_objects(around.bucket()),
}


@pytest.fixture(scope="module")
def s3_server() -> Generator[str, None, None]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    surroundings = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
    }  # fmt: skip
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    bucket = f"memories-{secrets.token_hex(8)}"
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(params=TRANSPORTS.values(), ids=TRANSPORTS)
def new_way(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Way]:
    """Make a new way: another folder, another bucket."""
    around = Surroundings(tmp_path, request)
    return lambda: request.param(around)


@pytest.fixture
def way(new_way: Callable[[], Way]) -> Way:
    return new_way()


Open = Callable[..., Replica]


@pytest.fixture
def open_replica(tmp_path: Path, request: pytest.FixtureRequest) -> Open:
    def open_one(name: str, *, wall_us: Callable[[], int] = lambda: NOW_US) -> Replica:
        clock = HybridLogicalClock(wall_us=wall_us)
        store = MemoryStorage(tmp_path / f"{name}.db", name, clock=clock, synchronous="NORMAL")
        request.addfinalizer(store.close)
        return Replica(store)

    return open_one


@pytest.fixture
def ada(open_replica: Open) -> Replica:
    return open_replica("ada")


@pytest.fixture
def ben(open_replica: Open) -> Replica:
    return open_replica("ben")


async def meet(way: Way, mine: Replica, peer: Replica) -> Report:
    async with way(peer) as transport:
        return await sync(mine, transport)


async def begin(way: Way, mine: Replica, peer: Replica, *, steps: int) -> bool:
    """Do only the first steps of a sync; tell whether that was all of it."""
    async with way(peer) as transport:
        going = synchronise(mine.record(transport.name), Report())
        come: Any = None
        for _ in range(steps):
            try:
                step = going.send(come)
            except StopIteration:
                return True
            if isinstance(step, Ask):
                come = await exchange(transport, step.request)
            else:
                come = mine.do(step, transport.name)
        going.close()
        return False


async def settle(way: Way, *replicas: Replica) -> None:
    """Have everybody meet everybody, twice: what the first hears last the others hear then."""
    for _ in range(2):
        for mine in replicas:
            for peer in replicas:
                if mine is not peer:
                    await meet(way, mine, peer)


def put(replica: Replica, *ids: str, text: str = "text of") -> None:
    clock, writer = replica.storage.clock, replica.storage.instance
    replica.storage.put_many(
        [MemoryDocument(one, f"{text} {one}", None, writer, clock=clock) for one in ids]
    )


def states(replica: Replica) -> dict[str, tuple[bytes, dict[str, int]]]:
    return {
        document.id: (document.to_bytes(), dict(document.state.access))
        for document in replica.storage.states()
    }


def assert_same(first: Replica, *others: Replica) -> None:
    for other in others:
        assert states(first) == states(other)


def count(replica: Replica, memory_id: str) -> int:
    memory = replica.storage.get(memory_id)
    assert memory is not None
    return memory.get_access_count()


async def test_both_sides_get_everything(way: Way, ada: Replica, ben: Replica) -> None:
    put(ada, "a", "both")
    put(ben, "b", "both", text="Ben's")
    await settle(way, ada, ben)
    assert_same(ada, ben)
    assert {"a", "b", "both"} == states(ada).keys()


async def test_more_than_a_page_travels_either_way(way: Way, ada: Replica, ben: Replica) -> None:
    put(ada, *(f"a{i}" for i in range(2 * PAGE + 1)))
    put(ben, *(f"b{i}" for i in range(PAGE + 1)))
    await settle(way, ada, ben)
    assert_same(ada, ben)
    assert 3 * PAGE + 2 == len(states(ada))


async def test_when_nothing_is_new_no_memory_travels(way: Way, ada: Replica, ben: Replica) -> None:
    put(ada, *(f"a{i}" for i in range(20)))
    put(ben, *(f"b{i}" for i in range(20)))
    await settle(way, ada, ben)
    for mine, peer in ((ada, ben), (ben, ada)):
        report = await meet(way, mine, peer)
        assert (2, 0, 0) == (report.messages, report.sent, report.received)
        assert () == report.waiting
        assert 0 == report.behind


async def test_only_what_changed_travels(way: Way, ada: Replica, ben: Replica) -> None:
    put(ada, *(f"a{i}" for i in range(20)))
    await settle(way, ada, ben)
    put(ada, "a7", text="changed")
    reports = [await meet(way, ada, ben), await meet(way, ben, ada)]
    assert_same(ada, ben)
    assert 1 == reports[0].sent
    assert sum(report.received for report in reports) <= 1


async def test_forgetting_travels_and_beats_an_edit_that_knew_nothing_of_it(
    way: Way, ada: Replica, ben: Replica
) -> None:
    put(ada, "m", "kept")
    await settle(way, ada, ben)
    ada.storage.forget("m")
    put(ben, "m", text="edited")
    await settle(way, ben, ada)
    assert_same(ada, ben)
    assert (None, None) == (ada.storage.get("m"), ben.storage.get("m"))


async def test_uses_counted_apart_add_up(way: Way, ada: Replica, ben: Replica) -> None:
    put(ada, "m")
    await settle(way, ada, ben)
    ada.storage.record_access({"m": 2})
    ben.storage.record_access({"m": 3})
    await settle(way, ada, ben)
    assert [5, 5] == [count(ada, "m"), count(ben, "m")]
    ben.storage.record_access({"m": 1})
    await settle(way, ada, ben)
    assert [6, 6] == [count(ada, "m"), count(ben, "m")]


async def test_edits_on_both_sides_are_merged(way: Way, ada: Replica, ben: Replica) -> None:
    put(ada, "m")
    await settle(way, ada, ben)
    ada.storage.update("m", lambda memory: memory.add_tag("of-ada"))
    ben.storage.update("m", lambda memory: memory.add_tag("of-ben"))
    ben.storage.update("m", lambda memory: memory.set_importance(0.9, "ben"))
    await settle(way, ada, ben)
    assert_same(ada, ben)
    memory = ada.storage.get("m")
    assert memory is not None
    assert ({"of-ada", "of-ben"}, 0.9) == (set(memory.get_tags()), memory.get_importance())


async def test_a_sync_that_is_cut_after_any_step_loses_nothing_and_the_next_ones_end_it(
    new_way: Callable[[], Way], open_replica: Open
) -> None:
    is_whole, steps = False, 0
    while not is_whole:
        way = new_way()
        ada, ben, cy = (open_replica(f"{name}{steps}") for name in ("ada", "ben", "cy"))
        put(ben, "b", "both", text="Ben's")
        ben.storage.record_access({"both": 3})
        await meet(way, ben, ada)
        put(ben, "b2")
        put(ada, "a", "both")
        ada.storage.record_access({"both": 2})
        names = ada.storage.replica, ben.storage.replica
        is_whole = await begin(way, ada, ben, steps=steps)
        await meet(way, ada, ben)
        await meet(way, ben, ada)
        await meet(way, cy, ada)
        await meet(way, ada, ben)
        assert_same(ada, ben)
        assert states(cy).keys() >= {"a", "b", "both"}
        assert {"a", "b", "b2", "both"} == states(ada).keys()
        assert 5 == count(ada, "both")
        assert names == (ada.storage.replica, ben.storage.replica)
        steps += 1
    assert steps > 10


async def test_a_copied_file_takes_a_new_name_and_the_edits_of_both_arrive(
    way: Way, open_replica: Open, tmp_path: Path, ben: Replica
) -> None:
    ada = open_replica("ada")
    put(ada, "m")
    ada.storage.record_access({"m": 1})
    await settle(way, ada, ben)
    ada.storage.close()
    shutil.copy(tmp_path / "ada.db", tmp_path / "copy.db")
    ada, copy = open_replica("ada"), open_replica("copy")
    assert ada.storage.replica != copy.storage.replica
    for one, name in ((ada, "of-ada"), (copy, "of-copy")):
        put(one, name)
        one.storage.record_access({"m": 2})
    await settle(way, ada, copy, ben)
    assert_same(ada, copy, ben)
    assert {"m", "of-ada", "of-copy"} == states(ben).keys()
    assert 5 == count(ben, "m")


@pytest.mark.parametrize("written_since", [1, 10], ids=["little", "much"])
async def test_an_old_copy_put_back_into_its_place_loses_nothing(
    way: Way, open_replica: Open, tmp_path: Path, ben: Replica, written_since: int
) -> None:
    ada = open_replica("ada")
    put(ada, "old")
    await settle(way, ada, ben)
    ada.storage.backup(tmp_path / "backup.db")
    put(ada, "lost-here", "lost-too")
    await meet(way, ada, ben)
    put(ada, "never-synced")
    ada.storage.close()
    (tmp_path / "ada.db").write_bytes((tmp_path / "backup.db").read_bytes())  # the same inode
    restored = open_replica("ada")
    new = [f"new{i}" for i in range(written_since)]
    put(restored, *new)
    await settle(way, restored, ben)
    assert_same(restored, ben)
    assert {"old", "lost-here", "lost-too", *new} == states(ben).keys()


async def test_an_old_copy_that_fell_back_takes_a_new_name_so_that_uses_add_up(
    way: Way, open_replica: Open, tmp_path: Path, ben: Replica
) -> None:
    ada = open_replica("ada")
    put(ada, "m")
    await settle(way, ada, ben)
    ada.storage.backup(tmp_path / "backup.db")
    put(ada, "x", "y")
    ada.storage.record_access({"m": 2})
    await meet(way, ada, ben)
    name = ada.storage.replica
    ada.storage.close()
    (tmp_path / "ada.db").write_bytes((tmp_path / "backup.db").read_bytes())
    restored = open_replica("ada")
    await meet(way, restored, ben)
    assert name != restored.storage.replica
    restored.storage.record_access({"m": 1})
    await settle(way, restored, ben)
    assert [3, 3] == [count(restored, "m"), count(ben, "m")]


async def test_three_replicas_come_to_hold_the_same(
    way: Way, open_replica: Open, ada: Replica, ben: Replica
) -> None:
    cy = open_replica("cy")
    for replica in (ada, ben, cy):
        put(replica, "shared", f"of-{replica.storage.instance}")
        replica.storage.record_access({"shared": 2})
    await settle(way, ada, ben, cy)
    assert_same(ada, ben, cy)
    assert {"shared", "of-ada", "of-ben", "of-cy"} == states(cy).keys()
    assert 6 == count(cy, "shared")
    for mine, peer in ((ada, ben), (ben, cy), (cy, ada)):
        report = await meet(way, mine, peer)
        assert (0, 0) == (report.sent, report.received)


async def test_a_stamp_from_the_future_is_kept_apart_and_merged_once_it_is_valid(
    way: Way, open_replica: Open
) -> None:
    now = [NOW_US]
    ahead = open_replica("ahead", wall_us=lambda: NOW_US + 60 * MINUTE_US)
    right = open_replica("right", wall_us=lambda: now[0])
    put(ahead, "later")
    put(right, "now")
    await meet(way, ahead, right)
    await meet(way, right, ahead)
    assert None is right.storage.get("later")
    kept = right.storage.read(lambda session: session.quarantined())
    assert ["later"] == [one.id for one in kept]
    now[0] += 60 * MINUTE_US
    await settle(way, right, ahead)
    assert_same(right, ahead)
    assert {"later", "now"} == states(right).keys()
    assert [] == right.storage.read(lambda session: session.quarantined())


async def test_a_transport_may_be_kept_for_many_syncs(way: Way, ada: Replica, ben: Replica) -> None:
    async with way(ben) as to_ben, way(ada) as to_ada:
        for turn in range(3):
            put(ada, f"a{turn}", "both")
            put(ben, f"b{turn}", "both", text=f"Ben's {turn}")
            ada.storage.record_access({"both": 1})
            for mine, transport in ((ada, to_ben), (ben, to_ada), (ada, to_ben)):
                await sync(mine, transport)
            assert_same(ada, ben)
        assert 3 == count(ben, "both")
