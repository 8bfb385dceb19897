"""A token that is restricted to a namespace sees nothing else, whatever it is sent to.

Routes, tools, resources, prompts and files are listed by the servers themselves: one that is new
and not asked here fails a test.
"""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication.http import CONTENT_TYPE
from chrysalis_memory.servers import pages
from chrysalis_memory.servers.knowledge_graph import knowledge_graph_server
from chrysalis_memory.servers.mcp import mcp_server
from chrysalis_memory.servers.tokens import Tokens
from chrysalis_memory.visibility import Visibility
from tests import tenants
from tests.e2e import programs
from tests.mcp_clients import call, serving
from tests.served import served
from tests.tenants import ALICE, BOB, MARK, UNKNOWN, Others, leaks

OWNER = "of-the-owner"
FILE = f"""
[[tokens]]
name = "alice"
token = "of-alice"
namespace = "{ALICE}"

[[tokens]]
name = "bob"
token = "of-bob"
namespace = "{BOB}"

[[tokens]]
name = "reader"
token = "of-reader"
namespace = "{ALICE}"
read_only = true

[[tokens]]
name = "auditor"
token = "of-auditor"
read_only = true
"""


def written(folder: Path, text: str = FILE, mode: int = 0o600) -> Path:
    path = folder / "tokens.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


class World:
    """A served memory of two users, and who asks it."""

    def __init__(self, client: httpx.Client, others: Others) -> None:
        self.others = others
        self._client = client

    def ask(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} | options.pop("headers", {})
        return self._client.request(method, path, headers=headers, **options)


def built(path: Path) -> Others:
    async def build() -> Others:
        async with AgentMemory("ada", path=path, **tenants.OPTIONS) as memory:
            await tenants.learn_alice(memory)
            return await tenants.learn_others(memory)

    return asyncio.run(build())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tenants")
    others = built(folder / "shared.db")
    memory = AgentMemory("ada", path=folder / "shared.db", **tenants.OPTIONS)
    tokens = Tokens.read(written(folder))
    options = {"token": OWNER, "tokens": tokens, "requests_per_second": 0}
    with served(memory, **options) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield World(client, others)


# HTTP

Route = tuple[str, str]
Asked = Callable[[str], dict[str, Any]]
BODY: Asked = lambda one: {}  # noqa: E731
FRAME = {"content": b"x", "headers": {"content-type": CONTENT_TYPE}}
QUERY = f"tea milk {MARK}"
ROUTES: dict[Route, list[tuple[str, Asked]]] = {
    ("POST", "/v1/memories"): [
        ("", lambda one: {"json": {"content": "x", "id": one, "namespace": BOB}}),
        ("", lambda one: {"json": {"memories": [{"content": "x", "namespace": "", "id": one}]}}),
    ],
    ("GET", "/v1/memories"): [
        ("?limit=1000&include_archived=true&include_expired=true", BODY),
        (f"?namespace={BOB}", BODY),
        ("?namespace_prefix=user&limit=1000", BODY),
        (f"?tags_all=tag-{MARK}", BODY),
        ("?episode=standup", BODY),
    ],
    ("GET", "/v1/memories/{id}"): [("", BODY)],
    ("PATCH", "/v1/memories/{id}"): [("", lambda one: {"json": {"content": "changed"}})],
    ("DELETE", "/v1/memories/{id}"): [("", BODY)],
    ("GET", "/v1/history/{id}"): [("", BODY)],
    ("GET", "/v1/related/{id}"): [("?k=100", BODY)],
    ("POST", "/v1/recall"): [
        ("", lambda one: {"json": {"query": QUERY, "k": 100, "track": False, "context": 9,
                                   "include_archived": True, "include_expired": True}}),
        ("", lambda one: {"json": {"query": QUERY, "mode": "keyword", "namespace": BOB}}),
    ],
    ("GET", "/v1/tags"): [("?include_archived=true", BODY)],
    ("GET", "/v1/map"): [("?limit=1000&include_archived=true", BODY)],
    ("GET", "/v1/statistics"): [("", BODY)],
    ("GET", "/v1/replicas"): [("", BODY)],
    ("GET", "/v1/health"): [("", BODY)],
    ("GET", "/v1/metrics"): [("", BODY)],
    ("POST", "/v1/pull"): [("", lambda one: FRAME)],
    ("POST", "/v1/push"): [("", lambda one: FRAME)],
    ("GET", "/v1/openapi.json"): [("", BODY)],
}  # fmt: skip
WHOLE = {("GET", "/v1/metrics"), ("POST", "/v1/pull"), ("POST", "/v1/push")}
"""What is for the whole memory alone."""
WRITES = {("POST", "/v1/memories"), ("PATCH", "/v1/memories/{id}"), ("DELETE", "/v1/memories/{id}")}
READS = ROUTES.keys() - WRITES
BY_ID = {route for route in ROUTES if "{id}" in route[1]} | WRITES


