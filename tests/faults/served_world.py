"""What attackers meet: one real file behind real servers, and a peer with a file of its own."""

import contextlib
import hashlib
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from chrysalis_memory import AgentMemory, MemoryStorage
from chrysalis_memory.changes import Header
from chrysalis_memory.replication.messages import AskSums, Request, Sender, Since
from chrysalis_memory.replication.signing import PeerKey, new_secret
from chrysalis_memory.servers.keyring import Keyring
from chrysalis_memory.servers.mcp import mcp_server
from chrysalis_memory.servers.mcp_http import serve as serve_mcp
from tests.faults.audit import audit
from tests.served import contents, listening, served
from tests.signed import Made, keyring, made, secrets_of

TOKEN = "Correct-Horse-Battery-Staple-0123456789"
SECRETS = secrets_of("ada", "bob", "hub")
ADA, BOB, HUB = (PeerKey(name, secret) for name, secret in SECRETS.items())
STRANGER = PeerKey("ada", new_secret())
KEYS: Keyring = keyring(SECRETS, hub={"relays": True, "importance_max": 0.5, "access_max": 100})
KNOWN = "known"

Answered = tuple[int | None, ...]
"""Statuses; ``None`` where the connection was closed without one."""


class Attack(NamedTuple):
    """Something hostile, ready to be sent."""

    send: Callable[[], Answered]
    refusals: frozenset[int | None]
    """The statuses that are right; each of those answered must be one of them."""
    what: str
    """The variant, for whoever reads of a failure."""


def attack(
    send: Callable[[], int | None] | Callable[[], Answered], *refusals: int | None, what: str
) -> Attack:
    def several() -> Answered:
        try:
            answered = send()
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            answered = None
        return answered if isinstance(answered, tuple) else (answered,)

    return Attack(several, frozenset(refusals), what)


class World:
    """Servers that share a file: with token and keys, without either, and both for MCP."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hub.db"
        self.own_path = folder / "own.db"
        self._servers = contextlib.ExitStack()
        self._restarted = contextlib.ExitStack()
        self.url = self.open_url = self.mcp_url = self.open_mcp_url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator["World"]:
        # What is refused is logged, which is right and of no use here.
        loggers = [logging.getLogger(name) for name in ("chrysalis_memory", "uvicorn", "mcp")]
        before = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with (
            MemoryStorage(self.path, "ada", synchronous="NORMAL") as self.storage,
            MemoryStorage(self.own_path, "ada", synchronous="NORMAL") as self.own,
        ):
            try:
                self._start()
                yield self
            finally:
                self._restarted.close()
                self._servers.close()
                for logger, level in zip(loggers, before, strict=True):
                    logger.setLevel(level)

    def _start(self) -> None:
        self.open_url = self._servers.enter_context(served(self._agent(), requests_per_second=0))
        httpx.post(
            f"{self.open_url}/v1/memories",
            json={"content": "Tea is at four", "id": KNOWN, "importance": 0.9},
        ).raise_for_status()
        self.storage.record_access({KNOWN: 3})
        for name, token in (("mcp_url", TOKEN), ("open_mcp_url", None)):
            setattr(self, name, self._servers.enter_context(listening(self._mcp(token))))
        self._serve()
        for key, replica in ((ADA, "ada1"), (BOB, "bob1"), (HUB, "hub1")):
            self.legitimate(key, Since(Sender(replica, bytes(8), 0), b"", 10))

    def _agent(self) -> AgentMemory:
        return AgentMemory("ada", path=self.path, embedder="hashing", synchronous="NORMAL")

    def _mcp(self, token: str | None) -> Callable[[Callable[[str], None]], Any]:
        async def work(ready: Callable[[str], None]) -> None:
            memory = self._agent()
            try:
                await serve_mcp(mcp_server(memory), port=0, token=token, ready=ready)
            finally:
                await memory.stop()

        return work

    def _serve(self) -> None:
        options = {"token": TOKEN, "keys": KEYS, "requests_per_second": 0}
        self.url = self._restarted.enter_context(served(self._agent(), **options))

    def restart(self) -> None:
        """Stop the server that has keys and start it anew."""
        self._restarted.close()
        self._serve()

    def legitimate(self, key: PeerKey, request: Request | None = None) -> Made:
        """Have a peer ask something that is answered; return what an eavesdropper saw."""
        seen = made(key, AskSums() if request is None else request)
        answer = seen.send(self.url)
        assert answer.status_code == 200, answer.text
        return seen

    def header(self, **counts: int) -> Header:
        """Return the header of the memory that is known, with other counts."""
        (found,) = self.storage.read(lambda session: session.load_many([KNOWN]))
        return found[0]._replace(access=counts)

    def digest(self) -> str:
        """Return a digest of every row of both files, after an audit of the served one."""
        audit(self.storage)
        rows = [contents(self.storage), contents(self.own)]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def raw(url: str, *parts: bytes, end: bool = False) -> int | None:
    """Send bytes as they are and return the status of the answer; ``None`` if there is none.

    Args:
        url: The server's.
        parts: What to send, one after another, until the server has had enough.
        end: Whether to say that no more will come.
    """
    place = httpx.URL(url)
    with socket.create_connection((place.host, place.port or 80), timeout=20) as connection:
        with contextlib.suppress(OSError):  # the server has had enough and closed
            for part in parts:
                connection.sendall(part)
            if end:
                connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        with contextlib.suppress(ConnectionError):
            while b"\r\n" not in answer:
                if not (part := connection.recv(4_096)):
                    return None
                answer += part
    return int(answer.split(b" ", 2)[1]) if answer else None


def head(method: str, target: str, headers: dict[str, str], *more: str) -> bytes:
    """Return the beginning of a request as bytes."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in ({"host": "127.0.0.1"} | headers).items()]
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")
