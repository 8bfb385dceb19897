"""The official client of MCP, connected with servers of this package in each way there is."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from tests.e2e import programs

ERAS = {"handshake": "legacy", "stateless": "auto"}
"""The two eras of the protocol, and what has the client speak each."""
REVISIONS = {"handshake": "2025-11-25", "stateless": "2026-07-28"}


def program(folder: Path, *arguments: str, **more: str) -> StdioServerParameters:
    """Return how ``chrysalis mcp`` is started in a folder."""
    command, *options = programs.COMMAND
    return StdioServerParameters(
        command=command,
        args=[*options, "mcp", *arguments],
        env=programs.environment(folder) | more,
        cwd=folder,
    )


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, **more: str) -> Iterator[str]:
    """Run ``chrysalis mcp --http`` on a free port; yields the URL."""
    options = ("mcp", "--http", "--port", "0", *arguments)
    with programs.start(folder, *options, **more) as server:
        try:
            yield programs.url_of(server)
        finally:
            server.terminate()
            _, errors = server.communicate(timeout=60)
    assert (server.returncode, errors) == (0, "")


@contextlib.asynccontextmanager
async def connected(
    transport: str, era: str, folder: Path, *arguments: str
) -> AsyncIterator[Client]:
    """Connect with a process of its own, by ``"stdio"`` or by ``"http"``."""
    mode = ERAS[era]
    if transport == "stdio":
        async with Client(program(folder, *arguments), mode=mode) as client:
            yield client
    else:
        with serving(folder, *arguments) as url:
            async with Client(url, mode=mode) as client:
                yield client


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool and return its structured content."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that refuses, and return what the model reads."""
    result = await client.call_tool(tool, arguments)
    (said,) = result.content
    assert (result.is_error, result.structured_content) == (True, None)
    return said.text  # type: ignore[union-attr]
