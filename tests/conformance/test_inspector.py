"""The command line of the official inspector: every tool is listed, strictly, and called."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Node
from tests.e2e import programs
from tests.mcp_clients import serving

pytestmark = pytest.mark.node

ADA = {"name": "Ada", "entityType": "person", "observations": ["likes tea"]}
KNOWS = {"from": "Ada", "to": "Bob", "relationType": "knows"}
CALLS: dict[str, dict[str, Any]] = {
    "learn": {"content": "Tea is at four", "tags": ["date"], "importance": 0.8},
    "recall": {"query": "tea", "k": 3},
    "update": {"memory_id": "ID", "content": "Tea is at five"},
    "get": {"memory_id": "ID"},
    "list_recent": {},
    "stats": {},
    "forget": {"memory_id": "ID"},
}
GRAPH_CALLS: dict[str, dict[str, Any]] = {
    "create_entities": {"entities": [ADA]},
    "create_relations": {"relations": [KNOWS]},
    "add_observations": {"observations": [{"entityName": "Ada", "contents": ["plays chess"]}]},
    "read_graph": {},
    "search_nodes": {"query": "tea"},
    "open_nodes": {"names": ["Ada"]},
    "delete_observations": {"deletions": [{"entityName": "Ada", "observations": ["likes tea"]}]},
    "delete_relations": {"relations": [KNOWS]},
    "delete_entities": {"entityNames": ["Ada"]},
}
SERVERS = {"memory": ((), CALLS), "graph": (("--compat", "knowledge-graph"), GRAPH_CALLS)}
Served = tuple[str, dict[str, dict[str, Any]]]


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    options, calls = SERVERS[request.param]
    with serving(tmp_path, *options) as url:
        yield url, calls


def inspect(node: Node, *arguments: str) -> Any:
    run = node("inspector", "--cli", *arguments)
    assert run.returncode == 0, (run.stdout, run.stderr)
    return json.loads(run.stdout)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_every_tool_is_listed_with_a_schema_that_all_hosts_read(
    node: Node, served: Served, era: str
):
    url, calls = served
    run = node("inspector", "--cli", url, "--protocol-era", era, "--method", "tools/list",
               "--strict")  # fmt: skip

    assert (run.returncode, run.stderr) == (0, "")
    assert {tool["name"] for tool in json.loads(run.stdout)["tools"]} == calls.keys()


def test_every_tool_is_called(node: Node, served: Served):
    url, calls = served
    memory_id = ""
    for tool, arguments in calls.items():
        given = {name: memory_id if value == "ID" else value for name, value in arguments.items()}
        pairs = [f"{name}={json.dumps(value)}" for name, value in given.items()]
        options = ["--tool-arg", *pairs] if pairs else []
        answer = inspect(node, url, "--protocol-era", "modern", "--method", "tools/call",
                         "--tool-name", tool, *options)  # fmt: skip
        memory_id = memory_id or answer["structuredContent"].get("id", "")
        assert answer["isError"] is False


def test_a_host_that_starts_the_program_lists_its_tools(node: Node, tmp_path: Path):
    settings = [f"{name}={value}" for name, value in programs.environment(tmp_path).items()]
    options = [part for setting in settings for part in ("-e", setting)]
    listed = inspect(node, *options, "--method", "tools/list", "--strict", "--",
                     *programs.COMMAND, "mcp")  # fmt: skip

    assert {tool["name"] for tool in listed["tools"]} == CALLS.keys()
