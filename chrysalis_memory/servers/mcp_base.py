"""What every MCP server of a memory shares: when the memory is opened, and what errors say."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from importlib.metadata import version
from typing import Any

from pydantic import AnyUrl, ValidationError

from chrysalis_memory import codec
from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.errors import ChrysalisError, MemoryForgotten, MemoryNotFound
from chrysalis_memory.query import refused
from chrysalis_memory.servers.tokens import Holder

try:
    from mcp.server.lowlevel.helper_types import ReadResourceContents
    from mcp.server.mcpserver import Context, MCPServer, ResourceSecurity
    from mcp.server.mcpserver.exceptions import (
        ResourceError,
        ResourceNotFoundError,
        ToolError,
        UnexpectedResourceError,
    )
    from mcp.server.transport_security import TransportSecuritySettings
    from mcp.shared.exceptions import MCPError
    from mcp.types import (
        INVALID_PARAMS,
        CallToolResult,
        GetPromptResult,
        InputRequiredResult,
        TextContent,
        ToolAnnotations,
    )
except ImportError as error:
    raise ChrysalisError(
        f"an MCP server needs the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[mcp]'"
    ) from error

Result = CallToolResult

__all__ = [
    "ADDS",
    "READS",
    "REPLACES",
    "MemoryServer",
    "Result",
    "TransportSecuritySettings",
    "any_text",
    "one_sentence",
    "result",
]

READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
REPLACES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
"""For tools that change or delete what is stored."""

logger = logging.getLogger("chrysalis_memory")


class MemoryServer(MCPServer[None]):
    """An MCP server over one memory, for clients of both eras.

    It answers at once: the memory is opened beside, and a tool that needs it waits. What goes
    wrong while opening is told by every tool, and tried again.

    Args:
        memory: The memory; whoever made it stops it.
        title: How hosts show the server.
        instructions: What hosts tell the model.
        make: Makes a server of this kind over another memory.
    """

    def __init__(
        self,
        memory: AgentMemory,
        *,
        title: str,
        instructions: str,
        make: "Callable[[AgentMemory], MemoryServer]",
    ) -> None:
        super().__init__(
            "chrysalis-memory",
            title=title,
            version=version("chrysalis-memory"),
            instructions=instructions,
            lifespan=self._begun,
            log_level="WARNING",
            subscriptions=False,  # other processes write too, and nothing tells of their changes
        )
        self._memory = memory
        self._make = make
        self._opening: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def _begun(self, _: MCPServer[None]) -> AsyncGenerator[None]:
        self._open()
        try:
            yield
        finally:
            opening, self._opening = self._opening, None
            if opening is not None:
                opening.cancel()
                await asyncio.wait([opening])

    def _open(self) -> asyncio.Task[None]:
        opening = self._opening
        if opening is None or (opening.done() and _failure(opening) is not None):
            opening = self._opening = asyncio.create_task(self._memory.start())
            opening.add_done_callback(_tell)
        return opening

    async def opened(self) -> AgentMemory:
        """Return the memory once it is open.

        Raises:
            ChrysalisError: it cannot be opened now.
        """
        await asyncio.shield(self._open())
        return self._memory

    def held_by(self, holder: Holder) -> "MemoryServer":
        """Return a server of this kind over what the holder of a token sees of the memory."""
        view = holder.view_of(self._memory)
        return self if view is self._memory else self._make(view)

    def may_offer(self, annotations: ToolAnnotations) -> bool:
        """Tell whether a tool can do anything here: none writes where the memory only reads."""
        return annotations.read_only_hint is True or not self._memory.is_read_only

    def offer(
        self, tool: Callable[..., Awaitable[Any]], *, title: str, annotations: ToolAnnotations
    ) -> None:
        """Add a tool that refuses arguments it does not know.

        Args:
            tool: A method; its name and docstring are those of the tool.
            title: How hosts show it.
            annotations: What it does to the memory.
        """
        if not self.may_offer(annotations):
            return
        self.add_tool(tool, title=title, annotations=annotations, structured_output=True)
        schema = self._tool_input_schema(tool.__name__)
        if schema is not None:
            schema["additionalProperties"] = False

    def _check_names(self, tool: str, arguments: dict[str, Any]) -> None:
        schema = self._tool_input_schema(tool) or {}
        unknown = sorted(arguments.keys() - schema.get("properties", {}).keys())
        if unknown and schema.get("additionalProperties") is False:
            known = ", ".join(schema["properties"]) or "no arguments"
            raise ToolError(f"{tool} does not take {codec.shown(unknown[0])}; it takes {known}")

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; what it refuses is one sentence for the model.

        Raises:
            ToolError: the call was refused, or failed.
        """
        self._check_names(name, arguments)
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            match error.__cause__:
                case ValidationError() as cause:
                    raise ToolError(one_sentence(refused(cause))) from cause
                case ChrysalisError() | ToolError() as cause:
                    raise ToolError(one_sentence(cause)) from error
                case _:
                    raise

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[None, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource.

        Raises:
            ResourceError: it is unknown, or the memory failed.
        """
        try:
            return await super().read_resource(uri, context)
        except UnexpectedResourceError as error:
            match error.__cause__:
                case (MemoryNotFound() | MemoryForgotten()) as cause:
                    raise ResourceNotFoundError(one_sentence(cause)) from error
                case ChrysalisError() as cause:
                    raise ResourceError(one_sentence(cause)) from error
                case _:
                    raise

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[None, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """Return a prompt.

        Raises:
            MCPError: it is unknown, or its arguments are others.
        """
        try:
            return await super().get_prompt(name, arguments, context)
        except ValueError as error:
            raise MCPError(INVALID_PARAMS, one_sentence(error)) from error


def any_text() -> ResourceSecurity:
    """Return what lets any text be part of a URI: it names no file."""
    return ResourceSecurity(
        reject_path_traversal=False, reject_absolute_paths=False, reject_null_bytes=False
    )


def result(told: Any, structured: Any) -> Result:
    """Return what a tool answers, where the text is not the structured content.

    Args:
        told: The text, or a value that becomes text as JSON.
        structured: What the tool's output schema describes.
    """
    shown = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False, indent=2)
    return Result(content=[TextContent(type="text", text=shown)], structured_content=structured)


def one_sentence(error: BaseException) -> str:
    """Return what an error says to a model, in one line."""
    match error:
        case MemoryNotFound():
            return f"no memory has the id {codec.shown(error.memory_id)}; recall gives ids"
        case MemoryForgotten():
            return f"memory {codec.shown(error.memory_id)} was forgotten; learn its text anew"
        case _:
            return " ".join(str(error).split())


def _failure(opening: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if opening.cancelled() else opening.exception()


def _tell(opening: asyncio.Task[None]) -> None:
    failure = _failure(opening)
    if isinstance(failure, Exception):
        logger.error("the memory cannot be opened: %s", one_sentence(failure))
