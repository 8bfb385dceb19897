"""A memory in place of the MCP server ``memory``, spoken to by the official client."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from chrysalis_memory import AgentMemory
from chrysalis_memory.servers.knowledge_graph import knowledge_graph_server
from tests.mcp_clients import ERAS, call, connected, refusal

READS = (True, False, True, False)
ADDS = (False, False, False, False)
DELETES = (False, True, True, False)
TOOLS = {
    "create_entities": ADDS,
    "create_relations": ADDS,
    "add_observations": ADDS,
    "delete_entities": DELETES,
    "delete_observations": DELETES,
    "delete_relations": DELETES,
    "read_graph": READS,
    "search_nodes": READS,
    "open_nodes": READS,
}

ADA = {"name": "Ada", "entityType": "person", "observations": ["likes tea", "lives in Lisbon"]}
BOB = {"name": "Bob", "entityType": "person", "observations": []}
CHESS = {"name": "Chess club", "entityType": "club", "observations": ["meets on Fridays"]}
KNOWS = {"from": "Ada", "to": "Bob", "relationType": "knows"}
MEMBER = {"from": "Bob", "to": "Chess club", "relationType": "is member of"}


def to(memory: AgentMemory, era: str = "stateless") -> Client:
    return Client(knowledge_graph_server(memory), mode=ERAS[era])


async def fill(client: Client) -> None:
    await call(client, "create_entities", entities=[ADA, BOB, CHESS])
    await call(client, "create_relations", relations=[KNOWS, MEMBER])


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_every_tool_works_through_a_process_of_its_own(
    transport: str, era: str, tmp_path: Path
):
    options = ("--compat", "knowledge-graph", "--db", "graph.db")
    async with connected(transport, era, tmp_path, *options) as client:
        created = await call(client, "create_entities", entities=[ADA, BOB])
        related = await call(client, "create_relations", relations=[KNOWS])
        added = await call(
            client,
            "add_observations",
            observations=[{"entityName": "Bob", "contents": ["plays chess"]}],
        )
        found = await call(client, "search_nodes", query="CHESS")
        opened = await call(client, "open_nodes", names=["Ada"])
        read = await client.read_resource("memory://knowledge-graph")
        deleted = [
            await call(client, "delete_observations",
                       deletions=[{"entityName": "Ada", "observations": ["likes tea"]}]),
            await call(client, "delete_relations", relations=[KNOWS]),
            await call(client, "delete_entities", entityNames=["Bob"]),
        ]  # fmt: skip
        left = await call(client, "read_graph")

    bob = BOB | {"observations": ["plays chess"]}
    assert created == {"entities": [ADA, BOB]}
    assert related == {"relations": [KNOWS]}
    assert added == {"results": [{"entityName": "Bob", "addedObservations": ["plays chess"]}]}
    assert found == {"entities": [bob], "relations": [KNOWS]}
    assert opened == {"entities": [ADA], "relations": [KNOWS]}
    assert json.loads(read.contents[0].text) == {  # type: ignore[union-attr]
        "entities": [ADA, bob], "relations": [KNOWS],
    }  # fmt: skip
    assert deleted == [
        {"success": True, "message": f"{what} deleted successfully"}
        for what in ("Observations", "Relations", "Entities")
    ]
    assert left == {"entities": [ADA | {"observations": ["lives in Lisbon"]}], "relations": []}


async def test_tools_say_what_they_do_to_the_memory(agent: AgentMemory):
    async with to(agent) as client:
        tools = (await client.list_tools()).tools

    told = {
        one.name: (
            one.annotations.read_only_hint, one.annotations.destructive_hint,
            one.annotations.idempotent_hint, one.annotations.open_world_hint,
        )
        for one in tools
        if one.annotations
    }  # fmt: skip
    assert told == TOOLS
    assert all(one.output_schema for one in tools)


async def test_entities_and_relations_that_are_known_stay_as_they_are(agent: AgentMemory):
    async with to(agent) as client:
        await fill(client)
        other = ADA | {"entityType": "computer", "observations": ["new"]}
        entities = await call(client, "create_entities", entities=[other])
        relations = await call(client, "create_relations", relations=[KNOWS, KNOWS])
        graph = await call(client, "read_graph")

    assert (entities, relations) == ({"entities": []}, {"relations": []})
    assert graph == {"entities": [ADA, BOB, CHESS], "relations": [KNOWS, MEMBER]}


async def test_observations_of_an_unknown_entity_are_refused_and_none_is_added(
    agent: AgentMemory,
):
    async with to(agent) as client:
        await fill(client)
        observations = [
            {"entityName": "Ada", "contents": ["new"]},
            {"entityName": "Zoe", "contents": ["new"]},
        ]
        said = await refusal(client, "add_observations", observations=observations)
        graph = await call(client, "read_graph")

    assert said == "no entity is called 'Zoe'; create it first"
    assert graph["entities"] == [ADA, BOB, CHESS]


async def test_observations_that_are_known_are_not_added_again(agent: AgentMemory):
    async with to(agent) as client:
        await fill(client)
        contents = ["likes tea", "plays chess", "plays chess"]
        added = await call(
            client, "add_observations", observations=[{"entityName": "Ada", "contents": contents}]
        )

    assert added == {"results": [{"entityName": "Ada", "addedObservations": ["plays chess"]}]}


async def test_an_entity_is_deleted_with_its_observations_and_relations(agent: AgentMemory):
    async with to(agent) as client:
        await fill(client)
        await call(client, "delete_entities", entityNames=["Bob", "Nobody"])
        graph = await call(client, "read_graph")
        again = await call(client, "create_entities", entities=[BOB])

    assert graph == {"entities": [ADA, CHESS], "relations": []}
    assert again == {"entities": [BOB]}


async def test_what_is_searched_is_found_in_names_types_and_observations(agent: AgentMemory):
    async with to(agent) as client:
        await fill(client)
        for query, names in (
            ("aDA", ["Ada"]), ("club", ["Chess club"]), ("friday", ["Chess club"]),
            ("person", ["Ada", "Bob"]), ("", ["Ada", "Bob", "Chess club"]), ("   ", []),
        ):  # fmt: skip
            found = await call(client, "search_nodes", query=query)
            assert [one["name"] for one in found["entities"]] == names


async def test_where_no_words_match_entities_are_found_by_meaning(
    start_agent: Callable[..., Any],
):
    memory: AgentMemory = await start_agent(embedder="minilm")
    facts = [f"Person {n} collects stamp number {n}" for n in range(12)]
    people = [
        {"name": f"P{n}", "entityType": "person", "observations": [fact]}
        for n, fact in enumerate(facts)
    ]
    async with to(memory) as client:
        await call(client, "create_entities", entities=people)
        await call(client, "create_entities", entities=[ADA])
        found = await call(client, "search_nodes", query="Which city is somebody's home?")

    assert "Ada" in [one["name"] for one in found["entities"]]
    assert len(found["entities"]) < 12


async def test_opened_nodes_come_with_relations_to_others(agent: AgentMemory):
    async with to(agent) as client:
        await fill(client)
        opened = await call(client, "open_nodes", names=["Bob", "Nobody"])

    assert opened == {"entities": [BOB], "relations": [KNOWS, MEMBER]}


async def test_the_graph_stands_in_the_order_in_which_it_was_told(agent: AgentMemory):
    entities = [
        {"name": f"{n}", "entityType": "number", "observations": [f"{m}" for m in range(9, 0, -1)]}
        for n in range(30, 0, -1)
    ]
    async with to(agent) as client:
        await call(client, "create_entities", entities=entities)
        graph = await call(client, "read_graph")

    assert graph == {"entities": entities, "relations": []}


async def test_what_was_learned_as_a_graph_is_recalled_like_every_memory(agent: AgentMemory):
    async with to(agent) as client:
        await fill(client)
    await agent.learn("Tea is no part of the graph")

    found = await agent.recall("Ada tea", k=1)
    assert [one.content for one in found] == ["Ada: likes tea"]
    async with to(agent) as client:
        graph = await call(client, "read_graph")
    assert graph["entities"] == [ADA, BOB, CHESS]


async def test_text_for_models_is_that_of_the_other_server(agent: AgentMemory):
    async with to(agent) as client:
        created = await client.call_tool("create_entities", {"entities": [BOB]})
        deleted = await client.call_tool("delete_entities", {"entityNames": ["Bob"]})
        graph = await client.call_tool("read_graph", {})

    texts = [one.content[0].text for one in (created, deleted, graph)]  # type: ignore[union-attr]
    assert json.loads(texts[0]) == [BOB]
    assert texts[1] == "Entities deleted successfully"
    assert json.loads(texts[2]) == {"entities": [], "relations": []}
