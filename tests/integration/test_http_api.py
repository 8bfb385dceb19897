"""The JSON API does what AgentMemory does, and says what it refuses."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from chrysalis_memory import (
    AgentMemory,
    HybridLogicalClock,
    MemoryDocument,
    MemoryStorage,
    SyncReport,
)
from chrysalis_memory.replication import replicator
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.servers import operations
from chrysalis_memory.servers.incoming import JSON_BYTES_MAX
from tests.served import served

ODD_ID = "a/b//c?d=e&f#g%2F+\n é"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    memory = AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing")
    with served(memory) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One server for all requests that change nothing."""
    path = tmp_path_factory.mktemp("refusing") / "memory.db"
    memory = AgentMemory("ada", path=path, embedder="hashing")
    with served(memory) as url, httpx.Client(base_url=url, timeout=20) as client:
        client.delete(path_of(learn(client, "was here", id="gone")))
        yield client


def got(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def learn(api: httpx.Client, content: str, **fields: Any) -> str:
    return got(api.post("/v1/memories", json={"content": content} | fields), 201)["id"]


def path_of(memory_id: str, kind: str = "memories") -> str:
    return f"/v1/{kind}/{quote(memory_id, safe='')}"


def statistics(api: httpx.Client) -> Any:
    return got(api.get("/v1/statistics"))


def synced(store: MemoryStorage, api: httpx.Client) -> SyncReport:
    async def work() -> SyncReport:
        transport = HttpTransport(str(api.base_url))
        try:
            return await replicator.sync(Replica(store), transport)
        finally:
            await transport.close()

    return asyncio.run(work())


def contents(answer: httpx.Response) -> list[str]:
    return [memory["content"] for memory in got(answer)["memories"]]


# What can be asked


def test_a_memory_is_learned_read_changed_and_forgotten(api: httpx.Client):
    one = learn(api, "Tea is at four", tags=["date"], metadata={"priority": 3})
    read = got(api.get(path_of(one)))
    change = {"content": "Tea is at five", "add_tags": ["tea"], "remove_tags": ["date"]}
    changed = got(api.patch(path_of(one), json=change))
    forgotten = [got(api.delete(path_of(one))) for _ in range(2)]

    assert (read["content"], read["tags"], read["metadata"]) == (
        "Tea is at four", ["date"], {"priority": 3}
    )  # fmt: skip
    assert (changed["id"], changed["content"], changed["tags"]) == (one, "Tea is at five", ["tea"])
    assert forgotten == [{"forgotten": True}, {"forgotten": False}]
    assert got(api.get(path_of(one)), 410)["error"] == "MemoryForgotten"


def test_several_memories_are_learned_at_once_or_none_of_them(api: httpx.Client):
    many = {"memories": [{"content": "Tea"}, {"content": "Milk", "tags": "shopping"}]}
    ids = got(api.post("/v1/memories", json=many), 201)["ids"]
    bad = {"memories": [{"content": "Cake"}, {"content": " "}]}
    refused = got(api.post("/v1/memories", json=bad), 400)

    assert [got(api.get(path_of(one)))["content"] for one in ids] == ["Tea", "Milk"]
    assert refused["message"].startswith("memories.1.content: ")
    assert got(api.get("/v1/memories"))["total"] == 2


@pytest.mark.parametrize(
    "memory_id", [ODD_ID, "a", "%", "a b", "a/../b", "\n", "/", "//", "é" * 512]
)
def test_an_id_may_hold_any_character(api: httpx.Client, memory_id: str):
    learn(api, "Tea is at four", id=memory_id)
    changed = got(api.patch(path_of(memory_id), json={"importance": 0.9}))

    assert (changed["id"], changed["importance"]) == (memory_id, 0.9)
    assert got(api.get(path_of(memory_id, "history")))["writes"][-1]["field"] == "created"
    assert got(api.get(path_of(memory_id, "related"))) == {"related": []}
    assert got(api.delete(path_of(memory_id))) == {"forgotten": True}


def test_memories_are_listed_by_page_and_order(api: httpx.Client):
    for number in range(5):
        learn(api, f"memory {number}", importance=number / 10)

    assert contents(api.get("/v1/memories?limit=2")) == ["memory 4", "memory 3"]
    assert contents(api.get("/v1/memories?limit=2&offset=4")) == ["memory 0"]
    assert contents(api.get("/v1/memories?order=created&limit=1")) == ["memory 0"]
    assert contents(api.get("/v1/memories?order=importance&limit=1")) == ["memory 4"]
    assert got(api.get("/v1/memories?limit=2&offset=4"))["total"] == 5


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"namespace": "home/kitchen"}, ["milk"]),
        ({"namespace_prefix": "home"}, ["milk"]),
        ({"namespace": ""}, ["tea", "old"]),
        ({"memory_type": "episodic"}, ["tea"]),
        ({"memory_type": ["episodic", "semantic"]}, ["tea", "milk", "old"]),
        ({"tags_all": ["a", "b"]}, ["milk"]),
        ({"tags_any": ["a", "b"]}, ["tea", "milk"]),
        ({"tags_none": "b"}, ["tea", "old"]),
        ({"minimum_importance": "0.8"}, ["milk"]),
        ({"minimum_confidence": "0.8"}, ["tea"]),
        ({"episode": "talk"}, ["tea"]),
        ({"metadata": '{"p": {"$gte": 2}}'}, ["milk"]),
        ({"metadata": '{"p": 1}', "tags_any": "a"}, ["tea"]),
        ({"created_from": "2100-01-01T00:00:00Z"}, []),
        ({"created_before": "2100-01-01T00:00:00+00:00", "updated_from": "2000-01-01T00:00:00Z",
          "updated_before": "2100-01-01T00:00:00Z", "tags_all": "b"}, ["milk"]),
        ({"include_archived": "true"}, ["tea", "milk", "old", "put away"]),
        ({"include_expired": "true", "include_archived": "false"},
         ["tea", "milk", "old", "past"]),
    ],
)  # fmt: skip
def test_what_is_listed_and_counted_can_be_filtered(
    api: httpx.Client, asked: dict[str, Any], found: list[str]
):
    learn(api, "tea", tags=["a"], memory_type="episodic", confidence=0.9, episode="talk",
          metadata={"p": 1})  # fmt: skip
    learn(api, "milk", tags=["a", "b"], namespace="home/kitchen", importance=0.9,
          metadata={"p": 2})  # fmt: skip
    learn(api, "old")
    learn(api, "past", expires_at="2020-01-01T00:00:00Z")
    api.patch(path_of(learn(api, "put away")), json={"archived": True})
    listed = got(api.get("/v1/memories", params={"order": "created"} | asked))

    assert [memory["content"] for memory in listed["memories"]] == found
    assert listed["total"] == len(found)
    tags = {tag for one in listed["memories"] for tag in one["tags"]}
    assert {tag for tag, _ in got(api.get("/v1/tags", params=asked))["tags"]} == tags


