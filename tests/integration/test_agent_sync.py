"""An agent syncs when asked and in the background, and tells what really came of it."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import (
    AgentMemory,
    AgentMemoryConfig,
    HybridLogicalClock,
    MemoryDocument,
    MemoryStorage,
    syncing,
)
from chrysalis_memory.changes import Quarantined
from chrysalis_memory.codec import digest
from chrysalis_memory.errors import InvalidValue, PeerRefused, PeerUnavailable
from chrysalis_memory.replication.peers import peer_name
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import LocalTransport
from chrysalis_memory.state import encode, greatest_stamp
from chrysalis_memory.syncing import BACK_OFF_SECONDS_MAX, Syncing
from tests.conftest import SwitchedEmbedder
from tests.served import free_port, served

Start = Callable[..., Awaitable[AgentMemory]]
Eventually = Callable[..., Awaitable[None]]
Open = Callable[..., MemoryStorage]


def memories(number: int, name: str = "tea") -> list[MemoryDocument]:
    return [MemoryDocument(id=f"{name}{n}", content=f"{name} number {n}") for n in range(number)]


def states(storage: MemoryStorage) -> dict[str, str]:
    return {document.id: document.to_json() for document in storage.states()}


# When asked


async def test_two_agents_hold_the_same_after_one_sync(start_agent: Start):
    ada, bob = await start_agent("ada"), await start_agent("bob", "bob.db")
    await ada.learn("Tea is at four", id="tea")
    await bob.learn("Milk is in the fridge", id="milk")
    report = await ada.sync(bob.storage.path)

    assert (report.sent, report.received, report.merged, report.verified) == (1, 1, 1, True)
    assert states(ada.storage) == states(bob.storage)


async def test_what_arrives_is_found_by_meaning_soon(
    start_agent: Start, store: MemoryStorage, embedder: SwitchedEmbedder, eventually: Eventually
):
    bob = await start_agent("bob", "bob.db", embedder=embedder)

    async def is_found(word: str) -> bool:
        return [m.id for m in await bob.recall(word, 1, mode="semantic")] == [word]

    for word in ("tea", "milk"):  # the second comes when nothing waits any more
        store.put(MemoryDocument(id=word, content=f"{word} {word}"))
        await bob.sync(store.path)
        await eventually(lambda word=word: is_found(word))

    assert embedder.documents == ["tea tea", "milk milk"]


async def test_uses_that_are_not_written_yet_are_synced_too(
    start_agent: Start, store: MemoryStorage
):
    ada = await start_agent("ada", "ada.db", access_flush_seconds=3600)
    await ada.learn("Tea is at four", id="tea")
    await ada.recall("tea")
    await ada.sync(store.path)

    assert store.get("tea").get_access_count() == 1


async def test_progress_tells_how_far_a_long_sync_is(start_agent: Start, store: MemoryStorage):
    store.put_many(memories(1500))
    bob = await start_agent("bob", "bob.db")
    seen: list[tuple[int, int]] = []
    await bob.sync(store.path, progress=lambda now: seen.append((now.received, now.behind)))

    assert seen[0] == (1000, 500)
    assert seen[-1] == (1500, 0)


async def test_the_writer_s_name_follows_an_identity_that_a_sync_renews(
    start_agent: Start, tmp_path: Path, store: MemoryStorage
):
    path = tmp_path / "ada.db"
    ada = await start_agent("ada", "ada.db")
    await ada.learn("first", id="first")
    ada.storage.backup(tmp_path / "backup.db")
    await ada.learn("second", id="second")
    await ada.sync(store.path)
    before = ada.storage.replica
    await ada.stop()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "backup.db", path)  # restored in its place, as the same file

    ada = await start_agent("ada", "ada.db")
    assert ada.storage.replica == before
    await ada.sync(store.path)
    await ada.learn("third", id="third")
    third = await ada.get("third")

    assert ada.storage.replica != before
    assert third is not None
    assert third.source_instance == f"ada@{ada.storage.replica}"
    assert {m.id for m in ada.storage.states()} == {"first", "second", "third"}


async def test_the_writer_s_name_follows_when_a_peer_s_question_renews_the_identity(
    start_agent: Start,
):
    ada = await start_agent()
    before = ada.storage.instance
    await asyncio.to_thread(ada.storage.renew_identity)
    await ada.learn("Tea is at four", id="tea")
    memory = await ada.get("tea")

    assert memory is not None
    assert memory.source_instance == f"ada@{ada.storage.replica}" != before


async def test_the_token_of_the_settings_is_for_served_memories_alone(
    start_agent: Start, store: MemoryStorage, open_store: Open
):
    bob = await start_agent("bob", "bob.db", token="right")
    with served(store, token="right") as url:
        assert (await bob.sync(url)).verified is True
        with pytest.raises(PeerRefused, match="a valid token is needed"):
            await bob.sync(url, token="wrong")
    assert (await bob.sync(open_store("other.db").path)).verified is True


async def test_syncs_with_one_peer_wait_for_one_another(start_agent: Start, store: MemoryStorage):
    store.put_many(memories(50))
    bob = await start_agent("bob", "bob.db")
    first, second = await asyncio.gather(bob.sync(store.path), bob.sync(store.path))

    assert (first.received, second.received) == (50, 0)


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("https://ada:hush@hub:8420/team/?key=hush#x", "https://hub:8420/team"),
        ("s3://bucket/memories", "s3://bucket/memories"),
        ("/tmp/../tmp/x.db", "/tmp/x.db"),
        ("folder:/tmp/../tmp/x", "folder:/tmp/x"),
    ],
)
def test_a_peer_has_one_name_that_tells_no_secret(peer: str, name: str):
    assert peer_name(peer) == name


async def test_a_peer_that_cannot_be_named_is_refused_at_the_start(start_agent: Start):
    with pytest.raises(InvalidValue, match="cannot be read"):
        await start_agent(sync_with=["http://[hub"])


async def test_what_came_past_the_agent_is_embedded_when_it_is_told(
    start_agent: Start, eventually: Eventually
):
    ada = await start_agent()
    await ada.learn("so that there is a space")
    ada.storage.put_many(memories(3))
    waiting = (await ada.statistics()).pending
    ada.embed_soon()

    async def is_done() -> bool:
        return (await ada.statistics()).pending == 0

    await eventually(is_done)
    assert waiting == 3


# Status


async def test_nothing_is_said_of_a_sync_that_has_not_been(start_agent: Start, tmp_path: Path):
    ada = await start_agent()
    assert await ada.sync_status() == []


async def test_status_tells_what_the_last_sync_did_and_outlives_the_agent(
    start_agent: Start, store: MemoryStorage
):
    store.put_many(memories(3))
    began = datetime.now(UTC)
    bob = await start_agent("bob", "bob.db")
    await bob.learn("Milk")
    await bob.sync(store.path)
    (status,) = await bob.sync_status()
    await bob.stop()
    again = await start_agent("bob", "bob.db")

    assert status.peer == str(store.path)
    assert (status.sent, status.received, status.merged) == (1, 3, 3)
    assert (status.quarantined, status.refused, status.behind, status.verified) == (0, 0, 0, True)
    assert (status.error, status.failures) == (None, 0)
    assert began <= status.last_try == status.last_success <= datetime.now(UTC)
    assert await again.sync_status() == [status]


class Cut(LocalTransport):
    """Goes down after so many questions."""

    left = 2

    async def pull(self, frame: bytes) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise PeerUnavailable("the cable was pulled")
        return await super().pull(frame)


async def test_status_tells_how_far_a_sync_came_that_failed(
    start_agent: Start, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    store.put_many(memories(1500))
    bob = await start_agent("bob", "bob.db")
    await bob.sync("first.db")
    with monkeypatch.context() as patched:
        patched.setattr(syncing, "open_transport", lambda *_, **__: Cut(Replica(store)))
        for _ in range(2):
            with pytest.raises(PeerUnavailable):
                await bob.sync(store.path)
    failed = next(one for one in await bob.sync_status() if one.peer == str(store.path))
    await bob.sync(store.path)
    ended = next(one for one in await bob.sync_status() if one.peer == str(store.path))

    assert (failed.error, failed.failures) == ("the cable was pulled", 2)
    assert failed.last_success is None
    assert (failed.received, failed.verified) == (500, None)  # the second try went on
    assert (ended.error, ended.failures, ended.behind, ended.verified) == (None, 0, 0, True)
    assert bob.storage.count() == 1500
    assert len(await bob.sync_status()) == 2


async def test_status_keeps_the_last_success_beside_a_later_failure(
    start_agent: Start, store: MemoryStorage
):
    bob = await start_agent("bob", "bob.db")
    with served(store) as url:
        await bob.sync(url)
        (before,) = await bob.sync_status()
    with pytest.raises(PeerUnavailable) as caught:
        await bob.sync(url)
    (after,) = await bob.sync_status()

    assert after.last_success == before.last_success
    assert after.last_try > before.last_try
    assert after.error == str(caught.value)
    assert after.verified is None


# In the background


async def test_agents_with_a_peer_come_to_hold_the_same_by_themselves(
    start_agent: Start, store: MemoryStorage, eventually: Eventually
):
    with served(store, token="t") as url:
        options: dict[str, Any] = {"sync_with": [url], "sync_seconds": 0.02, "token": "t"}
        ada = await start_agent("ada", "ada.db", **options)
        bob = await start_agent("bob", "bob.db", **options)
        await ada.learn("Tea is at four")
        await bob.learn("Milk is in the fridge")

        async def is_same() -> bool:
            return (
                store.count() == 2
                and states(ada.storage) == states(bob.storage) == states(store)
                and all([(await one.sync_status())[0].verified for one in (ada, bob)])
            )

        await eventually(is_same)
        await ada.stop()
        await bob.stop()


async def test_a_peer_that_is_down_keeps_no_other_from_being_synced_with(
    start_agent: Start, store: MemoryStorage, eventually: Eventually, caplog: Any
):
    down = f"http://127.0.0.1:{free_port()}"
    store.put_many(memories(1))
    with caplog.at_level(logging.WARNING):
        bob = await start_agent("bob", "bob.db", sync_with=[down, store.path], sync_seconds=0.02)

        async def is_told() -> bool:
            statuses = {one.peer: one for one in await bob.sync_status()}
            return bool(statuses[down].error and statuses[str(store.path)].verified)

        await eventually(is_told)
    assert bob.storage.count() == 1
    assert f"a sync with {down} failed and will be tried again" in caplog.text


class Sleeper:
    """Notes how long to sleep, and lets a test decide when that is over."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self._over.wait()
        self._over.clear()

    async def asked_next(self) -> float:
        async with asyncio.timeout(20):
            return await self.asked.get()

    def wake(self) -> None:
        self._over.set()


