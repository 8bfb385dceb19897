"""The MCP server of a memory with what the conformance suite wants to call and to read.

The suite asks for tools, resources and prompts by name. They are added here to the server that
ships, so that its ways of answering are what is tested. Run as a program, it serves over HTTP.
"""

import asyncio
import base64
import sys

from mcp.server.mcpserver import Audio, Context, Image, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)

from chrysalis_memory import AgentMemory
from chrysalis_memory.servers import mcp_http
from chrysalis_memory.servers.mcp import mcp_server
from chrysalis_memory.servers.mcp_base import MemoryServer

ASKED_FOR = "Asked for by the conformance suite."
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
SILENCE = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" + bytes(20)


def embedded(uri: str) -> EmbeddedResource:
    resource = TextResourceContents(uri=uri, mime_type="text/plain", text="Tea is at four")
    return EmbeddedResource(type="resource", resource=resource)


def picture() -> ImageContent:
    return Image(data=PIXEL, format="png").to_image_content()


# Tools


async def test_simple_text() -> str:
    return "Tea is at four"


async def test_image_content() -> list[ImageContent]:
    return [picture()]


async def test_audio_content() -> list[AudioContent]:
    return [Audio(data=SILENCE, format="wav").to_audio_content()]


async def test_embedded_resource() -> list[EmbeddedResource]:
    return [embedded("test://embedded-resource")]


async def test_multiple_content_types() -> list[ContentBlock]:
    text = TextContent(type="text", text="Tea is at four")
    return [text, picture(), embedded("test://mixed-content-resource")]


async def test_error_handling() -> str:
    raise ToolError("this tool fails on purpose")


async def test_tool_with_progress(context: Context) -> str:
    for progress in (0, 50, 100):
        await context.report_progress(progress, 100)
    return "done"


async def test_missing_capability(context: Context) -> str:
    capabilities = context.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        data = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", data)
    return "the client samples"


# Resources


async def text() -> str:
    return "Tea is at four"


async def binary() -> bytes:
    return PIXEL


async def template(id: str) -> str:  # noqa: A002 - the suite names it
    return f"What belongs to {id}"


# Prompts


async def test_simple_prompt() -> str:
    return "Say hello."


async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"Say {arg1} and {arg2}."


async def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
    return [UserMessage(embedded(resourceUri)), UserMessage("Sum it up.")]


async def test_prompt_with_image() -> list[UserMessage]:
    return [UserMessage(picture()), UserMessage("What is it?")]


def fixture_server(memory: AgentMemory) -> MemoryServer:
    server = mcp_server(memory)
    for tool in (
        test_simple_text, test_image_content, test_audio_content, test_embedded_resource,
        test_multiple_content_types, test_error_handling, test_tool_with_progress,
        test_missing_capability,
    ):  # fmt: skip
        server.add_tool(tool, description=ASKED_FOR)
    server.resource("test://static-text")(text)
    server.resource("test://static-binary", mime_type="image/png")(binary)
    server.resource("test://template/{id}/data")(template)
    for prompt in (
        test_simple_prompt, test_prompt_with_arguments, test_prompt_with_embedded_resource,
        test_prompt_with_image,
    ):  # fmt: skip
        server.prompt(description=ASKED_FOR)(prompt)
    return server


async def main() -> None:
    async with AgentMemory("ada", path=":memory:", embedder="hashing") as memory:
        await mcp_http.serve(
            fixture_server(memory),
            port=0,
            ready=lambda url: print(f"serving MCP on {url}", flush=True),
        )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
