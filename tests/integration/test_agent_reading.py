"""Reading without a query: lists, tags, what is related, vectors; and learning each by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from chrysalis_memory import AgentMemory, MemoryStorage
from chrysalis_memory.errors import InvalidValue, MemoryForgotten, MemoryNotFound
from embedders.errors import DimensionMismatch
from embedders.hashing import HashingEmbedder
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


async def test_namespaces_are_counted_among_what_matches(agent: AgentMemory):
    await agent.learn("one", namespace="work/b")
    await agent.learn("two", namespace="work/a")
    await agent.learn("three", namespace="work/b", tags=["t"])
    await agent.learn("at the root")

    assert await agent.namespaces() == [("", 1), ("work/a", 1), ("work/b", 2)]
    assert await agent.namespaces(tags_any="t") == [("work/b", 1)]


async def test_the_nearest_are_ranked_by_cosine_alone(agent: AgentMemory):
    await agent.learn("the black cat sleeps", id="cat", importance=0.0)
    await agent.learn("the black cat is ill and black", id="ill", importance=1.0)
    await agent.learn("quarterly figures", id="far", namespace="work")
    found = await agent.nearest("the black cat sleeps", 2, with_vectors=True)
    query = (await agent.nearest("the black cat sleeps", 1, with_vectors=True))[0].vector

    assert [one.memory.id for one in found] == ["cat", "ill"]
    assert found[0].similarity == pytest.approx(1.0, abs=1e-6)
    assert found[1].similarity == pytest.approx(float(query @ found[1].vector), abs=1e-6)
    assert [one.memory.id for one in await agent.nearest("cat", namespace="work")] == ["far"]
    assert [one.vector for one in await agent.nearest("cat")] == [None] * 3
    assert (await agent.get("cat")).get_access_count() == 0


async def test_a_vector_is_as_good_as_its_text(agent: AgentMemory):
    await agent.learn_many(["the black cat sleeps", "quarterly figures", "a cat"])
    of_text = await agent.nearest("black cat", 3)
    vector = (await HashingEmbedder().embed(["black cat"]))[0]

    assert await agent.nearest(vector, 3) == of_text
    assert await agent.nearest([3 * float(x) for x in vector], 3) == of_text
    with pytest.raises(DimensionMismatch, match="dimension"):
        await agent.nearest(vector[:10])


async def test_memories_that_are_equally_near_come_in_the_order_of_their_ids(agent: AgentMemory):
    for name in "dbca":
        await agent.learn("the same", id=name)

    assert [one.memory.id for one in await agent.nearest("same", 3)] == ["a", "b", "c"]


async def test_nothing_is_near_in_an_empty_memory_and_refusals_say_why(agent: AgentMemory):
    assert await agent.nearest("anything") == []
    for query, k, message in [("", 1, "content"), ("x", 0, "k must be")]:
        with pytest.raises(InvalidValue, match=message):
            await agent.nearest(query, k)


async def test_a_memory_knows_the_loop_it_was_started_on(tmp_path: Path):
    memory = AgentMemory("ada", path=tmp_path / "m.db", embedder="hashing")
    assert memory.loop is None
    async with memory:
        assert memory.loop is asyncio.get_running_loop()
    assert memory.loop is None


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


async def test_a_vector_of_the_memorys_embedder_finds_the_text_it_was_made_of(agent: AgentMemory):
    tea = await agent.learn("Tea is served at four")
    await agent.learn("The printer is on the second floor")

    made = await agent.embed(["Tea is served at four"])
    nearest = (await agent.nearest(made[0], 1))[0]

    assert made.shape == (1, len(made[0]))
    assert (nearest.memory.id, nearest.similarity) == (tea, pytest.approx(1.0, abs=1e-6))


async def test_documents_and_queries_are_embedded_as_such(start_agent: Start):
    embedder = SwitchedEmbedder()
    agent = await start_agent(embedder=embedder)

    await agent.embed(["a memory"])
    await agent.embed(["a question"], input_type="query")

    assert (embedder.documents, embedder.queries) == (["a memory"], ["a question"])
