"""What the MCP registry is told, and what the page on MCP has hosts start."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory.cli import cli
from chrysalis_memory.cli.program import Options

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text())
_BLOCKS = re.compile(r"^```(json|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_server_is_named_in_the_readme_and_has_the_projects_version():
    (marker,) = re.findall(r"<!-- mcp-name: (\S+) -->", (ROOT / "README.md").read_text())
    (package,) = SERVER["packages"]

    assert marker == SERVER["name"]
    assert (SERVER["version"], package["version"]) == (PROJECT["version"], PROJECT["version"])
    assert package["identifier"] == PROJECT["name"]
    assert len(SERVER["description"]) <= 100


def test_the_registrys_command_is_one_that_the_package_installs_and_understands():
    (package,) = SERVER["packages"]
    assert PROJECT["scripts"][package["identifier"]] == "chrysalis_memory.cli:main"
    name, *given = [
        part
        for argument in package["packageArguments"]
        for part in (argument.get("name"), argument.get("value") or argument.get("default"))
        if part is not None
    ]
    cli.commands[name].make_context(name, given, obj=Options()).close()


def commands() -> list[dict[str, Any]]:
    """Return every server that the page's configurations start."""
    found: list[dict[str, Any]] = []
    for kind, text in _BLOCKS.findall((ROOT / "docs" / "mcp.md").read_text()):
        configuration = json.loads(text) if kind == "json" else tomllib.loads(text)
        for name in ("mcpServers", "servers", "mcp_servers"):
            found += configuration.get(name, {}).values()
    return found


def test_the_page_has_a_configuration_for_each_host():
    assert len(commands()) == 4


@pytest.mark.parametrize("server", commands())
def test_a_configuration_starts_what_the_program_understands(server: dict[str, Any]):
    assert server["command"] in PROJECT["scripts"]
    name, *arguments = server["args"]
    cli.commands[name].make_context(name, arguments, obj=Options()).close()
