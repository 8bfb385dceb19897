"""Whatever is asked, the server answers as its description says, and never fails."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from chrysalis_memory import AgentMemory
from chrysalis_memory.servers.schemas import NewMemory, Recalling
from tests.served import served

NAMES = sorted({
    *NewMemory.model_fields, *Recalling.model_fields, "limit", "offset", "order", "memories",
    "add_tags", "remove_tags", "archived", "self", "cls", "memory_id", "",
})  # fmt: skip
USUAL = [
    "tea", "", " ", "a/b", "0", "-1", "1e400", "NaN", "null", "true", "[]", "{}", "9" * 400, "2026",
    "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "episodic",
    "recent", "semantic", "late", "\0", "\ud800", 0, 1, 0.5, -0.0, 2**63, 2**53, 10**400, 1e308,
    True, False, None, [], {}, ["tea"], [""], {"a": 1}, {"a": {"$gte": 1}}, {"a": {"$in": ["b"]}},
    {"keyword": 0.5}, {"content": "tea"}, [{"content": "tea"}], ["a"] * 20_000,
]  # fmt: skip
VALUES = st.sampled_from(USUAL) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
BODIES = st.builds(
    lambda usual, odd: usual | odd,
    st.sampled_from([{}, {"content": "tea"}, {"query": "tea"}, {"memories": [{"content": "a"}]}]),
    st.just({}) | st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
)
IDS = st.sampled_from(["0", "1", "gone", "none"]) | st.text(min_size=1).filter(
    lambda text: text not in (".", "..") and text.encode(errors="replace").decode() == text
)


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    memory = AgentMemory("ada", path=":memory:", embedder="hashing")
    with served(memory, requests_per_second=0) as url, httpx.Client(base_url=url) as client:
        memories = [{"content": f"memory {number}", "id": str(number)} for number in range(5)]
        client.post("/v1/memories", json={"memories": [*memories, {"content": "x", "id": "gone"}]})
        client.delete("/v1/memories/gone")
        yield client


@pytest.fixture(scope="module")
def described(api: httpx.Client) -> dict[str, Any]:
    return api.get("/v1/openapi.json").json()


def shown_in_url(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text.encode(errors="surrogatepass")[:2000], safe="").encode()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_answers_are_as_described(
    api: httpx.Client, described: dict[str, Any], data: st.DataObject
):
    operations = [
        (path, method)
        for path, methods in described["paths"].items()
        for method in methods
        if "/pu" not in path  # frames are tested in test_http_server.py
    ]
    path, method = data.draw(st.sampled_from(operations))
    operation = described["paths"][path][method]
    names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    pairs = st.tuples(st.sampled_from([*names, "self"]), VALUES)
    query = data.draw(st.just([]) | st.lists(pairs, max_size=3))
    target = path.replace("{id}", quote(data.draw(IDS), safe="")).encode() + (
        b"?" + b"&".join(name.encode() + b"=" + shown_in_url(value) for name, value in query)
        if query
        else b""
    )
    body: dict[str, Any] = {}
    if "requestBody" in operation:
        text = json.dumps(data.draw(BODIES))
        body = {"content": text, "headers": {"content-type": "application/json"}}
    url = api.base_url.copy_with(raw_path=target)
    answer = api.request(method.upper(), url, **body)
    event(f"{method} {path} {answer.status_code}")

    documented = operation["responses"]
    assert answer.status_code < 500, answer.text
    assert str(answer.status_code) in documented, answer.text
    ((kind, content),) = documented[str(answer.status_code)]["content"].items()
    assert answer.headers["content-type"].partition(";")[0] == kind
    if kind == "application/json":
        schema = content["schema"] | {"components": described["components"]}
        errors = OAS31Validator(schema).iter_errors(answer.json())
        assert [(path, error.json_path, error.message[:200]) for error in errors] == []