def test_recall_finds_by_meaning_and_words_and_explains(api: httpx.Client):
    learn(api, "Tea is at four", tags=["date"])
    learn(api, "Tea is green")
    learn(api, "The cat sleeps")
    asked = {"query": "when is tea?", "k": 2, "weights": {"keyword": 0.5}}
    found = got(api.post("/v1/recall", json=asked))["memories"]
    filtered = api.post("/v1/recall", json={"query": "tea", "tags_any": ["date"]})

    assert {one["content"] for one in found} == {"Tea is at four", "Tea is green"}
    assert found[0]["score"] == found[0]["explanation"]["score"]
    assert contents(filtered) == ["Tea is at four"]


def test_a_recall_counts_as_a_use_unless_it_says_otherwise(api: httpx.Client):
    one = learn(api, "Tea is at four")
    for track in (True, False, True):
        api.post("/v1/recall", json={"query": "tea", "track": track})

    assert got(api.get(path_of(one)))["access_count"] == 2


def test_history_says_who_wrote_what(api: httpx.Client):
    one = learn(api, "Tea is at four", tags=["date"])
    api.patch(path_of(one), json={"metadata": {"p": 1}})
    writes = got(api.get(path_of(one, "history")))["writes"]

    assert [(write["field"], write["value"]) for write in writes] == [
        ("metadata.p", 1), ("tags", "date"),
        ("content", "Tea is at four"), ("created", None),
    ]  # fmt: skip
    assert {write["writer"].partition("@")[0] for write in writes} == {"ada"}