def told(answer: httpx.Response, one: str) -> str:
    """Return all of an answer but what tells the time or how long the id is."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("date", "content-length")
    }
    text = json.dumps([answer.status_code, headers, answer.text])
    return tenants.AGE.sub("", text.replace(one, "ID"))


def asked(
    world: World, token: str, one: str, routes: Iterable[Route] = ROUTES
) -> dict[tuple[Route, int], str]:
    """Ask everything there is by one id."""
    return {
        ((method, path), number): told(
            world.ask(token, method, path.replace("{id}", quote(one, safe="")) + more, **body(one)),
            one,
        )
        for method, path in routes
        for number, (more, body) in enumerate(ROUTES[method, path])
    }


def test_every_route_is_asked_here(world: World):
    described = world.ask(OWNER, "GET", "/v1/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    assert set(ROUTES) == routes


def everything(world: World) -> list[str]:
    """Return all memories but Alice's, as their owner sees them."""
    path = "/v1/memories?limit=1000&order=created&include_archived=true&include_expired=true"
    listed = world.ask(OWNER, "GET", path).json()["memories"]
    return [json.dumps(one) for one in listed if one["id"] in world.others.ids]


def test_no_route_tells_anything_of_others(world: World):
    found = asked(world, "of-alice", UNKNOWN)
    assert {path: text for path, text in found.items() if leaks(text, world.others)} == {}


def test_no_route_tells_or_changes_anything_of_others_by_an_id(world: World):
    before = everything(world)
    expected = asked(world, "of-alice", UNKNOWN, BY_ID)
    differing = {
        (one, path): (text, expected[path])
        for one in world.others.ids
        for path, text in asked(world, "of-alice", one, BY_ID).items()
        if text != expected[path]
    }
    assert differing == {}
    assert everything(world) == before


def test_what_others_do_changes_no_answer_of_a_route(world: World):
    before = asked(world, "of-alice", "alice-1", READS)
    for number in range(30):
        content = {"content": f"Tea, milk and {MARK} {number}", "tags": ["work"]}
        assert world.ask("of-bob", "POST", "/v1/memories", json=content).status_code == 201
    world.ask("of-bob", "POST", "/v1/recall", json={"query": "tea"})
    world.ask("of-bob", "DELETE", f"/v1/memories/{tenants.secret_id('alike')}")
    after = asked(world, "of-alice", "alice-1", READS)
    assert {
        path: (before[path], text) for path, text in after.items() if text != before[path]
    } == {}


@pytest.mark.parametrize("token", ["of-alice", "of-bob", "of-reader"])
@pytest.mark.parametrize(("method", "path"), sorted(WHOLE))
def test_what_is_for_the_whole_memory_is_refused_and_says_so(
    world: World, token: str, method: str, path: str
):
    answer = world.ask(token, method, path)
    place = BOB if token == "of-bob" else ALICE
    assert (answer.status_code, answer.json()) == (
        403,
        {
            "error": "OutOfView",
            "message": f"{path} is for the whole memory; this token is restricted to '{place}'",
        },
    )


@pytest.mark.parametrize("token", ["of-reader", "of-auditor"])
def test_a_token_that_only_reads_writes_nothing(world: World, token: str):
    one = {"content": "x", "namespace": ALICE}
    refused = [
        world.ask(token, "POST", "/v1/memories", json=one),
        world.ask(token, "PATCH", "/v1/memories/alice-0", json={"content": "x"}),
        world.ask(token, "DELETE", "/v1/memories/alice-0"),
        world.ask(token, "POST", "/v1/push", headers={"content-type": CONTENT_TYPE}),
    ]
    before = world.ask(OWNER, "GET", "/v1/memories/alice-1").json()
    found = world.ask(token, "POST", "/v1/recall", json={"query": "report", "k": 1000})

    assert [answer.status_code for answer in refused] == [403] * 4
    assert "alice-1" in [one["id"] for one in found.json()["memories"]]
    assert world.ask(OWNER, "GET", "/v1/memories/alice-1").json() == before


