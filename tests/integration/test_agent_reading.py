"""Reading without a query: lists, tags, what is related, vectors; and learning each by itself."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from chrysalis_memory import AgentMemory, MemoryStorage
from chrysalis_memory.errors import InvalidValue, MemoryForgotten, MemoryNotFound
from tests.conftest import SwitchedEmbedder

Start = Callable[..., Awaitable[AgentMemory]]


async def ids_of(agent: AgentMemory, **options: object) -> list[str]:
    return [memory.id for memory in await agent.find(**options)]


async def test_a_list_is_read_page_by_page(agent: AgentMemory):
    for name in "abcde":
        await agent.learn(f"memory {name}", id=name)

    assert await ids_of(agent) == ["a", "b", "c", "d", "e"]
    assert await ids_of(agent, order="recent", limit=2) == ["e", "d"]
    assert await ids_of(agent, order="recent", limit=2, offset=4) == ["a"]
    assert await ids_of(agent, offset=5) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "sideways"}, "order is one of 'created', 'recent', 'importance'"),
        ({"limit": 0}, "limit must be an integer of 1 or more"),
        ({"offset": -1}, "offset must be an integer of 0 or more"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(agent: AgentMemory, options: dict, message: str):
    with pytest.raises(InvalidValue, match=message):
        await agent.find(**options)


async def test_a_memory_that_is_required_is_returned_or_said_to_be_unknown_or_forgotten(
    agent: AgentMemory,
):
    one = await agent.learn("Tea is at four")
    gone = await agent.learn("Milk is in the fridge")
    await agent.forget(gone)

    assert (await agent.require(one)).content == "Tea is at four"
    with pytest.raises(MemoryForgotten, match=gone):
        await agent.require(gone)
    with pytest.raises(MemoryNotFound, match="no memory has the id 'nothing'"):
        await agent.require("nothing")


async def test_tags_are_counted_among_what_matches(agent: AgentMemory):
    await agent.learn("one", tags=["x", "y"])
    await agent.learn("two", tags=["x"], namespace="work")

    assert await agent.tags() == [("x", 2), ("y", 1)]
    assert await agent.tags(namespace="work") == [("x", 1)]


async def test_links_come_first_and_then_what_is_most_alike(agent: AgentMemory):
    for memory_id, text in [
        ("linked", "a wholly different matter"),
        ("parent", "the origin of it all"),
        ("near", "the black cat sleeps on the mat"),
        ("far", "quarterly figures, revised"),
    ]:
        await agent.learn(text, id=memory_id)
    await agent.learn(
        "the black cat sleeps on a mat", id="own", related=["linked", "gone"], parents=["parent"]
    )
    await agent.forget(await agent.learn("to be gone", id="gone"))
    found = await agent.related("own", k=2)

    assert [(one.memory.id, one.link) for one in found] == [
        ("linked", "related"),
        ("parent", "parent"),
        ("near", None),
        ("far", None),
    ]
    assert all(one.similarity is not None for one in found)
    assert found[2].similarity > max(found[0].similarity, found[1].similarity, found[3].similarity)


async def test_related_memories_obey_conditions_unless_they_are_linked(agent: AgentMemory):
    await agent.learn("the black cat", id="linked", namespace="b")
    await agent.learn("a black cat", id="alike", namespace="b")
    await agent.learn("black cats", id="own", related=["linked"])

    assert [one.memory.id for one in await agent.related("own", namespace="a")] == ["linked"]


async def test_without_vectors_only_links_are_related(start_agent: Start):
    agent = await start_agent(embedder=SwitchedEmbedder(up=False))
    await agent.learn("one", id="one")
    await agent.learn("two", id="two", related=["one"])
    found = await agent.related("two")

    assert [(one.memory.id, one.link, one.similarity) for one in found] == [
        ("one", "related", None)
    ]


async def test_nothing_is_related_to_what_is_unknown_or_forgotten(agent: AgentMemory):
    await agent.forget(await agent.learn("soon gone", id="gone"))

    with pytest.raises(MemoryNotFound):
        await agent.related("never")
    with pytest.raises(MemoryForgotten):
        await agent.related("gone")


async def test_vectors_come_with_their_memories(agent: AgentMemory):
    await agent.learn("one", id="one")
    await agent.learn("two", id="two", tags=["t"])
    memories, vectors = await agent.vectors()
    one = (await agent.related("two"))[0]

    assert [memory.id for memory in memories] == ["two", "one"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(one.similarity, abs=1e-5)
    assert [memory.id for memory in (await agent.vectors(tags_all="t"))[0]] == ["two"]
    assert (await agent.vectors(1))[1].shape == (1, vectors.shape[1])


async def test_where_nothing_has_a_vector_there_are_none(start_agent: Start):
    agent = await start_agent(embedder=SwitchedEmbedder(up=False))
    await agent.learn("one")
    memories, vectors = await agent.vectors()

    assert (memories, vectors.shape) == ([], (0, 0))


# Learning each by itself


async def test_what_is_refused_is_reported_and_the_rest_is_learned(agent: AgentMemory):
    await agent.learn("known", id="known")
    told: list[tuple[int, int]] = []
    report = await agent.learn_each(
        ["new", "", {"content": "known", "id": "known"}, {"content": "x", "colour": "red"}, "new"],
        progress=lambda done, total: told.append((done, total)),
    )
    new_id = await agent.learn("new")

    assert (report.learned, report.joined) == ([new_id], ["known", new_id])
    assert [one.number for one in report.refused] == [1, 3]
    assert "memory 1: content" in report.refused[0].reason
    assert "colour" in report.refused[1].reason
    assert told[-1] == (5, 5)
    assert await agent.count() == 2


async def test_what_only_the_store_refuses_is_reported_alone(agent: AgentMemory):
    metadata = {f"k{n}": "v" * 30_000 for n in range(3)}
    report = await agent.learn_each(["a", {"content": "b", "metadata": metadata}, "c"])

    assert (len(report.learned), [one.number for one in report.refused]) == (2, [1])


async def test_a_single_text_is_no_list_to_learn_each_of(agent: AgentMemory):
    with pytest.raises(InvalidValue, match="for a single one call learn"):
        await agent.learn_each("abc")


# Copies


async def test_a_copy_holds_what_was_learned_and_a_clone_is_another_replica(
    agent: AgentMemory, tmp_path: Path
):
    await agent.learn("kept", id="kept")
    await agent.backup(tmp_path / "copy.db")
    replica = await agent.clone(tmp_path / "clone.db")

    assert replica != agent.storage.replica
    for name in ("copy.db", "clone.db"):
        with MemoryStorage(tmp_path / name) as copy:
            assert copy.get("kept").content == "kept"