def test_related_memories_are_the_linked_ones_and_then_the_most_alike(api: httpx.Client):
    far = learn(api, "The cat sleeps")
    near = learn(api, "Tea is at five")
    one = learn(api, "Tea is at four", related=[far])
    found = got(api.get(path_of(one, "related"), params={"k": 1}))["related"]

    assert [(each["memory"]["id"], each["link"]) for each in found] == [
        (far, "related"), (near, None)
    ]  # fmt: skip
    assert found[1]["similarity"] > found[0]["similarity"]


def test_the_map_places_like_beside_like(api: httpx.Client):
    for number in range(4):
        learn(api, f"the cat sleeps on the sofa {number}", tags=["cat"])
        learn(api, f"quarterly revenue grew {number} percent", tags=["work"])
    learn(api, "x" * 500)
    drawn = got(api.get("/v1/map?tags_any=cat&tags_any=work"))
    sides = {(point["tags"][0], point["x"] > 0) for point in drawn["points"]}

    assert len(drawn["points"]) == 8
    assert len(sides) == 2
    assert 0 < drawn["explained"][1] < drawn["explained"][0] < 1
    assert max(len(point["content"]) for point in got(api.get("/v1/map"))["points"]) == 120


def test_the_map_of_nothing_is_empty(api: httpx.Client):
    assert got(api.get("/v1/map")) == {"points": [], "explained": [0, 0]}


def test_statistics_say_what_the_store_holds(api: httpx.Client):
    learn(api, "Tea is at four", tags=["date"])
    held = got(api.get("/v1/statistics"))

    assert (held["agent"], held["memories"], held["pending"]) == ("ada", 1, 0)
    assert (held["tags"], held["dimension"]) == ([["date", 1]], 256)
    assert held["embedder"].startswith("hashing/")
    assert held["size_bytes"] > 0


def test_replicas_are_named_with_what_is_kept_apart(
    api: httpx.Client, open_store: Callable[..., MemoryStorage], tmp_path: Path
):
    now = HybridLogicalClock().wall_us()
    ahead = HybridLogicalClock(lambda: now + 86_400_000_000)
    other = open_store("other.db", "bob", clock=ahead)
    other.put(MemoryDocument(id="later", content="tomorrow's tea", clock=ahead))
    synced(other, api)
    told = got(api.get("/v1/replicas"))
    (kept,) = told["quarantined"]

    assert (told["replica"], told["peers"]) == (got(api.get("/v1/statistics"))["replica"], [])
    assert (kept["id"], kept["source"]) == ("later", other.replica)
    assert "lies in the future" in kept["reason"]


async def test_what_a_replica_brings_is_embedded_and_found_by_meaning(
    api: httpx.Client,
    open_store: Callable[..., MemoryStorage],
    eventually: Callable[..., Any],
):
    other = open_store("other.db", "bob")
    learn(api, "so that the store has a space")
    other.put_many(MemoryDocument(id=f"m{n}", content=f"tea number {n}") for n in range(3))
    report = await asyncio.to_thread(synced, other, api)

    async def is_embedded() -> bool:
        return (await asyncio.to_thread(statistics, api))["pending"] == 0

    await eventually(is_embedded)
    asked = {"query": "tea number 2", "mode": "semantic", "k": 1}
    found = await asyncio.to_thread(api.post, "/v1/recall", json=asked)
    assert (report.sent, report.verified) == (3, True)
    assert [one["id"] for one in got(found)["memories"]] == ["m2"]


def test_a_database_is_served_as_a_file_is(postgres_url: str):
    memory = AgentMemory("ada", path=postgres_url, embedder="hashing")
    with served(memory) as url, httpx.Client(base_url=url, timeout=20) as api:
        one = learn(api, "Tea is at four", tags=["date"])
        found = got(api.post("/v1/recall", json={"query": "tea"}))["memories"]
        drawn = got(api.get("/v1/map"))["points"]
        written = got(api.get(path_of(one, "history")))["writes"]

    assert [each["id"] for each in found] == [each["id"] for each in drawn] == [one]
    assert written[-1]["field"] == "created"


