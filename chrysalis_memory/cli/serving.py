"""Commands that serve a memory to other programs: MCP."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from chrysalis_memory.cli.program import Options, cli, options_of
from chrysalis_memory.cli.session import (
    finish,
    memory_of,
    read_tokens,
    refusals_told,
    token_of,
    tokens_option,
    until_stopped,
)

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory
    from chrysalis_memory.servers.mcp_base import MemoryServer
    from chrysalis_memory.servers.tokens import Tokens

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
@tokens_option
@click.option("--namespace", metavar="NAMESPACE",
              help="Offer this namespace and all below it, and nothing else.")  # fmt: skip
@click.option("--read-only", is_flag=True, help="Offer no tool that writes; count no uses.")
@click.pass_context
def mcp(
    context: click.Context,
    compat: str | None,
    http: bool,
    host: str,
    port: int,
    token: str | None,
    tokens: Path | None,
    namespace: str | None,
    read_only: bool,
) -> None:
    """Serve the memory to an MCP host.

    The host starts this command and speaks to it on standard input and output; what is logged goes
    to standard error. --http serves at http://127.0.0.1:8421/mcp until stopped.
    """
    for name in ("host", "port", "token", "tokens"):
        if not http and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} is for --http; add it, or leave --{name} out")
    options = context.ensure_object(Options)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )

    if token is None:
        token = token_of(options)
    with refusals_told():
        memory = memory_of(options)
        if namespace is not None or read_only:
            memory = memory.within(namespace or "", read_only=read_only)
        held = read_tokens(tokens) if http else None
        server = _server(memory, compat)
    if http:
        finish(_serve_http(memory, server, host, port, token, held))
    else:
        finish(_serve(memory, server))


async def _serve(memory: AgentMemory, server: MemoryServer) -> None:
    import asyncio

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
    memory: AgentMemory,
    server: MemoryServer,
    host: str,
    port: int,
    token: str | None,
    tokens: Tokens | None,
) -> None:
    from chrysalis_memory.servers.mcp_http import serve

    def ready(url: str) -> None:
        click.echo(f"serving MCP on {url}")

    serving = serve(server, host=host, port=port, token=token, tokens=tokens, ready=ready)
    try:
        await until_stopped(serving)
    finally:
        await memory.stop()


def _server(memory: AgentMemory, compat: str | None) -> MemoryServer:
    if compat == KNOWLEDGE_GRAPH:
        from chrysalis_memory.servers.knowledge_graph import knowledge_graph_server

        return knowledge_graph_server(memory)
    from chrysalis_memory.servers.mcp import mcp_server

    return mcp_server(memory)
