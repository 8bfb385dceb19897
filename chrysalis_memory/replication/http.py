"""Frames over HTTP, to a peer that serves its memory with ``chrysalis serve`` (extra ``http``).

Every frame is the body of a POST, and so is every answer. Redirects are not followed: they would
carry the token elsewhere.
"""

import json
from http import HTTPStatus
from typing import Any, NoReturn, cast

from chrysalis_memory.crdt.clock import system_wall_us
from chrysalis_memory.errors import (
    InvalidFrame,
    InvalidValue,
    PeerRefused,
    PeerUnavailable,
    ReplicationError,
    UnsupportedProtocol,
)
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX, Since
from chrysalis_memory.replication.routes import (
    CONTENT_TYPE,
    PULL,
    PUSH,
    SIGNATURE,
    check_token,
)
from chrysalis_memory.replication.signing import PeerKey, Signature, check_answer, sign

try:
    import httpx
except ImportError as error:
    raise ReplicationError(
        f"syncing over HTTP needs the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[http]'"
    ) from error

_ATTEMPTS = 2
"""Both verbs are idempotent, so a frame is sent again when a kept connection turns out broken."""
_REASON_BYTES_MAX = 4_096
_REASON_CHARACTERS_MAX = 300
_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class HttpTransport:
    """Carries frames to a memory that is served over HTTP.

    Args:
        url: Where it is served, for example ``https://hub.example:8420``. A query is sent along;
            a user and a password are sent as basic authentication, for a proxy that asks for it.
        token: The bearer token that the server asks for.
        key: The peer's name and secret, ``name:secret``: frames are signed with it, and answers
            that the server has not signed with it are refused.
        timeout_seconds: How long connecting, and each pause while sending or receiving, may take.

    Raises:
        InvalidValue: no HTTP URL, a token that no header can carry, or one beside a password; no
            such key.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        key: str | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise InvalidValue(f"this URL of a peer cannot be read: {error}") from error
        plain = parsed.copy_with(userinfo=b"", query=None, fragment=None)
        self._name = str(plain).rstrip("/")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InvalidValue(
                f"a peer on HTTP is named like https://host:8420, got {self._name!r}"
            )
        if token is not None and parsed.userinfo:
            raise InvalidValue(
                f"give a token for {self._name} or a user in its URL, not both: "
                "a request carries one of them"
            )
        # The URL is what httpx logs, so what may be secret is sent apart from it.
        self._url = plain
        self._query = parsed.query
        self._auth = (parsed.username, parsed.password) if parsed.userinfo else None
        self._token = None if token is None else check_token(token)
        self._key = None if key is None else PeerKey.parse(key)
        self._timeout_seconds = timeout_seconds
        self._client: httpx.AsyncClient | None = None

    @property
    def name(self) -> str:
        """The URL, without credentials and query."""
        return self._name

    async def pull(self, frame: bytes) -> bytes:
        """Send a frame that asks, and return the answer's.

        Raises:
            PeerUnavailable: the server cannot be reached now, or cannot answer now.
            PeerRefused: it asks for another token or key, or does not take what it is given.
            InvalidFrame: it finds the frame not valid, or answers with more than a frame may be, or
                without the signature of the key.
            UnsupportedProtocol: it is of a version that does not read the frame.
            ReplicationError: what answers there is no memory.
        """
        request = frames.decode(frame)
        waits_seconds = request.wait_seconds if isinstance(request, Since) else 0
        return await self._post(PULL, frame, waits_seconds)

    async def push(self, frame: bytes) -> bytes:
        """Send a frame that offers or gives, and return the answer's; raises as :meth:`pull`."""
        return await self._post(PUSH, frame, 0)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, path: str, frame: bytes, waits_seconds: float) -> bytes:
        if self._client is None:
            self._client = httpx.AsyncClient()
        url = self._url.copy_with(path=self._url.path.rstrip("/") + path)
        target = url.raw_path + (b"?" + self._query if self._query else b"")
        # Identity: what was packed would be unpacked without a bound.
        headers = {"Content-Type": CONTENT_TYPE, "Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        timeout = httpx.Timeout(self._timeout_seconds, read=self._timeout_seconds + waits_seconds)
        for left in reversed(range(_ATTEMPTS)):
            # Anew each time: the first attempt may have arrived, and a nonce is taken once.
            signature = self._sign(path, frame)
            signed = headers if signature is None else headers | {SIGNATURE: str(signature)}
            try:
                async with self._client.stream(
                    "POST",
                    url,
                    content=frame,
                    headers=signed,
                    timeout=timeout,
                    auth=self._auth,
                    extensions={"target": target},
                ) as response:
                    return await self._read(response, signature)
            except httpx.TransportError as error:
                is_broken = isinstance(
                    error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError
                )
                if not (is_broken and left):
                    raise self._unavailable(error) from error
        raise AssertionError("the last attempt returns or raises")

    def _unavailable(self, error: httpx.TransportError) -> PeerUnavailable:
        reason = shown(str(error)) or type(error).__name__
        return PeerUnavailable(
            f"{self._name} cannot be reached now ({reason}); see that 'chrysalis serve' runs there "
            "and that the address is right, then sync again: what has arrived is kept"
        )

    def _sign(self, path: str, frame: bytes) -> Signature | None:
        if self._key is None:
            return None
        return sign(self._key, route=path, frame=frame, stamp=system_wall_us())

    async def _read(self, response: httpx.Response, asked: Signature | None) -> bytes:
        if response.status_code != HTTPStatus.OK:
            body = await self._body(response, _REASON_BYTES_MAX, cut=True)
            self._refuse(response.status_code, body)
        kind = response.headers.get("content-type", "nothing")
        if kind != CONTENT_TYPE:
            raise ReplicationError(
                f"{self._name} answers with {shown(kind)}, which is no frame; "
                "is a Chrysalis memory served there?"
            )
        frame = await self._body(response, FRAME_BYTES_MAX)
        if self._key is not None and asked is not None:
            header = response.headers.get(SIGNATURE)
            try:
                check_answer(self._key, asked=asked, frame=frame, header=header)
            except InvalidFrame as error:
                raise InvalidFrame(f"{self._name}: {error}") from None
        return frame

    async def _body(self, response: httpx.Response, most: int, *, cut: bool = False) -> bytes:
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > most:
                if cut:
                    return bytes(body[:most])
                raise InvalidFrame(f"{self._name} answers with more than {most:,} bytes")
        return bytes(body)

    def _refuse(self, status: int, body: bytes) -> NoReturn:
        kind, reason = _reason(body)
        said = f"{self._name} answered {status}" + (f": {reason}" if reason else "")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if self._key is not None:
                raise PeerRefused(said)
            raise PeerRefused(
                f"{said}; give the token that it was started with (token=, or CHRYSALIS_TOKEN)"
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY:
            raise PeerUnavailable(f"{said}; sync again later: what has arrived is kept")
        if kind == UnsupportedProtocol.__name__:
            raise UnsupportedProtocol(said)
        if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            raise InvalidFrame(said)
        raise ReplicationError(f"{said}; is a Chrysalis memory served there?")


def shown(text: str) -> str:
    """Return what another machine said, short, in one line that cannot steer a terminal."""
    line = " ".join(text.split())[:_REASON_CHARACTERS_MAX]
    return "".join(c if c.isprintable() else "�" for c in line)


def _reason(body: bytes) -> tuple[str, str]:
    """Return the kind of an error and what the server says of it; empty where it says nothing."""
    try:
        said: Any = json.loads(body)
    except ValueError:
        return "", ""  # another program's page, which nobody wants to read in an error
    if not isinstance(said, dict):
        return "", ""
    fields = cast("dict[str, Any]", said)
    return str(fields.get("error", "")), shown(str(fields.get("message", "")))