# What is refused


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "message"),
    [
        ("GET", "/v1/memories/none", 404, "MemoryNotFound", "no memory has the id 'none'"),
        ("PATCH", "/v1/memories/none", 404, "MemoryNotFound", "no memory has the id 'none'"),
        ("GET", "/v1/history/none", 404, "MemoryNotFound", "no memory has the id 'none'"),
        ("GET", "/v1/related/none", 404, "MemoryNotFound", "no memory has the id 'none'"),
        ("PATCH", "/v1/memories/gone", 410, "MemoryForgotten", "was forgotten"),
        ("GET", "/v1/history/gone", 410, "MemoryForgotten", "was forgotten"),
        ("GET", "/v1/related/gone", 410, "MemoryForgotten", "was forgotten"),
        ("GET", "/v1/nothing", 404, "UnknownRoute", "there is no GET /v1/nothing"),
        ("GET", "/v1/memories/", 404, "UnknownRoute", "there is no GET"),
        ("PUT", "/v1/memories/a", 405, "UnknownRoute", "there is no PUT"),
        ("OPTIONS", "/v1/recall", 405, "UnknownRoute", "there is no OPTIONS"),
        ("GET", "/v1/memories/%ff", 400, "InvalidValue", "not UTF-8"),
        ("GET", "/v1/memories?limit=0", 400, "InvalidValue", "limit: "),
        ("GET", "/v1/memories?limit=1001", 400, "InvalidValue", "limit: "),
        ("GET", "/v1/memories?limit=1.0", 400, "InvalidValue", "limit: "),
        ("GET", "/v1/memories?limit=true", 400, "InvalidValue", "limit: "),
        ("GET", "/v1/memories?limit=ten", 400, "InvalidValue", "limit: not strict JSON"),
        ("GET", f"/v1/memories?limit={'9' * 5000}", 400, "InvalidValue", "limit: "),
        ("GET", "/v1/memories?offset=-1", 400, "InvalidValue", "offset: "),
        ("GET", "/v1/memories?offset=9007199254740993", 400, "InvalidValue", "offset: "),
        ("GET", "/v1/memories?limit=1&limit=2", 400, "InvalidValue", "limit is given twice"),
        ("GET", "/v1/memories?order=best", 400, "InvalidValue", "order: "),
        ("GET", "/v1/memories?colour=red", 400, "InvalidValue", "colour: Extra inputs"),
        ("GET", "/v1/memories?self=1", 400, "InvalidValue", "self: Extra inputs"),
        ("GET", "/v1/memories?namespace=%ff", 400, "InvalidValue", "cannot be read"),
        ("GET", "/v1/memories?tags_any=a%00", 400, "InvalidValue", "NUL"),
        ("GET", "/v1/memories?minimum_importance=2", 400, "InvalidValue", "minimum_importance: "),
        ("GET", "/v1/memories?minimum_importance=NaN", 400, "InvalidValue", "not a JSON number"),
        ("GET", "/v1/memories?created_from=yesterday", 400, "InvalidValue", "created_from: "),
        ("GET", "/v1/memories?created_from=2026-01-01T00:00:00", 400, "InvalidValue", "timezone"),
        ("GET", "/v1/memories?metadata=[]", 400, "InvalidValue", "metadata: "),
        ("GET", "/v1/memories?metadata={%22a%22:{%22$x%22:1}}", 400, "InvalidValue", "operator"),
        ("GET", "/v1/memories?include_archived=yes", 400, "InvalidValue", "include_archived: "),
        ("GET", "/v1/related/a?k=0", 400, "InvalidValue", "k: "),
        ("GET", "/v1/statistics?x=1", 400, "InvalidValue", "x: Extra inputs"),
        ("GET", "/v1/map?limit=10001", 400, "InvalidValue", "limit: "),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_says_why(
    refusing: httpx.Client, method: str, path: str, status: int, kind: str, message: str
):
    content = {"json": {}} if method == "PATCH" else {}
    said = got(refusing.request(method, path, **content), status)

    assert said["error"] == kind
    assert message in said["message"]
    assert "\n" not in said["message"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("memories", b"", "not strict JSON"),
        ("memories", b"{", "not strict JSON"),
        ("memories", b"[]", "a JSON object"),
        ("memories", b'"tea"', "a JSON object"),
        ("memories", b'{"content": "tea"}{}', "not strict JSON"),
        ("memories", b'{"content": "a", "content": "b"}', "the same key twice"),
        ("memories", b'{"content": "tea", "importance": NaN}', "not a JSON number"),
        ("memories", b'{"content": "tea", "importance": 1e999}', "not a JSON number"),
        ("memories", b'{"content": "\\ud800"}', "lone surrogate"),
        ("memories", b'{"content": "tea", "metadata": {"\\udfff": 1}}', "lone surrogate"),
        ("memories", b'{"content": "a\\u0000b"}', "NUL"),
        ("memories", '{"content": "caf\u00e9"}'.encode("latin-1"), "not UTF-8"),
        ("memories", '{"content": "tea"}'.encode("utf-16"), "not UTF-8"),
        ("memories", b"\xef\xbb\xbf{}", "not strict JSON"),
        ("memories", b"[" * 100_000, "not strict JSON"),
        ("memories", b'{"a":' * 40 + b"1" + b"}" * 40, "deeper than 32"),
        ("memories", b'{"position": ' + b"9" * 5000 + b"}", "not strict JSON"),
        ("memories", b'{"content": "tea", "colour": "red"}', "colour: Extra inputs"),
        ("memories", b'{"content": "tea", "cls": 1}', "cls: Extra inputs"),
        ("memories", b'{"content": "tea", "importance": "0.5"}', "importance: "),
        ("memories", b'{"content": "tea", "memories": [{"content": "a"}]}', "Extra inputs"),
        ("memories", b'{"memories": []}', "memories: "),
        ("memories", b'{"memories": {"content": "tea"}}', "memories: "),
        ("memories", b'{"memories": ["tea"]}', "memories.0: "),
        ("memories", b'{"content": "tea", "expires_at": "2026-01-01T00:00:00"}', "timezone"),
        ("recall", b'{"query": ""}', "white space"),
        ("recall", b'{}', "query: "),
        ("recall", b'{"query": 1}', "query: "),
        ("recall", b'{"query": "tea", "k": 0}', "k: "),
        ("recall", b'{"query": "tea", "k": "5"}', "k: "),
        ("recall", b'{"query": "tea", "self": 1}', "self: Extra inputs"),
        ("recall", b'{"query": "tea", "mode": "best"}', "mode: "),
        ("recall", b'{"query": "tea", "weights": {"keyword": -1}}', "weights.keyword: "),
        ("recall", b'{"query": "tea", "rerank": "late"}', "rerank='late' needs"),
        ("recall", b'{"query": "tea", "track": 1}', "track: "),
        ("recall", b'{"query": "tea", "metadata": {"a": {"$x": 1}}}', "operator"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_strict_json_of_the_right_shape_changes_nothing(
    refusing: httpx.Client, path: str, body: bytes, message: str
):
    headers = {"content-type": "application/json"}
    said = got(refusing.post(f"/v1/{path}", content=body, headers=headers), 400)

    assert said["error"] in ("InvalidValue", "InvalidDocument")
    assert message in said["message"]
    assert got(refusing.get("/v1/memories"))["total"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory_id": "other"}, "memory_id: Extra inputs"), ({"self": 1}, "self: Extra inputs"),
        ({"cls": 1}, "cls: Extra inputs"), ({"tags": ["a"]}, "tags: Extra inputs"),
        ({"content": " "}, "content: "), ({"archived": "yes"}, "archived: "),
        ({"expires_at": 4_000_000_000}, "a moment is written like"),
        ({"importance": 2, "content": "changed"}, "importance: "),
    ],
)  # fmt: skip
def test_a_change_that_is_refused_changes_nothing(
    api: httpx.Client, change: dict[str, Any], message: str
):
    one = learn(api, "Tea is at four")
    before = got(api.get(path_of(one)))

    assert message in got(api.patch(path_of(one), json=change), 400)["message"]
    assert got(api.get(path_of(one))) == before


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
             "application/json; charset=utf-16", "application/vnd.chrysalis.frame"],
)  # fmt: skip
def test_what_a_web_form_can_send_is_refused(refusing: httpx.Client, kind: str | None):
    headers = {} if kind is None else {"content-type": kind}
    said = got(refusing.post("/v1/memories", content=b'{"content": "tea"}', headers=headers), 415)

    assert said["message"] == "the body has the content type application/json"
    assert got(refusing.get("/v1/memories"))["total"] == 0


