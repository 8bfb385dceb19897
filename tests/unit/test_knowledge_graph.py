"""A knowledge graph as memories, and back."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chrysalis_memory import AgentMemory
from chrysalis_memory import knowledge_graph as graphs
from chrysalis_memory.errors import InvalidDocument
from chrysalis_memory.knowledge_graph import Entity, Graph, Relation

ADA = Entity("Ada", "person", ("likes tea", "lives in Lisbon"))
KNOWS = Relation("Ada", "Bob", "knows")

names = st.text(alphabet='ab": \\n', max_size=6)


async def stored(memory: AgentMemory) -> Graph:
    return graphs.graph_of(await memory.find())


async def test_a_graph_is_the_same_after_it_was_learned(agent: AgentMemory):
    bob = Entity("Bob", "person")
    await agent.learn_many(
        [*graphs.of_entity(ADA), *graphs.of_entity(bob), graphs.of_relation(KNOWS)]
    )
    await agent.learn("A memory that is no part of a graph")

    assert await stored(agent) == Graph([ADA, bob], [KNOWS])


async def test_learning_a_graph_again_changes_nothing(agent: AgentMemory):
    parts = [*graphs.of_entity(ADA), graphs.of_relation(KNOWS)]
    first = await agent.learn_many(parts)
    again = await agent.learn_many(parts)

    assert first == again
    assert await agent.count() == 4


async def test_each_part_says_by_itself_whom_it_tells_of(agent: AgentMemory):
    await agent.learn_many([*graphs.of_entity(ADA), graphs.of_relation(KNOWS)])

    assert [one.content for one in await agent.find()] == [
        "Ada (person)", "Ada: likes tea", "Ada: lives in Lisbon", "Ada knows Bob",
    ]  # fmt: skip


async def test_parts_are_linked_with_their_entities(agent: AgentMemory):
    await agent.learn_many([*graphs.of_entity(ADA), graphs.of_relation(KNOWS)])
    _, tea, _, knows = await agent.find()

    assert tea.get_parents() == [graphs.entity_id("Ada")]
    assert set(knows.get_related()) == {graphs.entity_id("Ada"), graphs.entity_id("Bob")}


async def test_an_observation_that_was_edited_stays_beside_the_first_text(agent: AgentMemory):
    await agent.learn_many(graphs.of_entity(ADA))
    _, tea, _ = await agent.find()
    await agent.update(tea.id, content="Ada: likes coffee")
    await agent.learn_many(graphs.of_observations("Ada", ["likes tea"]))

    (ada,), _ = await stored(agent)
    assert set(ada.observations) == {"likes coffee", "lives in Lisbon", "likes tea"}


async def test_observations_added_on_two_replicas_are_all_kept(start_agent):
    one, other = await start_agent(file="one.db"), await start_agent(file="other.db")
    await one.learn_many(graphs.of_entity(Entity("Ada", "person", ("likes tea",))))
    await other.learn_many(graphs.of_entity(Entity("Ada", "person", ("plays chess",))))
    await one.merge(other)

    (ada,), _ = await stored(one)
    assert (ada.name, set(ada.observations)) == ("Ada", {"likes tea", "plays chess"})


async def test_what_is_observed_of_a_forgotten_entity_still_stands_under_its_name(
    agent: AgentMemory,
):
    await agent.learn_many(graphs.of_entity(ADA))
    await agent.forget(graphs.entity_id("Ada"))

    assert await stored(agent) == Graph([ADA._replace(entity_type="unknown")], [])


@given(names, names, names, names)
@example("a: b", "c", "a", "b: c")
@example('"a"', "b", "a", "b")
@example('"a: b"', "c", "a: b", "c")
def test_parts_of_different_facts_are_never_one_memory(a: str, b: str, c: str, d: str):
    one, other = graphs.of_observations(a, [b])[0], graphs.of_observations(c, [d])[0]
    assert ((a, b) == (c, d)) == (one.derived_id() == other.derived_id())
    first, second = Relation(a, b, c), Relation(b, c, d)
    assert (first == second) == (graphs.relation_id(first) == graphs.relation_id(second))


def test_lines_of_the_memory_server_are_read():
    ada = {"type": "entity", "name": "Ada", "entityType": "person", "observations": ["likes tea"]}
    knows = {"type": "relation", "from": "Ada", "to": "Bob", "relationType": "knows"}

    assert graphs.of_line(json.dumps(ada)) == graphs.of_entity(
        Entity("Ada", "person", ("likes tea",))
    )
    assert graphs.of_line(json.dumps(knows)) == [graphs.of_relation(KNOWS)]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"type": "entity", "name": "Ada"}',
        '{"type": "entity", "name": "Ada", "entityType": "person", "observations": [1]}',
        '{"type": "relation", "from": "Ada", "to": 2, "relationType": "knows"}',
        '{"type": "other"}',
    ],
)
def test_a_line_that_tells_of_no_graph_is_refused(line: str):
    with pytest.raises(InvalidDocument, match=r"^(not a line of JSON|neither an entity nor)"):
        graphs.of_line(line)
