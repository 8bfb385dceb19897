"""LangGraph's own store tests, run against ``ChrysalisStore``: a plugin of pytest.

The tests build LangGraph's stores by name; here those names stand for thin classes that give ours
the constructors of theirs. Named with its reason is every test that cannot say anything of ours.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import langgraph.store.memory
import langgraph.store.sqlite
import langgraph.store.sqlite.aio
import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.integrations.langchain import LangChainEmbedder
from chrysalis_memory.integrations.langgraph import ChrysalisStore

ABOUT_THEIR_CODE = "looks into the SQL or the helpers of their store, which ours does not have"
DESELECTED = {
    "test_nonnull_migrations": ABOUT_THEIR_CODE,
    "test_escape_glob_literal": ABOUT_THEIR_CODE,
    "test_namespace_match_pattern": ABOUT_THEIR_CODE,
    "test_list_namespaces_prefix_uses_indexable_condition": ABOUT_THEIR_CODE,
    "test_ttl_override_default": (
        "reads an item and expects it to expire as if it had not been read; TTLConfig documents "
        "refresh_on_read as true where it is not set"
    ),
}


built: list[str] = []


class InMemoryStore(ChrysalisStore):
    """Built as theirs: on nothing, and never closed."""

    def __init__(self, *, index: Any = None) -> None:
        super().__init__(":memory:", index=index)
        built.append("InMemoryStore")


class SqliteStore(ChrysalisStore):
    """Built as theirs: from a connection string, with steps that ours does not need."""

    index_config: Any

    @classmethod
    @contextmanager
    def from_conn_string(
        cls, conn_string: str, *, index: Any = None, ttl: Any = None
    ) -> Iterator["SqliteStore"]:
        with cls(conn_string, index=_documented(index), ttl=ttl) as store:
            store.index_config = index
            built.append(cls.__name__)
            yield store

    def setup(self) -> None:
        """Ours is ready once it is built."""

    def start_ttl_sweeper(self) -> None:
        """Ours sweeps from the start where ``sweep_interval_minutes`` is set."""

    def stop_ttl_sweeper(self) -> None:
        """Ours stops when it is closed."""

    @property
    def conn(self) -> sqlite3.Connection:
        """The file, for the test that asks whether it has tables for vectors."""
        return sqlite3.connect(str(self._anywhere.memory.storage.path))


class AsyncSqliteStore(ChrysalisStore):
    """Built as theirs, on a memory that was started on the event loop of the test."""

    index_config: Any

    @classmethod
    @asynccontextmanager
    async def from_conn_string(
        cls, conn_string: str, *, index: Any = None, ttl: Any = None
    ) -> AsyncIterator["AsyncSqliteStore"]:
        embedder, fields = None, None
        if index is not None:
            embedder = LangChainEmbedder(index["embed"], dimension=index["dims"])
            fields = {"fields": index["text_fields"]}
        memory = AgentMemory("langgraph", path=conn_string, embedder=embedder)
        async with memory, cls(memory, index=fields, ttl=ttl) as store:
            store.index_config = index
            built.append(cls.__name__)
            yield store

    async def setup(self) -> None:
        """Ours is ready once it is built."""

    async def sweep_ttl(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return await self.asweep_ttl()

    async def start_ttl_sweeper(self) -> None:
        """Ours sweeps from the start where ``sweep_interval_minutes`` is set."""

    async def stop_ttl_sweeper(self) -> None:
        """Ours stops when it is closed."""


def _documented(index: Any) -> Any:
    """Say ``fields``, as ``IndexConfig`` documents it, for the ``text_fields`` of the tests."""
    if index is None:
        return None
    return {"dims": index["dims"], "embed": index["embed"], "fields": index["text_fields"]}


def pytest_configure() -> None:
    langgraph.store.memory.InMemoryStore = InMemoryStore
    langgraph.store.sqlite.SqliteStore = SqliteStore
    langgraph.store.sqlite.AsyncSqliteStore = AsyncSqliteStore
    langgraph.store.sqlite.aio.AsyncSqliteStore = AsyncSqliteStore


def _name(item: pytest.Item) -> str:
    return getattr(item, "originalname", item.name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _name(item) in DESELECTED]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in left_out:
        print(f"deselected {item.name}: {DESELECTED[_name(item)]}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"stores of ours that the tests built: {len(built)}")
    assert built, "no test has built a store of ours"