def test_the_longest_memory_is_taken_and_a_longer_body_is_not(api: httpx.Client):
    headers = {"content-type": "application/json"}
    body = json.dumps({"content": "\u00e9" * (1 << 19), "metadata": {"a": "\u00e9" * 20_000}})
    taken = api.post("/v1/memories", content=body, headers=headers)
    padded = body + " " * (JSON_BYTES_MAX + 1 - len(body))
    refused = got(api.post("/v1/memories", content=padded, headers=headers), 413)

    assert taken.status_code == 201
    assert refused["message"] == f"the body has at most {JSON_BYTES_MAX:,} bytes"
    assert got(api.get("/v1/memories?limit=1"))["total"] == 1


def test_an_answer_that_takes_too_long_is_given_up(
    tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(operations, "ANSWER_SECONDS_MAX", 0.05)

    class Never(type(embedder)):
        async def embed(self, texts: Any, *, input_type: Any = "document") -> Any:
            await asyncio.Event().wait()

    memory = AgentMemory("ada", path=tmp_path / "memory.db", embedder=Never())
    with served(memory) as url:
        done = httpx.post(f"{url}/v1/memories", json={"content": "tea"})

    assert (done.status_code, done.json()["error"]) == (503, "StoreBusy")


def test_what_fails_inside_names_no_file_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    memory = AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing")

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"something at {tmp_path} broke")

    monkeypatch.setattr(memory, "tags", broken)
    with served(memory) as url:
        memory.storage.close()
        closed = httpx.get(f"{url}/v1/memories")
        unexpected = httpx.get(f"{url}/v1/tags")

    assert (closed.status_code, closed.json()["error"]) == (503, "StoreClosed")
    assert unexpected.status_code == 500
    assert unexpected.json() == {
        "error": "InternalError", "message": "the server failed (RuntimeError); its log says why"
    }  # fmt: skip
    assert str(tmp_path) not in closed.text + unexpected.text
    assert caplog.text.count(str(tmp_path)) >= 2


