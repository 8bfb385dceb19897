"""The server refuses what it must, changes nothing by it, and lets requests wait for changes."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.errors import InvalidValue, ReplicationError
from chrysalis_memory.replication import frames, replicator
from chrysalis_memory.replication.http import CONTENT_TYPE, HttpTransport
from chrysalis_memory.replication.messages import (
    FRAME_BYTES_MAX,
    AskSums,
    Item,
    Offer,
    Page,
    Push,
    Sender,
    Since,
    Sums,
)
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import exchange
from chrysalis_memory.servers import http as server
from tests.served import contents, served

SENDER = Sender("somebody", bytes(8), 0)
TOKEN = "correct-horse"
FRAME = frames.encode(Since(SENDER, b"", 10))
STATE = MemoryDocument(id="m", content="Tea is at four").to_bytes()
WRITING = frames.encode(Push("somebody", [Item(STATE, {})]))


@pytest.fixture
def url(store: MemoryStorage) -> Iterator[str]:
    store.put(MemoryDocument(id="known", content="Milk is in the fridge"))
    with served(store, token=TOKEN) as url:
        yield url


def post(
    url: str, body: Any = FRAME, *, verb: str = "pull", token: str | None = TOKEN, **headers: str
) -> httpx.Response:
    given = {"content-type": CONTENT_TYPE}
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    return httpx.post(f"{url}/v1/{verb}", content=body, headers=given | headers, timeout=20)


def test_a_valid_request_is_answered_with_a_frame(url: str):
    answered = post(url)
    page = frames.answer(answered.content)

    assert (answered.status_code, answered.headers["content-type"]) == (200, CONTENT_TYPE)
    assert isinstance(page, Page)
    assert [header.id for header in page.headers] == ["known"]


# Refusals


@pytest.mark.parametrize("verb", ["pull", "push"])
@pytest.mark.parametrize(
    "authorization",
    [
        None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}", "Bearer caf\u00e9",
    ],
)  # fmt: skip
def test_without_the_token_nothing_is_told_or_taken(
    url: str, store: MemoryStorage, verb: str, authorization: str | None
):
    before = contents(store)
    headers = {"content-type": CONTENT_TYPE}
    if authorization is not None:
        headers["authorization"] = authorization
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    done = httpx.post(
        f"{url}/v1/{verb}", content=WRITING if verb == "push" else FRAME, headers=encoded
    )

    assert done.status_code == 401
    assert done.headers["www-authenticate"] == "Bearer"
    assert done.json() == {"error": "PeerRefused", "message": "a valid token is needed"}
    assert contents(store) == before


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size >> 20):
        yield bytes(1 << 20)


def flipped(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


@pytest.mark.parametrize(
    ("body", "verb", "status", "kind", "message"),
    [
        (b"", "pull", 400, "InvalidFrame", "0 bytes are no frame"),
        (b"garbage, and enough of it to hold a header", "push", 400, "InvalidFrame", "no frame"),
        (WRITING[:-1], "push", 400, "InvalidFrame", "arrived with"),
        (WRITING[:10], "push", 400, "InvalidFrame", "cut short"),
        (flipped(WRITING), "push", 400, "InvalidFrame", "was changed"),
        (WRITING + b"\0", "push", 400, "InvalidFrame", "arrived with"),
        (b"CHRY\x63" + WRITING[5:], "push", 400, "UnsupportedProtocol", "version 99"),
        (WRITING, "pull", 400, "InvalidFrame", "a Push is sent to /v1/push"),
        (FRAME, "push", 400, "InvalidFrame", "a Since is sent to /v1/pull"),
        (
            frames.encode(Push("x", [Item(b"no document", {})])),
            "push", 400, "InvalidFrame", "a memory that was sent is refused",
        ),
        (bytes(FRAME_BYTES_MAX + 1), "push", 413, "InvalidFrame", "at most 16,777,216 bytes"),
        (lambda: chunks(17 << 20), "push", 413, "InvalidFrame", "at most 16,777,216 bytes"),
        (bytes(FRAME_BYTES_MAX), "push", 400, "InvalidFrame", "no frame"),
        (lambda: chunks(FRAME_BYTES_MAX), "push", 400, "InvalidFrame", "no frame"),
    ],
)  # fmt: skip
def test_what_is_no_valid_request_is_refused_by_name_and_changes_nothing(
    url: str, store: MemoryStorage, body: Any, verb: str, status: int, kind: str, message: str
):
    before = contents(store)
    done = post(url, body() if callable(body) else body, verb=verb)
    said = done.json()

    assert (done.status_code, said["error"]) == (status, kind)
    assert message in said["message"]
    assert "Traceback" not in done.text
    assert contents(store) == before


def test_a_cursor_that_no_store_gave_is_refused(url: str, store: MemoryStorage):
    epoch = bytes.fromhex(store.read(lambda session: session.meta("epoch")) or "")
    done = post(url, frames.encode(Since(SENDER, epoch + b"odd", 10)))

    assert done.status_code == 400
    assert "is no cursor" in done.json()["message"]


def test_another_content_type_is_refused_so_that_no_web_page_can_send_frames(url: str):
    done = post(url, **{"content-type": "text/plain"})

    assert (done.status_code, done.json()["error"]) == (415, "InvalidFrame")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/pull", 405), ("POST", "/v1/health", 405), ("GET", "/", 404)],
)
def test_there_is_nothing_else_to_be_asked(url: str, method: str, path: str, status: int):
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.request(method, url + path, headers=headers).status_code == status


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head(url: str, *lines: str, verb: str = "push") -> bytes:
    first = (f"POST /v1/{verb} HTTP/1.1", f"Host: {url.removeprefix('http://')}")
    rest = (f"Content-Type: {CONTENT_TYPE}", f"Authorization: Bearer {TOKEN}")
    return "\r\n".join((*first, *rest, *lines, "", "")).encode()


def test_a_body_without_end_is_not_read_beyond_what_a_frame_may_be(url: str, store: MemoryStorage):
    before = contents(store)
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    sent = 0
    with connected(url) as peer:
        peer.sendall(head(url, "Transfer-Encoding: chunked"))
        with suppress(ConnectionError):  # it hangs up
            while not select.select([peer], [], [], 0)[0]:
                sent += peer.send(chunk[sent % len(chunk) :])
        answer = peer.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert FRAME_BYTES_MAX < sent < FRAME_BYTES_MAX + (16 << 20)  # what fits in buffers on the way
    assert contents(store) == before


def test_a_body_that_is_announced_as_too_large_is_not_read_at_all(url: str):
    with connected(url) as peer:
        peer.sendall(head(url, "Content-Length: 99999999999"))
        answer = peer.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_who_is_refused_while_still_sending_gets_the_answer(url: str):
    body = bytes(FRAME_BYTES_MAX + 1)
    with connected(url) as peer:
        peer.sendall(head(url, f"Content-Length: {len(body)}"))
        select.select([peer], [], [], 20)  # the answer is there, and nothing of the body sent
        peer.sendall(body)
        answer = b"".join(iter(lambda: peer.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 16,777,216 bytes" in answer


def test_a_frame_whose_sender_goes_away_changes_nothing(url: str, store: MemoryStorage):
    before = contents(store)
    with connected(url) as peer:
        peer.sendall(head(url, f"Content-Length: {len(WRITING)}") + WRITING[:-1])

    assert post(url, frames.encode(AskSums())).status_code == 200  # and the server goes on
    assert contents(store) == before


def test_a_store_that_fails_is_no_business_of_the_peer(
    store: MemoryStorage, caplog: pytest.LogCaptureFixture
):
    with served(store, token=TOKEN) as url:
        store.close()
        done = post(url)
        health = httpx.get(f"{url}/v1/health")

    assert (done.status_code, health.status_code) == (503, 503)
    assert done.json() == {
        "error": "StoreClosed", "message": "the memory failed; the server's log says why"
    }  # fmt: skip
    assert str(store.path) not in done.text + health.text
    assert str(store.path) in caplog.text


def test_a_store_that_is_being_written_says_so(
    open_store: Callable[..., MemoryStorage], store: MemoryStorage
):
    other = open_store(timeout_seconds=0)
    with served(other, token=TOKEN) as url:
        # A transaction holds the file's lock for as long as its work goes on.
        done = store.submit(lambda _: post(url, WRITING, verb="push")).result()

    assert (done.status_code, done.json()["error"]) == (503, "StoreBusy")


# Who is let in


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
async def test_an_address_that_others_can_reach_needs_a_token(store: MemoryStorage, host: str):
    with pytest.raises(InvalidValue, match="a token is needed"):
        await server.serve(store, host=host, port=0)


@pytest.mark.parametrize("token", ["", "two words", "caf\u00e9", "a\nb"])
async def test_a_token_that_no_header_can_carry_is_refused(store: MemoryStorage, token: str):
    with pytest.raises(InvalidValue, match="a token is"):
        await server.serve(store, port=0, token=token)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:8420", 200), ("localhost:1", 200), ("[::1]:8420", 200),
        ("evil.example", 403), ("evil.example:8420", 403), ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403), ("192.0.2.1", 403), ("", 403), ("[::2]", 403),
    ],
)  # fmt: skip
def test_without_a_token_only_local_names_are_answered(
    store: MemoryStorage, host: str, status: int
):
    with served(store) as url:
        assert post(url, token=None, host=host).status_code == status


def test_health_tells_nothing_but_health(url: str):
    done = httpx.get(f"{url}/v1/health")

    assert (done.status_code, done.json()) == (200, {"status": "ok"})


# A sync


async def test_two_stores_hold_the_same_after_a_sync_over_http(
    store: MemoryStorage, open_store: Callable[..., MemoryStorage]
):
    other = open_store("other.db", "bob")
    store.put_many(MemoryDocument(id=f"a{n}", content=f"tea {n}") for n in range(30))
    other.put_many(MemoryDocument(id=f"b{n}", content=f"milk {n}") for n in range(20))
    with served(store, token=TOKEN) as url:
        transport = HttpTransport(url, token=TOKEN)
        report = await replicator.sync(Replica(other), transport)
        again = await replicator.sync(Replica(other), transport)
        await transport.close()

    assert (report.sent, report.received, report.verified) == (20, 30, True)
    assert (again.sent, again.received, again.verified, again.messages) == (0, 0, True, 2)
    assert {d.id: d.to_json() for d in store.states()} == {
        d.id: d.to_json() for d in other.states()
    }


async def test_what_lies_in_the_future_is_kept_apart_by_the_server(
    store: MemoryStorage, open_store: Callable[..., MemoryStorage]
):
    ahead = HybridLogicalClock(lambda: store.clock.wall_us() + 86_400_000_000)
    other = open_store("other.db", "bob", clock=ahead)
    other.put(MemoryDocument(id="m", content="tomorrow's tea", clock=ahead))
    with served(store) as url:
        transport = HttpTransport(url)
        report = await replicator.sync(Replica(other), transport)
        await transport.close()

    assert (report.sent, report.refused, report.verified) == (1, 1, None)
    assert store.get("m") is None
    assert [one.id for one in store.read(lambda session: session.quarantined())] == ["m"]


async def test_an_offer_that_is_pulled_is_refused_by_the_client_too(url: str):
    transport = HttpTransport(url, token=TOKEN)
    with pytest.raises(ReplicationError, match="is sent to /v1/push"):
        await transport.pull(frames.encode(Offer(SENDER, [])))
    await transport.close()


async def test_reading_sums_is_a_pull(url: str):
    transport = HttpTransport(url, token=TOKEN)
    answered = await exchange(transport, AskSums())
    await transport.close()

    assert isinstance(answered, Sums)
