"""The official server ``memory``: told the same, both servers answer the same."""

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from chrysalis_memory import AgentMemory, knowledge_graph
from chrysalis_memory.servers.knowledge_graph import knowledge_graph_server
from tests.conformance.conftest import program
from tests.mcp_clients import call

pytestmark = pytest.mark.node

COMMANDS = 200
NAMES = ("Ada", "Bob", "Chess club", "a: b", '"quoted"', "", "Zoë", "名前", "Ada ")
TYPES = ("person", "club", "", "Person of interest")
TEXTS = ("likes tea", "b: c", "", " ", "line\nbreak", "Zoë’s friend", "likes tea ", "LIKES TEA")
KINDS = ("knows", "is member of", "", "Ada")


@contextlib.asynccontextmanager
async def official(tools: Path, file: Path) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=str(tools / "bin" / "node"),
        args=[str(program(tools, "server-memory"))],
        env={"MEMORY_FILE_PATH": str(file)},
    )
    async with Client(parameters) as client:
        yield client


def some(chance: random.Random, values: tuple[str, ...]) -> list[str]:
    """Return a few values, none twice: the other server keeps what it is given twice at once."""
    return chance.sample(values, chance.randint(0, 3))


def command(chance: random.Random) -> tuple[str, dict[str, Any]]:
    names = some(chance, NAMES)
    relations = [
        {"from": name, "to": chance.choice(NAMES), "relationType": chance.choice(KINDS)}
        for name in names
    ]
    entities = [
        {"name": name, "entityType": chance.choice(TYPES), "observations": some(chance, TEXTS)}
        for name in names
    ]
    tools: dict[str, dict[str, Any]] = {
        "create_entities": {"entities": entities},
        "create_relations": {"relations": relations},
        "add_observations": {
            "observations": [{"entityName": n, "contents": some(chance, TEXTS)} for n in names]
        },
        "delete_entities": {"entityNames": names[:1]},
        "delete_observations": {
            "deletions": [{"entityName": n, "observations": some(chance, TEXTS)} for n in names]
        },
        "delete_relations": {"relations": relations},
        "read_graph": {},
        "search_nodes": {"query": chance.choice(("", "ada", "TEA", "b", "club", "friend", "ë"))},
        "open_nodes": {"names": names},
    }
    weights = [6, 6, 6, 1, 2, 2, 2, 4, 4]
    name = chance.choices(list(tools), weights)[0]
    return name, tools[name]


def holds(graph: dict[str, Any], query: str) -> bool:
    """Tell whether any entity holds the query, so that it is not searched by meaning."""
    return any(
        query.lower() in text.lower()
        for one in graph["entities"]
        for text in (one["name"], one["entityType"], *one["observations"])
    )


@pytest.mark.parametrize("seed", range(2))
async def test_both_answer_the_same_to_random_commands(tools: Path, tmp_path: Path, seed: int):
    chance = random.Random(seed)
    file = tmp_path / "memory.jsonl"
    async with (
        AgentMemory("ada", path=":memory:", embedder="hashing") as memory,
        official(tools, file) as theirs,
        Client(knowledge_graph_server(memory)) as ours,
    ):
        for _ in range(COMMANDS):
            tool, arguments = command(chance)
            expected = await theirs.call_tool(tool, arguments)
            if tool == "search_nodes":
                graph = await call(theirs, "read_graph")
                if not holds(graph, arguments["query"]):
                    continue
            actual = await ours.call_tool(tool, arguments)
            assert (tool, arguments, actual.is_error) == (tool, arguments, expected.is_error)
            if not expected.is_error:
                assert actual.structured_content == expected.structured_content
                assert [one.text for one in actual.content] == [
                    one.text for one in expected.content
                ]  # type: ignore[union-attr]
        graph = await call(ours, "read_graph")

    assert len(graph["entities"]) > 2
    assert len(graph["relations"]) > 2
    await its_file_is_read(file, graph)


async def its_file_is_read(file: Path, expected: dict[str, Any]) -> None:
    lines = file.read_text(encoding="utf-8").split("\n")
    parts = [part for line in lines for part in knowledge_graph.of_line(line)]
    async with AgentMemory("bob", path=":memory:", embedder="hashing") as memory:
        await memory.learn_many(parts)
        async with Client(knowledge_graph_server(memory)) as client:
            assert await call(client, "read_graph") == expected


async def test_tools_have_the_same_names_arguments_and_hints(tools: Path, tmp_path: Path):
    async with (
        AgentMemory("ada", path=":memory:", embedder="hashing") as memory,
        official(tools, tmp_path / "memory.jsonl") as theirs,
        Client(knowledge_graph_server(memory)) as ours,
    ):
        expected, actual = [
            {tool.name: tool for tool in (await client.list_tools()).tools}
            for client in (theirs, ours)
        ]

    assert actual.keys() == expected.keys()
    for name, tool in expected.items():
        assert shape(actual[name].input_schema) == shape(tool.input_schema)
        assert shape(actual[name].output_schema) == shape(tool.output_schema)
        assert actual[name].annotations == tool.annotations


def shape(schema: Any) -> Any:
    """Return which fields of which types a schema demands, without how it says so."""

    def resolved(part: Any) -> Any:
        if "$ref" in part:
            return resolved(schema["$defs"][part["$ref"].rsplit("/", 1)[1]])
        if part["type"] == "array":
            return [resolved(part["items"])]
        if part["type"] == "object":
            fields = {name: resolved(one) for name, one in part.get("properties", {}).items()}
            assert sorted(part.get("required", [])) == sorted(fields)
            return fields
        return part["type"]

    return resolved(schema)
