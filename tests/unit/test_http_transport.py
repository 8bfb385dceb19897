"""The HTTP transport: what it says of a server that does not answer as it should."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from chrysalis_memory.errors import (
    InvalidFrame,
    InvalidValue,
    PeerRefused,
    PeerUnavailable,
    ReplicationError,
    UnsupportedProtocol,
)
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.http import CONTENT_TYPE, HttpTransport
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX, AskSums, Sender, Since

SENDER = Sender("somebody", bytes(8), 0)
FRAME = frames.encode(AskSums())


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class OddServer(ThreadingHTTPServer):
    """Answers with whatever a test tells it to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Asked] = []
        self.respond: Callable[[Any], None] = respond(200, b"frame")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OddServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        names = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.path, names, body))
        self.server.respond(self)

    def log_message(self, *_: Any) -> None:
        pass


def respond(status: int, body: bytes = b"", **headers: str) -> Callable[[Any], None]:
    def act(handler: Any) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Type": CONTENT_TYPE} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


@pytest.fixture
def odd() -> Iterator[OddServer]:
    with OddServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def pulled(url: str, frame: bytes = FRAME, **options: Any) -> bytes:
    transport = HttpTransport(url, **options)
    try:
        return await transport.pull(frame)
    finally:
        await transport.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://hub:8420", "http://hub:8420"),
        ("https://hub/", "https://hub"),
        ("https://hub/team/a/", "https://hub/team/a"),
        ("https://ada:hush@hub/team?key=hush#x", "https://hub/team"),
        ("HTTP://HUB:8420", "http://hub:8420"),
        ("http://[::1]:8420", "http://[::1]:8420"),
    ],
)
def test_a_peer_is_named_by_its_url_without_secrets(url: str, name: str):
    assert HttpTransport(url).name == name


@pytest.mark.parametrize(
    ("url", "token", "message"),
    [
        ("ftp://hub", None, "https://host:8420"),
        ("hub:8420", None, "https://host:8420"),
        ("http://", None, "https://host:8420"),
        ("http://hub:port", None, "cannot be read"),
        ("http://ada:hush@hub", "t", "not both"),
        ("http://hub", "", "a token is"),
        ("http://hub", "two words", "a token is"),
        ("http://hub", "a\r\nX-Evil: 1", "a token is"),
    ],
)
def test_what_no_request_can_be_made_of_is_refused_and_no_secret_is_told(
    url: str, token: str | None, message: str
):
    with pytest.raises(InvalidValue, match=message) as caught:
        HttpTransport(url, token=token)
    assert "hush" not in str(caught.value)


async def test_a_frame_is_posted_with_its_token_below_the_url(odd: OddServer):
    transport = HttpTransport(f"{odd.url}/team/?key=1", token="abc")
    answers = [await transport.pull(FRAME), await transport.push(FRAME)]
    await transport.close()

    assert answers == [b"frame", b"frame"]
    assert [asked.path for asked in odd.asked] == ["/team/v1/pull?key=1", "/team/v1/push?key=1"]
    assert [asked.body for asked in odd.asked] == [FRAME, FRAME]
    assert {asked.headers["authorization"] for asked in odd.asked} == {"Bearer abc"}
    assert {asked.headers["content-type"] for asked in odd.asked} == {CONTENT_TYPE}


async def test_a_user_in_the_url_is_sent_to_the_proxy_that_asks_for_one(odd: OddServer):
    await pulled(odd.url.replace("http://", "http://ada:hush@"))

    assert odd.asked[0].headers["authorization"] == "Basic YWRhOmh1c2g="


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (401, b'{"error": "PeerRefused", "message": "a token"}', PeerRefused, "401: a token; give"),
        (403, b"", PeerRefused, "answered 403; give the token"),
        (400, b'{"error": "InvalidFrame", "message": "bad"}', InvalidFrame, "answered 400: bad"),
        (400, b'{"error": "UnsupportedProtocol", "message": "v9"}', UnsupportedProtocol, "v9"),
        (413, b'{"error": "InvalidFrame", "message": "too large"}', InvalidFrame, "too large"),
        (408, b"", PeerUnavailable, "answered 408; sync again later"),
        (429, b"", PeerUnavailable, "answered 429"),
        (500, b"Internal Server Error", PeerUnavailable, "answered 500; sync again later"),
        (503, b'{"error": "StoreBusy", "message": "busy"}', PeerUnavailable, "503: busy; sync"),
        (404, b"<html>", ReplicationError, "404; is a Chrysalis memory served there"),
        (307, b"", ReplicationError, "answered 307"),
        (404, b"[1]", ReplicationError, "answered 404;"),
        (400, b"{" * 100_000, InvalidFrame, "answered 400$"),
    ],
)
async def test_every_refusal_has_its_error(
    odd: OddServer, status: int, body: bytes, error: type[ReplicationError], message: str
):
    odd.respond = respond(status, body, Location="http://192.0.2.1/")
    with pytest.raises(error, match=message) as caught:
        await pulled(odd.url.replace("http://", "http://ada:hush@"))

    assert type(caught.value) is error
    assert odd.url in str(caught.value)
    assert "hush" not in str(caught.value)
    assert len(odd.asked) == 1