def test_a_token_without_a_namespace_sees_everything(world: World):
    counts = {
        token: world.ask(token, "GET", "/v1/statistics").json()["memories"]
        for token in (OWNER, "of-auditor", "of-alice")
    }
    assert counts[OWNER] == counts["of-auditor"] > counts["of-alice"]
    assert world.ask("of-auditor", "GET", "/v1/metrics").status_code == 200
    assert world.ask("of-auditor", "GET", f"/v1/memories/{MARK}-bob").status_code == 200


def test_what_is_learned_lies_in_the_view(world: World):
    learned = world.ask("of-bob", "POST", "/v1/memories", json={"content": "Mine", "id": "mine"})
    found = world.ask("of-bob", "GET", "/v1/memories/mine").json()

    assert learned.json() == {"id": "user/bob/mine"}
    assert (found["id"], found["namespace"]) == ("user/bob/mine", BOB)
    assert world.ask("of-alice", "GET", "/v1/memories/mine").status_code == 404
    path = f"/v1/memories/{quote('user/bob/mine', safe='')}"
    assert world.ask("of-alice", "GET", path).status_code == 404


def test_the_files_of_the_page_tell_nothing(world: World):
    names = [one.name for one in pages.FOLDER.iterdir() if one.is_file()]
    for path in ("/", *(f"/explorer/{name}" for name in names)):
        for token in ("of-alice", OWNER, "wrong"):
            answer = world.ask(token, "GET", path)
            assert answer.status_code == 200
            assert leaks(f"{answer.text}{answer.headers}", world.others) == []


@pytest.mark.parametrize("given", ["of-alic", "of-alicee", "of-bob of-alice", "Of-alice"])
def test_a_token_that_is_none_of_them_is_refused(world: World, given: str):
    assert world.ask(given, "GET", "/v1/statistics").status_code == 401


