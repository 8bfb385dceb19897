"""A connection to one model of an Ollama server, and what its failures are called."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from ollama import AsyncClient

STATUS_NOT_FOUND = 404
_STATUS_BUSY = 429
STATUS_SERVER_ERROR = 500
_CONNECT_SECONDS_MAX = 5.0


@dataclass
class OllamaServer:
    """Reaches a model by the official client; one connection pool is kept per event loop.

    Args:
        model: Name of the model.
        base_url: The server; `None` for OLLAMA_HOST, else http://127.0.0.1:11434.
        timeout_seconds: Longest wait for an answer; a connection must come within 5 of them.
        unavailable: Raised where the server cannot be reached or is too slow.
        malformed: Raised where its answer is not what the client expects.
    """

    model: str
    base_url: str | None
    timeout_seconds: float
    unavailable: type[Exception]
    malformed: type[Exception]
    _client: AsyncClient | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)

    @property
    def source(self) -> str:
        """The model, as errors call it."""
        return f"the Ollama model {self.model!r}"

    @property
    def address(self) -> str:
        """Where the server is, as errors call it."""
        return self.base_url or "OLLAMA_HOST or http://127.0.0.1:11434"

    @contextmanager
    def asked(self) -> Generator[AsyncClient]:
        """Give the client for one request, and name its failures.

        Error statuses are left to the caller: what they mean depends on what was asked.
        """
        try:
            yield self._connected()
        except httpx.TimeoutException as error:
            raise self.unavailable(
                f"{self.source} gave no answer within {self.timeout_seconds:g} s "
                f"({type(error).__name__}): try again, or raise timeout_seconds="
            ) from error
        except (ConnectionError, httpx.RequestError) as error:
            raise self.unavailable(
                f"cannot reach the Ollama server at {self.address} ({error}): "
                "start it with `ollama serve`, or pass base_url="
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            # Not JSON or JSON of another shape; where it is no object at all, the client trips
            # over it with a TypeError or, for an error's body, an AttributeError.
            raise self.malformed(
                f"{self.source} at {self.address} sent a malformed answer: {error}"
            ) from error

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        # Connections of an event loop that is gone can no longer be closed by awaiting.
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    def _connected(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            # The client itself waits for ever by default.
            connect = min(_CONNECT_SECONDS_MAX, self.timeout_seconds)
            timeout = httpx.Timeout(self.timeout_seconds, connect=connect)
            self._client = AsyncClient(host=self.base_url, timeout=timeout)
            self._loop = loop
        return self._client


def may_answer_later(status: int) -> bool:
    """Tell whether an error status is one that passes."""
    return status >= STATUS_SERVER_ERROR or status == _STATUS_BUSY
