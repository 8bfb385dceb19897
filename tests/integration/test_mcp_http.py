"""An MCP server over HTTP: who is let in."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.e2e import programs
from tests.mcp_clients import call, serving

HANDSHAKE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {},
               "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("open")) as url:
        yield url


@pytest.fixture(scope="module")
def guarded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("guarded"), CHRYSALIS_TOKEN="hush") as url:
        yield url


def ask(url: str, **headers: str) -> httpx.Response:
    return httpx.post(url, headers=HEADERS | headers, json=HANDSHAKE)


def test_a_local_client_needs_no_token(url: str):
    for host in ("127.0.0.1", "localhost"):
        assert ask(url, host=f"{host}:{httpx.URL(url).port}").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "1"])
def test_a_hostile_name_is_refused(url: str, host: str):
    answer = ask(url, host=host)

    assert answer.status_code == 403
    assert answer.json()["message"] == "without a token only a local address is answered"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "x"])
@pytest.mark.parametrize("token", [None, "hush"])
def test_a_page_of_another_origin_is_refused(
    url: str, guarded_url: str, origin: str, token: str | None
):
    bearing = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = ask(url if token is None else guarded_url, origin=origin, **bearing)

    assert answer.status_code == 403
    assert "another origin" in answer.json()["message"]


def test_a_page_of_the_own_origin_is_answered(url: str):
    assert ask(url, origin=url.removesuffix("/mcp")).status_code == 200


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Basic hush", "hush"])
def test_without_the_token_nothing_is_answered(guarded_url: str, given: str | None):
    answer = ask(guarded_url, **({} if given is None else {"authorization": given}))

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["message"] == "a valid token is needed"


async def test_a_client_with_the_token_is_answered(guarded_url: str):
    async with (
        httpx_client("Bearer hush") as http,
        Client(streamable_http_client(guarded_url, http_client=http)) as client,
    ):
        assert (await call(client, "stats"))["memories"] == 0


async def test_a_client_without_the_token_is_told_so(guarded_url: str):
    with pytest.raises((MCPError, ExceptionGroup)):
        async with Client(guarded_url):
            pytest.fail("it was let in")


def httpx_client(authorization: str):
    import httpx2

    return httpx2.AsyncClient(headers={"authorization": authorization})


def test_an_address_that_others_reach_needs_a_token(tmp_path: Path):
    done = programs.run(tmp_path, "mcp", "--http", "--host", "0.0.0.0", "--port", "0")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: '0.0.0.0' can be reached by others, so a token is needed: give --token, "
        "CHRYSALIS_TOKEN or --tokens, or listen on 127.0.0.1\n"
    )


def test_a_server_with_a_client_that_stays_stops_at_once(tmp_path: Path):
    with programs.start(tmp_path, "mcp", "--http", "--port", "0") as server:
        url = programs.url_of(server)
        opened = httpx.post(url, headers=HEADERS, json=HANDSHAKE)
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        begun, ended = threading.Event(), threading.Event()

        def listen() -> None:
            headers = HEADERS | session | {"accept": "text/event-stream"}
            with httpx.stream("GET", url, headers=headers, timeout=60) as stream:
                begun.set()
                stream.read()
            ended.set()

        listening = threading.Thread(target=listen)
        listening.start()
        assert begun.wait(20)
        server.terminate()
        output = server.communicate(timeout=4)  # the grace that requests have is 5 seconds
        assert ended.wait(20)
        listening.join()

    assert (server.returncode, output) == (0, ("", ""))


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = programs.run(tmp_path, "mcp", "--http", "--port", str(port))

    assert (done.returncode, done.stdout) == (1, "")
    assert "Address already in use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_no_message_is_refused(url: str):
    assert httpx.post(url, headers=HEADERS, content=b"{").status_code == 400
    long = json.dumps(HANDSHAKE | {"padding": "x" * (5 << 20)})
    assert httpx.post(url, headers=HEADERS, content=long).status_code == 413
