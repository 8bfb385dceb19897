"""LangGraph's stores beside each other, in one run: ours, theirs on SQLite, theirs in RAM.

Run it where `make test-frameworks` has installed them:

    .venv-frameworks/bin/python benchmarks/langgraph_store.py --items 2000

All three embed with the same hashing function, so what is measured is the store. Ours and SQLite
write to a file; ours waits for the disk (``synchronous=FULL``) at every commit, theirs as SQLite
is set by default, which in WAL mode is the same.
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from chrysalis_memory.integrations.langgraph import ChrysalisStore
from embedders.hashing import HashingEmbedder

WORDS = ["olive", "cat", "tax", "year", "bird", "black", "sleep", "eat", "sing", "river", "stone"]
BATCH = 100
SINGLES = 50
SEARCHES = 50


def embed(texts: list[str]) -> list[list[float]]:
    return asyncio.run(HashingEmbedder().embed(texts)).tolist()


def value(number: int) -> dict[str, Any]:
    picked = [WORDS[(number * step) % len(WORDS)] for step in (1, 3, 7, 11)]
    return {"text": f"{' '.join(picked)} {number}", "kept": number % 10 == 0}


def milliseconds(times: int, work: Callable[[int], Any]) -> float:
    """Return the median of one call, in milliseconds."""
    taken: list[float] = []
    for number in range(times):
        start = time.perf_counter()
        work(number)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def measure(store: BaseStore, items: int) -> dict[str, float]:
    def put_batch(turn: int) -> None:
        numbers = range(turn * BATCH, (turn + 1) * BATCH)
        store.batch([PutOp(("docs", str(n % 7)), str(n), value(n)) for n in numbers])

    def search(**options: Any) -> float:
        return milliseconds(SEARCHES, lambda n: store.search(("docs",), limit=10, **options))

    return {
        "put, 100 at once, each": milliseconds(items // BATCH, put_batch) / BATCH,
        "put, one": milliseconds(SINGLES, lambda n: store.put(("one",), str(n), value(n))),
        "get": milliseconds(SEARCHES, lambda n: store.get(("docs", str(n % 7)), str(n))),
        "search by meaning": search(query="black bird"),
        "search by meaning, filter": search(query="black bird", filter={"kept": True}),
        "search, filter": search(filter={"kept": True}),
        "newest": search(),
        "list namespaces": milliseconds(SEARCHES, lambda n: store.list_namespaces()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    items = parser.parse_args().items
    index: Any = {"dims": 256, "embed": embed, "fields": ["text"], "text_fields": ["text"]}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        # Its vectors need an extension, which the sqlite3 of some Pythons cannot load.
        loads = hasattr(sqlite3.Connection, "enable_load_extension")
        theirs = opened.enter_context(
            SqliteStore.from_conn_string(
                str(Path(folder) / "theirs.db"), index=index if loads else None
            )
        )
        theirs.setup()
        stores: dict[str, BaseStore] = {
            "ours": opened.enter_context(ChrysalisStore(Path(folder) / "ours.db", index=index)),
            "SQLite": theirs,
            "RAM": InMemoryStore(index=index),
        }
        found = {name: measure(store, items) for name, store in stores.items()}
    print(f"{items:,} items; medians in ms")
    if not loads:
        print("SQLite embeds nothing and does not search by meaning: no extension can be loaded")
    print(f"{'':28}" + "".join(f"{name:>10}" for name in found))
    for what in found["ours"]:
        print(f"{what:28}" + "".join(f"{of[what]:>10.3f}" for of in found.values()))


if __name__ == "__main__":
    main()
