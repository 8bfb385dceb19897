"""Commands that serve a memory to other programs: MCP."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from chrysalis_memory.cli.program import Options, cli, options_of
from chrysalis_memory.cli.session import finish, memory_of, token_of, until_stopped

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory
    from chrysalis_memory.servers.mcp_base import MemoryServer

KNOWLEDGE_GRAPH = "knowledge-graph"


@cli.command()
@options_of("db", "agent", "embedder")
@click.option("--compat", type=click.Choice([KNOWLEDGE_GRAPH]),
              help="Offer the tools of the official memory server instead.")  # fmt: skip
@click.option("--http", is_flag=True, help="Serve over HTTP, not on standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where to listen; an address that others can reach needs a token.")  # fmt: skip
@click.option("--port", default=8421, show_default=True, type=click.IntRange(0, 65_535),
              help="The port; 0 takes a free one.")  # fmt: skip
@click.option("--token", metavar="TOKEN", envvar="CHRYSALIS_TOKEN",
              help="What every client must give. Better in CHRYSALIS_TOKEN, where other users of "
              "this machine cannot see it.")  # fmt: skip
@click.pass_context
def mcp(
    context: click.Context, compat: str | None, http: bool, host: str, port: int, token: str | None
) -> None:
    """Serve the memory to an MCP host.

    The host starts this command and speaks to it on standard input and output; what is logged goes
    to standard error. --http serves at http://127.0.0.1:8421/mcp until stopped.
    """
    for name in ("host", "port", "token"):
        if not http and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} is for --http; add it, or leave --{name} out")
    options = context.ensure_object(Options)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )

    if token is None:
        token = token_of(options)
    finish(_serve_http(options, compat, host, port, token) if http else _serve(options, compat))


async def _serve(options: Options, compat: str | None) -> None:
    import asyncio

    memory, server = _made(options, compat)
    serving = asyncio.create_task(server.run_stdio_async())
    signal = asyncio.create_task(until_stopped(asyncio.Event().wait()))
    try:
        await asyncio.wait([serving, signal], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await memory.stop()
    if not serving.done():
        # A thread waits for the next line of input, and nothing can interrupt it.
        os._exit(0)
    signal.cancel()
    await serving


async def _serve_http(
    options: Options, compat: str | None, host: str, port: int, token: str | None
) -> None:
    from chrysalis_memory.servers.mcp_http import serve

    memory, server = _made(options, compat)

    def ready(url: str) -> None:
        click.echo(f"serving MCP on {url}")

    try:
        await until_stopped(serve(server, host=host, port=port, token=token, ready=ready))
    finally:
        await memory.stop()


def _made(options: Options, compat: str | None) -> tuple[AgentMemory, MemoryServer]:
    memory = memory_of(options)
    if compat == KNOWLEDGE_GRAPH:
        from chrysalis_memory.servers.knowledge_graph import knowledge_graph_server

        return memory, knowledge_graph_server(memory)
    from chrysalis_memory.servers.mcp import mcp_server

    return memory, mcp_server(memory)
