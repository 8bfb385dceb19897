"""Who is let in: one gate before every route, so that a new route cannot forget it.

A browser is the danger on the own machine: any page it shows may send requests to a local address.
Such a page is told by the name it uses (Host) and by where it comes from (Origin).
"""

import hmac
import ipaddress
import math
from collections.abc import Set
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chrysalis_memory.replication.routes import PULL, PUSH, check_token
from chrysalis_memory.servers.rates import Rates
from chrysalis_memory.servers.refusals import Refusal

_SMALL_COST = 0.1
"""A first sync is a quick row of requests, each of which brings a thousand memories; and a page is
made of two dozen files."""
_LOOPBACK_NAMES = ("localhost",)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Admission:
    """Lets in requests that may be answered, and refuses the others before anything is read.

    Args:
        app: Answers what is let in.
        token: What a request must bear; ``None`` lets in requests for a local name.
        open_paths: What needs no token, because it tells nothing of the memory. What ends with
            ``/`` stands for everything below it.
        signed_paths: What needs no token and no local name, because whoever answers it asks for a
            signature, which no page that a browser shows can make.
        rates: Bounds the requests of each client; ``None`` does not.

    Raises:
        InvalidValue: a token that no header can carry.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        open_paths: Set[str],
        rates: Rates | None,
        signed_paths: Set[str] = frozenset(),
    ) -> None:
        self._app = app
        self._token = None if token is None else check_token(token).encode()
        self._open_paths = open_paths
        self._open_folders = tuple(
            path for path in open_paths if path.endswith("/") and path != "/"
        )
        self._rates = rates
        self._signed_paths = signed_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        return (
            self._check_rate(scope)
            or self._check_host(scope["path"], headers)
            or _check_origin(headers)
            or self._check_token(scope["path"], headers)
            or _check_path(scope)
        )

    def _check_rate(self, scope: Scope) -> Refusal | None:
        if self._rates is None:
            return None
        address, _ = scope.get("client") or ("", 0)
        path = scope["path"]
        is_small = path in (PULL, PUSH) or path.startswith(self._open_folders)
        cost = _SMALL_COST if is_small else 1.0
        seconds = self._rates.wait_seconds(address, cost=cost)
        if not seconds:
            return None
        return Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "PeerRefused",
            "too many requests at once; come again after the seconds in Retry-After",
            {"Retry-After": str(math.ceil(seconds))},
        )

    def _check_host(self, path: str, headers: Headers) -> Refusal | None:
        if self._token is not None or path in self._signed_paths:
            return None
        if is_loopback(_without_port(headers.get("host", ""))):
            return None
        message = "without a token only a local address is answered"
        return Refusal(HTTPStatus.FORBIDDEN, "PeerRefused", message)

    def _check_token(self, path: str, headers: Headers) -> Refusal | None:
        is_open = path in self._open_paths or path.startswith(self._open_folders)
        if self._token is None or is_open or path in self._signed_paths:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Headers are read as Latin-1, so this gives back the very bytes that came.
        is_same = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() == "bearer" and is_same:
            return None
        return Refusal(
            HTTPStatus.UNAUTHORIZED,
            "PeerRefused",
            "a valid token is needed",
            {"WWW-Authenticate": "Bearer"},
        )


def _check_origin(headers: Headers) -> Refusal | None:
    """Refuse what a page of somebody else sends; of the own page both schemes may be true.

    A proxy that speaks TLS makes ``http`` here of what is ``https`` to the browser.
    """
    origin = headers.get("origin")
    scheme, _, place = (origin or "").partition("://")
    is_own = scheme in ("http", "https") and place.lower() == headers.get("host", "").lower()
    if origin is None or is_own:
        return None
    message = "a page of another origin may not ask here; open the page that is served here"
    return Refusal(HTTPStatus.FORBIDDEN, "PeerRefused", message)


def _check_path(scope: Scope) -> Refusal | None:
    """Refuse a path that is no UTF-8, which would otherwise be read as another."""
    try:
        unquote_to_bytes(scope.get("raw_path") or b"").decode()
    except UnicodeDecodeError:
        message = "the path is not UTF-8 after percent-decoding"
        return Refusal(HTTPStatus.BAD_REQUEST, "InvalidValue", message)
    return None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or an address means this machine, and can mean no other."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in _LOOPBACK_NAMES


def _without_port(host: str) -> str:
    end = host.find("]") if host.startswith("[") else host.rfind(":") - 1
    return host if end < 0 else host[: end + 1]
