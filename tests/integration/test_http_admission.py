"""Nobody gets past the gate of the server, whatever route they try."""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication.http import CONTENT_TYPE
from chrysalis_memory.servers import http as server
from tests.served import served

TOKEN = "correct-horse"
OPEN = {("GET", "/v1/health"), ("GET", "/v1/openapi.json")}


def memory(tmp_path: Path) -> AgentMemory:
    return AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(memory(tmp_path_factory.mktemp("served")), token=TOKEN) as url:
        yield url


@pytest.fixture(scope="module")
def local_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(memory(tmp_path_factory.mktemp("served"))) as url:
        yield url


def bearing(token: str = TOKEN) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def routes(url: str) -> list[tuple[str, str]]:
    described = httpx.get(f"{url}/v1/openapi.json").json()["paths"]
    return [
        (method.upper(), path.replace("{id}", "a"))
        for path, methods in described.items()
        for method in methods
    ]


def test_every_route_but_those_that_tell_nothing_needs_the_token(url: str):
    asked = [*routes(url), ("GET", "/v1/nothing"), ("OPTIONS", "/v1/recall"), ("GET", "/x")]
    statuses = {
        (method, path): [
            httpx.request(method, url + path).status_code,
            httpx.request(method, url + path, headers=bearing("wrong")).status_code,
        ]
        for method, path in asked
    }

    assert len(asked) > 17
    assert statuses == {
        one: [200, 200] if one in OPEN else [401, 401] for one in asked
    }  # fmt: skip


def test_with_the_token_every_route_answers(url: str):
    statuses = {
        httpx.request(method, url + path, headers=bearing()).status_code
        for method, path in routes(url)
    }

    # Nothing learned, no body: unknown ids and wrong content types, but nobody is sent away.
    assert statuses == {HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}


@pytest.mark.parametrize("path", ["/explorer/../v1/memories", "//v1/memories", "/explorer/..%2fv1"])
def test_a_path_that_looks_open_opens_nothing(url: str, path: str):
    host, port = url.removeprefix("http://").split(":")
    raw = httpx.URL(scheme="http", host=host, port=int(port), raw_path=path.encode())
    answer = httpx.get(raw)

    assert answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED)
    assert 'memories":' not in answer.text


def test_the_token_may_not_come_in_the_url(url: str):
    assert httpx.get(f"{url}/v1/memories?token={TOKEN}").status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:1", 200), ("[::1]:8420", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example", 403),
        ("192.0.2.1", 403), ("", 403), ("0.0.0.0", 403), ("localhost@evil.example", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/memories", "/v1/health", "/v1/openapi.json"])
def test_without_a_token_only_local_names_are_answered(
    local_url: str, path: str, host: str, status: int
):
    assert httpx.get(local_url + path, headers={"host": host}).status_code == status


def own(url: str) -> str:
    return url.removeprefix("http://")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://{own}", 200), ("https://{own}", 200), ("HTTP://{own}", 403), (None, 200),
        ("http://evil.example", 403), ("http://{own}.evil.example", 403), ("null", 403),
        ("http://localhost", 403), ("http://{own}/", 403), ("", 403), ("file://", 403),
        ("chrome-extension://{own}", 403), ("{own}", 403),
    ],
)  # fmt: skip
def test_a_page_of_another_origin_is_sent_away(url: str, origin: str | None, status: int):
    headers = bearing()
    if origin is not None:
        headers["origin"] = origin.format(own=own(url))
    answers = [
        httpx.get(f"{url}/v1/memories", headers=headers),
        httpx.post(f"{url}/v1/recall", json={"query": "tea"}, headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [status, status]
    assert not any("access-control" in name for answer in answers for name in answer.headers)


def test_every_answer_says_that_it_is_not_to_be_guessed_at_framed_or_kept(url: str):
    for path, token in (("/v1/memories", TOKEN), ("/v1/memories", "wrong"), ("/v1/x", TOKEN)):
        headers = httpx.get(url + path, headers=bearing(token)).headers

        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


# Rates


def test_a_client_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path):
    with served(memory(tmp_path), requests_per_second=0.5) as url, httpx.Client() as client:
        answers = [client.get(f"{url}/v1/memories") for _ in range(2)]
        body = client.post(f"{url}/v1/memories", json={"content": "x" * 100_000})

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["error"] == "PeerRefused"
    assert answers[1].headers["retry-after"] == "2"
    assert body.status_code == HTTPStatus.TOO_MANY_REQUESTS


def test_those_who_guess_tokens_are_bounded_too(tmp_path: Path):
    with served(memory(tmp_path), requests_per_second=1, token=TOKEN) as url:
        guesses = [httpx.get(f"{url}/v1/tags", headers=bearing(f"guess{n}")) for n in range(5)]
        right = httpx.get(f"{url}/v1/tags", headers=bearing())

    assert [one.status_code for one in guesses] == [401, 401, 429, 429, 429]
    assert right.status_code == HTTPStatus.TOO_MANY_REQUESTS


def test_frames_of_a_sync_count_for_a_tenth(tmp_path: Path):
    headers = {"content-type": CONTENT_TYPE}
    with served(memory(tmp_path), requests_per_second=0.001) as url, httpx.Client() as client:
        answers = [client.post(f"{url}/v1/pull", headers=headers) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [400] * 10 + [429]


def test_files_of_the_page_count_for_a_tenth(tmp_path: Path):
    with served(memory(tmp_path), requests_per_second=0.001) as url, httpx.Client() as client:
        answers = [client.get(f"{url}/explorer/style.css") for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]


def test_a_rate_of_0_bounds_nobody(tmp_path: Path):
    with served(memory(tmp_path), requests_per_second=0) as url, httpx.Client() as client:
        statuses = {client.get(f"{url}/v1/health").status_code for _ in range(150)}

    assert statuses == {200}


@pytest.mark.parametrize("rate", [-1, float("nan")])
async def test_a_rate_that_is_none_is_refused(tmp_path: Path, rate: float):
    async with memory(tmp_path) as started:
        with pytest.raises(InvalidValue, match="requests per second"):
            server.app(started, token=None, requests_per_second=rate)


# Secrets


def test_the_token_is_in_no_answer_and_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    wrong = "a-secret-of-another-server"
    with served(memory(tmp_path), token=TOKEN) as url:
        answers = [
            httpx.request(method, url + path, headers=bearing(token))
            for method, path in routes(url)
            for token in (TOKEN, wrong)
        ]
    logged: Any = caplog.text + "".join(capfd.readouterr())
    logged = "\n".join(line for line in logged.splitlines() if " httpcore" not in line)
    shown = "".join(answer.text for answer in answers)

    assert TOKEN not in shown + logged
    assert wrong not in shown + logged