def test_while_the_embedder_is_away_texts_are_kept_and_meaning_alone_is_refused(
    tmp_path: Path, embedder: Any
):
    memory = AgentMemory("ada", path=tmp_path / "memory.db", embedder=embedder)
    with served(memory) as url, httpx.Client(base_url=url) as api:
        learn(api, "Tea is at four")
        embedder.up = False
        learn(api, "Milk is in the fridge")
        refused = got(api.post("/v1/recall", json={"query": "tea", "mode": "semantic"}), 503)
        pending = got(api.get("/v1/statistics"))["pending"]
        embedder.up = True

    assert refused["error"] == "EmbedderUnavailable"
    assert "switched off" not in refused["message"]
    assert pending == 1


# What describes it


def test_the_description_is_valid_openapi_and_lists_every_route(api: httpx.Client):
    described = got(api.get("/v1/openapi.json"))
    validate(described)
    listed = {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }

    assert described["openapi"].startswith("3.1")
    assert listed == {
        ("GET", "/v1/health"), ("GET", "/v1/metrics"), ("GET", "/v1/openapi.json"),
        ("POST", "/v1/pull"), ("POST", "/v1/push"),
        ("POST", "/v1/memories"), ("GET", "/v1/memories"),
        ("GET", "/v1/memories/{id}"), ("PATCH", "/v1/memories/{id}"),
        ("DELETE", "/v1/memories/{id}"), ("GET", "/v1/history/{id}"), ("GET", "/v1/related/{id}"),
        ("POST", "/v1/recall"), ("GET", "/v1/tags"), ("GET", "/v1/map"), ("GET", "/v1/statistics"),
        ("GET", "/v1/replicas"),
    }  # fmt: skip


def test_metrics_count_requests_by_route_and_status(api: httpx.Client):
    learn(api, "Tea is at four")
    for path in ("/v1/memories", "/v1/memories/none", "/v1/nothing", "/v1/memories/other"):
        api.get(path)
    api.request("BREW", "/v1/tea")
    text = api.get("/v1/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text.text)}
    requests = {
        (one.labels["route"], one.labels["method"], one.labels["status"]): one.value
        for one in families["chrysalis_requests"].samples
    }
    durations = families["chrysalis_request_seconds"].samples

    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert requests == {
        ("/v1/memories", "POST", "201"): 1, ("/v1/memories", "GET", "200"): 1,
        ("/v1/memories/{id}", "GET", "404"): 2, ("none", "GET", "404"): 1,
        ("none", "other", "404"): 1,
    }  # fmt: skip
    assert {one.labels["route"]: one.value for one in durations if one.name.endswith("_count")} == {
        "/v1/memories": 2,
        "/v1/memories/{id}": 2,
        "none": 2,
    }
    assert [one.value for one in families["chrysalis_memories"].samples] == [1]
    assert [one.value for one in families["chrysalis_pending"].samples] == [0]
