"""A memory served over HTTP from a thread of the test's process, by the real server."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from chrysalis_memory import AgentMemory, MemoryStorage
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.servers.http import serve


@contextmanager
def served(store: MemoryStorage | Replica | AgentMemory, **options: Any) -> Iterator[str]:
    """Serve a store, by default on a free port; yields the URL.

    A memory is started in the server's thread, and stopped there at the end.
    """

    async def work(ready: Callable[[str], None]) -> None:
        async with store if isinstance(store, AgentMemory) else nullcontext():
            await serve(store, ready=ready, **({"port": 0} | options))

    with listening(work) as url:
        yield url


@contextmanager
def listening(work: Callable[[Callable[[str], None]], Awaitable[None]]) -> Iterator[str]:
    """Run a server in a thread of its own, until the end; yields what it calls ``ready`` with."""
    is_ready = threading.Event()
    urls: list[str] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    def ready(url: str) -> None:
        urls.append(url)
        is_ready.set()

    async def noted() -> None:
        task = asyncio.current_task()
        assert task is not None
        loops.append((asyncio.get_running_loop(), task))
        await work(ready)

    def run() -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(noted())
        finally:
            is_ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    is_ready.wait(20)
    try:
        yield urls[0]
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
        assert not thread.is_alive()


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def contents(storage: MemoryStorage) -> dict[str, list[Any]]:
    """Return every row of every table of a file."""

    def work(session: Any) -> dict[str, list[Any]]:
        tables = session.connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
        ).fetchall()
        return {
            name: session.connection.execute(f'SELECT * FROM "{name}"').fetchall()
            for (name,) in tables
        }

    return storage.read(work)