async def nothing() -> None:
    pass


def background(storage: MemoryStorage, sleeper: Sleeper, **options: Any) -> Syncing:
    settings = options.pop("settings", {})
    return Syncing(
        storage,
        AgentMemoryConfig.of(**settings),
        **{
            "in_thread": asyncio.to_thread, "before": nothing, "arrived": lambda: None,
            "sleep": sleeper, "chance": lambda: 0.5,
        } | options,
    )  # fmt: skip


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_peer_that_stays_down_is_asked_less_and_less_until_it_is_up(
    store: MemoryStorage, open_store: Open
):
    hub = open_store("hub.db")
    port = free_port()
    sleeper = Sleeper()
    told: list[int] = []
    asking = background(store, sleeper)
    task = asyncio.create_task(
        asking.keep_in_sync(
            f"http://127.0.0.1:{port}", told=lambda status: told.append(status.failures)
        )
    )
    pauses = [await sleeper.asked_next()]
    for _ in range(5):
        sleeper.wake()
        pauses.append(await sleeper.asked_next())
    with served(hub, port=port):
        sleeper.wake()
        pauses.append(await sleeper.asked_next())
    sleeper.wake()
    pauses.append(await sleeper.asked_next())
    await ended(task)

    assert pauses == [120, 240, 480, *[BACK_OFF_SECONDS_MAX] * 3, 60, 120]
    assert told == [1, 2, 3, 4, 5, 6, 0, 1]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 48), (0.5, 60), (1.0, 72)])
