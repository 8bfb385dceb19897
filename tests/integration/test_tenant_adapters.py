"""Adapters take a view of a memory where they take a memory, and stay within it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import OutOfView
from chrysalis_memory.integrations.anthropic import AsyncChrysalisMemoryTool
from chrysalis_memory.integrations.langchain import ChrysalisVectorStore
from chrysalis_memory.integrations.langgraph import ChrysalisStore

ALICE, BOB = ("user", "alice"), ("user", "bob")


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[AgentMemory]:
    async with AgentMemory("ada", path=tmp_path / "m.db", embedder="hashing") as memory:
        yield memory


async def test_langgraphs_store_keeps_to_its_view(memory: AgentMemory):
    whole = ChrysalisStore(memory)
    alice, bob = (ChrysalisStore(memory.within("/".join(place))) for place in (ALICE, BOB))
    for store, place in ((alice, ALICE), (bob, BOB)):
        await store.aput(place, "tea", {"text": f"tea of {place[1]}", "more": "milk"})
        await store.aput(place, "tea", {"text": f"tea of {place[1]}, again", "more": "milk"})
        await store.aput(place, "gone", {"text": "tea"})
        await store.adelete(place, "gone")
    found = await alice.aget(ALICE, "tea")
    near = await alice.asearch((), query="tea", limit=10)

    assert found is not None
    assert found.value["text"] == "tea of alice, again"
    assert [(one.namespace, one.key) for one in near] == [(ALICE, "tea")]
    assert await alice.aget(BOB, "tea") is None
    assert await alice.alist_namespaces() == [ALICE]
    assert len(await whole.asearch((), limit=10)) == 2
    with pytest.raises(OutOfView):
        await alice.aput(BOB, "tea", {"text": "mine"})


async def test_langchains_vector_store_keeps_to_its_view(memory: AgentMemory):
    alice, bob = (ChrysalisVectorStore(memory.within("/".join(one))) for one in (ALICE, BOB))
    for store, name in ((alice, "alice"), (bob, "bob")):
        for metadata in ({"old": 1}, {"new": 2}):
            await store.aadd_texts([f"tea of {name}"], [metadata], ids=["tea"])
    (one,) = await alice.aget_by_ids(["tea"])
    found = await alice.asimilarity_search("tea", k=10)

    assert (one.page_content, one.metadata) == ("tea of alice", {"new": 2})
    assert [document.page_content for document in found] == ["tea of alice"]
    await alice.adelete(["tea"])
    assert (await alice.aget_by_ids(["tea"]), await memory.count()) == ([], 1)


async def test_claudes_files_keep_to_their_view(memory: AgentMemory):
    places = ["/".join((*one, "memories")) for one in (ALICE, BOB)]
    alice, bob = (
        AsyncChrysalisMemoryTool(memory.within(place), namespace=place) for place in places
    )
    for tool, name in ((alice, "alice"), (bob, "bob")):
        await tool.call({"command": "create", "path": "/memories/tea.md", "file_text": name})
    seen = [
        str(await tool.call({"command": "view", "path": "/memories/tea.md"}))
        for tool in (alice, bob)
    ]

    assert ["alice" in seen[0], "bob" in seen[0], "bob" in seen[1]] == [True, False, True]
