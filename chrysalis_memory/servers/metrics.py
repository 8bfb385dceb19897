"""Counts and durations of requests, in the text format that Prometheus reads."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE"})
_INFINITY = float("inf")
_UNROUTED = "none"
_SERVER_ERROR = 500


class Metrics:
    """Counts what was asked by route; what nobody serves is counted as one."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()
        self._seconds: dict[str, float] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        self._requests[route, method if method in _METHODS else "other", status] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds
        bounds = (*BUCKETS_SECONDS, _INFINITY)
        self._within[route, next(bound for bound in bounds if seconds <= bound)] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return everything counted.

        Args:
            gauges: More values by name, each with what it is.
        """
        lines = _heading("chrysalis_requests_total", "counter", "Requests that were answered.")
        for (route, method, status), number in sorted(self._requests.items()):
            labels = f'route="{route}",method="{method}",status="{status}"'
            lines.append(f"chrysalis_requests_total{{{labels}}} {number}")
        name = "chrysalis_request_seconds"
        lines += _heading(name, "histogram", "How long requests took to be answered.")
        for route, seconds in sorted(self._seconds.items()):
            number = 0
            for bound in (*BUCKETS_SECONDS, _INFINITY):
                number += self._within[route, bound]
                shown = "+Inf" if bound == _INFINITY else bound
                lines.append(f'{name}_bucket{{route="{route}",le="{shown}"}} {number}')
            lines.append(f'{name}_sum{{route="{route}"}} {seconds}')
            lines.append(f'{name}_count{{route="{route}"}} {number}')
        for gauge, (meaning, value) in gauges.items():
            lines += [*_heading(gauge, "gauge", meaning), f"{gauge} {value}"]
        return "\n".join([*lines, ""])


def _heading(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


class Metered:
    """Counts every request that passes through.

    Args:
        app: Answers them.
        metrics: Counts them.
        routes: All there are; their names are what requests are counted by.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: Sequence[Route]) -> None:
        self._app = app
        self._metrics = metrics
        self._names: dict[Any, str] = {route.endpoint: route.name for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = _SERVER_ERROR, time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = self._names.get(scope.get("endpoint"), _UNROUTED)
            seconds = time.perf_counter() - started
            self._metrics.count(route, scope["method"], status, seconds)