async def test_what_a_server_says_is_short_and_cannot_steer_a_terminal(odd: OddServer):
    said = b'{"error": "InvalidFrame", "message": "a\\u001b[2J\\r\\n\\u202e' + b"x" * 2000 + b'"}'
    odd.respond = respond(400, said)
    with pytest.raises(InvalidFrame) as caught:
        await pulled(odd.url)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_a_page_is_not_taken_for_a_frame(odd: OddServer):
    odd.respond = respond(200, b"<html>Log in</html>", **{"Content-Type": "text/html"})
    with pytest.raises(ReplicationError, match="answers with text/html, which is no frame"):
        await pulled(odd.url)


@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_without_end_is_read_no_further_than_a_frame(odd: OddServer, status: int):
    sent = 0
    ended = threading.Event()

    def endless(handler: Any) -> None:
        nonlocal sent
        handler.send_response(status)
        handler.send_header("Content-Type", CONTENT_TYPE)
        handler.end_headers()
        try:
            while True:
                sent += handler.wfile.write(bytes(1 << 16))
        except OSError:
            handler.close_connection = True
            ended.set()

    odd.respond = endless
    with pytest.raises(InvalidFrame, match=r"more than 16,777,216 bytes|answered 400"):
        await pulled(odd.url)

    assert ended.wait(20)
    assert sent < FRAME_BYTES_MAX + (16 << 20)  # what fits in buffers on the way


async def test_an_answer_that_is_as_long_as_a_frame_may_be_is_read(odd: OddServer):
    odd.respond = respond(200, bytes(FRAME_BYTES_MAX))

    assert len(await pulled(odd.url)) == FRAME_BYTES_MAX


async def test_a_frame_is_sent_again_when_the_connection_broke(odd: OddServer):
    def breaks_once(handler: Any) -> None:
        if len(odd.asked) == 1:
            handler.close_connection = True  # ends without an answer
        else:
            respond(200, b"frame")(handler)

    odd.respond = breaks_once

    assert await pulled(odd.url) == b"frame"
    assert len(odd.asked) == 2


async def test_a_server_that_never_answers_is_unavailable(odd: OddServer):
    def hangs_up(handler: Any) -> None:
        handler.close_connection = True

    odd.respond = hangs_up
    with pytest.raises(PeerUnavailable, match=r"cannot be reached now .* sync again"):
        await pulled(odd.url)
    assert len(odd.asked) == 2


async def test_a_peer_that_is_not_there_is_unavailable(odd: OddServer):
    odd.server_close()
    with pytest.raises(PeerUnavailable, match=f"{odd.url} cannot be reached now"):
        await pulled(odd.url)


async def test_a_peer_that_takes_too_long_is_unavailable_unless_it_was_asked_to_wait(
    odd: OddServer,
):
    let_go = threading.Event()

    def slow(handler: Any) -> None:
        let_go.wait(0.2)
        respond(200, b"frame")(handler)

    odd.respond = slow
    assert (
        await pulled(odd.url, frames.encode(Since(SENDER, b"", 1, 10)), timeout_seconds=0.05)
        == b"frame"
    )
    with pytest.raises(PeerUnavailable, match="ReadTimeout"):
        await pulled(odd.url, timeout_seconds=0.05)
    let_go.set()


@pytest.mark.parametrize(
    ("missing", "module", "extra"),
    [
        ("httpx", "chrysalis_memory.replication.http", "http"),
        ("starlette", "chrysalis_memory.servers.http", "server"),
        ("uvicorn", "chrysalis_memory.servers.http", "server"),
    ],
)
def test_without_the_extra_it_says_what_to_install(missing: str, module: str, extra: str):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from chrysalis_memory.errors import ReplicationError\n"
        f"try: import {module}\n"
        "except ReplicationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"needs the module '{missing}', which is not installed" in done.stdout
    assert f"pip install 'chrysalis-memory[{extra}]'" in done.stdout


def test_a_server_needs_nothing_of_the_client():
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "import chrysalis_memory.servers.http; print('served')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "served\n"


async def test_closing_twice_is_allowed(odd: OddServer):
    transport = HttpTransport(odd.url)
    await transport.pull(FRAME)
    await transport.close()
    await transport.close()
