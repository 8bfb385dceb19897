"""Uses one file after another as a program does, and tells what each came to.

Reads paths from standard input and answers each with a line of JSON: what every use gave. Started
by :mod:`tests.faults.opening`, which starts it again when it dies.
"""

import asyncio
import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from chrysalis_memory import AgentMemory, ChrysalisError

TEXT = "A new thought about green tea"


async def count(memory: AgentMemory) -> None:
    await memory.count()
    await memory.recent(5)


async def recall_words(memory: AgentMemory) -> None:
    for found in await memory.recall("tea garden", k=5, mode="keyword"):
        assert found.content
    await memory.recall("number 7", k=3, mode="keyword", tags_all=["tea"], namespace_prefix="user")


async def recall_vectors(memory: AgentMemory) -> None:
    for found in await memory.recall("tea in the garden", k=5, track=False, context=1):
        assert -1.01 <= found.score <= 4, found.explanation
        assert found.metadata is not None
    await memory.recall("tea", k=3, mode="semantic", minimum_importance=0.1, accuracy="exact")


async def check(memory: AgentMemory) -> None:
    await memory.check()


async def read_all(memory: AgentMemory) -> None:
    for one in memory.storage.states():
        assert one.is_forgotten or (one.content and isinstance(one.metadata, dict))
        one.get_tags()
    await memory.statistics(measure_index=True)
    await memory.quarantined()
    await memory.sync_status()


async def feed(memory: AgentMemory) -> None:
    def work(session: Any) -> None:
        page = session.feed(b"", limit=1000)
        session.load_many([header.id for header in page.headers][:20])
        session.headers_in([0, 1, 2], after="", limit=10)
        session.digest_sums()
        session.peers()

    memory.storage.read(work)


async def change(memory: AgentMemory) -> None:
    new = await memory.learn(TEXT, tags=["new"])
    known = await memory.get(new)
    await memory.update("m3", importance=0.9, metadata={"seen": True})
    await memory.forget("m4")
    is_found = new in {one.id for one in await memory.recall(TEXT, k=5)}
    if known is None or known.content != TEXT or not is_found:
        # Damage in an index can hide what is there; then a check must say that there is some.
        assert (await memory.check()).problems


USES: tuple[Callable[[AgentMemory], Awaitable[None]], ...] = (
    count, recall_words, recall_vectors, read_all, feed, check, change, recall_words,
)  # fmt: skip


async def use(path: str) -> dict[str, str]:
    """Return what the uses of the file came to: an error of the tree, or ``UNTYPED`` and another.

    What gave no error is not in it; without ``start``, the file was opened.
    """
    told: dict[str, str] = {}
    memory = AgentMemory(
        "eve", path=path, embedder="hashing:64", synchronous="NORMAL", timeout_seconds=0.5
    )
    try:
        await memory.start()
    except Exception as error:  # noqa: BLE001 - told
        return {"start": _told(error)}
    for work in (*USES, AgentMemory.stop):
        try:
            await work(memory)
        except Exception as error:  # noqa: BLE001 - told
            told[work.__name__] = _told(error)
    return told


def _told(error: Exception) -> str:
    if isinstance(error, ChrysalisError):
        return f"{type(error).__name__}: {error}"
    return "UNTYPED " + "".join(traceback.format_exception(error))


def main() -> None:
    """Answer each line of standard input."""
    warnings.simplefilter("ignore")
    logging.disable()
    for line in sys.stdin:
        begun = time.process_time()
        told = asyncio.run(use(line.strip()))
        seconds = time.process_time() - begun
        print(json.dumps({"told": told, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