async def test_pauses_differ_by_a_fifth_so_that_a_fleet_does_not_ask_at_once(
    store: MemoryStorage, open_store: Open, chance: float, pause: float
):
    sleeper = Sleeper()
    asking = background(store, sleeper, chance=lambda: chance)
    task = asyncio.create_task(asking.keep_in_sync(open_store("hub.db").path))

    assert await sleeper.asked_next() == pytest.approx(pause)
    await ended(task)


async def test_stopping_ends_a_background_sync_that_waits_for_its_peer(
    start_agent: Start, store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    asked = asyncio.Event()

    class Silent(LocalTransport):
        async def pull(self, frame: bytes) -> bytes:
            asked.set()
            await asyncio.Event().wait()
            return frame

    monkeypatch.setattr(syncing, "open_transport", lambda *_, **__: Silent(Replica(store)))
    bob = await start_agent("bob", "bob.db", sync_with=[store.path])
    async with asyncio.timeout(20):
        await asked.wait()
        await bob.stop()


# What was kept apart


def keep_apart(storage: MemoryStorage, document: MemoryDocument) -> None:
    """Keep a memory apart whose stamps have become valid meanwhile."""
    state = encode(document.id, document.state)
    own = digest(encode(document.id, document.state, access=False))
    one = Quarantined(document.id, own, greatest_stamp(document.state), state, "somebody")
    storage.submit(lambda transaction: transaction.session.quarantine(one)).result()


def apart(storage: MemoryStorage) -> int:
    return storage.read(lambda session: session.quarantined_count())


async def test_what_has_become_valid_is_merged_when_the_agent_starts(
    start_agent: Start, store: MemoryStorage
):
    keep_apart(store, MemoryDocument(id="tea", content="Tea is at four"))
    ada = await start_agent("ada", "memory.db")
    memory = await ada.get("tea")

    assert memory is not None
    assert apart(store) == 0


async def test_what_becomes_valid_later_is_merged_in_the_background(store: MemoryStorage):
    sleeper = Sleeper()
    arrived: list[bool] = []
    (work,) = background(store, sleeper, arrived=lambda: arrived.append(True)).work()
    task = asyncio.create_task(work)
    assert await sleeper.asked_next() == syncing.RELEASE_SECONDS
    sleeper.wake()
    await sleeper.asked_next()
    assert arrived == []  # there was nothing

    keep_apart(store, MemoryDocument(id="tea", content="Tea is at four"))
    sleeper.wake()
    await sleeper.asked_next()
    await ended(task)

    assert arrived == [True]
    assert (store.get("tea").content, apart(store)) == ("Tea is at four", 0)


async def test_what_is_kept_apart_is_told_with_when_it_is_merged(
    start_agent: Start, open_store: Open
):
    now = HybridLogicalClock().wall_us()
    ahead = HybridLogicalClock(lambda: now + 86_400_000_000)
    other = open_store("other.db", "bob", clock=ahead)
    ada = await start_agent("ada", "memory.db")
    before = await ada.quarantined()
    other.put(MemoryDocument(id="later", content="Tea is tomorrow", clock=ahead))
    await ada.sync(other.path)
    (kept,) = await ada.quarantined()

    assert before == []
    assert (kept.id, kept.source) == ("later", str(other.path))
    assert kept.stamp.timestamp() == pytest.approx(now / 1e6 + 86_400, abs=60)
    assert kept.reason.startswith("its newest stamp lies in the future; it is merged from 20")


async def test_an_agent_starts_though_what_was_kept_apart_cannot_be_merged_now(
    start_agent: Start, store: MemoryStorage, caplog: Any
):
    await (await start_agent("ada", "memory.db")).stop()  # makes the file's embedding space
    keep_apart(store, MemoryDocument(id="tea", content="Tea is at four"))
    held, over = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: Any) -> None:
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(over.wait(), loop).result(20)

    writing = store.submit(hold)
    await held.wait()
    with caplog.at_level(logging.WARNING):
        ada = await start_agent("ada", "memory.db", timeout_seconds=0)
    over.set()
    await asyncio.wrap_future(writing)

    assert "will be merged later" in caplog.text
    assert await ada.get("tea") is None