def test_each_token_has_a_rate_of_its_own(tmp_path: Path):
    memory = AgentMemory("ada", path=tmp_path / "m.db", **tenants.OPTIONS)
    tokens = Tokens.read(written(tmp_path))
    with (
        served(memory, tokens=tokens, requests_per_second=1) as url,
        httpx.Client(base_url=url) as client,
    ):
        world = World(client, Others([], []))
        statuses = [world.ask("of-alice", "GET", "/v1/tags").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_with_the_rule_broken_every_route_that_reads_leaks(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Visibility, "sees", lambda self, namespace: True)
    one = tenants.secret_id("bob")
    found = asked(world, "of-alice", one, READS)
    leaking = {route for (route, _), text in found.items() if leaks(text, world.others)}
    telling_nothing = {("GET", "/v1/health"), ("GET", "/v1/openapi.json")}
    assert leaking == READS - WHOLE - telling_nothing


# MCP

TOOLS: dict[str, list[dict[str, Any]]] = {
    "learn": [{"content": "x", "namespace": BOB}, {"content": "x", "namespace": ""}],
    "recall": [{"query": QUERY, "k": 100}, {"query": QUERY, "namespace": BOB},
               {"query": QUERY, "tags": [f"tag-{MARK}"]}],
    "update": [{"memory_id": "ID", "content": "changed"}],
    "forget": [{"memory_id": "ID"}],
    "get": [{"memory_id": "ID"}],
    "list_recent": [{"limit": 100}, {"namespace": "user"}],
    "stats": [{}],
}  # fmt: skip
GRAPH_TOOLS: dict[str, list[dict[str, Any]]] = {
    "create_entities": [{"entities": []}],
    "create_relations": [{"relations": []}],
    "add_observations": [{"observations": [{"entityName": f"{MARK} & Co", "contents": ["x"]}]}],
    "delete_entities": [{"entityNames": [f"{MARK} & Co", "Tea"]}],
    "delete_observations": [{"deletions": [{"entityName": "Tea", "observations": [f"is {MARK}"]}]}],
    "delete_relations": [
        {"relations": [{"from": "Tea", "to": f"{MARK} & Co", "relationType": "of"}]}
    ],
    "read_graph": [{}],
    "search_nodes": [{"query": QUERY}, {"query": MARK}, {"query": "Tea"}],
    "open_nodes": [{"names": ["Tea", f"{MARK} & Co"]}],
}
RESOURCES = {"memory://recent", "memory://memories/{memory_id}"}
GRAPH_RESOURCES = {"memory://knowledge-graph"}


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[tuple[AgentMemory, Others]]:
    async with AgentMemory("ada", path=tmp_path / "shared.db", **tenants.OPTIONS) as memory:
        await tenants.learn_alice(memory)
        yield memory, await tenants.learn_others(memory)


async def offered(client: Client) -> tuple[set[str], set[str], set[str]]:
    """Return the tools, the resources and the prompts of a server."""
    tools = {one.name for one in (await client.list_tools()).tools}
    resources = {str(one.uri) for one in (await client.list_resources()).resources}
    templates = (await client.list_resource_templates()).resource_templates
    prompts = {one.name for one in (await client.list_prompts()).prompts}
    return tools, resources | {one.uri_template for one in templates}, prompts


async def spoken(client: Client, tools: dict[str, Any], resources: set[str], one: str) -> Any:
    """Return all that a server says when asked everything by one id."""
    found: dict[str, str] = {}
    for name, calls in tools.items():
        for number, arguments in enumerate(calls):
            given = {key: one if value == "ID" else value for key, value in arguments.items()}
            result = await client.call_tool(name, given)
            found[f"{name} {number}"] = result.model_dump_json().replace(one, "ID")
    for resource in resources:
        uri = resource.replace("{memory_id}", quote(one, safe=""))
        try:
            read = (await client.read_resource(uri)).model_dump_json()
        except MCPError as error:
            read = str(error)
        found[resource] = read.replace(one, "ID").replace(uri, "URI")
    return found


async def test_no_tool_and_no_resource_tells_or_changes_anything_of_others(
    shared: tuple[AgentMemory, Others],
):
    memory, others = shared
    before = await tenants.kept(memory, others)
    async with Client(mcp_server(memory.within(ALICE))) as client:
        assert await offered(client) == (set(TOOLS), RESOURCES, {"use_memory"})
        prompt = await client.get_prompt("use_memory", {"task": "tea"})
        assert leaks(prompt.model_dump_json(), others) == []
        expected = await spoken(client, TOOLS, RESOURCES, UNKNOWN)
        for one in others.ids:
            told = await spoken(client, TOOLS, RESOURCES, one)
            assert {name: text for name, text in told.items() if leaks(text, others)} == {}
            assert without_uses(told) == without_uses(expected)
    assert await tenants.kept(memory, others) == before


def without_uses(told: dict[str, str]) -> dict[str, str]:
    """Leave out what asking changes itself: the scores of what was recalled before."""
    return {name: text for name, text in told.items() if not name.startswith("recall")}


async def test_no_tool_of_a_graph_tells_or_changes_anything_of_others(
    shared: tuple[AgentMemory, Others],
):
    memory, others = shared
    for place, about in ((ALICE, "is hot"), (BOB, f"is {MARK}")):
        async with Client(knowledge_graph_server(memory.within(place))) as client:
            entities = [
                {"name": "Tea", "entityType": "drink", "observations": [about]},
                *([] if place == ALICE else [
                    {"name": f"{MARK} & Co", "entityType": MARK, "observations": []}]),
            ]  # fmt: skip
            await call(client, "create_entities", entities=entities)
            relation = {"from": "Tea", "to": f"{MARK} & Co", "relationType": "of"}
            if place != ALICE:
                await call(client, "create_relations", relations=[relation])
    graph = [one for one in await memory.find(metadata={"graph": {"$exists": True}})
             if one.namespace != ALICE]  # fmt: skip
    all_others = Others([*others.living, *(one.id for one in graph)], others.gone)
    before = await tenants.kept(memory, all_others)
    async with Client(knowledge_graph_server(memory.within(ALICE))) as client:
        assert await offered(client) == (set(GRAPH_TOOLS), GRAPH_RESOURCES, set())
        read = await call(client, "read_graph")
        told = await spoken(client, GRAPH_TOOLS, GRAPH_RESOURCES, UNKNOWN)
    assert read["entities"] == [{"name": "Tea", "entityType": "drink", "observations": ["is hot"]}]
    known = f"{MARK} & Co"  # names that were in the question
    assert {name: text for name, text in told.items() if leaks(text, all_others, known=known)} == {}
    assert [one.namespace for one in graph] == [BOB] * 4
    assert await tenants.kept(memory, all_others) == before


async def test_a_server_that_only_reads_offers_nothing_else(shared: tuple[AgentMemory, Others]):
    memory, _ = shared
    view = memory.within(ALICE, read_only=True)
    async with Client(mcp_server(view)) as client, Client(knowledge_graph_server(view)) as graph:
        tools = [(await offered(one))[0] for one in (client, graph)]
        assert (await call(client, "recall", query="tea"))["memories"] != []
    assert tools == [
        {"recall", "get", "list_recent", "stats"}, {"read_graph", "search_nodes", "open_nodes"},
    ]  # fmt: skip


def bearing(token: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"})


async def test_each_token_is_answered_from_its_own_view_over_http(tmp_path: Path):
    options = ("--db", "m.db", "--tokens", str(written(tmp_path)))
    with serving(tmp_path, *options, CHRYSALIS_TOKEN=OWNER, CHRYSALIS_EMBEDDER="hashing") as url:
        for token in ("of-alice", "of-bob"):
            async with (
                bearing(token) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                await call(client, "learn", content=f"Tea is {token}")
        counts = {}
        for token in (OWNER, "of-alice", "of-bob", "of-reader", "of-auditor"):
            async with (
                bearing(token) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                found = await call(client, "recall", query="tea", k=10)
                tools = (await offered(client))[0]
                counts[token] = sorted(one["content"] for one in found["memories"]), len(tools)
    assert counts == {
        OWNER: (["Tea is of-alice", "Tea is of-bob"], 7),
        "of-alice": (["Tea is of-alice"], 7),
        "of-bob": (["Tea is of-bob"], 7),
        "of-reader": (["Tea is of-alice"], 4),
        "of-auditor": (["Tea is of-alice", "Tea is of-bob"], 4),
    }


def test_a_session_of_another_token_is_unknown(tmp_path: Path):
    from tests.integration.test_mcp_http import HANDSHAKE, HEADERS

    options = ("--db", "m.db", "--tokens", str(written(tmp_path)))
    with serving(tmp_path, *options, CHRYSALIS_EMBEDDER="hashing") as url:
        alice, bob = ({"authorization": f"Bearer of-{one}"} | HEADERS for one in ("alice", "bob"))
        began = httpx.post(url, headers=alice, json=HANDSHAKE)
        session = {"mcp-session-id": began.headers["mcp-session-id"]}
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        statuses = [
            httpx.post(url, headers=headers | session, json=listing).status_code
            for headers in (alice, bob)
        ]
    assert statuses == [200, 404]


async def test_a_program_on_standard_input_is_confined(tmp_path: Path):
    from tests.mcp_clients import program

    alice = program(tmp_path, "--db", "m.db", "--namespace", ALICE, CHRYSALIS_EMBEDDER="hashing")
    whole = program(tmp_path, "--db", "m.db", CHRYSALIS_EMBEDDER="hashing")
    async with Client(whole) as client:
        one = (await call(client, "learn", content="Milk is cold"))["id"]
    async with Client(alice) as client:
        await call(client, "learn", content="Tea is hot")
        found = await call(client, "recall", query="tea milk")
        refused = await client.call_tool("get", {"memory_id": one})

    assert [(m["content"], m["namespace"]) for m in found["memories"]] == [("Tea is hot", ALICE)]
    assert refused.is_error


# The file of tokens


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tokens: Field required"),
        ("tokens = []", "at least 1 item"),
        ("[[tokens]]\nname = 'a'", "tokens.0.token: Field required"),
        ("[[tokens]]\nname = 'a'\ntoken = ''", "a token is one or more visible ASCII"),
        ("[[tokens]]\nname = 'a'\ntoken = 'x'\nnamespace = ''", "at least 1 item after"),
        ("[[tokens]]\nname = 'a'\ntoken = 'x'\nnamespace = 'a//b'", "empty segment"),
        ("[[tokens]]\nname = 'a'\ntoken = 'x'\nread_only = 1", "read_only"),
        ("[[tokens]]\nname = 'a'\ntoken = 'x'\nnamespaces = ['a']", "namespaces"),
        ("[[tokens]]\nname = 'a'\ntoken = 'x'\n" * 2, "'a' stands twice"),
        ("[[tokens]]\nname = 'a'\ntoken = 'x'\n[[tokens]]\nname = 'b'\ntoken = 'x'", "twice"),
        ("token = hush", r"is not TOML in UTF-8 \(at line 1, column 9\)"),
        ("token = 'hush", r"is not TOML in UTF-8 \(at "),
    ],
)  # fmt: skip
def test_a_file_of_tokens_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(InvalidValue, match=message):
        Tokens.read(written(tmp_path, text))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_a_file_of_tokens_that_others_may_read_is_refused(tmp_path: Path, mode: int):
    path = written(tmp_path, mode=mode)
    done = programs.run(tmp_path, "serve", "m.db", "--port", "0", "--tokens", str(path))

    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: {path} holds tokens and other users may read or write it (mode {mode:o}); "
        f"run: chmod 600 {path}\n"
    )


def test_tokens_are_not_shown(tmp_path: Path):
    tokens = Tokens.read(written(tmp_path))
    assert "of-alice" not in repr([tokens, *tokens.holders, vars(tokens)])
