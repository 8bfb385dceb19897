"""Signed frames by hand, and a middleman who sees and changes what passes."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx

from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import Request
from chrysalis_memory.replication.routes import CONTENT_TYPE, PULL, PUSH, SIGNATURE
from chrysalis_memory.replication.signing import PeerKey, Signature, new_secret, sign
from chrysalis_memory.replication.transport import WRITES
from chrysalis_memory.servers.keyring import KeyEntry, Keyring


def now_us() -> int:
    return time.time_ns() // 1_000


class Made(NamedTuple):
    """A request as it goes over the wire."""

    route: str
    body: bytes
    signature: Signature

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": CONTENT_TYPE, SIGNATURE.lower(): str(self.signature)}

    def send(self, url: str, **headers: str) -> httpx.Response:
        return httpx.post(
            url + self.route, content=self.body, headers=self.headers | headers, timeout=20
        )


def made(key: PeerKey, request: Request | bytes, *, stamp: int | None = None) -> Made:
    """Sign a request as its peer would."""
    body = request if isinstance(request, bytes) else frames.encode(request)
    route = PUSH if isinstance(request, WRITES) else PULL
    signature = sign(key, route=route, frame=body, stamp=now_us() if stamp is None else stamp)
    return Made(route, body, signature)


def keyring(secrets: dict[str, str], **entries: dict[str, Any]) -> Keyring:
    """Return a keyring of peers by their secrets; more about each by its name."""
    return Keyring(
        {name: KeyEntry(key=one, **entries.get(name, {})) for name, one in secrets.items()}  # pyright: ignore[reportArgumentType]
    )


def secrets_of(*names: str) -> dict[str, str]:
    return {name: new_secret() for name in names}


# In the middle


class Passed(NamedTuple):
    """A request that passed, and what it was answered with."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer_headers: dict[str, str]
    answer: bytes


class Middleman(ThreadingHTTPServer):
    """Passes requests on to a server; ``change`` may change an answer on its way, or lose it."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.place = url.removeprefix("http://")
        self.seen: list[Passed] = []
        self.change: Callable[[Passed], Passed | None] = lambda passed: passed

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Middleman

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        connection = http.client.HTTPConnection(self.server.place, timeout=60)
        connection.request("POST", self.path, body, headers)
        answer = connection.getresponse()
        passed = Passed(
            self.path, headers, body, answer.status,
            {name.lower(): value for name, value in answer.getheaders()}, answer.read(),
        )  # fmt: skip
        connection.close()
        self.server.seen.append(passed)
        told = self.server.change(passed)
        if told is None:
            self.close_connection = True
            return
        self.send_response(told.status)
        for name, value in told.answer_headers.items():
            if name not in ("content-length", "date", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(told.answer)))
        self.end_headers()
        self.wfile.write(told.answer)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def middleman(url: str) -> Iterator[Middleman]:
    with Middleman(url) as between:
        thread = threading.Thread(target=between.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield between
        finally:
            between.shutdown()
            thread.join()
