"""A request may wait for a change; waiting occupies no thread and ends when it must."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.messages import Page, Sender, Since
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import exchange
from chrysalis_memory.servers import sync as server
from tests.served import served

SENDER = Sender("somebody", bytes(8), 0)


async def end_of(store: MemoryStorage) -> bytes:
    page = Replica(store).answer(Since(SENDER, b"", 1000))
    assert isinstance(page, Page)
    return page.cursor


async def waiting(url: str, cursor: bytes, seconds: float) -> Page:
    transport = HttpTransport(url)
    try:
        page = await exchange(transport, Since(SENDER, cursor, 10, seconds))
    finally:
        await transport.close()
    assert isinstance(page, Page)
    return page


class Asked:
    """Tells when a number of requests wait, and the store was looked at since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.moved: list[bool] = []
        """What each was told: whether anything has changed."""
        self._looked = 0
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        wait, compare = server.Changes.wait, server.Changes._compare

        async def noted(changes: Any, head: bytes, seconds: float) -> bool:
            self.begun += 1
            self.moved.append(await wait(changes, head, seconds))
            return self.moved[-1]

        async def noted_look(changes: Any) -> None:
            begun = self.begun
            await compare(changes)
            self._looked = begun
            self._loop.call_soon_threadsafe(self._event.set)

        monkeypatch.setattr(server.Changes, "wait", noted)
        monkeypatch.setattr(server.Changes, "_compare", noted_look)

    async def until(self, number: int) -> None:
        async with asyncio.timeout(20):
            while self._looked < number:
                self._event.clear()
                await self._event.wait()


async def test_a_request_that_waits_is_answered_when_something_is_written(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    asked = Asked(monkeypatch)
    with served(store, poll_seconds=1000) as url:
        asking = asyncio.create_task(waiting(url, await end_of(store), 20))
        await asked.until(1)
        store.put(MemoryDocument(id="new", content="Tea is at four"))
        page = await asking

    assert [header.id for header in page.headers] == ["new"]


async def test_a_request_that_waits_is_answered_when_another_process_writes(
    store: MemoryStorage,
    open_store: Callable[..., MemoryStorage],
    monkeypatch: pytest.MonkeyPatch,
):
    asked = Asked(monkeypatch)
    other = open_store()  # shares no thread with the one that is served, as a process does not
    with served(store, poll_seconds=0.01) as url:
        asking = asyncio.create_task(waiting(url, await end_of(store), 20))
        await asked.until(1)
        other.put(MemoryDocument(id="new", content="Tea is at four"))
        page = await asking

    assert [header.id for header in page.headers] == ["new"]


async def test_a_write_that_changes_no_memory_wakes_nobody(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    asked = Asked(monkeypatch)
    with served(store, poll_seconds=0.001) as url:
        cursor = await end_of(store)
        asking = asyncio.create_task(waiting(url, cursor, 0.1))
        await asked.until(1)
        store.submit(lambda transaction: transaction.session.set_peer("x", "y")).result()
        page = await asking

    assert (page.headers, page.cursor) == ([], cursor)
    assert asked.moved == [False]


async def test_many_may_wait_while_others_are_answered(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    asked = Asked(monkeypatch)
    many = 4 * server._READERS
    with served(store) as url:
        cursor = await end_of(store)
        asking = [asyncio.create_task(waiting(url, cursor, 20)) for _ in range(many)]
        await asked.until(many)
        page = await waiting(url, b"", 0)
        store.put(MemoryDocument(id="new", content="Tea is at four"))
        pages = await asyncio.gather(*asking)

    assert page.headers == []
    assert [[header.id for header in page.headers] for page in pages] == [["new"]] * many


async def test_nobody_waits_longer_than_the_server_allows(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "WAIT_SECONDS_MAX", 0.05)
    with served(store) as url:
        cursor = await end_of(store)
        page = await waiting(url, cursor, 300)

    assert (page.headers, page.cursor) == ([], cursor)


async def test_those_who_wait_are_answered_when_the_server_stops(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
):
    asked = Asked(monkeypatch)
    with ExitStack() as stack:
        url = stack.enter_context(served(store))
        asking = asyncio.create_task(waiting(url, await end_of(store), 20))
        await asked.until(1)
        started = time.monotonic()
        await asyncio.to_thread(stack.close)
        page = await asking

    assert page.headers == []
    assert time.monotonic() - started < 4  # less than the grace that is given to the stubborn
